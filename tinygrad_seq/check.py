"""Gradient checks: whether the gradients of an op, a composite or a whole unrolled model are the derivatives of what it computes.

`check_gradients(f, *arrays)` checks f at one point, `check_op(f, *shapes)` at many.  What is right is told by an oracle that knows nothing
of gradient rules: the complex step where every op on the way is analytic, else central differences that estimate their own error.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from .nn import Module
from .record import Array, Node, grad, no_grad
from .tensor import Tensor

H = 1e-30  # the complex step: nothing is subtracted, so it can be as small as one likes
TRUNCATION = 1e10 * H * H
EPS = float(np.finfo(float).eps)
DIRECTIONS = 8  # for an operand with too many elements to try one by one
Phi = Callable[[list[Array]], Array]


class GradientError(AssertionError):
    """What `check_gradients` found wrong, told so that it can be mended.

    kind: "gradient", "value", "kink", "random", "dtype", "shape", "mutation", "aliasing", "record", "finite" or "rule"; where it can be
    told also the operand's name, the index of an element, the gradient given and the one expected, and the inputs.
    """

    def __init__(self, kind: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.operand: str | None = facts.get("operand")
        self.indices: list[tuple[int, ...]] = facts.get("indices", [])
        self.given: float | None = facts.get("given")
        self.expected: float | None = facts.get("expected")
        self.cause: str | None = facts.get("cause")
        self.inputs: list[Array] = facts.get("inputs", [])


@dataclass(frozen=True)
class Report:
    """What was checked: by which oracle and why, at how many elements and along how many directions, and the worst relative error."""

    function: str
    order: int
    oracle: str
    why: str
    elements: int
    directions: int
    worst: float
    kinks: tuple[str, ...] = ()  # the elements that were moved away from a kink
    without_influence: tuple[str, ...] = ()  # the operands that the result does not depend on
    points: int = 1

    def __str__(self) -> str:
        order = {1: "first", 2: "first and second"}[self.order]
        lines = [
            f"{self.function}: gradients of {order} order agree with the {self.oracle} ({self.why})",
            f"  {self.points} point(s), {self.elements} elements and {self.directions} random directions; "
            f"worst relative error {self.worst:.1e}",
        ]
        lines += [f"  moved away from a kink: {', '.join(self.kinks)}"] if self.kinks else []
        lines += [f"  without influence on the result: {', '.join(self.without_influence)}"] if self.without_influence else []
        return "\n".join(lines)


@dataclass
class _Case:
    """A function at a point: the values of its operands, then those of its parameters."""

    f: Callable[..., Any]
    name: str
    names: list[str]
    values: list[Array]
    parameters: list[Tensor]
    order: int
    seed: int
    rtol: float
    every: int
    float32: bool
    cause: str | None = None
    kinks: list[str] = field(default_factory=list)

    @contextmanager
    def run(self, values: Sequence[Array], record: bool = True) -> Iterator[tuple[list[Tensor], Any]]:
        """f at `values` of any dtype, complex included: the leaves and what f gives, while the parameters hold those values."""
        count = len(values) - len(self.parameters)
        leaves = [Tensor(value) for value in values[:count]] + self.parameters
        before = [(p, p._data, p._requires_grad, p.grad) for p in self.parameters]
        try:
            for leaf, value in zip(leaves, values, strict=True):
                leaf._data, leaf._requires_grad = Tensor(value)._data, record  # past the setters, which keep complex numbers out
                leaf.grad = None
            with np.errstate(all="ignore"), nullcontext() if record else no_grad():  # what is not finite is reported, not warned of
                yield leaves, self.f(*leaves[:count])
        finally:
            for p, data, requires_grad, gradient in before:
                p._data, p._requires_grad, p.grad = data, requires_grad, gradient


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
    float32: whether f must keep float32, too.  shrink: whether to look for the smallest failing input.

    Raises GradientError, with the operand, the element, both gradients, the likely cause and the smallest failing input that it found;
    TypeError and ValueError where the call itself is wrong.  The complex step: Squire & Trapp 1998; the differences: Ridders 1982.
    """
    case = _case(f, arrays, parameters, settings or {}, names, order, rng, rtol, every, float32)
    moves = np.random.default_rng([case.seed, 1])
    for _ in range(20):
        try:
            return _check(case)
        except GradientError as error:
            if error.kind == "kink" and nudge:
                _move(case, error, moves)
                continue
            if error.kind != "gradient":
                raise
            fault = _smallest(case, error) if shrink else error
            break
    else:
        raise GradientError("kink", f"{case.name}: {', '.join(case.kinks[:5])}: moved 20 times, and still at a kink.")
    raise fault


