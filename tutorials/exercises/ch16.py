"""Exercises of chapter 16: writing text."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import cross_entropy
from tutorials.exercise import Answer, Exercise, Property, close, expect


@functools.cache
def _texts() -> tuple[str, str]:
    """A text whose verbs agree with what stands four characters and more before them, to learn from, and more of its kind."""
    rng = np.random.default_rng(7)
    pairs = [("i", "am"), ("you", "are"), ("it", "is")]
    words = ["now", "not", "so", "too"]

    def drawn(sentences: int) -> str:
        out = []
        for _ in range(sentences):
            who, verb = pairs[rng.integers(3)]
            out.append(f"{who} {words[rng.integers(4)]} {verb}. ")
        return "".join(out)

    return drawn(180), drawn(8)


def _counting_bits(text: str, held: str, k: int, alpha: float = 0.05) -> float:
    V = len(set(text))
    pairs = Counter(text[i : i + k + 1] for i in range(len(text) - k))
    contexts = Counter(text[i : i + k] for i in range(len(text) - k))
    p = [(pairs[held[i - k : i + 1]] + alpha) / (contexts[held[i - k : i]] + alpha * V) for i in range(3, len(held))]
    return float(-np.log2(p).mean())


@functools.cache
def _learned(learn: Callable[..., Any]) -> tuple[Callable[[str], Any], float]:
    text, _ = _texts()
    began = time.process_time()
    predict = learn(text, np.random.default_rng(0))
    expect(callable(predict), f"learn gave {type(predict).__name__}, expected a function of a prefix")
    return predict, time.process_time() - began


def _probabilities(answer: Answer) -> None:
    predict, seconds = _learned(answer.learn)
    symbols = sorted(set(_texts()[0]))
    for prefix in ("i", "you no", "it so is. "):
        p = np.asarray(predict(prefix))
        expect(p.shape == (len(symbols),), f"predict({prefix!r}) has shape {p.shape}, expected (V,) = ({len(symbols)},)")
        expect(p.dtype.kind == "f" and bool((p >= 0).all()), f"predict({prefix!r}) holds a negative number, or something that is no number")
        expect(abs(float(p.sum()) - 1) < 1e-5, f"predict({prefix!r}) sums to {p.sum():.6f}, expected 1")
    expect(seconds < 15, f"learn took {seconds:.0f} seconds of computing, expected about five at most")


def _likelier(answer: Answer) -> None:
    predict, _ = _learned(answer.learn)
    text, held = _texts()
    symbols = sorted(set(text))
    p = [float(np.asarray(predict(held[:i]))[symbols.index(held[i])]) for i in range(3, len(held))]
    bits = float(-np.log2(np.maximum(p, 1e-30)).mean())
    best = min(_counting_bits(text, held, k) for k in (1, 2, 3))
    expect(bits < best, f"on held-out text it needs {bits:.2f} bits per character, and counting with contexts of 1 to 3 needs {best:.2f}")


def _writes(answer: Answer) -> None:
    symbols, read = "ab", []

    def predict(prefix: str) -> Any:
        read.append(prefix)
        return np.array([1.0, 0.0]) if prefix[-1] == "b" else np.array([0.0, 1.0])

    text = answer.write(predict, symbols, "aab", 6, np.random.default_rng(0))
    expect(text == "aabababab", f"write gave {text!r} with a predict that only allows b after a and a after b, expected 'aabababab'")
    expect(all("aabababab".startswith(prefix) for prefix in read), "predict was asked about something else than what is written so far")


def _draws(answer: Answer) -> None:
    text = answer.write(lambda prefix: np.array([0.75, 0.25]), "ab", "a", 2000, np.random.default_rng(0))
    share = text.count("b") / len(text)
    expect(0.2 < share < 0.3, f"of 2,000 characters, b with the probability 0.25, a share of {share:.2f} is b")


def _bits(answer: Answer, T: int, N: int, V: int, seed: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    scores, targets = rng.normal(size=(T, N, V)) * scale, rng.integers(0, V, (T, N))
    right = np.asarray(cross_entropy(scores, targets)) / np.log(2)
    close(answer.bits(scores, targets), right, "bits(scores, targets)")


def _uniform(answer: Answer, V: int, shift: int) -> None:
    found = answer.bits(np.full((2, 3, V), float(shift)), np.zeros((2, 3), int))
    close(found, np.asarray(np.log2(V)), f"bits of {V} equal scores of {shift}")


def _mean_price(answer: Answer) -> None:
    scores = np.log(np.array([[[0.5, 0.25, 0.25]], [[0.25, 0.25, 0.5]]]))
    close(answer.bits(scores, np.array([[0], [1]])), np.asarray(1.5), "bits of characters of the probabilities 1/2 and 1/4")


_NUMBERS = st.lists(st.integers(1, 9), min_size=2, max_size=4)


def _normal(numbers: list[int]) -> Any:
    return np.array(numbers) / sum(numbers)


def _sums(answer: Answer, numbers: list[int], temperature: float) -> None:
    q = np.asarray(answer.tempered(_normal(numbers), temperature))
    expect(q.shape == (len(numbers),), f"tempered gave the shape {q.shape}, expected ({len(numbers)},)")
    expect(abs(float(q.sum()) - 1) < 1e-9, f"tempered sums to {q.sum()}, expected 1")


def _ratios(answer: Answer, numbers: list[int], temperature: float) -> None:
    p = _normal(numbers)
    q = np.asarray(answer.tempered(p, temperature))
    close(q[1:] / q[:-1], (p[1:] / p[:-1]) ** (1 / temperature), "each quotient of neighbours", rtol=1e-6)


def _cold(answer: Answer) -> None:
    with np.errstate(all="raise", under="ignore"):
        close(answer.tempered(np.array([0.5, 0.3, 0.2]), 1e-4), np.array([1.0, 0.0, 0.0]), "tempered at 0.0001")


def _shares(answer: Answer, numbers: list[int]) -> None:
    p, steps = _normal(numbers), 20 * sum(numbers)
    drawn = [int(answer.draw(p, (i + 0.5) / steps)) for i in range(steps)]
    expect(drawn == sorted(drawn), "a larger u drew a smaller index")
    counts = np.bincount(np.array(drawn).clip(0), minlength=len(p))
    close(counts / steps, p, "the share of each index over all u")


def _ends(answer: Answer) -> None:
    p = np.full(10, 0.1)
    expect(int(answer.draw(p, 0.0)) == 0, f"draw(p, 0.0) gave {answer.draw(p, 0.0)}, expected 0")
    last = np.nextafter(1.0, 0.0)
    expect(int(answer.draw(p, last)) == 9, f"draw of ten equal p at u = {last!r} gave {answer.draw(p, last)}, expected 9")


def _wrong_pieces(ids: Any, N: int, T: int) -> list[tuple[Any, Any]]:
    each = (len(ids) - 1) // N
    xs, ys = ids[: each * N].reshape(each, N), ids[1 : each * N + 1].reshape(each, N)
    return [(xs[t : t + T], ys[t : t + T]) for t in range(0, each, T)]


def _columns(answer: Answer, n: int, N: int, T: int) -> tuple[Any, Any]:
    pairs = answer.mended(np.arange(n), N, T)
    expect(isinstance(pairs, list) and bool(pairs), "mended gave no list of pairs, or an empty one")
    for x, y in pairs:
        shapes = np.shape(x), np.shape(y)
        expect(shapes[0] == shapes[1] and len(shapes[0]) == 2 and shapes[0][1] == N, f"a pair has shapes {shapes}, expected two (T, {N})")
        expect(1 <= shapes[0][0] <= T, f"a pair has {shapes[0][0]} steps, expected at most T = {T}")
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def _follow(answer: Answer, n: int, N: int, T: int) -> None:
    xs, _ = _columns(answer, n, N, T)
    for k in range(N):
        expect(bool((np.diff(xs[:, k]) == 1).all()), f"of the text 0, 1, 2, ... stream {k} reads {xs[:, k].tolist()}")


def _next(answer: Answer, n: int, N: int, T: int) -> None:
    xs, ys = _columns(answer, n, N, T)
    expect(np.array_equal(ys, xs + 1), "a target is not the character after its input")


def _all(answer: Answer, n: int, N: int, T: int) -> None:
    xs, _ = _columns(answer, n, N, T)
    each = (n - 1) // N
    expect(xs.size == each * N, f"{xs.size} characters are read, expected {each * N}")
    expect(len(np.unique(xs)) == xs.size, "a character is read twice")


def _harmless(answer: Answer, n: int, T: int) -> None:
    N = answer.harmless()
    expect(isinstance(N, int) and N >= 1, f"harmless() gave {N!r}, expected a number of streams")
    for x, _ in _wrong_pieces(np.arange(max(n, N + 1)), N, T):
        expect(bool((np.diff(x, axis=0) == 1).all()), f"with {N} streams the wrong program reads {x[:, 0].tolist()} in one column")


_TEMPERED = {"numbers": _NUMBERS, "temperature": st.sampled_from([0.5, 1, 2, 4])}
_TEXT = {"n": st.integers(9, 40), "N": st.integers(1, 4), "T": st.integers(1, 5)}
EXERCISES = (
    Exercise(
        "16.1",
        "learn(text, rng) and write(...): a network that writes (the course's 11.1)",
        ("learn", "write"),
        (
            Property(
                "write adds what predict says to the prompt",
                _writes,
                "Ask predict about all that is written so far, add the character drawn, and ask again.",
            ),
            Property("write draws, and does not take the likeliest", _draws, "rng.choice takes probabilities as p."),
            Property(
                "predict gives probabilities of the next character",
                _probabilities,
                "Of the scores (T, N, V), which are about the next character? And what makes scores probabilities?",
            ),
            Property(
                "held-out text is likelier than under contexts of 1, 2 and 3 characters",
                _likelier,
                "Are the targets the inputs, one later? Is the state handed on? 100 batches of 8 x 32 suffice an LSTM of 32.",
            ),
        ),
        seconds=60,
    ),
    Exercise(
        "16.2",
        "bits(scores, targets): bits per character",
        ("bits",),
        (
            Property(
                "V equal scores cost log2 V",
                _uniform,
                "A softmax of equal scores is 1/V. Which logarithm counts bits?",
                {"V": st.integers(2, 9), "shift": st.integers(-3, 3)},
            ),
            Property("it is the mean of -log2 p", _mean_price, "Prices are averaged, not probabilities."),
            Property(
                "it is the cross-entropy in bits, for large scores too",
                _bits,
                "exp(1000) is infinite. What may be subtracted from all scores without changing a probability?",
                {name: st.integers(1, 3) for name in ("T", "N")}
                | {"V": st.integers(2, 4), "seed": st.integers(0, 99), "scale": st.sampled_from([1, 10, 10_000])},
            ),
        ),
    ),
    Exercise(
        "16.3",
        "tempered(p, temperature) and draw(p, u)",
        ("tempered", "draw"),
        (
            Property(
                "probabilities sum to 1", _sums, "Divide by the sum.", {"numbers": _NUMBERS, "temperature": st.sampled_from([0.5, 1, 2])}
            ),
            Property(
                "p_i / p_j becomes its power 1 / temperature",
                _ratios,
                "The scores behind probabilities are their logarithms. What does dividing a logarithm do to the number?",
                _TEMPERED,
            ),
            Property("very cold, the likeliest is left", _cold, "0.5 ** 10000 is 0. What can be made 1 before the power is taken?"),
            Property(
                "index i comes in a share p_i of the cases",
                _shares,
                "Lay the probabilities end to end from 0 to 1. Into which of them does u fall?",
                {"numbers": _NUMBERS},
            ),
            Property("the ends are drawn as well", _ends, "0.1 added ten times is a little less than 1. Into what does the last u fall?"),
        ),
    ),
    Exercise(
        "16.4",
        "mended(ids, N, T) and harmless(): find the bug",
        ("mended", "harmless"),
        (
            Property(
                "down a stream the characters follow each other",
                _follow,
                "What stands below a number after reshape(each, N)? And where would the next character of the same stream have to be?",
                _TEXT,
            ),
            Property("the target is the next character", _next, "The targets are cut like the inputs, beginning one later.", _TEXT),
            Property("N streams of equal length, each read once", _all, "Each stream has (len(ids) - 1) // N characters.", _TEXT),
            Property(
                "with harmless() streams the wrong program is right",
                _harmless,
                "When does it not matter which axis is time?",
                {"n": st.integers(9, 40), "T": st.integers(1, 5)},
            ),
        ),
    ),
)
