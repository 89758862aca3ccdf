"""Pictures of chapter 1."""

from __future__ import annotations

from tinygrad_seq import Tensor
from tinygrad_seq.draw import Drawing, draw


def history() -> Drawing:
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    y = a * b + a
    return draw(y, names={"y": y}, legend=False)


FIGURES = {"01_history": history}
