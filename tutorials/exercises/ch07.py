"""Exercises of chapter 7: sequences."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.recurrent import State, unroll
from models.rnn import RNN, RNNCell
from tinygrad_seq import Tensor
from tutorials.exercise import Answer, Exercise, Property, close, expect

SIZES = {name: st.integers(1, 3) for name in ("T", "N", "C", "H")} | {"seed": st.integers(0, 99)}


def _right_run(rng: Any, T: int, N: int, C: int, H: int) -> tuple[tuple[Any, ...], Any]:
    cell = RNNCell(C, H, rng=rng, dtype=np.float64)
    xs, h = rng.normal(size=(T, N, C)), rng.normal(size=(N, H))
    assert cell.b is not None
    return (xs, h, cell.W_x.numpy(), cell.W_h.numpy(), cell.b.numpy()), unroll(cell, xs, State(Tensor(h))).outputs.numpy()


def _shape(answer: Answer, T: int, N: int, C: int, H: int, seed: int) -> None:
    arguments, right = _right_run(np.random.default_rng(seed), T, N, C, H)
    found = np.shape(answer.run(*arguments))
    expect(found == right.shape, f"run(...) has shape {found}, expected (T, N, H) = {right.shape}")


def _states(answer: Answer, T: int, N: int, C: int, H: int, seed: int) -> None:
    arguments, right = _right_run(np.random.default_rng(seed), T, N, C, H)
    close(answer.run(*arguments), right, "run(xs, h, W_x, W_h, b)")


def _untouched(answer: Answer, T: int, N: int, C: int, H: int, seed: int) -> None:
    arguments, _ = _right_run(np.random.default_rng(seed), T, N, C, H)
    copies = [np.array(a) for a in arguments]
    answer.run(*copies)
    for name, a, b in zip(("xs", "h", "W_x", "W_h", "b"), arguments, copies, strict=True):
        expect(np.array_equal(a, b), f"run wrote into {name}")


def _parameters(answer: Answer, C: int, H: int, D: int) -> None:
    right = sum(p.size for p in RNN(C, H, D, rng=np.random.default_rng(0)).parameters())
    found = answer.parameters(C, H, D)
    expect(found == right, f"parameters({C}, {H}, {D}) gave {found!r}, and RNN({C}, {H}, {D}) has {right}")


def _multiplications(answer: Answer, T: int, C: int, H: int, D: int) -> None:
    right = sum(
        a.size * b.shape[1] for _ in range(T) for a, b in ((np.ones((1, C)), np.ones((C, H))), (np.ones((1, H)), np.ones((H, H + D))))
    )
    found = answer.multiplications(T, C, H, D)
    expect(found == right, f"multiplications({T}, {C}, {H}, {D}) gave {found!r}, expected {right}")


def _arrays(answer: Answer) -> tuple[list[int], list[int]]:
    pair = answer.pair()
    expect(isinstance(pair, tuple) and len(pair) == 2, f"pair() gave {pair!r}, expected two arrays")
    a, b = (np.asarray(s) for s in pair)
    for s in (a, b):
        expect(s.ndim == 1 and s.dtype.kind in "iu", f"pair() gave an array of {s.dtype} {s.shape}, expected whole numbers in a row")
        expect(bool(len(s)) and s.min() >= 0 and s.max() <= 3, "pair() gave a number that is not from 0 to 3, or none")
    return a.tolist(), b.tolist()


def _different(answer: Answer) -> None:
    a, b = _arrays(answer)
    expect(len(a) == len(b), f"one has {len(a)} symbols, the other {len(b)}")
    expect(a != b, "the two are equal")


def _same_words(answer: Answer) -> None:
    a, b = _arrays(answer)
    expect(Counter(a) == Counter(b), f"{a} and {b} do not hold the same number of each symbol")


def _same_pairs(answer: Answer) -> None:
    a, b = _arrays(answer)
    more = Counter(itertools.pairwise(a)) - Counter(itertools.pairwise(b))
    expect(not more, f"{a} has the neighbours {', '.join(map(str, sorted(more)))} more often than {b}")


class _Layer:
    def __init__(self) -> None:
        self.h: Any = 0.0

    def __call__(self, xs: Any) -> Any:
        for x in xs:
            self.h = np.tanh(0.5 * self.h + x)
        return self.h


def _surprise(answer: Answer) -> None:
    pair = answer.surprise()
    expect(isinstance(pair, tuple) and len(pair) == 2, f"surprise() gave {pair!r}, expected two arrays")
    a, b = (np.asarray(x, float) for x in pair)
    for x in (a, b):
        expect(x.ndim == 3 and x.shape[2] == 1 and len(x) > 0, f"surprise() gave an array of shape {x.shape}, expected (T, N, 1)")
    expect(a.shape[1] == b.shape[1], f"the batches hold {a.shape[1]} and {b.shape[1]} sequences, expected as many in both")
    fresh, used = _Layer(), _Layer()
    used(a)
    expect(not np.allclose(fresh(b), used(b)), "a Layer that has read a gives the same for b as a fresh one")


def _mended(answer: Answer, seed: int, T: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    layer = answer.Mended()
    for n in (N, N + 1):  # a batch of another size as well
        xs = rng.normal(size=(T, n, 1))
        close(layer(xs), _Layer()(xs), "Mended()(xs), called before on other sequences,")


def _quick(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    arguments, _ = _right_run(rng, 2000, 8, 4, 16)
    began = time.perf_counter()
    answer.run(*arguments)
    expect(time.perf_counter() - began < 2, "2,000 steps of a batch of 8 took over two seconds")


_COUNTS = {name: st.integers(1, 5) for name in ("C", "H", "D")}
EXERCISES = (
    Exercise(
        "7.1",
        "run(xs, h, W_x, W_h, b): a loop by hand",
        ("run",),
        (
            Property("the result has the shape (T, N, H)", _shape, "How many states are there for T steps, if the first is given?", SIZES),
            Property(
                "each state is tanh(W_h h + W_x x + b) of the one before",
                _states,
                "Rows are vectors: on which side does the matrix stand? And from which state does the second step start?",
                SIZES,
            ),
            Property("the arguments are left as they were", _untouched, "Does h += ... write into the caller's array?", SIZES),
            Property("a long sequence is read in a moment", _quick, "The batch is one matrix: no loop over it is needed."),
        ),
    ),
    Exercise(
        "7.2",
        "parameters(C, H, D) and multiplications(T, C, H, D)",
        ("parameters", "multiplications"),
        (
            Property("parameters counts all that an RNN learns", _parameters, "Three arrays make a step and two an answer.", _COUNTS),
            Property(
                "multiplications counts the products of T steps and T answers",
                _multiplications,
                "A vector of m numbers times a matrix (m, n) takes m n products. Which products does a step have?",
                _COUNTS | {"T": st.integers(1, 4)},
            ),
        ),
    ),
    Exercise(
        "7.3",
        "pair(): what a count of words cannot see",
        ("pair",),
        (
            Property("there are two, of one length, and not the same", _different, "Give back a tuple of two arrays."),
            Property("they hold the same symbols equally often", _same_words, "One is the other in another order."),
            Property(
                "they hold the same neighbours equally often",
                _same_pairs,
                "Begin and end both with the same symbol, and let them take two round trips from it in a different order.",
            ),
        ),
    ),
    Exercise(
        "7.4",
        "surprise() and Mended: find the bug",
        ("surprise", "Mended"),
        (
            Property("what was read before changes the result", _surprise, "What does self.h hold when the second call begins?"),
            Property(
                "Mended gives what a fresh Layer gives, whatever it read before",
                _mended,
                "Where should the state live, if not in the object?",
                {"seed": st.integers(0, 99), "T": st.integers(1, 3), "N": st.integers(1, 3)},
            ),
        ),
    ),
)
