"""Pictures of chapter 9."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from models.gru import GRUCell
from models.lstm import LSTMCell
from models.rnn import RNNCell
from models.vanishing import gradient_norms
from tinygrad_seq.record import Array

BLUE, RED, GREEN, INK, GREY = "#2166ac", "#b2182b", "#1b7837", "#222222", "#777777"
STEPS = 50


def lengths(g: Array, W_h: Array, slopes: Array) -> Array:
    """The length of a gradient, as given and after each of STEPS steps back through units of these slopes."""
    found = [np.linalg.norm(g)]
    for _ in range(STEPS):
        g = (g * slopes) @ W_h.T
        found.append(np.linalg.norm(g))
    return np.array(found)


def eigenvalues() -> Figure:
    """Four matrices: what the eigenvalues say, and what the gradient does."""
    rng = np.random.default_rng(3)
    W = rng.normal(size=(16, 16))
    small = lengths(rng.normal(size=16) / 4, W * 0.95 / np.linalg.norm(W, 2), np.ones(16))
    one = np.array([1.0, 0.0])
    saturated = np.zeros(2)
    for _ in range(100):
        saturated = np.tanh(1.5 * saturated + 1)
    grown = lengths(one[::-1], np.array([[0.9, 5.0], [0.0, 0.9]]), np.ones(2))
    doubled = lengths(one, np.array([[4.0, -4.0], [4.0, -4.0]]), np.array([1.0, 0.5]))
    curves = (
        (small / small[0], BLUE, "largest singular value 0.95", (21, 4e-3)),
        (grown, INK, "eigenvalues 0.9 and 0.9", (29, 2e3)),
        (doubled, RED, "eigenvalues 0 and 0,\none unit half saturated", (2, 1e11)),
        (lengths(one, 1.5 * np.eye(2), 1 - saturated**2), RED, "eigenvalues 1.5 and 1.5,\nboth saturated", (12.5, 3e-14)),
    )
    figure = Figure(figsize=(5.6, 3.7))
    axes = figure.add_subplot()
    for values, colour, words, where in curves:
        axes.semilogy(values, color=colour, linewidth=1.6, linestyle="--" if words.startswith("eigenvalues 1.5") else "-")
        axes.text(where[0], where[1], words, color=colour, fontsize=10.5, va="center")
    axes.semilogy(0.95 ** np.arange(STEPS + 1.0), ":", color=BLUE, linewidth=1.3)
    axes.text(51, 0.95**50, "its bound", color=BLUE, fontsize=10.5, va="center")
    axes.axhline(1, color=GREY, linewidth=0.7)
    axes.set(xlim=(0, STEPS), ylim=(1e-16, 1e16))
    axes.set_xlabel("steps back", fontsize=11)
    axes.set_ylabel("length of the gradient", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def cells() -> Figure:
    """Three cells as they begin: the gradient of a loss at the end, over five seeds, and its median."""
    T, seeds = 60, range(5)
    curves = (
        (RNNCell, "h", RED, "-", "RNN, at h", (23, 1e-12)),
        (GRUCell, "h", GREEN, "-", "GRU, at h", (47, 4e-9)),
        (LSTMCell, "h", BLUE, "-", "LSTM, at h", (46, 1.5e-7)),
        (LSTMCell, "c", BLUE, "--", "LSTM, at c", (40, 2e-2)),
    )
    figure = Figure(figsize=(5.6, 3.7))
    axes = figure.add_subplot()
    back = np.arange(T - 1, -1, -1)
    for kind, part, colour, line, words, where in curves:
        left = []
        for seed in seeds:
            cell = kind(6, 32, rng=np.random.default_rng(seed), dtype=np.float64)
            found = gradient_norms(cell, np.random.default_rng(seed + 1).integers(0, 6, (T, 1)), seed=seed)
            left.append(found[part] / found["h"][-1])
        axes.semilogy(back, np.median(left, axis=0), line, color=colour, linewidth=1.6)
        axes.fill_between(back, np.min(left, axis=0), np.max(left, axis=0), color=colour, alpha=0.12, linewidth=0)
        axes.text(where[0], where[1], words, color=colour, fontsize=10.5, va="center")
    axes.axhline(1, color=GREY, linewidth=0.7)
    axes.set(xlim=(0, T), ylim=(1e-20, 1e2))
    axes.set_xlabel("steps back", fontsize=11)
    axes.set_ylabel("what is left of the gradient", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {"09_eigenvalues": eigenvalues, "09_cells": cells}
