"""The record as a picture sees it: the items and edges of a graph, each with its text, its look, its column and its band."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from ..nn import Module
from ..record import Node, Place, grad

BELOW, STEP, ABOVE = range(3)  # the bands of a column
GAP, _HEIGHT = 16.0, 36.0  # points: between neighbours, a node

_SYMBOLS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "@", "neg": "−x", "pow": "xⁿ", "sqrt": "√x", "sigmoid": "σ", "sum": "Σ",
    "abs": "|x|", "transpose": "xᵀ", "identity": "=",
}  # fmt: skip


def text_width(words: str, size: float) -> float:
    """How many points a text of a font size takes at most, estimated for the widest font in use: there is no renderer to ask."""
    return size * sum(
        1.0 if c in "MWmw@%…=+−×÷<>" or east_asian_width(c) in "WF" else 0.8 if c.isupper() else 0.4 if c in " .,:;'|!()[]-" else 0.64
        for c in words
    )


@dataclass(eq=False)
class Item:
    """One node of the picture, or (with no id) a bend of a long edge."""

    id: str
    look: str
    text: tuple[str, str]
    order: int = -1
    column: int = 0
    band: int = STEP
    scopes: tuple[str, ...] = ()
    level: int = 0
    x: float = 0.0
    y: float = 0.0
    outer: int = 0  # -1: something flows in from a column to the left, 1: from the right
    below: list[Item] = field(default_factory=list)  # neighbours in the band, towards its inputs and towards its uses
    above: list[Item] = field(default_factory=list)
    beside: list[Item] = field(default_factory=list)  # parameters and constants that stand to its right

    @cached_property
    def width(self) -> float:
        """In points; what is written in an ellipse needs more room, as it narrows above and below its middle."""
        if not self.id:
            return 2.0
        least, margin, stretch = {"constant": (4.0, 4.0, 1.0), "input": (52.0, 18.0, 1.2)}.get(self.look, (46.0, 16.0, 1.0))
        return max(least, margin + stretch * max(text_width(self.text[0], 13.0), text_width(self.text[1], 9.0)))

    @property
    def height(self) -> float:
        """In points."""
        return 20.0 if self.look == "constant" else _HEIGHT if self.id else 0.0

    @property
    def right(self) -> float:
        """How far it reaches to the right of its centre, with what stands beside it."""
        return self.width / 2 + sum(GAP + item.width for item in self.beside)


@dataclass(eq=False)
class Edge:
    tail: Item
    head: Item
    bends: list[Item] = field(default_factory=list)

    @property
    def apart(self) -> bool:
        """Whether it leads from one step into another."""
        return self.tail.column != self.head.column and self.tail.band == self.head.band == STEP

    @property
    def look(self) -> str:
        """What its line says."""
        words = ["gradient"] * (self.tail.look == "gradient operation") + ["step to step"] * self.apart
        return ", ".join(words) or "value"


def _reachable(roots: Sequence[Node]) -> list[Node]:
    """The roots and what they were made from, in the order of creation."""
    found, stack = {y._order: y for y in roots}, list(roots)
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._order not in found:
                found[x._order] = x
                stack.append(x)
    return [found[order] for order in sorted(found)]


def _labels(place: Place) -> list[Any]:
    """The labels of a place, the outermost first."""
    labels = []
    while place is not None:
        place, label = place
        labels.append(label)
    return labels[::-1]


def _module_name(module: Module, around: Sequence[object]) -> str:
    """The attribute of the nearest module around that holds it, else its class."""
    parent = next((label for label in reversed(around) if isinstance(label, Module)), None)
    for name, value in vars(parent).items() if parent is not None else ():
        if value is module:
            return name
        parts: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
        for key, part in parts:
            if part is module:
                return f"{name}.{key}"
    return type(module).__name__


def _step_and_scopes(node: Node) -> tuple[int | None, tuple[str, ...]]:
    """The time step that a node was recorded in, if any, and the names of the scopes within it."""
    labels = _labels(node._place)
    start = next((i for i, label in enumerate(labels) if label.__class__ is int), -1)
    names = [
        _module_name(label, labels[:i]) if isinstance(label, Module) else str(label)
        for i, label in enumerate(labels)
        if i > start and label.__class__ is not int
    ]
    return (labels[start] if start >= 0 else None), tuple(names)


def _index_text(index: Any) -> str:
    """An index as it is written: [:, 0:4]."""

    def part(i: Any) -> str:
        if isinstance(i, slice):
            return ":".join("" if n is None else str(n) for n in ([i.start, i.stop] if i.step is None else [i.start, i.stop, i.step]))
        return "…" if i is Ellipsis or isinstance(i, np.ndarray) else str(i)

    return f"[{', '.join(map(part, index if isinstance(index, tuple) else (index,)))}]"


class Graph:
    """The items and edges of what the roots were made from, each item with its column and band."""

    def __init__(self, roots: Sequence[Node], parameters: Mapping[int, str], names: Mapping[int, str]) -> None:
        self.parameters, self.names = parameters, names
        nodes = _reachable(roots)
        self._numbers = {node._order: i for i, node in enumerate(nodes)}
        self._copies: dict[int, dict[tuple[int, int], Item]] = {}
        self.edges: list[Edge] = []
        ops = [node for node in nodes if node._op is not None]
        self.ops = {node._order: self._op(node, node._order in {y._order for y in roots}) for node in ops}
        self.items = list(self.ops.values())
        self.spans: dict[int, tuple[float, float]] = {}  # of the columns, from left to right
        self._place(ops)
        states = self._states(ops)
        for node in ops:
            for i, x in enumerate(node._inputs):
                self.edges.append(Edge(self._operand(node, i, x, (node._order, i) in states), self.ops[node._order]))
        for y in roots:
            if y._op is None and y._order not in self._copies:
                self._leaf_at(y, 0, STEP, ())

    def is_step(self, item: Item) -> bool:
        """Whether it belongs to one of the steps."""
        return item.band == STEP and 0 <= item.column < len(self.steps)

    def _name(self, x: Any) -> str:
        return self.parameters.get(id(x)) or self.names.get(id(x)) or getattr(x, "name", None) or ""

    def _op(self, node: Node, is_root: bool) -> Item:
        op: Any = node._op
        word = op.__name__.lstrip("_")
        symbol = _index_text(node._settings["index"]) if word == "getitem" else _SYMBOLS.get(word, word)
        look = "output" if is_root else "gradient operation" if grad in _labels(node._place) else "operation"
        return Item(f"n{self._numbers[node._order]}", look, (symbol, f"{self._name(node)} {node._data.shape}".strip()), node._order)

    def _place(self, ops: list[Node]) -> None:
        """Give each op its column and band: its step's, or that of the steps it gathers from, or that of the steps it prepares."""
        where = {node._order: _step_and_scopes(node) for node in ops}
        self.steps = sorted({step for step, _ in where.values() if step is not None})
        columns = {step: i for i, step in enumerate(self.steps)}
        before = []
        uses: dict[int, list[Item]] = defaultdict(list)
        for node in ops:
            item = self.ops[node._order]
            step, item.scopes = where[node._order]
            makers = [self.ops[x._order] for x in node._inputs if isinstance(x, Node) and x._order in self.ops]
            for maker in makers:
                uses[maker.order].append(item)
            if step is not None:
                item.column = columns[step]
            elif self.steps:
                reached = sorted(maker.column for maker in makers if maker.band != BELOW)
                item.band = ABOVE if reached else BELOW
                if reached:
                    item.column = reached[-1] if len(reached) < 3 else reached[len(reached) // 2]
                else:
                    before.append(item)
        for item in reversed(before):
            users = [user for user in uses[item.order] if user.band != ABOVE] or uses[item.order]
            item.band = ABOVE if users and users[0].band == ABOVE else BELOW
            item.column = min((user.column for user in users), default=0)

    def _states(self, ops: list[Node]) -> set[tuple[int, int]]:
        """The operands, as (order of the op, position), that are initial states: leaves where other steps have what another step made."""
        rows: dict[int, list[Node]] = defaultdict(list)
        for node in ops:
            if self.is_step(self.ops[node._order]):
                rows[self.ops[node._order].column].append(node)
        leaves = []
        carried: set[tuple[int, int, Any]] = set()
        for column, row in rows.items():
            for k, node in enumerate(row):
                for i, x in enumerate(node._inputs):
                    maker = self.ops.get(x._order) if isinstance(x, Node) else None
                    if maker and maker.band == STEP and maker.column != column:
                        carried.add((k, i, node._op))
                    elif not maker and isinstance(x, Node):
                        leaves.append(((k, i, node._op), (node._order, i)))
        return {operand for place, operand in leaves if place in carried}

    def _operand(self, node: Node, i: int, x: Any, is_state: bool) -> Item:
        """The item that operand i of an op comes from."""
        head = self.ops[node._order]
        if isinstance(x, Node):
            column = head.column if not is_state else -1 if head.column == 0 else len(self.steps)
            return self.ops.get(x._order) or self._leaf_at(x, column, head.band, head.scopes)
        if isinstance(x, np.ndarray) and x.ndim:
            item = Item(f"{head.id}_{i}", "input", (self._name(x) or str(x.dtype), str(x.shape)))
        else:
            item = Item(f"{head.id}_{i}", "constant", (f"{x:.4g}" if isinstance(x, (float, np.floating)) else str(x), ""))
        item.column, item.band, item.scopes = head.column, head.band, head.scopes
        self.items.append(item)
        return item

    def _leaf_at(self, x: Node, column: int, band: int, scopes: tuple[str, ...]) -> Item:
        """A leaf is drawn once in each column that uses it: long edges to a weight that all steps share would hide the rest."""
        copies = self._copies.setdefault(x._order, {})
        if (column, band) not in copies:
            number = self._numbers[x._order]
            look = "parameter" if id(x) in self.parameters or x.requires_grad else "input"
            unnamed = f"{x._data.item():.4g}" if x._data.size == 1 else str(x._data.dtype)
            text = (self._name(x) or unnamed, str(x._data.shape))
            item = Item(f"n{number}_{len(copies)}" if copies else f"n{number}", look, text, x._order, column, band)
            item.scopes = scopes if look == "parameter" else ()
            copies[column, band] = item
            self.items.append(item)
        return copies[column, band]
