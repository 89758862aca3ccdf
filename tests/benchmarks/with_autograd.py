"""HIPS autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad

from tests.benchmarks.elementary import Library, Value, loss
from tests.benchmarks.workloads import RATE, Engine, Weights, Workload


def _cross_entropy(y: Value, targets: Value) -> Value:
    z = y - anp.max(y, axis=-1, keepdims=True)
    T, N = targets.shape
    right = z[np.arange(T)[:, None], np.arange(N), targets]
    return anp.mean(anp.log(anp.sum(anp.exp(z), axis=-1)) - right)


LIBRARY = Library(
    tanh=anp.tanh,
    sigmoid=lambda z: 0.5 * (anp.tanh(0.5 * z) + 1),
    split=lambda z, n: anp.split(z, n, axis=-1) if n > 1 else (z,),
    stack=anp.stack,
    cross_entropy=_cross_entropy,
)


def _elementary(w: Workload, hoist: bool) -> Engine:
    weights = w.weights()
    xs, targets = (np.array(a) for a in w.data())
    h = np.zeros((w.N, w.H), np.float32)
    both = value_and_grad(lambda weights: loss(LIBRARY, w.kind, weights, xs, targets, h, hoist))

    def gradients() -> tuple[float, Weights]:
        value, gs = both(weights)
        return float(value), gs

    def step() -> None:
        _, gs = both(weights)
        for name, g in gs.items():
            weights[name] -= RATE * g

    return Engine(gradients, step)


ENGINES: dict[str, Callable[[Workload], Engine]] = {
    "autograd, hoisted": partial(_elementary, hoist=True),
    "autograd, per step": partial(_elementary, hoist=False),
}
