"""Reversing strings: a sequence-to-sequence model without attention (exercise 11.4).

    python -m models.reversal                   train, and count how many unseen strings come out right; about five minutes
    python -m models.reversal --order reversed  the same with the source fed backwards

The encoder reads a string of 1 to 15 letters, its last state is all that the decoder gets, and the decoder writes the letters from the
last to the first.  Sutskever et al. (2014) reversed their source sentences so that the first word to write was the last one read.  Here
the plain order does that already: the shortest distance from a letter read to the same letter written is 1, as the last is written
first.  Fed backwards the source makes it a copy task, in which every letter has the same, long way to go.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from models.experiment import CELLS, Experiment
from models.seq2seq import Decoder, Seq2Seq
from models.task import COLOURS, Problem, picture, positive, run, write_text
from tinygrad_seq import Tensor, no_grad
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.record import Array

LETTERS = Vocabulary("abcdefghijklmnopqrstuvwxyz")
HELD_OUT = 10  # one string in ten is never trained on
_WEIGHTS = np.random.default_rng(26).integers(1, 1 << 20, 64)


def held_out(strings: Array) -> Array:
    """Whether each of the strings (T, N), of letters 0 ... 25, is kept for the test: a rule of the string alone."""
    return np.asarray((strings + 1).T @ _WEIGHTS[: len(strings)] % HELD_OUT == 0)


def draw_strings(rng: Generator, length: int, count: int, *, test: bool) -> Array:
    """Random strings (length, count) of the part to learn from or of the one held out."""
    kept = np.empty((length, 0), np.int64)
    while kept.shape[1] < count:
        strings = rng.integers(0, len(LETTERS), (length, 4 * count * (HELD_OUT if test else 1)))
        kept = np.concatenate([kept, strings[:, held_out(strings) == test]], axis=1)
    return kept[:, :count]


def reversal_pairs(strings: Array, order: str) -> tuple[Array, Array]:
    """What the encoder reads and what the decoder writes, with its end, for strings (T, N) of one length."""
    backwards = strings[::-1]
    end = np.full_like(strings[:1], len(LETTERS))
    return (strings if order == "plain" else backwards), np.concatenate([backwards, end])


class Reversal(Experiment):
    """Whole strings right; each length counts the same in the test, long ones come more often in training."""

    name = "reversal"
    measure = "of unseen strings exactly right"
    time = "about five minutes on two cores"
    defaults: ClassVar[dict[str, Any]] = {"cell": "lstm", "hidden": 128, "batch": 64, "steps": 6500, "lr": 4e-3}
    full: ClassVar[dict[str, Any]] = {"steps": 15000}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Which way the source is read."""
        more = parser.add_argument_group("the strings")
        more.add_argument("--order", choices=["plain", "reversed"], default="plain", help="how the source is read (default: %(default)s)")
        more.add_argument("--longest", type=positive(int), default=15, metavar="T", help="letters in the longest (default: %(default)s)")

    def prepare(self) -> None:
        """An encoder and a decoder; 100 unseen strings of each length."""
        arguments, V = self.arguments, len(LETTERS)
        if arguments.longest > len(_WEIGHTS):
            raise Problem(f"--longest {arguments.longest} is more than {len(_WEIGHTS)}, the longest for which there is a test.")
        cell = CELLS[arguments.cell]
        self.model: Seq2Seq = Seq2Seq(
            cell(V, arguments.hidden, rng=self.rng), Decoder(cell, V, arguments.hidden, rng=self.rng), rng=self.rng
        )
        rng = np.random.default_rng([self.seed, 1])
        self.tests = [draw_strings(rng, length, 100, test=True) for length in range(1, arguments.longest + 1)]

    def baselines(self) -> dict[str, float]:
        """Writing the source as it is: right for palindromes."""
        return {"copying the source": float(np.mean([(s == s[::-1]).all(axis=0).mean() for s in self.tests]))}

    def loss(self) -> Tensor:
        """The cross-entropy of a batch of strings of one length."""
        lengths = np.arange(1, self.arguments.longest + 1)
        length = int(self.rng.choice(lengths, p=lengths / lengths.sum()))  # long strings more often: they take longer to learn
        strings = draw_strings(self.rng, length, self.arguments.batch, test=False)
        return self.model.loss(*reversal_pairs(strings, self.arguments.order))

    def score(self) -> float:
        """The share of unseen strings that are written without a mistake."""
        return float(np.mean([self.right(strings).mean() for strings in self.tests]))

    def written(self, strings: Array, *, forced: bool = False) -> Array:
        """What is written for each string (T, N), its end included (T+1, N): by itself, or told the true letters before each."""
        source, target = reversal_pairs(strings, self.arguments.order)
        with no_grad():
            if forced:
                return np.asarray(self.model(source, target).data.argmax(axis=-1))
            symbols = self.model.decoder.greedy(self.model.encode(source), len(target)).symbols
        out = np.full_like(target, len(LETTERS))  # what ended early has ended
        out[: len(symbols)] = symbols
        return out

    def right(self, strings: Array) -> Array:
        """Whether each string (T, N) comes out right.  By itself or told the truth is the same: it is told it up to a mistake."""
        return np.asarray((self.written(strings) == reversal_pairs(strings, self.arguments.order)[1]).all(axis=0))

    def letters_right(self, strings: Array, *, forced: bool) -> float:
        """The share of letters right, by itself, where a mistake makes others, or told the true letters before each."""
        target = reversal_pairs(strings, self.arguments.order)[1]
        return float((self.written(strings, forced=forced) == target)[:-1].mean())

    def report(self, folder: Path) -> list[str]:
        """Examples, and what is right for each length, by itself and under teacher forcing."""
        self.model.eval()
        whole = [100 * self.right(s).mean() for s in self.tests]
        alone, forced = ([100 * self.letters_right(s, forced=f) for s in self.tests] for f in (False, True))
        self.model.train()
        lines = [self.example(strings[:, 0]) for strings in self.tests[2::4]]
        table = [f"{'':6}  {'strings':>7}  {'letters right':>23}", f"{'length':>6}  {'right':>7}  {'by itself':>9}  {'told the truth':>14}"]
        table += [f"{i:6}  {w:6.0f}%  {a:8.1f}%  {f:13.1f}%" for i, (w, a, f) in enumerate(zip(whole, alone, forced, strict=True), 1)]
        text = "\n".join([*lines, "", *table])
        print(f"\n{text}")
        write_text(folder / "lengths.txt", text + "\n")
        with picture(folder / "lengths.svg", 7, 4) as figure:
            axes = figure.add_subplot()
            lengths = range(1, len(alone) + 1)
            axes.plot(lengths, forced, color=COLOURS[4], marker="s", label="letters, told the true ones before each")
            axes.plot(lengths, alone, color=COLOURS[0], marker="o", label="letters, reading what it wrote")
            axes.plot(lengths, whole, color=COLOURS[1], marker="^", label="whole strings")
            axes.set(xlabel="length of the string", ylabel="right, unseen strings, %", ylim=(-3, 103))
            axes.set_title(f"source read in {self.arguments.order} order")
            axes.legend(frameon=False, loc="lower left")
        return ["lengths.txt  examples, and what is right for each length", "lengths.svg  that, as a picture"]

    def example(self, string: Array) -> str:
        """A string, and what becomes of it."""
        source, _ = reversal_pairs(string[:, None], self.arguments.order)
        with no_grad():
            text = self.model.decoder.greedy(self.model.encode(source), len(string) + 5)
        written, wanted = LETTERS.decode(text.sequences()[0]), LETTERS.decode(string[::-1])
        return f"{LETTERS.decode(string)} -> {written}{'' if written == wanted else f'   (not {wanted})'}"


if __name__ == "__main__":
    run(Reversal.main)
