"""PyTorch's layers from ours and ours from PyTorch's: outputs, states and all gradients, in both directions of conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.bidirectional import Bidirectional, Both
from models.convert import CELLS, gradients_to_torch, load_torch, to_torch
from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import unroll
from models.rnn import RNNCell
from models.stacked import Stacked, stacked
from tinygrad_seq import Tensor, grad

T, N, C, H = 6, 4, 3, 5
LENGTHS = np.array([3, 6, 1, 5])
KINDS = pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
SHAPES = pytest.mark.parametrize(("layers", "both"), [(1, False), (2, False), (1, True), (2, True)])


def network(kind: Any, layers: int = 1, both: bool = False, **options: Any) -> Stacked:
    rng = np.random.default_rng(0)
    if kind == "gru":
        options.setdefault("reset_after", True)
    net = stacked(CELLS[kind], C, H, layers=layers, bidirectional=both, rng=rng, dtype=np.float64, **options)
    for p in net.parameters():
        p.data = rng.standard_normal(p.shape) / 2  # biases that are not 0
    return net


@KINDS
@SHAPES
@pytest.mark.parametrize("packed", [False, True])
def test_outputs_states_and_all_gradients_are_pytorchs(kind: Any, layers: int, both: bool, packed: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    net = network(kind, layers, both)
    theirs = getattr(torch.nn, kind.upper())(C, H, layers, bidirectional=both, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(a) for name, a in to_torch(net).items()})
    rng = np.random.default_rng(1)
    xs, u = rng.standard_normal((T, N, C)), rng.standard_normal((T, N, H * (1 + both)))
    mask = np.arange(T)[:, None] < LENGTHS
    u *= mask[:, :, None]
    x = torch.tensor(xs, requires_grad=True)
    given = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False) if packed else x
    ys, state = theirs(given)
    if packed:
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys)
    h = state[0] if kind == "lstm" else state
    ((ys * torch.tensor(u)).sum() + (h**2).sum()).backward()
    for how in ({"lengths": LENGTHS}, {"lengths": LENGTHS, "packed": True}) if packed else ({},):
        ours = Tensor(xs, requires_grad=True)
        run = net(ours, **how)
        states: list[Any] = []
        for s in run.state:
            states += [*s] if isinstance(s, Both) else [s]
        np.testing.assert_allclose(run.outputs.numpy() * (u != 0), ys.detach().numpy() * (u != 0), rtol=0, atol=1e-14)
        np.testing.assert_allclose([s.h.numpy() for s in states], h.detach().numpy(), rtol=0, atol=1e-14)
        if kind == "lstm":
            np.testing.assert_allclose([s.c.numpy() for s in states], state[1].detach().numpy(), rtol=0, atol=1e-14)
        loss = (run.outputs * u).sum()
        for s in states:
            loss = loss + (s.h * s.h).sum()
        dx, *gradients = grad(loss, [ours, *net.parameters()])
        np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-12, atol=1e-13)
        mapped = gradients_to_torch(net, gradients)
        for name, p in theirs.named_parameters():
            np.testing.assert_allclose(mapped[name], p.grad.numpy(), rtol=1e-12, atol=1e-12, err_msg=name)


@KINDS
@SHAPES
@pytest.mark.parametrize("bias", [True, False])
def test_there_and_back_is_the_same_network(kind: Any, layers: int, both: bool, bias: bool) -> None:
    net = network(kind, layers, both, bias=bias)
    state = to_torch(net)
    back = load_torch(state, kind)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[name], array)
    again = to_torch(back)
    assert list(again) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(again[name], array)


@KINDS
def test_two_biases_become_one_that_computes_the_same(kind: Any) -> None:
    state, rng = to_torch(network(kind)), np.random.default_rng(3)
    xs = rng.standard_normal((T, N, C))
    before = load_torch(state, kind)(xs).outputs.numpy()
    moved = rng.standard_normal(len(state["bias_hh_l0"]))
    if kind == "gru":
        moved[2 * H :] = 0  # inside the reset it is another bias
    shifted = state | {"bias_ih_l0": state["bias_ih_l0"] - moved, "bias_hh_l0": state["bias_hh_l0"] + moved}
    np.testing.assert_allclose(load_torch(shifted, kind)(xs).outputs.numpy(), before, rtol=1e-12, atol=1e-13)


def test_what_pytorch_cannot_compute_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="resets before the product"):
        to_torch(network("gru", reset_after=False))
    with pytest.raises(ValueError, match="merge='sum'"):
        to_torch(Bidirectional(RNNCell(C, H, rng=rng), RNNCell(C, H, rng=rng), merge="sum"))
    with pytest.raises(ValueError, match="initial state"):
        to_torch(LSTMCell(C, H, trainable_state=True, rng=rng))
    with pytest.raises(ValueError, match=r"\['GRUCell', 'LSTMCell'\]"):
        to_torch(Stacked([LSTMCell(C, H, rng=rng), GRUCell(H, H, rng=rng)]))
    uneven: Any = [
        [LSTMCell(C, H, rng=rng), LSTMCell(H, H + 1, rng=rng)],
        [LSTMCell(C, H, rng=rng), LSTMCell(H, H, bias=False, rng=rng)],
        [Bidirectional(RNNCell(C, H, rng=rng), RNNCell(C, H, rng=rng)), RNNCell(2 * H, H, rng=rng)],
    ]
    for layers in uneven:
        with pytest.raises(ValueError, match="all layers alike"):
            to_torch(Stacked(layers))


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


@KINDS
def test_a_state_means_the_equations_that_pytorch_documents(kind: Any) -> None:
    blocks, rng = {"rnn": 1, "lstm": 4, "gru": 3}[kind], np.random.default_rng(4)
    shapes = {"weight_ih_l0": (blocks * H, C), "weight_hh_l0": (blocks * H, H), "bias_ih_l0": (blocks * H,), "bias_hh_l0": (blocks * H,)}
    state = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    xs, h, c = rng.standard_normal((T, N, C)), np.zeros((N, H)), np.zeros((N, H))
    run = load_torch(state, kind)(xs).outputs.numpy()
    for t in range(T):
        a = xs[t] @ state["weight_ih_l0"].T + state["bias_ih_l0"]
        b = h @ state["weight_hh_l0"].T + state["bias_hh_l0"]
        if kind == "rnn":
            h = np.tanh(a + b)
        elif kind == "lstm":
            i, f, g, o = np.split(a + b, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3, axis=-1), np.split(b, 3, axis=-1)
            r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
            h = (1 - z) * np.tanh(a_n + r * b_n) + z * h
        np.testing.assert_allclose(run[t], h, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("change", "cell", "message"),
    [
        ({}, "gru", "expected 3 blocks"),
        ({}, "rnn", "expected 1 blocks"),
        ({}, "transformer", "expected one of rnn, lstm, gru"),
        ({"weight_hr_l0": np.zeros((2, H))}, "lstm", r"unexpected \['weight_hr_l0'\].*projections"),
        ({"weight_ih_l0": np.zeros((4 * H + 1, C))}, "lstm", "expected 4 blocks"),
        ({"bias_hh_l0": np.zeros(H)}, "lstm", "biases"),
        ({"weight_hh_l0": np.zeros(())}, "lstm", "expected 4 blocks"),
        ({"weight_hh_l0": np.zeros((4 * H, H), int)}, "lstm", "int64.*expected one floating dtype"),
        ({"weight_hh_l0": np.zeros((4 * H, H), np.float32)}, "lstm", "float32.*expected one floating dtype"),
        ({"weight_hh_l0": None}, "lstm", r"missing \['weight_hh_l0'\]"),
    ],
)
def test_a_state_of_another_architecture_is_refused(change: dict[str, Any], cell: Any, message: str) -> None:
    state = {name: a for name, a in (to_torch(network("lstm")) | change).items() if a is not None}
    with pytest.raises(ValueError, match=message):
        load_torch(state, cell)


def test_layers_that_do_not_fit_each_other_are_refused() -> None:
    state = to_torch(network("lstm", 2))
    state["weight_ih_l1"] = state["weight_ih_l1"][:, :-1]
    with pytest.raises(ValueError, match="weight_ih_l1 reads 4 numbers, expected 5"):
        load_torch(state, "lstm")


def test_a_single_cell_converts_like_a_network_of_one_layer() -> None:
    cell = GRUCell(C, H, reset_after=True, rng=np.random.default_rng(0), dtype=np.float64)
    xs = np.random.default_rng(1).standard_normal((T, N, C))
    np.testing.assert_array_equal(load_torch(to_torch(cell), "gru")(xs).outputs.numpy(), unroll(cell, xs).outputs.numpy())
