"""Every public name of the package stands in the reference, from its docstring, or in a chapter."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import tinygrad_seq
from tutorials.chapter import FOLDER, blocks, chapters

MODULES = [f"tinygrad_seq.{module.name}" for module in pkgutil.iter_modules(tinygrad_seq.__path__) if not module.name.startswith("_")]
LISTED = re.findall(r"^\.\. automodule:: (\S+)", (FOLDER / "reference.rst").read_text(encoding="utf-8"), re.MULTILINE)
WORDS = {word for path in chapters() for block in blocks(path.read_text(encoding="utf-8")) for word in re.findall(r"\w+", block.text)}


def offered(module: str) -> Iterator[tuple[str, Any]]:
    """What a module offers: its functions and classes, and the public methods of these, by dotted name."""
    m = importlib.import_module(module)
    names = getattr(m, "__all__", None) or [
        name
        for name, value in vars(m).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module
    ]
    for name in names:
        value = getattr(m, name)
        yield f"{module}.{name}", value
        if isinstance(value, type):
            for part, member in vars(value).items():
                if not part.startswith("_") and (callable(member) or isinstance(member, property)):
                    yield f"{module}.{name}.{part}", member


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference_or_in_a_chapter(module: str) -> None:
    missing = [
        name
        for name, value in offered(module)
        if not (module in LISTED and getattr(value, "__doc__", None)) and name.rpartition(".")[2] not in WORDS
    ]
    assert not missing, f"neither in tutorials/reference.rst, by a docstring, nor in a chapter: {', '.join(missing)}"


def test_the_reference_lists_what_there_is() -> None:
    for module in LISTED:
        importlib.import_module(module)


def test_a_name_that_stands_nowhere_is_noticed() -> None:
    assert "tinygrad_seq.nn.Linear.forward" in dict(offered("tinygrad_seq.nn"))
    assert "tinygrad_seq.ops.tanh" in dict(offered("tinygrad_seq.ops"))
    assert "tinygrad_seq.check.check_op" in dict(offered("tinygrad_seq.check"))
    assert "unheard_of" not in WORDS
