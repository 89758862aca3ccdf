"""The book as a site: `python -m sphinx -W --keep-going tutorials build/site`, with nothing that is not in the folder it makes.

The chapters are plain Markdown, as GitHub shows them.  Nothing is executed here: the tests run every block.  Mathematics becomes MathML,
by docutils, since Sphinx's own way to it loads a script from elsewhere.
"""

from __future__ import annotations

import itertools
import re
import shutil
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
smartquotes = False  # m' is a letter with a prime
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
maximum_signature_line_length = 80
pygments_style = "friendly"
pygments_dark_style = "github-dark"


# docutils sets no space between the name of a function and what it is of: logp.
_FUNCTION = re.compile(r"(\\(?:log|ln|tanh|exp|max|min)(?:[_^]\w)?) (?=[\w\\])(?!\\left)")


def _math(self: Any, node: nodes.Element) -> None:
    tex = _FUNCTION.sub(r"\1\\, ", node.astext())
    try:
        formula = tex2mathml(tex, as_block=node.tagname == "math_block")
        self.body.append(f'<span class="whole">{formula}{node["then"]}</span>' if "then" in node else formula)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
    raise nodes.SkipNode


def _keep_what_ends_a_formula(_: Any, tree: nodes.document) -> None:
    """A line must not begin with the comma after a formula, and browsers break lines there: the two become one."""
    for formula in list(tree.findall(nodes.math)):
        after = formula.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.Text) and (end := re.match(r"[.,;:?!)]+|'s\b", after)):
            formula["then"] = end[0]
            formula.parent.replace(after, nodes.Text(after[end.end() :]))


def _say_where_lines_are_from(_: Any, __: str, source: list[str]) -> None:
    """Above a block of the package's lines, its file, in place of the mark that says so in a comment."""
    mark = re.compile(r"^<!-- (?:from|diff [\w.]+ ->) ([\w/.]+): .*-->\n(?=```)", re.MULTILINE)
    source[0] = mark.sub(r'<p class="file">\1</p>\n\n', source[0])


def _as_written(_: Any, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    """A docstring is plain text with examples, indented equations, and `name: what it is` lines: set as what they are, `code` as code."""
    paragraphs = [list(lines) for blank, lines in itertools.groupby(lines, key=lambda line: not line.strip()) if not blank]
    written: list[str] = []
    for paragraph in paragraphs:
        if paragraph[0].startswith(">>>"):
            written += paragraph
        elif paragraph[0].startswith(" "):
            written += ["::", "", *paragraph]
        elif len(paragraph) > 1 and all(" = " in line for line in paragraph):
            written += [f"| {_escaped(line)}" for line in paragraph]
        elif re.match(r"[\w, ]+: ", paragraph[0]) and any(re.match(r"( |[\w, ]+: )", line) for line in paragraph[1:]):
            for line in paragraph:
                starts = not line.startswith(" ")
                written += [f"- {_escaped(line)}" if starts else f"  {_escaped(line.strip())}"]
        else:
            written += [_escaped(line.strip()) for line in paragraph]
        written.append("")
    lines[:] = written


def _say_nothing_of_fields(_: Any, __: str, ___: str, member: Any, skip: bool, ____: Any) -> bool | None:
    """Fields of named tuples are told of in the docstring of their class."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


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


def _with_pages(app: Any, error: Exception | None) -> None:
    """The pages to step through, where the chapters' links look for them."""
    if error is None and app.builder.format == "html":
        for page in (Path(__file__).parent / "img").glob("*.html"):
            target = Path(app.outdir) / "img" / page.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(page, target)


def setup(app: Any) -> None:
    app.add_html_math_renderer("mathml", (_math, None), (_math, None))
    app.connect("build-finished", _with_pages)
    app.connect("doctree-read", _keep_what_ends_a_formula)
    app.connect("source-read", _say_where_lines_are_from)
    app.connect("autodoc-process-docstring", _as_written)
    app.connect("autodoc-skip-member", _say_nothing_of_fields)
