"""Recurrent layers on top of each other: the outputs of one are the inputs of the next (Graves 2013; Chaudhury 2024, ch. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from models.bidirectional import Bidirectional, BothWays, Merge, check_packed
from models.recurrent import Cell, Fuse, Unrolled, unroll, unroll_packed
from tinygrad_seq import Tensor
from tinygrad_seq.nn import Dropout, Module
from tinygrad_seq.record import Value


@dataclass
class StackedRun:
    """A run through all layers, `layers[0]` the lowest."""

    layers: list[Unrolled | BothWays]

    @property
    def outputs(self) -> Tensor:
        """The outputs of the highest layer, (T, N, H)."""
        return self.layers[-1].outputs

    @property
    def state(self) -> tuple[Any, ...]:
        """Each layer's state, to go on from."""
        return tuple(run.state for run in self.layers)

    @property
    def last(self) -> Tensor:
        """What the highest layer makes of each whole sequence, (N, H)."""
        return self.layers[-1].last


class Stacked(Module):
    """Layers, each a cell or a `Bidirectional`, run one after the other over all time; xs (T, N, C) -> outputs (T, N, H) of the highest.

    dropout: the probability at which, in training, a number between two layers is dropped.
    """

    def __init__(self, layers: Sequence[Cell | Bidirectional], *, dropout: float = 0.0, rng: Generator | None = None) -> None:
        if not layers:
            raise ValueError("Stacked: no layers; give at least one.")
        if dropout and rng is None:
            raise ValueError(f"Stacked: dropout={dropout} needs a source of randomness; give rng.")
        self.layers = list(layers)
        self.dropout = Dropout(dropout, rng=rng or np.random.default_rng(0))

    def forward(
        self, xs: Value, state: Sequence[Any] | None = None, *, mask: Value = None, lengths: Value = None, packed: bool = False,
        fused: Fuse = False,
    ) -> StackedRun:  # fmt: skip
        """xs (T, N, C), or integer symbols (T, N); the rest as for `unroll`, or with packed=True for `unroll_packed`."""
        if state is not None and len(state) != len(self.layers):
            raise ValueError(f"Stacked: states of {len(state)} layers, expected {len(self.layers)}.")
        runs: list[Unrolled | BothWays] = []
        for i, layer in enumerate(self.layers):
            xs = self.dropout(runs[-1].outputs) if runs else xs
            runs.append(run_layer(layer, xs, state[i] if state else None, mask=mask, lengths=lengths, packed=packed, fused=fused))
        return StackedRun(runs)


def run_layer(
    layer: Cell | Bidirectional, xs: Value, state: Any = None, *, mask: Value = None, lengths: Value = None, packed: bool = False,
    fused: Fuse = False,
) -> Unrolled | BothWays:  # fmt: skip
    """A cell or a `Bidirectional` over time."""
    if isinstance(layer, Bidirectional):
        run: BothWays = layer(xs, state, mask=mask, lengths=lengths, packed=packed, fused=fused)
        return run
    if packed:
        check_packed(mask, lengths, fused)
        return unroll_packed(layer, xs, lengths, state)
    return unroll(layer, xs, state, mask=mask, lengths=lengths, fused=fused)


def stacked(
    cell: type[Any], inputs: int, hidden: int, *, layers: int = 1, bidirectional: bool = False, merge: Merge = "concat",
    dropout: float = 0.0, rng: Generator, **options: Any,
) -> Stacked:  # fmt: skip
    """Layers of one kind of cell; `options` go to each cell, as bias=False or dtype=np.float64 do."""
    made: list[Cell | Bidirectional] = []
    for _ in range(layers):
        directions = [cell(inputs, hidden, rng=rng, **options) for _ in range(2 if bidirectional else 1)]
        made.append(Bidirectional(*directions, merge=merge) if bidirectional else directions[0])
        inputs = 2 * hidden if bidirectional and merge == "concat" else hidden
    return Stacked(made, dropout=dropout, rng=rng)
