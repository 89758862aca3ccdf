"""What a picture shows, as rectangles and polylines, so that tests can ask what lies on what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_seq.draw import Drawing

Rect = tuple[float, float, float, float]  # left, bottom, right, top
Array = np.ndarray[Any, Any]


def rects(drawing: Drawing) -> dict[str, Rect]:
    """The rectangle of each node."""
    return {item.id: item.rect for item in drawing.graph.items}


def curve(points: list[tuple[float, float]], each: int = 24) -> Array:
    """Points (n, 2) along a line of cubic Bézier pieces whose arrow's tip comes last."""
    *line, tip = points
    t = np.linspace(0, 1, each)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    pieces = [weights @ np.array(line[i : i + 4], float) for i in range(0, len(line) - 1, 3)]
    return np.concatenate([*pieces, np.linspace(line[-1], tip, each)])


def inside(points: Array, rect: Rect, by: float = 0.5) -> bool:
    """Whether one of the points lies within the rectangle, by more than that from its edge."""
    left, bottom, right, top = rect
    x, y = points.T
    return bool(((x > left + by) & (x < right - by) & (y > bottom + by) & (y < top - by)).any())


def overlaps(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def overlapping(drawing: Drawing) -> list[tuple[str, str]]:
    """The pairs of nodes that lie on each other."""
    found = sorted(rects(drawing).items(), key=lambda pair: pair[1][0])
    pairs = []
    for i, (a, rect) in enumerate(found):
        for b, other in found[i + 1 :]:
            if other[0] >= rect[2]:
                break
            if overlaps(rect, other):
                pairs.append((a, b))
    return pairs


def lines_through_nodes(drawing: Drawing) -> list[tuple[str, str, str]]:
    """(tail, head, node) for each line that passes through a node, that of its own ends included."""
    found = []
    boxes = rects(drawing)
    for edge in drawing.graph.edges:
        points = curve(edge.points)
        low, high = points.min(axis=0), points.max(axis=0)
        for name, rect in boxes.items():
            if overlaps((*low, *high), rect) and inside(points, rect, 1.0):
                found.append((edge.tail.id, edge.head.id, name))
    return found


def captions(drawing: Drawing, kind: str) -> Iterator[tuple[str, Rect]]:
    """The text of the boxes of a kind, with about the rectangle that it takes."""
    stack = list(drawing.boxes)
    while stack:
        box = stack.pop()
        stack += box.boxes
        if box.kind == kind and box.caption:
            x, y = box.caption_at
            yield box.caption, (x - 2.5 * len(box.caption), y - 3.0, x + 2.5 * len(box.caption), y + 3.0)
