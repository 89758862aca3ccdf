"""The gated recurrent unit (Cho et al. 2014; Chung et al. 2014; Chaudhury 2024, ch. 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from models.recurrent import Cell, Network, State, first_state, gate, project, trainable
from tinygrad_seq import Tensor, sigmoid, split, tanh
from tinygrad_seq.nn import uniform
from tinygrad_seq.record import Value


class GRUCell(Cell):
    """Two gates, one that resets the past (r), one that interpolates between the past and the candidate (z).

    r_t = σ(W_r [h_(t-1), x_t] + b_r)
    z_t = σ(W_z [h_(t-1), x_t] + b_z)
    h̃_t = tanh(W [r_t ⊙ h_(t-1), x_t] + b_h)
    h_t = (1 - z_t) ⊙ h_(t-1) + z_t ⊙ h̃_t

    The three stand side by side, in this order, and W [h, x] is the product with h plus the product with x: x_t (N, C), W_x (C, 3H),
    b (3H); of the halves that meet h, W_h (H, 2H) makes the gates and W (H, H) the candidate.  x_t may be integer symbols (N), which
    stand for one-hot vectors.  Weights start from U(-1/sqrt(H), 1/sqrt(H)), biases from 0; bias=False leaves them out, as the textbook's
    page does.  trainable_state=True learns h before the first step.

    reset_after=True resets after the product, h̃_t = tanh(W_x x_t + b_h + r_t ⊙ (W h_(t-1) + b_r)), as PyTorch, cuDNN and Keras do: another
    function, with one bias more, b_r (H).  There the letters z and 1 - z are also exchanged: see `models.convert`.
    """

    def __init__(
        self, inputs: int, hidden: int, *, reset_after: bool = False, bias: bool = True, trainable_state: bool = False,
        rng: Generator, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        bound = 1 / np.sqrt(hidden)
        self.reset_after = reset_after
        self.W_x = uniform(rng, inputs, 3 * hidden, bound=bound, dtype=dtype)
        self.W_h = uniform(rng, hidden, 2 * hidden, bound=bound, dtype=dtype)
        self.W = uniform(rng, hidden, hidden, bound=bound, dtype=dtype)
        self.b = Tensor(np.zeros(3 * hidden, dtype), requires_grad=True) if bias else None
        self.b_r = Tensor(np.zeros(hidden, dtype), requires_grad=True) if bias and reset_after else None
        self.h_0 = trainable(hidden, dtype, trainable_state)

    def input(self, x: Value) -> Tensor:
        """W_x x + b, of all three: (..., C), or integers (...), -> (..., 3H)."""
        a = project(x, self.W_x)
        return a if self.b is None else a + self.b

    def recur(self, a: Tensor, state: State) -> State:
        """The equations, where a_t = W_x x_t + b."""
        h = state.h
        a_rz, a_h = split(a, [2 * len(self.W)], axis=-1)
        r, z = split(h @ self.W_h + a_rz, 2, axis=-1)
        r, z = gate("r", sigmoid, r), gate("z", sigmoid, z)
        h_tilde = gate("h̃", tanh, (r * self._past(h) if self.reset_after else (r * h) @ self.W) + a_h)
        return State((1 - z) * h + z * h_tilde)

    def _past(self, h: Tensor) -> Tensor:
        past = h @ self.W
        return past if self.b_r is None else past + self.b_r

    def initial_state(self, batch: int) -> State:
        """h = 0, or the trained one, (N, H)."""
        return State(first_state("h", self.h_0, batch, len(self.W), self.W.dtype))


class GRU(Network):
    """A GRU cell under a linear output: y_t = W_y h_t + b_y; xs (T, N, C) -> ys (T, N, D)."""

    Cell = GRUCell
