"""Exercises of chapter 14: encoder and decoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from models.recurrent import unroll
from models.rnn import RNNCell
from models.seq2seq import Decoder, Seq2Seq
from tinygrad_seq import Tensor, cross_entropy, no_grad
from tutorials.exercise import Answer, Exercise, Property, close, expect

# ---- 14.1 ----------------------------------------------------------------------------------------------------------------------------


def _targets(seed: int, T: int, N: int, V: int) -> Any:
    return np.random.default_rng(seed).integers(0, V + 1, (T, N))


def _shape(answer: Answer, seed: int, T: int, N: int, V: int) -> None:
    targets = _targets(seed, T, N, V)
    found = np.asarray(answer.shifted(targets, V))
    expect(found.shape == (T, N), f"shifted(...) has shape {found.shape}, expected that of the targets, {(T, N)}")
    expect(found.dtype.kind in "iu", f"shifted(...) holds {found.dtype}, expected whole numbers")


def _first(answer: Answer, seed: int, T: int, N: int, V: int) -> None:
    found = np.asarray(answer.shifted(_targets(seed, T, N, V), V))
    expect(bool((found[0] == V).all()), f"at the first step shifted(...) reads {found[0]}, expected the sign, {V}")


def _before(answer: Answer, seed: int, T: int, N: int, V: int) -> None:
    targets = _targets(seed, T, N, V)
    close(answer.shifted(targets, V)[1:], targets[:-1], "shifted(targets, end)[1:]")


def _kept(answer: Answer, seed: int, T: int, N: int, V: int) -> None:
    targets = _targets(seed, T, N, V)
    answer.shifted(targets, V)
    close(targets, _targets(seed, T, N, V), "after shifted(targets, end) the array of targets")


# ---- 14.2 ----------------------------------------------------------------------------------------------------------------------------

Language = Callable[[tuple[int, ...]], Any]


def _language(seed: int, V: int) -> Language:
    """A distribution of the next symbol for each beginning, drawn from the seed and the beginning alone."""

    def log_p(prefix: tuple[int, ...]) -> Any:
        p = np.random.default_rng([seed, 7, *(int(s) + 1 for s in prefix)]).dirichlet(np.full(V + 1, 0.7))
        return np.log(p + 1e-12)

    return log_p


def _log_p(language: Language, sequence: tuple[int, ...], limit: int) -> float:
    total = sum(float(language(sequence[:t])[s]) for t, s in enumerate(sequence))
    return total + (float(language(sequence)[-1]) if len(sequence) < limit else 0.0)


def _found(answer: Answer, language: Language, V: int, limit: int, width: int) -> tuple[tuple[int, ...], float]:
    found = answer.beam(language, limit, width)
    expect(isinstance(found, tuple) and len(found) == 2, f"beam(...) gave {found!r}, expected a tuple of symbols, and a number")
    sequence = tuple(int(s) for s in found[0])
    expect(all(0 <= s < V for s in sequence), f"beam(...) gave {sequence}, expected symbols from 0 to {V - 1}, without the end")
    expect(len(sequence) <= limit, f"beam(...) gave {len(sequence)} symbols, expected at most {limit}")
    return sequence, float(found[1])


def _says_what_it_is(answer: Answer, seed: int, V: int, limit: int, width: int) -> None:
    language = _language(seed, V)
    sequence, log_p = _found(answer, language, V, limit, width)
    close(log_p, np.asarray(_log_p(language, sequence, limit)), f"the log-probability that beam(...) says {sequence} has")


def _greedy(answer: Answer, seed: int, V: int, limit: int) -> None:
    language, right = _language(seed, V), tuple[int, ...]()
    while len(right) < limit and (best := int(np.argmax(language(right)))) < V:
        right = (*right, best)
    found = _found(answer, language, V, limit, 1)[0]
    expect(found == right, f"beam of width 1 gave {found}, and the likeliest symbol at each step gives {right}")


def _exhaustive(answer: Answer, seed: int, V: int, limit: int) -> None:
    language = _language(seed, V)
    every = [s for n in range(limit + 1) for s in itertools.product(range(V), repeat=n)]
    right = max(every, key=lambda s: _log_p(language, s, limit))
    found = _found(answer, language, V, limit, (V + 1) ** limit)[0]
    p, best = (_log_p(language, s, limit) for s in (found, right))
    expect(found == right, f"the widest beam gave {found}, of log p {p:.3f}, and {right} has {best:.3f}")


def _counts(answer: Answer) -> None:
    asked = 0
    language = _language(0, 3)

    def counted(prefix: tuple[int, ...]) -> Any:
        nonlocal asked
        asked += 1
        return language(prefix) - 3.0 * np.array([0, 0, 0, 1])  # it seldom ends

    _found(answer, counted, 3, 30, 2)
    expect(asked <= 2 * 30, f"beam(..., limit=30, width=2) asked for {asked} distributions, expected at most two a step")


# ---- 14.3 ----------------------------------------------------------------------------------------------------------------------------


def _mended(answer: Answer, seed: int, T: int, N: int, V: int) -> None:
    rng = np.random.default_rng(seed)
    model = Seq2Seq(RNNCell(V, 3, rng=rng, dtype=np.float64), Decoder(RNNCell, V, 3, rng=rng, dtype=np.float64), rng=rng, dtype=np.float64)
    xs = rng.integers(0, V, (T, N))
    ys = np.concatenate([rng.integers(0, V, (T, N)), np.full((1, N), V)])

    def read(xs: Any, inputs: Any) -> Tensor:
        return model.decoder.scores(unroll(model.decoder, inputs, model.encode(xs)).outputs)

    close(answer.mended(read, xs, ys, V), model.loss(xs, ys).numpy(), "mended(...)")


def _copycat(answer: Answer, seed: int, V: int) -> None:
    matrices = answer.copycat(V)
    expect(isinstance(matrices, (tuple, list)) and len(matrices) == 2, f"copycat({V}) gave {type(matrices).__name__}, expected W_x and W_y")
    W_x, W_y = (np.asarray(W, float) for W in matrices)
    for W in (W_x, W_y):
        expect(W.shape == (V + 1, V + 1), f"copycat({V}) gave a matrix of shape {W.shape}, expected {(V + 1, V + 1)}")
    ys = _targets(seed, 4, 3, V)
    loss = cross_entropy(np.tanh(W_x[ys]) @ W_y, ys)
    expect(float(loss) < 0.01, f"the bad loss of copycat({V}) is {float(loss):.3f}, expected less than 0.01")


# ---- 14.4 ----------------------------------------------------------------------------------------------------------------------------


def _strings(rng: np.random.Generator) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    every = list(itertools.product(range(5), repeat=3))
    order = rng.permutation(len(every))
    return [every[i] for i in order[25:]], [every[i] for i in order[:25]]


def _reverses(answer: Answer) -> None:
    known, unseen = _strings(np.random.default_rng(14))
    model = answer.trained(list(known), np.random.default_rng(4))
    expect(isinstance(model, Seq2Seq), f"trained(...) gave {type(model).__name__}, expected a Seq2Seq")
    expect(model.decoder.symbols == 5, f"its decoder knows {model.decoder.symbols} symbols, expected 5 and the sign")
    for name, strings, enough in (("known", known, 90), ("unseen", unseen, 15)):
        with no_grad():
            written = model.decoder.greedy(model.encode(np.array(strings).T), 5).sequences()
        right = sum(tuple(a) == s[::-1] for a, s in zip(written, strings, strict=True))
        example = f"{strings[0]} becomes {tuple(map(int, written[0]))}"
        expect(right >= enough, f"{right} of {len(strings)} {name} strings come out reversed, expected at least {enough}; {example}")


_SIZES = {"seed": st.integers(0, 99), "T": st.integers(1, 4), "N": st.integers(1, 3), "V": st.integers(1, 4)}
_BEAMS = {"seed": st.integers(0, 99), "V": st.integers(1, 3), "limit": st.integers(1, 3)}
EXERCISES = (
    Exercise(
        "14.1",
        "shifted(targets, end): shift",
        ("shifted",),
        (
            Property("the result has the shape of the targets", _shape, "The decoder reads as many symbols as it writes.", _SIZES),
            Property("the first that it reads is the sign", _first, "Nothing has been written before the first step.", _SIZES),
            Property("then it reads what it should have written the step before", _before, "Which target is never read?", _SIZES),
            Property("the targets are left as they were", _kept, "Does the function write into the array that it was given?", _SIZES),
        ),
    ),
    Exercise(
        "14.2",
        "beam(log_p, limit, width): a beam",
        ("beam",),
        (
            Property(
                "the answer has the log-probability that it says",
                _says_what_it_is,
                "The end is a symbol like the others; an answer that is cut off at the limit has none.",
                _BEAMS | {"width": st.integers(1, 3)},
            ),
            Property("of width 1 it is greedy", _greedy, "Of all continuations of the one beginning, the best is kept.", _BEAMS),
            Property(
                "as wide as there are answers it finds the best of all",
                _exhaustive,
                "An answer that has ended competes with those that go on, until the last step.",
                _BEAMS,
            ),
            Property("it asks for one distribution for each beginning that it keeps", _counts, "What is dropped is not continued."),
        ),
    ),
    Exercise(
        "14.3",
        "mended(read, xs, ys, end) and copycat(V): find the bug",
        ("mended", "copycat"),
        (
            Property(
                "mended is the loss of a decoder that has not yet seen what it is to write",
                _mended,
                "What stands in the decoder's input at the step at which it writes ys[t]?",
                _SIZES,
            ),
            Property(
                "the copycat's bad loss is below 0.01",
                _copycat,
                "It has only to say again what it reads. How large must the right score be, beside the others?",
                {"seed": st.integers(0, 99), "V": st.integers(1, 6)},
            ),
        ),
        examples=30,
    ),
    Exercise(
        "14.4",
        "trained(known, rng): reverse (the course's exercise 11.4)",
        ("trained",),
        (
            Property(
                "the network reverses the strings that it learned from, and most of those that it never saw",
                _reverses,
                "Targets are the strings backwards, and the sign. Does the loss come near 0?",
            ),
        ),
    ),
)
