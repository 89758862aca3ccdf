"""Pictures of chapter 18."""

from __future__ import annotations

import numpy as np

from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq.draw import Drawing, draw


def _run(*, fused: bool) -> Drawing:
    cell, xs = RNNCell(2, 3, rng=np.random.default_rng(0)), np.zeros((3, 1, 2), np.float32)
    return draw(unroll(cell, xs, fused=fused).last, params=cell, names={"x": xs}, legend=False)


def elementary() -> Drawing:
    """Three steps of a vanilla RNN, each op a box."""
    return _run(fused=False)


def fused() -> Drawing:
    """The same three steps as one op."""
    return _run(fused=True)


FIGURES = {"18_elementary": elementary, "18_fused": fused}
