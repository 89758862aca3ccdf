"""Drawings: what is in the DOT text, where it stands, and what is said when it cannot be drawn."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import ops
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.draw.items import Graph
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.record import grad, scope, step
from tinygrad_seq.tensor import Tensor


def rendered_svg(drawing: Any) -> str:
    try:
        return str(drawing.svg())
    except RuntimeError as error:
        pytest.skip(f"nothing to render with: {error}")


def rnn(steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    W_x, W_h, b = (Tensor(np.full(shape, 0.1), requires_grad=True) for shape in ((3, 4), (4, 4), (4,)))
    h = Tensor(np.zeros((2, 4)), name="h_0")
    losses = []
    for t in range(steps):
        x = Tensor(np.ones((2, 3)), name=f"x_{t}")
        with step(t):
            h = (x @ W_x + h @ W_h + b).tanh()
            losses.append((h * h).sum())
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total, {"W_x": W_x, "W_h": W_h, "b": b}


def lstm(steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    W, b = (Tensor(np.full(shape, 0.1), requires_grad=True) for shape in ((7, 16), (16,)))
    h, c = (Tensor(np.zeros((2, 4)), name=name) for name in ("h_0", "c_0"))
    for t in range(steps):
        x = Tensor(np.ones((2, 3)), name=f"x_{t} = 'P'")
        with step(t):
            parts = ops.split(ops.concat([h, x], axis=1) @ W + b, 4, axis=1)
            gates = []
            for name, part in zip(("input gate", "forget gate", "output gate"), parts, strict=False):
                with scope(name):
                    gates.append(ops.sigmoid(part))
            with scope("candidate"):
                g = ops.tanh(parts[3])
            c = gates[1] * c + gates[0] * g
            h = gates[2] * ops.tanh(c)
            h.name = f"h_{t + 1}"
    return h.sum(), {"W": W, "b": b}


def stacked(steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    params = {
        f"cells.{layer}.{name}": Tensor(np.full(shape, 0.1), requires_grad=True)
        for layer in range(2)
        for name, shape in (("W_x", (103, 128) if layer == 0 else (128, 128)), ("W_h", (128, 128)), ("b", (128,)))
    }
    states = [Tensor(np.zeros((2, 128)), name=f"h{layer}_0") for layer in range(2)]
    for t in range(steps):
        h = Tensor(np.ones((2, 103)), name=f"x_{t} = 'W'")
        for layer in range(2):
            with step(t), scope(f"layer {layer}"):
                W_x, W_h, b = (params[f"cells.{layer}.{name}"] for name in ("W_x", "W_h", "b"))
                h = states[layer] = ops.tanh(h @ W_x + states[layer] @ W_h + b)
    return (h * 0.0078125).sum(), params


GOLDEN = [
    'n0 [label=<<FONT POINT-SIZE="13">x</FONT>>, pos="17,13", width=0.361, height=0.361, shape=box, style=filled, color="#C98500", '
    'fillcolor="#FFF1D0"]',
    'n1 [label=<<FONT POINT-SIZE="13">−x</FONT>>, pos="17,61", width=0.472, height=0.361, shape=box, style="rounded,filled", '
    'color="#0072B2", fillcolor="#E6F1F8", peripheries=2]',
    'n0 -> n1 [pos="e,17,48 17,26 17,26 17,41 17,41", color="#555555", penwidth=1.1]',
]
every_network = pytest.mark.parametrize("network", [rnn, lstm, stacked])
Rect = tuple[float, float, float, float]  # left, bottom, right, top


def placed(source: str) -> tuple[dict[str, Rect], dict[str, Rect], dict[str, list[str]]]:
    """The rectangles of the nodes, those of the clusters, and the clusters around each of both, the outermost first."""
    nodes: dict[str, Rect] = {}
    clusters: dict[str, Rect] = {}
    around: dict[str, list[str]] = {}
    opened: list[str] = []
    for line in source.splitlines()[1:-1]:
        if line.startswith("subgraph"):
            name = line.split()[1]
            around[name] = list(opened)
            opened.append(name)
        elif line == "}":
            opened.pop()
        elif opened and line.startswith("graph ["):
            left, bottom, right, top = map(float, re.findall(r' bb="(\S+),(\S+),(\S+),(\S+)"', line)[0])
            clusters[opened[-1]] = left, bottom, right, top
        elif found := re.match(r'(\w+) \[label=.* pos="(\S+),(\S+)", width=([\d.]+), height=([\d.]+),', line):
            x, y, width, height = map(float, found.groups()[1:])
            nodes[found[1]] = x - 36 * width, y - 36 * height, x + 36 * width, y + 36 * height
            around[found[1]] = list(opened)
    assert not opened
    return nodes, clusters, around


def positions(source: str) -> dict[str, tuple[float, float]]:
    """Where each node's centre stands."""
    found = re.findall(r'^(n\d+(?:_\d+)?) \[.*pos="([-\d.]+),([-\d.]+)"', source, re.M)
    return {name: (float(x), float(y)) for name, x, y in found}


