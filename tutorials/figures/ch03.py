"""Pictures of chapter 3."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

BLUE, RED, INK = "#2166ac", "#b2182b", "#222222"


def _cells(axes: Any, x: float, y: float, rows: list[list[str]], colour: str, faint: bool = False) -> None:
    """An array, its upper left corner at (x, y); `faint` for what is there only as if."""
    for i, row in enumerate(rows):
        for j, words in enumerate(row):
            axes.add_patch(
                Rectangle(
                    (x + j, y - i - 1), 1, 1, facecolor="white", edgecolor=colour, linewidth=1.2, linestyle=(0, (2, 2)) if faint else "-"
                )
            )
            axes.text(x + j + 0.5, y - i - 0.52, words, ha="center", va="center", fontsize=11, color=colour)


def _arrow(axes: Any, a: tuple[float, float], b: tuple[float, float], words: str, colour: str) -> None:
    axes.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=14, color=colour, linewidth=1.6))
    axes.text((a[0] + b[0]) / 2, a[1] + 0.2, words, ha="center", va="bottom", fontsize=10.5, color=colour)


def broadcast() -> Figure:
    figure = Figure(figsize=(7.0, 3.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.9, 9.2), ylim=(-4.3, 2.1), aspect="equal")
    axes.set_axis_off()
    axes.text(-1.8, 0.5, "forward", fontsize=12, weight="bold", color=BLUE, va="center")
    _cells(axes, 0, 1, [["$b_1$", "$b_2$", "$b_3$"]], BLUE)
    _arrow(axes, (3.3, 0.5), (5.6, 0.5), "stretch", BLUE)
    _cells(axes, 5.9, 1.5, [["$b_1$", "$b_2$", "$b_3$"]] * 2, BLUE, faint=True)
    axes.text(-1.8, -2.6, "back", fontsize=12, weight="bold", color=RED, va="center")
    _cells(axes, 5.9, -1.6, [[f"$g_{{{i}{j}}}$" for j in (1, 2, 3)] for i in (1, 2)], RED)
    _arrow(axes, (5.6, -2.6), (3.3, -2.6), "sum", RED)
    _cells(axes, 0, -2.1, [["", "", ""]], RED)
    for j in (1, 2, 3):
        axes.text(j - 0.5, -2.6, f"$g_{{1{j}}}$\n$+\\,g_{{2{j}}}$", ha="center", va="center", fontsize=9, color=RED, linespacing=1.0)
    axes.text(1.5, -3.35, "(3)", ha="center", va="top", fontsize=10, color=INK)
    axes.text(7.4, -3.85, "(2, 3)", ha="center", va="top", fontsize=10, color=INK)
    axes.text(1.5, 1.25, "(3)", ha="center", va="bottom", fontsize=10, color=INK)
    axes.text(7.4, 1.65, "(2, 3)", ha="center", va="bottom", fontsize=10, color=INK)
    return figure


FIGURES = {"03_broadcast": broadcast}
