"""Captions: the English of numbers, the drawn pictures, the split, and the task that learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.caption import (
    END,
    GLYPHS,
    HEIGHT,
    LONGEST,
    NUMBERS,
    SMALL,
    TENS,
    UNSEEN,
    WIDTH,
    WORDS,
    Caption,
    Captioner,
    Captions,
    as_symbols,
    as_text,
    bilinear,
    captions,
    draw_numbers,
    draw_strips,
    in_words,
    line_of,
    linear_captions,
    main,
    nearest_captions,
    spelled,
    square_captions,
)
from models.experiment import load_checkpoint
from models.task import CHECKPOINT, Problem
from tinygrad_seq import cross_entropy
from tinygrad_seq.check import check_gradients

SMALLEST = ["--hidden", "8", "--features", "8", "--batch", "4", "--steps", "6", "--quiet"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pictures: what is tested is that they are made."""
    for name, count in (("unseen", 12), ("known", 60), ("rows", 1), ("evaluations", 1)):
        monkeypatch.setattr(Caption, name, count)


def number_of(words: list[str]) -> int:
    """The number that words say, by reading them."""
    values = {word: i for i, word in enumerate(SMALL)} | {word: 10 * i for i, word in enumerate(TENS, 2)}
    total = part = 0
    for word in words:
        if word == "thousand":
            total, part = 1000 * part, 0
        elif word == "hundred":
            part *= 100
        else:
            part += values[word]
    return total + part


def test_every_number_is_read_back_from_its_words_and_no_two_share_them() -> None:
    every = [in_words(n) for n in range(NUMBERS)]
    assert [number_of(words) for words in every] == list(range(NUMBERS))
    assert len({tuple(words) for words in every}) == NUMBERS
    assert max(map(len, every)) == LONGEST
    assert {word for words in every for word in words} == set(WORDS.symbols)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"), (13, "thirteen"), (20, "twenty"), (71, "seventy-one"), (100, "one hundred"), (407, "four hundred seven"),
        (1000, "one thousand"), (3012, "three thousand twelve"), (7777, "seven thousand seven hundred seventy-seven"),
        (6060, "six thousand sixty"),
    ],
)  # fmt: skip
def test_numbers_are_spelled_as_in_english(number: int, words: str) -> None:
    assert spelled(in_words(number)) == words


def test_what_is_no_number_is_spelled_too() -> None:
    assert spelled(["twenty", "hundred", "seven"]) == "twenty hundred seven"
    assert spelled(["twenty", "thirteen"]) == "twenty thirteen"
    assert spelled([]) == ""


def test_captions_end_and_are_filled_up_with_ends() -> None:
    targets = captions(np.array([5, 71]))
    assert [WORDS.symbols[i] for i in targets[:2, 1]] == ["seventy", "one"]
    np.testing.assert_array_equal(targets[1:, 0], END)
    np.testing.assert_array_equal(targets[2], END)
    np.testing.assert_array_equal(square_captions(np.array([5, 71]))[: len(targets)], targets)
    assert square_captions(np.array([5])).shape == (LONGEST + 1, 1)


@given(st.integers(0, 10_000), st.booleans())
def test_numbers_to_learn_from_and_numbers_held_out_are_apart(seed: int, test: bool) -> None:
    numbers = draw_numbers(np.random.default_rng(seed), 50, test=test)
    assert numbers.shape == (50,)
    assert (UNSEEN[numbers] == test).all()


def test_a_tenth_of_each_length_is_held_out() -> None:
    assert [int(UNSEEN[low:high].sum()) for low, high in ((0, 10), (10, 100), (100, 1000), (1000, 10000))] == [0, 9, 90, 900]


@pytest.mark.parametrize(("test", "shares"), [(False, [0.1, 0.2, 0.3, 0.4]), (True, [0, 1 / 3, 1 / 3, 1 / 3])])
def test_lengths_are_drawn_as_often_as_they_should_and_every_number_can_be(test: bool, shares: list[float]) -> None:
    numbers = draw_numbers(np.random.default_rng(0), 12_000, test=test)
    counts = np.bincount([len(str(n)) for n in numbers], minlength=5)[1:]
    np.testing.assert_allclose(counts / 12_000, shares, atol=0.02)
    short = np.flatnonzero(UNSEEN[:100] == test)
    assert set(numbers) >= set(short)


