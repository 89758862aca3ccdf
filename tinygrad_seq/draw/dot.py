"""The DOT text of a graph that is laid out: nodes, boxes, lines and the legend, with their places, so that rendering decides nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any

from .graph import STEP, Edge, Graph, Item, text_width
from .layout import ROW

_ARROW, _MARGIN = 7.0, 12.0  # points: an arrowhead, a step's box around its nodes
_HEADER = [
    "digraph {",
    'graph [layout=nop2, outputorder=edgesfirst, fontname="Helvetica,Arial,sans-serif", pad=0.2]',
    'node [fontname="Helvetica,Arial,sans-serif", fixedsize=shape]',
    "edge [arrowsize=0.7]",
]

# Colours after the palette of Okabe and Ito, which the colour-blind can tell apart; shape, width and dashes say the same again.
_LOOKS = {
    "operation": 'shape=box, style="rounded,filled", color="#0072B2", fillcolor="#E6F1F8"',
    "gradient operation": 'shape=box, style="rounded,filled", color="#B0558A", fillcolor="#F8EAF2"',
    "output": 'shape=box, style="rounded,filled", color="#0072B2", fillcolor="#E6F1F8", peripheries=2',
    "parameter": 'shape=box, style=filled, color="#C98500", fillcolor="#FFF1D0"',
    "input": 'shape=ellipse, style=filled, color="#666666", fillcolor="#F4F4F4"',
    "constant": 'shape=plain, color="#666666"',
}
_LINES = {
    "value": 'color="#555555", penwidth=1.1',
    "gradient": 'color="#555555", penwidth=1.1, style=dashed',
    "step to step": 'color="#D55E00", penwidth=2.2',
    "gradient, step to step": 'color="#D55E00", penwidth=2.2, style=dashed',
}

_Point = tuple[float, float]


def _at(*points: _Point) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _bezier(stops: Sequence[_Point], vertical: Sequence[bool]) -> list[_Point]:
    """A smooth line through the stops, each stretch of which leaves and arrives vertically, or horizontally."""
    line = [stops[0]]
    for (x0, y0), (x1, y1), upright in zip(stops, stops[1:], vertical, strict=False):
        dx, dy = (x1 - x0) / 2, (y1 - y0) / 2
        line += [(x0, y0 + dy), (x1, y1 - dy), (x1, y1)] if upright else [(x0 + dx, y0), (x1 - dx, y1), (x1, y1)]
    return line


def _route(graph: Graph, edge: Edge, slot: float) -> str:
    """The line of an edge; `slot` shifts its end, so that lines to one node do not lie on each other."""
    tail, head = edge.tail, edge.head
    if head.y > tail.y and not edge.apart:
        start, end, tip = (tail.x + slot / 2, tail.y + tail.height / 2), (head.x + slot, head.y - head.height / 2), (0.0, -_ARROW)
        stops = [start, *((item.x, item.y) for item in edge.bends), (end[0] + tip[0], end[1] + tip[1])]
        line = _bezier(stops, [True] * len(stops))
        if len(stops) == 2 and abs(end[0] - start[0]) < 2 * ROW:  # short: straight
            dx, dy = end[0] - start[0], end[1] - start[1]
            cut = 1 - _ARROW / (dx * dx + dy * dy) ** 0.5
            line = [(start[0] + f * cut * dx, start[1] + f * cut * dy) for f in (0, 1 / 3, 2 / 3, 1)]
    else:
        way = 1.0 if tail.x < head.x else -1.0
        start, end = (tail.x + way * tail.width / 2, tail.y + slot / 2), (head.x - way * head.width / 2, head.y + slot / 2)
        stops = [start, (end[0] - way * _ARROW, end[1])]
        if tail.column != head.column:  # level to the end of its column, and from the start of the next: it turns in between
            leave, arrive = graph.spans[tail.column][way > 0], graph.spans[head.column][way < 0]
            stops[1:1] = [(leave + way * _MARGIN, start[1]), (arrive - way * _MARGIN, end[1])]
        line = _bezier(stops, [False] * len(stops))
    return f"e,{_at(end)} {_at(*line)}"


def _slots(graph: Graph) -> list[float]:
    """For each edge the place of its end on its head: edges from below side by side, in the order of where they come from."""
    arriving: dict[str, list[int]] = defaultdict(list)
    for i, edge in enumerate(graph.edges):
        if not edge.apart and edge.tail not in edge.head.beside:
            arriving[edge.head.id].append(i)
    slots = [0.0] * len(graph.edges)
    for arrivals in arriving.values():
        arrivals.sort(key=lambda i: ((graph.edges[i].bends or [graph.edges[i].tail])[-1].x, i))
        between = min(14.0, (graph.edges[arrivals[0]].head.width - 14.0) / len(arrivals))
        for rank, i in enumerate(arrivals):
            slots[i] = between * (rank - (len(arrivals) - 1) / 2)
    return slots


def _text(words: str) -> str:
    """Words as Graphviz's HTML-like labels take them; what cannot be printed becomes a dot."""
    return escape("".join(c if c.isprintable() else "·" for c in words))


