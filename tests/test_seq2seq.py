"""Encoder, decoder and attention: against formulas by hand, brute force over all sequences, and each other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bidirectional import Bidirectional
from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import unroll
from models.rnn import RNNCell
from models.seq2seq import AdditiveDecoder, Decoder, DotDecoder, Seq2Seq, counted, padded
from models.stacked import stacked
from tinygrad_seq import Tensor, cross_entropy, grad, log_softmax
from tinygrad_seq.check import check_gradients

V, H, S, N = 4, 3, 6, 3
END = V
RNG = np.random.default_rng(0)
KINDS: dict[str, Any] = {"plain": Decoder, "additive": AdditiveDecoder, "dot": DotDecoder}


def network(kind: str = "plain", cell: Any = LSTMCell, encoder: str = "one", seed: int = 0) -> Seq2Seq:
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {"rng": rng, "dtype": np.float64}
    reader: Any = cell(V, H, **made)
    if encoder == "both":
        reader = Bidirectional(reader, cell(V, H, **made))
    if encoder == "stacked":
        reader = stacked(cell, V, H, layers=2, bidirectional=True, **made)
    memory = H if encoder == "one" else 2 * H
    decoder = KINDS[kind](cell, V, H, **made) if kind == "plain" else KINDS[kind](cell, V, H, memory=memory, **made)
    return Seq2Seq(reader, decoder, **made)


def source(seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return padded([rng.integers(0, V, n) for n in (S, 2, 4)])


TARGETS = np.array([[1, 0, 3], [2, END, 3], [END, END, 0]])


@pytest.mark.parametrize("encoder", ["one", "both", "stacked"])
@pytest.mark.parametrize("cell", [RNNCell, LSTMCell, GRUCell])
@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_is_each_sequence_alone(kind: str, cell: Any, encoder: str) -> None:
    net = network(kind, cell, encoder)
    xs, lengths = source()
    together = net(xs, TARGETS, lengths).numpy()
    xs[lengths[1] :, 1] = -7  # whatever the padding holds
    np.testing.assert_array_equal(net(xs, TARGETS, lengths).numpy(), together)
    for n, length in enumerate(lengths):
        alone = net(xs[:length, n : n + 1], TARGETS[:, n : n + 1]).numpy()
        np.testing.assert_allclose(together[:, n : n + 1], alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_whole_model_are_those_of_the_complex_step(kind: str) -> None:
    net = network(kind, GRUCell, "both")
    xs, lengths = padded([np.array([1, 3, 0]), np.array([2])])
    targets, weights = TARGETS[:2, :2], np.random.default_rng(2).normal(size=(2, 2, V + 1))
    report = check_gradients(lambda weights: (net(xs, targets, lengths) * weights).sum(), weights, parameters=net, float32=False)
    assert "complex" in str(report)


def test_the_additive_decoder_computes_the_formulas_of_its_docstring() -> None:
    net = network("additive", RNNCell)
    d, xs = net.decoder, source()[0]
    assert isinstance(d, AdditiveDecoder)
    w = {name: a.astype(float) for name, a in d.state_dict().items()}
    m = unroll(net.encoder, xs).outputs.numpy()  # type: ignore[arg-type]
    h, expected, symbol = m[-1], [], np.full(N, END)
    for t in range(len(TARGETS)):
        e = np.einsum("snk,k->sn", np.tanh(h @ w["W_a"] + m @ w["U_a"]), w["v"])
        alpha = np.exp(e) / np.exp(e).sum(axis=0)
        context = (alpha[..., None] * m).sum(axis=0)
        h = np.tanh(w["cell.W_x"][symbol] + w["cell.b"] + context @ w["W_c"] + h @ w["cell.W_h"])
        expected.append(np.concatenate([h, context], axis=-1) @ w["W_y"] + w["b_y"])
        symbol = TARGETS[t]
    np.testing.assert_allclose(net(xs, TARGETS).numpy(), expected, rtol=1e-12)


def test_the_dot_decoder_computes_the_formulas_of_its_docstring() -> None:
    net = network("dot", RNNCell)
    xs, w = source()[0], dict(net.decoder.state_dict())
    m = unroll(net.encoder, xs).outputs.numpy()  # type: ignore[arg-type]
    h, expected, symbol = m[-1], [], np.full(N, END)
    for t in range(len(TARGETS)):
        h = np.tanh(w["cell.W_x"][symbol] + w["cell.b"] + h @ w["cell.W_h"])
        e = (m @ w["W_a"] * h).sum(axis=-1)
        alpha = np.exp(e) / np.exp(e).sum(axis=0)
        context = (alpha[..., None] * m).sum(axis=0)
        expected.append(np.tanh(np.concatenate([context, h], axis=-1) @ w["W_c"]) @ w["W_y"] + w["b_y"])
        symbol = TARGETS[t]
    np.testing.assert_allclose(net(xs, TARGETS).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_attention_is_a_distribution_over_what_is_not_padding(kind: str) -> None:
    net = network(kind, GRUCell, "both")
    xs, lengths = source()
    looked = net.decoder.greedy(net.encode(xs, lengths), 5).attention
    assert looked is not None
    np.testing.assert_allclose(looked.sum(axis=-1), 1, rtol=1e-12)
    for n, length in enumerate(lengths):
        assert (looked[:, n, length:] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_counts_and_what_follows_does_not(kind: str) -> None:
    net = network(kind)
    xs, lengths = source()
    other = TARGETS.copy()
    other[2, 1] = 2  # after an end
    assert net.loss(xs, TARGETS, lengths).item() == net.loss(xs, other, lengths).item()
    np.testing.assert_array_equal(counted(TARGETS, END), [[1, 1, 1], [1, 1, 1], [1, 0, 1]])
    alone = [cross_entropy(net(xs[:, n : n + 1][: lengths[n]], TARGETS[:, n : n + 1])[:k], TARGETS[:k, n : n + 1], reduction="sum").item()
             for n, k in enumerate((3, 2, 3))]  # fmt: skip
    assert net.loss(xs, TARGETS, lengths).item() == pytest.approx(sum(alone) / 8, rel=1e-12)


def log_p(net: Seq2Seq, xs: Any, sequence: Any, limit: int) -> float:
    """The log-probability of a sequence and its end, if it fits, by teacher forcing."""
    targets = np.array([*sequence, END][:limit])[:, None]
    p = log_softmax(net(xs, targets)).numpy()
    return float(sum(p[t, 0, y] for t, y in enumerate(targets[:, 0])))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_has_the_probability_that_it_says(kind: str) -> None:
    net = network(kind, seed=3)
    xs, lengths = source()
    state = net.encode(xs, lengths)
    for text in (
        net.decoder.greedy(state, 4),
        net.decoder.sample(state, 4, rng=np.random.default_rng(0)),
        net.decoder.beam(state, 4, width=3),
    ):
        for n, sequence in enumerate(text.sequences()):
            assert text.log_p[n] == pytest.approx(log_p(net, xs[: lengths[n], n : n + 1], sequence, 4), rel=1e-10)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.7]))
def test_a_wide_beam_finds_the_best_of_all_sequences(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    decoder = Decoder(RNNCell, 2, 3, rng=rng, dtype=np.float64)  # two symbols and the end
    decoder.W_y = Tensor(3 * decoder.W_y.numpy(), requires_grad=True)
    state = decoder.initial_state(1)
    every = [s for n in range(3) for s in itertools.product(range(2), repeat=n)]  # at most 2 symbols and the end: 7 sequences

    def score(sequence: Any) -> float:
        targets = np.array([*sequence, 2][:2])[:, None]
        p = log_softmax(decoder.forced(targets, state)).numpy()
        return float(sum(p[t, 0, y] for t, y in enumerate(targets[:, 0]))) / ((5 + len(targets)) / 6) ** alpha

    best = max(every, key=score)
    assert tuple(decoder.beam(state, 2, width=3, alpha=alpha).sequences()[0]) == best


def test_a_beam_of_one_is_greedy_and_a_wider_one_is_no_worse() -> None:
    net = network("dot", seed=5)
    state = net.encode(*source())
    greedy, one = net.decoder.greedy(state, 6), net.decoder.beam(state, 6, width=1)
    np.testing.assert_array_equal(greedy.symbols, one.symbols)
    np.testing.assert_allclose(greedy.log_p, one.log_p, rtol=1e-12)


def test_samples_follow_the_probabilities() -> None:
    decoder = Decoder(GRUCell, 2, 4, rng=np.random.default_rng(0), dtype=np.float64)
    text = decoder.sample(decoder.initial_state(4000), 1, rng=np.random.default_rng(1), temperature=2.0)
    p = np.exp(log_softmax(decoder.forced(np.zeros((1, 1), int), decoder.initial_state(1)).numpy()[0, 0] / 2))
    counts = np.bincount(text.symbols[0], minlength=3) / 4000
    np.testing.assert_allclose(counts, p, atol=4 * np.sqrt(0.25 / 4000))


def test_scheduled_sampling_reads_the_truth_or_what_it_wrote() -> None:
    net, rng = network("additive"), np.random.default_rng(0)
    xs, lengths = source()
    state = net.encode(xs, lengths)
    forced = net.decoder.forced(TARGETS, state).numpy()
    np.testing.assert_allclose(net.decoder.mixed(TARGETS, state, teacher=1.0, rng=rng).numpy(), forced, rtol=1e-12)
    free = net.decoder.mixed(TARGETS, state, teacher=0.0, rng=rng).numpy()
    written = free.argmax(axis=-1)
    np.testing.assert_allclose(free, net.decoder.forced(written, state).numpy(), rtol=1e-12)


def test_a_decoder_starts_from_a_single_vector_and_sends_it_a_gradient() -> None:
    decoder = Decoder(LSTMCell, V, H, rng=np.random.default_rng(0), dtype=np.float64)
    vector = Tensor(np.full((N, H), 0.3), requires_grad=True)
    state = decoder.begin(decoder.cell.initial_state(N)._replace(h=vector))  # type: ignore[attr-defined]
    assert np.abs(grad(cross_entropy(decoder.forced(TARGETS, state), TARGETS), vector)).min() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, state: net.decoder.beam(state, 3, width=6), "width=6, expected from 1 to 5"),
        (lambda net, state: net.decoder.beam(state, 3, width=0), "width=0"),
        (lambda net, state: net.decoder.greedy(state, 0), "at least one"),
        (lambda net, state: net.decoder.sample(state, 3, rng=np.random.default_rng(0), temperature=0), "temperature=0"),
        (lambda net, state: net(np.zeros((2, 3), int), TARGETS, teacher=0.5), "give rng"),
        (lambda net, state: net.decoder.mixed(TARGETS, state, teacher=1.5, rng=np.random.default_rng(0)), "probability"),
        (lambda net, state: net(np.zeros((2, 3), int), TARGETS + 1), "expected 0 to 4"),
        (lambda net, state: net(np.zeros((2, 3), int), TARGETS[0]), r"expected integers \(T, N\)"),
        (lambda net, state: net(np.zeros((2, 2), int), TARGETS), "batch of 3"),
        (lambda net, state: Seq2Seq(GRUCell(V, H, rng=RNG), net.decoder, rng=RNG), "cells of one kind"),
        (lambda net, state: DotDecoder(RNNCell, V, H, memory=H, rng=RNG).initial_state(2), "give memory"),
        (lambda net, state: net.decoder.forced(TARGETS, state.cell), "begin"),
        (lambda net, state: padded([]), "no sequences"),
        (lambda net, state: padded([np.array([], int)]), "empty"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    net = network()
    with pytest.raises(ValueError, match=message):
        call(net, net.encode(*source()))
