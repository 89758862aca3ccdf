"""Exercises of chapter 3: arrays, broadcasting, and summing back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_seq import Tensor, grad
from tutorials.exercise import Answer, Exercise, Property, close, expect

Array = Any
whole = st.integers(-9, 9).map(float)


@st.composite
def stretched(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape, and one that it broadcasts to."""
    large = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    small = tuple(1 if draw(st.booleans()) else n for n in large)
    return small[draw(st.integers(0, len(small))) :], large


def array(shape: tuple[int, ...]) -> Any:
    """An array of small whole numbers, so that what a failure shows is easy to read."""
    return hnp.arrays(float, shape, elements=whole)


@st.composite
def gradients(draw: Any) -> tuple[Array, tuple[int, ...]]:
    """A gradient of a stretched array, and the shape from before it was stretched."""
    small, large = draw(stretched())
    return draw(array(large)), small


@st.composite
def pairs(draw: Any) -> tuple[Array, Array, Array]:
    """g, a and b, where a * b broadcasts and has the shape of g."""
    small, large = draw(stretched())
    a, b = (small, large) if draw(st.booleans()) else (large, small)
    return draw(array(large)), draw(array(a)), draw(array(b))


@st.composite
def sums(draw: Any) -> tuple[Array, tuple[int, ...], Any]:
    """A gradient of a sum over an axis, the shape of what was summed, and the axis."""
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    one = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1).map(tuple)
    axis = draw(st.one_of(one, several, st.none()))
    return draw(array(np.zeros(shape).sum(axis=axis).shape)), shape, axis


@st.composite
def tables(draw: Any) -> tuple[Array, Array, Array]:
    """w (n, m), a (n, 1), b (m)."""
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(array((n, m))), draw(array((n, 1))), draw(array((m,)))


def _summed_back(answer: Answer, g: Array, shape: tuple[int, ...]) -> None:
    found = answer.summed_back(g.copy(), shape)
    b = Tensor(np.zeros(shape), requires_grad=True)
    close(found, grad(b + np.zeros(g.shape), b, gradient=g), "summed_back(g, shape)")


def _pairing(answer: Answer, g: Array, shape: tuple[int, ...], seed: int) -> None:
    b = np.random.default_rng(seed).integers(-9, 9, shape).astype(float)
    left, right = np.sum(np.broadcast_to(b, g.shape) * g), np.sum(b * answer.summed_back(g.copy(), shape))
    expect(bool(np.isclose(left, right)), f"with b = {b.tolist()}, <stretched b, g> = {left} and <b, summed back g> = {right}")


def _mirror(answer: Answer, g: Array, shape: tuple[int, ...], axis: Any) -> None:
    x = Tensor(np.zeros(shape), requires_grad=True)
    close(answer.mirror(g.copy(), shape, axis), grad(x.sum(axis=axis), x, gradient=g), "mirror(g, shape, axis)")


def _by_hand(answer: Answer, w: Array, a: Array, b: Array) -> None:
    found = answer.by_hand(w.copy(), a.copy(), b.copy())
    expect(isinstance(found, (tuple, list)) and len(found) == 2, f"by_hand gave {found!r}, expected two arrays")
    tensors = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    loss = (w * (tensors[0] - tensors[1]) ** 2).sum()
    for name, given, right in zip("ab", found, grad(loss, tensors), strict=True):
        close(given, right, f"the gradient with respect to {name}")


def _rule_of_b(answer: Answer, g: Array, a: Array, b: Array) -> None:
    x = Tensor(b, requires_grad=True)
    close(answer.rule_of_b(g.copy(), a.copy(), b.copy()), grad(a * x, x, gradient=g), "rule_of_b(g, a, b)")


EXERCISES = (
    Exercise(
        "3.1",
        "summed_back(g, shape): what stretching does to a gradient",
        ("summed_back",),
        (
            Property(
                "the result is the sum over the axes that were stretched",
                _summed_back,
                "An axis was stretched where it is missing in shape, and where shape has a 1. Mind an axis that had size 1 and still has.",
                {"g, shape": gradients()},
            ),
            Property(
                "<stretched b, g> = <b, summed back g>",
                _pairing,
                "The sum of all products is the same on both sides.",
                {"g, shape": gradients(), "seed": st.integers(0, 9)},
            ),
        ),
    ),
    Exercise(
        "3.2",
        "mirror(g, shape, axis): what a sum does to a gradient",
        ("mirror",),
        (
            Property(
                "each element that was summed gets the gradient of its sum",
                _mirror,
                "Put the axes that the sum took away back with size 1, then stretch.",
                {"g, shape, axis": sums()},
            ),
        ),
    ),
    Exercise(
        "3.3",
        "by_hand(w, a, b): a row and a column",
        ("by_hand",),
        (
            Property(
                "both gradients are right",
                _by_hand,
                "First the gradient of each element with respect to a - b. Over which axis was each of a and b stretched? Mind n = 1.",
                {"w, a, b": tables()},
            ),
        ),
    ),
    Exercise(
        "3.4",
        "rule_of_b(g, a, b): the mean is not the sum",
        ("rule_of_b",),
        (
            Property(
                "the result is the gradient of b, in b's shape",
                _rule_of_b,
                "What does the wrong rule do with the contributions of the uses of one element? And which shape does it give?",
                {"g, a, b": pairs()},
            ),
        ),
    ),
)
