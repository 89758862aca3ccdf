"""Where an op ran, as a picture needs it: in which run of a loop over time, at which step, within which scopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..nn import Module, _walk
from ..record import Node, Place, grad


class Where(NamedTuple):
    """A place, resolved: `loop` is the place around the step, one for each run of a loop; all stand from the outside inwards."""

    loop: Place = None
    around: tuple[str, ...] = ()
    step: int | None = None
    scopes: tuple[str, ...] = ()
    backward: bool = False
    modules: tuple[Module, ...] = ()


@dataclass(eq=False)
class Run:
    """One run of a loop over time: a row of columns.  `steps` stand in the order in which they ran."""

    number: int
    around: tuple[str, ...]
    steps: list[int] = field(default_factory=list)
    stage: int = 0  # runs of one stage share their columns; what they end in begins the next stage, to their right
    row: int = 0  # in the stage, from below

    @property
    def name(self) -> str:
        """The path of the module that ran, without the root's class where there is more."""
        return ".".join(self.around[1:] or self.around)

    @property
    def reverse(self) -> bool:
        """Whether time ran from right to left."""
        return self.steps[0] > self.steps[-1]


class Places:
    """Resolves places, each once."""

    def __init__(self) -> None:
        self._known: dict[int, Where] = {id(None): Where()}
        self._names: dict[tuple[int, int], str] = {}

    def where(self, place: Place) -> Where:
        """The place, resolved.  It must live as long as this object, as its identity stands for it."""
        found = self._known.get(id(place))
        return self._resolved(place) if found is None else found

    def _resolved(self, place: Place) -> Where:
        """From the nearest place around it that is known, inwards."""
        chain = []
        while place is not None and id(place) not in self._known:
            chain.append(place)
            place = place[0]
        where = self._known[id(place)]
        for inner in reversed(chain):
            where = self._known[id(inner)] = self._within(where, *inner)
        return where

    def _within(self, outer: Where, around: Place, label: object) -> Where:
        modules = (*outer.modules, label) if isinstance(label, Module) else outer.modules
        if isinstance(label, int) and outer.step is None:
            return Where(around, outer.scopes, label, (), outer.backward, modules)
        if label is grad:
            return outer._replace(backward=True)
        named = () if any(label is module for module in outer.modules) else (self._name(label, outer),)
        return Where(outer.loop, outer.around, outer.step, outer.scopes + named, outer.backward, modules)

    def _name(self, label: object, outer: Where) -> str:
        """A scope's name; of a module the path to it in the nearest module around, else its class."""
        if not isinstance(label, Module):
            return f"t = {label}" if label.__class__ is int else str(label)
        parent = outer.modules[-1] if outer.modules else None
        key = id(label), id(parent)
        if key not in self._names:
            self._names[key] = _path(label, parent) or type(label).__name__
        return self._names[key]


def _path(module: Module, parent: Module | None) -> str | None:
    return next((name for name, value in _walk(parent, "", set()) if value is module and name), None)


def find_runs(ops: Sequence[Node], places: Places) -> dict[int, Run]:
    """The runs by the identity of their loop's place, in the order in which they began.

    A loop whose body opens the scope, `for t in ...: with scope("rnn"), step(t)`, has a place of its own for each step: places of the same
    names are one run until a step comes again.
    """
    runs: dict[int, Run] = {}
    latest: dict[tuple[str, ...], Run] = {}
    seen: set[tuple[int, int]] = set()
    for place in {id(node._place): node._place for node in ops}.values():
        where = places.where(place)
        if where.step is None or (id(where.loop), where.step) in seen:
            continue
        seen.add((id(where.loop), where.step))
        run = runs.get(id(where.loop))
        if run is None:
            run = latest.get(where.around)
            if run is None or where.loop is None or where.step in run.steps:
                run = latest[where.around] = Run(len({r.number for r in runs.values()}), where.around)
            runs[id(where.loop)] = run
        run.steps.append(where.step)
    return runs
