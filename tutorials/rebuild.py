"""`python -m tutorials.rebuild FOLDER`: the engine as the chapters show it, and nothing else: record.py, ops.py and tensor.py.

What a chapter shows of a module is appended to it in the order of the book; a method goes to its class, a part of a function to its parts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tutorials.chapter import Block, blocks, chapters
from tutorials.source import Piece, pieces

ENGINE = ("tinygrad_seq/record.py", "tinygrad_seq/ops.py", "tinygrad_seq/tensor.py")


def marked(files: Iterable[Path]) -> list[Block]:
    """The blocks of these chapters that hold lines of the package."""
    return [b for file in files for b in blocks(file.read_text(encoding="utf-8")) if b.language == "py" and b.mark.startswith("from ")]


def assembled(path: str, found: Iterable[Block]) -> str:
    """The module `path`, built of the blocks that show lines of it."""
    parts: dict[str, list[str]] = {}
    methods: dict[str, dict[str, list[str]]] = {}
    for block in found:
        for piece, text in _split(block):
            if piece.path != path:
                continue
            owner, _, method = piece.name.partition(".")
            own = methods.setdefault(owner, {}) if method else parts
            shown = own.setdefault(method or owner, [])
            if text not in shown:  # a line may be shown twice
                shown.append(text)
    text = ""
    for name in sorted(parts, key=lambda name: name != "imports"):  # imports first, all else as it comes
        text += "\n".join(parts[name]) + "\n\n"
        for lines in methods.get(name, {}).values():
            text += "\n".join(lines) + "\n\n"
    return text


def _split(block: Block) -> list[tuple[Piece, str]]:
    """The pieces of a block, each with its lines in the block."""
    lines, at, found = block.text.splitlines(), 0, []
    for piece in pieces(block.mark):
        length = piece.end - piece.first
        while at < len(lines) and not lines[at].strip():
            at += 1
        found.append((piece, "\n".join(lines[at : at + length])))
        at += length
    return found


def main(folder: Path) -> None:
    found = marked(chapters())
    for path in ENGINE:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(assembled(path, found), encoding="utf-8")
        print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
