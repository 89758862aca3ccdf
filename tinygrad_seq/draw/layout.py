"""Where everything stands: a drawing for each kind of block, blocks on a grid, and room between them for the lines.

From left to right stages, in each its columns of time, equally wide; from below upwards rows, even ones for what lies between runs, odd
ones for the steps of a run.  Lines within a block are part of its drawing.  Between blocks they keep to gutters (vertical, beside columns)
and channels (horizontal, between rows), in lanes of their own, so that no line passes through a node.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

from .items import START, Edge, Graph, Item
from .layers import PORT, Link, Slot, Template, lay_out_block, set_ends
from .measure import TALL, size, text_width

LANE, MARGIN, HEADER = 7.0, 9.0, 20.0  # points: from lane to lane, from a column's drawing to its box, the line that says t = 3
_BETWEEN = 22.0  # from level to level, without lanes
_FEW = 3  # lines from other blocks that arrive side by side


@dataclass(eq=False)
class Block:
    """A drawing at its place: the template's origin is at x, y."""

    key: tuple[int, int, Any]
    template: Template
    column: int = 0  # in its stage; -1 to the left of all, n to their right
    x: float = 0.0
    y: float = 0.0
    items: list[Item] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)  # between them


@dataclass
class Plan:
    """How an edge goes.  exit, entry: "side" or "port"; gutters and channels that it passes, each with the key of its lane."""

    exit: str
    entry: str
    way: int = 1  # out to the right, or to the left
    side: int = -1  # of the head's block at which it comes in: -1 the left
    gutters: list[tuple[Any, Any]] = field(default_factory=list)
    channels: list[tuple[int, Any]] = field(default_factory=list)


