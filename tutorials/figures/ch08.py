"""Pictures of chapter 8."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq import Tensor, step, tanh
from tinygrad_seq.ledger import heat_maps, loss_table
from tutorials.figures.walk import Page, walk


def table() -> Figure:
    rng = np.random.default_rng(1)
    cell = RNNCell(4, 32, rng=rng, dtype=np.float64)
    run = unroll(cell, rng.standard_normal((24, 1, 4)))
    losses = (run.outputs * rng.standard_normal(run.outputs.shape)).sum(axis=(1, 2))
    figure = Figure(figsize=(5, 3.9), layout="constrained")
    heat_maps(figure, {"": loss_table(losses, run, keep=False)["h"]}, decades=5)
    return figure


def walked() -> Page:
    """Three steps of a network of one number, with a loss at each."""
    W_x, W_h = (Tensor(number, requires_grad=True, name=name) for name, number in (("W_x", 0.8), ("W_h", 1.2)))
    h = Tensor(0.0, name="h")
    names: dict[str, Tensor] = {}
    losses = []
    for t, (x, wanted) in enumerate(((1.0, 0.5), (-0.5, 0.0), (0.3, -0.4))):
        with step(t):
            h = tanh(Tensor(x, name=f"x_{t}") * W_x + h * W_h)
            off = h - Tensor(wanted, name=f"wanted_{t}")
            losses.append(off * off)
            names |= {f"h_{t}": h, f"L_{t}": losses[-1]}
    L = losses[0] + losses[1] + losses[2]
    return walk(L, "Three steps of a recurrent network of one number, with a loss at each, and back", {**names, "L": L})


FIGURES = {"08_table": table, "08_walk": walked}
