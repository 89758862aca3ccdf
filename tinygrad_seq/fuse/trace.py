"""One step of a cell, run on symbols: Tensors that keep a record as all do, and whose numbers nobody may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import ops
from ..nn import Module
from ..record import Array, Node, Value, _now, op
from ..tensor import Tensor

INPUTS = ("x", "m", *(f"x_{i}" for i in range(2, 9)))  # what programs call the inputs of a step: x_t, a mask, others


class CannotFuse(ValueError):
    """Why no program can be derived from a cell, and what to do."""


@op(None, None, analytic=False)
def greater(a: Value, b: Value) -> Value:
    """a > b."""
    return a > b


@op(None, None, analytic=False)
def greater_equal(a: Value, b: Value) -> Value:
    """a >= b."""
    return a >= b


@op(None, None, analytic=False)
def equal(a: Value, b: Value) -> Value:
    """a == b."""
    return a == b


@op(None, None, analytic=False)
def not_equal(a: Value, b: Value) -> Value:
    """a != b."""
    return a != b


@op(None)
def detached(x: Value) -> Value:
    """x, through which no gradient flows."""
    return x


_LOOKED = (
    "the step looks at the numbers of a tensor ({}), so that what it does may depend on them, and a program that is written once cannot. "
    "Choose with where(condition, a, b) instead, or run it with fused=False."
)


def _hidden(what: str) -> Any:
    def look(self: Any, *_: Any, **__: Any) -> Any:
        raise CannotFuse(_LOOKED.format(what))

    return look


class Symbol(Tensor):
    """A Tensor of a trace.  It holds the numbers of one real step, so that every op checks what it is given as it always does."""

    __slots__ = ()
    __hash__ = object.__hash__

    data = property(_hidden("x.data"), _hidden("x.data = ..."))
    numpy = _hidden("x.numpy()")
    item = _hidden("x.item()")
    tolist = _hidden("x.tolist()")
    __bool__ = _hidden("if x")
    __float__ = _hidden("float(x)")
    __int__ = _hidden("int(x)")
    backward = _hidden("x.backward()")

    def detach(self, value: Value = None) -> Any:
        if value is not None:
            raise CannotFuse("the step goes on with a value from outside the record (x.detach(value)); compute it with ops.")
        return detached(self)

    def detach_(self) -> Any:
        raise CannotFuse("the step cuts the graph of one of its tensors in place (x.detach_()); use x.detach().")

    def __gt__(self, other: Value) -> Any:
        return greater(self, other)

    def __ge__(self, other: Value) -> Any:
        return greater_equal(self, other)

    def __lt__(self, other: Value) -> Any:
        return greater(other, self)

    def __le__(self, other: Value) -> Any:
        return greater_equal(other, self)

    def __eq__(self, other: object) -> Any:
        return equal(self, other)

    def __ne__(self, other: object) -> Any:
        return not_equal(self, other)

    def __getitem__(self, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, Node) for part in parts):
            raise CannotFuse("the step indexes a tensor by another, x[i]; take(x, i) does the same, and can be fused where x is a weight.")
        return super().__getitem__(index)

    def sum(self, axis: ops.Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
        return ops.sum(self if dtype is None else self.astype(dtype), axis=axis, keepdims=keepdims)


def symbol(array: Array, requires_grad: bool = False, name: str | None = None) -> Symbol:
    """A leaf of a trace."""
    return Symbol(array, requires_grad and np.asarray(array).dtype.kind == "f", name=name)


# ---- states: named tuples of tensors, and tuples of those ----------------------------------------------------------------------------


def flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """The tensors of a state, each with the name of its field."""
    if value is None:
        return []
    if not isinstance(value, tuple):
        return [(name, value)]
    names = getattr(value, "_fields", None) or [f"{name}{i}" for i in range(len(value))]
    return [leaf for field, part in zip(names, value, strict=True) for leaf in flat(part, field)]


def filled(like: Any, parts: Iterable[Any]) -> Any:
    """A state of the structure of `like`, of other tensors."""
    return _filled(like, iter(parts))


def _filled(like: Any, parts: Iterator[Any]) -> Any:
    if like is None:
        return None
    if not isinstance(like, tuple):
        return next(parts)
    inner = [_filled(part, parts) for part in like]
    return type(like)(*inner) if hasattr(like, "_fields") else tuple(inner)


# ---- a module whose parameters are symbols -------------------------------------------------------------------------------------------


def twin(value: Any, made: dict[int, Any], leaf: Callable[[Tensor, str], Tensor], name: str = "") -> Any:
    """A copy of a module, down to its lists and dicts, in which each Tensor t is leaf(t, name), equal ones once."""
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, Tensor):
        copy: Any = leaf(value, name)
    elif isinstance(value, Module):
        copy = made[id(value)] = object.__new__(type(value))
        vars(copy).update({key: twin(part, made, leaf, key) for key, part in vars(value).items()})
    elif isinstance(value, dict):
        copy = {key: twin(part, made, leaf, str(key)) for key, part in value.items()}
    elif isinstance(value, (list, tuple)):
        parts = [twin(part, made, leaf, f"{name}_{i}") for i, part in enumerate(value)]
        copy = parts if isinstance(value, list) else type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    else:
        return value
    made[id(value)] = copy
    return copy


def held(value: Any, path: str = "", seen: set[int] | None = None) -> dict[str, Any]:
    """What a module holds, by path: each Tensor, number, array and other object."""
    seen = set() if seen is None else seen
    found: dict[str, Any] = {}
    children: Any = ()
    if isinstance(value, Module):
        children = vars(value).items()
    elif isinstance(value, dict):
        children = value.items()
    elif isinstance(value, (list, tuple)):
        children = enumerate(value)
    else:
        return {path: value}
    if id(value) not in seen:
        seen.add(id(value))
        found[path or "."] = type(value), len(children) if not isinstance(value, (list, tuple)) else len(value)
        for key, part in children:
            found |= held(part, f"{path}.{key}" if path else str(key), seen)
    return found


# ---- the trace -----------------------------------------------------------------------------------------------------------------------


class Trace:
    """What one step did: its leaves, and the state that it made.

    inputs: the symbols of x_t (and of the mask); state: those of the state before; parameters: of each Tensor of the module, and of
    those that the step found elsewhere, with the Tensors they stand for.
    """

    inputs: list[Symbol]
    state: list[Symbol]
    new: list[Node]
    parameters: list[tuple[Symbol | Node, Tensor]]


def trace(step: Callable[..., Any], module: Module, inputs: list[Tensor], state: Any, wanted: list[bool]) -> tuple[Trace, Any]:
    """Run step(module, inputs, state) once on symbols; gives the trace, and the new state, of symbols."""
    found = Trace()
    parts = flat(state)
    found.parameters = []

    def leaf(tensor: Tensor, name: str) -> Tensor:
        made = symbol(tensor._data, tensor._requires_grad, name)
        found.parameters.append((made, tensor))
        return made

    before = _now.place, _now.recording
    _now.place, _now.recording = None, True  # a program that knew the scope around it would keep that model alive
    try:
        found.inputs = [symbol(x._data, want, name) for x, want, name in zip(inputs, wanted, INPUTS, strict=False)]
        copy = twin(module, {}, leaf)
        needs = any(wanted) or any(made._requires_grad for made, _ in found.parameters) or any(part._requires_grad for _, part in parts)
        found.state = [symbol(part._data, needs, name) for name, part in parts]
        start = symbol(np.zeros(()))._order
        holds = held(copy)
        new = step(copy, found.inputs, filled(state, found.state))
        _check_kept(holds, held(copy), type(module).__name__)
    finally:
        _now.place, _now.recording = before
    found.new = [part for _, part in flat(new)]
    _check_state(state, new)
    _find_others(found, start)
    return found, new


def _check_kept(before: dict[str, Any], after: dict[str, Any], name: str) -> None:
    for path in sorted([*before, *after], key=lambda path: isinstance(after.get(path, before.get(path)), tuple)):
        if path not in before or path not in after or not _same(before[path], after[path]):
            what = "keeps a tensor of the step" if isinstance(after.get(path), Symbol) else "changes"
            raise CannotFuse(
                f"the step {what} in {f'{name}.{path}'.rstrip('.')}: a derived program runs no code of the cell, and would not. "
                f"Let the state carry what changes, or run it with fused=False."
            )


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and not isinstance(a, Node) and not isinstance(a, np.ndarray) and bool(a == b))


def _check_state(old: Any, new: Any) -> None:
    if type(new) is not type(old) or [name for name, _ in flat(new)] != [name for name, _ in flat(old)]:
        raise CannotFuse(f"the step makes a state of {_described(new)} of one of {_described(old)}; expected one of the same structure.")
    for (name, a), (_, b) in zip(flat(old), flat(new), strict=True):
        if not isinstance(b, Symbol):
            kind = type(b).__name__
            raise CannotFuse(f"the step makes a state whose {name} is a {kind} that is not made from what it was given; expected a Tensor.")
        if a._data.shape != b._data.shape or a._data.dtype != b._data.dtype:
            raise CannotFuse(
                f"the state's {name} is {a._data.dtype} {a._data.shape} before the step and {b._data.dtype} {b._data.shape} after it; "
                f"expected the same at all steps. Begin with a state, and inputs, of that shape and dtype, or run it with fused=False."
            )


def _described(state: Any) -> str:
    names = ", ".join(name for name, _ in flat(state))
    return f"{type(state).__name__} ({names})"


def reachable(roots: Iterable[Node]) -> list[Node]:
    """The roots and what they were made from, in the order of creation."""
    stack = list(roots)
    found = {y._order: y for y in stack}
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._order not in found:
                found[x._order] = x
                stack.append(x)
    return [found[order] for order in sorted(found)]


def _find_others(found: Trace, start: int) -> None:
    """Tensors that the step brought along are parameters too; what it made of symbols without a record is refused."""
    known = {leaf._order for leaf in [*found.inputs, *found.state, *(made for made, _ in found.parameters)]}
    for node in reachable(found.new):
        if node._op is None and node._order not in known:
            if isinstance(node, Symbol):
                raise CannotFuse("the step works under no_grad(), where it leaves no record; use x.detach() to stop a gradient.")
            if node._order < start:
                found.parameters.append((node, node))  # type: ignore[arg-type]


def constants(found: Trace) -> list[Any]:
    """The ops of a step, and the arrays, numbers and settings in them: equal for any two, or they depend on more than they were given."""
    known = {leaf._order for leaf in [*found.inputs, *found.state, *(made for made, _ in found.parameters)]}
    seen: list[Any] = []
    for node in reachable(found.new):
        if node._op is None:
            seen.append("leaf" if node._order in known else node._data)
            continue
        seen.append(node._op.__name__)
        seen += [(key, value) for key, value in sorted(node._settings.items())]
        seen += [x for x in node._inputs if not isinstance(x, Node)]
    return seen