def _node(item: Item) -> str:
    first, second = (_text(words) for words in item.text)
    label = f'<FONT POINT-SIZE="13">{first}</FONT>'
    label += f'<BR/><FONT POINT-SIZE="9" COLOR="#555555">{second}</FONT>' if second else ""
    size = f"width={item.width / 72:.3f}, height={item.height / 72:.3f}"
    return f'{item.id} [label=<{label}>, pos="{_at((item.x, item.y))}", {size}, {_LOOKS[item.look]}]'


_Key = tuple[Any, ...]  # of a box: column, band, scopes
_Rect = tuple[float, float, float, float]


def _boxes(graph: Graph) -> dict[_Key, _Rect]:
    """A box around each step, equal ones, and one around each scope within whose box nothing else would stand."""
    members: dict[_Key, list[Item]] = defaultdict(list)
    for item in graph.items:
        for depth in range(len(item.scopes) + 1):
            members[(item.column, item.band, *item.scopes[:depth])].append(item)
    boxes: dict[_Key, _Rect] = {}
    near: dict[_Key, list[tuple[_Key, _Rect]]] = defaultdict(list)
    inner: dict[_Key, list[_Rect]] = defaultdict(list)
    for key in sorted(members, key=lambda key: (-len(key), key)):
        if len(key) == 2:
            continue
        rects = inner[key] + [_rect(item) for item in members[key]]
        x0, y0, x1, y1 = (choose(rect[i] for rect in rects) for i, choose in enumerate((min, min, max, max)))
        spare = max(0.0, text_width(key[-1], 9.0) + 8.0 - (x1 - x0 + 10.0)) / 2
        rect = x0 - 5.0 - spare, y0 - 5.0, x1 + 5.0 + spare, y1 + 15.0
        own = set(members[key])
        others = [_rect(item) for item in members[key[:2]] if item not in own] + [r for k, r in near[key[:2]] if k[: len(key)] != key]
        if not any(_overlap(rect, other) for other in others):
            boxes[key] = rect
            near[key[:2]].append((key, rect))
            inner[key[:-1]].append(rect)
    rects = [_rect(item) for item in graph.items if graph.is_step(item)] + [boxes[key] for key in boxes if key[1] == STEP]
    bottom, top = min((r[1] for r in rects), default=0.0) - 26.0, max((r[3] for r in rects), default=0.0) + _MARGIN
    for column in range(len(graph.steps)):
        left, right = graph.spans[column]
        boxes[column, STEP] = left - _MARGIN, bottom, right + _MARGIN, top
    return boxes


def _rect(item: Item) -> _Rect:
    return item.x - item.width / 2, item.y - item.height / 2, item.x + item.width / 2, item.y + item.height / 2


