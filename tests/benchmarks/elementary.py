"""The elementary loop, once for all libraries: the networks' equations in the functions that a library gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Value = Any  # a tensor of some library


@dataclass(frozen=True)
class Library:
    """What the equations need.

    `split` and `halves` cut the last axis: in n equal parts, or after the first two of three; `steps` cuts the first one into all of it.
    """

    tanh: Callable[[Value], Value]
    sigmoid: Callable[[Value], Value]
    split: Callable[[Value, int], Sequence[Value]]
    stack: Callable[[list[Value]], Value]
    cross_entropy: Callable[[Value, Value], Value]
    affine: Callable[[Value, Value, Value], Value] = lambda x, W, b: x @ W + b
    halves: Callable[[Value, int], tuple[Value, Value]] = lambda a, H: (a[:, : 2 * H], a[:, 2 * H :])
    steps: Callable[[Value], Sequence[Value]] = lambda a: a


def rnn(lib: Library, w: dict[str, Value], a: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
    """h = tanh(W_h h + a), where a = W_x x + b."""
    (z,) = lib.split(lib.affine(state[0], w["W_h"], a), 1)
    return (lib.tanh(z),)


def lstm(lib: Library, w: dict[str, Value], a: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
    """As in models/lstm.py."""
    h, c = state
    f, i, o, c_tilde = lib.split(lib.affine(h, w["W_h"], a), 4)
    c = lib.sigmoid(f) * c + lib.sigmoid(i) * lib.tanh(c_tilde)
    return lib.sigmoid(o) * lib.tanh(c), c


def gru(lib: Library, w: dict[str, Value], a: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
    """As in models/gru.py."""
    (h,) = state
    gates, candidate = lib.halves(a, h.shape[-1])
    r, z = lib.split(lib.affine(h, w["W_h"], gates), 2)
    r, z = lib.sigmoid(r), lib.sigmoid(z)
    if "b_r" in w:
        (past,) = lib.split(lib.affine(h, w["W"], w["b_r"]), 1)
        (new,) = lib.split(candidate, 1)
        new = r * past + new
    else:
        (new,) = lib.split(lib.affine(r * h, w["W"], candidate), 1)
    return ((1 - z) * h + z * lib.tanh(new),)


CELLS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def loss(lib: Library, kind: str, w: dict[str, Value], xs: Value, targets: Value, state: Value, hoist: bool) -> Value:
    """The loss of a workload; hoist: the products with the inputs, and with the outputs, of all steps at once."""
    cell, state, ys = CELLS[kind], (state,) * (2 if kind == "lstm" else 1), []
    inputs = lib.steps(lib.affine(xs, w["W_x"], w["b"])) if hoist else None
    for t in range(len(xs)):
        state = cell(lib, w, lib.affine(xs[t], w["W_x"], w["b"]) if inputs is None else inputs[t], state)
        ys.append(state[0] if hoist else lib.affine(state[0], w["W_y"], w["b_y"]))
    y = lib.stack(ys)
    return lib.cross_entropy(lib.affine(y, w["W_y"], w["b_y"]) if hoist else y, targets)
