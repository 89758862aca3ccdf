"""Derived programs: equal to the elementary loop in outputs and all gradients, for any cell; what cannot be fused says why."""

from __future__ import annotations

import gc
import keyword
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tg
from models.bidirectional import Bidirectional
from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import Cell, State, map_state, truncated, unroll
from models.rnn import RNNCell
from models.seq2seq import AdditiveDecoder, Decoder, DotDecoder
from models.stacked import Stacked
from tinygrad_seq import Tensor, concat, grad, no_grad, sigmoid, tanh, where
from tinygrad_seq.check import check_gradients
from tinygrad_seq.fuse import CannotFuse
from tinygrad_seq.nn import Module

T, N, C, H = 5, 3, 4, 3
CELLS: dict[str, Any] = {
    "rnn": RNNCell,
    "lstm": LSTMCell,
    "gru": GRUCell,
    "gru-after": lambda *args, **options: GRUCell(*args, reset_after=True, **options),
}
every_cell = pytest.mark.parametrize("kind", CELLS)


def cell_of(kind: str, inputs: int = C, hidden: int = H, seed: int = 0, dtype: Any = np.float64, **options: Any) -> Any:
    rng = np.random.default_rng(seed)
    return shaken(CELLS[kind](inputs, hidden, rng=rng, dtype=dtype, **options), rng)


def shaken(cell: Any, rng: np.random.Generator) -> Any:
    for p in cell.parameters():
        p.data = rng.standard_normal(p.shape) / 2  # biases and first states that are not 0
    return cell


def tensors(state: Any) -> list[Tensor]:
    parts: list[Tensor] = []
    map_state(parts.append, state)
    return parts


def agree(cell: Any, xs: Any, state: Any = None, rtol: float = 1e-12, loss: Any = None, **options: Any) -> Any:
    """Outputs, last state and all gradients of the fused run are those of the elementary one; gives the fused run."""
    runs = [unroll(cell, xs, state, fused=fused, **options) for fused in (True, False)]
    wanted = [x for x in [*cell.parameters(), *tensors(state), xs] if isinstance(x, Tensor) and x.requires_grad]

    def default_loss(run: Any) -> Tensor:
        weights = np.random.default_rng(9).standard_normal(run.outputs.shape).astype(run.outputs.dtype)
        total = (run.outputs * weights).sum()
        for i, part in enumerate(tensors(run.state)):
            total = total + (i + 2) * (part * part).sum()
        return total

    for a, b in zip(tensors(runs[0].state), tensors(runs[1].state), strict=True):
        close(a.numpy(), b.numpy(), rtol)
    close(runs[0].outputs.numpy(), runs[1].outputs.numpy(), rtol)
    gradients = [grad((loss or default_loss)(run), wanted) for run in runs]
    for a, b in zip(*gradients, strict=True):
        close(a, b, rtol)
    return runs[0]


def close(a: Any, b: Any, rtol: float = 1e-12) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, float(np.abs(b).max(initial=0))))


def features(seed: int = 1, steps: int = T, batch: int = N, size: int = C, dtype: Any = np.float64) -> Tensor:
    return Tensor(np.random.default_rng(seed).standard_normal((steps, batch, size)).astype(dtype), requires_grad=True)


def state_of(cell: Any, batch: int = N, seed: int = 2) -> Any:
    rng = np.random.default_rng(seed)
    return map_state(lambda p: Tensor(rng.standard_normal(p.shape).astype(p.dtype), requires_grad=True), cell.initial_state(batch))


# ---- the fused run is the elementary one ---------------------------------------------------------------------------------------------


@every_cell
@pytest.mark.parametrize("how", ["features", "symbols", "no bias", "trained state", "reverse", "mask", "lengths", "reverse lengths"])
def test_a_fused_run_is_the_elementary_run(kind: str, how: str) -> None:
    cell = cell_of(kind, bias=how != "no bias", trainable_state=how == "trained state")
    xs: Any = np.random.default_rng(3).integers(0, C, (T, N)) if how == "symbols" else features()
    options: dict[str, Any] = {"reverse": how.startswith("reverse")}
    if how == "mask":
        options["mask"] = np.random.default_rng(4).random((T, N)) < 0.6
    if how.endswith("lengths"):
        options["lengths"] = [5, 1, 3]
    agree(cell, xs, None if how == "trained state" else state_of(cell), **options)


@every_cell
@given(data=st.data())
def test_any_length_batch_and_size(kind: str, data: Any) -> None:
    steps, batch, size, hidden = (data.draw(st.integers(1, 4)) for _ in range(4))
    cell = cell_of(kind, size, hidden, seed=data.draw(st.integers(0, 99)))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=steps * batch, max_size=steps * batch))).reshape(steps, batch)
    masked = data.draw(st.booleans())
    agree(cell, features(5, steps, batch, size), state_of(cell, batch), mask=mask if masked else None, reverse=data.draw(st.booleans()))


