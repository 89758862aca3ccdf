"""The main job: what it trains, measures, leaves behind, resumes and refuses."""

from __future__ import annotations

import io
import json
import math
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import char_lm, task
from models.char_lm import CharLM, Corpus, Training, context_bits, generate, held_out_bits, main
from models.experiment import load_checkpoint
from models.task import CHECKPOINT, Problem, smoothed
from tinygrad_seq import cross_entropy

TEXT = "".join(f"line {i}: the quick brown fox jumps over {i * 7 % 13} lazy dogs.\n" for i in range(80))
SMALL = ["--hidden", "8", "--length", "8", "--batch", "4", "--steps", "30", "--characters", "20", "--quiet"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def train(text: Path, out: Path, *more: str) -> int:
    return main(["--text", str(text), "--out", str(out), *SMALL, *more])


def test_a_run_leaves_sample_curve_graph_checkpoint_and_configuration(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, tmp_path / "run", "--prompt", "line") == 0
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files in ({"sample.txt", "loss.svg", g, CHECKPOINT, "config.json"} for g in ("graph.svg", "graph.dot"))
    sample = (tmp_path / "run" / "sample.txt").read_text()
    assert sample.startswith("line")
    assert len(sample) == len("line") + 20
    assert json.loads((tmp_path / "run" / "config.json").read_text())["hidden"] == 8
    printed = capsys.readouterr().out
    assert f"{len(TEXT):,} characters" in printed
    for words in ("uniform", "1-character context", "2-character context", "3-character context", "held out", sample):
        assert words in printed


def test_the_network_learns_a_periodic_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("abcde" * 400)
    options = ["--text", str(path), "--hidden", "16", "--length", "16", "--batch", "4", "--steps", "120", "--lr", "1e-2"]
    training = Training(Training.parser().parse_args(options), 0)
    for _ in range(120):
        training.step()
    training.evaluate()
    assert training.scores[-1][1] < 0.1 < training.losses[0]
    assert generate(training.model, training.corpus.vocabulary, "c", 7, 0.0, np.random.default_rng(0)) == "cdeabcde"


@pytest.mark.parametrize("more", [(), ("--layers", "2", "--dropout", "0.2"), ("--dtype", "float64")])
def test_a_run_stopped_and_resumed_ends_in_the_same_bytes(text: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(text, whole, *more)
    train(text, parts, "--minutes", "1e-9", *more)
    assert load_checkpoint("char_lm", parts).config["done"] == 1
    main(["--resume", str(parts), "--minutes", "1e-9", "--quiet"])
    assert load_checkpoint("char_lm", parts).config["done"] == 2
    main(["--resume", str(parts), "--quiet"])
    for name in (CHECKPOINT, "sample.txt", "loss.svg", "config.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_ctrl_c_finishes_the_step_and_loses_nothing(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Training.step

    def interrupted(self: Training) -> None:
        if self.done == 4:
            signal.raise_signal(signal.SIGINT)
        step(self)

    monkeypatch.setattr(Training, "step", interrupted)
    assert train(text, tmp_path / "run") == 130
    assert load_checkpoint("char_lm", tmp_path / "run").config["done"] == 5
    assert (tmp_path / "run" / "sample.txt").exists()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(text: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        train(text, tmp_path / name, "--seed", seed)
    a, b, c = ((tmp_path / name / CHECKPOINT).read_bytes() for name in "abc")
    assert a == b != c


def test_sampling_from_a_checkpoint_is_reproducible_and_follows_the_prompt(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(text, tmp_path / "run")
    written = []
    for seed in ("3", "3", "4"):
        capsys.readouterr()
        options = ["--prompt", "fox", "--characters", "50", "--temperature", "1", "--seed", seed]
        assert main(["sample", "--checkpoint", str(tmp_path / "run"), *options]) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1] != written[2]
    assert written[0].startswith("fox")


def test_samples_follow_the_probabilities_of_the_model() -> None:
    corpus = Corpus("abc", "abc" * 100)
    model = CharLM("rnn", 3, 4, 1, 0.0, rng=np.random.default_rng(0), dtype=np.float64)
    scores, _ = model(np.array([[0]]))
    p = np.exp(scores.data[0, 0] / 0.5)
    p /= p.sum()
    drawn = Counter(generate(model, corpus.vocabulary, "a", 1, 0.5, np.random.default_rng(i))[1] for i in range(2000))
    for symbol, probability in zip("abc", p, strict=True):
        assert abs(drawn[symbol] / 2000 - probability) < 4 * math.sqrt(probability * (1 - probability) / 2000)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_context_baselines_equal_counting_by_hand(k: int) -> None:
    corpus, alpha = Corpus("text", TEXT), 0.05
    text, start, V = TEXT, corpus.start, len(set(TEXT))
    pairs = Counter(text[i - k : i + 1] for i in range(k, start))
    contexts = Counter(text[i - k : i] for i in range(k, start))
    bits = [-math.log2((pairs[text[i - k : i + 1]] + alpha) / (contexts[text[i - k : i]] + alpha * V)) for i in range(start, len(text))]
    assert context_bits(corpus, k) == pytest.approx(np.mean(bits), rel=1e-12)


def test_held_out_bits_are_those_of_reading_on() -> None:
    corpus = Corpus("text", TEXT)
    model = CharLM("rnn", len(corpus.vocabulary), 8, 1, 0.0, rng=np.random.default_rng(0), dtype=np.float64)
    scores, _ = model(corpus.ids[:-1, None])
    losses = cross_entropy(scores, corpus.ids[1:, None], reduction="none").data[corpus.start - 1 :]
    assert held_out_bits(model, corpus, streams=1, warm=corpus.start - 1) == pytest.approx(losses.mean() / math.log(2), rel=1e-12)
    assert held_out_bits(model, corpus) == pytest.approx(losses.mean() / math.log(2), rel=0.02)


def test_the_state_is_carried_from_batch_to_batch_and_begins_anew_with_the_text(text: Path) -> None:
    options = ["--text", str(text), "--hidden", "4", "--length", "30", "--batch", "4"]
    training = Training(Training.parser().parse_args(options), 0)
    states = []
    for _ in range(training.streams.batches + 1):
        inputs, targets = training.streams[training.done]
        began = None if training.done % training.streams.batches == 0 else training.state
        scores, _ = training.model(inputs, began)
        expected = cross_entropy(scores, targets).item() / math.log(2)
        training.step()
        states.append(training.state)
        assert training.losses[-1] == pytest.approx(expected, rel=1e-6)
    assert states[0] is not None
    assert np.abs(states[0][0].h.data).max() > 0


def test_a_free_folder_is_chosen_rather_than_an_old_run_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("char_lm", "char_lm-2", "char_lm-3"):
        folder = task.output_folder("char_lm", None)
        assert folder == Path("runs") / expected
        (folder / CHECKPOINT).touch()


def test_text_comes_from_standard_input_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert main(["--text", "-", "--out", str(tmp_path / "run"), *SMALL]) == 0


def test_the_default_text_is_the_language_reference_with_known_baselines() -> None:
    corpus = Corpus(*char_lm.read_text(None))
    assert len(corpus.ids) > 400_000
    levels = list(char_lm.baselines(corpus).values())
    assert levels == sorted(levels, reverse=True)
    assert 1.9 < levels[-1] < 2.4


def refused(argv: list[str]) -> str:
    with pytest.raises(Problem) as caught:
        main(argv)
    return str(caught.value)


def test_a_text_that_is_missing_short_or_not_utf8_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refused(["--text", str(tmp_path / "none.txt")])
    assert "cannot read" in refused(["--text", str(tmp_path)])
    path = tmp_path / "text"
    path.write_bytes(b"")
    assert "0 characters" in refused(["--text", str(path)])
    path.write_text("abc" * 100)
    message = refused(["--text", str(path), "--out", str(tmp_path / "run")])
    assert "too short for 32 streams of 32" in message
    assert not (tmp_path / "run").exists()
    path.write_bytes("naïve".encode("latin-1") * 100)
    assert "not UTF-8" in refused(["--text", str(path)])


def test_a_folder_that_cannot_be_written_or_holds_a_run_is_refused(text: Path, tmp_path: Path) -> None:
    assert "cannot write into" in refused(["--text", str(text), "--out", str(text / "below"), *SMALL])
    train(text, tmp_path / "run")
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    assert "holds a checkpoint already" in refused(["--text", str(text), "--out", str(tmp_path / "run"), *SMALL])
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_a_checkpoint_that_is_damaged_foreign_or_of_another_model_is_refused(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(text, run)
    good = (run / CHECKPOINT).read_bytes()
    assert "contradicts the checkpoint, which has 8" in refused(["--resume", str(run), "--hidden", "9"])
    other = tmp_path / "other.txt"
    other.write_text(TEXT[::-1])
    assert "another text" in refused(["--resume", str(run), "--text", str(other)])
    assert "no checkpoint" in refused(["--resume", str(tmp_path / "nowhere")])
    for damage in (good[: len(good) // 2], b"", b"not a zip", good[:2000] + bytes([good[2000] ^ 1]) + good[2001:]):
        (run / CHECKPOINT).write_bytes(damage)
        assert "not a checkpoint" in refused(["sample", "--checkpoint", str(run)])
        assert "not a checkpoint" in refused(["--resume", str(run)])


@pytest.mark.parametrize(("prompt", "message"), [("", "empty"), ("€", "unknown symbols")])
def test_a_prompt_that_the_model_cannot_read_is_refused_before_any_work(text: Path, tmp_path: Path, prompt: str, message: str) -> None:
    assert message in refused(["--text", str(text), "--out", str(tmp_path / "run"), *SMALL, "--prompt", prompt])
    assert not (tmp_path / "run").exists()
    train(text, tmp_path / "run")
    assert message in refused(["sample", "--checkpoint", str(tmp_path / "run"), "--prompt", prompt])


@pytest.mark.parametrize(
    "options",
    [
        ["--steps", "0"],
        ["--steps", "2.5"],
        ["--hidden", "-3"],
        ["--lr", "nan"],
        ["--dropout", "1"],
        ["--temperature", "-1"],
        ["--cell", "transformer"],
    ],
)
def test_numbers_out_of_range_are_refused_by_the_command_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert options[0] in said
    assert "int value" not in said


def test_smoothing_is_the_mean_of_the_last_values() -> None:
    values: list[Any] = [3.0, 1.0, 2.0, 6.0]
    np.testing.assert_allclose(smoothed(values, 2), [3, 2, 1.5, 4])
