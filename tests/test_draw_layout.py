"""Where things stand in drawings of the networks: checked from coordinates, without any renderer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.bidirectional import Bidirectional
from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import unroll
from models.rnn import RNN, RNNCell
from models.seq2seq import AdditiveDecoder, Decoder, DotDecoder, Seq2Seq
from models.stacked import stacked
from tests.pictures import captions, curve, inside, lines_through_nodes, overlapping
from tinygrad_seq import Tensor, cross_entropy, grad, scope, step
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.nn import Module

T = 4
SOURCES, TARGETS = np.array([[1, 2], [3, 4], [0, 1]]), np.array([[1, 2], [3, 4], [1, 1], [5, 5]])


def steps_of_inputs(rng: Any, steps: int = T) -> list[Any]:
    return [Tensor(rng.standard_normal((2, 3)), name=f"x_{t}") for t in range(steps)]


def one_cell(cell: Any, **options: Any) -> Callable[[Any], tuple[Tensor, Module]]:
    def network(rng: Any) -> tuple[Tensor, Module]:
        made = cell(3, 4, rng=rng)
        return (unroll(made, steps_of_inputs(rng), **options).outputs ** 2).sum(), made

    return network


def hoisted(rng: Any) -> tuple[Tensor, Module]:
    net = RNN(3, 4, 2, rng=rng)
    return (net(rng.standard_normal((T, 2, 3))).ys ** 2).sum(), net


def both_ways(rng: Any) -> tuple[Tensor, Module]:
    net = Bidirectional(LSTMCell(3, 4, rng=rng), LSTMCell(3, 4, rng=rng))
    return (net(rng.standard_normal((T, 2, 3))).outputs ** 2).sum(), net


def layers(rng: Any) -> tuple[Tensor, Module]:
    net = stacked(GRUCell, 3, 4, layers=2, rng=rng)
    return (net(rng.standard_normal((T, 2, 3))).outputs ** 2).sum(), net


def layers_both_ways(rng: Any) -> tuple[Tensor, Module]:
    net = stacked(RNNCell, 3, 4, layers=2, bidirectional=True, rng=rng)
    return (net(rng.standard_normal((T, 2, 3))).outputs ** 2).sum(), net


def language_model(rng: Any) -> tuple[Tensor, Module]:
    """Layers whose steps read each other's directly, and a loss in each step."""
    net = stacked(LSTMCell, 3, 4, layers=2, rng=rng)
    run = steps_of_inputs(rng)
    losses = []
    with scope(net):
        for cell in net.layers:
            run = [state.h for state in unroll(cell, run, hoist=False).states]
        for t, h in enumerate(run):
            with step(t), scope("output"):
                losses.append(cross_entropy(h, np.array([1, 2])))
    return losses[0] + losses[1] + losses[2] + losses[3], net


def encoder_decoder(decoder: Any, cell: Any = GRUCell, **options: Any) -> Callable[[Any], tuple[Tensor, Module]]:
    def network(rng: Any) -> tuple[Tensor, Module]:
        more = {} if decoder is Decoder else {"memory": 4}
        net = Seq2Seq(cell(5, 4, rng=rng), decoder(cell, 5, 4, rng=rng, **more), rng=rng)
        teacher = {"rng": rng, **options} if options else {}
        return net.loss(SOURCES, TARGETS, np.array([3, 2]), **teacher), net

    return network


def encoder_both_ways(rng: Any) -> tuple[Tensor, Module]:
    encoder = Bidirectional(LSTMCell(5, 3, rng=rng), LSTMCell(5, 3, rng=rng))
    net = Seq2Seq(encoder, DotDecoder(LSTMCell, 5, 4, memory=6, rng=rng), rng=rng)
    return net.loss(SOURCES, TARGETS), net


def second_order(rng: Any) -> tuple[Tensor, Module]:
    net = RNNCell(3, 4, rng=rng)
    loss = (unroll(net, steps_of_inputs(rng, 3), hoist=False).last ** 2).sum()
    return (grad(loss, net.W_h, create_graph=True) ** 2).sum(), net


