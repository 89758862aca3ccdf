"""The tagger: its characters, its look-ups against counting by hand, its networks, what a run leaves behind and what it refuses."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import tagger_show
from models.experiment import load_checkpoint
from models.python_labels import NAMES, labels
from models.tagger import BODY, BOTH, LEFT, OTHER, Corpus, K, Labelled, Tagger, Tagging, V, best, encoded, f1, look_ups, main, read
from models.tagger_show import LOOKS, in_colours, liveliest, printable, with_letters
from models.task import CHECKPOINT, Problem
from tinygrad_seq import cross_entropy
from tinygrad_seq.check import check_gradients

SMALL = ["--hidden", "8", "--batch", "4", "--steps", "4", "--length", "12", "--quiet"]
WORDS = ["add", "mix", "pour", "stir", "bake", "cool", "cut", "eat", "wash", "dry", "rows", "item"]
LINES_OF_CODE = ["{0} = {1}", "{0}({1})", "{0}.{1} = {2} + 1", "{0}.{1}({2})", "if {0} == {1}: {2}()", "{0}({1}={2})",
                 '{0} = "{1} = {2}"', "{0} # {1} {2}",
                 "def {0}({1}): return {2}"]  # fmt: skip


def program(seed: int) -> str:
    """Lines in which what the first name is shows only behind it."""
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(LINES_OF_CODE).format(*rng.choice(WORDS, 3)) + "\n" for _ in range(40 + seed))


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Few characters judged, seldom, and few lines drawn: what is tested is that they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tagging, "evaluations", 1)
        patch.setattr(Tagging, "judged", 600)
        patch.setattr(tagger_show, "LINES", 4)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs."""
    folder = tmp_path_factory.mktemp("source")
    for i in range(12):
        (folder / f"{WORDS[i]}.py").write_text(program(i))
    return folder


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both networks, and one of the forward network alone, to look at, and what they printed."""
    folder = tmp_path_factory.mktemp("runs")
    for direction in ("compare", "forward"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            main([*SMALL, "--source", str(source), "--direction", direction, "--out", str(folder / direction)])
        (folder / f"{direction}.txt").write_text(printed.getvalue())
    return folder


def tagging(source: Path, *options: str, seed: int = 0) -> Tagging:
    return Tagging(Tagging.parser().parse_args([*SMALL, "--source", str(source), *options]), seed)


# ---- characters and files ------------------------------------------------------------------------------------------------------------


@given(st.text())
def test_every_character_is_a_symbol_and_those_of_ascii_are_told_apart(text: str) -> None:
    ids = encoded(text)
    assert ids.shape == (len(text),)
    assert ((ids >= 0) & (ids < V)).all()
    assert all(encoded(c)[0] == i for c, i in zip(text, ids, strict=True))


def test_symbols() -> None:
    ascii_text = "\n\t" + "".join(map(chr, range(32, 127)))
    assert encoded(ascii_text).tolist() == list(range(len(ascii_text)))
    assert encoded("\n")[0] == 0  # what the text is padded with
    assert len({*encoded("é名℘ﬁ")}) == 1
    assert (encoded("\f\x7f–\U0001f600\x1b") == OTHER).all()
    assert encoded("é")[0] != OTHER


def test_files_are_held_out_whole_and_everything_is_labelled(source: Path) -> None:
    corpus = Corpus(source, 6000, 1000)
    held, train = corpus.held, corpus.train
    assert not {*held.files} & {*train.files}
    assert len(held.ids) >= 1000
    assert len(held.ids) - (source / held.files[-1]).stat().st_size < 1000  # no file more than needed
    assert 7000 <= len(train.ids) + len(held.ids) <= 7000 + 2000
    for part in (held, train):
        assert part.text == "".join((source / name).read_text() for name in part.files)
        assert bytes(part.labels.astype(np.uint8)) == b"".join(labels((source / name).read_text()) for name in part.files)
        np.testing.assert_array_equal(part.ids, encoded(part.text))
    everything = Corpus(source, 10**6, 10**6)
    assert sorted(everything.held.files + everything.train.files) == sorted(path.name for path in source.iterdir())
    assert len(everything.held.ids) < len(everything.train.ids) / 4


# ---- look-ups ------------------------------------------------------------------------------------------------------------------------

SIDES = [(-1, -2, -3), (1, -1, 2, -2)]


def by_hand(train: Labelled, ids: list[int], at: int, offsets: list[int]) -> int | None:
    """The commonest label of a context, by looking at each place of the training text; the first of those as common."""

    def context(text: list[int], place: int) -> tuple[int, ...]:
        return tuple(text[place + d] if 0 <= place + d < len(text) else 0 for d in offsets)

    known = train.ids.tolist()
    found = Counter(int(train.labels[i]) for i in range(len(known)) if context(known, i) == context(ids, at))
    return min(found, key=lambda label: (-found[label], label)) if found else None


@given(st.data(), st.sampled_from(SIDES))
def test_look_ups_are_what_counting_gives_and_back_off(data: st.DataObject, sides: tuple[int, ...]) -> None:
    symbols = st.integers(0, 3)
    pairs = data.draw(st.lists(st.tuples(symbols, st.integers(0, K - 1)), min_size=1, max_size=12))
    ids = data.draw(st.lists(symbols, min_size=1, max_size=8))
    train = Labelled([], "", np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]))
    at = data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1))
    answers = look_ups(train, np.array(ids), np.array(at), sides)
    assert len(answers) == len(sides) + 1
    for n, place in enumerate(at):
        expected = 0
        for depth, said in enumerate(answers):
            found = by_hand(train, ids, place, [0, *sides[:depth]])
            expected = expected if found is None else found
            assert said[n] == expected


def test_look_ups_see_what_they_should() -> None:
    assert all(side < 0 for side in LEFT)
    assert sorted(BOTH) == [*range(-7, 0), *range(1, 8)]


def test_a_look_up_to_both_sides_knows_what_one_to_the_left_cannot() -> None:
    text = "a=1\na(2)\n" * 20
    train = Labelled([], text, encoded(text), np.frombuffer(labels(text), np.uint8).astype(np.int64))
    left, both = (best(look_ups(train, train.ids, np.arange(len(text)), sides), train.labels) for sides in ((-1, -1), (1,)))
    assert (left == train.labels).mean() < (both == train.labels).mean() == 1


def test_f1_of_each_label() -> None:
    true, said = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 3, 2])
    scores = f1(said, true)
    np.testing.assert_allclose(scores[:4], [4 / 5, 2 / 4, 1, 0])
    assert np.isnan(scores[4:]).all()


# ---- the networks --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_what_a_label_depends_on(cell: str) -> None:
    rng = np.random.default_rng(0)
    xs = rng.integers(0, V, (9, 1))
    other = xs.copy()
    other[5] = (other[5] + 1) % V
    for direction in ("forward", "bidirectional"):
        network = Tagger(cell, 4, 2, direction, rng=rng, dtype=np.float64)
        changed = (network(xs).data != network(other).data).any(axis=(1, 2))
        np.testing.assert_array_equal(changed, np.arange(9) >= 5 if direction == "forward" else np.ones(9, bool))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_gradients_reach_every_part_and_are_right(direction: str) -> None:
    rng = np.random.default_rng(0)
    network = Tagger("gru", 4, 1, direction, rng=rng, dtype=np.float64)
    xs, targets = rng.integers(0, V, (4, 2)), rng.integers(0, K, (4, 2))
    cross_entropy(network(xs), targets).backward()
    assert all(p.grad is not None and np.abs(p.grad).max() > 0 for p in network.parameters())
    W = network.output.W

    def loss(value: object) -> object:
        network.output.W = value
        return cross_entropy(network(xs), targets)

    check_gradients(loss, W.data, float32=False)


def test_a_text_is_read_in_blocks_with_what_stands_around_them() -> None:
    rng = np.random.default_rng(0)
    network, ids = Tagger("gru", 6, 1, "bidirectional", rng=rng), rng.integers(0, V, 3 * BODY + 17)
    whole = read(network, ids)
    assert whole.shape == (4, BODY)
    np.testing.assert_array_equal(read(network, ids, np.array([BODY, 0])), whole[[1, 0]])
    exact = network(ids[:, None]).data.argmax(axis=-1).reshape(-1)
    assert (whole.reshape(-1)[: len(ids)] == exact).mean() > 0.98  # all but what looks further than the margin


def test_each_network_learns_in_company_what_it_learns_alone(source: Path) -> None:
    together = tagging(source)
    for _ in range(3):
        together.step()
    for direction in ("forward", "bidirectional"):
        alone = tagging(source, "--direction", direction)
        for _ in range(3):
            alone.step()
        assert list(alone.model.networks) == [direction]
        for name, array in alone.model.networks[direction].state_dict().items():
            np.testing.assert_array_equal(array, together.model.networks[direction].state_dict()[name])


def test_the_networks_have_as_many_units_and_seeds_differ(source: Path) -> None:
    one, other = tagging(source), tagging(source, seed=1)
    assert {len(network.output.W) for network in one.model.networks.values()} == {8}
    for name, array in one.model.state_dict().items():
        assert (array != other.model.state_dict()[name]).any() or name.endswith(".b")


def test_reading_both_ways_pays(source: Path) -> None:
    task = tagging(source, "--hidden", "16", "--batch", "16", "--length", "20", "--lr", "3e-2", "--steps", "80")
    for _ in range(80):
        task.step()
    task.evaluate()
    levels = task.baselines()
    assert levels["commonest label"] < levels["look-up, left"] < levels["look-up, both sides"]
    assert task.right["bidirectional"][-1] == task.scores[-1][1]
    assert task.right["bidirectional"][-1] > task.right["forward"][-1] + 0.02 > 0.8
    target = NAMES.index("target")
    scores = {name: f1(said, task.true)[target] for name, said in task.said().items()}
    assert scores["bidirectional"] > scores["forward"] + 0.1


# ---- what a run leaves ---------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_tables_and_pictures(trained: Path, source: Path) -> None:
    files = {CHECKPOINT, "config.json", "curve.svg", "classes.txt", "classes.svg", "snippet.svg"}
    for direction in ("compare", "forward"):
        assert {path.name for path in (trained / direction).iterdir()} == files
        assert (trained / direction / "classes.txt").read_text() in (trained / f"{direction}.txt").read_text()
    table = (trained / "compare" / "classes.txt").read_text()
    assert re.findall(r"^\w+", table, re.MULTILINE)[1:] == [*NAMES, "mean", "right"]
    assert "bidirectional" in table.splitlines()[0]
    assert "bidirectional" not in (trained / "forward" / "classes.txt").read_text()
    task = tagging(source)
    task.restore(load_checkpoint("tagger", trained / "compare"))
    right = [100 * (said == task.true).mean() for said in [*task.simple.values(), *task.said().values()][1:]]
    assert table.splitlines()[-1].split()[2:] == [f"{share:.1f}" for share in right]


def test_a_run_stopped_and_resumed_ends_in_the_same_bytes(trained: Path, source: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tagging, "finish", lambda *_: None)  # as if the lights had gone out
        main([*SMALL, "--source", str(source), "--out", str(tmp_path / "parts"), "--minutes", "1e-9"])
    assert load_checkpoint("tagger", tmp_path / "parts").config["done"] == 1
    main(["--resume", str(tmp_path / "parts"), "--quiet"])
    for path in (trained / "compare").iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes(), path.name


def test_several_seeds_say_what_each_network_reached(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tagging, "finish", lambda *_: None)
    main([*SMALL, "--source", str(source), "--seeds", "2", "--out", str(tmp_path / "run")])
    printed = capsys.readouterr().out
    for network in ("bidirectional", "forward"):
        right = [load_checkpoint("tagger", tmp_path / "run" / f"seed-{seed}").arrays[f"extra.{network}"][-1] for seed in (0, 1)]
        reached = f"seed 0 {right[0]:.3f}, seed 1 {right[1]:.3f}; median {np.median(right):.3f}"
        assert f"characters right, {network}: {reached}\n" in printed
    assert {"scores.json", "curve.svg", "seed-0", "seed-1"} == {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden", "7"], "even number"),
        (["--length", "100000"], "more than half"),
        (["--source", "nowhere"], "no folder"),
        (["--source", "."], "give --source a folder with more"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    options: list[str], message: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match=message):
        main([*SMALL, "--source", str(source), *options])
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_with_the_same_source_only(trained: Path, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in source.iterdir():
        (other / path.name).write_text(path.read_text().replace("add", "and_"))
    with pytest.raises(Problem, match="learned from other files"):
        main(["--resume", str(trained / "compare"), "--source", str(other)])


# ---- a file labelled -----------------------------------------------------------------------------------------------------------------


def test_a_file_is_shown_with_letters_or_colours(trained: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = source / "mix.py"
    for show in ("letters", "colours"):
        assert main(["label", "--checkpoint", str(trained / "compare"), "--show", show, str(file)]) == 0
        shown = capsys.readouterr().out
        assert re.search(rf"\nbidirectional: \d+\.\d % of {len(file.read_text()):,} characters right\n$", shown)
        plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
        assert ("\x1b" in shown) == (show == "colours")
        if show == "colours":
            assert plain.startswith(file.read_text())
        else:
            assert plain.splitlines()[0] == file.read_text().splitlines()[0]
            assert set(plain.splitlines()[1]) <= {look.letter for look in LOOKS.values()}


def test_what_is_shown_is_what_the_network_says(trained: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint, direction in (("compare", "forward"), ("forward", "forward"), ("compare", "bidirectional")):
        main(["label", "--checkpoint", str(trained / checkpoint), "--direction", direction, str(source / "eat.py")])
        shown = capsys.readouterr().out
        task = tagging(source, *(["--direction", "forward"] if checkpoint == "forward" else []))
        task.restore(load_checkpoint("tagger", trained / checkpoint))
        text = (source / "eat.py").read_text()
        said = read(task.model.networks[direction], encoded(text)).reshape(-1)[: len(text)]
        true = np.frombuffer(labels(text), np.uint8)
        assert shown.startswith(with_letters(text, said, true).rstrip("\n"))


def test_code_that_is_not_finished_is_labelled_without_a_judgement(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", argparse.Namespace(buffer=io.BytesIO("x = (é\r\n".encode())))
    assert main(["label", "--checkpoint", str(trained / "compare"), "-"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("x = (é\n")
    assert "no judgement" in shown


def test_what_cannot_be_labelled_is_refused(trained: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'")
    for file, message in (
        ("empty.py", "is empty"),
        ("bytes.py", "not text in the encoding"),
        ("none.py", "cannot read"),
        ("", "cannot read"),
    ):
        with pytest.raises(Problem, match=message):
            main(["label", "--checkpoint", str(trained / "compare"), str(tmp_path / file)])
    good = str(source / "eat.py")
    with pytest.raises(Problem, match="holds no bidirectional network, only: forward"):
        main(["label", "--checkpoint", str(trained / "forward"), "--direction", "bidirectional", good])
    with pytest.raises(Problem, match="no checkpoint"):
        main(["label", "--checkpoint", str(tmp_path), good])


@given(st.text(st.sampled_from("ab \t\n\x1b\x07é$"), min_size=1))
def test_shown_text_is_the_text_and_commands_no_terminal(text: str) -> None:
    rng = np.random.default_rng(len(text))
    said, true = rng.integers(0, K, (2, len(text)))
    shown = in_colours(text, said, true)
    assert re.sub(r"\x1b\[[\d;]+m", "", shown) == printable(text)
    assert printable(text) == text.replace("\x1b", "\ufffd").replace("\x07", "\ufffd")
    assert "\x1b" not in with_letters(text, said, true)


def test_colours_and_letters() -> None:
    name, call, target = (NAMES.index(label) for label in ("name", "call", "target"))
    said, true = np.array([target, target, name, call]), np.array([target, name, name, name])
    assert in_colours("abcd", said) == "\x1b[1;31mab\x1b[0mc\x1b[33md\x1b[0m"
    assert in_colours("abcd", said, true) == "\x1b[1;31ma\x1b[0m\x1b[1;31;7mb\x1b[0mc\x1b[33;7md\x1b[0m"
    assert with_letters("abcd", said) == "abcd\nTTnC"
    assert with_letters("abcd", said, true) == "abcd\nTTnC\n n n"
    assert with_letters("a\n\nd", said[[0, 0, 0, 3]]) == "a\nT\n\nd\nC"


def test_the_liveliest_lines_are_whole_and_hold_the_most_labels() -> None:
    dull, lively = "\n" * 8, "x.y = f(a=1)[0]  # c\n" * 4
    text = dull + "x" * 200 + " = f(1)\n" + dull + lively + dull
    start, stop = liveliest(text, np.frombuffer(labels(text), np.uint8))
    assert text[start:stop].strip() == lively.strip()
    short = "x = 1\n"
    assert liveliest(short, np.frombuffer(labels(short), np.uint8)) == (0, len(short))
