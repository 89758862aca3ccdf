"""What a derivative is, told without gradient rules: the complex step, and central differences that estimate their own error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..record import Array

H = 1e-30  # the complex step: nothing is subtracted, so it can be as small as one likes
TRUNCATION = 1e10 * H * H
EPS = float(np.finfo(float).eps)
Phi = Callable[[list[Array]], Array]


class _Richardson:
    """The limit at 0 of a function of h given at h, h/4, h/16, ..., whose error has the terms h**first, h**(first + 2), ..."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.row: list[float] = []
        self.limit, self.error = float("nan"), float("inf")

    def add(self, value: float, noise: float) -> None:
        row = [value]
        for j, above in enumerate(self.row[:6]):
            row.append(row[j] + (row[j] - above) / (4.0 ** (self.first + 2 * j) - 1))
            error = max(abs(row[j + 1] - row[j]), abs(row[j + 1] - above)) + noise
            if error <= self.error:
                self.limit, self.error = row[j + 1], error
        self.row = row


@dataclass
class Slope:
    """A directional derivative, how wrong it may be, and the difference between the slopes on either side."""

    slope: float
    error: float
    jump: float


def complex_step(phi: Phi, move: Callable[[Any], list[Array]]) -> float:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return float(np.sum(phi([x.astype(complex) for x in move(1j * H)]).imag) / H)


def differences(phi: Phi, at: Array, move: Callable[[Any], list[Array]], h: float, floor: float, noise: float) -> Slope:
    """Central differences with Richardson extrapolation, from a wide step down to where they agree."""
    slope, jump, moved = _Richardson(2), _Richardson(1), False
    for _ in range(16):
        with np.errstate(all="ignore"):
            up, down = phi(move(h)), phi(move(-h))
            s, j = float(np.sum(up - down) / (2 * h)), float(np.sum((up - at) + (down - at)) / h)
        if np.isfinite(s) and np.isfinite(j):
            moved = moved or bool(np.any((up != at) | (down != at)))
            rounding = noise / h if moved else 0.0
            slope.add(s, rounding)
            jump.add(j, rounding)
        else:
            slope.row, jump.row = [], []
        if slope.error <= 1e-11 * max(abs(slope.limit), floor) and jump.error <= 1e-9 * max(abs(slope.limit), floor):
            break
        h /= 4
    least = 100 * jump.error + 1e-5 * max(abs(slope.limit), floor)
    return Slope(slope.limit, slope.error, jump.limit if abs(jump.limit) > least else 0.0)


def largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def one_hot(x: Array, index: tuple[int, ...]) -> Array:
    v = np.zeros(x.shape)
    v[index] = 1.0
    return v
