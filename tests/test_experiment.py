"""What all training tasks share: several seeds in one run, resuming, the longer run, what is refused."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import signal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from models.experiment import Experiment, first_checkpoint
from models.recurrent import unroll
from models.rnn import RNN
from models.task import CHECKPOINT, Problem
from tinygrad_seq import Tensor, no_grad


class Echo(Experiment):
    """Say the number of the step before: small enough to learn in a second."""

    name, measure, time = "echo", "mean squared error", "a second"
    defaults: ClassVar[dict[str, Any]] = {"cell": "rnn", "hidden": 6, "batch": 8, "steps": 40, "lr": 1e-2, "quiet": True}
    full: ClassVar[dict[str, Any]] = {"steps": 60}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--delay", type=int, default=1)

    def prepare(self) -> None:
        if self.arguments.delay < 1:
            raise Problem("--delay is below 1.")
        self.model = RNN(1, self.arguments.hidden, 1, rng=self.rng)
        self.held_out = self.batch(np.random.default_rng([self.seed, 1]))

    def batch(self, rng: np.random.Generator) -> tuple[Any, Any]:
        xs = rng.standard_normal((5, self.arguments.batch, 1), dtype=np.float32)
        return xs, np.concatenate([np.zeros_like(xs[:1]), xs[:-1]])

    def error(self, xs: Any, ys: Any) -> Tensor:
        difference = self.model(xs).ys - ys
        return (difference * difference).mean()

    def loss(self) -> Tensor:
        return self.error(*self.batch(self.rng))

    def score(self) -> float:
        with no_grad():
            return self.error(*self.held_out).item()

    def baselines(self) -> dict[str, float]:
        return {"always 0": float((self.held_out[1] ** 2).mean())}

    def report(self, folder: Path) -> list[str]:
        (folder / "note.txt").write_text(str(unroll(self.model.cell, self.held_out[0]).state.h.shape))  # type: ignore[attr-defined]
        return ["note.txt    a note"]


def test_a_run_learns_beats_its_baseline_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Echo.main(["--out", str(tmp_path / "run"), "--steps", "300"]) == 0
    config = first_checkpoint("echo", tmp_path / "run").config
    assert config["scores"][-1][1] < 0.5 * config["losses"][0]
    printed = capsys.readouterr().out
    for words in ("baselines  mean squared error: always 0", "note.txt", "held out: 0."):
        assert words in printed
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CHECKPOINT, "curve.svg", "config.json", "note.txt"}


@pytest.mark.parametrize("task", ["caption", "char_lm", "dates", "forecast", "languages", "reversal", "tagger"])
def test_the_help_of_a_task_is_what_its_file_begins_with(task: str) -> None:
    module = importlib.import_module(f"models.{task}")
    [cls] = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Experiment) and c.__module__ == module.__name__]
    assert str(module.__doc__).strip() in cls.parser().format_help()


def test_several_seeds_are_the_runs_of_each_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Echo.main(["--out", str(tmp_path / "all"), "--seed", "3", "--seeds", "2"]) == 0
    assert "median" in capsys.readouterr().out
    scores = json.loads((tmp_path / "all" / "scores.json").read_text())
    for seed in ("3", "4"):
        Echo.main(["--out", str(tmp_path / seed), "--seed", seed])
        together = first_checkpoint("echo", tmp_path / "all" / f"seed-{seed}")
        alone = first_checkpoint("echo", tmp_path / seed)
        assert together.config["scores"] == alone.config["scores"]
        assert scores["scores"][f"seed {seed}"] == alone.config["scores"][-1][1]
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(together.arrays[name], array)
    assert scores["scores"]["seed 3"] != scores["scores"]["seed 4"]
    assert (tmp_path / "all" / "curve.svg").exists()


@pytest.mark.parametrize("seeds", ["1", "3"])
def test_a_run_stopped_anywhere_and_resumed_ends_in_the_same_bytes(seeds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--seeds", seeds]
    Echo.main(["--out", str(tmp_path / "whole"), *options])
    step = Echo.step
    stop_at = {(0, 7), (1, 25)}

    def interrupted(self: Echo) -> None:
        if (self.seed, self.done) in stop_at:
            stop_at.remove((self.seed, self.done))
            signal.raise_signal(signal.SIGINT)
        step(self)

    monkeypatch.setattr(Echo, "step", interrupted)
    assert Echo.main(["--out", str(tmp_path / "parts"), *options]) == 130
    while Echo.main(["--resume", str(tmp_path / "parts")]) == 130:
        pass
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert len(files) > 3
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name


def test_the_longer_run_changes_what_was_not_chosen(tmp_path: Path) -> None:
    Echo.main(["--out", str(tmp_path / "a"), "--full", "--hidden", "3"])
    arguments = first_checkpoint("echo", tmp_path / "a").config["arguments"]
    assert (arguments["steps"], arguments["hidden"]) == (60, 3)
    Echo.main(["--out", str(tmp_path / "b"), "--full", "--steps", "5"])
    assert first_checkpoint("echo", tmp_path / "b").config["arguments"]["steps"] == 5


def test_a_stopped_run_tells_how_to_go_on_and_more_steps_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    Echo.main(["--out", out, "--minutes", "1e-9"])
    assert f"go on with: python -m models.echo --resume {out}" in capsys.readouterr().out
    Echo.main(["--resume", out, "--steps", "45"])
    assert first_checkpoint("echo", tmp_path / "run").config["done"] == 45


def test_a_task_may_be_finished_before_its_steps_are_and_stays_so_when_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Satisfied(Echo):
        evaluations = 20

        def finished(self) -> bool:
            return super().finished() or len(self.scores) == 3

    out = tmp_path / "run"
    assert Satisfied.main(["--out", str(out)]) == 0
    before = (out / CHECKPOINT).read_bytes()
    assert first_checkpoint("echo", out).config["done"] == 6  # three evaluations, one in every second step
    assert Satisfied.main(["--resume", str(out)]) == 0
    assert (out / CHECKPOINT).read_bytes() == before
    assert "stopped after" not in capsys.readouterr().out


def test_the_bar_of_one_run_among_many_bears_its_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Echo(Echo.parser().parse_args(["--steps", "3"]), 0)
    training.arguments.quiet = False
    assert not training.learn(tmp_path, "the third of nine")
    assert "the third of nine" in capsys.readouterr().err


def test_one_seed_of_several_is_gone_on_with_where_it_stands(tmp_path: Path) -> None:
    out = tmp_path / "run"
    Echo.main(["--out", str(out), "--seeds", "2", "--steps", "10"])
    Echo.main(["--resume", str(out), "--seeds", "1", "--steps", "15"])
    assert not (out / CHECKPOINT).exists()
    done = [first_checkpoint("echo", out / f"seed-{seed}").config["done"] for seed in (0, 1)]
    assert done == [15, 10]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs to copy: of one seed, of two, and of another task."""
    folder = tmp_path_factory.mktemp("runs")
    for task, name, seeds in ((Echo, "run", "1"), (Echo, "several", "2"), (type("Other", (Echo,), {"name": "other"}), "foreign", "1")):
        task.main(["--out", str(folder / name), "--steps", "5", "--seeds", seeds])
    return folder


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--resume", "run", "--hidden", "9"], "--hidden 9 contradicts the checkpoint, which has 6"),
        (["--resume", "run", "--seed", "9"], "--seed 9 contradicts"),
        (["--resume", "run", "--out", "elsewhere"], "leave --out out"),
        (["--resume", "nowhere"], "no checkpoint"),
        (["--out", "run"], "holds a checkpoint already"),
        (["--out", "several"], "holds a checkpoint already"),
        (["--delay", "0"], "below 1"),
        (["--resume", "foreign"], "'other', expected one of echo"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_lost(
    argv: list[str], message: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob(CHECKPOINT)}
    with pytest.raises(Problem, match=message):
        Echo.main(argv)
    assert {path: path.read_bytes() for path in tmp_path.rglob(CHECKPOINT)} == before
