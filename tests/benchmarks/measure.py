"""How it is measured: that the engines agree, then their times, in turns in one process."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import numpy as np

from tests.benchmarks.workloads import Engine, Weights, Workload
from tinygrad_seq.record import Array

LIBRARIES = ("ours", "with_torch", "with_mygrad", "with_autograd", "with_dezero", "with_jax")
SLOW = 1.0  # seconds: what takes longer runs in every third round only
TURN = 0.05  # seconds: what is faster takes several steps in its turn, of which the best counts, as in training the caches are its own
TOLERANCE = 1e-4  # float32 against float64, relative to the largest element of a gradient

Clock = Callable[[], float]
Makers = dict[str, Callable[[], Engine]]


def libraries() -> Iterator[ModuleType]:
    """The modules whose library is installed."""
    for name in LIBRARIES:
        try:
            yield importlib.import_module(f"tests.benchmarks.{name}")
        except ImportError:
            continue


def use_threads(threads: int) -> None:
    """Tell the libraries that do not ask the environment."""
    for module in libraries():
        if hasattr(module, "use_threads"):
            module.use_threads(threads)


def makers(w: Workload) -> Makers:
    """All ways to run a workload: a name, and what makes the engine."""
    found = {name: partial(make, w) for module in libraries() for name, make in module.ENGINES.items()}
    return {name: make for name, make in found.items() if w.layer or name not in ("torch layer", "torch Cell loop")}


def check_agreement(name: str, engine: Engine, reference: tuple[float, Weights]) -> float:
    """The largest difference from the reference, of the loss or of a gradient; raises ValueError where it is above the tolerance."""
    (value, gradients), (true_value, true) = engine.gradients(), reference
    if gradients.keys() != true.keys():
        raise ValueError(f"{name}: gradients of {sorted(gradients)}, expected of {sorted(true)}.")
    errors = {key: float(np.abs(gradients[key] - g).max() / np.abs(g).max()) for key, g in true.items()}
    errors["the loss"] = abs(value - true_value) / abs(true_value)
    worst = max(errors, key=errors.__getitem__)
    if not errors[worst] <= TOLERANCE:
        raise ValueError(f"{name}: {worst} differs by {errors[worst]:.1e} of its largest element; no more than {TOLERANCE} is rounding.")
    return errors[worst]


def in_turns(runs: dict[str, Callable[[], object]], rounds: int, clock: Clock) -> dict[str, Array]:
    """Seconds of the best step of each run in each round, one run after the other; NaN where a slow one sat a round out."""
    times = {name: np.full(rounds, np.nan) for name in runs}
    gc.collect()
    gc.freeze()  # else each engine's garbage collections would go through what all the others imported
    for i in range(rounds):
        for name, run in runs.items():
            if i % 3 == 0 or times[name][0] < SLOW:
                times[name][i] = _best(run, clock)
    gc.unfreeze()
    return times


def _best(run: Callable[[], object], clock: Clock) -> float:
    best, until = np.inf, clock() + TURN
    while True:
        began = clock()
        run()
        now = clock()
        best = min(best, now - began)
        if now >= until:
            return best


def timed(found: Makers, reference: tuple[float, Weights], rounds: int, clock: Clock) -> tuple[dict[str, Array], dict[str, float]]:
    """Seconds of a step of each engine, and of its first gradients, which are compared with the reference; there compilers are at work."""
    runs: dict[str, Callable[[], object]] = {}
    first: dict[str, float] = {}
    for name, make in found.items():
        engine = make()
        began = clock()
        check_agreement(name, engine, reference)
        first[name] = clock() - began
        engine.step()
        runs[name] = engine.step
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return in_turns(runs, rounds, clock), first


def ratio(a: Array, b: Array) -> float:
    """The median of a / b over the rounds in which both ran."""
    return float(np.nanmedian(a / b))
