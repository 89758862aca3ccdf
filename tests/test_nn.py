"""Modules, layers and initialisers."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import Tensor, grad, nn

Array = np.ndarray[Any, np.dtype[Any]]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(actual: Any, expected: Any) -> None:
    """Equal in every element, shape and dtype."""
    np.testing.assert_array_equal(actual, expected, strict=True)


def refused(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=re.escape(message))


class Cell(nn.Module):
    def __init__(self) -> None:
        self.W, self.b = nn.zeros(2, 3), nn.zeros(3)


class Net(nn.Module):
    """Parameters in every kind of place, and what is no parameter next to them."""

    def __init__(self) -> None:
        self.size = 3
        self.first = nn.zeros(1)
        self.cell = Cell()
        self.layers: list[Any] = [Cell(), nn.zeros(2)]
        self.pair = (nn.zeros(4), [nn.zeros(5)])
        self.table = {"a": nn.zeros(6), "b": Cell(), 7: nn.zeros(7)}
        self.nothing = None
        self.array = np.ones(3)
        self.last = nn.zeros(8)

    def forward(self, x: Any) -> Any:
        return x


NAMES = [
    "first",
    *["cell.W", "cell.b"],
    *["layers.0.W", "layers.0.b", "layers.1"],
    *["pair.0", "pair.1.0"],
    *["table.a", "table.b.W", "table.b.b", "table.7"],
    "last",
]


# ---- finding parameters ----------------------------------------------------------------------------------------------------------------


def test_parameters_are_found_through_attributes_lists_tuples_dicts_and_modules_in_the_order_made() -> None:
    net = Net()
    assert list(net.named_parameters()) == NAMES
    assert [p.shape for p in net.parameters()] == [(1,), (2, 3), (3,), (2, 3), (3,), (2,), (4,), (5,), (6,), (2, 3), (3,), (7,), (8,)]
    assert net.named_parameters()["layers.0.W"] is net.layers[0].W
    assert list(Net().named_parameters()) == NAMES


def test_parameters_are_the_tensors_themselves_each_time() -> None:
    net = Net()
    assert all(a is b for a, b in zip(net.parameters(), net.parameters(), strict=True))


def test_a_tied_parameter_counts_once_by_its_first_name() -> None:
    net = nn.Module()
    shared, cell = nn.zeros(2), Cell()
    net.a, net.other, net.b, net.cells = shared, nn.zeros(1), [shared], {"x": cell, "y": cell}  # type: ignore[attr-defined]
    assert list(net.named_parameters()) == ["a", "other", "cells.x.W", "cells.x.b"]
    assert list(net.state_dict()) == ["a", "other", "cells.x.W", "cells.x.b"]


def test_equal_parameters_that_are_not_the_same_tensor_are_both_found() -> None:
    net = nn.Module()
    net.a, net.b = nn.zeros(2), nn.zeros(2)  # type: ignore[attr-defined]
    assert list(net.named_parameters()) == ["a", "b"]


def test_cycles_of_modules_and_lists_do_not_hang() -> None:
    net, cell = nn.Module(), Cell()
    parts: list[Any] = [cell]
    parts.append(parts)
    net.me, net.parts, cell.owner = net, parts, net  # type: ignore[attr-defined]
    assert list(net.named_parameters()) == ["parts.0.W", "parts.0.b"]
    assert not net.eval().training
    assert not cell.training


def test_modules_are_this_one_and_all_within_each_once() -> None:
    net, cell = nn.Module(), Cell()
    net.a, net.b, net.me = cell, [cell], net  # type: ignore[attr-defined]
    assert net.modules() == [net, cell]
    assert [type(module).__name__ for module in Net().modules()] == ["Net", "Cell", "Cell", "Cell"]


def test_tensors_that_an_op_made_are_no_parameters() -> None:
    cell = Cell()
    cell.state = cell.W * 2  # type: ignore[attr-defined]
    assert list(cell.named_parameters()) == ["W", "b"]


def test_a_deep_copy_is_a_module_of_its_own() -> None:
    cell = Cell()
    twin = copy.deepcopy(cell)
    twin.W.data = np.ones((2, 3))
    same(cell.W.numpy(), np.zeros((2, 3), np.float32))
    assert list(twin.named_parameters()) == ["W", "b"]
    (cell.W * twin.W).sum().backward()
    same(cell.W.grad, np.ones((2, 3), np.float32))
    same(twin.W.grad, np.zeros((2, 3), np.float32))


def test_zero_grad_forgets_all_gradients() -> None:
    net = Net()
    for p in net.parameters():
        p.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


# ---- calling and modes -----------------------------------------------------------------------------------------------------------------


def test_calling_a_module_runs_forward_within_its_scope() -> None:
    class Twice(nn.Module):
        def forward(self, x: Any, *, times: int) -> Any:
            return x * times

    twice, x = Twice(), Tensor([1.0])
    y = twice(x, times=2)
    same(y.numpy(), np.array([2.0]))
    assert y._place == (None, twice)
    assert (x * 2)._place is None


def test_forward_may_call_its_arguments_what_it_likes() -> None:
    class Told(nn.Module):
        def forward(self, *, name: str, function: str) -> str:
            return name + function

    assert Told()(name="a", function="b") == "ab"


def test_a_module_without_forward_says_so() -> None:
    with refused(NotImplementedError, "Cell has no forward method; write one."):
        Cell()(1)


def test_train_and_eval_reach_nested_modules_and_return_the_module() -> None:
    net = Net()
    inner: list[Any] = [net.cell, net.layers[0], net.table["b"]]
    assert all(module.training for module in [net, *inner])
    assert net.eval() is net
    assert not any(module.training for module in [net, *inner])
    assert net.train() is net
    assert all(module.training for module in [net, *inner])
    net.train(False)
    assert not any(module.training for module in [net, *inner])
    assert Net().training


# ---- state_dict ------------------------------------------------------------------------------------------------------------------------


def filled(net: nn.Module, seed: int) -> nn.Module:
    generator = rng(seed)
    for p in net.parameters():
        p.data = generator.standard_normal(p.shape)
    return net


def test_a_state_is_a_round_trip() -> None:
    source, target = filled(Net(), 0), filled(Net(), 1)
    state = source.state_dict()
    assert list(state) == NAMES
    target.load_state_dict(state)
    for a, b in zip(source.parameters(), target.parameters(), strict=True):
        same(b.numpy(), a.numpy())
    before = {name: array.copy() for name, array in state.items()}
    filled(source, 2)
    for name, parameter in target.named_parameters().items():
        same(parameter.numpy(), before[name])
        same(state[name], before[name])


def test_a_state_is_read_only_and_a_loaded_array_is_copied() -> None:
    cell = Cell()
    with pytest.raises(ValueError, match="read-only"):
        cell.state_dict()["b"][0] = 1
    given = {"b": np.ones(3, np.float32), "W": np.ones((2, 3), np.float32)}
    cell.load_state_dict(given)
    given["b"][:] = 5
    same(cell.b.numpy(), np.ones(3, np.float32))


def test_loading_keeps_the_dtype_and_the_parameters_themselves() -> None:
    cell = Cell()
    W = cell.W
    cell.load_state_dict({"W": np.ones((2, 3)), "b": [1, 2, 3]})
    assert cell.W is W
    same(W.numpy(), np.ones((2, 3), np.float32))
    same(cell.b.numpy(), np.array([1, 2, 3], np.float32))


def test_a_wrong_state_is_refused_with_all_its_faults_and_changes_nothing() -> None:
    net = nn.Module()
    net.cell, net.h = Cell(), nn.zeros(4)  # type: ignore[attr-defined]
    wrong = {"cell.b": np.ones(5), "h": np.ones(4), "extra": np.ones((2, 2))}
    expected = (
        "load_state_dict: this state is not one of this Module: "
        "missing cell.W (2, 3); unexpected extra (2, 2); cell.b is (5,), expected (3,)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        net.load_state_dict(wrong)
    for parameter in net.parameters():
        assert not parameter.data.any()


# ---- initialisers ----------------------------------------------------------------------------------------------------------------------

INITIALISERS: dict[str, Callable[..., Tensor]] = {
    "uniform": lambda seed, **kw: nn.uniform(rng(seed), 40, 30, bound=0.5, **kw),
    "xavier": lambda seed, **kw: nn.xavier(rng(seed), 40, 30, **kw),
    "orthogonal": lambda seed, **kw: nn.orthogonal(rng(seed), 40, 30, **kw),
    "zeros": lambda seed, **kw: nn.zeros(40, 30, **kw),
    "Linear": lambda seed, **kw: nn.Linear(40, 30, rng=rng(seed), **kw).W,
    "Embedding": lambda seed, **kw: nn.Embedding(40, 30, rng=rng(seed), **kw).W,
}


@pytest.mark.parametrize("make", INITIALISERS.values(), ids=list(INITIALISERS))
def test_initialisers_give_parameters_of_float32_or_the_dtype_asked_for(make: Callable[..., Tensor]) -> None:
    for parameter, dtype in [(make(0), np.float32), (make(0, dtype=np.float64), np.float64)]:
        assert parameter.dtype == dtype
        assert parameter.shape == (40, 30)
        assert parameter.requires_grad
    np.testing.assert_allclose(make(0).data, make(0, dtype=np.float64).data, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", INITIALISERS.values(), ids=list(INITIALISERS))
def test_initialisers_give_the_same_for_the_same_seed(make: Callable[..., Tensor]) -> None:
    assert make(0).data.tobytes() == make(0).data.tobytes()
    if make is not INITIALISERS["zeros"]:
        assert make(0).data.tobytes() != make(1).data.tobytes()


def test_uniform_fills_its_interval() -> None:
    x = nn.uniform(rng(), 100, 100, bound=0.25, dtype=float).data
    assert np.abs(x).max() <= 0.25
    assert x.max() > 0.249
    assert x.min() < -0.249
    np.testing.assert_allclose(x.mean(), 0, atol=5 * 0.25 / np.sqrt(3) / 100)


def test_xavier_takes_its_bound_from_the_last_two_sizes() -> None:
    bound = np.sqrt(6 / (50 + 30))
    for shape in [(50, 30), (4, 50, 30)]:
        x = nn.xavier(rng(), *shape, dtype=float).data
        assert x.shape == shape
        assert 0.99 * bound < np.abs(x).max() <= bound


@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (7, 4), (4, 7), (1, 6), (6, 1)])
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_singular_values_of_an_orthogonal_matrix_are_the_gain(rows: int, columns: int, gain: float) -> None:
    x = nn.orthogonal(rng(), rows, columns, gain, dtype=float)
    assert x.shape == (rows, columns)
    np.testing.assert_allclose(np.linalg.svd(x.data, compute_uv=False), gain, rtol=1e-12)


def test_orthogonal_matrices_have_no_preferred_sign() -> None:
    positive = sum(nn.orthogonal(rng(seed), 2, 2).data[0, 0] > 0 for seed in range(200))
    assert 60 < positive < 140  # 5.6 standard errors; without the sign of r's diagonal it is 0 or 200


# ---- Linear ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 0, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_x_W_plus_b(shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(4, 5, rng=rng(), bias=bias, dtype=float)
    assert [p.shape for p in linear.parameters()] == ([(4, 5), (5,)] if bias else [(4, 5)])
    x = rng(1).standard_normal(shape)
    expected = np.einsum("...c,cd->...d", x, linear.W.data) + (0 if linear.b is None else linear.b.data)
    for given in (x, Tensor(x)):
        y = linear(given)
        assert y.shape == (*shape[:-1], 5)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_gradients_of_linear_agree_with_the_hand_formula() -> None:
    linear = nn.Linear(4, 5, rng=rng(), dtype=float)
    x = Tensor(rng(1).standard_normal((2, 3, 4)), requires_grad=True)
    g = rng(2).standard_normal((2, 3, 5))
    linear(x).backward(g)
    assert linear.b is not None
    np.testing.assert_allclose(linear.W.grad, np.einsum("tnc,tnd->cd", x.data, g), rtol=1e-12)  # type: ignore[arg-type]
    np.testing.assert_allclose(linear.b.grad, g.sum(axis=(0, 1)), rtol=1e-12)  # type: ignore[arg-type]
    np.testing.assert_allclose(x.grad, g @ linear.W.data.T, rtol=1e-12)  # type: ignore[arg-type]


def test_linear_starts_within_its_bound_and_keeps_float32() -> None:
    linear = nn.Linear(16, 200, rng=rng())
    assert linear.b is not None
    for parameter in (linear.W, linear.b):
        assert 0.24 < np.abs(parameter.data).max() <= 0.25
    assert linear(np.ones((2, 16), np.float32)).dtype == np.float32


def test_linear_of_another_size_is_refused() -> None:
    with refused(ValueError, "matmul: (2, 3) @ (4, 5): inner sizes 3 and 4 differ."):
        nn.Linear(4, 5, rng=rng())(np.ones((2, 3)))


# ---- Embedding -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbols", [3, [0, 4, 4, 1, 4], [[1, 0], [2, 1]], np.zeros((2, 0), int), np.array([3, 3], np.uint8)], ids=str)
@pytest.mark.parametrize("wrap", [lambda x: x, np.asarray, Tensor], ids=["as is", "array", "Tensor"])
def test_embedding_is_the_product_of_one_hot_vectors_with_its_table(symbols: Any, wrap: Callable[[Any], Any]) -> None:
    embedding = nn.Embedding(5, 3, rng=rng(), dtype=float)
    one_hot = np.eye(5)[np.asarray(symbols)]
    y = embedding(wrap(symbols))
    np.testing.assert_allclose(y.numpy(), one_hot @ embedding.W.data, rtol=1e-14)
    g = rng(1).standard_normal(y.shape)
    expected = one_hot.reshape(-1, 5).T @ g.reshape(-1, 3)
    np.testing.assert_allclose(grad(y, embedding.W, gradient=g), expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(grad(y, embedding.W, gradient=g, create_graph=True).numpy(), expected, rtol=1e-13, atol=1e-14)


def test_an_embedding_that_is_used_at_several_steps_adds_up_its_gradients() -> None:
    embedding = nn.Embedding(5, 3, rng=rng(), dtype=float)
    total = (embedding([0, 1, 1]) * 2).sum() + embedding([1, 4]).sum() + embedding(2).sum()
    total.backward()
    same(embedding.W.grad, np.repeat([[2.0], [5.0], [1.0], [0.0], [1.0]], 3, axis=1))


def test_bytes_are_symbols_of_a_table_of_256() -> None:
    embedding = nn.Embedding(256, 2, rng=rng(), dtype=float)
    text = np.frombuffer(b"hello\xff", np.uint8)
    embedding(text).sum().backward()
    expected = np.zeros((256, 2))
    np.add.at(expected, text, 1)
    same(embedding.W.grad, expected)


@pytest.mark.parametrize("symbols", [[0.0, 1.0], 1.5, [True, False], Tensor([1.0])], ids=str)
def test_symbols_that_are_no_integers_are_a_type_error(symbols: Any) -> None:
    with pytest.raises(TypeError, match=r"symbols are (float64|bool), expected integers in \[0, 5\)\."):
        nn.Embedding(5, 3, rng=rng())(symbols)


@pytest.mark.parametrize(("symbols", "low", "high"), [([0, 5], 0, 5), ([-1, 2], -1, 2), (7, 7, 7), (Tensor([-5]), -5, -5)])
def test_symbols_outside_the_table_are_a_value_error(symbols: Any, low: int, high: int) -> None:
    with refused(ValueError, f"symbols from {low} to {high}, expected integers in [0, 5)."):
        nn.Embedding(5, 3, rng=rng())(symbols)


# ---- Dropout ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation_and_drops_a_share_of_p(p: float) -> None:
    n = 100_000
    y = nn.Dropout(p, rng=rng())(Tensor(np.full(n, 3.0))).numpy()
    np.testing.assert_allclose(y[y != 0], 3 / (1 - p), rtol=1e-15)
    np.testing.assert_allclose((y == 0).mean(), p, atol=4 * np.sqrt(p * (1 - p) / n))
    np.testing.assert_allclose(y.mean(), 3.0, atol=4 * 3 * np.sqrt(p / (1 - p) / n))


def test_the_gradient_of_dropout_goes_through_the_same_mask() -> None:
    x = Tensor(np.ones((10, 10)), requires_grad=True)
    y = nn.Dropout(0.5, rng=rng())(x)
    y.sum().backward()
    same(x.grad, y.numpy())


def test_dropout_is_the_identity_in_eval_and_at_p_0() -> None:
    x, generator = Tensor(np.ones(100)), rng()
    assert nn.Dropout(0.5, rng=generator).eval()(x) is x
    assert nn.Dropout(0, rng=generator)(x) is x
    assert generator.bit_generator.state == rng().bit_generator.state  # no number was drawn


def test_dropout_gives_the_same_mask_for_the_same_seed_and_another_on_each_call() -> None:
    x = Tensor(np.ones(100))
    first, second = nn.Dropout(0.5, rng=rng(3)), nn.Dropout(0.5, rng=rng(3))
    a, b = first(x).numpy(), first(x).numpy()
    same(second(x).numpy(), a)
    same(second(x).numpy(), b)
    assert (a != b).any()
    assert (nn.Dropout(0.5, rng=rng(4))(x).numpy() != a).any()


def test_dropout_draws_the_same_mask_for_float32_and_float64_and_keeps_the_dtype() -> None:
    x = np.ones(100)
    single, double = nn.Dropout(0.3, rng=rng())(Tensor(x.astype(np.float32))), nn.Dropout(0.3, rng=rng())(Tensor(x))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    same(single.numpy() == 0, double.numpy() == 0)
    np.testing.assert_allclose(single.numpy(), double.numpy(), rtol=1e-6)


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_dropout_needs_a_probability_below_1(p: float) -> None:
    with refused(ValueError, f"Dropout: p={p}, expected a probability in [0, 1)."):
        nn.Dropout(p, rng=rng())


def test_a_state_of_another_kind_of_numbers_is_refused_and_nothing_is_loaded() -> None:
    linear = nn.Linear(2, 3, rng=np.random.default_rng(0))
    before = linear.state_dict()
    for wrong in (np.array(["x", "y", "z"]), np.ones(3) * 1j):
        with pytest.raises(ValueError, match=r"b is .*, expected float32"):
            linear.load_state_dict({"W": np.ones((2, 3)), "b": wrong})
    np.testing.assert_array_equal(linear.W.numpy(), before["W"])
