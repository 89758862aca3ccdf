"""The story that a page tells: its formulas against the ops, its gradients against the engine's, and the file that holds it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.draw import NETWORKS, Wish
from tests.pages import CELLS, network, page
from tinygrad_seq import Tensor, grad, ops, record
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.draw.formulas import FORMULAS, formula
from tinygrad_seq.draw.story import shown
from tinygrad_seq.ledger import chain

every_cell = pytest.mark.parametrize("kind", CELLS)


# ---- formulas ------------------------------------------------------------------------------------------------------------------------


def table_of_ops() -> dict[str, Any]:
    found = [value for module in (ops, record) for value in vars(module).values() if hasattr(value, "rules") and hasattr(value, "forward")]
    return {value.__name__.lstrip("_"): value for value in found}


def test_every_op_has_a_formula_and_every_formula_an_op() -> None:
    assert sorted(FORMULAS) == sorted(table_of_ops())


def test_a_formula_has_a_rule_where_the_op_has_one() -> None:
    for name, entry in table_of_ops().items():
        if isinstance(entry.rules, tuple):
            assert [rule is None for rule in FORMULAS[name].rules] == [each[0] is None for each in entry.rules], name
        else:
            assert len(FORMULAS[name].rules) == 1


MEANS = {
    "−": "-", "⊙": "*", "²": "**2", "^": "**", "√a": "sqrt(a)", "|a|": "abs(a)", "(2 y)": "(2 * y)", "σ": "sigmoid", "exp a": "exp(a)",
    "log a": "log(a)",
}  # fmt: skip


def calculated(text: str, names: dict[str, Any]) -> Any:
    """The number that a formula stands for, once its letters and signs are Python's."""
    for sign, python in MEANS.items():
        text = text.replace(sign, python)
    text = re.sub(r"^(.*) where (.*), else (.*)$", r"where(\2, \1, \3)", text).replace("∂L/∂y", "g")
    functions = {name: getattr(np, name) for name in ("sqrt", "abs", "exp", "log", "tanh", "sign", "where", "maximum", "minimum")}
    return eval(text, functions | {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "max": np.maximum} | names)


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "div", "neg", "pow", "exp", "log", "sqrt", "tanh", "sigmoid", "relu", "abs", "where"]
)
def test_what_a_formula_says_is_what_the_op_does(name: str) -> None:
    rng = np.random.default_rng(0)
    entry = FORMULAS[name]
    count = len(entry.rules)
    arrays = [rng.uniform(0.5, 2, 4) * (rng.choice([-1, 1], 4) if name in ("relu", "abs") else 1) for _ in range(count)]
    if name == "where":
        arrays[0] = np.array([True, False, True, False])
    operands = [Tensor(x, requires_grad=x.dtype == float) for x in arrays]
    y = getattr(ops, name)(*operands)
    g = rng.standard_normal(4)
    equation, rules = formula(name, "y", list("abc"[:count]))
    names = dict(zip("abc", arrays, strict=False)) | {"y": y.numpy(), "g": g}
    np.testing.assert_allclose(calculated(equation.removeprefix("y = "), names), y.numpy(), rtol=1e-12)
    for letter, x, rule in zip("abc", operands, rules, strict=False):
        if rule is not None:
            text = rule.removeprefix(f"∂L/∂{letter} = ")
            np.testing.assert_allclose(calculated(text, names) * np.ones(4), grad(y, x, gradient=g), rtol=1e-12)


def test_the_rules_of_a_product_of_matrices() -> None:
    assert formula("matmul", "z", ["h", "W"]) == ("z = h W", ["∂L/∂h = ∂L/∂z Wᵀ", "∂L/∂W = hᵀ ∂L/∂z"])


def test_a_part_is_told_by_its_index() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="x")
    for y, written in ((x[1], "[1]"), (x[:, 1:], "[:, 1:]"), (x[..., ::2], "[…, ::2]"), (x[np.array([0, 0])], "[…]")):
        step = draw(y.sum()).story()["steps"][0]
        assert (step["equation"], step["rules"]) == (f"y = x{written}", [f"∂L/∂x = ∂L/∂y at {written}, 0 elsewhere"])


def test_ops_of_any_number_of_operands_and_a_readers_own() -> None:
    assert formula("concat", "y", ["h", "x"]) == ("y = [h, x]", ["∂L/∂h = its part of ∂L/∂y", "∂L/∂x = its part of ∂L/∂y"])
    assert formula("cu{be", "y", ["{x}"]) == ("y = cu{be({x})", ["∂L/∂{x} = what the rule of cu{be makes of ∂L/∂y"])


# ---- the story -----------------------------------------------------------------------------------------------------------------------


