"""Pictures of chapter 14."""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.figure import Figure

from tinygrad_seq import Tensor, step, tanh
from tutorials.figures.walk import Page, walk

BLUE, RED, INK, GREY = "#2166ac", "#b2182b", "#222222", "#8c8c8c"


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = INK, **style: Any) -> None:
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, **style})


def encoder_decoder() -> Figure:
    """Three steps that read, four that write, and the context between them."""
    figure = Figure(figsize=(7, 3.1), layout="constrained")
    axes = figure.add_subplot()
    steps = [(0.0, "a", "", BLUE), (1.0, "b", "", BLUE), (2.0, "c", "", BLUE)]
    steps += [(3.6, ".", "c", RED), (4.6, "c", "b", RED), (5.6, "b", "a", RED), (6.6, "a", ".", RED)]
    for x, read, written, colour in steps:
        axes.text(x, 0, " h ", ha="center", va="center", fontsize=13, color=colour,
                  bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 1.4})  # fmt: skip
        axes.text(x, -1.25, read, ha="center", va="center", fontsize=13 + 9 * (read == "."), color=INK)
        _arrow(axes, (x, -1.0), (x, -0.38))
        if written:
            axes.text(x, 1.25, written, ha="center", va="center", fontsize=13 + 9 * (written == "."), color=INK)
            _arrow(axes, (x, 0.38), (x, 1.02))
    for (a, *_), (b, *_) in itertools.pairwise(steps):
        _arrow(axes, (a + 0.27, 0), (b - 0.27, 0))
    for a, b in ((3.6, 4.6), (4.6, 5.6), (5.6, 6.6)):
        _arrow(axes, (a + 0.13, 1.2), (b - 0.13, -1.2), GREY, connectionstyle="arc3,rad=0", linestyle=(0, (3, 2)))
    axes.text(2.8, 0.16, "context", ha="center", va="bottom", fontsize=10, color=INK)
    axes.text(1.0, 1.85, "encoder: reads", ha="center", fontsize=11, color=BLUE)
    axes.text(5.1, 1.85, "decoder: reads what it wrote, and writes", ha="center", fontsize=11, color=RED)
    axes.set(xlim=(-0.5, 7.1), ylim=(-1.6, 2.2))
    axes.set_axis_off()
    return figure


P = {"": {"a": 0.6, "b": 0.4}, "a": {"a": 0.3, "b": 0.3, ".": 0.4}, "b": {"a": 0.05, "b": 0.05, ".": 0.9}}


def beam() -> Figure:
    """What a beam of two keeps of the first two steps of the chapter's table."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    ends = [(begin + s, P[""][begin] * p) for begin in "ab" for s, p in P[begin].items()]
    kept = {text for text, _ in sorted(ends, key=lambda each: -each[1])[:2]}
    heights = {text: 2.5 - i - 0.4 * (i > 2) for i, (text, _) in enumerate(ends)}
    begins = {"a": 1.5, "b": -1.9}
    axes.text(-0.05, 0, ".", ha="right", va="center", fontsize=22, color=INK)
    for begin, y in begins.items():
        axes.plot([0, 1], [0, y], color=BLUE, linewidth=1.6)
        axes.text(1.06, y, f"{begin}   {P[''][begin]:.2f}", va="center", fontsize=12, color=BLUE)
    for text, p in ends:
        colour = BLUE if text in kept else GREY
        axes.plot([1.6, 2.6], [begins[text[0]], heights[text]], color=colour, linewidth=1.6 if text in kept else 0.9)
        best = "   the best" if p == max(q for _, q in ends) else "   greedy" if text == "a." else ""
        axes.text(2.66, heights[text], f"{text}   {p:.2f}{best}", va="center", fontsize=12, color=colour)
    axes.set(xlim=(-0.2, 3.8), ylim=(-3.5, 3))
    axes.set_axis_off()
    return figure


def walked() -> Page:
    """Two steps that read, two that write, one number each, and the loss of both letters."""
    numbers = {"W_x": 0.6, "W_h": 0.5, "U_y": -0.4, "U_h": 0.9}
    W_x, W_h, U_y, U_h = (Tensor(number, requires_grad=True, name=name) for name, number in numbers.items())
    h, read_so_far = Tensor(0.0, name="h"), {}
    for t, x in enumerate((1.0, -0.5)):
        with step(t):
            h = tanh(Tensor(x, name=f"x_{t}") * W_x + h * W_h)
            read_so_far[("h_0", "context")[t]] = h
    names = {**dict(zip(numbers, (W_x, W_h, U_y, U_h), strict=True)), **read_so_far}
    losses = []
    for t, (read, wanted) in enumerate(((1.0, 0.5), (0.5, -0.5))):
        with step(2 + t):
            h = tanh(Tensor(read, name="sign" if t == 0 else "y_0") * U_y + h * U_h)
            names[f"s_{t}"] = h
            off = h - Tensor(wanted, name=f"wanted_{t}")
            losses.append(off * off)
    L = losses[0] + losses[1]
    return walk(L, "An encoder and a decoder of one number: two steps that read, two that write", names | {"L": L})


FIGURES = {"14_encoder_decoder": encoder_decoder, "14_beam": beam, "14_walk": walked}
