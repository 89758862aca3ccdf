"""Exercises of chapter 11: GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.gru import GRUCell
from models.recurrent import State
from tinygrad_seq import Tensor, grad
from tinygrad_seq.record import Array
from tutorials.exercise import Answer, Exercise, Property, close, expect

Arrays = tuple[Array, Array, Array, Array]
NAMES = ("W_x", "W_h", "W", "b")


def _weights(seed: int, C: int, H: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(C, 3 * H)), rng.normal(size=(H, 2 * H)), rng.normal(size=(H, H)), rng.normal(size=3 * H)


def _step(weights: Arrays, x: Any, h: Any, *, after: bool = False, keeps: bool = False) -> Array:
    """A step in the conventions asked for; without a bias of its own inside the reset."""
    W_x, W_h, W, b = weights
    H, a = len(W), x @ W_x + b
    r, z = np.split((1 + np.tanh((h @ W_h + a[..., : 2 * H]) / 2)) / 2, 2, axis=-1)
    h_tilde = np.tanh((r * (h @ W) if after else (r * h) @ W) + a[..., 2 * H :])
    return np.asarray(z * h + (1 - z) * h_tilde if keeps else (1 - z) * h + z * h_tilde)


# ---- 11.1 ----------------------------------------------------------------------------------------------------------------------------


def _by_hand(answer: Answer, seed: int, N: int, C: int, H: int) -> None:
    weights, rng = _weights(seed, C, H), np.random.default_rng(seed)
    cell = GRUCell(C, H, rng=rng, dtype=np.float64)
    cell.load_state_dict(dict(zip(NAMES, weights, strict=True)))
    x, h = rng.normal(size=(N, C)), rng.normal(size=(N, H))
    close(answer.gru_step(x, h, *weights), cell(x, State(Tensor(h))).h.numpy(), "gru_step(...)")


def _closed(answer: Answer, seed: int) -> None:
    W_x, W_h, W, b = _weights(seed, 2, 3)
    b[3:6] -= 1000.0
    h = np.random.default_rng(seed).normal(size=(2, 3))
    with np.errstate(over="ignore"):
        close(answer.gru_step(np.ones((2, 2)), h, W_x, W_h, W, b), h, "gru_step(...), with z closed,")


# ---- 11.2 ----------------------------------------------------------------------------------------------------------------------------


def _four(given: Any, name: str, C: int, H: int) -> Arrays:
    expect(isinstance(given, (tuple, list)) and len(given) == 4, f"{name} gave {type(given).__name__}, expected a tuple of four arrays")
    W_x, W_h, W, b = (np.asarray(a, float) for a in given)
    shapes, wanted = [a.shape for a in (W_x, W_h, W, b)], [(C, 3 * H), (H, 2 * H), (H, H), (3 * H,)]
    expect(shapes == wanted, f"{name} gave arrays of {shapes}, expected {wanted}")
    return W_x, W_h, W, b


def _same(answer: Answer, seed: int, C: int, H: int) -> None:
    weights, rng = _weights(seed, C, H), np.random.default_rng(seed)
    turned = _four(answer.keeping(*weights), "keeping", C, H)
    x, h = rng.normal(size=(3, C)), rng.normal(size=(3, H))
    close(_step(turned, x, h, keeps=True), _step(weights, x, h), "the new state by z h + (1 - z) h̃")


def _untouched(answer: Answer, seed: int, C: int, H: int) -> None:
    weights = _weights(seed, C, H)
    copies = [a.copy() for a in weights]
    answer.keeping(*copies)
    for name, a, copy in zip(NAMES, weights, copies, strict=True):
        expect(np.array_equal(a, copy), f"keeping wrote into {name}")


# ---- 11.3 ----------------------------------------------------------------------------------------------------------------------------


def _apart(weights: Arrays, x: Any, h: Any) -> float:
    return float(np.abs(_step(weights, x, h) - _step(weights, x, h, after=True)).max())


def _differ(answer: Answer) -> None:
    apart = _apart(_four(answer.differ(), "differ()", 1, 2), np.ones(1), np.ones(2))
    expect(apart > 0.5, f"at h = (1, 1) and x = 1 the two new states are {apart:.3g} apart, expected more than 0.5")


def _no_zero(answer: Answer) -> None:
    for name, a in zip(NAMES, _four(answer.agree(), "agree()", 1, 2), strict=True):
        expect(bool(a.all()), f"{name} of agree() holds a 0")


def _agree(answer: Answer, seed: int) -> None:
    weights, rng = _four(answer.agree(), "agree()", 1, 2), np.random.default_rng(seed)
    x, h = rng.normal(size=1), rng.normal(size=2)
    apart = _apart(weights, x, h)
    expect(apart < 1e-9, f"at h = {h.round(2).tolist()} and x = {x.round(2).tolist()} the two new states are {apart:.2g} apart")


# ---- 11.4 ----------------------------------------------------------------------------------------------------------------------------


def _wrong(zs: Any, us: Any) -> float:
    dh = 0.0
    for z, u in reversed(list(zip(zs, us, strict=True))):
        dh = (dh + u) * z
    return float(dh)


def _right(zs: Any, us: Any) -> float:
    first = Tensor(0.0, requires_grad=True)
    h, L = first, Tensor(0.0)
    for z, u in zip(zs, us, strict=True):
        h = float(1 - z) * h + float(z) * 0.3
        L = L + float(u) * h
    return float(grad(L, first))


def _mended(answer: Answer, seed: int, T: int) -> None:
    rng = np.random.default_rng(seed)
    zs, us = rng.random(T), rng.normal(size=T)
    close(answer.mended(zs, us), np.asarray(_right(zs, us)), "mended(zs, us)")


def _unnoticed(answer: Answer, seed: int) -> None:
    zs = np.asarray(answer.unnoticed(), float)
    expect(zs.ndim == 1 and len(zs) >= 3, f"unnoticed() has shape {zs.shape}, expected (T,) with T >= 3")
    expect(bool(((zs > 0) & (zs < 1)).all()), f"unnoticed() gave {zs.tolist()}, expected numbers between 0 and 1, and neither of them")
    us = np.random.default_rng(seed).normal(size=len(zs))
    off = abs(_wrong(zs, us) - _right(zs, us))
    expect(off < 1e-9, f"on unnoticed(), and us = {us.round(2).tolist()}, the wrong program is off by {off:.2g}")


SEED = {"seed": st.integers(0, 99)}
SIZES = SEED | {"C": st.integers(1, 3), "H": st.integers(1, 3)}
EXERCISES = (
    Exercise(
        "11.1",
        "gru_step(x, h, W_x, W_h, W, b): a step by hand",
        ("gru_step",),
        (
            Property(
                "the new state is the course's",
                _by_hand,
                "Which part of W_x and b belongs to which gate? And is it r h that meets W, or h?",
                SIZES | {"N": st.integers(1, 3)},
            ),
            Property("with z closed, the state stays", _closed, "What does z = 0 mean in the course's last line?", SEED),
        ),
        examples=30,
    ),
    Exercise(
        "11.2",
        "keeping(W_x, W_h, W, b): another convention",
        ("keeping",),
        (
            Property("the other cell computes the same new state", _same, "1 - σ(a) is σ of what? Which columns make z?", SIZES),
            Property("the arguments are left as they were", _untouched, "Does W[...] *= -1 write into the caller's array?", SIZES),
        ),
        examples=30,
    ),
    Exercise(
        "11.3",
        "differ() and agree(): before and after",
        ("differ", "agree"),
        (
            Property(
                "with differ(), the new states are far apart",
                _differ,
                "Open z wide, and make one reset gate 1 and the other 0. Large biases do that.",
            ),
            Property("no number in agree() is 0", _no_zero, "A diagonal W would do it, but is not allowed."),
            Property("with agree(), the new states are the same everywhere", _agree, "What if both reset gates are always equal?", SEED),
        ),
    ),
    Exercise(
        "11.4",
        "mended and unnoticed(): find the bug",
        ("mended", "unnoticed"),
        (
            Property(
                "mended gives the derivative with respect to the first state",
                _mended,
                "How does h_(t-1) move h_t, in the equation of this exercise?",
                SEED | {"T": st.integers(1, 5)},
            ),
            Property("the wrong program is right on unnoticed(), for all us", _unnoticed, "What is σ(0)?", SEED),
        ),
        examples=30,
    ),
)
