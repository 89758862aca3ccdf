"""A training step of a sequence-to-sequence network with additive attention, in elementary ops: ours and PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.lstm import LSTMCell
from models.seq2seq import AdditiveDecoder, Seq2Seq
from tests.benchmarks.workloads import RATE, Engine, Weights
from tinygrad_seq.optim import SGD

V, H, N, S, T = 60, 128, 32, 20, 20
TITLE = f"LSTM encoder and decoder with additive attention, H={H} N={N} S={S} T={T}"


def _network(dtype: Any = np.float32) -> Seq2Seq:
    rng = np.random.default_rng(0)
    decoder = AdditiveDecoder(LSTMCell, V, H, memory=H, rng=rng, dtype=dtype)
    for p in (decoder.W_a, decoder.U_a, decoder.v):
        p.data = 4 * p.numpy()  # so that it looks somewhere: as it starts, the gradients of attention are mostly rounding
    return Seq2Seq(LSTMCell(V, H, rng=rng, dtype=dtype), decoder, rng=rng, dtype=dtype)


def _data() -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.integers(0, V, (S, N)), rng.integers(0, V, (T, N))


def ours(dtype: Any = np.float32) -> Engine:
    """The network of models/seq2seq.py."""
    net = _network(dtype)
    xs, targets = _data()
    optimiser = SGD(net.parameters(), lr=RATE)

    def gradients() -> tuple[float, Weights]:
        net.zero_grad()
        loss = net.loss(xs, targets)
        loss.backward()
        return loss.item(), {name: p.grad for name, p in net.named_parameters().items()}  # type: ignore[misc]  # after backward each has one

    def step() -> None:
        gradients()
        optimiser.step()

    return Engine(gradients, step)


def with_torch() -> Engine:
    """The same equations."""
    import torch
    from torch.nn.functional import embedding

    from tests.benchmarks.elementary import lstm
    from tests.benchmarks.with_torch import LIBRARY, trained

    w = {name: torch.tensor(np.array(a), requires_grad=True) for name, a in _network().state_dict().items()}
    encoder = {name.removeprefix("encoder."): a for name, a in w.items() if name.startswith("encoder.")}
    cell = {name.removeprefix("decoder.cell."): a for name, a in w.items() if name.startswith("decoder.cell.")}
    d = {name.removeprefix("decoder."): a for name, a in w.items() if name.startswith("decoder.") and name.count(".") == 1}
    xs, targets = (torch.tensor(a) for a in _data())
    shifted = torch.cat([torch.full_like(targets[:1], V), targets[:-1]])

    def forward() -> Any:
        state, hs = (torch.zeros(N, H), torch.zeros(N, H)), []
        for a in (embedding(xs, encoder["W_x"]) + encoder["b"]).unbind():
            state = lstm(LIBRARY, encoder, a, state)
            hs.append(state[0])
        values = torch.stack(hs, dim=1)  # (N, S, H)
        keys, ys = values @ d["U_a"], []
        for a in (embedding(shifted, cell["W_x"]) + cell["b"]).unbind():
            query = (state[0] @ d["W_a"])[:, None]
            alpha = torch.softmax(torch.tanh(query + keys) @ d["v"], dim=-1)
            context = (alpha[:, None] @ values)[:, 0]
            state = lstm(LIBRARY, cell, a + context @ d["W_c"], state)
            ys.append(torch.cat([state[0], context], dim=-1))
        scores = torch.stack(ys) @ d["W_y"] + d["b_y"]
        return torch.nn.functional.cross_entropy(scores.reshape(T * N, -1), targets.reshape(-1))

    return trained(forward, w, lambda g: g)
