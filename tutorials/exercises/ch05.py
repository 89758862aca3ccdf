"""Exercises of chapter 5: trusting it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor, grad
from tinygrad_seq import ops as the_ops
from tinygrad_seq.check import GradientError, check_op
from tutorials.exercise import Answer, Exercise, Property, close, expect
from tutorials.exercises.ch03 import array

Array = Any
SMOOTH: dict[str, Callable[[Any], Any]] = {
    "lambda x: np.sum(x * x * x)": lambda x: the_ops.sum(x * x * x),
    "lambda x: np.sum(np.exp(x / 4))": lambda x: the_ops.sum(the_ops.exp(x / 4)),
    "lambda x: np.sum(np.tanh(x)) ** 2": lambda x: the_ops.sum(the_ops.tanh(x)) ** 2,
}
ON_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "lambda x: x * x": lambda x: x * x,
    "np.exp": np.exp,
    "np.abs": np.abs,
    "lambda x: x.real": lambda x: x.real,
    "lambda x: max(x, 0)": lambda x: max(x, 0),
    "np.floor": np.floor,
    "lambda x: x * x.conjugate()": lambda x: x * x.conjugate(),
}
shapes = st.sampled_from([(), (1,), (2,), (2, 2)])


def _complex_step(answer: Answer, f: str, x: Array) -> None:
    t, before = Tensor(x, requires_grad=True), x.copy()
    y: Any = SMOOTH[f](t)
    found = answer.complex_step(SMOOTH[f], x)
    expect(bool(np.array_equal(x, before)), f"x is {x.tolist()} afterwards")
    expect(np.asarray(found).dtype.kind == "f", f"the gradient has dtype {np.asarray(found).dtype}, expected real numbers")
    close(found, grad(y, t), "complex_step(f, x)", rtol=1e-12)


def quick_check(f: Any, *shapes: tuple[int, ...], rng: np.random.Generator) -> bool:
    """The check of the chapter."""
    xs = [np.asarray(rng.standard_normal(shape)) for shape in shapes]
    tensors = [Tensor(x, requires_grad=True) for x in xs]
    for k, ours in enumerate(grad(f(*tensors).sum(), tensors)):
        for i in np.ndindex(xs[k].shape):
            up, down = [x.copy() for x in xs], [x.copy() for x in xs]
            up[k][i] += 1e-5
            down[k][i] -= 1e-5
            nudged = (np.sum(f(*up)) - np.sum(f(*down))) / 2e-5
            if abs(ours[i] - nudged) > 1e-2 * max(1, abs(nudged)):
                return False
    return True


def _passes_quick(answer: Answer) -> None:
    for seed in range(3):
        passed = quick_check(answer.fooling, (3, 4), rng=np.random.default_rng(seed))
        expect(passed, f"with rng = np.random.default_rng({seed}), quick_check finds the mistake")


def _is_another_function(answer: Answer) -> None:
    x = np.array([0.5, -1.0])
    for f in (np.tanh, np.exp):
        expect(not np.allclose(answer.fooling(x), f(x)), f"the forward is {f.__name__}")


def _is_found(answer: Answer) -> None:
    try:
        check_op(answer.fooling, shrink=False)
    except GradientError as error:
        expect(error.kind == "gradient", f"check_op finds another fault than a wrong gradient: {error}")
        return
    expect(False, "check_op finds nothing: the rule is right")


def _counterexample(answer: Answer) -> None:
    x = float(answer.counterexample())
    with np.errstate(over="ignore"):
        y = 1 / (1 + np.exp(-x))
    right, wrong = y - y * y, (y - y * y) * (x > -8)
    expect(right > 0, f"at x = {x} the right slope is 0 in floating point, so nothing can be said; go less far")
    expect(abs(wrong - right) > 0.01 * right, f"at x = {x} the rule gives {wrong:.6g}, and that is right")


def _analytic(answer: Answer, f: str, x: float) -> None:
    function = ON_NUMBERS[f]
    found = answer.analytic(function, x)
    expect(isinstance(found, (bool, np.bool_)), f"analytic gave {found!r}, expected True or False")
    expect(bool(found) == _agrees(function, x), f"analytic({f}, {x}) gave {found}, expected {_agrees(function, x)}")


def _agrees(f: Callable[[Any], Any], x: float) -> bool:
    try:
        stepped = np.imag(f(complex(x, 1e-30))) / 1e-30
    except TypeError:  # it compares, or rounds, and complex numbers have no order
        return False
    return bool(np.isclose(stepped, (f(x + 1e-5) - f(x - 1e-5)) / 2e-5, rtol=1e-6, atol=1e-6))


EXERCISES = (
    Exercise(
        "5.1",
        "complex_step(f, x): a derivative to the last digit",
        ("complex_step",),
        (
            Property(
                "the result is the gradient of f at x, to twelve digits, and x stays as it was",
                _complex_step,
                "Move one element at a time along the imaginary axis. What dtype must the moved copy have? What if x has no axes?",
                {"f": st.sampled_from(list(SMOOTH)), "x": shapes.flatmap(array)},
            ),
        ),
    ),
    Exercise(
        "5.2",
        "fooling(x): fool the quick check",
        ("fooling",),
        (
            Property("the forward is neither tanh nor exp", _is_another_function, "Take another function of the table."),
            Property(
                "quick_check lets it pass", _passes_quick, "Which numbers does the quick check never draw? What does it always start from?"
            ),
            Property("check_op finds a wrong gradient", _is_found, "Is the rule wrong at all, at some x, or for some g?"),
        ),
    ),
    Exercise(
        "5.3",
        "counterexample(): where the rule is wrong",
        ("counterexample",),
        (
            Property(
                "the rule is wrong there by more than one percent",
                _counterexample,
                "Which factor in the rule does not belong there, and for which x is it not 1? Mind that exp(1000) is infinite.",
            ),
        ),
    ),
    Exercise(
        "5.4",
        "analytic(f, x): who may judge?",
        ("analytic",),
        (
            Property(
                "the answer is whether both agree",
                _analytic,
                "Compare the imaginary part with a central difference. What does f do with a complex number that it does not know?",
                {"f": st.sampled_from(list(ON_NUMBERS)), "x": st.integers(1, 5).map(lambda n: n + 0.25)},
            ),
        ),
    ),
)
