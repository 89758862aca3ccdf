"""The one loop over time.  Every recurrent network of the project is a cell, unrolled by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq import Tensor, stack, step
from tinygrad_seq.nn import Module
from tinygrad_seq.record import Array, Value


class State(NamedTuple):
    """What a cell hands from one step to the next; its first field, h (N, H), is also the cell's output."""

    h: Tensor


class Cell(Module):
    """One step of a recurrent network as a pure function: the state is an argument and the result, and never hides in the cell."""

    def input(self, x: Value) -> Tensor:
        """The part of the step that does not depend on the state, for one step (N, ...) or for all at once (T, N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} has no input method; write one.")

    def recur(self, a: Tensor, state: Any) -> Any:
        """The rest of the step: a = input(x_t) and the old state give the new state."""
        raise NotImplementedError(f"{type(self).__name__} has no recur method; write one.")

    def initial_state(self, batch: int) -> Any:
        """The state before the first step, for a batch of N sequences."""
        raise NotImplementedError(f"{type(self).__name__} has no initial_state method; write one.")

    def forward(self, x: Value, state: Any) -> Any:
        """The whole step: x_t (N, C), or integer symbols (N), and the old state give the new state."""
        return self.recur(self.input(x), state)


@dataclass
class Unrolled:
    """A run of T steps: `states[t]` is the state after step t, in the order of the text; `state` the one after the last step run."""

    states: list[Any]
    state: Any

    @cached_property
    def outputs(self) -> Tensor:
        """h_0 ... h_(T-1): (T, N, H)."""
        return stack([state.h for state in self.states])


def unroll(cell: Cell, xs: Value, state: Any = None, *, mask: Value = None, reverse: bool = False, hoist: bool = True) -> Unrolled:
    """Run a cell over time: state_t = cell(x_t, state_(t-1)).  Backpropagation through time is then just `backward`.

    xs: features (T, N, C) or integer symbols (T, N), as a Tensor or an array, or with hoist=False a list of T steps.
    state: the one before the first step, zeros by default.  mask: (T, N) booleans; where False, the state is carried across the step.
    reverse: run from step T-1 down to 0.  hoist: compute what does not depend on the state for all steps in one product before the
    loop; False records each step whole, as the textbook draws it.
    Raises ValueError for no steps, a state of another batch size, or a mask that is not (T, N) booleans.
    """
    T = len(xs)
    if T == 0:
        raise ValueError("unroll: xs has no time steps; give at least one.")
    N = np.shape(xs[0])[0] if not isinstance(xs[0], Tensor) else len(xs[0])
    state = cell.initial_state(N) if state is None else _checked_state(state, N)
    mask = None if mask is None else _checked_mask(mask, (T, N))
    inputs = cell.input(xs) if hoist else xs
    states: list[Any] = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        with step(t):
            new = cell.recur(inputs[t], state) if hoist else cell(inputs[t], state)
            state = new if mask is None else _carried(mask[t], new, state)
        states[t] = state
    return Unrolled(states, state)


def _carried(m: Array, new: Any, old: Any) -> Any:
    """m * new + (1 - m) * old, in each field of the state."""
    kept = [m[:, None].astype(part.dtype) for part in new]
    return type(new)(*(m * a + (1 - m) * b for m, a, b in zip(kept, new, old, strict=True)))


def _checked_state(state: Any, N: int) -> Any:
    if not isinstance(state, tuple) or any(part.shape[:1] != (N,) for part in state):
        shapes = [getattr(part, "shape", part) for part in state]
        raise ValueError(f"unroll: the state's parts are {shapes}, expected a state of the cell for a batch of {N}, (N, H) each.")
    return state


def _checked_mask(mask: Value, shape: tuple[int, int]) -> Array:
    array = mask.data if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != bool or array.shape != shape:
        raise ValueError(f"unroll: mask is {array.dtype} {array.shape}, expected bool {shape}, True where a step happens.")
    return array
