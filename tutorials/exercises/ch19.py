"""Exercises of chapter 19: leaving."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.convert import load_torch, to_torch
from models.gru import GRUCell
from tutorials.exercise import Answer, Exercise, Property, close, expect

State = dict[str, Any]


def _state(seed: int, C: int, H: int) -> State:
    """A state of nn.GRU in which both biases hold numbers."""
    rng = np.random.default_rng(seed)
    state = to_torch(GRUCell(C, H, reset_after=True, rng=rng, dtype=np.float64))
    return {name: rng.normal(size=a.shape) for name, a in state.items()}


def _outputs(state: State, xs: Any) -> Any:
    return load_torch(state, "gru")(xs).outputs.numpy()


def _shape(answer: Answer, seed: int, T: int, N: int, C: int, H: int) -> None:
    found = np.shape(answer.gru(_state(seed, C, H), np.ones((T, N, C))))
    expect(found == (T, N, H), f"gru(state, xs) has shape {found}, expected (T, N, H) = {(T, N, H)}")


def _gru(answer: Answer, seed: int, T: int, N: int, C: int, H: int) -> None:
    state, xs = _state(seed, C, H), np.random.default_rng(seed).normal(size=(T, N, C))
    close(answer.gru(state, xs), _outputs(state, xs), "gru(state, xs)")


def _names(answer: Answer, seed: int, C: int, H: int) -> None:
    state = _state(seed, C, H)
    copy = {name: a.copy() for name, a in state.items()}
    found = answer.one_bias(state)
    expect(isinstance(found, dict), f"one_bias gave {type(found).__name__}, expected a dict")
    shapes = {name: np.shape(a) for name, a in found.items()}
    expect(shapes == {name: a.shape for name, a in copy.items()}, f"one_bias gave {shapes}, expected the names and shapes of the state")
    expect(all(np.array_equal(state[name], a) for name, a in copy.items()), "one_bias wrote into the state that it was given")


def _same(answer: Answer, seed: int, C: int, H: int) -> None:
    state, xs = _state(seed, C, H), np.random.default_rng(seed).normal(size=(3, 2, C))
    close(_outputs(answer.one_bias(state), xs), _outputs(state, xs), "what the layer computes")


def _zeros(answer: Answer, seed: int, C: int, H: int) -> None:
    second = np.asarray(answer.one_bias(_state(seed, C, H))["bias_hh_l0"])
    expect(not second[: 2 * H].any(), f"of the second bias, {np.count_nonzero(second[: 2 * H])} of r's and z's {2 * H} numbers are not 0")


def _by_loops(x: Any, W_q: Any, W_k: Any, W_v: Any) -> Any:
    out = np.zeros((len(x), W_v.shape[1]))
    for t in range(len(x)):
        scores = np.array([(x[t] @ W_q) @ (x[s] @ W_k) for s in range(t + 1)]) / np.sqrt(W_k.shape[1])
        e = np.exp(scores - scores.max())
        for s in range(t + 1):
            out[t] += e[s] / e.sum() * (x[s] @ W_v)
    return out


def _attention(seed: int, T: int, C: int, D: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(T, C)), *(rng.normal(size=(C, D)) for _ in range(3))


def _causal(answer: Answer, seed: int, T: int, C: int, D: int) -> None:
    arguments = _attention(seed, T, C, D)
    close(answer.causal(*arguments), _by_loops(*arguments), "causal(x, W_q, W_k, W_v)")


def _future(answer: Answer, seed: int, T: int, C: int, D: int) -> None:
    x, *weights = _attention(seed, T + 1, C, D)
    changed = np.concatenate([x[:-1], x[-1:] + 1])
    before, after = (np.asarray(answer.causal(a, *weights)) for a in (x, changed))
    close(after[:-1], before[:-1], "the outputs before the last, when the last input changes,")


def _large(answer: Answer, seed: int) -> None:
    x, *weights = _attention(seed, 3, 2, 2)
    close(answer.causal(100 * x, *weights), _by_loops(100 * x, *weights), "causal of inputs a hundred times as large")


def _quick(answer: Answer) -> None:
    arguments = _attention(0, 500, 8, 8)
    began = time.process_time()
    answer.causal(*arguments)
    expect(time.process_time() - began < 1, "500 positions took over a second; which products do all of them at once?")


def _leaky(scores: Any) -> Any:
    scores = np.where(np.tri(len(scores), dtype=bool), scores, 0.0)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _leak(answer: Answer) -> None:
    scores = np.asarray(answer.leak(), float)
    expect(scores.shape == (3, 3), f"leak() has shape {scores.shape}, expected (3, 3)")
    seen = float(_leaky(scores)[0, 1:].sum())
    expect(seen > 0.9, f"the first row gives {seen:.2f} to later positions, expected more than 0.9")


def _weights(answer: Answer, seed: int, T: int, scale: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(T, T)) * scale
    right = np.zeros((T, T))
    for t in range(T):
        e = np.exp(scores[t, : t + 1] - scores[t, : t + 1].max())
        right[t, : t + 1] = e / e.sum()
    close(answer.weights(scores), right, "weights(scores)")


_SEED = {"seed": st.integers(0, 99)}
_LAYER = _SEED | {name: st.integers(1, 3) for name in ("C", "H")}
_RUN = _LAYER | {name: st.integers(1, 3) for name in ("T", "N")}
_LOOK = _SEED | {name: st.integers(1, 3) for name in ("T", "C", "D")}
EXERCISES = (
    Exercise(
        "19.1",
        "gru(state, xs): somebody else's layer",
        ("gru",),
        (
            Property("the result has the shape (T, N, H)", _shape, "Their matrices are for columns: which of them is transposed?", _RUN),
            Property(
                "it computes the equations",
                _gru,
                "The reset is multiplied to a product and its bias, not to the state. And which of z and 1 - z keeps the past?",
                _RUN,
            ),
        ),
    ),
    Exercise(
        "19.2",
        "one_bias(state): one bias or two",
        ("one_bias",),
        (
            Property("the names and shapes stay, and the state given is as it was", _names, "Make a new dict, of new arrays.", _LAYER),
            Property(
                "the layer computes the same",
                _same,
                "In the equations, which two biases are only ever seen as a sum? And which one is multiplied by r first?",
                _LAYER,
            ),
            Property("the second bias is 0 where it can be", _zeros, "The biases of r and of z are added to each other.", _LAYER),
        ),
    ),
    Exercise(
        "19.3",
        "causal(x, W_q, W_k, W_v): a layer without a loop",
        ("causal",),
        (
            Property(
                "what comes later changes nothing before it", _future, "Which scores must have no weight? And what is exp(-inf)?", _LOOK
            ),
            Property(
                "each output is the weighted sum of what it may see",
                _causal,
                "Scores are divided by the root of D before the softmax, and the softmax is over what is looked at.",
                _LOOK,
            ),
            Property("large inputs give numbers", _large, "What may be subtracted from a row of scores?", _SEED),
            Property("it is quick", _quick, "q @ k.T holds all scores."),
        ),
    ),
    Exercise(
        "19.4",
        "leak() and weights(scores): find the bug",
        ("leak", "weights"),
        (
            Property("the wrong program looks ahead", _leak, "Against what does the score 0 win?"),
            Property(
                "weights are a softmax over what may be seen, and exactly 0 elsewhere",
                _weights,
                "Which score has the weight 0, whatever the others are? And is the largest score one that may be seen?",
                _SEED | {"T": st.integers(1, 4), "scale": st.sampled_from([1, 30, 3000])},
            ),
        ),
    ),
)
