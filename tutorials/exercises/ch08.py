"""Exercises of chapter 8: backpropagation through time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq import Tensor, grad
from tinygrad_seq.ledger import contributions
from tutorials.exercise import Answer, Exercise, Property, close, expect

Arguments = tuple[Any, Any, Any, Any, Any]


def _network(seed: int, T: int, N: int, C: int, H: int) -> tuple[Arguments, RNNCell]:
    rng = np.random.default_rng(seed)
    cell = RNNCell(C, H, rng=rng, dtype=np.float64)
    assert cell.b is not None
    xs, us = rng.normal(size=(T, N, C)), rng.normal(size=(T, N, H))
    return (xs, us, cell.W_x.numpy(), cell.W_h.numpy(), cell.b.numpy()), cell


def _gradients(answer: Answer, seed: int, T: int, N: int, C: int, H: int) -> None:
    arguments, cell = _network(seed, T, N, C, H)
    xs = Tensor(arguments[0], requires_grad=True)
    assert cell.b is not None
    right = grad((unroll(cell, xs).outputs * arguments[1]).sum(), [xs, cell.W_x, cell.W_h, cell.b])
    found = answer.bptt(*arguments)
    expect(isinstance(found, (tuple, list)) and len(found) == 4, f"bptt gave {type(found).__name__}, expected a tuple of four arrays")
    for name, a, b in zip(("xs", "W_x", "W_h", "b"), found, right, strict=True):
        close(a, b, f"the gradient of {name}")


def _long(answer: Answer) -> None:
    arguments, _ = _network(0, 1000, 4, 3, 8)
    began = time.perf_counter()
    answer.bptt(*arguments)
    expect(time.perf_counter() - began < 3, "1,000 steps took over three seconds; how often is each step gone through?")


def _untied(answer: Answer, seed: int, T: int, N: int, C: int, H: int) -> None:
    arguments, cell = _network(seed, T, N, C, H)
    L = (unroll(cell, arguments[0]).outputs * arguments[1]).sum()
    split = contributions(L, cell.W_h)
    right = np.zeros((T, H, H))
    for step, gradient in zip(split.steps, split.gradients, strict=True):
        assert step is not None
        right[step] = gradient
    close(answer.untied(*arguments), right, "untied(...)")


def _share(answer: Answer, seed: int, T: int, k: int) -> None:
    gradients = np.random.default_rng(seed).normal(size=(T, 2, 2))
    old = sum((gradients[t] for t in range(T) if t < T - 1 - k), np.zeros((2, 2)))
    right = np.linalg.norm(old) / np.linalg.norm(gradients.sum(axis=0))
    close(answer.old_share(gradients, k), right, f"old_share(gradients, {k}), of {T} steps,")


def _cancels(answer: Answer) -> None:
    one = np.ones((1, 2, 2))
    close(answer.old_share(np.concatenate([one, -one, one]), 0), np.asarray(0.0), "old_share of three steps of which two cancel")


def _wrong_program(arguments: Arguments) -> Any:
    xs, us, W_x, W_h, b = arguments
    states = [np.zeros((xs.shape[1], len(W_h)))]
    for x in xs:
        states.append(np.tanh(states[-1] @ W_h + x @ W_x + b))
    dW_h, dh = np.zeros_like(W_h), np.zeros_like(states[0])
    for t in reversed(range(len(xs))):
        dz = (us[t] + dh) * (1 - states[t + 1] ** 2)
        dW_h += states[t].T @ dz
        dh = dz @ W_h
    return dW_h


def _off(W_h: Any, seed: int) -> float:
    arguments, cell = _network(seed, 3, 2, 2, 2)
    cell.W_h.data = W_h
    right = grad((unroll(cell, arguments[0]).outputs * arguments[1]).sum(), cell.W_h)
    return float(np.abs(_wrong_program((*arguments[:3], W_h, arguments[4])) - right).max())


def _matrix(answer: Answer, name: str) -> Any:
    W = np.asarray(getattr(answer, name)(), float)
    expect(W.shape == (2, 2), f"{name}() has shape {W.shape}, expected (2, 2)")
    expect(bool(W.all()), f"{name}() holds a 0")
    return W


def _unnoticed(answer: Answer, seed: int) -> None:
    off = _off(_matrix(answer, "unnoticed"), seed)
    expect(off < 1e-12, f"the wrong program is off by {off:.1e} with the matrix of unnoticed()")


def _noticed(answer: Answer) -> None:
    W = _matrix(answer, "noticed")
    expect(max(_off(W, seed) for seed in range(5)) > 1e-6, "the wrong program is right with the matrix of noticed(), on five inputs")


SIZES = {name: st.integers(1, 3) for name in ("T", "N", "C", "H")} | {"seed": st.integers(0, 99)}
EXERCISES = (
    Exercise(
        "8.1",
        "bptt(xs, us, W_x, W_h, b): by hand",
        ("bptt",),
        (
            Property(
                "the four gradients are those of L",
                _gradients,
                "With N sequences, np.outer becomes a product of two matrices, and what is added to each row is summed over the rows.",
                SIZES,
            ),
            Property("time is gone through once", _long, "One loop forward and one back, with dh carried from step to step."),
        ),
        examples=30,
    ),
    Exercise(
        "8.2",
        "untied(xs, us, W_x, W_h, b): a weight for each step",
        ("untied",),
        (
            Property(
                "the k-th matrix is the gradient of the weight that step k used",
                _untied,
                "Make T leaves that all hold the numbers of W_h, use the k-th at step k, and ask for the gradients of all of them at once.",
                SIZES,
            ),
        ),
        examples=30,
    ),
    Exercise(
        "8.3",
        "old_share(gradients, k): how much is old?",
        ("old_share",),
        (
            Property(
                "it is the length of what comes from before the last k + 1 steps, over the length of all",
                _share,
                "The last step is T - 1. Which steps lie more than k before it? For k = 0 all but the last.",
                {"seed": st.integers(0, 99), "T": st.integers(1, 5), "k": st.integers(0, 5)},
            ),
            Property("gradients are added before they are measured", _cancels, "Gradients of two steps may cancel each other."),
        ),
    ),
    Exercise(
        "8.4",
        "unnoticed() and noticed(): find the bug",
        ("unnoticed", "noticed"),
        (
            Property(
                "with the first matrix the wrong program gives the right gradients",
                _unnoticed,
                "For which matrices is it all the same whether one transposes them?",
                {"seed": st.integers(0, 99)},
            ),
            Property("with the second it does not", _noticed, "A matrix that differs from its transpose, and not by a hair."),
        ),
    ),
)
