"""Modules, the layers that are not recurrent, and initialisers.  A parameter is a leaf Tensor that a module holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import ops
from .record import Array, Value, within
from .tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator  # not at run time: it is most of what importing the engine would cost


class Module:
    """A part of a model: subclass it, make Tensors and other modules its attributes, write `forward`.

    Parameters are found by walking the attributes, through lists, tuples and dicts, in the order in which they were made; their names are
    the paths to them (`cell.W_h`, `layers.0.b`).  A parameter that stands in two places is tied, and counts once, by its first name.
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method; write one.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return within(self, self.forward, *args, **kwargs)

    def named_parameters(self) -> dict[str, Tensor]:
        """The parameters by name, in a stable order, a tied one once."""
        names: dict[Tensor, str] = {}
        for name, value in _walk(self, "", set()):
            if isinstance(value, Tensor):
                names.setdefault(value, name)
        return {name: tensor for tensor, name in names.items()}

    def parameters(self) -> list[Tensor]:
        """The parameters, in the order of `named_parameters`."""
        return list(self.named_parameters().values())

    def modules(self) -> list[Module]:
        """This module and all within it."""
        return [value for _, value in _walk(self, "", set()) if isinstance(value, Module)]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, training: bool = True) -> Self:
        """Set training mode, in which Dropout drops, here and within; returns the module."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Set evaluation mode; returns the module."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """The numbers of the parameters by name, as read-only arrays."""
        return {name: parameter.data for name, parameter in self.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, Value]) -> None:
        """Take the numbers of `state`, which holds each parameter's name with an array of its shape, and nothing else.

        Raises ValueError that lists what is missing, unexpected or of another shape; the module is then as it was.
        """
        parameters = self.named_parameters()
        arrays = {name: np.asarray(value) for name, value in state.items()}
        faults = [f"missing {name} {parameters[name].shape}" for name in parameters if name not in arrays]
        faults += [f"unexpected {name} {arrays[name].shape}" for name in arrays if name not in parameters]
        faults += [
            f"{name} is {arrays[name].shape}, expected {parameter.shape}"
            for name, parameter in parameters.items()
            if name in arrays and arrays[name].shape != parameter.shape
        ]
        faults += [
            f"{name} is {arrays[name].dtype}, expected {parameter.dtype}"
            for name, parameter in parameters.items()
            if name in arrays and arrays[name].dtype.kind not in "biuf"
        ]
        if faults:
            raise ValueError(f"load_state_dict: this state is not one of this {type(self).__name__}: {'; '.join(faults)}.")
        for name, parameter in parameters.items():
            parameter.data = arrays[name]


def _walk(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Modules and leaf Tensors from `value` down, with their dotted names; each module once."""
    if isinstance(value, Tensor):
        if value._op is None:
            yield name, value
        return
    if id(value) in seen:
        return
    if isinstance(value, Module):
        yield name, value
        children: Any = vars(value).items()
    elif isinstance(value, dict):
        children = value.items()
    elif isinstance(value, (list, tuple)):
        children = enumerate(value)
    else:
        return
    seen.add(id(value))
    for key, child in children:
        yield from _walk(child, f"{name}.{key}" if name else str(key), seen)


def uniform(rng: Generator, *shape: int, bound: float, dtype: Any = np.float32) -> Tensor:
    """A parameter of numbers from U(-bound, bound); recurrent networks take bound = 1/sqrt(H), H the size of the state."""
    return Tensor(rng.uniform(-bound, bound, shape).astype(dtype), requires_grad=True)


def xavier(rng: Generator, *shape: int, dtype: Any = np.float32) -> Tensor:
    """A parameter (..., fan_in, fan_out) from U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    return uniform(rng, *shape, bound=float(np.sqrt(6 / (shape[-2] + shape[-1]))), dtype=dtype)


def orthogonal(rng: Generator, rows: int, columns: int, gain: float = 1.0, dtype: Any = np.float32) -> Tensor:
    """A parameter (rows, columns) whose singular values are all `gain` (Saxe et al. 2014): it neither shrinks nor stretches a state."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # so that every orthogonal matrix is equally likely
    return Tensor((gain * (q if rows >= columns else q.T)).astype(dtype), requires_grad=True)


def zeros(*shape: int, dtype: Any = np.float32) -> Tensor:
    """A parameter of zeros."""
    return Tensor(np.zeros(shape, dtype), requires_grad=True)


class Linear(Module):
    """y = x W + b, (..., C) -> (..., D).

    W (C, D) and b (D) start from U(-1/sqrt(C), 1/sqrt(C)).  Raises ValueError where the last axis of x is not C.
    """

    def __init__(self, inputs: int, outputs: int, *, rng: Generator, bias: bool = True, dtype: Any = np.float32) -> None:
        bound = 1 / np.sqrt(inputs)
        self.W = uniform(rng, inputs, outputs, bound=bound, dtype=dtype)
        self.b = uniform(rng, outputs, bound=bound, dtype=dtype) if bias else None

    def forward(self, x: Value) -> Tensor:
        """x (..., C) -> (..., D)."""
        y = ops.matmul(x, self.W)
        return y if self.b is None else y + self.b


class Embedding(Module):
    """A vector for each of V symbols: row x of the table W (V, C), which starts from N(0, 1).

    Raises TypeError for symbols that are not integers, ValueError for one outside [0, V).
    """

    def __init__(self, symbols: int, size: int, *, rng: Generator, dtype: Any = np.float32) -> None:
        self.W = Tensor(rng.standard_normal((symbols, size)).astype(dtype), requires_grad=True)

    def forward(self, x: Value) -> Tensor:
        """x (...) integers -> (..., C)."""
        return look_up(self.W, x)


def look_up(table: Tensor, symbols: Value) -> Tensor:
    """Row x of the table (V, C) for each symbol x: what the product of a one-hot vector with the table gives, (...) -> (..., C)."""
    dtype = symbols.dtype if isinstance(symbols, Tensor) else np.asarray(symbols).dtype
    if dtype.kind not in "iu":
        raise TypeError(f"symbols are {dtype}, expected integers in [0, {len(table)}).")
    return ops.take(table, symbols, wrap=False)


class Dropout(Module):
    """In training, each element becomes 0 with probability p, the others x / (1 - p); else x itself (Srivastava et al. 2014)."""

    def __init__(self, p: float, *, rng: Generator) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p={p}, expected a probability in [0, 1).")
        self.p, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        """x -> the same shape."""
        if not self.training or self.p == 0:
            return x
        kept = self.rng.random(x.shape, dtype=np.float32) >= self.p
        return x * (kept.astype(x.dtype) / x.dtype.type(1 - self.p))
