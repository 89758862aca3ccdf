"""The book as a site: `python -m sphinx -W --keep-going tutorials build/site`, with nothing that is not in the folder it makes.

The chapters are plain Markdown, as GitHub shows them.  Nothing is executed here: the tests run every block.  Mathematics becomes MathML,
by docutils, since Sphinx's own way to it loads a script from elsewhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent.parent))

project = "tinygrad_seq"
author = "tinygrad_seq"
copyright = "the authors of tinygrad_seq"
html_title = "tinygrad_seq, the book"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["README.md", "solutions", "exercises", "figures", "_static"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # parts of functions, as chapters show them, are no whole program
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
maximum_signature_line_length = 80
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def _math(self: Any, node: nodes.Element) -> None:
    try:
        self.body.append(tex2mathml(node.astext(), as_block=node.tagname == "math_block"))
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
    raise nodes.SkipNode


def _say_where_lines_are_from(_: Any, __: str, source: list[str]) -> None:
    """Above a block of the package's lines, its file, in place of the mark that says so in a comment."""
    mark = re.compile(r"^<!-- (?:from|diff [\w.]+ ->) ([\w/.]+): .*-->\n(?=```)", re.MULTILINE)
    source[0] = mark.sub(r'<p class="file">\1</p>\n\n', source[0])


def _as_written(_: Any, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    """A docstring is plain text with examples and indented equations: kept as it is written, with `code` between backquotes."""
    written: list[str] = []
    for i, line in enumerate(lines):
        if line.startswith(" ") or not line.strip():
            starts = line.startswith(" ") and (i == 0 or not lines[i - 1].strip() or not lines[i - 1].startswith(" "))
            written += ["", "::", ""] if starts else []
            written.append(line)
        elif line.startswith(">>>") or (written and written[-1].startswith(">>>") and line.strip()):
            written.append(line)
        else:
            before = [""] if i and lines[i - 1].startswith(" ") else []
            written += [*before, _escaped(line)]
    lines[:] = written


def _escaped(line: str) -> str:
    parts = re.split(r"(:\w+:`[^`]*`|`[^`]*`)", line)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"([\\*|_])", r"\\\1", part)
        elif part.startswith(":"):
            parts[i] = f"``{part.split('`')[1]}``"
        else:
            parts[i] = f"`{part}`"
    return "".join(parts)


def setup(app: Any) -> None:
    app.add_html_math_renderer("mathml", (_math, None), (_math, None))
    app.connect("source-read", _say_where_lines_are_from)
    app.connect("autodoc-process-docstring", _as_written)
