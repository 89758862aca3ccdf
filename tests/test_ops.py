"""Every op against NumPy and against its own derivatives: a table with a row (or more) per op, and the properties that hold for each row.

`run_row(row, ops)` judges one row of any module with these ops, so that mutants of the op table can be tried:

    for row in ROWS:
        run_row(row, mutated_module)   # raises where a property fails
"""

from __future__ import annotations

import itertools
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tinygrad_seq import Tensor, blas, grad, strategies
from tinygrad_seq import ops as the_ops
from tinygrad_seq.check import check_gradients
from tinygrad_seq.strategies import arrays, axes, axis, broadcastable, broadcastable_shapes, distinct, shapes

Array = Any
Point = tuple[tuple[Array, ...], dict[str, Any]]  # the arrays to differentiate with respect to, and all else that the op is given
Call = Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """An op, called in one way.

    call(ops, *arrays, **rest) runs it, reference(*arrays, **rest) is NumPy's way, points and corners say where.
    """

    op: str
    reference: Call
    points: Any
    corners: tuple[Point, ...] = ()
    call: Call = None  # type: ignore[assignment]  # by default the op itself
    case: str = ""

    def run(self, ops: Any, *xs: Any, **rest: Any) -> Any:
        return self.call(ops, *xs, **rest) if self.call else getattr(ops, self.op)(*xs, **rest)

    def __str__(self) -> str:
        return f"{self.op}-{self.case}" if self.case else self.op


# ---- what to draw --------------------------------------------------------------------------------------------------------------------


def alone(strategy: Any) -> Any:
    return strategy.map(lambda x: ((x,), {}))


def several(strategy: Any) -> Any:
    return strategy.map(lambda xs: (tuple(xs), {}))


@st.composite
def reductions(draw: Any, of: Any) -> Point:
    """An array and what a reduction is told, spelled out or left to its default."""
    x = draw(of)
    rest = {}
    if draw(st.booleans()):
        rest["axis"] = draw(axes(x.ndim))
    if draw(st.booleans()):
        rest["keepdims"] = draw(st.booleans())
    return (x,), rest


@st.composite
def apart(draw: Any) -> Point:
    """Two operands that broadcast and tie nowhere, either being the larger."""
    a, b = draw(broadcastable_shapes(2))
    tenths = st.sampled_from([1.0, 0.01]).flatmap(
        lambda scale: st.tuples(whole(a), whole(b)).map(lambda ab: (ab[0] * scale, (ab[1] + 0.5) * scale))
    )
    return draw(tenths), {}


def whole(shape: tuple[int, ...]) -> Any:
    return arrays(shape, low=-0.005, high=0.005, scales=(1000.0,)).map(lambda x: np.asarray(np.round(x)))


@st.composite
def chosen(draw: Any) -> Point:
    c, a, b = draw(broadcastable_shapes(3))
    return (draw(arrays(a)), draw(arrays(b))), {"condition": draw(arrays(c)) > 0}


@st.composite
def with_(draw: Any, of: Any, **rest: Callable[[Array], Any]) -> Point:
    """An array, and settings drawn to fit it; a strategy of `LEFT_OUT` leaves one to its default."""
    x = draw(of)
    drawn = {key: draw(make(x)) for key, make in rest.items()}
    return (x,), {key: value for key, value in drawn.items() if value is not LEFT_OUT}


LEFT_OUT: Any = object()
some = arrays(shapes(min_dims=1, min_side=1), scales=(1.0, 1e-3))
full = arrays(shapes(min_side=1), scales=(1.0, 1e-3, 30.0))


def reshaped(x: Array) -> Any:
    return st.sampled_from(
        [(-1,), (1, *x.shape), x.shape[::-1], (x.size, 1), *([-1] if x.size else [])] if x.size else [(0,), x.shape, (0, 2)]
    )


def any_axes(x: Array) -> Any:
    order = st.permutations(range(x.ndim)).flatmap(lambda p: st.sampled_from([tuple(p), tuple(i - x.ndim for i in p), list(p)]))
    return st.one_of(st.just(LEFT_OUT), st.just(None), order)


def wider(x: Array) -> Any:
    return st.sampled_from([x.shape, (2, *x.shape), (3, 1, *x.shape), tuple(3 if n == 1 else n for n in x.shape)])


@st.composite
def rows_of(draw: Any, x: Array) -> tuple[Array, Any]:
    along = draw(st.one_of(st.just(LEFT_OUT), axis(x.ndim)))
    size = x.shape[0 if along is LEFT_OUT else along]
    return draw(strategies.hnp.arrays(np.intp, shapes(0, 2, 0, 4), elements=st.integers(-size, size - 1))), along


@st.composite
def looked_up(draw: Any) -> Point:
    x = draw(some)
    indices, along = draw(rows_of(x))
    return (x,), {"indices": indices} | ({} if along is LEFT_OUT else {"axis": along})


@st.composite
def put(draw: Any) -> Point:
    shape = draw(shapes())
    index = draw(strategies.indices(shape))
    return (draw(arrays(np.zeros(shape)[index].shape)),), {"index": index, "shape": shape}


@st.composite
def joined(draw: Any, new_axis: bool) -> Point:
    shape = draw(shapes(min_dims=0 if new_axis else 1))
    along = draw(st.one_of(st.just(LEFT_OUT), axis(len(shape) + new_axis)))
    n = draw(st.integers(1, 4))
    at = 0 if along is LEFT_OUT else along % (len(shape) + new_axis)
    sizes = [draw(st.integers(0, 3)) for _ in range(n)]
    xs = tuple(draw(arrays(shape if new_axis else (*shape[:at], m, *shape[at + 1 :]))) for m in sizes)
    return xs, {} if along is LEFT_OUT else {"axis": along}


@st.composite
def parted(draw: Any) -> Point:
    x = draw(arrays(shapes(min_dims=1)))
    along = draw(st.one_of(st.just(LEFT_OUT), axis(x.ndim)))
    size = x.shape[0 if along is LEFT_OUT else along]
    equal = st.sampled_from([n for n in range(1, 5) if size % n == 0])
    sections = draw(st.one_of(equal, st.lists(st.integers(0, size), max_size=3).map(sorted)))
    return (x,), {"sections": sections} | ({} if along is LEFT_OUT else {"axis": along})


@st.composite
def classified(draw: Any, choices: bool = True) -> Point:
    """Scores and targets, and, with choices, a reduction and a mask."""
    shape = draw(shapes(0, 2, 1, 3))
    k = draw(st.integers(1, 4))
    targets = draw(strategies.hnp.arrays(np.intp, shape, elements=st.integers(0, k - 1)))
    rest: dict[str, Any] = {"targets": targets}
    if choices and draw(st.booleans()):
        rest["reduction"] = draw(st.sampled_from(["mean", "sum", "none"]))
    if choices and draw(st.booleans()):
        mask = draw(strategies.hnp.arrays(np.bool_, shape).filter(np.any))
        rest["mask"] = mask
        rest["targets"] = np.where(mask, targets, draw(strategies.hnp.arrays(np.int64, shape, elements=st.integers(-(2**40), 2**40))))
    return (draw(arrays((*shape, k), scales=(1.0, 1e-3, 30.0))),), rest


