"""JAX: jit over a scan."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks.elementary import CELLS, Library, Value
from tests.benchmarks.workloads import RATE, Engine, Weights, Workload


def _cross_entropy(y: Value, targets: Value) -> Value:
    return -jnp.take_along_axis(jax.nn.log_softmax(y), targets[..., None], axis=-1).mean()


LIBRARY = Library(
    tanh=jnp.tanh,
    sigmoid=jax.nn.sigmoid,
    split=lambda z, n: jnp.split(z, n, axis=-1) if n > 1 else (z,),
    stack=jnp.stack,
    cross_entropy=_cross_entropy,
)


def _scan(w: Workload) -> Engine:
    weights = {name: jnp.asarray(a) for name, a in w.weights().items()}
    xs, targets = (jnp.asarray(np.array(a)) for a in w.data())
    state = (jnp.zeros((w.N, w.H), jnp.float32),) * (2 if w.kind == "lstm" else 1)

    def loss(weights: Value) -> Value:
        def step(state: Value, a: Value) -> Value:
            state = CELLS[w.kind](LIBRARY, weights, a, state)
            return state, state[0]

        _, hs = jax.lax.scan(step, state, LIBRARY.affine(xs, weights["W_x"], weights["b"]))
        return LIBRARY.cross_entropy(LIBRARY.affine(hs, weights["W_y"], weights["b_y"]), targets)

    both = jax.jit(jax.value_and_grad(loss))

    @jax.jit
    def update(weights: Value) -> Value:
        return jax.tree.map(lambda w, g: w - RATE * g, weights, jax.grad(loss)(weights))

    def gradients() -> tuple[float, Weights]:
        value, gs = both(weights)
        return float(value), {name: np.asarray(g) for name, g in gs.items()}

    def step() -> None:
        nonlocal weights
        weights = jax.block_until_ready(update(weights))

    return Engine(gradients, step)


ENGINES: dict[str, Callable[[Workload], Engine]] = {"jax jit + scan": _scan}
