"""How fast training steps are, beside every peer that is installed: `python -m tests.benchmarks`, ten minutes.

    python -m tests.benchmarks                          all parts
    python -m tests.benchmarks W1 W4 --rounds 5         some of them
    python -m tests.benchmarks W1 --engines torch       beside PyTorch only
    python -m tests.benchmarks --threads 2              two threads, and wall-clock time

The peers: `pip install "tinygrad_seq[benchmarks]"`.  The engines take turns in one process; times are of the CPU on one thread; ratios are
medians over the rounds.  First the loss and every gradient of each are compared with ours in float64.  Peak memory is that of a process
which runs one engine alone.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

PARTS = ("W1", "W2", "W3", "W4", "W5", "W6", "GRU", "attention", "ops", "growth", "tools")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=9, help="how often each engine runs (default 9)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each engine (default 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="where benchmarks.json and .svg go")
    parser.add_argument("--engines", nargs="+", metavar="NAME", default=[""], help="only those whose names begin so, such as ours torch")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory, and its processes")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"{', '.join(unknown)}: expected some of {', '.join(PARTS)}")
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads: expected numbers from 1 on")
    _set_threads(args.threads)
    warnings.simplefilter("ignore")  # the peers' own, of NumPy and of each other
    found = _measured(args.parts or PARTS, args)

    from tests.benchmarks import report

    report.write(found, args.out)
    print(f"written to {args.out}")


def _set_threads(threads: int) -> None:
    """Before NumPy and the others are imported."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"


def _measured(parts: Any, args: Any) -> dict[str, Any]:
    from tests.benchmarks import attention, chain, growth, measure, memory, ours, report, tools
    from tests.benchmarks.workloads import WORKLOADS

    measure.use_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    found: dict[str, Any] = {"about": report.about(args.threads), "workloads": {}}
    for name, w in WORKLOADS.items():
        if name not in parts:
            continue
        makers: measure.Makers = {engine: make for engine, make in measure.makers(w).items() if engine.startswith(("ours", *args.engines))}
        times, first = measure.timed(makers, ours.exact(w).gradients(), args.rounds, clock)
        engines = report.summary(times, first)
        for engine, row in engines.items() if not args.no_memory else ():
            row["peak MB"], row["MB before"] = memory.peak_memory(name, engine)
        found["workloads"][name] = {"title": w.title, "engines": engines, "ratios": report.ratios(times, engines)}
        print(report.table(f"{name}: {w.title}", engines), *_lines(report.ratios(times, engines)), sep="\n", end="\n\n", flush=True)
    if means := report.geometric_means(found["workloads"]):
        found["geometric means"] = means
        print("geometric means over W1 to W6", *_lines(means), sep="\n", end="\n\n")
    if "attention" in parts:
        makers = {"ours, hoisted": attention.ours}
        if any(module.__name__.endswith("with_torch") for module in measure.libraries()):
            makers["torch, hoisted"] = attention.with_torch
        rows = report.summary(*measure.timed(makers, attention.ours("float64").gradients(), args.rounds, clock))
        found["attention"] = {"title": attention.TITLE, "engines": rows}
        print(report.table(attention.TITLE, rows), end="\n\n", flush=True)
    if "ops" in parts:
        found["ops"] = {op: report.summary_of_ops(times) for op, times in chain.timed(args.rounds, clock).items()}
        print(report.table_of_ops(found["ops"]), end="\n\n", flush=True)
    if "growth" in parts:
        found["growth"] = growth.measured(args.rounds, clock)
        print(*(f"{name}: ~ size ** {g['slope']:.2f}" for name, g in found["growth"].items()), sep="\n", end="\n\n", flush=True)
    if "tools" in parts:
        found["tools"] = tools.measured()
        print(*(f"{name}: {seconds * 1e3:.0f} ms" for name, seconds in found["tools"].items()), sep="\n", end="\n\n")
    return found


def _lines(ratios: dict[str, float]) -> list[str]:
    return [f"{name}: {value:.2f}" for name, value in ratios.items()]


if __name__ == "__main__":
    main()
