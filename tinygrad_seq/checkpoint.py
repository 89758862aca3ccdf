"""Saving and resuming: arrays and a configuration in one file, written whole or not at all, and never executed."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .record import Array

FORMAT = "tinygrad_seq checkpoint 1"


class Checkpoint(NamedTuple):
    """Arrays by name, and what else it takes to go on, as JSON has it."""

    arrays: dict[str, Array]
    config: dict[str, Any]


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call write(file) on a temporary file beside `path` and rename it: `path` has the old content or all of the new, at any moment."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def save(path: str | Path, arrays: Mapping[str, Array], config: Mapping[str, Any]) -> None:
    """Write a checkpoint (NumPy's .npz; the same content gives the same bytes); OSError where `path` cannot be written."""
    content: dict[str, Any] = {f"array.{name}": array for name, array in arrays.items()}
    content["config"] = np.array(json.dumps({"format": FORMAT, **config}))
    write_whole(Path(path), lambda file: np.savez(file, **content))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint that `save` wrote.

    Raises FileNotFoundError where there is none, ValueError where the file is not one, or is damaged.  Nothing in the file is executed.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
            config = json.loads(str(content.pop("config")))
        found = config.pop("format")
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}.") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a checkpoint of this project, or is damaged ({type(error).__name__}: {error}).") from error
    if found != FORMAT:
        raise ValueError(f"{path} says that it is {found!r}, expected {FORMAT!r}.")
    return Checkpoint({name.removeprefix("array."): array for name, array in content.items()}, config)
