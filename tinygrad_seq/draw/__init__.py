"""draw(y): the computation graph as the textbook draws an unrolled network, steps as equal columns from left to right.

The DOT text carries its own layout, so it is the same, byte for byte, wherever it is made; rendering is a separate, last step.

    graph.py (with places.py, items.py)    the record as items and edges, on a grid of stages, rows and steps
    fold.py, paint.py                      several items as one; what is written into them, gradients as colour
    layers.py, layout.py, route.py         one drawing for each kind of block; blocks on the grid; lines in lanes
    boxes.py, dot.py (with looks.py)       boxes and their captions; the DOT text and the legend
    plain.py                               the DOT text without places, for dot's own layout
    render.py                              the picture in the user's hand
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from ..nn import Module
from ..tensor import Tensor
from .boxes import boxes_of
from .dot import dot_text
from .fold import Depth, Steps, folded
from .graph import graph_of
from .layout import Layout
from .paint import Show, annotate
from .plain import plain_text
from .render import Drawing
from .route import Router

__all__ = ["Drawing", "draw"]


def draw(
    y: Tensor | Sequence[Tensor],
    *,
    params: Module | Mapping[str, Tensor] | None = None,
    names: Mapping[str, Any] | None = None,
    title: str | None = None,
    legend: bool = True,
    depth: Depth | None = None,
    steps: Steps | None = None,
    rolled: bool = False,
    weights: Literal["copies", "once"] = "copies",
    show: Show | Sequence[Show] = (),
    gradients: bool = False,
    layout: Literal["columns", "dot"] = "columns",
) -> Drawing:
    """The computation graph of y, a Tensor or several: time steps as columns from left to right, inputs below, results above.

    Layers and directions are rows; a network that begins with the state in which another ended, as a decoder does, stands to its right.

    params: a module, or parameters by name.  names: other tensors and arrays by name, or lists of them; what is neither is ignored, so
        that `locals()` will do.
    depth: "op"; "gate", each innermost scope as one node; "cell", each step of a cell; "layer", each run over all its steps.
    steps: the steps to draw, as numbers (-1 is the last) or a slice, the others of each run as one column; "all" draws every one.
    rolled: one step that stands for all, with dashed edges for what it hands to the next.
        What is not said of these three is chosen so that the picture can be read, and the picture then says how to unfold it.
    weights: "copies", a parameter in each step that uses it, or "once", one node with lines to all.
    show: what to write into the nodes, of "shape", "dtype", "stats", "values" (where there are few) and "gradient".
    gradients: paint the norm of dL/dx of each node x, where L is y, as colour on a logarithmic scale and as width of lines; of a copy of
        a weight, the share that its step has of it: the shares sum to dL/dW.
    layout: "columns", or "dot", the places that Graphviz's `dot` finds, with the same boxes.  Columns are the default without steps too:
        a parameter stands beside its op and a chain upright, where `dot` bends a chain to make room for them; all pictures are then of one
        kind, and the same wherever they are rendered.  What `dot` is left to place has no coordinates in `graph`, and takes it minutes
        where there are many nodes.

    Raises TypeError for what is not a Tensor, ValueError for a depth, step or `show` that does not exist, and for gradients of a y that
    is not a number or has none.
    """
    roots: list[Any] = list(y) if isinstance(y, (list, tuple)) else [y]
    if not roots:
        raise TypeError("draw: got no tensors, expected a Tensor or several.")
    for root in roots:
        if not isinstance(root, Tensor):
            raise TypeError(f"draw: got {type(root).__name__}, expected a Tensor, such as the loss.")
    parameters = params.named_parameters() if isinstance(params, Module) else params or {}
    for name, tensor in parameters.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"draw: params[{name!r}] is {type(tensor).__name__}, expected a Tensor.")
    if weights not in ("copies", "once"):
        raise ValueError(f'draw: weights={weights!r}, expected "copies" or "once".')
    if layout not in ("columns", "dot"):
        raise ValueError(f'draw: layout={layout!r}, expected "columns" or "dot".')
    with _no_collector():
        graph = graph_of(roots, {id(tensor): name for name, tensor in parameters.items()}, _named(names or {}), weights)
        called = {item.nodes[0]._order: item.name for item in graph.items if item.nodes}
        graph = folded(graph, depth, steps, rolled)
        annotate(graph, (show,) if isinstance(show, str) else show, roots if gradients or "gradient" in show else ())
        if layout == "dot":
            return Drawing(plain_text(graph, title, legend), graph, [], roots, called, title, "dot")
        grid = Layout(graph)
        Router(grid)
        boxes, loose = boxes_of(grid)
        return Drawing(dot_text(graph, grid, boxes, loose, title, legend), graph, boxes, roots, called, title)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without Python's collector of cycles, which would look through the growing picture again and again, a quarter of the time.

    Frozen and thawed, all that there is then counts as old, and is not looked through at once for being new.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if not gc.get_freeze_count():  # else somebody wants it to stay frozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _named(names: Mapping[str, Any]) -> dict[int, str]:
    """Names by the identity of what they name; the items of a list are numbered."""
    found: dict[int, str] = {}
    for name, value in names.items():
        several = value if isinstance(value, (list, tuple)) else ()
        for key, thing in [(name, value), *((f"{name}_{i}", part) for i, part in enumerate(several))]:
            if isinstance(thing, (Tensor, np.ndarray)):
                found.setdefault(id(thing), key)
    return found
