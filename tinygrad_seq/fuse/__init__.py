"""A cell, traced and differentiated by the rules of the op table, written out as a flat NumPy program for a whole sequence."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..nn import Module
from ..record import Array, Node, Value, _now, no_grad
from ..tensor import Tensor
from .program import Program
from .trace import CannotFuse, Symbol, constants, filled, flat, reachable, trace
from .watch import unchanged, watched

__all__ = ["CannotFuse", "Program", "fused_run", "fused_step"]

PROGRAMS = 16  # of one module, for inputs of different shapes, that are kept
_programs: WeakKeyDictionary[Module, dict[Any, Any]] = WeakKeyDictionary()


def fused_run(step: Callable[..., Any], module: Module, inputs: Sequence[Value], state: Any) -> tuple[Tensor, Any, Program]:
    """Run state = step(module, [x_t, ...], state) over all x_t of the inputs as one op; gives outputs, last state, and the program.

    inputs: arrays or Tensors (T, ...), one for each input of the step; state: a Tensor, or a named tuple of Tensors.
    The outputs (T, ...) are what the state's first tensor was after each step.  Raises CannotFuse where no program can be derived.
    """
    program, parameters, parts, still = program_of(step, module, inputs, state)
    outputs, *last = program(inputs, [part for i, part in enumerate(parts) if i not in still], parameters)
    made = iter([outputs[-1], *last])
    return outputs, filled(state, [part if i in still else next(made) for i, part in enumerate(parts)]), program


def fused_step(step: Callable[..., Any], module: Module, inputs: Sequence[Array], state: Any) -> Callable[..., Array]:
    """One step of a program as a function of [x_t, ...] that keeps the state, from `state` on, and gives its first part's new numbers.

    Nothing is recorded, and weights that change later are not seen: it is for writing sequences as fast as can be.  inputs: examples.
    """
    with no_grad():
        program, parameters, parts, still = program_of(step, module, [np.asarray(x)[None] for x in inputs], state)
    run = program.stepper(parameters)
    now = [part._data for i, part in enumerate(parts) if i not in still]

    def advance(*inputs: Array) -> Array:
        now[:] = run(inputs, now)
        return now[0]

    return advance


def program_of(
    step: Callable[..., Any], module: Module, inputs: Sequence[Value], state: Any
) -> tuple[Program, list[Tensor], list[Tensor], set[int]]:
    """The program of a step for inputs and a state of these shapes, derived when it is first asked for.

    With it come its parameters, the parts of the state, and which of them the step leaves as they are.
    """
    tensors, signature = _signature(module)
    arrays = [x._data if isinstance(x, Node) else np.asarray(x) for x in inputs]
    parts = [part for _, part in flat(state)]
    recording = _now.recording
    wanted = [recording and isinstance(x, Node) and x._requires_grad for x in inputs]
    key = (
        step, signature, recording, tuple([(x.shape[1:], x.dtype) for x in arrays]), tuple(wanted), type(state),
        tuple([(part._data.shape, part._data.dtype, part._requires_grad) for part in parts]),
    )  # fmt: skip
    known = _programs.get(module)
    if known is None:
        known = _programs[module] = {}
    found = known.get(key)
    if found is None or not unchanged(found[3]):
        if len(known) >= PROGRAMS:
            known.pop(next(iter(known)))
        found = known[key] = _derived(step, module, arrays, state, wanted, tensors)
    program, places, still, _ = found
    of = {"module": tensors, "state": parts}
    return program, [of[kind][place] if kind in of else place for kind, place in places], parts, still


def _derived(step: Any, module: Module, arrays: list[Array], state: Any, wanted: list[bool], tensors: list[Tensor]) -> Any:
    first, new = trace(step, module, [Tensor(x[0]) for x in arrays], state, wanted)
    _check_same(constants(first), _again(step, module, [Tensor(x[min(1, len(x) - 1)]) for x in arrays], new, wanted))
    parts = flat(state)
    still = {i for i, (old, made) in enumerate(zip(first.state, first.new, strict=True)) if old is made and i}  # the first is the output
    places: list[Any] = []
    used = {node._order for node in reachable(first.new)}
    kept = []
    for leaf, tensor in first.parameters:
        if leaf._order in used:
            at = next((i for i, t in enumerate(tensors) if t is tensor), None)
            places.append(("module", at) if at is not None else ("elsewhere", tensor))
            kept.append((leaf, tensor))
    for i in sorted(still):
        places.append(("state", i))
        first.state[i].name = parts[i][0]
        kept.append((first.state[i], parts[i][1]))
    first.parameters = kept
    names = [name or "h" for i, (name, _) in enumerate(parts) if i not in still]
    first.state = [leaf for i, leaf in enumerate(first.state) if i not in still]
    first.new = [leaf for i, leaf in enumerate(first.new) if i not in still]
    return Program(first, _distinct(names), type(module).__name__), places, still, watched(step, module)


def _again(step: Any, module: Module, inputs: list[Tensor], state: Any, wanted: list[bool]) -> list[Any]:
    """What a second step does, of which nothing may be left when it is done."""
    begun = Tensor(0.0)._order
    seen = constants(trace(step, module, inputs, state, wanted)[0])
    young = gc.get_objects(0) + gc.get_objects(1)
    left: list[Any] = [x for x in young if type(x) is Symbol and x._order > begun and x._op is not None]
    if left:
        raise CannotFuse(
            f"the step keeps a tensor that it made by {left[-1]._op.__name__}, {left[-1]._data.dtype} {left[-1]._data.shape}, outside of "
            f"the state: a derived program makes no tensors. Let the state carry it, or run it with fused=False."
        )
    return seen


def _distinct(names: Sequence[str]) -> list[str]:
    made: list[str] = []
    for name in names:
        i, new = 2, name
        while new in made:
            new, i = f"{name}{i}", i + 1
        made.append(new)
    return made


def _check_same(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=False):
        same = type(x) is type(y) and (np.array_equal(x, y) if isinstance(x, np.ndarray) else _equal(x, y))
        if not same:
            raise CannotFuse(
                f"the step does something else at each step: {_short(x)} at one, {_short(y)} at the next. Random numbers, counters and "
                f"what is computed from the numbers of tensors belong into the inputs or the state, or run it with fused=False."
            )
    if len(a) != len(b):
        raise CannotFuse("the step does not do the same ops at each step; a program that is written once does. Run it with fused=False.")


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, tuple):
        return len(x) == len(y) and all(_equal(i, j) for i, j in zip(x, y, strict=True))
    return np.array_equal(x, y) if isinstance(x, np.ndarray) else bool(x == y)


def _short(x: Any) -> str:
    return f"an array {x.dtype} {x.shape}" if isinstance(x, np.ndarray) else repr(x)


def _signature(module: Module) -> tuple[list[Tensor], tuple[Any, ...]]:
    """The Tensors of a module, in the order of its attributes, and all else that its programs depend on."""
    tensors: list[Tensor] = []
    seen: list[Any] = []
    _visit(module, tensors, {}, seen)
    return tensors, tuple(seen)


def _visit(value: Any, tensors: list[Tensor], places: dict[int, int], seen: list[Any]) -> None:
    if isinstance(value, Tensor):
        at = places.setdefault(id(value), len(tensors))
        if at == len(tensors):
            tensors.append(value)
        seen.append((at, value._data.shape, value._data.dtype, value._requires_grad))
    elif value is None or isinstance(value, (bool, int, float, str)):
        seen.append((type(value), value))
    elif isinstance(value, np.ndarray):
        seen.append((value.shape, value.dtype, value.tobytes()))
    elif not isinstance(value, (Module, dict, list, tuple)):
        seen.append(id(value))
    elif id(value) in places:
        seen.append(places[id(value)])
    else:
        places[id(value)] = -len(places) - 1
        sequence = isinstance(value, (list, tuple))
        named: Any = vars(value) if isinstance(value, Module) else value
        items = enumerate(named) if sequence else named.items()
        seen.append(type(value))
        for name, part in items:
            seen.append(name)
            _visit(part, tensors, places, seen)
        seen.append(len(seen))  # where it ends
