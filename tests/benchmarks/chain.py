"""Forward and backward of one op on shape (4,) float32, in a chain: what an engine costs where the numbers cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tinygrad_seq as tg
from tests.benchmarks.measure import Clock, in_turns
from tinygrad_seq.record import Array

LINKS = 1000
Link = Callable[[Any], Any]


def _tape(link: Link, leaf: Any, seed: Any) -> None:
    y = leaf
    for _ in range(LINKS):
        y = link(y)
    y.backward(seed)


def _ours() -> tuple[Any, Any, Callable[..., None], dict[str, Link]]:
    x = tg.Tensor(np.full(4, 0.999, np.float32), requires_grad=True)
    return x, np.ones(4, np.float32), _tape, {"tanh(y)": tg.tanh, "exp(-y)": lambda y: tg.exp(-y)}


def _torch() -> tuple[Any, Any, Callable[..., None], dict[str, Link]]:
    import torch

    x = torch.full((4,), 0.999, requires_grad=True)
    return x, torch.ones(4), _tape, {"tanh(y)": torch.tanh, "exp(-y)": lambda y: torch.exp(-y)}


def _mygrad() -> tuple[Any, Any, Callable[..., None], dict[str, Link]]:
    import mygrad

    def tape(link: Link, leaf: Any, seed: Any) -> None:
        with mygrad.mem_guard_off:
            _tape(link, leaf, seed)

    x = mygrad.tensor(np.full(4, 0.999, np.float32))
    return x, np.ones(4, np.float32), tape, {"tanh(y)": mygrad.tanh, "exp(-y)": lambda y: mygrad.exp(-y)}


def _autograd() -> tuple[Any, Any, Callable[..., None], dict[str, Link]]:
    import autograd.numpy as anp
    from autograd import make_vjp

    def tape(link: Link, leaf: Any, seed: Any) -> None:
        def chain(y: Any) -> Any:
            for _ in range(LINKS):
                y = link(y)
            return y

        make_vjp(chain)(leaf)[0](seed)

    x = np.full(4, 0.999, np.float32)
    return x, np.ones(4, np.float32), tape, {"tanh(y)": anp.tanh, "exp(-y)": lambda y: anp.exp(-y)}


LIBRARIES = {"ours": _ours, "torch": _torch, "mygrad": _mygrad, "autograd": _autograd}
COMMON: dict[str, Link] = {"y + c": lambda y: y + 0.001, "y * c": lambda y: y * 0.999, "y * y": lambda y: y * y, "-y": lambda y: -y}


def timed(rounds: int, clock: Clock) -> dict[str, dict[str, Array]]:
    """Seconds of an op, by op and library."""
    ready = {}
    for name, make in LIBRARIES.items():
        try:
            ready[name] = make()
        except ImportError:
            continue
    found = {}
    for op in [*COMMON, "tanh(y)", "exp(-y)"]:
        runs = {name: partial(tape, {**COMMON, **links}[op], leaf, seed) for name, (leaf, seed, tape, links) in ready.items()}
        for run in runs.values():
            run()
        found[op] = {name: times / LINKS for name, times in in_turns(runs, rounds, clock).items()}
    return found
