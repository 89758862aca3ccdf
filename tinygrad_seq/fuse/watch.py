"""What the code of a cell takes from around it, which a program that was derived from it relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor

Watched = list[tuple[Callable[[], Any], Any]]  # how to see what there is now, and what there was
_ENGINE = __name__.split(".", maxsplit=1)[0]


def watched(step: Any, module: Module) -> Watched:
    """The numbers, arrays and Tensors in global names and closures that the functions of a module, and those they call, refer to."""
    found: Watched = []
    queue = [step, *_functions(module)]
    seen: set[int] = set()
    while queue:
        function = queue.pop()
        if id(function) in seen or (function.__module__ or "").split(".")[0] == _ENGINE:
            continue
        seen.add(id(function))
        for look, value in _references(function):
            if isinstance(value, FunctionType):
                queue.append(value)
            elif isinstance(value, (Tensor, np.ndarray, bool, int, float, complex)):
                found.append((look, value.copy() if isinstance(value, np.ndarray) else value))
    return found


def unchanged(found: Watched) -> bool:
    """Whether all is still what it was."""
    for look, value in found:
        now = look()
        if now is not value and (isinstance(value, Tensor) or type(now) is not type(value) or not np.array_equal(now, value)):
            return False
    return True


def _functions(module: Module) -> Iterator[FunctionType]:
    for part in module.modules():
        for kind in type(part).__mro__:
            yield from (value for value in vars(kind).values() if isinstance(value, FunctionType))
        yield from (value for value in vars(part).values() if isinstance(value, FunctionType))


def _references(function: FunctionType) -> Iterator[tuple[Callable[[], Any], Any]]:
    names, around = list(_names(function.__code__)), function.__globals__
    for name in names:
        if name in around:
            yield _global(around, name), around[name]
    for cell in function.__closure__ or ():
        look = _content(cell)
        yield look, look()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _global(around: dict[str, Any], name: str) -> Callable[[], Any]:
    return lambda: around.get(name)


def _content(cell: CellType) -> Callable[[], Any]:
    def look() -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return None

    return look