def named(source: str, name: str) -> list[str]:
    """The nodes whose label shows a name."""
    return re.findall(rf"^(n\S+) \[label=<[^,]*>{re.escape(name)}<", source, re.M)


def steps_of(source: str) -> list[str]:
    """The boxes of the time steps, in the order in which they are written."""
    return re.findall(r"^subgraph (\w+) \{\ngraph \[label=<t = ", source, re.M)


def edges(source: str) -> list[tuple[str, str]]:
    return re.findall(r"^(n\S+) -> (n\S+) \[", source, re.M)


def test_a_tiny_graph_gives_this_text() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    lines = draw(-x, legend=False).source.splitlines()
    assert lines[0] == "digraph {"
    assert lines[-1] == "}"
    assert lines[4:-1] == GOLDEN


def test_the_same_graph_built_twice_gives_the_same_bytes() -> None:
    first, second = ((draw(y, params=p).source) for y, p in (rnn(4), rnn(4)))
    assert first == second
    assert "0x" not in first


def test_both_edges_of_a_square_are_drawn_and_do_not_coincide() -> None:
    x = Tensor(3.0, requires_grad=True, name="x")
    source = draw(x * x).source
    assert edges(source) == [("n0", "n1"), ("n0", "n1")]
    assert len(set(re.findall(r"^n0 -> n1 .*", source, re.M))) == 2


def test_steps_are_boxes_in_order_of_time_even_when_run_in_reverse() -> None:
    h = Tensor(1.0, requires_grad=True)
    for t in (2, 1, 0):
        with step(t):
            h = h.tanh()
    source = draw(h).source
    boxes = re.findall(r'label=<(t = \d)>, bb="([-\d.]+),[-\d.]+,([-\d.]+)', source)
    assert [label for label, _, _ in boxes] == ["t = 0", "t = 1", "t = 2"]
    assert float(boxes[0][2]) < float(boxes[1][1]) < float(boxes[1][2]) < float(boxes[2][1])


def test_all_steps_of_a_recurrent_network_look_alike() -> None:
    y, params = rnn(4)
    source = draw(y, params=params).source
    place = positions(source)
    for name in ("W_x", "W_h", "b"):
        copies = [place[node] for node in named(source, name)]
        assert len(copies) == 4
        gaps = np.diff([x for x, _ in sorted(copies)])
        assert np.allclose(gaps, gaps[0], atol=0.2)
        assert len({y for _, y in copies}) == 1


def test_inputs_stand_below_and_the_initial_state_to_the_left() -> None:
    y, params = rnn(3)
    source = draw(y, params=params).source
    place = positions(source)
    (h_0,) = named(source, "h_0")
    assert place[h_0][0] == min(x for x, _ in place.values())
    for t in range(3):
        (x_t,) = named(source, f"x_{t}")
        assert place[x_t][1] == min(y for _, y in place.values())


