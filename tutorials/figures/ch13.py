"""Pictures of chapter 13."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

BLUE, RED, INK = "#2166ac", "#b2182b", "#222222"


def _box(axes: Any, x: float, y: float, words: str, colour: str) -> None:
    axes.text(x, y, words, ha="center", va="center", fontsize=13, color=colour,
              bbox={"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": colour, "linewidth": 1.4})  # fmt: skip


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = INK, bend: float = 0.0) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def both_ways() -> Figure:
    """Two networks that read towards each other, and the outputs in which they meet."""
    figure = Figure(figsize=(7, 3.9), layout="constrained")
    axes = figure.add_subplot()
    for t, letter in enumerate("ab=c"):
        x = 1.6 * t
        axes.text(x, -1.1, letter, ha="center", va="center", fontsize=14, color=INK)
        _arrow(axes, (x + 0.07, -0.85), (x + 0.25, -0.36))
        _arrow(axes, (x - 0.07, -0.85), (x - 0.38, 0.98))
        _box(axes, x - 0.4, 1.3, rf"$\overrightarrow{{h}}_{t}$", BLUE)
        _box(axes, x + 0.3, 0.0, rf"$\overleftarrow{{h}}_{t}$", RED)
        _arrow(axes, (x - 0.38, 1.66), (x - 0.07, 2.32), BLUE)
        _arrow(axes, (x + 0.28, 0.38), (x + 0.07, 2.32), RED)
        _box(axes, x, 2.65, f"$h_{t}$", INK)
        if t:
            _arrow(axes, (x - 1.7, 1.3), (x - 0.7, 1.3), BLUE)
            _arrow(axes, (x, 0.0), (x - 1.0, 0.0), RED)
    axes.set(xlim=(-0.9, 5.6), ylim=(-1.4, 3.1))
    axes.set_axis_off()
    return figure


# F1 in %, as `python -m models.tagger --seed 0` reports it: forward, bidirectional
F1 = {
    "space": (99.5, 99.5), "comment": (99.4, 98.9), "string": (98.6, 99.0), "number": (99.6, 99.0), "operator": (99.0, 99.2),
    "keyword": (89.1, 97.9), "name": (85.3, 98.4), "call": (60.7, 98.3), "target": (69.3, 98.6), "argument": (32.9, 93.5),
    "parameter": (96.4, 95.0), "definition": (100.0, 97.4),
}  # fmt: skip


def found() -> Figure:
    """How well the two networks find each label."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    at = np.arange(len(F1))
    for i, (name, colour) in enumerate((("forward", INK), ("bidirectional", BLUE))):
        axes.bar(at + 0.4 * i - 0.2, [pair[i] for pair in F1.values()], 0.38, color=colour, alpha=0.45 if i == 0 else 1, label=name)
    axes.set_xticks(at, list(F1), rotation=40, ha="right", fontsize=10)
    axes.set_ylabel("F1, %", fontsize=11)
    axes.set_ylim(0, 104)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=10)
    return figure


FIGURES = {"13_both_ways": both_ways, "13_labels": found}
