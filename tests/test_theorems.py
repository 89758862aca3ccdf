"""What calculus says of recurrent networks, as tests: shared weights, batches, truncation, vanishing gradients, clipping, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_seq import Tensor, concat, cross_entropy, grad, optim, sigmoid, split, stack, strategies, tanh

Array = Any
seeds = st.integers(0, 2**32 - 1)
few = st.integers(1, 4)


def leaf(x: Array) -> Tensor:
    return Tensor(x, requires_grad=True)


def close(given: Array, expected: Array, rtol: float = 1e-11) -> None:
    assert np.shape(given) == np.shape(expected)
    np.testing.assert_allclose(given, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0))


class Weights:
    """An Elman network's, or an LSTM's, for inputs of C numbers and a state of H."""

    def __init__(self, rng: np.random.Generator, inputs: int, hidden: int, gates: int = 1, gain: float = 1.0) -> None:
        self.W_x = leaf(gain * rng.normal(size=(inputs, gates * hidden)))
        self.W_h = leaf(gain * rng.normal(size=(hidden, gates * hidden)))
        self.b = leaf(rng.normal(size=gates * hidden))

    def all(self) -> list[Tensor]:
        return [self.W_x, self.W_h, self.b]

    def copy(self) -> Weights:
        other = object.__new__(Weights)
        other.W_x, other.W_h, other.b = (leaf(p.data) for p in self.all())
        return other


def elman(w: Weights, x: Any, h: Any) -> Tensor:
    """h' = tanh(x W_x + h W_h + b)."""
    return tanh(x @ w.W_x + h @ w.W_h + w.b)


