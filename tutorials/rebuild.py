"""`python -m tutorials.rebuild FOLDER`: the engine as the chapters show it, and nothing else: record.py, ops.py and tensor.py.

What a chapter shows of a module is appended to it in the order of the book; a method goes to its class, a part of a function to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from models.task import Problem, run
from tutorials.chapter import Block, blocks, chapters
from tutorials.source import Piece, pieces

ENGINE = ("tinygrad_seq/record.py", "tinygrad_seq/ops.py", "tinygrad_seq/tensor.py")


def marked(files: Iterable[Path]) -> list[Block]:
    """The blocks of these chapters that hold lines of the package; of a difference, the lines that it leads to."""
    found = [block for file in files for block in blocks(file.read_text(encoding="utf-8"))]
    return [_reached(b) if b.language == "diff" else b for b in found if b.mark.startswith(("from ", "diff "))]


def _reached(block: Block) -> Block:
    mark = f"from {block.mark.split(' -> ')[1]}"
    indent = "    " if "." in pieces(mark)[0].name else ""  # a difference shows a method without its class
    lines = [line[2:] for line in block.text.splitlines() if not line.startswith("-")]
    return replace(block, language="py", mark=mark, text="\n".join(indent + line if line else line for line in lines))


def assembled(path: str, found: Iterable[Block]) -> str:
    """The module `path`, built of the blocks that show lines of it."""
    shown: dict[str, list[tuple[Piece, str]]] = {}
    for block in found:
        for piece, text in _split(block):
            before = shown.setdefault(piece.name, []) if piece.path == path else []
            if piece not in [p for p, _ in before]:  # a line may be shown twice
                before.append((piece, text))
    text = ""
    for name in sorted(shown, key=lambda name: name != "imports"):  # imports first, all else as it comes
        if "." not in name:
            methods = [method for method in shown if method.startswith(f"{name}.")]
            text += "\n\n".join(_joined(shown[each]) for each in (name, *methods)) + "\n\n\n"
    return text


def _joined(parts: list[tuple[Piece, str]]) -> str:
    """The parts of one definition, in the order of the module, with the blank line that a page leaves out between two.

    A line that stands in two parts, as chapters that cut a function differently show it twice, counts once.
    """
    lines: list[str] = []
    end = min(piece.first for piece, _ in parts)
    for piece, part in sorted(parts, key=lambda part: (part[0].first, -part[0].end)):
        lines += [""] * (piece.first - end)
        lines += part.splitlines()[max(0, end - piece.first) :]
        end = max(end, piece.end)
    return "\n".join(lines)


def _split(block: Block) -> list[tuple[Piece, str]]:
    """The pieces of a block, each with its lines in the block."""
    lines, at, found = block.text.splitlines(), 0, []
    for piece in pieces(block.mark):
        while at < len(lines) and not lines[at].strip():
            at += 1
        length = piece.end - piece.first
        found.append((piece, "\n".join(lines[at : at + length])))
        at += length
    return found


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        raise Problem("which folder shall hold the engine? python -m tutorials.rebuild FOLDER")
    found = marked(chapters())
    for path in ENGINE:
        target = Path(arguments[0]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(assembled(path, found), encoding="utf-8")
        print(target)
    return 0


if __name__ == "__main__":
    run(main)
