"""The machine: a value that remembers how it was made, and the chain rule run backwards over that memory.

An op applied to arrays is NumPy; an op applied to a :class:`Node` is NumPy plus a record.  A node points at its inputs and never at
anything that points back, so reference counting frees a graph; the order of creation is a topological order, so nothing recurses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from functools import partial, wraps
from heapq import heappop, heappush
from inspect import CO_VARARGS
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar, cast, overload

import numpy as np

from .blas import summed

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Value: TypeAlias = Any  # what an op takes and gives: a scalar, an array or a Tensor
Place: TypeAlias = tuple[Any, object] | None  # (the place around this one, a scope's name | a step's number | a module | grad)

_new = object.__new__
_next_order = itertools.count().__next__


class _Now:
    """Where the program stands: the innermost scope or step, and whether ops leave a record."""

    __slots__ = ("place", "recording")

    def __init__(self) -> None:
        self.place: Place = None
        self.recording = True


_now = _Now()


class Op(Protocol):
    """What the decorator :func:`op` makes of a forward function."""

    __name__: str
    forward: Callable[..., Any]
    rules: Any  # [i]: the rule of operand i, and the one for many uses of one tensor as that operand, or None
    analytic: bool

    def __call__(self, *operands: Value, **settings: Any) -> Value: ...


class Node:
    """A value and its record: the op that made it, its inputs, the arrays that the forward saw, where and when it ran."""

    __slots__ = (
        "__weakref__", "_arrays", "_data", "_inputs", "_op", "_order", "_place", "_requires_grad", "_retains", "_settings", "grad", "name",
    )  # fmt: skip

    _data: Array
    _requires_grad: bool
    _op: Op | None
    _inputs: tuple[Value, ...]
    _arrays: tuple[Value, ...]
    _settings: dict[str, Any]
    _order: int
    _place: Place
    _retains: bool
    grad: Array | None
    name: str | None

    def __init__(self, data: Array, requires_grad: bool = False, name: str | None = None) -> None:
        self._data = data
        self._op, self._inputs, self._arrays, self._settings = None, (), (), {}
        self._order, self._place = _next_order(), _now.place
        self._retains = False
        self.grad, self.name = None, name
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor; it can be set on leaves of a floating dtype."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self._op is not None:
            raise ValueError(f"requires_grad can be set on a leaf only; this tensor was made by {self._op.__name__}. Use detach() first.")
        if wanted and self._data.dtype.kind != "f":
            raise TypeError(f"requires_grad=True needs a floating dtype, and this tensor has {self._data.dtype}. Pass dtype=float.")
        self._requires_grad = bool(wanted)

    @property
    def data(self) -> Array:
        """The array, read-only: the record relies on it.  On a leaf it can be rebound to an array of the same shape."""
        self._data.setflags(write=False)
        return self._data

    @data.setter
    def data(self, value: Value) -> None:
        if self._op is not None:
            raise ValueError(f"data can be rebound on a leaf only; this tensor was made by {self._op.__name__}.")
        array = frozen(np.asarray(value, dtype=self._data.dtype))
        if array.shape != self._data.shape:
            raise ValueError(f"data: got shape {array.shape}, expected this tensor's shape {self._data.shape}.")
        self._data = array

    def retain_grad(self) -> Self:
        """Make `backward` keep this tensor's gradient in `.grad` even though it is not a leaf; returns the tensor."""
        if not self._requires_grad:
            raise ValueError("retain_grad: no gradient flows to this tensor, as none of its inputs has requires_grad=True.")
        self._retains = True
        return self

    def backward(self, gradient: Value = None) -> None:
        """Add dL/dx to `x.grad` of every leaf x that this tensor L was made from and that has requires_grad=True.

        L is a single number, or `gradient`, of L's shape, says how much each of its elements counts.  Leaves accumulate; the gradient of
        a tensor with :meth:`retain_grad` is replaced.  The graph stays, so that it can be drawn, or differentiated again.
        Raises ValueError where nothing requires a gradient, and where L is not a number and `gradient` is missing or of another shape.
        """
        for node, g in _gradients(self, _seed("backward", self, gradient)):
            node.grad = g if node._op is not None or node.grad is None else np.asarray(node.grad + g)


