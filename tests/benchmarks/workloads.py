"""What is measured: character models of several sizes, their weights and their data, the same for every engine.

One step is the forward pass over T steps, softmax cross-entropy at every step (the mean over T * N), the whole backward pass to every
weight, and a step of gradient descent.  Inputs are one-hot vectors of width 96, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.gru import GRU
from models.lstm import LSTM
from models.rnn import RNN
from tinygrad_seq.record import Array

V, RATE = 96, 1e-3
Weights = dict[str, Array]


@dataclass(frozen=True)
class Workload:
    """A recurrent network of H units under a linear output, N sequences of T steps."""

    name: str
    kind: str  # rnn, lstm or gru
    H: int
    N: int
    T: int
    options: dict[str, Any] = field(default_factory=dict)
    layer: bool = True  # PyTorch's fused layer computes the same function

    @property
    def title(self) -> str:
        """In words."""
        variant = "" if self.kind != "gru" else " (resets after)" if self.options else " (resets before)"
        return f"{'tanh RNN' if self.kind == 'rnn' else self.kind.upper()}{variant} H={self.H} N={self.N} T={self.T}"

    def network(self, dtype: Any = np.float32) -> Any:
        """Our network, its weights always the same."""
        rng = np.random.default_rng(0)
        return {"rnn": RNN, "lstm": LSTM, "gru": GRU}[self.kind](V, self.H, V, rng=rng, dtype=dtype, **self.options)

    def weights(self) -> Weights:
        """Writable copies by short names: W_x, W_h, b, W_y, b_y, and a GRU's W and b_r."""
        return {name.removeprefix("cell."): np.array(a) for name, a in self.network().state_dict().items()}

    def data(self) -> tuple[Array, Array]:
        """One-hot inputs (T, N, V) and targets (T, N), read-only, as data are that our engine need not copy."""
        rng = np.random.default_rng(1)
        xs = np.eye(V, dtype=np.float32)[rng.integers(0, V, (self.T, self.N))]
        targets = rng.integers(0, V, (self.T, self.N))
        xs.setflags(write=False)
        targets.setflags(write=False)
        return xs, targets


@dataclass(frozen=True)
class Engine:
    """A workload on one engine: `gradients` gives the loss and dL/dw by name; `step` is one step of training."""

    gradients: Callable[[], tuple[float, Weights]]
    step: Callable[[], object]


AFTER = {"reset_after": True}
WORKLOADS = {
    w.name: w
    for w in (
        Workload("W1", "lstm", H=128, N=32, T=64),
        Workload("W2", "gru", H=128, N=32, T=64, options=AFTER),
        Workload("W3", "rnn", H=128, N=32, T=64),
        Workload("W4", "lstm", H=16, N=1, T=100),
        Workload("W5", "lstm", H=64, N=8, T=1000),
        Workload("W6", "lstm", H=512, N=64, T=64),
        Workload("GRU", "gru", H=128, N=32, T=64, layer=False),
    )
}
