"""What an exercise is, and how an answer is judged: by properties that hold for every right answer, on inputs that Hypothesis draws."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import linecache
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

Given = dict[str, Any]
SHOWN = 60  # numbers of an array; a larger one tells a reader nothing


class Wrong(Exception):
    """What is wrong with an answer, in words for its writer."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise Wrong, with what to tell the writer, where something does not hold."""
    if not holds:
        raise Wrong(otherwise)


@dataclass(frozen=True)
class Answer:
    """What an answer defines, and what it printed: `answer.shape_of(x)` calls its function of that name.

    called: the arguments of the last such call, by name, as they were before it, without those that are too large to be shown.
    """

    names: dict[str, Any]
    printed: str = ""
    called: Given = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        value = self.names[name]
        if not isinstance(value, types.FunctionType) or value.__dict__:  # an op, which is more than a function
            return value

        @functools.wraps(value)
        def call(*args: Any, **settings: Any) -> Any:
            self.called.clear()
            self.called.update(_shown(value, args))
            return value(*args, **settings)

        return call


def _shown(function: Callable[..., Any], args: Sequence[Any]) -> Given:
    names = [name for name, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_POSITIONAL]
    names += [f"argument {i + 1}" for i in range(len(names), len(args))]
    return {name: copy.deepcopy(value) for name, value in zip(names, args, strict=False) if _numbers(value) <= SHOWN}


def _numbers(value: Any) -> float:
    """How many numbers there are in arrays, and lists of them; infinitely many in what is something else."""
    if isinstance(value, (list, tuple)):
        return sum(map(_numbers, value))
    plain = type(value) is np.ndarray or isinstance(value, (int, float, np.generic))
    return np.size(value) if plain else np.inf


@dataclass(frozen=True)
class Property:
    """Something that holds for every right answer.

    says: what holds, as a sentence; the first line of a failure.
    holds(answer, **given): raises Wrong, by `expect` or `close`, or any other error, where it does not.
    given: what to draw, by name: Hypothesis strategies.  "g, shape" stands for two names and a strategy that draws pairs.  Nothing, for a
        property that is judged once.
    hint: what to think about; it does not give the answer away.
    """

    says: str
    holds: Callable[..., None]
    hint: str
    given: dict[str, st.SearchStrategy[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Exercise:
    """An exercise: its number, what it asks for in a sentence, the names that an answer must define, and its properties.

    names: empty where the answer is what the program prints.
    seconds: how long an answer may take.  examples: how many inputs each property is tried on.
    """

    number: str
    title: str
    names: tuple[str, ...]
    properties: tuple[Property, ...]
    seconds: float = 20
    examples: int = 50

    @property
    def chapter(self) -> int:
        return int(self.number.split(".")[0])


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what to tell its writer."""

    right: bool
    text: str
    broken: str = ""  # what the first property that fails says


def judge(exercise: Exercise, source: str, file: str = "answer.py", shrink: bool = True) -> Verdict:
    """Run an answer and try each property of the exercise on it; the first that fails, on the smallest input found, is the verdict.

    shrink: whether to look for the smallest input, or to be quick.
    """
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    printed = io.StringIO()
    names: dict[str, Any] = {"__name__": "__answer__", "__file__": file}
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, file, "exec", dont_inherit=True), names)
    except (Exception, SystemExit) as error:
        return Verdict(False, f"The answer raises before it can be judged.\n{_where(error, file)}")
    missing = [name for name in exercise.names if name not in names]
    if missing:
        own = [name for name in names if not name.startswith("__")]
        return Verdict(False, f"The answer does not define {', '.join(missing)}; it defines {', '.join(own) or 'nothing'}.")
    if not exercise.names and not printed.getvalue().strip():
        return Verdict(
            False, "The answer prints nothing; this exercise asks for what it prints. Is a print missing, or a call of your function?"
        )
    answer = Answer(names, printed.getvalue())
    for i, held in enumerate(exercise.properties):
        fault = _first_fault(held, answer, exercise.examples, file, shrink)
        if fault:
            text = "\n".join(
                [*(f"  holds: {p.says}" for p in exercise.properties[:i]), f"  FAILS: {held.says}", fault, f"  hint: {held.hint}"]
            )
            return Verdict(False, text, held.says)
    return Verdict(True, "\n".join(f"  holds: {p.says}" for p in exercise.properties))


def _first_fault(held: Property, answer: Answer, examples: int, file: str, shrink: bool) -> str:
    """What goes wrong, on the smallest input that Hypothesis comes down to; nothing where all is well."""
    last: Given = {}

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, verbosity=Verbosity.quiet, print_blob=False,
        report_multiple_bugs=False, phases=[Phase.generate, *([Phase.shrink] if shrink else [])], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.fixed_dictionaries(held.given))
    def trial(drawn: Given) -> None:
        last.clear()
        last.update(_by_name(drawn))
        with contextlib.redirect_stdout(io.StringIO()):
            held.holds(answer, **last)

    try:
        if held.given:
            trial()
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                held.holds(answer)
    except Wrong as error:
        return "\n".join([*_inputs(last, answer.called), *(f"    {line}" for line in str(error).splitlines())])
    except (Exception, SystemExit) as error:
        return "\n".join([*_inputs(last, answer.called), *(f"    {line}" for line in _where(error, file).splitlines())])
    return ""


def _by_name(drawn: Given) -> Given:
    found: Given = {}
    for names, value in drawn.items():
        several = names.split(", ")
        found |= dict(zip(several, value, strict=True)) if len(several) > 1 else {names: value}
    return found


def _inputs(drawn: Given, called: Given) -> list[str]:
    """What was drawn; where arrays were made from a seed, the arrays that the answer was called with."""
    if not drawn:
        return []
    told = {**{name: value for name, value in drawn.items() if name != "seed"}, **called} if "seed" in drawn and called else drawn
    lines = [line for name, value in told.items() for line in f"{name} = {written(value, len(name) + 3)}".splitlines()]
    return ["  the smallest input found:", *(f"    {line}" for line in lines)]


def written(value: Any, column: int = 0) -> str:
    """A value as one would type it, beginning at a column."""
    if isinstance(value, np.ndarray):
        text = np.array2string(value, separator=", ", prefix=" " * (column + len("np.array(")))
        return f"np.array({text})".replace("\n\n", "\n")
    if isinstance(value, list) and any(isinstance(part, np.ndarray) for part in value):
        between = ",\n" + " " * (column + 1)
        return f"[{between.join(written(part, column + 1) for part in value)}]"
    return repr(value)


def _where(error: BaseException, file: str) -> str:
    """The error, and the line of the answer that it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines = [error.lineno]
    line = lines[-1] if lines else None
    at = f"line {line}: {linecache.getline(file, line).strip()}\n" if line else ""
    return f"{at}{type(error).__name__}: {error}"


def close(found: Any, right: Any, what: str = "the result", rtol: float = 1e-9) -> None:
    """Expect that numbers agree, in shape too; the message shows both."""
    found, right = np.asarray(getattr(found, "_data", found)), np.asarray(right)
    expect(found.shape == right.shape, f"{what} has shape {found.shape}, expected {right.shape}")
    scale = rtol * max(1.0, float(np.max(np.abs(right), initial=0)))
    agree = np.allclose(found, right, rtol=rtol, atol=scale, equal_nan=True)
    column = max(len(what) + 4, 9)
    expect(agree, f"{what} is {written(found, len(what) + 4)}\n{'expected':{column}}{written(right, column)}")