@every_cell
def test_local_derivatives_of_large_steps_are_computed_in_the_loop(kind: str) -> None:
    cell = cell_of(kind, hidden=64)
    text = agree(cell, features(steps=3, batch=32), rtol=1e-11).program.source
    assert text.index("the loop over time, backwards") < text.rindex("subtract(one")


@every_cell
def test_float32_stays_float32(kind: str) -> None:
    cell = cell_of(kind, dtype=np.float32)
    run = agree(cell, features(dtype=np.float32), state_of(cell), rtol=3e-6)
    assert run.outputs.dtype == np.float32
    agree(cell, features(dtype=np.float32), lengths=[5, 2, 3], rtol=3e-6)


@every_cell
def test_losses_on_the_last_state_only_and_on_the_outputs_only(kind: str) -> None:
    cell = cell_of(kind)
    agree(cell, features(), loss=lambda run: (run.last * run.last).sum())
    agree(cell, features(), loss=lambda run: (run.outputs**2).sum())
    agree(cell, features(), loss=lambda run: tensors(run.state)[-1].sum() * 3)


def test_states_of_single_steps_are_there_on_demand_with_their_gradients() -> None:
    cell, xs = cell_of("lstm"), features()
    agree(cell, xs, loss=lambda run: (run.states[2].c * run.states[0].c).sum() + run.last.sum())
    assert len(unroll(cell, xs, fused=True).states) == T


def test_several_runs_of_one_program_do_not_disturb_each_other() -> None:
    cell, a, b = cell_of("lstm"), features(1), features(2)
    alone = [grad((unroll(cell, xs).outputs ** 2).sum(), cell.W_h) for xs in (a, b)]
    runs = [unroll(cell, xs, fused=True) for xs in (a, b)]
    with no_grad():
        unroll(cell, features(3), fused=True)
    kept = runs[0].outputs.numpy().copy()
    losses = [(run.outputs**2).sum() for run in runs]
    for _ in range(2):  # a second backward gives the same
        for loss, g in zip(losses, alone, strict=True):
            close(grad(loss, cell.W_h), g)
    np.testing.assert_array_equal(runs[0].outputs.numpy(), kept)


def test_a_program_is_derived_once_and_follows_the_weights() -> None:
    cell, xs = cell_of("gru"), features()
    program = unroll(cell, xs, fused=True).program
    cell.W_h.data = cell.W_h.numpy() * 2
    cell.W = Tensor(cell.W.numpy() * 3, requires_grad=True)
    assert agree(cell, xs).program is program
    assert unroll(cell, features(steps=9), fused=True).program is program
    cell.reset_after = True
    assert agree(cell, xs).program is not program


FACTOR = 0.5
GLOBAL = Tensor(np.eye(H), requires_grad=True)


def scaled(h: Any) -> Any:
    return FACTOR * (h @ GLOBAL)


def test_what_the_code_of_a_cell_takes_from_around_it_is_watched(monkeypatch: Any) -> None:
    shift = 0.1
    cell, xs = Own(lambda c, x, h: tanh(scaled(h) + x @ c.W_x + shift)), features()
    program = agree(cell, xs).program
    assert agree(cell, xs).program is program
    monkeypatch.setitem(scaled.__globals__, "FACTOR", 0.25)
    agree(cell, xs)
    monkeypatch.setitem(scaled.__globals__, "GLOBAL", Tensor(np.ones((H, H)), requires_grad=True))
    agree(cell, xs)
    shift = 0.7
    agree(cell, xs)


def test_weights_that_change_after_the_run_do_not_change_its_gradients() -> None:
    cell, xs = cell_of("lstm"), features()
    expected = grad((unroll(cell, xs).outputs ** 2).sum(), [cell.W_h, xs])
    run = unroll(cell, xs, fused=True)
    loss = (run.outputs**2).sum()
    cell.W_h.data = cell.W_h.numpy() * 5
    for a, b in zip(grad(loss, [cell.W_h, xs]), expected, strict=True):
        close(a, b)


def test_stacks_directions_and_truncation_take_fused_runs() -> None:
    layers = [Bidirectional(cell_of("lstm"), cell_of("gru", seed=1)), cell_of("gru", 2 * H)]
    net, xs = Stacked(layers), features()
    runs = [net(xs, lengths=[5, 2, 4], fused=fused) for fused in (True, False)]
    losses = [(run.outputs * run.outputs).sum() + run.last.sum() for run in runs]
    for a, b in zip(*(grad(loss, [*net.parameters(), xs]) for loss in losses), strict=True):
        close(a, b)
    cell = cell_of("lstm")
    pieces = [
        [grad((run.outputs**2).sum(), cell.W_h) for run in truncated(cell, xs[:4], k1=2, k2=2, fused=fused)] for fused in (True, False)
    ]
    for a, b in zip(*pieces, strict=True):
        close(a, b)


