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
    """What a module defines, by name, without comments and layout; a class by its methods."""
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            body, node.body = node.body, []
            found[node.name] = ast.dump(node)
            for i, part in enumerate(body):
                found[f"{node.name}.{getattr(part, 'name', ast.dump(part))}{i * (not hasattr(part, 'name'))}"] = ast.dump(part)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
            name = getattr(node, "name", "")
            found[f"{name or ast.dump(node)}{'#' * sum(key.rstrip('#') == name for key in found)}"] = ast.dump(node)
    return found


@until_complete
@pytest.mark.parametrize("path", ENGINE)
def test_the_chapters_show_every_line_of_the_engine(path: str) -> None:
    real, shown = definitions((ROOT / path).read_text(encoding="utf-8")), definitions(assembled(path, marked(chapters())))
    missing = [name for name, code in real.items() if code not in shown.values()]
    assert not missing, f"no chapter shows these lines of {path} whole: {', '.join(missing)}"
    assert not [name for name, code in shown.items() if code not in real.values()]


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
