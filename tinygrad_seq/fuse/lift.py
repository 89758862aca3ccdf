"""Expressions as text: of one step, or of all steps at once where an op can take them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .. import ops
from ..record import Node, Value
from .gates import blocks, squashed
from .rules import copied, slice_of, together, total
from .trace import detached, equal, greater, greater_equal, not_equal

INFIX = {ops.add: ("+", 1), ops.sub: ("-", 1), ops.mul: ("*", 2), ops.div: ("/", 2), ops.matmul: ("@", 2), ops.pow: ("**", 4)}
COMPARISONS = {greater: ">", greater_equal: ">=", equal: "==", not_equal: "!="}
UFUNCS = {
    ops.add: "add", ops.sub: "subtract", ops.mul: "multiply", ops.div: "divide", ops.neg: "negative", ops.pow: "power", ops.exp: "exp",
    ops.log: "log", ops.sqrt: "sqrt", ops.tanh: "tanh", ops.abs: "absolute", ops.maximum: "maximum", ops.minimum: "minimum",
    greater: "greater", greater_equal: "greater_equal", equal: "equal", not_equal: "not_equal",
}  # fmt: skip
ELEMENTWISE = {*UFUNCS, ops.sigmoid, ops.relu, ops.where, ops.astype, detached, copied, squashed}
_REDUCTIONS = {ops.sum, ops.mean, ops.max, ops.min, ops.logsumexp}


def liftable(node: Node, stacked: Callable[[Value], bool]) -> bool:
    """Whether the op can be given all steps at once, as one more axis before the others."""
    made, inputs = node._op, node._inputs
    if (
        made in ELEMENTWISE
        or made in _REDUCTIONS
        or made in (ops.transpose, ops.swapaxes, ops.broadcast_to, ops.reshape, total, together, blocks)
    ):
        return True
    if made is ops.matmul:
        a, b = inputs
        if not stacked(b):
            return np.ndim(_plain(b)) == 2
        return np.ndim(_plain(a)) >= 2 and np.ndim(_plain(b)) >= 2 and (not stacked(a) or _plain(a).ndim == _plain(b).ndim)
    if made is ops.getitem or made is ops._put:
        index = node._settings["index"]
        parts = index if isinstance(index, tuple) else (index,)
        return all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)
    if made in (ops._concat, ops._stack):
        return all(stacked(x) for x in inputs)
    return made is ops.take and not stacked(inputs[0]) and not node._settings.get("axis")


def _plain(x: Value) -> Any:
    return x._data if isinstance(x, Node) else x


class Text:
    """Writes expressions.  `name` gives the variable of a value that has one; `constant` the text of a number or array."""

    def __init__(self, name: Callable[[Node], str | None], stacked: Callable[[Value], bool], constant: Callable[..., str]) -> None:
        self.name, self.stacked, self.constant = name, stacked, constant

    def of(self, x: Value, level: int = 0, rank: int = 0) -> str:
        """The text of a value: its name, or what makes it, in brackets where the text around it binds closer than `level`.

        rank: how many axes of a step the ops around it expect, so that the axis of time stays first.
        """
        if not isinstance(x, Node):
            return self.constant(x)
        name = self.name(x)
        if name is None and x._op is None:
            name = self.constant(x._data, x.name or "k")  # an array that the step, or a rewrite, brought along
        text, binds = (name, 9) if name else self.made(x)
        if rank > x._data.ndim and self.stacked(x):
            ones = ", ".join(["1"] * (rank - x._data.ndim))
            inner = ", ".join(map(str, x._data.shape))
            text, binds = f"{_bracketed(text, binds, 8)}.reshape({', '.join(part for part in ('T', ones, inner) if part)})", 9
        return _bracketed(text, binds, level)

    def made(self, node: Node) -> tuple[str, int]:
        """The text of what makes a value, and how close it binds."""
        made: Any = node._op
        inputs, stacked = node._inputs, self.stacked(node)
        rank = node._data.ndim if stacked else 0
        if made in (ops.add, ops.sub, ops.mul, ops.div, ops.pow) or (made is ops.matmul and not stacked):
            sign, binds = INFIX[made]
            rank = 0 if made is ops.matmul else rank
            return f"{self.of(inputs[0], binds, rank)} {sign} {self.of(inputs[1], binds + 1, rank)}", binds
        if made is ops.matmul:
            return f"matmul({self.of(inputs[0])}, {self.of(inputs[1])})", 9
        if made in COMPARISONS:
            return f"{self.of(inputs[0], 1, rank)} {COMPARISONS[made]} {self.of(inputs[1], 1, rank)}", 0
        if made is ops.neg:
            return f"-{self.of(inputs[0], 3)}", 3
        if made in (detached, copied):
            return self.of(inputs[0]), 0
        if made is squashed:
            slope, shift = (self.constant(node._settings[name]) for name in ("slope", "shift"))
            return f"{self.of(inputs[0], 2)} * {slope} + {shift}", 1
        if made in ELEMENTWISE:
            return self._call(made.__name__, [self.of(x, 0, rank) for x in inputs], node._settings)
        if made is ops.getitem:
            index = node._settings["index"]
            cut = slice_of(index, inputs[0]._data.shape)
            if cut is not None and cut[0] == inputs[0]._data.ndim - 1:
                return f"{self.of(inputs[0], 8)}[..., {cut[1]}:{cut[2]}]", 8
            return f"{self.of(inputs[0], 8)}[{self._index(index, stacked)}]", 8
        if made is blocks:
            shape = *inputs[0]._data.shape[:-1], node._settings["parts"], node._data.shape[-1]
            turned = "swapaxes(1, 2)" if stacked else "swapaxes(0, 1)"
            return f"{self.of(inputs[0], 8)}.reshape({size_text(shape, *['T'] * stacked)[1:-1]}).{turned}", 8
        if made in (ops.swapaxes, ops.transpose) and not stacked and node._data.ndim == 2:
            return f"{self.of(inputs[0], 8)}.T", 8
        return self._general(node, stacked)

    def _general(self, node: Node, stacked: bool) -> tuple[str, int]:
        made: Any = node._op
        inputs, settings = node._inputs, dict(node._settings)
        name = made.__name__.lstrip("_")
        args = [self.of(x) for x in inputs]
        if made is together:
            return self._together(node)
        if made is total:
            return self._total(inputs[0])
        if made in (ops._concat, ops._stack):
            axis = settings["axis"] % node._data.ndim + stacked
            return f"{name}({', '.join(args)}, axis={axis})", 9
        if stacked and made in _REDUCTIONS:
            settings["axis"] = tuple(a + 1 for a in _axes(settings.get("axis"), inputs[0]._data.ndim))
        elif stacked and made is ops.transpose:
            settings["axes"] = (0, *(a % node._data.ndim + 1 for a in settings.get("axes") or range(node._data.ndim)[::-1]))
        elif stacked and made is ops.swapaxes:
            settings = {k: v % node._data.ndim + 1 for k, v in settings.items()}
        elif stacked and made in (ops.broadcast_to, ops.reshape):
            args = [self.of(inputs[0], 0, node._data.ndim if made is ops.broadcast_to else 0)]
            return f"{name}({args[0]}, shape=(T, {', '.join(map(str, node._data.shape))}))", 9
        elif stacked and made is ops._put:
            shape = ", ".join(map(str, settings["shape"]))
            return f"put({args[0]}, index={self._slices(settings['index'])}, shape=(T, {shape}))", 9
        return self._call(name, args, settings)

    def _call(self, name: str, args: Sequence[str], settings: dict[str, Any]) -> tuple[str, int]:
        args = [*args, *(f"{key}={self.constant(value)}" for key, value in settings.items() if (key, value) not in _DEFAULTS)]
        return f"{name}({', '.join(args)})", 9

    def _total(self, x: Node) -> tuple[str, int]:
        """The sum over time, and over what the step itself sums last."""
        if not self.stacked(x):
            return f"T * {self.of(x, 3)}", 2
        axes: tuple[int, ...] = (0,)
        inner, shape = x, x._data.shape
        if self.name(x) is None:
            if x._op is ops.reshape and x._inputs[0]._op is ops.sum:
                inner = x._inputs[0]
            if inner._op is ops.sum and not (inner._settings.get("keepdims") and inner is x):
                axes = (0, *(a + 1 for a in _axes(inner._settings.get("axis"), inner._inputs[0]._data.ndim)))
                summed = inner._inputs[0]
                same = tuple(n for i, n in enumerate(summed._data.shape) if i + 1 not in axes) == shape
                text = f"summed({self.of(summed)}, {axes})"
                return (text if same else f"{text}.reshape({shape})"), 9
        return f"summed({self.of(x)}, (0,))", 9

    def _together(self, node: Node) -> tuple[str, int]:
        g, y, *operands = node._inputs
        i = node._settings["i"]
        if node._settings["function"] is ops.matmul.rules[1][1] and operands[1]._data.ndim == 2:
            return f"products({self.of(operands[0])}, {self.of(g)})", 9
        if node._settings["function"] is ops.take.rules[0][1] and not node._settings["settings"].get("axis"):
            return f"added_rows({self.of(operands[1])}, {self.of(g)}, {len(operands[0]._data)})", 9
        values = [g, y, *operands]
        what = [self.constant(x) for x in (node._settings["function"], node._settings["settings"], i)]
        each = tuple(self.stacked(x) for x in values)
        return f"at_once({', '.join(what)}, [{', '.join(self.of(x) for x in values)}], {each})", 9

    def _slices(self, index: Any) -> str:
        parts = index if isinstance(index, tuple) else (index,)
        return self.constant((slice(None), *parts))

    def _index(self, index: Any, stacked: bool) -> str:
        parts = index if isinstance(index, tuple) else (index,)
        texts = [":"] * stacked + [_part(part, self.constant) for part in parts]
        return ", ".join(texts) or "()"


_DEFAULTS = (("axis", None), ("keepdims", False), ("axes", None))


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if axis is None or ndim == 0 else normalize_axis_tuple(axis, ndim)


def _part(part: Any, constant: Callable[[Any], str]) -> str:
    if isinstance(part, slice):
        return ":".join(
            "" if n is None else str(n) for n in ([part.start, part.stop] if part.step is None else [part.start, part.stop, part.step])
        )
    return "..." if part is Ellipsis else constant(part)


def _bracketed(text: str, binds: int, level: int) -> str:
    return text if binds >= level else f"({text})"


def size_text(shape: Sequence[int], *before: str) -> str:
    """A shape as it is written."""
    parts = [*before, *map(str, shape)]
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
