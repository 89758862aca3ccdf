"""A reverse-mode autograd engine on NumPy, made for reading, drawing and checking recurrent networks."""

from . import nn, optim
from .ops import (
    abs, add, astype, broadcast_to, concat, cross_entropy, div, exp, getitem, log, log_softmax, logsumexp, matmul, max, maximum, mean, min,
    minimum, mul, neg, pow, relu, reshape, sigmoid, softmax, split, sqrt, stack, sub, sum, swapaxes, take, tanh, transpose, where,
)  # fmt: skip
from .record import grad, no_grad, op, scope, step
from .tensor import Tensor