@pytest.mark.parametrize("kind", [Decoder, AdditiveDecoder, DotDecoder])
def test_decoders_with_attention_fuse_too(kind: Any) -> None:
    rng = np.random.default_rng(0)
    options = {} if kind is Decoder else {"memory": 2}
    decoder = shaken(kind(LSTMCell, 4, H, rng=rng, dtype=np.float64, **options), rng)
    memory = Tensor(rng.standard_normal((6, N, 2)), requires_grad=True)
    begun = state_of(decoder.cell)
    gradients = []
    for fused in (True, False):
        state = decoder.begin(begun, memory, np.array([6, 2, 4]))
        run = unroll(decoder, rng.integers(0, 5, (T, N)) * 0 + 1, state, fused=fused)
        loss = (decoder.scores(run.outputs) ** 2).sum() + run.state.cell.c.sum()
        wanted = [p for p in decoder.parameters() if not (kind is DotDecoder and p is None)]
        gradients.append([loss.numpy(), *grad(loss, [*wanted, *begun, *([memory] if options else [])])])
    for a, b in zip(*gradients, strict=True):
        close(np.asarray(a), np.asarray(b))


# ---- cells of the reader's own -------------------------------------------------------------------------------------------------------


class Own(Cell):
    """A cell of one state whose step is a function of (weights, x, h)."""

    def __init__(self, step: Any, seed: int = 0, **weights: Any) -> None:
        rng = np.random.default_rng(seed)
        self.step = step
        for name, shape in (weights or {"W_h": (H, H), "W_x": (C, H), "b": (H,)}).items():
            setattr(self, name, Tensor(rng.standard_normal(shape) / 2, requires_grad=True))

    def input(self, x: Any) -> Any:
        return x

    def recur(self, x: Any, state: Any) -> Any:
        return State(self.step(self, x, state.h))

    def initial_state(self, batch: int) -> State:
        return State(Tensor(np.full((batch, H), 0.1)))


ROW = np.array([0.5, -1.0, 2.0])
STEPS: dict[str, Any] = {
    "concat": lambda c, x, h: tanh(concat([h, x], axis=-1) @ concat([c.W_h, c.W_x]) + c.b),
    "transposed weights": lambda c, x, h: tanh(h @ c.W_h.T + (c.W_x.T @ x.T).T + c.b),
    "softmax": lambda c, x, h: tg.softmax(h @ c.W_h + x @ c.W_x),
    "layer norm": lambda c, x, h: _normal(h @ c.W_h + x @ c.W_x) * c.b,
    "relu and where": lambda c, x, h: where(h > 0.05, tg.relu(h @ c.W_h), h / 2) + tg.abs(x @ c.W_x) / 9,
    "maximum": lambda c, x, h: tg.maximum(h, x @ c.W_x) / 2 + tg.minimum(h @ c.W_h, c.b) / 4,
    "powers": lambda c, x, h: (1 + h * h) ** 0.5 / 2 + tg.exp(-((x @ c.W_x) ** 2)) - tg.log(2 + h**2) + tg.sqrt(c.b * c.b + 1),
    "input only": lambda c, x, h: sigmoid(x @ c.W_x),
    "input itself": lambda c, x, h: x[:, :H],
    "row of numbers": lambda c, x, h: (2 - sigmoid(h @ c.W_h + x @ c.W_x) * ROW) * ROW / 3,
    "numbers of dtypes": lambda c, x, h: tanh(h @ c.W_h + x @ c.W_x) * np.float64(0.3) + h * np.int64(2) / np.float64(5),
    "infinity": lambda c, x, h: tg.exp(where(h > 0.3, tg.minimum(h @ c.W_h + x @ c.W_x, np.inf), -np.inf)) / 9,
    "decay": lambda c, x, h: 0.9 * h + x[:, :H] * sigmoid(c.b),
    "normed weights": lambda c, x, h: tanh(h @ (c.W_h / (1 + (c.W_h * c.W_h).sum())) + x @ c.W_x),
    "detached": lambda c, x, h: tanh(h.detach() @ c.W_h + x @ c.W_x + h),
    "columns": lambda c, x, h: concat([h[:, 1:], tanh(h[:, :1] * c.b[0] + x[:, :1])], axis=-1),
    "batch mean": lambda c, x, h: tanh(h - h.mean(axis=0, keepdims=True) + (x @ c.W_x).sum(axis=0) / 3),
    "stack": lambda c, x, h: tg.stack([h @ c.W_h, x @ c.W_x], axis=0).max(axis=0) / 3,
    "two sigmoids of one": lambda c, x, h: sigmoid(h @ c.W_h + x @ c.W_x) * tanh(h @ c.W_h + x @ c.W_x),
    "shared gate": lambda c, x, h: _shared(h @ c.W_h + x @ c.W_x + c.b),
    "reshaped": lambda c, x, h: tanh((h.reshape(-1, 1, H) @ c.W_h).reshape(-1, H) + x @ c.W_x),
    "minus": lambda c, x, h: -(h - x @ c.W_x) * (1 - h) / (2 + h * h),
    "scalar weight": lambda c, x, h: tanh(h * c.b.sum() + x @ c.W_x),
    "outer weight": lambda c, x, h: tanh(h @ ELSEWHERE + x @ c.W_x),
    "row vector": lambda c, x, h: tanh(h * tg.sum(c.W_h, axis=0) + x @ c.W_x),
    "taken from the end": lambda c, x, h: tg.take(tanh(h @ c.W_h + x @ c.W_x), np.array([-1, 0, -2]), axis=-1),
    "taken in blocks": lambda c, x, h: tg.take(tanh(h @ c.W_h + x @ c.W_x), np.array([[-1], [1], [0]]), axis=-1).sum(axis=-1),
    "joined alone": lambda c, x, h: concat([tanh(h @ c.W_h)], axis=-1) + x @ c.W_x,
    "joined with numbers": lambda c, x, h: concat([tanh(h @ c.W_h)[:, :2], np.full((len(h), 1), 0.3)], axis=-1) + x @ c.W_x,
    "gates of one column": lambda c, x, h: _six(*(tg.split(z, 3, axis=-1) for z in (h @ c.W_h + x @ c.W_x, tanh(h @ c.W_h) - c.b)), h),
    "gates of the state": lambda c, x, h: sigmoid(h[:, :1]) * h * sigmoid(h[:, 1:2]) + tanh(h[:, 2:]) * (x @ c.W_x),
    "taken from the input": lambda c, x, h: tanh(h @ c.W_h + 0.5 * tg.take(x @ c.W_x, np.array([-1, 0, 1]), axis=1)),
    "parts of the input": lambda c, x, h: h * c.b + _products(tg.split(x @ c.W_x, [1], axis=-1)),
    "time": lambda c, x, h: tanh(h @ c.W_h + x @ c.W_x) + 0 * x.sum(),
}  # fmt: skip
ELSEWHERE = Tensor(np.random.default_rng(8).standard_normal((H, H)) / 2)


