"""Exercises of chapter 1: a value and its history."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinygrad_seq import Tensor
from tutorials.exercise import Answer, Exercise, Property, close, expect
from tutorials.exercises.programs import NAMES, Program, programs


def _leaves(answer: Answer, program: Program) -> None:
    tensors = program.tensors()
    right = [NAMES[i] for i in program.used() if i < len(program.numbers)]
    found = answer.leaves(tensors[-1])
    expect(all(isinstance(x, Tensor) for x in found), f"leaves(y) gave {found!r}, expected a list of Tensors")
    names = [x.name for x in found]
    expect(sorted(map(str, names)) == right, f"leaves(y) gave {names}, expected {right}")
    expect(names == right, f"leaves(y) gave {names}, in this order; expected the oldest first: {right}")


def _leaf_alone(answer: Answer) -> None:
    x = Tensor(2.0, name="x")
    found = answer.leaves(x)
    expect(len(found) == 1, f"leaves(x) of a leaf x gave {len(found)} Tensors, expected x itself")
    expect(found[0] is x, "leaves(x) of a leaf x gave another Tensor than x")


def _chain(length: int) -> tuple[Tensor, Tensor]:
    x = y = Tensor(1.0, name="x")
    for _ in range(length):
        y = y + 1.0
    return x, y


def _edges(answer: Answer, program: Program) -> None:
    tensors, used = program.tensors(), program.used()
    first = tensors[0]._order
    right = [(NAMES[i], NAMES[k]) for k, (_, *inputs) in enumerate(program.steps, len(program.numbers)) if k in used for i in inputs]
    found = [
        tuple(NAMES[order - first] if 0 <= order - first < len(tensors) else order for order in edge) for edge in answer.edges(tensors[-1])
    ]
    expect(sorted(map(str, found)) == sorted(map(str, right)), f"edges(y) gave, by name, {sorted(found)}\nexpected {sorted(right)}")


def _replay(answer: Answer, program: Program, number: float) -> None:
    tensors = program.tensors()
    right = program.run([number, *program.numbers[1:]])[-1] if 0 in program.used() else program.run(list(program.numbers))[-1]
    found = answer.replay(tensors[-1], tensors[0], number)
    expect(not isinstance(found, Tensor), "replay gave a Tensor, expected a plain number or array")
    close(found, np.asarray(right), f"replay(y, a, {number})")


def _replay_after(answer: Answer) -> None:
    a, b = Tensor(2.0), Tensor(3.0)
    y = a * b
    b.data = np.array(100.0)
    close(answer.replay(y, a, 5.0), np.asarray(15.0), "after y = a * b with b = 3, and then b.data = 100: replay(y, a, 5.0)")


def _history_bug(answer: Answer) -> None:
    pair = answer.history_bug()
    expect(isinstance(pair, tuple), f"history_bug() gave {pair!r}, expected two Tensors")
    expect(len(pair) == 2, f"history_bug() gave {len(pair)} things, expected two Tensors")
    x, y = pair
    expect(isinstance(x, Tensor), f"the first is {x!r}, expected a Tensor")
    expect(isinstance(y, Tensor), f"the second is {y!r}, expected a Tensor")
    expect(x._op is not None, "the first is a leaf: it has no computation")
    expect(y._op is not None, "the second is a leaf: it has no computation")
    same = {"the op": x._op is y._op, "the number": x.tolist() == y.tolist(), "the set of inputs": set(x._inputs) == set(y._inputs)}
    for what, agrees in same.items():
        expect(agrees, f"{what} differs, so the record tells them apart")
    ids = [tuple(map(id, z._inputs)) for z in pair]
    expect(ids[0] != ids[1], "the inputs are the same, in the same order: these are not different computations")


def _long_leaves(answer: Answer) -> None:
    found = answer.leaves(_chain(20_000)[1])
    expect(len(found) == 1, f"leaves(y) gave {len(found)} Tensors, expected 1")


def _long_replay(answer: Answer) -> None:
    x, y = _chain(20_000)
    close(answer.replay(y, x, 5.0), np.asarray(20_005.0))


def _shared(answer: Answer) -> None:
    y = Tensor(1.0)
    for _ in range(60):
        y = y + y
    found = answer.leaves(y)
    expect(len(found) == 1, f"leaves(y) gave {len(found)} Tensors, expected 1")


ANY = {"program": programs()}
EXERCISES = (
    Exercise(
        "1.1",
        "leaves(y): what a value was made from",
        ("leaves",),
        (
            Property("a leaf was made from itself", _leaf_alone, "What is the history of a leaf?"),
            Property("each leaf is there once, the oldest first", _leaves, "Which number says how old a value is?", ANY),
            Property("a history of 20,000 ops is read", _long_leaves, "A function that calls itself can do so about 1,000 times."),
            Property(
                "b = a + a, c = b + b, and so on 60 times, is read at once", _shared, "How often do you look at the inputs of one value?"
            ),
        ),
    ),
    Exercise(
        "1.2",
        "edges(y): every use of every value",
        ("edges",),
        (Property("there is an edge for each time that a Tensor is an input", _edges, "Is x * x one use of x, or two?", ANY),),
    ),
    Exercise(
        "1.3",
        "replay(y, leaf, number): the same computation on another number",
        ("replay",),
        (
            Property(
                "the result is that of the program, run on the new number",
                _replay,
                "Go through the history from the oldest to the newest, and keep the new value of each.",
                ANY | {"number": st.integers(1, 9).map(float)},
            ),
            Property(
                "the other leaves have the numbers that they had when y was made",
                _replay_after,
                "Which of _inputs and _arrays remembers what the op saw?",
            ),
            Property("a history of 20,000 ops is replayed", _long_replay, "A function that calls itself can do so about 1,000 times."),
        ),
    ),
    Exercise(
        "1.4",
        "history_bug(): what a set of inputs forgets",
        ("history_bug",),
        (
            Property(
                "two different computations with the same op, number and set of inputs",
                _history_bug,
                "A set has no order and holds nothing twice. For which op and which numbers is that not enough to know what was computed?",
            ),
        ),
    ),
)
