"""The reversal task: what its strings are, that it learns, what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.reversal import LETTERS, Reversal, draw_strings, held_out, reversal_pairs
from models.task import CHECKPOINT, Problem

lengths, seeds = st.integers(1, 20), st.integers(0, 2**32 - 1)
SMALL = ["--hidden", "8", "--batch", "4", "--steps", "6", "--longest", "4", "--quiet"]


@given(lengths, seeds, st.booleans())
def test_strings_are_of_the_part_that_was_asked_for(length: int, seed: int, test: bool) -> None:
    strings = draw_strings(np.random.default_rng(seed), length, 7, test=test)
    assert strings.shape == (length, 7)
    assert 0 <= strings.min() <= strings.max() < len(LETTERS)
    assert (held_out(strings) == test).all()
    again = [held_out(strings[:, n : n + 1])[0] for n in range(7)]  # a rule of the string alone, whatever stands beside it
    assert again == [test] * 7


def test_a_tenth_of_all_strings_is_held_out() -> None:
    rng = np.random.default_rng(0)
    assert 0.08 < np.mean([held_out(rng.integers(0, 26, (n, 500))).mean() for n in range(2, 16)]) < 0.12


@given(lengths, seeds)
def test_the_target_is_the_string_reversed_and_its_end(length: int, seed: int) -> None:
    strings = draw_strings(np.random.default_rng(seed), length, 3, test=False)
    for order in ("plain", "reversed"):
        source, target = reversal_pairs(strings, order)
        assert (target[-1] == len(LETTERS)).all()
        for n in range(3):
            read, write = LETTERS.decode(source[:, n]), LETTERS.decode(target[:-1, n])
            assert write == (read[::-1] if order == "plain" else read)
            assert write == LETTERS.decode(strings[:, n])[::-1]


def test_short_strings_are_learned_in_seconds(tmp_path: Path) -> None:
    options = ["--hidden", "32", "--batch", "32", "--steps", "400", "--lr", "1e-2", "--longest", "2", "--quiet", "--out", str(tmp_path)]
    task = Reversal(Reversal.parser().parse_args(options), 0)
    before = task.score()
    for _ in range(400):
        task.step()
    assert before < 0.2
    assert task.score() > 0.8
    for strings in task.tests:  # up to its first mistake a decoder is told the truth by itself
        target = reversal_pairs(strings, "plain")[1]
        assert ((task.written(strings, forced=True) == target).all(axis=0) == task.right(strings)).all()
        assert task.letters_right(strings, forced=True) >= task.letters_right(strings, forced=False) - 0.05


@pytest.mark.parametrize("order", ["plain", "reversed"])
def test_the_command_leaves_its_files_and_resumes_to_the_same_bytes(order: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert Reversal.main([*SMALL, "--order", order, "--out", str(whole)]) == 0
    Reversal.main([*SMALL, "--order", order, "--out", str(parts), "--minutes", "1e-9"])
    Reversal.main(["--resume", str(parts), "--quiet"])
    assert {path.name for path in whole.iterdir()} == {CHECKPOINT, "config.json", "curve.svg", "lengths.txt", "lengths.svg"}
    for path in whole.iterdir():
        assert path.read_bytes() == (parts / path.name).read_bytes(), path.name


@pytest.mark.parametrize("options", [["--longest", "65"], ["--longest", "0"], ["--order", "sideways"]])
def test_bad_options_are_refused(options: list[str], tmp_path: Path) -> None:
    with pytest.raises((Problem, SystemExit)):
        Reversal.main([*options, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
