"""The lines of the edges: along lanes, with rounded corners.  Lines of the same kind are made once and moved from column to column."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .items import Edge
from .layers import PORT, Link, Slot, Template
from .layout import HEADER, LANE, MARGIN, Block, Layout, Plan, is_clear
from .measure import TALL

ARROW, _RADIUS, _STUB = 7.0, 7.0, 9.0  # points: an arrowhead, a corner, the upright end of a line
Point = tuple[float, float]


@dataclass(eq=False, slots=True)
class Line:
    """A line of cubic Bézier pieces, as Graphviz takes it, from the tail to where the arrowhead begins, and the arrowhead's tip."""

    points: list[Point]
    tip: Point


class Router:
    """Gives all blocks their y, all items their place, all edges their line."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lines: dict[Any, Line] = {}
        self.aside: dict[Any, dict[Any, int]] = defaultdict(dict)  # (template, slot, way): lines that arrive at that side
        self._count_sides()
        self._set_channels()
        self._set_rows()
        for block in layout.blocks.values():
            self._set_places(block)
        for edge in layout.crossing:
            self._set_line(edge)

    # ---- heights

    def _count_sides(self) -> None:
        for edge in self.layout.crossing:
            plan = edge.plan
            if plan.entry == "side" and edge.head.slot.key != TALL:
                template = self.layout.at[edge.head].template
                if is_clear(template, edge.head.slot, plan.side):
                    lines = self.aside[template, edge.head.slot, plan.side]
                    lines.setdefault(edge.operand, len(lines))

    def _verticals(self, edge: Edge, plan: Plan) -> list[float]:
        """Where a line by way of channels runs upright."""
        source, target = self.layout.at[edge.tail], self.layout.at[edge.head]
        xs = [source.x + source.template.slots["out", edge.tail.key].x] if plan.exit == "port" else []
        xs += [self._lane_x(gutter, key) for gutter, key in plan.gutters]
        if plan.entry == "port":
            xs.append(target.x + target.template.slots["in", edge.head.key, self.layout.arrival(edge)].x)
        return xs

    def _lane_x(self, gutter: Any, key: Any) -> float:
        return self.layout.lane_x[gutter] + LANE * self.layout.lanes[gutter][key]

    def _set_channels(self) -> None:
        """The lanes of each channel: lines that come from one node, or go to one, share a lane; others do where they do not meet."""
        reach: dict[int, dict[Any, tuple[float, float]]] = defaultdict(dict)
        for edge in self.layout.crossing:
            plan = edge.plan
            if plan.channels:
                xs = self._verticals(edge, plan)
                for (channel, key), (a, b) in zip(plan.channels, pairwise(xs), strict=True):
                    if a != b:
                        low, high = reach[channel].get(key, (a, b))
                        reach[channel][key] = min(low, a, b), max(high, a, b)
        for channel, keys in reach.items():
            ends: list[float] = []
            for key, (low, high) in sorted(keys.items(), key=lambda pair: (pair[1], str(pair[0]))):
                lane = next((i for i, end in enumerate(ends) if end + LANE < low), len(ends))
                ends[lane : lane + 1] = [high]
                self.layout.channel_lanes[channel][key] = lane

    def _set_rows(self) -> None:
        """Blocks from below upwards, with room for the channels between them."""
        layout, y = self.layout, 0.0
        rows: dict[int, list[Block]] = defaultdict(list)
        for block in layout.blocks.values():
            rows[block.key[1]].append(block)
        for channel, row in enumerate(sorted(rows)):
            y = self._set_channel(channel, y)
            is_step = row % 2 == 1
            y += HEADER + MARGIN if is_step else 0.0
            height = max(layout.heights[id(block.template)] for block in rows[row])
            for block in rows[row]:
                block.y = y
                if TALL in block.template.slots:
                    slot = block.template.slots[TALL]
                    slot.height, slot.y = height - 2 * _STUB, height / 2
                    layout.heights[id(block.template)] = height
                    for port in block.template.slots.values():
                        if port is not slot:
                            port.y = height if port.key[0] == "out" else 0.0
            y += height + (HEADER + MARGIN if is_step else 0.0)
        self._set_channel(len(rows), y)

    def _set_channel(self, channel: int, y: float) -> float:
        lanes = max(self.layout.channel_lanes[channel].values(), default=-1) + 1
        self.layout.channel_y[channel] = y + MARGIN
        return y + (2 * MARGIN if channel or lanes else 0.0) + LANE * max(0, lanes - 1)

    # ---- places and lines

    def _set_places(self, block: Block) -> None:
        """The items of a block, and the lines between them."""
        x, y, lines = round(block.x), round(block.y), self.lines
        for item in block.items:
            slot = item.slot
            item.x, item.y, item.width, item.height = round(block.x + slot.x), round(block.y + slot.y), slot.width, slot.height
        for edge in block.edges:
            link = edge.plan
            key = (link, self._side_x(block, link) - x) if link.side else link
            if key not in lines:
                lines[key] = _line([(px - x, py - y) for px, py in self._within(block, link)])
            edge.line, edge.x, edge.y = lines[key], x, y

    def _set_line(self, edge: Edge) -> None:
        """The line of an edge between blocks."""
        plan = edge.plan
        if plan.channels:
            edge.line = _line(self._by_channels(edge, plan))
            return
        source, target = self.layout.at[edge.tail], self.layout.at[edge.head]
        x, y = round(source.x), round(source.y)
        gutter, lane = plan.gutters[0]
        key = edge.tail.slot, edge.head.slot, edge.operand, target.x - x, target.y - y, self._lane_x(gutter, lane) - x
        if key not in self.lines:
            self.lines[key] = _line([(px - x, py - y) for px, py in self._by_gutter(edge, plan)])
        edge.line, edge.x, edge.y = self.lines[key], x, y

    def _within(self, block: Block, link: Link) -> list[Point]:
        """A line within a block: upright past the nodes of each level, and slanting between the levels only."""
        tail, head = link.tail, link.head
        if link.side:
            lane = self._side_x(block, link)
            exit, entry = self._exit(block, tail, 1, 0.0), self._entry(block, head, link.operand, 1, 0.0)
            return [*exit, (lane, exit[-1][1]), (lane, entry[0][1]), *entry]
        if tail.host is head:
            return [(block.x + tail.x - tail.width / 2, block.y + tail.y), (block.x + head.x + head.width / 2, block.y + head.y)]
        stops = [(tail.x, tail.y + tail.height / 2), (tail.x, self._zone(block.template, tail.level)[1])]
        for bend in link.bends:
            low, high = self._zone(block.template, bend.level)
            stops += [(bend.x, low), (bend.x, high)]
        x = head.x + link.shift
        low = self._zone(block.template, head.level)[0]
        stops += [(x, low - _STUB if head.width > PORT else low), (x, head.y - head.height / 2)]
        return [(block.x + px, block.y + py) for px, py in stops]

    def _side_x(self, block: Block, link: Link) -> float:
        """Where a line that goes round by the side runs upright."""
        return self._lane_x(self.layout.gutter_right(block), ("side", link.tail.key))

    def _zone(self, template: Template, level: int) -> Point:
        """From where to where the nodes of a level reach."""
        slots = template.rows[level]
        height = max((slot.height for slot in slots), default=0.0)
        middle = slots[0].y if slots else 0.0
        return middle - height / 2, middle + height / 2

    def _gap(self, template: Template, slot: Slot, kind: str, way: int, operand: Any) -> float:
        level = slot.level + (kind == "exit")
        lane = self.layout.side_lanes[template, level][slot, kind, way, operand]
        return self.layout.gap_y[template, level] + LANE * lane

    def _exit(self, block: Block, slot: Slot, way: int, otherwise: float) -> list[Point]:
        """From a slot to the side of its block; a tall one is left at the height `otherwise`."""
        x, y = block.x + slot.x, block.y + slot.y
        if slot.key == TALL:
            return [(x + way * slot.width / 2, otherwise)]
        if is_clear(block.template, slot, way):
            return [(x + way * slot.width / 2, y)]
        return [(x, y + slot.height / 2), (x, block.y + self._gap(block.template, slot, "exit", way, None))]

    def _entry(self, block: Block, slot: Slot, operand: int, way: int, otherwise: float) -> list[Point]:
        """From the side of a block (-1: left) to a slot in it."""
        x, y = block.x + slot.x, block.y + slot.y
        if slot.key == TALL:
            return [(x + way * slot.width / 2, otherwise)]
        if is_clear(block.template, slot, way):
            lines = self.aside.get((block.template, slot, way), {})
            offset = 8.0 * (lines.get(operand, 0) - (len(lines) - 1) / 2) if lines else 0.0
            return [(x + way * slot.width / 2, y + offset)]
        x += self.layout.shifts[block.template][slot, operand, way]
        lane = block.y + self._gap(block.template, slot, "entry", way, operand)
        return [(x, lane), (x, y - slot.height / 2)]

    def _by_gutter(self, edge: Edge, plan: Plan) -> list[Point]:
        """From one column into the next."""
        source, target = self.layout.at[edge.tail], self.layout.at[edge.head]
        tail, head = edge.tail.slot, edge.head.slot
        lane = self._lane_x(*plan.gutters[0])
        entry = self._entry(target, head, edge.operand, plan.side, source.y + tail.y)
        exit = self._exit(source, tail, plan.way, entry[0][1])
        if head.key == TALL:
            entry = self._entry(target, head, edge.operand, plan.side, exit[-1][1])
        return [*exit, (lane, exit[-1][1]), (lane, entry[0][1]), *entry]

    def _by_channels(self, edge: Edge, plan: Plan) -> list[Point]:
        """Out at the top of a block, along channels and gutters, and in at the bottom of another, or at its side."""
        layout = self.layout
        source, target = layout.at[edge.tail], layout.at[edge.head]
        xs = self._verticals(edge, plan)
        if plan.exit == "port":
            port = source.template.slots["out", edge.tail.key]
            points = self._within(source, source.template.links[edge.tail.slot, port, 0])
        else:
            points = self._exit(source, edge.tail.slot, plan.way, 0.0)
            points.append((xs[0], points[-1][1]))
        for (channel, key), (a, b) in zip(plan.channels, pairwise(xs), strict=True):
            if a != b:
                y = layout.channel_y[channel] + LANE * layout.channel_lanes[channel][key]
                points += [(a, y), (b, y)]
        if plan.entry == "port":
            port = target.template.slots["in", edge.head.key, self.layout.arrival(edge)]
            return points + self._within(target, target.template.links[port, edge.head.slot, self.layout.arrival(edge)])
        entry = self._entry(target, edge.head.slot, edge.operand, plan.side, points[-1][1])
        return [*points, (xs[-1], entry[0][1]), *entry]


def _line(points: list[Point]) -> Line:
    """A line through the points, with rounded corners; where two points lie askew, an S that is upright at both."""
    stops = [(float(round(x)), float(round(y))) for x, y in points]
    stops = [p for i, p in enumerate(stops) if i == 0 or p != stops[i - 1]]
    kept = stops[:1]
    for i in range(1, len(stops) - 1):
        (x0, y0), (x1, y1), (x2, y2) = kept[-1], stops[i], stops[i + 1]
        if not ((x0 == x1 == x2 and (y1 - y0) * (y2 - y1) > 0) or (y0 == y1 == y2 and (x1 - x0) * (x2 - x1) > 0)):
            kept.append(stops[i])
    stops = kept + stops[-1:]
    (x0, y0), tip = stops[-2], stops[-1]
    length = ((tip[0] - x0) ** 2 + (tip[1] - y0) ** 2) ** 0.5
    cut = max(0.0, 1 - ARROW / length) if length else 0.0
    stops[-1] = x0 + (tip[0] - x0) * cut, y0 + (tip[1] - y0) * cut
    line = [stops[0]]
    for i, (x1, y1) in enumerate(stops[1:], 1):
        px, py = line[-1]
        if x1 not in (px,) and y1 not in (py,):  # askew
            middle = (py + y1) / 2
            line += [(px, middle), (x1, middle), (x1, y1)]
            continue
        corner = i + 1 < len(stops) and _turns(stops[i - 1], stops[i], stops[i + 1])
        if not corner:
            line += [(px, py), (x1, y1), (x1, y1)]
            continue
        x2, y2 = stops[i + 1]
        into, out = abs(x1 - px) + abs(y1 - py), abs(x2 - x1) + abs(y2 - y1)
        radius = min(_RADIUS, into, out / 2)
        a = x1 - radius * _sign(x1 - px), y1 - radius * _sign(y1 - py)
        b = x1 + radius * _sign(x2 - x1), y1 + radius * _sign(y2 - y1)
        line += [(px, py), a, a, ((a[0] + x1) / 2, (a[1] + y1) / 2), ((b[0] + x1) / 2, (b[1] + y1) / 2), b]
    return Line(line, tip)


def _turns(a: Point, b: Point, c: Point) -> bool:
    """Whether a corner lies between two straight pieces."""
    return (a[0] == b[0] and b[1] == c[1] and b[0] != c[0]) or (a[1] == b[1] and b[0] == c[0] and b[1] != c[1])


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
