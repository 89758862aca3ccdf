"""How the cost of an LSTM's step grows with the length, the hidden size and the batch; and how its memory grows with the length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.benchmarks import ours
from tests.benchmarks.measure import Clock, in_turns
from tests.benchmarks.memory import peak_memory
from tests.benchmarks.workloads import Workload

BASE = Workload("base", "lstm", H=64, N=16, T=64)
SIZES = {"T": (32, 64, 128, 256, 512), "H": (32, 64, 128, 256, 512), "N": (4, 8, 16, 32, 64, 128)}
LENGTHS = (128, 256, 512, 1024)


def slope(sizes: Any, costs: Any) -> float:
    """The exponent p of cost ~ size**p: the slope of the log-log line."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def measured(rounds: int, clock: Clock) -> dict[str, Any]:
    """For each way to run it and each size: the sizes, the best seconds (or MB) and the slope."""
    found: dict[str, Any] = {}
    for name, make in ours.ENGINES.items():
        for axis, sizes in SIZES.items():
            runs = {str(size): make(replace(BASE, **{axis: size})).step for size in sizes}
            for run in runs.values():
                run()
            best = [float(np.nanmin(t)) for t in in_turns(runs, rounds, clock).values()]
            found[f"{name}: seconds against {axis}"] = {"sizes": sizes, "values": best, "slope": slope(sizes, best)}
        held = [peak - before for peak, before in (peak_memory("W5", name, T) for T in LENGTHS)]
        found[f"{name}: MB against T"] = {"sizes": LENGTHS, "values": held, "slope": slope(LENGTHS, held)}
    return found