FOLDS: dict[str, dict[str, Any]] = {
    "op": {}, "gate": {"depth": "gate"}, "cell": {"depth": "cell"}, "layer": {"depth": "layer"}, "some steps": {"steps": [0, -1]},
    "rolled": {"rolled": True}, "weights once": {"weights": "once"},
}  # fmt: skip


def check(L: Tensor, drawing: Drawing) -> int:
    """Each node's tensor has the engine's value, and at the end the whole gradient; gives how many have one."""
    told = drawing.story()
    tensors, nodes = told["tensors"], {item.id: item.nodes[-1] for item in drawing.graph.items if item.nodes}
    drawn = [(tensor, nodes[mark]) for tensor in tensors for mark in tensor["marks"] if mark in nodes]
    graded = [(tensor, node) for tensor, node in drawn if tensor["grads"]]
    assert all(tensor["value"] == shown(node._data) for tensor, node in drawn)
    for (tensor, _), g in zip(graded, grad(L, [node for _, node in graded]), strict=True):
        np.testing.assert_allclose(
            tensor["grads"][-1][1]["norm"], np.linalg.norm(g), rtol=1e-9 if g.dtype == np.float64 else 1e-4, atol=1e-12
        )
        assert [at for at, _ in tensor["grads"]] == sorted(at for at, _ in tensor["grads"])
    forward = sum(step["phase"] == "forward" for step in told["steps"])
    for at, step in enumerate(told["steps"], 1):
        assert (step["phase"] == "forward") == (at <= forward)
        assert all(tensors[i]["born"] == at if at <= forward else tensors[i]["born"] <= forward for i in step["out"])
    return len(graded)


@every_cell
@pytest.mark.parametrize("fold", FOLDS)
def test_however_it_is_folded_values_come_in_order_and_the_last_gradients_are_the_whole_ones(kind: str, fold: str) -> None:
    L, cell = network(kind, T=4)
    assert check(L, draw(L, params=cell, **FOLDS[fold])) >= (1 if fold == "layer" else 5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_story(name: str, masked: bool) -> None:
    ran = NETWORKS[name](Wish("gru", steps=3, masked=masked, teacher=0.5), np.random.default_rng(0))
    assert check(ran.loss, draw(ran.loss, params=ran.module, steps="all")) > 20


def test_a_folded_step_hands_on_the_sum_of_what_its_ops_do() -> None:
    L, cell = network("lstm", T=3)
    drawing = draw(L, params=cell, depth="cell")
    told = drawing.story()
    steps = [step for step in told["steps"] if step["what"] == "LSTMCell"]
    assert [step["phase"] for step in steps] == ["forward"] * 3 + ["backward"] * 3
    h_0 = next(item for item in drawing.graph.items if "h_0" in item.name).nodes[-1]
    step = steps[-2]  # t = 1, backward
    assert step["equation"].startswith("c_1, h_1 = LSTMCell(")
    at = [told["tensors"][i]["value"] == shown(h_0._data) for i in step["in"]].index(True)
    L_without_0 = grad(L, h_0) - next(part for _, _, parts in chain(L) for x, part in parts if x is h_0)
    np.testing.assert_allclose(step["adds"][at]["norm"], np.linalg.norm(L_without_0), rtol=1e-9)


def test_of_many_operands_some_are_told_and_all_count() -> None:
    xs = [Tensor(float(i), requires_grad=True, name=f"x_{i}") for i in range(50)]
    L = ops.sum(ops.stack(xs) * np.arange(50.0))
    told = draw(L).story()
    step = told["steps"][0]
    assert step["equation"] == "y = [x_0, x_1, x_2, x_3, x_4, x_5, x_6, …, x_49], stacked"
    assert len(step["in"]) == len(step["adds"] or step["rules"]) == 8
    back = told["steps"][-1]
    assert back["adds"][-1]["cells"] == [["49"]]
    assert back["rules"][-1] == "∂L/∂x_49 = its slice of ∂L/∂y"


# ---- the page as text -------------------------------------------------------------------------------------------------------------------


def test_a_page_that_no_browser_would_step_through_is_refused() -> None:
    x = Tensor(1.0, requires_grad=True)
    for _ in range(5_001):
        x = x * 1.0
    with pytest.raises(ValueError, match=r"10,003 nodes, .* more than 5,000"):
        draw(x, depth="op").html()


def test_a_page_is_one_file_the_same_each_time(tmp_path: Path) -> None:
    for name in "ab":
        L, cell = network("lstm")
        drawing = draw(L, params=cell)
        text = page(drawing)
        drawing.save(tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes() == text.encode()
    assert set(re.findall(r"https?://[^\"'\s<]*", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"(src|href)=\"(?!data:)", text)
