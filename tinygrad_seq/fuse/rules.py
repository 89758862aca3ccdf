"""The trace of a step, differentiated by the rules of the op table, run on symbols."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..record import Node, Value, _now, fitted, op, rule_arguments
from .trace import Symbol, reachable

Rule = Callable[[Node, tuple[Value, ...]], Value]
Form = tuple[Node, tuple[Any, ...]]  # base, factors
_MINUS = -1


@op(None)
def total(x: Value) -> Value:
    """The sum over all steps of x_t; of the one step that was traced, x itself."""
    return np.array(x)


@op(each=lambda i, g, y, xs, **_: None)
def together(g: Value, y: Value, *operands: Value, function: Any, settings: Any, i: int) -> Value:
    """The sum over all steps of an op's gradients for its operand i, which all steps share; its numbers are of no use in a trace."""
    return np.zeros_like(operands[i])


@op(lambda g, y, x, *, part=0: g)
def copied(x: Value, *, part: int = 0) -> Value:
    """x, in a place of its own, such as that of a part of the state."""
    return x.copy()


def again(node: Node, inputs: tuple[Value, ...]) -> Node:
    """The op of a node, of other inputs."""
    if all(a is b for a, b in zip(inputs, node._inputs, strict=True)):
        return node
    _now.place = node._place
    made: Node = node._op(*inputs, **node._settings)  # type: ignore[misc]
    made.name = node.name
    return made


def rewritten(roots: Sequence[Node], rule: Rule = again, leaves: dict[int, Node] | None = None) -> list[Node]:
    """The same values, made by what `rule` gives for each node of the inputs that were rewritten before; equal expressions once."""
    made: dict[int, Node] = dict(leaves or {})
    equal: dict[Any, Node] = {}
    for node in reachable(roots):
        if node._op is None:
            made.setdefault(node._order, node)
        elif node._order not in made:
            new = rule(node, tuple(made[x._order] if isinstance(x, Node) else x for x in node._inputs))
            first = equal.setdefault(key(new), new)
            first.name = first.name or new.name or node.name
            made[node._order] = first
    return [made[root._order] for root in roots]


def key(node: Node) -> Any:
    """What makes two nodes the same expression."""
    if node._op is None:
        return node._order
    inputs = tuple(x._order if isinstance(x, Node) else _constant(x) for x in node._inputs)
    return node._op, inputs, tuple((name, _constant(value)) for name, value in sorted(node._settings.items()))


def _constant(x: Any) -> Any:
    return (x.shape, x.dtype.str, x.tobytes()) if isinstance(x, np.ndarray) else (type(x).__name__, repr(x))


def split_products(node: Node, inputs: tuple[Value, ...]) -> Node:
    """[h, x] @ W = h @ W_h + x @ W_x, so that the second product leaves the loop."""
    if node._op is ops.matmul and isinstance(inputs[0], Node) and inputs[0]._op is ops._concat:
        joined, W = inputs
        if joined._settings["axis"] % joined._data.ndim == joined._data.ndim - 1 and isinstance(W, Node) and W._data.ndim == 2:
            edges = joined._settings["edges"]
            sum_: Any = None
            for x, a, b in zip(joined._inputs, edges, edges[1:], strict=False):
                rows: Any = W[a:b]  # type: ignore[index]
                rows.name = f"{W.name or 'W'}_{(x.name or 'x').removesuffix('_prev')}"
                sum_ = ops.matmul(x, rows) if sum_ is None else sum_ + ops.matmul(x, rows)
            return sum_
    return again(node, inputs)


def summed_first(state: Sequence[Node]) -> Rule:
    """(h @ W_h + x @ W_x) + b = h @ W_h + (x @ W_x + b): what does not depend on the state is summed before the loop."""

    def rule(node: Node, inputs: tuple[Value, ...]) -> Node:
        first, b = inputs if node._op is ops.add else (None, None)
        if isinstance(first, Node) and first._op is ops.add:
            u, a = first._inputs
            moving = depends([x for x in (u, a, b) if isinstance(x, Node)], state)
            moves = [isinstance(x, Node) and x._order in moving for x in (u, a, b)]
            if moves == [True, False, False]:
                return ops.add(u, ops.add(a, b)) if isinstance(a, Node) or isinstance(b, Node) else again(node, inputs)
        return again(node, inputs)

    return rule


