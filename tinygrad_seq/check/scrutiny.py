"""Gradients compared with an oracle: which oracle, at which elements, along which directions, and how closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..record import Array
from .case import Case, GradientError, shown
from .diagnosis import likely_cause
from .oracle import EPS, TRUNCATION, Phi, Slope, complex_step, differences, largest, one_hot

DIRECTIONS = 8  # for an operand with too many elements to try one by one


@dataclass
class Scrutiny:
    """Gradients `given` of the sum of phi, to be compared with what the oracle says of phi."""

    case: Case
    phi: Phi
    values: list[Array]
    names: list[str]
    given: list[Array]
    rng: np.random.Generator
    oracle: str = "complex step"
    why: str = "every op on the way is analytic"
    elements: int = 0
    directions: int = 0
    worst: float = 0.0
    magnitude: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        self.at = self.phi(self.values)
        # What rounding is relative to: the value, each operand's share, and 1, as in 1 - softmax(x), which leaves no trace in the value.
        self.magnitude += float(np.sum(np.abs(self.at)) + sum(np.sum(np.abs(g * x)) for g, x in zip(self.given, self.values, strict=True)))

    def choose(self, ops: list[Any]) -> None:
        """The complex step where it holds; that it does is tried along one direction, since an op may be called analytic and not be."""
        kinked = [op.__name__ for op in ops if not op.analytic]
        vs = [np.asarray(self.rng.standard_normal(x.shape)) for x in self.values]
        self.noise = self._noise(vs)
        if kinked:
            self.oracle, self.why = "central differences", f"not analytic: {', '.join(kinked)}"
            return
        try:
            exact = complex_step(self.phi, self._all(vs))
        except Exception as error:  # whatever f makes of complex numbers, differences do not need them
            self.oracle, self.why = "central differences", f"on complex numbers: {type(error).__name__}: {error}"
            return
        slope = differences(self.phi, self.at, self._all(vs), 0.25 / max(map(largest, vs)), abs(exact), self.noise)
        if slope.jump or abs(slope.slope - exact) > 100 * slope.error + 1e-6 * abs(exact) + 1e-9 * float(np.sum(np.abs(self.at))):
            self.oracle, self.why = "central differences", "the complex step contradicts them: some op is not analytic; declare it so"

    def _noise(self, vs: list[Array]) -> float:
        """How far rounding throws phi: the fourth differences of its values at close points, where f hardly bends (More & Wild 2011)."""
        near = self._all([1e-9 * max(1.0, largest(x)) * v for x, v in zip(self.values, vs, strict=True)])
        with np.errstate(all="ignore"):
            rough = np.diff([self.phi(near(t)) for t in range(-4, 5)], 4, axis=0)
        return EPS * self.magnitude + float(np.nansum(np.max(np.abs(rough), axis=0)) / 8)

    def compare(self, order: int, u: Array) -> None:
        """Every operand: all elements of a small one, directions and a few elements of a large one."""
        for k, x in enumerate(self.values):
            indices = list(np.ndindex(x.shape))
            if x.size > (self.case.every if order == 1 else min(self.case.every, 30)):  # a backward pass for each number is dear
                few = 16 if order == 1 else 4
                indices = [indices[i] for i in sorted(self.rng.choice(x.size, min(few, x.size), replace=False))]
                if not self._along(k):
                    indices = list(np.ndindex(x.shape))[: 20 * self.case.every]  # something is wrong: find out where
            self._elements(k, indices, order, u)

    def _elements(self, k: int, indices: list[tuple[int, ...]], order: int, u: Array) -> None:
        given = np.array([self.given[k][i] for i in indices])
        one_hots = (one_hot(self.values[k], i) for i in indices)
        slopes = [self._slope(k, v, g) for v, g in zip(one_hots, given, strict=True)]
        kinks = [i for i, s in zip(indices, slopes, strict=True) if s.jump]
        if kinks:
            self._kink(k, kinks, slopes[indices.index(kinks[0])])
        self.elements += len(indices)
        if not indices:
            return
        expected = np.array([s.slope for s in slopes])
        top = largest(expected)
        wrong = np.abs(given - expected)
        excess = wrong / self._tolerance(k, expected, np.array([s.error for s in slopes]), top)
        self.worst = max(self.worst, self.case.rtol * float(np.max(excess)))
        if np.max(excess) > 1 or np.isnan(excess).any():
            self._reject(k, indices, given, expected, excess, order, u)

    def _along(self, k: int) -> bool:
        """Whether the gradients agree along random directions, every other one through a tenth of the elements."""
        x, good = self.values[k], True
        for d in range(DIRECTIONS):
            chosen = np.asarray(self.rng.random(x.shape) < (1, 0.1)[d % 2])
            v = np.asarray(self.rng.standard_normal(x.shape)) * (chosen if chosen.any() else 1)
            given = float(np.sum(self.given[k] * v))
            s = self._slope(k, v, given)
            if s.jump:
                self._kink(k, list(np.ndindex(x.shape)), s)
            top = float(np.sum(np.abs(self.given[k] * v)))
            good &= bool(abs(given - s.slope) <= self._tolerance(k, s.slope, s.error, top))
            self.worst = max(self.worst, abs(given - s.slope) / max(top, np.finfo(float).tiny))
        self.directions += DIRECTIONS
        return good

    def _slope(self, k: int, v: Array, given: float) -> Slope:
        x = self.values[k]
        if self.oracle == "complex step":
            return Slope(complex_step(self.phi, self._one(k, v)), 0.0, 0.0)
        reach = max(1.0, largest(x * (v != 0)))
        floor = max(abs(given), 1e-3 * self.magnitude / reach)
        slope = differences(self.phi, self.at, self._one(k, v), 0.25 * reach / largest(v), floor, self.noise)
        if slope.error > 1e-4 * max(abs(slope.slope), floor):
            slope.jump = slope.jump or float("nan")  # differences that do not settle: a kink, a jump, or the edge of the domain
        return slope

    def _tolerance(self, k: int, expected: Any, error: Any, top: float) -> Any:
        """rtol, and what rounding leaves: of the largest gradient, and of the value (1 - tanh(x)**2 is off by eps where it is tiny)."""
        rounding = 1e-13 * top + 64 * EPS * self.magnitude / min(1.0, max(largest(self.values[k]), 1e-3)) + TRUNCATION
        if self.oracle == "complex step":
            return self.case.rtol * np.abs(expected) + rounding
        return max(self.case.rtol, 1e-9) * np.abs(expected) + 20 * error + rounding

    def _one(self, k: int, v: Array) -> Callable[[Any], list[Array]]:
        return lambda t: [x + t * v if i == k else x for i, x in enumerate(self.values)]

    def _all(self, vs: list[Array]) -> Callable[[Any], list[Array]]:
        return lambda t: [x + t * v for x, v in zip(self.values, vs, strict=True)]

    def _kink(self, k: int, indices: list[tuple[int, ...]], s: Slope) -> None:
        name, what = self.names[k], f"slopes {s.slope - s.jump / 2:.6g} and {s.slope + s.jump / 2:.6g} on its two sides"
        if np.isnan(s.jump):
            what = "differences around it do not converge: a jump, or the edge of the domain"
        raise GradientError(
            "kink", f"{self.case.name}: not differentiable at {name}{list(indices[0])} = {self.values[k][indices[0]]:.6g} ({what}). "
            "Check it elsewhere, or pass nudge=True to have such elements moved.", operand=name, indices=indices,
        )  # fmt: skip

    def _reject(self, k: int, indices: list[tuple[int, ...]], given: Array, expected: Array, excess: Array, order: int, u: Array) -> None:
        worst = int(np.nanargmax(excess)) if not np.isnan(excess).all() else 0
        i, name, of = indices[worst], self.names[k], "the gradient of f" if order == 1 else "the gradient of its gradient"
        cause = self.case.cause
        if cause is None:
            cause = likely_cause(self, k, indices, given, expected, excess > 1, order, u)
        relative = abs(given[worst] - expected[worst]) / max(abs(expected[worst]), np.finfo(float).tiny)
        where = f"{name}{list(i)}" if i else name
        message = [
            f"{self.case.name}: {of} with respect to {name} is wrong at {int(np.sum(excess > 1))} of {len(indices)} elements",
            f"  at {where}: given {given[worst]:.10g}, expected {expected[worst]:.10g} (relative error {relative:.1e})",
        ]
        message += [f"  likely cause: {cause}"] if cause else []
        message += [f"  judged by the {self.oracle} ({self.why}), cotangent from rng={self.case.seed}", shown(self.case, self.case.values)]
        raise GradientError(
            "gradient", "\n".join(message), operand=name, indices=[i], given=float(given[worst]), expected=float(expected[worst]),
            cause=cause, inputs=[x.copy() for x in self.case.values],
        )  # fmt: skip
