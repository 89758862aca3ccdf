"""A deliberately naive engine: it knows no derivative of anything, and shares nothing with the real one.

A value remembers the NumPy function that made it.  A gradient is found by running the whole graph again for each element of each leaf,
with that element moved by the complex step i h: dL/dx = Im L(x + i h) / h, exact to rounding as h is as small as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any
H = 1e-30


class Naive:
    """A value, and how to make it again."""

    def __init__(self, value: Any, function: Callable[..., Any] | None = None, inputs: Sequence[Naive] = ()) -> None:
        self.value = np.asarray(value)
        self.function, self.inputs = function, list(inputs)

    def again(self, changed: dict[Naive, Array]) -> Array:
        """The value as it would be if some values on the way had been others."""
        known = dict(changed)

        def value(node: Naive) -> Array:
            if node not in known:
                known[node] = node.value if node.function is None else node.function(*[value(x) for x in node.inputs])
            return known[node]

        return value(self)

    def depends_on(self, others: Sequence[Naive]) -> bool:
        """Whether one of the others took part in making this value."""
        return self in others or any(x.depends_on(others) for x in self.inputs)


def apply(function: Callable[..., Any], *inputs: Naive) -> Naive:
    """function(*inputs), remembered."""
    return Naive(function(*[x.value for x in inputs]), function, inputs)


def gradient(y: Naive, cotangent: Array, versions: Sequence[Naive], shifts: dict[Naive, Array] | None = None) -> Array:
    """d sum(cotangent * y) / dx, where x stands in the graph as several `versions` (a leaf whose numbers were changed on the way).

    shifts: what to add to other values first, for differences of gradients.
    """
    shape = versions[0].value.shape
    found = np.zeros(shape)
    base = {node: node.value + shift for node, shift in (shifts or {}).items()}
    for index in np.ndindex(shape):
        step = np.zeros(shape, complex)
        step[index] = 1j * H
        moved = {**base, **{x: base.get(x, x.value) + step for x in versions}}
        found[index] = np.sum(cotangent * y.again(moved)).imag / H
    return found


def second(y: Naive, cotangent: Array, along: Sequence[Naive], v: Array, versions: Sequence[Naive], h: float = 1e-4) -> Array:
    """d <gradient along `along`, v> / dx, by central differences of gradients, extrapolated once: some 9 digits."""
    shape = versions[0].value.shape
    found = np.zeros(shape)

    def slope(index: Any, h: float) -> float:
        step = np.zeros(shape)
        step[index] = h
        up, down = (gradient(y, cotangent, along, dict.fromkeys(versions, sign * step)) for sign in (1, -1))
        return float(np.sum((up - down) * v) / (2 * h))

    for index in np.ndindex(shape):
        found[index] = (4 * slope(index, h / 2) - slope(index, h)) / 3
    return found
