"""Pictures of chapter 7."""

from __future__ import annotations

import numpy as np

from tinygrad_seq import Tensor, step, tanh
from tinygrad_seq.draw import Drawing, draw


def unrolled() -> Drawing:
    rng = np.random.default_rng(0)
    W_x, W_h = Tensor(rng.normal(size=(3, 4)), requires_grad=True), Tensor(rng.normal(size=(4, 4)), requires_grad=True)
    b, h = Tensor(np.zeros(4), requires_grad=True), Tensor(np.zeros(4), name="h")
    for t, word in enumerate(("dog", "bites", "man")):
        with step(t):
            x = Tensor(np.eye(3)[t], name=word)
            h = tanh(h @ W_h + x @ W_x + b)
    return draw(h, params={"W_x": W_x, "W_h": W_h, "b": b}, legend=False)


FIGURES = {"07_unrolled": unrolled}
