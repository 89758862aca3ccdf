"""Exercises of chapter 4: the table of rules."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor, grad
from tinygrad_seq.check import GradientError, check_op
from tutorials.exercise import Answer, Exercise, Property, close, expect
from tutorials.exercises.ch03 import array

Array = Any
numbers = st.one_of(st.integers(-5, 5).map(float), st.sampled_from([-1000.0, -40.0, 40.0, 1000.0]))


def _softplus_value(answer: Answer, x: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = answer.softplus(np.array([x]))
    close(found, np.array([max(x, 0.0) + np.log1p(np.exp(-abs(x)))]), "softplus(np.array([x]))", rtol=1e-14)


def _softplus_slope(answer: Answer, x: float) -> None:
    t = Tensor([x], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = answer.softplus(t)
        expect(isinstance(y, Tensor), f"softplus of a Tensor gave a {type(y).__name__}, expected a Tensor; is it an op?")
        found = grad(y, t, gradient=np.array([3.0]))
    close(found, np.array([3.0 / (1.0 + np.exp(-max(x, -700.0)))]), "with g = 3, the gradient", rtol=1e-12)


def _softplus_checked(answer: Answer) -> None:
    try:
        check_op(answer.softplus)
    except GradientError as error:
        expect(False, str(error))


def _cumsum(answer: Answer, g: Array) -> None:
    x = Tensor(np.zeros(len(g)), requires_grad=True)
    lower = np.tril(np.ones((len(g), len(g))))
    y: Any = lower @ x
    close(answer.cumsum_rule(g.copy()), grad(y, x, gradient=g), "cumsum_rule(g)")


def _cumsum_time(answer: Answer) -> None:
    g = np.ones(200_000)
    close(answer.cumsum_rule(g), np.arange(200_000, 0, -1.0), "cumsum_rule of 200,000 ones")


@st.composite
def picks(draw: Any) -> tuple[Array, Array, tuple[int, ...]]:
    """g, index and the shape of x, of one or two axes."""
    shape = (draw(st.integers(1, 3)), *draw(st.sampled_from([(), (2,)])))
    index = np.array(draw(st.lists(st.integers(-shape[0], shape[0] - 1), min_size=1, max_size=4)))
    return draw(array((len(index), *shape[1:]))), index, shape


def _picked(answer: Answer, g: Array, index: Array, shape: tuple[int, ...]) -> None:
    x = Tensor(np.zeros(shape), requires_grad=True)
    close(answer.picked_rule(g.copy(), index.copy(), shape), grad(x[index], x, gradient=g), "picked_rule(g, index, shape)")


def _slope(answer: Answer, x: float) -> None:
    y = np.array([x / (1 + abs(x))])
    close(answer.slope(y), np.array([1 / (1 + abs(x)) ** 2]), f"slope(y), where y = {y.tolist()},", rtol=1e-9)


EXERCISES = (
    Exercise(
        "4.1",
        "softplus(x): an op of your own",
        ("softplus",),
        (
            Property(
                "the value is log(1 + exp(x)), without a warning",
                _softplus_value,
                "exp(1000) is too large. Can it be written so that no exponent is positive? Does a function of NumPy know how?",
                {"x": numbers},
            ),
            Property(
                "the gradient is g times the slope, without a warning",
                _softplus_slope,
                "What is the derivative of log(1 + exp(x))? It has a name, and stands in the table. Did you multiply by g?",
                {"x": numbers},
            ),
            Property(
                "check_op finds nothing, in first and second order",
                _softplus_checked,
                "A rule uses what arrays and Tensors share, and other ops; NumPy's functions take no Tensor.",
            ),
        ),
    ),
    Exercise(
        "4.2",
        "cumsum_rule(g): the transpose of running sums",
        ("cumsum_rule",),
        (
            Property(
                "the result is the gradient of x",
                _cumsum,
                "In which of y_1, y_2, ... does x_i stand? Write the matrix for n = 3, and look at a column.",
                {"g": st.integers(1, 4).flatmap(lambda n: array((n,)))},
            ),
            Property(
                "200,000 numbers take no matrix", _cumsum_time, "The transpose of a running sum is a running sum, seen from the other end."
            ),
        ),
    ),
    Exercise(
        "4.3",
        "picked_rule(g, index, shape): a place that is named twice",
        ("picked_rule",),
        (
            Property(
                "the result is the gradient of x",
                _picked,
                "NumPy's += with an index array writes to each place once. np.add has a method that does not.",
                {"g, index, shape": picks()},
            ),
        ),
    ),
    Exercise(
        "4.4",
        "slope(y): from the output alone",
        ("slope",),
        (
            Property(
                "slope(y) is the derivative of x / (1 + |x|) at the x that gave y",
                _slope,
                "First find the derivative by x, for x > 0. Then find 1 + |x| in terms of |y|.",
                {"x": st.integers(-9, 9).map(float)},
            ),
        ),
    ),
)
