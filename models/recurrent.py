"""The one loop over time.  Every recurrent network of the project is a cell, unrolled by it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from tinygrad_seq import Tensor, broadcast_to, concat, matmul, scope, stack, step, take, where
from tinygrad_seq.fuse import CannotFuse, Program, fused_run, fused_step
from tinygrad_seq.nn import Module, look_up, uniform, zeros
from tinygrad_seq.record import Array, Value, within


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

    def checked_state(self, state: Any, batch: int) -> Any:
        """The state, if it is one of this cell for N sequences; else ValueError."""
        expected = self.initial_state(batch)
        shapes, wanted = ([getattr(part, "shape", part) for part in _parts(s)] for s in (state, expected))
        if type(state) is not type(expected) or shapes != wanted:
            raise ValueError(
                f"unroll: the state is a {type(state).__name__} of {shapes}, expected a state of the cell for a batch of {batch}: "
                f"expected {type(expected).__name__} of {wanted}."
            )
        return state

    def forward(self, x: Value, state: Any) -> Any:
        """The whole step: x_t (N, C), or integer symbols (N), and the old state give the new state."""
        return self.recur(self.input(x), state)


def project(x: Value, W: Tensor) -> Tensor:
    """W x for features (..., C) or for integer symbols (...), which stand for one-hot vectors; -> (..., D)."""
    kind = x.dtype.kind if isinstance(x, Tensor) else np.asarray(x).dtype.kind
    return look_up(W, x) if kind in "iu" else matmul(x, W)


def first_state(name: str, trained: Tensor | None, batch: int, hidden: int, dtype: Any) -> Tensor:
    """A part of the state before the first step, (N, H): zeros, or the trained numbers (H) for each sequence."""
    if trained is None:
        return Tensor(np.zeros((batch, hidden), dtype), name=name)
    first: Tensor = broadcast_to(trained, shape=(batch, hidden))
    first.name = name
    return first


def gate(name: str, function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """function(z), under a name that drawings and programs written from the cell know it by."""
    return within(name, function, z)


# ---- the loop ------------------------------------------------------------------------------------------------------------------------


@dataclass
class Unrolled:
    """A run of T steps: `states[t]` is the state after step t, in the order of the text; `state` the one after the last step run."""

    states: Sequence[Any]
    state: Any

    @cached_property
    def outputs(self) -> Tensor:
        """h_0 ... h_(T-1): (T, N, H)."""
        return stack([state.h for state in self.states])

    @property
    def last(self) -> Tensor:
        """h after the last step run, (N, H): what the network makes of each whole sequence, also of the short ones in a padded batch."""
        h: Tensor = self.state.h
        return h


Feed = Callable[[int, Any], tuple[Any, Any] | None]


def _loop(advance: Callable[[Any, Any], Any], feed: Feed, state: Any, order: Iterable[int], mask: Array | None = None) -> dict[int, Any]:
    """state_t = advance(x_t, state_(t-1)), where `feed` gives x_t, and may change the state before the step, or end the run with None."""
    states = {}
    for t in order:
        with step(t):
            fed = feed(t, state)
            if fed is None:
                break
            x, before = fed
            state = advance(x, before)
            if mask is not None:
                state = within("mask", _carried, mask[t], state, before)
        states[t] = state
    return states


Fuse = bool | Literal["auto"]


def unroll(
    cell: Cell, xs: Value, state: Any = None, *, mask: Value = None, lengths: Value = None, reverse: bool = False, hoist: bool = True,
    fused: Fuse = False,
) -> Unrolled:  # fmt: skip
    """Run a cell over time: state_t = cell(x_t, state_(t-1)).  Backpropagation through time is then just `backward`.

    xs: features (T, N, C) or integer symbols (T, N), as a Tensor or an array, or with hoist=False a list of T steps.
    state: the one before the first step, the cell's initial state by default.
    mask: (T, N) booleans; where False, the step does not happen, whatever xs holds there, and the state is carried across.
    lengths: (N,) integers, each sequence's number of steps, instead of a mask; what comes after them is padding.
    reverse: run from step T-1 down to 0.  hoist: compute what does not depend on the state for all steps in one product before the
    loop; False records each step whole, as the textbook draws it.
    fused: run the program that `tinygrad_seq.fuse` derives from the cell, one op in the graph and several times as fast; the result's
    `program` prints it.  The elementary loop defines what it computes, and runs instead where numbers are complex, and with "auto", after
    a warning that says why, where no program can be derived from the cell; with True that raises CannotFuse.
    Raises ValueError for no steps, a state of another batch size, a mask that is not (T, N) booleans, lengths outside [1, T].
    """
    if fused not in (False, True, "auto"):
        raise ValueError(f'unroll: fused={fused!r}, expected False, True or "auto".')
    T, N = _steps_and_batch(xs)
    state = cell.initial_state(N) if state is None else cell.checked_state(state, N)
    mask = _checked_mask(mask, lengths, T, N)
    if mask is not None:
        xs = _without_padding(xs, mask)
    if fused and not _complex([xs, *_parts(state)]):
        if not hoist or isinstance(xs, list):
            raise ValueError("unroll: hoist=False records each step whole, fused=True no step at all; give one of them.")
        try:
            return _fused(cell, xs, state, mask, reverse)
        except CannotFuse as error:
            if fused is True:
                raise
            warnings.warn(f"{type(cell).__name__} runs unfused: {error}", stacklevel=2)
    order = range(T - 1, -1, -1) if reverse else range(T)
    with scope(cell):
        inputs = cell.input(xs) if hoist else xs
        states = _loop(cell.recur if hoist else cell, lambda t, state: (inputs[t], state), state, order, mask)
    return Unrolled([states[t] for t in range(T)], states[order[-1]])


@dataclass
class Fused(Unrolled):
    """A run of a derived program, which `print(run.program)` shows; `states` are computed by the elementary loop if asked for."""

    hs: Tensor
    program: Program

    @cached_property
    def outputs(self) -> Tensor:
        return self.hs

    def opened(self) -> Tensor:
        """The outputs as the elementary loop makes them, to be drawn step by step."""
        return stack([state.h for state in self.states])


class _OnDemand(Sequence[Any]):
    """The states after each step, computed when the first of them is asked for."""

    def __init__(self, steps: int, run: Callable[[], Unrolled]) -> None:
        self.steps, self.run = steps, run

    @cached_property
    def states(self) -> Sequence[Any]:
        return self.run().states

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, t: Any) -> Any:
        return self.states[t]


def _fused(cell: Cell, xs: Value, state: Any, mask: Array | None, reverse: bool) -> Fused:
    inputs = [xs if isinstance(xs, Tensor) else np.asarray(xs), *([] if mask is None else [mask])]
    ordered = [x[::-1] for x in inputs] if reverse else inputs
    outputs, last, program = fused_run(_step if mask is None else _masked_step, cell, ordered, state)
    states = _OnDemand(len(xs), lambda: unroll(cell, xs, state, mask=mask, reverse=reverse))
    return Fused(states, last, outputs[::-1] if reverse else outputs, program)


def stepper(cell: Cell, x: Array, state: Any) -> Callable[[Array], Array]:
    """The cell as a function of x_t (N, ...) that keeps its state, from `state` on, and gives h_t (N, H): plain arrays, no record.

    It runs the derived program with the weights as they are now; x is an example of an input.  What it gives is good until the next call.
    """
    return fused_step(_step, cell, [x], state)


def _step(cell: Cell, inputs: list[Tensor], state: Any) -> Any:
    return cell.recur(cell.input(inputs[0]), state)


def _masked_step(cell: Cell, inputs: list[Tensor], state: Any) -> Any:
    x, m = inputs
    return _carried(m, cell.recur(cell.input(x), state), state)


def _complex(values: Sequence[Any]) -> bool:
    return any((x.dtype if isinstance(x, (Tensor, np.ndarray)) else np.asarray(x).dtype).kind == "c" for x in values)


def unroll_packed(cell: Cell, xs: Value, lengths: Value, state: Any = None, *, reverse: bool = False) -> Unrolled:
    """As `unroll` with `lengths`, but without computing the padding: the longest sequences first, the batch shrinks as others end.

    Outputs, last state and gradients are those of `unroll`; `states[t]` holds the sequences that step t reaches, longest first.
    """
    T, N = _steps_and_batch(xs)
    lengths = _checked_lengths(lengths, T, N)
    longest_first = np.argsort(-lengths, kind="stable")
    rank = np.argsort(longest_first)  # of each sequence
    alive = np.array([(lengths > t).sum() for t in range(T)])
    start = np.concatenate([[0], np.cumsum(alive)])  # of each step among the rows of all steps
    rows = np.concatenate([t * N + longest_first[:n] for t, n in enumerate(alive)])
    xs = xs if isinstance(xs, Tensor) else np.asarray(xs)
    first = select(cell.initial_state(N) if state is None else cell.checked_state(state, N), longest_first)

    def feed(t: int, state: Any) -> tuple[Any, Any]:
        return inputs[start[t] : start[t + 1]], map_state(lambda part, begun: _resized(part, begun, alive[t]), state, first)

    order = [t for t in (reversed(range(T)) if reverse else range(T)) if alive[t]]
    with scope(cell):
        inputs = cell.input(xs.reshape(T * N, *xs.shape[2:])[rows])
        states = _loop(cell.recur, feed, select(first, np.arange(0)) if reverse else first, order)
    steps = [states[t] for t in sorted(states)]
    flat = map_state(lambda *parts: concat(parts), *steps, first)  # the states after all steps, then the first ones
    last = rank if reverse else start[lengths - 1] + rank
    at = np.where(np.arange(T)[:, None] < lengths, start[:-1, None] + rank, start[-1] + rank if reverse else last)
    return _Packed(steps, select(flat, last), flat.h, at)


@dataclass
class _Packed(Unrolled):
    flat: Tensor
    at: Array

    @cached_property
    def outputs(self) -> Tensor:
        return take(self.flat, self.at)


def _resized(part: Tensor, begun: Tensor, rows: int) -> Tensor:
    """The first `rows` sequences: those that ended are left out, those that begin stand as they begin."""
    return part[:rows] if len(part) >= rows else concat([part, begun[len(part) : rows]])


def generate(cell: Cell, feed: Feed, state: Any, steps: int) -> Unrolled:
    """Run a cell on inputs that are made as it goes, at most `steps` of them: a decoder that reads what it wrote.

    feed(t, state) gives x_t and the state to go on from, or None to stop; it may choose among the sequences, as a beam search does.
    """
    if steps < 1:
        raise ValueError(f"generate: steps={steps}, expected at least one.")
    with scope(cell):
        states = list(_loop(cell, feed, state, range(steps)).values())
    return Unrolled(states, states[-1] if states else state)


def truncated(cell: Cell, xs: Value, state: Any = None, *, k1: int, k2: int, fused: Fuse = False) -> Iterator[Unrolled]:
    """Truncated backpropagation through time, BPTT(k1, k2) (Williams & Peng 1990): the run in pieces of k1 steps.

    After each piece the graph is cut k2 steps before its end, so that the gradient of a loss on the piece, taken before the next piece is
    asked for, flows through the last k2 steps only; for k2 > k1 that window slides over steps that earlier pieces went through.
    Weights may be updated after each piece.  Raises ValueError unless 1 <= k1 <= k2.
    fused: as for `unroll`, where k1 = k2 and T is a multiple of them, so that all cuts are between two runs.
    """
    if not 1 <= k1 <= k2:
        raise ValueError(f"truncated: k1={k1}, k2={k2}, expected 1 <= k1 <= k2: every loss needs the step it was made in.")
    T, N = _steps_and_batch(xs)
    if fused and (k1 != k2 or (k1 < T and T % k1)):
        raise ValueError(
            f"truncated: with k1={k1}, k2={k2} and {T} steps the graph would be cut within a fused run, which is one op; "
            f"give k1 = k2, and a multiple of them of steps, or fused=False."
        )
    state = cell.initial_state(N) if state is None else cell.checked_state(state, N)
    state, before = map_state(lambda part: part * 1, state), deque[Any]()  # a copy: cutting must not reach into the caller's graph
    before.append(state)
    for start in range(0, T, k1):
        run = unroll(cell, xs[start : start + k1], state, fused=fused)
        before.extend([state] * (k1 - 1) + [run.state] if isinstance(run, Fused) else run.states)
        while len(before) > k2 + 1:
            before.popleft()
        map_state(lambda part: part.detach_(), before[0])
        yield run
        state = run.state


# ---- states --------------------------------------------------------------------------------------------------------------------------


def map_state(f: Callable[..., Any], *states: Any) -> Any:
    """f of each part of states of the same kind, as such a state: of named tuples, and of tuples of them; None stays."""
    if states[0] is None:
        return None
    if not isinstance(states[0], tuple):
        return f(*states)
    parts = [map_state(f, *parts) for parts in zip(*states, strict=True)]
    return type(states[0])(*parts) if hasattr(states[0], "_fields") else tuple(parts)


def named(state: Any) -> Any:
    """The state, its parts named as its fields: drawings then know what the states made from it are called."""
    for name, part in zip(state._fields, state, strict=True):
        part.name = name
    return state


def detached(state: Any) -> Any:
    """The same numbers without history: here backpropagation through time is truncated."""
    return map_state(lambda part: part.detach(), state)


def select(state: Any, rows: Array) -> Any:
    """The sequences `rows` of a state's batch."""
    return map_state(lambda part: take(part, rows), state)


