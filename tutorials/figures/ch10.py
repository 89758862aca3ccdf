"""Pictures of chapter 10."""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.figure import Figure

from tinygrad_seq import Tensor, scope, sigmoid, tanh
from tinygrad_seq import step as step_
from tutorials.figures.walk import Page, walk

BLUE, RED, INK, GREY = "#2166ac", "#b2182b", "#222222", "#777777"


def canvas(width: float, height: float) -> tuple[Figure, Any]:
    """An empty page, a unit of which is 0.6 inches, so that its words can be read on a phone as well."""
    figure = Figure(figsize=(0.6 * width, 0.6 * height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def arrow(axes: Any, *points: tuple[float, float], colour: str = INK, width: float = 1.3, head: bool = True) -> None:
    """A line along the points, with a head at its end."""
    for (x, y), (x2, y2) in itertools.pairwise(points):
        axes.plot((x, x2), (y, y2), color=colour, linewidth=width, solid_capstyle="round", zorder=1)
    if head:
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", points[-1], points[-2], arrowprops=style, zorder=1)


def box(axes: Any, x: float, y: float, words: str, colour: str = INK) -> None:
    """A function, in a rounded box."""
    style = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour, "linewidth": 1.3}
    axes.text(x, y, words, ha="center", va="center", fontsize=12.5, color=colour, bbox=style, zorder=3)


def knot(axes: Any, x: float, y: float, sign: str, colour: str = INK) -> None:
    """A product or a sum, in a circle."""
    axes.plot(x, y, "o", markersize=20, markerfacecolor="white", markeredgecolor=colour, markeredgewidth=1.5, zorder=2)
    axes.text(x, y, sign, ha="center", va="center_baseline", fontsize=14.5, color=colour, zorder=3)


def step() -> Figure:
    """One step of an LSTM: the road of c at the top."""
    figure, axes = canvas(10, 5.8)
    road, gates, bus = 4.9, 1.9, 0.8
    arrow(axes, (1.1, road), (9.1, road), colour=BLUE, width=3)
    arrow(axes, (1.1, bus), (7.2, bus), head=False)
    arrow(axes, (1.7, 0.25), (1.7, bus), head=False)
    for x, words in ((2.5, "σ"), (3.9, "σ"), (5.3, "tanh"), (7.2, "σ")):
        arrow(axes, (x, bus), (x, gates - 0.28))
        box(axes, x, gates, words)
    arrow(axes, (2.5, gates + 0.3), (2.5, road - 0.28))
    arrow(axes, (3.9, gates + 0.3), (3.9, 3.3), (5.02, 3.3))
    arrow(axes, (5.3, gates + 0.3), (5.3, 3.02))
    arrow(axes, (5.3, 3.55), (5.3, road - 0.28))
    arrow(axes, (8.2, road), (8.2, 4.25), colour=BLUE)
    box(axes, 8.2, 3.95, "tanh")
    arrow(axes, (8.2, 3.65), (8.2, 3.12))
    arrow(axes, (7.2, gates + 0.3), (7.2, 2.85), (7.92, 2.85))
    arrow(axes, (8.45, 2.85), (9.1, 2.85))
    knot(axes, 2.5, road, "×", BLUE)
    knot(axes, 5.3, road, "+", BLUE)
    knot(axes, 5.3, 3.3, "×")
    knot(axes, 8.2, 2.85, "×")
    labels = (
        (0.6, road, "$c_{t-1}$", BLUE), (9.5, road, "$c_t$", BLUE), (0.6, bus, "$h_{t-1}$", INK), (2.02, 0.28, "$x_t$", INK),
        (9.5, 2.85, "$h_t$", INK), (2.8, 3.4, "$f_t$", INK), (3.6, 2.75, "$i_t$", INK), (5.62, 2.55, r"$\tilde{c}_t$", INK),
        (6.1, 4.15, r"$i_t \odot \tilde{c}_t$", INK), (6.9, 2.55, "$o_t$", INK),
    )  # fmt: skip
    for x, y, words, colour in labels:
        axes.text(x, y, words, ha="center", va="center", fontsize=15, color=colour)
    return figure


def walked() -> Page:
    """Two steps of an LSTM of one number; the gates look at the input alone, to keep the page small."""
    weights = {
        name: Tensor(number, requires_grad=True, name=name) for name, number in (("W_f", 2.0), ("W_i", 1.0), ("W_o", 0.7), ("W_c", 1.5))
    }
    h, c = Tensor(0.0, name="h"), Tensor(0.3, requires_grad=True, name="c")
    names: dict[str, Tensor] = {}
    for t, x in enumerate((0.9, 0.4)):
        with step_(t):
            read = Tensor(x, name=f"x_{t}")
            gates = []
            for name, function in (("f", sigmoid), ("i", sigmoid), ("c", tanh), ("o", sigmoid)):
                with scope(name if name != "c" else "c̃"):
                    gates.append(function(read * weights[f"W_{name}"]))
            f, i, made, o = gates
            c = f * c + i * made
            h = o * tanh(c)
            names |= {f"f_{t}": f, f"i_{t}": i, f"o_{t}": o, f"c~_{t}": made, f"c_{t}": c, f"h_{t}": h}
    return walk(names["h_0"] + h, "Two steps of an LSTM of one number: along the road of c, and back", names)


FIGURES = {"10_step": step, "10_walk": walked}
