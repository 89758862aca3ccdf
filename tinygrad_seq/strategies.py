"""Hypothesis strategies for testing ops, cells and models: arrays, operands, axes, indices, masks, ragged lengths, random networks.

Import it in tests only: it needs Hypothesis (`pip install hypothesis`), which the engine does not.  Numbers are thousandths times a power
of ten, so that a failing example is short to read, and shrinks to few and small numbers.

>>> from hypothesis import given
>>> from tinygrad_seq import strategies, tanh
>>> from tinygrad_seq.check import check_gradients
>>> @given(strategies.arrays())
... def test_tanh(x):
...     check_gradients(tanh, x)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from . import ops
from .record import Array, Value

Shape: TypeAlias = tuple[int, ...]
Strategy: TypeAlias = st.SearchStrategy[Any]
Draw: TypeAlias = Callable[[Strategy], Any]

SCALES = (1.0, 1e-3, 30.0)  # arrays are some 3 times one of these; 30 saturates tanh and sigmoid

# ---- arrays --------------------------------------------------------------------------------------------------------------------------


def dtypes() -> st.SearchStrategy[np.dtype[Any]]:
    """The dtypes that gradients flow through: float64, then float32.

    `given(dtypes())` draws `dtype('float64')`.
    """
    return st.sampled_from([np.dtype(np.float64), np.dtype(np.float32)])


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3) -> st.SearchStrategy[Shape]:
    """Shapes of few and short axes; 0-d, size-1 and empty ones among them.

    `given(shapes())` draws `()`, `(3,)`, `(2, 0, 1)`.
    """
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


@st.composite
def arrays(
    draw: Draw,
    /,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    *,
    low: float = -3.0,
    high: float = 3.0,
    gap: float = 0.0,
    scales: Sequence[float] = SCALES,
    dtype: Any = np.float64,
) -> Array:
    """Arrays of numbers from [low, high], without those in (-gap, gap), times one of `scales`.

    shape: a shape, a strategy for one, or None for any of :func:`shapes`; dtype: likewise a dtype or a strategy such as :func:`dtypes`.
    `given(arrays((2, 2), low=0.1))` draws `array([[0.1, 2.514], [0.733, 0.1]])`.
    """
    if not isinstance(shape, tuple):
        shape = draw(shapes() if shape is None else shape)
    if isinstance(dtype, st.SearchStrategy):
        dtype = draw(dtype)
    near = max(math.ceil(gap * 1000), 0)
    elements = st.integers(math.ceil(low * 1000), math.floor(high * 1000))
    if near:
        elements = elements.map(lambda i: i if abs(i) >= near else (near if i >= 0 and near <= high * 1000 else -near))
    thousandths = draw(hnp.arrays(np.int64, shape, elements=elements, fill=st.nothing()))
    scale = draw(st.sampled_from(list(scales)))
    return np.asarray(thousandths / 1000 * scale, dtype)


@st.composite
def distinct(draw: Draw, /, shape: Shape | st.SearchStrategy[Shape] | None = None, *, gap: float = 0.05, dtype: Any = np.float64) -> Array:
    """Arrays in which no two elements are equal, so that no maximum over them ties: neighbours in size are at least `gap` apart.

    `given(distinct((3,)))` draws `array([0.05, -0.05, 0.])`.
    """
    sides: Shape = shape if isinstance(shape, tuple) else draw(shapes() if shape is None else shape)
    n = math.prod(sides)
    order = draw(st.permutations(range(n)))
    return np.asarray((np.array(order).reshape(sides) - n // 2) * gap, dtype)


# ---- operands that fit together ------------------------------------------------------------------------------------------------------


@st.composite
def broadcastable_shapes(draw: Draw, /, count: int = 2, *, max_dims: int = 3, max_side: int = 3) -> tuple[Shape, ...]:
    """Shapes that broadcast together.

    `given(broadcastable_shapes(2))` draws `((2, 1), (3,))`.
    """
    return tuple(draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=max_dims, min_side=0, max_side=max_side)).input_shapes)


@st.composite
def broadcastable(draw: Draw, /, count: int = 2, *, max_dims: int = 3, max_side: int = 3, **of_arrays: Any) -> tuple[Array, ...]:
    """Arrays that broadcast together, each of its own scale; the further arguments are those of :func:`arrays`.

    `given(broadcastable(2, gap=0.1))` draws `(array([[0.1], [2.3]]), array([1.7, 0.1, -0.1]))`.
    """
    drawn = draw(broadcastable_shapes(count, max_dims=max_dims, max_side=max_side))
    return tuple(draw(arrays(shape, **of_arrays)) for shape in drawn)


@st.composite
def matmul_shapes(draw: Draw, /, *, max_dims: int = 4, max_side: int = 3, min_side: int = 0) -> tuple[Shape, Shape]:
    """Two shapes with a matrix product: vectors, matrices, and batches of them that broadcast.

    `given(matmul_shapes())` draws `((2, 3), (3,))` and `((2, 1, 3, 2), (3, 2, 1))`.
    """
    signature = hnp.mutually_broadcastable_shapes(
        signature="(m?,n),(n,p?)->(m?,p?)", max_dims=max_dims - 2, min_side=min_side, max_side=max_side
    )
    a, b = draw(signature).input_shapes
    return a, b


@st.composite
def matmul_operands(draw: Draw, /, *, max_dims: int = 4, max_side: int = 3, min_side: int = 0, **of_arrays: Any) -> tuple[Array, Array]:
    """Two arrays with a matrix product; the further arguments are those of :func:`arrays`.

    `given(matmul_operands())` draws `(array([[1.5, 0.]]), array([0.2, -1.]))`.
    """
    a, b = draw(matmul_shapes(max_dims=max_dims, max_side=max_side, min_side=min_side))
    return draw(arrays(a, **of_arrays)), draw(arrays(b, **of_arrays))


# ---- arguments -----------------------------------------------------------------------------------------------------------------------


def axis(ndim: int) -> st.SearchStrategy[int]:
    """One axis of an array of `ndim` axes, counted from either end.

    `given(axis(2))` draws `0`, `1`, `-1`, `-2`.
    """
    return st.sampled_from([*range(ndim), *range(-1, -ndim - 1, -1)])


@st.composite
def axes(draw: Draw, /, ndim: int) -> Any:
    """What reductions take as `axis`: None, an axis, or a tuple of different ones (an empty one too), counted from either end.

    `given(axes(3))` draws `None`, `-1`, `(2, -3)`, `()`.
    """
    kind = draw(st.sampled_from(["all", "one", "several"] if ndim else ["all", "several"]))
    if kind == "all":
        return None
    if kind == "one":
        return draw(axis(ndim))
    chosen = draw(st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim)) if ndim else []
    return tuple(i - ndim if draw(st.booleans()) else i for i in chosen)


def basic_indices(shape: Shape) -> Strategy:
    """Index expressions of integers, slices with steps, `...` and None.

    `given(basic_indices((3, 4)))` draws `0`, `(slice(None, None, -1), 2)`, `(..., None, 1)`.
    """
    return hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=len(shape) + 2)


@st.composite
def array_indices(draw: Draw, /, shape: Shape) -> Any:
    """Index expressions of integer arrays, in which an element may stand many times, alone, among slices, or several that broadcast.

    `given(array_indices((3, 2)))` draws `array([0, 0, 2])`, `(slice(None), array([[1], [1]]))`.
    """

    def integers(size: int, of: Shape) -> Array:
        return np.asarray(draw(hnp.arrays(np.intp, of if size else (0,), elements=st.integers(-size, size - 1) if size else st.just(0))))

    if not shape:
        return ()
    if len(shape) == 1 or draw(st.booleans()):
        return integers(shape[0], draw(shapes(1, 2, 0, 3)))
    indexed = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    if any(shape[i] == 0 for i in indexed):
        return tuple(slice(None) for _ in shape)
    together = draw(broadcastable_shapes(len(indexed), max_dims=2))
    of = dict(zip(sorted(indexed), together, strict=True))
    return tuple(
        integers(n, of[i]) if i in of else draw(st.sampled_from([slice(None), slice(None, None, -1)])) for i, n in enumerate(shape)
    )


def boolean_indices(shape: Shape) -> st.SearchStrategy[Array]:
    """Masks over the leading axes of an array.

    `given(boolean_indices((2, 2)))` draws `array([True, False])`, `array([[True, False], [True, True]])`.
    """
    return st.integers(0, len(shape)).flatmap(lambda n: hnp.arrays(np.bool_, shape[:n]))


def indices(shape: Shape) -> Strategy:
    """Index expressions of every kind: basic ones, integer arrays with duplicates, masks.

    `given(indices((3,)))` draws `1`, `array([0, 0])`, `array([False, True, True])`.
    """
    return st.one_of(basic_indices(shape), array_indices(shape), boolean_indices(shape))


# ---- sequences -----------------------------------------------------------------------------------------------------------------------


def lengths(max_batch: int = 4, max_length: int = 5, min_length: int = 0) -> st.SearchStrategy[Array]:
    """The lengths of the sequences of one ragged batch, (N,) integers.

    `given(lengths())` draws `array([3, 0, 5])`.
    """
    return st.lists(st.integers(min_length, max_length), min_size=1, max_size=max_batch).map(lambda n: np.array(n, np.intp))


def masks(max_batch: int = 4, max_length: int = 5, min_length: int = 0) -> st.SearchStrategy[Array]:
    """The mask of one ragged batch, (T, N) booleans: True at the steps that each sequence has, T being the longest length or more.

    `given(masks())` draws `array([[True, True], [True, False]])`.
    """
    return st.tuples(lengths(max_batch, max_length, min_length), st.integers(0, 2)).map(
        lambda drawn: np.arange(drawn[0].max() + drawn[1])[:, None] < drawn[0]
    )


def holes(max_batch: int = 4, max_length: int = 5) -> st.SearchStrategy[Array]:
    """Any mask, (T, N) booleans: sequences that pause and go on.

    `given(holes())` draws `array([[True], [False], [True]])`.
    """
    return st.tuples(st.integers(1, max_length), st.integers(1, max_batch)).flatmap(lambda shape: hnp.arrays(np.bool_, shape))


@st.composite
def ragged(draw: Draw, /, features: int = 2, *, max_batch: int = 4, max_length: int = 5, min_length: int = 1) -> list[Array]:
    """One batch of sequences of different lengths, a list of (length, features) arrays.

    `given(ragged(1))` draws `[array([[0.5]]), array([[0.], [1.2]])]`.
    """
    return [draw(arrays((int(n), features), scales=(1.0,))) for n in draw(lengths(max_batch, max_length, min_length))]


# ---- random networks -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A random composition of ops: call it on arrays or Tensors of the shapes of `inputs`; its repr is the program that it runs."""

    inputs: tuple[Array, ...]
    steps: tuple[tuple[str, tuple[int, ...], dict[str, Any]], ...]  # an op's name, the numbers of its operands, its settings

    def __call__(self, *inputs: Value) -> Value:
        """The value of the last step."""
        values = list(inputs)
        for name, operands, settings in self.steps:
            values.append(_apply(name, [values[i] for i in operands], settings))
        return values[-1]

    def __repr__(self) -> str:
        lines = [f"v{i} = array({x.tolist()})" for i, x in enumerate(self.inputs)]
        for i, (name, operands, settings) in enumerate(self.steps, len(self.inputs)):
            given = [f"v{j}" for j in operands]
            given = [f"[{', '.join(given)}]"] if name in ("concat", "stack") else given
            lines.append(f"v{i} = {name}({', '.join([*given, *(f'{key}={value!r}' for key, value in settings.items())])})")
        return "Network:\n    " + "\n    ".join(lines)