# ---- NumPy's way ---------------------------------------------------------------------------------------------------------------------


def np_logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.log(np.sum(np.exp(np.asarray(x, np.longdouble)), axis=axis, keepdims=keepdims))


def np_log_softmax(x: Array, axis: int = -1) -> Array:
    below = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return below - np_logsumexp(below, axis, True)


def np_put(x: Array, index: Any, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape)
    np.add.at(out, index, x)
    return out


def np_cross_entropy(logits: Array, targets: Array, mask: Array | None = None, reduction: str = "mean") -> Array:
    losses = np.zeros(targets.shape)
    counted = np.ones(targets.shape, bool) if mask is None else mask
    for position in np.ndindex(targets.shape):
        if counted[position]:
            losses[position] = -np_log_softmax(logits[position])[targets[position]]
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / counted.sum()}[reduction]


def backwards(parts: list[Any], axis: int, concat: Any) -> Any:
    return concat(parts[::-1], axis)


# ---- the table -----------------------------------------------------------------------------------------------------------------------

CORNERS: tuple[Point, ...] = tuple(((np.full(shape, 0.7),), {}) for shape in [(), (1,), (0,), (2, 0, 3), (1, 1)])
PAIRS: tuple[Point, ...] = tuple(
    ((np.full(a, 0.7), np.full(b, 0.4)), {})
    for a, b in [((), ()), ((), (2,)), ((1,), ()), ((0,), (1,)), ((2, 0), (3, 1, 1)), ((2, 1), (3,)), ((3,), (2, 1))]
)
REDUCED: tuple[Point, ...] = (
    *tuple(
        ((distinct_numbers,), rest)
        for distinct_numbers in [np.array([[0.5, -1.0, 2.0], [0.1, 3.0, -0.7]])]
        for rest in [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, -1)}, {"axis": ()}, {"keepdims": True}]
    ),
    *(((np.linspace(-1, 2, 24).reshape(2, 3, 4) ** 3,), {"axis": axis}) for axis in [(2, 1), (2, 0), (1, 0), (0, -1, 1)]),
    ((np.array(0.5),), {}),
    ((np.array([0.5]),), {"axis": 0}),
)
EMPTY_SUMS: tuple[Point, ...] = (
    ((np.zeros((0,)),), {}),
    ((np.zeros((2, 0)),), {"axis": 0}),
    ((np.zeros((2, 0)),), {"axis": 1, "keepdims": True}),
)
GRID = np.arange(12.0).reshape(3, 4) / 7
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7


def at(x: Array, **settings: Any) -> Point:
    return (x,), settings


