"""Names and their languages: the data and its split, naive Bayes, the reader of both ends, and the task that learns from them."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("babel", reason="Babel is not installed; the names come from it")

from babel import Locale

from models.experiment import load_checkpoint
from models.languages import (
    LANGUAGES,
    NAMES,
    Classifier,
    Labelled,
    Languages,
    all_names,
    baseline_accuracies,
    by_language,
    confusion,
    groups,
    held_out,
    letters,
    main,
    mistakes,
    naive_bayes,
    of_one_language,
    part,
    probabilities,
    readable,
    written_by,
)
from models.recurrent import unroll
from models.seq2seq import padded
from models.task import CHECKPOINT, Problem
from tinygrad_seq import cross_entropy
from tinygrad_seq.check import check_gradients
from tinygrad_seq.data import Vocabulary

SMALL = ["--hidden", "6", "--batch", "4", "--steps", "4", "--quiet"]
words = st.text("aBbCñ", min_size=1, max_size=3)


# ---- names ---------------------------------------------------------------------------------------------------------------------------


def test_each_name_is_one_that_its_language_alone_has() -> None:
    known: dict[str, set[str]] = {}
    for code, language in LANGUAGES.items():
        locale = Locale(code)
        for table in (locale.territories, locale.languages, locale.currencies, locale.scripts):
            for name in table.values():
                plain = " ".join(re.sub(r"\(.*?\)", "", name).split()).lower()
                known.setdefault(plain, set()).add(language)
    assert len(all_names().names) == len(set(all_names().names)) > 5000
    for name, label in zip(*all_names(), strict=True):
        assert known[name.lower()] == {NAMES[label]}, name


def test_names_are_of_letters_and_every_language_has_many() -> None:
    for name in all_names().names:
        assert all(c.isalpha() or c in " -'’ʻʼ" for c in name), name
        assert name == name.strip()
        assert name == unicodedata.normalize("NFC", name)
        assert letters().decode(letters().encode(name)) == name
    assert min(Counter(all_names().labels.tolist()).values()) > 400
    for name in ("Rzeczpospolita", "Deutschland", "Ελλάδα"):
        assert (set(name) <= set(letters().symbols)) == (name != "Ελλάδα")


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), st.sets(words, max_size=5), min_size=2))
def test_what_two_languages_share_is_left_out_whatever_its_capitals(own: dict[str, set[str]]) -> None:
    names, labels = of_one_language(own)
    kept = list(zip(names, (list(own)[i] for i in labels), strict=True))
    expected = [
        (name, language)
        for language, mine in own.items()
        for name in mine
        if not any(name.lower() == other.lower() for rival, theirs in own.items() if rival != language for other in theirs)
    ]
    assert sorted(kept) == sorted(expected)
    assert names == sorted(names)


@given(words, words)
def test_the_split_is_a_rule_of_the_name_whatever_its_capitals(one: str, other: str) -> None:
    name = f"{one} {other}"
    assert held_out(name) == held_out(name.swapcase()) == held_out(name.upper())


def test_the_parts_share_no_name_and_together_are_all() -> None:
    known, asked = part(test=False), part(test=True)
    assert not {name.casefold() for name in known.names} & {name.casefold() for name in asked.names}
    together = sorted(zip(known.names + asked.names, [*known.labels, *asked.labels], strict=True))
    assert together == sorted(zip(*all_names(), strict=True))
    assert 0.18 < len(asked.names) / len(all_names().names) < 0.22
    assert min(Counter(asked.labels.tolist()).values()) > 60
    assert all(held_out(name) for name in asked.names)


def test_without_babel_the_problem_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(Problem, match=r"names from Babel; install it: pip install -e '.\[data\]'"):
        written_by("pl")


# ---- simpler methods -----------------------------------------------------------------------------------------------------------------


def test_groups_of_characters_follow_each_other() -> None:
    assert groups("Rom", 1) == ["R", "o", "m"]
    assert groups("Rom", 2) == ["^R", "Ro", "om", "m$"]
    assert groups("Rom", 3) == ["^^R", "^Ro", "Rom", "om$"]


@given(st.lists(st.tuples(words, st.integers(0, 2)), min_size=3, max_size=8), words, st.integers(1, 3), st.sampled_from([0.1, 1.0]))
def test_naive_bayes_is_what_counting_by_hand_gives(known: list[tuple[str, int]], name: str, n: int, extra: float) -> None:
    known = [*known, ("a", 0), ("B", 1), ("C", 2)]
    scores = naive_bayes(Labelled([word for word, _ in known], np.array([label for _, label in known])), [name], n, extra)
    counts = [Counter(g for word, label in known if label == k for g in groups(word, n)) for k in range(3)]
    kinds = len({g for count in counts for g in count}) + 1
    for k in range(3):
        expected = math.log(sum(label == k for _, label in known) / len(known))
        for g in groups(name, n):
            expected += math.log((counts[k][g] + extra) / (sum(counts[k].values()) + extra * kinds))
        assert scores[0, k] == pytest.approx(expected)
    assert (scores[0, 3:] == -np.inf).all()


def test_baselines_are_what_they_were_measured_to_be() -> None:
    levels = list(baseline_accuracies().values())
    assert levels == sorted(levels)
    np.testing.assert_allclose(levels, [0.13, 0.60, 0.79, 0.80], atol=0.03)  # a later Babel has other names


# ---- the network ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=4), st.sampled_from(["lstm", "gru", "rnn"]))
def test_a_name_scores_the_same_alone_and_among_others(names: list[list[int]], cell: str) -> None:
    model = Classifier(cell, 6, 2, 3, 4, layers=2, rng=np.random.default_rng(0), dtype=np.float64)
    together = model(*padded([np.array(name) for name in names])).numpy()
    assert together.shape == (len(names), 4)
    for name, scores in zip(names, together, strict=True):
        np.testing.assert_allclose(model(np.array(name)[:, None], np.array([len(name)])).numpy()[0], scores, rtol=1e-10)


def test_the_answer_is_made_of_what_each_direction_holds_at_its_end() -> None:
    model = Classifier("lstm", 6, 2, 3, 4, rng=np.random.default_rng(0), dtype=np.float64)
    names, lengths = padded([np.array([0, 1, 2, 5]), np.array([3, 4])])
    [both] = model.layers.layers
    vectors = model.embedding(names)
    ends = [unroll(cell, vectors, lengths=lengths, reverse=r).last for cell, r in ((both.forward_cell, False), (both.backward_cell, True))]
    expected = np.concatenate([h.numpy() for h in ends], axis=1) @ model.output.W.numpy() + model.output.b.numpy()
    np.testing.assert_allclose(model(names, lengths).numpy(), expected, rtol=1e-12)


def test_gradients_are_those_of_the_complex_step() -> None:
    model = Classifier("gru", 5, 2, 2, 3, rng=np.random.default_rng(0), dtype=np.float64)
    names, lengths = padded([np.array([0, 1, 2]), np.array([3]), np.array([4, 4])])
    labels = np.array([2, 0, 1])
    report = check_gradients(
        lambda scale: cross_entropy(model(names, lengths) * scale, labels), np.array([1.3]), parameters=model, float32=False
    )
    assert "complex" in str(report)


def test_probabilities_are_those_of_the_model_without_dropout() -> None:
    model = Classifier("lstm", 6, 2, 4, 3, dropout=0.5, rng=np.random.default_rng(0))
    p, again = (probabilities(model, ["ab", "cab"], Vocabulary("abc")) for _ in range(2))
    np.testing.assert_array_equal(p, again)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert model.training


# ---- the task ------------------------------------------------------------------------------------------------------------------------


def task_of(*options: str) -> Languages:
    return Languages(Languages.parser().parse_args([*SMALL, *options]), 0)


def test_a_few_names_are_learned_by_heart() -> None:
    task = task_of("--hidden", "24", "--batch", "20", "--steps", "60", "--lr", "2e-2", "--hide", "0.02", "--dropout", "0.1")
    chosen = np.flatnonzero([len(name) < 8 for name in task.known.names])[::60]
    task.known = Labelled([task.known.names[i] for i in chosen], task.known.labels[chosen])
    task.encoded = [task.encoded[i] for i in chosen]
    for _ in range(60):
        task.step()
    assert len(set(task.known.labels.tolist())) > 5
    p = probabilities(task.model, task.known.names, letters())
    assert (p.argmax(axis=1) == task.known.labels).mean() > 0.9


def test_batches_are_known_names_each_equally_likely_with_some_characters_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("--batch", "32", "--hide", "0.25")
    hidden, drawn = [], Counter[int]()

    def forward(names: np.ndarray, lengths: np.ndarray) -> object:
        for n, length in enumerate(lengths):
            hidden.append(names[:length, n] == len(letters()))
            drawn[int(length)] += 1
        return Classifier.forward(task.model, names, lengths)

    monkeypatch.setattr(task.model, "forward", forward)
    for _ in range(100):
        task.loss()
    assert np.concatenate(hidden).mean() == pytest.approx(0.25, abs=0.02)
    long = np.mean([len(name) > 20 for name in task.known.names])
    assert sum(count for length, count in drawn.items() if length > 20) / 3200 == pytest.approx(long, abs=0.06)


def test_the_matrix_and_the_table_count_what_is_taken_for_what() -> None:
    counts = confusion(np.array([0, 0, 0, 1, 9]), np.array([0, 1, 1, 1, 0]))
    assert counts.sum() == 5
    assert (counts[0, 0], counts[0, 1], counts[1, 1], counts[9, 0]) == (1, 2, 1, 1)
    lines = by_language(counts)
    assert lines[1].split() == ["Czech", "3", "33.3%", "50.0%", "Polish", "(2)"]
    assert lines[2].split() == ["Polish", "1", "100.0%", "33.3%"]
    assert lines[3].split() == ["German", "0", "-", "-"]
    assert lines[10].split() == ["Turkish", "1", "0.0%", "-", "Czech", "(1)"]


def test_the_surest_mistakes_come_first() -> None:
    p = np.full((3, 10), 0.01)
    p[0, 1], p[1, 2], p[2, 3] = 0.5, 0.9, 0.8
    lines = mistakes(Labelled(["a", "b", "c"], np.array([0, 0, 3])), p)
    assert lines == ["2 of 3 are wrong, the surest:", "  b: German (p = 0.90), not Czech", "  a: Polish (p = 0.50), not Czech"]
    assert mistakes(Labelled(["c"], np.array([3])), p[2:]) == ["0 of 1 are wrong."]


def test_a_run_leaves_its_files_resumes_and_tells_names_without_babel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    monkeypatch.setattr(Languages, "evaluations", 1)
    assert main([*SMALL, "--out", str(whole)]) == 0
    printed = capsys.readouterr().out
    for text in ("commonest language 0.1", "Bayes on 3 characters 0.", "most often taken for", "are wrong, the surest"):
        assert text in printed
    assert {path.name for path in whole.iterdir()} == {CHECKPOINT, "config.json", "curve.svg", "languages.txt", "confusion.svg"}
    main([*SMALL, "--out", str(parts), "--minutes", "1e-9"])
    assert load_checkpoint("languages", parts).config["done"] == 1
    main(["--resume", str(parts), "--quiet"])
    for path in whole.iterdir():
        assert path.read_bytes() == (parts / path.name).read_bytes(), path.name

    monkeypatch.setitem(sys.modules, "babel", None)
    for function in (all_names, part, letters):
        monkeypatch.setattr(f"models.languages.{function.__name__}", function.__wrapped__)
    capsys.readouterr()
    assert main(["sample", "--checkpoint", str(whole), "Rzeczpospolita", "C\u030cesko"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[11]] == ["Rzeczpospolita", "Česko"]
    p = [float(line.split()[1]) for line in lines[1:11]]
    assert p == sorted(p, reverse=True)
    assert sum(p) == pytest.approx(1, abs=0.006)
    assert {line.split()[0] for line in lines[1:11]} == set(NAMES)
    for name, message in (("", "an empty name"), ("  ", "an empty name"), ("Ελλάδα", "'Ελλάδα': unknown symbols"), ("R2D2", "'R2D2'")):
        with pytest.raises(Problem, match=message):
            main(["sample", "--checkpoint", str(whole), name])
    with pytest.raises(Problem, match="takes its names from Babel"):
        main([*SMALL, "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_a_name_is_read_with_single_spaces_and_composed_accents() -> None:
    assert readable("  C\u030cesko   a ", Vocabulary("Česko a")) == "Česko a"


def test_a_checkpoint_of_other_names_is_refused() -> None:
    task = task_of()
    task.check_config(task.config())
    with pytest.raises(Problem, match="names of another version of Babel"):
        task.check_config(task.config() | {"names": 1})


@pytest.mark.parametrize("options", [["--hide", "1"], ["--hide", "-0.1"], ["--dropout", "nan"], ["--layers", "0"], ["--embedding", "0"]])
def test_options_out_of_range_are_refused_by_the_command_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
