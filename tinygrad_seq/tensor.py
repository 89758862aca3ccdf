"""Tensor: the record with NumPy's face.  Its operators and methods are the ops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from . import ops
from .record import Array, Node, Value, frozen, is_view


class Tensor(Node):
    """An array that remembers how it was made, so that `backward` can find the gradient of a loss with respect to it.

    data: numbers, nested lists of them, or an array (copied; lists of floats become float64, an array keeps its dtype).
    requires_grad: whether gradients flow to it; needs a floating dtype, else TypeError.
    name: what drawings call it.

    `x.grad` is a plain array of x's shape, or None before the first `backward`.  The numbers of a Tensor cannot be written into:
    `x.data` and `x.numpy()` are read-only, and only a leaf's `data` can be rebound.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4.])
    """

    __slots__ = ()
    __array_priority__ = 1000  # array * Tensor asks Tensor.__rmul__
    __hash__ = object.__hash__

    def __init__(self, data: Value, requires_grad: bool = False, *, dtype: Any = None, name: str | None = None) -> None:
        try:
            array = np.asarray(data._data if isinstance(data, Node) else data, dtype=dtype)
        except ValueError as error:
            raise TypeError(
                f"Tensor: got a {type(data).__name__} that is no array: {error}. Expected numbers in rows of equal length."
            ) from error
        if array.dtype.kind not in "biufc":
            raise TypeError(f"Tensor: got a {type(data).__name__} that NumPy reads as dtype {array.dtype}, expected numbers.")
        super().__init__(np.asarray(frozen(array)), requires_grad, name)

    # What it holds

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._data.dtype

    def numpy(self) -> Array:
        """The numbers as a read-only array, without the record."""
        return self.data

    def item(self) -> Any:
        """The only element as a Python number; ValueError where there are more."""
        if self._data.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} is not a single number.")
        return self._data.item()

    def tolist(self) -> Any:
        """The numbers as nested lists."""
        return self._data.tolist()

    def detach(self, value: Value = None) -> Self:
        """The same numbers without history: gradients stop here.  Or `value`, found from them outside the record, as a best symbol is."""
        out = type(self)(self.data if value is None else value)
        out._settings = {"detached": self._order}  # what it came from, for drawings; nothing is kept alive
        return out

    def detach_(self) -> Self:
        """Forget this tensor's history, in place: gradients of what was made from it stop here, and what it was made from is freed."""
        self._op, self._inputs, self._arrays, self._settings = None, (), (), {"detached": self._order}
        self._requires_grad = self._retains = False
        return self

    def __repr__(self) -> str:
        text = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=200)
        usual = self._data.dtype == np.float64 or self._data.dtype.kind in "bi"
        parts = [text, "" if usual else f"dtype={self._data.dtype}", f"name={self.name!r}" if self.name else ""]
        made = f"op={self._op.__name__}" if self._op is not None else "requires_grad=True" if self._requires_grad else ""
        return f"Tensor({', '.join(part for part in [*parts, made] if part)})"

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("a tensor of shape () has no elements to iterate over.")
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __reduce__(self) -> Any:
        if self._op is not None:
            raise TypeError(f"only a leaf can be copied or pickled; this tensor was made by {self._op.__name__}. Use detach() first.")
        return _leaf, (type(self), np.array(self._data), self._requires_grad, self.name)

    # What NumPy is told

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError(_TO_NUMPY.format("NumPy"))

    def __array_function__(self, function: Any, *_: Any, **__: Any) -> Any:
        raise TypeError(_TO_NUMPY.format(f"np.{function.__name__}"))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor cannot be written into, since gradients need the values that it had. Build a new one (where, concat), or rebind a "
            "leaf's data: x.data = new_array."
        )

    # Comparisons give plain arrays of booleans: no gradient flows through them

    def __eq__(self, other: object) -> Any:
        return self._data == _plain(other)

    def __ne__(self, other: object) -> Any:
        return self._data != _plain(other)

    def __lt__(self, other: Value) -> Any:
        return self._data < _plain(other)

    def __le__(self, other: Value) -> Any:
        return self._data <= _plain(other)

    def __gt__(self, other: Value) -> Any:
        return self._data > _plain(other)

    def __ge__(self, other: Value) -> Any:
        return self._data >= _plain(other)

    # Operators

    def __add__(self, other: Value) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Value) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Value) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Value) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Value) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Value) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Value) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Value) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Value) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Value) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Value) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Value) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __getitem__(self, index: Any) -> Tensor:
        if is_view(index):
            return ops.getitem(self, index=index)
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, (Node, list, np.ndarray)) for part in parts):
            parts = tuple(_index_array(part) if isinstance(part, (Node, list, np.ndarray)) else part for part in parts)
            index = parts if isinstance(index, tuple) else parts[0]
        return ops.getitem(self, index=index)

    # Methods, as arrays have them

    def exp(self) -> Tensor:
        """exp(x)."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        """tanh(x)."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return ops.relu(self)

    def abs(self) -> Tensor:
        """|x|."""
        return ops.abs(self)

    def sum(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis`, all axes by default."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis`, all axes by default."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        """The largest element over `axis`, all axes by default."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest element over `axis`, all axes by default."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape: reshape(2, 3) or reshape((2, 3)); one size may be -1."""
        return ops.reshape(self, shape=_spelled_out(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order: transpose(1, 0, 2) or transpose((1, 0, 2)); reversed by default."""
        return ops.transpose(self, axes=_spelled_out(axes) if axes and axes[0] is not None else None)

    @property
    def T(self) -> Tensor:
        """The axes reversed."""
        return ops.transpose(self)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Two axes exchanged."""
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    def astype(self, dtype: Any) -> Tensor:
        """The same numbers in another dtype."""
        return ops.astype(self, dtype=np.dtype(dtype))


_TO_NUMPY = (
    "{} was given a Tensor and would lose its record. Use the function or method of that name of tinygrad_seq, or x.numpy() for the plain "
    "array."
)


def _plain(x: Any) -> Any:
    return x._data if isinstance(x, Node) else np.asarray(x)


def _index_array(part: Any) -> Any:
    return frozen(np.zeros(0, np.intp) if isinstance(part, list) and not part else _plain(part))


def _spelled_out(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], (int, np.integer)) else args


def _leaf(kind: type[Tensor], data: Array, requires_grad: bool, name: str | None) -> Tensor:
    return kind(data, requires_grad, name=name)
