"""Peak memory, each engine in a process of its own: `python -m tests.benchmarks.memory W1 "ours, hoisted"` is that process."""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.workloads import WORKLOADS

STEPS = 5


def peak_memory(workload: str, engine: str, T: int = 0) -> tuple[float, float]:
    """MB: the peak of a process that takes a few steps, and what it held before the first.  T: steps of time, if not the workload's."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", workload, engine, str(T)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, before = done.stdout.split()
    return float(peak), float(before)


def resident_peak() -> float:
    """MB that this process held at most.  Linux says it as VmHWM; its ru_maxrss begins with what the parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    """Print the peak, and what was held before the first step."""
    name, chosen, T = sys.argv[1], sys.argv[2], int(sys.argv[3])
    w = replace(WORKLOADS[name], T=T) if T else WORKLOADS[name]
    library = chosen.replace(",", " ").split()[0]  # no other is imported
    module = importlib.import_module("tests.benchmarks." + ("ours" if library == "ours" else f"with_{library}"))
    engine = module.ENGINES[chosen](w)
    before = resident_peak()
    for _ in range(STEPS):
        engine.step()
    print(resident_peak(), before)


if __name__ == "__main__":
    main()
