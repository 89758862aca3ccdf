"""Pictures of chapter 2."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from tinygrad_seq import Tensor
from tutorials.figures.walk import Page, walk

BLUE, RED, INK = "#2166ac", "#b2182b", "#222222"


def _node(axes: Any, x: float, y: float, name: str, below: str, colour: str) -> None:
    axes.text(
        x, y, name, ha="center", va="center", fontsize=14, color=INK, style="italic",
        bbox={"boxstyle": "circle,pad=0.4", "facecolor": "white", "edgecolor": colour, "linewidth": 1.5},
    )  # fmt: skip
    axes.text(x + 0.42, y, below, ha="left", va="center", fontsize=10.5, color=colour)


def _hand(axes: Any, x: float, y: float, side: float, words: str, colour: str, dashed: bool = False) -> None:
    """An arrow from the value at height y to the one below, bent to a side, with what it hands on."""
    arrow = FancyArrowPatch(
        (x + 0.1 * side, y - 0.28), (x + 0.1 * side, y - 0.95), connectionstyle=f"arc3,rad={-0.45 * side}", arrowstyle="-|>",
        mutation_scale=12, color=colour, linewidth=1.4, linestyle="--" if dashed else "-",
    )  # fmt: skip
    axes.add_patch(arrow)
    axes.text(x + 0.36 * side, y - 0.62, words, ha="left" if side > 0 else "right", va="center", fontsize=10.5, color=colour)


def order() -> Figure:
    figure = Figure(figsize=(7.2, 4.0))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.0, 4.8), ylim=(-0.5, 3.0))
    axes.set_axis_off()
    for x, title, colour in ((0.0, "too early", RED), (3.5, "newest first", BLUE)):
        axes.text(x, 2.8, title, ha="center", va="center", fontsize=12, weight="bold", color=colour)
        _node(axes, x, 2.3, "c", "1", INK)
    _hand(axes, 0, 2.3, -1, "first: 1", INK)
    _hand(axes, 0, 2.3, 1, "fourth: 1", RED)
    _node(axes, 0, 1.1, "b", "2, but it has already handed on 1", RED)
    _hand(axes, 0, 1.1, -1, "second: 1", RED)
    _hand(axes, 0, 1.1, 1, "third: 1", RED)
    _node(axes, 0, -0.1, "a", "2, and it should be 4", RED)
    _hand(axes, 3.5, 2.3, -1, "first: 1", INK)
    _hand(axes, 3.5, 2.3, 1, "second: 1", INK)
    _node(axes, 3.5, 1.1, "b", "2, all is in", BLUE)
    _hand(axes, 3.5, 1.1, -1, "third: 2", BLUE)
    _hand(axes, 3.5, 1.1, 1, "fourth: 2", BLUE)
    _node(axes, 3.5, -0.1, "a", "4", BLUE)
    return figure


def doublings() -> Page:
    a = Tensor(1.0, requires_grad=True, name="a")
    b = a + a
    c = b + b
    return walk(c, "b = a + a, c = b + b, and back", {"b": b, "c": c})


FIGURES = {"02_order": order, "02_walk": doublings}
