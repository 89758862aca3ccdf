"""What the tasks share: arguments, output folders, stopping cleanly, pictures of curves."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from tinygrad_seq.checkpoint import write_whole
from tinygrad_seq.record import Array

CHECKPOINT = "checkpoint.npz"
TRAINED = "trained"  # the folder of the runs that a task compares, within its own


class Problem(Exception):
    """Something that the user can mend; its message is all that is shown."""


def run(main: Callable[[Sequence[str]], int]) -> None:
    """Run a task's main function on the command line's arguments; what the user can mend ends it with a message and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sample may hold characters that the terminal lacks
    try:
        sys.exit(main(sys.argv[1:]))
    except (Problem, FloatingPointError) as problem:
        print(f"error: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; what was saved stays.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}. What was saved before stays.", file=sys.stderr)
    sys.exit(2)


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argument type: a number of this kind above 0."""
    what = "whole number" if kind is int else "number"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a positive {what}") from None
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a positive {what}")
        return value

    return parse


def output_folder(name: str, chosen: Path | None) -> Path:
    """A folder to write into: the chosen one, or runs/NAME, runs/NAME-2, ... , the first without a checkpoint.

    A Problem where the chosen one holds a checkpoint already, which would be lost, or cannot be written to.
    """
    folder = chosen or Path("runs") / name
    if chosen is None:
        number = 1
        while _holds_run(folder):
            number += 1
            folder = Path("runs") / f"{name}-{number}"
    elif _holds_run(folder):
        raise Problem(f"{folder} holds a checkpoint already. Continue it with --resume {folder}, or choose another --out.")
    check_writable(folder)
    return folder


def _holds_run(folder: Path) -> bool:
    """Whether there is a checkpoint, or one for each of several seeds, or those of a comparison."""
    return any(any(folder.glob(f"{runs}{CHECKPOINT}")) for runs in ("", "seed-*/", f"{TRAINED}/*/"))


def check_writable(folder: Path) -> None:
    """Make the folder; a Problem where files cannot be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        write_whole(probe, lambda file: file.write(b""))
        probe.unlink()
    except OSError as error:
        raise Problem(f"cannot write into {folder}: {error.strerror or error}. Choose another --out.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode()))


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed, so that a step is never cut in half; a second Ctrl-C interrupts at once."""
    pressed = False

    def handle(*_: int | FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def natural(text: str) -> int:
    """An argument type: a whole number, 0 or above."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def fraction(text: str) -> float:
    """An argument type: a number in [0, 1)."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 1)")
    return value


# ---- pictures ------------------------------------------------------------------------------------------------------------------------


def smoothed(values: Sequence[float], window: int) -> Array:
    """The mean over the last `window` values, at each."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    at = np.arange(1, len(sums))
    start = np.maximum(0, at - window)
    return np.asarray((sums[at] - sums[start]) / (at - start))


@contextmanager
def picture(path: Path, width: float = 8, height: float = 4.5) -> Iterator[Any]:
    """A matplotlib figure, written whole into `path`, the same bytes each time, when the block ends."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "tinygrad_seq", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        metadata = {"Date": None} if path.suffix == ".svg" else None
        write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi=150, metadata=metadata))


def draw_levels(axes: Any, levels: dict[str, float]) -> None:
    """Baselines as dashed lines, each with its name above it, or below where another line is close above."""
    for level in levels.values():
        axes.axhline(level, color="0.45", linestyle=(0, (5, 4)), linewidth=0.9)
    low, high = axes.get_ylim()
    for label, level in levels.items():
        below = any(0 < other - level < 0.06 * (high - low) for other in levels.values())
        axes.annotate(f"{label}  {level:.2f}", (1, level), (-4, -3 if below else 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="top" if below else "baseline", color="0.35", fontsize=9)  # fmt: skip


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")  # Okabe & Ito 2008, for all eyes


def plot_curves(path: Path, curves: dict[str, tuple[Any, Any]], levels: dict[str, float], x: str, y: str) -> None:
    """Draw curves {label: (xs, ys)} and, as dashed lines, the levels that give them a meaning, into a picture file."""
    with picture(path) as figure:
        axes = figure.add_subplot()
        for (label, (xs, ys)), (colour, width) in zip(curves.items(), (("#9ecae1", 1.0), ("#08519c", 2.2), ("#d95f02", 2.2)), strict=False):
            axes.plot(xs, ys, label=label, color=colour, linewidth=width)
        draw_levels(axes, levels)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.margins(x=0.01)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.92), ncols=len(curves))
