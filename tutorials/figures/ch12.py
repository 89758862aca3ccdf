"""Pictures of chapter 12."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BLUE, INK, GREY = "#2166ac", "#222222", "#dddddd"
TEXTS = ([1, 2], [4, 3, 2, 1, 4, 3], [2], [3, 1, 4])


def packed() -> Figure:
    """The chapter's four texts as they came and longest first."""
    figure = Figure(figsize=(4.4, 5), layout="constrained")
    T = max(map(len, TEXTS))
    orders = (("padded", list(range(len(TEXTS)))), ("packed, longest first", sorted(range(len(TEXTS)), key=lambda n: -len(TEXTS[n]))))
    for axes, (name, order) in zip(figure.subplots(2, 1), orders, strict=True):
        for row, n in enumerate(order):
            axes.text(-0.25, row + 0.5, f"text {n}", ha="right", va="center", fontsize=10, color=INK)
            for t in range(T):
                real = t < len(TEXTS[n])
                if real or name == "padded":
                    axes.add_patch(Rectangle((t + 0.05, row + 0.05), 0.9, 0.9, facecolor=BLUE if real else GREY, edgecolor="none"))
                    words, colour = (str(TEXTS[n][t]), "white") if real else ("0", "#8c8c8c")
                    axes.text(t + 0.5, row + 0.5, words, ha="center", va="center", fontsize=11, color=colour)
        for t in range(T):
            alive = len(TEXTS) if name == "padded" else sum(len(text) > t for text in TEXTS)
            axes.text(t + 0.5, len(TEXTS) + 0.4, str(alive), ha="center", va="center", fontsize=11, color=INK)
        axes.text(-0.25, len(TEXTS) + 0.4, "rows", ha="right", va="center", fontsize=10, color=INK)
        axes.set_title(name, fontsize=11, color=INK)
        axes.set(xlim=(-1.5, T), ylim=(len(TEXTS) + 0.8, 0), aspect="equal")
        axes.set_axis_off()
    return figure


FIGURES = {"12_packed": packed}
