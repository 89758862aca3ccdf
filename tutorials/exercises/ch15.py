"""Exercises of chapter 15: attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import softmax
from tutorials.exercise import Answer, Exercise, Property, close, expect

Arguments = tuple[Any, Any, Any]


def _drawn(seed: int, N: int, S: int, K: int, E: int, scale: float = 1.0) -> Arguments:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, K)) * scale, rng.normal(size=(N, S, K)), rng.normal(size=(N, S, E))


def _right(queries: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    weights = softmax(np.einsum("nsk,nk->ns", keys, queries), axis=1)
    return np.einsum("ns,nse->ne", weights, values), weights


def _pair(found: Any, what: str) -> tuple[Any, Any]:
    expect(isinstance(found, tuple) and len(found) == 2, f"{what} gave {type(found).__name__}, expected a tuple of contexts and weights")
    return np.asarray(found[0]), np.asarray(found[1])


# ---- 15.1 and 15.2 -------------------------------------------------------------------------------------------------------------------


def _shapes(answer: Answer, **sizes: int) -> None:
    contexts, weights = _pair(answer.attend(*_drawn(**sizes)), "attend(...)")
    N, S, E = sizes["N"], sizes["S"], sizes["E"]
    expect(contexts.shape == (N, E), f"the contexts have shape {contexts.shape}, expected (N, E) = {(N, E)}")
    expect(weights.shape == (N, S), f"the weights have shape {weights.shape}, expected (N, S) = {(N, S)}")


def _sums(answer: Answer, **sizes: int) -> None:
    _, weights = _pair(answer.attend(*_drawn(**sizes)), "attend(...)")
    expect(bool((weights >= 0).all()), "a weight is negative")
    close(weights.sum(axis=1), np.ones(sizes["N"]), "the sum of the weights of each sequence")


def _attends(answer: Answer, **sizes: int) -> None:
    arguments = _drawn(**sizes)
    for name, found, right in zip(("contexts", "weights"), answer.attend(*arguments), _right(*arguments), strict=True):
        close(found, right, f"of attend(...), the {name}")


def _large(answer: Answer, **sizes: int) -> None:
    arguments = _drawn(**sizes, scale=1000.0)
    with np.errstate(all="ignore"):
        found = answer.attend(*arguments)
    close(found[0], _right(*arguments)[0], "with scores of about 1,000, the contexts")


def _alone(answer: Answer, seed: int, N: int, S: int, K: int, E: int, holds: float) -> None:
    queries, keys, values = _drawn(seed, N, S, K, E)
    lengths = np.random.default_rng(seed).integers(1, S + 1, N)
    for n, length in enumerate(lengths):
        keys[n, length:] = values[n, length:] = holds
    contexts, weights = _pair(answer.attend_within(queries, keys, values, lengths), "attend_within(...)")
    for n, length in enumerate(lengths):
        context, weight = _right(queries[n : n + 1], keys[n : n + 1, :length], values[n : n + 1, :length])
        close(contexts[n], context[0], f"the context of sequence {n}, of which {length} of {S} steps are real,")
        close(weights[n, :length], weight[0], f"its weights in attend_within(...), sequence {n},")
        expect(bool((weights[n, length:] == 0).all()), f"padding of sequence {n} has the weights {weights[n, length:]}, expected 0")


# ---- 15.3 ----------------------------------------------------------------------------------------------------------------------------


def _dot(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    weights = softmax(keys @ query)
    return weights @ values, weights


def _additive(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    weights = softmax(np.tanh(keys + query).sum(axis=1))
    return weights @ values, weights


def _equal(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    return values.mean(axis=0), np.full(len(keys), 1 / len(keys))


def _placed(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    weights = softmax(keys @ query - np.arange(len(keys)))
    return weights @ values, weights


def _not_the_last(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    weights = softmax(keys @ query - 1e9 * (np.arange(len(keys)) == len(keys) - 1) * (len(keys) > 1))
    return weights @ values, weights


def _sorted_weights(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    context, weights = _dot(query, keys, values)
    return context, np.sort(weights)


def _shuffled_values(query: Any, keys: Any, values: Any) -> tuple[Any, Any]:
    weights = softmax(keys @ query)
    return weights @ values[::-1], weights


Attend = Callable[[Any, Any, Any], tuple[Any, Any]]


def _says(answer: Answer, attend: Attend, K: int, E: int, right: bool) -> None:
    said = answer.sees_order(attend, K, E)
    expect(isinstance(said, (bool, np.bool_)), f"sees_order(...) gave {said!r}, expected True or False")
    sees = "sees" if right else "does not see"
    expect(bool(said) == right, f"sees_order(attend, {K}, {E}) says {said} of an attention that {sees} the order: {attend.__name__[1:]}")


def _blind(answer: Answer, K: int, E: int) -> None:
    for attend in (_dot, _additive, _equal):
        _says(answer, attend, K, E, False)


def _in_context(answer: Answer, K: int, E: int) -> None:
    for attend in (_placed, _not_the_last):
        _says(answer, attend, K, E, True)


def _in_one_of_them(answer: Answer, K: int, E: int) -> None:
    for attend in (_sorted_weights, _shuffled_values):
        _says(answer, attend, K, E, True)


# ---- 15.4 ----------------------------------------------------------------------------------------------------------------------------


def _given(answer: Answer, name: str) -> tuple[Arguments, tuple[Any, Any], tuple[Any, Any]]:
    given = getattr(answer, name)()
    expect(isinstance(given, tuple) and len(given) == 3, f"{name}() gave {type(given).__name__}, expected queries, keys and values")
    queries, keys, values = (np.asarray(a, float) for a in given)
    expect(queries.ndim == 2 and keys.ndim == 3 and values.ndim == 3, f"{name}(): expected arrays of 2, 3 and 3 axes")
    (N, K), S = queries.shape, keys.shape[1]
    expect(keys.shape == (N, S, K) and values.shape[:2] == (N, S), f"{name}() gave {queries.shape}, {keys.shape}, {values.shape}")
    expect(N >= 2 and S >= 2, f"{name}() gave {N} sequences of {S} steps, expected at least two of both")
    weights = softmax(np.einsum("nsk,nk->ns", keys, queries), axis=0)
    bad = np.einsum("ns,nse->ne", weights, values), weights
    return (queries, keys, values), bad, _right(queries, keys, values)


def _unnoticed(answer: Answer) -> None:
    _, bad, right = _given(answer, "unnoticed")
    for name, a, b in zip(("contexts", "weights"), bad, right, strict=True):
        close(a, b, f"with the arrays of unnoticed() the {name} of bad_attend")


def _noticed(answer: Answer) -> None:
    (queries, _, _), (_, weights), (_, right) = _given(answer, "noticed")
    close(weights.sum(axis=1), np.ones(len(queries)), "with the arrays of noticed() the sum of bad_attend's weights in each sequence")
    expect(not np.allclose(weights, right, atol=1e-3), "with the arrays of noticed() the weights of bad_attend are right")


_SIZES = {"seed": st.integers(0, 99)} | {name: st.integers(1, 3) for name in ("N", "S", "K", "E")}
_TWO = {"K": st.integers(1, 3), "E": st.integers(1, 3)}
EXERCISES = (
    Exercise(
        "15.1",
        "attend(queries, keys, values): attention by hand",
        ("attend",),
        (
            Property("contexts and weights have their shapes", _shapes, "A score is one number for each sequence and step.", _SIZES),
            Property(
                "the weights of each sequence are positive and sum to 1", _sums, "Over which axis are they divided by their sum?", _SIZES
            ),
            Property("weights are the softmax of dot products, contexts their sums", _attends, "For one it is keys @ query.", _SIZES),
            Property("large scores do no harm", _large, "The softmax stays the same when the largest score is taken from all.", _SIZES),
        ),
    ),
    Exercise(
        "15.2",
        "attend_within(queries, keys, values, lengths): padding",
        ("attend_within",),
        (
            Property(
                "each sequence gets what it would get alone, and padding no weight",
                _alone,
                "Where is the last moment at which a step can be left out and the others still sum to 1?",
                _SIZES | {"holds": st.sampled_from([0.0, 1.0, -50.0, 1e6])},
            ),
        ),
    ),
    Exercise(
        "15.3",
        "sees_order(attend, K, E): does it see the order?",
        ("sees_order",),
        (
            Property("False for dot, additive and equal weights", _blind, "Sums in another order differ in the last digit.", _TWO),
            Property("True where scores depend on the place", _in_context, "Did you try a memory of several steps?", _TWO),
            Property(
                "True where only the weights, or only the context, give it away",
                _in_one_of_them,
                "There are two things to compare: the context with itself, the weights with the shuffled weights.",
                _TWO,
            ),
        ),
        examples=15,
    ),
    Exercise(
        "15.4",
        "unnoticed() and noticed(): find the bug",
        ("unnoticed", "noticed"),
        (
            Property(
                "with the first, bad_attend is right",
                _unnoticed,
                "When all scores are equal, what are the weights along either axis?",
            ),
            Property(
                "with the second, its weights sum to 1 and are wrong",
                _noticed,
                "A matrix of weights whose rows and columns both sum to 1: two sequences, two steps, and scores that mirror each other. "
                "They have to be wrong as well: add something to all scores of one step.",
            ),
        ),
    ),
)