@every_network
def test_no_two_nodes_overlap(network: Any) -> None:
    y, params = network(3)
    nodes, _, _ = placed(draw(y, params=params).source)
    assert len(nodes) > 30
    rects = list(nodes.values())
    for i, (left, bottom, right, top) in enumerate(rects):
        for left2, bottom2, right2, top2 in rects[:i]:
            assert left >= right2 or left2 >= right or bottom >= top2 or bottom2 >= top


@every_network
def test_nodes_and_boxes_stand_within_the_boxes_they_belong_to_and_outside_of_others(network: Any) -> None:
    y, params = network(3)
    nodes, clusters, around = placed(draw(y, params=params).source)
    for name, (left, bottom, right, top) in (nodes | clusters).items():
        for cluster, (left2, bottom2, right2, top2) in clusters.items():
            if cluster in around[name]:
                assert left2 <= left
                assert right <= right2
                assert bottom2 <= bottom
                assert top <= top2
            elif cluster != name and name not in around[cluster]:
                assert left >= right2 or left2 >= right or bottom >= top2 or bottom2 >= top


@every_network
def test_the_columns_are_equally_wide_and_each_op_stands_at_the_same_place_in_all(network: Any) -> None:
    y, params = network(4)
    source = draw(y, params=params, legend=False).source
    nodes, clusters, around = placed(source)
    columns = steps_of(source)
    assert len(columns) == 4
    widths, heights = ([clusters[name][i + 2] - clusters[name][i] for name in columns] for i in (0, 1))
    starts = [clusters[name][0] for name in columns]
    assert np.allclose(widths, widths[0], atol=0.11)
    assert np.allclose(heights, heights[0], atol=0.11)
    assert np.allclose(np.diff(starts), starts[1] - starts[0], atol=0.21)
    words = dict(re.findall(r'^(n\S+) \[label=<<FONT POINT-SIZE="13">([^<]*)<.*rounded', source, re.M))
    rows = []
    for column in columns:
        own = [name for name in words if column in around[name]]
        rows.append(
            sorted((words[name], round(sum(nodes[name][1::2]) / 2), sum(nodes[name][::2]) / 2 - clusters[column][0]) for name in own)
        )
    assert len(rows[0]) >= 5
    for row in rows[1:]:
        assert [op[:2] for op in row] == [op[:2] for op in rows[0]]
        assert np.allclose([op[2] for op in row], [op[2] for op in rows[0]], atol=0.31)


def test_the_columns_are_equally_wide_even_where_one_step_does_more() -> None:
    h = Tensor(1.0, requires_grad=True)
    for t in range(3):
        with step(t):
            h = h.tanh()
            if t == 1:
                h = h.exp() + h.log() + h.sqrt()
    source = draw(h, legend=False).source
    _, clusters, _ = placed(source)
    widths = [clusters[name][2] - clusters[name][0] for name in steps_of(source)]
    assert len(widths) == 3
    assert np.allclose(widths, widths[0], atol=0.11)
    assert widths[0] > 3 * 34


@every_network
def test_labels_fit_into_their_nodes_and_rendering_says_nothing(network: Any, capfd: pytest.CaptureFixture[str]) -> None:
    y, params = network(2)
    drawing = draw(y, params=params)
    rendered_svg(drawing)
    assert capfd.readouterr().err == ""
    # With sizes that bind, the renderer, which knows the fonts, says what does not fit; it allows no label the whole of a plain node.
    strict = drawing.source.replace("fixedsize=shape", "fixedsize=true").replace("shape=plain", "shape=plain, fixedsize=false")
    Drawing(strict, Graph(), []).svg()
    assert "too small" not in capfd.readouterr().err


def test_what_the_renderer_has_to_say_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    rendered_svg(Drawing('digraph { graph [layout=nop2] a [label="much too long", fixedsize=true, width=0.1, pos="0,0"] }', Graph(), []))
    assert "size too small for label" in capfd.readouterr().err


