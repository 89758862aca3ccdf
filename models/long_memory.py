"""Long memory: what LSTM and GRU learn where the tanh RNN does not (exercise 11.3).

    python -m models.long_memory                                              the three cells on both tasks, longer and longer
    python -m models.long_memory train --task order --length 100 --cell gru   one network on one of them

Two tasks (models/memory_tasks.py): add the two of T numbers that are marked, always in the first half (`adding`); say which of X and Y came
first and which second, among other symbols (`order`).  A run ends, and counts as a success, when more than 95 % of 1,000 sequences held
out are right; it fails when its updates are used up before.  The pictures and tables show that against T, for each cell, and then
the course's table "LSTM vs GRU": parameters, time of an update, and result, at equal hidden size, and on the first task at equal parameter
count too.

The LSTM begins with b_f = ln T and b_i = -ln T (after Tallec & Ollivier 2018): each memory cell keeps σ(b_f)^T = (1 + 1/T)^-T, about 1/e,
of its contents over the sequence, and takes in about 1/T of each step.  With b_f = 1, as usual, it keeps 2e-7 of them over 50 steps:
--forget-bias 1 shows what that does.  RNN and GRU begin as ever.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.experiment import CELLS, load_checkpoint, remembered, resumed_arguments
from models.memory_tasks import SOLVED, TASKS, LastState, LongMemory, add_forget_bias, length, size, state_of_size
from models.task import CHECKPOINT, COLOURS, TRAINED, Problem, check_writable, natural, output_folder, picture, positive, run, write_text
from tinygrad_seq.checkpoint import Checkpoint

# ---- all of them -----------------------------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """What is trained once for each seed."""

    task: str
    length: int
    cell: str
    hidden: int

    def training(self, arguments: argparse.Namespace, seed: int) -> LongMemory:
        """Its training with the options of the comparison, as `train` with the same options makes it."""
        options = vars(LongMemory.parser().parse_args([]))
        shared = {name: value for name, value in vars(arguments).items() if name in options}
        return LongMemory(argparse.Namespace(**(options | shared | self._asdict() | {"seed": seed, "seeds": 1})), seed)

    def label(self) -> str:
        """A name for the progress bar and the lines printed."""
        return f"{self.task:7} T {self.length:<4} {self.cell:4} of {self.hidden:<3}"


class Result(NamedTuple):
    """What a run of one setting, from one seed, came to."""

    setting: Setting
    seed: int
    parameters: int
    updates: int
    solved: bool
    right: float

    def as_json(self) -> dict[str, Any]:
        """Flat, for a file."""
        return self.setting._asdict() | {name: value for name, value in self._asdict().items() if name != "setting"}


def curve_settings(arguments: argparse.Namespace) -> list[Setting]:
    """Every cell on every task at every length, with states of one size."""
    return [Setting(t, T, cell, arguments.hidden) for t in arguments.tasks for T in arguments.lengths for cell in arguments.cells]


def equal_settings(arguments: argparse.Namespace, task: str, *, parameters: bool) -> list[Setting]:
    """The cells on one task at the longest length, at equal hidden size or at the number of parameters that the LSTM has there."""
    T, H, rng = max(arguments.lengths), arguments.hidden, np.random.default_rng(0)
    if not parameters:
        return [Setting(task, T, cell, H) for cell in arguments.cells]
    count = size(LastState("lstm", TASKS[task].inputs, H, TASKS[task].outputs, rng=rng))
    return [Setting(task, T, cell, state_of_size(cell, TASKS[task], count)) for cell in arguments.cells]


def all_settings(arguments: argparse.Namespace) -> list[Setting]:
    """What is to be trained, the short sequences first; each once."""
    more = equal_settings(arguments, arguments.tasks[0], parameters=True)
    return sorted(dict.fromkeys(curve_settings(arguments) + more), key=lambda s: (s.length, s.hidden != arguments.hidden))


def train_all(arguments: argparse.Namespace, folder: Path) -> Iterator[Result | None]:
    """The results, one by one, of runs that are trained, or gone on with, or finished already; None when Ctrl-C stopped one."""
    for setting in all_settings(arguments):
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            training = setting.training(arguments, seed)
            place = folder / TRAINED / f"{setting.task}-{setting.length}-{setting.cell}-{setting.hidden}-seed-{seed}"
            check_writable(place)
            if (place / CHECKPOINT).exists():
                training.restore(load_checkpoint(LongMemory.name, place))
            label = f"{setting.label()} seed {seed}"
            if not training.finished() and training.learn(place, label):
                yield None
                return
            if not training.scores:  # stopped before the first, and resumed with fewer steps than were done
                training.evaluate()
            print(f"{label}  {training.outcome()}", flush=True)
            yield Result(setting, seed, size(training.model), training.done, training.solved(), training.scores[-1][1])


def seconds_per_update(arguments: argparse.Namespace, settings: Sequence[Setting], rounds: int = 10) -> list[float]:
    """The processor's time of an update in each setting, the least of several that take turns, so that all meet the same disturbances."""
    trainings = [setting.training(arguments, arguments.seed) for setting in settings]
    times = np.empty((rounds, len(settings)))
    for row in times:
        for i, training in enumerate(trainings):
            began = time.process_time()
            training.step()
            row[i] = time.process_time() - began
    return [float(t) for t in times.min(axis=0)]