def _carried(m: Value, new: Any, old: Any) -> Any:
    """m * new + (1 - m) * old, in each part of the state that the step changes."""
    kept = m[:, None].astype(new.h.dtype)
    return map_state(lambda a, b: a if a is b else kept * a + (1 - kept) * b, new, old)


# ---- what is given -------------------------------------------------------------------------------------------------------------------


def _steps_and_batch(xs: Value) -> tuple[int, int]:
    T = len(xs)
    if T == 0:
        raise ValueError("unroll: xs has no time steps; give at least one.")
    shape = np.shape(xs[0].data if isinstance(xs[0], Tensor) else xs[0])
    if not shape:
        raise ValueError(f"unroll: xs is ({T},), expected features (T, N, C) or integer symbols (T, N).")
    return T, shape[0]


def _parts(state: Any) -> list[Any]:
    parts: list[Any] = []
    map_state(parts.append, state)
    return parts


def _checked_lengths(lengths: Value, T: int, N: int) -> Array:
    array = np.asarray(lengths.data if isinstance(lengths, Tensor) else lengths)
    if array.dtype.kind not in "iu" or array.shape != (N,):
        raise ValueError(f"unroll: lengths is {array.dtype} {array.shape}, expected integers ({N},), one for each sequence.")
    if array.min(initial=1) < 1 or array.max(initial=1) > T:
        raise ValueError(f"unroll: lengths from {array.min()} to {array.max()}, expected from 1 to {T}, the number of steps.")
    return array.astype(np.intp)