def test_the_rendered_picture_has_the_steps_from_left_to_right() -> None:
    y, params = rnn(4)
    svg = rendered_svg(draw(y, params=params))
    xs = [
        float(x)
        for _, x in sorted((label, x) for x, label in re.findall(r'<text[^>]* x="([-\d.]+)"[^>]*>(t = \d)<', svg.replace("&#160;", " ")))
    ]
    assert len(xs) == 4
    assert xs == sorted(xs)


def test_names_come_from_modules_dicts_lists_and_tensors() -> None:
    layer = Linear(2, 3, rng=np.random.default_rng(0))
    xs = [Tensor(np.ones((1, 2))), Tensor(np.ones((1, 2)))]
    ids = np.array([0, 0])
    y = layer(xs[0] + xs[1])[ids].sum()
    source = draw(y, params=layer, names={"xs": xs, "y": y, "other": 3}).source
    for name in ("W", "b", "xs_0", "xs_1", "y"):
        assert named(source, name), name


def test_scopes_and_modules_are_boxes_within_their_step() -> None:
    class Model(Module):
        def __init__(self) -> None:
            self.layers = [Linear(2, 2, rng=np.random.default_rng(0))]

        def forward(self, x: Tensor) -> Tensor:
            for t in range(2):
                with step(t):
                    x = self.layers[0](x)
                    with scope("squash"):
                        x = x.tanh()
            return x

    model = Model()
    source = draw(model(Tensor(np.ones((1, 2)))), params=model).source
    assert source.count("label=<layers.0>") == source.count("label=<squash>") == 2
    first, second = source.index("label=<t = 0>"), source.index("label=<t = 1>")
    assert first < source.index("label=<squash>") < second < source.rindex("label=<squash>")


def test_names_from_users_are_escaped() -> None:
    x = Tensor(1.0, requires_grad=True, name='<script>"\\ & \n\x00')
    with scope("</TABLE>"):
        y = x + 1
    drawing = draw(y, title="<b>")
    assert "<script>" not in drawing.source
    assert "&lt;script&gt;&quot;\\ &amp; ··" in drawing.source
    svg = rendered_svg(drawing)
    assert "&lt;script&gt;" in svg
    assert "<script>" not in svg


def test_gradient_ops_have_a_look_of_their_own() -> None:
    x = Tensor(2.0, requires_grad=True, name="x")
    (g,) = grad(x * x * x, [x], create_graph=True)
    assert "operation of a gradient" in draw(g * 2).source
    assert "operation of a gradient" not in draw(x * x).source


def test_the_legend_explains_only_what_is_there_and_can_be_left_out() -> None:
    x = Tensor(1.0, requires_grad=True)
    assert ">parameter<" in draw(x.tanh()).source
    assert "from step to step" not in draw(x.tanh()).source
    assert "legend" not in draw(x.tanh(), legend=False).source


def test_a_leaf_alone_and_several_outputs_can_be_drawn() -> None:
    x = Tensor(1.0, requires_grad=True, name="x")
    assert named(draw(x).source, "x") == ["n0"]
    assert draw([x + 1, x * 2]).source.count("peripheries=2") == 3  # with the legend's


