"""Vanishing and exploding gradients, measured (exercise 11.2).

    python -m models.vanishing    no training; under a minute

A loss at the last step only; how much of its gradient is left at the state of each step before?  The chain rule says

    dL/dh_k = dL/dh_T · Π_(i=k+1..T) dh_i/dh_(i-1),   dh_i/dh_(i-1) = diag(tanh'(z_i)) W_hᵀ,

with gradients as rows and the factor of i = T first.

The textbook goes on: eigenvalues of W_h below 1 make it vanish, above 1 explode.  That is imprecise.  With γ = max tanh' = 1 and σ the
largest *singular* value of W_h, ||dL/dh_k|| <= (γσ)^(T-k) ||dL/dh_T||: σ < 1/γ is sufficient for vanishing, and σ > 1/γ is necessary
for exploding, not sufficient (Pascanu, Mikolov & Bengio 2013).  Eigenvalues decide neither: the third panel shows a matrix whose
eigenvalues are all 0.9, and whose gradient first grows more than a hundredfold, and one of eigenvalue 1.5, whose gradient vanishes since
tanh is saturated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import task
from models.char_lm import read_text
from models.experiment import CELLS
from models.recurrent import Cell, State, unroll
from models.rnn import RNNCell
from models.task import COLOURS, natural, output_folder, picture, positive, write_text
from tinygrad_seq import Tensor, ledger
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.record import Array, Value

RADII = (0.8, 1.0, 1.2, 1.5)
SIGMA = 0.95  # a largest singular value below 1: the gradient must vanish


def gradient_norms(cell: Cell, xs: Value, state: Any = None, seed: int = 0) -> dict[str, Array]:
    """||dL/dh_t|| for t = 0 ... T-1 (and ||dL/dc_t||, where the state has a c), L = u · h_(T-1) with a random u of norm 1, N = 1."""
    run = unroll(cell, xs, state)
    u = np.random.default_rng(seed).standard_normal(run.last.shape)
    L = (run.last * (u / np.linalg.norm(u)).astype(run.last.dtype)).sum()
    return ledger.norms(L, run)


def scaled(cell: RNNCell, size: float, *, spectral: bool = True) -> RNNCell:
    """The same cell, its W_h scaled to this spectral radius, the largest |eigenvalue|, or to this largest singular value."""
    W = cell.W_h.numpy()
    now = np.abs(np.linalg.eigvals(W)).max() if spectral else np.linalg.norm(W, 2)
    cell.W_h.data = W * (size / now)
    return cell


def by_hand(W_h: Array, W_x: float = 0.0) -> RNNCell:
    """An RNN cell of this W_h, for inputs of one number."""
    H = len(W_h)
    cell = RNNCell(1, H, rng=np.random.default_rng(0), dtype=np.float64)
    cell.W_h.data, cell.W_x.data = W_h, np.full((1, H), W_x)
    assert cell.b is not None
    cell.b.data = np.zeros(H)
    return cell


def non_normal(H: int = 4) -> RNNCell:
    """All eigenvalues 0.9, but rows that add up: the powers of W_h grow before they shrink."""
    return by_hand(0.9 * np.eye(H) + 1.0 * np.eye(H, k=1))


def saturated() -> RNNCell:
    """Eigenvalues of 1.5 and inputs that keep every unit near 1, where tanh' is small."""
    return by_hand(1.5 * np.eye(8), W_x=1.0)


def measured(hidden: int, T: int, seed: int) -> dict[str, dict[str, Array]]:
    """All curves of one seed: dL/dh_t against t, over a real text read one character at a time."""
    rng = np.random.default_rng(seed)
    text = read_text(None)[1]
    vocabulary = Vocabulary(text)
    start = int(rng.integers(len(text) - T))
    ids = vocabulary.encode(text[start : start + T])[:, None]
    cells = {name: CELLS[name](len(vocabulary), hidden, rng=rng, dtype=np.float64) for name in ("rnn", "lstm", "gru")}
    curves = {name.upper(): gradient_norms(cell, ids, seed=seed) for name, cell in cells.items()}
    for radius in RADII:
        cell = scaled(RNNCell(len(vocabulary), hidden, rng=np.random.default_rng(seed), dtype=np.float64), radius)
        curves[f"radius {radius}"] = gradient_norms(cell, ids, seed=seed) | {"bound": bound(cell, T)}
    cell = scaled(RNNCell(len(vocabulary), hidden, rng=np.random.default_rng(seed), dtype=np.float64), SIGMA, spectral=False)
    curves[f"sigma {SIGMA}"] = gradient_norms(cell, ids, seed=seed) | {"bound": bound(cell, T)}
    return curves


def bound(cell: RNNCell, T: int) -> Array:
    """σ^(T-1-t), Pascanu's bound on ||dL/dh_t|| / ||dL/dh_(T-1)||, for t = 0 ... T-1."""
    return ledger.pascanu_bound(cell.W_h, np.arange(T - 1, -1, -1))


