"""One function checked at one point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor
from .case import GradientError, Report, case_of
from .point import check_point
from .shrink import move_from_kink, smallest


def check_gradients(
    f: Callable[..., Any],
    *arrays: Any,
    order: int = 1,
    parameters: Module | Sequence[Tensor] = (),
    settings: dict[str, Any] | None = None,
    names: Sequence[str] | None = None,
    rng: int | np.random.Generator = 0,
    rtol: float = 1e-10,
    nudge: bool = False,
    every: int = 100,
    float32: bool = True,
    shrink: bool = True,
) -> Report:
    """Check the gradients of f at the point `arrays`, and of `parameters` there; return a Report, or raise GradientError.

    With a random cotangent u it compares d(sum(u * f))/dx as backward gives it, for every operand and parameter, with an oracle:

        Im f(x + ih) / h, h = 1e-30            where every op on the way is analytic: exact to rounding, no step to tune
        (f(x + h) - f(x - h)) / 2h, h -> 0     else, with Richardson extrapolation; the tolerance follows from its error estimate

    It also checks that the value is that of f on plain arrays, that f is deterministic and keeps float32, that backward twice gives the
    same, that inputs and cotangents are not written into, and that no two gradients share memory.  All is done in float64.

    f: takes Tensors and gives one Tensor; an op, a composite, or a model unrolled.  settings: keyword arguments for f.
    order: 2 checks the derivatives of <gradient, random v> as well, with respect to the operands, the parameters and the cotangent.
    parameters: a Module or leaf Tensors; they hold their own numbers again afterwards, whatever happens.
    rng: a seed or a generator.  nudge: move elements that lie at a kink (relu at 0) away from it, and say so in the Report, instead of
        raising GradientError.
    every: operands up to this size are checked at every element; larger ones along random directions and at a few random elements.
        At second order operands of more than 30 elements count as large.
    float32: whether f must keep float32, too.  shrink: whether to look for the smallest failing input.

    Raises GradientError, with the operand, the element, both gradients, the likely cause and the smallest failing input that it found;
    TypeError and ValueError where the call itself is wrong.  The complex step: Squire & Trapp 1998; the differences: Ridders 1982.
    """
    case = case_of(f, arrays, parameters, settings or {}, names, order, rng, rtol, every, float32)
    moves = np.random.default_rng([case.seed, 1])
    for _ in range(20):
        try:
            return check_point(case)
        except GradientError as error:
            if error.kind == "kink" and nudge:
                move_from_kink(case, error, moves)
                continue
            if error.kind != "gradient":
                raise
            fault = smallest(case, error) if shrink else error
            break
    else:
        raise GradientError("kink", f"{case.name}: {', '.join(case.kinks[:5])}: moved 20 times, and still at a kink.")
    raise fault
