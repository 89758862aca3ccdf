"""A reader who has only the chapters can rebuild the engine: what they show of it is the engine, and passes the tests of its ops."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tutorials.chapter import ROOT, chapters, number
from tutorials.rebuild import ENGINE, assembled, marked

COMPLETE = {1, 2, 3, 4, 5, 6, 17} <= {number(path) for path in chapters()}
until_complete = pytest.mark.skipif(not COMPLETE, reason="chapters that show lines of the engine are still to be written")


def definitions(text: str) -> dict[str, str]:
    """The statements of a module, and of its classes, without comments and layout; the module's docstring is none of them."""
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        parts: list[ast.stmt] = []
        if isinstance(node, ast.ClassDef):
            parts, node.body = node.body, []
        for part in (node, *parts):
            name = getattr(part, "name", ast.unparse(part).partition("\n")[0])
            found[ast.dump(part)] = f"{node.name}.{name}" if parts and part is not node else name
    docstring = ast.parse(text).body[0]
    return {code: name for code, name in found.items() if code != ast.dump(docstring)}


@until_complete
@pytest.mark.parametrize("path", ENGINE)
def test_the_chapters_show_every_line_of_the_engine(path: str) -> None:
    real = definitions((ROOT / path).read_text(encoding="utf-8"))
    shown = definitions('"""The book\'s."""\n' + assembled(path, marked(chapters())))
    missing = [name for code, name in real.items() if code not in shown]
    assert not missing, f"no chapter shows these lines of {path}, or not whole: {', '.join(missing)}"
    assert set(shown) == set(real)


@until_complete
def test_the_engine_that_the_chapters_show_passes_the_tests_of_the_ops(tmp_path: Path) -> None:
    for folder in ("tinygrad_seq", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "golden", "benchmarks"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in ENGINE:
        (tmp_path / path).unlink()
        (tmp_path / path).write_text(assembled(path, marked(chapters())), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/test_ops.py"]
    env = {**os.environ, "HYPOTHESIS_PROFILE": "brief", "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    where = "import tinygrad_seq, sys; sys.stdout.write(tinygrad_seq.record.__file__)"
    used = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert Path(used.stdout) == tmp_path / "tinygrad_seq" / "record.py"
