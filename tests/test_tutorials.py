"""The book is true: every block runs and prints what it says, every line said to be the package's is, every link and picture is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from tinygrad_seq import grad
from tutorials.chapter import FOLDER, ROOT, Block, blocks, chapters, number, outputs, run_all, title
from tutorials.exercises.programs import Program, programs
from tutorials.figures.build import IMAGES, figures, fingerprint, write
from tutorials.figures.walk import walk
from tutorials.source import MarkError, difference, expected, pieces, shown, spans
from tutorials.update import with_contents, with_lines

CHAPTERS = [pytest.param(path, id=path.stem) for path in chapters()]
PAGES = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.md"))]
LONGEST = 25  # lines of a block


@pytest.mark.parametrize("path", CHAPTERS)
def test_each_block_prints_what_the_chapter_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    said = outputs(text)
    for block, printed in run_all(text, path.name).items():
        expected_text = said[block].text if block in said else ""
        assert printed == expected_text, (
            f"{path.name}, line {block.first}: python -m tutorials.update {number(path)}, if what it prints is right"
        )


@pytest.mark.parametrize("path", CHAPTERS)
def test_lines_said_to_be_the_packages_are_the_packages(path: Path) -> None:
    found = blocks(path.read_text(encoding="utf-8"))
    for i, block in enumerate(found):
        wanted = expected(block, found[:i])
        if wanted is not None:
            assert block.text == wanted, f"{path.name}, line {block.first}: python -m tutorials.update {number(path)}"


@pytest.mark.parametrize("path", CHAPTERS)
def test_each_block_is_of_a_kind_that_is_checked(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    answered = list(outputs(text).values())
    for block in blocks(text):
        where = f"{path.name}, line {block.first}"
        assert block.language in ("python", "py", "diff", "text", "sh"), (
            f"{where}: {block.language!r} is a language that no test runs or compares"
        )
        if block.language == "py":
            assert block.mark.startswith(("from ", "not run: ")), f"{where}: which lines of the package, or why does this not run?"
        elif block.language == "diff":
            assert block.mark.startswith("diff "), f"{where}: from what to what?"
        elif block.language == "text":
            assert block in answered or block.mark.startswith("not run: "), f"{where}: no Python block before it prints this"
        else:
            assert not block.mark, f"{where}: this mark belongs before another kind of block"
        assert block.text.count("\n") < LONGEST, f"{where}: {block.text.count(chr(10)) + 1} lines are a wall; {LONGEST} at most"


@pytest.mark.parametrize("path", PAGES)
def test_links_and_pictures_are_there_and_pictures_are_told_in_words(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for bang, words, link in re.findall(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", prose):
        if bang:
            assert len(words) > 20, f"{path.name}: {link} needs words for those who do not see it"
            assert link.startswith("img/"), f"{path.name}: {link}: pictures live in tutorials/img"
        if not link.startswith(("http:", "https:", "#")):
            file, _, anchor = link.partition("#")
            assert (path.parent / file).exists(), f"{path.name}: {link}"
            assert not anchor or anchor in _anchors(path.parent / file), f"{path.name}: {link}: there is no such heading"

    for link in re.findall(r'<a href="([^"]+)"', prose):
        assert (path.parent / link).exists(), f"{path.name}: {link}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", CHAPTERS)
def test_the_prose_is_in_the_books_voice(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for word in ("simply", "obviously", "trivial", "of course", "clearly", "easy to see"):
        assert not re.search(rf"\b{word}", prose, re.IGNORECASE), (
            f'{path.name}: "{word}" tells a reader who does not see it that they should'
        )
    for line in re.sub(r"`[^`\n]*`", "", prose).splitlines():
        assert line.count("$") % 2 == 0, (
            f"{path.name}: mathematics is not broken at the end of a line, where + or - would begin a list: {line}"
        )
    mathematics = re.findall(r"\$.+?\$", prose)
    for eaten in (r"\,", r"\;", r"\!", r"\{", r"\}", r"\_"):
        assert not any(eaten in m for m in mathematics), f"{path.name}: GitHub takes the backslash out of {eaten}"
    assert "\\(" not in prose, f"{path.name}: mathematics stands between $ and $, which GitHub and the site read"
    assert "\\[" not in prose, f"{path.name}: mathematics stands between $$ and $$, which GitHub and the site read"


@pytest.mark.parametrize("path", PAGES)
def test_the_site_can_set_the_mathematics(path: Path) -> None:
    converter = pytest.importorskip("docutils.utils.math.latex2mathml", reason="the site needs the docs extra: pip install -e '.[docs]'")
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for display, inline in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", prose, re.DOTALL):
        converter.tex2mathml(display or inline)


def test_the_table_of_contents_lists_the_chapters() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert readme == with_contents(readme, chapters()), "python -m tutorials.update"


def test_no_two_chapters_have_one_number() -> None:
    numbers = [number(path) for path in chapters()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chapter_says_its_number_and_what_it_is_about(path: Path) -> None:
    heading, about = title(path.read_text(encoding="utf-8"))
    assert heading.startswith(f"{number(path)}. ")
    assert about.endswith((".", "?"))


@pytest.mark.parametrize("name", [name for name, function in figures().items() if function.__annotations__["return"] != "Figure"])
def test_pictures_of_graphs_show_the_graphs_of_today(name: str) -> None:
    suffix = "html" if figures()[name].__annotations__["return"] == "Page" else "svg"
    text = (IMAGES / f"{name}.{suffix}").read_text(encoding="utf-8")
    assert fingerprint(figures()[name]()) in text, f"python -m tutorials.figures {name}, and look at it"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, function in figures().items() if function.__annotations__["return"] == "Figure"])
def test_figures_can_be_drawn_again(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tutorials.figures.build.IMAGES", tmp_path)
    assert write(name).read_text(encoding="utf-8").count("<path") >= 1


def test_every_picture_of_the_book_is_made_by_a_function_and_every_function_says_what_it_gives() -> None:
    assert {function.__annotations__["return"] for function in figures().values()} <= {"Drawing", "Figure", "Page"}
    made = {path.stem for path in IMAGES.glob("[0-9][0-9]_*.html")} | {path.stem for path in IMAGES.glob("[0-9][0-9]_*.svg")}
    assert made == set(figures())


# ---- what checks the chapters is checked ---------------------------------------------------------------------------------------------


def page(*fences: str) -> str:
    return "\n\n".join(fences) + "\n"


def test_blocks_share_a_namespace_and_keep_their_order() -> None:
    text = page("```python\na = 1\n```", "```python\na += 1\nprint(a)\n```", "```text\n2\n```")
    assert list(run_all(text, "page").values()) == ["", "2"]
    assert [block.text for block in outputs(text).values()] == ["2"]


def test_an_error_in_a_block_points_at_its_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as error:
        run_all("# Title\n\n```python\na = 0\n1 / a\n```\n", "page.md")
    assert error.traceback[-1].lineno + 1 == 5


def test_a_text_block_after_prose_says_what_nothing_prints() -> None:
    assert not outputs(page("```python\nprint(1)\n```", "Prose.", "```text\n1\n```"))


def test_a_block_that_is_not_closed_is_noticed() -> None:
    with pytest.raises(ValueError, match="line 1"):
        blocks("```python\n1\n")


def test_spans_hold_decorators_comments_and_all_halves_of_a_property() -> None:
    function = "import a\n\n\n# why\n@d\ndef f():\n    pass\n\n\n"
    text = function + "class C:\n    @property\n    def p(self): ...\n\n    @p.setter\n    def p(self, x): ...\n"
    assert spans(text) == {"imports": (0, 1), "f": (3, 7), "C": (9, 15), "C.p": (10, 15)}


def test_marks_name_all_or_part_of_what_the_package_defines() -> None:
    whole = shown("from tinygrad_seq/ops.py: exp, tanh")
    assert whole.startswith("@op(lambda g, y, x: g * y)\ndef exp(")
    assert whole.endswith("return np.tanh(x)")
    head = shown('from tinygrad_seq/ops.py: tanh until "def"')
    tail = shown('from tinygrad_seq/ops.py: tanh from "def"')
    assert f"{head}\n{tail}" == shown("from tinygrad_seq/ops.py: tanh")
    names = [piece.name for piece in pieces("from tinygrad_seq/ops.py: exp .. sqrt")]
    assert names == ["exp", "log", "sqrt"]


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("from tinygrad_seq/ops.py: tank", "did you mean .*tanh"),
        ("from tinygrad_seq/opps.py: tanh", "no file"),
        ('from tinygrad_seq/ops.py: tanh until "while"', "no line of tanh"),
        ("from tinygrad_seq/ops.py", "a mark reads"),
        ("from tinygrad_seq/ops.py: tanh; exp", "is no NAME"),
    ],
)
def test_a_mark_that_names_nothing_is_refused(mark: str, message: str) -> None:
    with pytest.raises(MarkError, match=message):
        shown(mark)


def test_a_difference_is_between_what_the_chapter_defined_and_what_the_package_has() -> None:
    earlier = [Block("python", "def exp(x):\n    return np.exp(x)", 0, 2)]
    lines = difference("diff exp -> tinygrad_seq/ops.py: exp", earlier).splitlines()
    assert "- def exp(x):" in lines
    assert "+ @op(lambda g, y, x: g * y)" in lines
    assert "      return np.exp(x)" in lines
    with pytest.raises(MarkError, match="no Python block"):
        difference("diff exp -> tinygrad_seq/ops.py: exp", [])


def test_update_puts_the_packages_lines_where_a_mark_names_them() -> None:
    text = "# 1\n\n<!-- from tinygrad_seq/ops.py: exp -->\n```py\nold\n```\n\nEnd.\n"
    new = with_lines(text)
    assert new == text.replace("old", shown("from tinygrad_seq/ops.py: exp"))
    assert with_lines(new) == new


# ---- pages to step through --------------------------------------------------------------------------------------------------------------


@given(programs())
def test_a_walk_ends_with_the_values_and_gradients_of_the_engine(program: Program) -> None:
    tensors = program.tensors()
    y = tensors[-1]
    page = walk(y, "heading", {"y": y})
    written: dict[str, dict[str, str]] = {"value": {}, "gradient": {}}
    for told in page.steps:
        for kind, of in written.items():
            of.update(told.get(kind, {}))
    used = [tensors[k] for k in program.used()]
    gradients = [float(g) for g in grad(y, used)]
    assert [written["gradient"].get(f"n{i}") for i in range(len(used))] == [_digits(g) for g in gradients]
    assert [written["value"].get(f"n{i}", "leaf") for i, x in enumerate(used)] == [_digits(x.item()) if x._op else "leaf" for x in used]


def _digits(number: float) -> str:
    return f"{number:.4g}".replace("-", "−")


# ---- notebooks -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_notebook_has_the_chapters_python_as_its_cells(path: Path) -> None:
    jupytext = pytest.importorskip("jupytext", reason="notebooks need the docs extra: pip install -e '.[docs]'")
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="md")
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert cells == [block.text for block in blocks(text) if block.language == "python"]


@pytest.mark.parametrize("page", ["README.md", "tutorials/README.md"])
def test_the_command_for_notebooks_needs_no_more_than_it_installs(page: str, tmp_path: Path) -> None:
    """Setting the kernel takes ipykernel, which is in the notebooks extra."""
    pytest.importorskip("ipykernel", reason="notebooks need the notebooks extra: pip install -e '.[notebooks]'")
    text = (ROOT / page).read_text(encoding="utf-8")
    (command,) = re.findall(r"pip install -e '\.\[notebooks\]' && \.venv/bin/jupytext ([^`\n]*) tutorials/", text)
    chapter = tmp_path / "chapter.md"
    chapter.write_text(chapters()[0].read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "jupytext", *command.split(), str(chapter)], check=True, capture_output=True)
    assert json.loads(chapter.with_suffix(".ipynb").read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    jupytext = pytest.importorskip("jupytext", reason="notebooks need the docs extra: pip install -e '.[docs]'")
    nbclient = pytest.importorskip("nbclient", reason="running notebooks needs pip install -e '.[notebooks]'")
    pytest.importorskip("ipykernel", reason="running notebooks needs pip install -e '.[notebooks]'")
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="md")
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
