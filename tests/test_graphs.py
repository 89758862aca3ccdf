"""Random graphs, built step by step by Hypothesis, against the naive engine: their values, their gradients, what stays untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from tests import naive
from tests.naive import Naive
from tinygrad_seq import Tensor, grad, no_grad, ops, strategies

Array = Any

# name -> (the engine's way, NumPy's way): both take the operands first
UNARY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (ops.tanh, np.tanh),
    "sigmoid": (ops.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "neg": (lambda x: -x, np.negative),
    "exp": (ops.exp, np.exp),
    "square": (lambda x: x**2, np.square),
    "softmax": (ops.softmax, lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
    "T": (lambda x: x.T, np.transpose),
    "flat": (lambda x: x.reshape(-1), np.ravel),
    "double": (lambda x: 2 * x, lambda x: 2 * x),
    "one minus": (lambda x: 1 - x, lambda x: 1 - x),
    "twice": (lambda x: x + x, lambda x: x + x),
    "of one": (lambda x: 1 / (3 + x * x), lambda x: 1 / (3 + x * x)),
}
BINARY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "+": (lambda a, b: a + b, np.add),
    "-": (lambda a, b: a - b, np.subtract),
    "*": (lambda a, b: a * b, np.multiply),
    "@": (lambda a, b: a @ b, np.matmul),
    "/": (lambda a, b: a / (2 + b * b), lambda a, b: a / (2 + b * b)),
    "concat": (lambda a, b: ops.concat([a, b]), lambda a, b: np.concatenate([a, b])),
    "concat -1": (lambda a, b: ops.concat([a, b, a], axis=-1), lambda a, b: np.concatenate([a, b, a], axis=-1)),
    "stack": (lambda a, b: ops.stack([a, b], axis=-1), lambda a, b: np.stack([a, b], axis=-1)),
    "where": (lambda a, b: ops.where(np.arange(2) > 0, a, b), lambda a, b: np.where(np.arange(2) > 0, a, b)),
}
REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (ops.sum, np.sum),
    "mean": (ops.mean, np.mean),
    "logsumexp": (ops.logsumexp, lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))),
}


@dataclass(eq=False)
class Leaf:
    """A leaf in the two engines; in the naive one each rebinding makes a new version."""

    tensor: Tensor
    versions: list[Naive]
    grad: Array = None


@dataclass(eq=False)
class Pair:
    """The same value in the two engines; a leaf's is the one that it has now."""

    tensor: Tensor
    made: Naive | None
    leaf: Leaf | None = None

    @property
    def naive(self) -> Naive:
        found = self.made or (self.leaf and self.leaf.versions[-1])
        assert found is not None
        return found


def close(given: Array, expected: Array, rtol: float = 1e-9) -> None:
    """The same shape, and the same numbers as measured by the largest of them."""
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, rtol=rtol, atol=rtol * (1 + np.abs(expected).max(initial=0)))


def numbers(shape: tuple[int, ...]) -> Any:
    return strategies.arrays(shape, low=-1.5, high=1.5, scales=(1.0,))


