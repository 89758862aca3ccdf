"""What the tagger shows: labelled text in the terminal and as a picture, and the table of labels as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.python_labels import NAMES
from models.task import COLOURS, picture
from tinygrad_seq.record import Array


class Look(NamedTuple):
    """How a label is shown: by a letter, in the terminal (an ANSI code, or none), and in a picture."""

    letter: str
    ansi: str
    colour: str


LOOKS = {
    "space": Look(".", "", "white"),
    "comment": Look("#", "90", "0.55"),
    "string": Look('"', "32", "#009e73"),
    "number": Look("0", "36", "#56b4e9"),
    "operator": Look("+", "", "0.35"),
    "keyword": Look("k", "1;34", "#0072b2"),
    "name": Look("n", "", "black"),
    "call": Look("C", "33", "#d08c00"),
    "target": Look("T", "1;31", "#d55e00"),
    "argument": Look("A", "35", "#cc79a7"),
    "parameter": Look("P", "1;35", "#7b4fb5"),
    "definition": Look("D", "1;33", "#8a5a2b"),
}
LETTERS = np.array([LOOKS[name].letter for name in NAMES])
LEGEND = ", ".join(f"{look.letter} {name}" for name, look in LOOKS.items())


def printable(text: str) -> str:
    """The text without characters that would command a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def runs(said: Array, wrong: Array, start: int, stop: int) -> Iterator[tuple[int, int, int, bool]]:
    """The stretches of one label, all right or all wrong, from start up to stop: (start, stop, label, wrong)."""
    for (label, fault), group in groupby(range(start, stop), key=lambda i: (int(said[i]), bool(wrong[i]))):
        places = list(group)
        yield places[0], places[-1] + 1, label, fault


def in_colours(text: str, said: Array, true: Array | None = None) -> str:
    """The text for a terminal, each character in its label's colour; where that is not the true one, reversed."""
    text, wrong, parts, start = printable(text), _wrong(said, true), [], 0
    for line in text.splitlines(keepends=True):
        end = start + len(line.rstrip("\n"))
        for a, b, label, fault in runs(said, wrong, start, end):
            codes = [code for code in (LOOKS[NAMES[label]].ansi, "7" if fault else "") if code]
            parts.append(f"\x1b[{';'.join(codes)}m{text[a:b]}\x1b[0m" if codes else text[a:b])
        start += len(line)
        parts.append(text[end:start])
    return "".join(parts)


def with_letters(text: str, said: Array, true: Array | None = None) -> str:
    """The text, and under each line the letters of its labels; where one is not the true one, that beneath."""
    lines, start = [], 0
    for line in printable(text).replace("\t", " ").split("\n"):
        stop = start + len(line)
        lines.append(line)
        if line:
            lines.append("".join(LETTERS[said[start:stop]]))
            if true is not None and (said[start:stop] != true[start:stop]).any():
                lines.append("".join(np.where(said[start:stop] != true[start:stop], LETTERS[true[start:stop]], " ")).rstrip())
        start = stop + 1
    return "\n".join(lines)


def _wrong(said: Array, true: Array | None) -> Array:
    return np.zeros(len(said), bool) if true is None else said != true


def class_table(true: Array, said: Mapping[str, Array], scores: Mapping[str, Array]) -> list[str]:
    """A row a label, a column a method: F1, its mean, and the share of characters that are right."""
    share = np.bincount(true, minlength=len(NAMES)) / len(true)
    lines = [f"{'F1, %':12}{'share':>7}" + "".join(f"{name:>21}" for name in said)]
    for label, name in enumerate(NAMES):
        row = "".join(f"{'-' if np.isnan(score[label]) else f'{100 * score[label]:.1f}':>21}" for score in scores.values())
        lines.append(f"{name:12}{100 * share[label]:6.1f}%{row}")
    lines.append(f"{'mean':12}{'':7}" + "".join(f"{100 * np.nanmean(score):21.1f}" for score in scores.values()))
    lines.append(f"{'right, %':12}{'':7}" + "".join(f"{100 * (answers == true).mean():21.1f}" for answers in said.values()))
    return lines


# ---- pictures ------------------------------------------------------------------------------------------------------------------------

LINES, COLUMNS = 11, 92  # of the piece of text that is drawn