def named_at_the_end(rng: Any) -> tuple[Tensor, Module]:
    """As `names=locals()` does in a loop, where a variable has the last step's value."""
    net, h = RNNCell(3, 4, rng=rng), Tensor(np.zeros((1, 4)))
    for t, x in enumerate(steps_of_inputs(rng, 3)):
        with step(t):
            h = (x @ net.W_x + h @ net.W_h).tanh()
    h.name = "h"
    return (h * h).sum(), net


NETWORKS = {
    "rnn": one_cell(RNNCell, hoist=False),
    "lstm": one_cell(LSTMCell, hoist=False),
    "gru": one_cell(GRUCell, hoist=False),
    "masked": one_cell(LSTMCell, hoist=False, lengths=np.array([4, 2])),
    "hoisted": hoisted,
    "reversed": one_cell(RNNCell, hoist=False, reverse=True),
    "bidirectional": both_ways,
    "stacked": layers,
    "stacked bidirectional": layers_both_ways,
    "language model": language_model,
    "seq2seq": encoder_decoder(Decoder),
    "fed back": encoder_decoder(Decoder, RNNCell, teacher=0.0),
    "dot attention": encoder_decoder(DotDecoder),
    "additive attention": encoder_decoder(AdditiveDecoder, LSTMCell),
    "bidirectional encoder": encoder_both_ways,
    "second order": second_order,
    "named at the end": named_at_the_end,
}
WAYS: dict[str, dict[str, Any]] = {
    "op": {"depth": "op"},
    "gate": {"depth": "gate"},
    "cell": {"depth": "cell"},
    "layer": {"depth": "layer"},
    "steps": {"steps": [0, -1]},
    "rolled": {"rolled": True},
    "rolled gates": {"rolled": True, "depth": "gate"},
    "weights once": {"weights": "once"},
    "everything shown": {"show": ["shape", "dtype", "stats", "values", "gradient"]},
}
every_network = pytest.mark.parametrize("network", list(NETWORKS))


@cache
def drawn(network: str, way: str = "op") -> Drawing:
    y, params = NETWORKS[network](np.random.default_rng(0))
    return draw(y, params=params, **WAYS[way])


@every_network
def test_no_node_lies_on_another_and_no_line_passes_through_one(network: str) -> None:
    assert overlapping(drawn(network)) == []
    assert lines_through_nodes(drawn(network)) == []


@pytest.mark.parametrize("way", list(WAYS)[1:])
@pytest.mark.parametrize("network", ["lstm", "stacked bidirectional", "dot attention"])
def test_the_same_holds_however_it_is_drawn(network: str, way: str) -> None:
    assert overlapping(drawn(network, way)) == []
    assert lines_through_nodes(drawn(network, way)) == []


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("way", list(WAYS)[1:])
def test_the_same_holds_for_every_network_however_it_is_drawn(network: str, way: str) -> None:
    assert overlapping(drawn(network, way)) == []
    assert lines_through_nodes(drawn(network, way)) == []


@every_network
def test_no_line_passes_through_the_name_of_a_gate_or_a_step(network: str) -> None:
    drawing = drawn(network)
    lines = [curve(edge.points) for edge in drawing.graph.edges]
    for kind in ("scope", "step", "masked"):
        for caption, rect in captions(drawing, kind):
            assert not any(inside(line, rect) for line in lines), caption


@every_network
def test_lines_run_from_their_tail_to_their_head(network: str) -> None:
    for edge in drawn(network).graph.edges:
        points = curve(edge.points)
        for end, item in ((points[0], edge.tail), (points[-1], edge.head)):
            left, bottom, right, top = item.rect
            assert left - 1 <= end[0] <= right + 1
            assert bottom - 1 <= end[1] <= top + 1
            assert not inside(end[None], item.rect, 1.5)


