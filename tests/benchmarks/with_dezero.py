"""DeZero, its gates with weights of their own, as its LSTM layer has them: slices would cost it an `np.add.at` each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

with mock.patch.object(np, "int", int, create=True):  # it asks for this name at import; NumPy took it away in 1.24
    import dezero
import dezero.functions as F

from tests.benchmarks.elementary import Library, Value, loss
from tests.benchmarks.workloads import RATE, Engine, Weights, Workload


def _affine(x: Value, Ws: list[Value], bs: list[Value]) -> list[Value]:
    return [F.matmul(x, W) + b for W, b in zip(Ws, bs, strict=True)]


def _cross_entropy(ys: list[list[Value]], targets: Value) -> Value:
    total: Any = 0
    for (y,), t in zip(ys, targets, strict=True):
        total = F.softmax_cross_entropy(y, t) + total
    return total / len(ys)


LIBRARY = Library(
    tanh=F.tanh,
    sigmoid=F.sigmoid,
    split=lambda zs, n: zs,
    stack=lambda ys: ys,
    cross_entropy=_cross_entropy,
    affine=_affine,
    halves=lambda a, H: (a[:2], a[2:]),
)


def _per_step(w: Workload) -> Engine:
    blocks = {"W_x": 3 if w.kind == "gru" else 4, "b": 3 if w.kind == "gru" else 4, "W_h": 2 if w.kind == "gru" else 4}
    leaves = {
        name: [dezero.Variable(np.ascontiguousarray(part)) for part in np.split(a, 1 if w.kind == "rnn" else blocks.get(name, 1), axis=-1)]
        for name, a in w.weights().items()
    }
    xs, targets = (np.array(a) for a in w.data())
    h = dezero.Variable(np.zeros((w.N, w.H), np.float32))

    def backward() -> float:
        for part in [part for parts in leaves.values() for part in parts]:
            part.cleargrad()
        value = loss(LIBRARY, w.kind, leaves, xs, targets, h, False)
        value.backward()
        return float(value.data)

    def gradients() -> tuple[float, Weights]:
        value = backward()
        return value, {name: np.concatenate([part.grad.data for part in parts], axis=-1) for name, parts in leaves.items()}

    def step() -> None:
        backward()
        for part in [part for parts in leaves.values() for part in parts]:
            part.data -= (RATE * part.grad.data).astype(np.float32)

    return Engine(gradients, step)


ENGINES: dict[str, Callable[[Workload], Engine]] = {"dezero, per step": _per_step}