ROWS: list[Row] = [
    Row("add", np.add, several(broadcastable()), PAIRS),
    Row("sub", np.subtract, several(broadcastable()), PAIRS),
    Row("mul", np.multiply, several(broadcastable()), PAIRS),
    Row("div", np.divide, several(broadcastable(gap=0.1)), PAIRS),
    Row("neg", np.negative, alone(arrays()), CORNERS),
    Row("pow", np.power, several(broadcastable(low=0.2, scales=(1.0,))), PAIRS),
    Row(
        "pow",
        lambda x, n: x**n,
        with_(arrays(gap=0.2, scales=(1.0, 1e-1)), n=lambda x: st.sampled_from([-2, -1, 0, 1, 2, 3, 5])),
        tuple(at(np.array([0.0, 0.5, -2.0]), n=n) for n in (0, 1, 2, 3)),
        case="whole-exponent",
        call=lambda ops, x, n: ops.pow(x, n),
    ),
    Row(
        "pow",
        lambda n, base: base**n,
        with_(arrays(scales=(1.0,)), base=lambda n: st.sampled_from([0.5, 2.0, 3])),
        (at(GRID, base=2),),
        case="constant-base",
        call=lambda ops, n, base: ops.pow(base, n),
    ),
    Row("exp", np.exp, alone(arrays()), CORNERS),
    Row("log", np.log, alone(arrays(low=0.1)), CORNERS),
    Row("sqrt", np.sqrt, alone(arrays(low=0.1)), CORNERS),
    Row("tanh", np.tanh, alone(arrays()), CORNERS),
    Row("sigmoid", lambda x: 1 / (1 + np.exp(-np.asarray(x, np.longdouble))), alone(arrays()), CORNERS),
    Row("relu", lambda x: np.where(x > 0, x, 0), alone(arrays(gap=0.1)), CORNERS),
    Row("abs", np.abs, alone(arrays(gap=0.1)), CORNERS),
    Row("maximum", np.maximum, apart(), PAIRS),
    Row("minimum", np.minimum, apart(), PAIRS),
    Row(
        "where",
        lambda a, b, condition: np.where(condition, a, b),
        chosen(),
        (((np.array(1.0), GRID), {"condition": GRID > 0.5}),),
        call=lambda ops, a, b, condition: ops.where(condition, a, b),
    ),
    Row("sum", np.sum, reductions(arrays()), (*REDUCED, *EMPTY_SUMS, ((np.array(0.5),), {"axis": -1}))),
    Row("mean", np.mean, reductions(full), REDUCED),
    Row("max", np.max, reductions(distinct(shapes(min_side=1))), REDUCED),
    Row("min", np.min, reductions(distinct(shapes(min_side=1))), REDUCED),
    Row("logsumexp", np_logsumexp, reductions(full), REDUCED),
    Row(
        "matmul",
        np.matmul,
        several(strategies.matmul_operands()),
        tuple(
            ((np.full(a, 0.7), np.full(b, 0.4)), {})
            for a, b in [
                ((3,), (3,)),
                ((2, 3), (3,)),
                ((3,), (3, 2)),
                ((1, 1), (1, 1)),
                ((0, 2), (2, 3)),
                ((2, 0), (0, 3)),
                ((2, 3), (3, 0)),
                ((5, 2, 3), (3, 2)),
                ((5, 2, 3), (3,)),
                ((3,), (5, 3, 2)),
                ((5, 1, 2, 3), (4, 3, 2)),
                ((0, 2, 3), (3, 2)),
            ]
        ),
    ),
    Row("reshape", np.reshape, with_(arrays(), shape=reshaped), (at(GRID, shape=(2, -1)), at(GRID, shape=12))),
    Row(
        "transpose",
        lambda x, axes=None: np.transpose(x, axes),
        with_(arrays(), axes=any_axes),
        (at(CUBE, axes=(2, 0, 1)), at(CUBE, axes=(-2, -1, 0)), at(CUBE)),
    ),
    Row("swapaxes", np.swapaxes, with_(some, axis1=lambda x: axis(x.ndim), axis2=lambda x: axis(x.ndim)), (at(CUBE, axis1=0, axis2=-1),)),
    Row(
        "broadcast_to",
        np.broadcast_to,
        with_(arrays(), shape=wider),
        (at(np.ones((1, 3)), shape=(2, 0, 2, 3)), at(np.array(1.0), shape=())),
    ),
    Row("astype", lambda x, dtype: x.astype(dtype), with_(arrays(), dtype=lambda x: st.just(np.float64)), (at(GRID, dtype=np.float64),)),
    Row(
        "getitem",
        lambda x, index: x[index],
        with_(arrays(), index=lambda x: strategies.indices(x.shape)),
        (
            at(np.ones((200, 1)), index=np.array([1, -1], np.int8)),
            *tuple(
                at(CUBE, index=i)
                for i in (
                    0,
                    -1,
                    (slice(None), 1),
                    (..., 0),
                    (None, 1, ..., 2),
                    True,
                    False,
                    (None, True),
                    (1, 2, 3),
                    np.array([1, 1, 0, -1]),
                    np.array([[0], [0]]),
                    (slice(None), np.array([0, 0, 2])),
                    (np.array([0, 1, 1]), slice(None), np.array([2, 3, 3])),
                    CUBE > 1,
                    np.array([True, False]),
                    np.zeros(0, int),
                    slice(2, 0, -1),
                    (),
                )
            ),
            at(np.array(3.0), index=()),
            at(np.zeros((0, 3)), index=slice(None)),
        ),
    ),
    Row(
        "take",
        lambda x, indices, axis=0: np.take(x, indices, axis),
        looked_up(),
        (
            at(GRID, indices=np.array([2, 0, 2, -1])),
            at(GRID, indices=np.array([2, 0, 1, 2])),
            at(GRID, indices=np.array([[1, 1], [3, -1]]), axis=1),
            at(CUBE, indices=np.array([1, 1]), axis=-2),
            at(GRID, indices=np.array(1)),
            at(GRID, indices=np.array([True, True, False])),
            at(GRID, indices=np.array([True, False]), axis=1),
            at(GRID, indices=np.zeros((0, 2), int)),
            at(np.arange(300.0).reshape(300, 1) / 7, indices=np.array([1, 1, 255], np.uint8)),  # more rows than the dtype counts
        ),
        call=lambda ops, x, indices, **rest: ops.take(x, indices, **rest),
    ),
    Row("_put", np_put, put(), (at(np.ones(3), index=np.array([1, 1, 0]), shape=(2,)), at(np.array(2.0), index=(1, 1), shape=(2, 2)))),
    Row(
        "_concat",
        lambda *xs, axis=0: np.concatenate(xs, axis),
        joined(False),
        (((GRID, GRID[:1] * 2), {}), ((GRID, GRID[:, :1], GRID[:, :0]), {"axis": -1})),
    ),
    Row(
        "_stack",
        lambda *xs, axis=0: np.stack(xs, axis),
        joined(True),
        (((GRID, GRID * 2), {}), ((GRID, GRID + 1, GRID * 3), {"axis": -1}), ((GRID,), {"axis": 1})),
    ),
    Row(
        "concat",
        lambda *xs, axis=0: np.concatenate(xs, axis),
        joined(False),
        (((GRID, GRID[:1] * 2), {}),),
        call=lambda ops, *xs, **rest: ops.concat(xs, **rest),
    ),
    Row(
        "stack",
        lambda *xs, axis=0: np.stack(xs, axis),
        joined(True),
        (((GRID, GRID * 2), {}),),
        call=lambda ops, *xs, **rest: ops.stack(xs, **rest),
    ),
    Row(
        "split",
        lambda x, sections, axis=0: backwards(np.split(x, sections, axis), axis, np.concatenate),
        parted(),
        (at(GRID, sections=3), at(GRID, sections=[1, 3], axis=1), at(CUBE, sections=2, axis=-1), at(GRID[:0], sections=2)),
        call=lambda ops, x, sections, axis=LEFT_OUT: backwards(
            ops.split(x, sections) if axis is LEFT_OUT else ops.split(x, sections, axis), 0 if axis is LEFT_OUT else axis, ops.concat
        ),
    ),
    Row(
        "softmax",
        lambda x, axis=-1: np.exp(np_log_softmax(x, axis)),
        with_(full.filter(lambda x: x.ndim), axis=lambda x: st.just(LEFT_OUT) | axis(x.ndim)),
        (at(GRID),),
    ),
    Row("log_softmax", np_log_softmax, with_(full.filter(lambda x: x.ndim), axis=lambda x: st.just(LEFT_OUT) | axis(x.ndim)), (at(GRID),)),
    Row(
        "_cross_entropy",
        lambda x, targets: np_cross_entropy(x, targets, reduction="none"),
        classified(choices=False),
        (
            at(GRID, targets=np.array([0, 3, 1])),
            at(GRID[0], targets=np.array(2)),
            at(np.asfortranarray(GRID), targets=np.array([2, 0, 0])),
            at(np.array([[-99.0, 0.0, 1.0], [0.0, 1.0, 2.0]]), targets=np.array([0, 1])),
        ),
        call=lambda ops, x, targets: ops._cross_entropy(x, targets),
    ),
    Row(
        "cross_entropy",
        np_cross_entropy,
        classified(),
        (at(GRID, targets=np.array([0, 3, 1])), at(GRID, targets=np.array([0, 3, 99]), mask=np.array([True, True, False]))),
    ),
]


# ---- the properties ------------------------------------------------------------------------------------------------------------------


