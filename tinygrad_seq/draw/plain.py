"""The DOT text of a graph whose layout is left to `dot`: nodes in nested boxes, lines, and a legend, without places."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .dot import BOXES, frame, label, sized, text
from .items import START, Edge, Graph, Item
from .looks import LINES, LOOKS, MEANINGS
from .paint import colour

_HEADER = [
    "digraph {",
    'graph [rankdir=BT, ranksep=0.3, nodesep=0.25, fontname="Helvetica,Arial,sans-serif", pad=0.2]',
    'node [fontname="Helvetica,Arial,sans-serif", fixedsize=shape]',
    'edge [arrowsize=0.7, fontname="Helvetica,Arial,sans-serif", fontsize=10]',
]
Path = tuple[tuple[str, Any, str], ...]  # (kind, number, name) of the boxes around something, the outermost first


def plain_text(graph: Graph, title: str | None, legend: bool) -> str:
    """The DOT text of a graph that is not laid out."""
    said = [f'<FONT POINT-SIZE="{size}">{text(words)}</FONT>' for words, size in ((title, 16), (graph.remark, 10)) if words]
    lines = _HEADER + ([f"graph [label=<{'<BR/>'.join(said)}>, labelloc=t]"] if said else [])
    lines += [*_boxes(graph), *map(_edge, graph.edges), *(_legend(graph) if legend else [])]
    return "\n".join([*lines, "}", ""])


def _boxes(graph: Graph) -> list[str]:
    """The nodes, in boxes for runs, steps and scopes, which a stack holds instead of recursion."""
    items: dict[Path, list[Item]] = {(): []}
    boxes: dict[Path, list[Path]] = {(): []}
    for item in graph.items:
        path = _path(graph, item)
        for depth in range(1, len(path) + 1):
            if path[:depth] not in items:
                items[path[:depth]], boxes[path[:depth]] = [], []
                boxes[path[: depth - 1]].append(path[:depth])
        items[path].append(item)
    lines, count, stack = list(map(_node, items[()])), 0, [*reversed(boxes[()])]
    while stack:
        path = stack.pop()
        if not path:
            lines.append("}")
            continue
        kind, _, name = path[-1]
        place = "b" if kind == "step" else "t"  # where its name stands
        lines += [f"subgraph cluster_{count} {{", f"graph [label=<{text(name)}>, labelloc={place}, labeljust=l, {BOXES[kind]}]"]
        lines += map(_node, items[path])
        stack += [(), *reversed(boxes[path])]
        count += 1
    return lines


def _path(graph: Graph, item: Item) -> Path:
    run = graph.run_of(item)
    if run is None or item.step == START:
        return tuple(("scope", item.block[:2], name) for name in item.scopes)  # of networks that are called the same, each its own
    return (("run", run.number, run.name), ("step", item.step, graph.caption(item.block)), *(("scope", 0, name) for name in item.scopes))


def _node(item: Item) -> str:
    look = frame(item.look, item.fill, *sized(item)) if item.look != "constant" else "shape=plaintext, fixedsize=false, width=0, height=0"
    return f"{item.id} [label=<{label(item.words, item.note, item.ink)}>, {look}]"


def _edge(edge: Edge) -> str:
    width = f", penwidth={edge.width:.1f}" if edge.width else ""
    words = f", label=<{text(edge.words)}>" if edge.words else ""
    return f"{edge.tail.id} -> {edge.head.id} [{LINES[edge.look]}{width}{words}]"


def _legend(graph: Graph) -> list[str]:
    """A sample of each look and line that the picture has, one below the other."""
    looks, strokes = {item.look for item in graph.items} - {"constant"}, {edge.look for edge in graph.edges}
    lines = ["subgraph cluster_legend {", 'graph [label=legend, color="#DDDDDD", fontsize=11]']
    column: list[tuple[str, str]] = []  # the upper and the lower end of each sample
    for i, look in enumerate(LOOKS):
        if look in looks:
            lines.append(_node(Item(f"legend_{i}", look, MEANINGS[look], None)))
            column.append((f"legend_{i}", f"legend_{i}"))
    for i, look in enumerate(LINES):
        if look in strokes:
            upper, lower = f"legend_to_{i}", f"legend_from_{i}"
            lines += [f'{end} [label="", shape=point, style=invis]' for end in (upper, lower)]
            lines.append(f"{lower} -> {upper} [{LINES[look]}, label=<{text(MEANINGS[look])}>]")
            column.append((upper, lower))
    if graph.scale:
        cells = "".join(f'<TD WIDTH="10" BGCOLOR="{colour(i / 11)[0]}"> </TD>' for i in range(12))
        low, high = (f"{10.0**power:.0e}" for power in graph.scale)
        table = f'<TABLE BORDER="0" CELLSPACING="0"><TR><TD COLSPAN="12">‖∂L/∂x‖: {low} to {high}</TD></TR><TR>{cells}</TR></TABLE>'
        lines.append(f"legend_scale [shape=plain, fontsize=10, label=<{table}>]")
        column.append(("legend_scale", "legend_scale"))
    lines += [f"{upper} -> {lower} [style=invis]" for (_, lower), (upper, _) in pairwise(column)]
    return [*lines, "}"]