def depends(roots: Sequence[Node], leaves: Sequence[Node]) -> set[int]:
    """The orders of the nodes that any of the leaves takes part in."""
    found = {leaf._order for leaf in leaves}
    for node in reachable(roots):
        if any(isinstance(x, Node) and x._order in found for x in node._inputs):
            found.add(node._order)
    return found


def differentiated(new: Sequence[Node], seeds: Sequence[Node], varying: Sequence[Node]) -> dict[int, Node]:
    """The gradient of each leaf that needs one: of what is the same at all steps the sum over the steps, of the others the step's own.

    new: the state after the step, whose gradients are `seeds`; varying: the leaves that differ from step to step.
    """
    varies = depends(new, varying)
    waiting: dict[int, list[Node]] = defaultdict(list)
    for y, seed in zip(new, seeds, strict=True):
        if y._requires_grad:
            waiting[y._order].append(seed)
    found: dict[int, Node] = {}
    nodes = [node for node in reachable(new) if node._requires_grad]
    for node in sorted(nodes, key=lambda node: (node._order in varies, node._order), reverse=True):
        if node._order not in waiting:
            continue
        g = _sum(waiting.pop(node._order), node)
        if node.name and not g.name:
            g.name = f"d{node.name}"
        if node._op is None:
            found[node._order] = g
            continue
        _now.place = (node._place, "backward")
        for i, x in enumerate(node._inputs):
            if isinstance(x, Node) and x._requires_grad:
                contribution = _contribution(node, i, x, g, shared=node._order in varies and x._order not in varies)
                if contribution is not None:
                    waiting[x._order].append(contribution)
    return found


def _contribution(node: Node, i: int, x: Node, g: Node, *, shared: bool) -> Node | None:
    assert node._op is not None
    rule, at_once = node._op.rules[i]
    if rule is None:
        return None
    if shared and at_once is not None:
        y = None if node._op in (ops.matmul, ops.take) else node
        return together(g, y, *node._inputs, function=at_once, settings=node._settings, i=i)
    contribution = rule(*rule_arguments(node._op, g, node, node._inputs), **node._settings)
    if not isinstance(contribution, Node):
        contribution = Symbol(contribution)
    contribution = fitted(contribution, x._data, node._op)
    return total(contribution) if shared else contribution


def _sum(contributions: list[Node], node: Node) -> Node:
    puts = [c for c in contributions if c._op is ops._put]
    if len(puts) > 1:
        joined = _joined(puts, node)
        if joined is not None:
            contributions = [c for c in contributions if c._op is not ops._put] + [joined]
    sum_: Any = contributions[0]
    for contribution in contributions[1:]:
        sum_ = sum_ + contribution
    return sum_


