"""A derived program, compiled, and the op that it is in a graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import blas, ops
from ..blas import in_columns, summed
from ..record import Array, Node, Value, _Each, _now, _recorded, frozen, grad, op, step
from ..tensor import Tensor
from .derive import derived
from .rules import copied, together, total
from .trace import Trace, detached, reachable
from .write import Writer

ONE_HOT = 1 << 21  # multiplications up to which a product with one-hot vectors is faster than bringing equal symbols together


def product(a: Array, W: Array, out: Array) -> None:
    """a_t @ W for all steps in one product."""
    blas.product(a.reshape(-1, a.shape[-1]), W, out.reshape(-1, out.shape[-1]))


def block_product(a: Array, W: Array, out: Array) -> None:
    """a @ W, with W and the result as blocks of columns."""
    np.matmul(a, W, out)


def products(a: Array, g: Array) -> Array:
    """The sum over t of a_tᵀ @ g_t."""
    sum_: Array = a.reshape(-1, a.shape[-1]).T.dot(g.reshape(-1, g.shape[-1]))
    return sum_


def look_up(table: Array, symbols: Array, out: Array) -> None:
    """Row x of the table for each symbol x."""
    if symbols.size and not 0 <= symbols.min() <= symbols.max() < len(table):
        raise ValueError(f"symbols from {symbols.min()} to {symbols.max()}, expected integers in [0, {len(table)}).")
    table.take(symbols, 0, out, "clip")


def added_rows(symbols: Array, g: Array, rows: int) -> Array:
    """For each row of a table the sum of the gradients of the symbols that looked it up."""
    if rows * g.size <= ONE_HOT:
        one_hot = np.zeros((symbols.size, rows), g.dtype)
        one_hot[np.arange(symbols.size), symbols.reshape(-1)] = 1
        return products(one_hot, g)
    sum_ = np.zeros((rows, g.shape[-1]), g.dtype)
    ops._add_at(sum_, symbols, g)
    return sum_


def numbers(a: Array) -> list[Array]:
    """Each number of an array (T,) as a view."""
    return [a[t, ...] for t in range(len(a))]


def at_once(function: Any, settings: Any, i: int, values: Sequence[Any], each: Sequence[bool]) -> Array:
    """The gradients of all steps for operand i of an op, as the op differentiates many uses; `each`: which values differ by step."""
    T = next(len(value) for value, differs in zip(values, each, strict=True) if differs)
    steps = zip(*[value if differs else [value] * T for value, differs in zip(values, each, strict=True)], strict=True)
    sum_: Array = function([(g, y, operands, settings) for g, y, *operands in steps])
    return sum_


def _namespace() -> dict[str, Any]:
    names = {name: getattr(ops, name).forward for name in ops.__dict__ if hasattr(getattr(ops, name), "forward")}
    names = {name.lstrip("_"): function for name, function in names.items()}
    names |= {made.__name__: made.forward for made in (detached, copied, total, together)}
    ufuncs = "add subtract multiply divide negative power exp log sqrt tanh absolute maximum minimum greater greater_equal equal not_equal"
    names |= {name: getattr(np, name) for name in [*ufuncs.split(), "empty", "full", "zeros", "concatenate", "inf", "nan"]}
    return names | {f.__name__: f for f in (product, products, block_product, in_columns, summed, look_up, added_rows, at_once, numbers)}


class Program:
    """What was derived from a cell, for any number of steps; `source` is its text.

    inputs: one for each input of the step; parameters: the Tensors that it uses; parts: the names of the state's tensors.
    """

    def __init__(self, trace: Trace, names: Sequence[str], title: str) -> None:
        self.trace, self.title = trace, title
        self.nodes = [node for node in reachable(trace.new) if node._op is not None]
        self.analytic = all(node._op.analytic for node in self.nodes if node._op is not None)
        self.leaves = [leaf for leaf, _ in trace.parameters]
        what = derived(trace, names)
        writer = Writer(what, title)
        self.source = writer.source
        self.parts = [(part.name, part.new._data.shape, part.given is not None, part.carried is not None) for part in what.parts]
        self.gradients, self.input_gradients = list(what.gradients), list(what.input_gradients)
        self._spare: list[tuple[int, Any]] = []
        self.constants = writer.constants
        names_ = _namespace() | writer.constants
        exec(compile(self.source, f"<{title}>", "exec"), names_)
        self._make = names_["program"]
        self.op: Any = _FusedOp(self)

    def __repr__(self) -> str:
        return f"Program({self.title})"

    def __str__(self) -> str:
        return self.source

    def borrowed(self, T: int) -> Any:
        """The program's arrays and functions for T steps."""
        for i, (steps, made) in enumerate(self._spare):
            if steps == T:
                del self._spare[i]
                return made
        return self._make(T)

    def returned(self, T: int, made: Any) -> None:
        """Keep arrays for a later run of T steps, and let the oldest go."""
        self._spare = [*self._spare[-1:], (T, made)]

    def __call__(self, inputs: Sequence[Value], state: Sequence[Value], parameters: Sequence[Tensor]) -> list[Any]:
        """The outputs (T, N, H) of the state's first part, and the last of each other part."""
        operands = (*inputs, *state, *parameters)
        arrays = tuple([x._data if isinstance(x, Node) else frozen(x) for x in operands])
        T = len(arrays[0])
        made = self.borrowed(T)
        weights, forward, _ = made
        start = len(inputs) + len(state)
        results = forward(*arrays[:start], *(weights(*arrays[start:]) if weights else arrays[start:]))
        first, *others = results if isinstance(results, tuple) else (results,)
        flat = first.copy() if not others else np.concatenate([first.reshape(-1), *[last.reshape(-1) for last in others]])
        needs = _now.recording and any([isinstance(x, Node) and x._requires_grad for x in operands])
        lease = Lease(self, T, made)
        y = _recorded(Tensor, flat, needs, self.op, operands, arrays, {"run": lease} if needs else {"run": None})
        if not others:
            return [y]
        starts = itertools.accumulate([result.size for result in results], initial=0)
        return [part(y, start=start, shape=result.shape) for start, result in zip(starts, results, strict=False)]

    def stepper(self, parameters: Sequence[Tensor]) -> Callable[[Sequence[Array], Sequence[Array]], list[Array]]:
        """The step alone, without a record: a function of the inputs x_t and the parts of the state before it that gives those after it.

        What it gives is overwritten by the next call.
        """
        weights, forward, _ = self._make(1)
        values = [p._data for p in parameters]
        values = weights(*values) if weights else values

        def step(inputs: Sequence[Array], state: Sequence[Array]) -> list[Array]:
            results = forward(*[x[None] for x in inputs], *state, *values)
            return [results[0][0], *results[1:]] if isinstance(results, tuple) else [results[0]]

        return step

    def backward(self, made: Any, g: Array, arrays: Sequence[Array]) -> dict[int, Array]:
        """The gradients of the operands that get one, by place."""
        T, given, at = len(arrays[0]), [], 0
        for i, (_, shape, all_steps, carried) in enumerate(self.parts):
            size = math.prod(shape)
            if i == 0:
                one = g.reshape(-1)[: T * size].reshape(T, *shape)
                at = T * size
            else:
                one = g[at : at + size].reshape(shape)
                at += size
                if all_steps:
                    one = np.concatenate([np.zeros((T - 1, *shape), g.dtype), one[None]])
            if all_steps or carried:
                given.append(one)
        n_inputs, n_parts = len(self.trace.inputs), len(self.parts)
        found = iter(made[2](*given, *arrays[:n_inputs], *arrays[n_inputs + n_parts :]))
        gradients = {n_inputs + n_parts + i: next(found) for i in self.gradients}
        gradients |= {i: next(found) for i in self.input_gradients}
        gradients |= {n_inputs + i: next(found) for i, (*_, carried) in enumerate(self.parts) if carried}
        return gradients

    def opened(self, operands: Sequence[Value]) -> Node:
        """The same computation, recorded op by op: the elementary graph, which defines what the program computes."""
        n_inputs, n_parts = len(self.trace.inputs), len(self.parts)
        inputs, state = operands[:n_inputs], list(operands[n_inputs : n_inputs + n_parts])
        values: dict[int, Any] = dict(zip([leaf._order for leaf in self.leaves], operands[n_inputs + n_parts :], strict=True))
        outputs = []
        around = _now.place
        for t in range(len(inputs[0])):
            with step(t):
                here = _now.place
                values |= dict(zip([leaf._order for leaf in self.trace.inputs], [x[t] for x in inputs], strict=True))
                values |= dict(zip([leaf._order for leaf in self.trace.state], state, strict=True))
                for node in self.nodes:
                    _now.place = _within(node._place, here)
                    made: Any = node._op
                    values[node._order] = made(*[values[x._order] if isinstance(x, Node) else x for x in node._inputs], **node._settings)
                state = [values[node._order] for node in self.trace.new]
                _now.place = here
            outputs.append(state[0])
        _now.place = around
        whole: Any = ops.stack(outputs)
        return whole if n_parts == 1 else ops.concat([whole.reshape(-1), *[last.reshape(-1) for last in state[1:]]])


