"""The smallest input that fails, and points without kinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..record import Array
from .case import Case, GradientError
from .point import check_point


def move_from_kink(case: Case, error: GradientError, rng: np.random.Generator) -> None:
    k = case.names.index(str(error.operand))
    x = case.values[k] = case.values[k].copy()
    for i in error.indices:
        x[i] += rng.uniform(0.05, 0.2) * rng.choice([-1.0, 1.0]) * max(1.0, abs(x[i]))
        case.kinks.append(f"{error.operand}{list(i)}")


def smallest(case: Case, error: GradientError) -> GradientError:
    """The error of the simplest inputs that fail as these do: shorter axes first, then rounder numbers."""
    budget = min(60, 20_000 // max(1, sum(x.size for x in case.values)))
    best, progress = replace(case, cause=error.cause or ""), True  # which more elements tell better
    while progress:
        progress = False
        for values in _simpler(best):
            budget -= 1
            if budget < 0:
                return error
            try:
                check_point(replace(best, values=values))
            except GradientError as smaller:
                if smaller.kind == "gradient" and smaller.operand == error.operand:
                    best, error, progress = replace(best, values=values), smaller, True
                    break
            except Exception:  # f does not take these shapes
                continue
    return error


def _simpler(case: Case) -> Iterator[list[Array]]:
    count = len(case.values) - len(case.parameters)
    inputs, rest = case.values[:count], case.values[count:]
    for n in sorted({n for x in inputs for n in x.shape if n > 1}, reverse=True):  # axes of one size may belong together
        for m in sorted({1, 2, n - 1} - {n}):
            yield [x[tuple(slice(m) if size == n else slice(None) for size in x.shape)] for x in inputs] + rest
    for k, x in enumerate(inputs):
        for axis in range(x.ndim):
            if x.shape[axis] > 1:
                yield [v.take([0], axis) if i == k else v for i, v in enumerate(case.values)]
    for k, x in enumerate(inputs):
        for simple in (np.ones_like(x), np.full_like(x, 2.0), np.round(x) + (np.round(x) == 0), np.round(x, 1)):
            if not np.array_equal(simple, x) and _digits(simple) < _digits(x):
                yield [simple if i == k else v for i, v in enumerate(case.values)]


def _digits(x: Array) -> int:
    return sum(len(repr(float(v))) for v in x.flat) + int(np.sum(x != 1))
