"""Pictures of chapter 6."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tinygrad_seq import Tensor, cross_entropy, no_grad, tanh
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.optim import SGD

BLUE, RED = "#2166ac", "#b2182b"


class TwoLayers(Module):
    """The network of the chapter."""

    def __init__(self, hidden: int, rng: np.random.Generator) -> None:
        self.first = Linear(2, hidden, rng=rng)
        self.second = Linear(hidden, 2, rng=rng)

    def forward(self, x: Any) -> Tensor:
        """Points (N, 2) -> logits (N, 2)."""
        return self.second(tanh(self.first(x)))


def points(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """The points of the chapter, (N, 2), and their kinds, (N)."""
    kind = rng.integers(0, 2, n)
    radius = np.where(kind == 0, rng.uniform(0.0, 1.0, n), rng.uniform(1.2, 2.2, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), kind


def graph() -> Drawing:
    net = TwoLayers(16, np.random.default_rng(1))
    xs, kinds = points(200, np.random.default_rng(0))
    x = Tensor(xs.astype(np.float32), name="x")
    loss = cross_entropy(net(x), kinds)
    return draw(loss, params=net, names={"loss": loss})


def plane() -> Figure:
    xs, kinds = points(200, np.random.default_rng(0))
    side = np.linspace(-2.5, 2.5, 201)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    figure = Figure(figsize=(7, 3.6))
    nets = (Linear(2, 2, rng=np.random.default_rng(1)), "one layer"), (TwoLayers(16, np.random.default_rng(1)), "two layers")
    for i, (net, words) in enumerate(nets):
        optimiser = SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(300):
            loss = cross_entropy(net(xs), kinds)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with no_grad():
            logits = net(grid).numpy()
        axes = figure.add_subplot(1, 2, i + 1)
        score = logits[..., 1] - logits[..., 0]
        axes.contourf(side, side, score, levels=[-1e9, 0, 1e9], colors=["#d6e4f2", "#f6d9dc"])
        axes.contour(side, side, score, levels=[0], colors="#222222", linewidths=1)
        for kind, colour in enumerate((BLUE, RED)):
            axes.plot(*xs[kinds == kind].T, ".", color=colour, markersize=4)
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.set_title(words, fontsize=11)
    return figure


FIGURES = {"06_graph": graph, "06_plane": plane}
