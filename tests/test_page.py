"""The page that steps through a computation, in a real browser: what it shows at each step, and how a reader goes through it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pages import CELLS, Reader, network, page, stepped
from tinygrad_seq import Tensor, grad, op, ops, record, tanh
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.draw.graph import reachable
from tinygrad_seq.ledger import chain

every_cell = pytest.mark.parametrize("kind", CELLS)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright: pip install tinygrad_seq[browser]")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as running:
        profile = str(tmp_path_factory.mktemp("profile"))
        context = running.chromium.launch_persistent_context(profile, executable_path=path, headless=True, args=FLAGS.split())
        yield context
        context.close()


@pytest.fixture
def read(browser: Any, tmp_path: Path) -> Iterator[Any]:
    readers = []

    def opened(drawn: Drawing | str, **size: int) -> Reader:
        path = tmp_path / f"page {len(readers)}.html"
        path.write_text(drawn if isinstance(drawn, str) else page(drawn), encoding="utf-8")
        readers.append(Reader(browser, path, **size))
        return readers[-1]

    yield opened
    for reader in readers:
        reader.done()


def agree(shown: list[list[str]] | None, array: Any) -> None:
    """The numbers on the page are those of the array, to the four digits shown."""
    assert shown is not None
    np.testing.assert_allclose(np.array(shown, float), np.atleast_2d(np.asarray(array, float)), rtol=6e-4, atol=1e-300)


def small(array: Any) -> bool:
    """Whether the page shows all numbers of it."""
    return np.size(array) <= 32 and np.ndim(array) <= 2


@every_cell
def test_what_is_shown_at_each_step_is_what_the_engine_computed(kind: str, read: Any) -> None:
    """Forward, values fill in; backward, ∂L/∂y is whole when y's op runs, and that of its operands is the sum of what came so far."""
    L, cell, html = stepped(kind)
    reader = read(html)
    ids = {node._order: f"n{i}" for i, node in enumerate(reachable([L]))}
    made = [node for node in reachable([L]) if node._op is not None]
    links = list(chain(L))
    assert reader.panel()["title"] == "the start"
    assert sorted(reader.marked("todo")) == sorted(ids[node._order] for node in made)
    shown = iter(reader.walk(len(made) + len(links)))
    for count, node in enumerate(made, 1):
        cards = check_step(next(shown), count, "forward", node, ids)
        assert not any(card["total"] for card in cards)
    sums: dict[int, Any] = {}
    whole = grad(L, [node for node, _, _ in links])
    for count, ((node, _, parts), gradient) in enumerate(zip(links, whole, strict=True), len(made) + 1):
        output, *operands = check_step(next(shown), count, "backward", node, ids)
        if small(gradient):
            agree(output["total"], gradient)
        for x, part in parts:
            sums[x._order] = sums.get(x._order, 0) + part
        left = list(parts)
        for card, x in zip(operands, node._inputs, strict=True):
            if left and left[0][0] is x:
                part = left.pop(0)[1]
                if small(part):
                    agree(card["adds"], part)
                    agree(card["total"], sums[x._order])
    reader.press("ArrowRight")
    last = len(made) + len(links)
    assert (reader.at(), reader.text("#count"), reader.marked("todo")) == (last, f"{last} of {last}", [])
    for p in [*cell.parameters(), *(x for x in reachable([L]) if x.name == "W_y")]:
        np.testing.assert_allclose(sums[p._order], grad(L, p), rtol=1e-12)


def check_step(shown: dict[str, Any], count: int, phase: str, node: Any, ids: dict[int, str]) -> list[dict[str, Any]]:
    """The panel tells of this op, with its values, and the picture marks it; gives the panel's cards."""
    assert shown["at"] == count
    assert shown["title"].startswith(f"{phase} {node._op.__name__.lstrip('_')}")
    assert shown["now"] == [ids[node._order]]
    output, *operands = shown["cards"]
    for card, array in zip([output, *operands], [node._data, *node._arrays], strict=True):
        if small(array):
            agree(card["value"], array)
        else:
            assert card["value"] is None
    return [output, *operands]


def test_going_back_shows_again_what_was_shown(read: Any) -> None:
    reader = read(stepped("rnn")[2])
    there = [reader.panel(), *reader.walk(24)]
    assert [shown["at"] for shown in there] == list(range(25))
    back = reader.walk(25, "ArrowLeft")
    assert back == [*there[-2::-1], there[0]]


def test_keys_buttons_and_slider_go_to_both_ends_and_to_the_backward_pass(read: Any) -> None:
    L, _, html = stepped("rnn")
    reader = read(html)
    count = sum(node._op is not None for node in reachable([L]))
    last = count + len(list(chain(L)))
    reader.press("End")
    assert reader.at() == last
    reader.press("Home")
    assert reader.at() == 0
    reader.press("b")
    assert reader.at() == count + 1
    assert reader.panel()["title"].startswith("backward mean")
    for button, expected in (("last", last), ("back", last - 1), ("first", 0), ("next", 1)):
        reader.page.click(f"#{button}")
        assert reader.at() == expected
    reader.page.fill("#slider", "7")
    assert reader.at() == 7
    reader.page.focus("#slider")
    reader.press("ArrowRight", "ArrowRight", "Home", "ArrowRight")
    assert reader.at() == 1
    assert reader.page.get_attribute("#slider", "aria-valuetext") == "forward y = a W_x"


