"""A task that trains a model: stopping and going on, several seeds in one run, what a run leaves behind."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models.gru import GRUCell
from models.lstm import LSTMCell
from models.rnn import RNNCell
from models.task import (
    CHECKPOINT,
    COLOURS,
    Problem,
    check_writable,
    draw_levels,
    natural,
    output_folder,
    picture,
    positive,
    smoothed,
    stop_on_interrupt,
    write_text,
)
from tinygrad_seq import Tensor, checkpoint
from tinygrad_seq.nn import Module
from tinygrad_seq.optim import Adam, clip_grad_norm
from tinygrad_seq.record import Array

CELLS: dict[str, Any] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


class Experiment:
    """A model that learns a task, and all that changes while it does, so that a run can stop after any step and go on as if it had not.

    A subclass makes its data and `self.model` from `self.arguments` and `self.rng`, and says what the loss of the next batch and the
    score on held-out examples are.  `python -m models.<name>` is then `task.run(Subclass.main)`.
    """

    name: ClassVar[str]  # of the module, and of the folder in runs/
    measure: ClassVar[str]  # what the score counts
    digits: ClassVar[int] = 3
    evaluations: ClassVar[int] = 20  # in a run
    time: ClassVar[str]  # what the default run takes
    defaults: ClassVar[dict[str, Any]] = {}  # of options
    full: ClassVar[dict[str, Any]] = {}  # what --full sets instead, where there is more to gain
    changeable: ClassVar[tuple[str, ...]] = ("steps", "lr", "clip", "seeds")  # what a resumed run may change

    model: Module

    def __init__(self, arguments: argparse.Namespace, seed: int) -> None:
        self.arguments, self.seed = arguments, seed
        self.rng = np.random.default_rng(seed)
        self.done = 0
        self.losses: list[float] = []  # after each step
        self.scores: list[tuple[int, float]] = []  # (step, score)
        self.prepare()
        self.optimizer = Adam(self.model.parameters(), lr=arguments.lr)

    # What a task says.

    def prepare(self) -> None:
        """Make the data and self.model."""
        raise NotImplementedError(f"{type(self).__name__} has no prepare method; write one.")

    def loss(self) -> Tensor:
        """The loss on the next batch, a single number."""
        raise NotImplementedError(f"{type(self).__name__} has no loss method; write one.")

    def score(self) -> float:
        """How well the model does on held-out examples."""
        raise NotImplementedError(f"{type(self).__name__} has no score method; write one.")

    def baselines(self) -> dict[str, float]:
        """What simpler methods score, which gives the model's score its meaning."""
        return {}

    def describe(self) -> list[str]:
        """Lines about the data, printed before training."""
        return []

    def report(self, folder: Path) -> list[str]:  # noqa: ARG002 - for subclasses
        """Write what the task shows of the trained model, print it, and give a line for each file written."""
        return []

    def arrays(self) -> dict[str, Array]:
        """What else changes in training, to be saved."""
        return {}

    def restore_arrays(self, arrays: dict[str, Array]) -> None:
        """Take back what `arrays` gave."""

    def clipped_together(self) -> list[list[Tensor]]:
        """The parameters whose gradients are clipped to one norm: all, but where networks learn side by side those of each."""
        return [self.optimizer.parameters]

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """The scores by step, to be drawn; of several networks by name."""
        return {"": self.scores}

    def config(self) -> dict[str, Any]:
        """What else a checkpoint says, as JSON has it."""
        return {}

    def check_config(self, config: dict[str, Any]) -> None:
        """A Problem where a checkpoint's `config` is not of this data."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Options of this task alone."""

    def finished(self) -> bool:
        """Whether nothing is left to do: the steps are done; a task may have another reason, looked at after each."""
        return self.done >= int(self.arguments.steps)

    # What all tasks do.

    def step(self) -> None:
        """Learn from one batch; the learning rate falls to 5 % over the run."""
        arguments = self.arguments
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        for parameters in self.clipped_together():
            clip_grad_norm(parameters, arguments.clip)
        self.optimizer.lr = arguments.lr * max(0.05, 1 - self.done / arguments.steps)
        self.optimizer.step()
        self.done += 1
        self.losses.append(loss.item())

    def evaluate(self) -> None:
        """Note the score on held-out examples."""
        self.model.eval()
        self.scores.append((self.done, self.score()))
        self.model.train()

    def save(self, path: Path) -> None:
        """Write all of it."""
        arrays = {f"model.{name}": a for name, a in self.model.state_dict().items()}
        arrays |= {f"optimizer.{name}": a for name, a in self.optimizer.state_dict().items()}
        arrays |= {f"extra.{name}": a for name, a in self.arrays().items()}
        config = {
            "task": self.name, "arguments": remembered(self.arguments), "run_seed": self.seed, "done": self.done, "losses": self.losses,
            "scores": self.scores, "rng": self.rng.bit_generator.state, **self.config(),
        }  # fmt: skip
        checkpoint.save(path, arrays, config)

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint of the same task; a Problem where it holds another model or other data."""
        arrays, config = saved
        self.check_config(config)
        load_model(self.model, arrays)
        self.optimizer.load_state_dict(under("optimizer", arrays))
        self.restore_arrays(under("extra", arrays))
        self.done, self.losses = config["done"], config["losses"]
        self.scores = [(step, score) for step, score in config["scores"]]
        self.rng.bit_generator.state = config["rng"]

    def learn(self, folder: Path, label: str | None = None) -> bool:
        """Run the steps that remain, or those that the time allows, saving as it goes; says whether Ctrl-C stopped it.

        With a label, for one of many runs, the progress bar bears it and goes when the run ends.
        """
        from tqdm import tqdm

        arguments = self.arguments
        every = max(1, arguments.steps // self.evaluations)
        began = time.monotonic()
        with (
            stop_on_interrupt() as interrupted,
            tqdm(
                desc=label, leave=label is None, total=arguments.steps, initial=self.done, unit="step",
                disable=arguments.quiet, dynamic_ncols=True,
            ) as bar,
        ):  # fmt: skip
            while not self.finished():
                self.step()
                bar.update()
                if self.done % every == 0 or self.done == arguments.steps:
                    self.evaluate()
                    self.save(folder / CHECKPOINT)
                if self.done % 20 == 0:
                    held_out = f"{self.scores[-1][1]:.{self.digits}f}" if self.scores else "-"
                    bar.set_postfix_str(f"loss {np.mean(self.losses[-50:]):.4f}, held out {held_out} {self.measure}")
                if interrupted() or (arguments.minutes is not None and time.monotonic() - began > 60 * arguments.minutes):
                    break
            self.save(folder / CHECKPOINT)
            return interrupted()

    def picture(self, folder: Path, levels: dict[str, float]) -> str:
        """Draw the loss and the score against the step, the baselines as dashed lines; gives a line that says so."""
        plot_runs(folder / "curve.svg", {f"seed {self.seed}": self}, levels)
        return "curve.svg   the loss and the score, step by step"

    def finish(self, folder: Path, levels: dict[str, float]) -> None:
        """Write and print all that a run leaves behind."""
        lines = [*self.report(folder), self.picture(folder, levels)]
        write_text(folder / "config.json", json.dumps(remembered(self.arguments), indent=2) + "\n")
        files = [*lines, f"{CHECKPOINT}  the model, to go on from"]
        print(f"\nIn {folder}:\n" + "\n".join(f"  {line}" for line in files))
        if self.scores:
            known = ", ".join(f"{name} {level:.{self.digits}f}" for name, level in levels.items())
            print(f"\nheld out: {self.scores[-1][1]:.{self.digits}f} {self.measure}" + (f" ({known})" if known else ""))
        if not self.finished():
            print(f"stopped after step {self.done} of {self.arguments.steps}; go on with: {self.again(folder)}")

    def again(self, folder: Path) -> str:
        """The command that goes on with the run."""
        return f"python -m models.{self.name} --resume {folder}"

    @classmethod
    def parser(cls) -> argparse.ArgumentParser:
        """The options of a run."""
        parser = argparse.ArgumentParser(
            prog=f"python -m models.{cls.name}", description=sys.modules[cls.__module__].__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"The default run takes {cls.time}.  Ctrl-C stops after the step at hand; --resume goes on from there.",
        )  # fmt: skip
        integer, real = positive(int), positive(float)
        model = parser.add_argument_group("the model")
        model.add_argument("--cell", choices=sorted(CELLS), default="lstm", help="the recurrent cell (default: %(default)s)")
        model.add_argument("--hidden", type=integer, default=128, metavar="H", help="size of the state (default: %(default)s)")
        learning = parser.add_argument_group("learning")
        learning.add_argument("--batch", type=integer, default=64, metavar="N", help="sequences at once (default: %(default)s)")
        learning.add_argument(
            "--steps", type=integer, default=1000, help="updates; the learning rate falls to 5%% over them (default: %(default)s)"
        )
        learning.add_argument("--minutes", type=real, help="stop after this time, if the steps are not done; --resume goes on")
        learning.add_argument("--lr", type=real, default=3e-3, help="Adam's learning rate at the start (default: %(default)s)")
        learning.add_argument(
            "--clip", type=real, default=1.0, metavar="NORM", help="clip the gradient to this norm (default: %(default)s)"
        )
        learning.add_argument("--seed", type=natural, default=0, help="of all that is random (default: %(default)s)")
        learning.add_argument("--seeds", type=integer, default=1, metavar="K", help="runs, from seeds SEED, SEED+1, ... (default: 1)")
        if cls.full:
            what = ", ".join(f"--{name} {value}" for name, value in cls.full.items())
            learning.add_argument("--full", action="store_true", help=f"the longer run: {what}")
        output = parser.add_argument_group("output")
        output.add_argument(
            "--out", type=Path, metavar="FOLDER", help=f"where to write (default: runs/{cls.name}, or the next free number)"
        )
        output.add_argument(
            "--resume", type=Path, metavar="FOLDER", help="go on with the run in this folder, exactly as if it had not stopped"
        )
        output.add_argument("--quiet", action="store_true", help="no progress bar")
        cls.add_options(parser)
        parser.set_defaults(**cls.defaults)
        return parser

    @classmethod
    def main(cls, argv: Sequence[str]) -> int:
        """Train, evaluate, draw, for each seed; gives the exit status."""
        parser = cls.parser()
        arguments = parser.parse_args(argv)
        if cls.full and arguments.full:
            parser.set_defaults(**cls.full)
            arguments = parser.parse_args(argv)
        if arguments.resume:
            arguments = resumed_arguments(cls, parser, argv, first_checkpoint(cls.name, arguments.resume))
        seeds = range(arguments.seed, arguments.seed + arguments.seeds)
        made = cls(arguments, seeds[0])  # what cannot be made is refused before a folder is
        folder = arguments.resume or output_folder(cls.name, arguments.out)
        if arguments.resume:
            folder = folder if folder.is_dir() else folder.parent
            check_writable(folder)
        alone = len(seeds) == 1 and not any(folder.glob(f"seed-*/{CHECKPOINT}"))
        runs: dict[str, Experiment] = {}
        for seed in seeds:
            training = made if seed == seeds[0] else cls(arguments, seed)
            place = folder if alone else folder / f"seed-{seed}"
            check_writable(place)
            if (place / CHECKPOINT).exists():
                training.restore(load_checkpoint(cls.name, place))
            if training.run(place):
                return 130
            runs[f"seed {seed}"] = training
        if len(seeds) > 1:
            summary(folder, runs, made.baselines())
        return 0

    def run(self, folder: Path) -> bool:
        """One seed, from describing the data to the pictures; says whether Ctrl-C stopped it."""
        levels = self.baselines()
        for line in self.describe():
            print(line)
        if levels:
            print(f"baselines  {self.measure}: {', '.join(f'{name} {level:.{self.digits}f}' for name, level in levels.items())}")
        count = sum(p.size for p in self.model.parameters())
        print(f"model      {self.arguments.cell}, {self.arguments.hidden} wide, {count:,} parameters; seed {self.seed}", flush=True)
        interrupted = self.learn(folder)
        self.finish(folder, levels)
        return interrupted


FORGOTTEN = ("out", "resume", "quiet", "minutes", "full")  # options that say nothing of what is learned


def remembered(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that a resumed run needs."""
    return {name: value for name, value in vars(arguments).items() if name not in FORGOTTEN}


