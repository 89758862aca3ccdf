"""What the reader asked to see in the nodes: shapes, dtypes, statistics, numbers; and the gradient, as colour and as width of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from ..ledger import chain
from ..record import Node, grad
from .graph import reachable
from .items import Graph, Item

Show = Literal["shape", "dtype", "stats", "values", "gradient"]
_FEW = 6  # numbers that are shown one by one
_DECADES = 16.0  # of gradients that colours tell apart

# cividis (Nuñez, Anderton & Renslow 2018): of even steps to the eye, also to the colour-blind.
CIVIDIS = (
    "#00224E", "#083370", "#35456C", "#4F576C", "#666970", "#7D7C78", "#948E77", "#AEA371", "#C8B866", "#E5CF52", "#FEE838",
)  # fmt: skip


def gradient_norms(roots: Sequence[Node]) -> dict[int, float]:
    """||dL/dx|| of each node x that L was made from, by its order; L is the sum of the roots, each of which must be a number.

    A root that no gradient flows to adds nothing; ValueError where that is all of them.
    """
    totals: dict[int, Any] = {}
    for root in _flowing(roots):
        nodes = [node for node in reachable([root]) if node._requires_grad]
        for node, g in zip(nodes, grad(root, nodes), strict=True):
            totals[node._order] = totals[node._order] + g if node._order in totals else g
    return {order: _norm(g) for order, g in totals.items()}


def _flowing(roots: Sequence[Node]) -> Sequence[Node]:
    return [root for root in roots if root._requires_grad] or roots


def _norm(g: Any) -> float:
    return float(np.linalg.norm(np.asarray(g, np.float64)))


def shares(graph: Graph, roots: Sequence[Node]) -> dict[Item, float]:
    """||dL/dW_k|| of each copy of a parameter W, where W_k stands for W as the ops use it that this copy leads to: Σ_k dL/dW_k = dL/dW."""
    copies: dict[tuple[int, int], Item] = {}  # by the orders of an op and of the parameter that it uses
    for edge in graph.edges:
        if edge.tail.look == "parameter":
            W = edge.tail.nodes[0]
            copies |= {(node._order, W._order): edge.tail for node in edge.head.nodes if any(x is W for x in node._inputs)}
    norms = dict.fromkeys(copies.values(), 0.0)
    sums: dict[Item, Any] = {}
    for root in _flowing(roots):
        for node, _, parts in chain(root):
            for x, part in parts:
                if (copy := copies.get((node._order, x._order))) is not None:
                    sums[copy] = sums[copy] + part if copy in sums else part
    return norms | {copy: _norm(g) for copy, g in sums.items()}


def annotate(graph: Graph, show: Sequence[Show], roots: Sequence[Node]) -> None:
    """Write into each item what `show` asks for, and paint the gradients of the roots, if there are any."""
    if unknown := [what for what in show if what not in get_args(Show)]:
        raise ValueError(f"draw: show={unknown[0]!r}, expected some of {', '.join(get_args(Show))}.")
    if roots:
        _paint(graph, roots)
    for item in graph.items:
        if item.name and item.look not in ("parameter", "input", "detached"):  # which say it themselves
            item.note = f"{item.note}  {item.name}".strip()
        if not show:
            continue
        lines = [item.note]
        if item.nodes and item.look != "hidden":
            lines.append(_facts(item, show))
        if "gradient" in show and item.gradient is not None:
            lines.append(f"‖∂L‖ {item.gradient:.2g}")
        item.note = "\n".join(filter(None, lines))


def _facts(item: Item, show: Sequence[Show]) -> str:
    data = item.nodes[-1]._data
    facts = []
    if "shape" in show and str(data.shape) not in item.words:
        facts.append(str(data.shape))
    if "dtype" in show and str(data.dtype) not in item.words:
        facts.append(str(data.dtype))
    if data.size <= _FEW and "values" in show:
        facts.append(np.array2string(data, separator=", ", formatter={"all": lambda x: f"{x:.3g}"}).replace("\n", ""))
    elif "stats" in show and data.size and data.dtype.kind in "fiu":
        facts.append(f"{data.mean():.2g} ± {data.std():.2g}, {data.min():.2g} to {data.max():.2g}")
    return "\n".join([" ".join(facts[:2]), *facts[2:]])


def _paint(graph: Graph, roots: Sequence[Node]) -> None:
    """Colour by log ||dL/dx||, from the least to the greatest in the picture; lines are the wider, the more flows back through them."""
    norms, own = gradient_norms(roots), shares(graph, roots)
    for item in graph.items:
        if item.nodes and item.look != "hidden":
            item.gradient = own[item] if item in own else norms.get(item.nodes[-1]._order)
    known = [item.gradient for item in graph.items if item.gradient]
    high = math.log10(max(known, default=1.0))
    low = max(math.log10(min(known, default=1.0)), high - _DECADES)
    graph.scale = low, high
    for item in graph.items:
        if item.gradient is not None:
            item.fill, item.ink = colour(_share(item.gradient, low, high)) if item.gradient else ("#FFFFFF", "#000000")
    for edge in graph.edges:
        flows = edge.tail.gradient
        edge.width = 0.6 + 3.4 * _share(flows, low, high) if flows and edge.look not in ("cut", "fed back") else 0.6


def _share(norm: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (math.log10(norm) - low) / (high - low))) if high > low else 1.0


def colour(share: float) -> tuple[str, str]:
    """The colour for a share of the scale from 0 to 1, and the one of text that can be read on it."""
    at = share * (len(CIVIDIS) - 1)
    i = min(int(at), len(CIVIDIS) - 2)
    below, above = (([int(c[k : k + 2], 16) for k in (1, 3, 5)]) for c in (CIVIDIS[i], CIVIDIS[i + 1]))
    mixed = [round(a + (b - a) * (at - i)) for a, b in zip(below, above, strict=True)]
    return "#" + "".join(f"{c:02X}" for c in mixed), "#000000" if share > 0.45 else "#FFFFFF"
