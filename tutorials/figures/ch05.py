"""Pictures of chapter 5."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

BLUE, RED, INK = "#2166ac", "#b2182b", "#222222"


def steps() -> Figure:
    """The errors of three ways to the derivative of tanh at 0.7."""
    x, right = 0.7, 1 - math.tanh(0.7) ** 2
    hs = np.logspace(-20, 0, 161)
    forward = np.abs((np.tanh(x + hs) - np.tanh(x)) / hs - right)
    central = np.abs((np.tanh(x + hs) - np.tanh(x - hs)) / (2 * hs) - right)
    complex_ = np.abs(np.tanh(x + 1j * hs).imag / hs - right)
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    for errors, colour, words, where in (
        (forward, INK, "forward", (2e-4, 6e-3)),
        (central, RED, "central", (1e-7, 2e-12)),
        (complex_, BLUE, "complex step", (1e-19, 3e-15)),
    ):
        axes.loglog(hs, np.maximum(errors, 3e-17), color=colour, linewidth=1.3)
        axes.text(*where, words, color=colour, fontsize=11)
    axes.set_xlabel("step h", fontsize=11)
    axes.set_ylabel("error of the derivative of tanh at 0.7", fontsize=11)
    axes.invert_xaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {"05_steps": steps}