# ---- the call ------------------------------------------------------------------------------------------------------------------------


def _case(
    f: Any, arrays: Any, parameters: Any, settings: dict[str, Any], names: Any, order: int, rng: Any, rtol: float, every: int, float32: bool
) -> _Case:
    name = _name(f)
    if order not in (1, 2):
        raise ValueError(f"check_gradients: order={order!r}, expected 1 or 2.")
    named = parameters.named_parameters() if isinstance(parameters, Module) else None
    tensors = list(named.values()) if named is not None else list(parameters)
    labels = list(names or _operand_names(f, len(arrays)))
    labels += list(named) if named is not None else [p.name or f"parameters[{i}]" for i, p in enumerate(tensors)]
    values = []
    for label, given in zip(labels, [*arrays, *tensors], strict=True):
        array = np.asarray(given._data if isinstance(given, Node) else given)
        if array.dtype.kind != "f":
            raise TypeError(
                f"check_gradients: {name}: {label} is {array.dtype}, and only real floating numbers have a gradient here. "
                f"Pass floats; keep integers inside f: check_gradients(lambda x: f(x, integers), x)."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"check_gradients: {name}: {label} holds nan or inf; f cannot be differentiated there.")
        values.append(array.astype(float))
    if not values:
        raise ValueError(f"check_gradients: {name}: no array to differentiate with respect to; pass at least one, or parameters.")
    if any(p._op is not None for p in tensors):
        raise ValueError("check_gradients: parameters are leaf Tensors; one of these was made by an op.")
    seed = int(rng.integers(2**31)) if isinstance(rng, np.random.Generator) else int(rng)
    function = (lambda *xs: f(*xs, **settings)) if settings else f
    return _Case(function, name, labels, values, tensors, order, seed, rtol, every, float32)


def _name(f: Any) -> str:
    f = getattr(f, "func", f)
    return str(getattr(f, "__name__", type(f).__name__))


def _operand_names(f: Any, count: int) -> list[str]:
    names: list[str] = []
    try:
        for p in inspect.signature(f).parameters.values():
            if p.kind is p.VAR_POSITIONAL:
                names += [f"{p.name}[{i}]" for i in range(count - len(names))]
            elif p.kind is not p.KEYWORD_ONLY:
                names.append(p.name)
    except (TypeError, ValueError):
        pass
    return (names + [f"operand {i}" for i in range(len(names), count)])[:count]


# ---- the checks at one point ---------------------------------------------------------------------------------------------------------


def _check(case: _Case) -> Report:
    y = _value(case)
    rng = np.random.default_rng(case.seed)
    u = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)  # no two elements alike, none close to 0
    given, ops = _given(case, u)
    if case.float32:
        _float32(case)

    def weighted(values: list[Array]) -> Array:
        with case.run(values, record=False) as (_, result):
            return np.asarray(u * result._data)

    scrutiny = _Scrutiny(case, weighted, case.values, case.names, given, rng)
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


