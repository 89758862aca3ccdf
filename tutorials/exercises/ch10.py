"""Exercises of chapter 10: LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.lstm import LSTMCell, LSTMState
from models.memory_tasks import LastState
from tinygrad_seq import Tensor, grad, tanh
from tutorials.exercise import Answer, Exercise, Property, close, expect

# ---- 10.1 ----------------------------------------------------------------------------------------------------------------------------


def _step(seed: int, N: int, C: int, H: int, size: float) -> tuple[tuple[Any, ...], LSTMState]:
    rng = np.random.default_rng(seed)
    cell = LSTMCell(C, H, rng=rng, dtype=np.float64)
    assert cell.b is not None
    cell.b.data = rng.normal(size=4 * H)
    x, h, c = size * rng.normal(size=(N, C)), rng.normal(size=(N, H)), rng.normal(size=(N, H))
    new: LSTMState = cell(x, LSTMState(Tensor(h), Tensor(c)))
    return (x, h, c, cell.W_x.numpy(), cell.W_h.numpy(), cell.b.numpy()), new


def _pair(answer: Answer, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    found = answer.lstm_step(*arguments)
    expect(isinstance(found, (tuple, list)) and len(found) == 2, f"lstm_step gave {type(found).__name__}, expected a tuple of h and c")
    return found[0], found[1]


def _memory(answer: Answer, seed: int, N: int, C: int, H: int) -> None:
    arguments, right = _step(seed, N, C, H, 1.0)
    close(_pair(answer, arguments)[1], right.c.numpy(), "the new c")


def _output(answer: Answer, seed: int, N: int, C: int, H: int) -> None:
    arguments, right = _step(seed, N, C, H, 1.0)
    close(_pair(answer, arguments)[0], right.h.numpy(), "the new h")


def _large(answer: Answer, seed: int) -> None:
    arguments, right = _step(seed, 2, 2, 2, 1e5)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = _pair(answer, arguments)
    close(found[0], right.h.numpy(), "the new h, for inputs of size 100,000,")
    close(found[1], right.c.numpy(), "the new c, for inputs of size 100,000,")


# ---- 10.2 ----------------------------------------------------------------------------------------------------------------------------


def _road(answer: Answer, seed: int, T: int, H: int) -> None:
    rng = np.random.default_rng(seed)
    fs, ws = rng.random((T, H)), rng.normal(size=(T, H))
    c, cs = Tensor(np.zeros(H), requires_grad=True), []
    for f, w in zip(fs, ws, strict=True):
        c = f * c + w
        cs.append(c)
    close(answer.road(fs), np.array(grad(c.sum(), cs)), "road(fs)")


def _closed(answer: Answer) -> None:
    close(answer.road(np.array([[0.5], [0.0], [0.5]])), np.array([[0.0], [0.5], [1.0]]), "road of gates 0.5, 0 and 0.5")


def _bias(answer: Answer, T: int) -> None:
    b = float(answer.bias_for(T))
    held = 1.0
    for _ in range(T):
        held *= 1 / (1 + np.exp(-b))
    expect(abs(held - 0.5) < 1e-6, f"with b_f = {b:.6g}, {held:.6g} of the content is left after {T} steps, expected a half")


# ---- 10.3 ----------------------------------------------------------------------------------------------------------------------------


def _wrong(fs: Any, ws: Any, os: Any, us: Any) -> Any:
    c, cs = 0.0, []
    for f, w in zip(fs, ws, strict=True):
        c = f * c + w
        cs.append(c)
    dc, dws = 0.0, []
    for o, c, u in reversed(list(zip(os, cs, us, strict=True))):
        dc = dc + u * o * (1 - np.tanh(c) ** 2)
        dws.append(dc)
    return np.array(dws[::-1])


def _right(fs: Any, ws: Any, os: Any, us: Any) -> Any:
    leaves = [Tensor(float(w), requires_grad=True) for w in ws]
    c, L = Tensor(0.0), Tensor(0.0)
    for f, w, o, u in zip(fs, leaves, os, us, strict=True):
        c = float(f) * c + w
        L = L + float(u * o) * tanh(c)
    return np.array(grad(L, leaves))


def _mended(answer: Answer, seed: int, T: int) -> None:
    rng = np.random.default_rng(seed)
    arguments = rng.random(T), rng.normal(size=T), rng.random(T), rng.normal(size=T)
    close(answer.mended(*arguments), _right(*arguments), "mended(fs, ws, os, us)")


def _unnoticed(answer: Answer) -> None:
    given = answer.unnoticed()
    expect(isinstance(given, tuple) and len(given) == 4, "unnoticed() gave no tuple of fs, ws, os and us")
    arrays = [np.asarray(a, float) for a in given]
    shapes = [a.shape for a in arrays]
    expect(len(set(shapes)) == 1 and arrays[0].ndim == 1 and len(arrays[0]) >= 3, f"the arrays are {shapes}, expected (T,) with T >= 3")
    expect(all(bool(a.all()) for a in arrays), "one of the arrays holds a 0")
    off = float(np.abs(_wrong(*arrays) - _right(*arrays)).max())
    expect(off < 1e-9, f"on unnoticed(), the wrong program is off by {off:.2g}")


# ---- 10.4 ----------------------------------------------------------------------------------------------------------------------------


def _draw(rng: Any, T: int, N: int) -> tuple[Any, Any]:
    xs = rng.integers(2, 6, (T, N))
    xs[0] = rng.integers(0, 2, N)
    return xs, xs[0].copy()


def _right_after_training(answer: Answer, T: int, cell: str, hidden: int, **options: Any) -> float:
    model = LastState(cell, 6, hidden, 2, rng=np.random.default_rng(0), **options)
    rng, calls = np.random.default_rng(1), 0

    def draw() -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        expect(calls <= 100, "train called draw() more than 100 times")
        return _draw(rng, T, 32)

    answer.train(model, draw)
    xs, firsts = _draw(np.random.default_rng(2), T, 500)
    return float((model(xs).numpy().argmax(axis=1) == firsts).mean())


def _short(answer: Answer) -> None:
    right = _right_after_training(answer, 8, "rnn", 34)
    expect(right > 0.95, f"the RNN gets {100 * right:.0f} of 100 right over 8 steps, expected more than 95")


def _long(answer: Answer) -> None:
    right = _right_after_training(answer, 30, "lstm", 16, forget_bias=3.0)
    expect(right > 0.95, f"the LSTM gets {100 * right:.0f} of 100 right over 30 steps, expected more than 95")


def _too_long(answer: Answer) -> None:
    right = _right_after_training(answer, 30, "rnn", 34)
    expect(right < 0.75, f"the RNN gets {100 * right:.0f} of 100 right over 30 steps; so this was no matter of memory")


SEED = {"seed": st.integers(0, 99)}
SIZES = SEED | {name: st.integers(1, 3) for name in ("N", "C", "H")}
EXERCISES = (
    Exercise(
        "10.1",
        "lstm_step(x, h, c, W_x, W_h, b): a step by hand",
        ("lstm_step",),
        (
            Property(
                "the new memory is f c + i c̃",
                _memory,
                "One product of W_x and one of W_h make all four. In which order do they stand?",
                SIZES,
            ),
            Property("the new output is o tanh(c), of the new c", _output, "Which c does the output show, the old or the new one?", SIZES),
            Property("large inputs make no warning", _large, "When is e to the power of -z too large? What is tanh(z / 2)?", SEED),
        ),
        examples=30,
    ),
    Exercise(
        "10.2",
        "road(fs) and bias_for(T): the factor along c",
        ("road", "bias_for"),
        (
            Property(
                "row t is the derivative of the last c with respect to c_t",
                _road,
                "Does the gate of step t act on c_t, or on the c before it?",
                SEED | {"T": st.integers(1, 5), "H": st.integers(1, 3)},
            ),
            Property("a gate that is closed cuts the road, and nothing is divided by 0", _closed, "Multiply from the end; do not divide."),
            Property(
                "after T steps with bias_for(T), a half is left",
                _bias,
                "Which f has f to the power of T = 1/2?",
                {"T": st.integers(1, 200)},
            ),
        ),
        examples=30,
    ),
    Exercise(
        "10.3",
        "mended and unnoticed(): find the bug",
        ("mended", "unnoticed"),
        (
            Property(
                "mended gives the gradients of what was written",
                _mended,
                "How does c_(t-1) move c_t, and where does the program say so on the way back?",
                SEED | {"T": st.integers(1, 4)},
            ),
            Property("the wrong program is right on unnoticed()", _unnoticed, "For which gates is it the carousel of 1997?"),
        ),
        examples=30,
    ),
    Exercise(
        "10.4",
        "train(model, draw): LSTM against RNN (the course's exercise 11.3)",
        ("train",),
        (
            Property(
                "an RNN learns 8 steps",
                _short,
                "The cross-entropy of model(xs), Adam with a learning rate of 0.01, clipping. Are all parameters trained?",
            ),
            Property("an LSTM learns 30 steps", _long, "Do you clip? Do you forget the gradients of the last batch?"),
            Property(
                "an RNN does not learn 30 steps", _too_long, "A training that can do this is worth a closer look: what did you do to W_h?"
            ),
        ),
    ),
)
