"""The program as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..blas import blocks as best_blocks
from ..record import Array, Node, Value
from .derive import Derived, Part
from .gates import squashed
from .letters import Letters, aligned, commented
from .lift import UFUNCS, Text, size_text
from .plan import ONCE, STEPS, Slot, root
from .trace import Symbol, reachable

SMALL = 4096  # elements up to which an array of equal numbers is faster than the number
MIDDLING = 1 << 18  # and up to which an array of equal rows is faster than the row
COLUMNS = {
    "halves": "1/2 for a sigmoid, 1 for a tanh",
    "slope": "1/2 for a sigmoid, 1 for a tanh",
    "shift": "1/2 for a sigmoid, 0 for a tanh",
    "of_tanh": "0 for a sigmoid, 1 for a tanh",
}


class Writer(Letters):
    """Writes the program of a plan: `source`, and the constants that it names."""

    def __init__(self, derived: Derived, title: str) -> None:
        super().__init__(derived)
        self.title = title
        self.filled: dict[tuple[Any, ...], str] = {}  # arrays of equal numbers or rows, by what they are full of, shape and dtype
        self.blocked: dict[tuple[str, int], str] = {}  # an array, in how many blocks of columns: the name of the blocks
        self.step = Text(self._step_name, lambda x: False, self.constant)
        self.dtypes = {slot.dtype for slot in self._slots()}
        self.source = "\n".join(aligned(line) for line in self._lines()) + "\n"

    # ---- the text

    def _lines(self) -> list[str]:
        weights, forward, backward = self._weights(), self._forward(), self._backward()
        lines = [
            f'"""{self.title} over T steps of a batch, and its gradients: derived from one step by the rules of the op table."""',
            "",
            "",
            "def program(T):",
            "    # arrays, and a view of them for each step, made once",
        ]
        lines += [f"    {line}" for line in self._buffers()]
        for function in (weights, forward, backward):
            lines += ["", *(f"    {line}" for line in function)] if function else []
        return [*lines, "", f"    return {'weights' if weights else None}, forward, {'backward' if backward else None}"]

    def _buffers(self) -> list[str]:
        lines: list[str] = []
        many = len(self.dtypes) > 1

        def dtype(slot: Slot) -> str:
            return f", {slot.dtype.name!r}" if many or slot.dtype != np.float64 else ""

        for slot in self._slots():
            if slot.state is not None:
                name = slot.state
                lines.append(f"{name}s = empty({size_text(slot.shape, 'T + 1')}{dtype(slot)})")
                lines.append(f"{name}_prev, {name} = {name}s[:-1], {name}s[1:]")
            elif slot.parent is None:
                shape = size_text(slot.shape, "T") if slot.stack else size_text(slot.shape)
                lines.append(f"{slot.name} = empty({shape}{dtype(slot)})")
        parts = [(_depth(slot), slot.parent[0].name, slot.parent[1], slot.parent[2], slot.name) for slot in self._slots() if slot.parent]
        lines += [f"{name} = {whole}[..., {a}:{b}]" for _, whole, a, b, name in sorted(parts)]
        for node in self.plan.nodes:
            view = self.plan.view_of(node)
            source = self.plan.source(node)
            if view is not None and source._order in self.plan.slots:
                text = Text(lambda n: self.names.get(n._order), lambda x: root(self.plan.slots[source._order]).stack, self.constant)  # noqa: B023
                lines.append(f"{self.names[node._order]} = {text.made(node)[0]}")
        lines += [f"{name} = in_columns({whole}, {blocks})" for (whole, blocks), name in self.blocked.items()]
        for (value, shape, dtype_), name in self.filled.items():
            lines += commented([f"{name} = full({size_text(shape)}, {value}{dtype_})"], COLUMNS.get(value, ""))
        single = {self.names[n._order] for n in self.plan.nodes if n._order in self.names and n._data.ndim == 0}
        for name, names in (("steps", self.forward_views), ("back", self.backward_views)):
            if names:
                columns = [f"numbers({name_})" if name_ in single else name_ for name_ in names]
                lines.append(f"{name} = list(zip({', '.join(columns)}))" + ("[::-1]" if name == "back" else ""))
        return lines

    def _weights(self) -> list[str]:
        """What the forward pass needs of the weights alone."""
        plan = self.plan
        made = reachable(plan.new)
        moving = [node for node in made if node._op is not None and plan.level[node._order] != ONCE]
        used = {x._order for node in moving for x in node._inputs if isinstance(x, Node)}
        once = [node for node in made if plan.level[node._order] == ONCE and node._order in used]
        made_of = [node for node in once if node._op is not None]
        self.once = {node._order for node in made_of}
        lines = self._lifted(made_of, set())
        plain = [node for node in once if node._op is None and node._order in self.names]
        self.forward_weights = [self.names[node._order] for node in [*plain, *made_of]]
        if not made_of:
            self.forward_weights = self._parameters()
            return []
        results = ", ".join(self.forward_weights) + "," * (len(self.forward_weights) == 1)
        return [f"def weights({', '.join(self._parameters())}):", *lines, f"    return {results}"]

    def _forward(self) -> list[str]:
        d, plan = self.derived, self.plan
        inputs = [self.names[leaf._order] for leaf in d.inputs]
        first = [f"{part.name}_0" for part in d.parts]
        lines = [f"def forward({', '.join([*inputs, *first, *self.forward_weights])}):"]
        lines += [f"    {part.name}s[0] = {part.name}_0" for part in d.parts]
        available = set(self.once)
        inside = {node._order for node in plan.forward_loop}
        apart = [part.new for part in d.parts if plan.level[part.new._order] == STEPS and part.new._order not in inside]
        before = [*self._inputs_of(plan.forward_loop), *apart]
        lifted = self._lifted(before, available)
        blocks, loop, self.forward_views = self._loop(plan.forward_loop, "steps")
        lines += _titled("    # before the loop, for all steps at once", [*lifted, *blocks])
        lines += _titled("    # the loop over time", loop)
        available |= {node._order for node in plan.forward_loop}
        after = [part.new for part in d.parts if part.new._order not in available]
        lines += _titled("    # after it", self._lifted(after, available))
        results = [part.name if i == 0 else f"{part.name}s[-1]" for i, part in enumerate(d.parts)]
        self.known = {order for order in available if order in plan.slots}
        return [*lines, f"    return {', '.join(results)}"]

    def _parameters(self) -> list[str]:
        return [self.names[leaf._order] for leaf in self.derived.parameters]

    def _backward(self) -> list[str]:
        d, plan = self.derived, self.plan
        self.backward_views: list[str] = []
        if not (plan.ends or plan.back):
            return []
        arguments = [self.names[part.given._order] if part.given is not None else f"d{part.name}_T" for part in d.parts if _flows(part)]
        inputs = [self.names[leaf._order] for leaf in d.inputs]
        lines = [f"def backward({', '.join([*arguments, *inputs, *self._parameters()])}):"]
        available = set(self.known)
        before = self._inputs_of(plan.backward_loop, plan.back)
        lifted = self._lifted(before, available)
        blocks, loop, self.backward_views = self._loop(plan.backward_loop, "back")
        lines += _titled("    # what does not depend on the gradient that is carried back: for all steps at once", [*lifted, *blocks])
        carried = [part for part in d.parts if part.carried is not None]
        starts = [f"    {self._carry(part)}[...] = {f'd{part.name}_T' if part.given is None else 0}" for part in carried]
        lines += _titled("    # the loop over time, backwards", [*starts, *loop])
        available |= {node._order for node in plan.backward_loop}
        rest = self._lifted(plan.ends, available)
        lines += _titled("    # what the step before does not need: once, over all steps", rest)
        results = [self._final(node) for node in plan.ends]
        results += [f"{self._carry(part)}.copy()" for part in carried]
        return [*lines, f"    return {', '.join(results)}{',' * (len(results) == 1)}"]

    def _carry(self, part: Part) -> str:
        assert part.carried is not None
        return self.names[part.carried._order]

    def _inputs_of(self, loop: Sequence[Node], ends: Sequence[Node] = ()) -> list[Node]:
        """What a loop takes that is no leaf and not made in it."""
        inside = {node._order for node in loop}
        found: dict[int, Node] = {}
        for x in [*(x for node in loop for x in node._inputs), *ends]:
            if isinstance(x, Node):
                source = self.plan.source(x) if self.plan.stacked(x) else x
                if source._op is not None and source._order not in inside:
                    found[source._order] = source
        return [found[order] for order in sorted(found)]

    # ---- for all steps at once

    def _lifted(self, targets: Sequence[Node], available: set[int]) -> list[str]:
        plan = self.plan
        known = set(available)

        def name(node: Node) -> str | None:
            source = plan.source(node)
            lasting = source is not node and source._order in known and source._order in plan.slots  # a view of it is one all along
            if node._op is None or node._order in known or lasting:
                return self.names.get(node._order)
            return None

        text = Text(name, plan.stacked, self.constant)
        needed = [node for node in _needed(targets, lambda node: name(node) is not None) if node._op is not None]
        uses = {node._order: 0 for node in needed}
        for node in needed:
            for x in node._inputs:
                if isinstance(x, Node) and x._order in uses:
                    uses[x._order] += 1
        lines: list[str] = []
        wanted = {node._order for node in targets}
        for node in needed:
            if name(node) is not None:
                continue
            slot = plan.slots.get(node._order)
            if slot is not None and plan.view_of(node) is None:
                lines += [f"    {line}" for line in self._into(node, slot, text, uses)]
                known.add(node._order)
            elif node._order in wanted or uses[node._order] > 1:
                made = text.made(node)[0] + ".copy()" * (node._op is ops.swapaxes)
                self.names.setdefault(node._order, self._unique(self._lifted_name(node)))
                lines += commented([f"    {self.names[node._order]} = {made}"], self._meaning(node, made))
                known.add(node._order)
        available |= known
        return lines

    def _final(self, node: Node) -> str:
        standing = node._op is None or self.plan.source(node)._order in self.plan.slots
        return f"{self.names[node._order]}.copy()" if standing else self.names[node._order]

    def _into(self, node: Node, slot: Slot, text: Text, uses: dict[int, int]) -> list[str]:
        """Lines that compute a value for all steps into its array."""
        out = slot.name
        made: Any = node._op
        inputs = list(node._inputs)
        if made is ops._concat and all(self._joined(x, slot) for x in inputs):
            return []
        if made is ops.take and text.stacked(inputs[1]) and not node._settings.get("axis"):
            return [f"look_up({text.of(inputs[0])}, {text.of(inputs[1])}, {out})"]
        plain = made is ops.matmul and text.stacked(inputs[0]) and not text.stacked(inputs[1]) and slot.parent is None
        if plain and np.ndim(inputs[1]._data) == 2:
            return [f"product({text.of(inputs[0])}, {text.of(inputs[1])}, {out})"]
        if made in UFUNCS:
            lines: list[str] = []
            args = []
            for x in inputs:
                same = isinstance(x, Node) and x._data.shape == node._data.shape and x._data.dtype == node._data.dtype and text.stacked(x)
                if not lines and same and text.name(x) is None and x._op in (ops.take, ops.matmul) and uses.get(x._order) == 1:
                    lines = self._into(x, slot, text, uses)
                    args.append(out)
                else:
                    args.append(text.of(x, 0, node._data.ndim))
            return commented([*lines, f"{UFUNCS[made]}({', '.join(args)}, out={out})"], self._local(node, slot))
        return [f"{out}[...] = {text.made(node)[0]}"]

    # ---- for one step after the other

    def _loop(self, loop: Sequence[Node], steps: str) -> tuple[list[str], list[str], list[str]]:
        """The blocks of weights that a loop multiplies with, the loop, and the arrays that it goes through step by step."""
        lines = []
        self.blocks_of: dict[tuple[str, int], str] = {}
        for node in loop:
            if self.plan.view_of(node) is None:
                lines += self._line(node)
        blocks = [
            f"    {name} = in_columns({W}, {across})  # blocks of columns: small products are done faster"
            for (W, across), name in self.blocks_of.items()
        ]
        back = steps == "back"
        if back:
            lines += self._handed_on()
        if not lines:
            return [], [], []
        used = _words("\n".join(line.split("  #")[0] for line in lines))
        lasting: list[str] = []
        passing: list[str] = []
        for name in sorted(set(self.names.values())):
            if f"{name}_t" in used:
                leaf = any(self.names.get(leaf._order) == name for leaf in [*self.derived.inputs, *self._given()])
                (passing if leaf else lasting).append(name)
        lasting.sort(key=lambda name: used.index(f"{name}_t"))
        sources = [steps] if lasting else []
        targets = ["(" + ", ".join(f"{name}_t" for name in lasting) + ("," if len(lasting) == 1 else "") + ")"] if lasting else []
        for name in passing:
            sources.append(f"{name}[::-1]" if back else name)
            targets.append(f"{name}_t")
        if len(sources) == 1:
            head = f"    for {targets[0].strip('()') if lasting else targets[0]} in {sources[0]}:"
        elif sources:
            head = f"    for {', '.join(targets)} in zip({', '.join(sources)}):"
        else:
            head = "    for _ in range(T):"
        return blocks, [head, *(f"        {line}" for line in lines)], lasting

    def _handed_on(self) -> list[str]:
        """Gradients that were not made where the step before takes them from."""
        pairs = []
        for part in self.derived.parts:
            if part.carried is not None and part.back is None:
                pairs.append((self._carry(part), "0"))
            elif part.carried is not None and part.back is not None and self.names.get(part.back._order) != self._carry(part):
                pairs.append((self._carry(part), self._step_name(part.back) or self.step.of(part.back)))
        if len(pairs) > 1:  # one may be made of what another overwrites
            pairs = [(", ".join(f"{a}[...]" for a, _ in pairs), ", ".join(b if b == "0" else f"{b}.copy()" for _, b in pairs))]
            return [f"{a} = {b}" for a, b in pairs]
        return [f"{a}[...] = {b}" for a, b in pairs]

    def _given(self) -> list[Node]:
        return [part.given for part in self.derived.parts if part.given is not None]

    def _line(self, node: Node) -> list[str]:
        """The lines that compute a value in a loop."""
        made: Any = node._op
        slot = self.plan.slots[node._order]
        out = self._step_name(node) or slot.name
        if made is ops._concat and all(self._joined(x, slot) for x in node._inputs):
            return []
        comment = self._equation(node)
        if made is squashed:
            slope, shift = (self._full_of(node._settings[name], node, name) for name in ("slope", "shift"))
            first = self.step.of(node._inputs[0])
            return commented([f"multiply({first}, {slope}, {out})", f"add({out}, {shift}, {out})"], comment)
        if made in UFUNCS:
            args = [self._operand(x, node) for x in node._inputs]
            last = f"out={out}" if made in (ops.maximum, ops.minimum) else out
            return commented([f"{UFUNCS[made]}({', '.join([*args, last])})"], comment)
        if made is ops.matmul:
            a, b = (self.step.of(x, 8) for x in node._inputs)
            plain = (
                node._data.ndim == 2
                and all(np.ndim(x._data if isinstance(x, Node) else x) == 2 for x in node._inputs)
                and (slot.parent is None or len(node._data) == 1)  # columns of one row are contiguous, as dot wants them
            )
            line = f"{out}[...] = {a} @ {b}" if not plain else self._in_blocks(node, a, b, slot) or f"{a}.dot({b}, {out})"
            return commented([line], comment)
        if made is ops._concat:
            parts = ", ".join(self.step.of(x) for x in node._inputs)
            return [f"concatenate([{parts}], {node._settings['axis']}, {out})"]
        if made is ops.take and slot.parent is None and isinstance(node._inputs[1], np.ndarray) and node._settings.get("axis") == -1:
            columns = self.constant(node._inputs[1] % node._inputs[0]._data.shape[-1], "columns")  # "clip" would take those below 0 for 0
            line = f'{self.step.of(node._inputs[0], 8)}.take({columns}, -1, {out}, "clip")'
            return commented([line], self.derived.told.get(node._order, ""))
        return commented([f"{out}[...] = {self.step.made(node)[0]}"], comment)

    def _in_blocks(self, node: Node, a: str, b: str, slot: Slot) -> str:
        """The line of a product with a weight that is faster in blocks of columns; nothing where it is not, or b is no weight."""
        W: Any = node._inputs[1]
        rows, across = best_blocks(*node._inputs[0]._data.shape, W._data.shape[1])
        if rows > 1 or across == 1 or self.plan.stacked(W) or slot.parent is not None or node._data.dtype.char not in "fd":
            return ""
        whole = slot.state or slot.name
        if (whole, across) not in self.blocked:
            self.blocked[whole, across] = self._unique(f"{whole}_columns")
            self.names[-node._order] = self.blocked[whole, across]  # a name of the loop, though of no node
        if (b, across) not in self.blocks_of:  # more rows ask for more blocks
            self.blocks_of[b, across] = self._unique(f"{b}_columns")
        out = f"{self.blocked[whole, across]}{'_t' * slot.stack}"
        return f"block_product({a}, {self.blocks_of[b, across]}, {out})"

    def _joined(self, x: Value, slot: Slot) -> bool:
        own = self.plan.slots.get(x._order) if isinstance(x, Node) else None
        return own is not None and own.parent is not None and own.parent[0] is slot

    def _operand(self, x: Value, node: Node) -> str:
        if isinstance(x, (int, float)) and not isinstance(x, (bool, np.generic)) and node._data.dtype.kind == "f" and node._data.ndim:
            return self._filled(x, node)
        if isinstance(x, Symbol) and x._op is None and x._order not in self.names and x._data.ndim and x._data.shape != node._data.shape:
            return self._full_of(x._data, node, x.name or "row")
        return self.step.of(x)

    def _full_of(self, row: Array, node: Node, name: str) -> str:
        """An array of the shape of a node, each row of which is `row`; or the row, or its one number, where that is faster."""
        if (row == row[0]).all():
            return self._filled(row[0].item(), node)
        of_column = self.constant(row, name)
        return self._made_full(of_column, node, f"{name}_rows") if node._data.ndim > 1 and node._data.size <= MIDDLING else of_column

    def _filled(self, x: Any, node: Node) -> str:
        if node._data.size > SMALL:
            return repr(x)
        return self._made_full(repr(x), node, {0.5: "half", 1: "one", 2: "two", -1: "minus_one", 0: "zero"}.get(x, "number"))

    def _made_full(self, what: str, node: Node, name: str) -> str:
        dtype = f", {node._data.dtype.name!r}" if node._data.dtype != np.float64 else ""
        key = (what, node._data.shape, dtype)
        if key not in self.filled:
            self.filled[key] = self._unique(name)
        return self.filled[key]


def _depth(slot: Slot) -> int:
    return 0 if slot.parent is None else 1 + _depth(slot.parent[0])


def _flows(part: Part) -> bool:
    return part.given is not None or part.carried is not None


def _needed(targets: Iterable[Node], available: Any) -> list[Node]:
    """What targets are made of, down to what is there already, in order."""
    stack = [node for node in targets if not available(node)]
    found = {node._order: node for node in stack}
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._order not in found and not available(x):
                found[x._order] = x
                stack.append(x)
    return [found[order] for order in sorted(found)]


def _titled(title: str, lines: list[str]) -> list[str]:
    return [title, *lines] if lines else []


def _words(text: str) -> list[str]:
    """The identifiers of a text in the order of their first use."""
    return list(dict.fromkeys(re.findall(r"[^\W\d]\w*", text)))
