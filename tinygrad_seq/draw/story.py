"""A computation told step by step: each op as it runs, then the backward pass, with the numbers that the engine has at each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..ledger import chain
from ..record import Array, Node
from .formulas import formula
from .graph import index_text, reachable
from .items import START, Graph, Item
from .paint import CIVIDIS, colour

_FULL = 32  # numbers: more are told by statistics
_OPERANDS = 8  # of more, some stand for all
_DECADES = 16.0  # of gradients that colours tell apart


def tell(graph: Graph, roots: Sequence[Node], called: Mapping[int, str]) -> dict[str, Any]:
    """The story of what a graph draws, as what JSON can hold; called: the names of tensors, by their order.

    tensors: [{"name", "what", "marks", "born", "value", "grads": [[step, value], ...]}]; marks are the nodes of the picture that stand for
    it, born is the step from which it has its value, and grads are what its gradient is from each step on.
    steps: [{"phase", "mark", "what", "where", "equation", "rules", "out", "outputs", "in", "letters", "adds"}]; out and in are indices of
    tensors, outputs and letters what the equation calls them, and adds what the step adds to the gradient of each of in, or None.
    scale: of the colours of gradients, or None.  painted: whether the picture shows these colours from the start.
    What is folded into one node is one step.  The backward pass follows where there is one root, a number that requires gradients.
    """
    story = _Story(graph, roots, called)
    for item, nodes in groupby(story.ops, key=lambda node: story.item[node._order]):
        story.step("forward", item, list(nodes))
    if len(roots) == 1 and roots[0]._data.size == 1 and roots[0]._requires_grad:
        with np.errstate(all="ignore"):  # infinite gradients are shown, not complained of
            story.backward(roots[0])
    return {"tensors": story.tensors, "steps": story.steps, "scale": _coloured(story.tensors), "painted": graph.scale is not None}


class _Story:
    def __init__(self, graph: Graph, roots: Sequence[Node], called: Mapping[int, str]) -> None:
        self.called = called
        everything = reachable(roots)
        self.roots = {y._order for y in roots}
        self.tensors: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.index: dict[int, int] = {}  # of the tensors of these orders
        self.constants: dict[tuple[int, int], int] = {}  # of operands that are no Tensors, by the order of the op and their position
        self.taking: set[int] = set()  # the tensors that gradients flow to
        self.item: dict[int, Item] = {}  # in which an op is drawn
        self.marks: dict[int, list[Item]] = {}  # what stands for a tensor
        self.drawn = {item.id for item in graph.items}
        for item in graph.items:
            if item.nodes:
                self.marks.setdefault(item.nodes[-1]._order, []).append(item)
            self.item |= {node._order: item for node in item.nodes if node._op is not None}
        self.ops = [node for node in everything if node._order in self.item]
        self.users: dict[int, set[str]] = {}  # the items that use a tensor
        for node in everything:
            for x in node._inputs:
                if isinstance(x, Node):
                    user = self.item.get(node._order)
                    self.users.setdefault(x._order, set()).add(user.id if user else "")

    # ---- steps

    def step(self, phase: str, item: Item, nodes: list[Node]) -> dict[str, Any]:
        """What is drawn as one node runs, in one of the phases "forward" and "backward"."""
        out = [self._index(node) for node in self._results(item, nodes)]
        for i in out:
            self.tensors[i]["born"] = min(self.tensors[i]["born"], len(self.steps) + 1)
        given = _operands(nodes)
        told = _some(len(given))
        operands = [self._index(given[k]) if isinstance(given[k], Node) else self._constant(nodes[0], k, given[k]) for k in told]
        outputs, written = self._names(out, _letters(len(out), "y")), self._names(operands, [_letters(len(given), "x")[k] for k in told])
        listed = [*written[:-1], "…", written[-1]] if len(told) < len(given) else written
        if len(nodes) > 1:
            what, equation, rules = item.words, f"{', '.join(outputs)} = {item.words}({', '.join(listed)}): {len(nodes)} operations", []
        else:
            what = _op_name(nodes[0])
            index = nodes[0]._settings.get("index")
            at = "[…]" if index is None else index_text(index, whole=True)
            equation = formula(what, outputs[0], listed, at)[0]
            every = zip(formula(what, outputs[0], written, at)[1], operands, strict=False)
            rules = [rule for rule, i in every if rule and i in self.taking]
        self.steps.append(
            {
                "phase": phase, "mark": item.id, "what": what, "where": _where(item), "equation": equation, "rules": rules, "out": out,
                "outputs": outputs, "in": operands, "letters": written, "adds": [None] * len(told),
            }
        )  # fmt: skip
        return self.steps[-1]

    def _results(self, item: Item, nodes: list[Node]) -> list[Node]:
        """Of ops that are drawn as one node, those whose outputs others use."""
        used = [node for node in nodes if node._order in self.roots or self.users.get(node._order, set()) - {item.id}]
        return [used[k] for k in _some(len(used))] or nodes[-1:]

    def _names(self, tensors: list[int], letters: list[str]) -> list[str]:
        """What tensors are called in an equation: by their names, else by these letters."""
        return [self.tensors[i]["name"] or letter for i, letter in zip(tensors, letters, strict=True)]

    # ---- backward

    def backward(self, loss: Node) -> None:
        """The whole backward pass: the loss's own gradient, 1, then what each op hands to its operands."""
        sums: dict[int, Array] = {loss._order: np.ones_like(loss._data)}
        self.tensors[self._index(loss)]["grads"].append([len(self.steps) + 1, shown(sums[loss._order])])
        links = groupby(chain(loss), key=lambda link: self.item.get(link[0]._order))
        for item, group in links:
            linked = list(group)
            parts = [part for _, _, given in linked for part in given]
            if item is not None:
                step = self.step("backward", item, [node for node, _, _ in reversed(linked)])
                step["adds"] = self._adds(linked[0][0] if len(linked) == 1 else None, step, parts)
            for x, part in parts:
                sums[x._order] = sums[x._order] + part if x._order in sums else part
            for order in {x._order for x, _ in parts} & self.index.keys():
                self.tensors[self.index[order]]["grads"].append([len(self.steps), shown(sums[order])])

    def _adds(self, single: Node | None, step: dict[str, Any], parts: list[tuple[Node, Array]]) -> list[Any]:
        """What a step adds to the gradient of each of its operands."""
        if single is None:
            sums: dict[int, Array] = {}
            for x, part in parts:
                if (i := self.index.get(x._order)) is not None:  # else within the node
                    sums[i] = sums[i] + part if i in sums else part
            return [shown(sums[i]) if i in sums else None for i in step["in"]]
        adds: list[Any] = [None] * len(single._inputs)
        at = 0
        for i, x in enumerate(single._inputs):  # parts has those of them that get any, in this order
            if at < len(parts) and parts[at][0] is x:
                adds[i] = parts[at][1]
                at += 1
        return [None if adds[i] is None else shown(adds[i]) for i in _some(len(adds))]

    # ---- tensors

    def _constant(self, node: Node, i: int, array: Any) -> int:
        key = node._order, i
        if key not in self.constants:
            self.constants[key] = len(self.tensors)
            id = f"{self.item[node._order].id}_{i}"
            name = "" if np.ndim(array) else f"{array:.4g}" if isinstance(array, (float, np.floating)) else str(array)
            what, marks = "input" if np.ndim(array) else "constant", [id] if id in self.drawn else []
            self.tensors.append({"name": name, "what": what, "marks": marks, "plain": False} | _new(array, 0))
        return self.constants[key]

    def _index(self, node: Node) -> int:
        if node._order not in self.index:
            self.index[node._order] = len(self.tensors)
            if node._requires_grad:
                self.taking.add(len(self.tensors))
            marks = self.marks.get(node._order, [])
            name = self.called.get(node._order) or (_gate(marks[0], node) if marks else "")
            self.tensors.append(
                {
                    "name": name,
                    "what": _op_name(node) if node._op is not None else "parameter" if node._requires_grad else "input",
                    "marks": [item.id for item in marks],
                    "plain": any(item.look == "hidden" for item in marks),
                }
                | _new(node._data, len(self.steps) + 1 if node._order in self.item else 0)
            )
        return self.index[node._order]


