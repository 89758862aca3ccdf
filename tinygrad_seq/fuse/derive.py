"""From the trace of a step to the expressions that its program computes: forward, and backward by the rules of the op table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import ops
from ..record import Node, _now
from .gates import beside, biased, shared
from .rules import copied, depends, differentiated, factored, rewritten, split_products, summed_first
from .trace import Symbol, Trace, reachable, symbol


@dataclass
class Part:
    """A part of the state: the symbols of h_(t-1) and h_t, of the gradient that comes to all steps, and of the one that is carried."""

    name: str
    old: Node
    new: Node
    given: Node | None = None
    carried: Node | None = None
    back: Node | None = None  # the gradient that the next step, backwards, carries


@dataclass
class Derived:
    """One step as expressions over symbols; `gradients` of the parameters and inputs that need one, by their place in the list."""

    parts: list[Part]
    inputs: list[Symbol]
    parameters: list[Node]
    gradients: dict[int, Node] = field(default_factory=dict)  # of parameters, sums over all steps
    input_gradients: dict[int, Node] = field(default_factory=dict)  # of inputs, at each step
    told: dict[int, str] = field(default_factory=dict)  # what equations say instead of a value's name, by its order

    @property
    def varying(self) -> list[Node]:
        """The leaves that differ from step to step."""
        return [*self.inputs, *(part.old for part in self.parts)]

    @property
    def carried(self) -> list[Node]:
        """The leaves that carry gradients from step to step."""
        return [part.carried for part in self.parts if part.carried is not None]


def derived(found: Trace, names: Sequence[str]) -> Derived:
    """The expressions of a step and of its gradients, rewritten to be computed for as many steps at once as can be."""
    leaves: dict[int, Node] = {}
    for i, (leaf, tensor) in enumerate(found.parameters):
        if not isinstance(leaf, Symbol):  # a Tensor that the step brought along
            made = symbol(tensor._data, tensor._requires_grad, tensor.name or f"W{i}")
            leaves[leaf._order] = made
            found.parameters[i] = made, tensor
    before = _now.place, _now.recording
    _now.recording = True
    try:
        for name, old in zip(names, found.state, strict=True):
            old.name = f"{name}_prev"
        new = rewritten(rewritten(found.new, leaves=leaves), split_products)
        new = rewritten(new, summed_first(found.state))
        new = _apart(new, [*found.inputs, *found.state])
        _name(new, names, found.inputs, found.state)
        parts = [Part(name, old, y) for name, old, y in zip(names, found.state, new, strict=True)]
        result = Derived(parts, found.inputs, [leaf for leaf, _ in found.parameters])
        _differentiate(result)
        _rewrite(result)
    finally:
        _now.place, _now.recording = before
    return result


def _apart(new: list[Node], varying: list[Node]) -> list[Node]:
    """Each part of the new state in a place of its own."""
    counts = Counter(y._order for y in new)
    made = depends(new, varying)
    views = (None, ops.getitem, ops.swapaxes, ops.transpose)
    return [copied(y, part=i) if counts[y._order] > 1 or y._op in views or y._order not in made else y for i, y in enumerate(new)]


def _differentiate(result: Derived) -> None:
    """Which parts of the state carry a gradient is known when the gradients are, so it is asked until nothing changes."""
    active = [part for part in result.parts if part.new._requires_grad]
    if not active:
        return
    seeds = {part.name: symbol(part.new._data, name=f"d{part.name}") for part in active}
    found = differentiated([part.new for part in active], [seeds[part.name] for part in active], result.varying)
    roots = [found[leaf._order] for leaf in [*result.varying, *result.parameters] if leaf._order in found]
    roots = factored(roots, list(seeds.values()))
    order = [leaf for leaf in [*result.varying, *result.parameters] if leaf._order in found]
    flows: dict[int, Node] = {}
    for i, part in enumerate(active):
        seed = seeds[part.name]
        if part.old._order in found:
            part.carried = symbol(part.new._data, name=f"d{part.name}_next")
        if i == 0 or part.carried is None:
            part.given = symbol(part.new._data, name=f"d{part.name}_given")
        given, carried = part.given, part.carried
        both: Any = carried if given is None else given if carried is None else given + carried  # type: ignore[operator]
        flows[seed._order] = both
        if both._op is not None:
            both.name = f"d{part.name}"
    state = {part.old._order for part in result.parts}
    roots = _kept(rewritten(roots, leaves=flows), [leaf._order in state for leaf in order], active)
    gradient = {leaf._order: g for leaf, g in zip(order, roots, strict=True)}
    for part in active:
        part.back = gradient.get(part.old._order)
    result.gradients = {i: gradient[leaf._order] for i, leaf in enumerate(result.parameters) if leaf._order in gradient}
    result.input_gradients = {i: gradient[leaf._order] for i, leaf in enumerate(result.inputs) if leaf._order in gradient}


def _kept(roots: list[Node], back: list[bool], parts: list[Part]) -> list[Node]:
    """The same, where what is carried, and used for more than to carry it on, is kept at each step."""
    inside = {node._order for node in reachable([root for root, carries in zip(roots, back, strict=True) if carries])}
    outside = {x._order for node in reachable(roots) if node._order not in inside for x in node._inputs if isinstance(x, Node)}
    leaves: dict[int, Node] = {}
    for i, part in enumerate(parts):
        if part.carried is not None and part.carried._order in {*outside, *(root._order for root in roots)}:
            leaves[part.carried._order] = kept = copied(part.carried, part=i)
            kept.name = f"d{part.name}"
    return rewritten(roots, leaves=leaves)


def _rewrite(result: Derived) -> None:
    roots: list[Node] = [part.new for part in result.parts]
    slots = [("new", part) for part in result.parts]
    for part in result.parts:
        if part.back is not None:
            roots.append(part.back)
            slots.append(("back", part))
    ends = len(roots)
    roots += [*result.gradients.values(), *result.input_gradients.values()]
    roots = rewritten(roots, biased(result.varying))
    roots, result.told = shared(roots, result.varying, [part.old for part in result.parts])
    roots, told = beside(roots, [*(part.given for part in result.parts if part.given is not None), *result.carried])
    result.told |= told
    for (which, part), root in zip(slots, roots, strict=False):
        setattr(part, which, root)
    made = iter(roots[ends:])
    result.gradients = {i: next(made) for i in result.gradients}
    result.input_gradients = {i: next(made) for i in result.input_gradients}


def _name(new: Sequence[Node], names: Sequence[str], inputs: Sequence[Node], state: Sequence[Node]) -> None:
    """Give values the letters of the equations: of the state's fields, of scopes; a is made of x_t only, z goes into a nonlinearity."""
    last: dict[str, Node] = {}
    for node in reachable(new):
        if node._place is not None and isinstance(node._place[1], str) and node._op is not None:
            last[node._place[1]] = node  # the last op within a scope makes what the scope is called
    for scope, node in last.items():
        name = re.sub(r"\W", "", scope.replace("\u0303", "_tilde"))
        if name.isidentifier():
            node.name = name
    for name, y in zip(names, new, strict=True):
        y.name = name
    taken = {node.name for node in reachable(new)}
    of_state, of_inputs = depends(new, state), depends(new, inputs)
    for node in reachable(new):
        if node._op in (ops.tanh, ops.sigmoid):
            _called(node._inputs[0], f"z_{node.name}" if node.name and node.name not in names else "z", taken)
            source = _sliced(node._inputs[0])
            if source is not node._inputs[0]:
                _called(source, "z" if "z" not in taken else "s", taken)
        if node._op in (ops.add, ops.sub) and node._order in of_state:
            for x in node._inputs:
                if isinstance(x, Node) and x._order in of_inputs and x._order not in of_state:
                    _called(_sliced(x), "a", taken)


def _called(node: Any, name: str, taken: set[str | None]) -> None:
    if isinstance(node, Node) and node._op is not None and not node.name and name not in taken:
        node.name = name
        taken.add(name)


def _sliced(node: Any) -> Any:
    while isinstance(node, Node) and node._op is ops.getitem:
        node = node._inputs[0]
    return node