def _value(case: _Case) -> Array:
    """f(x), once it is known to be a Tensor, finite, deterministic, and the same on plain arrays."""
    name = case.name
    with _explaining(case), case.run(case.values) as (_, y):
        if not isinstance(y, Node):
            raise GradientError("record", f"{name}: gave {type(y).__name__}, expected one Tensor{_hint(y)}.")
        value = y._data
        if value.dtype.kind != "f":
            raise GradientError("dtype", f"{name}: gave a Tensor of dtype {value.dtype}, which has no gradient; expected floats.")
        if value.dtype != np.float64:
            raise GradientError("dtype", f"{name}: float64 in, {value.dtype} out: digits are lost on the way.")
        if not y._requires_grad:
            raise GradientError(
                "record", f"{name}: the result has no record of {_listed(case.names)}: f does not depend on its inputs, or it {_LEFT}."
            )
        value = value.copy()
    if not np.isfinite(value).all():
        raise GradientError(
            "finite",
            f"{name}: nan or inf at this point, where it cannot be differentiated; choose another, or give a "
            f"domain.\n{_shown(case, case.values)}",
        )
    with case.run(case.values) as (_, again):
        if again._data.shape != value.shape or not np.array_equal(again._data, value):
            raise GradientError(
                "random", f"{name}: two calls with the same inputs gave different results; it is random, or keeps state between calls. "
                "Make the generator (or the state) anew inside f, or put the model in eval mode."
            )  # fmt: skip
    _plain_value(case, value)
    return value


def _plain_value(case: _Case, value: Array) -> None:
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


def _given(case: _Case, u: Array) -> tuple[list[Array], list[Any]]:
    """The gradients as the engine gives them, and the ops on the way."""
    w = Tensor(np.zeros(u.shape), requires_grad=True)
    with _explaining(case), case.run(case.values) as (leaves, y):
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
                f"overflows.\n{_shown(case, case.values)}", operand=label, indices=[index]
            )  # fmt: skip
    return first, ops


def _float32(case: _Case) -> None:
    """float32 in, float32 out, in value and gradients."""
    with np.errstate(all="ignore"):
        values = [x.astype(np.float32) for x in case.values]
        with _explaining(case), case.run(values) as (leaves, y):
            if y._data.dtype != np.float32:
                raise GradientError("dtype", f"{case.name}: float32 in, {y._data.dtype} out: an array of that dtype takes part. "
                                             "Make it x.dtype, or use Python numbers, which keep float32.")  # fmt: skip
            for label, g in zip(case.names, grad(y, leaves, gradient=np.ones(y.shape)), strict=True):
                if g.dtype != np.float32:
                    raise GradientError("dtype", f"{case.name}: {label} is float32, its gradient {g.dtype}.", operand=label)


def _second(case: _Case, u: Array, first: list[Array], rng: np.random.Generator) -> _Scrutiny:
    """The gradient of <gradient of <u, f>, v>, for random v, with respect to the operands and to u."""
    vs = [rng.standard_normal(x.shape) for x in case.values]
    with _explaining(case), case.run(case.values) as (leaves, y):
        cotangent = Tensor(u, requires_grad=True)
        gs = grad(y, leaves, gradient=cotangent, create_graph=True)
        for label, g, array in zip(case.names, gs, first, strict=True):
            if not np.allclose(g._data, array, rtol=1e-10, atol=1e-13 * _largest(array)):
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

    return _Scrutiny(case, projected, [*case.values, u], [*case.names, "the cotangent"], given, rng)


def _walk(y: Node) -> list[Node]:
    """The nodes that y's gradient passes through."""
    found, stack = {y._order: y}, [y]
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._requires_grad and x._order not in found:
                found[x._order] = x
                stack.append(x)
    return list(found.values())


@contextmanager
def _explaining(case: _Case) -> Iterator[None]:
    """An error raised inside f or a rule, told as what it means here."""
    try:
        yield
    except ValueError as error:
        if "read-only" in str(error):
            raise GradientError(
                "mutation", f"{case.name}: f or a rule writes into a recorded array; make a new array ({error})."
            ) from error
        if "a rule gave a gradient of shape" in str(error):
            raise GradientError("shape", f"{case.name}: {error} Sum it, or transpose it, to the operand's shape.") from error
        raise


# ---- the oracles ---------------------------------------------------------------------------------------------------------------------


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
class _Slope:
    """A directional derivative, how wrong it may be, and the difference between the slopes on either side."""

    slope: float
    error: float
    jump: float


def _complex_step(phi: Phi, move: Callable[[Any], list[Array]]) -> float:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return float(np.sum(phi([x.astype(complex) for x in move(1j * H)]).imag) / H)


