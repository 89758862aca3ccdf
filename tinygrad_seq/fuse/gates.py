"""Gates share calls: one tanh serves all gates of a cell, as sigma(z) = (1 + tanh(z/2)) / 2, and one multiplication their gradients."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .. import ops
from ..record import Array, Node, Value, _now, op
from .rules import Rule, again, copied, depends, rewritten, slice_of
from .trace import Symbol, reachable

SHORT = 256  # columns up to which gradients of one sequence are faster brought side by side and multiplied at once than one by one


@op(None)
def squashed(y: Value, *, slope: Array, shift: Array, sigmoids: Sequence[str] = ()) -> Value:
    """slope * y + shift, column by column: with 1/2 and 1/2 a sigmoid of what was a tanh of half as much; with 1 and 0 the tanh itself.

    sigmoids: the names of the sigmoids, to be told.
    """
    return np.asarray(y * slope + shift)


@op(None)
def blocks(x: Value, *, parts: int) -> Value:
    """The columns of x (N, k H) as k blocks (k, N, H): a gate of several sequences then stands in one piece, and not in pieces of rows."""
    return np.asarray(x.reshape(len(x), parts, -1).swapaxes(0, 1))


def shared(roots: Sequence[Node], varying: Sequence[Node], state: Sequence[Node]) -> tuple[list[Node], dict[int, str]]:
    """The same values, where each z whose columns go through sigmoids, or some through tanh, goes through one tanh; and how to tell slopes.

    The slopes of gates are computed at once: by the order of each, what it is of its gate, as an equation says it.
    """
    users: dict[int, list[Node]] = defaultdict(list)
    for node in reachable(roots):
        for x in node._inputs:
            if isinstance(x, Node):
                users[x._order].append(node)
    for root in roots:
        users[root._order].append(root)
    varies, loops = depends(roots, varying), depends(roots, state)
    leaves: dict[int, Node] = {}
    told: dict[int, str] = {}
    folding = _Folding(users, varies)
    whole: list[tuple[Node, list[tuple[Node, int, int]]]] = []
    taken: set[int] = set()
    for z in reachable(roots):
        if z._order in loops and z._data.ndim and z._data.dtype.kind == "f":
            gates = _gates(z, users)
            new = not any(f._order in taken for f, _, _ in gates)
            if gates and new and any(f._op is ops.sigmoid for f, _, _ in gates):
                whole.append((z, gates))
                taken |= {f._order for f, _, _ in gates}
    for z, gates in whole:
        scale = np.ones(z._data.shape[-1], z._data.dtype)
        for f, a, b in gates:
            if f._op is ops.sigmoid:
                scale[a:b] = 0.5
        folding.add(z, scale)
        folding.wanted.setdefault(z._order, scale)  # a slice of what others use whole gets its scale itself
    for z, gates in whole:
        for source, cuts in folding.cut.items():
            for cut in cuts:
                if cut._order not in leaves and source in folding.wanted:
                    leaves[cut._order] = again(cut, (folding.folded(cut._inputs[0]),))
        _now.place = z._place
        of_gates: Any = folding.folded(z)
        apart = len(gates) > 1 and z._data.ndim == 2 and len(z._data) > 1 and len({b - a for _, a, b in gates}) == 1
        if apart:
            of_gates = blocks(of_gates, parts=len(gates))
            of_gates.name = f"{z.name or 'z'}_gates"
            of_gates = copied(of_gates)
        y: Any = ops.tanh(of_gates)
        names = [f.name for f, _, _ in gates if f._op is ops.sigmoid and f.name]
        y = squashed(y, slope=_by_gate(gates, z, apart, 0.5, 1), shift=_by_gate(gates, z, apart, 0.5, 0), sigmoids=tuple(names))
        y.name = "gates" if len(gates) > 1 else gates[0][0].name
        for j, (f, a, b) in enumerate(gates):
            made = y[j] if apart else y[..., a:b] if len(gates) > 1 else y
            made.name = f.name
            leaves[f._order] = made
        for derivative, part, equation in _slopes(y, gates, users, z, apart):
            leaves[derivative._order], told[part._order] = part, equation
    return rewritten(roots, leaves=leaves), told


def _by_gate(gates: list[tuple[Node, int, int]], z: Node, apart: bool, of_sigmoid: float, of_tanh: float) -> Array:
    """A number for each column of z, of the gate that it goes into, or for each gate, where these stand apart."""
    numbers = [np.full(1 if apart else b - a, of_sigmoid if f._op is ops.sigmoid else of_tanh, z._data.dtype) for f, a, b in gates]
    return np.concatenate(numbers).reshape((-1, 1, 1) if apart else -1)


def _slopes(y: Any, gates: list[tuple[Node, int, int]], users: dict[int, list[Node]], z: Node, apart: bool) -> list[tuple[Node, Node, str]]:
    """The derivatives of all gates at once, where all are asked for: (1 - y) y of a sigmoid, (1 - y) (y + 1) of a tanh.

    Of each gate: the node that computes its derivative, the slope that takes its place, and what that is.
    """
    found = [_slope(f, users) for f, _, _ in gates]
    if len(gates) == 1 or any(node is None for node in found):
        return []
    of_tanh = Symbol(_by_gate(gates, z, apart, 0, 1))
    of_tanh.name = "of_tanh"
    slopes: Any = (1 - y) * (y + of_tanh if of_tanh._data.any() else y)
    slopes.name = "slopes"
    made: list[tuple[Node, Node, str]] = []
    for j, ((f, a, b), node) in enumerate(zip(gates, found, strict=True)):
        assert node is not None
        part, name = slopes[j] if apart else slopes[..., a:b], f.name or "y"
        part.name = f"slopes_{name}"
        made.append((node, part, f"({name if f._op is ops.sigmoid else 1} - {name} * {name})"))
    return made


def _slope(f: Node, users: dict[int, list[Node]]) -> Node | None:
    """The node that computes f - f * f of a sigmoid, 1 - f * f of a tanh."""
    first: Any = f if f._op is ops.sigmoid else 1
    squares = [node for node in users[f._order] if node._op is ops.mul and all(x is f for x in node._inputs)]
    for node in [user for square in squares for user in users[square._order] if user._op is ops.sub]:
        a, b = node._inputs
        if b is squares[0] and (a is first if isinstance(first, Node) else not isinstance(a, Node) and a == first):
            return node
    return None


def _gates(z: Node, users: dict[int, list[Node]]) -> list[tuple[Node, int, int]]:
    """The sigmoids and tanhs that z, or slices of its last axis, goes into, and nothing else, with their columns."""
    n = z._data.shape[-1]
    gates = []
    for user in users[z._order]:
        if user._op in (ops.sigmoid, ops.tanh):
            gates.append((user, 0, n))
        elif user._op is ops.getitem:
            cut = slice_of(user._settings["index"], z._data.shape)
            if cut is None or cut[0] != z._data.ndim - 1:
                return []
            for f in users[user._order]:
                if f._op not in (ops.sigmoid, ops.tanh):
                    return []
                gates.append((f, cut[1], cut[2]))
        else:
            return []
    gates.sort(key=lambda gate: gate[1])
    tiled = gates and gates[0][1] == 0 and gates[-1][2] == n
    return gates if tiled and all(x[2] == y[1] for x, y in pairwise(gates)) else []


class _Folding:
    """Scales of columns, moved from where they are wanted to the weights and biases that make them."""

    def __init__(self, users: dict[int, list[Node]], varies: set[int]) -> None:
        self.users, self.varies = users, varies
        self.wanted: dict[int, Array] = {}  # of sums, products and look-ups that all go into gates
        self.cut: dict[int, list[Node]] = {}  # what is made of slices of those that are used by slices only
        self.made: dict[int, Node] = {}

    def add(self, x: Node, scale: Array) -> None:
        """Ask for the columns of x in another scale, which all that uses x expects."""
        if x._op is ops.getitem:
            source = x._inputs[0]
            cut = slice_of(x._settings["index"], source._data.shape)
            if cut is not None and cut[0] == source._data.ndim - 1 and self._all_sliced(source) and len(self.users[x._order]) == 1:
                wide = np.ones(source._data.shape[-1], scale.dtype)
                wide[cut[1] : cut[2]] = scale
                self.wanted[x._order] = scale
                self.cut[source._order] = self.users[source._order]
                self.add(source, wide)
            return
        before = self.wanted.get(x._order)
        self.wanted[x._order] = scale if before is None else before * scale
        if x._op in (ops.add, ops.sub):
            for part in x._inputs:
                if self._movable(part, scale):
                    self.add(part, scale)

    def _movable(self, x: Value, scale: Array) -> bool:
        wide = isinstance(x, Node) and x._data.ndim > 0 and x._data.shape[-1] == len(scale)
        return wide and x._order in self.varies and x._op is not None and (x._op is ops.getitem or len(self.users[x._order]) == 1)

    def _all_sliced(self, x: Node) -> bool:
        """Whether x is used by disjoint slices of its last axis only."""
        spans = []
        for user in self.users[x._order]:
            cut = slice_of(user._settings["index"], x._data.shape) if user._op is ops.getitem else None
            if cut is None or cut[0] != x._data.ndim - 1:
                return False
            spans.append(cut[1:])
        spans.sort()
        return all(a[1] <= b[0] for a, b in pairwise(spans))

    def folded(self, x: Value) -> Any:
        """x in its new scale."""
        if x._order not in self.made:
            self.made[x._order] = self._folded(x, self.wanted[x._order])
            self.made[x._order].name = x.name
        return self.made[x._order]

    def _folded(self, x: Node, scale: Array) -> Node:
        _now.place = x._place
        inputs = x._inputs
        if (scale == 1).all():
            return x
        if x._op is ops.getitem and isinstance(inputs[0], Node) and inputs[0]._order in self.wanted:
            return again(x, (self.folded(inputs[0]),))
        if x._op in (ops.add, ops.sub):
            return again(x, tuple(self._part(part, scale) for part in inputs))
        if x._op in (ops.matmul, ops.take):
            i = 1 if x._op is ops.matmul else 0
            W = inputs[i]
            if isinstance(W, Node) and W._order not in self.varies and W._data.ndim == 2 and not x._settings.get("axis"):
                return again(x, (inputs[0], W * Symbol(scale)) if i else (W * Symbol(scale), inputs[1]))
        return x * Symbol(scale)

    def _part(self, x: Value, scale: Array) -> Value:
        if isinstance(x, Node) and x._order in self.wanted:
            return self.folded(x)
        return x * Symbol(scale)


def beside(roots: Sequence[Node], moving: Sequence[Node]) -> tuple[list[Node], dict[int, str]]:
    """The same values, where gradients d_k * a_k that stand side by side are one product, of the d_k and the a_k side by side.

    moving: the leaves that gradients come in by, on which the d_k depend, and the a_k do not.  What equations say of both rows is told.
    """
    uses = Counter(x._order for node in reachable(roots) for x in node._inputs if isinstance(x, Node))
    told: dict[int, str] = {}

    def rule(node: Node, inputs: tuple[Value, ...]) -> Node:
        wanted = node._op is ops._concat and len(inputs) > 2 and node._data.size == node._data.shape[-1] <= SHORT
        if not wanted or any(not isinstance(x, Node) or uses[x._order] > 1 for x in node._inputs):
            return again(node, inputs)
        unknown = depends(inputs, moving)
        pairs = [pair for x in inputs if (pair := _factors(x, unknown))]
        if len(pairs) < len(inputs):
            return again(node, inputs)
        _now.place = node._place
        row, local = _row([d for d, _ in pairs]), _joined([a for _, a in pairs])
        names: list[Any] = [(d.name, x.name) for (d, _), x in zip(pairs, inputs, strict=True)]
        if all(map(all, names)):
            told[row._order] = f"({', '.join(d for d, _ in names)})"
            told[local._order] = f"({', '.join(f'{d} / {x}' for d, x in names)})"
        made: Node = ops.mul(row, local)
        return made

    return rewritten(roots, rule), told


def _factors(x: Node, unknown: set[int]) -> tuple[Node, Node] | None:
    """d and a of a product d * a, where d is known in the loop only, and a before it."""
    if x._op is not ops.mul or not all(isinstance(part, Node) and part._data.shape == x._data.shape for part in x._inputs):
        return None
    d, a = sorted(x._inputs, key=lambda part: part._order not in unknown)
    made = d._op not in (None, ops.getitem)  # by a line of the loop, which can put it into the row
    return (d, a) if made and d._order in unknown and a._order not in unknown else None


def _row(ds: Sequence[Node]) -> Node:
    """Gradients side by side, each made once, however often it stands there."""
    once = list({d._order: d for d in ds}.values())
    edges = accumulate((d._data.shape[-1] for d in once), initial=0)
    start = {d._order: edge for d, edge in zip(once, edges, strict=False)}
    all_: Any = ops.concat(once, axis=-1)
    all_.name = "d"
    row: Node = ops.take(all_, np.concatenate([start[d._order] + np.arange(d._data.shape[-1]) for d in ds]), axis=-1)
    return row


def _joined(factors: Sequence[Node]) -> Node:
    """Factors side by side; of x_1 * s[:n], x_2 * s[n:], ... they are the x side by side, times s."""
    spans = list(pairwise(accumulate((a._data.shape[-1] for a in factors), initial=0)))
    joined: Any = None
    for s in [x._inputs[0] for x in factors[0]._inputs if isinstance(x, Node) and x._op is ops.getitem]:
        xs = [x for a, span in zip(factors, spans, strict=True) if (x := _times_slice(a, s, span)) is not None]
        if len(xs) == len(factors) and s._data.shape[-1] == spans[-1][1]:
            joined = ops.concat(xs, axis=-1) * s
    joined = ops.concat(factors, axis=-1) if joined is None else joined
    joined.name = "local"
    made: Node = joined
    return made


def _times_slice(a: Node, s: Node, span: tuple[int, int]) -> Node | None:
    """The x of a product x * s[..., from:to]."""
    for x, cut in (a._inputs, a._inputs[::-1]) if a._op is ops.mul else ():
        sliced = isinstance(cut, Node) and cut._op is ops.getitem and cut._inputs[0] is s and isinstance(x, Node)
        if sliced and slice_of(cut._settings["index"], s._data.shape) == (s._data.ndim - 1, *span) and x._data.shape == a._data.shape:
            return x
    return None


def biased(varying: Sequence[Node]) -> Rule:
    """look-up(W, x) + b = look-up(W + b, x): the bias is added to the rows of the table, not to each of the symbols'."""

    def rule(node: Node, inputs: tuple[Value, ...]) -> Node:
        for i, x in enumerate(inputs if node._op is ops.add else ()):
            b = inputs[1 - i]
            if isinstance(x, Node) and x._op is ops.take and not x._settings.get("axis") and isinstance(b, Node):
                table = x._inputs[0]
                varies = depends([b, table], varying)
                if b._data.shape == table._data.shape[1:] and b._order not in varies and table._order not in varies:
                    return again(x, (table + b, x._inputs[1]))
        return again(node, inputs)

    return rule
