"""The ledger of the chain rule through time: against untied copies, cut graphs, products by hand, the complex step and Pascanu's bound."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import State, generate, map_state, unroll, unroll_packed
from models.rnn import RNNCell
from models.seq2seq import AdditiveDecoder
from models.stacked import stacked
from tinygrad_seq import Tensor, concat, cross_entropy, grad, ledger, no_grad, op, step, strategies

Array = Any
C, H, V = 2, 3, 4
CELLS: dict[str, Any] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}
kinds = st.sampled_from(list(CELLS))
seeds = st.integers(0, 2**32 - 1)
steps = st.integers(1, 6)
hoisted = st.booleans()


def cell_of(kind: str, seed: int, **options: Any) -> Any:
    rng = np.random.default_rng(seed)
    cell = CELLS[kind](C, H, rng=rng, dtype=np.float64, **options)
    for p in cell.parameters():
        p.data = rng.standard_normal(p.shape) / 2
    return cell


def losses_of(outputs: Tensor, seed: int, mask: Array | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropies (T, N) against random classes, under output weights, which are given too."""
    rng = np.random.default_rng(seed)
    W_y = Tensor(rng.standard_normal((outputs.shape[-1], V)), requires_grad=True)
    return cross_entropy(outputs @ W_y, rng.integers(0, V, outputs.shape[:2]), mask=mask, reduction="none"), W_y


