"""Our networks as PyTorch's, Keras's and the papers', and back: outputs, states and all gradients, in both directions of conversion.

`python -m tests.test_convert` (with Keras and a backend of it installed) writes the golden numbers of Keras anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bidirectional import Bidirectional, Both
from models.convert import CELLS, gradients_to_torch, load_keras, load_paper, load_torch, to_keras, to_paper, to_torch
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
    with pytest.raises(ValueError, match="layer 1 reads 4 numbers, expected 5"):
        load_torch(state, "lstm")
    layers = to_keras(network("lstm", 2))
    layers[1][0] = layers[1][0][:-1]
    with pytest.raises(ValueError, match="layer 1 reads 4 numbers, expected 5"):
        load_keras(layers, "lstm")


def test_a_single_cell_converts_like_a_network_of_one_layer() -> None:
    cell = GRUCell(C, H, reset_after=True, rng=np.random.default_rng(0), dtype=np.float64)
    xs = np.random.default_rng(1).standard_normal((T, N, C))
    np.testing.assert_array_equal(load_torch(to_torch(cell), "gru")(xs).outputs.numpy(), unroll(cell, xs).outputs.numpy())


def test_a_layer_within_a_larger_model_goes_by_its_prefix() -> None:
    net = network("lstm", 2)
    state = to_torch(net, prefix="encoder.") | {"decoder.weight": np.zeros(3)}
    again = load_torch(state, "lstm", prefix="encoder.")
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    with pytest.raises(ValueError, match="missing"):
        load_torch(state, "lstm", prefix="nowhere.")


# ---- Keras: golden numbers of its own layers ------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden" / "keras.npz"
KERAS_LAYERS = {
    f"{name}{'' if bias else ' without bias'}{' both' if both else ''}": (name, bias, both)
    for name in ("SimpleRNN", "LSTM", "GRU", "GRU before")
    for bias in (True, False)
    for both in (False, True)
}


def golden_numbers_of_keras() -> dict[str, Any]:
    """Weights, outputs and gradients of sum(u * y) of each layer, from a run of Keras with its backend torch."""
    import keras
    import torch
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"  # it computes in float32 otherwise, whatever the layer's dtype is
    keras.config.set_floatx("float64")
    numbers: dict[str, Any] = {}
    for key, (name, bias, both) in KERAS_LAYERS.items():
        rng = np.random.default_rng(len(key))
        options = {"reset_after": name == "GRU"} if name.startswith("GRU") else {}
        layer = getattr(keras.layers, name.split()[0])(H, return_sequences=True, use_bias=bias, dtype="float64", **options)
        layer = keras.layers.Bidirectional(layer, dtype="float64") if both else layer
        layer.build((N, T, C))
        weights = [rng.standard_normal(w.shape) / 2 for w in layer.get_weights()]
        layer.set_weights(weights)
        xs, u = rng.standard_normal((N, T, C)), rng.standard_normal((N, T, H * (1 + both)))
        ys = layer(torch.tensor(xs), training=True)
        (ys * torch.tensor(u)).sum().backward()
        numbers |= {f"{key}/xs": xs, f"{key}/u": u, f"{key}/ys": ys.detach().numpy()}
        numbers |= {f"{key}/w{i}": w for i, w in enumerate(weights)}
        numbers |= {f"{key}/d{i}": w.value.grad.numpy() for i, w in enumerate(layer.weights)}
    return numbers


@pytest.mark.parametrize("key", KERAS_LAYERS)
def test_outputs_and_all_gradients_are_those_of_keras(key: str) -> None:
    name, bias, both = KERAS_LAYERS[key]
    kind: Any = {"SimpleRNN": "rnn", "LSTM": "lstm"}.get(name, "gru")
    with np.load(GOLDEN) as golden:
        at = {field.split("/")[1]: golden[field] for field in golden.files if field.split("/")[0] == key}
    weights, gradients = ([at[f"{letter}{i}"] for i in range((2 + bias) * (1 + both))] for letter in "wd")
    net = load_keras([weights], kind, reset_after=None if bias else name == "GRU")
    run = net(at["xs"].swapaxes(0, 1)).outputs
    np.testing.assert_allclose(run.numpy().swapaxes(0, 1), at["ys"], rtol=0, atol=1e-14)
    slopes = grad((run * at["u"].swapaxes(0, 1)).sum(), net.parameters())
    for parameter, slope in zip(net.parameters(), slopes, strict=True):  # the map moves and negates: gradients go the same way
        parameter.data = slope
    for i, (ours, theirs) in enumerate(zip(to_keras(net)[0], gradients, strict=True)):
        if ours.ndim == 2 and len(ours) == 2:  # two biases: both gates' get the same gradient, and ours stands in the first
            ours[1, : 2 * H] = ours[0, : 2 * H]
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=f"array {i}")


@KINDS
@SHAPES
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"reset_after": False}])
def test_to_keras_and_back_is_the_same_network(kind: Any, layers: int, both: bool, options: dict[str, Any]) -> None:
    if kind != "gru" and "reset_after" in options:
        options = {}
    net = network(kind, layers, both, **options)
    again = load_keras(to_keras(net), kind, reset_after=options.get("reset_after", True) if kind == "gru" else None)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda w: [w[0]], {}, "a layer of 1 arrays"),
        (lambda w: [w[0].T, *w[1:]], {}, r"are not those of one gru cell"),
        (lambda w: [*w[:2], w[2][:, :-1]], {}, "are not those of one gru cell"),
        (lambda w: w[:2], {}, "give reset_after=True or False"),
        (lambda w: w, {"reset_after": False}, r"reset_after=False, but the bias is \(2, 15\)"),
        (lambda w: [a.astype(int) for a in w], {}, "int64, expected one floating dtype"),
    ],
)
def test_arrays_of_another_keras_layer_are_refused(change: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_keras([change(to_keras(network("gru"))[0])], "gru", **options)


# ---- papers: their equations, written down as they print them --------------------------------------------------------------------------


def equations(paper: str, kind: str, w: dict[str, Any], xs: Any) -> Any:
    """The outputs (T, N, H), by the paper's own letters and on its own columns; biases, where it writes none, are added all the same."""
    H, hs = len(w["b"] if "b" in w else w["b_f"]), []
    h, c = np.zeros((H, xs.shape[1]), complex), np.zeros((H, xs.shape[1]), complex)

    def part(gate: str, x: Any, h: Any) -> Any:
        if paper != "course":
            product = w[f"W{gate}"] @ x + w[f"U{gate}"] @ h
        elif kind == "rnn":
            product = (h.T @ w["W_h"] + x.T @ w["W_x"]).T
        else:
            product = (np.concatenate([h.T, x.T], axis=1) @ w[f"W{gate}"]).T
        return product + w[f"b{gate}"][:, None]

    for x in xs.swapaxes(1, 2):
        if kind == "rnn":
            h = np.tanh(part("", x, h))
        elif kind == "lstm":
            c = sigmoid(part("_f", x, h)) * c + sigmoid(part("_i", x, h)) * np.tanh(part("_c", x, h))
            h = sigmoid(part("_o", x, h)) * np.tanh(c)
        else:
            r, z = sigmoid(part("_r", x, h)), sigmoid(part("_z", x, h))
            candidate = np.tanh(part("", x, r * h))
            h = z * h + (1 - z) * candidate if paper == "cho" else (1 - z) * h + z * candidate
        hs.append(h.T)
    return np.array(hs)


