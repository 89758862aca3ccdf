"""Exercises of chapter 12: masks and stacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor, grad
from tutorials.exercise import Answer, Exercise, Property, close, expect

# ---- 12.1 ----------------------------------------------------------------------------------------------------------------------------


def _loop(seed: int, T: int, N: int, H: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    W_x, W_h = rng.normal(size=(2, H)), rng.normal(size=(H, H))

    def step(x: Any, h: Any) -> Any:
        return np.tanh(x @ W_x + h @ W_h)

    return step, rng.normal(size=(T, N, 2)), rng.normal(size=(N, H)), rng.random((T, N)) < 0.6


def _masked(answer: Answer, seed: int, T: int, N: int, H: int, holds: float) -> None:
    step, xs, h, mask = _loop(seed, T, N, H)
    right = h.copy()
    for n in range(N):
        for x in xs[mask[:, n], n]:
            right[n] = step(x, right[n])
    xs[~mask] = holds
    close(answer.masked_last(step, xs, h.copy(), mask), right, "masked_last(step, xs, h, mask)")


def _numbers(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    _masked(answer, seed, T, N, H, 1.0)


def _anything(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    with np.errstate(all="ignore"):
        for holds in (np.inf, np.nan):
            _masked(answer, seed, T, N, H, holds)


def _kept(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    step, xs, h, mask = _loop(seed, T, N, H)
    answer.masked_last(step, xs, h, mask)
    _, xs_before, h_before, _ = _loop(seed, T, N, H)
    expect(np.array_equal(xs, xs_before) and np.array_equal(h, h_before), "masked_last wrote into xs or h")


# ---- 12.2 ----------------------------------------------------------------------------------------------------------------------------


def _mean_of_ones(answer: Answer, seed: int, T: int, N: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, T + 1, N)
    losses = (np.arange(T)[:, None] < lengths).astype(float)
    close(answer.masked_mean(losses, lengths), np.asarray(1.0), "the mean of losses that are all 1, and 0 in the padding,")


def _mean(answer: Answer, seed: int, T: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    lengths, losses = rng.integers(1, T + 1, N), rng.integers(0, 9, (T, N)).astype(float)
    right = np.mean(np.concatenate([losses[:length, n] for n, length in enumerate(lengths)]))
    losses[np.arange(T)[:, None] >= lengths] = 100.0
    close(answer.masked_mean(losses, lengths), right, "masked_mean(losses, lengths)")


def _mean_with_nan(answer: Answer) -> None:
    close(answer.masked_mean(np.array([[1.0, 3.0], [np.nan, 5.0]]), np.array([1, 2])), np.asarray(3.0), "with NaN in the padding the mean")


# ---- 12.3 ----------------------------------------------------------------------------------------------------------------------------


def _batch(seed: int, T: int, N: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(1, 10, (T, N)), rng.integers(1, T + 1, N)


def _parts(answer: Answer, xs: Any, lengths: Any) -> tuple[Any, Any]:
    found = answer.pack(xs.copy(), lengths)
    expect(isinstance(found, tuple) and len(found) == 2, f"pack(...) gave {type(found).__name__}, expected a tuple of rows and alive")
    return np.asarray(found[0]), np.asarray(found[1])


def _alive(answer: Answer, seed: int, T: int, N: int) -> None:
    xs, lengths = _batch(seed, T, N)
    close(_parts(answer, xs, lengths)[1], np.array([sum(length > t for length in lengths) for t in range(T)]), "alive")


def _rows(answer: Answer, seed: int, T: int, N: int) -> None:
    xs, lengths = _batch(seed, T, N)
    order = sorted(range(N), key=lambda n: -lengths[n])
    right = np.array([xs[t, n] for t in range(T) for n in order if lengths[n] > t])
    close(_parts(answer, xs, lengths)[0], right, "of pack(xs, lengths), the rows")


def _back(answer: Answer, seed: int, T: int, N: int) -> None:
    xs, lengths = _batch(seed, T, N)
    order = sorted(range(N), key=lambda n: -lengths[n])
    rows = np.array([xs[t, n] for t in range(T) for n in order if lengths[n] > t])
    close(answer.unpack(rows, lengths, T), np.where(np.arange(T)[:, None] < lengths, xs, 0), "unpack(rows, lengths, T)")


# ---- 12.4 ----------------------------------------------------------------------------------------------------------------------------


def _slope(a: float, mask: Any, bad: bool) -> Any:
    first = Tensor(np.array(1.0), requires_grad=True)
    h: Any = first * 1.0
    for m in np.asarray(mask, float):
        new = a * h
        h = h + m * (new - h.detach()) if bad else m * new + (1 - m) * h
    return grad(h, first)


def _right_slope(answer: Answer, a: float, mask: list[int]) -> None:
    close(answer.right_slope(a, np.array(mask)), _slope(a, mask, False), f"right_slope({a}, {mask})")


def _bad_slope(answer: Answer, a: float, mask: list[int]) -> None:
    close(answer.bad_slope(a, np.array(mask)), _slope(a, mask, True), f"bad_slope({a}, {mask})")


_BATCH = {"seed": st.integers(0, 99), "T": st.integers(1, 4), "N": st.integers(1, 3)}
_LOOP = _BATCH | {"H": st.integers(1, 3)}
_MASK = {"a": st.sampled_from([0.5, 1.0, -0.5, 2.0, 0.0]), "mask": st.lists(st.integers(0, 1), min_size=1, max_size=5)}
EXERCISES = (
    Exercise(
        "12.1",
        "masked_last(step, xs, h, mask): a masked loop",
        ("masked_last",),
        (
            Property(
                "each sequence ends in the state that its own steps lead to",
                _numbers,
                "Where the mask is False, which state should stand after the step?",
                _LOOP,
            ),
            Property("whatever the padding holds", _anything, "What is 0 times NaN? Can one choose without multiplying?", _LOOP),
            Property("the arguments are left as they were", _kept, "Does the function write into an array that it was given?", _LOOP),
        ),
        examples=30,
    ),
    Exercise(
        "12.2",
        "masked_mean(losses, lengths): a masked mean",
        ("masked_mean",),
        (
            Property("of ones it is 1, however much padding there is", _mean_of_ones, "By how many positions do you divide?", _BATCH),
            Property("every real position counts the same", _mean, "Is the mean of means the mean?", _BATCH),
            Property("NaN in the padding does no harm", _mean_with_nan, "Choose before you add, rather than multiply by 0."),
        ),
    ),
    Exercise(
        "12.3",
        "pack(xs, lengths) and unpack(rows, lengths, T)",
        ("pack", "unpack"),
        (
            Property("alive says how many sequences run at each step", _alive, "How many lengths are greater than t?", _BATCH),
            Property("the rows are read step by step, the longest first", _rows, "Sort once, and keep the order of equal ones.", _BATCH),
            Property("unpack puts them back, with 0 in the padding", _back, "Run the same two loops, and write where you read.", _BATCH),
        ),
    ),
    Exercise(
        "12.4",
        "right_slope(a, mask) and bad_slope(a, mask): find the bug",
        ("right_slope", "bad_slope"),
        (
            Property(
                "right_slope is the derivative with a right mask", _right_slope, "Which factor has a step that does not happen?", _MASK
            ),
            Property(
                "bad_slope is that through bad_carried",
                _bad_slope,
                "By which ways does old come into the result, and which of them has detach cut?",
                _MASK,
            ),
        ),
    ),
)