def _within(place: Any, around: Any) -> Any:
    return around if place is None else (_within(place[0], around), place[1])


class Lease:
    """Arrays of a program that hold what its backward needs, as long as a graph may ask for it."""

    __slots__ = ("T", "_found", "_g", "made", "program")

    def __init__(self, program: Program, T: int, made: Any) -> None:
        self.program, self.T, self.made = program, T, made
        self._g: Any = None
        self._found: dict[int, Array] = {}

    def __del__(self) -> None:
        self.program.returned(self.T, self.made)

    def gradient(self, i: int, g: Array, operands: Sequence[Array]) -> Array:
        """The gradient of operand i: those of all operands are computed when the first is asked for, and kept until they are taken."""
        if self._g is not g or i not in self._found:
            self._g, self._found = g, self.program.backward(self.made, g, operands)
        found = self._found.pop(i, None)
        if not self._found:
            self._g = None
        return np.zeros_like(operands[i]) if found is None else found


class _FusedOp:
    """A program as an op of the engine."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.__name__ = f"fused {program.title}"
        self.analytic = program.analytic
        self.rules = _Each(self._rule)

    def _rule(self, i: int, g: Value, _: Value, operands: Sequence[Value], run: Lease) -> Value:
        if not isinstance(g, Node):
            return run.gradient(i, g, operands)
        return grad(self.program.opened(operands), operands[i], gradient=g, create_graph=True)


def _parts_together(uses: list[Any]) -> Array:
    x = uses[0][2][0]
    whole = np.zeros(x.shape, x.dtype)
    for g, _, _, settings in uses:
        whole[settings["start"] : settings["start"] + g.size] += g.reshape(-1)
    return whole


@op(
    lambda g, y, x, *, start, shape: ops._put(g.reshape(g.size), index=slice(start, start + g.size), shape=x.shape),
    together={0: _parts_together},
)
def part(x: Value, *, start: int, shape: tuple[int, ...]) -> Value:
    """A piece of what a program gives, in its shape."""
    return x[start : start + math.prod(shape)].reshape(shape)