# ---- what came of it -----------------------------------------------------------------------------------------------------------------


def of(results: Sequence[Result], setting: Setting) -> list[Result]:
    """The results of a setting, of all seeds."""
    return [r for r in results if r.setting == setting]


def reached(results: Sequence[Result]) -> str:
    """How many seeds solved it, after how many updates, and the least, the median and the highest share right."""
    solved = [r.updates for r in results if r.solved]
    updates = f"{np.median(solved):,.0f}" if solved else "-"
    right = [100 * r.right for r in results]
    return f"{len(solved)} of {len(results)}  {updates:>7}  {min(right):5.1f} {np.median(right):5.1f} {max(right):5.1f}"


HEADER = f"{'solved':6}  {'updates':>7}  {'right, %: least, median, most':17}"


def success_table(results: Sequence[Result], arguments: argparse.Namespace) -> list[str]:
    """Success against length, for each task and cell."""
    lines = []
    for name in arguments.tasks:
        task = TASKS[name]
        lines += [f"{name}: {task.guess} is right for {100 * task.guess_right:.1f} %, at a loss of {task.guess_loss:.4f}",
                  f"{'length':>6}  {'cell':4}  {HEADER}"]  # fmt: skip
        shown = [setting for setting in curve_settings(arguments) if setting.task == name]
        lines += [f"{s.length:6}  {s.cell:4}  {reached(of(results, s))}" for s in shown] + [""]
    return lines


CLAIM = "The course says: the GRU has fewer parameters than the LSTM, trains faster, and performs similarly, the LSTM slightly better."


def cost_table(results: Sequence[Result], arguments: argparse.Namespace) -> list[str]:
    """The course's table "LSTM vs GRU", measured: parameters, time and result, at equal hidden size, and on the first task at equal
    parameter count too.
    """
    T = max(arguments.lengths)
    lines = [f"LSTM vs GRU, sequences of {T} steps, {arguments.batch} at once.", CLAIM, ""]
    for name in arguments.tasks:
        for equal_parameters in (False, True) if name == arguments.tasks[0] else (False,):
            settings = equal_settings(arguments, name, parameters=equal_parameters)
            seconds = dict(zip(settings, seconds_per_update(arguments, settings), strict=True))
            lines += [f"{name}, equal {'parameter count' if equal_parameters else 'hidden size'}",
                      f"{'cell':4}  {'hidden':>6}  {'parameters':>10}  {'ms/update':>9}  {'µs/step':>7}  {HEADER}"]  # fmt: skip
            for s in settings:
                runs = of(results, s)
                cost = f"{runs[0].parameters:10,}  {1e3 * seconds[s]:9.1f}  {1e6 * seconds[s] / T:7.0f}"
                lines.append(f"{s.cell:4}  {s.hidden:6}  {cost}  {reached(runs)}")
            lines += [verdict({s.cell: (of(results, s), seconds[s]) for s in settings}), ""]
    return lines


