"""When each expression is computed, and where its numbers stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..record import Node, Value
from .derive import Derived
from .gates import blocks
from .lift import ELEMENTWISE, liftable
from .rules import depends, together, total
from .trace import reachable

ONCE, STEPS, FORWARD, KNOWN, BACKWARD, FINAL = range(6)  # what a value depends on: weights; inputs; state; given, carried gradients; sums


# Numbers of a step from which on local derivatives are computed within the backward loop, where they stay in the cache, not before it.
LARGE = 2048


class Slot:
    """An array: of each step its own (stack) or one for all; whole, or columns of another one."""

    def __init__(self, node: Node) -> None:
        self.nodes = [node]
        self.shape, self.dtype = node._data.shape, node._data.dtype
        self.stack = self.protected = False
        self.parent: tuple[Slot, int, int] | None = None
        self.children: list[Slot] = []
        self.state: str | None = None  # of a part of the state, which has one row more, for the state before the first step
        self.name = ""


def root(slot: Slot) -> Slot:
    """The whole array that a slot is, or is a part of."""
    while slot.parent is not None:
        slot = slot.parent[0]
    return slot


def _of_columns(node: Node) -> bool:
    """Whether a node joins what can be made where it will stand: in a row, since columns of several rows are slow to write into."""
    return node._op is ops._concat and node._data.size == node._data.shape[-1]


def _within(slot: Slot) -> list[Slot]:
    return [slot, *(inner for child in slot.children for inner in _within(child))]


class Plan:
    """The two loops of a program and what is computed before, between and after them."""

    def __init__(self, derived: Derived) -> None:
        self.derived = derived
        self.new = [part.new for part in derived.parts]
        self.back = [part.back for part in derived.parts if part.back is not None and part.carried is not None]
        self.ends = [*derived.gradients.values(), *derived.input_gradients.values()]
        self.nodes = reachable([*self.new, *self.back, *self.ends])
        self.users: dict[int, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for x in node._inputs:
                if isinstance(x, Node):
                    self.users[x._order].append(node)
        self._levels()
        self.forward_loop = self._forward_loop()
        self.backward_loop = self._backward_loop()
        self.slots: dict[int, Slot] = {}
        self._place(self.forward_loop, forward=True)
        self._place(self.backward_loop, forward=False)

    # ---- when

    def _levels(self) -> None:
        d = self.derived
        roots = self.nodes
        self.level: dict[int, int] = {}
        given = [part.given for part in d.parts if part.given is not None]
        sets = [
            depends(roots, d.inputs), depends(roots, [part.old for part in d.parts]), depends(roots, given), depends(roots, d.carried),
            depends(roots, [node for node in roots if node._op in (total, together)]),
        ]  # fmt: skip
        for node in roots:
            self.level[node._order] = max([ONCE, *(i for i, found in enumerate(sets, 1) if node._order in found)])

    def stacked(self, x: Value) -> bool:
        """Whether a value differs from step to step."""
        return isinstance(x, Node) and self.level.get(x._order, ONCE) not in (ONCE, FINAL) and x._op not in (total, together)

    def _closed(self, roots: Iterable[Node], levels: tuple[int, ...]) -> list[Node]:
        """The values of these levels that roots are made of, in order."""
        return [node for node in reachable(roots) if node._op is not None and self.level[node._order] in levels]

    def _forward_loop(self) -> list[Node]:
        """What the next state needs, and what cannot be computed for all steps at once."""
        made = self._closed(self.new, (STEPS, FORWARD))
        used = {x._order for node in self.nodes for x in node._inputs if isinstance(x, Node)}
        carried = [part.new for part in self.derived.parts if part.old._order in used]
        chain = {node._order for node in self._closed(carried, (FORWARD,))}
        stepwise = {node._order for node in made if not liftable(node, self.stacked)}
        for node in made:  # what is made of the inputs in the loop only, and what is made of that
            if self.level[node._order] == STEPS and any(isinstance(x, Node) and x._order in stepwise for x in node._inputs):
                stepwise.add(node._order)
        chain |= stepwise
        for node in reversed(made):  # what one step of the loop needs of the state, it needs in the loop
            if node._order in chain:
                chain |= {x._order for x in node._inputs if isinstance(x, Node) and self.level[x._order] == FORWARD and x._op is not None}
        return [node for node in made if node._order in chain]

    def _backward_loop(self) -> list[Node]:
        forward = {node._order for node in self._closed(self.new, (STEPS, FORWARD))}
        made = [n for n in self.nodes if n._op is not None and self.stacked(n) and n._order not in forward]
        chain = {node._order for node in self._closed(self.back, (BACKWARD,))}
        chain |= {node._order for node in made if not liftable(node, self.stacked)}
        chain |= {user._order for leaf in self.derived.carried for user in self.users[leaf._order] if self.stacked(user)}
        inside: dict[int, bool] = {}
        for node in made:  # what is made of a value of the loop is in the loop too
            of_loop = any(inside.get(x._order) for x in node._inputs if isinstance(x, Node))
            of_loop |= self.level[node._order] == BACKWARD or node._data.size >= LARGE
            inside[node._order] = of_loop or not liftable(node, self.stacked)
        chain |= {node._order for node in self.back if inside.get(node._order)}
        for node in reversed(made):
            if node._order in chain:
                chain |= {x._order for x in node._inputs if isinstance(x, Node) and inside.get(x._order)}
        loop = [node for node in made if node._order in chain]
        last = {node._order for node in self.back}
        late = [node for node in loop if node._order in last and not self._needed(node, loop)]
        late.sort(key=lambda node: node._op is ops.matmul)
        late_orders = {node._order for node in late}
        return [node for node in loop if node._order not in late_orders] + late

    def _needed(self, node: Node, loop: Sequence[Node]) -> bool:
        inside = {n._order for n in loop}
        return any(user._order in inside for user in self.users[node._order])

    # ---- where

    def view_of(self, node: Node) -> tuple[Node, Any] | None:
        """The value that a node is a view of, and the index, where both stand in arrays that last as long as the program."""
        if node._op is ops.getitem:
            index = node._settings["index"]
            parts = index if isinstance(index, tuple) else (index,)
            basic = all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)
            if basic and self.stacked(node) and self.source(node._inputs[0])._op is not None:
                return node._inputs[0], index
        if node._op is blocks and self.stacked(node) and self.view_of(node._inputs[0]) is None:
            return node._inputs[0], ()
        return None

    def source(self, node: Node) -> Node:
        """The value whose array a node is a view of, or the node itself."""
        while (view := self.view_of(node)) is not None:
            node = view[0]
        return node

    def _uses(self, node: Node, position: dict[int, int]) -> float:
        """The last position in the loop where a value is used, also through views of it and as a part of another; infinity if outside."""
        last: float = -1
        if any(node is end for end in [*self.new, *self.ends]):
            return float("inf")
        if any(node is end for end in self.back):
            last = len(position)  # the step before takes it
        for user in self.users[node._order]:
            if self.view_of(user) is not None and user._order in position:
                last = max(last, self._uses(user, position))
            elif user._order in position:
                last = max(last, position[user._order], self._uses(user, position) if _of_columns(user) else -1)
            else:
                return float("inf")
        return last

    def _place(self, loop: list[Node], *, forward: bool) -> None:
        """Give each value of a loop an array, one array to several where the earlier is not needed any more."""
        position = {node._order: i for i, node in enumerate(loop)}
        lines = [node for node in loop if self.view_of(node) is None]
        for part in self.derived.parts if forward else []:
            self._slot(part.new).state, self._slot(part.new).stack = part.name, True
        for part in self.derived.parts if not forward else []:
            if part.carried is not None:
                self._slot(part.carried)
        taken = [x for node in loop for x in node._inputs] + ([] if forward else self.back)
        for x in taken:
            source = self.source(x) if isinstance(x, Node) and self.stacked(x) else None
            if source is not None and source._op is not None and source._order not in position and source._order not in self.slots:
                self._slot(source).stack = True  # computed for all steps before the loop
        for node in lines:
            self._slot(node).stack |= self._uses(node, position) == float("inf")
        for node in lines:
            if _of_columns(node):
                self._into_columns(node, position)
        for node in [] if forward else self.nodes:
            inside = all(isinstance(x, Node) and self.source(x)._order in position for x in node._inputs)
            if node._op is ops._concat and node._order not in position and inside and self.level[node._order] == BACKWARD:
                self._slot(node).stack = True
                self._into_columns(node, position)
        for node in lines:
            if node._op in ELEMENTWISE:
                self._in_place(node, position)
        for node in self.back if not forward else []:
            carried = next(part.carried for part in self.derived.parts if part.back is node)
            if node._order in position and carried is not None:
                self._merge(node, carried, position, strict=node._op not in ELEMENTWISE)
        if forward:
            for node in lines:
                self._slot(node).protected = True

    def _slot(self, node: Node) -> Slot:
        if node._order not in self.slots:
            self.slots[node._order] = Slot(node)
        return self.slots[node._order]

    def _into_columns(self, node: Node, position: dict[int, int]) -> None:
        """What is joined is made where it will stand."""
        axis = node._settings["axis"] % node._data.ndim
        a = 0
        for x in node._inputs:
            b = a + np.shape(x._data if isinstance(x, Node) else x)[axis]
            slot = self.slots.get(x._order) if isinstance(x, Node) and x._op is not None and x._order in position else None
            own = slot is not None and slot.parent is None and slot.state is None and not slot.protected
            if own and axis == node._data.ndim - 1 and x._data.dtype == node._data.dtype:
                assert slot is not None
                slot.parent = self._slot(node), a, b
                self._slot(node).children.append(slot)
                root(slot).stack |= slot.stack
            a = b

    def _in_place(self, node: Node, position: dict[int, int]) -> None:
        placed = [x for x in node._inputs if isinstance(x, Node) and x._order in self.slots]
        for x in sorted(placed, key=lambda x: self._of_another_name(node, self.slots[x._order])):
            if self._merge(node, x, position, strict=False):
                return

    def _of_another_name(self, node: Node, slot: Slot) -> bool:
        """Whether an array carries a gradient that readers would look for in vain if `node` stood there."""
        carried = [leaf.name or "" for leaf in slot.nodes if leaf._op is None]
        own = not node.name or any(node is back for back in self.back)
        return not own and any(name.removesuffix("_next") != node.name for name in carried)

    def _merge(self, node: Node, x: Node, position: dict[int, int], *, strict: bool) -> bool:
        """Let `node` take the array of x, if that is of its kind and all that stands in it has been used by then."""
        a, b = self._slot(node), self.slots[x._order]
        made = [other for slot in _within(a) for other in slot.nodes]
        at = min(position.get(other._order, -1) for other in made)
        strict = strict or len(made) > 1
        fits = a is not b and (b.shape, b.dtype) == (a.shape, a.dtype) and not b.protected and b.state is None
        if not fits or (a.parent is not None and b.parent is not None) or (a.children and b.children):
            return False
        if (a.parent is not None and b.stack > root(a).stack) or (b.parent is not None and a.stack > root(b).stack):
            return False
        held = [other for slot in _within(b) for other in slot.nodes if other is not node]
        if any(self._uses(other, position) > at - strict for other in held):
            return False
        leaves = any(other._op is None for slot in [*_within(a), *_within(b)] for other in slot.nodes)
        if leaves and (root(a).stack or root(b).stack):
            return False  # a gradient that is carried stands in one place, not in that of each step
        b.nodes += a.nodes
        b.stack, b.state, b.parent = a.stack or b.stack, a.state, a.parent or b.parent
        b.children += a.children
        for child in a.children:
            assert child.parent is not None
            child.parent = b, *child.parent[1:]
        if a.parent is not None:
            siblings = a.parent[0].children
            siblings[siblings.index(a)] = b
        for other in a.nodes:
            self.slots[other._order] = b
        return True