@pytest.mark.parametrize(("y", "said"), [(np.ones(2), "ndarray"), ([1.0], "float"), ([], "no tensors")])
def test_what_is_not_a_tensor_is_refused_by_name(y: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        draw(y)


def test_a_long_chain_is_drawn_folded_and_says_how_to_unfold_it() -> None:
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(10_000):
        y = y + x
    drawing = draw(y)
    assert len(drawing.graph.items) < 500
    assert "draws all 10,001 nodes" in drawing.source
    assert "depth=&quot;op&quot;" in drawing.source
    whole = draw(y, depth="op")
    assert whole.source.count(" -> ") >= 20_000


def test_more_nodes_than_a_renderer_can_take_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_seq.draw.render._LARGEST", 3)
    with pytest.raises(ValueError, match=r"6 nodes.*depth="):
        draw(Tensor(1.0, requires_grad=True).tanh().tanh().tanh().tanh().tanh()).svg()


def test_saving_goes_by_the_suffix_and_leaves_nothing_else(tmp_path: Path) -> None:
    drawing = draw(Tensor(1.0, requires_grad=True).tanh())
    rendered_svg(drawing)
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"digraph")):
        drawing.save(tmp_path / f"graph{suffix}")
        assert (tmp_path / f"graph{suffix}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 4


def test_saving_elsewhere_says_what_is_wrong(tmp_path: Path) -> None:
    drawing = draw(Tensor(1.0, requires_grad=True).tanh())
    with pytest.raises(ValueError, match=r"'\.jpg', expected"):
        drawing.save(tmp_path / "graph.jpg")
    with pytest.raises(FileNotFoundError, match="cannot write there"):
        drawing.save(tmp_path / "missing" / "graph.dot")


def test_without_a_renderer_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    drawing = draw(Tensor(1.0, requires_grad=True).tanh())
    with pytest.raises(RuntimeError, match=r"pip install 'tinygrad_seq\[draw\]'.*install graphviz"):
        drawing.svg()
    assert "install graphviz" in drawing._repr_mimebundle_()["text/plain"]


def test_dot_can_be_left_to_place_what_is_drawn() -> None:
    y, params = lstm(2)
    drawing = draw(y, params=params, layout="dot", gradients=True)
    assert drawing.source == draw(y, params=params, layout="dot", gradients=True).source
    assert not re.search(r"\b(pos|bb|lp)=", drawing.source)
    columns = draw(y, params=params)
    assert edges(drawing.source) == edges(columns.source)
    assert drawing.source.count("label=<forget gate>") == drawing.source.count("label=<t = ") == 2
    svg = rendered_svg(drawing)
    assert sorted(re.findall(r"<title>(n\d+(?:_\d+)?)</title>", svg)) == sorted(positions(columns.source))
    assert svg.count("<title>cluster_") == drawing.source.count("subgraph ")
    with pytest.raises(ValueError, match="layout='neato'"):
        draw(y, layout="neato")  # type: ignore[arg-type]


def test_networks_of_one_name_have_boxes_of_their_own_where_dot_places_them() -> None:
    x = Tensor(np.ones((1, 2)), requires_grad=True, name="x")
    hs = []
    for below in (x, None):
        h, x_t = Tensor(np.ones((1, 2)), name="h"), below if below is not None else hs[-1]
        with scope("RNN"):
            a = x_t * 2.0
            for t in range(2):
                with step(t):
                    h = (h + a).tanh()
        hs.append(h)
    for y in (hs[-1], hs[0] + hs[1]):
        boxes = [re.findall(r"graph \[label=<(t = \d|RNN)>", draw(y, layout=layout).source) for layout in ("columns", "dot")]
        assert sorted(boxes[0]) == sorted(boxes[1])
        assert boxes[1].count("t = 0") == 2


def test_dot_places_a_small_graph_from_below_upwards() -> None:
    x = Tensor(2.0, requires_grad=True, name="x")
    svg = rendered_svg(draw(x * x + 1.0, layout="dot", legend=False))
    assert len(re.findall(r"<title>n0&#45;&gt;n1</title>", svg)) == 2  # both edges of the square
    places = [float(re.search(rf"<title>{name}</title>.*?<text[^>]* y=\"([-\d.]+)\"", svg, re.S)[1]) for name in ("n0", "n1", "n2")]  # type: ignore[index]
    assert places == sorted(places, reverse=True)


def test_more_nodes_than_dot_can_place_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_seq.draw.render._LARGEST_DOT", 3)
    with pytest.raises(ValueError, match=r"4 nodes.*steps="):
        draw(Tensor(1.0, requires_grad=True).tanh().tanh().tanh(), layout="dot").svg()


def test_a_notebook_gets_the_svg_and_graphviz_the_source() -> None:
    drawing = draw(Tensor(1.0, requires_grad=True).tanh())
    rendered_svg(drawing)
    assert "<svg" in drawing._repr_mimebundle_()["image/svg+xml"]
    assert drawing.graphviz.source == drawing.source