def _new(array: Any, born: int) -> dict[str, Any]:
    return {"born": born, "value": shown(array), "grads": []}


def _some(count: int) -> list[int]:
    """Which of so many are told: all of a few, else the first ones and the last."""
    return list(range(count)) if count <= _OPERANDS else [*range(_OPERANDS - 1), count - 1]


def _operands(nodes: list[Node]) -> list[Any]:
    """The operands of an op, Tensors or as its forward saw them; of several ops the Tensors that come from others."""
    if len(nodes) == 1:
        return [x if isinstance(x, Node) else array for x, array in zip(nodes[0]._inputs, nodes[0]._arrays, strict=True)]
    inner = {node._order for node in nodes}
    return list({x._order: x for node in nodes for x in node._inputs if isinstance(x, Node) and x._order not in inner}.values())


def _letters(count: int, letter: str) -> list[str]:
    """Names for that many operands, or outputs, that have none."""
    if letter == "x" and 1 < count <= 3:
        return list("abc"[:count])
    return [letter] if count == 1 else [f"{letter}_{k}" for k in range(1, count + 1)]


def _op_name(node: Node) -> str:
    op: Any = node._op
    return str(op.__name__.lstrip("_"))


def _gate(item: Item, node: Node) -> str:
    """What a gate is called: its scope's name, if that is a letter, and the step's number: f_2."""
    if node._op is None or _op_name(node) not in ("sigmoid", "tanh", "relu") or not item.scopes or len(item.scopes[-1]) > 2:
        return ""
    return item.scopes[-1] if item.step is None else f"{item.scopes[-1]}_{item.step}"


