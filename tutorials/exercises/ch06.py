"""Exercises of chapter 6: a layer that learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor, grad
from tutorials.exercise import Answer, Exercise, Property, close, expect
from tutorials.exercises.ch03 import array

Array = Any


@st.composite
def products(draw: Any) -> tuple[Array, Array, Array]:
    """g, a and b for y = a @ b, with vectors among them."""
    M, K, N = (draw(st.integers(1, 3)) for _ in range(3))
    a = draw(st.sampled_from([(M, K), (K,)]))
    b = draw(st.sampled_from([(K, N), (K,)]))
    return draw(array(np.shape(np.zeros(a) @ np.zeros(b)))), draw(array(a)), draw(array(b))


def _matmul_rules(answer: Answer, g: Array, a: Array, b: Array) -> None:
    tensors = [Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)]
    found = answer.matmul_rules(g.copy(), a.copy(), b.copy())
    expect(isinstance(found, (tuple, list)) and len(found) == 2, f"matmul_rules gave {found!r}, expected two arrays")
    for name, given, right in zip("ab", found, grad(tensors[0] @ tensors[1], tensors, gradient=g), strict=True):
        close(given, right, f"the gradient of {name}, where a is {a.shape} and b is {b.shape},")


def _descends(x: Array, y: Array, lr: float) -> float:
    """How far gradient descent is from the best weights after 500 steps, by its start."""
    w, best = np.zeros(x.shape[1]), np.linalg.lstsq(x, y, rcond=None)[0]
    with np.errstate(all="ignore"):
        for _ in range(500):
            w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
        return float(np.linalg.norm(x @ (w - best)) / np.linalg.norm(x @ best))


@st.composite
def regressions(draw: Any) -> Array:
    """x (N, C) of full rank, with directions that differ in size, but not by much."""
    C = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    left, right = (np.linalg.qr(rng.standard_normal((n, C)))[0] for n in (C + draw(st.integers(0, 2)), C))
    return (left * (1.0 + np.arange(C))) @ right.T * draw(st.sampled_from([1.0, 3.0]))


def _largest_lr(answer: Answer, x: Array) -> None:
    lr = float(answer.largest_lr(x.copy()))
    expect(lr > 0, f"largest_lr(x) gave {lr}, expected a positive number")
    y = x.sum(axis=1)
    below, above = _descends(x, y, 0.99 * lr), _descends(x, y, 1.01 * lr)
    expect(
        below < 0.01, f"largest_lr(x) gave {lr:.6g}; with 0.99 of it, the error after 500 steps is still {below:.2g} of that at the start"
    )
    expect(not above < 1, f"largest_lr(x) gave {lr:.6g}; with 1.01 of it, gradient descent still converges")


@st.composite
def uses(draw: Any) -> list[tuple[Array, Array]]:
    """Pairs (a, g) of one weight (C, D)."""
    C, D = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    return [(draw(array((n, C))), draw(array((n, D)))) for n in sizes]


class _Counted(np.ndarray[Any, Any]):
    """An array that counts the matrix products that it and what is made from it take part in."""

    products = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> Any:
        _Counted.products += ufunc is np.matmul
        plain = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, **{k: v for k, v in more.items() if k != "out"})
        return result.view(_Counted) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(function, types, args, kwargs)
        return result.view(_Counted) if isinstance(result, np.ndarray) else result


def _gradient_of_W(answer: Answer, uses: list[tuple[Array, Array]]) -> None:
    right = sum(a.T @ g for a, g in uses)
    close(np.asarray(answer.gradient_of_W([(a.copy(), g.copy()) for a, g in uses])), right, "gradient_of_W(uses)")


def _one_product(answer: Answer, uses: list[tuple[Array, Array]]) -> None:
    _Counted.products = 0
    answer.gradient_of_W([(a.view(_Counted), g.view(_Counted)) for a, g in uses])
    expect(_Counted.products == 1, f"{len(uses)} uses took {_Counted.products} products (with @), expected one")


def _train(answer: Answer, start: float, steps: int, held: float | None) -> None:
    w, b = Tensor(start, requires_grad=True), Tensor(1.0, requires_grad=True)
    w.grad = None if held is None else np.asarray(held)
    answer.train(lambda: (w - 3.0) * (w - 3.0) + b * b, [w, b], 0.25, steps)
    found = w.item(), b.item()
    right = 3.0 + (start - 3.0) * 0.5**steps, 0.5**steps
    close(np.array(found), np.array(right), f"after {steps} steps with lr = 0.25 on (w - 3)**2 + b**2 from b = 1, (w, b)")


EXERCISES = (
    Exercise(
        "6.1",
        "matmul_rules(g, a, b): vectors too",
        ("matmul_rules",),
        (
            Property(
                "both gradients are right, for matrices and for vectors",
                _matmul_rules,
                "Give a vector the axis that it lacks: a row for a, a column for b; and g what it would have then.",
                {"g, a, b": products()},
            ),
        ),
    ),
    Exercise(
        "6.2",
        "largest_lr(x): the fastest that holds",
        ("largest_lr",),
        (
            Property(
                "just below it gradient descent converges, just above it it does not",
                _largest_lr,
                "Write a step for the error w - best: it is multiplied by a matrix. When does that matrix make some direction longer?",
                {"x": regressions()},
            ),
        ),
        examples=10,
    ),
    Exercise(
        "6.3",
        "gradient_of_W(uses): put aside, then multiply",
        ("gradient_of_W",),
        (
            Property(
                "the result is the sum over the uses",
                _gradient_of_W,
                "The sum over n in x.T @ g does not mind which use a row belongs to.",
                {"uses": uses()},
            ),
            Property("it takes one product", _one_product, "Put the rows of all uses below each other first.", {"uses": uses()}),
        ),
        examples=20,
    ),
    Exercise(
        "6.4",
        "train(loss, parameters, lr, steps): the loop that went wild",
        ("train",),
        (
            Property(
                "each step moves each parameter by lr times the gradient of that step",
                _train,
                "Leaves accumulate. What does p.grad hold in the second step, and what in the first, if somebody was here before?",
                {"start": st.integers(-3, 3).map(float), "steps": st.integers(1, 6), "held": st.sampled_from([None, 1.0])},
            ),
        ),
    ),
)
