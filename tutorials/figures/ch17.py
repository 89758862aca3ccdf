"""Pictures of chapter 17."""

from __future__ import annotations

from tinygrad_seq import Tensor, grad, tanh
from tinygrad_seq.draw import Drawing, draw


def second() -> Drawing:
    """A tanh, its slope, and the slope of the slope."""
    x = Tensor(0.5, requires_grad=True, name="x")
    slope = grad(tanh(x), x, create_graph=True)
    again = grad(slope, x, create_graph=True)
    return draw([slope, again], names={"slope": slope, "second": again}, legend=False)


FIGURES = {"17_second": second}
