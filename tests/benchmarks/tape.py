"""How fast the tape is, beside PyTorch's in the same run: `python -m tests.benchmarks.tape` (needs torch).

Two measures, each of CPU time on one thread, the two engines in turns: forward and backward of one op on shape (4,) float32 in a chain of
3,000; and a training step of a character RNN written in elementary ops (H = 128, batch 32, 64 steps, one-hot inputs of width 96; ours also
with the characters as integers, as the models have them), after checking that the gradients agree.  Ratios are medians over pairs of
neighbouring runs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import tinygrad_seq as tg
from models.rnn import RNN

LINKS, PAIRS = 3000, 25
H, N, T, V = 128, 32, 64, 96


def in_turns(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """The best CPU seconds of each, and the median of ratios ours / theirs."""
    times = np.empty((PAIRS, 2))
    for pair in times:
        for i, run in enumerate((ours, theirs)):
            began = time.process_time()
            run()
            pair[i] = time.process_time() - began
    return times[:, 0].min(), times[:, 1].min(), float(np.median(times[:, 0] / times[:, 1]))


def chain(leaf: Any, link: Callable[[Any], Any], seed: Any) -> Callable[[], None]:
    """A chain of one op, forward and backward."""

    def run() -> None:
        y = leaf
        for _ in range(LINKS):
            y = link(y)
        y.backward(seed)

    return run


def compare_ops() -> None:
    """The chain, op by op."""
    c = np.full(4, 0.999, np.float32)
    ours, theirs = tg.Tensor(c), torch.tensor(c)
    links: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "y + c": (lambda y: y + ours, lambda y: y + theirs),
        "y * c": (lambda y: y * ours, lambda y: y * theirs),
        "y * 0.999": (lambda y: y * 0.999, lambda y: y * 0.999),
        "y * y": (lambda y: y * y, lambda y: y * y),
        "-y": (lambda y: -y, lambda y: -y),
        "tanh(y)": (tg.tanh, torch.tanh),
        "exp(-y)": (lambda y: tg.exp(-y), lambda y: torch.exp(-y)),
    }
    ratios = []
    for name, (link, torch_link) in links.items():
        x, torch_x = tg.Tensor(c, requires_grad=True), torch.tensor(c, requires_grad=True)
        a, b, ratio = in_turns(chain(x, link, np.ones(4, np.float32)), chain(torch_x, torch_link, torch.ones(4)))
        ratios.append(ratio)
        print(f"{name:12} {a / LINKS * 1e6:6.1f} us, PyTorch {b / LINKS * 1e6:6.1f} us, ratio {ratio:.2f}")
    print(f"{'geometric mean':36} ratio {np.exp(np.mean(np.log(ratios))):.2f}\n")


def compare_rnn() -> None:
    """The training step, against both ways to write the loop in PyTorch: the input product hoisted out of it, or not."""
    rng = np.random.default_rng(0)
    rnn = RNN(V, H, V, rng=rng)
    symbols, targets = rng.integers(0, V, (T, N)), rng.integers(0, V, (T, N))
    xs = np.eye(V, dtype=np.float32)[symbols]
    xs.setflags(write=False)
    weights = {name: torch.tensor(a.copy(), requires_grad=True) for name, a in rnn.state_dict().items()}
    W_x, W_h, b, W_y, b_y = weights.values()
    torch_xs, torch_targets = torch.tensor(xs.copy()), torch.tensor(targets).reshape(-1)

    def ours(xs: Any) -> None:
        rnn.zero_grad()
        tg.cross_entropy(rnn(xs).ys, targets).backward()

    def theirs(hoist: bool) -> None:
        for w in weights.values():
            w.grad = None
        h, ys = torch.zeros(N, H), []
        a = torch_xs @ W_x + b if hoist else None
        for t in range(T):
            h = torch.tanh(h @ W_h + (torch_xs[t] @ W_x + b if a is None else a[t]))
            ys.append(h if hoist else h @ W_y + b_y)
        y = torch.stack(ys)
        y = y @ W_y + b_y if hoist else y
        torch.nn.functional.cross_entropy(y.reshape(-1, V), torch_targets).backward()

    for inputs, hoist in itertools.product((xs, symbols), (True, False)):
        ours(inputs)
        theirs(hoist)
        for parameter, w in zip(rnn.parameters(), weights.values(), strict=True):
            assert parameter.grad is not None
            assert w.grad is not None
            np.testing.assert_allclose(parameter.grad, w.grad.numpy(), atol=1e-4 * float(w.grad.abs().max()))
        a_, b_, ratio = in_turns(partial(ours, inputs), partial(theirs, hoist))
        ours_, theirs_ = ("one-hot" if inputs is xs else "integers"), ("input product hoisted" if hoist else "each step whole")
        print(f"RNN step, {ours_} {a_ * 1e3:6.1f} ms, PyTorch, {theirs_} {b_ * 1e3:6.1f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare_ops()
    compare_rnn()
