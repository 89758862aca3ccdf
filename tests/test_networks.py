"""All networks: against the course's listings, the complex step, each sequence run alone, and full backpropagation through time."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bidirectional import Bidirectional
from models.gru import GRU, GRUCell
from models.lstm import LSTM, LSTMCell, LSTMState
from models.recurrent import generate, truncated, unroll, unroll_packed
from models.rnn import RNN, RNNCell
from models.stacked import Stacked, stacked
from tinygrad_seq import Tensor, grad
from tinygrad_seq.check import check_gradients

T, N, C, H = 5, 3, 2, 3
CELLS: dict[str, Any] = {
    "rnn": lambda inputs, rng, **o: RNNCell(inputs, H, rng=rng, dtype=np.float64, **o),
    "lstm": lambda inputs, rng, **o: LSTMCell(inputs, H, rng=rng, dtype=np.float64, **o),
    "gru": lambda inputs, rng, **o: GRUCell(inputs, H, rng=rng, dtype=np.float64, **o),
    "gru-after": lambda inputs, rng, **o: GRUCell(inputs, H, reset_after=True, rng=rng, dtype=np.float64, **o),
}
every_cell = pytest.mark.parametrize("kind", CELLS)


def cell_of(kind: str, inputs: int = C, seed: int = 0, **options: Any) -> Any:
    rng = np.random.default_rng(seed)
    cell = CELLS[kind](inputs, rng, **options)
    for p in cell.parameters():
        p.data = rng.standard_normal(p.shape) / 2  # biases and first states that are not 0
    return cell


def inputs(seed: int = 1, steps: int = T, batch: int = N) -> Any:
    return np.random.default_rng(seed).standard_normal((steps, batch, C))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


# ---- the course's listings -----------------------------------------------------------------------------------------------------------


def test_the_lstm_is_the_listing_of_the_course() -> None:
    cell, xs = cell_of("lstm"), inputs()
    run = unroll(cell, xs)
    W = np.concatenate([cell.W_h.numpy(), cell.W_x.numpy()])  # the listing's input is [h_prev, x]
    Wf, Wi, Wo, Wc = np.split(W, 4, axis=1)
    bf, bi, bo, bc = np.split(cell.b.numpy(), 4)
    for n in range(N):
        h, c = np.zeros(H), np.zeros(H)
        for t in range(T):
            concat = np.concatenate([h, xs[t, n]])
            f, i, o = sigmoid(concat @ Wf + bf), sigmoid(concat @ Wi + bi), sigmoid(concat @ Wo + bo)
            c_tilde = np.tanh(concat @ Wc + bc)
            c = f * c + i * c_tilde
            h = o * np.tanh(c)
            np.testing.assert_allclose(run.states[t].h.numpy()[n], h, rtol=1e-12)
            np.testing.assert_allclose(run.states[t].c.numpy()[n], c, rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_the_gru_is_the_equations_of_the_course(bias: bool) -> None:
    cell, xs = cell_of("gru", bias=bias), inputs()
    run, b = unroll(cell, xs), cell.b.numpy() if bias else np.zeros(3 * H)
    x_r, x_z, x_h = np.split(cell.W_x.numpy(), 3, axis=1)
    h_r, h_z = np.split(cell.W_h.numpy(), 2, axis=1)
    W_r, W_z, W = np.concatenate([h_r, x_r]), np.concatenate([h_z, x_z]), np.concatenate([cell.W.numpy(), x_h])
    for n in range(N):
        h = np.zeros(H)
        for t in range(T):
            hx = np.concatenate([h, xs[t, n]])
            r, z = sigmoid(hx @ W_r + b[:H]), sigmoid(hx @ W_z + b[H : 2 * H])
            h = (1 - z) * h + z * np.tanh(np.concatenate([r * h, xs[t, n]]) @ W + b[2 * H :])
            np.testing.assert_allclose(run.states[t].h.numpy()[n], h, rtol=1e-12)


@pytest.mark.parametrize("network", [RNN, LSTM, GRU])
def test_a_network_is_its_cell_under_a_linear_output(network: Any) -> None:
    net, xs = network(C, H, 4, rng=np.random.default_rng(0), dtype=np.float64), inputs()
    ys, state = net(xs)
    run = unroll(net.cell, xs)
    np.testing.assert_allclose(ys.numpy(), run.outputs.numpy() @ net.W_y.numpy() + net.b_y.numpy(), rtol=1e-13)
    np.testing.assert_array_equal(state.h.numpy(), run.last.numpy())


# ---- gradients of whole models -------------------------------------------------------------------------------------------------------


def checked(run: Any, parameters: Any, *arrays: Any) -> None:
    report = check_gradients(run, *arrays, parameters=parameters, float32=False)
    assert "complex" in str(report)


@every_cell
@pytest.mark.parametrize("how", ["plain", "reverse", "mask", "packed", "steps", "trained state"])
def test_gradients_of_an_unrolled_cell_are_those_of_the_complex_step(kind: str, how: str) -> None:
    cell = cell_of(kind, trainable_state=how == "trained state")
    mask = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1], [1, 0, 0]], bool)
    options: dict[str, Any] = {"reverse": {"reverse": True}, "mask": {"mask": mask}, "steps": {"hoist": False}}.get(how, {})

    def f(xs: Tensor, h: Tensor) -> Tensor:
        state = None if how == "trained state" else cell.initial_state(N)._replace(h=h)
        xs = xs + 0 * h.sum()  # h takes part, also where the state is the trained one
        run = unroll_packed(cell, xs, [4, 2, 1], state) if how == "packed" else unroll(cell, xs, state, **options)
        return run.outputs.sum(axis=0) + 2 * run.last * run.last

    checked(f, cell, inputs(steps=4), inputs(2, H, N)[..., 0].T)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "product"])
@pytest.mark.parametrize("packed", [False, True])
def test_gradients_of_a_stack_in_both_directions_are_those_of_the_complex_step(merge: Any, packed: bool) -> None:
    net = stacked(GRUCell, C, 2, layers=2, bidirectional=True, merge=merge, rng=np.random.default_rng(0), dtype=np.float64)

    def f(xs: Tensor) -> Tensor:
        run = net(xs, lengths=[3, 1, 2], packed=packed)
        return run.outputs.sum(axis=0) + run.last * run.last

    checked(f, net, inputs(steps=3))


# ---- lengths -------------------------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(CELLS)), st.booleans(), st.lists(st.integers(1, T), min_size=1, max_size=4),
    st.sampled_from([np.nan, np.inf, 1e300, 0.0]),
)  # fmt: skip
def test_mask_lengths_and_packing_are_each_sequence_alone_whatever_the_padding_holds(
    kind: str, reverse: bool, lengths: list[int], junk: float
) -> None:
    cell, steps = cell_of(kind), max(lengths)
    mask = np.arange(steps)[:, None] < np.array(lengths)
    clean = inputs(steps=steps, batch=len(lengths))
    u = np.random.default_rng(2).standard_normal((steps, len(lengths), H)) * mask[:, :, None]
    padded = np.where(mask[:, :, None], clean, junk)
    parameters = cell.parameters()
    expected = [np.zeros(p.shape) for p in parameters]
    lasts = []
    for n, length in enumerate(lengths):
        run = unroll(cell, clean[:length, n : n + 1], reverse=reverse)
        loss = (run.outputs * u[:length, n : n + 1]).sum() + (run.last * run.last).sum()
        expected = [a + b for a, b in zip(expected, grad(loss, parameters), strict=True)]
        lasts.append((run.outputs.numpy()[:, 0], run.last.numpy()[0]))
    for run in (
        unroll(cell, padded, mask=mask, reverse=reverse),
        unroll(cell, padded, lengths=lengths, reverse=reverse),
        unroll(cell, Tensor(padded), lengths=lengths, reverse=reverse),
        unroll_packed(cell, padded, lengths, reverse=reverse),
    ):
        for n, (outputs, last) in enumerate(lasts):
            np.testing.assert_allclose(run.outputs.numpy()[: lengths[n], n], outputs, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(run.last.numpy()[n], last, rtol=1e-12, atol=1e-14)
        loss = (run.outputs * u).sum() + (run.last * run.last).sum()
        for a, b in zip(grad(loss, parameters), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@every_cell
def test_outputs_after_the_end_are_the_last_ones_masked_or_packed(kind: str) -> None:
    cell, xs = cell_of(kind), inputs()
    for reverse in (False, True):
        a = unroll(cell, xs, lengths=[2, 5, 3], reverse=reverse).outputs.numpy()
        b = unroll_packed(cell, xs, [2, 5, 3], reverse=reverse).outputs.numpy()
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_symbols_that_do_not_exist_are_fine_as_padding() -> None:
    cell = cell_of("lstm")
    symbols = np.array([[0, 1], [1, -1]])
    a, b = unroll(cell, symbols, lengths=[2, 1]), unroll_packed(cell, symbols, [2, 1])
    np.testing.assert_allclose(a.last.numpy(), b.last.numpy(), rtol=1e-13)


# ---- both directions, stacks ---------------------------------------------------------------------------------------------------------


def test_last_is_each_direction_after_its_last_step_and_the_last_output_is_not() -> None:
    there, back = cell_of("gru"), cell_of("gru", seed=5)
    xs = inputs()
    run = Bidirectional(there, back)(xs)
    alone, reversed_alone = unroll(there, xs), unroll(back, xs[::-1])
    np.testing.assert_allclose(run.last.numpy(), np.concatenate([alone.last.numpy(), reversed_alone.last.numpy()], axis=-1), rtol=1e-13)
    flipped = reversed_alone.outputs.numpy()[::-1]
    np.testing.assert_allclose(run.outputs.numpy(), np.concatenate([alone.outputs.numpy(), flipped], axis=-1), rtol=1e-13)
    assert np.abs(run.outputs.numpy()[-1, :, H:] - run.last.numpy()[:, H:]).max() > 0.01
    np.testing.assert_array_equal(run.state.backward.h.numpy(), run.backward.states[0].h.numpy())


@pytest.mark.parametrize(("merge", "f"), [("sum", np.add), ("mean", lambda a, b: (a + b) / 2), ("product", np.multiply)])
def test_merges_are_what_they_are_called(merge: Any, f: Any) -> None:
    run = Bidirectional(cell_of("rnn"), cell_of("rnn", seed=5), merge=merge)(inputs())
    np.testing.assert_allclose(run.outputs.numpy(), f(run.forward.outputs.numpy(), run.backward.outputs.numpy()), rtol=1e-13)
    np.testing.assert_allclose(run.last.numpy(), f(run.forward.last.numpy(), run.backward.last.numpy()), rtol=1e-13)


def test_a_stack_feeds_outputs_upwards_and_goes_on_from_its_state() -> None:
    low, high, xs = cell_of("lstm"), cell_of("gru", H), inputs()
    net = Stacked([low, high])
    run = net(xs)
    np.testing.assert_allclose(run.outputs.numpy(), unroll(high, unroll(low, xs).outputs).outputs.numpy(), rtol=1e-13)
    first = net(xs[:2])
    np.testing.assert_allclose(net(xs[2:], first.state).last.numpy(), run.last.numpy(), rtol=1e-12)


def test_dropout_acts_between_layers_in_training_only() -> None:
    rng = np.random.default_rng(0)
    net = Stacked([cell_of("rnn"), cell_of("rnn", H)], dropout=0.5, rng=rng)
    xs = inputs()
    assert np.abs(net(xs).outputs.numpy() - net(xs).outputs.numpy()).max() > 0
    assert (net(xs).outputs.numpy() != 0).all()  # nothing is dropped after the highest
    net.eval()
    np.testing.assert_array_equal(net(xs).outputs.numpy(), Stacked(net.layers)(xs).outputs.numpy())


def test_the_forget_gate_starts_open_and_biases_can_be_left_out() -> None:
    rng = np.random.default_rng(0)
    assert (LSTMCell(C, H, rng=rng).b.numpy() == [1] * H + [0] * 3 * H).all()  # type: ignore[union-attr]
    assert (LSTMCell(C, H, forget_bias=2.5, rng=rng).b.numpy()[:H] == 2.5).all()  # type: ignore[union-attr]
    for make in (RNNCell, LSTMCell, GRUCell):
        assert not [name for name in make(C, H, bias=False, rng=rng).named_parameters() if "b" in name]


# ---- truncation ----------------------------------------------------------------------------------------------------------------------


def windowed(cell: Any, xs: Any, k1: int, k2: int) -> list[Any]:
    """The gradient of the sum of the pieces' losses, each through at most k2 steps: the last k2 before the piece's end, run anew."""
    total = [np.zeros(p.shape) for p in cell.parameters()]
    states = unroll(cell, xs).states
    for piece in range(0, len(xs), k1):
        end = min(piece + k1, len(xs))
        start = max(0, end - k2)
        before = type(states[0])(*(part.detach() for part in states[start - 1])) if start else None
        run = unroll(cell, xs[start:end], before)
        loss = sum((s.h * s.h).sum() for s in run.states[piece - start :])
        total = [a + b for a, b in zip(total, grad(loss, cell.parameters()), strict=True)]
    return total


@every_cell
@pytest.mark.parametrize(("k1", "k2"), [(7, 7), (2, 2), (1, 3), (2, 5), (3, 7), (1, 20)])
def test_truncation_is_the_gradient_through_a_window(kind: str, k1: int, k2: int) -> None:
    cell, xs = cell_of(kind), inputs(steps=7)
    total = [np.zeros(p.shape) for p in cell.parameters()]
    for run in truncated(cell, xs, k1=k1, k2=k2):
        total = [a + b for a, b in zip(total, grad((run.outputs * run.outputs).sum(), cell.parameters()), strict=True)]
    for a, b in zip(total, windowed(cell, xs, k1, k2), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    if k2 >= 7:
        run = unroll(cell, xs)
        for a, b in zip(total, grad((run.outputs * run.outputs).sum(), cell.parameters()), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_weights_may_change_between_the_pieces_and_what_was_cut_off_is_freed() -> None:
    cell, xs = cell_of("rnn"), inputs(steps=40)
    seen, alive = [], []
    for run in truncated(cell, xs, k1=2, k2=6):
        seen.append(weakref.ref(run.states[0].h))
        loss = (run.outputs * run.outputs).sum()
        for p in cell.parameters():
            p.data = p.data - 0.01 * grad(loss, p)
        del run, loss
        gc.collect()
        alive.append(sum(ref() is not None for ref in seen))
    assert max(alive) <= 5


def test_the_callers_state_is_not_cut() -> None:
    cell = cell_of("rnn")
    h = Tensor(np.full((N, H), 0.1), requires_grad=True)
    state = cell.initial_state(N)._replace(h=h * 2)
    runs = list(truncated(cell, inputs(), state, k1=1, k2=1))
    assert len(runs) == T
    assert np.abs(grad(state.h.sum(), h)).min() == 2


# ---- what is refused -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda cell: unroll(cell, inputs()[..., :1]), "inner sizes"),
        (lambda cell: unroll(cell, inputs(), cell.initial_state(N + 1)), "batch of 3"),
        (lambda cell: unroll(cell, inputs(), LSTMState(cell.initial_state(N).h, Tensor(np.zeros((1, H))))), "batch of 3"),
        (lambda cell: unroll(cell, inputs(), lengths=[1, 0, 2]), "from 0 to 2, expected from 1 to 5"),
        (lambda cell: unroll(cell, inputs(), lengths=[1, -1, 2]), "from -1 to 2"),
        (lambda cell: unroll_packed(cell, inputs(), [1, 6, 2]), "from 1 to 6"),
        (lambda cell: unroll_packed(cell, inputs(), [1, 2]), r"expected integers \(3,\)"),
        (lambda cell: unroll(cell, inputs(), lengths=[1.0, 2.0, 3.0]), "float64"),
        (lambda cell: unroll(cell, inputs(), mask=np.ones((T, N))), "expected bool"),
        (lambda cell: unroll(cell, inputs(), mask=np.ones((T, N), bool), lengths=[1, 2, 3]), "give one of them"),
        (lambda cell: unroll(cell, np.zeros(T)), r"expected features \(T, N, C\)"),
        (lambda cell: unroll(cell, inputs(), LSTMState(cell.initial_state(N).h, Tensor(np.zeros((N, 1))))), r"\(3, 1\)"),
        (lambda cell: unroll(cell_of("gru"), inputs(), cell.initial_state(N)), "LSTMState.*expected State"),
        (lambda cell: unroll(cell, inputs(), cell_of("gru").initial_state(N)), "State.*expected LSTMState"),
        (lambda cell: Stacked([cell])(inputs(), mask=np.ones((T, N), bool), packed=True), "packed=True takes lengths"),
        (lambda cell: Bidirectional(cell, cell_of("lstm"))(inputs(), packed=True), "packed=True takes lengths"),
        (lambda cell: Bidirectional(cell, LSTMCell(C, 1, rng=np.random.default_rng(0)), merge="sum")(inputs()).last, "sizes 3 and 1"),
        (lambda cell: generate(cell, lambda t, state: None, cell.initial_state(1), 0), "at least one"),
        (lambda cell: list(truncated(cell, inputs(), k1=3, k2=2)), "1 <= k1 <= k2"),
        (lambda cell: Stacked([]), "at least one"),
        (lambda cell: Stacked([cell, cell], dropout=0.1), "give rng"),
        (lambda cell: Stacked([cell])(inputs(), [None, None]), "2 layers, expected 1"),
        (lambda cell: Bidirectional(cell, cell), "give two"),
        (lambda cell: Bidirectional(cell, cell_of("lstm"), merge="max"), "expected one of concat"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(cell_of("lstm"))
