"""The letters of a program: what its variables are called, and the equations beside its lines."""

from __future__ import annotations

import keyword
import re
import unicodedata
from typing import Any

import numpy as np

from .. import ops
from ..record import Node
from .derive import Derived
from .gates import squashed
from .lift import UFUNCS, Text
from .plan import FORWARD, ONCE, Plan, Slot, root
from .rules import together

WIDTH = 62  # of the code before a comment


_FUNCTIONS = {name.lstrip("_") for name, made in vars(ops).items() if hasattr(made, "forward")} | {*UFUNCS.values()}
_HELPERS = (
    "product products block_product in_columns summed look_up added_rows at_once numbers detached copied total together empty full zeros "
    "concatenate"
)
_OWN = "T _ program weights forward backward steps back list zip range inf nan"


class Letters:
    """The names of a plan's values, and of the constants in them."""

    def __init__(self, derived: Derived) -> None:
        self.derived = derived
        self.constants: dict[str, Any] = {}
        self.taken = {*keyword.kwlist, *_FUNCTIONS, *_HELPERS.split(), *_OWN.split()}
        self.names: dict[int, str] = {}
        self._name_state()
        self.plan = Plan(derived)
        self._name_all()

    def _name_state(self) -> None:
        """The parts of the state first, since several variables are called after each."""
        for part in self.derived.parts:
            part.name = _identifier(part.name, "h")
            while not self.taken.isdisjoint(_of_part(part.name)):
                part.name += "_"
            self.taken |= _of_part(part.name)

    def _unique(self, name: str) -> str:
        name = _identifier(name, "v")
        made, i = name, 2
        while made in self.taken or f"{made}_t" in self.taken:  # what it is called in a loop
            made, i = f"{name.removesuffix('_1')}_{i}", i + 1
        self.taken |= {made, f"{made}_t"}
        return made

    def _slots(self) -> list[Slot]:
        seen: dict[int, Slot] = {}
        for slot in self.plan.slots.values():
            seen.setdefault(id(slot), slot)
        return list(seen.values())

    def _name_all(self) -> None:
        d, plan = self.derived, self.plan
        for leaf in d.parameters:
            self.names[leaf._order] = self._unique(leaf.name or "W")
        for leaf in d.inputs:
            self.names[leaf._order] = self._unique(leaf.name or "x")
        for part in d.parts:
            self.names[part.old._order] = f"{part.name}_prev"
            if part.given is not None:
                self.names[part.given._order] = self._unique(f"d{part.name}_given")
        for part in d.parts:
            plan.slots[part.new._order].name = part.name
        for slot in sorted(self._slots(), key=lambda slot: slot.nodes[-1]._order):
            if not slot.name:
                named = [name for node in slot.nodes if (name := node.name or "").isidentifier() and node._op is not None]
                carried = [part for part in d.parts if any(node is part.carried for node in slot.nodes)]
                slot.name = self._unique(self._carried_name(carried[0].name) if carried else named[-1] if named else self._default(slot))
            for node in slot.nodes:
                self.names[node._order] = slot.name
        for node in plan.nodes:
            if node._order not in self.names and plan.view_of(node) is not None and plan.source(node)._order in plan.slots:
                self.names[node._order] = self._unique(node.name or f"{self.names[plan.source(node)._order]}_1")

    def _carried_name(self, part: str) -> str:
        return f"d{part}" if f"d{part}" not in self.taken else f"d{part}_next"

    def _default(self, slot: Slot) -> str:
        node = slot.nodes[-1]
        first = next((x for x in node._inputs if isinstance(x, Node)), None)
        if node._op in (ops.tanh, ops.exp, ops.log, ops.sigmoid) and first is not None and first._order in self.names:
            return f"{node._op.__name__}_{self.names[first._order]}"
        return "u" if self.plan.level[node._order] <= FORWARD else "g"

    def constant(self, x: Any, called: str = "k") -> str:
        """A number as it is written; an array, a number of a dtype of its own, or another object, by a name for it."""
        plain = isinstance(x, (bool, int, float, str, type(None))) and not isinstance(x, np.generic)
        if plain or (isinstance(x, tuple) and all(isinstance(i, (int, type(None))) for i in x)):
            return repr(x)
        if isinstance(x, np.dtype):
            return repr(x.name)
        name = next((name for name, value in self.constants.items() if value is x or _equal_rows(value, x)), None)
        if name is None:
            halves = called == "k" and isinstance(x, np.ndarray) and x.ndim == 1 and set(np.unique(x)) <= {0.5, 1}
            name = self._unique("halves" if halves else called)
            self.constants[name] = x
        return name

    def _step_name(self, node: Node) -> str | None:
        """The variable of a value within a loop."""
        name = self.names.get(node._order)
        if name is None:
            return None
        slot = self.plan.slots.get(self.plan.source(node)._order)
        if node._op is None:
            slot = self.plan.slots.get(node._order)
            return name if slot is not None and not slot.stack else f"{name}_t" if self.plan.stacked(node) else name
        if slot is None:
            return name
        return f"{name}_t" if root(slot).stack else name

    # ---- equations

    def _equation(self, node: Node) -> str:
        """What a named value is, in terms of named ones."""
        if node._op is squashed:
            names = ", ".join(filter(None, node._settings["sigmoids"] or [node.name]))
            return f"{names}: sigmoid(z) = (1 + tanh(z / 2)) / 2".removeprefix(": ")
        if not node.name:
            return ""
        carried = {leaf._order for leaf in self.derived.carried}

        def name(n: Node) -> str | None:
            if n is node:
                return None
            return self.derived.told.get(n._order) or (n.name if n._op is not None or n._order in carried else self.names.get(n._order))

        text = Text(name, lambda x: False, self.constant)
        equation = f"{node.name} = {text.made(node)[0]}"
        return equation if len(equation) < 78 else ""

    def _local(self, node: Node, slot: Slot) -> str:
        """Which local derivative a value is that is multiplied with a gradient, and then replaced by it."""
        if node._order in self.derived.told:
            return self.derived.told[node._order]
        product = next((n for n in self.plan.users[node._order] if n._op is ops.mul and n._order in self.plan.slots), None)
        if product is None or self.plan.slots[product._order] is not slot:
            return ""
        base = product._inputs[1 - next(i for i, x in enumerate(product._inputs) if x is node)]
        name = product.name or next((n.name for n in self.plan.users[product._order] if n._op is ops.add and n.name), None)
        known = isinstance(base, Node) and (base.name or "").startswith("d") and (name or "").startswith("d")
        return f"d{base.name[1:].removesuffix('_next')} / {name}" if known else ""

    def _meaning(self, node: Node, text: str) -> str:
        if node._op is together and "products(" in text:
            return f"the sum over t of {text[9:-1].replace(', ', '_t.T @ ')}_t"
        if text.endswith(".T.copy()"):
            return "laid out anew, since the loop multiplies with it again and again"
        return "half as much where a sigmoid follows" if "* halves" in text else ""

    def _lifted_name(self, node: Node) -> str:
        for leaves, gradients in ((self.derived.parameters, self.derived.gradients), (self.derived.inputs, self.derived.input_gradients)):
            for i, gradient in gradients.items():
                if gradient is node:
                    return f"d{self.names[leaves[i]._order]}"
        if node.name:
            return node.name
        if any(user._op is ops.take and user._inputs[0] is node for user in self.plan.users[node._order]):
            return "table"
        source = node._inputs[0] if node._inputs else None
        if node._op in (ops.swapaxes, ops.transpose) and isinstance(source, Node) and source._order in self.names:
            return f"{self.names[source._order]}_T"
        if node._op is ops.mul and isinstance(source, Node) and source._order in self.names and self.plan.level[node._order] == ONCE:
            return f"{self.names[source._order]}_half"
        return "v"


def _of_part(name: str) -> set[str]:
    """The variables that a part of the state has: of a step, of all steps, before the first, and the gradient that comes to the last."""
    return {name, f"{name}_t", f"{name}_0", f"{name}s", f"{name}_prev", f"{name}_prev_t", f"d{name}_T"}


def _identifier(name: str, otherwise: str) -> str:
    """A name of letters that a search for words finds whole, as the compiler spells them."""
    name = re.sub(r"\W", "", unicodedata.normalize("NFKC", name))
    return name if name.isidentifier() else otherwise


def _equal_rows(a: Any, b: Any) -> bool:
    arrays = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return arrays and (a.ndim, a.dtype) == (b.ndim, b.dtype) == (1, b.dtype) and np.array_equal(a, b)


def commented(lines: list[str], comment: str) -> list[str]:
    """The lines, a comment beside the last of them."""
    return [*lines[:-1], f"{lines[-1]}  # {comment}"] if comment else lines


def aligned(line: str) -> str:
    """The line, its comment in the column in which all comments begin."""
    code, mark, comment = line.partition("  # ")
    return f"{code:<{WIDTH}}  # {comment}" if mark and code.strip() else line
