"""Saving and resuming: arrays and a configuration in one file, written whole or not at all, and never executed."""

from __future__ import annotations

import io
import json
import os
import tempfile
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
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # as any new file, which a temporary one is not
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def save(path: str | Path, arrays: Mapping[str, Array], config: Mapping[str, Any]) -> None:
    """Write a checkpoint (NumPy's .npz; the same content gives the same bytes).

    Raises TypeError for an array of objects, which could not be read back safely, OSError where `path` cannot be written.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"save: {name} has dtype object, expected numbers.")
    content: dict[str, Any] = {f"array.{name}": array for name, array in arrays.items()}
    content["config"] = np.array(json.dumps({"format": FORMAT, "config": dict(config)}))
    write_whole(Path(path), lambda file: np.savez(file, **content))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint that `save` wrote.

    Raises FileNotFoundError where there is none, OSError where it cannot be read, ValueError where it is not one, or is damaged.
    Nothing in the file is executed.
    """
    try:
        content = io.BytesIO(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}.") from None
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name.removeprefix("array."): file[name] for name in file.files}
        header = json.loads(str(arrays.pop("config")))
        found, config = header["format"], header.get("config", {})
    except Exception as error:  # whatever a damaged archive makes NumPy, zipfile or zlib say
        raise ValueError(f"{path} is not a checkpoint of this project, or is damaged ({type(error).__name__}: {error}).") from error
    if found != FORMAT:
        raise ValueError(f"{path} says that it is {found!r}, expected {FORMAT!r}.")
    return Checkpoint(arrays, config)
