"""Everything that is checked at one point."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from ..record import Array, Node, grad
from ..tensor import Tensor
from .case import LEFT, Case, GradientError, Report, explaining, shown
from .oracle import largest
from .scrutiny import Scrutiny


def check_point(case: Case) -> Report:
    y = _value(case)
    rng = np.random.default_rng(case.seed)
    u = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)  # no two elements alike, none close to 0
    given, ops = _given(case, u)
    if case.float32:
        _float32(case)

    def weighted(values: list[Array]) -> Array:
        with case.run(values, record=False) as (_, result):
            return np.asarray(u * result._data)

    scrutiny = Scrutiny(case, weighted, case.values, case.names, given, rng)
    scrutiny.choose(ops)
    scrutiny.compare(1, u)
    if case.order == 2:
        second = _second(case, u, given, rng)
        second.magnitude += scrutiny.magnitude  # 1 - tanh(x)**2 is off by eps, and so are its derivatives
        second.choose(ops)
        second.compare(2, u)
        scrutiny.elements += second.elements
        scrutiny.directions += second.directions
        scrutiny.worst = max(scrutiny.worst, second.worst)
    idle = tuple(name for name, g in zip(case.names, given, strict=True) if not g.any())
    s = scrutiny
    return Report(case.name, case.order, s.oracle, s.why, s.elements, s.directions, s.worst, tuple(case.kinks), idle)


def _value(case: Case) -> Array:
    """f(x), once it is known to be a Tensor, finite, deterministic, and the same on plain arrays."""
    name = case.name
    with explaining(case), case.run(case.values) as (_, y):
        if not isinstance(y, Node):
            raise GradientError("record", f"{name}: gave {type(y).__name__}, expected one Tensor{hint(y)}.")
        value = y._data
        if value.dtype.kind != "f":
            raise GradientError("dtype", f"{name}: gave a Tensor of dtype {value.dtype}, which has no gradient; expected floats.")
        if value.dtype != np.float64:
            raise GradientError("dtype", f"{name}: float64 in, {value.dtype} out: digits are lost on the way.")
        if not y._requires_grad:
            raise GradientError(
                "record", f"{name}: the result has no record of {listed(case.names)}: f does not depend on its inputs, or it {LEFT}."
            )
        value = value.copy()
    if not np.isfinite(value).all():
        raise GradientError(
            "finite",
            f"{name}: nan or inf at this point, where it cannot be differentiated; choose another, or give a "
            f"domain.\n{shown(case, case.values)}",
        )
    with case.run(case.values) as (_, again):
        if again._data.shape != value.shape or not np.array_equal(again._data, value):
            raise GradientError(
                "random", f"{name}: two calls with the same inputs gave different results; it is random, or keeps state between calls. "
                "Make the generator (or the state) anew inside f, or put the model in eval mode."
            )  # fmt: skip
    _plain_value(case, value)
    return value


def _plain_value(case: Case, value: Array) -> None:
    """An op on arrays is NumPy: the same value, and the arrays are not written into.  A composite may need Tensors' methods."""
    inputs = [x.copy() for x in case.values[: len(case.values) - len(case.parameters)]]
    try:
        with np.errstate(all="ignore"):
            plain = case.f(*inputs)
    except (AttributeError, TypeError):
        if hasattr(case.f, "forward"):
            raise
        return
    for label, x, before in zip(case.names, inputs, case.values, strict=False):
        if not np.array_equal(x, before):
            raise GradientError("mutation", f"{case.name}: writes into its input {label}; make a new array instead.", operand=label)
    if case.parameters or isinstance(plain, Node):
        return
    if np.shape(plain) != value.shape or not np.allclose(plain, value, rtol=1e-14, atol=0):
        raise GradientError("value", f"{case.name}: on Tensors it gives\n{value}\nand on the same plain arrays\n{plain}")


