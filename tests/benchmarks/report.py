"""What was measured as tables of text, as JSON and as a plot."""

from __future__ import annotations

import json
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import ratio
from tinygrad_seq.record import Array

NUMPY_ENGINES = ("mygrad", "autograd", "dezero")
PACKAGES = ("numpy", "torch", "mygrad", "autograd", "dezero", "jax")
Times = dict[str, Array]


def about(threads: int) -> dict[str, Any]:
    """The date, the machine and the versions."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"date": date.today().isoformat(), "machine": _processor(), "threads": threads, "versions": found}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in info.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    vectors = [name for name in ("avx2", "avx512f") if name in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(vectors)})"


def base_of(names: Any) -> str:
    """What the others are compared with: PyTorch's fused layer, else its elementary loop, else ours."""
    return next(name for name in ("torch layer", "torch, hoisted", "ours, hoisted") if name in names)


def summary(times: Times, first: dict[str, float]) -> dict[str, dict[str, float]]:
    """Of each engine the median and the minimum of a step, the ratio, and the seconds of a run of 100 steps from the first on."""
    base = times[base_of(times)]
    return {
        name: {
            "median": float(np.nanmedian(t)), "min": float(np.nanmin(t)), "ratio": ratio(t, base), "rounds": int(np.isfinite(t).sum()),
            "first": first[name], "100 steps": first[name] + 99 * float(np.nanmedian(t)),
        }
        for name, t in times.items()
    }  # fmt: skip


def ratios(times: Times, rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Ours to those that it is meant to be ahead of, where they ran."""
    found = {}
    pairs = [("ours, hoisted", "torch, hoisted"), ("ours, per step", "torch, per step")]
    pairs += [(ours, theirs) for ours in ("ours, fused", "ours, fused, symbols") for theirs in ("torch layer", "jax jit + scan")]
    for ours, theirs in pairs:
        if ours in times and theirs in times:
            found[f"{ours} / {theirs}"] = ratio(times[ours], times[theirs])
    jax = "jax jit + scan"
    for ours in ("ours, fused", "ours, fused, symbols") if jax in rows else ():
        found[f"{ours} / {jax}, 100 steps with compiling"] = rows[ours]["100 steps"] / rows[jax]["100 steps"]
    others = [name for name in times if name.startswith(NUMPY_ENGINES)]
    if others:
        best = min(others, key=lambda name: float(np.nanmedian(times[name])))
        found["ours, hoisted / the best NumPy engine"] = ratio(times["ours, hoisted"], times[best])
    return found


def table(title: str, rows: dict[str, dict[str, float]]) -> str:
    """The engines of one workload, the fastest first."""
    lines = [title, f"{'':20} {'median ms':>10} {'min ms':>10} {'ratio':>7} {'peak MB':>8} {'of import':>9}"]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["median"]):
        memory = f"{row['peak MB']:8.0f} {row['MB before']:9.0f}" if "peak MB" in row else ""
        lines.append(f"{name:20} {row['median'] * 1e3:10.2f} {row['min'] * 1e3:10.2f} {row['ratio']:7.2f} {memory}")
    return "\n".join(lines)


def summary_of_ops(times: Times) -> dict[str, float]:
    """Best seconds by library, and the ratios of ours to theirs."""
    best = {name: float(np.nanmin(t)) for name, t in times.items()}
    return {**best, **{f"ours / {name}": ratio(times["ours"], t) for name, t in times.items() if name != "ours"}}


def table_of_ops(ops: dict[str, dict[str, float]]) -> str:
    """Best microseconds of an op, forward and backward, and the geometric mean of the ratios."""
    names = [name for name in next(iter(ops.values())) if "/" not in name]
    lines = [f"{'us an op, shape (4,)':20}" + "".join(f"{name:>10}" for name in names)]
    lines += [f"{op:20}" + "".join(f"{row[name] * 1e6:10.1f}" for name in names) for op, row in ops.items()]
    for other in names[1:]:
        mean = np.exp(np.mean([np.log(row[f"ours / {other}"]) for row in ops.values()]))
        lines.append(f"ours / {other}, geometric mean: {mean:.2f}")
    return "\n".join(lines)


def geometric_means(workloads: dict[str, Any]) -> dict[str, float]:
    """Of each ratio over W1 to W6, where all were run."""
    six = [workloads[f"W{i}"]["ratios"] for i in range(1, 7) if f"W{i}" in workloads]
    if len(six) < 6:
        return {}
    return {name: float(np.exp(np.mean([np.log(r[name]) for r in six]))) for name in six[0] if all(name in r for r in six)}


def write(found: dict[str, Any], folder: Path) -> None:
    """benchmarks.json and, with matplotlib, benchmarks.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot, since matplotlib is not installed")
        return
    mpl.use("Agg")
    if found["workloads"]:
        _plot(found, folder / "benchmarks.svg")


def _plot(found: dict[str, Any], path: Path) -> None:
    """A panel for each workload, a dot for each engine: its time as a multiple of the reference's."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    workloads = found["workloads"]
    columns = min(3, len(workloads))
    rows = -(-len(workloads) // columns)
    names = list(dict.fromkeys(name for w in workloads.values() for name in w["engines"]))[::-1]
    colours = {"ours": "#c8102e", "torch": "#3b6ea5"}
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.1 * columns + 1.2, 0.24 * len(names) * rows + 1.1 * rows), sharey=True, squeeze=False
    )
    for axis in axes.flat[len(workloads) :]:
        axis.set_visible(False)
    for axis, (name, w) in zip(axes.flat, workloads.items(), strict=False):
        for i, engine in enumerate(names):
            if engine in w["engines"]:
                value = w["engines"][engine]["ratio"]
                colour = colours.get(engine.replace(",", " ").split()[0], "#777777")
                axis.plot([1, value], [i, i], color=colour, linewidth=1, alpha=0.5)
                axis.plot(value, i, "o", color=colour, markersize=5)
                text, side = f"{value:.{0 if value >= 10 else 1 if value >= 2 else 2}f}", -1 if value < 1 else 1
                where = {"xytext": (6 * side, 0), "textcoords": "offset points", "va": "center", "ha": "left" if side > 0 else "right"}
                axis.annotate(text, (value, i), **where, fontsize=7, color="#333333")
        base = base_of(w["engines"])
        axis.axvline(1, color="#999999", linewidth=0.8)
        axis.set_xscale("log")
        low, high = axis.get_xlim()
        axis.set_xlim(low / 2.2, high * 2)
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1,) if high > 50 else (1, 2, 5)))
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.set_title(f"{name}  {w['title']}", fontsize=8, loc="left")
        axis.set_xlabel(f"times {base}", fontsize=7)
        axis.tick_params(labelsize=7, length=2)
        axis.set_yticks(range(len(names)), names)
        axis.spines[["top", "right"]].set_visible(False)
    about, one = found["about"], found["about"]["threads"] == 1
    clock = "processor time on one thread" if one else f"time on {about['threads']} threads"
    figure.suptitle(f"A training step, {clock}, {about['date']}, {about['machine']}", fontsize=9)
    figure.tight_layout()
    with mpl.rc_context({"svg.hashsalt": "tinygrad_seq", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