def _differences(phi: Phi, at: Array, move: Callable[[Any], list[Array]], h: float, floor: float, noise: float) -> _Slope:
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
    return _Slope(slope.limit, slope.error, jump.limit if abs(jump.limit) > least else 0.0)


@dataclass
class _Scrutiny:
    """Gradients `given` of the sum of phi, to be compared with what the oracle says of phi."""

    case: _Case
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
            exact = _complex_step(self.phi, self._all(vs))
        except Exception as error:  # whatever f makes of complex numbers, differences do not need them
            self.oracle, self.why = "central differences", f"on complex numbers: {type(error).__name__}: {error}"
            return
        slope = _differences(self.phi, self.at, self._all(vs), 0.25 / max(map(_largest, vs)), abs(exact), self.noise)
        if slope.jump or abs(slope.slope - exact) > 100 * slope.error + 1e-6 * abs(exact) + 1e-9 * float(np.sum(np.abs(self.at))):
            self.oracle, self.why = "central differences", "the complex step contradicts them: some op is not analytic; declare it so"

    def _noise(self, vs: list[Array]) -> float:
        """How far rounding throws phi: the fourth differences of its values at close points, where f hardly bends (More & Wild 2011)."""
        near = self._all([1e-9 * max(1.0, _largest(x)) * v for x, v in zip(self.values, vs, strict=True)])
        with np.errstate(all="ignore"):
            rough = np.diff([self.phi(near(t)) for t in range(-4, 5)], 4, axis=0)
        return EPS * self.magnitude + float(np.nansum(np.max(np.abs(rough), axis=0)) / 8)

    def compare(self, order: int, u: Array) -> None:
        """Every operand: all elements of a small one, directions and a few elements of a large one."""
        for k, x in enumerate(self.values):
            indices = list(np.ndindex(x.shape))
            if x.size > self.case.every:
                indices = [indices[i] for i in sorted(self.rng.choice(x.size, 16, replace=False))]
                if not self._along(k):
                    indices = list(np.ndindex(x.shape))[: 20 * self.case.every]  # something is wrong: find out where
            self._elements(k, indices, order, u)

    def _elements(self, k: int, indices: list[tuple[int, ...]], order: int, u: Array) -> None:
        given = np.array([self.given[k][i] for i in indices])
        one_hots = (_one_hot(self.values[k], i) for i in indices)
        slopes = [self._slope(k, v, g) for v, g in zip(one_hots, given, strict=True)]
        kinks = [i for i, s in zip(indices, slopes, strict=True) if s.jump]
        if kinks:
            self._kink(k, kinks, slopes[indices.index(kinks[0])])
        self.elements += len(indices)
        if not indices:
            return
        expected = np.array([s.slope for s in slopes])
        top = _largest(expected)
        wrong = np.abs(given - expected)
        excess = wrong / self._tolerance(k, expected, np.array([s.error for s in slopes]), top)
        self.worst = max(self.worst, self.case.rtol * float(np.max(excess)))
        if np.max(excess) > 1 or np.isnan(excess).any():
            self._reject(k, indices, given, expected, excess, order, u)

    def _along(self, k: int) -> bool:
        """Whether the gradients agree along random directions, every other one through a tenth of the elements."""
        x, good = self.values[k], True
        for d in range(DIRECTIONS):
            v = np.asarray(self.rng.standard_normal(x.shape)) * (self.rng.random(x.shape) < (1, 0.1)[d % 2])
            given = float(np.sum(self.given[k] * v))
            s = self._slope(k, v, given)
            if s.jump:
                self._kink(k, list(np.ndindex(x.shape)), s)
            top = float(np.sum(np.abs(self.given[k] * v)))
            good &= bool(abs(given - s.slope) <= self._tolerance(k, s.slope, s.error, top))
            self.worst = max(self.worst, abs(given - s.slope) / max(top, np.finfo(float).tiny))
        self.directions += DIRECTIONS
        return good

    def _slope(self, k: int, v: Array, given: float) -> _Slope:
        x = self.values[k]
        if self.oracle == "complex step":
            return _Slope(_complex_step(self.phi, self._one(k, v)), 0.0, 0.0)
        reach = max(1.0, _largest(x * (v != 0)))
        floor = max(abs(given), 1e-3 * self.magnitude / reach)
        slope = _differences(self.phi, self.at, self._one(k, v), 0.25 * reach / _largest(v), floor, self.noise)
        if slope.error > 1e-4 * max(abs(slope.slope), floor):
            slope.jump = slope.jump or float("nan")  # differences that do not settle: a kink, a jump, or the edge of the domain
        return slope

    def _tolerance(self, k: int, expected: Any, error: Any, top: float) -> Any:
        """rtol, and what rounding leaves: of the largest gradient, and of the value (1 - tanh(x)**2 is off by eps where it is tiny)."""
        rounding = 1e-13 * top + 64 * EPS * self.magnitude / min(1.0, max(_largest(self.values[k]), 1e-3)) + TRUNCATION
        if self.oracle == "complex step":
            return self.case.rtol * np.abs(expected) + rounding
        return max(self.case.rtol, 1e-9) * np.abs(expected) + 20 * error + rounding

    def _one(self, k: int, v: Array) -> Callable[[Any], list[Array]]:
        return lambda t: [x + t * v if i == k else x for i, x in enumerate(self.values)]

    def _all(self, vs: list[Array]) -> Callable[[Any], list[Array]]:
        return lambda t: [x + t * v for x, v in zip(self.values, vs, strict=True)]

    def _kink(self, k: int, indices: list[tuple[int, ...]], s: _Slope) -> None:
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
            cause = _cause(self, k, indices, given, expected, excess > 1, order, u)
        relative = abs(given[worst] - expected[worst]) / max(abs(expected[worst]), np.finfo(float).tiny)
        where = f"{name}{list(i)}" if i else name
        message = [
            f"{self.case.name}: {of} with respect to {name} is wrong at {int(np.sum(excess > 1))} of {len(indices)} elements",
            f"  at {where}: given {given[worst]:.10g}, expected {expected[worst]:.10g} (relative error {relative:.1e})",
        ]
        message += [f"  likely cause: {cause}"] if cause else []
        message += [f"  judged by the {self.oracle} ({self.why}), cotangent from rng={self.case.seed}", _shown(self.case, self.case.values)]
        raise GradientError(
            "gradient", "\n".join(message), operand=name, indices=[i], given=float(given[worst]), expected=float(expected[worst]),
            cause=cause, inputs=[x.copy() for x in self.case.values],
        )  # fmt: skip


