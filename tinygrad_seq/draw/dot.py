"""The DOT text of a graph that is laid out: nodes, boxes, lines and the legend, with their places, so that rendering decides nothing."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from itertools import pairwise
from typing import Any

from .boxes import Box
from .items import Edge, Graph, Item
from .layout import Layout
from .looks import LINES, LOOKS, MEANINGS
from .measure import font_size, size, text_width
from .paint import colour

_HEADER = [
    "digraph {",
    'graph [layout=nop2, outputorder=edgesfirst, fontname="Helvetica,Arial,sans-serif", pad=0.2]',
    'node [fontname="Helvetica,Arial,sans-serif", fixedsize=shape]',
    'edge [arrowsize=0.7, fontname="Helvetica,Arial,sans-serif"]',
]
BOXES = {
    "run": 'color="#D0D0D0", style=dashed, fontsize=11, fontcolor="#444444"',
    "step": 'color="#CCCCCC", style=solid, bgcolor="#FAFAFA", fontsize=11',
    "masked": 'color="#AAAAAA", style=solid, bgcolor="#E9E9E9", fontsize=11',
    "scope": 'color="#A0A0A0", style=solid, fontsize=9',
}


@lru_cache(4096)
def text(words: str) -> str:
    """Words as Graphviz's HTML-like labels take them; what cannot be printed becomes a dot."""
    return escape("".join(c if c.isprintable() else "·" for c in words))


@lru_cache(4096)
def label(words: str, note: str, ink: str) -> str:
    """What a node says, with its notes below in small letters."""
    large, small = (f' COLOR="{ink}"', ink) if ink else ("", "#555555")
    lines = [f'<FONT POINT-SIZE="{font_size(words):.0f}"{large}>{text(words)}</FONT>']
    lines += [f'<FONT POINT-SIZE="9" COLOR="{small}">{text(line)}</FONT>' for line in note.splitlines()]
    return "<BR/>".join(lines)


@lru_cache(4096)
def frame(look: str, fill: str, width: float, height: float) -> str:
    """A node's shape, size and colours."""
    return f"width={width / 72:.3f}, height={height / 72:.3f}, {LOOKS[look]}" + (f', fillcolor="{fill}"' if fill else "")


def sized(item: Item) -> tuple[float, float]:
    """An item's width and height: those that it was given, or those that it needs."""
    return (item.width, item.height) if item.width else size(item)


def _node(item: Item) -> str:
    words, look = label(item.words, item.note, item.ink), frame(item.look, item.fill, *sized(item))
    return f'{item.id} [label=<{words}>, pos="{item.x},{item.y}", {look}]'


class _Edges:
    """Writes edges; those along the same line at one height differ in their ends and in x only."""

    def __init__(self) -> None:
        self.known: dict[Any, tuple[str, list[int]]] = {}

    def write(self, edge: Edge) -> str:
        """The edge, with its line as a `pos`."""
        key = edge.line, edge.y, edge.look, edge.width
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = _pattern(edge)
        pattern, xs = known
        x = edge.x
        written = pattern % (edge.tail.id, edge.head.id, *[px + x for px in xs])
        return f"{written[:-1]}{_said(edge)}]" if edge.words else written


def _pattern(edge: Edge) -> tuple[str, list[int]]:
    """What edges along a line have in common, with places for the ends' names and each x, and how far these are from the line's."""
    points = [(round(px), round(py) + edge.y) for px, py in [edge.line.tip, *edge.line.points]]
    width = f", penwidth={edge.width:.1f}" if edge.width else ""
    places = " ".join(f"%d,{py}" for _, py in points)
    return f'%s -> %s [pos="e,{places}", {LINES[edge.look]}{width}]', [px for px, _ in points]


def _said(edge: Edge) -> str:
    """What an edge says: above its last level piece, or to the right of where it begins."""
    points = edge.points
    level = [(a, b) for a, b in pairwise(points[0::3]) if a[1] == b[1] and abs(a[0] - b[0]) > 10.0]
    x, y = points[0][0] + text_width(edge.words, 10.0) / 2 + 4.0, points[0][1] + 10.0
    if level:
        (left, y), (right, _) = level[-1]
        x, y = (left + right) / 2, y + 8.0
    return f', label=<<FONT POINT-SIZE="10">{text(edge.words)}</FONT>>, lp="{x:.0f},{y:.0f}"'