def counter_examples(T: int) -> dict[str, Array]:
    """The two matrices for which eigenvalues tell the wrong story."""
    quiet = gradient_norms(non_normal(), np.zeros((T, 1, 1)), State(Tensor(np.zeros((1, 4)))), seed=1)["h"]
    loud = gradient_norms(saturated(), np.ones((T, 1, 1)), seed=1)["h"]
    return {"all eigenvalues 0.9, not normal": quiet, "all eigenvalues 1.5, saturated": loud}


def table(curves: list[dict[str, dict[str, Array]]], T: int) -> str:
    """What is left of the gradient after 10, 50, ... steps, the median over the seeds."""
    distances = [d for d in (10, 20, 50, 100, 200) if d < T]
    lines = [f"{'':16}" + "".join(f"{f'{d} back':>12}" for d in distances)]
    for name in curves[0]:
        for field in [f for f in curves[0][name] if f != "bound"]:
            left = [np.median([c[name][field][-1 - d] / c[name]["h"][-1] for c in curves]) for d in distances]
            label = f"{name} dL/d{field}"
            lines.append(f"{label:16}" + "".join(f"{x:12.1e}" for x in left))
    return "\n".join(lines)


def draw(path: Path, curves: list[dict[str, dict[str, Array]]], examples: dict[str, Array], T: int) -> None:
    """Three panels: the networks, the RNN at several spectral radii with its bound, the counter-examples."""
    back = np.arange(T - 1, -1, -1)
    with picture(path, 13, 4.2) as figure:
        panels = figure.subplots(1, 3)
        shown = [
            ("RNN", "h", COLOURS[1], "-"),
            ("GRU", "h", COLOURS[2], "-"),
            ("LSTM", "h", COLOURS[0], "-"),
            ("LSTM", "c", COLOURS[0], "--"),
        ]
        for name, field, colour, line in shown:
            runs = np.array([c[name][field] / c[name]["h"][-1] for c in curves])
            runs[runs == 0] = np.nan
            panels[0].plot(back, np.median(runs, axis=0), line, color=colour, label=f"{name}, $\\partial L / \\partial {field}_t$")
            panels[0].fill_between(back, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        scalings = {f"radius {r}": f"largest |eigenvalue| {r}" for r in RADII} | {f"sigma {SIGMA}": f"largest singular value {SIGMA}"}
        for (name, label), colour in zip(scalings.items(), COLOURS, strict=False):
            one = [c[name] for c in curves]
            panels[1].plot(back, np.median([c["h"] / c["h"][-1] for c in one], axis=0), color=colour, label=label)
            panels[1].plot(back, np.median([c["bound"] for c in one], axis=0), ":", color=colour)
        panels[1].plot([], [], ":", color="0.4", label="bound by the singular value")
        for (label, norms), colour in zip(examples.items(), COLOURS[3:5], strict=True):
            panels[2].plot(back, norms / norms[-1], color=colour, label=label)
        titles = ("as initialised", "tanh RNN, W$_h$ scaled", "where eigenvalues mislead")
        for axes, title in zip(panels, titles, strict=True):
            axes.axhline(1, color="0.6", linewidth=0.8)
            axes.set(yscale="log", xlabel="steps back from the loss", title=title)
            axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)
        panels[0].set_ylabel("gradient left, relative to the last step")
        panels[1].set_ylim(1e-16, 1e8)
        panels[2].set_ylim(1e-16, 1e8)


def main(argv: Sequence[str]) -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m models.vanishing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=positive(int), default=64, metavar="H", help="size of the state (default: %(default)s)")
    parser.add_argument("--steps", type=positive(int), default=101, metavar="T", help="time steps (default: %(default)s)")
    parser.add_argument("--seed", type=natural, default=0, help="of weights and text (default: %(default)s)")
    parser.add_argument("--seeds", type=positive(int), default=5, metavar="K", help="from SEED on; medians are told (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: runs/vanishing)")
    arguments = parser.parse_args(argv)
    T = arguments.steps
    if T < 12:
        raise task.Problem(f"--steps {T} leaves nothing to see; give at least 12.")
    folder = output_folder("vanishing", arguments.out)
    curves = [measured(arguments.hidden, T, seed) for seed in range(arguments.seed, arguments.seed + arguments.seeds)]
    examples = counter_examples(T)
    text = table(curves, T)
    print(text)
    for label, norms in examples.items():
        print(f"{label}: at most {norms.max() / norms[-1]:.1e}, at the first step {norms[0] / norms[-1]:.1e} of the last")
    numbers = {name: {field: [c[name][field].tolist() for c in curves] for field in curves[0][name]} for name in curves[0]}
    write_text(folder / "norms.json", json.dumps(numbers | {name: norms.tolist() for name, norms in examples.items()}) + "\n")
    write_text(folder / "norms.txt", text + "\n")
    draw(folder / "gradients.svg", curves, examples, T)
    print(f"\nIn {folder}:\n  gradients.svg  the curves\n  norms.txt      that table\n  norms.json     all numbers")
    return 0


if __name__ == "__main__":
    task.run(main)