def slice_of(index: Any, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The one axis that an index cuts, and from where to where; None for an index of another kind."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in parts) or len(parts) > len(shape):
        return None
    spans = [part.indices(n)[:2] for part, n in zip(parts, shape, strict=False)]
    cut = [(axis, a, b) for axis, (a, b) in enumerate(spans) if (a, b) != (0, shape[axis])]
    return cut[0] if len(cut) == 1 else None


def _joined(puts: list[Node], node: Node) -> Node | None:
    """Gradients that land in slices of one tensor, one beside the other: written there, not added."""
    shape = node._data.shape
    cuts = [slice_of(put._settings["index"], shape) for put in puts]
    if None in cuts or len({cut[0] for cut in cuts}) != 1:  # type: ignore[index]
        return None
    axis = cuts[0][0]  # type: ignore[index]
    order = sorted(range(len(puts)), key=lambda k: cuts[k][1])  # type: ignore[index]
    edges = [cuts[k][1] for k in order] + [cuts[order[-1]][2]]  # type: ignore[index]
    if edges[0] != 0 or edges[-1] != shape[axis] or any(cuts[k][2] != end for k, end in zip(order, edges[1:], strict=True)):  # type: ignore[index]
        return None
    pieces = [puts[k]._inputs[0] for k in order]
    if any(piece._data.shape[axis] != b - a for piece, a, b in zip(pieces, edges, edges[1:], strict=False)):
        return None
    return ops.concat(pieces, axis=axis)


# ---- (g * a) * b = g * (a * b) -------------------------------------------------------------------------------------------------------


def factored(roots: Sequence[Node], seeds: Sequence[Node]) -> list[Node]:
    """The gradients, where what is multiplied with a gradient one factor after the other is first multiplied with each other.

    Each value that depends on the seeds is told as base * factor, the factor known before the backward loop; products, quotients, and sums
    of equal bases change the factor only.
    """
    unknown = depends(roots, seeds)
    forms: dict[int, Form] = {}
    made: dict[Any, Node] = {}

    def whole(x: Value) -> Value:
        """base * factor as a node."""
        if not isinstance(x, Node) or x._order not in unknown:
            return x
        base, factors = forms[x._order]
        if not factors:
            return base
        name = base._order, tuple(f._order if isinstance(f, Node) else _constant(f) for f in factors)
        if name not in made:
            factor = _product(factors)
            made[name] = -base if _is_number(factor, -1) else base * factor  # type: ignore[operator]
        made[name].name = made[name].name or x.name
        return made[name]

    for node in reachable(roots):
        if node._order in unknown:
            _now.place = node._place
            forms[node._order] = _form(node, unknown, forms, whole)
    return [whole(root) for root in roots]


def _form(node: Node, unknown: set[int], forms: dict[int, Form], whole: Any) -> Form:
    inputs = node._inputs
    linear = [isinstance(x, Node) and x._order in unknown for x in inputs]
    if node._op is None:
        return node, ()
    if node._op is ops.neg:
        base, factors = forms[inputs[0]._order]
        return base, _negative(factors)
    if node._op is ops.mul and sum(linear) == 1:
        base, factors = forms[inputs[linear.index(True)]._order]
        return base, (*factors, _number(inputs[linear.index(False)], base))
    if node._op is ops.div and linear[0] and not linear[1]:
        base, factors = forms[inputs[0]._order]
        return base, (*factors[:-1], (factors[-1] if factors else 1) / inputs[1])
    if node._op in (ops.add, ops.sub) and all(linear):
        (base, factors), (other, second) = (forms[x._order] for x in inputs)
        if base is other:
            return base, _sum_of(factors, second if node._op is ops.add else _negative(second))
    made = again(node, tuple(whole(x) for x in inputs))
    made.name = made.name or node.name
    return made, ()


def _number(x: Value, base: Node) -> Value:
    """A truth as 0 or 1, since truths are not subtracted."""
    return ops.astype(x, dtype=base._data.dtype) if isinstance(x, Node) and x._data.dtype == bool else x


def _product(factors: Sequence[Any]) -> Any:
    numbers = math.prod(f for f in factors if not isinstance(f, Node))
    nodes = [f for f in factors if isinstance(f, Node)]
    product: Any = nodes[0] if nodes else numbers
    for node in nodes[1:]:
        product = product * node
    if not nodes or _is_number(numbers, 1):
        return product
    return -product if _is_number(numbers, -1) else product * numbers


def _is_number(x: Any, n: int) -> bool:
    return not isinstance(x, (Node, np.ndarray)) and x == n


def _negative(factors: tuple[Any, ...]) -> tuple[Any, ...]:
    return factors[1:] if factors and factors[0] is _MINUS else (_MINUS, *factors)


def _sum_of(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    """The sum of two products, what both begin with taken out: i - i * y * y = i * (1 - y * y)."""
    common = 0
    signs = [bool(factors) and factors[0] is _MINUS for factors in (a, b)]
    a, b = (factors[sign:] for factors, sign in zip((a, b), signs, strict=True))
    while common < min(len(a), len(b)) and a[common] is b[common]:
        common += 1
    first, second = _product(a[common:]), _product(b[common:])
    if signs[0] and signs[1]:
        return (_MINUS, *a[:common], first + second)
    return (*a[:common], second - first if signs[0] else first - second if signs[1] else first + second)
