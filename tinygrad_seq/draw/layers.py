"""A layered drawing of one block: levels from below upwards, an order within each that keeps boxes together, places along it.

A block's drawing serves for every step that looks like it, so nothing here depends on how many steps there are.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any

from .measure import text_width

GAP, ASIDE, PORT = 12, 10, 2.0  # points: between neighbours, to what stands beside, the width kept for a line
_LONGEST_BEND = 30  # levels: a link that spans more goes round by the side
_MANY = 400  # slots: more are ordered in fewer sweeps


@dataclass(eq=False, slots=True)
class Slot:
    """A node's place in a block, or (with no width) one that is kept free for a line: a bend, or a port at the block's edge."""

    key: Any
    order: int
    width: float = 0.0
    height: float = 0.0
    scopes: tuple[str, ...] = ()
    lead: float = 0.0  # room to the left, for the caption of a box
    trail: float = 0.0  # room to the right, where its box is wider
    pull: int = 0  # -1: something flows in from the left, 1: out to the right
    bottom: bool = False  # it stands at the bottom: an input
    level: int = 0
    rank: int = 0
    x: float = 0.0
    y: float = 0.0
    below: list[Slot] = field(default_factory=list)
    above: list[Slot] = field(default_factory=list)
    beside: list[Slot] = field(default_factory=list)  # what stands to its right for it alone: parameters, constants
    host: Slot | None = None  # beside which it stands

    @property
    def left(self) -> float:
        """How far it reaches to the left of its middle."""
        return self.width / 2 + self.lead

    @property
    def right(self) -> float:
        """How far it reaches to the right of its middle, with what stands beside it."""
        return self.width / 2 + self.trail + sum(ASIDE + slot.width for slot in self.beside)


@dataclass(eq=False, slots=True)
class Link:
    """A line within a block, from a slot or the port below, to a slot or the port above; `slant` goes round by the side."""

    tail: Slot
    head: Slot
    operand: int
    bends: list[Slot] = field(default_factory=list)
    side: bool = False
    shift: float = 0.0  # of its end on the head from the head's middle


@dataclass(eq=False)
class Template:
    """A block's drawing.  Rows hold the slots of each level in their order, bends and ports among them."""

    slots: dict[Any, Slot] = field(default_factory=dict)
    links: dict[Any, Link] = field(default_factory=dict)
    rows: list[list[Slot]] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0

    def link(self, tail: Slot, head: Slot, operand: int) -> Link:
        """The link between two slots, made where there is none."""
        key = tail, head, operand
        if key not in self.links:
            self.links[key] = Link(tail, head, operand)
        return self.links[key]

    def port(self, key: Any, order: int) -> Slot:
        """The port of that key, made where there is none."""
        if key not in self.slots:
            self.slots[key] = Slot(key, order, PORT)
        return self.slots[key]


def is_port(slot: Slot) -> bool:
    """Whether it is no node, but where a line enters or leaves the block."""
    return slot.width == PORT


def lay_out_block(template: Template) -> None:
    """Give each slot its level, order and x, and each link its bends and the place of its end."""
    standing = [slot for slot in template.slots.values() if slot.host is None]
    _set_levels(template, standing)
    _keep_boxes_apart(standing)
    _add_bends(template)
    rows: dict[int, list[Slot]] = defaultdict(list)
    for slot in [*standing, *(bend for link in template.links.values() for bend in link.bends)]:
        rows[slot.level].append(slot)
    template.rows = [rows[level] for level in range(max(rows, default=-1) + 1)]
    _set_order(template.rows)
    _straighten(template)
    _set_beside(template)
    nodes = [slot for slot in template.slots.values() if slot.width]
    template.left = float(ceil(max((slot.left - slot.x for slot in nodes), default=0.0)))
    template.right = float(ceil(max((slot.x + slot.width / 2 for slot in nodes), default=0.0)))