class Graphs(RuleBasedStateMachine):
    """Leaves and what is made of them; every value made is compared at once, gradients whenever Hypothesis asks for them."""

    leaves = Bundle("leaves")
    values = Bundle("values")

    def __init__(self) -> None:
        super().__init__()
        self.all_leaves: list[Leaf] = []
        self.retained: list[tuple[Pair, Array]] = []

    def made(self, build: Callable[[], Tensor], function: Callable[..., Any], *inputs: Pair) -> Any:
        """The new pair, if the value can be and is of a decent size; both engines must agree on whether it can be."""
        try:
            with np.errstate(all="raise"):
                expected = naive.apply(function, *[x.naive for x in inputs])
        except (ValueError, IndexError, FloatingPointError, np.exceptions.AxisError):
            return multiple()
        if expected.value.size > 16 or np.abs(expected.value).max(initial=0) > 50:
            return multiple()
        tensor = build()
        close(tensor.data, expected.value, 1e-12)
        return Pair(tensor, expected)

    @rule(target=leaves, array=numbers((2,)) | numbers((2, 2)) | numbers(()) | numbers((1, 2)) | numbers((3,)))
    def leaf(self, array: Array) -> Leaf:
        new = Leaf(Tensor(array, requires_grad=True), [Naive(array)])
        self.all_leaves.append(new)
        return new

    @rule(target=values, leaf=leaves)
    def use(self, leaf: Leaf) -> Pair:
        return Pair(leaf.tensor, None, leaf)

    @rule(target=values, array=numbers((2,)) | numbers((2, 2)))
    def constant(self, array: Array) -> Pair:
        return Pair(Tensor(array), Naive(array))

    @rule(target=values, x=values, name=st.sampled_from(list(UNARY)))
    def unary(self, x: Pair, name: str) -> Any:
        ours, numpys = UNARY[name]
        return self.made(lambda: ours(x.tensor), numpys, x)

    @rule(target=values, a=values, b=values, name=st.sampled_from(list(BINARY)))
    def binary(self, a: Pair, b: Pair, name: str) -> Any:
        ours, numpys = BINARY[name]
        return self.made(lambda: ours(a.tensor, b.tensor), numpys, a, b)

    @rule(target=values, a=values, b=values)
    def larger(self, a: Pair, b: Pair) -> Any:
        try:
            if np.abs(a.naive.value - b.naive.value).min(initial=1) < 1e-3:
                return multiple()  # a kink, where the complex step has no say
        except ValueError:
            return multiple()
        return self.made(lambda: ops.maximum(a.tensor, b.tensor), lambda a, b: np.where(np.real(a) > np.real(b), a, b), a, b)

    @rule(target=values, x=values, name=st.sampled_from(list(REDUCTIONS)), keepdims=st.booleans(), data=st.data())
    def reduce(self, x: Pair, name: str, keepdims: bool, data: st.DataObject) -> Any:
        axis = data.draw(strategies.axes(x.tensor.ndim))
        ours, numpys = REDUCTIONS[name]
        if x.tensor.size == 0:
            return multiple()
        return self.made(lambda: ours(x.tensor, axis=axis, keepdims=keepdims), lambda v: numpys(v, axis=axis, keepdims=keepdims), x)

    @rule(target=values, x=values, data=st.data())
    def index(self, x: Pair, data: st.DataObject) -> Any:
        index = data.draw(strategies.indices(x.tensor.shape))
        return self.made(lambda: x.tensor[index], lambda v: v[index], x)

    @rule(target=values, x=values, axis=st.integers(-2, 1), rows=st.lists(st.integers(-1, 1), min_size=1, max_size=4))
    def take(self, x: Pair, axis: int, rows: list[int]) -> Any:
        if x.tensor.ndim == 0:
            return multiple()
        return self.made(lambda: ops.take(x.tensor, np.array(rows), axis=axis), lambda v: np.take(v, rows, axis=axis), x)

    @rule(target=values, x=values, n=st.integers(1, 2))
    def widen(self, x: Pair, n: int) -> Any:
        shape = (n, *x.tensor.shape)
        return self.made(lambda: ops.broadcast_to(x.tensor, shape=shape), lambda v: np.broadcast_to(v, shape), x)

    @rule(target=values, x=values)
    def halves(self, x: Pair) -> Any:
        if x.tensor.ndim == 0 or x.tensor.shape[-1] % 2:
            return multiple()
        half = x.tensor.shape[-1] // 2

        def rebuilt() -> Tensor:
            left, right = ops.split(x.tensor, 2, axis=-1)
            return ops.concat([right, left], axis=-1)

        return self.made(rebuilt, lambda v: np.concatenate([v[..., half:], v[..., :half]], axis=-1), x)

    @rule(target=values, x=values, times=st.integers(2, 6))
    def diamonds(self, x: Pair, times: int) -> Any:
        def grown(v: Any) -> Any:
            for _ in range(times):
                v = v + v * v / 4
            return v

        return self.made(lambda: grown(x.tensor), grown, x)

    @rule(target=values, x=values, w=values, times=st.integers(2, 4))
    def recur(self, x: Pair, w: Pair, times: int) -> Any:
        """One weight over several steps: its products are differentiated together."""
        if w.tensor.shape != (2, 2) or x.tensor.shape[-1:] != (2,):
            return multiple()

        def run(tanh: Callable[[Any], Any], v: Any, w: Any) -> Any:
            for _ in range(times):
                v = tanh(v @ w)
            return v

        return self.made(lambda: run(ops.tanh, x.tensor, w.tensor), lambda v, w: run(np.tanh, v, w), x, w)

    @rule(target=values, x=values)
    def detach(self, x: Pair) -> Pair:
        return Pair(x.tensor.detach(), Naive(x.naive.value))

    @rule(target=values, x=values)
    def without_record(self, x: Pair) -> Pair:
        with no_grad():
            y = x.tensor * x.tensor + 1.0
        assert not y.requires_grad
        return Pair(y, Naive(x.naive.value**2 + 1.0))

    @rule(leaf=leaves, data=st.data())
    def rebind(self, leaf: Leaf, data: st.DataObject) -> None:
        array = data.draw(numbers(leaf.tensor.shape))
        leaf.tensor.data = array
        leaf.versions.append(Naive(array))

    @rule(leaf=leaves)
    def zero(self, leaf: Leaf) -> None:
        leaf.tensor.grad = leaf.grad = None

    @rule(x=values)
    def retain(self, x: Pair) -> None:
        known = [pair.tensor for pair, _ in self.retained] + [leaf.tensor for leaf in self.all_leaves]
        if x.tensor.requires_grad and not any(x.tensor is t for t in known):
            x.tensor.retain_grad()
            self.retained.append((x, x.tensor.grad))

    @rule(y=values, data=st.data())
    def backward(self, y: Pair, data: st.DataObject) -> None:
        assert y.tensor.requires_grad == any(y.naive.depends_on(leaf.versions) for leaf in self.all_leaves)
        if not y.tensor.requires_grad:
            return
        cotangent = data.draw(numbers(y.tensor.shape))
        y.tensor.backward(cotangent)
        for leaf in self.all_leaves:
            if y.naive.depends_on(leaf.versions):
                expected = naive.gradient(y.naive, cotangent, leaf.versions)
                leaf.grad = expected if leaf.grad is None else leaf.grad + expected
        self.retained = [
            (x, naive.gradient(y.naive, cotangent, [x.naive]) if y.naive.depends_on([x.naive]) else g) for x, g in self.retained
        ]

    @rule(y=values, x=values, create_graph=st.booleans(), data=st.data())
    def gradient_of_any(self, y: Pair, x: Pair, create_graph: bool, data: st.DataObject) -> None:
        """grad, with respect to leaves and others, touches no `.grad` (the invariant sees to that)."""
        if not (y.tensor.requires_grad and x.tensor.requires_grad):
            return
        versions = next((leaf.versions for leaf in self.all_leaves if leaf.tensor is x.tensor), [x.naive])
        cotangent = data.draw(numbers(y.tensor.shape))
        given: Any = grad(y.tensor, x.tensor, gradient=cotangent, create_graph=True) if create_graph else None
        given = given.data if create_graph else grad(y.tensor, x.tensor, gradient=cotangent)
        close(given, naive.gradient(y.naive, cotangent, versions))

    @rule(y=values, a=leaves, b=leaves, data=st.data())
    def second_derivative(self, y: Pair, a: Leaf, b: Leaf, data: st.DataObject) -> None:
        if not (y.naive.depends_on(a.versions) and y.naive.depends_on(b.versions)):
            return
        cotangent, v = data.draw(numbers(y.tensor.shape)), data.draw(numbers(a.tensor.shape))
        s = (grad(y.tensor, a.tensor, gradient=cotangent, create_graph=True) * v).sum()
        given = grad(s, b.tensor) if s.requires_grad else np.zeros(b.tensor.shape)
        expected = naive.second(y.naive, cotangent, a.versions, v, b.versions)
        scale = 1 + np.abs(naive.gradient(y.naive, cotangent, a.versions)).max(initial=0)
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5 * scale)

    @invariant()
    def gradients_are_those_of_the_naive_engine(self) -> None:
        for leaf in self.all_leaves:
            if leaf.grad is None:
                assert leaf.tensor.grad is None
            else:
                assert leaf.tensor.grad is not None
                close(leaf.tensor.grad, leaf.grad)
        for pair, expected in self.retained:
            if expected is None:
                assert pair.tensor.grad is None
            else:
                assert pair.tensor.grad is not None
                close(pair.tensor.grad, expected)

    @invariant()
    def gradients_do_not_share_memory(self) -> None:
        grads = [
            t.grad for t in [*(leaf.tensor for leaf in self.all_leaves), *(pair.tensor for pair, _ in self.retained)] if t.grad is not None
        ]
        for i, a in enumerate(grads):
            for b in grads[:i]:
                assert not np.may_share_memory(a, b)


TestGraphs = Graphs.TestCase
TestGraphs.settings = settings(max_examples=settings.default.max_examples, stateful_step_count=30)


@given(strategies.networks())
def test_a_random_network_has_the_gradients_of_the_naive_engine(network: strategies.Network) -> None:
    leaves = [Tensor(x, requires_grad=True) for x in network.inputs]
    y = network(*leaves)
    note(repr(network))
    inputs = [Naive(x) for x in network.inputs]
    expected = naive.apply(lambda *xs: _complex_network(network, *xs), *inputs)
    close(y.data, expected.value, 1e-12)
    if not y.requires_grad:
        return
    cotangent = np.linspace(1, 2, y.size).reshape(y.shape)
    for leaf, x in zip(leaves, inputs, strict=True):
        close(grad(y, leaf, gradient=cotangent), naive.gradient(expected, cotangent, [x]))


def _complex_network(network: strategies.Network, *xs: Array) -> Array:
    """The network's forward alone, on arrays, complex ones too: the ops on arrays are NumPy."""
    return np.asarray(network(*xs))
