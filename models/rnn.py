"""The vanilla RNN (Elman 1990; Chaudhury 2024, ch. 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from models.recurrent import Cell, Network, State, first_state, project, trainable
from tinygrad_seq import Tensor, tanh
from tinygrad_seq.nn import uniform
from tinygrad_seq.record import Value


class RNNCell(Cell):
    """h_t = tanh(W_h h_(t-1) + W_x x_t + b).

    Vectors are rows here, so the products read h W_h and x W_x: x_t (N, C), h_t (N, H), W_x (C, H), W_h (H, H), b (H).
    x_t may be integer symbols (N) instead, which stand for one-hot vectors: W_x x_t is then row x_t of W_x.
    All weights start from U(-1/sqrt(H), 1/sqrt(H)).  bias=False leaves b out; trainable_state=True learns h before the first step.
    """

    def __init__(
        self, inputs: int, hidden: int, *, bias: bool = True, trainable_state: bool = False, rng: Generator, dtype: Any = np.float32
    ) -> None:
        bound = 1 / np.sqrt(hidden)
        self.W_x = uniform(rng, inputs, hidden, bound=bound, dtype=dtype)
        self.W_h = uniform(rng, hidden, hidden, bound=bound, dtype=dtype)
        self.b = uniform(rng, hidden, bound=bound, dtype=dtype) if bias else None
        self.h_0 = trainable(hidden, dtype, trainable_state)

    def input(self, x: Value) -> Tensor:
        """W_x x + b: (..., C), or integers (...), -> (..., H)."""
        a = project(x, self.W_x)
        return a if self.b is None else a + self.b

    def recur(self, a: Tensor, state: State) -> State:
        """h_t = tanh(W_h h_(t-1) + a_t), where a_t = W_x x_t + b."""
        return State(tanh(state.h @ self.W_h + a))

    def initial_state(self, batch: int) -> State:
        """h = 0, or the trained one, (N, H)."""
        return State(first_state("h", self.h_0, batch, len(self.W_h), self.W_h.dtype))


class RNN(Network):
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

    Cell = RNNCell