# ---- what to say of a failure --------------------------------------------------------------------------------------------------------


def _cause(
    s: _Scrutiny, k: int, indices: list[tuple[int, ...]], given: Array, expected: Array, wrong: Any, order: int, u: Array
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
    if _largest(given - expected) < 1e-6 * _largest(expected):
        return "it is right to six digits only: something is computed in float32"
    if len(indices) == x.size and x.size > 1:
        full, right = given.reshape(x.shape), expected.reshape(x.shape)
        for a, b in combinations(range(x.ndim), 2):
            if x.shape[a] == x.shape[b] and _same(full.swapaxes(a, b), right):
                return f"a missing transpose: axes {a} and {b} are swapped"
        if _same(np.sort(given), np.sort(expected)):
            return "the right numbers at the wrong places: an order of axes, halves or gates"
    if order == 1:
        for label, partial in _partial(u):
            v = _with_cotangent(s, k, indices, partial)
            if _same(given, v):
                return label
        for other, g in enumerate(s.given):
            if other != k and g.shape == x.shape and len(indices) == x.size:
                theirs = np.array([s._slope(other, _one_hot(s.values[other], i), 0.0).slope for i in indices])
                if _same(given, theirs):
                    return f"it is the gradient of {s.names[other]}: operands swapped"
    return _pattern(np.array([x[i] for i in indices]), given, expected, wrong)


def _partial(u: Array) -> Iterator[tuple[str, Array]]:
    """Cotangents that a mistaken rule acts as if it had been given."""
    yield "the upstream gradient g is forgotten: these are the gradients of sum(f)", np.ones_like(u)
    for axis, n in enumerate(u.shape):
        for i in (0, n - 1) if n > 1 else ():
            only = np.zeros_like(u)
            part = (slice(None),) * axis + (i,)
            only[part] = u[part]
            yield f"a missing sum: only index {i} along axis {axis} of the output counts (as where broadcasting is not undone)", only


def _with_cotangent(s: _Scrutiny, k: int, indices: list[tuple[int, ...]], u: Array) -> Array:
    def phi(values: list[Array]) -> Array:
        with s.case.run(values, record=False) as (_, y):
            return np.asarray(u * y._data)

    other = replace(s, phi=phi)
    return np.array([other._slope(k, _one_hot(s.values[k], i), 0.0).slope for i in indices])


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
    return np.allclose(a, b, rtol=1e-7, atol=1e-12 * _largest(b))


def _largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def _one_hot(x: Array, index: tuple[int, ...]) -> Array:
    v = np.zeros(x.shape)
    v[index] = 1.0
    return v


_LEFT = "left the record (x.data, x.numpy(), detach, no_grad)"


def _hint(y: Any) -> str:
    if isinstance(y, (tuple, list)):
        return "; give one of them, or concat them"
    return f": it {_LEFT}" if isinstance(y, (np.ndarray, np.generic, float)) else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _shown(case: _Case, values: list[Array]) -> str:
    """The inputs, as code to be pasted; of large ones the shapes."""
    count = len(values) - len(case.parameters)
    text = [
        np.array2string(x, separator=", ", prefix=" " * (len(n) + 7)) if x.size <= 30 else f"shape {x.shape}"
        for n, x in zip(case.names, values, strict=True)
    ]
    return "\n".join(f"    {name} = {shown}" for name, shown in zip(case.names[:count], text, strict=False))


# ---- the smallest failing input, and points without kinks ----------------------------------------------------------------------------


def _move(case: _Case, error: GradientError, rng: np.random.Generator) -> None:
    k = case.names.index(str(error.operand))
    x = case.values[k] = case.values[k].copy()
    for i in error.indices:
        x[i] += rng.uniform(0.05, 0.2) * rng.choice([-1.0, 1.0]) * max(1.0, abs(x[i]))
        case.kinks.append(f"{error.operand}{list(i)}")


def _smallest(case: _Case, error: GradientError) -> GradientError:
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
                _check(replace(best, values=values))
            except GradientError as smaller:
                if smaller.kind == "gradient" and smaller.operand == error.operand:
                    best, error, progress = replace(best, values=values), smaller, True
                    break
            except Exception:  # f does not take these shapes
                continue
    return error


def _simpler(case: _Case) -> Iterator[list[Array]]:
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


# ---- many points ---------------------------------------------------------------------------------------------------------------------


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
    shrink: bool = True,
) -> Report:
    """Check an op at random points, from small numbers to saturating ones, with shapes that broadcast: `check_op(cube)`.

    operands: shapes, by default (3, 4) for each operand of f, or arrays to be taken as they are.  At every other point axes of a shape
    shrink to 1 or are left out, where f takes that, unless broadcast=False.  domain: (low, high), or one such pair per operand, where f is
    defined; by default all numbers.  Points at a kink are moved.  The rest, and what is raised, is as for `check_gradients`.
    """
    code: Any = getattr(f, "forward", f)
    operands = operands or ((3, 4),) * getattr(code, "__code__", code).co_argcount
    domains = [domain] * len(operands) if domain is None or not np.iterable(domain[0]) else list(domain)
    reports = []
    for point in range(points):
        draws = np.random.default_rng([rng, point])
        shapes = _variant(f, operands, point // 2, draws, domains, settings or {}) if broadcast and point % 2 else operands
        for scale in _SCALES[point % len(_SCALES) :: -1]:
            arrays = [_drawn(shape, d, scale, draws) for shape, d in zip(shapes, domains, strict=True)]
            try:
                reports.append(
                    check_gradients(f, *arrays, order=order, settings=settings, rng=rng + point, rtol=rtol, nudge=True, shrink=shrink)
                )  # fmt: skip
                break
            except GradientError as error:
                if error.kind != "finite" or domain is not None or scale == _SCALES[0]:
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