def test_glyphs_are_ten_different_digits() -> None:
    assert GLYPHS.shape == (10, 7, 6)
    assert len({glyph.tobytes() for glyph in GLYPHS}) == 10
    assert (GLYPHS[:, :, 5] == 0).all()  # the space between two
    assert (GLYPHS.sum(axis=(1, 2)) > 8).all()
    apart = np.abs(GLYPHS[:, None] - GLYPHS[None]).sum(axis=(2, 3))
    assert apart[~np.eye(10, dtype=bool)].min() >= 3


@given(st.lists(st.integers(0, NUMBERS - 1), min_size=1, max_size=4))
def test_the_line_shows_the_digits_in_order_and_ends_at_the_right(numbers: list[int]) -> None:
    for line, number in zip(line_of(np.array(numbers)), numbers, strict=True):
        digits = [int(d) for d in str(number)]
        start = 6 * (4 - len(digits))
        for i, digit in enumerate(digits):
            np.testing.assert_array_equal(line[:, start + 6 * i : start + 6 * i + 6], GLYPHS[digit])
        assert line.sum() == pytest.approx(sum(GLYPHS[d].sum() for d in digits))


def test_between_pixels_the_value_is_linear_and_outside_it_is_nothing() -> None:
    images = np.random.default_rng(0).random((2, 4, 5))
    v, u = np.mgrid[:4, :5].astype(float)
    np.testing.assert_allclose(bilinear(images, v[None], u[None]), images)
    half = bilinear(images, v[None, :3, :4] + 0.5, u[None, :3, :4] + 0.5)
    mean = (images[:, :-1, :-1] + images[:, 1:, :-1] + images[:, :-1, 1:] + images[:, 1:, 1:]) / 4
    np.testing.assert_allclose(half, mean)
    for far in (-1.0, -9.0, 9.0):
        assert (bilinear(images, v[None] * 0 + far, u[None]) == 0).all()


def test_pictures_are_the_same_for_the_same_seed_and_differ_otherwise() -> None:
    numbers = np.array([3715, 42, 42])
    a, b, c = (draw_strips(np.random.default_rng(seed), numbers) for seed in (0, 0, 1))
    assert a.shape == (3, HEIGHT, WIDTH)
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert (a[1] != a[2]).any()


