"""Lines of the package, found by the names of what they define, so that a page can show them and a test can say that they are the same.

A mark reads `from PATH: ITEM, ITEM, ...`, where an item is

    fitted, Node.backward               all lines of what has that name, with its decorators and the comment above it
    ops.py's  exp .. sqrt               all from one to the other, in the order of the file
    op until "def define"               its lines up to the first that begins so, or
    op from "def define" until "..."    from there on; what a page shows in parts it may show in as many as it likes
    imports                             the import lines of the module
"""

from __future__ import annotations

import ast
import difflib
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tutorials.chapter import ROOT, Block


class MarkError(Exception):
    """A mark that names what is not there."""


@dataclass(frozen=True)
class Piece:
    """Lines `first` to `end` (from 0, end not included) of a module: all of `name`, or a part of it."""

    path: str
    name: str
    first: int
    end: int

    @property
    def text(self) -> str:
        return "\n".join(_module(self.path).lines[self.first : self.end])


@dataclass(frozen=True)
class _Module:
    lines: list[str]
    spans: dict[str, tuple[int, int]]  # in the order of the file


def spans(text: str) -> dict[str, tuple[int, int]]:
    """The lines of everything that a module defines, by name: functions, classes, Class.method, assignments, and the imports as one."""
    lines, found = text.splitlines(), dict[str, tuple[int, int]]()

    def add(name: str, node: ast.stmt) -> None:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        while first and lines[first - 1].lstrip().startswith("#") and not lines[first - 1].lstrip().startswith("# ---"):
            first -= 1
        old = found.get(name, (first, first))
        found[name] = min(old[0], first), max(old[1], node.end_lineno or 0)

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            for name in _names(node):
                add(prefix + name, node)
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}.")

    walk(ast.parse(text).body, "")
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return ["imports"]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@cache
def _module(path: str) -> _Module:
    file = ROOT / path
    if not file.is_file():
        raise MarkError(f"there is no file {path}")
    text = file.read_text(encoding="utf-8")
    return _Module(text.splitlines(), spans(text))


_ITEM = re.compile(r'([\w.]+)(?: \.\. ([\w.]+))?(?: from "([^"]*)")?(?: until "([^"]*)")?(?:, |$)')


def pieces(mark: str) -> list[Piece]:
    """The pieces that a mark `from PATH: ITEM, ...` names.  Raises MarkError where there is no such thing."""
    head = re.fullmatch(r"from ([\w/.]+): (.+)", mark)
    if not head:
        raise MarkError(f'a mark reads "from PATH: NAME, NAME", not "{mark}"')
    path, rest = head.groups()
    found: list[Piece] = []
    while rest:
        item = _ITEM.match(rest)
        if not item:
            raise MarkError(f'"{rest}" is no NAME, NAME .. NAME, or NAME from "..." until "..."')
        rest = rest[item.end() :]
        name, last, start, stop = item.groups()
        found += _range(path, name, last) if last else [_part(path, name, start, stop)]
    return found


def _span(path: str, name: str) -> tuple[int, int]:
    known = _module(path).spans
    if name not in known:
        close = difflib.get_close_matches(name, known, 3)
        raise MarkError(f"{path} defines no {name}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    return known[name]


def _range(path: str, name: str, last: str) -> Iterator[Piece]:
    first, end = _span(path, name)[0], _span(path, last)[1]
    depth = name.count(".")
    for each, (a, b) in _module(path).spans.items():
        if first <= a and b <= end and each.count(".") == depth:
            yield Piece(path, each, a, b)


def _part(path: str, name: str, start: str | None, stop: str | None) -> Piece:
    first, end = _span(path, name)
    lines = _module(path).lines
    begin = _find(path, name, start, first, end) if start else first
    finish = _find(path, name, stop, begin + 1, end) if stop else end
    while not lines[finish - 1].strip():
        finish -= 1
    return Piece(path, name, begin, finish)


def _find(path: str, name: str, text: str, first: int, end: int) -> int:
    lines = _module(path).lines
    for i in range(first, end):
        if lines[i].strip().startswith(text):
            return i
    raise MarkError(f'{path}: no line of {name} begins with "{text}"')


def shown(mark: str) -> str:
    """The lines that a block with this mark holds: its pieces, with the blank lines between them that a file would have."""
    found = pieces(mark)
    text = found[0].text
    for before, piece in itertools.pairwise(found):
        between = _module(piece.path).lines[before.end : piece.first]
        follows = before.end <= piece.first and not "".join(between).strip()
        blank = len(between) if follows else 1 if "." in piece.name else 2
        text += "\n" * (blank + 1) + piece.text
    return text


def difference(mark: str, earlier: list[Block]) -> str:
    """A block marked `diff NAME -> PATH: NAME`: from what the chapter last defined under the first name to what the package has."""
    match = re.fullmatch(r"diff ([\w.]+) -> (.+)", mark)
    if not match:
        raise MarkError(f'a mark of a diff reads "diff NAME -> PATH: NAME", not "{mark}"')
    name, target = match.groups()
    for block in reversed(earlier):
        if block.language == "python" and name in (own := spans(block.text)):
            before = block.text.splitlines()[slice(*own[name])]
            break
    else:
        raise MarkError(f"no Python block before this one defines {name}")
    old, new = (textwrap.dedent("\n".join(before)).splitlines(), textwrap.dedent(shown(f"from {target}")).splitlines())
    lines = list(difflib.unified_diff(old, new, n=max(len(old), len(new)), lineterm=""))[3:]  # after the three lines of its head
    return "\n".join(f"{line[0]} {line[1:]}".rstrip() for line in lines)


def expected(block: Block, earlier: list[Block]) -> str | None:
    """What a marked block must hold, or None for one that is not taken from the package."""
    if block.mark.startswith("from "):
        return shown(block.mark)
    return difference(block.mark, earlier) if block.mark.startswith("diff ") else None
