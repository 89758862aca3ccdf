"""Exercises of chapter 9: vanishing and exploding gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.memory_tasks import LastState
from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq import Tensor, cross_entropy, grad
from tinygrad_seq.ledger import norms
from tutorials.exercise import Answer, Exercise, Property, close, expect

# ---- 9.1 -----------------------------------------------------------------------------------------------------------------------------


def _run(seed: int, T: int, H: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(H, H)), np.tanh(rng.normal(size=(T, H)))


def _steps_back(W_h: Any, hs: Any) -> list[Any]:
    """The matrix of each step, a gradient as a row times which is the gradient one step before; the last step first."""
    return [(1 - h * h)[:, None] * W_h.T for h in hs[:0:-1]]


def _three(answer: Answer, W_h: Any, hs: Any) -> list[Any]:
    found = answer.bounds(W_h, hs)
    expect(isinstance(found, (tuple, list)) and len(found) == 3, f"bounds gave {type(found).__name__}, expected a tuple of three numbers")
    return [np.asarray(number, float) for number in found]


def _true(answer: Answer, seed: int, T: int, H: int) -> None:
    W_h, hs = _run(seed, T, H)
    found = _three(answer, W_h, hs)
    gradients = np.random.default_rng(seed).normal(size=(100, H))
    g = gradients
    for step in _steps_back(W_h, hs):
        g = g @ step
    grown = float((np.linalg.norm(g, axis=1) / np.linalg.norm(gradients, axis=1)).max())
    for which, number in zip(("first", "second", "third"), found, strict=True):
        expect(grown <= number * (1 + 1e-9), f"a gradient became {grown:.4g} times as long, and the {which} bound is {number:.4g}")


def _bound(which: int) -> Any:
    def holds(answer: Answer, seed: int, T: int, H: int) -> None:
        W_h, hs = _run(seed, T, H)
        steps, product = _steps_back(W_h, hs), np.eye(H)
        for step in steps:
            product = product @ step
        right = (
            np.linalg.norm(W_h, 2) ** (T - 1),
            np.prod([np.linalg.norm(step, 2) for step in steps]),
            np.linalg.norm(product, 2),
        )
        close(_three(answer, W_h, hs)[which], right[which], f"the {('first', 'second', 'third')[which]} of bounds(W_h, hs), T = {T},")

    return holds


# ---- 9.2 -----------------------------------------------------------------------------------------------------------------------------


def _matrix(W: Any, name: str) -> Any:
    W = np.asarray(W, float)
    expect(W.shape == (2, 2), f"{name}() has a W_h of shape {W.shape}, expected (2, 2)")
    expect(bool(np.isfinite(W).all()), f"{name}() has a W_h that is not finite")
    return W


def _sizes(W: Any) -> Any:
    return np.abs(np.linalg.eigvals(W))


def _small(answer: Answer) -> None:
    sizes = _sizes(_matrix(answer.grows(), "grows"))
    expect(sizes.max() <= 0.5 + 1e-6, f"the eigenvalues of grows() have sizes up to {sizes.max():.3g}, expected at most 0.5")


def _grown(answer: Answer) -> None:
    most = np.linalg.norm(np.linalg.matrix_power(_matrix(answer.grows(), "grows"), 5), 2)
    expect(bool(most > 10), f"after five steps back no gradient is more than {most:.3g} times as long")


def _pair(answer: Answer) -> tuple[Any, Any]:
    pair = answer.fades()
    expect(isinstance(pair, tuple) and len(pair) == 2, f"fades() gave a {type(pair).__name__}, expected W_h and b")
    b = np.asarray(pair[1], float)
    expect(b.shape == (2,), f"fades() has a b of shape {b.shape}, expected (2,)")
    return _matrix(pair[0], "fades"), b


def _large(answer: Answer) -> None:
    sizes = _sizes(_pair(answer)[0])
    expect(sizes.min() >= 2 - 1e-6, f"an eigenvalue of fades() has size {sizes.min():.3g}, expected at least 2")


def _faded(answer: Answer) -> None:
    W_h, b = _pair(answer)
    h, hs = np.zeros(2), []
    for _ in range(21):
        h = np.tanh(h @ W_h + b)
        hs.append(h)
    product = np.eye(2)
    for step in _steps_back(W_h, np.array(hs)):
        product = product @ step
    left = np.linalg.norm(product, 2)
    expect(bool(left < 1e-6), f"some gradient keeps {left:.1e} of its length over twenty steps")


# ---- 9.3 -----------------------------------------------------------------------------------------------------------------------------


def _gradients(seed: int, count: int, size: float) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [size * rng.normal(size=(rng.integers(1, 3), rng.integers(1, 3))) for _ in range(count)]


def _length(arrays: Any) -> float:
    return float(np.linalg.norm(np.concatenate([np.ravel(a) for a in arrays])))


def _clipped(answer: Answer, gradients: list[Any], max_norm: float) -> list[Any]:
    found = answer.clip(gradients, max_norm)
    expect(isinstance(found, list), f"clip gave a {type(found).__name__}, expected a list")
    shapes = [np.shape(a) for a in gradients]
    expect([np.shape(a) for a in found] == shapes, f"clip gave arrays of {[np.shape(a) for a in found]}, expected {shapes}")
    return [np.asarray(a, float) for a in found]


def _short_enough(answer: Answer, seed: int, count: int, size: float) -> None:
    length = _length(_clipped(answer, _gradients(seed, count, size), 1.0))
    expect(length <= 1 + 1e-9, f"the arrays together have length {length:.6g}, expected at most max_norm = 1")


def _one_factor(answer: Answer, seed: int, count: int, size: float) -> None:
    gradients = _gradients(seed, count, size)
    factor = min(1.0, 1.0 / _length(gradients))
    for i, (found, g) in enumerate(zip(_clipped(answer, gradients, 1.0), gradients, strict=True)):
        close(found, factor * g, f"clip(gradients, 1.0)[{i}], for a length of {_length(gradients):.6g},")


def _zeros(answer: Answer) -> None:
    with np.errstate(all="raise"):
        (found,) = _clipped(answer, [np.zeros((2, 2))], 1.0)
    expect(not found.any(), f"clip of zeros gave {found.tolist()}")


def _untouched(answer: Answer, seed: int, count: int, size: float) -> None:
    gradients = _gradients(seed, count, size)
    copies = [g.copy() for g in gradients]
    _clipped(answer, copies, 1.0)
    expect(all(np.array_equal(a, b) for a, b in zip(gradients, copies, strict=True)), "clip wrote into an array that it was given")


# ---- 9.4 -----------------------------------------------------------------------------------------------------------------------------


def _right_norms(model: Any, xs: Any, targets: Any) -> Any:
    run = unroll(model.cell, xs)
    return norms(cross_entropy(model.answer(run.last), targets), run)["h"]


def _measured(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    rng = np.random.default_rng(seed)
    model = LastState("rnn", 3, H, 2, rng=rng, dtype=np.float64)
    xs, targets = rng.integers(0, 3, (T, N)), rng.integers(0, 2, N)
    close(answer.measure(model, xs, targets), _right_norms(model, xs, targets), "measure(model, xs, targets)", rtol=1e-5)


def _demonstrated(answer: Answer) -> Any:
    given = answer.demonstrate()
    expect(isinstance(given, tuple) and len(given) == 3, "demonstrate() gave no tuple of a model, xs and targets")
    model, xs, targets = given
    right_kind = isinstance(model, LastState) and isinstance(model.cell, RNNCell)
    expect(right_kind, f"the model is a {type(model).__name__}, expected a LastState with a vanilla RNN")
    expect(len(xs) >= 50, f"xs has {len(xs)} steps, expected at least 50")
    return _right_norms(model, xs, targets)


def _vanishes(answer: Answer) -> None:
    left = _demonstrated(answer)
    share = left[0] / left[-1]
    expect(share > 0, "nothing at all arrives at the first step; is W_h 0, or a number too small for float32?")
    expect(share < 1e-6, f"at the first step {share:.1e} of the gradient arrives, expected less than a millionth")


def _straight(answer: Answer) -> None:
    left = _demonstrated(answer)
    logarithm = np.log(left / left[-1])
    steps = np.arange(len(left))
    rest = logarithm - np.polyval(np.polyfit(steps, logarithm, 1), steps)
    share = float(np.sqrt((rest**2).mean()) / logarithm.std())
    expect(share < 0.2, f"the logarithm is {100 * share:.0f} % of its spread away from a straight line, expected less than 20 %")


# ---- 9.5 -----------------------------------------------------------------------------------------------------------------------------


def _clipped_inside(xs: Any, us: Any, W_x: Any, W_h: Any, b: Any) -> Any:
    states = [np.zeros((xs.shape[1], len(W_h)))]
    for x in xs:
        states.append(np.tanh(states[-1] @ W_h + x @ W_x + b))
    dW_h, dh = np.zeros_like(W_h), np.zeros_like(states[0])
    for t in reversed(range(len(xs))):
        dz = (us[t] + dh) * (1 - states[t + 1] ** 2)
        dW_h += states[t].T @ dz
        dh = np.clip(dz @ W_h.T, -1, 1)
    return dW_h


def _five(answer: Answer) -> list[Any]:
    given = answer.turned()
    expect(isinstance(given, tuple) and len(given) == 5, "turned() gave no tuple of xs, us, W_x, W_h and b")
    arrays = [np.asarray(a, float) for a in given]
    xs, us, W_x, W_h, b = arrays
    expect(xs.ndim == 3 and us.ndim == 3, f"xs and us have shapes {xs.shape} and {us.shape}, expected (T, N, C) and (T, N, H)")
    (T, N, C), H = xs.shape, us.shape[2]
    shapes, wanted = [a.shape for a in (us, W_x, W_h, b)], [(T, N, H), (C, H), (H, H), (H,)]
    expect(shapes == wanted, f"us, W_x, W_h and b have shapes {shapes}, expected {wanted}")
    return arrays


def _turned(answer: Answer) -> None:
    xs, us, W_x, W_h, b = arrays = _five(answer)
    cell = RNNCell(W_x.shape[0], len(b), rng=np.random.default_rng(0), dtype=np.float64)
    assert cell.b is not None
    cell.W_x.data, cell.W_h.data, cell.b.data = W_x, W_h, b
    right, wrong = grad((unroll(cell, Tensor(xs)).outputs * us).sum(), cell.W_h), _clipped_inside(*arrays)
    expect(bool(right.any() and wrong.any()), "one of the two gradients of W_h is 0, and has no direction")
    cosine = float((right * wrong).sum() / np.linalg.norm(right) / np.linalg.norm(wrong))
    expect(cosine < -1e-6, f"it points {np.degrees(np.arccos(min(1.0, cosine))):.0f} degrees away from the right gradient")


SEED = {"seed": st.integers(0, 99)}
RUN = SEED | {"T": st.integers(1, 6), "H": st.integers(1, 4)}
LISTS = SEED | {"count": st.integers(1, 3), "size": st.sampled_from([0.01, 0.5, 3.0])}
EXERCISES = (
    Exercise(
        "9.1",
        "bounds(W_h, hs): three bounds",
        ("bounds",),
        (
            Property("no gradient grows beyond any of the three", _true, "Eigenvalues bound nothing. Which norm of a matrix does?", RUN),
            Property("the first is a power of the largest singular value of W_h", _bound(0), "How many steps lie between T states?", RUN),
            Property(
                "the second multiplies the largest singular values of the steps",
                _bound(1),
                "The matrix of a step has the slopes in it. Which states give the slopes: the one the gradient comes from, or goes to?",
                RUN,
            ),
            Property("the third is met by some gradient", _bound(2), "All steps together are one matrix. In which order?", RUN),
        ),
        examples=20,
    ),
    Exercise(
        "9.2",
        "grows() and fades(): matrices that mislead",
        ("grows", "fades"),
        (
            Property("the eigenvalues of grows() are at most 0.5 in size", _small, "Those of a triangular matrix stand on its diagonal."),
            Property("some gradient grows more than tenfold in five steps", _grown, "What may stand beside the diagonal is up to you."),
            Property("the eigenvalues of fades() are at least 2 in size", _large, "Those of a triangular matrix stand on its diagonal."),
            Property("no gradient survives twenty steps", _faded, "Where are the slopes of tanh small? How do all units get there?"),
        ),
    ),
    Exercise(
        "9.3",
        "clip(gradients, max_norm): clip by hand",
        ("clip",),
        (
            Property("together they are at most max_norm long", _short_enough, "What is the length of several arrays together?", LISTS),
            Property("all are multiplied by one number, which is never above 1", _one_factor, "What happens to a short gradient?", LISTS),
            Property("zeros stay zeros", _zeros, "What do you divide by?"),
            Property("what is given stays as it is", _untouched, "Does g *= ... write into the caller's array?", LISTS),
        ),
    ),
    Exercise(
        "9.4",
        "measure(model, xs, targets) and demonstrate(): vanishing, shown (the course's exercise 11.2)",
        ("measure", "demonstrate"),
        (
            Property(
                "measure gives the lengths of dL/dh_t",
                _measured,
                "Keep the states, and ask for the gradient of each. With N sequences, the length is over all of them together.",
                SEED | {"T": st.integers(1, 4), "N": st.integers(1, 3), "H": st.integers(1, 3)},
            ),
            Property("less than a millionth arrives, and not nothing", _vanishes, "What does the usual start of an RNN do in fifty steps?"),
            Property("each step takes about the same share", _straight, "What changes from step to step? Nothing should but the symbols."),
        ),
        examples=30,
    ),
    Exercise(
        "9.5",
        "turned(): find the bug",
        ("turned",),
        (
            Property(
                "clipping inside turns the gradient by more than 90 degrees",
                _turned,
                "What is clipped are the contributions of early steps. Let them be large, and say the opposite of the late ones.",
            ),
        ),
    ),
)