def everywhere(row: Row, check: Callable[[Point, np.random.Generator], None], fewer: int = 1, **how: Any) -> None:
    """check(point, rng) at the corners of the row, then wherever Hypothesis looks."""
    for point in row.corners:
        check(point, np.random.default_rng(0))
    how.setdefault("max_examples", max(settings().max_examples // fewer, 1))

    @settings(**how)
    @given(row.points, st.integers(0, 2**32 - 1))
    def drawn(point: Point, seed: int) -> None:
        check(point, np.random.default_rng(seed))

    drawn()


def close(given: Array, expected: Array, rtol: float = 1e-12, of: Any = ()) -> None:
    """The same shape and numbers, as measured by each number, and by what rounding does to the largest of them and of the inputs `of`."""
    assert np.shape(given) == np.shape(expected)
    largest = max(float(np.abs(x).max(initial=0)) for x in (expected, *of))
    given, expected = np.asarray(given, np.longdouble), np.asarray(expected, np.longdouble)
    np.testing.assert_allclose(given, expected, rtol=rtol, atol=1e-15 * largest)


def cotangent(y: Any, rng: np.random.Generator) -> Array:
    return rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)


def value_is_numpys(row: Row, ops: Any, **how: Any) -> None:
    """On Tensors and on arrays, without writing into either."""

    def check(point: Point, _: np.random.Generator) -> None:
        xs, rest = point
        before = [x.copy() for x in xs]
        expected = np.asarray(row.reference(*xs, **rest))
        tensors = [Tensor(x) for x in xs]
        y = row.run(ops, *tensors, **rest)
        assert isinstance(y, Tensor)
        assert y.dtype == np.float64
        close(y.data, expected, of=xs)
        plain = row.run(ops, *xs, **rest)
        assert not isinstance(plain, Tensor)
        close(plain, expected, of=xs)
        for x, tensor, copy in zip(xs, tensors, before, strict=True):
            np.testing.assert_array_equal(x, copy)
            np.testing.assert_array_equal(tensor.data, copy)

    everywhere(row, check, **how)


def gradients_are_the_derivatives(row: Row, ops: Any, **how: Any) -> None:
    """Of first and second order, with a random cotangent."""

    def check(point: Point, rng: np.random.Generator) -> None:
        xs, rest = point
        if row.run(ops, *xs, **rest).size and all(x.size for x in xs):

            def f(*xs: Any) -> Any:
                return row.run(ops, *xs, **(rest | {"dtype": xs[0].dtype} if "dtype" in rest else rest))

            f.__name__ = row.op
            check_gradients(f, *xs, order=2, rng=rng)

    everywhere(row, check, fewer=2 if settings().max_examples <= 100 else 1, **how)  # everyday these are the longest


def gradients_keep_dtype_and_shape_and_memory(row: Row, ops: Any, **how: Any) -> None:
    """Each gradient has its operand's dtype and shape and memory of its own; backward writes into nothing; empty operands included."""

    def check(point: Point, rng: np.random.Generator) -> None:
        xs, rest = point
        for dtype in (np.float32, np.float64):
            given = {**rest, "dtype": np.dtype(dtype)} if "dtype" in rest else rest
            tensors = [Tensor(x.astype(dtype), requires_grad=True) for x in xs]
            with np.errstate(over="ignore", invalid="ignore"):
                y = row.run(ops, *tensors, **given)
                assert y.dtype == dtype
                u = cotangent(y, rng).astype(dtype)
                before = u.copy(), y.data.copy(), [t.data.copy() for t in tensors]
                y.backward(u)
                again = grad(y, tensors, gradient=u)
            grads = [t.grad for t in tensors]
            for t, g, h in zip(tensors, grads, again, strict=True):
                assert g is not None
                assert g.shape == t.shape
                assert g.dtype == dtype
                np.testing.assert_array_equal(g, h)
            np.testing.assert_array_equal(u, before[0])
            np.testing.assert_array_equal(y.data, before[1])
            for t, copy in zip(tensors, before[2], strict=True):
                np.testing.assert_array_equal(t.data, copy)
            for a, b in itertools.combinations([*grads, *again, u, y.data, *(t.data for t in tensors)], 2):
                if not any(a is t.data or a is y.data for t in tensors):
                    assert not np.may_share_memory(a, b)

    everywhere(row, check, fewer=2, **how)


def counted(rules: Any, n: int, asked: set[int]) -> Any:
    """The rules of an op with n operands, which note in `asked` for which of them they were called."""

    def noting(i: int, rule: Call) -> Call:
        def noted(*args: Any, **kwargs: Any) -> Any:
            asked.add(i)
            return rule(*args, **kwargs)

        return noted

    noted = [tuple(way and noting(i, way) for way in rules[i]) for i in range(n)]
    return tuple(noted) if rules.__class__ is tuple else noted  # what is no tuple takes the operands as one


def only_the_needed_rules_are_called(row: Row, ops: Any, **how: Any) -> None:
    """For each choice of operands that require gradients, exactly their rules, and the gradients are those of all together."""
    op = getattr(ops, row.op)
    if not hasattr(op, "rules"):
        return

    def check(point: Point, rng: np.random.Generator) -> None:
        xs, rest = point
        all_of_them = [Tensor(x, requires_grad=True) for x in xs]
        y = row.run(ops, *all_of_them, **rest)
        u = cotangent(y, rng)
        expected = grad(y, all_of_them, gradient=u)
        places = [
            i
            for i, (rule, *_) in enumerate([op.rules[i] for i in range(len(xs) + 1)] if op.rules.__class__ is not tuple else op.rules)
            if rule
        ]
        first = 1 if row.case == "constant-base" else places[0]
        for leading in itertools.product([False, True], repeat=min(len(xs), 3)):
            needed = (*leading, *[False] * (len(xs) - len(leading)))
            if not any(needed):
                continue
            tensors = [Tensor(x, requires_grad=wanted) for x, wanted in zip(xs, needed, strict=True)]
            y = row.run(ops, *tensors, **rest)
            rules = op.rules
            asked: set[int] = set()
            op.rules = counted(rules, len(rules) if rules.__class__ is tuple else len(xs), asked)
            try:
                y.backward(u)
            finally:
                op.rules = rules
            assert asked == {first + i for i, wanted in enumerate(needed) if wanted}
            for t, g, wanted in zip(tensors, expected, needed, strict=True):
                assert (t.grad is not None) == wanted
                if wanted:
                    np.testing.assert_array_equal(t.grad, g)

    everywhere(row, check, fewer=8, **how)


def many_uses_of_one_tensor_add_up(row: Row, ops: Any, **how: Any) -> None:
    """The gradient of a tensor used T times is the sum over T untied copies, also where T rules are one, and with create_graph."""

    def check(point: Point, rng: np.random.Generator) -> None:
        xs, rest = point
        tied = [Tensor(x, requires_grad=True) for x in xs]
        untied = [[Tensor(x, requires_grad=True) for x in xs] for _ in range(3)]
        ys = [row.run(ops, *tied, **rest) for _ in range(3)]
        us = [cotangent(y, rng) for y in ys]
        loss = total(ops, [(y * u).sum() for y, u in zip(ys, us, strict=True)])
        loss.backward()
        for copies, u in zip(untied, us, strict=True):
            row.run(ops, *copies, **rest).backward(u)
        graph = grad(loss, tied, create_graph=True)
        for i, t in enumerate(tied):
            each: list[Array] = [copies[i].grad for copies in untied]
            summed = np.sum(each, axis=0)
            size = float(np.sum([np.abs(g) for g in each], axis=0).max(initial=0))
            # What cancels is lost to rounding: between the uses, and within a rule, as in softmax's y * (g - sum(g * y)).
            atol = 1e-13 * size + 1e-15 * max(float(np.abs(u).max(initial=0)) for u in us)
            assert t.grad is not None
            np.testing.assert_allclose(t.grad, summed, rtol=1e-12, atol=atol)
            np.testing.assert_allclose(graph[i].data, summed, rtol=1e-12, atol=atol)

    everywhere(row, check, fewer=4, **how)


def total(ops: Any, losses: list[Any]) -> Any:
    result = losses[0]
    for loss in losses[1:]:
        result = ops.add(result, loss)
    return result


# A product with a shared weight, slices and look-ups, each use unlike the others.


@st.composite
def products_with_one_weight(draw: Any) -> tuple[Array, list[Any]]:
    W = draw(arrays(draw(st.sampled_from([(3, 2), (3, 3), (3,), (2, 3, 2), (1, 1), (3, 0)])), scales=(1.0,)))
    inner = W.shape[0] if W.ndim < 3 else W.shape[-2]
    batches = st.sampled_from([(), (2,), (0,), (4, 2), (140,)] if W.ndim < 3 else [(), (4,), (2, 4), (1, 4)])
    return W, draw(st.lists(batches.map(lambda batch: (*batch, inner)), min_size=1, max_size=5))


@st.composite
def slices_of_one_tensor(draw: Any) -> tuple[Array, list[Any]]:
    x = draw(arrays(shapes(max_side=4), scales=(1.0,)))
    if x.ndim and draw(st.booleans()):  # in pieces from edge to edge, in any order
        along = draw(axis(x.ndim)) % x.ndim
        edges = sorted(draw(st.lists(st.integers(0, x.shape[along]), max_size=3)))
        return x, draw(st.permutations([(*ALL * along, slice(a, b)) for a, b in itertools.pairwise([None, *edges, None])]))
    return x, [draw(strategies.indices(x.shape)) for _ in range(draw(st.integers(1, 5)))]


ALL = (slice(None),)
PIECES: list[list[Any]] = [  # of GRID, (3, 4): all of it, in steps or in columns, and what is almost that
    [0, 1, 2], [2, 0, 1], [0, 1], [1, 2], [0, 0, 1], [0, 1, 2, 0], [0, 1, -1], [0, 1, (slice(None), 0)], [0, ALL, 2], [True, 0, 1],
    [(*ALL, slice(2)), (*ALL, slice(2, None))], [(*ALL, slice(1, 4)), (*ALL, slice(0, 1))], [(*ALL, slice(2))], [(*ALL, slice(2, None))],
    [(*ALL, slice(2)), (*ALL, slice(1, None))], [(*ALL, slice(2)), (*ALL, slice(2))], [(*ALL, slice(2)), (*ALL, slice(3, None))],
    [(*ALL, slice(0)), (*ALL, slice(0, 4))], [(*ALL, slice(0, 4)), (*ALL, slice(4, 4))], [(*ALL, slice(None, None, 2))],
    [(*ALL, slice(None, None, 2)), (*ALL, slice(1, None, 2))], [(*ALL, slice(-4, 2)), (*ALL, slice(2, 9))], [(0, slice(None))],
    [(0, slice(2)), (0, slice(2, None))], [(slice(1), slice(2)), (slice(1), slice(2, None))], [(slice(1),), (slice(1, None),)],
    [slice(1), slice(1, None)], [(slice(1),), (*ALL, slice(1, None))], [ALL], [(*ALL, slice(2)), 0, (*ALL, slice(2, None))], [()], [...],
    [(*ALL, slice(3)), (*ALL, slice(3, 1)), (*ALL, slice(1, None))], [(*ALL, slice(3)), (*ALL, slice(3, -3)), (*ALL, slice(-3, None))],
    [(*ALL, slice(np.array(2))), (*ALL, slice(np.array(2), None))], [(*ALL, slice(None, None, 1))], [(*ALL, slice(1, None))],
    [(..., slice(2)), (..., slice(2, None))], [(None, slice(1)), (None, slice(1, None))], [(*ALL, slice(1)), (*ALL, slice(1, None), None)],
]  # fmt: skip


@st.composite
def parts_of_one_tensor(draw: Any) -> tuple[Array, list[Any]]:
    """Of a few ways to cut, parts in any order, each as often as it comes."""
    x = draw(arrays(shapes(min_dims=1, max_side=4), scales=(1.0,)))
    ways = [(draw(st.lists(st.integers(-1, 5), max_size=2)), draw(axis(x.ndim))) for _ in range(draw(st.integers(1, 2)))]
    every = [(*way, i) for way in ways for i in range(len(way[0]) + 1)]
    return x, draw(st.permutations(every))[: draw(st.integers(1, 6))] + draw(st.lists(st.sampled_from(every), max_size=1))


CUTS: list[list[Any]] = [  # of GRID, (3, 4): sections, axis, which part; or an index
    [(2, 1, 0), (2, 1, 1)], [(2, 1, 1), (2, 1, 0)], [(3, 0, 2), (3, 0, 0), (3, 0, 1)], [(2, 1, 0)], [(2, 1, 0), (2, 1, 0)],
    [(2, 1, 0), ([1], 1, 1)], [(2, 1, 0), ([2], 1, 1)], [(2, 1, 0), ([1], 1, 1), (2, 1, 1)], [(2, 1, 0), (3, 0, 1)],
    [([3, 1], 1, 0), ([3, 1], 1, 1), ([3, 1], 1, 2)], [([1, 1], 1, 0), ([1, 1], 1, 1), ([1, 1], 1, 2)], [([], 1, 0)],
    [(2, 1, 0), ((*ALL, slice(2, None)),)], [((*ALL, slice(2)),), (2, 1, 1)], [(2, 1, 0), (0,)], [(2, 1, 0), (2, 1, 1), (1,)],
]  # fmt: skip


def _cut(ops: Any, x: Any, use: Any, _: Any) -> Any:
    return ops.getitem(x, index=use[0]) if len(use) == 1 else ops.split(x, use[0], axis=use[1])[use[2]]


@st.composite
def look_ups_in_one_table(draw: Any) -> tuple[Array, list[Any]]:
    x = draw(some)
    return x, [draw(rows_of(x)) for _ in range(draw(st.integers(1, 5)))]


def _look_up(ops: Any, table: Any, use: Any, _: Any) -> Any:
    indices, along = use
    return ops.take(table, indices) if along is LEFT_OUT else ops.take(table, indices, axis=along)


SHARED: dict[str, tuple[Any, Callable[[Any, Any, Any, np.random.Generator], Any]]] = {
    "matmul": (products_with_one_weight(), lambda ops, W, shape, rng: ops.matmul(Tensor(rng.standard_normal(shape)), W)),
    "getitem": (slices_of_one_tensor(), lambda ops, x, index, _: ops.getitem(x, index=index)),
    "take": (look_ups_in_one_table(), _look_up),
    "split": (parts_of_one_tensor(), _cut),
}
FIXED: dict[str, list[Any]] = {"getitem": PIECES, "matmul": [[(1030, 3), (2, 3)], [(1030, 3)]], "split": CUTS}


def unlike_uses_of_one_tensor_add_up(row: Row, ops: Any, **how: Any) -> None:
    """Products of different batches with one weight, different slices of one tensor, look-ups in one table along different axes."""
    if row.op not in SHARED:
        return
    strategy, use_it = SHARED[row.op]
    corners = [(GRID, uses) for uses in FIXED.get(row.op, [])]

    def check(point: Any, rng: np.random.Generator) -> None:
        x, uses = point
        tied = Tensor(x, requires_grad=True)
        seed = int(rng.integers(2**31))
        ys = [use_it(ops, tied, use, np.random.default_rng([seed, i])) for i, use in enumerate(uses)]
        us = [cotangent(y, rng) for y in ys]
        loss = total(ops, [(y * u).sum() for y, u in zip(ys, us, strict=True)])
        loss.backward()
        each = []
        for i, (use, u) in enumerate(zip(uses, us, strict=True)):
            copy = Tensor(x, requires_grad=True)
            y = use_it(ops, copy, use, np.random.default_rng([seed, i]))
            # the plain rule, one use at a time
            each.append(grad(y, copy, gradient=Tensor(u), create_graph=True).data)
        scale = float(np.max(np.sum(np.abs(each), axis=0), initial=0))
        for found in (tied.grad, grad(loss, tied), grad(loss, tied, create_graph=True).data):
            assert found is not None
            np.testing.assert_allclose(found, np.sum(each, axis=0), rtol=1e-12, atol=1e-13 * scale)

    everywhere(Row(row.op, row.reference, strategy, tuple(corners)), check, **how)


EXTREME = np.array(
    [[-1000.0, 1000.0, 0.0], [1e-300, -1e-300, 1000.0], [-1000.0, -1000.0, -1000.0], [1e300, -1e300, 0.0], [-700.0, 700.0, 30.0]]
)
FINITE_EVERYWHERE: dict[str, dict[str, Any]] = {
    "tanh": {}, "sigmoid": {}, "relu": {}, "abs": {}, "softmax": {}, "log_softmax": {}, "logsumexp": {"axis": -1},
    "cross_entropy": {"targets": np.array([0, 1, 2, 1, 1]), "reduction": "sum"},
}  # fmt: skip


def extreme_inputs_are_harmless(row: Row, ops: Any, **_: Any) -> None:
    """Finite in value and in gradient, without a warning, in both dtypes and both passes."""
    if row.op not in FINITE_EVERYWHERE:
        return
    with warnings.catch_warnings(), np.errstate(over="warn", invalid="warn", divide="warn"):
        warnings.simplefilter("error")
        for x in (EXTREME, np.clip(EXTREME, -1e4, 1e4).astype(np.float32)):
            tensor = Tensor(x, requires_grad=True)
            y = row.run(ops, tensor, **FINITE_EVERYWHERE[row.op])
            assert np.isfinite(y.data).all()
            u = np.ones(y.shape, x.dtype)
            g = grad(y, tensor, gradient=u)
            assert np.isfinite(g).all()
            graph = grad(y, tensor, gradient=u, create_graph=True)
            np.testing.assert_array_equal(graph.data, g)
            if graph.requires_grad:
                assert np.isfinite(grad(graph, tensor, gradient=np.ones(x.shape, x.dtype))).all()
        if row.op == "sigmoid":  # accurate where it is tiny
            close(row.run(ops, np.array([-700.0])) / np.exp(-700.0), np.ones(1))
            assert row.run(ops, np.array([40.0]))[0] == 1
        if row.op == "logsumexp":
            close(row.run(ops, np.array([1000.0, 1000.0])), np.asarray(1000 + np.log(2)))
            close(row.run(ops, np.array([-1e4, -1e4])), np.asarray(-1e4 + np.log(2)))
            assert row.run(ops, np.array([-np.inf, -np.inf])) == -np.inf
            assert row.run(ops, np.zeros(0)) == -np.inf
            np.testing.assert_array_equal(row.run(ops, np.zeros((2, 0)), axis=1), [-np.inf, -np.inf])
            close(grad(row.run(ops, (t := Tensor([0.0, -np.inf], requires_grad=True))), t), np.array([1.0, 0.0]))
        if row.op == "log_softmax":
            close(row.run(ops, np.array([0.0, -1000.0])), np.array([0.0, -1000.0]))


TIED = np.array([[2.0, 1.0, 2.0], [2.0, 2.0, 2.0]])


def ties_share_the_gradient(row: Row, ops: Any, **_: Any) -> None:
    """Equal extremes get equal shares, which sum to the whole; at its kink a function has the derivative that its docstring states."""

    def g(call: Call, *xs: Array, u: Array) -> list[Array]:
        tensors = [Tensor(x, requires_grad=True) for x in xs]
        y = call(*tensors)
        given = grad(y, tensors, gradient=u)
        for a, b in zip(given, grad(y, tensors, gradient=u, create_graph=True), strict=True):
            np.testing.assert_array_equal(a, b.data)
        return given

    if row.op in ("max", "min"):
        x = TIED if row.op == "max" else -TIED
        close(g(lambda x: row.run(ops, x, axis=1), x, u=np.array([3.0, 6.0]))[0], np.array([[1.5, 0, 1.5], [2, 2, 2]]))
        close(g(lambda x: row.run(ops, x, axis=0, keepdims=True), x, u=np.array([[2.0, 3, 4]]))[0], np.array([[1, 0, 2], [1, 3, 2]]))
        close(g(lambda x: row.run(ops, x), x, u=np.array(10.0))[0], np.array([[2.0, 0, 2], [2, 2, 2]]))
        close(g(lambda x: row.run(ops, x, axis=()), x, u=x)[0], x)
    if row.op in ("maximum", "minimum"):
        a, b, u = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]), np.array([4.0, 6.0, 8.0])
        losing, winning = np.array([0.0, 3.0, 8.0]), np.array([4.0, 3.0, 0.0])
        expected = (losing, winning) if row.op == "maximum" else (winning, losing)
        for given, right in zip(g(lambda a, b: row.run(ops, a, b), a, b, u=u), expected, strict=True):
            close(given, right)
        x = Tensor(np.array([1.0, -1.0]), requires_grad=True)
        close(grad(row.run(ops, x, x), x, gradient=np.array([2.0, 3.0])), np.array([2.0, 3.0]))
    if row.op in ("relu", "abs"):
        close(
            g(lambda x: row.run(ops, x), np.array([-1.0, -0.0, 0.0, 1.0]), u=np.full(4, 2.0))[0],
            np.array([-2.0 if row.op == "abs" else 0, 0, 0, 2]),
        )
    if row.op == "pow" and not row.case:
        close(
            g(lambda x, n: row.run(ops, x, n), np.array([0.0, 0.0, 0.0]), np.array([0.0, 1.0, 2.0]), u=np.ones(3))[0],
            np.array([0.0, 1.0, 0.0]),
        )
        close(g(lambda n: row.run(ops, 0.0, n), np.array([0.0, 1.0, 2.0]), u=np.ones(3))[0], np.zeros(3))
    if row.op == "astype":
        x = Tensor(np.array([0.1, 0.2]), requires_grad=True)
        y = row.run(ops, x, dtype=np.dtype(np.float32))
        assert y.dtype == np.float32
        found = grad(y, x, gradient=np.array([0.5, 2.0]))
        assert found.dtype == np.float64
        close(found, np.array([0.5, 2.0]))
        steps = row.run(ops, x, dtype=np.dtype(np.int64)) * np.array([2.0, 3.0])  # integers are flat between their jumps
        close(grad(steps, x, gradient=np.ones(2)), np.zeros(2))