def _set_levels(template: Template, standing: list[Slot]) -> None:
    """The longest path from below; what has nothing below it goes up to just under its first use; ports are below and above all."""
    for link in template.links.values():
        link.side = link.tail.order >= link.head.order and not is_port(link.tail) and not is_port(link.head)
        if not link.side and link.tail.host is None:
            link.head.below.append(link.tail)
            link.tail.above.append(link.head)
    nodes = sorted((slot for slot in standing if not is_port(slot)), key=lambda slot: slot.order)
    for slot in nodes:
        slot.level = max((x.level + 1 for x in slot.below if not is_port(x)), default=1)
    for slot in nodes:
        if slot.above and not slot.below and not slot.bottom:
            slot.level = min((x.level - 1 for x in slot.above if not is_port(x)), default=slot.level)
    lowest = min((slot.level for slot in nodes), default=1)
    for slot in nodes:
        slot.level += 1 - lowest
    top = max((slot.level for slot in nodes), default=0) + 1
    for slot in standing:
        if is_port(slot):
            slot.level = 0 if slot.key[0] == "in" else top


def _keep_boxes_apart(standing: list[Slot]) -> None:
    """Room for the boxes.  The name of a box stands in its upper left corner, to the left of all that it holds, where no line passes."""
    members: dict[tuple[str, ...], list[Slot]] = defaultdict(list)
    for slot in standing:
        for depth in range(1, len(slot.scopes) + 1):
            members[slot.scopes[:depth]].append(slot)
    for scopes, slots in members.items():
        if len({slot.level for slot in slots}) == len(slots):  # one above the other: as wide as the widest
            widest = max(slot.width for slot in slots)
            for slot in slots:
                if slot.scopes == scopes:
                    slot.lead = slot.trail = (widest - slot.width) / 2
        if not is_wrapped(members, scopes):
            for slot in slots:
                slot.lead += text_width(scopes[-1], 9.0) + 4.0


def is_wrapped(members: dict[tuple[str, ...], list[Slot]], scopes: tuple[str, ...]) -> bool:
    """Whether a scope holds nothing but one other scope, whose box then stands for both."""
    count, depth = len(members[scopes]), len(scopes)
    return any(len(other) > depth and other[:depth] == scopes and len(slots) == count for other, slots in members.items())


def _add_bends(template: Template) -> None:
    """Keep room on every level for the lines that pass it."""
    for link in template.links.values():
        tail, head = link.tail, link.head
        if link.side or tail.host is not None:
            continue
        if head.level - tail.level > _LONGEST_BEND or head.level <= tail.level:
            link.side = True
            tail.above.remove(head)
            head.below.remove(tail)
            continue
        link.bends = [Slot(("bend",), head.order, PORT, scopes=head.scopes, level=level) for level in range(tail.level + 1, head.level)]
        chain = [tail, *link.bends, head]
        if link.bends:
            tail.above[tail.above.index(head)] = chain[1]
            head.below[head.below.index(tail)] = chain[-2]
        for under, bend, over in zip(chain, link.bends, chain[2:], strict=False):
            bend.below, bend.above = [under], [over]


