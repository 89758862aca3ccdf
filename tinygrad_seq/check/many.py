"""An op checked at many points, from small numbers to saturating ones, with shapes that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..record import Array, no_grad
from ..tensor import Tensor
from .case import GradientError, Report
from .gradients import check_gradients


def check_op(
    f: Callable[..., Any],
    *operands: Any,
    domain: Any = None,
    order: int = 2,
    points: int = 8,
    broadcast: bool = True,
    settings: dict[str, Any] | None = None,
    rng: int = 0,
    rtol: float = 1e-10,
    float32: bool = True,
    shrink: bool = True,
) -> Report:
    """Check an op at random points, from small numbers to saturating ones, with shapes that broadcast: `check_op(cube)`.

    operands: shapes, by default (3, 4) for each operand of f, or arrays to be taken as they are.  At every other point axes of a shape
    shrink to 1 or are left out, where f takes that, unless broadcast=False.  domain: (low, high), or one such pair per operand, where f is
    defined; by default all numbers.  Points at a kink are moved.  The rest, and what is raised, is as for `check_gradients`.
    """
    code: Any = getattr(f, "forward", f)
    if not operands and not hasattr(code, "__code__"):
        name = getattr(f, "__name__", type(f).__name__)
        raise TypeError(f"check_op: how many operands {name} takes is not known; give a function, or shapes: check_op(f, (3, 4)).")
    operands = operands or ((3, 4),) * code.__code__.co_argcount
    domains = [domain] * len(operands) if domain is None or not np.iterable(domain[0]) else list(domain)
    reports = []
    for point in range(points):
        draws = np.random.default_rng([rng, point])
        shapes = _variant(f, operands, point // 2, draws, domains, settings or {}) if broadcast and point % 2 else operands
        for scale in _SCALES[point % len(_SCALES) :: -1]:
            arrays = [_drawn(shape, d, scale, draws) for shape, d in zip(shapes, domains, strict=True)]
            try:
                reports.append(
                    check_gradients(
                        f, *arrays, order=order, settings=settings, rng=rng + point, rtol=rtol, nudge=True, float32=float32, shrink=shrink
                    )
                )  # fmt: skip
                break
            except GradientError as error:
                if error.kind != "finite" or domain is not None or scale == _SCALES[0]:
                    raise
            except (TypeError, ValueError, IndexError) as error:  # of f itself, or of a rule
                error.add_note(
                    f"check_op: operands of shapes {', '.join(str(x.shape) for x in arrays)}.  For others, check_op(f, (2, 3), (3, 4)); "
                    "broadcast=False keeps axes from shrinking; order=1 does not run rules on Tensors."
                )
                raise
    return replace(
        reports[0], points=points, elements=sum(r.elements for r in reports), directions=sum(r.directions for r in reports),
        worst=max(r.worst for r in reports), kinks=tuple(kink for r in reports for kink in r.kinks),
    )  # fmt: skip


_SCALES = (0.1, 1.0, 3.0, 10.0, 40.0)


def _drawn(shape: Any, domain: Any, scale: float, rng: np.random.Generator) -> Array:
    """Random numbers of a shape, within a domain."""
    if not isinstance(shape, tuple):
        return np.asarray(shape, dtype=float)
    low, high = domain or (-np.inf, np.inf)
    if np.isfinite(low) and np.isfinite(high):
        return rng.uniform(low, high, shape)
    x = scale * rng.standard_normal(shape)
    if np.isfinite(low) or np.isfinite(high):
        return low + np.abs(x) + 1e-2 * scale if np.isfinite(low) else high - np.abs(x) - 1e-2 * scale
    return x


def _variant(f: Any, operands: Any, which: int, rng: np.random.Generator, domains: list[Any], settings: dict[str, Any]) -> Any:
    """The shapes with one operand's smaller, as broadcasting allows it, where f takes that."""
    k = which % len(operands)
    for _ in range(8 if isinstance(operands[k], tuple) and operands[k] else 0):
        shape = list(operands[k])
        if which // len(operands) % 2:
            shape = shape[int(rng.integers(1, len(shape) + 1)) :]
        else:
            shape[int(rng.integers(len(shape)))] = 1
        shapes = [*operands[:k], tuple(shape), *operands[k + 1 :]]
        try:
            with np.errstate(all="ignore"), no_grad():
                f(*[Tensor(_drawn(s, d, 1.0, rng)) for s, d in zip(shapes, domains, strict=True)], **settings)
            return shapes
        except (ValueError, TypeError, IndexError):
            continue
    return operands
