"""The bug zoo: wrong gradients that people write, each beside the right one.  Every wrong one must be rejected, no right one ever.

A specimen is a right function, how to check it, and its bugs; a bug is the same function with a mistake in its gradient.  Where a
specimen is an op, only the rules are wrong: `wrong(right, *rules)` keeps the forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_seq import Tensor, ops
from tinygrad_seq.check import Report, check_op
from tinygrad_seq.record import Op, Value, op


@dataclass
class Bug:
    """A mistake: its name, what is wrong, the wrong function, and who made it in real life, where that is known."""

    name: str
    mistake: str
    wrong: Callable[..., Any]
    who: str = ""
    kind: str = "gradient"  # what the checker calls it


@dataclass
class Specimen:
    """A right function, the shapes (or arrays) and domain to check it at, and its bugs."""

    name: str
    right: Callable[..., Any]
    shapes: tuple[Any, ...]
    bugs: list[Bug]
    options: dict[str, Any] = field(default_factory=dict)

    def check(self, f: Callable[..., Any], seed: int = 0) -> Report:
        """Check f, the right function or a wrong one, in the way that fits this specimen; raises GradientError."""
        return check_op(f, *self.shapes, rng=1000 * seed, shrink=False, **self.options)


def wrong(right: Any, *rules: Callable[..., Any] | None, **more: Any) -> Op:
    """The op `right` with other rules."""
    more.setdefault("analytic", right.analytic)
    return op(*rules, **more)(right.forward)


POSITIVE = (0.0, np.inf)
FORGOTTEN = "the upstream gradient g is forgotten"
UPSTREAM_ONES = "passes every check whose cotangent is ones: needle's, DeZero's, minitorch's"
SQUARE = "passes every check that looks at shapes only, as the matrices are square"


def spread(g: Value, x: Value, axis: Any) -> Value:
    """g with the axis that a sum took away, at x's shape."""
    return np.broadcast_to(g if axis is None else np.expand_dims(g, axis), x.shape)


# ---- arithmetic ----------------------------------------------------------------------------------------------------------------------

_buffer: dict[tuple[int, ...], Any] = {}


def _into_buffer(g: Value, b: Value) -> Value:
    out = _buffer.setdefault(g.shape, np.empty(g.shape))
    return np.multiply(g, b, out=out)


def _times_in_place(g: Value, b: Value) -> Value:
    g *= b
    return g


