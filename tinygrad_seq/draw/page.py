"""A drawing as a page to step through: one file that holds all it needs, opens from the disk, and asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any


def page(svg: str, title: str, story: Mapping[str, Any]) -> str:
    """The HTML of a picture and its story, as `tell` gives it.

    The browser is told to run no script but the page's own, known by its hash, and to load nothing, whatever a name in the graph may hold.
    """
    parts = files(__package__)
    style, script = ((parts / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The data stands in a script element, which "</script>" would end.
    data = json.dumps(story, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return Template((parts / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title), hash=f"sha256-{digest}", css=style, script=script, svg=svg[svg.index("<svg") :], data=data
    )
