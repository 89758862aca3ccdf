"""PyTorch: its fused layers, its cells in a loop, and elementary ops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from models.convert import to_torch
from tests.benchmarks.elementary import Library, loss
from tests.benchmarks.workloads import RATE, Engine, V, Weights, Workload

LIBRARY = Library(
    tanh=torch.tanh,
    sigmoid=torch.sigmoid,
    split=lambda z, n: z.chunk(n, -1) if n > 1 else (z,),
    stack=torch.stack,
    cross_entropy=lambda y, targets: cross_entropy(y.reshape(-1, V), targets.reshape(-1)),
    steps=torch.unbind,  # slices one by one would cost a full array of zeros each in backward
)


def trained(forward: Callable[[], Any], leaves: dict[str, Any], named: Callable[[dict[str, Any]], Weights]) -> Engine:
    """An engine of the loss that `forward` computes of the leaves; `named` gives their gradients our names."""

    def backward() -> Any:
        for w in leaves.values():
            w.grad = None
        value = forward()
        value.backward()
        return value

    def gradients() -> tuple[float, Weights]:
        value = backward().item()
        return value, named({name: w.grad.numpy().copy() for name, w in leaves.items()})

    def step() -> None:
        backward()
        with torch.no_grad():
            for w in leaves.values():
                w.sub_(w.grad, alpha=RATE)

    return Engine(gradients, step)


def _elementary(w: Workload, hoist: bool) -> Engine:
    leaves = {name: torch.tensor(a, requires_grad=True) for name, a in w.weights().items()}
    xs, targets = (torch.tensor(np.array(a)) for a in w.data())
    return trained(lambda: loss(LIBRARY, w.kind, leaves, xs, targets, torch.zeros(w.N, w.H), hoist), leaves, lambda g: g)


def _in_our_order(a: Any, kind: str) -> Any:
    """PyTorch's i, f, g, o as f, i, o, c̃; its r, z, n as r, z, h̃, whose z is 1 - z here."""
    blocks = np.split(a, {"rnn": 1, "lstm": 4, "gru": 3}[kind], axis=-1)
    if kind == "gru":
        blocks[1] = -blocks[1]
    return np.concatenate([blocks[i] for i in (1, 0, 3, 2)] if kind == "lstm" else blocks, axis=-1)


def _module(w: Workload, fused: bool) -> Engine:
    """nn.LSTM and its like, or nn.LSTMCell and its like in a loop, under nn.Linear."""
    kind = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[w.kind]
    net = w.network()
    layer = getattr(torch.nn, kind if fused else f"{kind}Cell")(V, w.H)
    suffix = "_l0" if fused else ""
    layer.load_state_dict({name.removesuffix("_l0") + suffix: torch.tensor(a) for name, a in to_torch(net.cell).items()})
    linear = torch.nn.Linear(w.H, V)
    linear.load_state_dict({"weight": torch.tensor(net.W_y.numpy().T.copy()), "bias": torch.tensor(np.array(net.b_y.numpy()))})
    xs, targets = (torch.tensor(np.array(a)) for a in w.data())

    def outputs() -> Any:
        if fused:
            return layer(xs)[0]
        state, hs = None, []
        for x in xs:
            state = layer(x, state)
            hs.append(state[0] if w.kind == "lstm" else state)
        return torch.stack(hs)

    def named(g: dict[str, Any]) -> Weights:
        """The gradients as of our weights."""
        W_x, W_h, b, b_hh = (_in_our_order(g[name + suffix].T, w.kind) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        found = {"W_x": W_x, "W_h": W_h, "b": b, "W_y": g["W_y"].T, "b_y": g["b_y"]}
        if w.kind == "gru":
            found |= {"W_h": W_h[:, : 2 * w.H], "W": W_h[:, 2 * w.H :], "b_r": b_hh[2 * w.H :]}
        return found

    leaves = {**dict(layer.named_parameters()), "W_y": linear.weight, "b_y": linear.bias}
    return trained(lambda: LIBRARY.cross_entropy(linear(outputs()), targets), leaves, named)


ENGINES: dict[str, Callable[[Workload], Engine]] = {
    "torch layer": partial(_module, fused=True),
    "torch, hoisted": partial(_elementary, hoist=True),
    "torch, per step": partial(_elementary, hoist=False),
    "torch Cell loop": partial(_module, fused=False),
}


def use_threads(threads: int) -> None:
    """How many threads a product may take."""
    torch.set_num_threads(threads)
