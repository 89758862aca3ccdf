"""A reverse-mode autograd engine on NumPy, made for reading, drawing and checking recurrent networks."""

# ruff: noqa: I001 - one op a line would make a long page of a short list

import numpy as _np

from . import nn, optim
from .ops import (
    abs, add, astype, broadcast_to, concat, cross_entropy, div, exp, getitem, log, log_softmax, logsumexp, matmul, max, maximum, mean, min,
    minimum, mul, neg, pow, relu, reshape, sigmoid, softmax, split, sqrt, stack, sub, sum, swapaxes, take, tanh, transpose, where,
)  # fmt: skip
from .record import grad, no_grad, op, scope, step
from .tensor import Tensor

__all__ = [
    "Tensor", "abs", "add", "astype", "broadcast_to", "concat", "cross_entropy", "div", "exp", "getitem", "grad", "log", "log_softmax",
    "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum", "mul", "neg", "nn", "no_grad", "op", "optim", "pow", "relu",
    "reshape", "scope", "sigmoid", "softmax", "split", "sqrt", "stack", "step", "sub", "sum", "swapaxes", "take", "tanh", "transpose",
    "where",
]  # fmt: skip

# Once a block of nearly 32 MB was freed, glibc keeps up to 64 MB of freed memory for the next step of training instead of handing it back
# to the system, which clears each page anew: up to a third of the time of a step.  The block is never written, so it costs no memory.
_np.empty((1 << 25) - (1 << 16), _np.uint8)