DESCRIBED = {"course": ("rnn", "lstm", "gru"), "cho": ("gru",), "chung": ("rnn", "lstm", "gru")}
PAPERS = pytest.mark.parametrize(("paper", "kind"), [(paper, kind) for paper, kinds in DESCRIBED.items() for kind in kinds])


@PAPERS
def test_outputs_and_all_gradients_are_those_of_the_papers_equations(paper: Any, kind: Any) -> None:
    net = network(kind, **({"reset_after": False} if kind == "gru" else {}))
    cell, rng = net.layers[0], np.random.default_rng(2)
    xs, u = rng.standard_normal((4, 2, C)), rng.standard_normal((4, 2, H))
    letters = to_paper(cell, paper)
    outputs = unroll(cell, xs).outputs
    np.testing.assert_allclose(outputs.numpy(), equations(paper, kind, letters, xs), rtol=0, atol=1e-14)
    slopes = grad((outputs * u).sum(), cell.parameters())
    for parameter, slope in zip(cell.parameters(), slopes, strict=True):
        parameter.data = slope
    ours = to_paper(cell, paper)
    for name, array in letters.items():
        for at in np.ndindex(array.shape):  # the complex step
            moved = array.astype(complex)
            moved[at] += 1e-30j
            slope = (equations(paper, kind, letters | {name: moved}, xs) * u).sum().imag / 1e-30
            np.testing.assert_allclose(ours[name][at], slope, rtol=1e-12, atol=1e-12, err_msg=f"{name}{list(at)}")


@PAPERS
@pytest.mark.parametrize("bias", [True, False])
def test_to_a_paper_and_back_is_the_same_cell(paper: Any, kind: Any, bias: bool) -> None:
    cell = network(kind, bias=bias, **({"reset_after": False} if kind == "gru" else {})).layers[0]
    again = load_paper(to_paper(cell, paper), kind, paper)
    for name, array in cell.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_what_a_paper_does_not_describe_is_refused() -> None:
    lstm: Any = network("lstm").layers[0]
    with pytest.raises(ValueError, match="cho describes gru alone, and no lstm"):
        to_paper(lstm, "cho")
    with pytest.raises(ValueError, match="resets after the product"):
        to_paper(network("gru").layers[0], "cho")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one of course, cho, chung"):
        to_paper(lstm, "graves")  # type: ignore[arg-type]
    letters = to_paper(lstm, "chung")
    assert load_paper(letters | {"V_f": np.zeros(H)}, "lstm", "chung").state_dict().keys() == lstm.state_dict().keys()
    with pytest.raises(ValueError, match="peepholes"):
        load_paper(letters | {"V_f": np.ones(H)}, "lstm", "chung")
    with pytest.raises(ValueError, match=r"expected \['U', 'U_r', 'U_z', 'W'"):
        load_paper(letters, "gru", "chung")


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **golden_numbers_of_keras())