def test_space_plays_and_pauses(read: Any) -> None:
    reader = read(stepped("rnn")[2])
    reader.press("Space")
    for _ in range(100):
        if reader.at() > 1:
            break
        reader.page.wait_for_timeout(100)
    assert reader.page.get_attribute("#play", "aria-pressed") == "true"
    reader.press("Space")
    assert reader.page.get_attribute("#play", "aria-pressed") == "false"
    at = reader.at()
    reader.page.wait_for_timeout(700)
    assert reader.at() == at


def test_a_folded_box_is_one_step_and_hides_what_is_in_it(read: Any) -> None:
    L, _, html = stepped("lstm")
    reader = read(html)
    reader.page.click("g.cluster > text:text-is('t = 0')")
    inside = len(reader.marked("inside"))
    assert inside > 15
    reader.press("ArrowRight")
    assert reader.page.locator("g.cluster.folded.now").count() == 1
    steps = [node for node in reachable([L]) if node._op is not None and 0 in places(node)]
    assert reader.at() == len(steps)
    reader.press("ArrowRight")
    assert reader.at() == len(steps) + 1
    reader.press("ArrowLeft")
    assert reader.at() == len(steps)
    reader.press("f")
    assert reader.marked("inside") == []
    reader.press("ArrowLeft")
    assert reader.at() == len(steps) - 1
    reader.press("f", "ArrowLeft")
    assert reader.at() == 0
    reader.press("End")
    last = reader.at()
    reader.press("ArrowLeft")
    assert reader.at() == last - sum(node._requires_grad for node in steps)


def places(node: Any) -> list[Any]:
    labels, place = [], node._place
    while place is not None:
        place, label = place
        labels.append(label)
    return labels


def test_find_marks_what_matches_and_enter_goes_through_it(read: Any) -> None:
    reader = read(stepped("lstm")[2])
    reader.press("/")
    reader.page.keyboard.type("c̃")
    assert reader.text("#found") == "4 found"  # what stands in the box of that gate, in two steps
    assert len(reader.marked("found")) == 4
    seen = []
    for _ in range(5):
        reader.press("Enter")
        seen.append(reader.marked("chosen"))
    assert len({marks[0] for marks in seen}) == 4
    assert seen[0] == seen[4]
    assert reader.panel()["cards"][0]["value"] is None  # not computed yet
    reader.press("Escape", "ArrowRight")
    assert reader.at() == 1
    assert reader.marked("found") == []


def test_a_click_on_a_node_tells_of_it(read: Any) -> None:
    L, cell, html = stepped("rnn")
    reader = read(html)
    reader.page.locator("g.node", has_text="W_h").first.click()
    (card,) = reader.panel()["cards"]
    agree(card["value"], cell.W_h.numpy())
    reader.press("End", "Escape")
    reader.page.locator("g.node", has_text="W_h").first.click()
    agree(reader.panel()["cards"][0]["total"], grad(L, cell.W_h))


def test_pan_zoom_and_back_to_the_whole(read: Any) -> None:
    reader = read(stepped("lstm")[2])
    reader.press("0")
    home = reader.view()
    reader.press("+")
    near = reader.view()
    assert near[2] == pytest.approx(0.8 * home[2])
    assert near[0] + near[2] / 2 == pytest.approx(home[0] + home[2] / 2)
    reader.press("Shift+ArrowRight")
    assert reader.view()[0] > near[0]
    reader.page.click("#nearer")
    reader.page.click("#farther")
    assert reader.view()[2] == pytest.approx(near[2])
    reader.press("0")
    assert reader.view() == home
    box = reader.page.locator("#picture").bounding_box()
    x, y = box["x"] + 30, box["y"] + 40
    reader.page.mouse.move(x, y)
    reader.page.mouse.down()
    reader.page.mouse.move(x + 50, y + 20, steps=3)
    reader.page.mouse.up()
    scale = max(home[2] / box["width"], home[3] / box["height"])
    assert reader.view()[:2] == pytest.approx([home[0] - 50 * scale, home[1] - 20 * scale], abs=0.1)
    assert reader.panel()["title"] == "the start"
    reader.press("0")
    reader.page.mouse.wheel(0, -100)
    assert reader.view()[2] < home[2]


def test_a_large_picture_follows_the_step(read: Any) -> None:
    reader = read(stepped("lstm", T=4)[2], width=800, height=600)
    before = reader.view()
    assert all(shown["inSight"] for shown in reader.walk(90))
    assert reader.view()[0] > before[0] + 100