def verdict(cells: dict[str, tuple[list[Result], float]]) -> str:
    """GRU and LSTM compared in a sentence: parameters, time of an update, successes, updates, and time to the success."""
    if not {"gru", "lstm"} <= cells.keys():
        return "Measured: there is nothing to compare without both GRU and LSTM."
    (gru, gru_time), (lstm, lstm_time) = cells["gru"], cells["lstm"]
    text = (
        f"Measured: the GRU has {gru[0].parameters / lstm[0].parameters:.2f} of the LSTM's parameters, an update takes it "
        f"{gru_time / lstm_time:.2f} of the time;\n          it solved {sum(r.solved for r in gru)} of {len(gru)}, the LSTM "
        f"{sum(r.solved for r in lstm)}"
    )
    if not (any(r.solved for r in gru) and any(r.solved for r in lstm)):
        return f"{text}."
    needed = [float(np.median([r.updates for r in runs if r.solved])) for runs in (gru, lstm)]
    ratio = needed[0] / needed[1]
    return f"{text}, with {ratio:.2f} of the updates and {ratio * gru_time / lstm_time:.2f} of the time where they did."


def draw(path: Path, results: Sequence[Result], arguments: argparse.Namespace) -> None:
    """The share right and the updates needed against the length, a mark for each seed, a line through the medians."""
    cells = {"rnn": ("tanh RNN", COLOURS[1], "s"), "lstm": ("LSTM", COLOURS[0], "o"), "gru": ("GRU", COLOURS[2], "^")}
    with picture(path, 5 * len(arguments.tasks), 6.5) as figure:
        panels = figure.subplots(2, len(arguments.tasks), sharex=True, sharey="row", squeeze=False)
        for (upper, lower), name in zip(panels.T, arguments.tasks, strict=True):
            for i, cell in enumerate(arguments.cells):
                label, colour, marker = cells[cell]
                aside = 1.045 ** (i - (len(arguments.cells) - 1) / 2)  # so that marks of different cells do not cover each other
                runs = [of(results, Setting(name, T, cell, arguments.hidden)) for T in arguments.lengths]
                at = aside * np.array(arguments.lengths)
                style = {"color": colour, "marker": marker, "markersize": 6, "linestyle": "none", "alpha": 0.8}
                for T, same in zip(at, runs, strict=True):
                    upper.plot([T] * len(same), [r.right for r in same], **style)
                    for r in same:
                        lower.plot(T, r.updates, **style, fillstyle="full" if r.solved else "none")
                upper.plot(at, [np.median([r.right for r in same]) for same in runs], color=colour, linewidth=1.8)
                lower.plot(at, [np.median([r.updates for r in same]) for same in runs], color=colour, linewidth=1.8)
                lower.plot([], [], color=colour, marker=marker, linewidth=1.8, label=label)
            level(upper, f"{TASKS[name].guess}: {TASKS[name].guess_right:.2f}", TASKS[name].guess_right, "left")
            level(upper, f"solved: above {SOLVED}", SOLVED, "right")
            level(lower, "given up", arguments.steps, "left")
            upper.set(title=f"{name}: {TASKS[name].about}", ylim=(0, 1.06), xscale="log")
            lower.set(xlabel="length T of the sequences", ylim=(0, 1.06 * arguments.steps))
            lower.set_xticks(arguments.lengths, [str(T) for T in arguments.lengths])
            lower.minorticks_off()
        panels[0, 0].set_ylabel("held-out sequences right")
        panels[1, 0].set_ylabel("updates until solved (hollow: not solved)")
        panels[0, 0].legend(*panels[1, 0].get_legend_handles_labels(), frameon=False, loc="center right")


def level(axes: Any, label: str, at: float, side: str) -> None:
    """A dashed line, named beneath its left or right end, where no curve is."""
    axes.axhline(at, color="0.45", linestyle=(0, (5, 4)), linewidth=0.9)
    x = {"left": 0.01, "right": 0.99}[side]
    axes.annotate(label, (x, at), (0, -4), xycoords=("axes fraction", "data"), textcoords="offset points", ha=side, va="top",
                  color="0.35", fontsize=9)  # fmt: skip


# ---- the command line ----------------------------------------------------------------------------------------------------------------

FULL: dict[str, Any] = {"lengths": [10, 20, 50, 100, 200], "steps": 3000, "seeds": 5}


