"""The calculus: each op's derivative on top of its definition, then the functions composed of them.

An op is a function over plain arrays; the decorator gives it one gradient rule per operand, `(g, output, *operands, **settings)`, where g
is dL/d(output).  Given arrays an op is NumPy, given a Tensor it is NumPy plus a record.  Operands are positional, settings keyword-only.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .blas import product, summed
from .record import Array, Node, Part, Value, _recorded, fitted, is_view, op

Axis = int | tuple[int, ...] | None

# ---- arithmetic, with NumPy's broadcasting -------------------------------------------------------------------------------------------


@op(lambda g, y, a, b: g, lambda g, y, a, b: g)
def add(a: Value, b: Value) -> Value:
    """a + b."""
    return a + b


@op(lambda g, y, a, b: g, lambda g, y, a, b: -g)
def sub(a: Value, b: Value) -> Value:
    """a - b."""
    return a - b


@op(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
def mul(a: Value, b: Value) -> Value:
    """a * b, element by element."""
    return a * b


@op(lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b)
def div(a: Value, b: Value) -> Value:
    """a / b, element by element."""
    return a / b


@op(lambda g, y, x: -g)
def neg(x: Value) -> Value:
    """-x."""
    return -x


def _log_or_0(x: Value) -> Value:
    return log(where(x == 0, 1, x))


# x ** (n - 1) is not asked for where n = 0 (the derivative is 0 there, also at x = 0), nor log(x) at x = 0.
@op(lambda g, y, x, n: g * n * x ** (n - 1 + (n == 0)), lambda g, y, x, n: g * y * _log_or_0(x))
def pow(x: Value, n: Value) -> Value:
    """x ** n; the gradient with respect to n needs x >= 0."""
    return x**n


@op(lambda g, y, x: g * y)
def exp(x: Value) -> Value:
    """e ** x."""
    return np.exp(x)


@op(lambda g, y, x: g / x)
def log(x: Value) -> Value:
    """The natural logarithm of x > 0."""
    return np.log(x)


@op(lambda g, y, x: g / (y + y))
def sqrt(x: Value) -> Value:
    """The square root of x >= 0; its derivative is infinite at 0."""
    return np.sqrt(x)


# ---- nonlinearities ------------------------------------------------------------------------------------------------------------------


@op(lambda g, y, x: g - g * y * y)
def tanh(x: Value) -> Value:
    """tanh(x), in (-1, 1); tanh' = 1 - tanh**2."""
    return np.tanh(x)


@cache
def _one_and_most(dtype: Any) -> tuple[Array, Array]:
    """1, and the largest whole x whose exp(x) the dtype holds."""
    real = np.finfo(dtype if dtype.kind in "fc" else float)
    return np.array(1, real.dtype), np.array(np.floor(np.log(real.max)), real.dtype)


@op(lambda g, y, x: g * (y - y * y))
def sigmoid(x: Value) -> Value:
    """exp(x) / (1 + exp(x)), in (0, 1); sigmoid' = sigmoid (1 - sigmoid).  Without overflow, and accurate where it is tiny."""
    x = np.asarray(x)
    one, most = _one_and_most(x.dtype)
    y = np.asarray(np.minimum(x, most))
    np.exp(y, y)
    return np.divide(y, y + one, y)


@op(lambda g, y, x: g * (y > 0), analytic=False)
def relu(x: Value) -> Value:
    """max(x, 0); the derivative at 0 is taken as 0."""
    return np.maximum(x, 0)


@op(lambda g, y, x: g * (x > 0) - g * (x < 0), analytic=False)
def abs(x: Value) -> Value:
    """|x|; the derivative at 0 is taken as 0."""
    return np.abs(x)


# ---- choices -------------------------------------------------------------------------------------------------------------------------


@op(
    lambda g, y, a, b: (g * (a > b) + g * (a >= b)) / 2,
    lambda g, y, a, b: (g * (b > a) + g * (b >= a)) / 2,
    analytic=False,
)
def maximum(a: Value, b: Value) -> Value:
    """The larger of a and b, element by element; where they are equal each gets half of the gradient."""
    return np.maximum(a, b)


@op(
    lambda g, y, a, b: (g * (a < b) + g * (a <= b)) / 2,
    lambda g, y, a, b: (g * (b < a) + g * (b <= a)) / 2,
    analytic=False,
)
def minimum(a: Value, b: Value) -> Value:
    """The smaller of a and b, element by element; where they are equal each gets half of the gradient."""
    return np.minimum(a, b)


