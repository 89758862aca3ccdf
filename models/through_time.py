"""The gradient's way through time, before and after learning, in an RNN, an LSTM and a GRU.

    python -m models.through_time    a short training of each; about half a minute

The task has a known answer: say at each step which of a few random symbols was read `delay` steps before.  So the loss at step t depends
on what the states held from step t - delay on, and on no state before.  Of each network's gradients three ledgers are kept:

    dL_t/dh_k          the loss at t by the state at k, as heat maps, each row relative to its largest norm.
    dL_T/dW_k          what each step's use of the recurrent weights adds to the gradient of the last loss: dL_T/dW = Σ_k dL_T/dW_k.
    σ_max(ds_T/ds_k)   the factor by which the way back can lengthen a gradient at most, s being the whole state, h or (h, c); for the RNN
                       it is at most σ_max(W_h)^(T-k) (Pascanu, Mikolov & Bengio 2013).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from models import task
from models.experiment import CELLS
from models.recurrent import unroll
from models.task import COLOURS, natural, output_folder, picture, positive, write_text
from tinygrad_seq import Tensor, cross_entropy, ledger, optim
from tinygrad_seq.ledger import Table
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.record import Array

SYMBOLS, BATCH = 4, 32
WHEN = ("as initialised", "after learning")


class Echo(Module):
    """A cell under a linear output that says which symbol was read `delay` steps before."""

    def __init__(self, kind: str, hidden: int, delay: int, *, rng: Generator) -> None:
        self.cell = CELLS[kind](SYMBOLS, hidden, rng=rng, dtype=np.float64)
        self.output = Linear(hidden, SYMBOLS, rng=rng, dtype=np.float64)
        self.delay = delay

    def forward(self, symbols: Array) -> tuple[Tensor, Any]:
        """symbols (T, N) -> the losses (T - delay, N) of steps delay ... T-1, and the run."""
        run = unroll(self.cell, symbols)
        return cross_entropy(self.output(run.outputs[self.delay :]), symbols[: len(symbols) - self.delay], reduction="none"), run


def draw_symbols(rng: Generator, steps: int, batch: int) -> Array:
    """Symbols (T, N), each as likely as the others."""
    return rng.integers(0, SYMBOLS, (steps, batch))


def learn(model: Echo, steps: int, updates: int, *, rng: Generator, lr: float = 0.01) -> None:
    """Adam on the mean loss of fresh batches."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    for _ in range(updates):
        loss = model(draw_symbols(rng, steps, BATCH))[0].mean()
        model.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


@dataclass
class Ledgers:
    """One network's: the mean loss; the table; ||dL_T/dW_k|| of the recurrent weights; singular values, and the RNN's bound on them."""

    loss: float
    table: Table
    shares: Array
    values: Array
    bound: Array


def measured(model: Echo, symbols: Array) -> Ledgers:
    """All ledgers of a run over symbols (T, N); the singular values are those of the first sequence."""
    losses, run = model(symbols)
    shares = ledger.contributions(losses[-1].sum(), model.cell.W_h).norms
    values = ledger.singular_values(model(symbols[:, :1])[1])[:, 0]
    bound = ledger.pascanu_bound(model.cell.W_h, np.arange(len(symbols) - 1, -1, -1))
    return Ledgers(losses.mean().item(), ledger.loss_table(losses, run)["h"], shares, values, bound)


def relative_to_distance(kept: Ledgers) -> Array:
    """||dL_t/dh_(t-d)|| over the largest norm of its row, for each distance d = 0, 1, ...: the median over all losses that reach so far."""
    norms = kept.table.norms / kept.table.norms.max(axis=1, keepdims=True)
    first = norms.shape[1] - norms.shape[0]
    rows = [row[first + t :: -1] for t, row in enumerate(norms)]
    return np.array([np.median([row[d] for row in rows if d < len(row)]) for d in range(norms.shape[1])])


