"""Exercises of chapter 17: derivatives of derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor, grad, tanh
from tutorials.exercise import Answer, Exercise, Property, close, expect

NUMBERS = st.integers(-2, 2).map(float)


def _bowl(seed: int, n: int) -> tuple[Any, Any, Any]:
    """A (n, n), symmetric and positive, b (n), and f(x) = x A x / 2 - b x."""
    rng = np.random.default_rng(seed)
    root, b = rng.integers(-2, 3, (n, n)).astype(float), rng.integers(-3, 4, n).astype(float)
    A = root @ root.T + np.eye(n)
    return A, b, lambda x: (x * (x @ A)).sum() * 0.5 - (x * b).sum()


def _product(answer: Answer, seed: int, n: int) -> None:
    A, _, f = _bowl(seed, n)
    rng = np.random.default_rng(seed + 1)
    x, v = Tensor(rng.normal(size=n), requires_grad=True), rng.integers(-2, 3, n).astype(float)
    close(answer.hessian_vector(f, x, v), A @ v, "hessian_vector(f, x, v), of a bowl,")


def _changing(answer: Answer, numbers: list[float]) -> None:
    x, v = Tensor(np.array(numbers).reshape(2, 2), requires_grad=True), np.arange(4.0).reshape(2, 2)
    close(answer.hessian_vector(lambda x: (x**3).sum(), x, v), 6 * x.numpy() * v, "hessian_vector of sum(x ** 3)")


def _lands(answer: Answer, seed: int, n: int) -> None:
    A, b, f = _bowl(seed, n)
    x = Tensor(np.random.default_rng(seed + 1).integers(-5, 6, n).astype(float), requires_grad=True)
    before = x.numpy().copy()
    close(answer.newton_step(f, x), np.linalg.solve(A, b), "newton_step(f, x), of a bowl,", rtol=1e-8)
    expect(np.array_equal(before, x.numpy()), "newton_step changed x; it should only give back where to go")


def _is_rounded(answer: Answer, start: float) -> None:
    x = Tensor([start], requires_grad=True)
    right = start - start * (1 + start * start) / (1 + 3 * start * start)
    close(answer.newton_step(lambda x: (x * x / 2 + x**4 / 4).sum(), x), np.array([right]), "newton_step of x^2 / 2 + x^4 / 4")


def _tanh_derivative(n: int, x: float) -> float:
    polynomial = np.polynomial.Polynomial([0.0, 1.0])  # in y = tanh(x), whose derivative is 1 - y^2
    for _ in range(n):
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([1.0, 0.0, -1.0])
    return float(polynomial(math.tanh(x)))


def _derivative(answer: Answer, n: int, x: float) -> None:
    found = answer.tanh_derivative(n, x)
    close(float(found), np.asarray(_tanh_derivative(n, x)), f"tanh_derivative({n}, {x})")


def _fails_at(answer: Answer) -> None:
    expect(answer.fails_at() == 2, f"fails_at() gave {answer.fails_at()!r}; ask for one derivative after the other")


def _cube(answer: Answer, x: float) -> None:
    expect(hasattr(answer.cube, "rules"), "cube is no op; keep the decorator, and change the rule")
    at = Tensor(x, requires_grad=True)
    y: Any = tanh(answer.cube(at))
    right: Any = tanh(at**3)
    for order in (1, 2, 3):
        y, right = grad(y, at, create_graph=True), grad(right, at, create_graph=True)
        expect(isinstance(y, Tensor), "the derivative is no Tensor")
        close(y.item(), np.asarray(right.item()), f"derivative {order} of tanh(cube(x))")


def _arrays(answer: Answer) -> None:
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    close(grad(answer.cube(x).sum(), x), 3 * x.numpy() ** 2, "the gradient of cube(x).sum()")


BOWLS = {"seed": st.integers(0, 99), "n": st.integers(1, 4)}
EXERCISES = (
    Exercise(
        "17.1",
        "hessian_vector(f, x, v): curvature in a direction",
        ("hessian_vector",),
        (
            Property("it is the matrix times v for a bowl", _product, "The gradient of what number is A v?", BOWLS),
            Property(
                "it is that of the point x, and x may be a matrix",
                _changing,
                "The sum over all elements of g * v is one number, whatever the shape.",
                {"numbers": st.lists(NUMBERS, min_size=4, max_size=4)},
            ),
        ),
    ),
    Exercise(
        "17.2",
        "newton_step(f, x): to the bottom of the bowl",
        ("newton_step",),
        (
            Property("one step lands at the lowest point of any bowl", _lands, "A row of A is the gradient of one entry of g.", BOWLS),
            Property("elsewhere it is x - g / A with the curvature at x", _is_rounded, "Is A computed at x itself?", {"start": NUMBERS}),
        ),
    ),
    Exercise(
        "17.3",
        "tanh_derivative(n, x): again and again",
        ("tanh_derivative",),
        (
            Property(
                "each order is right",
                _derivative,
                "Each but the last derivative has to be one that can be differentiated again.",
                {"n": st.integers(0, 5), "x": st.sampled_from([0.0, 0.5, -1.0, 2.0])},
            ),
        ),
    ),
    Exercise(
        "17.4",
        "fails_at() and cube: find the bug",
        ("fails_at", "cube"),
        (
            Property("the order is the first that is wrong", _fails_at, "What does the slope remember of x?"),
            Property(
                "cube's derivatives are right in the first three orders",
                _cube,
                "A rule uses what arrays and Tensors share.",
                {"x": st.sampled_from([1.0, -0.5, 2.0])},
            ),
            Property("cube takes arrays of any shape", _arrays, "Only the rule is wrong."),
        ),
    ),
)