PROPERTIES: list[Call] = [
    value_is_numpys,
    gradients_keep_dtype_and_shape_and_memory,
    only_the_needed_rules_are_called,
    extreme_inputs_are_harmless,
    ties_share_the_gradient,
    gradients_are_the_derivatives,
    many_uses_of_one_tensor_add_up,
    unlike_uses_of_one_tensor_add_up,
]


def run_row(row: Row, ops: Any = the_ops, max_examples: int = 25) -> None:
    """All properties of one row of any module of ops, the same examples each time, without shrinking; raises where one fails."""
    how = {"max_examples": max_examples, "derandomize": True, "database": None, "phases": [Phase.generate], "deadline": None}
    for holds in PROPERTIES:
        holds(row, ops, **how)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda p: p.__name__)
def test_each_op(holds: Call, row: Row) -> None:
    holds(row, the_ops)


def public_functions(module: types.ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if callable(value)
        and (hasattr(value, "rules") or (not name.startswith("_") and getattr(value, "__module__", "") == module.__name__))
    }


def test_every_op_has_a_row() -> None:
    assert public_functions(the_ops) == {row.op for row in ROWS}


def test_an_op_without_a_row_is_noticed() -> None:
    module = types.ModuleType("tinygrad_seq.ops")
    vars(module).update(vars(the_ops))
    vars(module)["cube"] = the_ops.neg
    assert "cube" in public_functions(module) - {row.op for row in ROWS}