@every_network
def test_lines_that_have_nothing_in_common_do_not_run_in_one_another(network: str) -> None:
    uprights = defaultdict(list)
    for edge in drawn(network).graph.edges:
        corners = [*edge.points[:-1:3], edge.points[-1]]
        for (x, y), (z, w) in pairwise(corners):
            if x == z:
                uprights[x].append((min(y, w), max(y, w), edge))
    for pieces in uprights.values():
        for (low, high, one), (low2, high2, other) in combinations(pieces, 2):
            if one.tail is not other.tail and one.head is not other.head:
                assert min(high, high2) - max(low, low2) < 5


@every_network
def test_a_step_looks_the_same_in_every_column_and_columns_are_equally_far_apart(network: str) -> None:
    graph = drawn(network).graph
    places = defaultdict(list)
    for item in graph.items:
        if item.step is not None and item.step != "start":
            places[item.stage, item.row, item.key].append((item.step, item.x, item.y))
    pitches = defaultdict(set)
    for (stage, _, _), found in places.items():
        assert len({y for _, _, y in found}) == 1
        found.sort()
        for (t, x, _), (u, z, _) in pairwise(found):
            if u == t + 1:
                pitches[stage].add(z - x)
    assert pitches
    assert all(len(pitch) == 1 and min(pitch) > 0 for pitch in pitches.values())


def flows(drawing: Drawing) -> Counter[tuple[str, int]]:
    """How many states flow to the right (1) and to the left (-1), by the run's name."""
    graph = drawing.graph
    found: Counter[tuple[str, int]] = Counter()
    for edge in graph.edges:
        run = graph.run_of(edge.head)
        if edge.look == "state" and run is not None and edge.tail.step != "start":
            found[run.name, 1 if edge.tail.x < edge.head.x else -1] += 1
    return found


def test_two_directions_are_two_rows_and_each_flows_its_own_way() -> None:
    drawing = drawn("bidirectional")
    assert [(run.name, run.stage, run.row) for run in drawing.graph.runs] == [("forward_cell", 0, 0), ("backward_cell", 0, 1)]
    assert set(flows(drawing)) == {("forward_cell", 1), ("backward_cell", -1)}


def test_layers_are_rows_from_below_upwards() -> None:
    runs = drawn("stacked bidirectional").graph.runs
    assert [(run.name, run.stage, run.row) for run in runs] == [
        (f"layers.{layer}.{way}_cell", 0, 2 * layer + row) for layer in range(2) for row, way in enumerate(("forward", "backward"))
    ]
    runs = drawn("language model").graph.runs
    assert [(run.name, run.stage, run.row) for run in runs] == [("layers.0", 0, 0), ("layers.1", 0, 1), ("Stacked", 0, 2)]


def test_encoder_and_decoder_stand_side_by_side_and_attention_reads_back_across() -> None:
    graph = drawn("dot attention").graph
    assert [(run.name, run.stage, run.row) for run in graph.runs] == [("encoder", 0, 0), ("decoder", 1, 0)]
    right = {stage: max(item.x for item in graph.items if item.stage == stage and item.row == 1) for stage in (0, 1)}
    left = {stage: min(item.x for item in graph.items if item.stage == stage and item.row == 1) for stage in (0, 1)}
    assert right[0] < left[1]
    across = [edge for edge in graph.edges if edge.look == "across"]
    assert len(across) >= 2 * len(TARGETS)
    assert all(edge.tail.x < edge.head.x for edge in across)


def test_pieces_of_truncated_backpropagation_stand_side_by_side_with_the_cut_between_them() -> None:
    rng = np.random.default_rng(0)
    cell, state, losses = RNNCell(3, 4, rng=rng), None, []
    for _ in range(2):
        run = unroll(cell, steps_of_inputs(rng, 2), state, hoist=False)
        losses.append((run.outputs**2).sum())
        state = type(run.state)(run.state.h.detach())
    graph = draw(losses[0] + losses[1], params=cell).graph
    assert [(run.stage, run.row) for run in graph.runs] == [(0, 0), (1, 0)]
    (cut,) = [edge for edge in graph.edges if edge.look == "cut"]
    assert (cut.tail.name, cut.head.look, cut.head.words) == ("h_1", "detached", "h_1")


