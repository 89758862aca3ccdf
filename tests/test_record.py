"""The machine: what a record holds, what backward does with it, and what it refuses."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq import Tensor, grad, no_grad, op, scope, step
from tinygrad_seq.record import Op, within

Array = np.ndarray[Any, np.dtype[Any]]


@op(lambda g, y, x: 3 * g * x**2)
def cube(x: Any) -> Any:
    return x**3


def leaf(*values: float, dtype: Any = None) -> Tensor:
    return Tensor(list(values), requires_grad=True, dtype=dtype)


def counting() -> tuple[Op, Op, list[str]]:
    """An op of one operand (2x) and one of two (a + 2b) whose rules write down that they were called."""
    calls: list[str] = []

    def noted(name: str, factor: float) -> Callable[..., Any]:
        def rule(g: Any, y: Any, *operands: Any) -> Any:
            calls.append(name)
            return g * factor

        return rule

    @op(noted("x", 2))
    def twice(x: Any) -> Any:
        return 2 * x

    @op(noted("a", 1), noted("b", 2))
    def mixed(a: Any, b: Any) -> Any:
        return a + 2 * b

    return twice, mixed, calls


def same(actual: Any, expected: Any) -> None:
    """Equal in every element, shape and dtype."""
    np.testing.assert_array_equal(actual, expected, strict=True)


# ---- what adds up and what does not ----------------------------------------------------------------------------------------------------


def test_leaves_accumulate_over_two_backwards() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    same(x.grad, np.array([2.0, 4.0]))
    y.backward()
    same(x.grad, np.array([4.0, 8.0]))


def test_leaves_accumulate_over_two_graphs() -> None:
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    (x * x).sum().backward()
    same(x.grad, np.array([5.0, 7.0]))


def test_an_accumulated_gradient_does_not_change_the_array_that_was_there_before() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    first = x.grad
    y.backward()
    same(first, np.array([2.0, 4.0]))


def test_the_gradient_of_a_number_is_an_array_after_one_backward_and_after_two() -> None:
    x = Tensor(3.0, requires_grad=True)
    y = x * x
    for expected in (6.0, 12.0):
        y.backward()
        assert isinstance(x.grad, np.ndarray)
        same(x.grad, np.array(expected))


def test_retained_gradients_are_replaced_and_the_same_on_a_second_backward() -> None:
    x = leaf(1.0, 2.0)
    h = (x * x).retain_grad()
    k = (h * 3).retain_grad()
    y = (k * k).sum()
    y.backward()
    same(h.grad, 18 * np.array([1.0, 4.0]))
    same(k.grad, 6 * np.array([1.0, 4.0]))
    h_first, k_first = h.grad, k.grad
    y.backward()
    same(h.grad, h_first)
    same(k.grad, k_first)
    same(x.grad, 2 * 36 * np.array([1.0, 8.0]))


def test_retained_gradients_of_a_second_loss_replace_those_of_the_first() -> None:
    x = leaf(1.0, 2.0)
    h = (x * x).retain_grad()
    (h * 3).sum().backward()
    (h * 5).sum().backward()
    same(h.grad, np.array([5.0, 5.0]))
    same(x.grad, np.array([16.0, 32.0]))


def test_without_retain_grad_an_intermediate_has_no_gradient() -> None:
    x = leaf(1.0, 2.0)
    h = x * x
    h.sum().backward()
    assert h.grad is None


def test_retain_grad_returns_the_tensor_and_may_be_asked_of_a_leaf_and_of_the_loss() -> None:
    x = leaf(1.0, 2.0)
    assert x.retain_grad() is x
    y = (x * x).sum().retain_grad()
    y.backward()
    y.backward()
    same(x.grad, np.array([4.0, 8.0]))
    same(y.grad, np.array(1.0))


def test_a_leaf_is_its_own_loss() -> None:
    x = Tensor(5.0, requires_grad=True)
    x.backward()
    same(x.grad, np.array(1.0))


def test_a_leaf_without_requires_grad_gets_no_gradient() -> None:
    x, c = leaf(1.0, 2.0), Tensor([3.0, 4.0])
    (x * c).sum().backward()
    assert c.grad is None
    same(x.grad, np.array([3.0, 4.0]))


def test_a_tensor_added_to_itself_twice_over_counts_four_times() -> None:
    a = Tensor(3.0, requires_grad=True)
    b = a + a
    c = b + b
    c.backward()
    same(a.grad, np.array(4.0))


def test_all_contributions_are_in_before_a_gradient_flows_on() -> None:
    # h is used early and late: a walk that is not in topological order hands its gradient on too soon.
    x = Tensor(2.0, requires_grad=True)
    h = x * x
    late = tg.exp(h * 0.1) * h
    y = late * h + h
    y.backward()
    h0, e = 4.0, np.exp(0.4)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, (0.1 * e * h0**2 + 2 * e * h0 + 1) * 2 * 2.0, rtol=1e-14)


def test_twenty_diamonds_call_each_rule_once_for_each_use() -> None:
    twice, _, calls = counting()
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(20):
        y = twice(y) + twice(y)
    y.backward()
    assert calls == ["x"] * 40
    same(x.grad, np.array(4.0**20))


def test_an_operand_that_stands_twice_in_one_op_gets_both_gradients() -> None:
    _, mixed, calls = counting()
    x = Tensor(1.0, requires_grad=True)
    mixed(x, x).backward()
    assert sorted(calls) == ["a", "b"]
    same(x.grad, np.array(3.0))


# ---- long chains and memory ------------------------------------------------------------------------------------------------------------


def differentiate_a_chain(ops: int) -> None:
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(ops):
        y = y + 1.0
    assert y.item() == 1.0 + ops
    same(grad(y, x), np.array(1.0))
    y.backward()
    same(x.grad, np.array(1.0))
    first = weakref.ref(y)
    del y
    assert first() is None


def test_a_chain_of_100_000_ops_is_built_differentiated_and_freed() -> None:
    differentiate_a_chain(100_000)


@pytest.mark.slow
def test_a_chain_of_1_000_000_ops_is_built_differentiated_and_freed() -> None:
    differentiate_a_chain(1_000_000)


def test_a_chain_of_10_000_ops_is_differentiated_twice() -> None:
    x = Tensor(1.0, requires_grad=True)
    y = x * x
    for _ in range(10_000):
        y = y + 1.0
    first = grad(y, x, create_graph=True)
    same(grad(first, x), np.array(2.0))


def some_graph() -> list[weakref.ref[Tensor]]:
    """A recurrent net, differentiated in every way; gives references to its intermediates."""
    w, h = Tensor(np.eye(3) / 2, requires_grad=True), Tensor(np.ones((2, 3)))
    made = []
    for t in range(4):
        with step(t):
            h = tg.tanh(tg.concat([h[:, :2], h[:, 2:]], axis=1) @ w + 1)
        made.append(weakref.ref(h))
    loss = (h * h).mean()
    made.append(weakref.ref(loss))
    loss.backward()
    slope = grad(loss, w, create_graph=True)
    made.append(weakref.ref(slope))
    (slope * slope).sum().backward()
    return made


def test_graphs_leave_no_garbage_for_the_collector() -> None:
    some_graph()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            assert [reference() for reference in some_graph()] == [None] * 6
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_intermediate_lives_as_long_as_its_loss_and_no_longer() -> None:
    x = leaf(1.0, 2.0)
    h = x * x
    loss = h.sum()
    reference = weakref.ref(h)
    del h
    assert reference() is not None
    loss.backward()
    assert reference() is not None
    gc.disable()
    try:
        del loss
        assert reference() is None
    finally:
        gc.enable()


def test_without_a_record_an_intermediate_dies_at_once() -> None:
    x = leaf(1.0, 2.0)
    with no_grad():
        h = x * x
        y = h + 1
    reference = weakref.ref(h)
    del h
    assert reference() is None
    same(y.numpy(), np.array([2.0, 5.0]))


# ---- what the record saw cannot be changed ---------------------------------------------------------------------------------------------


def test_rebinding_a_parameter_after_the_forward_does_not_change_the_gradient() -> None:
    w, x = leaf(2.0, 3.0), leaf(5.0, 7.0)
    loss = (w * w * x).sum()
    w.data = np.array([100.0, 100.0])
    loss.backward()
    same(w.grad, np.array([20.0, 42.0]))
    same(x.grad, np.array([4.0, 9.0]))


def test_rebinding_a_parameter_does_not_change_first_and_second_derivatives_of_a_graph_made_before() -> None:
    w = leaf(2.0, 3.0)
    loss = cube(w).sum() + (w * w * w).sum()
    w.data = np.array([100.0, 100.0])
    first = grad(loss, w, create_graph=True)
    same(first.numpy(), np.array([24.0, 54.0]))
    w.data = np.array([-100.0, 0.0])
    same(grad(first.sum(), w), np.array([24.0, 36.0]))


def test_rebinding_a_constant_does_not_change_second_derivatives_of_a_graph_made_before() -> None:
    w, c = leaf(2.0, 3.0), Tensor([5.0, 7.0])
    loss = (w * w * c).sum()
    c.data = np.array([0.0, 0.0])
    first = grad(loss, w, create_graph=True)
    same(first.numpy(), np.array([20.0, 42.0]))
    same(grad(first.sum(), w), np.array([10.0, 14.0]))


def test_a_graph_made_after_rebinding_sees_the_new_numbers() -> None:
    w = leaf(2.0, 3.0)
    w.data = np.array([5.0, 7.0])
    (w * w).sum().backward()
    same(w.grad, np.array([10.0, 14.0]))


def test_rebinding_keeps_the_dtype_and_takes_a_copy() -> None:
    w = leaf(2.0, 3.0, dtype=np.float32)
    new = np.array([5.0, 7.0])
    w.data = new
    new[:] = 0
    same(w.data, np.array([5.0, 7.0], dtype=np.float32))
    same_type = np.array([1.0, 2.0], dtype=np.float32)
    w.data = same_type
    same_type[:] = 0
    same(w.data, np.array([1.0, 2.0], dtype=np.float32))


def test_recorded_arrays_cannot_be_written_into() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y.reshape(2, 1)
    for array in (x.data, x.numpy(), y.data, y.numpy(), z.data, x.detach().data, y.detach().data):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        x.data += 1


CHANGES: dict[str, Callable[[Array], Any]] = {
    "the array": lambda base: base,
    "a row of the array": lambda base: base[:1],
    "a transposed view": lambda base: base.T.T,
    "a broadcast view": lambda base: np.broadcast_to(base[0], (2, 3)),
    "a broadcast view of a slice of a view": lambda base: np.broadcast_to(base.reshape(3, 2).reshape(2, 3)[:, :1], (2, 3)),
    "a read-only view of a writable base": lambda base: read_only(base[:]),
}


def read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("view", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("order", [1, 2])
def test_an_array_changed_after_the_op_does_not_change_the_gradient(view: Callable[[Array], Any], order: int) -> None:
    base = np.arange(1.0, 7.0).reshape(2, 3)
    given = view(base)
    before = given.copy()
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    left, right = (given * x).sum(), (x * x * given).sum()
    base[:] = 1000.0
    expected = np.broadcast_to(before, (2, 3))
    if order == 1:
        same(grad(left, x), expected)
        same(grad(right, x), 2 * expected)
    else:
        same(grad(left, x, create_graph=True).numpy(), expected)
        first = grad(right, x, create_graph=True)
        same(first.numpy(), 2 * expected)
        same(grad(first.sum(), x), 2 * expected)


def test_an_array_changed_after_an_op_of_many_operands_does_not_change_the_gradient() -> None:
    given, flags, x = np.ones(2), np.array([True, False]), leaf(2.0, 3.0)
    joined = tg.concat([given, x]) * tg.concat([x, given])
    chosen = tg.where(flags, x, given)
    given[:] = 1000.0
    flags[:] = [False, True]
    same(grad(joined.sum(), x), np.array([2.0, 2.0]))
    same(grad(chosen.sum(), x), np.array([1.0, 0.0]))
    same(grad(chosen.sum(), x, create_graph=True).numpy(), np.array([1.0, 0.0]))


@pytest.mark.parametrize("pick", [lambda x, i: x[i], tg.take, lambda x, i: tg.getitem(x, index=i)], ids=["[]", "take", "getitem"])
def test_an_index_changed_after_the_op_does_not_change_the_gradient(pick: Callable[[Tensor, Array], Tensor]) -> None:
    x, index = leaf(1.0, 2.0, 3.0), np.array([0, 0, 2])
    y = pick(x, index)
    index[:] = 1
    same(grad(y.sum(), x), np.array([2.0, 0.0, 1.0]))
    same(grad(y.sum(), x, create_graph=True).numpy(), np.array([2.0, 0.0, 1.0]))


def test_a_list_as_operand_is_differentiated_through_at_second_order() -> None:
    x = leaf(2.0, 3.0)
    first = grad((x * x * [5.0, 7.0]).sum(), x, create_graph=True)
    same(grad(first.sum(), x), np.array([10.0, 14.0]))


def test_gradients_share_memory_with_nothing() -> None:
    a, b, seed, c = leaf(1.0, 2.0), leaf(3.0, 4.0), np.array([1.0, 1.0]), np.array([1.0, 1.0])
    h = (a + b).retain_grad()
    y = (h + c).retain_grad()
    y.backward(seed)
    arrays = [a.grad, b.grad, h.grad, y.grad, seed, c, a.data, b.data, h.data, y.data]
    for i, one in enumerate(arrays):
        for other in arrays[i + 1 :]:
            assert one is not None
            assert other is not None
            assert not np.shares_memory(one, other)


def test_gradients_that_are_products_with_views_share_no_memory() -> None:
    a = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    b = Tensor(np.ones((3, 2)), requires_grad=True)
    h = a.T.retain_grad()
    k = (h + b).reshape(6).retain_grad()
    k.sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    a.grad[:] = 7
    assert h.grad is not None
    h.grad[:] = 8
    same(k.grad, np.ones(6))
    same(b.grad, np.ones((3, 2)))
    same(a.grad, np.full((2, 3), 7.0))


def test_a_gradient_that_is_a_sum_shares_memory_with_nothing() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (a + b).retain_grad()
    (h * 2 + h * 3 + a * h.detach()).sum().backward()
    assert a.grad is not None
    assert h.grad is not None
    h.grad[:] = 8
    a.grad[:] = 7
    same(b.grad, np.array([5.0, 5.0]))
    same(h.grad, np.array([8.0, 8.0]))


def test_a_sum_that_an_op_gives_of_all_uses_is_the_gradient_itself() -> None:
    made: list[Any] = []

    def together(uses: list[Any]) -> Any:
        made.append(np.full(2, float(len(uses))))
        return made[0]

    @op(lambda g, y, x: g, together={0: together})
    def same_as(x: Any) -> Any:
        return x * 1

    x = leaf(1.0, 2.0)
    (same_as(x) + same_as(x)).sum().backward()
    assert x.grad is made[0]
    same(x.grad, np.array([2.0, 2.0]))


def test_uses_that_were_taken_early_are_not_taken_again() -> None:
    W, b, h = Tensor(np.ones((4, 4)), requires_grad=True), leaf(0.0, 0.0, 0.0), Tensor(np.zeros(3), requires_grad=True)
    sum((np.ones((10_000, 4)) @ W).sum() for _ in range(3)).backward()  # type: ignore[union-attr]  # each use is larger than may wait
    same(W.grad, np.full((4, 4), 30_000.0))
    rows = np.ones((500, 3))
    sum((b * rows + h).sum() for _ in range(60)).backward()  # type: ignore[union-attr]
    same(b.grad, np.full(3, 30_000.0))
    same(h.grad, np.full(3, 30_000.0))


@pytest.mark.parametrize("rule", [lambda g, y, x: g[..., :2], lambda g, y, x: np.ones((4, 2)), lambda g, y, x: np.ones((2, 0))])
def test_a_rule_of_a_wrong_shape_is_told_by_the_name_of_its_op_for_a_row_too(rule: Any) -> None:
    @op(rule)
    def tripled(x: Any) -> Any:
        return x * 3

    with refused(ValueError, "tripled: a rule gave a gradient of shape"):
        tripled(leaf(1.0, 2.0, 3.0)).sum().backward()


def test_a_small_bias_on_part_of_something_large_does_not_keep_the_large_alive() -> None:
    def peak(steps: int) -> int:
        b, h = Tensor(np.zeros(4), requires_grad=True), Tensor(np.zeros((50_000, 4)), requires_grad=True)
        for _ in range(steps):
            h = tg.concat([h[:3] + b, h[3:]])
        loss = h.sum()
        tracemalloc.start()
        try:
            loss.backward()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(25) < 1.5 * peak(5)


def test_a_bias_in_float16_keeps_its_digits_over_many_steps() -> None:
    b, x = Tensor(np.zeros(3, np.float16), requires_grad=True), np.full((100, 3), 0.1, np.float16)
    sum((b * x).sum() for _ in range(200)).backward()  # type: ignore[union-attr]
    np.testing.assert_allclose(b.grad, np.full(3, 200 * x.astype(float).sum(axis=0)), rtol=0.003)  # measured: 0.0017


@pytest.mark.parametrize("rows", [[1, 1, 1], [3, 1, 2], [2, 0, 1], [4000, 1, 4000], [40_000]], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_bias_gets_the_sum_over_the_rows_of_all_its_uses(rows: list[int], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    b = Tensor(np.zeros(3, dtype), requires_grad=True)
    xs = [rng.integers(-8, 9, (n, 3)).astype(np.float64) for n in rows]
    sum((x * b).sum() for x in xs).backward()  # type: ignore[union-attr]
    same(b.grad, np.concatenate(xs).sum(axis=0).astype(dtype))
    (sum(((x * b).sum() for x in xs), b.sum()) + (b * np.ones((2, 1, 3))).sum()).backward()
    same(b.grad, (2 * np.concatenate(xs).sum(axis=0) + 3).astype(dtype))


def test_gradients_can_be_written_into() -> None:
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    x.sum().backward()  # the gradient of a sum is a broadcast view within the engine
    assert x.grad is not None
    x.grad[0, 0] = 5
    same(x.grad, np.array([[5.0, 1, 1], [1, 1, 1]]))
    result = grad(x.sum(), x)
    result[0, 0] = 5
    same(grad(x.sum(), x), np.ones((2, 3)))


def test_results_of_grad_share_memory_neither_with_each_other_nor_with_the_seed() -> None:
    a, b, seed = leaf(1.0, 2.0), leaf(3.0, 4.0), np.array([1.0, 1.0])
    y = a + b
    results = [*grad(y, [a, b, y, a], gradient=seed), seed]
    for i, one in enumerate(results):
        assert not any(np.shares_memory(one, other) for other in results[i + 1 :])


def test_backward_mutates_neither_the_seed_nor_an_operand() -> None:
    a, seed, c = leaf(1.0, 2.0), np.array([1.0, 2.0]), np.array([3.0, 4.0])
    ((a * c + a) * (a + a + a)).backward(seed)
    same(seed, np.array([1.0, 2.0]))
    same(c, np.array([3.0, 4.0]))
    same(a.data, np.array([1.0, 2.0]))


# ---- what is not needed is not computed ------------------------------------------------------------------------------------------------


def test_rules_of_operands_without_requires_grad_are_never_called() -> None:
    _, mixed, calls = counting()
    x, c = leaf(1.0, 2.0), Tensor([3.0, 4.0])
    (mixed(x, c) + mixed(c, c) + mixed(np.ones(2), x)).sum().backward()
    assert sorted(calls) == ["a", "b"]
    same(x.grad, np.array([3.0, 3.0]))


def test_rules_of_a_detached_branch_are_never_called() -> None:
    twice, _, calls = counting()
    x = leaf(1.0, 2.0)
    (twice(x).detach() * x).sum().backward()
    assert calls == []
    same(x.grad, np.array([2.0, 4.0]))


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_calls_only_the_rules_that_lead_to_what_was_asked_for(create_graph: bool) -> None:
    _, mixed, calls = counting()
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = mixed(mixed(a, a), mixed(b, b)).sum()
    result = grad(y, b, create_graph=create_graph)  # type: ignore[call-overload]
    assert sorted(calls) == ["a", "b", "b"]
    same(result.numpy() if create_graph else result, np.array([6.0, 6.0]))


def test_grad_does_not_go_beneath_what_was_asked_for() -> None:
    twice, _, calls = counting()
    x = leaf(1.0, 2.0)
    h = twice(x)
    same(grad((h * h).sum(), h), np.array([4.0, 8.0]))
    assert calls == []


def test_grad_touches_no_grad_attribute() -> None:
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (x * z).retain_grad()
    grad((h * h).sum(), [x, h])
    grad((h * h).sum(), [x, h], create_graph=True)
    assert x.grad is z.grad is h.grad is None


# ---- grad ------------------------------------------------------------------------------------------------------------------------------


def test_grad_gives_one_result_for_a_tensor_and_a_list_for_a_sequence() -> None:
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * z).sum()
    same(grad(y, x), np.array([3.0, 4.0]))
    for several in ([z, x], (z, x)):
        results = grad(y, several)
        assert isinstance(results, list)
        same(results[0], np.array([1.0, 2.0]))
        same(results[1], np.array([3.0, 4.0]))
    assert grad(y, []) == []


def test_grad_of_what_was_not_reached_is_zeros_of_its_shape_and_dtype() -> None:
    x, other = leaf(1.0, 2.0), Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = (x * x).sum()
    results = grad(y, [other, x])
    same(results[0], np.zeros((2, 3), np.float32))
    same(results[1], np.array([2.0, 4.0]))
    recorded = grad(y, other, create_graph=True)
    assert isinstance(recorded, Tensor)
    same(recorded.numpy(), np.zeros((2, 3), np.float32))


def test_grad_goes_to_and_through_intermediates() -> None:
    x = leaf(1.0, 2.0)
    h = x * x
    k = h * 3
    y = (k * h).sum()
    at_x, at_h, at_k, at_y = grad(y, [x, h, k, y])
    same(at_y, np.array(1.0))
    same(at_k, np.array([1.0, 4.0]))
    same(at_h, np.array([6.0, 24.0]))
    same(at_x, np.array([12.0, 96.0]))


def test_derivatives_of_tanh_up_to_the_fourth_order_agree_with_the_closed_forms() -> None:
    x = Tensor(np.linspace(-2, 2, 9), requires_grad=True)
    y = tg.tanh(x)
    t = np.tanh(x.data)
    s = 1 - t**2
    d1 = grad(y.sum(), x, create_graph=True)
    d2 = grad(d1.sum(), x, create_graph=True)
    d3 = grad(d2.sum(), x, create_graph=True)
    d4 = grad(d3.sum(), x)
    np.testing.assert_allclose(d1.numpy(), s, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(d2.numpy(), -2 * t * s, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(d3.numpy(), s * (6 * t**2 - 2), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(d4, s * (16 * t - 24 * t**3), rtol=1e-12, atol=1e-14)


def test_a_mixed_second_derivative_is_symmetric() -> None:
    a, b = Tensor(0.3, requires_grad=True), Tensor(0.7, requires_grad=True)
    y = tg.exp(a * b) * tg.tanh(a + b)
    first_a, first_b = grad(y, [a, b], create_graph=True)
    np.testing.assert_allclose(grad(first_a, b), grad(first_b, a), rtol=1e-14)
    assert abs(float(grad(first_a, b))) > 0.1


def test_backward_through_a_gradient_reaches_the_leaves() -> None:
    x = leaf(1.0, 2.0)
    slope = grad(cube(x).sum(), x, create_graph=True)
    (slope * slope).sum().backward()  # d (3 x^2)^2 / dx = 36 x^3
    same(x.grad, np.array([36.0, 288.0]))


def test_create_graph_makes_a_record_within_no_grad_too_and_grad_leaves_no_grad_as_it_was() -> None:
    x = leaf(1.0, 2.0)
    y = cube(x).sum()
    with no_grad():
        first = grad(y, x, create_graph=True)
        unrecorded = x * x
    assert not unrecorded.requires_grad
    same(grad(first.sum(), x), np.array([6.0, 12.0]))


def test_without_create_graph_grad_gives_plain_arrays() -> None:
    x = leaf(1.0, 2.0)
    assert type(grad((x * x).sum(), x)) is np.ndarray
    assert type(grad(Tensor(1.0, requires_grad=True) * 2, leaf(1.0))) is np.ndarray
    zero_d = Tensor(1.0, requires_grad=True)
    assert type(grad(zero_d * 2, zero_d)) is np.ndarray


# ---- seeds -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [[1.0, 10.0], np.array([1, 10]), Tensor([1.0, 10.0])], ids=["list", "ints", "Tensor"])
def test_a_seed_says_how_much_each_element_counts(seed: Any) -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    y.backward(gradient=seed)
    same(x.grad, np.array([2.0, 40.0]))
    same(grad(y, x, gradient=seed), np.array([2.0, 40.0]))
    same(grad(y, x, gradient=seed, create_graph=True).numpy(), np.array([2.0, 40.0]))


def test_a_seed_that_requires_gradients_is_differentiated_through() -> None:
    x, v = leaf(1.0, 2.0), leaf(1.0, 10.0)
    product = grad(x * x, x, gradient=v, create_graph=True)
    at_x, at_v = grad(product.sum(), [x, v])
    same(at_x, np.array([2.0, 20.0]))
    same(at_v, np.array([2.0, 4.0]))


def test_a_tensor_with_one_element_of_any_shape_needs_no_seed() -> None:
    x = Tensor([[3.0]], requires_grad=True)
    (x * x).backward()
    same(x.grad, np.array([[6.0]]))


# ---- dtypes ----------------------------------------------------------------------------------------------------------------------------


def test_float32_stays_float32_with_python_scalars_forward_and_backward() -> None:
    x = leaf(1.0, 2.0, dtype=np.float32)
    y = 1 / (2.5 - (3 * x**2 + 1) / 7.0) * True
    h = tg.tanh(y).retain_grad()
    loss = h.mean()
    assert {y.dtype, h.dtype, loss.dtype} == {np.dtype(np.float32)}
    loss.backward()
    assert x.grad is not None
    assert h.grad is not None
    assert x.grad.dtype == h.grad.dtype == np.float32
    first = grad(loss, x, create_graph=True)
    assert first.dtype == np.float32
    assert grad(first.sum(), x).dtype == np.float32


@pytest.mark.parametrize("combine", [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: tg.concat([a, b]), lambda a, b: a @ b])
def test_gradients_have_the_dtype_of_their_leaf_where_float32_meets_float64(combine: Callable[[Tensor, Tensor], Tensor]) -> None:
    a, b = leaf(1.0, 2.0, dtype=np.float32), leaf(3.0, 4.0)
    y = combine(a, b)
    assert y.dtype == np.float64
    y.sum().backward()
    y.sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.dtype == np.float32
    assert b.grad.dtype == np.float64
    assert [g.dtype for g in grad(y.sum(), [a, b])] == [np.float32, np.float64]
    assert [g.dtype for g in grad(y.sum(), [a, b], create_graph=True)] == [np.float32, np.float64]
    for_weight, for_b = grad(combine(a, b).sum(), [a, b])
    same(a.grad, 2 * for_weight)
    same(b.grad, 2 * for_b)


def test_a_seed_is_cast_to_the_dtype_of_the_output() -> None:
    x = leaf(1.0, 2.0, dtype=np.float32)
    h = (x * x).retain_grad()
    h.backward(np.array([1.0, 2.0]))
    same(h.grad, np.array([1.0, 2.0], np.float32))
    same(x.grad, np.array([2.0, 8.0], np.float32))
    recorded = grad(x * x, x, gradient=Tensor([1.0, 2.0]), create_graph=True)
    same(recorded.numpy(), np.array([2.0, 8.0], np.float32))


def test_a_gradient_is_summed_to_the_shape_of_its_operand() -> None:
    a, b, c = Tensor(np.ones((2, 3, 4)), requires_grad=True), Tensor(np.ones((3, 1)), requires_grad=True), Tensor(2.0, requires_grad=True)
    (a * b * c).sum().backward()
    same(a.grad, np.full((2, 3, 4), 2.0))
    same(b.grad, np.full((3, 1), 16.0))
    same(c.grad, np.array(24.0))


@pytest.mark.parametrize("uses", [1, 2])
def test_a_batch_of_matrices_that_was_broadcast_gets_a_gradient_of_its_own_shape(uses: int) -> None:
    x = Tensor(np.arange(30.0).reshape(5, 2, 3))
    w = Tensor(np.ones((1, 3, 4)), requires_grad=True)
    total = (x @ w).sum()
    for _ in range(uses - 1):
        total = total + (x[:2] @ w).sum()
    expected = np.repeat(x.data.sum(axis=(0, 1))[:, None], 4, axis=1)[None]
    if uses == 2:
        expected = expected + np.repeat(x.data[:2].sum(axis=(0, 1))[:, None], 4, axis=1)[None]
    total.backward()
    same(w.grad, expected)


# ---- no_grad, detach -------------------------------------------------------------------------------------------------------------------


def records(x: Tensor) -> bool:
    return bool((x * x).requires_grad)


def test_no_grad_leaves_no_record_within_and_ends_with_its_block() -> None:
    x = leaf(1.0, 2.0)
    with no_grad():
        assert not records(x)
    assert records(x)


def test_no_grad_nests() -> None:
    x, context = leaf(1.0, 2.0), no_grad()
    with context:
        with no_grad():
            assert not records(x)
        with context:
            assert not records(x)
        assert not records(x)
    assert records(x)


def test_no_grad_ends_with_an_exception() -> None:
    x = leaf(1.0, 2.0)

    def fails() -> None:
        with no_grad():
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fails()
    assert records(x)


def test_no_grad_decorates_a_function_also_a_recursive_one_and_one_that_raises() -> None:
    x = leaf(1.0, 2.0)
    seen: list[bool] = []

    @no_grad()
    def countdown(n: int) -> int:
        """Count down."""
        if n < 0:
            raise RuntimeError("below zero")
        seen.append(records(x))
        result = countdown(n - 1) if n else 0
        seen.append(records(x))
        return result

    assert countdown.__name__ == "countdown"
    assert countdown(2) == 0
    assert seen == [False] * 6
    assert records(x)
    with pytest.raises(RuntimeError, match="below zero"):
        countdown(-1)
    assert records(x)


def test_a_parameter_made_within_no_grad_still_requires_gradients() -> None:
    with no_grad():
        x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    same(x.grad, np.array([2.0, 4.0]))


def test_what_was_made_within_no_grad_is_a_leaf() -> None:
    x = leaf(1.0, 2.0)
    with no_grad():
        y = x * 3
    assert not y.requires_grad
    y.requires_grad = True
    (y * x).sum().backward()
    same(y.grad, np.array([1.0, 2.0]))
    same(x.grad, np.array([3.0, 6.0]))


def test_detach_gives_the_numbers_without_history() -> None:
    x = leaf(1.0, 2.0)
    h = x * x
    d = h.detach()
    assert not d.requires_grad
    same(d.numpy(), h.numpy())
    (d * x).sum().backward()
    same(x.grad, np.array([1.0, 4.0]))  # the numbers of d alone: nothing flows through it
    assert d.grad is None


def test_detached_leaf_rebound_does_not_change_the_original() -> None:
    x = leaf(1.0, 2.0)
    d = x.detach()
    d.data = np.array([5.0, 5.0])
    same(x.data, np.array([1.0, 2.0]))


# ---- scope and step --------------------------------------------------------------------------------------------------------------------


def test_a_record_knows_its_scopes_and_its_step_from_the_innermost_outwards() -> None:
    x = leaf(1.0, 2.0)
    with scope("encoder"), step(3):
        with scope("gates"):
            inner = x * 2
        outer = x * 2
    outside = x * 2
    assert inner._place == (((None, "encoder"), 3), "gates")
    assert outer._place == ((None, "encoder"), 3)
    assert outside._place is None


def test_a_leaf_and_an_op_of_settings_know_their_place_too() -> None:
    with step(0):
        x = leaf(1.0, 2.0)
        assert x._place == x.sum(axis=0)._place == (None, 0)


def test_a_scope_may_be_entered_again() -> None:
    x, gates = leaf(1.0), scope("gates")
    for _ in range(2):
        with gates:
            assert (x * 2)._place == (None, "gates")
        assert (x * 2)._place is None


def test_a_scope_may_be_entered_within_itself() -> None:
    x, gates = leaf(1.0), scope("gates")
    with scope("model"):
        with gates, gates:
            inner = x * 2
        after = x * 2
    assert inner._place == (((None, "model"), "gates"), "gates")
    assert after._place == (None, "model")


@pytest.mark.parametrize("place", [lambda: scope("gates"), lambda: step(1)], ids=["scope", "step"])
def test_scope_and_step_end_with_an_exception(place: Callable[[], scope]) -> None:
    x = leaf(1.0)

    def fails() -> None:
        with place():
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fails()
    assert (x * 2)._place is None


def test_within_is_a_scope_around_a_call_that_ends_with_an_exception() -> None:
    def scaled(x: Tensor, *, by: float) -> Tensor:
        if by == 0:
            raise RuntimeError("stop")
        return x * by

    x = leaf(1.0)
    with step(2):
        assert within("gates", scaled, x, by=3.0)._place == ((None, 2), "gates")
        with pytest.raises(RuntimeError, match="stop"):
            within("gates", scaled, x, by=0)
        assert (x * 2)._place == (None, 2)


def test_an_op_that_fails_leaves_place_and_recording_as_they_were() -> None:
    x = leaf(1.0)
    with pytest.raises(ValueError, match="matmul"), scope("gates"):
        x @ np.ones((2, 2))
    assert (x * 2)._place is None
    assert records(x)


def test_a_rule_that_fails_within_grad_leaves_place_and_recording_as_they_were() -> None:
    def rule(g: Any, y: Any, x: Any) -> Any:
        raise RuntimeError("stop")

    @op(rule)
    def broken(x: Any) -> Any:
        return 2 * x

    x = leaf(1.0)
    with scope("gates"):
        y = broken(x)
    with no_grad():
        with pytest.raises(RuntimeError, match="stop"):
            grad(y, x, create_graph=True)
        assert not records(x)
    assert (x * 2)._place is None
    assert records(x)


def test_records_of_a_gradient_stand_in_the_place_of_the_op_and_the_place_is_restored() -> None:
    x = leaf(1.0)
    with scope("gates"):
        y = cube(x)
    with step(2):
        slope = grad(y, x, create_graph=True)
        assert (x * 2)._place == (None, 2)
    assert slope._place == ((None, "gates"), grad)


@pytest.mark.parametrize("t", [1.0, "1", None, True, [1]])
def test_a_step_is_a_whole_number(t: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"step: got {t!r}, expected a whole number")):
        step(t)


# ---- ops of one's own ------------------------------------------------------------------------------------------------------------------


def test_a_users_op_has_first_and_second_derivatives() -> None:
    x = leaf(2.0, 3.0)
    y = cube(x)
    same(y.numpy(), np.array([8.0, 27.0]))
    first = grad(y.sum(), x, create_graph=True)
    same(first.numpy(), np.array([12.0, 27.0]))
    same(grad(first.sum(), x), np.array([12.0, 18.0]))


def test_a_users_op_on_arrays_is_the_plain_function() -> None:
    result = cube(np.array([2.0, 3.0]))
    assert type(result) is np.ndarray
    same(result, np.array([8.0, 27.0]))
    assert type(cube(2)) is int


def test_a_users_op_on_complex_arrays_gives_the_complex_step_derivative() -> None:
    x, h = np.array([2.0, 3.0]), 1e-30
    np.testing.assert_allclose(cube(x + 1j * h).imag / h, 3 * x**2, rtol=1e-15)


def test_complex_arrays_pass_forward_through_tensors() -> None:
    z = Tensor([1 + 2j, 3 - 1j])
    y = tg.tanh(cube(z) @ Tensor([1j, 2.0]))
    assert y.dtype == np.complex128
    np.testing.assert_allclose(y.numpy(), np.tanh(np.array([1 + 2j, 3 - 1j]) ** 3 @ np.array([1j, 2.0])), rtol=1e-14)
    assert not y.requires_grad


def test_a_users_op_keeps_name_and_docstring() -> None:
    @op(lambda g, y, x: g)
    def same_again(x: Any) -> Any:
        """The same again."""
        return x + 0

    assert same_again.__name__ == "same_again"
    assert same_again.__doc__ == "The same again."


def test_a_users_op_has_settings_and_operands_without_gradient() -> None:
    @op(lambda g, y, x, k, *, power=1: g * k * power * x ** (power - 1), None)
    def scaled(x: Any, k: Any, *, power: int = 1) -> Any:
        return k * x**power

    x, k = leaf(2.0, 3.0), leaf(10.0)
    y = scaled(x, k, power=3)
    first, at_k = grad(y.sum(), [x, k], create_graph=True)
    same(first.numpy(), np.array([120.0, 270.0]))
    same(at_k.numpy(), np.array([0.0]))
    same(grad(first.sum(), x), np.array([120.0, 180.0]))
    same(grad(scaled(x, 10.0).sum(), x), np.array([10.0, 10.0]))


def test_a_rule_need_not_mind_broadcasting() -> None:
    @op(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    def times(a: Any, b: Any) -> Any:
        return a * b

    a, b = Tensor(np.ones((4, 1)), requires_grad=True), Tensor([1.0, 2.0, 3.0], requires_grad=True)
    at_a, at_b = grad(times(a, b).sum(), [a, b])
    same(at_a, np.full((4, 1), 6.0))
    same(at_b, np.full(3, 4.0))


def test_an_op_of_any_number_of_operands_asks_each_for_the_rule_of_each() -> None:
    asked: list[int] = []
    given: set[int] = set()

    def rule(i: int, g: Any, y: Any, xs: Any) -> Any:
        asked.append(i)
        given.add(id(xs))
        return (i + 1) * g

    @op(each=rule)
    def weighted(*xs: Any) -> Any:
        return sum((i + 1) * x for i, x in enumerate(xs))

    x, z = leaf(1.0), leaf(1.0)
    weighted(x, 5.0, z, x).backward()
    assert sorted(asked) == [0, 2, 3]
    assert len(given) == 1  # one tuple for all, or the work would grow with the square of their number
    same(x.grad, np.array([5.0]))
    same(z.grad, np.array([3.0]))


def test_uses_that_are_summed_together_are_handed_over_at_once_at_first_order_only() -> None:
    handed: list[int] = []

    def together(uses: list[Any]) -> Any:
        handed.append(len(uses))
        return sum(g * a for g, _, (a, _), _ in uses)

    @op(lambda g, y, a, w: g * w, lambda g, y, a, w: g * a, together={1: together})
    def times(a: Any, w: Any) -> Any:
        return a * w

    a, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (times(a, w) + times(a * 10, w) + w).sum()
    same(grad(y, w), np.array([12.0, 23.0]))
    assert handed == [2]
    first = grad(y, w, create_graph=True)
    assert handed == [2]
    same(first.numpy(), np.array([12.0, 23.0]))
    same(grad(first.sum(), a), np.array([11.0, 11.0]))


def test_a_subclass_of_tensor_gets_its_gradient_next_to_plain_tensors() -> None:
    class Parameter(Tensor):
        __slots__ = ()

    w, x = Parameter([2.0, 3.0], requires_grad=True), leaf(5.0, 7.0)
    (x * w).sum().backward()
    (w * x).sum().backward()
    same(w.grad, np.array([10.0, 14.0]))
    same(x.grad, np.array([4.0, 6.0]))


# ---- errors ----------------------------------------------------------------------------------------------------------------------------


def refused(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=re.escape(message))


def test_backward_of_what_is_not_a_number_needs_a_seed() -> None:
    x = leaf(1.0, 2.0)
    expected = (
        "backward: a tensor of shape (2,) has no single gradient. Reduce it to a number (.sum(), .mean()), or pass gradient= of that shape"
    )
    with refused(ValueError, expected):
        (x * x).backward()
    with refused(ValueError, expected.replace("backward", "grad")):
        grad(x * x, x)
    assert x.grad is None


def test_a_seed_has_the_shape_of_the_output() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    with refused(ValueError, "backward: gradient has shape (3,), expected the tensor's shape (2,)."):
        y.backward(np.ones(3))
    with refused(ValueError, "grad: gradient has shape (1, 2), expected the tensor's shape (2,)."):
        grad(y, x, gradient=Tensor(np.ones((1, 2))), create_graph=True)
    with refused(ValueError, "backward: gradient has shape (), expected the tensor's shape (2,)."):
        y.backward(1.0)


def test_backward_where_nothing_requires_gradients_is_an_error() -> None:
    c = Tensor([1.0, 2.0])
    expected = "no gradient flows here: it was made from nothing with requires_grad=True, or under no_grad(), or by detach()."
    with refused(ValueError, f"backward: {expected}"):
        (c * c).sum().backward()
    with refused(ValueError, f"backward: {expected}"):
        Tensor(1.0).backward()
    with refused(ValueError, f"grad: {expected}"):
        grad((c * c).sum(), leaf(1.0))


def test_grad_needs_tensors_that_require_gradients() -> None:
    x, c = leaf(1.0), Tensor([1.0])
    y = x * c
    with refused(ValueError, "grad: xs[1] does not require gradients; create it with requires_grad=True."):
        grad(y, [x, c])
    with refused(TypeError, "grad: xs[0] is ndarray, expected a Tensor."):
        grad(y, [np.ones(1)])  # type: ignore[type-var]


@pytest.mark.parametrize(("data", "dtype"), [([1, 2], "int64"), ([True], "bool"), ([1j], "complex128")])
def test_requires_grad_needs_a_floating_dtype(data: Any, dtype: str) -> None:
    expected = f"requires_grad=True needs a floating dtype, and this tensor has {dtype}. Pass dtype=float."
    with refused(TypeError, expected):
        Tensor(data, requires_grad=True)
    x = Tensor(data)
    with refused(TypeError, expected):
        x.requires_grad = True
    assert not x.requires_grad


def test_requires_grad_can_be_set_on_leaves_only() -> None:
    x = leaf(1.0)
    x.requires_grad = False
    assert not (x * x).requires_grad
    x.requires_grad = True
    y = x * x
    with refused(ValueError, "requires_grad can be set on a leaf only; this tensor was made by mul. Use detach() first."):
        y.requires_grad = False


def test_data_can_be_rebound_on_leaves_only_and_to_the_same_shape_only() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    with refused(ValueError, "data can be rebound on a leaf only; this tensor was made by mul."):
        y.data = np.ones(2)
    for wrong in (np.ones(3), np.ones((1, 2)), 1.0):
        with refused(ValueError, f"data: got shape {np.shape(wrong)}, expected this tensor's shape (2,)."):
            x.data = wrong
    same(x.data, np.array([1.0, 2.0]))


def test_retain_grad_needs_a_tensor_to_which_gradients_flow() -> None:
    expected = "retain_grad: no gradient flows to this tensor, as none of its inputs has requires_grad=True."
    c = Tensor([1.0])
    with refused(ValueError, expected):
        (c * c).retain_grad()
    with no_grad(), refused(ValueError, expected):
        (leaf(1.0) * c).retain_grad()


@pytest.mark.parametrize("rules", [(), (None,), (None, None, None)], ids=len)
def test_an_op_has_as_many_rules_as_operands(rules: tuple[None, ...]) -> None:
    def add_up(a: Any, b: Any) -> Any:
        return a + b

    with refused(TypeError, f"op add_up: 2 operands and {len(rules)} rules; give one rule, or None, for each."):
        op(*rules)(add_up)


def test_an_op_of_any_number_of_operands_is_told_to_give_one_rule_for_all() -> None:
    def add_up(a: Any, b: Any, c: Any, *others: Any) -> Any:
        return sum(others, a + b + c)

    with refused(TypeError, "op add_up: takes any number of operands; give each=, the rule of the i-th."):
        op(*[lambda g, *_: g] * 3)(add_up)


def test_a_rule_for_each_operand_may_be_any_callable() -> None:
    def scaled(factor: float, i: int, g: Any, y: Any, xs: Any) -> Any:
        return factor * g

    @op(each=partial(scaled, 3.0))
    def tripled(*xs: Any) -> Any:
        return 3 * sum(xs)

    x = leaf(1.0, 2.0)
    same(grad(tripled(x, 1.0, x).sum(), x), np.array([6.0, 6.0]))


def test_a_rule_for_each_operand_is_told_to_take_them_as_one_tuple() -> None:
    with refused(TypeError, "op add_up: each= takes the operands as one tuple: (i, g, output, operands, **settings)."):

        @op(each=lambda i, g, y, *xs: g)
        def add_up(*xs: Any) -> Any:
            return sum(xs)


WRONG: dict[str, Callable[..., Any]] = {"a number": lambda g: g.sum(), "another size": lambda g: g[:1], "transposed": lambda g: g.T}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("operands", [1, 2, 3])
def test_a_rule_of_the_wrong_shape_is_named(wrong: Callable[..., Any], create_graph: bool, operands: int) -> None:
    @op(lambda g, y, x: wrong(g))
    def of_one(x: Any) -> Any:
        return 2 * x

    @op(lambda g, y, x, b: wrong(g), None)
    def of_two(x: Any, b: Any) -> Any:
        return 2 * x

    @op(lambda g, y, x, b, c: wrong(g), None, None)
    def of_three(x: Any, b: Any, c: Any) -> Any:
        return 2 * x

    user: Any = (of_one, of_two, of_three)[operands - 1]
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    y = user(x, *[1.0] * (operands - 1))
    shape = wrong(np.ones((2, 3))).shape
    with refused(ValueError, f"{user.__name__}: a rule gave a gradient of shape {shape} for an operand of shape (2, 3)."):
        grad(y.sum(), x, create_graph=create_graph)  # type: ignore[call-overload]


def test_an_error_of_a_users_op_says_which_op_was_given_what() -> None:
    @op(lambda g, y, x, *, k: g)
    def picky(x: Any, *, k: int) -> Any:
        raise ValueError("not this one.")

    with refused(ValueError, "picky: (2,), k=3: not this one."):
        picky(leaf(1.0, 2.0), k=3)


# ---- importing -------------------------------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_neither_graphviz_nor_matplotlib_nor_hypothesis_nor_pytest() -> None:
    program = (
        "import sys, tinygrad_seq\n"
        "print(sorted(name for name in ('graphviz', 'pygraphviz', 'matplotlib', 'hypothesis', 'pytest', 'tqdm') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_a_list_or_tuple_given_as_a_setting_can_change_afterwards() -> None:
    x, i, a, axes = leaf(1.0, 2.0, 3.0), [0, 1], np.array([0, 1]), [1, 2, 0]
    m = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    c = Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    y, z, u = tg.getitem(x, index=i), tg.getitem(m, index=(a, 0)), tg.transpose(c, axes=axes)
    i[0], a[0], axes[:] = 2, 2, [0, 1, 2]
    same(grad(y.sum(), x), np.array([1.0, 1.0, 0.0]))
    same(grad(z.sum(), m), np.array([[1.0, 0], [1, 0], [0, 0]]))
    same(grad((u * u).sum(), c), 2 * c.numpy())


@pytest.mark.parametrize("index", [True, False, (None, True), (True, 0)])
def test_a_boolean_as_an_index_adds_an_axis_and_loses_no_gradient(index: Any) -> None:
    x = leaf(1.0, 2.0, 3.0)
    expected = np.zeros(3)
    np.add.at(expected, index, 1.0)
    same(grad(x[index].sum(), x), expected)


def test_concat_of_many_pieces_gives_each_its_own_gradient() -> None:
    pieces = [leaf(*np.arange(1.0, i % 3 + 2)) for i in range(100)]
    whole = tg.concat(pieces)
    for piece, g in zip(pieces, grad((whole * whole).sum(), pieces), strict=True):
        same(g, 2 * piece.numpy())
