"""The checker itself: what it accepts, what it says, and what it never does."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.zoo import ZOO
from tinygrad_seq import Tensor, concat, matmul, maximum, nn, op, ops, relu, sigmoid, split, stack, tanh
from tinygrad_seq.check import GradientError, check_gradients, check_op

X = np.array([[0.3, -0.7, 1.1], [0.9, 0.4, -0.2]])


@op(lambda g, y, x: 3 * g * x**2)
def cube(x: Any) -> Any:
    return x**3


@op(lambda g, y, x: 3 * g * x)
def bad_cube(x: Any) -> Any:
    return x**3


class Cell(nn.Module):
    """An LSTM cell, c_t = f c + i u, h_t = o tanh(c_t)."""

    def __init__(self, C: int, H: int, rng: np.random.Generator) -> None:
        self.W = nn.uniform(rng, H + C, 4 * H, bound=0.25)
        self.b = nn.uniform(rng, 4 * H, bound=0.25)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        i, f, o, u = split(concat([h, x], axis=-1) @ self.W + self.b, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(u)
        return sigmoid(o) * tanh(c), c


def unrolled(cell: Cell) -> Any:
    def f(xs: Any, h: Any, c: Any) -> Any:
        hs = []
        for x in xs:
            h, c = cell(x, h, c)
            hs.append(h)
        return stack(hs)

    return f


def fault(f: Any, *arrays: Any, **how: Any) -> GradientError:
    with pytest.raises(GradientError) as error:
        check_gradients(f, *arrays, **how)
    return error.value


# ---- what it accepts, and which oracle it takes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_an_analytic_function_is_judged_by_the_complex_step(order: int) -> None:
    report = check_gradients(cube, X, order=order)
    assert report.oracle == "complex step"
    assert report.elements == (6 if order == 1 else 18)  # x; then x and the cotangent
    assert report.worst < 1e-12


def test_a_function_with_kinks_is_judged_by_differences_that_say_why() -> None:
    report = check_gradients(lambda x: tanh(relu(x) + maximum(x, 0.05)), X)
    assert report.oracle == "central differences"
    assert "relu" in report.why
    assert "maximum" in report.why


def test_an_op_wrongly_called_analytic_is_found_out() -> None:
    modulus = op(lambda g, y, x: g * (x > 0) - g * (x < 0))(ops.abs.forward)
    report = check_gradients(modulus, X)
    assert report.oracle == "central differences"
    assert "declare it" in report.why


def test_a_large_operand_is_checked_along_directions() -> None:
    x = np.random.default_rng(0).standard_normal((20, 20))
    report = check_gradients(tanh, x)
    assert report.directions
    assert report.elements == 16
    error = fault(op(lambda g, y, x: g * (1 - y * y) * (1 + 1e-6 * (np.arange(400).reshape(20, 20) == 217)))(tanh.forward), x, shrink=False)
    assert error.indices == [(10, 17)]


def test_parameters_are_checked_and_are_as_before_afterwards() -> None:
    rng = np.random.default_rng(0)
    cell = Cell(3, 4, rng)
    cell.W.grad = np.ones(cell.W.shape, np.float32)
    before = {name: value.copy() for name, value in cell.state_dict().items()}
    report = check_gradients(unrolled(cell), rng.standard_normal((3, 2, 3)), np.zeros((2, 4)), np.zeros((2, 4)), parameters=cell, order=2)
    assert report.oracle == "complex step"
    assert fault(lambda x: (x @ cell.W.detach() + x @ cell.W).sum() * 1.0, np.ones((2, 7)), parameters=[cell.W]).operand == "parameters[0]"
    for name, value in cell.state_dict().items():
        assert value.dtype == np.float32
        assert np.array_equal(value, before[name])
    assert np.array_equal(cell.W.grad, np.ones(cell.W.shape))
    assert cell.b.grad is None


def test_an_operand_without_influence_is_reported() -> None:
    report = check_gradients(lambda a, b: tanh(a) + 0 * b, X, X)
    assert report.without_influence == ("b",)
    assert "without influence" in str(report)


def test_the_same_seed_gives_the_same_report() -> None:
    assert check_gradients(tanh, X, rng=3) == check_gradients(tanh, X, rng=3)
    assert str(fault(bad_cube, X)) == str(fault(bad_cube, X))


def test_one_line_checks_a_new_op() -> None:
    assert check_op(cube).points == 8
    assert check_op(ops.log, domain=(0, np.inf), order=1).worst < 1e-10
    assert check_op(ops.matmul, (3, 4), (4, 2)).oracle == "complex step"
    with pytest.raises(GradientError, match="domain"):
        check_op(ops.log)


# ---- kinks ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [0.0, 1e-12, -1e-9])
@pytest.mark.parametrize("f", [ops.relu, ops.abs])
def test_a_point_at_a_kink_is_never_silently_passed(f: Any, x: float) -> None:
    point = np.array([0.5, x, -2.0])
    error = fault(f, point)
    assert (error.kind, error.indices) == ("kink", [(1,)])
    report = check_gradients(f, point, nudge=True)
    assert report.kinks
    assert all(kink == "x[1]" for kink in report.kinks)


def test_ties_are_kinks() -> None:
    assert fault(ops.max, np.array([1.0, 3.0, 3.0])).kind == "kink"
    assert fault(ops.maximum, X, X).kind == "kink"
    assert check_gradients(ops.max, np.zeros((2, 3)), nudge=True, settings={"axis": 1}).kinks


def test_a_jump_is_not_differentiable() -> None:
    error = fault(lambda x: ops.where(x > 1.0, x + 5.0, x), np.array([1.0]))
    assert error.kind == "kink"
    assert "jump" in str(error)


# ---- what it says --------------------------------------------------------------------------------------------------------------------


def test_the_message_names_the_op_the_operand_the_element_and_the_smallest_input() -> None:
    error = fault(bad_cube, X)
    message = str(error)
    assert message.startswith("bad_cube: the gradient of f with respect to x is wrong")
    assert re.search(r"given \S+, expected \S+ \(relative error", message)
    assert error.inputs[0].size == 1
    assert error.given is not None
    assert error.expected is not None
    assert error.given / error.expected == pytest.approx(1 / error.inputs[0].item())


CAUSES = {
    "sub/sign": "the sign",
    "mul/swapped": "operands swapped",
    "mul/forgotten": "upstream gradient g is forgotten",
    "tanh/forgotten": "upstream gradient g is forgotten",
    "exp/zero": "the gradient is zero",
    "sqrt/half forgotten": "2 times",
    "matmul/result transposed": "a missing transpose",
    "matmul/first of the batch": "only index 0 along axis 0",
    "broadcast_to/first": "only index 0 along axis 0",
    "concat/first half": "",
    "RNN/bias of one sample": "",
    "double/float32 rule": "six digits only",
    "LSTM/gate order": "",
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_likely_cause_is_told(name: str) -> None:
    specimen, bug = next((s, b) for s in ZOO for b in s.bugs if b.name == name)
    with pytest.raises(GradientError) as error:
        specimen.check(bug.wrong)
    assert CAUSES[name] in (error.value.cause or "")


# ---- bad input -----------------------------------------------------------------------------------------------------------------------


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match=r"b is int64.*Pass floats"):
        check_gradients(ops.add, X, np.ones((2, 3), int))


def test_nothing_to_differentiate() -> None:
    with pytest.raises(ValueError, match="no array"):
        check_gradients(lambda: Tensor(1.0))
    with pytest.raises(ValueError, match="order=3"):
        check_gradients(tanh, X, order=3)
    with pytest.raises(ValueError, match="nan or inf"):
        check_gradients(tanh, np.array([np.nan]))


def _left(x: Any) -> Any:
    return Tensor(np.tanh(x._data), requires_grad=True)


BAD = [
    ("record", "expected one Tensor", lambda x: np.tanh(x._data)),
    ("record", "give one of them", lambda x: (tanh(x), x)),
    ("record", "f does not depend on its inputs", lambda x: Tensor([1.0, 2.0])),
    ("gradient", "the gradient is zero", _left),
    ("gradient", "the gradient is zero", lambda x: x.detach() * x.detach() + 0 * x),
    ("finite", "cannot be differentiated", lambda x: ops.log(x * x - 0.09)),
    ("finite", "not differentiable at this point", lambda x: ops.sqrt((x - 0.3) ** 2)),
    ("dtype", "int64", lambda x: ops.astype(x, dtype=np.int64)),
    ("dtype", "float32 in, float64 out", lambda x: x * np.ones(1)),
]


@pytest.mark.parametrize(("kind", "words", "f"), BAD)
def test_what_is_wrong_with_f_is_named(kind: str, words: str, f: Any) -> None:
    with np.errstate(all="ignore"):
        error = fault(f, X)
    assert error.kind == kind
    assert words in str(error)


def test_a_random_function_is_named_as_such() -> None:
    rng = np.random.default_rng(0)
    assert fault(lambda x: x * rng.random(), X).kind == "random"


def test_an_error_of_f_itself_comes_through() -> None:
    with pytest.raises(ValueError, match="matmul"):
        check_gradients(matmul, X, X)


def _sine(x: Any) -> Any:
    return np.sin(x)


def test_an_error_within_check_op_says_with_which_shapes_and_what_to_do() -> None:
    with pytest.raises(ValueError, match="matmul") as default:
        check_op(op(lambda g, y, a, b: g @ b.swapaxes(-1, -2), lambda g, y, a, b: a.swapaxes(-1, -2) @ g)(matmul.forward))
    assert "operands of shapes (3, 4), (3, 4).  For others" in default.value.__notes__[0]
    with pytest.raises(TypeError, match="lose its record") as second:
        check_op(op(lambda g, y, x: g * np.cos(x))(_sine))
    assert "order=1" in second.value.__notes__[0]
    for nothing in (np.tanh, 3):
        with pytest.raises(TypeError, match="give a function, or shapes"):
            check_op(nothing)


def test_second_order_of_a_rule_that_is_not_recorded() -> None:
    fixed = op(lambda g, y, x: g * 3 * (x._data if isinstance(x, Tensor) else x) ** 2)(cube.forward)
    check_gradients(fixed, X)
    assert fault(fixed, X, order=2).operand == "x"


def test_float32_may_be_left_out() -> None:
    check_gradients(lambda x: x * np.ones(1), X, float32=False)


def test_a_transpose_missing_in_a_rule_is_told_though_shrinking_would_hide_it() -> None:
    linear = op(lambda g, y, x, w: g @ w, lambda g, y, x, w: x.swapaxes(-1, -2) @ g)(matmul.forward)
    for check in (check_gradients, check_op):
        with pytest.raises(GradientError, match="the transpose of") as error:
            check(linear, np.random.default_rng(0).standard_normal((2, 3)), np.random.default_rng(1).standard_normal((3, 3)))
        assert error.value.operand is not None


def test_an_input_used_for_the_output_is_told() -> None:
    my_tanh = op(lambda g, y, x: g * (1 - x * x))(tanh.forward)
    assert "the input x was used where the output y is meant" in (fault(my_tanh, X).cause or "")


def test_check_op_passes_float32_on() -> None:
    check_op(lambda x: x * np.ones(1), (3,), float32=False)


@pytest.mark.parametrize("seed", range(60))
def test_directions_through_a_tenth_of_few_elements_go_through_one_at_least(seed: int) -> None:
    x = np.linspace(0.5, 1.5, 31)
    assert check_gradients(lambda x: abs(x).sum(), x, order=2, rng=seed, float32=False).directions == 8
