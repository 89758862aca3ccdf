"""Pictures of chapter 19."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from numpy.random import Generator

from models.lstm import LSTMCell
from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq import Tensor, grad, softmax
from tinygrad_seq.record import Array

T, D, SEEDS = 64, 8, 50


def _share(gradient: Array) -> Array:
    norms = np.linalg.norm(gradient.reshape(T, -1), axis=1)
    return norms / norms.sum()


def _loop(kind: type[RNNCell | LSTMCell], rng: Generator) -> Array:
    xs = Tensor(rng.normal(size=(T, 1, D)), requires_grad=True)
    return _share(grad(unroll(kind(D, D, rng=rng, dtype=np.float64), xs).last.sum(), xs))


def _attention(rng: Generator) -> Array:
    xs = Tensor(rng.normal(size=(T, D)), requires_grad=True)
    q, k, v = (xs @ (rng.normal(size=(D, D)) / math.sqrt(D)) for _ in range(3))
    return _share(grad((softmax(q[-1:] @ k.T / math.sqrt(D), axis=-1) @ v).sum(), xs))


def reach() -> Figure:
    """What each input does to the last output, of untrained networks: the median over many of them."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    curves: dict[str, tuple[str, Callable[[Generator], Array]]] = {
        "RNN": ("#b2182b", partial(_loop, RNNCell)),
        "LSTM": ("#222222", partial(_loop, LSTMCell)),
        "attention": ("#2166ac", _attention),
    }
    for name, (colour, share) in curves.items():
        middle = np.median([share(np.random.default_rng(seed)) for seed in range(SEEDS)], axis=0)
        axes.plot(np.arange(T), middle, color=colour, linewidth=2)
        axes.annotate(
            name, (10, middle[10]), xytext=(6, 8 if name != "RNN" else -14), textcoords="offset points", color=colour, fontsize=12
        )
    axes.set(yscale="log", xlabel="position of the input, of 64", ylabel="share of the last output's gradient", xlim=(0, T - 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {"19_reach": reach}
