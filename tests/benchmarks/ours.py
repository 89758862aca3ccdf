"""This project's networks, on the tape and, where the engine can, fused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from models.recurrent import unroll
from tests.benchmarks.workloads import RATE, Engine, Weights, Workload
from tinygrad_seq import Tensor, cross_entropy, stack
from tinygrad_seq.optim import SGD


def _engine(w: Workload, scores: Callable[[Any, Any], Tensor], dtype: Any = "float32", symbols: bool = False) -> Engine:
    """symbols: the inputs as the integers that the one-hot vectors stand for, whose rows are looked up."""
    net = w.network(dtype)
    xs, targets = w.data()
    if symbols:
        xs = xs.argmax(-1)
        xs.setflags(write=False)
    optimiser = SGD(net.parameters(), lr=RATE)

    def backward() -> Tensor:
        optimiser.zero_grad()
        loss = cross_entropy(scores(net, xs), targets)
        loss.backward()
        return loss

    def gradients() -> tuple[float, Weights]:
        loss = backward()
        return loss.item(), {name.removeprefix("cell."): p.grad for name, p in net.named_parameters().items()}

    def step() -> None:
        backward()
        optimiser.step()

    return Engine(gradients, step)


def _hoisted(net: Any, xs: Any, **options: Any) -> Tensor:
    return unroll(net.cell, xs, **options).outputs @ net.W_y + net.b_y


def _per_step(net: Any, xs: Any) -> Tensor:
    run = unroll(net.cell, list(xs), hoist=False)
    return stack([state.h @ net.W_y + net.b_y for state in run.states])


def exact(w: Workload) -> Engine:
    """In float64: what all others are compared with."""
    return _engine(w, _hoisted, "float64")


_fused = partial(_hoisted, fused=True)
ENGINES: dict[str, Callable[[Workload], Engine]] = {
    "ours, fused": partial(_engine, scores=_fused),
    "ours, fused, symbols": partial(_engine, scores=_fused, symbols=True),
    "ours, hoisted": partial(_engine, scores=_hoisted),
    "ours, per step": partial(_engine, scores=_per_step),
}
