"""`python -m tutorials.figures [NAME ...]`: draw the pictures of the book into tutorials/img, all by default."""

from __future__ import annotations

import sys

from tutorials.figures.build import figures, write

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(figures())
    for name in chosen:
        print(write(name))