def _mean_where_broadcast(g: Value, a: Value, b: Value) -> Value:
    full = g * a
    return full if full.shape == b.shape else full / (full.size // b.size)


@op(lambda g, y, x: 2 * g)
def _doubled_in_place(x: Value) -> Value:
    x *= 2
    return x


@op(lambda g, y, x: 2 * g)
def _double(x: Value) -> Value:
    return 2 * x


@op(lambda g, y, x: 2 * g)
def _double32(x: Value) -> Value:
    return (2 * x).astype(np.float32) if x.dtype == np.float64 else 2 * x


@op(lambda g, y, x: 2 * g)
def _double64(x: Value) -> Value:
    return x * np.float64(2)


ARITHMETIC = [
    Specimen(
        "add",
        ops.add,
        ((3, 4), (3, 4)),
        [
            Bug("add/second doubled", "b gets 2g", wrong(ops.add, lambda g, y, a, b: g, lambda g, y, a, b: 2 * g)),
            Bug("add/second lost", "b gets zeros", wrong(ops.add, lambda g, y, a, b: g, lambda g, y, a, b: g * 0)),
            Bug(
                "add/ones", FORGOTTEN, wrong(ops.add, lambda g, y, a, b: np.ones_like(g), lambda g, y, a, b: np.ones_like(g)), UPSTREAM_ONES
            ),
            Bug("add/no rule", "b is said to have no gradient", wrong(ops.add, lambda g, y, a, b: g, None)),
        ],
    ),
    Specimen(
        "sub",
        ops.sub,
        ((3, 4), (3, 4)),
        [
            Bug("sub/sign", "b gets g, not -g", wrong(ops.sub, lambda g, y, a, b: g, lambda g, y, a, b: g)),
            Bug("sub/both signs", "a gets -g as well", wrong(ops.sub, lambda g, y, a, b: -g, lambda g, y, a, b: -g)),
        ],
    ),
    Specimen(
        "mul",
        ops.mul,
        ((3, 4), (3, 4)),
        [
            Bug(
                "mul/swapped", "each operand gets the other's gradient", wrong(ops.mul, lambda g, y, a, b: g * a, lambda g, y, a, b: g * b)
            ),
            Bug("mul/forgotten", FORGOTTEN, wrong(ops.mul, lambda g, y, a, b: b + 0 * g, lambda g, y, a, b: a + 0 * g), UPSTREAM_ONES),
            Bug(
                "mul/only second",
                "the second operand's gradient is 0.1 % too large",
                wrong(ops.mul, lambda g, y, a, b: g * b, lambda g, y, a, b: 1.001 * g * a),
                "within the tolerance of 1e-2 that minitorch checks with",
            ),
            Bug(
                "mul/only when broadcast",
                "the mean instead of the sum along the axes where b was broadcast",
                wrong(ops.mul, lambda g, y, a, b: g * b, lambda g, y, a, b: _mean_where_broadcast(g, a, b)),
            ),
            Bug(
                "mul/g in place",
                "the rule writes into g, which belongs to other tensors too",
                wrong(
                    ops.mul,
                    lambda g, y, a, b: _times_in_place(g, b) if isinstance(g, np.ndarray) and g.shape == b.shape else g * b,
                    lambda g, y, a, b: g * a,
                ),
                kind="mutation",
            ),
            Bug(
                "mul/aliasing",
                "both gradients are computed in one and the same buffer",
                wrong(ops.mul, lambda g, y, a, b: _into_buffer(g, b), lambda g, y, a, b: _into_buffer(g, a)),
            ),
            Bug(
                "mul/only constants",
                "the right numbers, but as constants: no second derivative",
                wrong(ops.mul, lambda g, y, a, b: g * getattr(b, "_data", b), lambda g, y, a, b: g * a),
            ),
        ],
    ),
    Specimen(
        "div",
        ops.div,
        ((3, 4), (3, 4)),
        [
            Bug("div/sign", "b's gradient has the wrong sign", wrong(ops.div, lambda g, y, a, b: g / b, lambda g, y, a, b: g * y / b)),
            Bug("div/not squared", "-a/b instead of -a/b**2", wrong(ops.div, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * a / b)),
            Bug("div/first", "a gets g * b", wrong(ops.div, lambda g, y, a, b: g * b, lambda g, y, a, b: -g * y / b)),
        ],
        {"domain": POSITIVE},
    ),
    Specimen(
        "neg",
        ops.neg,
        ((3, 4),),
        [
            Bug("neg/sign", "g, not -g", wrong(ops.neg, lambda g, y, x: g)),
        ],
    ),
    Specimen(
        "pow",
        ops.pow,
        ((3, 4), (3, 4)),
        [
            Bug(
                "pow/exponent kept",
                "n x**n instead of n x**(n - 1)",
                wrong(ops.pow, lambda g, y, x, n: g * n * y, lambda g, y, x, n: g * y * ops.log(x)),
            ),
            Bug(
                "pow/n forgotten", "x**(n - 1)", wrong(ops.pow, lambda g, y, x, n: g * x ** (n - 1), lambda g, y, x, n: g * y * ops.log(x))
            ),
            Bug(
                "pow/log forgotten",
                "the exponent's gradient without log x",
                wrong(ops.pow, lambda g, y, x, n: g * n * x ** (n - 1), lambda g, y, x, n: g * y),
            ),
        ],
        {"domain": [(0.2, 4.0), (-3.0, 3.0)]},
    ),
    Specimen(
        "double",
        _double,
        ((3, 4),),
        [
            Bug("double/input in place", "the forward writes into its input", _doubled_in_place, kind="mutation"),
            Bug("double/float32 forward", "float64 in, float32 out", _double32, kind="dtype"),
            Bug("double/float64 constant", "a float64 scalar makes float32 inputs float64", _double64, kind="dtype"),
            Bug(
                "double/float32 rule", "the rule casts the gradient to float32", wrong(_double, lambda g, y, x: (2 * g).astype(np.float32))
            ),
            Bug(
                "double/0.1 %",
                "2.002 instead of 2",
                wrong(_double, lambda g, y, x: 2.002 * g),
                "within the tolerance of 1e-2 that minitorch checks with",
            ),
            Bug("double/a millionth", "2.000002 instead of 2", wrong(_double, lambda g, y, x: 2.000002 * g)),
            Bug("double/x.data", "f leaves the record", lambda x: _double(Tensor(x._data) if isinstance(x, Tensor) else x) + 0 * x),
        ],
    ),
]

# ---- functions of one operand --------------------------------------------------------------------------------------------------------


def _output_in_place(g: Value, y: Value) -> Value:
    slope = g * y
    if isinstance(y, np.ndarray):
        y *= 1.5
    return slope


_calls = iter(range(10**9))

_where_swapped = wrong(ops.where, None, lambda g, y, c, a, b: ops.where(c, 0, g), lambda g, y, c, a, b: ops.where(c, g, 0))
_where_both = wrong(ops.where, None, lambda g, y, c, a, b: g, lambda g, y, c, a, b: g)

FUNCTIONS = [
    Specimen(
        "exp",
        ops.exp,
        ((3, 4),),
        [
            Bug("exp/power rule", "x e**(x - 1), as for powers", wrong(ops.exp, lambda g, y, x: g * x * ops.exp(x - 1))),
            Bug("exp/zero", "zeros", wrong(ops.exp, lambda g, y, x: g * 0), "a zero gradient passes minitorch's checks for exp and log"),
            Bug(
                "exp/output in place",
                "the rule writes into the recorded output",
                wrong(ops.exp, lambda g, y, x: _output_in_place(g, y)),
                kind="mutation",
            ),
            Bug("exp/state", "right at the first call only", wrong(ops.exp, lambda g, y, x: g * y * (1 + next(_calls))), kind="mutation"),
        ],
    ),
    Specimen(
        "log",
        ops.log,
        ((3, 4),),
        [
            Bug("log/output", "g / log x", wrong(ops.log, lambda g, y, x: g / y)),
            Bug("log/zero", "zeros", wrong(ops.log, lambda g, y, x: g * 0), "a zero gradient passes minitorch's checks for exp and log"),
            Bug("log/epsilon", "1 / (x + 1e-6), for safety", wrong(ops.log, lambda g, y, x: g / (x + 1e-6))),
        ],
        {"domain": POSITIVE},
    ),
    Specimen(
        "sqrt",
        ops.sqrt,
        ((3, 4),),
        [
            Bug("sqrt/half forgotten", "1 / sqrt x", wrong(ops.sqrt, lambda g, y, x: g / y)),
            Bug("sqrt/not inverted", "sqrt(x) / 2", wrong(ops.sqrt, lambda g, y, x: g * y / 2)),
        ],
        {"domain": POSITIVE},
    ),
    Specimen(
        "tanh",
        ops.tanh,
        ((3, 4),),
        [
            Bug("tanh/of x", "1 - x**2 instead of 1 - y**2", wrong(ops.tanh, lambda g, y, x: g * (1 - x * x))),
            Bug("tanh/forgotten", FORGOTTEN, wrong(ops.tanh, lambda g, y, x: 1 - y * y), UPSTREAM_ONES),
            Bug("tanh/not squared", "1 - y", wrong(ops.tanh, lambda g, y, x: g * (1 - y))),
            Bug(
                "tanh/saturation clipped",
                "exactly 0 beyond |x| = 3",
                wrong(ops.tanh, lambda g, y, x: g * (1 - y * y) * (x < 3) * (x > -3)),
                "inputs from N(0, 1) seldom reach it",
            ),
            Bug(
                "tanh/applied twice",
                "1 - tanh(y)**2: activated once more in backward",
                wrong(ops.tanh, lambda g, y, x: g * (1 - ops.tanh(y) ** 2)),
            ),
        ],
    ),
    Specimen(
        "sigmoid",
        ops.sigmoid,
        ((3, 4),),
        [
            Bug("sigmoid/of x", "x (1 - x) instead of y (1 - y)", wrong(ops.sigmoid, lambda g, y, x: g * x * (1 - x))),
            Bug("sigmoid/half", "y without (1 - y)", wrong(ops.sigmoid, lambda g, y, x: g * y)),
            Bug(
                "sigmoid/saturation clipped",
                "exactly 0 below x = -8",
                wrong(ops.sigmoid, lambda g, y, x: g * (y - y * y) * (x > -8)),
                "inputs from N(0, 1) never reach it",
            ),
            Bug(
                "sigmoid/only x < 0",
                "the sign is lost for negative x",
                wrong(ops.sigmoid, lambda g, y, x: g * (y - y * y) * np.where(x < 0, -1, 1)),
            ),
            Bug("sigmoid/hard", "0.2, the slope of the hard sigmoid", wrong(ops.sigmoid, lambda g, y, x: 0.2 * g)),
        ],
    ),
    Specimen(
        "relu",
        ops.relu,
        ((3, 4),),
        [
            Bug("relu/>=", "y >= 0, which holds everywhere", wrong(ops.relu, lambda g, y, x: g * (y >= 0))),
            Bug("relu/inverted", "lets the negative through", wrong(ops.relu, lambda g, y, x: g * (x < 0))),
            Bug("relu/mask of g", "masks by the sign of g instead of x", wrong(ops.relu, lambda g, y, x: g * (g > 0))),
            Bug("relu/leaky", "0.01 g where x < 0", wrong(ops.relu, lambda g, y, x: g * (y > 0) + 0.01 * g * (x < 0))),
        ],
    ),
    Specimen(
        "abs",
        ops.abs,
        ((3, 4),),
        [
            Bug("abs/no sign", "g", wrong(ops.abs, lambda g, y, x: g)),
            Bug(
                "abs/called analytic",
                "not analytic, declared so, and the rule gives zeros as the complex step does",
                wrong(ops.abs, lambda g, y, x: g * 0, analytic=True),
            ),
        ],
    ),
    Specimen(
        "maximum",
        ops.maximum,
        ((3, 4), (3, 4)),
        [
            Bug(
                "maximum/swapped",
                "the smaller one gets the gradient",
                wrong(ops.maximum, lambda g, y, a, b: g * (a < b), lambda g, y, a, b: g * (b < a)),
            ),
            Bug("maximum/both", "both get all of it", wrong(ops.maximum, lambda g, y, a, b: g, lambda g, y, a, b: g)),
            Bug("maximum/half", "both get half of it, as in a tie", wrong(ops.maximum, lambda g, y, a, b: g / 2, lambda g, y, a, b: g / 2)),
        ],
    ),
    Specimen(
        "where",
        lambda a, b: ops.where(np.array([True, False, True]), a, b),
        ((2, 3), (2, 3)),
        [
            Bug("where/swapped", "a gets b's gradient", lambda a, b: _where_swapped(np.array([True, False, True]), a, b)),
            Bug("where/both", "both get all of it", lambda a, b: _where_both(np.array([True, False, True]), a, b)),
        ],
    ),
]


# ---- reductions and products ---------------------------------------------------------------------------------------------------------

_RULE_A, _RULE_B = (lambda g, y, a, b: g @ b.swapaxes(-1, -2)), (lambda g, y, a, b: a.swapaxes(-1, -2) @ g)


def _stacked_in_other_orders(uses: list[Any]) -> Any:
    return np.concatenate([a for _, _, (a, _), _ in uses[::-1]]).T @ np.concatenate([g for g, _, _, _ in uses])


def _last_use(uses: list[Any]) -> Any:
    g, _, (a, _), _ = uses[-1]
    return a.T @ g


_matmul_shuffled = wrong(ops.matmul, _RULE_A, _RULE_B, together={1: _stacked_in_other_orders})
_matmul_overwritten = wrong(ops.matmul, _RULE_A, _RULE_B, together={1: _last_use})

REDUCTIONS = [
    Specimen(
        "sum",
        ops.sum,
        ((3, 3),),
        [
            Bug(
                "sum/keepdims",
                "g is spread along the wrong axis",
                wrong(ops.sum, lambda g, y, x, *, axis=None, keepdims=False: g + 0 * x),
                "shows on no square matrix under a cotangent of ones",
            ),
            Bug("sum/ones", FORGOTTEN, wrong(ops.sum, lambda g, y, x, *, axis=None, keepdims=False: np.ones_like(x)), UPSTREAM_ONES),
            Bug(
                "sum/not spread", "g as it is, of y's shape", wrong(ops.sum, lambda g, y, x, *, axis=None, keepdims=False: g), kind="shape"
            ),
            Bug("sum/mean's", "g / n", wrong(ops.sum, lambda g, y, x, *, axis=None, keepdims=False: spread(g / 3, x, axis))),
        ],
        {"settings": {"axis": 1}},
    ),
    Specimen(
        "mean",
        ops.mean,
        ((3, 4),),
        [
            Bug("mean/not divided", "sum's gradient", wrong(ops.mean, lambda g, y, x, *, axis=None, keepdims=False: spread(g, x, axis))),
            Bug(
                "mean/by all",
                "divided by the number of all elements",
                wrong(ops.mean, lambda g, y, x, *, axis=None, keepdims=False: spread(g / x.size, x, axis)),
            ),
            Bug(
                "mean/wrong axis",
                "divided by the size of the other axis",
                wrong(ops.mean, lambda g, y, x, *, axis=None, keepdims=False: spread(g / x.shape[1], x, axis)),
            ),
        ],
        {"settings": {"axis": 0}, "broadcast": False},
    ),
    Specimen(
        "max",
        ops.max,
        ((3, 4),),
        [
            Bug(
                "max/everywhere",
                "all elements get the gradient",
                wrong(ops.max, lambda g, y, x, *, axis=None, keepdims=False: spread(g, x, axis)),
            ),
            Bug(
                "max/min's",
                "the smallest gets it",
                wrong(ops.max, lambda g, y, x, *, axis=None, keepdims=False: spread(g, x, axis) * (x == x.min(axis=axis, keepdims=True))),
            ),
            Bug(
                "max/of all",
                "only the largest of all gets it, not the largest of each row",
                wrong(ops.max, lambda g, y, x, *, axis=None, keepdims=False: spread(g, x, axis) * (x == x.max())),
            ),
        ],
        {"settings": {"axis": 1}, "order": 1},
    ),
    Specimen(
        "logsumexp",
        ops.logsumexp,
        ((3, 4),),
        [
            Bug(
                "logsumexp/exp(x)",
                "exp(x), not normalised",
                wrong(ops.logsumexp, lambda g, y, x, *, axis=None, keepdims=False: spread(g, x, axis) * np.exp(x)),
            ),
            Bug(
                "logsumexp/uniform",
                "g / n",
                wrong(ops.logsumexp, lambda g, y, x, *, axis=None, keepdims=False: spread(g / x.shape[axis], x, axis)),
            ),
        ],
        {"settings": {"axis": 1}},
    ),
    Specimen(
        "matmul",
        ops.matmul,
        ((3, 3), (3, 3)),
        [
            Bug(
                "matmul/a not transposed",
                "g @ b instead of g @ b.T",
                wrong(ops.matmul, lambda g, y, a, b: g @ b, lambda g, y, a, b: a.swapaxes(-1, -2) @ g),
                SQUARE,
            ),
            Bug(
                "matmul/b not transposed",
                "a @ g instead of a.T @ g",
                wrong(ops.matmul, lambda g, y, a, b: g @ b.swapaxes(-1, -2), lambda g, y, a, b: a @ g),
                SQUARE,
            ),
            Bug(
                "matmul/result transposed",
                "g.T @ a, the transpose of b's gradient",
                wrong(ops.matmul, lambda g, y, a, b: g @ b.swapaxes(-1, -2), lambda g, y, a, b: g.swapaxes(-1, -2) @ a),
                "transposed gradients pass needle's checks, under a plain sum",
            ),
            Bug(
                "matmul/order",
                "b.T @ g",
                wrong(ops.matmul, lambda g, y, a, b: b.swapaxes(-1, -2) @ g, lambda g, y, a, b: a.swapaxes(-1, -2) @ g),
                SQUARE,
            ),
        ],
        {"broadcast": False},
    ),
    Specimen(
        "matmul of a batch",
        ops.matmul,
        ((2, 3, 4), (4, 2)),
        [
            Bug(
                "matmul/first of the batch",
                "b's gradient of the first sample only",
                wrong(ops.matmul, lambda g, y, a, b: g @ b.swapaxes(-1, -2), lambda g, y, a, b: a[0].swapaxes(-1, -2) @ g[0]),
            ),
        ],
        {"broadcast": False},
    ),
    Specimen(
        "matmul, shared",
        lambda a, W: ops.matmul(ops.matmul(a, W), W),
        ((2, 3), (3, 3)),
        [
            Bug(
                "matmul/together",
                "one product of two stacks, the stacks in different orders",
                lambda a, W: _matmul_shuffled(_matmul_shuffled(a, W), W),
            ),
            Bug(
                "matmul/last use only",
                "the gradient of a shared weight is overwritten, not summed",
                lambda a, W: _matmul_overwritten(_matmul_overwritten(a, W), W),
                "tinygrad overwrote gradients of shared tensors for a month, before it had a topological order",
            ),
        ],
        {"broadcast": False},
    ),
]

# ---- shapes, selecting and joining ---------------------------------------------------------------------------------------------------


def _put_without_sum(g: Value, index: Any, shape: tuple[int, ...]) -> Value:
    buffer = np.zeros(shape, g.dtype)
    buffer[index] += g  # NumPy adds once per element, however often the index names it
    return buffer


def _half(first: int, g: Value, xs: Any, axis: int) -> Value:
    n = xs[0].shape[axis]
    return g.take(range(first * n, first * n + n), axis)


ROWS = np.array([0, 2, 0, 0, 1])
_twice = wrong(ops.getitem, lambda g, y, x, *, index: _put_without_sum(g, index, x.shape))
_shifted = wrong(ops.getitem, lambda g, y, x, *, index: np.roll(ops.getitem.rules[0][0](g, y, x, index=index), 1, axis=0))
_look_up = wrong(ops.take, lambda g, y, x, i, *, axis=0: _put_without_sum(g, i, x.shape), None)
_first_axis = wrong(ops.take, lambda g, y, x, i, *, axis=0: ops._put(g.swapaxes(0, 1), index=i, shape=x.shape), None)
_halves_swapped = wrong(ops._concat, each=lambda i, g, y, xs, axis=0: _half(1 - i, g, xs, axis))
_first_half = wrong(ops._concat, each=lambda i, g, y, xs, axis=0: _half(0, g, xs, axis))
_concat_ones = wrong(ops._concat, each=lambda i, g, y, xs, axis=0: np.ones_like(xs[i]))
_stack_first = wrong(ops._stack, each=lambda i, g, y, xs, axis=0: g[0])
_stack_reversed = wrong(ops._stack, each=lambda i, g, y, xs, axis=0: g[len(xs) - 1 - i])

_reshape_f = wrong(ops.reshape, lambda g, y, x, *, shape: g.swapaxes(0, 1).reshape(x.shape))
_transpose_again = wrong(ops.transpose, lambda g, y, x, *, axes: ops.transpose(g, axes=axes))
_transpose_not = wrong(ops.transpose, lambda g, y, x, *, axes: g)
_broadcast_mean = wrong(ops.broadcast_to, lambda g, y, x, *, shape: g / 3)
_broadcast_first = wrong(ops.broadcast_to, lambda g, y, x, *, shape: g[0])

SHAPES = [
    Specimen(
        "reshape",
        lambda x: ops.reshape(x, shape=(4, 3)),
        ((3, 4),),
        [
            Bug("reshape/transposed", "the elements in column-major order", lambda x: _reshape_f(x, shape=(4, 3))),
        ],
        {"broadcast": False},
    ),
    Specimen(
        "transpose",
        lambda x: ops.transpose(x, axes=(1, 2, 0)),
        ((3, 3, 3),),
        [
            Bug(
                "transpose/same axes",
                "the same permutation again instead of its inverse",
                lambda x: _transpose_again(x, axes=(1, 2, 0)),
                SQUARE,
            ),
            Bug("transpose/untouched", "g as it is", lambda x: _transpose_not(x, axes=(1, 2, 0)), SQUARE),
        ],
    ),
    Specimen(
        "broadcast_to",
        lambda x: ops.broadcast_to(x, shape=(3, 4)),
        ((4,),),
        [
            Bug("broadcast_to/mean", "the mean of the gradient instead of its sum", lambda x: _broadcast_mean(x, shape=(3, 4))),
            Bug(
                "broadcast_to/first", "the first row of the gradient instead of the sum of all", lambda x: _broadcast_first(x, shape=(3, 4))
            ),
        ],
        {"broadcast": False},
    ),
    Specimen(
        "getitem",
        lambda x: ops.getitem(x, index=ROWS),
        ((3, 2),),
        [
            Bug(
                "getitem/twice",
                "an element that is indexed twice gets one gradient",
                lambda x: _twice(x, index=ROWS),
                "buffer[index] += g in NumPy does this",
            ),
            Bug("getitem/shifted", "the gradient lands one row too low", lambda x: _shifted(x, index=ROWS)),
        ],
        {"broadcast": False, "order": 1},
    ),
    Specimen(
        "take",
        lambda table: ops.take(table, ROWS),
        ((4, 4),),
        [
            Bug(
                "take/twice",
                "a symbol that occurs twice learns once",
                lambda table: _look_up(table, ROWS),
                "buffer[index] += g in NumPy does this",
            ),
            Bug("take/columns", "columns instead of rows", lambda table: _first_axis(table[:, :], np.array([0, 1, 2, 3]))),
        ],
        {"broadcast": False, "order": 1},
    ),
    Specimen(
        "concat",
        lambda h, x: ops.concat([h, x], axis=1),
        ((2, 3), (2, 3)),
        [
            Bug(
                "concat/swapped",
                "[h, x]: h gets x's half",
                lambda h, x: _halves_swapped(h, x, axis=1),
                "equal halves hide it from shapes, ones from DeZero's and needle's checks",
            ),
            Bug("concat/first half", "both get the first half", lambda h, x: _first_half(h, x, axis=1)),
            Bug("concat/ones", FORGOTTEN, lambda h, x: _concat_ones(h, x, axis=1), UPSTREAM_ONES),
        ],
        {"broadcast": False},
    ),
    Specimen(
        "stack",
        lambda a, b: ops.stack([a, b]),
        ((2, 3), (2, 3)),
        [
            Bug("stack/first", "all get the first slice", _stack_first),
            Bug("stack/reversed", "the slices in reverse", _stack_reversed),
        ],
        {"broadcast": False},
    ),
]


# ---- softmax and cross-entropy, as one op each ---------------------------------------------------------------------------------------


@op(lambda g, y, x: y * (g - (g * y).sum(axis=-1, keepdims=True)))
def softmax(x: Value) -> Value:
    """exp(x) / sum(exp(x)) over the last axis."""
    e = np.exp(x - np.max(x.real, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


TARGETS = np.array([0, 2, 1])
ONE_HOT = np.eye(4, dtype=bool)[TARGETS]


@op(lambda g, y, x: g * (ops.softmax(x) - ONE_HOT) / 3)
def cross_entropy(x: Value) -> Value:
    """The mean of -log softmax(x)[target]: its gradient is (softmax - one_hot) / N."""
    return np.mean(ops.logsumexp(x, axis=-1) - (x * ONE_HOT).sum(axis=-1))


LOSSES = [
    Specimen(
        "softmax",
        softmax,
        ((3, 4),),
        [
            Bug("softmax/diagonal", "y (1 - y) g: the other classes' part is forgotten", wrong(softmax, lambda g, y, x: g * y * (1 - y))),
            Bug(
                "softmax/sum over the batch",
                "the sum runs over the batch, not the classes",
                wrong(softmax, lambda g, y, x: y * (g - (g * y).sum(axis=0, keepdims=True))),
            ),
            Bug(
                "softmax/ones",
                FORGOTTEN + ": zeros, since softmax sums to 1",
                wrong(softmax, lambda g, y, x: y * (1 - y.sum(axis=-1, keepdims=True))),
            ),
        ],
        {"broadcast": False},
    ),
    Specimen(
        "cross-entropy",
        cross_entropy,
        ((3, 4),),
        [
            Bug(
                "cross-entropy/not divided",
                "the mean's 1/N is forgotten",
                wrong(cross_entropy, lambda g, y, x: g * (ops.softmax(x) - ONE_HOT)),
            ),
            Bug(
                "cross-entropy/forgotten",
                FORGOTTEN + ", as the loss comes last",
                wrong(cross_entropy, lambda g, y, x: (ops.softmax(x) - ONE_HOT) / 3),
            ),
            Bug("cross-entropy/sign", "one_hot - softmax", wrong(cross_entropy, lambda g, y, x: g * (ONE_HOT - ops.softmax(x)) / 3)),
            Bug(
                "cross-entropy/shifted",
                "the targets of the next position",
                wrong(cross_entropy, lambda g, y, x: g * (ops.softmax(x) - np.roll(ONE_HOT, 1, 0)) / 3),
            ),
        ],
        {"broadcast": False},
    ),
]

# ---- recurrent networks over T steps, backpropagation through time written by hand, one op each ---------------------------------------
# Each piece of a backward pass is an argument, so that a bug reads as the piece that is wrong.  xs (T, N, C); h0, c0 (N, H); in the
# LSTM and GRU W (H + C, gates * H) belongs to z = concat(h, x) @ W + b.


def _rnn_forward(xs: Value, h0: Value, W_x: Value, W_h: Value, b: Value) -> Value:
    h, hs = h0, []
    for x in xs:
        h = np.tanh(x @ W_x + h @ W_h + b)
        hs.append(h)
    return np.stack(hs)


def rnn(
    carry: Callable[..., Any] = lambda dz, W_h: dz @ W_h.T,  # dL/dh of the step before
    slope: Callable[..., Any] = lambda h: 1 - h * h,  # tanh'
    bias: Callable[..., Any] = lambda dz: dz.sum(axis=0),
    total: Callable[..., Any] = sum,  # a shared weight's gradient over the steps
    steps: Callable[..., Any] = lambda T: range(T - 1, -1, -1),
    upstream: Callable[..., Any] = lambda g, t: g[t],
) -> Op:
    """h_t = tanh(x_t W_x + h_(t-1) W_h + b), (T, N, C) -> (T, N, H)."""

    def backward(g: Value, hs: Value, xs: Value, h0: Value, W_x: Value, W_h: Value, b: Value) -> list[Any]:
        dh, dxs, shares = np.zeros_like(h0), np.zeros_like(xs), []
        for t in steps(len(xs)):
            dz = (upstream(g, t) + dh) * slope(hs[t])
            before = hs[t - 1] if t else h0
            dxs[t] = dz @ W_x.T
            shares.append((xs[t].T @ dz, before.T @ dz, bias(dz)))
            dh = carry(dz, W_h)
        return [dxs, dh, *(total(share) for share in zip(*shares, strict=True))]

    return _by_hand(_rnn_forward, backward, 5)


def _by_hand(forward: Callable[..., Any], backward: Callable[..., list[Any]], operands: int) -> Op:
    """An op whose gradients all come from one backward pass."""
    return op(*[lambda g, y, *xs, i=i: backward(g, y, *xs)[i] for i in range(operands)])(forward)


def _lstm_steps(xs: Value, h0: Value, c0: Value, W: Value, b: Value) -> list[Any]:
    h, c, saved, H = h0, c0, [], h0.shape[-1]
    for x in xs:
        hx, c_old = np.concatenate([h, x], axis=-1), c
        z = hx @ W + b
        i, f, o, u = ops.sigmoid(z[:, :H]), ops.sigmoid(z[:, H : 2 * H]), ops.sigmoid(z[:, 2 * H : 3 * H]), np.tanh(z[:, 3 * H :])
        c = f * c_old + i * u
        h = o * np.tanh(c)
        saved.append((hx, c_old, i, f, o, u, c, h))
    return saved


def _lstm_forward(xs: Value, h0: Value, c0: Value, W: Value, b: Value) -> Value:
    return np.stack([step[-1] for step in _lstm_steps(xs, h0, c0, W, b)])


def lstm(
    carry_c: Callable[..., Any] = lambda dc, f: dc * f,  # dL/dc of the step before
    through_h: Callable[..., Any] = lambda dh, o, tanh_c: dh * o * (1 - tanh_c * tanh_c),  # dL/dc by way of h
    order: Callable[..., Any] = lambda di, df, do, du: [di, df, do, du],
    slope: Callable[..., Any] = lambda gate: gate * (1 - gate),
    candidate: Callable[..., Any] = lambda u: 1 - u * u,
    split: Callable[..., Any] = lambda dhx, H: (dhx[:, :H], dhx[:, H:]),
    weight: Callable[..., Any] = lambda hx, dz: hx.T @ dz,
    bias: Callable[..., Any] = lambda dz: dz.sum(axis=0),
) -> Op:
    """c_t = f c_(t-1) + i u, h_t = o tanh(c_t), (T, N, C) -> (T, N, H); the gates stand in the order i, f, o, u."""

    def backward(g: Value, hs: Value, xs: Value, h0: Value, c0: Value, W: Value, b: Value) -> list[Any]:
        dh, dc, dxs, dW, db, H = np.zeros_like(h0), np.zeros_like(c0), np.zeros_like(xs), np.zeros_like(W), np.zeros_like(b), h0.shape[-1]
        for t, (hx, c_old, i, f, o, u, c, _) in reversed([*enumerate(_lstm_steps(xs, h0, c0, W, b))]):
            dh, tanh_c = g[t] + dh, np.tanh(c)
            dc = dc + through_h(dh, o, tanh_c)
            gates = order(dc * u * slope(i), dc * c_old * slope(f), dh * tanh_c * slope(o), dc * i * candidate(u))
            dz = np.concatenate(gates, axis=-1)
            dW, db, dc = dW + weight(hx, dz), db + bias(dz), carry_c(dc, f)
            dh, dxs[t] = split(dz @ W.T, H)
        return [dxs, dh, dc, dW, db]

    return _by_hand(_lstm_forward, backward, 5)


def _gru_steps(xs: Value, h0: Value, W: Value, U: Value) -> list[Any]:
    h, saved, H = h0, [], h0.shape[-1]
    for x in xs:
        old, hx = h, np.concatenate([h, x], axis=-1)
        gates = hx @ W
        z, r = ops.sigmoid(gates[:, :H]), ops.sigmoid(gates[:, H:])
        rx = np.concatenate([r * old, x], axis=-1)
        u = np.tanh(rx @ U)
        h = z * old + (1 - z) * u
        saved.append((old, hx, z, r, rx, u, h))
    return saved


def _gru_forward(xs: Value, h0: Value, W: Value, U: Value) -> Value:
    return np.stack([step[-1] for step in _gru_steps(xs, h0, W, U)])


def gru(
    to_u: Callable[..., Any] = lambda dh, z: dh * (1 - z),
    to_z: Callable[..., Any] = lambda dh, old, u: dh * (old - u),
    keep: Callable[..., Any] = lambda dh, z: dh * z,  # dL/dh of the step before, straight through
    reset: Callable[..., Any] = lambda drh, r: drh * r,  # and by way of r * h
) -> Op:
    """h_t = z h_(t-1) + (1 - z) u, u = tanh([r h_(t-1), x] U) (Cho 2014: the reset before the product), (T, N, C) -> (T, N, H)."""

    def backward(g: Value, hs: Value, xs: Value, h0: Value, W: Value, U: Value) -> list[Any]:
        dh, dxs, dW, dU, H = np.zeros_like(h0), np.zeros_like(xs), np.zeros_like(W), np.zeros_like(U), h0.shape[-1]
        for t, (old, hx, z, r, rx, u, _) in reversed([*enumerate(_gru_steps(xs, h0, W, U))]):
            dh = g[t] + dh
            du = to_u(dh, z) * (1 - u * u)
            drx = du @ U.T
            dz = np.concatenate([to_z(dh, old, u) * z * (1 - z), drx[:, :H] * old * r * (1 - r)], axis=-1)
            dhx = dz @ W.T
            dW, dU = dW + hx.T @ dz, dU + rx.T @ du
            dxs[t] = dhx[:, H:] + drx[:, H:]
            dh = keep(dh, z) + dhx[:, :H] + reset(drx[:, :H], r)
        return [dxs, dh, dW, dU]

    return _by_hand(_gru_forward, backward, 4)


T, N, C, HIDDEN = 4, 3, 2, 3
_RNN = ((T, N, C), (N, HIDDEN), (C, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN,))
_LSTM = ((T, N, HIDDEN), (N, HIDDEN), (N, HIDDEN), (2 * HIDDEN, 4 * HIDDEN), (4 * HIDDEN,))  # C = H, so that halves can be swapped
_GRU = ((T, N, HIDDEN), (N, HIDDEN), (2 * HIDDEN, 2 * HIDDEN), (2 * HIDDEN, HIDDEN))
_ONE_PASS = {"broadcast": False, "order": 1, "points": 3}

MASK = np.array([[[1.0], [1.0], [1.0]], [[1.0], [1.0], [0.0]], [[1.0], [0.0], [0.0]], [[1.0], [0.0], [0.0]]])


def masked(blend: Callable[..., Any]) -> Callable[..., Any]:
    """An RNN over padded sequences, recorded op by op: where the mask is 0 the state stays."""

    def f(xs: Value, h: Value, W_x: Value, W_h: Value, b: Value) -> Value:
        for x, m in zip(xs, MASK, strict=True):
            h = blend(m.astype(x.dtype), ops.tanh(x @ W_x + h @ W_h + b), h)
        return h

    return f


_blend_one_side = op(None, lambda g, y, m, new, old: g * m, lambda g, y, m, new, old: g)(lambda m, new, old: m * new + (1 - m) * old)
_blend_no_mask = op(None, lambda g, y, m, new, old: g, lambda g, y, m, new, old: g * (1 - m))(lambda m, new, old: m * new + (1 - m) * old)
_blend_reversed = op(None, lambda g, y, m, new, old: g * (1 - m), lambda g, y, m, new, old: g * m)(
    lambda m, new, old: m * new + (1 - m) * old
)


def unrolled(detach: Callable[..., Any] = lambda t, h: h, weight: Callable[..., Any] = lambda t, W_h: W_h) -> Callable[..., Any]:
    """The RNN recorded op by op; nothing is written by hand, and one can still leave the record."""

    def f(xs: Value, h: Value, W_x: Value, W_h: Value, b: Value) -> Value:
        for t, x in enumerate(xs):
            h = ops.tanh(x @ W_x + detach(t, h) @ weight(t, W_h) + b)
        return h

    return f


def _cut(x: Value) -> Value:
    return x.detach() if isinstance(x, Tensor) else x


_noise = np.random.default_rng(0)
_seen: list[float] = []


def _dropout_unseeded(x: Value) -> Value:
    return ops.tanh(x) * (_noise.random(x.shape) < 0.5)


def _stateful(x: Value) -> Value:
    _seen.append(0.1)
    return ops.tanh(x) * (1 + sum(_seen))


CELLS = [
    Specimen(
        "RNN, by hand",
        rnn(),
        _RNN,
        [
            Bug(
                "RNN/no transpose",
                "dh_next = dz @ W_h: W_h is square, so no shape tells",
                rnn(carry=lambda dz, W_h: dz @ W_h),
                "dhnext = dhRaw * Whh, datascience.stackexchange question 10545, 'gradient check failing for RNN'",
            ),
            Bug("RNN/no W_h", "dh_next = dz: the way back through W_h is forgotten", rnn(carry=lambda dz, W_h: dz)),
            Bug("RNN/no carry", "each step by itself: no dh_next at all", rnn(carry=lambda dz, W_h: 0 * dz)),
            Bug("RNN/clipped", "dh_next is clipped to [-1, 1] inside the gradient", rnn(carry=lambda dz, W_h: np.clip(dz @ W_h.T, -1, 1))),
            Bug("RNN/slope forgotten", "tanh' is left out", rnn(slope=lambda h: 1)),
            Bug("RNN/sigmoid's slope", "h (1 - h) for a tanh", rnn(slope=lambda h: h * (1 - h))),
            Bug(
                "RNN/bias of one sample", "the bias gradient is the first sample's, not the sum over the batch", rnn(bias=lambda dz: dz[0])
            ),
            Bug("RNN/bias mean", "the bias gradient is the mean over the batch", rnn(bias=lambda dz: dz.mean(axis=0))),
            Bug("RNN/last share", "the weights' gradients are overwritten at each step, not summed", rnn(total=lambda shares: shares[-1])),
            Bug(
                "RNN/mean over time",
                "the weights' gradients are averaged over the steps",
                rnn(total=lambda shares: sum(shares) / len(shares)),
            ),
            Bug("RNN/last step only", "only the last step is gone back through", rnn(steps=lambda T: [T - 1])),
            Bug("RNN/first step left out", "the loop back stops before t = 0", rnn(steps=lambda T: range(T - 1, 0, -1))),
            Bug("RNN/forwards", "the backward pass runs forwards in time", rnn(steps=range)),
            Bug("RNN/upstream of the end", "only the last output's gradient is used", rnn(upstream=lambda g, t: g[t] * (t == len(g) - 1))),
            Bug("RNN/upstream ones", FORGOTTEN, rnn(upstream=lambda g, t: np.ones_like(g[t])), UPSTREAM_ONES),
            Bug("RNN/upstream off by one", "the gradient of the step before", rnn(upstream=lambda g, t: g[t - 1])),
        ],
        _ONE_PASS,
    ),
    Specimen(
        "LSTM, by hand",
        lstm(),
        _LSTM,
        [
            Bug("LSTM/dc_next forgotten", "the cell state carries no gradient back", lstm(carry_c=lambda dc, f: 0 * dc)),
            Bug("LSTM/f forgotten", "dc_next = dc, without the forget gate", lstm(carry_c=lambda dc, f: dc)),
            Bug(
                "LSTM/tanh of c",
                "1 - c**2's place is taken by 1: the slope of tanh(c) is forgotten",
                lstm(through_h=lambda dh, o, tanh_c: dh * o),
            ),
            Bug("LSTM/o forgotten", "dc without the output gate", lstm(through_h=lambda dh, o, tanh_c: dh * (1 - tanh_c * tanh_c))),
            Bug(
                "LSTM/gate order",
                "the gradients of i and f change places",
                lstm(order=lambda di, df, do, du: [df, di, do, du]),
                "libraries differ in it: PyTorch has i, f, g, o",
            ),
            Bug("LSTM/o and u", "the gradients of o and u change places", lstm(order=lambda di, df, do, du: [di, df, du, do])),
            Bug("LSTM/gate's slope", "f (1 - f) is left out", lstm(slope=lambda gate: 1)),
            Bug("LSTM/candidate's slope", "u (1 - u) for a tanh", lstm(candidate=lambda u: u * (1 - u))),
            Bug("LSTM/halves swapped", "z = [h, x] W: h gets the gradient of x", lstm(split=lambda dhx, H: (dhx[:, H:], dhx[:, :H]))),
            Bug(
                "LSTM/weight in reverse",
                "the rows of W's gradient for h and for x change places",
                lstm(weight=lambda hx, dz: np.concatenate(np.split(hx, 2, axis=-1)[::-1], axis=-1).T @ dz),
            ),
            Bug("LSTM/bias of one sample", "the bias gradient is not summed over the batch", lstm(bias=lambda dz: dz[-1])),
        ],
        _ONE_PASS,
    ),
    Specimen(
        "GRU, by hand",
        gru(),
        _GRU,
        [
            Bug("GRU/(1 - z) forgotten", "the candidate gets all of dh", gru(to_u=lambda dh, z: dh)),
            Bug("GRU/z for 1 - z", "the candidate gets z dh", gru(to_u=lambda dh, z: dh * z)),
            Bug("GRU/sign of z", "u - h instead of h - u", gru(to_z=lambda dh, old, u: dh * (u - old))),
            Bug("GRU/candidate only", "z's gradient leaves out the old state", gru(to_z=lambda dh, old, u: -dh * u)),
            Bug("GRU/no shortcut", "nothing goes straight back through z h", gru(keep=lambda dh, z: 0 * dh)),
            Bug("GRU/1 - z back", "(1 - z) dh goes back instead of z dh: the other convention", gru(keep=lambda dh, z: dh * (1 - z))),
            Bug("GRU/reset forgotten", "r is left out on the way back", gru(reset=lambda drh, r: drh)),
            Bug("GRU/reset lost", "nothing goes back through r h", gru(reset=lambda drh, r: 0 * drh)),
        ],
        _ONE_PASS,
    ),
    Specimen(
        "masked RNN",
        masked(lambda m, new, old: m * new + (1 - m) * old),
        _RNN,
        [
            Bug("mask/one side", "the mask is applied to the new state's gradient only", masked(_blend_one_side)),
            Bug("mask/not at all", "padding gets gradient", masked(_blend_no_mask)),
            Bug("mask/reversed", "the gradients go where the mask is 0", masked(_blend_reversed)),
        ],
        _ONE_PASS,
    ),
    Specimen(
        "RNN, recorded",
        unrolled(),
        _RNN,
        [
            Bug("unrolled/detached state", "truncated after one step, without anybody asking", unrolled(detach=lambda t, h: _cut(h))),
            Bug("unrolled/detached once", "cut at step 2", unrolled(detach=lambda t, h: _cut(h) if t == 2 else h)),
            Bug(
                "unrolled/copied weight",
                "accumulation lost: the first step alone uses the shared weight, the others a copy",
                unrolled(weight=lambda t, W_h: W_h if t == 0 else _cut(W_h)),
            ),
        ],
        _ONE_PASS,
    ),
    Specimen(
        "no hidden state",
        ops.tanh,
        ((3, 4),),
        [
            Bug("state/dropout", "a new random mask at each call, from a generator outside", _dropout_unseeded, kind="random"),
            Bug(
                "state/kept",
                "the result depends on the calls before: state hides in the layer",
                _stateful,
                "DeZero's recurrent layers keep their state in themselves",
                kind="random",
            ),
        ],
    ),
]

ZOO = [*ARITHMETIC, *FUNCTIONS, *REDUCTIONS, *SHAPES, *LOSSES, *CELLS]
