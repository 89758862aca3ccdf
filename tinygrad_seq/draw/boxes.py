"""The boxes of a picture: one around each step, each run and each scope, with its caption where no line passes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from .items import START
from .layers import PORT, Slot, Template, is_wrapped
from .layout import HEADER, MARGIN, Block, Layout
from .measure import TALL, text_width

Rect = tuple[float, float, float, float]  # left, bottom, right, top
_PAD = 5.0  # points between a scope's box and what it holds


@dataclass(eq=False)
class Box:
    """A rectangle with a caption, the boxes within it, and the blocks' items that it holds itself."""

    kind: str  # "run", "step", "masked" (a step that does not happen) or "scope"
    caption: str
    rect: Rect
    caption_at: tuple[float, float]
    boxes: list[Box] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)


def boxes_of(layout: Layout) -> tuple[list[Box], list[Any]]:
    """The outermost boxes, and the items that stand in none."""
    boxes: list[Box] = []
    loose: list[Any] = []
    scopes: dict[Template, Scopes] = {}
    rows: dict[tuple[int, int], list[Block]] = defaultdict(list)
    for block in layout.blocks.values():
        if block.template not in scopes:
            scopes[block.template] = Scopes(block.template)
        if block.key[1] % 2:
            rows[block.key[0], block.key[1]].append(block)
        else:
            inner, items = _within(block, scopes[block.template])
            boxes += inner
            loose += items
    for run in layout.graph.runs:
        blocks = rows[run.stage, 2 * run.row + 1]
        if steps := [block for block in blocks if block.key[2] != START]:
            boxes.append(_run_box(layout, run.name, steps, scopes))
        loose += [item for block in blocks if block.key[2] == START for item in block.items]
    return boxes, loose


def _run_box(layout: Layout, name: str, blocks: list[Block], scopes: dict[Template, Scopes]) -> Box:
    blocks.sort(key=lambda block: block.x)
    steps = []
    bottom = blocks[0].y
    top = bottom + max(layout.heights[id(block.template)] for block in blocks)
    pad = MARGIN - 4.0
    for block in blocks:
        left, right = layout.column_x[block.key[0], block.column]
        inner, items = _within(block, scopes[block.template])
        if TALL in block.template.slots:
            steps += [Box("step", "", (left, bottom, right, top), (left, bottom), inner, items)]
            continue
        caption = layout.graph.caption(block.key)
        rect = left - pad, bottom - HEADER, right + pad, top + 8.0
        ports = [block.x + slot.x for slot in block.template.slots.values() if slot.key[0] == "in"]
        at = _free(ports, rect[0] + 4.0, rect[2] - 4.0, text_width(caption, 11.0))
        kind = "masked" if layout.graph.masked.get(block.key) == "masked" else "step"
        steps.append(Box(kind, caption, rect, (at, bottom - HEADER + 8.0), inner, items))
    left, right = min(box.rect[0] for box in steps) - 6.0, max(box.rect[2] for box in steps) + 6.0
    rect = left, bottom - HEADER - 6.0, right, top + HEADER + 5.0
    ports = [block.x + slot.x for block in blocks[:1] for slot in block.template.slots.values() if slot.key[0] == "out"]
    width = text_width(name, 11.0)
    at = _free(ports, left + 4.0, max(steps[0].rect[2], left + width + 8.0), width)
    if any(item.words == name for box in steps for item in box.items):
        name = ""  # a folded cell says it itself
    return Box("run", name, rect, (at, top + HEADER - 3.0), steps)


def _free(taken: list[float], left: float, right: float, width: float) -> float:
    """The middle of a caption of a width between left and right that lies on none of the x taken, if there is such a place."""
    places = [(left + right) / 2, left + width / 2, right - width / 2]
    places += [left + width / 2 + 8.0 * i for i in range(int(max(0.0, right - left - width) / 8.0))]
    return next((x for x in places if not any(abs(x - other) < width / 2 + 3.0 for other in taken)), places[0])


def _scope_rects(template: Template) -> dict[tuple[str, ...], Rect]:
    """A box around each scope within whose box nothing else would stand; the innermost first."""
    members: dict[tuple[str, ...], list[Slot]] = defaultdict(list)
    nodes = [slot for slot in template.slots.values() if slot.width > PORT]
    for slot in nodes:
        for depth in range(1, len(slot.scopes) + 1):
            members[slot.scopes[:depth]].append(slot)
    rects: dict[tuple[str, ...], Rect] = {}
    for scopes in sorted(members, key=lambda scopes: (-len(scopes), scopes)):
        if is_wrapped(members, scopes):
            continue
        around = [_rect(slot) for slot in members[scopes]] + [r for other, r in rects.items() if other[: len(scopes)] == scopes]
        left, bottom, right, top = (choose(r[i] for r in around) for i, choose in enumerate((min, min, max, max)))
        rect = left - _PAD - text_width(scopes[-1], 9.0) - 2.0, bottom - _PAD, right + _PAD, top + _PAD
        own = set(members[scopes])
        others = [_rect(slot) for slot in nodes if slot not in own] + [r for other, r in rects.items() if other[: len(scopes)] != scopes]
        if not any(_overlap(rect, other) for other in others):
            rects[scopes] = rect
    return rects


def _rect(slot: Slot) -> Rect:
    return slot.x - slot.width / 2, slot.y - slot.height / 2, slot.x + slot.width / 2, slot.y + slot.height / 2


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Scopes:
    """The boxes of a template: their places, the outermost first; within which other each stands, and in which each slot."""

    def __init__(self, template: Template) -> None:
        rects = _scope_rects(template)
        self.places = {path: (rects[path], text_width(path[-1], 9.0)) for path in sorted(rects, key=lambda path: (len(path), path))}
        self.parents = {path: self._innermost(path[:-1]) for path in rects}
        self.homes = {slot: self._innermost(slot.scopes) for slot in template.slots.values()}

    def _innermost(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The nearest scope that has a box, () where none has."""
        return next((path[:depth] for depth in range(len(path), 0, -1) if path[:depth] in self.places), ())


def _within(block: Block, scopes: Scopes) -> tuple[list[Box], list[Any]]:
    """A block's outermost boxes, and its items that stand in none."""
    items: dict[tuple[str, ...], list[Any]] = {(): []}
    for item in block.items:
        items.setdefault(scopes.homes[item.slot], []).append(item)
    for path in reversed(scopes.places):  # a box with nothing but boxes
        if path in items:
            items.setdefault(scopes.parents[path], [])
    boxes: dict[tuple[str, ...], list[Box]] = {path: [] for path in items}
    for path, ((left, bottom, right, top), width) in scopes.places.items():
        if path in items:
            rect = block.x + left, block.y + bottom, block.x + right, block.y + top
            box = Box("scope", path[-1], rect, (rect[0] + 4.0 + width / 2, rect[3] - 8.0), boxes[path], items[path])
            boxes[scopes.parents[path]].append(box)
    return boxes[()], items[()]