def _given(case: Case, u: Array) -> tuple[list[Array], list[Any]]:
    """The gradients as the engine gives them, and the ops on the way."""
    w = Tensor(np.zeros(u.shape), requires_grad=True)
    with explaining(case), case.run(case.values) as (leaves, y):
        before = [leaf._data.copy() for leaf in leaves]
        z = y + w  # y and w are given one and the same cotangent: a rule that writes into it spoils w's gradient
        targets: list[Tensor] = [*leaves, w]
        first: Any = grad(z, targets, gradient=u)
        if not np.array_equal(first.pop(), u):
            raise GradientError("mutation", f"{case.name}: a rule writes into g, which belongs to other tensors too; make a new array.")
        z.backward(u)
        second = [np.zeros_like(leaf._data) if leaf.grad is None else leaf.grad for leaf in leaves]
        nodes = _walk(y)
        for label, leaf, x, a, b in zip(case.names, leaves, before, first, second, strict=True):
            if not np.array_equal(leaf._data, x):
                raise GradientError("mutation", f"{case.name}: a rule writes into {label}; make a new array instead.", operand=label)
            if a.shape != x.shape or a.dtype != x.dtype:
                raise GradientError(
                    "shape", f"{case.name}: {label} is {x.dtype} {x.shape}, its gradient {a.dtype} {a.shape}.", operand=label
                )
            if not np.allclose(a, b, rtol=1e-12, atol=0, equal_nan=True):
                raise GradientError(
                    "mutation", f"{case.name}: a second backward gave {label} another gradient: a rule writes into what is recorded, or "
                    "keeps state.", operand=label,
                )  # fmt: skip
        for (m, a), (n, b) in combinations([*zip(case.names, first, strict=True), *zip(case.names, before, strict=True)], 2):
            if a is not b and np.may_share_memory(a, b):
                raise GradientError("aliasing", f"{case.name}: the gradients of {m} and {n} share memory.", operand=m)
        ops = list(dict.fromkeys(node._op for node in nodes if node._op is not None))
    for label, g in zip(case.names, first, strict=True):
        if not np.isfinite(g).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(g))[0])
            raise GradientError(
                "finite", f"{case.name}: the gradient of {label}{list(index)} is {g[index]}: not differentiable at this point, or the rule "
                f"overflows.\n{shown(case, case.values)}", operand=label, indices=[index]
            )  # fmt: skip
    return first, ops


def _float32(case: Case) -> None:
    """float32 in, float32 out, in value and gradients."""
    with np.errstate(all="ignore"):
        values = [x.astype(np.float32) for x in case.values]
        with explaining(case), case.run(values) as (leaves, y):
            if y._data.dtype != np.float32:
                raise GradientError("dtype", f"{case.name}: float32 in, {y._data.dtype} out: an array of that dtype takes part. "
                                             "Make it x.dtype, or use Python numbers, which keep float32.")  # fmt: skip
            for label, g in zip(case.names, grad(y, leaves, gradient=np.ones(y.shape)), strict=True):
                if g.dtype != np.float32:
                    raise GradientError("dtype", f"{case.name}: {label} is float32, its gradient {g.dtype}.", operand=label)


def _second(case: Case, u: Array, first: list[Array], rng: np.random.Generator) -> Scrutiny:
    """The gradient of <gradient of <u, f>, v>, for random v, with respect to the operands and to u."""
    vs = [rng.standard_normal(x.shape) for x in case.values]
    with explaining(case), case.run(case.values) as (leaves, y):
        cotangent = Tensor(u, requires_grad=True)
        gs = grad(y, leaves, gradient=cotangent, create_graph=True)
        for label, g, array in zip(case.names, gs, first, strict=True):
            if not np.allclose(g._data, array, rtol=1e-10, atol=1e-13 * largest(array)):
                raise GradientError(
                    "rule", f"{case.name}: the gradient of {label} with create_graph=True differs from the one without it.", operand=label
                )
        s: Any = sum(((g * v).sum() for g, v in zip(gs, vs, strict=True)), Tensor(0.0))
        targets: list[Tensor] = [*leaves, cotangent]
        given: Any = grad(s, targets) if s._requires_grad else [np.zeros_like(t._data) for t in targets]

    def projected(values: list[Array]) -> Array:
        with case.run(values[:-1]) as (leaves, y):
            gs = grad(y, leaves, gradient=values[-1])
        return np.concatenate([(g * v).ravel() for g, v in zip(gs, vs, strict=True)])

    return Scrutiny(case, projected, [*case.values, u], [*case.names, "the cotangent"], given, rng)


def _walk(y: Node) -> list[Node]:
    """The nodes that y's gradient passes through."""
    found, stack = {y._order: y}, [y]
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._requires_grad and x._order not in found:
                found[x._order] = x
                stack.append(x)
    return list(found.values())


def hint(y: Any) -> str:
    if isinstance(y, (tuple, list)):
        return "; give one of them, or concat them"
    return f": it {LEFT}" if isinstance(y, (np.ndarray, np.generic, float)) else ""


def listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
