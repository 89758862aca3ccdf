"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000; Chaudhury 2024, ch. 10)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from models.recurrent import Cell, Network, first_state, gate, project, trainable
from tinygrad_seq import Tensor, sigmoid, split, tanh
from tinygrad_seq.nn import uniform
from tinygrad_seq.record import Value


class LSTMState(NamedTuple):
    """h (N, H), the output, and c (N, H), the memory cell."""

    h: Tensor
    c: Tensor


class LSTMCell(Cell):
    """The memory cell c, and the gates that say what it forgets (f), takes in (i) and shows (o).

    f_t = σ(W_f [h_(t-1), x_t] + b_f)
    i_t = σ(W_i [h_(t-1), x_t] + b_i)
    o_t = σ(W_o [h_(t-1), x_t] + b_o)
    c̃_t = tanh(W_c [h_(t-1), x_t] + b_c)
    c_t = f_t ⊙ c_(t-1) + i_t ⊙ c̃_t
    h_t = o_t ⊙ tanh(c_t)

    The four stand side by side, in this order, and W [h, x] = W_h h + W_x x: x_t (N, C), W_x (C, 4H), W_h (H, 4H), b (4H).  x_t may be
    integer symbols (N), which stand for one-hot vectors.  Weights start from U(-1/sqrt(H), 1/sqrt(H)), biases from 0 but for b_f =
    forget_bias: at 0 a cell would forget half of what it holds at each step, and the gradient with it; 1 keeps 73 % (Jozefowicz et
    al. 2015).  bias=False leaves b out; trainable_state=True learns h and c before the first step.
    """

    def __init__(
        self, inputs: int, hidden: int, *, forget_bias: float = 1.0, bias: bool = True, trainable_state: bool = False,
        rng: Generator, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        bound = 1 / np.sqrt(hidden)
        self.W_x = uniform(rng, inputs, 4 * hidden, bound=bound, dtype=dtype)
        self.W_h = uniform(rng, hidden, 4 * hidden, bound=bound, dtype=dtype)
        b = np.concatenate([np.full(hidden, forget_bias), np.zeros(3 * hidden)])
        self.b = Tensor(b.astype(dtype), requires_grad=True) if bias else None
        self.h_0, self.c_0 = trainable(hidden, dtype, trainable_state), trainable(hidden, dtype, trainable_state)

    def input(self, x: Value) -> Tensor:
        """W_x x + b, of all four: (..., C), or integers (...), -> (..., 4H)."""
        a = project(x, self.W_x)
        return a if self.b is None else a + self.b

    def recur(self, a: Tensor, state: LSTMState) -> LSTMState:
        """The equations, where a_t = W_x x_t + b."""
        h, c = state
        f, i, o, c_tilde = split(h @ self.W_h + a, 4, axis=-1)
        f, i, o = gate("f", sigmoid, f), gate("i", sigmoid, i), gate("o", sigmoid, o)
        c_tilde = gate("c̃", tanh, c_tilde)
        c = f * c + i * c_tilde
        h = o * tanh(c)
        return LSTMState(h, c)

    def initial_state(self, batch: int) -> LSTMState:
        """h = 0 and c = 0, or the trained ones, (N, H)."""
        H, dtype = len(self.W_h), self.W_h.dtype
        return LSTMState(first_state("h", self.h_0, batch, H, dtype), first_state("c", self.c_0, batch, H, dtype))


class LSTM(Network):
    """An LSTM cell under a linear output: y_t = W_y h_t + b_y; xs (T, N, C) -> ys (T, N, D)."""

    Cell = LSTMCell