def _set_order(rows: list[list[Slot]]) -> None:
    """Order each level by its neighbours, from below and from above in turn, and keep the order with the fewest crossings."""
    for row in rows:
        row.sort(key=lambda slot: (slot.scopes, slot.order))
        _settle(row, [float(i) for i in range(len(row))])
    many = sum(map(len, rows)) > _MANY
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(4 if many else 16):
        down = sweep % 2 == 1
        for row in rows[::-1] if down else rows:
            _settle(row, [_mean(slot.above if down else slot.below, slot.x) for slot in row])
        crossings = _crossings(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
        if not fewest:
            break
    rows[:] = best
    for row in rows:
        _settle(row, [slot.x for slot in row], ordered=True)
    for sweep in range(2 if many else 8):
        down = sweep % 2 == 1
        for row in rows[::-1] if down else rows:
            # In the end all that can stands above its inputs, so that chains are upright; only what has none looks up.
            near = [slot.above if down and (sweep < 4 or not slot.below) else slot.below if not down else [] for slot in row]
            _settle(row, [_mean(slots, slot.x) for slots, slot in zip(near, row, strict=True)], ordered=True)


def _crossings(rows: list[list[Slot]]) -> int:
    """How many pairs of lines cross between neighbouring levels, a pull to a side being a line to it."""
    total = 0
    for row in rows:
        for rank, slot in enumerate(row):
            slot.rank = rank
    for under, over in pairwise(rows):
        ends = [below.rank for slot in over for below in sorted(slot.below, key=lambda slot: slot.rank) if below.level == under[0].level]
        if len(ends) > _MANY:
            return 0
        total += sum(1 for i, a in enumerate(ends) for b in ends[i + 1 :] if a > b)
    for row in rows:
        total += sum(slot.rank for slot in row if slot.pull < 0) + sum(len(row) - 1 - slot.rank for slot in row if slot.pull > 0)
    return total


def _mean(neighbours: list[Slot], otherwise: float) -> float:
    return sum(slot.x for slot in neighbours) / len(neighbours) if neighbours else otherwise


def _settle(row: list[Slot], wanted: list[float], ordered: bool = False) -> None:
    """Order a row by where its slots want to be, a scope's together, and move them as little as keeps them apart."""
    scopes: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for slot, x in zip(row, wanted, strict=True):
        for depth in range(len(slot.scopes) + 1):
            scopes[slot.scopes[:depth]].append(x)
    centre = {scope: sum(xs) / len(xs) for scope, xs in scopes.items()}
    ranked = list(zip(row, wanted, strict=True))
    if not ordered:

        def place(pair: tuple[Slot, float]) -> Any:
            slot, x = pair
            nested = [(round(centre[slot.scopes[:depth]], 2), slot.scopes[depth - 1]) for depth in range(1, len(slot.scopes) + 1)]
            return [*nested, (round(x, 2), "")], slot.pull, slot.order

        ranked.sort(key=place)
    row[:] = [slot for slot, _ in ranked]
    shift, shifts = 0.0, []
    blocks: list[tuple[float, int]] = []  # of slots that touch: where their first wants to be on average, and how many they are
    for i, (slot, x) in enumerate(ranked):
        shift += row[i - 1].right + GAP + slot.left if i else 0.0
        shifts.append(shift)
        mean, count = x - shift, 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        blocks.append((mean, count))
    starts = [mean for mean, count in blocks for _ in range(count)]
    for slot, start, shift in zip(row, starts, shifts, strict=True):
        slot.x = float(round(start + shift))


def _straighten(template: Template) -> None:
    """Move the bends of each line onto one upright, as near as can be to where it ends, if there is one between their neighbours."""
    for row in template.rows:
        for rank, slot in enumerate(row):
            slot.rank = rank
    for link in template.links.values():
        low, high = float("-inf"), float("inf")
        chain = [*([link.tail] if is_port(link.tail) else []), *link.bends, *([link.head] if is_port(link.head) else [])]
        if link.side or not link.bends:
            continue
        for slot in chain:
            row = template.rows[slot.level]
            if slot.rank:
                low = max(low, row[slot.rank - 1].x + row[slot.rank - 1].right + GAP / 2)
            if slot.rank + 1 < len(row):
                high = min(high, row[slot.rank + 1].x - row[slot.rank + 1].left - GAP / 2)
        if low <= high:
            x = link.head.x if not is_port(link.head) else link.tail.x
            for slot in chain:
                slot.x = float(round(min(max(x, low), high)))


def _set_beside(template: Template) -> None:
    for host in template.slots.values():
        x = host.x + host.width / 2
        for slot in host.beside:
            slot.x, slot.level = x + ASIDE + slot.width / 2, host.level
            x = slot.x + slot.width / 2


def set_ends(template: Template, from_sides: dict[Any, tuple[Slot, int]]) -> dict[Any, float]:
    """Lines that arrive at one slot from below stand side by side, in the order of where they come from.

    Gives how far from the middle the lines end that come from the left (-1) or right (1) by the gap below it.
    """
    arriving: dict[Slot, list[tuple[float, int, Any]]] = defaultdict(list)
    for key, link in template.links.items():
        if link.tail.host is None and link.head.width > PORT:
            x = (link.bends or [link.tail])[-1].x
            arriving[link.head].append((1e9 if link.side else x, link.operand, key))
    for key, (head, side) in from_sides.items():
        arriving[head].append((side * 1e9, len(arriving[head]), key))
    shifts: dict[Any, float] = {}
    for head, lines in arriving.items():
        lines.sort(key=lambda line: line[:2])
        between = min(12.0, (head.width - 12.0) / len(lines))
        for rank, (_, _, key) in enumerate(lines):
            shifts[key] = float(round(between * (rank - (len(lines) - 1) / 2)))
    for key, link in template.links.items():
        link.shift = shifts.get(key, 0.0)
    return shifts
