"""Where the items stand: a small layered drawing of each column's band, then columns side by side and bands one above the other."""

from __future__ import annotations

from collections import defaultdict

from .graph import ABOVE, BELOW, GAP, STEP, Graph, Item

ROW, _GUTTER = 62.0, 60.0  # points from level to level, and between columns
_LONGEST_BEND = 30  # levels: an edge that spans more is not led around what stands in between


def lay_out(graph: Graph) -> None:
    """Give each item its place: levels and order within each band, then columns side by side and bands one above the other."""
    _set_beside(graph)
    groups: dict[tuple[int, int], list[Item]] = defaultdict(list)
    aside = {item.id for host in graph.items for item in host.beside}
    for item in sorted(graph.items, key=lambda item: (item.order in graph.ops, item.order)):
        if item.id not in aside:
            groups[item.column, item.band].append(item)
    for edge in graph.edges:
        tail, head = edge.tail, edge.head
        head.outer = head.outer or (tail.column > head.column) - (tail.column < head.column)
        if tail.id not in aside and (tail.column, tail.band) == (head.column, head.band):
            head.below.append(tail)
            tail.above.append(head)
    for group in groups.values():
        _set_levels(group)
    for edge in graph.edges:
        if edge.tail.look in ("parameter", "input") and edge.tail.column != edge.head.column:
            edge.tail.level = edge.head.level
    _add_bends(graph, groups, aside)
    for group in groups.values():
        _set_order(group)
    _assemble(graph, groups)
    for host in graph.items:
        x = host.x + host.width / 2
        for item in host.beside:
            item.x, item.y = x + GAP + item.width / 2, host.y
            x = item.x + item.width / 2


def _set_beside(graph: Graph) -> None:
    """A parameter or constant with one use stands beside the op that uses it, if something else flows into that op from below."""
    uses: dict[str, int] = defaultdict(int)
    operands: dict[str, list[Item]] = defaultdict(list)
    for edge in graph.edges:
        uses[edge.tail.id] += 1
        operands[edge.head.id].append(edge.tail)
    for head in graph.ops.values():
        tails = operands[head.id]
        aside = [item for item in tails if item.look in ("parameter", "constant") and uses[item.id] == 1 and item.column == head.column]
        head.beside = aside[:1] if len(tails) > 1 else []


def _set_levels(group: list[Item]) -> None:
    """The longest path from below; what has nothing below it goes up to just under its first use."""
    for item in group:
        item.level = max((x.level + 1 for x in item.below), default=0)
    for item in group:
        if not item.below and item.above:
            item.level = min(x.level for x in item.above) - 1


def _add_bends(graph: Graph, groups: dict[tuple[int, int], list[Item]], aside: set[str]) -> None:
    """Keep room on every level for the edges that pass it."""
    for edge in graph.edges:
        tail, head = edge.tail, edge.head
        key = head.column, head.band
        if tail.id in aside or (tail.column, tail.band) != key or not 1 < head.level - tail.level <= _LONGEST_BEND:
            continue
        edge.bends = [Item("", "", ("", ""), head.order, *key, head.scopes, level) for level in range(tail.level + 1, head.level)]
        chain = [tail, *edge.bends, head]
        tail.above[tail.above.index(head)] = chain[1]
        head.below[head.below.index(tail)] = chain[-2]
        for under, item, over in zip(chain, edge.bends, chain[2:], strict=False):
            item.below, item.above = [under], [over]
        groups[key] += edge.bends


def _set_order(group: list[Item]) -> None:
    """Place the items of each level near their neighbours, from below and from above in turn."""
    levels: dict[int, list[Item]] = defaultdict(list)
    for item in group:
        levels[item.level].append(item)
    rows = [levels[level] for level in sorted(levels)]
    for row in rows:
        _settle(row, [float(i) for i in range(len(row))])
    for sweep in range(12):
        down, ordered = sweep % 2 == 1, sweep >= 8
        for row in rows[::-1] if down else rows:
            # In the end all that can stands above its inputs, so that chains are upright; only what has none looks up.
            near = [[] if down and ordered and item.below else item.above if down else item.below for item in row]
            _settle(row, [_mean(items, item.x) for items, item in zip(near, row, strict=True)], ordered)


