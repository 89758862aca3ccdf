"""Every op against PyTorch in float64, value and gradient; where PyTorch is not installed, against numbers that it gave once.

`python -m tests.test_torch` (with torch installed) writes those numbers anew, to tests/golden/torch.npz.
"""

# ruff: noqa: PLW0108 - torch is looked up when a case is run, not when it is listed

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import Tensor, ops

Array = Any
GOLDEN = Path(__file__).parent / "golden" / "torch.npz"
HAS_TORCH = importlib.util.find_spec("torch") is not None


def numbers(seed: int, *shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """The same numbers on every machine and with every version of NumPy: integers from a congruential generator."""
    state, values = seed * 7919 + 12345, []
    for _ in range(int(np.prod(shape))):
        state = (1103515245 * state + 12345) % 2**31
        values.append(low + (high - low) * ((state >> 8) % 9973) / 9973)
    return np.array(values).reshape(shape)


A, B, P = numbers(1, 3, 4), numbers(2, 3, 4), numbers(3, 3, 4, low=0.2, high=3.0)
ROW, CUBE, W = numbers(4, 4), numbers(5, 2, 3, 4), numbers(6, 4, 5)
TIED = np.array([[2.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0], [3.0, -1.0, 3.0, 3.0]])
TARGETS = np.array([3, 0, 2])


def rnn(tanh: Any, stack: Any, xs: Any, h: Any, w_x: Any, w_h: Any, b: Any) -> Any:
    """h_t = tanh(x_t W_x + h_(t-1) W_h + b), all h_t."""
    hs = []
    for t in range(len(xs)):
        h = tanh(xs[t] @ w_x + h @ w_h + b)
        hs.append(h)
    return stack(hs)


def lstm(tanh: Any, sigmoid: Any, concat: Any, stack: Any, xs: Any, h: Any, c: Any, w: Any, b: Any) -> Any:
    """i, f, o, g = split([h, x] W + b); c = f c + i g; h = o tanh(c)."""
    n, hs = h.shape[-1], []
    for t in range(len(xs)):
        z = concat([h, xs[t]], -1) @ w + b
        i, f, o = (sigmoid(z[:, k * n : (k + 1) * n]) for k in range(3))
        c = f * c + i * tanh(z[:, 3 * n :])
        h = o * tanh(c)
        hs.append(h)
    return stack(hs)


def cases() -> dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Array, ...]]]:
    """name -> (with ops, with torch, the operands).  torch is imported in the second only."""

    def t(name: str) -> Any:
        import torch

        found: Any = torch
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def index(array: Any) -> Any:
        return t("as_tensor")(array)

    gather, mask = np.array([2, 0, 2, -1]), A > 0
    lengths = np.array([[1, 0, 1], [1, 1, 0]], bool)
    sequence = (numbers(7, 5, 2, 3), numbers(8, 2, 4), numbers(9, 2, 4), numbers(10, 7, 16, low=-0.7, high=0.7), numbers(11, 16))
    return {
        "add": (ops.add, lambda a, b: a + b, (CUBE, ROW)),
        "sub": (ops.sub, lambda a, b: a - b, (ROW, CUBE)),
        "mul": (ops.mul, lambda a, b: a * b, (CUBE, A)),
        "div": (ops.div, lambda a, b: a / b, (CUBE, P)),
        "neg": (ops.neg, lambda a: -a, (A,)),
        "pow": (ops.pow, lambda a, b: a**b, (P, ROW)),
        "pow-3": (lambda a: ops.pow(a, 3), lambda a: a**3, (A,)),
        "exp": (ops.exp, lambda a: t("exp")(a), (A,)),
        "log": (ops.log, lambda a: t("log")(a), (P,)),
        "sqrt": (ops.sqrt, lambda a: t("sqrt")(a), (P,)),
        "tanh": (ops.tanh, lambda a: t("tanh")(a), (A * 3,)),
        "sigmoid": (ops.sigmoid, lambda a: t("sigmoid")(a), (A * 10,)),
        "relu": (ops.relu, lambda a: t("relu")(a), (np.where(A > 1, 0, A),)),
        "abs": (ops.abs, lambda a: t("abs")(a), (np.where(A > 1, 0, A),)),
        "maximum": (ops.maximum, lambda a, b: t("maximum")(a, b), (TIED, ROW * 0 + 1)),
        "minimum": (ops.minimum, lambda a, b: t("minimum")(a, b), (TIED, ROW * 0 + 1)),
        "where": (lambda a, b: ops.where(mask, a, b), lambda a, b: t("where")(index(mask), a, b), (A, ROW)),
        "sum": (lambda a: ops.sum(a, axis=(0, -1)), lambda a: a.sum(dim=(0, -1)), (CUBE,)),
        "mean": (lambda a: ops.mean(a, axis=1, keepdims=True), lambda a: a.mean(dim=1, keepdim=True), (CUBE,)),
        "max": (lambda a: ops.max(a, axis=1), lambda a: a.amax(dim=1), (TIED,)),
        "min": (lambda a: ops.min(a, axis=(0, 1)), lambda a: a.amin(dim=(0, 1)), (TIED,)),
        "logsumexp": (lambda a: ops.logsumexp(a, axis=-1), lambda a: t("logsumexp")(a, -1), (A * 30,)),
        "matmul": (ops.matmul, lambda a, b: a @ b, (A, W)),
        "matmul-batch": (ops.matmul, lambda a, b: a @ b, (CUBE, W)),
        "matmul-batches": (ops.matmul, lambda a, b: a @ b, (numbers(12, 2, 1, 3, 4), numbers(13, 3, 4, 2))),
        "matmul-vector": (ops.matmul, lambda a, b: a @ b, (CUBE, ROW)),
        "matmul-vectors": (ops.matmul, lambda a, b: a @ b, (ROW, ROW + 1)),
        "reshape": (lambda a: ops.reshape(a, shape=(2, 6)), lambda a: a.reshape(2, 6), (A,)),
        "transpose": (lambda a: ops.transpose(a, axes=(2, 0, 1)), lambda a: a.permute(2, 0, 1), (CUBE,)),
        "swapaxes": (lambda a: ops.swapaxes(a, axis1=0, axis2=-1), lambda a: a.swapaxes(0, -1), (CUBE,)),
        "broadcast_to": (lambda a: ops.broadcast_to(a, shape=(2, 3, 4)), lambda a: t("broadcast_to")(a, (2, 3, 4)), (ROW,)),
        "astype": (lambda a: ops.astype(a, dtype=np.dtype(np.float64)), lambda a: a.to(t("float64")), (A,)),
        "getitem": (lambda a: a[1:, ::2], lambda a: a[1:, ::2], (A,)),
        "getitem-rows": (lambda a: a[gather], lambda a: a[index(gather)], (A,)),
        "getitem-columns": (lambda a: a[:, gather], lambda a: a[:, index(gather)], (A,)),
        "getitem-mask": (lambda a: a[mask], lambda a: a[index(mask)], (A,)),
        "take": (lambda a: ops.take(a, np.array([[1, 0], [1, 1]]), axis=1), lambda a: a[:, index([[1, 0], [1, 1]])], (A,)),
        "concat": (lambda a, b: ops.concat([a, b, a], axis=1), lambda a, b: t("cat")([a, b, a], 1), (A, B[:, :2])),
        "stack": (lambda a, b: ops.stack([a, b, a], axis=-1), lambda a, b: t("stack")([a, b, a], -1), (A, B)),
        "split": (
            lambda a: ops.concat(ops.split(a, [1, 3], axis=1)[::-1], axis=1), lambda a: t("cat")([a[:, 3:], a[:, 1:3], a[:, :1]], 1), (A,),
        ),
        "softmax": (lambda a: ops.softmax(a, axis=0), lambda a: t("softmax")(a, 0), (A * 30,)),
        "log_softmax": (ops.log_softmax, lambda a: t("log_softmax")(a, -1), (A * 30,)),
        "cross_entropy": (lambda a: ops.cross_entropy(a, TARGETS), lambda a: t("nn.functional.cross_entropy")(a, index(TARGETS)), (A * 9,)),
        "cross_entropy-mask": (
            lambda a: ops.cross_entropy(a, np.array([[3, 99, 2], [0, 1, -7]]), lengths),
            lambda a: t("nn.functional.cross_entropy")(a.reshape(6, 4), index([3, -100, 2, 0, 1, -100])), (CUBE,),
        ),
        "rnn": (
            lambda *xs: rnn(ops.tanh, ops.stack, *xs), lambda *xs: rnn(t("tanh"), t("stack"), *xs),
            (numbers(7, 5, 2, 3), numbers(8, 2, 4), numbers(14, 3, 4), numbers(15, 4, 4), numbers(16, 4)),
        ),
        "lstm": (
            lambda *xs: lstm(ops.tanh, ops.sigmoid, ops.concat, ops.stack, *xs),
            lambda *xs: lstm(t("tanh"), t("sigmoid"), t("cat"), t("stack"), *xs), sequence,
        ),
    }  # fmt: skip


