"""Exercises of chapter 18: making it fast."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st

from tutorials.exercise import Answer, Exercise, Property, close, expect


class Watched(np.ndarray):
    """An array that counts the calls of NumPy's ufuncs on it and on what is made of it."""

    calls: ClassVar[Counter[str]] = Counter()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
        Watched.calls[ufunc.__name__] += 1
        if out is not None:
            settings["out"] = tuple(o.view(np.ndarray) if isinstance(o, Watched) else o for o in out)
        result = getattr(ufunc, method)(*(x.view(np.ndarray) if isinstance(x, Watched) else x for x in inputs), **settings)
        return result.view(Watched) if isinstance(result, np.ndarray) else result


def _counted(function: Any, *arguments: Any) -> Counter[str]:
    Watched.calls.clear()
    function(*(a.view(Watched) for a in arguments))
    return Counter(Watched.calls)


def _network(seed: int, T: int, N: int, C: int, H: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(T, N, C)), rng.normal(size=(H + C, H)), rng.normal(size=H)


def _states(xs: Any, W: Any, b: Any) -> Any:
    h, states = np.zeros((xs.shape[1], W.shape[1])), []
    for x in xs:
        h = np.tanh(np.concatenate([h, x], axis=1) @ W + b)
        states.append(h)
    return np.array(states)


def _hoisted(answer: Answer, seed: int, T: int, N: int, C: int, H: int) -> None:
    arguments = _network(seed, T, N, C, H)
    close(answer.hoisted(*arguments), _states(*arguments), "hoisted(xs, W, b)")


def _products(answer: Answer, T: int) -> None:
    found = _counted(answer.hoisted, *_network(0, T, 2, 3, 4))["matmul"]
    expect(1 <= found <= T + 1, f"for T = {T} steps it takes {found} products by @, expected from 1 to {T + 1}")


def _stacks(seed: int, T: int, N: int, H: int, D: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(T, N, H)), rng.normal(size=(T, N, D))


def _summed(answer: Answer, seed: int, T: int, N: int, H: int, D: int) -> None:
    hs, gs = _stacks(seed, T, N, H, D)
    right = sum((h.T @ g for h, g in zip(hs, gs, strict=True)), np.zeros((H, D)))
    close(answer.summed(hs, gs), right, "summed(hs, gs)")


def _one(answer: Answer) -> None:
    hs, gs = _stacks(0, 5, 2, 3, 4)
    calls, flat = _counted(answer.summed, hs, gs), _widest(answer, hs, gs)
    expect(calls["matmul"] == 1, f"for five steps it takes {calls['matmul']} products by @, expected one")
    expect(not flat, "the product is of stacks of five matrices, which is five products and a sum")


def _widest(answer: Answer, hs: Any, gs: Any) -> bool:
    """Whether a product is taken of arrays of more than two axes."""

    class Deep(Watched):
        deep = False

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
            Deep.deep |= ufunc is np.matmul and any(np.ndim(x) > 2 for x in inputs)
            return super().__array_ufunc__(ufunc, method, *inputs, out=out, **settings)

    answer.summed(hs.view(Deep), gs.view(Deep))
    return Deep.deep


def _gates(answer: Answer, seed: int, N: int, H: int) -> None:
    z = np.random.default_rng(seed).normal(size=(N, 4 * H))
    right = np.concatenate([1 / (1 + np.exp(-z[:, : 3 * H])), np.tanh(z[:, 3 * H :])], axis=1)
    close(answer.gates(z), right, "gates(z)")


def _saturated(answer: Answer) -> None:
    with np.errstate(all="raise", under="ignore"):
        close(answer.gates(np.array([[-1e4, 0.0, 1e4, 1e4]])), np.array([[0.0, 0.5, 1.0, 1.0]]), "gates of -10000, 0, 10000, 10000")


def _one_tanh(answer: Answer) -> None:
    calls = _counted(answer.gates, np.ones((2, 8)))
    expect(calls["tanh"] == 1, f"np.tanh was called {calls['tanh']} times, expected once")
    expect(not calls["exp"] + calls["expm1"] + calls["exp2"], "np.exp was called")


