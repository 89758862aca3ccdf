"""Matrix products and sums in the way that takes the least time of those the BLAS offers.

Where a processor has AVX-512, OpenBLAS has kernels of their own for small products.  For the few rows of a recurrent network's batch they
take a tenth to nine tenths of the time of those for large products: so a product that is just too large, or very long, is done in blocks.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .record import Array

SMALL = 10**6  # multiplications up to which OpenBLAS takes a product for small
SMALL_TURNED = 1024  # and numbers in the result, where the second matrix is the transpose of an array
NARROW = 32  # columns of a block, half as many where it is turned: narrower ones are slow
LONG, INNER = 64, 128  # rows from which a product is done in blocks of half as many, where it has few inner terms
WORTH = 300_000  # multiplications from which blocks pay
SHORT = 1024  # numbers whose sum loses no more as a product than as a sum of halves of halves


def _has_small_kernels() -> bool:
    built = np.show_config(mode="dicts")
    features = built.get("SIMD Extensions", {}).get("found", [])
    library = built.get("Build Dependencies", {}).get("blas", {}).get("name", "")  # NumPy leaves out what it does not know
    return "openblas" in library and not {"AVX512_SKX", "X86_V4"}.isdisjoint(features)


SMALL_KERNELS = _has_small_kernels()


@lru_cache(1024)
def blocks(rows: int, inner: int, columns: int, turned: bool = False) -> tuple[int, int]:
    """In how many blocks of rows, and of columns, (rows, inner) @ (inner, columns) is done: (1, 1) is in one.

    turned: the second matrix is the transpose of an array.
    """
    work = rows * inner * columns
    fits = work <= SMALL and (not turned or rows * columns <= SMALL_TURNED)
    if not SMALL_KERNELS or rows == 1 or fits or work < WORTH:
        return 1, 1
    down = 1
    if rows > LONG and rows % (LONG // 2) == 0 and inner <= INNER and not turned:
        down, rows = rows // (LONG // 2), LONG // 2
    most, least = min(SMALL // (rows * inner), columns), NARROW
    if turned:
        most, least = min(most, SMALL_TURNED // rows), NARROW // 2
    across = next((columns // n for n in range(most, least - 1, -1) if columns % n == 0), 0)
    return (down, across) if across else (1, 1)


def in_columns(matrix: Array, across: int) -> Array:
    """(..., M, N) as a view of its blocks of columns, (..., across, M, N / across)."""
    *rows, columns = matrix.shape
    return matrix.reshape((*rows, across, columns // across)).swapaxes(-2, -3)


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b, (M, K) @ (K, N) -> (M, N), into `out` where that is given.

    Raises ValueError where the sizes, or that of `out`, do not fit.
    """
    if len(a) * b.size < WORTH or a.dtype != b.dtype or a.dtype.char not in "fd" or a.shape[1] != len(b):
        return a.dot(b, out)  # which on small matrices takes three fifths of the time of a @ b
    (rows, inner), columns = a.shape, b.shape[1]
    turned = not b.flags.c_contiguous
    if turned and rows > LONG and inner <= INNER and SMALL_KERNELS:
        b, turned = b.copy(), False
    down, across = blocks(rows, inner, columns, turned) if a.flags.c_contiguous else (1, 1)
    if down * across > 1:
        y = np.empty((rows, columns), a.dtype) if out is None else out
        of_a, of_y = (a, y) if down == 1 else (a.reshape(down, 1, -1, inner), y.reshape(down, -1, columns))
        np.matmul(of_a, in_columns(b, across), in_columns(of_y, across))
        return y
    if SMALL_KERNELS and turned and 16 <= rows <= 128 and b.size >= 1 << 17 and a.dtype.char == "f" and out is None:
        return b.T.dot(a.T).T.copy()  # (b^T a^T)^T, since it takes a third longer where the larger matrix is the turned one
    return a.dot(b, out)


@lru_cache(16)
def _ones(n: int, dtype: Any) -> Array:
    return np.ones(n, dtype)


def summed(x: Any, axes: tuple[int, ...]) -> Any:
    """x.sum(axis=axes), of an array or a Tensor: the shape without these axes, which are counted from 0.

    Over the first axes, or a short last one, it is a product with ones, which takes a third of the time of a sum.
    """
    if not isinstance(x, np.ndarray) or x.dtype.char not in "fd" or not axes or len(axes) == x.ndim or not x.size:
        return x.sum(axis=axes)
    rest = x.shape[len(axes) :]
    if axes == tuple(range(len(axes))) and (size := math.prod(rest)) > 1:
        rows = x.reshape(-1, size)
        return _ones(len(rows), x.dtype).dot(rows).reshape(rest)
    if axes == (x.ndim - 1,) and x.shape[-1] <= SHORT:
        return x.reshape(-1, x.shape[-1]).dot(_ones(x.shape[-1], x.dtype)).reshape(x.shape[:-1])
    return x.sum(axis=axes)
