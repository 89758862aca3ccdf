"""The loop over time and the vanilla RNN: against the textbook's listing, PyTorch, and what a mask means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.recurrent import State, unroll
from models.rnn import RNN, RNNCell
from tinygrad_seq import Tensor, cross_entropy, grad, optim

GOLDEN = Path(__file__).parent / "golden" / "rnn_updates.json"
T, N, C, H, D = 6, 3, 4, 5, 2


def small(seed: int = 0) -> tuple[RNN, Any]:
    rng = np.random.default_rng(seed)
    return RNN(C, H, D, rng=rng, dtype=np.float64), rng.standard_normal((T, N, C))


def test_outputs_equal_the_textbook_listing() -> None:
    rnn, xs = small()
    weights = {name.removeprefix("cell."): a for name, a in rnn.state_dict().items()}
    for n in range(N):
        h = np.zeros(H)
        for t in range(T):
            h = np.tanh(xs[t, n] @ weights["W_x"] + h @ weights["W_h"] + weights["b"])
            y = h @ weights["W_y"] + weights["b_y"]
            np.testing.assert_allclose(rnn(xs).ys.numpy()[t, n], y, rtol=1e-13)


def test_integer_symbols_are_one_hot_vectors() -> None:
    rnn, _ = small()
    symbols = np.random.default_rng(1).integers(0, C, (T, N))
    dense, indexed = rnn(np.eye(C)[symbols]).ys, rnn(symbols).ys
    np.testing.assert_allclose(indexed.numpy(), dense.numpy(), rtol=1e-13)
    W_x = rnn.cell.W_x
    np.testing.assert_allclose(grad(indexed.sum(), W_x), grad(dense.sum(), W_x), rtol=1e-12)


def test_hoisting_the_input_product_changes_neither_outputs_nor_gradients() -> None:
    rnn, xs = small()
    runs = [unroll(rnn.cell, xs, hoist=hoist).outputs for hoist in (True, False)]
    np.testing.assert_allclose(runs[0].numpy(), runs[1].numpy(), rtol=1e-13)
    weights = rnn.cell.parameters()
    for a, b in zip(*(grad((run * run).sum(), weights) for run in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_initial_state_receives_a_gradient() -> None:
    rnn, xs = small()
    h0 = Tensor(np.full((N, H), 0.1), requires_grad=True)
    g = grad(unroll(rnn.cell, xs, State(h0)).state.h.sum(), h0)
    W_h, states = rnn.cell.W_h.numpy(), unroll(rnn.cell, xs, State(h0)).states
    expected = np.ones((N, H))
    for state in reversed(states):  # dh_t/dh_(t-1) = W_h diag(tanh'), by hand
        expected = (expected * (1 - state.h.numpy() ** 2)) @ W_h.T
    np.testing.assert_allclose(g, expected, rtol=1e-12)


def test_running_in_two_parts_is_running_once() -> None:
    rnn, xs = small()
    first = rnn(xs[:2])
    np.testing.assert_allclose(rnn(xs[2:], first.state).ys.numpy(), rnn(xs).ys.numpy()[2:], rtol=1e-13)


def test_reverse_is_the_run_over_reversed_inputs() -> None:
    rnn, xs = small()
    there, back = unroll(rnn.cell, xs, reverse=True), unroll(rnn.cell, xs[::-1])
    np.testing.assert_allclose(there.outputs.numpy(), back.outputs.numpy()[::-1], rtol=1e-13)
    np.testing.assert_allclose(there.state.h.numpy(), there.states[0].h.numpy())


@pytest.mark.parametrize("reverse", [False, True])
def test_masked_steps_do_not_happen_whatever_they_hold(reverse: bool) -> None:
    rnn, xs = small()
    mask = np.random.default_rng(2).random((T, N)) < 0.6
    mask[0, 0] = True
    run = unroll(rnn.cell, np.where(mask[:, :, None], xs, 1e6), mask=mask, reverse=reverse)
    g = grad(run.state.h.sum(), rnn.cell.W_h)
    alone = [unroll(rnn.cell, xs[mask[:, n], n : n + 1], reverse=reverse) for n in range(N) if mask[:, n].any()]
    for n, one in zip([n for n in range(N) if mask[:, n].any()], alone, strict=True):
        np.testing.assert_allclose(run.state.h.numpy()[n], one.state.h.numpy()[0], rtol=1e-13)
    np.testing.assert_allclose(g, np.sum([grad(one.state.h.sum(), rnn.cell.W_h) for one in alone], axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xs": np.zeros((0, N, C))}, "no time steps"),
        ({"xs": np.zeros((T, N, C + 1))}, r"inner sizes 5 and 4 differ"),
        ({"state": State(Tensor(np.zeros((N + 1, H))))}, r"\(4, 5\).*batch of 3"),
        ({"state": Tensor(np.zeros((N, H)))}, "expected a state of the cell"),
        ({"mask": np.ones((T, N))}, "expected bool"),
        ({"mask": np.ones((N, T), bool)}, r"bool \(3, 6\), expected bool \(6, 3\)"),
        ({"xs": np.full((T, N), C)}, "symbols from 4 to 4"),
    ],
)
def test_input_that_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    rnn, xs = small()
    with pytest.raises(ValueError, match=message):
        unroll(rnn.cell, **{"xs": xs, **arguments})


def test_parameters_are_float32_unless_asked_otherwise() -> None:
    cell = RNNCell(C, H, rng=np.random.default_rng(0))
    assert {p.dtype for p in cell.parameters()} == {np.dtype(np.float32)}
    assert unroll(cell, np.zeros((T, N, C), np.float32)).outputs.dtype == np.float32


# ---- 200 updates, as PyTorch makes them ----------------------------------------------------------------------------------------------

V, HIDDEN, BATCH, LENGTH, UPDATES = 11, 16, 4, 12, 200


def task() -> tuple[RNN, list[np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(7)
    rnn = RNN(V, HIDDEN, V, rng=rng, dtype=np.float64)
    return rnn, [rng.integers(1, 3, (LENGTH + 1, BATCH)).cumsum(axis=0) % V for _ in range(UPDATES)]


def our_losses() -> list[float]:
    rnn, batches = task()
    adam = optim.Adam(rnn.parameters(), lr=1e-2)
    losses, state = [], None
    for batch in batches:
        ys, state = rnn(batch[:-1], state)
        loss = cross_entropy(ys, batch[1:])
        adam.zero_grad()
        loss.backward()
        optim.clip_grad_norm(adam.parameters, 1.0)
        adam.step()
        state = State(state.h.detach())
        losses.append(loss.item())
    return losses


def torch_losses() -> list[float]:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the golden values from it are compared instead")
    torch.set_num_threads(1)  # its threads wait for each other on a busy machine
    rnn, batches = task()
    weights = {name: torch.tensor(a.T.copy()) for name, a in rnn.state_dict().items()}
    layer, readout = torch.nn.RNN(V, HIDDEN, dtype=torch.float64), torch.nn.Linear(HIDDEN, V, dtype=torch.float64)
    zeros = torch.zeros(HIDDEN, dtype=torch.float64)
    layer.load_state_dict(
        {"weight_ih_l0": weights["cell.W_x"], "weight_hh_l0": weights["cell.W_h"], "bias_ih_l0": weights["cell.b"], "bias_hh_l0": zeros}
    )
    readout.load_state_dict({"weight": weights["W_y"], "bias": weights["b_y"]})
    layer.bias_hh_l0.requires_grad_(False)  # PyTorch's RNN has two biases, the equation one
    parameters = [p for p in [*layer.parameters(), *readout.parameters()] if p.requires_grad]
    adam = torch.optim.Adam(parameters, lr=1e-2)
    losses, state = [], None
    for batch in batches:
        x = torch.nn.functional.one_hot(torch.tensor(batch[:-1]), V).double()
        hs, state = layer(x, state)
        loss = torch.nn.functional.cross_entropy(readout(hs).reshape(-1, V), torch.tensor(batch[1:]).reshape(-1))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        state = state.detach()
        losses.append(loss.item())
    return losses


def test_loss_follows_the_golden_values_from_pytorch_for_200_updates() -> None:
    np.testing.assert_allclose(our_losses(), json.loads(GOLDEN.read_text()), atol=1e-9, rtol=0)


def test_loss_follows_pytorch_for_200_updates() -> None:
    theirs = torch_losses()
    assert theirs[-1] < 0.9 * theirs[0]
    np.testing.assert_allclose(our_losses(), theirs, atol=1e-9, rtol=0)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(torch_losses(), indent=0) + "\n")
