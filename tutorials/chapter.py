"""A chapter as the tests see it: Markdown, the fenced blocks in it, and what its Python prints.

    ```python   runs, in one namespace for each chapter, in order; what it prints is the ```text block that follows it, exactly
    ```py       lines of the package, with a mark before them that says which: tutorials/source.py; or a fragment, with a mark that says why
                it does not run
    ```diff     the way from a name that the chapter defined to one of the package, with a mark that says both

A mark is an HTML comment on the line before the fence, which no page shows.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the lines of the file (from 0) that the text takes, and the mark before it, or ""."""

    language: str
    text: str
    first: int
    end: int
    mark: str = ""


def chapters() -> list[Path]:
    """The chapters in order: tutorials/NN_name.md."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.md"))


def number(path: Path) -> int:
    """The chapter's number, from its name."""
    return int(path.name[:2])


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page.  Raises ValueError for one that is not closed."""
    found: list[Block] = []
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        if not lines[i].startswith("```"):
            i += 1
            continue
        first = i + 1
        end = next((j for j in range(first, len(lines)) if lines[j].rstrip() == "```"), None)
        if end is None:
            raise ValueError(f"line {first}: this block is not closed")
        mark = re.fullmatch(r"<!-- (.*) -->", lines[i - 1]) if i else None
        found.append(Block(lines[i][3:].strip(), "\n".join(lines[first:end]), first, end, mark[1] if mark else ""))
        i = end + 1
    return found


def outputs(text: str) -> dict[Block, Block]:
    """Of each Python block that has one, the block that says what it prints: ```text, with nothing but blank lines between."""
    found, lines = blocks(text), text.splitlines()
    return {
        a: b
        for a, b in itertools.pairwise(found)
        if a.language == "python" and b.language == "text" and not "".join(lines[a.end + 1 : b.first - 1]).strip()
    }


def run(block: Block, namespace: dict[str, Any], name: str) -> str:
    """What a Python block prints; an error in it points into the page."""
    printed = io.StringIO()
    code = compile("\n" * block.first + block.text, name, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def run_all(text: str, name: str) -> dict[Block, str]:
    """All Python blocks of a page, run in order in one namespace, each with what it prints."""
    namespace: dict[str, Any] = {"__name__": "__chapter__"}
    return {block: run(block, namespace, name) for block in blocks(text) if block.language == "python"}


def title(text: str) -> tuple[str, str]:
    """A chapter's title and the line that says what it is about: the heading, and the paragraph in italics under it."""
    match = re.match(r"# (.+)\n\n\*([^*]+)\*\n", text)
    if not match:
        raise ValueError("a chapter begins with `# N. Title`, a blank line, and one sentence *in italics* that says what it is about")
    return match[1], textwrap.dedent(match[2]).replace("\n", " ")