def _checked_mask(mask: Value, lengths: Value, T: int, N: int) -> Array | None:
    if lengths is not None:
        if mask is not None:
            raise ValueError("unroll: mask and lengths say the same thing; give one of them.")
        return np.arange(T)[:, None] < _checked_lengths(lengths, T, N)
    if mask is None:
        return None
    array = mask.data if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != bool or array.shape != (T, N):
        raise ValueError(f"unroll: mask is {array.dtype} {array.shape}, expected bool {(T, N)}, True where a step happens.")
    return array


def _without_padding(xs: Value, mask: Array) -> Value:
    """xs with zeros where the mask is False, since infinities and symbols that do not exist outlive a product with 0."""
    if isinstance(xs, list):
        return [_without_padding(x, m) for x, m in zip(xs, mask, strict=True)]
    array = xs.data if isinstance(xs, Tensor) else np.asarray(xs)
    wide = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
    if not isinstance(xs, Tensor):
        return np.where(wide, array, array.dtype.type(0))
    return xs if np.isfinite(array).all() and array.dtype.kind not in "iu" else where(wide, xs, array.dtype.type(0))


# ---- a cell and an output ------------------------------------------------------------------------------------------------------------


class Output(NamedTuple):
    """ys (T, N, D), the output at each step, and the state after the last, to go on from."""

    ys: Tensor
    state: Any