def ours(name: str) -> dict[str, Array]:
    """Value and gradients as this engine has them."""
    f, _, arrays = cases()[name]
    xs = [Tensor(x, requires_grad=True) for x in arrays]
    y = f(*xs)
    y.backward(numbers(99, *y.shape))
    return {"value": y.data} | {f"gradient {i}": x.grad for i, x in enumerate(xs)}


def torchs(name: str) -> dict[str, Array]:
    """Value and gradients as PyTorch has them."""
    import torch

    _, f, arrays = cases()[name]
    xs = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = f(*xs)
    y.backward(torch.tensor(numbers(99, *y.shape)))
    return {"value": y.detach().numpy()} | {f"gradient {i}": x.grad.numpy() for i, x in enumerate(xs)}


def agree(given: dict[str, Array], expected: dict[str, Array]) -> None:
    assert given.keys() == expected.keys()
    for part, right in expected.items():
        assert given[part].shape == right.shape
        np.testing.assert_allclose(given[part], right, rtol=1e-12, atol=1e-12 * np.abs(right).max(initial=0), err_msg=part)


@pytest.mark.parametrize("name", list(cases()))
def test_value_and_gradients_are_those_of_pytorch(name: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed; the golden values stand in for it")
    agree(ours(name), torchs(name))


@pytest.mark.parametrize("name", list(cases()))
def test_value_and_gradients_are_those_that_pytorch_gave(name: str) -> None:
    with np.load(GOLDEN) as golden:
        agree(ours(name), {key.split("/")[1]: golden[key] for key in golden.files if key.split("/")[0] == name})


def test_every_op_is_compared() -> None:
    compared = {name.split("-")[0] for name in cases()}
    public = {name for name, value in vars(ops).items() if not name.startswith("_") and getattr(value, "__module__", "") == ops.__name__}
    assert {name for name in public if callable(getattr(ops, name))} <= compared


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_lstm_of_pytorch_is_this_lstm_with_its_gates_in_another_order(bidirectional: bool) -> None:
    """nn.LSTM: gates i f g o, W_ih (4H, C) and W_hh (4H, H) and two biases; here: i f o g, one W (H + C, 4H), one bias."""
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(3, 4, bidirectional=bidirectional).double()
    xs = numbers(7, 5, 2, 3)
    expected = theirs(torch.tensor(xs))[0]
    u = numbers(98, *expected.shape)
    expected.backward(torch.tensor(u))
    order = np.r_[0:8, 12:16, 8:12]
    for k, suffix in enumerate(["", "_reverse"] if bidirectional else [""]):
        w_ih, w_hh, b_ih, b_hh = (getattr(theirs, f"{p}_l0{suffix}") for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        w = Tensor(np.concatenate([w_hh.detach().numpy().T, w_ih.detach().numpy().T])[:, order], requires_grad=True)
        b = Tensor((b_ih + b_hh).detach().numpy()[order], requires_grad=True)
        along = slice(None, None, -1 if suffix else 1)
        h = Tensor(np.zeros((2, 4)))
        y = lstm(ops.tanh, ops.sigmoid, ops.concat, ops.stack, Tensor(xs)[along], h, h, w, b)[along]
        np.testing.assert_allclose(y.data, expected.detach().numpy()[..., 4 * k : 4 * k + 4], rtol=1e-12)
        y.backward(u[..., 4 * k : 4 * k + 4])
        right = np.concatenate([w_hh.grad.numpy().T, w_ih.grad.numpy().T])[:, order]
        np.testing.assert_allclose(w.grad, right, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(b.grad, b_ih.grad.numpy()[order], rtol=1e-12, atol=1e-13)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, allow_pickle=False, **{f"{name}/{part}": array for name in cases() for part, array in torchs(name).items()})
    print(f"{GOLDEN}: {len(cases())} cases, {GOLDEN.stat().st_size} bytes")
