"""What kind of mistake gives these numbers, where that can be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..record import Array
from .oracle import largest, one_hot

if TYPE_CHECKING:
    from .scrutiny import Scrutiny


def likely_cause(
    s: Scrutiny, k: int, indices: list[tuple[int, ...]], given: Array, expected: Array, wrong: Any, order: int, u: Array
) -> str | None:
    """What kind of mistake gives these numbers, where that can be told."""
    x = s.values[k]
    if not given.any():
        return "the gradient is zero: the rule gives zeros, or f left the record (x.data, x.numpy(), detach)"
    if _same(given, -expected):
        return "the sign"
    ratios = given[expected != 0] / expected[expected != 0]
    if ratios.size > 1 and np.allclose(ratios, ratios[0], rtol=1e-9, atol=0):
        return f"a constant factor: every element is {ratios[0]:.9g} times what is expected"
    if largest(given - expected) < 1e-6 * largest(expected):
        return "it is right to six digits only: something is computed in float32"
    if len(indices) == x.size and x.size > 1:
        full, right = given.reshape(x.shape), expected.reshape(x.shape)
        for a, b in combinations(range(x.ndim), 2):
            if x.shape[a] == x.shape[b] and _same(full.swapaxes(a, b), right):
                return f"a missing transpose: axes {a} and {b} are swapped"
        if _same(np.sort(given), np.sort(expected)):
            return "the right numbers at the wrong places: an order of axes, halves or gates"
    if order == 1:
        for j, w in enumerate(s.values):
            if j != k and w.ndim > 1 and w.shape[-1] == w.shape[-2] > 1:
                swapped = replace(s, values=[v.swapaxes(-1, -2) if i == j else v for i, v in enumerate(s.values)])
                theirs = np.array([swapped._slope(k, one_hot(x, i), 0.0).slope for i in indices])
                if _same(given, theirs):
                    return f"the transpose of {s.names[j]} is missing: these are the gradients with its last two axes swapped"
        if x.shape == s.at.shape == u.shape and len(indices) == x.size and (used := _mixed_up(x, s.at / u, given, expected, u)):
            return used
        for label, partial in _partial(u):
            v = _with_cotangent(s, k, indices, partial)
            if _same(given, v):
                return label
        for other, g in enumerate(s.given):
            if other != k and g.shape == x.shape and len(indices) == x.size:
                theirs = np.array([s._slope(other, one_hot(s.values[other], i), 0.0).slope for i in indices])
                if _same(given, theirs):
                    return f"it is the gradient of {s.names[other]}: operands swapped"
    return _pattern(np.array([x[i] for i in indices]), given, expected, wrong)


def _mixed_up(x: Array, y: Array, given: Array, expected: Array, u: Array) -> str | None:
    """Whether dy/dx is a quadratic in one of x and y, elementwise, and what is given is that quadratic in the other (x for y in tanh)."""
    local, right = given / u.ravel(), expected / u.ravel()
    if len(np.unique(x)) < 5:
        return None
    for meant, used, label in (
        (y, x, "the input x was used where the output y is meant"),
        (x, y, "the output y was used where the input x is meant"),
    ):
        basis = np.vander(meant.ravel(), 3)
        quadratic = np.linalg.lstsq(basis, right)[0]
        if _same(basis @ quadratic, right) and _same(np.vander(used.ravel(), 3) @ quadratic, local):
            return label
    return None


def _partial(u: Array) -> Iterator[tuple[str, Array]]:
    """Cotangents that a mistaken rule acts as if it had been given."""
    yield "the upstream gradient g is forgotten: these are the gradients of sum(f)", np.ones_like(u)
    for axis, n in enumerate(u.shape):
        for i in (0, n - 1) if n > 1 else ():
            only = np.zeros_like(u)
            part = (slice(None),) * axis + (i,)
            only[part] = u[part]
            yield f"a missing sum: only index {i} along axis {axis} of the output counts (as where broadcasting is not undone)", only


def _with_cotangent(s: Scrutiny, k: int, indices: list[tuple[int, ...]], u: Array) -> Array:
    def phi(values: list[Array]) -> Array:
        with s.case.run(values, record=False) as (_, y):
            return np.asarray(u * y._data)

    other = replace(s, phi=phi)
    return np.array([other._slope(k, one_hot(s.values[k], i), 0.0).slope for i in indices])


def _pattern(x: Array, given: Array, expected: Array, wrong: Any) -> str | None:
    """What the wrong elements have in common."""
    if not wrong.all():
        good, bad = x[~wrong], x[wrong]
        if np.all(bad < 0) and np.all(good >= 0):
            return "it is wrong where the operand is negative"
        if np.all(bad > 0) and np.all(good <= 0):
            return "it is wrong where the operand is positive"
        if np.min(np.abs(bad)) > np.max(np.abs(good)):
            return f"it is wrong for large values, from about {np.min(np.abs(bad)):.3g}: a clip, a saturation or an overflow"
        if not given[wrong].any():
            return f"it is zero at {int(wrong.sum())} of {len(wrong)} elements: contributions are lost, or masked"
    return None


def _same(a: Array, b: Array) -> bool:
    return np.allclose(a, b, rtol=1e-7, atol=1e-12 * largest(b))