def inputs(T: int, N: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((T, N, C))


def close(given: Array, expected: Array, rtol: float = 1e-12, size: Array | None = None) -> None:
    """Equal up to rounding, relative to the largest number, or to `size`, what was summed up to reach it."""
    assert np.shape(given) == np.shape(expected)
    largest = np.abs(expected if size is None else size).max(initial=0)
    np.testing.assert_allclose(given, expected, rtol=0, atol=rtol * largest + 1e-300)


# ---- loss at t, state at k -----------------------------------------------------------------------------------------------------------


@given(kinds, st.integers(1, 3), st.booleans(), strategies.masks(max_batch=2, min_length=1), seeds)
def test_the_table_sums_to_the_full_gradient_in_every_layer_and_direction(
    kind: str, layers: int, both: bool, mask: Array, seed: int
) -> None:
    net = stacked(CELLS[kind], C, H, layers=layers, bidirectional=both, rng=np.random.default_rng(seed), dtype=np.float64)
    run = net(inputs(*mask.shape, seed), mask=mask)
    L, _ = losses_of(run.outputs, seed, mask)
    named = ledger.states(run)
    directions = ("forward.", "backward.") if both else ("",)
    fields = ("h", "c") if kind == "lstm" else ("h",)
    assert list(named) == [f"{i}.{d}{f}" for i in range(layers) for d in directions for f in fields]
    for name, table in ledger.loss_table(L, run).items():
        full = grad(L.sum(), named[name])
        assert table.residual <= 1e-12
        assert table.gradients is not None
        for k, g in enumerate(full):
            rows = [row[k] for row in table.gradients]
            close(np.sum(rows, axis=0), g, size=np.sum(np.abs(rows), axis=0))
            np.testing.assert_array_equal(table.norms[:, k], [np.linalg.norm(r) for r in rows])
            close(table.total[k], g)


@given(kinds, steps, st.booleans(), hoisted, seeds)
def test_the_table_is_what_a_graph_cut_at_each_state_says(kind: str, T: int, reverse: bool, hoist: bool, seed: int) -> None:
    """dL_t/ds_k from a run that starts at step k + 1 from the leaf s_k."""
    cell, xs = cell_of(kind, seed), inputs(T, 2, seed)
    run = unroll(cell, xs, reverse=reverse, hoist=hoist)
    u = np.random.default_rng(seed).standard_normal((T, 2, H))
    tables = ledger.loss_table([(state.h * u_t).sum() for state, u_t in zip(run.states, u, strict=True)], run)
    order = list(range(T))[:: -1 if reverse else 1]

    def cut(t: int, name: str, leaf: Any) -> Array:
        h, *c = grad((states[t].h * u[t]).sum() + sum(0.0 * part.sum() for part in leaf), leaf)
        if name == "h":
            return h
        tanh_c = np.tanh(leaf.c.data)  # c_k counts for the h_k = o tanh(c_k) that was made of it, too
        return c[0] + h * leaf.h.data / tanh_c * (1 - tanh_c**2)

    for place, k in enumerate(order):
        leaf = map_state(lambda part: Tensor(part.data, requires_grad=True), run.states[k])
        later = order[place + 1 :]
        states = {k: leaf} | (dict(zip(later, unroll(cell, xs[later], leaf).states, strict=True)) if later else {})
        for t in range(T):
            for name in leaf._fields:
                gradients = tables[name].gradients
                assert gradients is not None
                close(gradients[t][k], cut(t, name, leaf) if t in states else np.zeros((2, H)), 1e-11)
                if t not in states:
                    assert tables[name].norms[t, k] == 0


@given(steps, seeds)
def test_the_table_is_the_textbooks_product_by_hand(T: int, seed: int) -> None:
    """dL_t/dh_k = dL_t/dh_t · Π W_hᵀ diag(1 - h_i²)."""
    cell = cell_of("rnn", seed)
    run = unroll(cell, inputs(T, 1, seed))
    u = np.random.default_rng(seed).standard_normal((T, 1, H))
    table = ledger.loss_table(run.outputs * u, run)["h"]
    assert table.gradients is not None
    for t in range(T):
        g = u[t]
        for k in range(t, -1, -1):
            close(table.gradients[t][k], g, 1e-10)
            g = g * (1 - run.states[k].h.data ** 2) @ cell.W_h.data.T


@given(kinds, steps, seeds)
def test_norms_are_those_of_the_gradients(kind: str, T: int, seed: int) -> None:
    run = unroll(cell_of(kind, seed), inputs(T, 2, seed))
    L, _ = losses_of(run.outputs, seed)
    norms, tables = ledger.norms(L.sum(), run), ledger.loss_table(L, run, keep=False)
    assert list(norms) == list(tables) == list(run.states[0]._fields)
    for field, values in norms.items():
        expected = [np.linalg.norm(grad(L.sum(), getattr(state, field))) for state in run.states]
        close(values, expected)
        close([np.linalg.norm(g) for g in tables[field].total], expected)
        assert tables[field].gradients is None


def test_norms_per_step_of_a_run_without_its_padding() -> None:
    lengths = np.array([1, 4, 2])
    run = unroll_packed(cell_of("lstm", 0), inputs(4, 3, 0), lengths)
    norms = ledger.norms(run.last.sum(), run)
    full = unroll(cell_of("lstm", 0), inputs(4, 3, 0), lengths=lengths)
    assert [len(state.h) for state in run.states] == [3, 2, 1, 1]
    alone = unroll(cell_of("lstm", 0), inputs(4, 3, 0)[:, 1:2])
    close(norms["h"][2:], ledger.norms(alone.last.sum(), alone)["h"][2:])
    close(norms["h"][0], ledger.norms(full.last.sum(), full)["h"][0])


# ---- a weight, step by step ----------------------------------------------------------------------------------------------------------


def untied(cells: list[Any], xs: Array, mask: Array) -> list[Any]:
    """The states of a run whose step t is the cell cells[t]."""
    state, states = cells[0].initial_state(xs.shape[1]), []
    for cell, x, m in zip(cells, xs, mask[..., None].astype(float), strict=True):
        state = map_state(lambda new, old, m=m: m * new + (1 - m) * old, cell(x, state), state)
        states.append(state)
    return states


@given(kinds, strategies.holes(max_batch=2), hoisted, seeds)
def test_a_contribution_is_the_gradient_of_the_copy_that_the_step_used(kind: str, mask: Array, hoist: bool, seed: int) -> None:
    """dL/dW_k, where step k has a copy W_k of its own."""
    cell, xs = cell_of(kind, seed), inputs(*mask.shape, seed)
    copies = [copy.deepcopy(cell) for _ in xs]
    run, apart = unroll(cell, xs, mask=mask, hoist=hoist), untied(copies, xs, mask)
    u = np.random.default_rng(seed).standard_normal((*mask.shape, H))
    L = (run.outputs * u).sum()
    L.backward()
    L_apart: Any = sum((state.h * u_t).sum() for state, u_t in zip(apart, u, strict=True))
    for name, W in cell.named_parameters().items():
        given_ = ledger.contributions(L, W)
        each = [grad(L_apart, c.named_parameters()[name]) for c in copies]
        size = np.sum(np.abs(each), axis=0)
        assert given_.steps == list(range(len(xs)))
        close(given_.gradients, each, 1e-11)
        close(given_.gradients.sum(axis=0), W.grad, size=size)
        close(given_.norms, [np.linalg.norm(g) for g in each], 1e-11)
        assert given_.residual <= 1e-12


@given(kinds, st.booleans(), strategies.masks(max_batch=2, min_length=1), seeds)
def test_in_stacks_and_both_directions_contributions_sum_to_the_gradient(kind: str, both: bool, mask: Array, seed: int) -> None:
    net = stacked(CELLS[kind], C, H, layers=2, bidirectional=both, rng=np.random.default_rng(seed), dtype=np.float64)
    run = net(inputs(*mask.shape, seed), mask=mask)
    L, W_y = losses_of(run.outputs, seed, mask)
    for W in [*net.parameters(), W_y]:
        given_ = ledger.contributions(L.sum(), W)
        assert given_.residual <= 1e-12
        size = np.abs(given_.gradients).sum(axis=0)
        close(given_.gradients.sum(axis=0), grad(L.sum(), W), size=size)
        assert given_.steps == ([None] if W is W_y else list(range(len(mask))))


@given(kinds, steps, seeds)
def test_the_textbooks_sum_over_t_hides_a_sum_over_k(kind: str, T: int, seed: int) -> None:
    cell = cell_of(kind, seed)
    run = unroll(cell, inputs(T, 2, seed))
    L, _ = losses_of(run.outputs, seed)
    pairs = np.array([ledger.contributions(L[t].sum(), cell.W_h).gradients for t in range(T)], dtype=object)
    for t in range(T):  # the sum over k is dL_t/dW; later steps have no part in it, whether the record knows of them or not
        close(np.sum(list(pairs[t]), axis=0).astype(float), grad(L[t].sum(), cell.W_h), size=np.abs(np.array(pairs[t], float)))
        assert not np.any(np.array(pairs[t][t + 1 :], float))
    by_use = ledger.contributions(L.sum(), cell.W_h).gradients
    for k in range(T):
        close(sum(np.asarray(row[k], float) for row in pairs), by_use[k], 1e-11)


def test_a_tied_table_is_used_in_the_steps_and_after_them() -> None:
    rng = np.random.default_rng(0)
    E, cell, ids = Tensor(rng.standard_normal((V, C)), requires_grad=True), cell_of("rnn", 0), rng.integers(0, V, (5, 2))
    out = Tensor(rng.standard_normal((H, C)), requires_grad=True)
    from tinygrad_seq import take

    L = cross_entropy(unroll(cell, take(E, ids)).outputs @ out @ E.T, ids)
    given_ = ledger.contributions(L, E)
    assert given_.steps == [0, 1, 2, 3, 4, None]
    close(given_.gradients.sum(axis=0), grad(L, E))
    read, written = (Tensor(E.data, requires_grad=True) for _ in range(2))
    L = cross_entropy(unroll(cell, take(read, ids)).outputs @ out @ written.T, ids)
    close(given_.gradients[-1], grad(L, written))
    close(given_.gradients[:-1].sum(axis=0), grad(L, read))


def test_a_weight_made_of_others_is_split_too() -> None:
    cell = cell_of("rnn", 0)
    W = cell.W_h
    halves = [Tensor(part, requires_grad=True) for part in np.split(W.data, [1])]
    whole = ledger.contributions(unroll(cell, inputs(4, 2, 0)).last.sum(), W).gradients
    cell.W_h = concat(halves)
    L = unroll(cell, inputs(4, 2, 0)).last.sum()
    close(np.concatenate([ledger.contributions(L, half).gradients for half in halves], axis=1), whole)
    close(ledger.contributions(L, cell.W_h).gradients, whole)


def test_a_weight_that_nothing_used_and_one_that_is_the_loss() -> None:
    x, W = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    assert ledger.contributions(x * x, W).steps == []
    assert ledger.contributions(x * x, W).norms.shape == (0,)
    itself = ledger.contributions(W, W)
    assert (itself.steps, itself.gradients.tolist(), itself.residual) == ([None], [1.0], 0.0)


def test_a_rule_that_is_not_linear_does_not_add_up() -> None:
    @op(lambda g, y, x: g * g)
    def wrong(x: Any) -> Any:
        return x * 1

    w = Tensor(1.0, requires_grad=True)
    shared = wrong(w)
    with step(0):
        a = shared * 2.0
    with step(1):
        b = a * shared
    with pytest.raises(ArithmeticError, match="contributions"):
        ledger.contributions(b, w)
    h = Tensor(1.0, requires_grad=True) * 1.0
    y = wrong(h)
    with pytest.raises(ArithmeticError, match="loss_table"):
        ledger.loss_table([y * 1.0, y * 2.0], [h])


def test_ledgers_touch_no_gradient_and_leave_the_graph() -> None:
    cell = cell_of("lstm", 0)
    run = unroll(cell, inputs(3, 2, 0))
    L, _ = losses_of(run.outputs, 0)
    for _ in range(2):
        ledger.loss_table(L, run)
        ledger.contributions(L.sum(), cell.W_h)
        ledger.norms(L.sum(), run)
    assert all(p.grad is None for p in cell.parameters())


def test_a_thousand_steps_need_no_recursion() -> None:
    cell = RNNCell(1, 1, rng=np.random.default_rng(0), dtype=np.float64)
    run = unroll(cell, np.ones((2000, 1, 1)), hoist=False)
    assert len(ledger.contributions(run.last.sum(), cell.W_h).steps) == 2000
    assert len(ledger.norms(run.last.sum(), run)["h"]) == 2000


# ---- the chain rule, op by op --------------------------------------------------------------------------------------------------------


@given(kinds, st.integers(1, 4), seeds)
def test_the_chain_is_the_backward_pass_op_by_op(kind: str, T: int, seed: int) -> None:
    cell = cell_of(kind, seed)
    L, W_y = losses_of(unroll(cell, inputs(T, 2, seed)).outputs, seed)
    links = list(ledger.chain(L.sum()))
    outputs = [y for y, _, _ in links]
    assert [y._order for y in outputs] == sorted((y._order for y in outputs), reverse=True)
    loss = outputs[0]
    for (y, g, _), expected in zip(links, grad(loss, outputs), strict=True):
        assert g.dtype == y._data.dtype
        close(g, expected)
    sums: dict[int, Array] = {}
    for _, _, parts in links:
        for x, part in parts:
            sums[x._order] = sums.get(x._order, 0) + part
    for W in [*cell.parameters(), W_y]:
        close(sums[W._order], grad(loss, W))


def test_in_the_chain_an_operand_used_twice_stands_twice() -> None:
    x = Tensor(3.0, requires_grad=True)
    ((_, g, parts),) = ledger.chain(x * x)
    assert (float(g), [(y is x, float(part)) for y, part in parts]) == (1.0, [(True, 3.0), (True, 3.0)])
    with pytest.raises(ValueError, match="chain: no gradient flows here"):
        next(ledger.chain(Tensor(1.0)))


# ---- Jacobians -----------------------------------------------------------------------------------------------------------------------


@given(kinds, steps, st.booleans(), seeds)
def test_jacobians_equal_the_complex_step(kind: str, T: int, held: bool, seed: int) -> None:
    """ds_t/ds_k = Im s_t(s_k + ih e_j) / h, column by column; with a mask, also over steps that do not happen."""
    cell, xs = cell_of(kind, seed), inputs(T, 1, seed)
    mask = np.random.default_rng(seed).random((T, 1)) < (0.6 if held else 2)
    run = unroll(cell, xs, mask=mask)
    for k, J in enumerate(ledger.jacobians(run)):
        s_k = np.concatenate([part.data.ravel() for part in run.states[k]])
        columns = []
        for e in np.eye(len(s_k)):
            parts = np.split(s_k + 1e-30j * e, len(run.states[k]))
            state = type(run.states[k])(*(Tensor(part[None]) for part in parts))
            end = unroll(cell, xs[k + 1 :], state, mask=mask[k + 1 :]).state if k + 1 < T else state
            columns.append(np.concatenate([part.data.ravel() for part in end]).imag / 1e-30)
        close(J, np.transpose(columns), 1e-12)


@given(kinds, st.integers(2, 6), st.booleans(), seeds)
def test_the_jacobian_of_many_steps_is_the_product_of_those_of_one(kind: str, T: int, reverse: bool, seed: int) -> None:
    run = unroll(cell_of(kind, seed), inputs(T, 1, seed), reverse=reverse)
    order = list(range(T))[:: -1 if reverse else 1]
    product = np.eye(H * len(run.states[0]))
    for before, after in zip(order[-2::-1], order[:0:-1], strict=True):
        product = product @ ledger.jacobians(run, after)[before]
        close(product, ledger.jacobians(run, order[-1])[before], 1e-11)


def test_for_an_lstm_the_chain_rule_holds_of_the_whole_state_and_not_of_h_alone() -> None:
    run = unroll(cell_of("lstm", 0), inputs(4, 1, 0))
    h = ledger.states(run)["h"]
    through_h = ledger.jacobians(h, 3)[2] @ ledger.jacobians(h, 2)[1]
    direct = ledger.jacobians(h, 3)[1]
    assert np.abs(through_h - direct).max() > 1e-2 * np.abs(direct).max()


@given(steps, st.floats(0.1, 3), seeds)
def test_singular_values_stay_within_pascanus_bound(T: int, gain: float, seed: int) -> None:
    cell = cell_of("rnn", seed)
    cell.W_h.data = gain * cell.W_h.data
    values = ledger.singular_values(unroll(cell, inputs(T, 1, seed)))
    bound = ledger.pascanu_bound(cell.W_h, np.arange(T - 1, -1, -1))
    assert values.shape == (T, H)
    assert (np.diff(values, axis=1) <= 0).all()
    assert (values[:, 0] <= bound * (1 + 1e-12)).all()
    np.testing.assert_allclose(values[-1], 1)


def test_the_bound_is_met_by_a_linear_step_and_gamma_counts() -> None:
    W = np.diag([2.0, 0.5])
    cell = RNNCell(1, 2, rng=np.random.default_rng(0), dtype=np.float64, bias=False)
    cell.W_h.data = W  # at h = 0 tanh' is 1, so that the step is h W_h
    values = ledger.singular_values(unroll(cell, np.zeros((4, 1, 1))))
    np.testing.assert_allclose(values[:, 0], ledger.pascanu_bound(W, np.array([3, 2, 1, 0])))
    np.testing.assert_allclose(values[:, 1], [0.125, 0.25, 0.5, 1])
    assert ledger.pascanu_bound(W, 3, gamma=0.25) == 0.5**3


def test_a_jacobian_that_overflows_has_no_singular_values() -> None:
    a = Tensor([[1.0]], requires_grad=True) * 1.0
    b = (a - 1) * 1e200 * 1e200
    with np.errstate(over="ignore"):
        values = ledger.singular_values([a, b])
    assert np.isnan(values[0, 0])
    assert values[1, 0] == 1


# ---- what counts as a run ------------------------------------------------------------------------------------------------------------


def test_lists_of_tensors_of_states_and_of_plain_tuples_are_runs() -> None:
    run = unroll(cell_of("lstm", 0), inputs(3, 2, 0))
    h, c = ([getattr(state, field) for state in run.states] for field in "hc")
    for given_, names in ((run, "hc"), (run.states, "hc"), (h, "h"), ([tuple(s) for s in run.states], "01")):
        assert list(ledger.states(given_)) == list(names)
    assert ledger.states(run) == {"h": h, "c": c}


def test_a_decoders_memory_is_no_state_and_its_states_count_once() -> None:
    rng = np.random.default_rng(0)
    decoder = AdditiveDecoder(LSTMCell, V, H, memory=C, rng=rng, dtype=np.float64)
    memory = Tensor(rng.standard_normal((5, 2, C)), requires_grad=True)
    state = decoder.begin(decoder.cell.initial_state(2), memory)
    run = generate(decoder, lambda t, state: (np.array([t, t]), state), state, 3)
    assert list(ledger.states(run)) == ["h", "cell.h", "cell.c", "attention"]
    assert ledger.loss_table(decoder.scores(run.outputs), run)["cell.c"].residual <= 1e-12


def test_what_cannot_be_a_ledger_is_refused() -> None:
    run = unroll(cell_of("rnn", 0), inputs(3, 2, 0))
    L, _ = losses_of(run.outputs, 0)
    for nothing in ([], 7, RNNCell, [1.0, 2.0], [run.states[0], run.states[1].h]):
        with pytest.raises(TypeError, match=r"expected Tensors or states by step"):
            ledger.states(nothing)
    with pytest.raises(ValueError, match="state h of step 1: it was made under no_grad"):
        ledger.norms(L.sum(), [run.states[0], State(run.states[1].h.detach())])
    with no_grad():
        silent = unroll(cell_of("rnn", 0), inputs(3, 2, 0))
    with pytest.raises(ValueError, match="state h of step 0"):
        ledger.jacobians(silent)
    with pytest.raises(ValueError, match="single gradient"):
        ledger.norms(L, run)
    with pytest.raises(ValueError, match="first axis of at least one loss"):
        ledger.loss_table(L.sum(), run)
    with pytest.raises(ValueError, match="got no losses"):
        ledger.loss_table([], run)
    with pytest.raises(TypeError, match=r"losses\[1\] is float"):
        ledger.loss_table([L[0], 1.0], run)  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"no gradient flows from losses\[0\]"):
        ledger.loss_table([Tensor(1.0)], run)
    with pytest.raises(IndexError, match="step 3, expected one of the 3 steps, from -3 to 2"):
        ledger.jacobians(run, 3)
    with pytest.raises(ValueError, match=r"shape \(3,\), expected a matrix"):
        ledger.pascanu_bound(np.ones(3), 1)


