"""The README tells the truth: its code runs and prints what its comments say, its commands are those that CI runs, its files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutorials.chapter import ROOT, Block, blocks, outputs, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block for block in blocks(README) if block.language == "python"]


@pytest.mark.parametrize("block", BLOCKS, ids=[f"line {block.first}" for block in BLOCKS])
def test_each_block_runs_and_prints_what_it_says(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygraphviz", reason="without a renderer the drawing in the README cannot be made")
    if "import torch" in block.text:
        pytest.importorskip("torch", reason="PyTorch is no dependency; its lines are run where it is installed")
    monkeypatch.chdir(tmp_path)
    printed = run(block, {"__name__": "__readme__"}, "README.md")
    said = "\n".join(re.findall(r"^print\(.*\)\s+# (.*)$", block.text, re.MULTILINE))
    assert printed == (outputs(README)[block].text if block in outputs(README) else said)


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