def _untouched(answer: Answer) -> None:
    z = np.ones((2, 8))
    answer.gates(z)
    expect(bool((z == 1).all()), "gates wrote into z")


def _run(seed: int, T: int, N: int, H: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return np.tanh(rng.normal(size=(T, N, H))), rng.normal(size=(T, N, H)), rng.normal(size=(H, H))


def _all_dz(hs: Any, us: Any, W_h: Any) -> Any:
    found, dh = np.empty_like(hs), np.zeros_like(hs[0])
    for t in reversed(range(len(hs))):
        found[t] = (us[t] + dh) * (1 - hs[t] ** 2)
        dh = found[t] @ W_h.T
    return found


def _wrong(hs: Any, us: Any, W_h: Any) -> Any:
    dz, dh, all_dz = np.empty_like(hs[0]), np.zeros_like(hs[0]), []
    for h, u in zip(hs[::-1], us[::-1], strict=True):
        np.multiply(u + dh, 1 - h * h, out=dz)
        all_dz.append(dz)
        dh = dz @ W_h.T
    return np.array(all_dz[::-1])


def _mended(answer: Answer, seed: int, T: int, N: int, H: int) -> None:
    arguments = _run(seed, T, N, H)
    copies = [a.copy() for a in arguments]
    close(answer.mended(*copies), _all_dz(*arguments), "mended(hs, us, W_h)")
    for name, a, b in zip(("hs", "us", "W_h"), arguments, copies, strict=True):
        expect(np.array_equal(a, b), f"mended wrote into {name}")


def _unnoticed(answer: Answer, seed: int) -> None:
    T = answer.unnoticed()
    expect(isinstance(T, int) and T >= 1, f"unnoticed() gave {T!r}, expected a number of steps")
    arguments = _run(seed, T, 2, 2)
    close(_wrong(*arguments), _all_dz(*arguments), f"what the wrong program gives for {T} steps")


_SEED = {"seed": st.integers(0, 99)}
_SMALL = st.integers(1, 3)
EXERCISES = (
    Exercise(
        "18.1",
        "hoisted(xs, W, b): out of the loop",
        ("hoisted",),
        (
            Property(
                "each state is tanh(W [h, x] + b)",
                _hoisted,
                "Which rows of W does h meet, and which x?",
                _SEED | dict.fromkeys(("T", "N", "C", "H"), _SMALL),
            ),
            Property("it takes at most T + 1 products", _products, "The products of all x are one: xs @ W_x.", {"T": st.integers(2, 6)}),
        ),
    ),
    Exercise(
        "18.2",
        "summed(hs, gs): one product",
        ("summed",),
        (
            Property(
                "it is the sum of the products of each step",
                _summed,
                "The sum is over t and over n. Can both be one axis?",
                _SEED | dict.fromkeys(("T", "N", "H", "D"), _SMALL),
            ),
            Property("it takes one product of two matrices", _one, "Reshape to (T N, H) and (T N, D)."),
        ),
    ),
    Exercise(
        "18.3",
        "gates(z): one tanh",
        ("gates",),
        (
            Property(
                "three quarters are sigmoid, the last is tanh",
                _gates,
                "Of what is the sigmoid's tanh taken, and what is done with the result?",
                _SEED | dict.fromkeys(("N", "H"), _SMALL),
            ),
            Property("it holds for large numbers", _saturated, "tanh of a large number is 1, and no step on the way is larger."),
            Property("np.tanh is called once", _one_tanh, "Halve three quarters of z first, then take one tanh of all."),
            Property("z is left as it was", _untouched, "Does z *= ... write into the caller's array?"),
        ),
    ),
    Exercise(
        "18.4",
        "mended(hs, us, W_h) and unnoticed(): find the bug",
        ("mended", "unnoticed"),
        (
            Property(
                "the t-th array is dz of step t",
                _mended,
                "How many arrays are in the list all_dz, and how many different ones?",
                _SEED | dict.fromkeys(("T", "N", "H"), _SMALL),
            ),
            Property("for that many steps the wrong one is right", _unnoticed, "When is the last array written also the only one?", _SEED),
        ),
    ),
)
