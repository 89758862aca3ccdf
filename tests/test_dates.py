"""The dates task: that its answers are right and its sources unambiguous, that it learns, what it leaves behind and refuses."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("babel", reason="Babel is not installed; the dates come from it")

from models.dates import (
    DAYS,
    FORMATS,
    ISO,
    LANGUAGES,
    Dates,
    by_rule,
    draw_dates,
    groups,
    held_out,
    iso,
    letters,
    main,
    month_words,
    nearest,
    written,
)
from models.task import CHECKPOINT, Problem

days = st.integers(0, DAYS - 1)
SMALL = ["--hidden", "6", "--batch", "4", "--steps", "4", "--quiet"]


@given(days)
def test_the_target_is_the_day_that_was_written(day: int) -> None:
    date = datetime.date.fromisoformat(iso(day))
    assert 1900 <= date.year <= 2099
    for language in LANGUAGES:
        for form in FORMATS:
            source = written(day, language, form)
            assert str(date.year) in source
            assert letters().decode(letters().encode(source)) == source
    assert ISO.decode(ISO.encode(iso(day))) == iso(day)


@given(days, days)
def test_no_source_stands_for_two_days(one: int, other: int) -> None:
    near = {one, other, *(other - other % 28 + i for i in range(28) if other - other % 28 + i < DAYS)}
    meanings: dict[str, set[int]] = {}
    for day in near:
        for language in LANGUAGES:
            for form in FORMATS:
                meanings.setdefault(written(day, language, form), set()).add(day)
    assert all(len(meaning) == 1 for meaning in meanings.values())


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([None, *LANGUAGES]))
def test_dates_are_of_the_part_that_was_asked_for(seed: int, test: bool, language: str | None) -> None:
    sources, targets = draw_dates(np.random.default_rng(seed), 8, test=test, language=language)
    assert len(sources) == len(targets) == 8
    first = datetime.date(1900, 1, 1).toordinal()
    for source, target in zip(sources, targets, strict=True):
        day = datetime.date.fromisoformat(target).toordinal() - first
        assert held_out(day) == test
        assert source in [written(day, lang, form) for lang in ([language] if language else LANGUAGES) for form in FORMATS]


def test_a_tenth_of_the_days_is_held_out() -> None:
    assert 0.09 < held_out(np.arange(DAYS)).mean() < 0.11


def test_the_baselines_read_and_remember() -> None:
    months = month_words([("23 août 1941", "1941-08-23"), ("lundi 1 mai 2000", "2000-05-01"), ("lundi 7 août 2000", "2000-08-07")])
    assert by_rule("23.8.1941", months) == "1941-08-23"
    assert by_rule("lundi 4 août 1947", months) == "1947-08-04"
    assert by_rule("August 23, 1941", {}) == "1941-07-23"
    known = [(groups(source), target) for source, target in (("23 août 1941", "1941-08-23"), ("1 mai 2000", "2000-05-01"))]
    assert nearest("24 août 1941", known) == "1941-08-23"


def test_the_loss_falls() -> None:
    task = Dates(Dates.parser().parse_args(["--hidden", "16", "--batch", "16", "--steps", "60", "--lr", "1e-2", "--quiet"]), 0)
    for _ in range(60):
        task.step()
    assert np.mean(task.losses[-5:]) < 0.75 * task.losses[0]


@pytest.mark.parametrize("attention", ["additive", "none"])
def test_the_command_leaves_its_files_resumes_and_translates(attention: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*SMALL, "--attention", attention, "--out", str(whole)]) == 0
    pictures = {"curve.svg"} if attention == "none" else {"curve.svg", "attention.svg"}
    assert {path.name for path in whole.iterdir()} == {CHECKPOINT, "config.json", "languages.txt", *pictures}
    main([*SMALL, "--attention", attention, "--out", str(parts), "--minutes", "1e-9"])
    main(["--resume", str(parts), "--quiet"])
    assert (whole / CHECKPOINT).read_bytes() == (parts / CHECKPOINT).read_bytes()
    capsys.readouterr()
    assert main(["sample", "--checkpoint", str(whole), "23 août 1941"]) == 0
    assert capsys.readouterr().out.startswith("23 août 1941 -> ")
    for unreadable, said in (("昭和16年", "cannot read .*unknown"), ("", "cannot read an empty date; give one")):
        with pytest.raises(Problem, match=said):
            main(["sample", "--checkpoint", str(whole), unreadable])