# ---- what is only said of single ops -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "given", "error", "message"),
    [
        (np.array([0.0, 1.0]), {}, TypeError, "expected integers"),
        (np.array([True, False]), {}, TypeError, "expected integers"),
        (np.array([0]), {}, ValueError, r"logits \(2, 3\) and targets \(1,\)"),
        (np.array([0, 3]), {}, ValueError, r"from 0 to 3, expected classes in \[0, 3\)"),
        (np.array([-1, 0]), {}, ValueError, r"from -1 to 0"),
        (np.array([0, 1]), {"reduction": "median"}, ValueError, "median"),
        (np.array([0, 1]), {"mask": np.array([True])}, ValueError, r"mask is bool \(1,\)"),
        (np.array([0, 1]), {"mask": np.array([1, 0])}, ValueError, "expected bool"),
        (np.array([0, 1]), {"mask": np.array([False, False])}, ValueError, "no position counts"),
        (np.array([5, 1]), {"mask": np.array([True, False])}, ValueError, "expected classes"),
    ],
)
def test_cross_entropy_says_what_is_wrong(targets: Array, given: dict[str, Any], error: type[Exception], message: str) -> None:
    both: list[Any] = [np.zeros((2, 3)), Tensor(np.zeros((2, 3)), requires_grad=True)]
    for logits in both:
        with pytest.raises(error, match=f"cross_entropy: .*{message}"):
            the_ops.cross_entropy(logits, targets, **given)