def frozen(value: Value) -> Value:
    """`value` as a record keeps it: an array that nobody can write into (a copy, unless it already is one), or a scalar."""
    if isinstance(value, (int, float, complex, np.generic)):
        return value
    array = np.asarray(value)
    owner: Any = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    if isinstance(owner, np.ndarray):
        array = array.copy()
        array.setflags(write=False)
    return array


def _kept(setting: Any) -> Any:
    """A setting as a record keeps it: nobody can write into the arrays and lists in it."""
    if isinstance(setting, tuple):
        return setting if is_view(setting) else tuple([_kept(part) for part in setting])
    if isinstance(setting, list):
        return frozen(np.asarray(setting, dtype=None if setting else np.intp))
    return frozen(setting) if isinstance(setting, np.ndarray) else setting


class Part(tuple[slice, ...]):
    """The index of the i-th part of a tensor cut along an axis; `parts`: the list of all, empty where they overlap or leave gaps."""

    i: int
    axis: int
    parts: list[Part]


_VIEWS = frozenset((int, slice, type(None), type(...), Part))


def is_view(index: Any) -> bool:
    """Whether an index, or each index of a tuple, is a number, a slice, None or ..., so that it selects each element at most once."""
    return _VIEWS.issuperset(map(type, index)) if index.__class__ is tuple else index.__class__ in _VIEWS


def op(
    *rules: Callable[..., Any] | None,
    each: Callable[..., Any] | None = None,
    together: dict[int, Callable[..., Any]] | None = None,
    analytic: bool = True,
    name: str | None = None,
) -> Callable[[Callable[..., Any]], Op]:
    """Make an op of a function over plain arrays, given the gradient rule of each of its operands.

    A rule takes `(g, output, *operands, **settings)`, g being dL/d(output), and gives dL/d(operand); None stands for an operand without a
    gradient.  It uses what arrays and Tensors share (`+ - * / ** @ []`, `.sum .reshape .swapaxes .shape`, other ops): run on arrays it
    is the first-order pass, on Tensors it gives derivatives of any order.  It need not mind broadcasting.  Operands are positional,
    settings keyword-only.

    each: for an op of any number of operands, the rule of the i-th: `each(i, g, output, operands, **settings)`, operands being a tuple.
    together: for operand i, where many uses of one tensor are cheaper to differentiate at once than one by one: a function of a list of
        uses `(g, output, operands, settings)` that gives the sum of the gradients of all, in an array that is nobody else's.
    analytic: False where the function has kinks, so that it cannot be checked by a complex step.
    name: what drawings and errors call the op, by default the function's name.

    >>> @op(lambda g, y, x: 3 * g * x ** 2)
    ... def cube(x):
    ...     return x ** 3
    """

    def define(forward: Callable[..., Any]) -> Op:
        code = forward.__code__
        of_each = getattr(each, "__code__", None)  # which not every callable has
        if of_each is not None and of_each.co_flags & CO_VARARGS:
            raise TypeError(f"op {forward.__name__}: each= takes the operands as one tuple: (i, g, output, operands, **settings).")
        if each is None and len(rules) != code.co_argcount:
            raise TypeError(f"op {forward.__name__}: {code.co_argcount} operands and {len(rules)} rules; give one rule, or None, for each.")
        if each is None and code.co_flags & CO_VARARGS:
            raise TypeError(f"op {forward.__name__}: takes any number of operands; give each=, the rule of the i-th.")
        kinds = {(1, False): _unary, (1, True): _unary_with_settings, (2, False): _binary}
        wrap = kinds.get((len(rules), code.co_kwonlyargcount > 0), _general)
        apply = cast(Op, wraps(forward)(wrap(forward)))
        apply.forward, apply.analytic, apply.__name__ = forward, analytic, name or forward.__name__
        apply.rules = _Each(each) if each else tuple((rule, (together or {}).get(i)) for i, rule in enumerate(rules))
        return apply

    return define