def _normal(z: Any) -> Any:
    z = z - z.mean(axis=-1, keepdims=True)
    return z / tg.sqrt((z * z).mean(axis=-1, keepdims=True) + 1e-5)


def _six(z: Any, y: Any, h: Any) -> Any:
    return (sigmoid(z[0]) * tanh(y[1]) + tanh(z[1]) * sigmoid(y[2])) * sigmoid(z[2]) * h - tanh(y[0])


def _products(parts: Any) -> Any:
    return concat([tanh(part) * part for part in parts], axis=-1)


def _shared(z: Any) -> Any:
    return sigmoid(z) + 0.1 * z


WORDS = [
    "h_prev", "hs", "h_0", "h_t", "dh", "dh_T", "dh_given", "k", "one", "halves", "slopes", "row", "z", "x", "m", "T", "_", "steps",
    "list", "range", "forward", "weights", "product", "empty", "sigmoid", "tanh", "i", "a", "is", "lambda", "np", "inf", "W_T",
    "of_tanh", "c̃", "σ", "program", "zip", "numbers", "self", "block_product", "in_columns", "summed", "concatenate", "columns", "local",
    "d", "z_gates", "h_columns", "W_columns", "slope", "shift", "copied", "blocks",
]  # fmt: skip


class Named(Cell):
    """A cell of two gates whose state, weights and scopes are called as the programs' own variables may be."""

    def __init__(self, field: str, weight: str, scopes: tuple[str, str]) -> None:
        rng = np.random.default_rng(0)
        self.weight, self.scopes, self.kind = weight, scopes, NamedTuple("Kind", [("h", Tensor), (field, Tensor)])  # type: ignore[misc]
        setattr(self, weight, Tensor(rng.standard_normal((H, 2 * H)), requires_grad=True))

    def input(self, x: Any) -> Any:
        return x

    def recur(self, x: Any, state: Any) -> Any:
        z_1, z_2 = tg.split(state.h @ vars(self)[self.weight] + concat([x[:, :H], x[:, :H]], axis=-1), 2, axis=-1)
        with tg.scope(self.scopes[0]):
            f = sigmoid(z_1)
        with tg.scope(self.scopes[1]):
            g = tanh(z_2)
        return self.kind(tanh(f * state[1] + g), f * state[1] + g * 0.5)

    def initial_state(self, batch: int) -> Any:
        return self.kind(*[Tensor(np.zeros((batch, H))) for _ in range(2)])


