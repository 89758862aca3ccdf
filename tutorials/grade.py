"""`python -m tutorials.grade 2.1 my_answer.py`: judge an answer to an exercise; without a file, say what exercises there are.

Exits with 0 for a right answer, 1 for one that is not, 2 for a command that cannot be followed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models.task import Problem, run
from tutorials.chapter import FOLDER, ROOT, chapters, number
from tutorials.exercise import Exercise, judge


def exercises() -> dict[str, Exercise]:
    """All exercises by number, from tutorials/exercises/chNN.py."""
    found: dict[str, Exercise] = {}
    for file in sorted((FOLDER / "exercises").glob("ch[0-9][0-9].py")):
        for exercise in importlib.import_module(f"tutorials.exercises.{file.stem}").EXERCISES:
            found[exercise.number] = exercise
    return found


def find(wanted: str) -> Exercise:
    """The exercise of that number; Problem where there is none."""
    known = exercises()
    if wanted in known:
        return known[wanted]
    chapter = wanted.split(".", maxsplit=1)[0]
    if not chapter.isdecimal():
        raise Problem(f'"{wanted}" is no exercise; write CHAPTER.EXERCISE, such as {next(iter(known))}.')
    own = [n for n in known if n.split(".")[0] == chapter]
    if own:
        raise Problem(f'chapter {chapter} has no exercise "{wanted}"; it has {", ".join(own)}.')
    raise Problem(f"there is no chapter {chapter} with exercises; there are {', '.join(str(number(path)) for path in chapters())}.")


def listing(chapter: str = "") -> str:
    """The exercises, a line for each, of one chapter or all."""
    return "\n".join(f"{n:>5}  {e.title}" for n, e in exercises().items() if not chapter or n.split(".")[0] == chapter)


def graded(exercise: Exercise, file: Path, seconds: float) -> int:
    """Judge the file in a process of its own, so that an answer that loops, or ends Python, ends nothing else."""
    heading = f"{exercise.number} {exercise.title}: not yet"
    command = [sys.executable, "-m", "tutorials.grade", "--inside", exercise.number, str(file.resolve())]
    env = {**os.environ, "PYTHONUTF8": "1"}
    child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, encoding="utf-8")
    try:
        out, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        print(f"{heading}\n  The answer did not come to an end within {seconds:g} seconds. Is there a loop that never stops?")
        print(f"  If your machine is only slow, allow more: --seconds {3 * seconds:g}")
        return 1
    if child.returncode not in (0, 1) or not out.strip():
        print(f"{heading}\n  The answer ended Python itself, with status {child.returncode}, before it could be judged.")
        return 1
    print(out, end="")
    return child.returncode


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tutorials.grade", description="Judge an answer to an exercise of the book.")
    parser.add_argument("exercise", nargs="?", default="", help="such as 2.1; a chapter's number lists its exercises")
    parser.add_argument("answer", nargs="?", type=Path, help="a Python file that defines what the exercise asks for")
    parser.add_argument("--seconds", type=float, help="how long the answer may take; by default what the exercise allows")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.answer is None:
        if args.exercise and "." not in args.exercise and listing(args.exercise):
            print(listing(args.exercise))
            return 0
        if args.exercise:
            exercise = find(args.exercise)
            raise Problem(f"which file holds the answer? python -m tutorials.grade {exercise.number} my_answer.py")
        print(listing())
        return 0
    exercise = find(args.exercise)
    if not args.answer.is_file():
        raise Problem(f"there is no file {args.answer}.")
    try:
        source = args.answer.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Problem(f"{args.answer} is no text in UTF-8: {error}.") from None
    if not args.inside:
        return graded(exercise, args.answer, args.seconds or exercise.seconds)
    verdict = judge(exercise, source, str(args.answer))
    heading = f"{exercise.number} {exercise.title}: " + ("right" if verdict.right else "not yet")
    print(f"{heading}\n{verdict.text}")
    return 0 if verdict.right else 1


if __name__ == "__main__":
    run(main)
