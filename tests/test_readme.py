"""The README tells the truth: its code runs and prints what its comments say, its commands are those that CI runs, its files exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", README, re.DOTALL)


@pytest.mark.parametrize(("code", "output"), BLOCKS, ids=[f"block {i}" for i in range(len(BLOCKS))])
def test_each_block_runs_and_prints_what_it_says(code: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygraphviz", reason="without a renderer the drawing in the README cannot be made")
    if "import torch" in code:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "__readme__"})
    said = re.findall(r"^print\(.*\)\s+# (.*)$", code, re.MULTILINE)
    expected = output.splitlines() if output else said
    assert [line.rstrip() for line in printed.getvalue().splitlines()] == [line.rstrip() for line in expected]


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) >= 2


def test_ci_installs_and_tests_with_the_words_of_the_readme() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    commands = re.findall(r"```sh\n(python3 -m venv .*?)```", README, re.DOTALL)
    assert len(commands) == 2
    assert commands[0].strip().endswith(".venv/bin/python -m models.char_lm")
    assert commands[1].strip().endswith(".venv/bin/python -m pytest")
    for part in ("-e '.[dev]'", ".venv/bin/python -m pytest"):
        assert part in ci


def test_every_file_that_the_readme_names_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
