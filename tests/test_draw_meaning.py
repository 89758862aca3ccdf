"""What drawings say: folding, names, cuts, masks, gradients; and what they refuse."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import draw as command
from models.draw import GALLERY, NETWORKS, Wish
from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import unroll
from models.rnn import RNNCell
from models.seq2seq import Decoder, Seq2Seq
from models.task import Problem
from tinygrad_seq import Tensor, grad, scope, step
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.draw.paint import colour, gradient_norms
from tinygrad_seq.ledger import contributions

GOLDEN = Path(__file__).parent / "golden" / "rnn.dot"


def unrolled(steps: int = 4, cell: Any = LSTMCell, **options: Any) -> tuple[Tensor, Any]:
    rng = np.random.default_rng(0)
    made = cell(3, 4, rng=rng, dtype=np.float64)
    xs = [Tensor(rng.standard_normal((2, 3)), name=f"x_{t}") for t in range(steps)]
    return (unroll(made, xs, hoist=False, **options).outputs ** 2).sum(), made


def words(drawing: Drawing, look: str | None = None) -> Counter[str]:
    return Counter(item.words for item in drawing.graph.items if look in (None, item.look))


def looks(drawing: Drawing) -> Counter[str]:
    return Counter(edge.look for edge in drawing.graph.edges)


# ---- folding


def test_a_gate_becomes_one_node_that_says_which() -> None:
    y, params = unrolled()
    drawing = draw(y, params=params, depth="gate")
    assert words(drawing, "folded") == dict.fromkeys(("f", "i", "o", "c̃"), 4)
    assert {item.note for item in drawing.graph.items if item.look == "folded"} == {"σ", "tanh"}
    assert words(drawing, "parameter") == {"W_x": 4, "W_h": 4, "b": 4}


def test_a_cell_becomes_one_node_a_step_with_its_inputs_and_states() -> None:
    y, params = unrolled()
    drawing = draw(y, params=params, depth="cell")
    assert words(drawing, "folded") == {"LSTMCell": 4}
    assert words(drawing, "input") == {"x_0": 1, "x_1": 1, "x_2": 1, "x_3": 1, "h": 1, "c": 1}
    assert looks(drawing)["state"] == 3 + 2
    assert {item.name for item in drawing.graph.items if item.look == "folded"} == {f"c_{t}, h_{t}" for t in range(4)}


def test_a_layer_becomes_one_node_whatever_its_length() -> None:
    for steps in (3, 12):
        y, params = unrolled(steps)
        drawing = draw(y, params=params, depth="layer")
        (layer,) = [item for item in drawing.graph.items if item.look == "folded"]
        assert layer.note == f"{steps} steps"
        assert len(drawing.graph.items) == 8
        assert words(drawing)[f"x_0 … x_{steps - 1}"] == 1


def test_arrays_that_the_steps_of_a_layer_read_are_one_input() -> None:
    cell = RNNCell(3, 4, rng=np.random.default_rng(0))
    y = unroll(cell, np.ones((5, 2, 3), np.float32), hoist=False).last.sum()
    assert words(draw(y, params=cell, depth="layer"), "input") == Counter({"float32 (2, 3)": 1, "h": 1})


def test_steps_that_are_not_asked_for_are_one_column_that_counts_them() -> None:
    y, params = unrolled(50)
    drawing = draw(y, params=params, steps=[0, 1, -1])
    (hidden,) = [item for item in drawing.graph.items if item.look == "hidden"]
    assert hidden.note == "47 identical steps"
    assert {item.step for item in drawing.graph.items if item.row == 1} == {0, 1, 2, 49, "start"}
    into = [(edge.tail.name, edge.look) for edge in drawing.graph.edges if edge.head is hidden]
    assert sorted(into) == [("c_1", "state"), ("h_1", "state")]
    beyond = [edge.head for edge in drawing.graph.edges if edge.tail is hidden]
    assert {item.step for item in beyond} == {49, None}


def test_hidden_steps_that_differ_are_not_called_identical() -> None:
    y, params = unrolled(6, lengths=np.array([6, 3]))
    same = draw(y, params=params, steps=slice(0, 1))
    assert words(same, "hidden") == {"…": 1}
    h: Any = Tensor(1.0, requires_grad=True)
    for t in range(6):
        with step(t):
            h = h.tanh() if t != 3 else h.exp()
    (hidden,) = [item for item in draw(h, steps=[0, 5]).graph.items if item.look == "hidden"]
    assert hidden.note == "4 steps"


def test_two_gaps_are_two_columns() -> None:
    y, params = unrolled(9)
    notes = [item.note for item in draw(y, params=params, steps=[0, 4, 8]).graph.items if item.look == "hidden"]
    assert notes == ["3 identical steps", "3 identical steps"]


def test_lines_from_hidden_steps_to_one_op_are_one_line_that_counts_them() -> None:
    y, params = unrolled(1000, RNNCell)
    graph = draw(y, params=params).graph
    (line,) = [edge for edge in graph.edges if edge.tail.look == "hidden" and edge.head.step is None]
    assert (line.head.words, line.words) == ("stack", "× 997")
    assert Counter(edge.words for edge in graph.edges) == {"": len(graph.edges) - 1, "× 997": 1}


def test_rolled_up_a_step_hands_its_states_to_itself() -> None:
    y, params = unrolled(7)
    drawing = draw(y, params=params, rolled=True)
    rolled = [edge for edge in drawing.graph.edges if edge.look == "rolled"]
    assert {(edge.tail.name, edge.words) for edge in rolled} == {("h_t", "h_t"), ("c_t", "c_t")}
    assert words(drawing, "input") == {"x_t": 1, "h": 1, "c": 1}
    assert "t = 0 … 6" in drawing.source
    assert words(draw(y, params=params, rolled=True, depth="cell"), "folded") == {"LSTMCell": 1}


def test_what_is_too_large_to_be_read_is_folded_and_says_how_to_unfold_it() -> None:
    y, params = unrolled(100)
    folded = draw(y, params=params)
    assert len(folded.graph.items) < 200
    assert folded.graph.remark == 'folded to be readable: draw(..., steps="all") draws all 2,106 nodes'
    assert "2,106 nodes" in folded.source
    assert len(draw(y, params=params, steps="all", depth="op").graph.items) == 2106
    assert not draw(unrolled()[0]).graph.remark


def test_folding_that_cannot_be_done_is_refused() -> None:
    y, params = unrolled()
    for options, said in (
        ({"depth": "block"}, "depth='block', expected one of op, gate, cell, layer"),
        ({"steps": [0, 9]}, "step 9, and the steps are from 0 to 3"),
        ({"rolled": True, "steps": [0]}, "leave out steps"),
        ({"show": ["shape", "colour"]}, "show='colour', expected some of shape"),
        ({"weights": "twice"}, "weights='twice'"),
    ):
        with pytest.raises(ValueError, match=said):
            draw(y, params=params, **options)
    for steps in ("some", 3, [0.5]):
        with pytest.raises(TypeError, match="expected step numbers"):
            draw(y, steps=steps)  # type: ignore[arg-type]


def test_folding_neither_loses_nor_invents_a_connection() -> None:
    """Who can be reached from whom is the same, as far as it can be said, at every depth."""
    y, params = unrolled(5, GRUCell)

    def reached(drawing: Drawing) -> set[tuple[str, str]]:
        after: dict[Any, set[Any]] = {item: {item} for item in drawing.graph.items}
        for _ in range(60):
            for edge in drawing.graph.edges:
                after[edge.tail] |= after[edge.head]
        ends = {item: item.words for item in drawing.graph.items if item.look in ("input", "output")}
        return {(ends[a], ends[b]) for a, b in itertools.product(ends, ends) if b in after[a]}

    whole = reached(draw(y, params=params))
    for depth in ("gate", "cell"):
        assert reached(draw(y, params=params, depth=depth)) == whole  # type: ignore[arg-type]


# ---- truth


def test_weights_are_a_copy_in_each_step_or_one_node() -> None:
    y, params = unrolled()
    assert words(draw(y, params=params), "parameter") == {"W_x": 4, "W_h": 4, "b": 4}
    once = draw(y, params=params, weights="once")
    assert words(once, "parameter") == {"W_x": 1, "W_h": 1, "b": 1}
    (W,) = [item for item in once.graph.items if item.words == "W_h"]
    assert len({edge.head.step for edge in once.graph.edges if edge.tail is W}) == 4


def test_a_detached_value_looks_cut_off_from_what_it_came_from() -> None:
    x = Tensor(2.0, requires_grad=True, name="x")
    h = x * x
    drawing = draw(h * h.detach())
    (cut,) = [edge for edge in drawing.graph.edges if edge.look == "cut"]
    assert (cut.tail.words, cut.head.look) == ("×", "detached")
    assert "cut: no gradient flows" in drawing.source
    alone = draw(x * h.detach())
    assert looks(alone)["cut"] == 0
    assert words(alone, "detached") == {"4": 1}


def test_cutting_in_place_shows_where_history_ended() -> None:
    x = Tensor(2.0, requires_grad=True, name="x")
    h = x.tanh()
    y = h * x
    h.detach_()
    drawing = draw(y)
    assert len([item for item in drawing.graph.items if item.look == "detached"]) == 1


def test_inputs_that_are_fed_back_differ_from_those_that_a_teacher_gives() -> None:
    rng = np.random.default_rng(0)
    net = Seq2Seq(RNNCell(5, 4, rng=rng), Decoder(RNNCell, 5, 4, rng=rng), rng=rng)
    xs, targets = np.array([[1], [3]]), np.array([[1], [2], [0]])
    forced, fed_back = (draw(net(xs, targets, teacher=p, rng=rng), params=net) for p in (1.0, 0.0))
    assert looks(forced)["fed back"] == 0
    edges = [edge for edge in fed_back.graph.edges if edge.look == "fed back"]
    assert [(edge.tail.name, edge.head.look, edge.head.step) for edge in edges] == [("h_0", "detached", 1), ("h_1", "detached", 2)]
    assert "fed back: no gradient flows" in fed_back.source


def test_masked_steps_say_for_how_many_they_do_not_happen() -> None:
    y, params = unrolled(3, RNNCell, mask=np.array([[True, True], [True, False], [False, False]]))
    drawing = draw(y, params=params)
    captions = {block[2]: drawing.graph.caption(block) for block in drawing.graph.masked}
    assert captions == {0: "t = 0", 1: "t = 1, masked: 1 of 2", 2: "t = 2, masked"}
    assert words(drawing, "mask") == {"×": 6, "+": 3}
    assert sum(box.kind == "masked" for run in drawing.boxes for box in run.boxes) == 1


def test_states_of_a_loop_of_ones_own_are_named_after_the_first() -> None:
    W, h = Tensor(np.eye(2), requires_grad=True, name="W"), Tensor(np.ones(2), name="h_0")
    for t in range(3):
        with step(t):
            h = (h @ W).tanh()
    assert [item.name for item in draw(h.sum()).graph.items if item.words == "tanh"] == ["h_1", "h_2", "h_3"]


def test_gradient_ops_stand_in_the_steps_of_the_ops_that_they_differentiate() -> None:
    y, params = unrolled(3, RNNCell)
    drawing = draw((grad(y, params.W_h, create_graph=True) ** 2).sum(), params=params)
    steps = Counter(item.step for item in drawing.graph.items if item.look == "gradient operation")
    assert min(steps[t] for t in range(3)) > 3


# ---- values and gradients


def test_nodes_show_what_is_asked_for() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    notes = {item.words: item.note for item in draw((x * 3).sum(), show=["shape", "dtype", "values"]).graph.items}
    assert notes["×"] == "(2,) float64\n[3, 6]"
    assert notes["Σ"] == "() float64\n9"
    assert "4.5 ± 1.5, 3 to 6" in draw((x * 3).sum(), show="stats").source


def test_gradient_norms_are_those_of_the_chain_rule() -> None:
    y, params = unrolled(3)
    norms = gradient_norms([y])
    y.backward()
    assert norms[params.W_h._order] == pytest.approx(float(np.linalg.norm(params.W_h.grad)), rel=1e-12)
    twice = gradient_norms([y, y])
    assert twice[params.W_h._order] == pytest.approx(2 * norms[params.W_h._order], rel=1e-12)


def test_a_copy_of_a_weight_shows_its_steps_share_of_the_gradient() -> None:
    y, params = unrolled(4)

    def shown(**options: Any) -> dict[Any, float | None]:
        return {item.step: item.gradient for item in draw(y, params=params, **options).graph.items if item.words == "W_h"}

    share = contributions(y, params.W_h)
    by_step = dict(zip(share.steps, share.norms, strict=True))
    assert shown(gradients=True) == pytest.approx(by_step)
    assert shown(gradients=True, depth="gate") == pytest.approx(by_step)
    assert shown(gradients=True, steps=[0, -1]) == pytest.approx({t: by_step[t] for t in (0, 3)})
    whole = {None: float(np.linalg.norm(share.total))}
    assert shown(gradients=True, weights="once") == pytest.approx(whole)
    twice = {item.step: item.gradient for item in draw([y, y], params=params, gradients=True).graph.items if item.words == "W_h"}
    assert twice == pytest.approx({t: 2 * norm for t, norm in by_step.items()})


def test_painted_gradients_fall_off_in_colour_and_width_where_they_vanish() -> None:
    rng = np.random.default_rng(0)
    cell = RNNCell(3, 4, rng=rng, dtype=np.float64)
    cell.W_h.data = 0.3 * np.eye(4)
    xs = [Tensor(rng.standard_normal((1, 3))) for _ in range(6)]
    drawing = draw((unroll(cell, xs, hoist=False).last ** 2).sum(), params=cell, gradients=True)
    states = sorted((item for item in drawing.graph.items if item.words == "tanh"), key=lambda item: item.step)
    assert [item.gradient for item in states] == sorted(item.gradient for item in states if item.gradient)
    assert states[0].gradient is not None
    assert states[0].gradient < 0.01 * (states[-1].gradient or 0)
    brightness = [sum(int(item.fill[i : i + 2], 16) for i in (1, 3, 5)) for item in states]
    assert brightness == sorted(brightness)
    widths = [edge.width for edge in drawing.graph.edges if edge.look == "state" and edge.tail.step != "start"]
    assert widths == sorted(widths)
    assert "‖∂L/∂x‖" in drawing.source


def test_a_gradient_of_zero_is_white_and_the_scale_runs_from_dark_to_light() -> None:
    x = Tensor(-1.0, requires_grad=True, name="x")
    drawing = draw(x.relu() * 2.0, gradients=True)
    assert [item.fill for item in drawing.graph.items if item.words == "x"] == ["#FFFFFF"]
    scale = [colour(i / 20) for i in range(21)]
    assert (scale[0], scale[-1]) == (("#00224E", "#FFFFFF"), ("#FEE838", "#000000"))
    greys = [sum(w * int(c[i : i + 2], 16) for i, w in ((1, 0.2126), (3, 0.7152), (5, 0.0722))) for c, _ in scale]
    assert greys == sorted(greys)


def test_gradients_of_what_is_no_number_or_has_none_are_refused() -> None:
    with pytest.raises(ValueError, match="has no single gradient"):
        draw(Tensor([1.0, 2.0], requires_grad=True) * 2, gradients=True)
    with pytest.raises(ValueError, match="no gradient flows"):
        draw(Tensor(1.0) * 2, gradients=True)


# ---- determinism


def test_a_network_gives_the_same_text_as_ever() -> None:
    """Without any renderer.  After a change that is meant: python -m models.draw --cell rnn --steps 2 --out tests/golden/rnn.dot."""
    assert command.drawn("cell", Wish("rnn", 2)).source == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_network_can_be_drawn_at_every_depth_twice_the_same(network: str) -> None:
    for depth in ("op", "gate", "cell", "layer"):
        first, second = (command.drawn(network, Wish("gru", 3), depth=depth).source for _ in range(2))
        assert first == second


# ---- size


def test_long_runs_are_drawn_folded_and_long_graphs_without_recursion() -> None:
    y, params = unrolled(1000, RNNCell)
    assert len(draw(y, params=params).graph.items) < 100
    assert draw(y, params=params, steps="all", depth="op").source.count("\nn") > 10_000


# ---- the command line


def test_the_command_draws_what_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lstm.dot"
    assert command.main(["--cell", "lstm", "--steps", "3", "--depth", "gate", "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == command.drawn("cell", Wish("lstm", 3), depth="gate").source
    assert "lstm.dot" in capsys.readouterr().out
    assert command.main(["--network", "truncated", "--cut", "1", "--show-steps", "0", "--gradients", "--out", str(out)]) == 0
    assert command.main(["--steps", "200", "--out", str(out)]) == 0
    assert "folded to be readable" in capsys.readouterr().out


def test_the_command_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    for arguments, said in (
        (["--teacher", "2"], "no probability"),
        (["--teacher", "0.5"], "changes nothing in --network cell; it is for seq2seq"),
        (["--masked", "--network", "attention"], "--masked changes nothing"),
        (["--loss", "last", "--network", "caption"], "--loss changes nothing"),
        (["--cut", "3"], "it is for truncated"),
        (["--all-steps", "--show-steps", "0"], "contradict"),
        (["--show-steps", "0,9"], "asks for step 9"),
        (["--out", str(tmp_path / "picture.jpg")], "expected .svg"),
        (["--out", str(tmp_path / "nowhere" / "picture.svg")], "Choose another --out"),
    ):
        with pytest.raises(Problem, match=said):
            command.main(arguments)
    with pytest.raises(SystemExit):
        command.main(["--network", "transformer"])


def test_the_gallery_has_a_picture_of_every_kind_of_network() -> None:
    assert {network for network, _, _ in GALLERY.values()} >= set(NETWORKS) - {
        "stacked-bidirectional", "additive-attention", "bidirectional-encoder",
    }  # fmt: skip
    images = Path(__file__).parent.parent / "tutorials" / "img"
    assert all((images / f"{name}.svg").exists() for name in GALLERY)


def test_scopes_of_the_users_own_are_folded_like_gates() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    with scope("square"):
        y = (x * x).sum()
    (square,) = [item for item in draw(y + 1.0, depth="gate").graph.items if item.look == "folded"]
    assert (square.words, square.note) == ("square", "× Σ")