# ---- pictures ------------------------------------------------------------------------------------------------------------------------


def test_heat_maps_share_one_scale_and_leave_out_what_is_exactly_zero() -> None:
    figures = pytest.importorskip("matplotlib.figure")
    figure = figures.Figure()
    tables = {}
    for kind, cell in CELLS.items():
        run = unroll(cell(C, H, rng=np.random.default_rng(0)), inputs(6, 1, 0).astype(np.float32))
        tables[kind] = ledger.loss_table(losses_of(run.outputs, 0)[0], run)["h"]
    ledger.heat_maps(figure, tables)
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == list(CELLS)
    scales = {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in panels}
    top = max(table.norms.max() for table in tables.values())
    assert len(scales) == 1
    np.testing.assert_allclose(scales.pop(), (top * 1e-8, top), rtol=1e-6)
    for axes, table in zip(panels, tables.values(), strict=True):
        image = axes.images[0].get_array()
        np.testing.assert_array_equal(image.mask, np.triu(np.ones((6, 6), bool), 1))
        np.testing.assert_array_equal(image.filled(0), table.norms)
    assert "partial" in bar.get_ylabel()


def test_curves_leave_out_zeros() -> None:
    figures = pytest.importorskip("matplotlib.figure")
    axes = figures.Figure().subplots()
    ledger.curves(axes, {"RNN": [0.0, 1e-3, 1.0], "LSTM": [0.5, 0.5, 1.0]})
    assert axes.get_yscale() == "log"
    assert [line.get_label() for line in axes.lines] == ["RNN", "LSTM"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [np.nan, 1e-3, 1.0])