def liveliest(text: str, labels: Array) -> tuple[int, int]:
    """Where the LINES whole lines begin and end that hold the most of all labels, none longer than COLUMNS: Σ log(1 + count) is largest.

    Where there are no such lines, as much of the text as fits.
    """
    ends = np.flatnonzero(np.array(list(text)) == "\n")
    begins = np.concatenate([[0], ends[:-1] + 1])
    counts = np.array([np.cumsum(labels == label)[ends] for label in range(len(NAMES))])  # up to each line's end
    counts = np.concatenate([np.zeros((len(NAMES), 1)), counts], axis=1)
    fits = np.convolve(ends - begins > COLUMNS, np.ones(LINES), "valid") == 0
    if len(ends) < LINES or not fits.any():
        return 0, min(len(text), COLUMNS)
    lively = np.log1p(counts[:, LINES:] - counts[:, :-LINES]).sum(axis=0)
    first = int(np.where(fits, lively, -1).argmax())
    return int(begins[first]), int(ends[first + LINES - 1])


def draw_snippet(path: Path, text: str, true: Array, said: Mapping[str, Array]) -> None:
    """The text once for each of those who label it, in the colours of their labels, what is wrong on red ground."""
    lines = text.split("\n")
    width, advance = 11.0, 0.60205  # inches; of DejaVu Sans Mono, in units of its size
    size = 72 * (width - 0.4) / max(COLUMNS, *(len(one) for one in lines)) / advance
    line = 1.35 * size / 72
    panel = line * len(lines) + 0.45
    height = panel * len(said) + 0.55
    with picture(path, width, height) as figure:
        figure.set_layout_engine("none")
        for n, (name, labels) in enumerate(said.items()):
            bottom = height - (n + 1) * panel
            axes = figure.add_axes((0.2 / width, bottom / height, 1 - 0.4 / width, line * len(lines) / height))
            axes.set(xlim=(0, (width - 0.4) / line * 1.35 / advance), ylim=(len(lines), 0))
            axes.axis("off")
            wrong = labels != true
            axes.set_title(f"{name}: {int(wrong.sum())} of {len(text)} characters wrong", loc="left", fontsize=11)
            _write(axes, lines, labels, wrong, size)
        legend = [name for name in NAMES if name != "space"]
        for i, name in enumerate(legend):
            figure.text((0.2 + i * (width - 0.4) / len(legend)) / width, 0.2 / height, name, color=LOOKS[name].colour, fontsize=10)


def _write(axes: Any, lines: list[str], labels: Array, wrong: Array, size: float) -> None:
    start = 0
    for row, one in enumerate(lines):
        for a, b, label, fault in runs(labels, wrong, start, start + len(one)):
            if fault:
                axes.axvspan(a - start, b - start, 1 - (row + 1) / len(lines), 1 - row / len(lines), color="#ffc4b5", linewidth=0)
            shown = printable(one[a - start : b - start]).replace("\t", " ").replace("$", r"\$")
            colour = "black" if NAMES[label] == "space" else LOOKS[NAMES[label]].colour  # what is taken for space is still there
            if shown.strip():
                axes.text(a - start, row + 0.72, shown, family="monospace", size=size, color=colour)
        start += len(one) + 1


def draw_classes(path: Path, scores: Mapping[str, Array]) -> None:
    """F1 of each label, a row a label, a mark a method; what reading both ways gains most comes first."""
    compared = {"bidirectional", "forward"} <= set(scores)
    gain = scores["bidirectional"] - scores["forward"] if compared else -np.arange(len(NAMES))
    order = np.argsort(np.nan_to_num(gain), kind="stable")
    marks = {"look-up, left": ("<", "0.65"), "look-up, both sides": ("D", "0.45")}
    marks |= {"forward": (">", COLOURS[1]), "bidirectional": ("o", COLOURS[0])}
    with picture(path, 8, 5) as figure:
        axes = figure.add_subplot()
        for row, label in enumerate(order):
            axes.plot([0, 1], [row, row], color="0.9", linewidth=0.8, zorder=0)
            if compared:
                axes.plot([scores["forward"][label], scores["bidirectional"][label]], [row, row], color=COLOURS[0], linewidth=2, alpha=0.4)
        for name, values in scores.items():
            marker, colour = marks[name]
            axes.plot(values[order], np.arange(len(order)), marker, color=colour, markersize=7, linestyle="none", label=name)
        axes.set_yticks(range(len(order)), [NAMES[label] for label in order])
        axes.set(xlim=(0, 1.01), xlabel="F1 on unseen files")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        figure.legend(frameon=False, loc="outside upper center", ncols=len(scores))