def test_softmax_sums_to_1_over_several_axes_in_any_order() -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 2, 2))
    for several in [(3, 1), (0, 3, 2), (-1, 1), (1, 0)]:
        np.testing.assert_allclose(the_ops.softmax(x, axis=several).sum(several), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("xs", "axis", "message"),
    [([1.0, [2.0, 3.0]], 0, "all input arrays must have the same shape"), ([], 0, "need at least one array to stack")],
    ids=["ragged", "nothing"],
)
def test_stack_says_what_is_wrong(xs: Any, axis: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        the_ops.stack([np.array(x) for x in xs], axis)
    if xs:
        with pytest.raises(ValueError, match=f"stack: .*{message}"):
            the_ops.stack([Tensor(x) for x in xs], axis)


def test_stack_needs_a_whole_number_for_its_axis() -> None:
    with pytest.raises(TypeError):
        the_ops.stack([np.zeros(2), np.zeros(2)], 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "uint64"])
@pytest.mark.parametrize("shape", [(2, 200, 3), (3,), (200, 3)], ids=str)
def test_cross_entropy_takes_targets_of_every_integer_dtype(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    y, targets = rng.standard_normal(shape), rng.integers(0, 3, shape[:-1])
    expected, found = (Tensor(y, requires_grad=True) for _ in range(2))
    the_ops.cross_entropy(expected, targets).backward()
    the_ops.cross_entropy(found, targets.astype(dtype)).backward()
    np.testing.assert_array_equal(found.grad, expected.grad)


def test_cross_entropy_over_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no position counts"):
        the_ops.cross_entropy(np.zeros((0, 3)), np.zeros(0, int))


@given(strategies.masks(), st.sampled_from(["mean", "sum", "none"]), st.integers(-(2**62), 2**62), st.integers(0, 2**32 - 1))
def test_what_stands_where_the_mask_is_false_changes_nothing(mask: Array, reduction: Any, junk: int, seed: int) -> None:
    if not mask.any():
        return
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(size=(*mask.shape, 3)), rng.integers(0, 3, mask.shape)
    results = []
    for hidden, scores in ((0, 0.0), (junk, 1e3)):
        x = Tensor(np.where(mask[..., None], logits, scores), requires_grad=True)
        loss = the_ops.cross_entropy(x, np.where(mask, targets, hidden), mask, reduction)
        results.append((loss.data, grad(loss, x, gradient=np.ones(loss.shape))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not results[0][1][~mask].any()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((2, 3), (4, 5), "inner sizes 3 and 4"),
        ((), (2,), "scalar"),
        ((2, 3, 4), (3, 4, 2), "batch shapes"),
        ((3,), (2,), "inner sizes 3 and 2"),
    ],
)
def test_matmul_says_which_shapes_do_not_fit(a: tuple[int, ...], b: tuple[int, ...], message: str) -> None:
    wraps: list[Any] = [np.asarray, Tensor]
    for wrap in wraps:
        with pytest.raises(ValueError, match=f"matmul: .*{message}"):
            the_ops.matmul(wrap(np.zeros(a)), wrap(np.zeros(b)))


@pytest.mark.parametrize("sections", [0, -1, 2, 4])
def test_split_says_that_the_sections_do_not_divide(sections: int) -> None:
    with pytest.raises(ValueError, match="split: axis 0 of shape"):
        the_ops.split(np.zeros((3, 2)), sections)


@given(arrays(scales=(1.0,)))
def test_operators_and_methods_are_the_ops(array: Array) -> None:
    x, c = Tensor(array), 0.5 + np.abs(array)
    pairs: list[tuple[Any, Any]] = [
        (x + c, array + c), (c + x, c + array), (x - c, array - c), (c - x, c - array), (x * c, array * c), (c * x, c * array),
        (x / c, array / c), (x**2, array**2), (2**x, 2**array), (-x, -array), (+x, array), (abs(x), np.abs(array)), (x.T, array.T),
        (x.exp(), np.exp(array)), ((x * x + 1).log(), np.log(array * array + 1)), ((x * x).sqrt(), np.sqrt(array * array)),
        (x.tanh(), np.tanh(array)), (x.sigmoid(), 1 / (1 + np.exp(-array))), (x.relu(), np.maximum(array, 0)), (x.abs(), np.abs(array)),
        (x.sum(), array.sum()), (x.reshape(-1), array.reshape(-1)), (x.transpose(), array.transpose()), (x[...], array[...]),
        (1 / (x * x + 1), 1 / (array * array + 1)), (x.astype(np.float32), array.astype(np.float32)),
    ]  # fmt: skip
    if array.size:
        pairs += [(x.max(), array.max()), (x.min(), array.min()), (x.mean(), array.mean())]
    if array.ndim:
        pairs += [(x.sum(-1, True), array.sum(-1, keepdims=True)), (x.swapaxes(0, -1), array.swapaxes(0, -1))]
        pairs += [(x @ array.T, array @ array.T), (array.T @ x, array.T @ array)] if array.ndim == 2 else []
    for ours, expected in pairs:
        close(ours.data, np.asarray(expected), 1e-13)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "logsumexp", "softmax", "log_softmax"])