def _write_boxes(boxes: list[Box], lines: list[str], count: int = 0) -> int:
    """Boxes as clusters; `stack` instead of recursion keeps deep scopes from mattering."""
    stack: list[Any] = [*reversed(boxes)]
    while stack:
        box = stack.pop()
        if box is None:
            lines.append("}")
            continue
        x0, y0, x1, y1 = box.rect
        at = f"{box.caption_at[0]:.0f},{box.caption_at[1]:.0f}"
        look = f'graph [label=<{text(box.caption)}>, bb="{x0:.0f},{y0:.0f},{x1:.0f},{y1:.0f}", lp="{at}", {BOXES[box.kind]}]'
        lines += [f"subgraph cluster_{count} {{", look, *map(_node, box.items)]
        count += 1
        stack += [None, *reversed(box.boxes)]
    return count


def dot_text(graph: Graph, layout: Layout, boxes: list[Box], loose: list[Item], title: str | None, legend: bool) -> str:
    """The DOT text of a graph that is laid out."""
    said = [f'<FONT POINT-SIZE="{size}">{text(words)}</FONT>' for words, size in ((title, 16), (graph.remark, 10)) if words]
    lines = _HEADER + ([f"graph [label=<{'<BR/>'.join(said)}>, labelloc=t]"] if said else [])
    lines += map(_node, loose)
    _write_boxes(boxes, lines)
    lines += map(_Edges().write, graph.edges)
    return "\n".join([*lines, *(_legend(graph, layout) if legend else []), "}", ""])


def _legend(graph: Graph, layout: Layout) -> list[str]:
    """A sample of each look and line that the picture has, to its right."""
    looks = {item.look for item in graph.items} - {"constant"}
    strokes = {edge.look for edge in graph.edges}
    copied = len({item.step for item in graph.items if item.look == "parameter"}) > 1
    notes = {"parameter": "in each step: its share"} if graph.scale and copied else {}
    nodes = [Item(f"legend_{i}", look, MEANINGS[look], None, note=notes.get(look, "")) for i, look in enumerate(LOOKS) if look in looks]
    words = [(i, look, Item(f"legend_line_{i}", "constant", MEANINGS[look], None)) for i, look in enumerate(LINES) if look in strokes]
    half = max([60.0, *(size(item)[0] / 2 for item in [*nodes, *(item for _, _, item in words)])]) + 14.0
    x, y = round(layout.width + 28.0 + half), round(max((item.y for item in graph.items), default=0) - 20.0)
    top, lines = y, []
    for item in nodes:
        item.x, item.y = x, y
        lines.append(_node(item))
        y -= 38
    for i, look, item in words:
        item.x, item.y = x, y + 12
        lines.append(_node(item))
        for end, at in (("from", x - 60), ("to", x + 60)):
            lines.append(f'legend_{end}_{i} [label="", pos="{at},{y}", shape=point, style=invis]')
        points = f"{x - 60},{y} {x - 20},{y} {x + 20},{y} {x + 53},{y}"
        lines.append(f'legend_from_{i} -> legend_to_{i} [pos="e,{x + 60},{y} {points}", {LINES[look]}]')
        y -= 38
    if graph.scale:
        lines += _scale(graph.scale, x, y)
        y -= 52
    bb = f"{x - half:.0f},{y + 18},{x + half:.0f},{top + 46}"
    box = f'graph [label=legend, bb="{bb}", lp="{x},{top + 32}", color="#DDDDDD", fontsize=11]'
    return ["subgraph cluster_legend {", box, *lines, "}"]


def _scale(scale: tuple[float, float], x: int, y: int) -> list[str]:
    """A bar of the colours of gradients, with what they mean."""
    words = Item("legend_scale", "constant", "‖∂L/∂x‖", None, x=x, y=y + 8)
    lines = [_node(words)]
    cells = 12
    for i in range(cells):
        fill = colour(i / (cells - 1))[0]
        at = f'pos="{x - 60 + 120 * i // cells + 5},{y - 10}", width={10 / 72:.3f}, height={12 / 72:.3f}'
        lines.append(f'legend_scale_{i} [label="", {at}, shape=box, style=filled, color="{fill}", fillcolor="{fill}"]')
    low, high = scale
    for name, power, place in (("low", low, x - 55), ("middle", (low + high) / 2, x), ("high", high, x + 55)):
        label = f'<FONT POINT-SIZE="9">{10.0**power:.0e}</FONT>'
        lines.append(f'legend_scale_{name} [label=<{label}>, pos="{place},{y - 24}", width=0.4, height=0.2, shape=plain]')
    return lines
