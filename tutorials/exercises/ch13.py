"""Exercises of chapter 13: both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.bidirectional import Bidirectional
from models.rnn import RNNCell
from tutorials.exercise import Answer, Exercise, Property, close, expect

# ---- 13.1 and 13.2 -------------------------------------------------------------------------------------------------------------------


def _batch(seed: int, T: int, N: int, C: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 10, (T, N, C)[: 3 if C else 2]), rng.integers(1, T + 1, N)


def _shape(answer: Answer, seed: int, T: int, N: int, C: int) -> None:
    xs, lengths = _batch(seed, T, N, C)
    found = np.shape(answer.reversed_within(xs, lengths))
    expect(found == xs.shape, f"reversed_within(...) has shape {found}, expected that of xs, {xs.shape}")


def _reversed(answer: Answer, seed: int, T: int, N: int, C: int) -> None:
    xs, lengths = _batch(seed, T, N, C)
    found = np.asarray(answer.reversed_within(xs.copy(), lengths))
    for n, length in enumerate(lengths):
        close(found[:length, n], xs[:length, n][::-1], f"sequence {n} of reversed_within(...), of length {length},")
        close(found[length:, n], xs[length:, n], f"the padding of sequence {n}, of length {length},")


def _twice(answer: Answer, seed: int, T: int, N: int, C: int) -> None:
    xs, lengths = _batch(seed, T, N, C)
    close(answer.reversed_within(answer.reversed_within(xs.copy(), lengths), lengths), xs, "what was turned around twice")


def _kept(answer: Answer, seed: int, T: int, N: int, C: int) -> None:
    xs, lengths = _batch(seed, T, N, C)
    answer.reversed_within(xs, lengths)
    close(xs, _batch(seed, T, N, C)[0], "after reversed_within(xs, lengths) the array xs")


def _network(seed: int, C: int, H: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return RNNCell(C, H, rng=rng, dtype=np.float64), RNNCell(C, H, rng=rng, dtype=np.float64)


def _last(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    rng = np.random.default_rng(seed)
    xs, lengths = rng.normal(size=(T, N, 2)), rng.integers(1, T + 1, N)
    run = Bidirectional(*_network(seed, 2, H))(xs, lengths=lengths)
    there, back = run.forward.outputs.numpy().copy(), run.backward.outputs.numpy().copy()
    padding = np.arange(T)[:, None] >= lengths
    there[padding] = back[padding] = np.nan
    close(answer.last(there, back, lengths), run.last.numpy(), "last(there, back, lengths)")


# ---- 13.3 ----------------------------------------------------------------------------------------------------------------------------


def _mirrored(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    a, b = _network(seed, 2, H)
    xs = np.random.default_rng(seed).normal(size=(T, N, 2))
    outputs = Bidirectional(a, b)(xs).outputs.numpy()
    close(answer.mirrored(outputs.copy()), Bidirectional(b, a)(xs[::-1]).outputs.numpy(), "mirrored(outputs)")


# ---- 13.4 ----------------------------------------------------------------------------------------------------------------------------


def _bad(xs: Any, lengths: Any) -> Any:
    h, states = np.zeros(xs.shape[1]), []
    for x in xs[::-1]:
        h = np.tanh(0.5 * h + x)
        states.append(h)
    return np.array(states[::-1]) * (np.arange(len(xs))[:, None] < lengths)


def _right(xs: Any, lengths: Any) -> Any:
    out = np.zeros(xs.shape)
    for n, length in enumerate(lengths):
        h = 0.0
        for t in reversed(range(length)):
            h = out[t, n] = np.tanh(0.5 * h + xs[t, n])
    return out


def _given(answer: Answer, name: str) -> tuple[Any, Any]:
    given = getattr(answer, name)()
    expect(isinstance(given, tuple) and len(given) == 2, f"{name}() gave {type(given).__name__}, expected xs and lengths")
    xs, lengths = np.asarray(given[0], float), np.asarray(given[1])
    expect(xs.ndim == 2 and lengths.shape == xs.shape[1:], f"{name}() gave shapes {xs.shape}, {lengths.shape}, expected (T, N) and (N)")
    expect(lengths.dtype.kind in "iu" and bool(((lengths >= 1) & (lengths <= len(xs))).all()), f"{name}(): lengths from 1 to T, please")
    expect(bool((lengths < len(xs)).any()), f"{name}() has no sequence that is shorter than {len(xs)}")
    return xs, lengths


def _unnoticed(answer: Answer) -> None:
    xs, lengths = _given(answer, "unnoticed")
    right = _right(xs, lengths)
    expect(bool((np.abs(right).max(axis=0) > 0.01)[lengths < len(xs)].all()), "the states of a short sequence of unnoticed() are all 0")
    close(_bad(xs, lengths), right, "with the arrays of unnoticed() what bad_backward gives")


def _noticed(answer: Answer) -> None:
    xs, lengths = _given(answer, "noticed")
    expect(not np.allclose(_bad(xs, lengths), _right(xs, lengths)), "with the arrays of noticed() bad_backward is right")


def _mended(answer: Answer, seed: int, T: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    xs, lengths = rng.normal(size=(T, N)), rng.integers(1, T + 1, N)
    close(answer.mended(xs.copy(), lengths), _right(xs, lengths), "mended(xs, lengths)")


_SEED = {"seed": st.integers(0, 99)}
_BATCH = _SEED | {"T": st.integers(1, 4), "N": st.integers(1, 3), "C": st.integers(0, 2)}
_RUN = _SEED | {"T": st.integers(1, 4), "N": st.integers(1, 3), "H": st.integers(1, 3)}
EXERCISES = (
    Exercise(
        "13.1",
        "reversed_within(xs, lengths): turn around within the length",
        ("reversed_within",),
        (
            Property("the result has the shape of xs", _shape, "It works for symbols (here C = 0) and for features.", _BATCH),
            Property(
                "each sequence is turned around and its padding stays",
                _reversed,
                "From where does step t of the result come?",
                _BATCH,
            ),
            Property("turned around twice, it is as it was", _twice, "Turning around is its own opposite.", _BATCH),
            Property("xs is left as it was", _kept, "Does the function write into the array that it was given?", _BATCH),
        ),
    ),
    Exercise(
        "13.2",
        "last(there, back, lengths): the right last",
        ("last",),
        (
            Property(
                "it is what each direction holds when it has read all of its sequence",
                _last,
                "At which step of the text does the forward network end, and at which the backward one? Padding holds NaN here.",
                _RUN,
            ),
        ),
    ),
    Exercise(
        "13.3",
        "mirrored(outputs): the same in a mirror",
        ("mirrored",),
        (
            Property(
                "it is what the network gives with its cells exchanged, for the text turned around",
                _mirrored,
                "Two things change places: the steps, and the halves.",
                _RUN,
            ),
        ),
    ),
    Exercise(
        "13.4",
        "unnoticed(), noticed() and mended(xs, lengths): find the bug",
        ("unnoticed", "noticed", "mended"),
        (
            Property("with the first, bad_backward is right", _unnoticed, "What may padding hold, so that h stays 0 while it is read?"),
            Property("with the second it is wrong", _noticed, "What moves h away from 0 before the text begins?"),
            Property(
                "mended gives each sequence what it would get alone, and 0 in the padding",
                _mended,
                "Carry the state, as a mask does, or begin each sequence at its own end.",
                _SEED | {"T": st.integers(1, 4), "N": st.integers(1, 3)},
            ),
        ),
    ),
)
