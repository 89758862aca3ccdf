"""How large text and frames are, estimated, as there is no renderer to ask."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from unicodedata import combining, east_asian_width

from .items import Item

TALL = "tall"  # the key of an item that stands for hidden steps and is as high as its row


def text_width(words: str, size: float) -> float:
    """How many points a text of a font size takes at most in the widest of the fonts in use."""
    return size * sum(
        0.0
        if combining(c)
        else 1.0
        if c in "MWmw@%…=+−×÷<>" or east_asian_width(c) in "WF"
        else 0.8
        if c.isupper()
        else 0.4
        if c in " .,:;'|!()[]-"
        else 0.64
        for c in words
    )


def font_size(words: str) -> float:
    """Words are larger than whole expressions."""
    return 13.0 if len(words) < 8 and not (":" in words or words[0] == "[") else 10.0


_FRAMES = {  # least width, margin, stretch
    "constant": (4.0, 4.0, 1.0), "parameter": (26.0, 8.0, 1.0), "input": (40.0, 16.0, 1.15), "detached": (40.0, 16.0, 1.15),
}  # fmt: skip


def size(item: Item) -> tuple[float, float]:
    """The width and height of an item's text and frame; an ellipse needs more room, as it narrows above and below its middle."""
    return (120.0, 40.0) if item.key == TALL else _size(item.look, item.words, item.note)


@lru_cache(4096)
def _size(look: str, words: str, note: str) -> tuple[float, float]:
    least, margin, stretch = _FRAMES.get(look, (32.0, 11.0, 1.0))
    notes = note.splitlines()
    widest = max([text_width(words, font_size(words)), *(text_width(line, 9.0) for line in notes)])
    width = max(least, margin + stretch * widest)
    return 2.0 * ceil(width / 2), 18.0 if look == "constant" else 26.0 + (10.0 + 11.0 * (len(notes) - 1) if notes else 0.0)
