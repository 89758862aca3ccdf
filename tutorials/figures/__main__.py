"""`python -m tutorials.figures [NAME ...]`: draw the pictures of the book into tutorials/img, all by default."""

from __future__ import annotations

from collections.abc import Sequence

from models.task import run
from tutorials.figures.build import figures, write


def main(arguments: Sequence[str]) -> int:
    for name in arguments or figures():
        print(write(name))
    return 0


if __name__ == "__main__":
    run(main)
