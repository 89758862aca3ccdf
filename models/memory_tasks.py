"""Two tasks of long memory, and the training of one network on one of them, for `python -m models.long_memory`.

A sequence of T steps has one answer, asked for after the last step; all that it takes is at two steps far back.

adding  x_t = (v_t, m_t): a number v_t from U[0, 1], and a mark m_t, 1 at two steps and 0 elsewhere; the answer is the sum of the two
        numbers that are marked.  The first is among steps [0, T/10), the second among [T/10, T/2).
order   x_t is one of six symbols.  At a step in [T/10, 2T/10) and at one in [5T/10, 6T/10) stands X or Y, elsewhere one of four others
        that say nothing; the answer is one of four classes, XX, XY, YX or YY.

Both tasks are Hochreiter & Schmidhuber's (1997, experiments 4 and 6a).  The generators are those of Pascanu, Mikolov & Bengio (2013), whose
intervals grow with T; but every sequence has exactly T steps, where theirs of `adding` may be longer by a tenth, and the answer to it is
the sum (as in Le, Jaitly & Hinton 2015), where theirs is half of it.  Hochreiter & Schmidhuber draw numbers from U[-1, 1], lengths from
[T, 1.1 T], and X and Y at steps 10-20 and 50-60 of 100-110, between a symbol that begins and one that ends the sequence.

Without a look at the sequence the best sum is 1, which is wrong by 1/6 in mean square, twice the variance of U[0, 1]; the order costs
ln 4 = 1.386 nats.  A sum is right when it is less than 0.08 off, Hochreiter & Schmidhuber's 0.04 in their units of half the sum: 1 is right
for 1 - 0.92² = 15.4 % of the sequences.  A class is right when it is the likeliest; a guess is right for 25 %.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Callable
from math import isfinite, isqrt, log
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator

from models.experiment import CELLS, Experiment
from models.lstm import LSTMCell
from models.recurrent import unroll
from tinygrad_seq import Tensor, cross_entropy, no_grad
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.record import Array, Value

# ---- the tasks -----------------------------------------------------------------------------------------------------------------------

SHORTEST = 10  # steps: a tenth is at least one
CLOSE = 0.08  # how far off the sum may be
SOLVED = 0.95  # more than this share of held-out sequences right


def two_steps(rng: Generator, T: int, N: int, first: tuple[int, int], second: tuple[int, int]) -> tuple[Array, Array]:
    """A step in [a/10 T, b/10 T) for each of N sequences, and a later one; `first` and `second` are (a, b), bounds rounded down."""
    if T < SHORTEST:
        raise ValueError(f"length {T}, expected at least {SHORTEST}: the two steps are drawn from tenths of the sequence.")
    a, b = (rng.integers(low * T // 10, high * T // 10, N) for low, high in (first, second))
    return a, b


def adding(rng: Generator, T: int, N: int) -> tuple[Array, Array]:
    """Numbers and marks (T, N, 2), float32, and the sums (N,) of the two numbers marked."""
    first, second = two_steps(rng, T, N, (0, 1), (1, 5))
    numbers, marks, n = rng.random((T, N), np.float32), np.zeros((T, N), np.float32), np.arange(N)
    marks[first, n] = marks[second, n] = 1
    return np.stack([numbers, marks], axis=-1), numbers[first, n] + numbers[second, n]


def temporal_order(rng: Generator, T: int, N: int) -> tuple[Array, Array]:
    """Symbols (T, N), where 0 is X, 1 is Y and 2 ... 5 say nothing, and the classes (N,): 0 for XX, 1 for XY, 2 for YX, 3 for YY."""
    first, second = two_steps(rng, T, N, (1, 2), (5, 6))
    symbols, n = rng.integers(2, 6, (T, N)), np.arange(N)
    earlier, later = rng.integers(0, 2, (2, N))
    symbols[first, n], symbols[second, n] = earlier, later
    return symbols, 2 * earlier + later


class Task(NamedTuple):
    """One answer for a whole sequence: how sequences are drawn, what answers (N, outputs) cost, and which of them are right."""

    about: str
    draw: Callable[[Generator, int, int], tuple[Array, Array]]
    inputs: int
    outputs: int
    loss: Callable[[Tensor, Array], Tensor]
    right: Callable[[Array, Array], Array]
    guess: str  # the best answer without a look at the sequence,
    guess_right: float  # how often it is right,
    guess_loss: float  # and what it costs


def squared_error(ys: Tensor, sums: Array) -> Tensor:
    """The mean of (y - sum)², for ys (N, 1)."""
    error = ys[:, 0] - sums
    return (error * error).mean()


TASKS = {
    "adding": Task(
        about="the sum of two marked numbers", draw=adding, inputs=2, outputs=1,
        loss=squared_error, right=lambda ys, sums: np.abs(ys[:, 0] - sums) < CLOSE,
        guess="always saying 1", guess_right=1 - (1 - CLOSE) ** 2, guess_loss=1 / 6,
    ),
    "order": Task(
        about="X or Y, and then X or Y", draw=temporal_order, inputs=6, outputs=4,
        loss=cross_entropy, right=lambda ys, classes: ys.argmax(axis=-1) == classes,
        guess="guessing", guess_right=1 / 4, guess_loss=log(4),
    ),
}  # fmt: skip


# ---- one network on one task ---------------------------------------------------------------------------------------------------------


class LastState(Module):
    """A cell, and a linear answer to its last state: y = W h_(T-1) + b; xs (T, N, C), or symbols (T, N), -> (N, D)."""

    def __init__(self, cell: str, inputs: int, hidden: int, outputs: int, *, rng: Generator, **options: Any) -> None:
        self.cell = CELLS[cell](inputs, hidden, rng=rng, **options)
        self.answer = Linear(hidden, outputs, rng=rng)

    def forward(self, xs: Value) -> Tensor:
        """The answer after the last step."""
        return self.answer(unroll(self.cell, xs, fused=True).last)


def size(model: Module) -> int:
    """How many numbers are learned."""
    return sum(p.size for p in model.parameters())


def state_of_size(cell: str, task: Task, parameters: int) -> int:
    """The hidden size at which a network with this cell has as many parameters as that, as nearly as can be."""

    def parameters_at(hidden: int) -> int:
        return size(LastState(cell, task.inputs, hidden, task.outputs, rng=np.random.default_rng(0)))

    enough = 1 + bisect_left(range(1, isqrt(parameters) + 2), parameters, key=parameters_at)  # no cell has fewer than H² parameters
    return min((max(1, enough - 1), enough), key=lambda hidden: abs(parameters_at(hidden) - parameters))


def begin_gates(cell: LSTMCell, b_f: float, b_i: float) -> None:
    """Set the biases that the forget gates and the input gates begin with."""
    assert cell.b is not None
    cell.b.data = np.repeat([b_f, b_i, 0, 0], len(cell.W_h)).astype(cell.b.dtype)


class LongMemory(Experiment):
    """One cell on one task at one length, until it is solved or the updates are used up."""

    name = "long_memory"
    measure = "of held-out sequences right"
    time = "half a minute on one core"
    defaults: ClassVar[dict[str, Any]] = {"cell": "lstm", "hidden": 32, "batch": 64, "steps": 1500, "lr": 1e-2}
    evaluations = 60
    unseen: ClassVar[int] = 1000
    model: LastState

    @classmethod
    def parser(cls) -> argparse.ArgumentParser:
        """The options of a run, behind the word `train`."""
        parser = super().parser()
        parser.prog += " train"
        return parser

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Which task, and how the LSTM begins."""
        more = parser.add_argument_group("the task")
        more.add_argument("--task", choices=list(TASKS), default="adding", help="(default: %(default)s)")
        more.add_argument("--length", type=length, default=50, metavar="T", help="steps of a sequence (default: %(default)s)")
        add_forget_bias(more)

    def prepare(self) -> None:
        """The network, and sequences that it never trains on: those to learn from are drawn anew for each update."""
        arguments = self.arguments
        self.task = task = TASKS[arguments.task]
        self.model = LastState(arguments.cell, task.inputs, arguments.hidden, task.outputs, rng=self.rng)
        if arguments.cell == "lstm":
            b_f, b_i = (log(arguments.length), -log(arguments.length)) if arguments.forget_bias is None else (arguments.forget_bias, 0.0)
            begin_gates(self.model.cell, b_f, b_i)
        self.held_out = task.draw(np.random.default_rng([self.seed, 1]), arguments.length, self.unseen)

    def baselines(self) -> dict[str, float]:
        """The best answer that does not look at the sequence."""
        return {self.task.guess: self.task.guess_right}

    def loss(self) -> Tensor:
        """Of a batch drawn anew: the mean squared error, or the cross-entropy in nats."""
        xs, targets = self.task.draw(self.rng, self.arguments.length, self.arguments.batch)
        return self.task.loss(self.model(xs), targets)

    def score(self) -> float:
        """The share of held-out sequences whose answer is right."""
        xs, targets = self.held_out
        with no_grad():
            return float(self.task.right(self.model(xs).numpy(), targets).mean())

    def solved(self) -> bool:
        """Whether the last score is above the line."""
        return bool(self.scores) and self.scores[-1][1] > SOLVED

    def finished(self) -> bool:
        """When it is solved, there is no more to do."""
        return self.solved() or super().finished()

    def again(self, folder: Path) -> str:
        """The command that goes on with the run."""
        return f"python -m models.{self.name} train --resume {folder}"

    def report(self, folder: Path) -> list[str]:  # noqa: ARG002 - it writes no file of its own
        """Whether it was solved, and when."""
        print(f"\n{self.outcome()}")
        return []

    def outcome(self) -> str:
        """How the run stands, in a line."""
        verdict = f"solved after {self.done:,} updates" if self.solved() else f"not solved in {self.done:,} updates"
        return f"{verdict}: {100 * self.scores[-1][1]:.1f} % right" if self.scores else verdict


def length(text: str) -> int:
    """An argument type: a length that the tasks can be drawn at."""
    value = int(text)
    if value < SHORTEST:
        raise argparse.ArgumentTypeError(f"{text} is below {SHORTEST}, the shortest sequence")
    return value


def finite(text: str) -> float:
    """An argument type: a number that is one."""
    value = float(text)
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def add_forget_bias(group: Any) -> None:
    """The option of both commands."""
    group.add_argument(
        "--forget-bias", type=finite, metavar="B", help="b_f of the LSTM at the start, b_i = 0 (default: b_f = ln T, b_i = -ln T)"
    )
