"""The grader: right answers pass, wrong ones fail by a property, on a small input; what cannot be judged gets an exact message."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from models.task import Problem
from tutorials.chapter import FOLDER, ROOT, chapters, number
from tutorials.exercise import Answer, Exercise, Property, close, expect, judge
from tutorials.grade import exercises, find, graded, main

SOLUTIONS = FOLDER / "solutions"
WRONG = sorted((SOLUTIONS / "wrong").glob("*.py"))


@pytest.mark.parametrize("exercise", exercises().values(), ids=lambda e: e.number)
def test_the_reference_solution_is_right(exercise: Exercise) -> None:
    source = (SOLUTIONS / f"{exercise.number}.py").read_text(encoding="utf-8")
    verdict = judge(exercise, source, f"{exercise.number}.py")
    assert verdict.right, verdict.text


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_answer_breaks_a_property(path: Path) -> None:
    exercise = find(path.stem.partition("-")[0])
    verdict = judge(exercise, path.read_text(encoding="utf-8"), path.name, shrink=False)
    assert not verdict.right
    assert verdict.broken, f"it should break a property, and instead: {verdict.text}"


def test_each_exercise_has_a_solution_a_wrong_answer_and_hints() -> None:
    known = exercises()
    assert {path.stem for path in SOLUTIONS.glob("*.py")} == set(known)
    assert {path.stem.partition("-")[0] for path in WRONG} == set(known)
    for exercise in known.values():
        assert all(p.hint.endswith((".", "?")) for p in exercise.properties), exercise.number


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_each_chapter_sets_the_exercises_that_are_graded(path: Path) -> None:
    told = re.findall(r"^\*\*(\d+\.\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    graded_here = [n for n, e in exercises().items() if e.chapter == number(path)]
    assert told == graded_here
    assert len(told) >= 3


DOUBLE = Exercise(
    "0.1", "double(x)", ("double",), (Property("it is twice x", lambda answer: _is_four(answer.double(2)), "Add x to itself."),)
)
SAY = Exercise("0.2", "say hello", (), (Property("it says hello", lambda answer: _says_hello(answer.printed), "Mind the spelling."),))


def _is_four(found: object) -> None:
    expect(found == 4, f"double(2) gave {found}, expected 4")


def _says_hello(printed: str) -> None:
    expect(printed.strip() == "hello", f"it says {printed.strip()!r}")


@pytest.mark.parametrize(
    ("exercise", "source", "says"),
    [
        (DOUBLE, "def double(x): return 2 * x", r"holds: it is twice x"),
        (DOUBLE, "def double(x): return x", r"FAILS: it is twice x\n    double\(2\) gave 2, expected 4\n  hint: Add x"),
        (DOUBLE, "def double(x):\n    return 1 / 0", r"FAILS: it is twice x\n    line 2: return 1 / 0\n    ZeroDivisionError"),
        (DOUBLE, "def dabble(x): return x", r"does not define double; it defines dabble"),
        (DOUBLE, "", r"it defines nothing"),
        (DOUBLE, "1 / 0", r"raises before it can be judged\.\nline 1: 1 / 0\nZeroDivisionError: division by zero"),
        (DOUBLE, "def double(x) return x", r"line 1: def double\(x\) return x\nSyntaxError"),
        (DOUBLE, "raise SystemExit(0)", r"SystemExit"),
        (SAY, "print('hello')", r"holds: it says hello"),
        (SAY, "'hello'", r"prints nothing"),
        (SAY, "print('helo')", r"it says 'helo'"),
    ],
)
def test_the_verdict_says_what_is_wrong_and_where(exercise: Exercise, source: str, says: str) -> None:
    verdict = judge(exercise, source)
    assert re.search(says, verdict.text), verdict.text
    assert verdict.right == says.startswith("holds")


def test_the_input_shown_is_the_smallest() -> None:
    verdict = judge(find("1.2"), (SOLUTIONS / "wrong" / "1.2-set.py").read_text())
    assert re.search(r"program = a = 1.0; b = a . a\n", verdict.text), verdict.text


def test_an_answer_that_fails_in_two_ways_is_told_of_one_by_the_names_of_the_exercise() -> None:
    verdict = judge(find("3.2"), (SOLUTIONS / "wrong" / "3.2-no-axis-back.py").read_text())
    assert re.search(r"    g = np.array\(.*\)\n    shape = .*\n    axis = ", verdict.text), verdict.text
    assert "ExceptionGroup" not in verdict.text


def test_arrays_made_from_a_seed_are_shown_as_the_answer_got_them() -> None:
    def holds(answer: Answer, seed: int) -> None:
        x, many = np.full((2, 1), float(seed)), np.zeros(1000)
        close(answer.double(x, [x], many, holds), np.full((2, 1), 2.0 * seed), "double(x)")

    held = Property("it is twice x", holds, "Add x to itself.", {"seed": st.integers(1, 9)})
    verdict = judge(Exercise("0.3", "double(x)", ("double",), (held,)), "def double(x, *others):\n    x += 2\n    return x")
    wanted = """\
  the smallest input found:
    x = np.array([[1.],
                  [1.]])
    argument 2 = [np.array([[1.],
                            [1.]])]
    double(x) is np.array([[3.],
                           [3.]])
    expected     np.array([[2.],
                           [2.]])
"""
    assert wanted in verdict.text, verdict.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["20.1", __file__], "there is no chapter 20"),
        (["1.9", __file__], r'chapter 1 has no exercise "1.9"; it has 1.1, 1.2'),
        (["one", __file__], '"one" is no exercise'),
        (["1.1", "nowhere.py"], "there is no file nowhere.py"),
        (["1.1", str(ROOT / "tutorials/img/step_through.png")], "is no text in UTF-8"),
        (["1.1"], "which file holds the answer"),
        (["20"], "there is no chapter 20"),
    ],
)
def test_a_command_that_cannot_be_followed_says_why(arguments: list[str], message: str) -> None:
    with pytest.raises(Problem, match=message):
        main(arguments)


def test_an_answer_that_loops_is_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answer = tmp_path / "answer.py"
    answer.write_text("while True:\n    pass\n")
    assert graded(find("1.1"), answer, seconds=1) == 1
    assert "did not come to an end within 1 seconds" in capfd.readouterr().out


def test_an_answer_that_ends_python_is_told_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answer = tmp_path / "answer.py"
    answer.write_text("import os\nos._exit(0)\n")
    assert graded(find("1.1"), answer, seconds=60) == 1
    assert "ended Python itself, with status 0" in capfd.readouterr().out


@pytest.mark.parametrize(("file", "status", "says"), [("1.1.py", 0, "right"), ("wrong/1.1-unordered.py", 1, "not yet")])
def test_the_command_judges_a_file(file: str, status: int, says: str) -> None:
    command = [sys.executable, "-m", "tutorials.grade", "1.1", str(SOLUTIONS / file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert f"1.1 leaves(y): what a value was made from: {says}" in done.stdout
