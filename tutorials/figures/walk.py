"""A page on which a reader steps through a computation and back: every op forward, then every node as it hands its gradient on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq import Tensor
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.record import fitted, rule_arguments

TEMPLATE = Path(__file__).with_suffix(".html")
LONGEST = 40  # letters of a formula that stands for a name


@dataclass(frozen=True)
class Page:
    """A page that is complete in one file: its heading, a picture, and the steps that it goes through."""

    heading: str
    drawing: Drawing
    steps: list[dict[str, Any]]

    @property
    def fingerprint(self) -> str:
        """The steps in a few letters, whichever version of Graphviz drew the picture."""
        return hashlib.sha256(json.dumps(self.steps).encode()).hexdigest()[:16]

    @property
    def html(self) -> str:
        """The file."""
        svg = self.drawing.svg()
        picture = svg[svg.index("<svg") :]
        text = TEMPLATE.read_text(encoding="utf-8")
        for mark, content in (("HEADING", self.heading), ("PICTURE", picture), ("STEPS", json.dumps(self.steps, ensure_ascii=False))):
            text = text.replace(f"@{mark}@", content)
        return text.rstrip() + f"\n<!-- steps {self.fingerprint} -->\n"


def walk(y: Tensor, heading: str, names: Mapping[str, Any] | None = None) -> Page:
    """The page of a small graph: how y came about, and how the gradient of y, a single number, goes back.

    A step is {node, edges, says, value | gradient}: what to light up, a sentence, and what is written at a node from then on.
    """
    nodes = _history(y)
    ids = {node._order: f"n{i}" for i, node in enumerate(nodes)}
    told = {id(tensor): name for name, tensor in (names or {}).items()}
    words: dict[int, str] = {}
    for node in nodes:
        words[node._order] = told.get(id(node)) or node.name or _formula(node, words)
    steps = [_forward(node, ids, words) for node in nodes if node._op]
    return Page(heading, draw(y, names=names, legend=False), steps + _backward(y, nodes, ids, words))


def _history(y: Any) -> list[Any]:
    found, waiting = {y._order: y}, [y]
    while waiting:
        for x in waiting.pop()._inputs:
            if isinstance(x, Tensor) and x._order not in found:
                found[x._order] = x
                waiting.append(x)
    return [found[order] for order in sorted(found)]


def _formula(node: Any, words: dict[int, str]) -> str:
    """What to call a node that nobody named: h_0 @ W_h, or (x * W_x) + (h * W_h), where that is short, else its op."""
    if not node._op:
        return "input"
    sign = {"add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@"}.get(node._op.__name__)
    operands = [words[x._order] if isinstance(x, Tensor) else _short(x) for x in node._inputs]
    formula = f" {sign} ".join(f"({operand})" if " " in operand else operand for operand in operands)
    return formula if sign and len(formula) <= LONGEST else node._op.__name__


def _forward(node: Any, ids: dict[int, str], words: dict[int, str]) -> dict[str, Any]:
    inputs = [x for x in node._inputs if isinstance(x, Tensor)]
    given = " and ".join(f"{words[x._order]} = {_short(x._data)}" for x in inputs)
    return {
        "node": ids[node._order],
        "edges": [[ids[x._order], ids[node._order]] for x in inputs],
        "says": f"Forward: {node._op.__name__} takes {given} and gives {_short(node._data)}.",
        "value": {ids[node._order]: _short(node._data)},
    }


def _backward(y: Any, nodes: list[Any], ids: dict[int, str], words: dict[int, str]) -> list[dict[str, Any]]:
    """The walk of chapter 2, newest first, told step by step."""
    grads: dict[int, Any] = {y._order: np.ones_like(y._data)}
    steps: list[dict[str, Any]] = [
        {"node": ids[y._order], "edges": [], "says": "Back: the gradient of the result is 1.", "gradient": {ids[y._order]: "1"}}
    ]
    for node in reversed(nodes):
        if node._order not in grads or not node._op:
            continue
        g, changed, handed = grads[node._order], {}, []
        for i, x in enumerate(node._inputs):
            if not isinstance(x, Tensor) or not x.requires_grad or node._op.rules[i][0] is None:
                continue
            rule = node._op.rules[i][0]
            part = fitted(rule(*rule_arguments(node._op, g, node._data, node._arrays), **node._settings), x._data, node._op)
            before = grads.get(x._order)
            grads[x._order] = part if before is None else before + part
            total = "" if before is None else f", which has {_short(grads[x._order])} now"
            handed.append(f"{_short(part)} to {words[x._order]}{total}")
            changed[ids[x._order]] = _short(grads[x._order])
        says = f"Back: all that was made from {words[node._order]} has handed on, so its gradient is whole: {_short(g)}. It hands on "
        edges = [[ids[x._order], ids[node._order]] for x in node._inputs if isinstance(x, Tensor) and ids[x._order] in changed]
        steps.append({"node": ids[node._order], "edges": edges, "says": says + "; ".join(handed) + ".", "gradient": changed})
    return steps


def _short(x: Any) -> str:
    """A number in four digits, or a small array."""
    x = np.asarray(x)
    numbers = [f"{number:.4g}".replace("-", "−") for number in x.ravel()[:4]]
    return numbers[0] if x.size == 1 else f"[{', '.join(numbers)}{', …' if x.size > 4 else ''}]"
