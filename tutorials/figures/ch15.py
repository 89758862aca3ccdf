"""Pictures of chapter 15."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

BLUE, RED, INK = "#2166ac", "#b2182b", "#222222"


def _box(axes: Any, x: float, y: float, words: str, colour: str) -> None:
    axes.text(x, y, words, ha="center", va="center", fontsize=12, color=colour,
              bbox={"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": colour, "linewidth": 1.4})  # fmt: skip


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = INK, width: float = 1.3, **style: Any) -> None:
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width, **style})


def look() -> Figure:
    """One look of the decoder at the memory of "12 may": the chapter's first query."""
    scores = np.array([4.0, 2.0, -4.0, -6.0, -8.0, -10.0])
    weights = np.exp(scores) / np.exp(scores).sum()
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for s, (letter, weight) in enumerate(zip([*"12", "space", *"may"], weights, strict=True)):
        axes.text(s, -1.15, letter, ha="center", va="center", fontsize=13 if len(letter) == 1 else 9, color=INK)
        _arrow(axes, (s, -0.95), (s, -0.34))
        _box(axes, s, 0, f"$m_{s}$", BLUE)
        if s:
            _arrow(axes, (s - 0.7, 0), (s - 0.3, 0))
        axes.plot([s, 2.5], [0.36, 2.05], color=BLUE, linewidth=0.5 + 6 * weight, alpha=0.35 + 0.65 * weight, solid_capstyle="butt")
        axes.text(s + 0.12 * (2.5 - s), 0.62, f"{weight:.2f}", ha="center", va="center", fontsize=10, color=INK,
                  bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"})  # fmt: skip
    _box(axes, 2.5, 2.3, "context", BLUE)
    _box(axes, 6.6, 0, "$h_{t-1}$", RED)
    _box(axes, 6.6, 2.3, "$h_t$", RED)
    _arrow(axes, (3.1, 2.3), (6.25, 2.3), BLUE)
    _arrow(axes, (6.6, 0.36), (6.6, 1.95), RED)
    _arrow(axes, (6.4, 0.36), (3.1, 2.1), RED, linestyle=(0, (3, 2)))
    axes.text(5.0, 1.5, "query", ha="left", va="center", fontsize=11, color=RED)
    axes.set(xlim=(-0.5, 7.1), ylim=(-1.4, 2.75))
    axes.set_axis_off()
    return figure


FIGURES = {"15_look": look}
