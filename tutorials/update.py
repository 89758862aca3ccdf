"""`python -m tutorials.update [N ...]`: bring chapters up to date with the package, all by default.

Rewrites the blocks whose marks say that they hold lines of the package, the ```text blocks that say what a Python block prints, and the
table of contents in README.md.  Read the difference before you commit it: a number that changed may be a mistake that was found.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from models.task import Problem, run
from tutorials.chapter import FOLDER, blocks, chapters, number, outputs, run_all, title
from tutorials.source import MarkError, expected

BEGIN, END = "<!-- contents -->", "<!-- end of contents -->"


def with_lines(text: str) -> str:
    """The page with the lines that its marks name."""
    found = blocks(text)
    lines = text.splitlines()
    for i, block in reversed(list(enumerate(found))):
        try:
            wanted = expected(block, found[:i])
        except MarkError as error:
            raise MarkError(f"line {block.first}: {error}") from None
        if wanted is not None:
            lines[block.first : block.end] = wanted.splitlines()
    return "\n".join(lines) + "\n"


def with_outputs(text: str, name: str) -> str:
    """The page with what its Python blocks print."""
    said = outputs(text)
    lines = text.splitlines()
    for block, printed in reversed(list(run_all(text, name).items())):
        if block in said:
            out = said[block]
            lines[out.first : out.end] = printed.splitlines()
        elif printed:
            lines[block.end + 1 : block.end + 1] = ["", "```text", *printed.splitlines(), "```"]
    return "\n".join(lines) + "\n"


def contents(files: list[Path]) -> str:
    """The table of contents: a line for each chapter."""
    entries = [(file.name, *title(file.read_text(encoding="utf-8"))) for file in files]
    return "\n".join(f"- [{heading}]({name}). {about}" for name, heading, about in entries)


def with_contents(text: str, files: list[Path]) -> str:
    """README.md with the table of contents of these chapters."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{contents(files)}\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    files = {str(number(file)): file for file in chapters()}
    unknown = [a for a in arguments if a not in files]
    if unknown:
        raise Problem(f"there is no chapter {', '.join(unknown)}; there are {', '.join(files)}.")
    for file in [files[a] for a in arguments or files]:
        before = file.read_text(encoding="utf-8")
        try:
            after = with_lines(before)
        except MarkError as error:
            raise Problem(f"{file.name}, {error}") from None
        here = Path.cwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                after = with_outputs(after, file.name)
            finally:
                os.chdir(here)
        if after != before:
            file.write_text(after, encoding="utf-8")
            print(f"rewrote {file.name}")
    readme = FOLDER / "README.md"
    before = readme.read_text(encoding="utf-8")
    if (after := with_contents(before, chapters())) != before:
        readme.write_text(after, encoding="utf-8")
        print("rewrote README.md")
    return 0


if __name__ == "__main__":
    run(main)