def _apply(name: str, operands: list[Value], settings: dict[str, Any]) -> Value:
    function = getattr(ops, name)
    return function(operands, **settings) if name in ("concat", "stack") else function(*operands, **settings)


_UNARY = ("tanh", "sigmoid", "softmax", "neg", "sum", "mean", "logsumexp", "transpose", "getitem", "reshape")
_BINARY = ("add", "sub", "mul", "matmul", "concat", "stack")
_KINKED = ("relu", "abs", "maximum", "minimum", "max", "min")


@st.composite
def networks(draw: Draw, /, *, max_inputs: int = 3, max_steps: int = 6, kinks: bool = False) -> Network:
    """Small random networks: a composition of ops, in which values are reused, as a callable with inputs for it; `kinks` lets relu in.

    Without kinks every op is analytic, so that a complex step can check the whole.  `given(networks())` draws a :class:`Network`, and
    `check_gradients(network, *network.inputs)` checks it.
    """
    few = st.sampled_from([(), (2,), (3,), (1, 3), (2, 3), (3, 2), (3, 3), (2, 2, 3)])
    inputs = [draw(arrays(draw(few), low=-2, high=2, scales=(1.0,))) for _ in range(draw(st.integers(1, max_inputs)))]
    values: list[Array] = list(inputs)
    steps = []
    for _ in range(draw(st.integers(1, max_steps))):
        binary = draw(st.booleans())
        name = draw(st.sampled_from([*(_BINARY if binary else _UNARY), *(_KINKED[2:4] if binary and kinks else _KINKED if kinks else ())]))
        newest = len(values) - 1
        operands = (draw(st.integers(0, newest)), newest) if name in (*_BINARY, "maximum", "minimum") else (newest,)
        x = values[newest]
        settings: dict[str, Any] = {}
        if name in ("sum", "mean", "logsumexp", "max", "min"):
            settings = {"axis": draw(axes(x.ndim))}
        elif name == "getitem":
            settings = {"index": draw(hnp.basic_indices(x.shape, allow_newaxis=True))}
        elif name == "reshape":
            settings = {"shape": draw(st.sampled_from([(-1,), (1, *x.shape), x.shape[::-1]]))}
        elif name == "softmax" and not x.ndim:
            continue
        elif name in ("softmax", "concat", "stack"):
            settings = {"axis": -1}
        try:
            with np.errstate(all="raise"):
                value = np.asarray(_apply(name, [values[i] for i in operands], settings))
        except (ValueError, TypeError, IndexError, FloatingPointError):
            continue  # these shapes do not fit this op: a network of one step less
        if value.size == 0 or value.size > 40 or np.abs(value).max() > 1e3:
            continue
        values.append(value)
        steps.append((name, operands, settings))
    if not steps:
        steps = [("tanh", (len(values) - 1,), {})]
    return Network(tuple(inputs), tuple(steps))
