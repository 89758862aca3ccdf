"""Reading a sequence in both directions (Schuster & Paliwal 1997; Chaudhury 2024, ch. 10)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

from models.recurrent import Cell, Fuse, Unrolled, unroll, unroll_packed
from tinygrad_seq import Tensor, concat
from tinygrad_seq.nn import Module
from tinygrad_seq.record import Value

Merge = Literal["concat", "sum", "mean", "product"]


class Both(NamedTuple):
    """The states of the two directions: `forward` after the last step, `backward` after the first."""

    forward: Any
    backward: Any


@dataclass
class BothWays:
    """A run in both directions, each an `Unrolled` of its own, and what they make together."""

    forward: Unrolled
    backward: Unrolled
    merge: Merge

    @cached_property
    def outputs(self) -> Tensor:
        """h_t of both directions, merged: (T, N, 2H) by concat, else (T, N, H).

        `outputs[-1]` is not what the network makes of the sequence: the backward half of it has seen one step only.  That is `last`.
        """
        return merged(self.forward.outputs, self.backward.outputs, self.merge)

    @property
    def state(self) -> Both:
        """The states to go on from, one a direction."""
        return Both(self.forward.state, self.backward.state)

    @property
    def last(self) -> Tensor:
        """What each direction holds after its last step, the whole sequence read both ways, merged: (N, 2H) by concat, else (N, H)."""
        return merged(self.forward.last, self.backward.last, self.merge)


class Bidirectional(Module):
    """h_t = [h→_t; h←_t], where h→_t = cell(x_t, h→_(t-1)) and h←_t = cell(x_t, h←_(t+1)), two cells with weights of their own.

    merge: "concat", or "sum", "mean", "product" of the two.  xs (T, N, C) -> outputs (T, N, 2H), last (N, 2H).
    """

    def __init__(self, forward: Cell, backward: Cell, *, merge: Merge = "concat") -> None:
        if merge not in get_args(Merge):
            raise ValueError(f"Bidirectional: merge={merge!r}, expected one of {', '.join(get_args(Merge))}.")
        if forward is backward:
            raise ValueError("Bidirectional: the same cell was given for both directions; give two.")
        self.forward_cell, self.backward_cell, self.merge = forward, backward, merge

    def forward(
        self, xs: Value, state: Both | None = None, *, mask: Value = None, lengths: Value = None, packed: bool = False, fused: Fuse = False
    ) -> BothWays:
        """xs (T, N, C), or integer symbols (T, N); the rest as for `unroll`, or with packed=True for `unroll_packed`."""
        there, back = state or Both(None, None)
        if packed:
            check_packed(mask, lengths, fused)
            return BothWays(
                unroll_packed(self.forward_cell, xs, lengths, there), unroll_packed(self.backward_cell, xs, lengths, back, reverse=True),
                self.merge,
            )  # fmt: skip
        return BothWays(
            unroll(self.forward_cell, xs, there, mask=mask, lengths=lengths, fused=fused),
            unroll(self.backward_cell, xs, back, mask=mask, lengths=lengths, reverse=True, fused=fused),
            self.merge,
        )


def check_packed(mask: Value, lengths: Value, fused: Fuse = False) -> None:
    """ValueError unless there are lengths, and nothing else, to pack by, and no program to run, whose batch never shrinks."""
    if fused is True:
        raise ValueError("packed=True computes fewer sequences at each step, a fused program all of them; give one of the two.")
    if lengths is None or mask is not None:
        raise ValueError("packed=True takes lengths, and no mask: only what comes after the end of a sequence can be left out.")


def merged(there: Tensor, back: Tensor, merge: Merge) -> Tensor:
    """Two tensors as one."""
    if merge == "concat":
        return concat([there, back], axis=-1)
    if there.shape != back.shape:
        raise ValueError(f"Bidirectional: sizes {there.shape[-1]} and {back.shape[-1]} cannot be merged by {merge}; give equal ones.")
    if merge == "product":
        return there * back
    both: Tensor = there + back
    return both / 2 if merge == "mean" else both