def _mean(neighbours: list[Item], otherwise: float) -> float:
    return sum(item.x for item in neighbours) / len(neighbours) if neighbours else otherwise


def _settle(row: list[Item], wanted: list[float], ordered: bool = False) -> None:
    """Order a row by where its items want to be, a scope's together, and move them as little as keeps them apart."""
    scopes: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for item, x in zip(row, wanted, strict=True):
        scopes[item.scopes].append(x)
    centre = {scope: sum(xs) / len(xs) for scope, xs in scopes.items()}
    ranked = list(zip(row, wanted, strict=True))
    if not ordered:
        ranked.sort(key=lambda pair: (round(centre[pair[0].scopes], 2), pair[0].scopes, round(pair[1], 2), pair[0].outer, pair[0].order))
    row[:] = [item for item, _ in ranked]
    shift, shifts = 0.0, []
    blocks: list[tuple[float, int]] = []  # of items that touch: where their first wants to be on average, and how many they are
    for i, (item, x) in enumerate(ranked):
        shift += row[i - 1].right + GAP + item.width / 2 if i else 0.0
        shifts.append(shift)
        mean, count = x - shift, 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        blocks.append((mean, count))
    starts = [mean for mean, count in blocks for _ in range(count)]
    for item, start, shift in zip(row, starts, shifts, strict=True):
        item.x = start + shift


def _assemble(graph: Graph, groups: dict[tuple[int, int], list[Item]]) -> None:
    """Columns side by side, those of the steps equally wide; bands one above the other, each as high as its highest column."""
    by_column: dict[int, list[Item]] = defaultdict(list)
    steps = []
    base = 0.0
    for band in (BELOW, STEP, ABOVE):
        top = base
        for (column, its_band), group in groups.items():
            for item in group if its_band == band else ():
                item.y = base + ROW * item.level
                top = max(top, item.y + ROW + _GUTTER)
                by_column[column].append(item)
                if graph.is_step(item):
                    steps.append(item)
        base = top
    _follow(graph, groups, {(column, ABOVE) for column in by_column} | {(column, BELOW) for column in by_column}, same_column=True)
    extents = {}
    widest = _extent(steps)
    for column, items in by_column.items():
        own = _extent(items)
        extents[column] = (max(own[0], widest[0]), max(own[1], widest[1])) if 0 <= column < len(graph.steps) else own
    edge = 0.0
    for column in sorted(by_column):
        left, right = extents[column]
        graph.spans[column] = edge, edge + left + right
        for item in by_column[column]:
            item.x += edge + left
        edge += left + right + _GUTTER
    for band in (BELOW, ABOVE):
        lone = {key for key in groups if key[1] == band}
        if len(lone) == 1:
            _follow(graph, groups, lone, same_column=False)


def _extent(items: list[Item]) -> tuple[float, float]:
    """How far they reach to the left and to the right of their column's middle."""
    return max((item.width / 2 - item.x for item in items), default=0.0), max((item.right + item.x for item in items), default=0.0)


def _follow(graph: Graph, groups: dict[tuple[int, int], list[Item]], keys: set[tuple[int, int]], same_column: bool) -> None:
    """Move what gathers from the steps above the middle of what it gathers, and what prepares them below it."""
    shifts: dict[tuple[int, int], list[float]] = defaultdict(list)
    for edge in graph.edges:
        for here, there in ((edge.tail, edge.head), (edge.head, edge.tail)):
            if here.band != there.band == STEP and (here.column == there.column or not same_column):
                shifts[here.column, here.band].append(there.x - here.x)
    for key in keys & shifts.keys():
        shift = sum(shifts[key]) / len(shifts[key])
        for item in groups[key]:
            item.x += shift
