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
from tutorials.figures.walk import Page

IMAGES = FOLDER / "img"


def figures() -> dict[str, Callable[[], Any]]:
    """The functions that draw, by the name of the picture, from tutorials/figures/chNN.py."""
    found: dict[str, Callable[[], Any]] = {}
    for file in sorted((FOLDER / "figures").glob("ch[0-9][0-9].py")):
        found |= importlib.import_module(f"tutorials.figures.{file.stem}").FIGURES
    return found


def fingerprint(drawn: Drawing | Page) -> str:
    """A comment that stands in the file: what a picture or page shows, in a few letters, whichever version of Graphviz drew it."""
    if isinstance(drawn, Page):
        return f"<!-- steps {drawn.fingerprint} -->"
    return f"<!-- dot {hashlib.sha256(drawn.source.encode()).hexdigest()[:16]} -->"


def write(name: str) -> Path:
    """Draw one picture into tutorials/img/NAME.svg: a Drawing of tinygrad_seq.draw, or a figure of matplotlib; a Page into NAME.html."""
    known = figures()
    if name not in known:
        raise Problem(f"there is no picture {name}; there are {', '.join(known)}.")
    drawn = known[name]()
    path = IMAGES / f"{name}.{'html' if isinstance(drawn, Page) else 'svg'}"
    if isinstance(drawn, Drawing):
        text = f"{drawn.svg().rstrip()}\n{fingerprint(drawn)}\n"
    else:
        text = drawn.html if isinstance(drawn, Page) else _plotted(drawn)
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
