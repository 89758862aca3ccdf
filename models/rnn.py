"""The vanilla RNN (Elman 1990; Chaudhury 2024, ch. 10)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from models.recurrent import Cell, State, unroll
from tinygrad_seq import Tensor, tanh
from tinygrad_seq.nn import Module, look_up, uniform
from tinygrad_seq.record import Value


class RNNCell(Cell):
    """h_t = tanh(W_h h_(t-1) + W_x x_t + b).

    Vectors are rows here, so the products read h W_h and x W_x: x_t (N, C), h_t (N, H), W_x (C, H), W_h (H, H), b (H).
    x_t may be integer symbols (N) instead, which stand for one-hot vectors: W_x x_t is then row x_t of W_x.
    All weights start from U(-1/sqrt(H), 1/sqrt(H)).
    """

    def __init__(self, inputs: int, hidden: int, *, rng: Generator, dtype: Any = np.float32) -> None:
        bound = 1 / np.sqrt(hidden)
        self.W_x = uniform(rng, inputs, hidden, bound=bound, dtype=dtype)
        self.W_h = uniform(rng, hidden, hidden, bound=bound, dtype=dtype)
        self.b = uniform(rng, hidden, bound=bound, dtype=dtype)

    def input(self, x: Value) -> Tensor:
        """W_x x + b: (..., C), or integers (...), -> (..., H)."""
        return project(x, self.W_x) + self.b

    def recur(self, a: Tensor, state: State) -> State:
        """h_t = tanh(W_h h_(t-1) + a_t), where a_t = W_x x_t + b."""
        return State(tanh(state.h @ self.W_h + a))

    def initial_state(self, batch: int) -> State:
        """h = 0, (N, H)."""
        return State(Tensor(np.zeros((batch, len(self.W_h)), self.W_h.dtype), name="h"))


def project(x: Value, W: Tensor) -> Tensor:
    """W x for features (..., C) or for integer symbols (...), which stand for one-hot vectors; -> (..., H)."""
    kind = x.dtype.kind if isinstance(x, Tensor) else np.asarray(x).dtype.kind
    return look_up(W, x) if kind in "iu" else x @ W


class Output(NamedTuple):
    """ys (T, N, D), the output at each step, and the state after the last, to go on from."""

    ys: Tensor
    state: State


class RNN(Module):
    """h_t = tanh(W_h h_(t-1) + W_x x_t + b), y_t = W_y h_t + b_y.

    xs (T, N, C) -> ys (T, N, D); W_y (H, D) and b_y (D) start as the cell's weights do.  The same network serves all the shapes of task:

    >>> rng = np.random.default_rng(0)
    >>> rnn = RNN(inputs=3, hidden=8, outputs=2, rng=rng)
    >>> xs = rng.standard_normal((5, 4, 3), dtype=np.float32)    # T = 5 steps of N = 4 sequences

    Many-to-many, an output for each input (tagging, language models):

    >>> rnn(xs).ys.shape
    (5, 4, 2)

    Many-to-one, the last output is the answer (the sentiment of a sentence):

    >>> rnn(xs).ys[-1].shape
    (4, 2)

    One-to-many, one vector in, a sequence out (a caption for a picture): the vector is the first state, each output the next input:

    >>> writer = RNN(inputs=2, hidden=8, outputs=2, rng=rng)
    >>> picture = rng.standard_normal((4, 8), dtype=np.float32)
    >>> y, state, words = Tensor(np.zeros((4, 2), np.float32)), State(Tensor(picture)), []
    >>> for _ in range(6):
    ...     ys, state = writer(y.reshape(1, 4, 2), state)
    ...     y = ys[0]
    ...     words.append(y)
    >>> len(words), words[0].shape
    (6, (4, 2))
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, rng: Generator, dtype: Any = np.float32) -> None:
        bound = 1 / np.sqrt(hidden)
        self.cell = RNNCell(inputs, hidden, rng=rng, dtype=dtype)
        self.W_y = uniform(rng, hidden, outputs, bound=bound, dtype=dtype)
        self.b_y = uniform(rng, outputs, bound=bound, dtype=dtype)

    def forward(self, xs: Value, state: State | None = None, *, mask: Value = None) -> Output:
        """xs (T, N, C), or integer symbols (T, N), -> ys (T, N, D) and the last state; `mask` as for `unroll`."""
        run = unroll(self.cell, xs, state, mask=mask)
        return Output(run.outputs @ self.W_y + self.b_y, run.state)
