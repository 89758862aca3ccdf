"""A function at a point, what is reported of it, and the errors that say what is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..nn import Module
from ..record import Array, Node, no_grad
from ..tensor import Tensor

LEFT = "left the record (x.data, x.numpy(), detach, no_grad)"


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
class Case:
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


def case_of(
    f: Any, arrays: Any, parameters: Any, settings: dict[str, Any], names: Any, order: int, rng: Any, rtol: float, every: int, float32: bool
) -> Case:
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
    return Case(function, name, labels, values, tensors, order, seed, rtol, every, float32)


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


@contextmanager
def explaining(case: Case) -> Iterator[None]:
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


def shown(case: Case, values: list[Array]) -> str:
    """The inputs, as code to be pasted; of large ones the shapes."""
    count = len(values) - len(case.parameters)
    text = [
        np.array2string(x, separator=", ", prefix=" " * (len(n) + 7)) if x.size <= 30 else f"shape {x.shape}"
        for n, x in zip(case.names, values, strict=True)
    ]
    return "\n".join(f"    {name} = {shown}" for name, shown in zip(case.names[:count], text, strict=False))