def _where(item: Item) -> str:
    return ", ".join([*([] if item.step in (None, START) else [f"t = {item.step}"]), *item.scopes])


def shown(array: Any) -> dict[str, Any]:
    """An array as the page shows it: the numbers of a small one in rows, else the smallest, the mean and the largest; and its norm."""
    array = np.asarray(array)
    told: dict[str, Any] = {"shape": str(array.shape), "dtype": str(array.dtype)}
    with np.errstate(all="ignore"):
        if array.size <= _FULL and array.ndim <= 2:
            told["cells"] = [[_number(x) for x in row] for row in np.atleast_2d(array).tolist()]
        elif array.size:
            numbers = array.astype(float)
            told["stats"] = {"min": _number(numbers.min()), "mean": _number(numbers.mean()), "max": _number(numbers.max())}
        norm = float(np.linalg.norm(array.astype(float).ravel()))
    told["norm"] = norm if math.isfinite(norm) else None
    return told


def _number(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def _coloured(tensors: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Give each gradient its colour, by the log of its norm; the scale's ends are those of the whole gradients."""
    last = [tensor["grads"][-1][1]["norm"] for tensor in tensors if tensor["grads"]]
    known = [norm for norm in last if norm]
    if not last:
        return None
    high = math.log10(max(known, default=1.0))
    low = max(math.log10(min(known, default=1.0)), high - _DECADES)
    for tensor in tensors:
        for _, told in tensor["grads"]:
            share = (math.log10(told["norm"]) - low) / (high - low) if told["norm"] and high > low else float(bool(told["norm"]))
            share = min(1.0, max(0.0, share))
            told["light"], told["dark"] = colour(share), colour(1 - share)  # the dark page inverts the picture
    return {"least": f"{10**low:.2g}", "greatest": f"{10**high:.2g}", "colours": CIVIDIS}