def _choose(condition: Value, a: Value, b: Value) -> Value:
    return where(condition, a, b)


@op(None, lambda g, y, c, a, b: _choose(c, g, 0), lambda g, y, c, a, b: _choose(c, 0, g), analytic=False)
def where(condition: Value, a: Value, b: Value) -> Value:
    """a where the condition holds, else b; the side not chosen gets a gradient of exactly 0."""
    return np.where(condition, a, b)


# ---- sums and extremes over axes -----------------------------------------------------------------------------------------------------


def _axes(x: Value, axis: Axis) -> tuple[int, ...]:
    if axis is None or x.ndim == 0:  # NumPy lets a single number be summed over axis 0 or -1
        return tuple(range(x.ndim))
    return normalize_axis_tuple(axis, x.ndim)


def _keep(y: Value, x: Value, axis: Axis) -> Value:
    """y, which is x reduced over `axis`, with the reduced axes back as axes of size 1."""
    axes = _axes(x, axis)
    return y.reshape(tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _count(x: Value, axis: Axis) -> int:
    return x.size if axis is None else math.prod(x.shape[i] for i in _axes(x, axis))


def _spread(g: Value, x: Value, axis: Axis) -> Value:
    return broadcast_to(g if axis is None else _keep(g, x, axis), shape=x.shape)


def _share(g: Value, y: Value, x: Value, axis: Axis) -> Value:
    """g to the elements of x that are equal to the extreme y, in equal shares."""
    chosen = x == _keep(y, x, axis)
    return _keep(g, x, axis) * chosen / chosen.sum(axis=_axes(x, axis), keepdims=True, dtype=x.dtype)


@op(lambda g, y, x, *, axis=None, keepdims=False: _spread(g, x, axis))
def sum(x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """The sum over `axis` (an axis, several, or None for all), which leaves the shape, or stays with size 1 (keepdims)."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@op(lambda g, y, x, *, axis=None, keepdims=False: _spread(g / _count(x, axis), x, axis))
def mean(x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """The mean over `axis`, as for `sum`."""
    x = np.asarray(x)
    if x.dtype.char not in "fd":  # whole numbers and float16, which np.mean adds up in a wider dtype, and others
        return np.mean(x, axis=axis, keepdims=keepdims)
    return x.sum(axis=axis, keepdims=keepdims) / _count(x, axis)  # the same, and of few numbers in a third of the time


@op(lambda g, y, x, *, axis=None, keepdims=False: _share(g, y, x, axis), analytic=False)
def max(x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """The largest element over `axis`; elements that tie for it share its gradient equally."""
    return np.max(x, axis=axis, keepdims=keepdims)


@op(lambda g, y, x, *, axis=None, keepdims=False: _share(g, y, x, axis), analytic=False)
def min(x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """The smallest element over `axis`; elements that tie for it share its gradient equally."""
    return np.min(x, axis=axis, keepdims=keepdims)


@op(lambda g, y, x, *, axis=None, keepdims=False: _keep(g, x, axis) * exp(x - _keep(y, x, axis)))
def logsumexp(x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """log(sum(exp(x))) over `axis`, computed as m + log(sum(exp(x - m))) with m = max(x), so that no exp overflows."""
    x = x if x.dtype.kind in "fc" else x.astype(float)
    m = np.asarray(np.maximum.reduce(x.real, axis=axis, keepdims=True, initial=-np.inf))
    m[~np.isfinite(m)] = 0
    e = np.asarray(x - m)
    total = np.asarray(summed(np.exp(e, out=e), _axes(x, axis)))
    with np.errstate(divide="ignore"):  # the log of an empty sum is -inf
        y = np.log(total) + m.reshape(total.shape)
    return _keep(y, x, axis) if keepdims else y


# ---- products ------------------------------------------------------------------------------------------------------------------------


def _matrices(g: Value, a: Value, b: Value) -> tuple[Value, Value, Value]:
    """g, a and b with the axes that matmul adds to vectors: (..., M, N), (..., M, K), (..., K, N)."""
    if b.ndim == 1:
        g, b = g[..., None], b[:, None]
    if a.ndim == 1:
        g, a = g[..., None, :], a[None, :]
    return g, a, b


def _rows(x: Value) -> Value:
    """x (..., K) as one matrix, or a vector as a matrix of one row."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _matmul_a(g: Value, y: Value, a: Value, b: Value) -> Value:
    if a.ndim == 1 or b.ndim == 1:
        g, _, b = _matrices(g, a, b)
    return matmul(g, b.swapaxes(-1, -2))


def _matmul_b(g: Value, y: Value, a: Value, b: Value) -> Value:
    vector = b.ndim == 1
    g, a, b = _matrices(g, a, b)
    if b.ndim == 2:  # one matrix for the whole batch: the sum over the batch is part of the product
        g, a = _rows(g), _rows(a)
    product = a.swapaxes(-1, -2) @ g
    return product[..., 0] if vector else product


def _matmul_b_together(uses: list[Any]) -> Array:
    """dL/dW = sum over t of a_t^T g_t, for a weight W that many products share: products of stacks, as few as are good for the cache."""
    W = uses[0][2][1]
    if W.ndim != 2:
        return _added(fitted(_matmul_b(g, y, a, b), b, matmul) for g, y, (a, b), _ in uses)
    pairs = [(_rows(a), _rows(g)) for g, _, (a, _), _ in uses]
    at_once = 512 // (len(pairs[0][0]) or 1) or 1  # products of fewer rows are slower, of more no faster, and there is more to join
    stacks = (zip(*pairs[i : i + at_once], strict=True) for i in range(0, len(pairs), at_once))
    return _added(_joined(a).T @ _joined(g) for a, g in stacks)


def _joined(pieces: Sequence[Array]) -> Array:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _added(terms: Iterable[Array]) -> Array:
    """Their sum, in the first of them."""
    terms = iter(terms)
    total = next(terms)
    for term in terms:
        total += term
    return total


@op(_matmul_a, _matmul_b, together={1: _matmul_b_together})
def matmul(a: Value, b: Value) -> Value:
    """The matrix product a @ b, (..., M, K) @ (..., K, N) -> (..., M, N), batched and with vectors as NumPy has it.

    Raises ValueError where the inner sizes differ, or one operand is a scalar.
    """
    try:
        if b.ndim != 2 or a.ndim < 2:
            return a @ b
        # One large product is faster than a batch of small ones.
        return product(a, b) if a.ndim == 2 else product(_rows(a), b).reshape(*a.shape[:-1], b.shape[-1])
    except (ValueError, AttributeError) as error:  # a Python scalar has no ndim
        raise ValueError(f"matmul: {np.shape(a)} @ {np.shape(b)}: {_mismatch(np.shape(a), np.shape(b))}") from error


def _mismatch(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    if not (a and b):
        return "a scalar has no matrix product; multiply with *."
    inner = a[-1], b[-2:][0]
    if inner[0] != inner[1]:
        return f"inner sizes {inner[0]} and {inner[1]} differ."
    return f"batch shapes {a[:-2]} and {b[:-2]} do not broadcast."


# ---- shapes --------------------------------------------------------------------------------------------------------------------------


@op(lambda g, y, x, *, shape: g.reshape(x.shape))
def reshape(x: Value, *, shape: int | Sequence[int]) -> Value:
    """The same elements in row-major order in another shape; one size may be -1."""
    return np.reshape(x, shape)


def _transpose_back(g: Value, axes: Sequence[int] | None) -> Value:
    return transpose(g, axes=None if axes is None else np.argsort(normalize_axis_tuple(axes, g.ndim)))


@op(lambda g, y, x, *, axes=None: _transpose_back(g, axes))
def transpose(x: Value, *, axes: Sequence[int] | None = None) -> Value:
    """The axes in the order `axes`, or reversed."""
    return np.transpose(x, axes)


@op(lambda g, y, x, *, axis1, axis2: g.swapaxes(axis1, axis2))
def swapaxes(x: Value, *, axis1: int, axis2: int) -> Value:
    """Two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


@op(lambda g, y, x, *, shape: g)
def broadcast_to(x: Value, *, shape: Sequence[int]) -> Value:
    """x repeated along new axes, and along those of size 1, up to `shape`."""
    return np.broadcast_to(x, shape)


@op(lambda g, y, x, *, dtype: g if np.dtype(dtype).kind == x.dtype.kind else g * 0)
def astype(x: Value, *, dtype: Any) -> Value:
    """The same numbers in another dtype; the gradient comes back in x's own, and is 0 where they were rounded to integers."""
    return x.astype(dtype)


# ---- selecting and joining -----------------------------------------------------------------------------------------------------------


def _add_at(buffer: Array, index: Any, g: Array) -> None:
    """buffer[index] += g, where an element that is indexed twice gets both."""
    if is_view(index):
        part = buffer[index]
        if part.__class__ is np.ndarray:
            part += g
        else:  # a single element
            buffer[index] += g
    elif isinstance(index, np.ndarray) and index.dtype.kind in "iu" and index.size and buffer.size:
        _add_rows(buffer, index.ravel().astype(np.intp) % len(buffer), g.reshape(index.size, *buffer.shape[1:]))
    else:
        np.add.at(buffer, index, g)


def _add_rows(buffer: Array, rows: Array, g: Array) -> None:
    """buffer[rows] += g, rows that come many times summed first: three to nine times as fast as np.add.at."""
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    counts = np.diff(first, append=len(rows))
    often = counts**2 > len(rows)  # so that neither loop is longer than the root of their number
    for a, n in zip(first[often].tolist(), counts[often].tolist(), strict=True):  # row after row
        buffer[rows[a]] += g[order[a : a + n]].sum(axis=0)
    first, counts = first[~often], counts[~often]
    for k in range(counts.max(initial=0)):  # all that come a first time, a second time, and so on
        at = first[counts > k] + k
        buffer[rows[at]] += g[order[at]]


@op(lambda g, y, x, *, index, shape: g[index])
def _put(x: Value, *, index: Any, shape: tuple[int, ...]) -> Value:
    """Zeros of `shape` with x added at `index`: the transpose of indexing."""
    buffer = np.zeros(shape, x.dtype)
    _add_at(buffer, index, x)
    return buffer


def _getitem_together(uses: list[Any]) -> Array:
    """Steps and parts that make up the whole tensor are joined; others are added up in zeros."""
    x = uses[0][2][0]
    pieces = [(settings["index"], g) for g, _, _, settings in uses]
    kind = pieces[0][0].__class__
    whole = _steps_joined(pieces, len(x)) if kind is int else _parts_joined(pieces) if kind is Part else None
    if whole is not None:
        return whole
    total = np.zeros(x.shape, x.dtype)
    for index, g in pieces:
        _add_at(total, index, g)
    return total


def _steps_joined(pieces: list[tuple[Any, Array]], n: int) -> Array | None:
    """The gradient of x, of length n, from those of x[0], x[1], ..., x[n - 1]; None where the pieces are others."""
    if len(pieces) != n or any(index.__class__ is not int for index, _ in pieces):
        return None
    pieces = sorted(pieces, key=itemgetter(0))
    return np.array([g for _, g in pieces]) if all(index == t for t, (index, _) in enumerate(pieces)) else None


def _parts_joined(pieces: list[tuple[Any, Array]]) -> Array | None:
    """The gradient of x from those of the parts into which `split` cuts it; None where the pieces are others, or not all."""
    parts, axis = pieces[0][0].parts, pieces[0][0].axis
    found = {index.i: g for index, g in pieces if index.__class__ is Part and index.parts is parts}
    if not len(found) == len(pieces) == len(parts):
        return None
    return np.concatenate([found[i] for i in range(len(parts))], axis=axis)


@op(lambda g, y, x, *, index: _put(g, index=index, shape=x.shape), together={0: _getitem_together})
def getitem(x: Value, *, index: Any) -> Value:
    """x[index], by integers, slices, None, ..., and arrays of integers or booleans.  Raises IndexError where it is out of range."""
    return x[index]


def _along(axis: int, indices: Array) -> Any:
    indices = np.asarray(indices, np.intp)  # np.take takes truths for 0 and 1, an index does not
    return (slice(None),) * axis + (indices,) if axis else indices


def _take_together(uses: list[Any]) -> Array:
    """Look-ups in one table, over many time steps, are one look-up."""
    table = uses[0][2][0]
    total = np.zeros(table.shape, table.dtype)
    along_0 = [
        (_along(0, i).ravel(), g.reshape(np.size(i), *total.shape[1:])) for g, _, (_, i), settings in uses if not settings.get("axis")
    ]
    if along_0:
        _add_at(total, *map(_joined, zip(*along_0, strict=True)))
    for g, _, (_, i), settings in uses:
        if axis := settings.get("axis"):
            _add_at(total, _along(axis % total.ndim, i), g)
    return total


@op(
    lambda g, y, x, i, *, axis=0, wrap=True: _put(g, index=_along(axis % x.ndim, _plain(i)), shape=x.shape),
    None,
    together={0: _take_together},
)
def take(x: Value, indices: Value, *, axis: int = 0, wrap: bool = True) -> Value:
    """The slices of x at `indices` (integers of any shape) along `axis`: for a table (V, C) the look-up of an embedding, (..., C).

    wrap: whether indices below 0 count from the end, as NumPy's do.
    """
    if x.ndim == 0:
        raise ValueError("a single number has no slices to take.")
    if not wrap and np.size(indices) and not 0 <= np.min(indices) <= np.max(indices) < x.shape[axis]:
        raise ValueError(f"symbols from {np.min(indices)} to {np.max(indices)}, expected integers in [0, {x.shape[axis]}).")
    return np.take(x, indices, axis=axis)


def _concat_rule(i: int, g: Value, y: Value, xs: Sequence[Value], axis: int = 0, edges: Sequence[int] = ()) -> Value:
    edges = edges or _edges(xs, axis)
    return g[(slice(None),) * (axis % g.ndim) + (slice(edges[i], edges[i + 1]),)]


def _edges(xs: Sequence[Value], axis: int) -> tuple[int, ...]:
    """Where each of xs begins in their concatenation, and where the last ends."""
    return (0, *itertools.accumulate(np.shape(x)[axis] if isinstance(x, (list, tuple)) else x.shape[axis] for x in xs))


@op(each=_concat_rule, name="concat")
def _concat(*xs: Value, axis: int = 0, edges: Sequence[int] = ()) -> Value:
    return np.concatenate(xs, axis=axis)


@op(each=lambda i, g, y, xs, axis=0: g[(slice(None),) * (axis % g.ndim) + (i,)], name="stack")
def _stack(*xs: Value, axis: int = 0) -> Value:
    with contextlib.suppress(ValueError):  # np.stack says better what is wrong, but takes up to five times as long
        if xs and axis == 0 and axis.__class__ is int:
            return np.array(xs)
    return np.stack(xs, axis=axis)


def concat(xs: Sequence[Value], axis: int = 0) -> Value:
    """The tensors xs, whose other sizes agree, one after the other along `axis`."""
    try:
        edges = _edges(xs, axis)
    except IndexError:
        raise ValueError(f"concat: axis {axis} is none of the axes of {[np.shape(x) for x in xs]}; stack makes a new one.") from None
    return _concat(*xs, axis=axis, edges=edges)


def stack(xs: Sequence[Value], axis: int = 0) -> Value:
    """The tensors xs, all of one shape, along a new `axis`.  Raises ValueError where shapes differ, or there are none."""
    return _stack(*xs, axis=axis)


# ---- a loss --------------------------------------------------------------------------------------------------------------------------


def _at(x: Value, targets: Array) -> Array:
    """The position of each target's score in x.ravel()."""
    return np.arange(targets.size).reshape(targets.shape) * x.shape[-1] + targets.astype(np.intp)


def _cross_entropy_x(g: Value, y: Value, x: Value, targets: Value) -> Value:
    right = np.zeros(x.shape, x.dtype)
    right.put(_at(x, targets), 1)
    return g[..., None] * (softmax(x) - right)


def _less_target(g: Array, y: Array, x: Array, at: Array) -> Array:
    # log(sum(exp(x))), of which y keeps too few digits where it is large, and none where it is infinite.
    total = y + x.take(at) if (y < 32).all() else logsumexp(x, axis=-1)
    p: Array = x - total[..., None]
    np.exp(p, out=p)
    p.put(at, p.take(at) - 1)
    p *= g[..., None]
    return p


def _cross_entropy_together(uses: list[Any]) -> Array:
    """g (p - 1 at the target), where p = softmax(x), in the array of p."""
    return _added(_less_target(g, y, x, _at(x, targets)) for g, y, (x, targets), _ in uses)


@op(_cross_entropy_x, None, together={0: _cross_entropy_together}, name="cross_entropy")
def _cross_entropy(x: Value, targets: Value) -> Value:
    """-log softmax(x)[target] over the last axis: (..., K), (...) -> (...); the gradient is softmax(x), less 1 at the target.

    It has a rule of its own since g (p - 1) keeps the digits that g p - g, which the rules of its parts give, loses where p is near 1.
    """
    return logsumexp(x, axis=-1) - x.take(_at(x, targets))


# ---- composed of the above: no rules of their own ------------------------------------------------------------------------------------


def split(x: Value, sections: int | Sequence[int], axis: int = 0) -> list[Value]:
    """x cut along `axis` into `sections` equal parts, or before each index of `sections`, as np.split does.

    Raises ValueError where the size is no multiple of the number of sections.
    """
    parts = _parts(x.shape, sections if isinstance(sections, (int, np.integer)) else tuple(sections), axis)
    if not isinstance(x, Node):
        return [x[part] for part, _ in parts]
    # What getitem(x, index=part) would record, but all parts share what is the same.
    inputs, arrays = (x,), (x._data,)
    return [_recorded(x.__class__, x._data[part], x._requires_grad, getitem, inputs, arrays, settings) for part, settings in parts]


@lru_cache
def _parts(shape: tuple[int, ...], sections: int | tuple[int, ...], axis: int) -> list[tuple[Part, dict[str, Part]]]:
    """The index of each part, and as the setting of an op; kept, since a cell asks for the same ones at every step."""
    size = shape[axis]
    if isinstance(sections, (int, np.integer)):
        if sections < 1 or size % sections:
            raise ValueError(f"split: axis {axis} of shape {shape} has size {size}, which {sections} equal sections do not divide.")
        sections = tuple(range(size // sections, size, size // sections)) if size else (0,) * (sections - 1)
    before = (slice(None),) * (axis % len(shape))
    parts = [Part((*before, slice(a, b))) for a, b in itertools.pairwise([None, *sections, None])]
    cuts = [part[-1].indices(size)[:2] for part in parts]
    tile = all(a <= b for a, b in cuts) and all(b == c for (_, b), (c, _) in itertools.pairwise(cuts))
    for i, part in enumerate(parts):
        part.i, part.axis, part.parts = i, axis, parts if tile else []
    return [(part, {"index": part}) for part in parts]


def softmax(x: Value, axis: int = -1) -> Value:
    """exp(x) / sum(exp(x)) along `axis`: positive numbers that sum to 1; finite for inputs of any size."""
    return exp(log_softmax(x, axis))


def log_softmax(x: Value, axis: int = -1) -> Value:
    """log(softmax(x)) = x - logsumexp(x) along `axis`."""
    return x - logsumexp(x, axis=axis, keepdims=True)


def cross_entropy(logits: Value, targets: Value, mask: Value = None, reduction: Literal["mean", "sum", "none"] = "mean") -> Value:
    """-log softmax(logits)[target], in nats: how unexpected the targets were.

    logits: (..., K) scores of K classes; targets: (...) integers in [0, K); mask: (...) booleans, where False the position does not count
    and its target may be anything.  reduction: "mean" over the positions that count, their "sum", or "none", which gives (...).
    Raises TypeError for targets that are not integers, ValueError for shapes that do not match, a class outside [0, K), a mean over
    nothing.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction={reduction!r}, expected "mean", "sum" or "none".')
    targets, mask = _checked_targets(logits.shape, targets, mask)
    count = targets.size if mask is None else int(mask.sum())
    if reduction == "mean" and not count:
        raise ValueError('cross_entropy: no position counts, so there is no mean; skip this batch, or take reduction="sum".')
    losses = _cross_entropy(logits, targets)
    if mask is not None:
        losses = where(mask, losses, 0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    return mean(losses) if mask is None else sum(losses) / count


def _plain(x: Value) -> Array:
    return x.data if isinstance(x, Node) else np.asarray(x)


def _checked_targets(shape: tuple[int, ...], targets: Value, mask: Value) -> tuple[Array, Array | None]:
    targets = _plain(targets)
    if targets.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets are {targets.dtype}, expected integers, the index of the right class.")
    if not shape or targets.shape != shape[:-1]:
        raise ValueError(f"cross_entropy: logits {shape} and targets {targets.shape}: expected (..., K) and (...).")
    if mask is not None:
        mask = _plain(mask)
        if mask.shape != targets.shape or mask.dtype != bool:
            raise ValueError(f"cross_entropy: mask is {mask.dtype} {mask.shape}, expected bool {targets.shape}.")
        targets = np.where(mask, targets, 0)
    if targets.size and not 0 <= targets.min() <= targets.max() < shape[-1]:
        raise ValueError(f"cross_entropy: targets from {targets.min()} to {targets.max()}, expected classes in [0, {shape[-1]}).")
    return targets, mask
