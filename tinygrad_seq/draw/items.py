"""What a picture consists of: items, edges, and the graph that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .places import Run

START = "start"  # the step of an initial state


@dataclass(eq=False, slots=True)
class Item:
    """One node of the picture.  It stands in a block: stage, row (odd: a run's, even: what lies between runs) and step."""

    id: str
    look: str
    words: str
    key: Any  # what it is called in its block: items of other steps with the same key do the same
    nodes: tuple[Any, ...] = ()  # the record's, one unless folded; none for a constant
    note: str = ""
    name: str = ""
    scopes: tuple[str, ...] = ()
    stage: int = 0
    row: int = 0
    step: Any = None  # a number, START, or None in an even row
    order: int = -1  # when it was made; -1 for constants
    gradient: float | None = None  # ||dL/dx||, where it is painted
    fill: str = ""
    ink: str = ""
    slot: Any = None  # its place in the block's template
    x: int = 0
    y: int = 0
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        if self.nodes:
            self.order = self.nodes[-1]._order

    @property
    def block(self) -> tuple[int, int, Any]:
        """Where it stands."""
        return self.stage, self.row, self.step

    @property
    def rect(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of its frame, when it is laid out."""
        return self.x - self.width / 2, self.y - self.height / 2, self.x + self.width / 2, self.y + self.height / 2


@dataclass(eq=False, slots=True)
class Edge:
    """Operand `operand` of head comes from tail."""

    tail: Item
    head: Item
    operand: int
    look: str = ""
    words: str = ""
    width: float = 0.0  # where gradients are painted
    plan: Any = None  # how it goes, when it is laid out; its line then is `line`, moved by x, y
    line: Any = None
    x: int = 0
    y: int = 0

    @property
    def points(self) -> list[tuple[float, float]]:
        """The control points of its line's Bézier pieces, then the tip of its arrow."""
        return [(x + self.x, y + self.y) for x, y in [*self.line.points, self.line.tip]]


@dataclass
class Graph:
    """Items and edges in the order of creation, the runs, and what is known of single steps and of the whole."""

    items: list[Item] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    masked: dict[tuple[int, int, Any], str] = field(default_factory=dict)  # by block
    captions: dict[tuple[int, int, Any], str] = field(default_factory=dict)  # of blocks, where they do not say t = 3
    remark: str = ""
    scale: tuple[float, float] | None = None  # log10 of the least and the greatest gradient that is painted

    def caption(self, block: tuple[int, int, Any]) -> str:
        """What the box of a step says: t = 3, and whether it is masked."""
        step = f"t = {block[2]}" if isinstance(block[2], int) else ""
        return ", ".join(filter(None, [self.captions.get(block, step), self.masked.get(block, "")]))

    def run_of(self, item: Item) -> Run | None:
        """The run that an item belongs to, if any."""
        return next((run for run in self.runs if (run.stage, 2 * run.row + 1) == (item.stage, item.row)), None)