def test_names_are_shown_as_they_are_and_do_nothing(read: Any) -> None:
    evil = "</script><script>alert('in')</script><img src=x onerror=alert(1)>&amp; $x ${y} {z} \u2028"
    w = Tensor([2.0, 3.0], requires_grad=True, name=evil)
    with record.scope(evil):
        y = tanh(w * 2.0)
    reader = read(draw(y.sum(), title=evil))
    assert reader.page.title().split() == evil.split()
    reader.press("ArrowRight")
    assert reader.panel()["cards"][1]["name"] == evil
    assert reader.panel()["equation"] == f"y = {evil} ⊙ 2"
    assert reader.page.locator("img").count() == 0
    reader.page.evaluate("() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); }")
    assert reader.page.evaluate("window.ran") is None  # the page's policy: no script but its own
    assert len(reader.said) == 1
    assert "Content Security Policy" in reader.said.pop()


def test_large_arrays_are_told_by_their_statistics_and_odd_numbers_as_they_are(read: Any) -> None:
    x = Tensor(np.linspace(-1, 3, 100).reshape(10, 10), requires_grad=True, name="x")
    with np.errstate(divide="ignore"):
        y = ops.log(Tensor([0.0, 1.0], requires_grad=True)) + 1.0
    reader = read(draw((x * 3.0).sum() + y.sum(), names={"x": x}))
    assert reader.text("#count") == "0 of 12"
    reader.page.locator("g.node", has_text="x").first.click()
    assert reader.text(".value .stats") == f"from -1 to 3, mean 1, norm {np.linalg.norm(x.numpy()):.4g}"
    reader.press("Escape")
    values = []
    for _ in range(6):
        reader.press("ArrowRight")
        values.append(reader.panel()["cards"][0]["value"])
    assert [["-inf", "0"]] in values


def test_a_painted_picture_gets_its_colours_as_the_gradients_come(read: Any) -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True, name="x")
    W = Tensor([[3.0], [4.0]], requires_grad=True, name="W_y")
    reader = read(draw((x @ W).sum(), gradients=True))
    fill = "(shape) => getComputedStyle(shape).fill"
    weight = reader.page.locator("g.node", has_text="W_y").first
    assert weight.locator("polygon, path").first.evaluate(fill) == "rgb(255, 255, 255)"
    reader.press("End")
    assert weight.locator("polygon, path").first.evaluate(fill) != "rgb(255, 255, 255)"
    reader.press("ArrowLeft")
    assert reader.panel()["title"] == "backward sum"
    reader.press("ArrowRight")
    assert reader.text(".rules li:first-child") == "∂L/∂x = ∂L/∂y Wyᵀ"
    assert reader.text(".rules sub") == "y"


def test_without_a_single_number_at_the_end_there_is_no_backward_pass(read: Any) -> None:
    W = Tensor(np.eye(2), requires_grad=True, name="W")
    reader = read(draw(tanh(Tensor(np.ones((1, 2))) @ W)))
    assert "no single number" in reader.text("#panel")
    assert not reader.page.is_visible("#scale")
    reader.press("b")
    assert reader.at() == 0
    reader.press("End")
    assert reader.at() == 2


def test_a_readers_own_op_has_its_name_for_a_formula(read: Any) -> None:
    @op(lambda g, y, x: 3 * g * x**2)
    def cube(x: Any) -> Any:
        return x**3

    reader = read(draw(cube(Tensor(2.0, requires_grad=True, name="v"))))
    reader.press("ArrowRight", "ArrowRight")
    assert reader.panel()["equation"] == "y = cube(v)"
    assert reader.text(".rules") == "∂L/∂v = what the rule of cube makes of ∂L/∂y"
    agree(reader.panel()["cards"][1]["total"], 12.0)


def test_light_and_dark_wide_and_narrow(read: Any) -> None:
    reader = read(stepped("gru")[2])
    for width in (1300, 400):
        reader.page.set_viewport_size({"width": width, "height": 800})
        papers = []
        for scheme in ("light", "dark"):
            reader.page.emulate_media(color_scheme=scheme)
            papers.append(reader.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert papers == ["rgb(255, 255, 255)", "rgb(22, 22, 22)"]
        reader.press("ArrowRight")
        frame, panel = (reader.page.locator(which).bounding_box() for which in ("#picture", "#panel"))
        assert (panel["y"] >= frame["y"] + frame["height"]) == (width == 400)
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
        assert frame["height"] > 200
    reader.press("b")  # the loss's own gradient, in the colours of either page
    (first,) = [t["grads"][0][1] for t in draw(network("gru")[0]).story()["tensors"] if t["what"] == "mean"]
    for scheme in ("light", "dark"):
        reader.page.emulate_media(color_scheme=scheme)
        fill = reader.page.locator("g.node.now > path").first.evaluate("(shape) => getComputedStyle(shape).fill")
        assert fill == "rgb({}, {}, {})".format(*bytes.fromhex(first[scheme][0][1:]))
