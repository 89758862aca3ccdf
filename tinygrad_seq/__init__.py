"""A reverse-mode autograd engine on NumPy, made for reading, drawing and checking recurrent networks."""

# ruff: noqa: I001 - one op a line would make a long page of a short list

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