def test_inputs_stand_below_outputs_above_and_the_initial_state_beside() -> None:
    graph = drawn("lstm").graph
    by_word = defaultdict(list)
    for item in graph.items:
        by_word[item.words].append(item)
    lowest, highest = min(item.y for item in graph.items), max(item.y for item in graph.items)
    assert all(by_word[f"x_{t}"][0].y == lowest for t in range(T))
    assert [item.look for item in graph.items if item.y == highest] == ["output"]
    left = min(item.x for item in graph.items if item.step not in ("start", None))
    assert all(item.x < left for word in ("h", "c") for item in by_word[word] if item.step == "start")


def test_gates_and_states_are_named_as_in_the_textbook() -> None:
    for network, gates, states in (("lstm", "fioc̃", "hc"), ("gru", ("r", "z", "h̃"), "h")):
        drawing = drawn(network)
        assert Counter(caption for caption, _ in captions(drawing, "scope")) == dict.fromkeys(split(gates), T)
        names = {item.name for item in drawing.graph.items if item.look == "operation"} - {""}
        assert names == {f"{state}_{t}" for state in states for t in range(T)}


def split(letters: Any) -> list[str]:
    return list(letters) if isinstance(letters, tuple) else ["f", "i", "o", "c̃"]


def test_an_lstm_of_five_steps_fits_a_screen() -> None:
    rng = np.random.default_rng(0)
    cell = LSTMCell(3, 4, rng=rng)
    items = draw((unroll(cell, steps_of_inputs(rng, 5), hoist=False).last ** 2).sum(), params=cell).graph.items
    width = (max(item.rect[2] for item in items) - min(item.rect[0] for item in items)) * 96 / 72
    height = (max(item.rect[3] for item in items) - min(item.rect[1] for item in items)) * 96 / 72
    assert width < 1920  # pixels, at the size at which letters are 13 points high
    assert height < 1080


@st.composite
def programs(draw_from: Any) -> list[Tensor]:
    """The outputs of any program: ops within any scopes and steps, in any order, some values detached."""
    pool = [Tensor(1.0 + i, requires_grad=i % 2 == 0, name=f"p{i}") for i in range(draw_from(st.integers(1, 3)))]
    for _ in range(draw_from(st.integers(1, 15))):
        places = [scope(name) for name in draw_from(st.lists(st.sampled_from("ab"), max_size=2))]
        places += [step(t) for t in draw_from(st.lists(st.integers(0, 4), max_size=1))]
        places += [scope(name) for name in draw_from(st.lists(st.sampled_from("fg"), max_size=2))]
        with ExitStack() as entered:
            for place in places:
                entered.enter_context(place)
            for _ in range(draw_from(st.integers(1, 3))):
                x, y = (pool[draw_from(st.integers(0, len(pool) - 1))] for _ in range(2))
                kind = draw_from(st.integers(0, 4))
                pool.append([x + y, x * x, x.tanh(), y - 2.0, x.detach() * y][kind])
    return [pool[-1], pool[draw_from(st.integers(0, len(pool) - 1))]]


@settings(max_examples=15, deadline=None)
@given(
    outputs=programs(),  # which need not have a step 0: the steps to draw are a slice of those that there are
    way=st.sampled_from([way for way in WAYS.values() if "steps" not in way] + [{"steps": slice(0, 1)}, {"steps": slice(-1, None)}]),
)
def test_any_program_can_be_drawn_in_any_way(outputs: list[Tensor], way: dict[str, Any]) -> None:
    assume("show" not in way or any(y.requires_grad for y in outputs))  # else there are no gradients to show, which is refused
    drawing = draw(outputs, **way)
    assert overlapping(drawing) == []
    assert lines_through_nodes(drawing) == []


def test_outputs_without_a_gradient_are_drawn_beside_those_with_one() -> None:
    x = Tensor(2.0, requires_grad=True)
    drawing = draw([x * x, Tensor(1.0) + 1.0], show="gradient")
    assert "‖∂L‖ 4" in drawing.source