@pytest.mark.parametrize("along", [0, -1])
def test_an_axis_of_a_single_number_is_taken_or_refused_by_the_forward(name: str, along: int) -> None:
    x = Tensor(np.array(0.5), requires_grad=True)
    try:
        y = getattr(the_ops, name)(x, axis=along)
    except (ValueError, IndexError):
        return
    assert grad(y, x).shape == ()


@pytest.mark.parametrize("dtype", [bool, "uint8", "uint64", "int8", "int32"])
def test_the_sigmoid_of_whole_numbers_is_that_of_the_same_floats(dtype: Any) -> None:
    x = np.array([0, 1, 100, 127, np.iinfo("int8").min if dtype == "int8" else 1], dtype)
    np.testing.assert_array_equal(the_ops.sigmoid(x), the_ops.sigmoid(x.astype(float)))


def test_a_split_may_go_back_as_that_of_numpy() -> None:
    x = Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    parts = the_ops.split(x, [3, 1], axis=1)
    assert [part.shape for part in parts] == [(3, 3), (3, 0), (3, 3)]
    the_ops.concat(parts, axis=1).sum().backward()
    np.testing.assert_array_equal(x.grad, np.tile([1.0, 2.0, 2.0, 1.0], (3, 1)))


def test_classes_ruled_out_by_minus_infinity_get_no_gradient_and_others_a_finite_one() -> None:
    x = Tensor([[0.5, -np.inf, 1.0], [-np.inf, 2.0, 3.0]], requires_grad=True)
    mask = np.array([True, False])
    loss = the_ops.cross_entropy(x, np.array([0, 0]), mask)  # the padding's target is a class that is ruled out
    loss.backward()
    p = 1 / (1 + np.exp(0.5))
    np.testing.assert_allclose(x.grad, [[p - 1, 0, 1 - p], [0, 0, 0]], rtol=1e-12)


@pytest.mark.parametrize("low", [-50.0, -1e4, -1e9, -1e38])
def test_a_target_that_was_all_but_ruled_out_leaves_the_other_probabilities_as_they_are(low: float) -> None:
    x = Tensor(np.array([[low, 0, 1], [0, 1, 2]], np.float32), requires_grad=True)
    the_ops.cross_entropy(x, np.array([0, 1]), reduction="sum").backward()
    p = np.exp([1, 2]) / np.exp([1, 2]).sum()
    np.testing.assert_allclose(x.grad[0], [-1, *p], rtol=1e-6)


@pytest.mark.parametrize("built", [{}, {"Build Dependencies": {}}, {"Build Dependencies": {"blas": {"found": False}}}])
def test_a_numpy_that_does_not_say_what_it_was_built_with_has_no_small_kernels(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "show_config", lambda mode: built)
    assert not blas._has_small_kernels()


def test_products_are_cut_where_there_are_small_kernels(small_kernels: bool) -> None:
    shapes = {(32, 128, 512): (1, 4), (256, 96, 512): (8, 2), (16, 130, 127): (1, 1), (1, 600, 600): (1, 1)}
    assert {shape: blas.blocks(*shape) for shape in shapes} == (shapes if small_kernels else dict.fromkeys(shapes, (1, 1)))
    assert blas.blocks(32, 128, 512, turned=True) == ((1, 16) if small_kernels else (1, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"),
    [
        *[(1, 600, 600), (2, 600, 600), (16, 130, 127), (32, 128, 512), (64, 96, 500)],
        *[(96, 64, 128), (128, 400, 400), (256, 40, 96), (256, 96, 512), (513, 130, 127)],
    ],
)
@pytest.mark.usefixtures("small_kernels")
def test_a_product_is_that_product_however_it_is_cut(rows: int, inner: int, columns: int, dtype: str) -> None:
    rng = np.random.default_rng(rows)
    a, b, tall = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, inner), (inner, columns), (columns, inner)))
    exact = np.promote_types(dtype, np.float64)
    for left in (a, np.asfortranarray(a)):
        for right in (b, tall.T, np.asfortranarray(b), tall.T[:, ::-1], b[::-1]):
            product = the_ops.matmul(left, right)
            expected = np.einsum("mk,kn->mn", left.astype(exact), right.astype(exact))
            rounding = np.finfo(dtype).eps * np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=0)
            assert np.all(np.abs(product - expected) <= 4 * rounding)  # measured: up to 2.2
            assert product.dtype == dtype
            assert product.flags.c_contiguous


@pytest.mark.parametrize(("symbols", "table"), [(2000, 5), (40, 90), (2000, 1), (1, 3), (300, 2)])
def test_look_ups_add_up_however_often_each_row_comes(symbols: int, table: int) -> None:
    rng = np.random.default_rng(symbols)
    chosen = np.minimum(rng.geometric(0.4, symbols) - 1, table - 1)
    W, g = Tensor(np.zeros((table, 3)), requires_grad=True), rng.standard_normal((symbols, 3))
    the_ops.take(W, chosen).backward(g)
    expected = np.zeros((table, 3))
    np.add.at(expected, chosen, g)
    assert W.grad is not None
    np.testing.assert_allclose(W.grad, expected, rtol=1e-12, atol=1e-12)


def test_rows_of_no_elements_are_taken_and_get_empty_gradients() -> None:
    x = Tensor(np.zeros((3, 0)), requires_grad=True)
    the_ops.take(x, np.array([0, 1])).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (3, 0)


def test_a_single_number_has_no_slices_to_take() -> None:
    with pytest.raises(ValueError, match="no slices to take"):
        the_ops.take(Tensor(1.0, requires_grad=True), np.array([0]))