class Network(Module):
    """A cell under a linear output: y_t = W_y h_t + b_y.  A subclass says which cell.

    xs (T, N, C) -> ys (T, N, D); W_y (H, D) and b_y (D) start from U(-1/sqrt(H), 1/sqrt(H)).
    """

    Cell: type[Any]

    def __init__(self, inputs: int, hidden: int, outputs: int, *, rng: Generator, dtype: Any = np.float32, **options: Any) -> None:
        bound = 1 / np.sqrt(hidden)
        self.cell = self.Cell(inputs, hidden, rng=rng, dtype=dtype, **options)
        self.W_y = uniform(rng, hidden, outputs, bound=bound, dtype=dtype)
        self.b_y = uniform(rng, outputs, bound=bound, dtype=dtype)

    def forward(self, xs: Value, state: Any = None, *, mask: Value = None, lengths: Value = None) -> Output:
        """xs (T, N, C), or integer symbols (T, N), -> ys (T, N, D) and the last state; `mask` and `lengths` as for `unroll`."""
        run = unroll(self.cell, xs, state, mask=mask, lengths=lengths)
        return Output(run.outputs @ self.W_y + self.b_y, run.state)


def trainable(hidden: int, dtype: Any, wanted: bool) -> Tensor | None:
    """A part of an initial state that is learned, (H), from 0 on, or None."""
    return zeros(hidden, dtype=dtype) if wanted else None
