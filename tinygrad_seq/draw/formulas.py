"""What each op computes and what it hands back, in the textbook's letters: text for readers, derived from nothing but the op's name.

{y} stands for the output, {a}, {b} and {c} for the operands, {g} for ∂L/∂y, {at} for an index.  An op of any number of operands has one
rule for each of them.  ⊙ is the product element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Formula(NamedTuple):
    """An op as an equation, and ∂L/∂(operand) for each operand; None stands for an operand that gets no gradient."""

    equation: str
    rules: tuple[str | None, ...]


FORMULAS: dict[str, Formula] = {
    "add": Formula("{y} = {a} + {b}", ("{g}", "{g}")),
    "sub": Formula("{y} = {a} − {b}", ("{g}", "−{g}")),
    "mul": Formula("{y} = {a} ⊙ {b}", ("{g} ⊙ {b}", "{g} ⊙ {a}")),
    "div": Formula("{y} = {a} / {b}", ("{g} / {b}", "−{g} ⊙ {y} / {b}")),
    "neg": Formula("{y} = −{a}", ("−{g}",)),
    "pow": Formula("{y} = {a}^{b}", ("{g} ⊙ {b} ⊙ {a}^({b} − 1)", "{g} ⊙ {y} ⊙ log {a}")),
    "exp": Formula("{y} = exp {a}", ("{g} ⊙ {y}",)),
    "log": Formula("{y} = log {a}", ("{g} / {a}",)),
    "sqrt": Formula("{y} = √{a}", ("{g} / (2 {y})",)),
    "tanh": Formula("{y} = tanh({a})", ("{g} ⊙ (1 − {y}²)",)),
    "sigmoid": Formula("{y} = σ({a})", ("{g} ⊙ {y} ⊙ (1 − {y})",)),
    "relu": Formula("{y} = max({a}, 0)", ("{g} where {a} > 0, else 0",)),
    "abs": Formula("{y} = |{a}|", ("{g} ⊙ sign({a})",)),
    "maximum": Formula("{y} = max({a}, {b})", ("{g} where {a} > {b}, half where equal", "{g} where {b} > {a}, half where equal")),
    "minimum": Formula("{y} = min({a}, {b})", ("{g} where {a} < {b}, half where equal", "{g} where {b} < {a}, half where equal")),
    "where": Formula("{y} = {b} where {a}, else {c}", (None, "{g} where {a}, else 0", "0 where {a}, else {g}")),
    "sum": Formula("{y} = Σ {a}", ("{g}, for each element of the sum",)),
    "mean": Formula("{y} = (1/n) Σ {a}, n numbers each", ("{g} / n, for each of the n",)),
    "max": Formula("{y} = max of {a}", ("{g} where {a} = {y}, shared if several tie, else 0",)),
    "min": Formula("{y} = min of {a}", ("{g} where {a} = {y}, shared if several tie, else 0",)),
    "logsumexp": Formula("{y} = log Σ exp {a}", ("{g} ⊙ exp({a} − {y})",)),
    "cross_entropy": Formula("{y} = −log softmax({a}) at {b}", ("{g} ⊙ (softmax({a}) − 1 at {b})", None)),
    "matmul": Formula("{y} = {a} {b}", ("{g} {b}ᵀ", "{a}ᵀ {g}")),
    "reshape": Formula("{y} = {a}, in another shape", ("{g}, in the shape of {a}",)),
    "transpose": Formula("{y} = {a}ᵀ", ("{g}ᵀ",)),
    "swapaxes": Formula("{y} = {a}, two axes exchanged", ("{g}, the axes exchanged back",)),
    "broadcast_to": Formula("{y} = {a}, repeated", ("Σ {g} over the repetitions",)),
    "astype": Formula("{y} = {a}, in another dtype", ("{g}, in the dtype of {a}",)),
    "getitem": Formula("{y} = {a}{at}", ("{g} at {at}, 0 elsewhere",)),
    "put": Formula("{y} = {a} at {at}, 0 elsewhere", ("{g}{at}",)),
    "take": Formula("{y} = the slices {b} of {a}", ("{g} added to the slices {b}, 0 elsewhere", None)),
    "concat": Formula("{y} = [{operands}]", ("its part of {g}",)),
    "stack": Formula("{y} = [{operands}], stacked", ("its slice of {g}",)),
    "identity": Formula("{y} = {a}", ("{g}",)),
}


def formula(op: str, y: str, operands: Sequence[str], at: str = "[…]") -> tuple[str, list[str | None]]:
    """The equation of an op, by its name, and the gradient of each operand, with these names, and the index `at`, for the letters.

    An op that the table does not know, as one of a reader's own, is shown as a function of its operands.
    """
    letters = dict(zip("abc", operands, strict=False)) | {"y": y, "g": f"∂L/∂{y}", "operands": ", ".join(operands), "at": at}
    known = FORMULAS.get(op) or Formula("{y} = " + _braced(op) + "({operands})", ("what the rule of " + _braced(op) + " makes of {g}",))
    rules = known.rules * len(operands) if len(known.rules) == 1 else known.rules
    filled = [None if rule is None else f"∂L/∂{name} = {rule.format(**letters)}" for name, rule in zip(operands, rules, strict=False)]
    return known.equation.format(**letters), filled


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