def resumed_arguments(
    cls: type[Experiment], parser: argparse.ArgumentParser, argv: Sequence[str], saved: checkpoint.Checkpoint
) -> argparse.Namespace:
    """The arguments of the run that goes on, with what the command line changes; a Problem where that would be another run."""
    old = saved.config["arguments"]
    parser.set_defaults(**old)
    arguments = parser.parse_args(argv)
    for name, value in old.items():
        if getattr(arguments, name) != value and name not in cls.changeable:
            raise Problem(
                f"--{name} {getattr(arguments, name)} contradicts the checkpoint, which has {value}; leave it out, or start anew."
            )
    if arguments.out is not None:
        raise Problem("--resume writes into the folder that it resumes; leave --out out.")
    return arguments


def load_checkpoint(name: str, path: Path) -> checkpoint.Checkpoint:
    """The checkpoint in a folder, or the file itself; a Problem where it is none of this task's."""
    try:
        saved = checkpoint.load(path / CHECKPOINT if path.is_dir() else path)
    except FileNotFoundError as error:
        raise Problem(f"{error}  Give the folder of a run, such as runs/{name}.") from error
    except (OSError, ValueError) as error:
        raise Problem(str(error)) from error
    if saved.config.get("task") != name:
        raise Problem(f"{path} is a checkpoint of {saved.config.get('task')!r}, expected one of {name}.")
    return saved


