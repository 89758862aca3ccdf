"""Exercises of chapter 2: the chain rule backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor, grad
from tutorials.exercise import Answer, Exercise, Property, close, expect
from tutorials.exercises.programs import Program, programs


def _count(program: Program) -> int:
    """The number of paths from the first name to the last."""
    paths = [1] + [0] * (len(program.numbers) - 1)
    for _, i, j in program.steps:
        paths.append(paths[i] + paths[j])
    return paths[-1]


def _paths(answer: Answer, program: Program) -> None:
    tensors, right = program.tensors(), _count(program)
    found = answer.paths(tensors[-1], tensors[0])
    expect(found == right, f"paths(y, a) gave {found!r}, expected {right}, where y is the last name")


def _doubled(times: int) -> tuple[Tensor, Tensor]:
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(times):
        y = y + y
    return y, x


def _many_paths(answer: Answer) -> None:
    found = answer.paths(*_doubled(200))
    expect(found == 2**200, f"paths(y, x) gave {found!r}, expected 2**200 = {2**200}")


def _gradient(answer: Answer, program: Program) -> None:
    tensors = program.tensors()
    right = grad(tensors[-1], tensors[0]) if 0 in program.used() else np.zeros(())
    before = [x.grad for x in tensors]
    close(answer.gradient(tensors[-1], tensors[0]), right, "gradient(y, a)")
    expect([x.grad for x in tensors] == before, "gradient(y, a) changed a .grad; it should only give back a number")


def _gradient_of_doublings(answer: Answer) -> None:
    close(answer.gradient(*_doubled(60)), np.asarray(2.0**60), "gradient(y, a), of b = a + a and so on, 60 times,")


def _long(answer: Answer) -> None:
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(5_000):
        y = y * 0.999 + 1.0
    close(answer.gradient(y, x), np.asarray(0.999**5_000), "gradient(y, a), 10,000 ops later,")


def nearest_first(y: Tensor, a: Tensor) -> float:
    """The walk of exercise 2.3."""
    queue, grads = [y], {y._order: 1.0}
    for node in queue:
        for x, other in zip(node._inputs, reversed(node._arrays), strict=True):
            slope = float(other) if node._op and node._op.__name__ == "mul" else 1.0
            if x._order not in grads:
                queue.append(x)
            grads[x._order] = grads.get(x._order, 0.0) + grads[node._order] * slope
    return grads[a._order]


def _ops(y: Tensor) -> list[Tensor]:
    found, waiting = {y._order: y}, [y]
    while waiting:
        for x in waiting.pop()._inputs:
            expect(isinstance(x, Tensor), f"an input is the plain number {x!r}; use Tensors only")
            if x._order not in found:
                found[x._order] = x
                waiting.append(x)
    return [x for x in found.values() if x._op]


def _smallest(answer: Answer) -> None:
    pair = answer.smallest()
    expect(isinstance(pair, tuple) and len(pair) == 2, f"smallest() gave {pair!r}, expected two Tensors, y and a")
    y, a = pair
    expect(isinstance(y, Tensor) and isinstance(a, Tensor), f"smallest() gave {pair!r}, expected two Tensors, y and a")
    expect(a.requires_grad, "a has no gradient; make it with requires_grad=True")
    ops = _ops(y)
    expect(all(x._op.__name__ in ("add", "mul") for x in ops if x._op), "the graph has other ops than add and mul")
    expect(len(ops) <= 3, f"the graph has {len(ops)} ops, expected at most 3")
    right, wrong = float(grad(y, a)), nearest_first(y, a)
    expect(right != wrong, f"nearest_first(y, a) gave {wrong}, and that is dy/da")


class _Watch:
    """A loss (w x - 1)**2 summed over examples x, that says how many examples it was given at once."""

    def __init__(self) -> None:
        self.w = Tensor(2.0, requires_grad=True)
        self.sizes: list[int] = []

    def loss(self, part: Any) -> Tensor:
        self.sizes.append(len(part))
        errors = self.w * part - 1.0
        return (errors * errors).sum()


def _in_halves(answer: Answer, data: list[float], held: float) -> None:
    watch, examples = _Watch(), np.array(data)
    watch.w.grad = np.asarray(held)
    answer.in_halves(watch.loss, [watch.w], examples)
    right = np.mean(2 * (2.0 * examples - 1.0) * examples)
    most = (len(data) + 1) // 2
    expect(
        max(watch.sizes, default=0) <= most,
        f"loss was called on {max(watch.sizes, default=0)} examples at once, at most {most} were allowed",
    )
    expect(watch.w.grad is not None, "w.grad is None afterwards")
    close(watch.w.grad, right, "w.grad")


DATA = {"data": st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=7), "held": st.sampled_from([0.0, 1.0])}
EXERCISES = (
    Exercise(
        "2.1",
        "paths(y, x): how many ways lead back",
        ("paths",),
        (
            Property(
                "the number is that of the paths from the first name to the last",
                _paths,
                "How many paths lead to a value, if you know how many lead to each of its inputs? Mind a * a, and y itself.",
                {"program": programs("+*")},
            ),
            Property("2**200 paths are counted, not walked", _many_paths, "Each value should be looked at once."),
        ),
    ),
    Exercise(
        "2.2",
        "gradient(y, x): your own backward",
        ("gradient",),
        (
            Property(
                "the result is dy/da, where y is the last name and a the first",
                _gradient,
                "Does a value hand on when everything that was made from it has? And what if y does not depend on a?",
                {"program": programs()},
            ),
            Property("60 doublings take 60 steps", _gradient_of_doublings, "Each value should hand on once."),
            Property("a chain of 10,000 ops is walked", _long, "A function that calls itself can do so about 1,000 times."),
        ),
    ),
    Exercise(
        "2.3",
        "smallest(): where nearest first goes wrong",
        ("smallest",),
        (
            Property(
                "nearest_first is wrong on a graph of at most three ops",
                _smallest,
                "Which value should hand on late, though it is near to y? One that y uses at once, and that a long detour leads to.",
            ),
        ),
    ),
    Exercise(
        "2.4",
        "in_halves(loss, parameters, data): gradients add up",
        ("in_halves",),
        (
            Property(
                "the gradient is that of the mean over all examples, and no more than half of them are seen at once",
                _in_halves,
                "Leaves accumulate. What did they hold before, and what turns the gradient of a sum into that of a mean?",
                DATA,
            ),
        ),
    ),
)
