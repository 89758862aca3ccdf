"""Folding: several items become one.  Whole scopes, cells or layers; steps that look like their neighbours; all steps onto one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from .graph import VIEWS
from .items import START, Edge, Graph, Item
from .measure import TALL
from .places import Run

Depth = Literal["op", "gate", "cell", "layer"]
Steps = Sequence[int] | slice | Literal["all"]
READABLE = 500  # items: a picture of more is folded unless the reader says how
_ABSORBED = ("parameter", "constant", "input")


def folded(graph: Graph, depth: Depth | None, steps: Steps | None, rolled: bool) -> Graph:
    """The graph at a depth, with some steps drawn or all rolled into one; what is not said is chosen so that it can be read."""
    if depth is not None and depth not in get_args(Depth):
        raise ValueError(f"draw: depth={depth!r}, expected one of {', '.join(get_args(Depth))}.")
    if rolled and steps is not None:
        raise ValueError("draw: rolled=True draws one step that stands for all; leave out steps.")
    everything = len(graph.items)
    result = at_depth(graph, depth or "op")
    if rolled:
        return rolled_up(result)
    if steps is not None:
        return with_steps(result, steps)
    said = ""
    if len(result.items) > READABLE and any(len(run.steps) > 5 for run in graph.runs):
        result = with_steps(result, None)
        said = 'steps="all"'
    if depth is None:
        for coarser in ("gate", "cell"):
            if len(result.items) > READABLE and graph.runs:
                result = at_depth(result, coarser)
                said = f'depth="op"{", steps=" + chr(34) + "all" + chr(34) if "steps" in said else ""}'
    if len(result.items) > READABLE and not graph.runs and depth is None:
        result = elided(result)
        said = 'depth="op"'
    if said:
        result.remark = f"folded to be readable: draw(..., {said}) draws all {everything:,} nodes"
    return result


# ---- depth


def at_depth(graph: Graph, depth: str) -> Graph:
    """gate: each innermost scope is one item; cell: each step of a run is, and each scope outside of them; layer: each run is."""
    if depth == "op":
        return graph
    outer = {item.scopes[:k] for item in graph.items for k in range(len(item.scopes))}
    runs = {(run.stage, 2 * run.row + 1): run for run in graph.runs}
    groups: dict[Any, list[Item]] = defaultdict(list)
    users: dict[Item, set[Any]] = defaultdict(set)
    keys: dict[Item, Any] = {}
    for item in graph.items:
        stays = _ABSORBED if depth == "layer" else (*_ABSORBED, "detached")
        if item.look not in stays and item.step != START:
            key = _group(item, depth, outer)
            if key is not None:
                keys[item] = key
                groups[key].append(item)
    for edge in graph.edges:
        users[edge.tail].add(keys.get(edge.head, edge.head.id))
    for item in graph.items:  # what serves one group alone, and is no input of its own, goes with it
        if item.look in _ABSORBED and item.step != START and not (item.look == "input" and (item.nodes or not item.scopes)):
            serves = users[item]
            if item not in keys and len(serves) == 1 and next(iter(serves)) in groups:
                keys[item] = next(iter(serves))
    made = {key: _grouped(key, items, runs.get((items[0].stage, items[0].row)), depth) for key, items in groups.items()}
    for item in graph.items:
        if item not in keys and (*item.block, item.scopes) in groups:  # its box is now one item, to which it is an input
            item.scopes = item.scopes[:-1]
    into = {item: made[key] for item, key in keys.items()}
    return merged(graph, into | _leaves_of_layers(graph, keys) if depth == "layer" else into)


def _leaves_of_layers(graph: Graph, taken: dict[Item, Any]) -> dict[Item, Item]:
    """What all steps of a run read, as one: its inputs, and what else did not go with it."""
    rows: dict[Any, list[Item]] = defaultdict(list)
    for item in graph.items:
        if item not in taken and item.row % 2 and item.step != START:
            rows[item.stage, item.row, item.key].append(item)
    into: dict[Item, Item] = {}
    for (stage, row, key), items in rows.items():
        words = " … ".join(dict.fromkeys([items[0].words, items[-1].words]))
        one = Item(items[0].id, items[0].look, words, key, tuple(node for item in items for node in item.nodes))
        one.stage, one.row = stage, row
        into |= dict.fromkeys(items, one)
    return into


def _group(item: Item, depth: str, outer: set[tuple[str, ...]]) -> Any:
    """What an item is folded into, if anything."""
    if item.row % 2 and depth != "gate":
        return (item.stage, item.row, item.step if depth == "cell" else None, ())
    if item.scopes and item.scopes not in outer:
        return (*item.block, item.scopes)
    return None


def _grouped(key: Any, items: list[Item], run: Run | None, depth: str) -> Item:
    """The item that stands for several."""
    stage, row, step, scopes = key
    items.sort(key=lambda item: item.order)
    if len(items) == 1 and (not scopes or depth != "gate"):
        items[0].step = step
        return items[0]
    last = items[-1]
    looks = {item.look for item in items}
    look = "output" if "output" in looks else "gradient operation" if looks == {"gradient operation"} else "folded"
    words = scopes[-1] if scopes else (run.name if run and run.name else "step")
    symbols = [item.words for item in items if not (item.nodes and item.nodes[-1]._op and item.nodes[-1]._op.__name__ in VIEWS)]
    if depth == "layer" and run is not None and not scopes:
        note = f"{len(run.steps)} steps"
    elif row % 2 and depth == "cell":
        note = ""
    else:
        note = " ".join(symbols) if 0 < len(symbols) <= 4 else f"{len(items)} operations"
    nodes = tuple(node for item in items for node in item.nodes)
    name = ", ".join(dict.fromkeys(item.name for item in items if item.name)) if depth != "layer" else ""
    folded = Item(last.id, look, words, ("group", scopes), nodes, note=note, name=name, scopes=scopes[:-1] if depth == "gate" else ())
    folded.stage, folded.row, folded.step = stage, row, step
    return folded


def elided(graph: Graph) -> Graph:
    """The first and the last items of a graph without steps, and one for all between."""
    keep = READABLE // 5
    between = [item for item in graph.items[keep:-keep] if item.look != "output"]
    nodes = tuple(node for item in between for node in item.nodes)
    one = Item("between", "hidden", "…", ("between",), nodes, note=f"{len(between):,} nodes")
    return merged(graph, dict.fromkeys(between, one))


# ---- steps


def with_steps(graph: Graph, steps: Steps | None) -> Graph:
    """Some steps as they are, the others of each run as one item for each stretch of them; None: the first two and the last."""
    if steps == "all":
        return graph
    into: dict[Item, Item] = {}
    blocks: dict[Any, list[Item]] = defaultdict(list)
    for item in graph.items:
        if item.row % 2 and item.step != START:
            blocks[item.block].append(item)
    everything = sorted({step for run in graph.runs for step in run.steps})
    for run in graph.runs:
        shown = _shown(steps, sorted(run.steps), everything)
        stretch: list[int] = []
        for step in [*sorted(run.steps), None]:
            if step is not None and step not in shown:
                stretch.append(step)
                continue
            if stretch:
                row = 2 * run.row + 1
                columns = [blocks[run.stage, row, t] for t in stretch]
                hidden = _hidden(run, stretch, columns)
                into |= {item: hidden for column in columns for item in column}
            stretch = []
    return merged(graph, into)


def _shown(steps: Any, own: list[int], everything: list[int]) -> set[int]:
    if steps is None:
        return {*own[:2], own[-1]}
    if isinstance(steps, slice):
        return set(own[steps])
    if isinstance(steps, str) or not isinstance(steps, Iterable) or not all(isinstance(t, int) for t in steps):
        raise TypeError(f'draw: steps={steps!r}, expected step numbers such as [0, 1, -1], a slice or "all".')
    wanted = {t if t >= 0 else everything[-1] + 1 + t for t in steps} if everything else set(steps)
    if unknown := sorted(wanted - set(everything)):
        known = f"from {everything[0]} to {everything[-1]}" if everything else "none: nothing was recorded within step(t)"
        raise ValueError(f"draw: steps={list(steps)} asks for step {unknown[0]}, and the steps are {known}.")
    return wanted


def _hidden(run: Run, stretch: list[int], columns: list[list[Item]]) -> Item:
    kinds = {tuple(item.key for item in column if item.key[0] != "leaf") for column in columns}
    alike = "identical " if len(kinds) == 1 and len(stretch) > 1 else ""
    nodes = tuple(node for column in columns for item in column for node in item.nodes)
    note = f"{len(stretch)} {alike}step{'s' if len(stretch) > 1 else ''}"
    item = Item(f"steps_{run.number}_{stretch[0]}", "hidden", "…", TALL, nodes, note=note)
    item.stage, item.row, item.step = run.stage, 2 * run.row + 1, stretch[0]
    return item


# ---- rolled


def rolled_up(graph: Graph) -> Graph:
    """One step of each run; what goes from step to step goes round, from it to itself."""
    into: dict[Item, Item] = {}
    for run in graph.runs:
        kept = run.steps[min(1, len(run.steps) - 1)]
        row = 2 * run.row + 1
        by_key = {item.key: item for item in graph.items if item.block == (run.stage, row, kept)}
        for item in by_key.values():
            item.name, item.words = _at_t(item.name, kept), _at_t(item.words, kept)
        for item in graph.items:
            if (item.stage, item.row) == (run.stage, row) and item.step not in (kept, START) and item.key in by_key:
                into[item] = by_key[item.key]
        graph.captions[run.stage, row, kept] = f"t = {min(run.steps)} … {max(run.steps)}" if len(run.steps) > 1 else f"t = {kept}"
    lost = [item for item in graph.items if item.row % 2 and item.step != START and item not in into and item.block not in graph.captions]
    return merged(graph, into, set(lost))


def _at_t(name: str, step: int) -> str:
    """A name with t for the number of the step: h_3 -> h_t."""
    if ", " in name:
        return ", ".join(_at_t(part, step) for part in name.split(", "))
    stem, _, number = name.partition(" ")[0].rpartition("_")
    return f"{stem}_t" if stem and number.isdigit() and abs(int(number) - step) <= 1 else name


# ---- what all of them do


def merged(graph: Graph, into: dict[Item, Item], lost: set[Item] | None = None) -> Graph:
    """The graph with items replaced by those that stand for them; edges between the same two become one, from one to itself none.

    One that leads out of hidden steps says how many it stands for.
    """
    lost = lost or set()
    result = Graph(runs=graph.runs, masked=graph.masked, captions=graph.captions, remark=graph.remark)
    items = dict.fromkeys(into.get(item, item) for item in graph.items if item not in lost)
    result.items = sorted(items, key=lambda item: item.order)
    single = set(graph.items) - set(into.values())
    made: dict[Any, Edge] = {}
    count: dict[Any, int] = defaultdict(int)
    for edge in graph.edges:
        if edge.tail in lost or edge.head in lost:
            continue
        tail, head = into.get(edge.tail, edge.tail), into.get(edge.head, edge.head)
        same = (edge.tail.stage, edge.tail.row) == (edge.head.stage, edge.head.row) and START not in (edge.tail.step, edge.head.step)
        goes_round = same and edge.tail.step != edge.head.step and tail.block == head.block and tail.key != TALL and tail.step is not None
        if tail is head and not goes_round:
            continue
        look, words = edge.look, edge.words
        if goes_round and look == "state":
            look, words = "rolled", tail.name or edge.tail.name
        leads_out = tail.key == TALL and head.step is None
        operand = edge.operand if tail.key == TALL or (tail in single and head in single) else int(look == "state")
        key = tail, head, None if leads_out else operand, look
        if key not in made:
            made[key] = Edge(tail, head, operand, look, words)
        elif leads_out:
            count[key] += 1
            made[key].words = f"× {count[key] + 1}"
    result.edges = list(made.values())
    # A leaf that nobody reads any more goes, and what it was cut off from with it.
    reads, read = ({edge.tail for edge in edges} for edges in (result.edges, graph.edges))
    unread = {item for item in (into.get(tail, tail) for tail in read) if item.look in (*_ABSORBED, "detached")} - reads
    result.items = [item for item in result.items if item not in unread]
    result.edges = [edge for edge in result.edges if edge.head not in unread]
    return result
