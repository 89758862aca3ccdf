"""Optimisers, and the clipping of gradients that recurrent networks need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from .record import Array
from .tensor import Tensor


def _leaves(who: str, parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters, a tied one once; what is no leaf Tensor could never move, and is refused."""
    found = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for i, p in enumerate(found):
        if not isinstance(p, Tensor) or p._op is not None:
            what = f"made by {p._op.__name__}" if isinstance(p, Tensor) and p._op else f"a {type(p).__name__}"
            raise TypeError(f"{who}: parameters[{i}] is {what}, expected a leaf Tensor.")
    return list(dict.fromkeys(found))


class Optimizer:
    """Holds parameters and, for each, what its rule remembers between steps; subclasses write `update`.

    lr: the step size; it may be changed at any time.  Raises ValueError where there are no parameters or lr is not positive.
    """

    memories: tuple[str, ...] = ()  # the names of the arrays that the rule keeps for each parameter

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = _leaves(type(self).__name__, parameters)
        if not any(p.requires_grad for p in self.parameters):
            raise ValueError(f"{type(self).__name__}: got no parameters that require gradients.")
        if not lr > 0:
            raise ValueError(f"{type(self).__name__}: lr={lr}, expected a positive number.")
        self.lr, self.steps = lr, 0
        self._memory = [{name: np.zeros_like(p.data) for name in self.memories} for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move each parameter that has a gradient against it."""
        self.steps += 1
        for parameter, memory in zip(self.parameters, self._memory, strict=True):
            if parameter.grad is not None:
                data = parameter.data - self.update(parameter.grad, **memory)
                data.setflags(write=False)  # ours, so that the parameter need not copy it
                parameter.data = data

    def update(self, g: Array, **memory: Array) -> Array:
        """What is to be subtracted from a parameter of gradient g; `memory` is to be changed in place."""
        raise NotImplementedError(f"{type(self).__name__} has no update method; write one.")

    def state_dict(self) -> dict[str, Array]:
        """What it takes to go on: the count of steps and the memories, as copies."""
        state = {f"{i}.{name}": array.copy() for i, memory in enumerate(self._memory) for name, array in memory.items()}
        return {"steps": np.array(self.steps), **state}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take up a state that the same optimiser of the same parameters gave; else ValueError, and nothing changes."""
        own = self.state_dict()
        faults = [f"missing {name}" for name in own if name not in state]
        faults += [f"unexpected {name}" for name in state if name not in own]
        faults += [
            f"{name} is {state[name].shape}, expected {own[name].shape}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        if faults:
            raise ValueError(f"load_state_dict: this state is not one of this {type(self).__name__}: {'; '.join(faults)}.")
        self.steps = int(state["steps"])
        for i, memory in enumerate(self._memory):
            for name, array in memory.items():
                array[...] = state[f"{i}.{name}"]


class SGD(Optimizer):
    """v = momentum v + g; p = p - lr v.  While momentum is 0, v is left as it is, and g taken for it."""

    memories = ("v",)

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.0) -> None:
        super().__init__(parameters, lr)
        self.momentum = momentum

    def update(self, g: Array, **memory: Array) -> Array:
        """lr v, which without momentum is lr g."""
        if not self.momentum:
            return self.lr * g
        v = memory["v"]
        v *= self.momentum
        v += g
        return self.lr * v


class RMSProp(Optimizer):
    """s = rho s + (1 - rho) g**2; p = p - lr g / (sqrt(s) + eps) (Hinton 2012)."""

    memories = ("s",)

    def __init__(self, parameters: Iterable[Tensor], lr: float = 1e-2, rho: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(parameters, lr)
        self.rho, self.eps = rho, eps

    def update(self, g: Array, **memory: Array) -> Array:
        """lr g / (sqrt(s) + eps)."""
        s = memory["s"]
        s *= self.rho
        s += (1 - self.rho) * g * g
        return self.lr * g / (np.sqrt(s) + self.eps)


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g; s = b2 s + (1 - b2) g**2; p = p - lr m' / (sqrt(s') + eps), where m' = m / (1 - b1**t), s' = s / (1 - b2**t).

    (Kingma & Ba 2015)
    """

    memories = ("m", "s")

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps = betas, eps

    def update(self, g: Array, **memory: Array) -> Array:
        """lr m' / (sqrt(s') + eps)."""
        (b1, b2), m, s = self.betas, memory["m"], memory["s"]
        m *= b1
        m += (1 - b1) * g
        s *= b2
        s += (1 - b2) * g * g
        root = np.sqrt(s, out=np.empty_like(s))
        root *= 1 / np.sqrt(1 - b2**self.steps)
        root += self.eps
        return np.divide(self.lr / (1 - b1**self.steps) * m, root, out=root)


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by min(1, max_norm / (||g|| + 1e-6)), ||g|| being their joint norm; returns ||g|| as it was.

    Their direction stays (Pascanu et al. 2013; the 1e-6 as in the textbook's listing).
    Raises ValueError for max_norm <= 0, FloatingPointError where ||g|| is not finite.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm={max_norm}, expected a positive number.")
    held = [(p, p.grad) for p in _leaves("clip_grad_norm", parameters) if p.grad is not None]
    with np.errstate(over="ignore"):
        norm = math.sqrt(math.fsum(float(np.square(g, dtype=np.float64).sum()) for _, g in held))
    if not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm: the norm of the gradient is {norm}: the training has diverged. Lower the learning rate.")
    scale = float(max_norm) / (norm + 1e-6)
    if scale < 1:
        for p, g in held:
            p.grad = g * scale
    return norm


def clip_grad_value(parameters: Iterable[Tensor], max_value: float) -> None:
    """Clip each element of each gradient to [-max_value, max_value]; their direction changes.  Raises ValueError for max_value <= 0."""
    if not max_value > 0:
        raise ValueError(f"clip_grad_value: max_value={max_value}, expected a positive number.")
    for p in _leaves("clip_grad_value", parameters):
        if p.grad is not None:
            p.grad = np.clip(p.grad, -float(max_value), float(max_value))
