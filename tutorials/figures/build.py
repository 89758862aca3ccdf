"""From a function that draws to a file that a page shows."""

from __future__ import annotations

import hashlib
import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.task import Problem
from tinygrad_seq.draw import Drawing
from tutorials.chapter import FOLDER

IMAGES = FOLDER / "img"


def figures() -> dict[str, Callable[[], Any]]:
    """The functions that draw, by the name of the picture, from tutorials/figures/chNN.py."""
    found: dict[str, Callable[[], Any]] = {}
    for file in sorted((FOLDER / "figures").glob("ch[0-9][0-9].py")):
        found |= importlib.import_module(f"tutorials.figures.{file.stem}").FIGURES
    return found


def fingerprint(drawing: Any) -> str:
    """A drawing's DOT text in a few letters: what the picture shows, whichever version of Graphviz drew it."""
    return hashlib.sha256(drawing.source.encode()).hexdigest()[:16]


def write(name: str) -> Path:
    """Draw one picture into tutorials/img/NAME.svg: a Drawing of tinygrad_seq.draw, or a figure of matplotlib."""
    known = figures()
    if name not in known:
        raise Problem(f"there is no picture {name}; there are {', '.join(known)}.")
    drawn, path = known[name](), IMAGES / f"{name}.svg"
    text = f"{drawn.svg().rstrip()}\n<!-- dot {fingerprint(drawn)} -->\n" if isinstance(drawn, Drawing) else _plotted(drawn)
    path.write_text(text, encoding="utf-8")
    return path


def _plotted(figure: Any) -> str:
    import matplotlib as mpl

    written = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tinygrad_seq", "svg.fonttype": "none"}):
        figure.savefig(written, format="svg", bbox_inches="tight", metadata={"Date": None})
    return (
        "\n".join(line.rstrip() for line in re.sub(r"<metadata>.*?</metadata>\s*", "", written.getvalue(), flags=re.DOTALL).splitlines())
        + "\n"
    )