@pytest.mark.parametrize("word", WORDS)
def test_no_name_of_a_cell_is_taken_for_one_of_the_program(word: str) -> None:
    other = f"{word}_2" if word.isidentifier() and not keyword.iskeyword(word) and not word.startswith("_") else "c"
    field = other.removesuffix("_2")
    agree(cell := Named(field, other, (word, f"({word} - {word} * {word})")), features(), state_of(cell))
    agree(cell := Named("c", word, (word, word)), features(), state_of(cell))
    agree(cell := Named(field, word, ("f", "g")), features(), state_of(cell))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", STEPS)
def test_own_cells_fuse(name: str, batch: int) -> None:
    cell = Own(STEPS[name])
    agree(cell, features(batch=batch), state_of(cell, batch))
    agree(cell, features(7, steps=1, batch=batch), state_of(cell, batch), mask=np.array([[True, False, True]])[:, -batch:])


UNARY = ("tanh", "sigmoid", "neg", "softmax", "relu", "square", "columns", "half")
BINARY = ("add", "sub", "mul", "maximum", "gate", "matmul")


@st.composite
def programs(draw: Any) -> Any:
    """A random step: a list of (op, operands) over the values x @ W_x, h, h @ W_h, b and what came before."""
    lines = []
    for i in range(draw(st.integers(1, 7))):
        binary = draw(st.booleans())
        name = draw(st.sampled_from(BINARY if binary else UNARY))
        lines.append((name, draw(st.integers(0, 3 + i)), draw(st.integers(0, 3 + i))))
    return lines


def run_lines(lines: Any, cell: Any, x: Any, h: Any) -> Any:
    values = [x @ cell.W_x, h, h @ cell.W_h, cell.b]
    for name, i, j in lines:
        a, b = values[i], values[j]
        values.append(
            {
                "tanh": lambda a, b: tanh(a), "sigmoid": lambda a, b: sigmoid(a), "neg": lambda a, b: -a, "relu": lambda a, b: tg.relu(a),
                "softmax": lambda a, b: tg.softmax(a), "square": lambda a, b: a * a, "half": lambda a, b: a[..., :1] / 2 + a,
                "columns": lambda a, b: concat([a[..., 1:], a[..., :1]], axis=-1), "add": lambda a, b: a + b, "sub": lambda a, b: a - b,
                "mul": lambda a, b: a * b, "maximum": tg.maximum, "gate": lambda a, b: sigmoid(a) * tanh(b),
                "matmul": lambda a, b: (a @ cell.W_h if b is not cell.b else a @ cell.W_h + b),
            }[name](a, b)
        )  # fmt: skip
    return tanh(values[-1] + values[1] * 0.5)


@given(programs(), st.integers(0, 99), st.integers(1, N), st.booleans())
def test_random_cells_fuse(lines: Any, seed: int, batch: int, masked: bool) -> None:
    cell = Own(lambda c, x, h: run_lines(lines, c, x, h), seed=seed)
    mask = np.random.default_rng(seed).random((T, batch)) < 0.5
    agree(cell, features(seed, batch=batch), state_of(cell, batch), mask=mask if masked else None)


class Wide(Own):
    def __init__(self, step: Any) -> None:
        super().__init__(step, W_h=(256, 256), W_x=(C, 256))

    def initial_state(self, batch: int) -> State:
        return State(Tensor(np.full((batch, 256), 0.1)))


@pytest.mark.parametrize(
    "index",
    [np.s_[:1], np.s_[0], np.s_[:, :1], np.s_[:, 1], np.s_[:, None], np.s_[...], np.s_[..., 0], np.s_[::2, ::-1], None, ()],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 3])
def test_parts_of_gates_may_have_names(index: Any, batch: int) -> None:
    def step(c: Any, x: Any, h: Any) -> Any:
        gates = []
        for name, f, z in zip("ig", (sigmoid, tanh), tg.split(h @ c.W_h + x @ c.W_x, 2, axis=-1), strict=True):
            with tg.scope(name):
                gates.append(f(z))
        with tg.scope("part"):
            part = gates[0][index]
        return tanh(gates[0] * gates[1] * h + part.sum())

    cell = Own(step, W_h=(H, 2 * H), W_x=(C, 2 * H))
    assert "# i: sigmoid(z)" in agree(cell, features(batch=batch), state_of(cell, batch)).program.source


def test_products_in_blocks_are_those_products(small_kernels: bool) -> None:
    steps: list[Any] = [
        lambda c, x, h: h @ c.W_h / 16 + x @ c.W_x,
        lambda c, x, h: tanh(h @ c.W_h) + tanh(concat([h, h * 2], axis=0) @ c.W_h)[: len(h)] + x @ c.W_x,  # as many rows, and twice as many
        lambda c, x, h: tanh(tanh(h @ c.W_h) @ c.W_h.T + x @ c.W_x),
    ]
    for step in steps:
        run = agree(cell := Wide(step), features(batch=32), state_of(cell, 32), rtol=1e-10)
        assert ("block_product(" in run.program.source) == small_kernels