def test_clean_pictures_are_all_the_same_and_end_at_the_same_place() -> None:
    strips = draw_strips(np.random.default_rng(0), np.array([8888, 8888, 88]), noise=0)
    np.testing.assert_array_equal(strips[0], strips[1])
    np.testing.assert_allclose(strips[0], strips[0][:, ::-1], atol=1e-5)  # an 8 is its own mirror image
    np.testing.assert_array_equal(strips[2][:, WIDTH // 2 :], strips[0][:, WIDTH // 2 :])
    assert (strips[2][:, : WIDTH // 2 - 1] == 0).all()
    assert strips.min() >= 0
    assert strips.max() <= 0.86


def test_no_ink_falls_off_the_paper() -> None:
    class Mild:
        """A source of randomness at either end of what is drawn, and without noise in the pixels."""

        def __init__(self, end: int) -> None:
            self.rng, self.end = np.random.default_rng(end), end

        def uniform(self, low: float, high: float, shape: Any) -> Any:
            return self.rng.choice([low, high], shape)

        def standard_normal(self, shape: Any, dtype: Any) -> Any:
            return np.zeros(shape, dtype)

        def random(self, shape: Any, dtype: Any) -> Any:
            return np.full(shape, 0.5, dtype)

    for end in range(20):
        rng: Any = Mild(end)
        strips = draw_strips(rng, np.array([1000, 8888, 7421, 4444]))
        framed = strips[:, [0, -1]].max(), strips[:, :, [0, -1]].max()
        assert max(framed) < 0.8  # the outermost pixels may be grey, so that the digits reach no further


def test_text_art_is_darker_where_there_is_more_ink() -> None:
    assert as_text(np.array([[0.0, 0.95, 0.0], [-1.0, 2.0, 0.35]])) == "  @@\n  @@--"


def test_the_likeness_of_the_nearest_picture_and_the_linear_words() -> None:
    numbers = np.arange(10)
    clean = draw_strips(np.random.default_rng(0), numbers, noise=0).reshape(10, -1)
    answers = square_captions(numbers)
    noisy = clean[::-1] + np.random.default_rng(1).normal(0, 0.02, clean.shape)
    np.testing.assert_array_equal(nearest_captions(clean, answers, noisy), answers[:, ::-1])
    np.testing.assert_array_equal(linear_captions(clean, answers, noisy, penalty=1e-3), answers[:, ::-1])


def test_a_long_caption_is_cut_and_stays_wrong() -> None:
    said = Captions([["one"] * 9, in_words(7777), []], np.ones(3))
    symbols = as_symbols(said)
    true = square_captions(np.array([1111, 7777, 5]))
    assert (symbols == true).all(axis=0).tolist() == said.right(np.array([1111, 7777, 5])).tolist() == [False, True, False]


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_picture_reaches_every_part_of_the_state_and_gradients_are_right(cell: str) -> None:
    rng = np.random.default_rng(0)
    model = Captioner(cell, 3, 2, rng=rng, dtype=np.float64)
    strips, targets = draw_strips(rng, np.array([7, 12])).astype(float), captions(np.array([7, 12]))
    cross_entropy(model(strips, targets), targets).backward()
    for name, parameter in model.named_parameters().items():
        assert parameter.grad is not None, name
        assert np.abs(parameter.grad).max() > 0, name
    weights = rng.normal(size=(2, 2, END + 1))
    check_gradients(lambda weights: (model(strips, targets) * weights).sum(), weights, float32=False)


@pytest.mark.usefixtures("few")
def test_it_learns_a_few_numbers_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--hidden", "32", "--features", "32", "--batch", "10", "--steps", "150", "--lr", "1e-2", "--noise", "0.2"]
    training = Caption(Caption.parser().parse_args(options), 0)
    numbers = np.array([0, 7, 13, 20, 71, 100, 407, 1000, 3012, 7777])
    rng = np.random.default_rng(0)
    monkeypatch.setattr(training, "draw", lambda *_, **__: (numbers, draw_strips(rng, numbers, 0.2)))
    for _ in range(150):
        training.step()
    for width in (1, 3):
        said = training.model.write(draw_strips(rng, numbers, 0.2), width=width)
        assert said.right(numbers).all()
        assert ((said.p > 0.3) & (said.p <= 1)).all()


@pytest.mark.usefixtures("few")
def test_a_run_leaves_captions_pictures_and_a_checkpoint_that_captions_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "run"), *SMALLEST]) == 0
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {CHECKPOINT, "config.json", "curve.svg", "captions.txt", "captions.svg"}
    printed = capsys.readouterr().out
    for words in ("999 are never trained on", "nearest known picture 0.000", "linear in the pixels", "the network, beam of 4"):
        assert words in printed
    assert "captions of the beam are wrong, the surest:" in printed
    assert printed.count("  p = ") <= 30
    told = []
    for seed in ("3", "3", "4"):
        assert main(["sample", "--checkpoint", str(tmp_path / "run"), "--seed", seed, "407", "8"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != told[2]
    assert "407 (" in told[0]
    assert "8 (trained on)" in told[0]


@pytest.mark.usefixtures("few")
def test_a_run_stopped_and_resumed_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    main(["--out", str(whole), *SMALLEST])
    main(["--out", str(parts), "--minutes", "1e-9", *SMALLEST])
    assert load_checkpoint("caption", parts).config["done"] == 1
    main(["--resume", str(parts), "--quiet"])
    for path in whole.iterdir():
        assert path.read_bytes() == (parts / path.name).read_bytes(), path.name


@pytest.mark.parametrize("number", ["10000", "-1", "4.5", "seven", "", "²"])
def test_a_number_that_cannot_be_drawn_is_refused(number: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="give a whole number from 0 to 9999"):
        main(["sample", "--checkpoint", str(tmp_path), "--", number])


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"no checkpoint at .*  Give the folder of a run, such as runs/caption"):
        main(["sample", "--checkpoint", str(tmp_path / "nowhere"), "407"])


@pytest.mark.parametrize("options", [["--noise", "-1"], ["--noise", "nan"], ["--noise", "3"], ["--features", "0"], ["--features", "x"]])
def test_options_out_of_range_are_refused_by_the_command_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