def _overlap(a: _Rect, b: _Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cluster(graph: Graph, number: int, key: _Key, rect: _Rect) -> str:
    """The opening lines of a box."""
    x0, y0, x1, y1 = rect
    if len(key) == 2:
        label, place, look = f"t = {graph.steps[key[0]]}", ((x0 + x1) / 2, y0 + 11.0), 'color="#B8B8B8", bgcolor="#FAFAFA", fontsize=13'
    else:
        label, look = str(key[-1]), 'color="#A0A0A0", fontsize=9'
        place = x0 + 4.0 + text_width(label, 9.0) / 2, y1 - 7.0
    return (
        f'subgraph cluster_{number} {{\ngraph [label=<{_text(label)}>, bb="{x0:.1f},{y0:.1f},{x1:.1f},{y1:.1f}", lp="{_at(place)}", {look}]'
    )


def dot_text(graph: Graph, title: str | None, legend: bool) -> str:
    """The DOT text of a graph that is laid out."""
    boxes = _boxes(graph)
    held: dict[_Key, list[Item]] = defaultdict(list)
    for item in graph.items:
        key: _Key = (item.column, item.band, *item.scopes)
        while key and key not in boxes:
            key = key[:-1]
        held[key].append(item)
    lines = _HEADER + ([f"graph [label=<{_text(title)}>, labelloc=t, fontsize=16]"] if title else [])
    lines += [_node(item) for item in held[()]]
    opened: list[_Key] = []
    for number, key in enumerate(sorted(boxes)):
        while opened and key[: len(opened[-1])] != opened[-1]:
            opened.pop()
            lines.append("}")
        opened.append(key)
        lines += [_cluster(graph, number, key, boxes[key]), *(_node(item) for item in held[key])]
    lines += ["}"] * len(opened)
    for edge, slot in zip(graph.edges, _slots(graph), strict=True):
        lines.append(f'{edge.tail.id} -> {edge.head.id} [pos="{_route(graph, edge, slot)}", {_LINES[edge.look]}]')
    return "\n".join([*lines, *(_legend(graph) if legend else []), "}", ""])


def _legend(graph: Graph) -> list[str]:
    """A sample of each look and line that the picture has, to its right."""
    looks = {item.look for item in graph.items} - {"constant"}
    strokes = {edge.look for edge in graph.edges}
    nodes = [Item(f"legend_{i}", look, (look, "")) for i, look in enumerate(_LOOKS) if look in looks]
    words = [Item(f"legend_line_{i}", "constant", (stroke, "")) for i, stroke in enumerate(_LINES) if stroke in strokes]
    half = max([60.0, *(item.width / 2 for item in nodes + words)]) + 14.0
    x = max((right for _, right in graph.spans.values()), default=0.0) + 28.0 + half
    y = top = max((item.y for item in graph.items), default=0.0) - 30.0
    lines = []
    for item in nodes:
        item.x, item.y = x, y
        lines.append(_node(item))
        y -= 50.0
    for i, item in enumerate(words):
        item.x, item.y = x, y + 10.0
        lines.append(_node(item))
        for end, at in (("from", x - 60.0), ("to", x + 60.0)):
            lines.append(f'legend_{end}_{i} [label="", pos="{_at((at, y))}", shape=point, style=invis]')
        line = _bezier([(x - 60.0, y), (x + 60.0 - _ARROW, y)], [False])
        lines.append(f'legend_from_{i} -> legend_to_{i} [pos="e,{_at((x + 60.0, y))} {_at(*line)}", {_LINES[item.text[0]]}]')
        y -= 34.0
    bb = f"{x - half:.1f},{y + 18:.1f},{x + half:.1f},{top + 50:.1f}"
    box = f'graph [label=legend, bb="{bb}", lp="{_at((x, top + 36))}", color="#DDDDDD", fontsize=11]'
    return ["subgraph cluster_legend {", box, *lines, "}"]