def lstm(w: Weights, x: Any, state: Any) -> Tensor:
    """The state is [h, c]; i, f, o, g = split(x W_x + h W_h + b), c' = f c + i g, h' = o tanh(c')."""
    h, c = split(state, 2, axis=-1)
    i, f, o, g = split(x @ w.W_x + h @ w.W_h + w.b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return concat([sigmoid(o) * tanh(c), c], axis=-1)


CELLS = {"elman": (elman, 1, 1), "lstm": (lstm, 4, 2)}  # the cell, its gates, its state's parts
cells = st.sampled_from(list(CELLS))


def network(name: str, rng: np.random.Generator, inputs: int, hidden: int, batch: int) -> tuple[Any, Weights, Array]:
    cell, gates, parts = CELLS[name]
    return cell, Weights(rng, inputs, hidden, gates), rng.normal(size=(batch, parts * hidden))


def run(cell: Any, weights: Any, xs: Any, state: Any, mask: Array | None = None) -> list[Tensor]:
    """All states; `weights` is one set or a list of one a step; masked, a state is m * new + (1 - m) * old."""
    states = []
    for t in range(len(xs)):
        new = cell(weights[t] if isinstance(weights, list) else weights, xs[t], state)
        if mask is not None:
            m = mask[t][:, None].astype(float)
            new = m * new + (1 - m) * state
        state = new
        states.append(state)
    return states


@given(cells, few, st.integers(1, 6), few, few, seeds)
def test_the_gradient_of_a_shared_weight_is_the_sum_over_untied_copies(name: str, n: int, steps: int, c: int, h: int, seed: int) -> None:
    """dL/dW = sum over t of dL/dW_t, W_t being the copy that step t uses."""
    rng = np.random.default_rng(seed)
    cell, tied, state = network(name, rng, c, h, n)
    untied = [tied.copy() for _ in range(steps)]
    xs, u = rng.normal(size=(steps, n, c)), rng.normal(size=(steps, *state.shape))
    stack(run(cell, tied, xs, Tensor(state))).backward(u)
    stack(run(cell, untied, xs, Tensor(state))).backward(u)
    for i, p in enumerate(tied.all()):
        each = [copies.all()[i].grad for copies in untied]
        size = float(np.sum([np.abs(g) for g in each if g is not None], axis=0).max())
        assert p.grad is not None
        np.testing.assert_allclose(p.grad, np.sum(each, axis=0), rtol=1e-11, atol=1e-12 * size)


@given(cells, few, st.integers(1, 5), few, few, seeds)
def test_a_batch_is_its_sequences_one_by_one(name: str, n: int, steps: int, c: int, h: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell, together, state = network(name, rng, c, h, n)
    apart = together.copy()
    xs, u = rng.normal(size=(steps, n, c)), rng.normal(size=(steps, *state.shape))
    x, s = leaf(xs), leaf(state)
    ys = stack(run(cell, together, x, s))
    ys.backward(u)
    for k in range(n):
        x1, s1 = leaf(xs[:, k : k + 1]), leaf(state[k : k + 1])
        y = stack(run(cell, apart, x1, s1))
        close(y.data, ys.data[:, k : k + 1])
        y.backward(u[:, k : k + 1])
        assert x.grad is not None
        assert s.grad is not None
        close(x1.grad, x.grad[:, k : k + 1], 1e-10)
        close(s1.grad, s.grad[k : k + 1], 1e-10)
    for p, q in zip(together.all(), apart.all(), strict=True):
        close(p.grad, q.grad, 1e-9)


def truncated(cell: Any, w: Weights, xs: Array, state: Array, u: Array, k: int) -> list[Array]:
    """The gradients of the weights when the state is cut off from its past every k steps."""
    s: Tensor = Tensor(state)
    loss: Any = Tensor(0.0)
    for t in range(len(xs)):
        if t % k == 0:
            s = s.detach()
        s = cell(w, xs[t], s)
        loss = loss + (s * u[t]).sum()
    return grad(loss, w.all())


@given(cells, few, st.integers(2, 6), few, few, seeds)
def test_truncation_at_the_whole_length_is_no_truncation(name: str, n: int, steps: int, c: int, h: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell, w, state = network(name, rng, c, h, n)
    xs, u = rng.normal(size=(steps, n, c)), rng.normal(size=(steps, *state.shape))
    full = grad(stack(run(cell, w, xs, Tensor(state))), w.all(), gradient=u)
    for cut, whole in zip(truncated(cell, w, xs, state, u, steps), full, strict=True):
        close(cut, whole, 1e-10)
    # Cut earlier, the gradient is that of the pieces, each started from a state that is only a number.
    pieces = [np.zeros(p.shape) for p in w.all()]
    states = [state, *[s.data for s in run(cell, w, xs, Tensor(state))]]
    for start in range(0, steps, 2):
        piece = stack(run(cell, w, xs[start : start + 2], Tensor(states[start])))
        pieces = [total + g for total, g in zip(pieces, grad(piece, w.all(), gradient=u[start : start + 2]), strict=True)]
    for cut, total in zip(truncated(cell, w, xs, state, u, 2), pieces, strict=True):
        close(cut, total, 1e-9)


def test_truncation_loses_something() -> None:
    rng = np.random.default_rng(0)
    w, xs, u = Weights(rng, 2, 3), rng.normal(size=(4, 1, 2)), rng.normal(size=(4, 1, 3))
    whole, cut = (truncated(elman, w, xs, np.zeros((1, 3)), u, k) for k in (4, 1))
    assert np.abs(whole[1] - cut[1]).max() > 1e-3 * np.abs(whole[1]).max()


@given(st.integers(1, 8), few, st.sampled_from([0.1, 0.5, 1.0, 2.0]), seeds)
def test_the_gradient_through_time_is_within_the_bound_of_the_singular_values(steps: int, hidden: int, gain: float, seed: int) -> None:
    """||dh_t/dh_k||_2 <= product over the steps between of max |tanh'| * sigma_max(W_h), and <= sigma_max(W_h)^(t-k) (Pascanu 2013)."""
    rng = np.random.default_rng(seed)
    w = Weights(rng, 2, hidden, gain=gain)
    states = run(elman, w, rng.normal(size=(steps + 1, 1, 2)), Tensor(np.zeros((1, hidden))))
    first, last = states[0], states[-1]
    jacobian = np.concatenate([grad(last, first, gradient=e[None]) for e in np.eye(hidden)])
    sigma = np.linalg.norm(w.W_h.data, 2)
    slopes = np.array([(1 - s.data**2).max() for s in states[1:]])
    bound = float(np.prod(sigma * (slopes + 1e-15)))  # where tanh saturates, 1 - tanh^2 is rounding
    assert np.linalg.norm(jacobian, 2) <= bound * (1 + 1e-12)
    assert bound <= sigma**steps * (1 + 1e-12)
    exact = np.eye(hidden)  # dh_t/dh_k = product of diag(1 - h_s^2) W_h^T
    for s in states[1:]:
        exact = np.diag(1 - s.data[0] ** 2) @ w.W_h.data.T @ exact
    rounding = bound - float(np.prod(sigma * slopes))
    np.testing.assert_allclose(jacobian, exact, rtol=1e-11, atol=rounding + 1e-11 * np.abs(exact).max())


@given(st.floats(1e-3, 1e3), st.tuples(strategies.arrays((2, 3)), strategies.arrays((4,)), strategies.arrays(())))
def test_clipping_keeps_the_direction(limit: float, arrays: tuple[Array, ...]) -> None:
    parameters = [leaf(np.zeros(x.shape)) for x in arrays]
    for p, x in zip(parameters, arrays, strict=True):
        (p * x).sum().backward()
    before = np.concatenate([x.ravel() for x in arrays])
    norm = np.linalg.norm(before)
    close(optim.clip_grad_norm(parameters, limit), norm)
    after = np.concatenate([np.ravel(p.grad) for p in parameters])
    close(after * norm, before * np.linalg.norm(after))
    shortened = float(np.linalg.norm(after))
    assert min(norm, limit) * (1 - 1e-6 / max(norm, 1e-6)) - 1e-12 <= shortened <= limit * (1 + 1e-12)
    if norm + 1e-5 <= limit:
        np.testing.assert_array_equal(after, before)


@given(cells, strategies.masks(max_batch=3, min_length=0), st.integers(0, 3), st.sampled_from([0.0, 1.0, -50.0, 1e6]), few, few, seeds)
def test_what_and_how_much_is_padded_changes_nothing(name: str, mask: Array, more: int, pad: float, c: int, h: int, seed: int) -> None:
    """The states at the end and the loss, and the gradients of weights, inputs and first states, which are zero at the padding."""
    assume(mask.any())
    rng = np.random.default_rng(seed)
    (steps, n), (cell, w, state) = mask.shape, network(name, rng, c, h, mask.shape[1])
    xs, out = rng.normal(size=(steps, n, c)), leaf(rng.normal(size=(state.shape[1], 3)))
    targets, u = rng.integers(0, 3, (steps, n)), rng.normal(size=state.shape)
    results = []
    for value, extra in ((0.0, 0), (pad, more)):
        m = np.concatenate([mask, np.zeros((extra, n), bool)])
        x = leaf(np.where(m[..., None], np.concatenate([xs, np.zeros((extra, n, c))]), value))
        y = np.where(m, np.concatenate([targets, np.zeros((extra, n), int)]), 7 if extra else 0)
        first = leaf(state)
        states = run(cell, w, x, first, m)
        loss = cross_entropy(stack(states) @ out, y, m) + (states[-1] * u).sum()
        dx, *others = grad(loss, [x, first, out, *w.all()])
        assert not dx[~m].any()
        results.append([loss.data, states[-1].data, dx[:steps], *others])
    for a, b in zip(*results, strict=True):
        close(b, a, 1e-10)


@given(cells, strategies.ragged(2, max_batch=3), few, seeds)
def test_padded_and_masked_is_each_sequence_alone(name: str, sequences: list[Array], h: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, steps = len(sequences), max(len(s) for s in sequences)
    cell, w, state = network(name, rng, 2, h, n)
    alone = w.copy()
    xs, mask, u = np.full((steps, n, 2), 9.0), np.zeros((steps, n), bool), rng.normal(size=state.shape)
    for k, s in enumerate(sequences):
        xs[: len(s), k], mask[: len(s), k] = s, True
    last = run(cell, w, xs, Tensor(state), mask)[-1]
    last.backward(u)
    for k, s in enumerate(sequences):
        y = run(cell, alone, s[:, None], Tensor(state[k : k + 1]))[-1]
        close(y.data, last.data[k : k + 1])
        y.backward(u[k : k + 1])
    for p, q in zip(w.all(), alone.all(), strict=True):
        close(p.grad, q.grad, 1e-9)


@given(cells, strategies.holes(max_batch=3), few, seeds)
def test_a_sequence_with_holes_is_the_sequence_without_them(name: str, mask: Array, h: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (steps, n), (cell, w, state) = mask.shape, network(name, rng, 2, h, mask.shape[1])
    xs = rng.normal(size=(steps, n, 2))
    last = run(cell, w, xs, Tensor(state), mask)[-1]
    for k in range(n):
        states = run(cell, w, xs[mask[:, k], k : k + 1], Tensor(state[k : k + 1]))
        close(last.data[k : k + 1], states[-1].data if states else state[k : k + 1])
