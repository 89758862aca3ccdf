"""MyGrad, its memory guards off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import mygrad
import numpy as np
from mygrad.nnet.activations import sigmoid
from mygrad.nnet.losses import softmax_crossentropy

from tests.benchmarks.elementary import Library, loss
from tests.benchmarks.workloads import RATE, Engine, V, Weights, Workload

LIBRARY = Library(
    tanh=mygrad.tanh,
    sigmoid=sigmoid,
    split=lambda z, n: [z[:, i * (size := z.shape[-1] // n) : (i + 1) * size] for i in range(n)] if n > 1 else (z,),
    stack=mygrad.stack,
    cross_entropy=lambda y, targets: softmax_crossentropy(y.reshape(-1, V), targets.reshape(-1)),
)


def _elementary(w: Workload, hoist: bool) -> Engine:
    leaves = {name: mygrad.tensor(a) for name, a in w.weights().items()}
    xs, targets = (np.array(a) for a in w.data())
    h = np.zeros((w.N, w.H), np.float32)

    def backward() -> float:
        for leaf in leaves.values():
            leaf.null_grad()
        with mygrad.mem_guard_off:
            value = loss(LIBRARY, w.kind, leaves, xs, targets, h, hoist)
            value.backward()
            return float(value)

    def gradients() -> tuple[float, Weights]:
        value = backward()
        return value, {name: leaf.grad.copy() for name, leaf in leaves.items()}

    def step() -> None:
        backward()
        for leaf in leaves.values():
            leaf.data[...] -= RATE * leaf.grad

    return Engine(gradients, step)


ENGINES: dict[str, Callable[[Workload], Engine]] = {
    "mygrad, hoisted": partial(_elementary, hoist=True),
    "mygrad, per step": partial(_elementary, hoist=False),
}