def comparison_parser() -> argparse.ArgumentParser:
    """The options of the comparison; what is learned in a run stands as for `train`."""
    parser = argparse.ArgumentParser(
        prog="python -m models.long_memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The default comparison takes about four minutes of one core.  Ctrl-C stops after the update "
        "at hand; --resume goes on from there.  `python -m models.long_memory train --help` tells of a single run.",
    )  # fmt: skip
    integer, real, learning = positive(int), positive(float), LongMemory.defaults
    what = parser.add_argument_group("what is compared")
    what.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), help="(default: both)")
    what.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS), help="(default: all)")
    what.add_argument("--lengths", nargs="+", type=length, default=[10, 20, 50], metavar="T", help="(default: 10 20 50)")
    what.add_argument("--hidden", type=integer, default=learning["hidden"], metavar="H", help="size of the state (default: %(default)s)")
    add_forget_bias(what)
    how = parser.add_argument_group("learning")
    how.add_argument("--steps", type=integer, default=learning["steps"], help="updates at most in a run (default: %(default)s)")
    how.add_argument("--batch", type=integer, default=learning["batch"], metavar="N", help="sequences at once (default: %(default)s)")
    how.add_argument("--lr", type=real, default=learning["lr"], help="Adam's learning rate at the start (default: %(default)s)")
    how.add_argument("--seed", type=natural, default=0, help="of all that is random (default: %(default)s)")
    how.add_argument("--seeds", type=integer, default=3, metavar="K", help="from SEED on, for each setting (default: %(default)s)")
    how.add_argument("--full", action="store_true", help="more: lengths to 200, 3000 updates, 5 seeds")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: runs/long_memory, or the next free number)")
    output.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with the comparison in this folder")
    output.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def comparison_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options, on top of those of the comparison that is gone on with; a Problem where they contradict it."""
    parser = comparison_parser()
    arguments = parser.parse_args(argv)
    if arguments.full:
        parser.set_defaults(**FULL)
        arguments = parser.parse_args(argv)
    if arguments.resume:
        try:
            old = json.loads((arguments.resume / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise Problem(f"{arguments.resume} holds no comparison to go on with: {error}.") from error
        if not isinstance(old, dict) or "lengths" not in old:
            raise Problem(f"{arguments.resume} holds a single run; go on with it by `train --resume`.")
        arguments = resumed_arguments(LongMemory, parser, argv, Checkpoint({}, {"arguments": old}))
    for name in ("tasks", "cells", "lengths"):
        setattr(arguments, name, list(dict.fromkeys(getattr(arguments, name))))
    arguments.lengths.sort()
    return arguments


def compare(argv: Sequence[str]) -> int:
    """Train every cell on every task at every length, from each seed; tell, write and draw what came of it."""
    arguments = comparison_arguments(argv)
    folder = arguments.resume or output_folder(LongMemory.name, arguments.out)
    check_writable(folder)
    write_text(folder / "config.json", json.dumps(remembered(arguments), indent=2) + "\n")
    results: list[Result] = []
    for result in train_all(arguments, folder):
        if result is None:
            count = len(all_settings(arguments)) * arguments.seeds
            print(f"stopped: {len(results)} of {count} runs are done; go on with: python -m models.long_memory --resume {folder}")
            return 130
        results.append(result)
    write_text(folder / "results.json", json.dumps([r.as_json() for r in results], indent=1) + "\n")
    draw(folder / "lengths.svg", results, arguments)
    text = "\n".join([*success_table(results, arguments), *cost_table(results, arguments)]).rstrip()
    write_text(folder / "comparison.txt", text + "\n")
    print(f"\n{text}")
    files = ["lengths.svg     success and updates against length", "comparison.txt  these tables", "results.json    every run"]
    print(f"\nIn {folder}:\n" + "\n".join(f"  {line}" for line in [*files, f"{TRAINED + '/*':14}  the model of each run"]))
    return 0


def main(argv: Sequence[str]) -> int:
    """`train ...` for a single network, or the options of the comparison."""
    return LongMemory.main(argv[1:]) if argv[:1] == ["train"] else compare(argv)


if __name__ == "__main__":
    run(main)