class Two(NamedTuple):
    h: Tensor
    y: Tensor


class Reader(Cell):
    """A cell whose state also holds what nothing reads: its output."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.W_h, self.W_y = (Tensor(rng.standard_normal((H, H)) / 2, requires_grad=True) for _ in range(2))

    def input(self, x: Any) -> Any:
        return x

    def recur(self, x: Any, state: Two) -> Two:
        h = tanh(state.h @ self.W_h + x[:, :H])
        return Two(h, h @ self.W_y)

    def initial_state(self, batch: int) -> Two:
        return Two(Tensor(np.zeros((batch, H))), Tensor(np.zeros((batch, H))))


class Shifting(Reader):
    """Cells whose parts of the state move from one to the other."""

    def __init__(self, move: Any) -> None:
        super().__init__()
        self.move = move

    def recur(self, x: Any, state: Any) -> Two:
        return Two(*self.move(self, x[:, :H], state.h, state.y))


MOVES: dict[str, Any] = {
    "exchange": lambda c, x, h, y: (y, h),
    "exchange and weigh": lambda c, x, h, y: (y @ c.W_h, h * x),
    "delay": lambda c, x, h, y: (tanh(h @ c.W_h + y @ c.W_y + x), h),
    "half exchange": lambda c, x, h, y: (h + y, h),
    "one for both": lambda c, x, h, y: [tanh(h @ c.W_h + y)] * 2,
    "columns of one": lambda c, x, h, y: _halves(concat([h @ c.W_h, y @ c.W_y + x], axis=-1)),
    "still": lambda c, x, h, y: (tanh(h @ c.W_h + y + x), y),
    "cut": lambda c, x, h, y: (tanh(y.detach() + x), tanh(h @ c.W_h)),
}


def _halves(z: Any) -> Any:
    return z[:, :H], tanh(z[:, H:])


@pytest.mark.parametrize("name", MOVES)
def test_parts_of_the_state_may_change_places(name: str) -> None:
    cell = Shifting(MOVES[name])
    agree(cell, features(), state_of(cell))
    agree(cell, features(), state_of(cell), lengths=[2, 5, 3], loss=lambda run: (run.outputs**2).sum())
    agree(cell, features(), state_of(cell), loss=lambda run: (run.state.y**2).sum())


def test_what_is_made_of_a_value_of_the_backward_loop_is_made_in_it() -> None:
    def step(c: Any, x: Any, h: Any) -> Any:  # the local derivatives of all gates, and of one, are large, that of the other is not
        f, g = tg.split(h @ c.W_h + x @ c.W_x, [4], axis=-1)
        f, g = sigmoid(f), tanh(g)
        return h * 0.5 + f @ c.W_f + (g - g * g) * 0.5

    cell = Own(step, W_h=(H, 4 + H), W_x=(C, 4 + H), W_f=(4, H))
    agree(cell, features(steps=3, batch=600), state_of(cell, 600), rtol=1e-11)


@given(programs(), st.data())
def test_random_cells_of_two_parts_fuse(lines: Any, data: Any) -> None:
    of_h, of_y = (data.draw(st.sampled_from(["h", "y", "both", "neither"])) for _ in range(2))

    def move(c: Any, x: Any, h: Any, y: Any) -> Any:
        new = run_lines(lines, c, x, h)
        parts = {"h": h, "y": y, "both": new + y, "neither": new * x[:, :H]}
        return parts[of_h], parts[of_y]

    cell = Shifting(move)
    cell.W_x, cell.b = (Tensor(np.random.default_rng(1).standard_normal(n) / 2, requires_grad=True) for n in ((H, H), (H,)))
    losses = [None, lambda run: (run.outputs**2).sum(), lambda run: (run.state.y**2).sum()]
    agree(cell, features(size=H), state_of(cell), loss=data.draw(st.sampled_from(losses)))


def test_what_the_next_step_does_not_read_leaves_the_loop() -> None:
    run = agree(Reader(), features(), state_of(Reader()))
    assert "product(h, W_y, y)" in run.program.source


# ---- derivatives of other kinds ------------------------------------------------------------------------------------------------------


@every_cell
def test_second_derivatives_are_those_of_the_elementary_graph(kind: str) -> None:
    cell, xs = cell_of(kind), features()
    state = state_of(cell)
    found = []
    for fused in (True, False):
        loss = (unroll(cell, xs, state, fused=fused).outputs ** 2).sum()
        first = grad(loss, [cell.W_h, xs], create_graph=True)
        size = sum(((g * g).sum() for g in first), start=Tensor(0.0))
        found.append([g.numpy() for g in first] + grad(size, [cell.W_h, xs, state.h]))
    for a, b in zip(*found, strict=True):
        close(a, b, 1e-11)


def test_the_complex_step_checks_a_fused_run() -> None:
    cell = cell_of("lstm")
    report = check_gradients(lambda xs: unroll(cell, xs, fused=True).outputs, features().numpy(), parameters=cell, float32=False)
    assert "complex" in str(report)


def test_a_fused_run_opens_into_the_elementary_graph() -> None:
    cell, xs = cell_of("lstm"), features()
    run = unroll(cell, xs, fused=True)
    opened = run.opened()
    assert [name for name in ops_of(opened) if name.startswith("fused")] == []
    assert ops_of(opened).count("sigmoid") == 3 * T
    close(opened.numpy(), run.outputs.numpy())
    assert [name for name in ops_of(run.outputs) if name.startswith("fused")] == ["fused LSTMCell"]


def ops_of(y: Tensor) -> list[str]:
    seen, stack, names = set(), [y], []
    while stack:
        node = stack.pop()
        if isinstance(node, Tensor) and node._order not in seen and node._op is not None:
            seen.add(node._order)
            names.append(node._op.__name__)
            stack += node._inputs
    return names


def test_under_no_grad_nothing_is_kept() -> None:
    cell = cell_of("gru")
    with no_grad():
        run = unroll(cell, features(), fused=True)
    assert not run.outputs.requires_grad
    close(run.outputs.numpy(), unroll(cell, features()).outputs.numpy())


# ---- the rewrites, one by one --------------------------------------------------------------------------------------------------------


def source(kind: str) -> str:
    return unroll(cell_of(kind, dtype=np.float32), np.zeros((T, N), int), fused=True).program.source


def loops(text: str) -> tuple[str, str]:
    """The lines of the forward and of the backward loop."""
    found, inside = [], False
    for line in text.splitlines():
        if line.startswith("        for "):
            found.append("")
            inside = True
        elif inside and line.startswith("            "):
            found[-1] += line.split("  #")[0].strip() + "\n"
        else:
            inside = False
    return found[0], found[1]


def test_products_with_the_input_leave_the_loop_also_where_the_cell_concatenates() -> None:
    forward, backward = loops(unroll(Own(STEPS["concat"]), features(), fused=True).program.source)
    assert forward.count(".dot(") == backward.count(".dot(") == 1
    assert "concat" not in forward + backward
    assert forward.count("add(") == 1  # the bias left it too


def test_each_gate_costs_one_multiplication_in_the_backward_loop() -> None:
    for kind, gates in (("rnn", 1), ("lstm", 4), ("gru", 3)):
        _, backward = loops(source(kind))
        assert sum(line.startswith("multiply(") and "dz" in line for line in backward.splitlines()) == gates


def test_gradients_of_gates_of_one_short_sequence_share_a_multiplication() -> None:
    for batch, hidden, multiplications in ((1, 64, 1), (1, 65, 4), (2, 3, 4)):
        cell = cell_of("lstm", hidden=hidden)
        run = agree(cell, features(batch=batch), state_of(cell, batch), rtol=1e-11)
        _, backward = loops(run.program.source)
        assert sum(line.startswith("multiply(") and "dz" in line for line in backward.splitlines()) == multiplications
        assert ("d.take(columns" in backward) == (multiplications == 1)
        assert "[...] =" not in backward
    shown = unroll(cell_of("lstm"), features(batch=1), fused=True).program.source
    assert "multiply(concat(c_prev, c_tilde, tanh_c, i, axis=2), (1 - gates) * (gates + of_tanh), out=local)" in shown
    assert "# dz = (dc, dc, dh, dc) * (dc / dz_f, dc / dz_i, dh / dz_o, dc / dz_c_tilde)" in shown


def test_gradients_of_gates_are_written_side_by_side() -> None:
    row = unroll(cell_of("lstm", hidden=65), features(batch=1), fused=True).program.source
    assert "dz_f = dz[..., 0:65]" in row
    assert "put" not in row
    assert "concat" not in row
    assert "put" not in source("lstm")
    assert (
        loops(source("lstm"))[1].count("concatenate([dz_f_t, dz_i_t, dz_o_t, dz_c_tilde_t], 1, dz_t)")
        == source("lstm").count("concat")
        == 1
    )


def test_gates_of_several_sequences_stand_in_one_piece_each() -> None:
    for kind, gates in (("lstm", 4), ("gru", 2)):
        forward, _ = loops(source(kind))
        assert f".reshape(3, {gates}, 3).swapaxes(0, 1)\n" in source(kind)
        assert forward.count("[...] =") == 1
        assert "gates[:, 0]" in source(kind)
        assert "gates[..., " not in source(kind)
    row = unroll(cell_of("lstm"), features(batch=1), fused=True).program.source
    assert "swapaxes" not in row
    assert "f = gates[..., 0:3]" in row


def test_gradients_of_weights_are_one_product_after_the_loop() -> None:
    for kind in CELLS:
        _, backward = loops(source(kind))
        assert "dW" not in backward
        assert "db" not in backward
        assert "dW_h = products(h_prev, " in source(kind)


def test_one_tanh_serves_all_gates_and_weights_take_the_halves() -> None:
    forward, _ = loops(source("lstm"))
    assert forward.count("tanh(") == 2
    assert "sigmoid(" not in forward
    assert "W_h_half = W_h * halves" in source("lstm")
    assert "tanh(z" not in loops(source("rnn"))[1]


def test_biases_join_the_rows_that_are_looked_up() -> None:
    assert "table = W_x + b" in source("rnn")
    assert "look_up(table, x, a)" in source("rnn")


# ---- what cannot be fused ------------------------------------------------------------------------------------------------------------


def branching(c: Any, x: Any, h: Any) -> Any:
    return tanh(h @ c.W_h) if (h.sum() > 0) else x @ c.W_x


def looking(c: Any, x: Any, h: Any) -> Any:
    return h * float(np.asarray(h.data).max())


def random(c: Any, x: Any, h: Any) -> Any:
    return tanh(h @ c.W_h) * (RANDOM.random((N, H)) < 0.5)


def counting(c: Any, x: Any, h: Any) -> Any:
    c.steps = getattr(c, "steps", 0) + 1
    return tanh(h @ c.W_h)


def keeping(c: Any, x: Any, h: Any) -> Any:
    c.last = tanh(h @ c.W_h)
    return c.last


def leaking(c: Any, x: Any, h: Any) -> Any:
    y = tanh(h @ c.W_h)
    KEPT.append((y * y).sum())
    return y


def without_record(c: Any, x: Any, h: Any) -> Any:
    with no_grad():
        y = tanh(h @ c.W_h)
    return y + h


RANDOM = np.random.default_rng(0)
KEPT: list[Any] = []
REFUSED = {
    branching: r"looks at the numbers of a tensor \(if x\).*where\(condition, a, b\)",
    looking: r"x\.data.*where\(",
    random: "something else at each step.*fused=False",
    counting: "changes in Own.steps.*Let the state carry",
    keeping: "keeps a tensor of the step in Own.last",
    leaking: "keeps a tensor that it made by sum.*Let the state carry",
    without_record: r"no_grad\(\).*detach\(\)",
    lambda c, x, h: concat([h, h], axis=0): r"\(3, 3\) before the step and float64 \(6, 3\) after it",
    lambda c, x, h: h.astype(np.float32): r"float64 \(3, 3\) before the step and float32",
    lambda c, x, h: Tensor(np.zeros((N, H))): "not made from what it was given",
    lambda c, x, h: h[Tensor(np.array([0, 1, 2]))]: r"take\(x, i\)",
    lambda c, x, h: np.tanh(h): "np.tanh|NumPy",
    lambda c, x, h: h.numpy() * 2: r"x\.numpy\(\)",
}


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.__name__)
def test_what_cannot_be_fused_says_why_and_what_to_do(step: Any) -> None:
    with pytest.raises((CannotFuse, TypeError), match=REFUSED[step]):
        unroll(Own(step), features(), fused=True)


def test_auto_warns_and_runs_the_elementary_loop() -> None:
    cell = Own(branching)
    with pytest.warns(UserWarning, match="Own runs unfused.*looks at the numbers"):
        run = unroll(cell, features(), fused="auto")
    close(run.outputs.numpy(), unroll(cell, features()).outputs.numpy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda cell: unroll(cell, features(), fused=True, hoist=False), "give one of them"),
        (lambda cell: unroll(cell, features(), fused="yes"), "expected False, True or"),
        (lambda cell: list(truncated(cell, features(), k1=1, k2=2, fused=True)), "fused=False"),
        (lambda cell: Stacked([cell])(features(), lengths=[1, 2, 3], packed=True, fused=True), "packed=True"),
        (lambda cell: unroll(cell, np.full((T, N), C), fused=True), "symbols from 4 to 4"),
        (lambda cell: unroll(cell, features(size=C + 1), fused=True), "inner sizes 5 and 4 differ"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call: Any, message: str) -> None:
    cell = cell_of("lstm")
    unroll(cell, np.zeros((T, N), int), fused=True)
    with pytest.raises(ValueError, match=message):
        call(cell)


def test_a_model_that_ran_fused_is_freed_with_its_programs() -> None:
    class Reader(Module):
        def __init__(self) -> None:
            self.cell = LSTMCell(3, 4, rng=np.random.default_rng(0))

        def forward(self, xs: Any) -> Any:
            return unroll(self.cell, xs, fused=True).last

    reader = Reader()
    reader(np.ones((5, 2, 3), np.float32)).sum().backward()
    seen = weakref.ref(reader), weakref.ref(reader.cell)
    del reader
    gc.collect()
    assert [ref() for ref in seen] == [None, None]