class _Each:
    """The rules of an op of any number of operands: the i-th is `each` with i filled in.

    They take the operands as one tuple: one by one, T rules would be handed T * T of them.
    """

    def __init__(self, each: Callable[..., Any]) -> None:
        self._each = each

    def __getitem__(self, i: int) -> tuple[Callable[..., Any], None]:
        return partial(self._each, i), None


def rule_arguments(op: Op, g: Value, output: Value, operands: Sequence[Value]) -> tuple[Any, ...]:
    """What the rules of an op take, but for its settings."""
    return (g, output, *operands) if op.rules.__class__ is tuple else (g, output, operands)


def _unary(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`_general` for one operand and no settings, at two thirds of its cost: most ops are of this kind or the next."""

    def apply(x: Value) -> Value:
        if not isinstance(x, Node):
            return forward(x)
        array = x._data
        try:
            data = forward(array)
        except _USERS_ERRORS as error:
            raise _explained(error, apply.__name__, (array,), {}) from error
        return _recorded(x.__class__, data, x._requires_grad, apply, (x,), (array,), _NO_SETTINGS)

    return apply


def _unary_with_settings(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`_general` for one operand."""

    def apply(x: Value, **settings: Any) -> Value:
        if not isinstance(x, Node):
            return forward(x, **settings)
        array = x._data
        for key, value in settings.items():
            if not is_view(value):
                settings[key] = _kept(value)
        try:
            data = forward(array, **settings)
        except _USERS_ERRORS as error:
            raise _explained(error, apply.__name__, (array,), settings) from error
        return _recorded(x.__class__, data, x._requires_grad, apply, (x,), (array,), settings)

    return apply


def _binary(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`_general` for two operands and no settings."""

    def apply(a: Value, b: Value) -> Value:
        if isinstance(a, Node):
            kind, requires_grad, array_a = a.__class__, a._requires_grad, a._data
            if isinstance(b, Node):
                requires_grad, array_b = requires_grad or b._requires_grad, b._data
                if b.__class__ is not kind:
                    kind = _kind((a, b))
            else:
                array_b = frozen(b)
        elif isinstance(b, Node):
            kind, requires_grad, array_a, array_b = b.__class__, b._requires_grad, frozen(a), b._data
        else:
            return forward(a, b)
        try:
            data = forward(array_a, array_b)
        except _USERS_ERRORS as error:
            raise _explained(error, apply.__name__, (array_a, array_b), {}) from error
        return _recorded(kind, data, requires_grad, apply, (a, b), (array_a, array_b), _NO_SETTINGS)

    return apply


def _general(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` for Tensors as well: run it on their arrays, and record what it did."""

    def apply(*operands: Value, **settings: Any) -> Value:
        nodes = [x for x in operands if isinstance(x, Node)]
        if not nodes:
            return forward(*operands, **settings)
        arrays = tuple([x._data if isinstance(x, Node) else frozen(x) for x in operands])
        for key, value in settings.items():
            if isinstance(value, (np.ndarray, list, tuple)):
                settings[key] = _kept(value)
        try:
            data = forward(*arrays, **settings)
        except _USERS_ERRORS as error:
            raise _explained(error, apply.__name__, arrays, settings) from error
        return _recorded(_kind(nodes), data, any([x._requires_grad for x in nodes]), apply, operands, arrays, settings)

    return apply


def _kind(nodes: Sequence[Node]) -> type[Node]:
    """The class of what is made of nodes: the most special one, as for Python's own operators."""
    kind = nodes[0].__class__
    for node in nodes:
        if node.__class__ is not kind and issubclass(node.__class__, kind):
            kind = node.__class__
    return kind


_USERS_ERRORS = (ValueError, TypeError, IndexError)
_NO_SETTINGS: dict[str, Any] = {}


def _recorded(
    kind: Any, data: Any, requires_grad: bool, op: Any, inputs: tuple[Value, ...], arrays: tuple[Value, ...], settings: dict[str, Any]
) -> Any:
    out = _new(kind)
    out._data = data if data.__class__ is np.ndarray else np.asarray(data)
    out._order, out._place = _next_order(), _now.place
    out.grad = out.name = None
    out._retains = False
    if _now.recording:
        out._requires_grad, out._op, out._inputs, out._arrays, out._settings = requires_grad, op, inputs, arrays, settings
    else:
        out._requires_grad, out._op, out._inputs, out._arrays, out._settings = False, None, (), (), _NO_SETTINGS
    return out


def _explained(error: Exception, name: str, arrays: Sequence[Value], settings: dict[str, Any]) -> Exception:
    """`error` again, saying which op was given what."""
    message = str(error)
    if not message.startswith(f"{name}: "):
        given = [str(x.shape) if isinstance(x, np.ndarray) else repr(x) for x in arrays]
        given += [f"{key}={value!r}" for key, value in settings.items()]
        if "broadcast" in message:
            message = "these shapes do not broadcast; from the right, each pair of sizes must be equal or hold a 1."
        message = f"{name}: {', '.join(given)}: {message}"
    kind = next(kind for kind in (IndexError, TypeError, ValueError) if isinstance(error, kind))
    return kind(message)


def _gradients(y: Node, seed: Value, wanted: set[int] | None = None, create_graph: bool = False) -> list[tuple[Node, Value]]:
    """The chain rule, run backwards from y: leaves and retaining nodes, or the nodes of the orders `wanted`, each with its gradient.

    Of the nodes that wait, the newest goes first: whatever adds to its gradient was made from it, so after it, and is done.
    """
    path = None if wanted is None else _path(y, wanted)
    done: list[tuple[Node, Value]] = []
    # By order: the node, the sum of its gradients so far, whether that array is nobody else's, and what is put aside to be added later.
    waiting = {y._order: [y, seed, False, None]}
    newest = [-y._order]
    while newest:
        order = -heappop(newest)
        entry: Any = waiting.pop(order)
        if entry[3] is not None:
            _take_all(entry)
        node: Any = entry[0]
        g = entry[1]
        op = node._op
        if (op is None or node._retains) if wanted is None else order in wanted:
            # A copy, unless it is nobody else's: g may be the gradient of another tensor too.
            done.append((node, g if create_graph else np.array(g, dtype=node._data.dtype, copy=None if entry[2] else True)))
        if op is None:
            continue
        if create_graph:
            output, operands = node, _as_recorded(node)
            _now.place = (node._place, grad)
        else:
            output, operands = node._data, node._arrays
        rules, settings = op.rules, node._settings
        given: Any = (g, output)  # rule_arguments, written out since each node comes by here
        given += operands if rules.__class__ is tuple else (operands,)
        for i, x in enumerate(node._inputs):
            if not isinstance(x, Node) or not x._requires_grad or (path is not None and x._order not in path):
                continue
            rule, together = rules[i]
            if rule is None:
                continue
            entry = waiting.get(x._order)
            if entry is None:
                entry = waiting[x._order] = [x, None, False, None]
                heappush(newest, -x._order)
            if together is not None and not create_graph:
                _put_aside(entry, together, (g, output, operands, settings))
                continue
            contribution = rule(*given, **settings) if settings else rule(*given)
            data = x._data
            if contribution.shape != data.shape or contribution.dtype is not data.dtype:
                if not create_graph and _is_few_rows(contribution, data):
                    _put_aside(entry, _rows_together, (contribution if contribution.base is None else contribution.copy(),))
                    continue
                contribution = fitted(contribution, data, op)
            if entry[1] is None:
                entry[1] = contribution
            elif entry[2]:
                entry[1] += contribution
            else:
                entry[1], entry[2] = entry[1] + contribution, True
    return done


_CACHED = 1 << 18  # bytes: half of a usual second-level cache
_FEW = 1 << 14  # bytes up to which contributions to a bias are put aside: to fit each would cost more than its numbers do


def _put_aside(entry: list[Any], together: Callable[..., Any], use: tuple[Any, ...]) -> None:
    """Keep a use, or a contribution to a row, for later, when it is added together with others.

    Those that wait are taken while their arrays are still in the cache, but no more often than it pays to go through the sum.
    """
    aside = entry[3]
    if aside is None:
        aside = entry[3] = {}
    uses = aside.get(together)
    if uses is None:
        uses = aside[together] = []
    uses.append(use)
    nbytes = len(uses) * use[0].nbytes
    if nbytes >= _CACHED and nbytes >= entry[0]._data.nbytes:
        _take_uses(entry, together, uses)
        uses.clear()


def _is_few_rows(contribution: Array, data: Array) -> bool:
    """Whether a gradient is that of some rows for an operand that is one: of a bias, where a batch is small."""
    small = data.ndim == 1 and contribution.nbytes <= _FEW and contribution.shape[-1:] == data.shape
    return small and data.dtype.char in "fd"  # a long column of float16 would lose the digits that short ones keep


def _rows_together(uses: list[Any]) -> Array:
    """Contributions to one row from many rows, which `fitted` then adds up."""
    return np.concatenate([g.reshape(math.prod(g.shape[:-1]), g.shape[-1]) for (g,) in uses])


def _take_uses(entry: list[Any], together: Any, uses: list[Any]) -> None:
    """Add the gradients of uses to the sum."""
    g, data = together(uses), entry[0]._data
    if g.shape != data.shape or g.dtype is not data.dtype:
        g = fitted(g, data, together)
    if entry[2]:
        entry[1] += g
        return
    if entry[1] is not None:
        g += entry[1]
    entry[1], entry[2] = g, True


def _take_all(entry: list[Any]) -> None:
    """Add the gradients of the uses that were put aside last."""
    for together, uses in entry[3].items():
        if uses:
            _take_uses(entry, together, uses)


def _path(y: Node, wanted: set[int]) -> set[int]:
    """The orders of the nodes through which y depends on a wanted one, that one included."""
    found, stack, oldest = {y._order: y}, [y], min(wanted, default=y._order)
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._requires_grad and x._order >= oldest and x._order not in found:
                found[x._order] = x
                stack.append(x)
    path: set[int] = set()
    for order in sorted(found):
        if order in wanted or any(isinstance(x, Node) and x._order in path for x in found[order]._inputs):
            path.add(order)
    return path


def fitted(g: Value, data: Array, op: Op) -> Value:
    """g summed over the axes along which its operand was broadcast, in the operand's dtype."""
    shape = data.shape
    extra = len(g.shape) - len(shape)
    axes = tuple(range(extra))
    if g.shape[extra:] != shape:
        if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
            raise ValueError(f"{op.__name__}: a rule gave a gradient of shape {g.shape} for an operand of shape {shape}.")
        axes += tuple(i for i, n in enumerate(shape, extra) if n == 1)
    if axes:
        g = summed(g, axes).reshape(shape)
    return g if g.dtype == data.dtype else g.astype(data.dtype)


def _as_recorded(node: Node) -> tuple[Value, ...]:
    """The operands as the op saw them, to differentiate through: the inputs, save that a leaf rebound since stands with its old value."""
    return tuple(
        array if not isinstance(x, Node) else x if x._data is array else _recorded(x.__class__, array, True, _identity, (x,), (array,), {})
        for x, array in zip(node._inputs, node._arrays, strict=True)
    )


@op(lambda g, y, x: g)
def _identity(x: Value) -> Value:
    return x


def _seed(name: str, y: Node, gradient: Value) -> Array:
    """The gradient that backward starts from: dL/dL = 1, or what was given, checked."""
    if not y._requires_grad:
        raise ValueError(
            f"{name}: no gradient flows here: it was made from nothing with requires_grad=True, or under no_grad(), or by detach()."
        )
    if gradient is None:
        if y._data.size != 1:
            raise ValueError(
                f"{name}: a tensor of shape {y._data.shape} has no single gradient. Reduce it to a number (.sum(), .mean()), or pass "
                f"gradient= of that shape to say how much each element counts."
            )
        return np.ones_like(y._data)
    array = gradient._data if isinstance(gradient, Node) else np.asarray(gradient)
    if array.shape != y._data.shape:
        raise ValueError(f"{name}: gradient has shape {array.shape}, expected the tensor's shape {y._data.shape}.")
    return array.astype(y._data.dtype)


N = TypeVar("N", bound=Node)
R = TypeVar("R")


@overload
def grad(y: N, xs: N, *, gradient: Value = None, create_graph: Literal[False] = False) -> Array: ...
@overload
def grad(y: N, xs: Sequence[N], *, gradient: Value = None, create_graph: Literal[False] = False) -> list[Array]: ...
@overload
def grad(y: N, xs: N, *, gradient: Value = None, create_graph: Literal[True]) -> N: ...
@overload
def grad(y: N, xs: Sequence[N], *, gradient: Value = None, create_graph: Literal[True]) -> list[N]: ...
def grad(y: Any, xs: Any, *, gradient: Any = None, create_graph: bool = False) -> Any:
    """dy/dx for each x in xs, leaves or not, touching no `.grad`; one result for a single tensor, a list for a sequence.

    The results are arrays of the shapes of xs or, with create_graph=True, Tensors with a record of their own, to be differentiated again.
    An x that y does not depend on gets zeros.  `gradient`, of y's shape, says how much each element of a y that is not a number counts.
    Raises ValueError where y, or an x, does not require gradients, and where y is not a number and `gradient` is missing.
    """
    if not isinstance(y, Node):
        raise TypeError(f"grad: y is {type(y).__name__}, expected a Tensor.")
    several = not isinstance(xs, Node)
    targets: list[Node] = list(xs) if several else [xs]
    for i, x in enumerate(targets):
        if not isinstance(x, Node):
            raise TypeError(f"grad: xs[{i}] is {type(x).__name__}, expected a Tensor.")
        if not x._requires_grad:
            raise ValueError(f"grad: xs[{i}] does not require gradients; create it with requires_grad=True.")
    seed: Any = _seed("grad", y, gradient)
    if create_graph:
        seed = gradient if isinstance(gradient, Node) else y.__class__(seed)
    before = _now.place, _now.recording
    _now.recording = _now.recording or create_graph
    try:
        found = {node._order: g for node, g in _gradients(y, seed, {x._order for x in targets}, create_graph)}
    finally:
        _now.place, _now.recording = before
    results = []
    for x in targets:
        if x._order not in found:
            zeros = np.zeros_like(x._data)
            results.append(y.__class__(zeros) if create_graph else zeros)
        else:  # a target asked for twice gets two arrays
            results.append(found[x._order] if create_graph else found[x._order].copy())
    return results if several else results[0]


class no_grad(ContextDecorator):
    """Within `with no_grad():`, or a function that it decorates, ops leave no record."""

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> Self:
        self._before.append(_now.recording)
        _now.recording = False
        return self

    def __exit__(self, *_: object) -> None:
        _now.recording = self._before.pop()


class scope:
    """Within `with scope("gates"):` records say that they belong to that part of the model; drawings show it as a box."""

    __slots__ = ("_label",)

    def __init__(self, name: object) -> None:
        self._label = name

    def __enter__(self) -> Self:
        _now.place = (_now.place, self._label)
        return self

    def __exit__(self, *_: object) -> None:
        _now.place = _now.place and _now.place[0]


def within(name: object, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
    """function(*args, **kwargs), as in `with scope(name):`, in half the time."""
    around = _now.place
    _now.place = (around, name)
    try:
        return function(*args, **kwargs)
    finally:
        _now.place = around


class step(scope):
    """Within `with step(t):` records say that they belong to time step t; drawings show the steps as columns."""

    __slots__ = ()

    def __init__(self, t: int) -> None:
        if t.__class__ is not int:
            raise TypeError(f"step: got {t!r}, expected a whole number, the time step.")
        self._label = t
