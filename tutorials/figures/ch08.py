"""Pictures of chapter 8."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq.ledger import heat_maps, loss_table


def table() -> Figure:
    rng = np.random.default_rng(1)
    cell = RNNCell(4, 32, rng=rng, dtype=np.float64)
    run = unroll(cell, rng.standard_normal((24, 1, 4)))
    losses = (run.outputs * rng.standard_normal(run.outputs.shape)).sum(axis=(1, 2))
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    heat_maps(figure, {"": loss_table(losses, run, keep=False)["h"]}, decades=5)
    return figure


FIGURES = {"08_table": table}