def first_checkpoint(name: str, folder: Path) -> checkpoint.Checkpoint:
    """The checkpoint of a run, or of the first seed of one with several."""
    seeds = sorted(folder.glob(f"seed-*/{CHECKPOINT}")) if folder.is_dir() and not (folder / CHECKPOINT).exists() else []
    return load_checkpoint(name, seeds[0].parent if seeds else folder)


def under(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays of a part, by their names within it."""
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}


def load_model(model: Module, arrays: dict[str, Array]) -> None:
    """Give the model its numbers from a checkpoint; a Problem where they are another model's."""
    try:
        model.load_state_dict(under("model", arrays))
    except ValueError as error:
        raise Problem(f"the checkpoint holds another model: {error}") from error


def summary(folder: Path, runs: dict[str, Experiment], levels: dict[str, float]) -> None:
    """Say and draw what all seeds reached."""
    one = next(iter(runs.values()))
    final = {name: run.scores[-1][1] for name, run in runs.items() if run.scores}
    if final:
        for curve in one.curves():
            ends = {name: runs[name].curves()[curve][-1][1] for name in final}
            reached = ", ".join(f"{name} {score:.{one.digits}f}" for name, score in ends.items())
            print(f"\n{one.measure}{curve and f', {curve}'}: {reached}; median {np.median(list(ends.values())):.{one.digits}f}")
        write_text(folder / "scores.json", json.dumps({"measure": one.measure, "scores": final, "baselines": levels}, indent=2) + "\n")
        plot_runs(folder / "curve.svg", runs, levels)


def plot_runs(path: Path, runs: dict[str, Experiment], levels: dict[str, float]) -> None:
    """The training loss and the score on held-out examples against the step, of each run, baselines as dashed lines."""
    one = next(iter(runs.values()))
    with picture(path, 10, 4) as figure:
        left, right = figure.subplots(1, 2)
        for i, (label, run) in enumerate(runs.items()):
            colour = COLOURS[i % len(COLOURS)]
            left.plot(np.arange(1, len(run.losses) + 1), smoothed(run.losses, 50), color=colour, linewidth=1.2)
            for (name, scores), style in zip(run.curves().items(), ("-", ":", "--"), strict=False):
                points = np.array(scores).reshape(-1, 2).T
                right.plot(*points, style, color=colour, linewidth=2, marker="o", markersize=3, label=f"{name}  {label}".strip())
        if all(loss > 0 for run in runs.values() for loss in run.losses):
            left.set_yscale("log")
        left.set(xlabel="training step", ylabel="loss, mean of 50 steps")
        right.set(xlabel="training step", ylabel=f"held out: {one.measure}")
        draw_levels(right, levels)
        right.legend(frameon=False)