class Layout:
    """The places of a graph's items, and what a router needs to know to lead its edges."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.blocks: dict[Any, Block] = {}
        self.at: dict[Item, Block] = {}
        self.templates: dict[Any, Template] = {}
        self.columns: dict[int, list[Any]] = {}  # of each stage, the steps
        self.rows: dict[int, set[int]] = defaultdict(set)  # of each stage, those in which something stands
        self.ends: dict[int, set[int]] = defaultdict(set)  # of each stage, its columns, initial states included
        self.column_x: dict[tuple[int, int], tuple[float, float]] = {}  # of each stage's columns, from where to where
        self.uprights: dict[Any, list[Any]] = defaultdict(list)  # of blocks: what should stand above what, to be joined by an upright line
        self.crossing: list[Edge] = []  # the edges between blocks
        self.arrivals: dict[Slot, int] = defaultdict(int)  # edges from other blocks
        self.lanes: dict[Any, dict[Any, int]] = defaultdict(dict)  # of each gutter: its lanes by key
        self.side_lanes: dict[Any, dict[Any, int]] = defaultdict(dict)  # (template, level of the gap): its lanes by key
        self.entries: dict[Any, dict[Any, tuple[Slot, int]]] = defaultdict(dict)  # template -> (slot, operand, way): lines by the gap
        self.shifts: dict[Any, dict[Any, float]] = {}
        self.lane_x: dict[Any, float] = {}  # where a gutter's first lane is
        self.channel_y: dict[int, float] = {}
        self.channel_lanes: dict[int, dict[Any, int]] = defaultdict(dict)
        self.gap_y: dict[Any, float] = {}  # (template, level): the bottom of the gap below the level
        self.heights: dict[int, float] = {}  # of the templates, by identity
        self._make_blocks()
        self._make_templates()
        self._plan_edges()
        for template in dict.fromkeys(self.templates.values()):
            lay_out_block(template)
        self._plan_sides()
        for template in dict.fromkeys(self.templates.values()):
            self.shifts[template] = set_ends(template, self.entries[template])
            self._set_heights(template)
        self._set_starts()
        self._set_columns()

    # ---- blocks and their drawings

    def _make_blocks(self) -> None:
        steps: dict[int, set[Any]] = defaultdict(set)
        for item in self.graph.items:
            stage, row, step = key = item.block
            if key not in self.blocks:
                kind = key if row % 2 == 0 or step == START or item.key == TALL else (stage, row)
                self.blocks[key] = Block(key, self.templates.setdefault(kind, Template()))
                if row % 2 and step != START:
                    steps[stage].add(step)
                else:
                    steps[stage] |= set()
            block = self.at[item] = self.blocks[key]
            block.items.append(item)
        self.columns = {stage: sorted(steps[stage]) for stage in sorted(steps)}
        at = {(stage, step): i for stage, columns in self.columns.items() for i, step in enumerate(columns)}
        for (stage, row, step), block in self.blocks.items():
            if step == START:
                run = next(run for run in self.graph.runs if (run.stage, 2 * run.row + 1) == (stage, row))
                block.column = len(self.columns[stage]) if run.reverse else -1
            elif row % 2:
                block.column = at[stage, step]
            self.rows[stage].add(row)
            self.ends[stage].add(block.column)

    def _make_templates(self) -> None:
        """A slot for each key, as wide and high as the largest item that stands there."""
        seen: dict[Slot, int] = {}
        for block in self.blocks.values():
            slots = block.template.slots
            base = min((item.order for item in block.items if item.order >= 0), default=0)
            for item in block.items:
                slot = slots.get(item.key)
                if slot is None:
                    leaf = item.look in ("input", "parameter", "constant", "detached")
                    slot = slots[item.key] = Slot(item.key, -1 if leaf else item.order - base, scopes=item.scopes)
                    slot.bottom = item.look == "input" and bool(item.nodes)
                elif slot.bottom and item.order == seen[slot]:
                    slot.bottom = False  # the same in every step: no input of this one
                seen[slot] = item.order
                item.slot = slot
                item.width, item.height = width, height = size(item)
                slot.width = max(slot.width, width)
                slot.height = max(slot.height, height)

    # ---- how edges go

    def _plan_edges(self) -> None:
        at = self.at
        for edge in self.graph.edges:
            if at[edge.tail] is not at[edge.head]:
                self.arrivals[edge.head.slot] += 1
        seen: dict[Any, Edge] = {}  # by the slots of its ends and its operand
        for edge in self.graph.edges:
            tail, head = edge.tail, edge.head
            source, target = at[tail], at[head]
            if source is target and edge.look != "rolled":
                edge.plan = target.template.link(tail.slot, head.slot, edge.operand)
                target.edges.append(edge)
            else:
                edge.plan = self._plan(edge, source, target)
                self.crossing.append(edge)
            seen[tail.slot, head.slot, edge.operand] = edge
        users: dict[Slot, set[Slot]] = defaultdict(set)
        operands: dict[Slot, set[Any]] = defaultdict(set)
        for tail, head, operand in seen:
            users[tail].add(head)
            operands[head].add((tail, operand))
        looks = {edge.tail.slot: edge.tail.look for edge in seen.values()}
        for slot, heads in users.items():
            if len(heads) == 1 and looks[slot] in ("parameter", "constant"):
                (host,) = heads
                lines = operands[host]
                if len(lines) > 1 and sum(1 for other, _ in lines if other is slot) == 1 and not host.beside:
                    self._put_beside(slot, host)

    def _put_beside(self, slot: Slot, host: Slot) -> None:
        """A parameter or constant with one use stands beside the op that uses it, if something else flows into that op."""
        for template in self.templates.values():
            if slot.key in template.slots and template.slots[slot.key] is slot and template.slots.get(host.key) is host:
                slot.host, slot.scopes = host, host.scopes
                host.beside.append(slot)
                return

    def _plan(self, edge: Edge, source: Block, target: Block) -> Plan:
        """An edge between blocks."""
        tail, head = edge.tail, edge.head
        gutter = self._gutter_between(source, target)
        if gutter is not None:
            way = 1 if (source.key[0], source.column) < (target.key[0], target.column) else -1
            tail.slot.pull, head.slot.pull = tail.slot.pull or way, head.slot.pull or -way
            return Plan("side", "side", way, -way, [(gutter, ("time", source.key[1], tail.key))])
        if head.step is None:
            lane: Any = "to", head.id
        elif tail.step is not None and tail.step == head.step and tail.stage == head.stage:
            lane = "up", tail.row, tail.key
        else:
            lane = "from", tail.id
        by_port = head.step != START and (head.row % 2 == 0 or (tail.row < head.row and tail.stage == head.stage))
        leave, arrive = self._channel(tail.row + 1), self._channel(head.row if by_port else head.row + 1)
        if leave != arrive and tail.stage != head.stage and tail.row % 2 == 0:  # out at the side, down between the stages
            way = 1 if tail.stage < head.stage else -1
            tail.slot.pull = tail.slot.pull or way
            plan = Plan("side", "side", way, -1, [(("stage", tail.stage + (way > 0)), lane)], [(arrive, lane)])
        elif tail.step == START:
            way = 1 if source.column < 0 else -1
            plan = Plan("side", "side", way, -1, [((tail.stage, max(source.column, 0)), lane)], [(leave, lane)])
            self._lead_on(plan, by_port, source, target, leave, arrive)
        else:
            out = source.template.port(("out", tail.key), tail.slot.order)
            source.template.link(tail.slot, out, 0)
            plan = Plan("port", "side", channels=[(leave, lane)])
            self._lead_on(plan, by_port, source, target, leave, arrive)
        if by_port:
            plan.entry = "port"
            operand = self.arrival(edge)
            port = target.template.port(("in", head.key, operand), head.slot.order)
            target.template.link(port, head.slot, operand)
            if source.key[2] == target.key[2] is not None:
                self.uprights[target.key].append((source.key, source.template.slots["out", tail.key], port))
        else:
            head.slot.pull = head.slot.pull or -1
            plan.gutters.append(((head.stage, target.column) if target.column >= 0 else ("stage", head.stage), lane))
        return plan

    def _lead_on(self, plan: Plan, by_port: bool, source: Block, target: Block, leave: int, arrive: int) -> None:
        """From one channel to another, unless they are one, or the line can go straight up from the first."""
        stage, row, _ = source.key
        straight = by_port and stage == target.key[0] and row < target.key[1] and self._is_free(stage, row, target.key[1])
        if leave != arrive and not straight:
            lane = plan.channels[0][1]
            plan.gutters.append((self._way_round(source, target), lane))
            plan.channels.append((arrive, lane))

    def arrival(self, edge: Edge) -> int:
        """Where an edge from outside arrives at its head; one place for all where an op gathers what many steps made."""
        return edge.operand if self.arrivals[edge.head.slot] <= _FEW or edge.head.row % 2 else 0

    def _channel(self, row: int) -> int:
        """The channel below a row: rows that are empty in all stages make none."""
        return sum(1 for other in set().union(*self.rows.values()) if other < row)

    def _is_free(self, stage: int, low: int, high: int) -> bool:
        """Whether nothing stands between two rows of a stage."""
        return not any(low < row < high for row in self.rows[stage])

    def _gutter_between(self, source: Block, target: Block) -> Any:
        """The gutter between neighbouring columns, of one run or of two stages that follow each other, if it is one."""
        (stage, row, _), (stage2, row2, _) = source.key, target.key
        if not (row % 2 and row2 % 2):
            return None
        if stage == stage2 and row == row2 and abs(source.column - target.column) == 1:
            return stage, max(source.column, target.column)
        if stage + 1 == stage2:
            last, first = max(self.ends[stage]), min(self.ends[stage2])
            if (source.column, target.column) == (last, first):
                return "stage", stage2
        return None

    def _way_round(self, source: Block, target: Block) -> Any:
        """A gutter in which a line gets from one channel to another."""
        stage, low, _ = source.key
        stage2, high, _ = target.key
        if stage != stage2:
            return "stage", stage2 if stage < stage2 else stage2 + 1
        low, high = (low, high) if low < high else (high - 1, low + 1)  # downwards it passes both ends' rows too
        bands = any(low < row < high and row % 2 == 0 for row in self.rows[stage])
        if bands or not self.columns[stage]:
            return "stage", stage + 1
        for block in (target, source):
            if block.key[1] % 2:
                return stage, block.column
        return stage, len(self.columns[stage]) // 2

    def _plan_sides(self) -> None:
        """Lanes in gutters; and in the gaps between levels, for lines whose way to the side of their block is not clear."""
        for edge in self.graph.edges:
            plan = edge.plan
            if isinstance(plan, Link):
                if plan.side:
                    block = self.at[edge.head]
                    self._side_lane(block.template, plan.tail, "exit", 1, None)
                    self._side_lane(block.template, plan.head, "entry", 1, plan.operand)
                    self._lane(self.gutter_right(block), ("side", plan.tail.key))
                continue
            if plan.exit == "side":
                self._side_lane(self.at[edge.tail].template, edge.tail.slot, "exit", plan.way, None)
            if plan.entry == "side":
                self._side_lane(self.at[edge.head].template, edge.head.slot, "entry", plan.side, edge.operand)
            for gutter, key in plan.gutters:
                self._lane(gutter, key)

    def gutter_right(self, block: Block) -> Any:
        return (block.key[0], block.column + 1) if block.key[1] % 2 else ("stage", block.key[0] + 1)

    def _lane(self, gutter: Any, key: Any) -> None:
        lanes = self.lanes[gutter]
        lanes.setdefault(key, len(lanes))

    def _side_lane(self, template: Template, slot: Slot, kind: str, way: int, operand: Any) -> None:
        if slot.key == TALL or is_clear(template, slot, way):
            return
        lanes = self.side_lanes[template, slot.level + (kind == "exit")]
        lanes.setdefault((slot, kind, way, operand), len(lanes))
        if kind == "entry":
            self.entries[template][slot, operand, way] = slot, way

    # ---- geometry

    def _set_heights(self, template: Template) -> None:
        """The levels' heights, from the template's bottom."""
        y = 0.0
        for level, row in enumerate(template.rows):
            lanes = len(self.side_lanes[template, level])
            empty = level == 0 and not row
            first = level == 1 and not template.rows[0]
            y += 0.0 if level == 0 else (LANE * lanes + 4.0 if lanes else 0.0) if first else _BETWEEN + LANE * lanes
            self.gap_y[template, level] = y - LANE * lanes
            height = 0.0 if empty else max(slot.height for slot in row)
            for slot in row:
                slot.y = y + height / 2
                for aside in slot.beside:
                    aside.y = slot.y
            y += height
        lanes = len(self.side_lanes[template, len(template.rows)])
        self.gap_y[template, len(template.rows)] = y + 4.0
        template_height = y + (LANE * lanes + 4.0 if lanes else 0.0)
        self.heights[id(template)] = template_height

    def _set_starts(self) -> None:
        """Initial states stand one above the other, each as near as can be to the height at which it flows in."""
        for block in self.blocks.values():
            if block.key[2] != START:
                continue
            wanted: dict[Slot, float] = {}
            for edge in self.crossing:
                if self.at[edge.tail] is block:
                    wanted[edge.tail.slot] = min(wanted.get(edge.tail.slot, 1e9), edge.head.slot.y)
            y, template = 0.0, block.template
            template.rows = [[]]
            for level, slot in enumerate(sorted(wanted, key=lambda slot: wanted[slot]), 1):
                slot.x, slot.y, slot.level = 0.0, max(y, wanted[slot]), level
                y = slot.y + slot.height + LANE
                template.rows.append([slot])
            template.left = template.right = max(slot.width / 2 for slot in wanted)

    def _set_columns(self) -> None:
        """Give each block its x, each gutter the place of its lanes."""
        x = 0.0
        for stage, columns in self.columns.items():
            x = self._outer_gutter(stage, x)
            start = x
            own = [block for block in self.blocks.values() if block.key[0] == stage]
            bands = [block for block in own if block.key[1] % 2 == 0]
            steps = [block for block in own if block.key[1] % 2]
            wide = max((block.template.left + block.template.right for block in bands), default=0.0)
            if steps:
                x = self._set_steps(stage, len(columns), steps, x)
                if wide > x - start:
                    self._set_steps(stage, len(columns), steps, start + round((wide - x + start) / 2))
            x = max(x, start + wide)
            for block in bands:
                block.x = round((start + x + block.template.left - block.template.right) / 2)
        self.width = self._outer_gutter(len(self.columns), x)

    def _outer_gutter(self, stage: int, x: float) -> float:
        lanes = len(self.lanes.get(("stage", stage), ()))
        self.lane_x["stage", stage] = x + 2 * MARGIN
        return x + (4 * MARGIN + LANE * lanes if lanes or 0 < stage < len(self.columns) else 0.0)

    def _set_steps(self, stage: int, count: int, blocks: list[Block], x: float) -> float:
        """The columns of a stage from x on, equally wide and far apart; gives where they end."""
        by_column: dict[int, list[Block]] = defaultdict(list)
        widths: dict[str, float] = defaultdict(float)
        for block in blocks:
            by_column[block.column].append(block)
            own = block.template.left + block.template.right
            widths[_kind(block)] = max(widths[_kind(block)], own + 2 * self._lacking(block))
        lanes = max(len(self.lanes.get((stage, i), ())) for i in range(count + 1))
        for column in range(-1, count + 1):
            if column >= 0:  # the gutter to its left
                inner = 0 < column < count or self.lanes.get((stage, column)) or column - (column == 0) in by_column
                self.lane_x[stage, column] = x + MARGIN + LANE
                x += 2 * MARGIN + LANE * (lanes + 1) if inner else MARGIN
            here = sorted(by_column.get(column, []), key=lambda block: block.key[1])
            width = max((widths[_kind(block)] for block in here), default=0.0)
            self.column_x[stage, column] = x, x + width
            for block in here:
                block.x = floor(x + (width + block.template.left - block.template.right) / 2)
                if wishes := [self.blocks[lower].x + out.x - port.x for lower, out, port in self.uprights.get(block.key, ())]:
                    wish = sum(wishes) / len(wishes)
                    block.x = float(round(min(max(wish, x + block.template.left), x + width - block.template.right)))
            x += width
        return x

    def _lacking(self, block: Block) -> int:
        """How much wider on each side a column must be, so that its caption has a place beside the lines that come from below."""
        ports = [slot.x for slot in block.template.slots.values() if slot.key[0] == "in"]
        if not ports:
            return 0
        room = max(block.template.left + min(ports), block.template.right - max(ports))
        return max(0, ceil(text_width(self.graph.caption(block.key), 11.0) + 4.0 - room))


def _kind(block: Block) -> str:
    return "start" if block.key[2] == START else "hidden" if TALL in block.template.slots else "step"


def is_clear(template: Template, slot: Slot, way: int) -> bool:
    """Whether nothing stands between a slot and that side of its block."""
    if slot.host is not None or (way > 0 and slot.beside):
        return False
    row = [other for other in template.rows[slot.level] if other.width > PORT]
    return row[-1 if way > 0 else 0] is slot