def table(ledgers: Mapping[str, Ledgers], delay: int) -> str:
    """What the pictures show, in numbers."""
    back = sorted({0, delay // 2, delay, 2 * delay, 3 * delay})
    lines = [f"{'gradient left, of the largest':30} {'loss (nats)':>12} " + " ".join(f"{f'{d} back':>9}" for d in back)]
    for name, kept in ledgers.items():
        left = relative_to_distance(kept)
        numbers = " ".join(f"{left[d]:9.1e}" if d < len(left) else f"{'':9}" for d in back)
        lines.append(f"{name:30} {kept.loss:12.3f} {numbers}")
    lines.append(f"{'a guess':30} {np.log(SYMBOLS):12.3f}")
    worst = max(kept.table.residual for kept in ledgers.values())
    return "\n".join([*lines, f"the rows of each table sum to the whole gradient, up to {worst:.1e} of their size"])


def draw_tables(path: Path, ledgers: Mapping[str, Ledgers], delay: int) -> None:
    """Heat maps of loss by state: the networks side by side, as initialised above, after learning below."""
    with picture(path, 11, 7.4) as figure:
        for rowed, when in zip(figure.subfigures(2, 1), WHEN, strict=True):
            tables = {name: kept.table for name, kept in ledgers.items() if when in name}
            ledger.heat_maps(rowed, tables, relative=True, decades=5, first=delay)


def draw_curves(path: Path, ledgers: Mapping[str, Ledgers]) -> None:
    """What each step adds to dL_T/dW_h, and the largest singular value of ds_T/ds_k, with the RNN's bound."""
    after = {name.split(",")[0]: kept for name, kept in ledgers.items() if WHEN[1] in name}
    with picture(path, 11, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            axes.set_prop_cycle(color=[COLOURS[1], COLOURS[0], COLOURS[2]])
        ledger.curves(left, {name: kept.shares for name, kept in after.items()})
        left.set(title=r"$\|\partial L_T / \partial W_k\|$: what each step adds", xlabel="step k")
        ledger.curves(right, {name: kept.values for name, kept in after.items()})
        rnn = after["RNN"]
        right.plot(rnn.bound, ":", color=COLOURS[1], label="the RNN's bound")
        right.set(title=r"the largest singular value of $\partial s_T / \partial s_k$", xlabel="step k")
        right.set_ylim(top=1e3 * max(kept.values.max() for kept in after.values()))
        right.legend(edgecolor="none", framealpha=0.85, fontsize=8)


def main(argv: Sequence[str]) -> int:
    """Measure, learn, measure again, print, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m models.through_time", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=positive(int), default=32, metavar="H", help="size of the state (default: %(default)s)")
    parser.add_argument("--steps", type=positive(int), default=30, metavar="T", help="time steps (default: %(default)s)")
    parser.add_argument("--delay", type=natural, default=6, metavar="D", help="steps from reading to saying (default: %(default)s)")
    parser.add_argument("--updates", type=natural, default=400, metavar="K", help="of each network's weights (default: %(default)s)")
    parser.add_argument("--seed", type=natural, default=0, help="of weights and symbols (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: runs/through_time)")
    arguments = parser.parse_args(argv)
    if arguments.delay + 2 > arguments.steps:
        raise task.Problem(f"--delay {arguments.delay} takes at least {arguments.delay + 2} steps; --steps is {arguments.steps}.")
    folder = output_folder("through_time", arguments.out)
    symbols = draw_symbols(np.random.default_rng([arguments.seed, 1]), arguments.steps, BATCH)
    ledgers = {}
    for kind in CELLS:
        rng = np.random.default_rng(arguments.seed)
        model = Echo(kind, arguments.hidden, arguments.delay, rng=rng)
        ledgers[f"{kind.upper()}, {WHEN[0]}"] = measured(model, symbols)
        learn(model, arguments.steps, arguments.updates, rng=rng)
        ledgers[f"{kind.upper()}, {WHEN[1]}"] = measured(model, symbols)
    text = table(ledgers, arguments.delay)
    print(text)
    write_text(folder / "ledger.txt", text + "\n")
    numbers = {
        name: {"table": kept.table.norms.tolist(), "shares": kept.shares.tolist(), "singular values": kept.values.tolist()}
        for name, kept in ledgers.items()
    }
    write_text(folder / "ledger.json", json.dumps(numbers) + "\n")
    draw_tables(folder / "tables.svg", ledgers, arguments.delay)
    draw_curves(folder / "curves.svg", ledgers)
    print(f"\nIn {folder}:\n  tables.svg   loss at t by state at k\n  curves.svg   shares of dL/dW, and singular values")
    print("  ledger.txt   that table\n  ledger.json  all numbers")
    return 0


if __name__ == "__main__":
    task.run(main)
