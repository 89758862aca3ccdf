"""Pictures of chapter 11."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from tutorials.figures.ch10 import BLUE, INK, arrow, box, canvas, knot


def crossing(axes: Any, *points: tuple[float, float]) -> None:
    """A gap in what lies below, for a line that crosses it."""
    for (x, y), (x2, y2) in zip(points[::2], points[1::2], strict=True):
        axes.plot((x, x2), (y, y2), color="white", linewidth=8, zorder=1, solid_capstyle="butt")


def step() -> Figure:
    """One step of a GRU: the road is the state itself."""
    figure, axes = canvas(10, 5.8)
    road, gates, bus, middle = 4.9, 1.75, 0.7, 3.2
    arrow(axes, (1.1, road), (9.1, road), colour=BLUE, width=3)
    arrow(axes, (1.6, road), (1.6, bus), head=False)
    arrow(axes, (1.6, bus), (4.3, bus), head=False)
    arrow(axes, (2.2, 0.2), (2.2, bus), head=False)
    arrow(axes, (1.6, middle), (2.72, middle))
    arrow(axes, (3.28, middle), (5.5, middle))
    for x, words in ((3.0, "σ"), (4.3, "σ")):
        arrow(axes, (x, bus), (x, gates - 0.28))
        box(axes, x, gates, words)
    arrow(axes, (3.0, gates + 0.3), (3.0, middle - 0.28))
    arrow(axes, (6.0, 0.2), (6.0, middle - 0.32))
    crossing(axes, (4.3, middle - 0.25), (4.3, middle + 0.25))
    arrow(axes, (4.3, gates + 0.3), (4.3, road - 0.28))
    crossing(axes, (5.75, 2.45), (6.25, 2.45))
    arrow(axes, (4.3, 2.45), (7.6, 2.45), (7.6, middle - 0.28))
    arrow(axes, (6.5, middle), (7.32, middle))
    arrow(axes, (7.6, middle + 0.28), (7.6, road - 0.28))
    box(axes, 6.0, middle, "tanh")
    knot(axes, 4.3, road, "×", BLUE)
    knot(axes, 7.6, road, "+", BLUE)
    knot(axes, 3.0, middle, "×")
    knot(axes, 7.6, middle, "×")
    labels = (
        (0.6, road, "$h_{t-1}$", BLUE), (9.5, road, "$h_t$", BLUE), (2.5, 0.25, "$x_t$", INK), (6.3, 0.25, "$x_t$", INK),
        (2.7, 2.5, "$r_t$", INK),
        (5.05, 4.15, "$1 - z_t$", INK), (8.0, 2.6, "$z_t$", INK), (6.9, 3.5, r"$\tilde{h}_t$", INK),
        (8.35, 4.1, r"$z_t \odot \tilde{h}_t$", INK),
    )  # fmt: skip
    for x, y, words, colour in labels:
        axes.text(x, y, words, ha="center", va="center", fontsize=15, color=colour)
    return figure


FIGURES = {"11_step": step}
