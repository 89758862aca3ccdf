"""From the record to items and edges: what each says and looks like, and where on the grid of stages, rows and steps it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..record import Node
from .items import START, Edge, Graph, Item
from .places import Places, Run, Where, find_runs

SYMBOLS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "@", "neg": "−x", "pow": "xⁿ", "sqrt": "√x", "sigmoid": "σ", "sum": "Σ",
    "abs": "|x|", "transpose": "xᵀ", "identity": "=",
}  # fmt: skip
VIEWS = {"getitem", "reshape", "transpose", "swapaxes", "astype", "broadcast_to"}


def reachable(roots: Sequence[Node]) -> list[Node]:
    """The roots and what they were made from, in the order of creation."""
    found, stack = {y._order: y for y in roots}, list(roots)
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._order not in found:
                found[x._order] = x
                stack.append(x)
    return [found[order] for order in sorted(found)]


def index_text(index: Any, *, whole: bool = False) -> str:
    """An index as it is written, [:, 2]; of a slice along one axis, unless it is to be whole, only what it cuts out: 4:8."""

    def part(i: Any) -> str:
        if isinstance(i, slice):
            return ":".join("" if n is None else str(n) for n in ([i.start, i.stop] if i.step is None else [i.start, i.stop, i.step]))
        return "…" if i is Ellipsis or isinstance(i, np.ndarray) else str(i)

    parts = index if isinstance(index, tuple) else (index,)
    cuts = [i for i in parts if i != slice(None)] if all(isinstance(i, slice) for i in parts) else []
    return part(cuts[0]) if len(cuts) == 1 and not whole else f"[{', '.join(map(part, parts))}]"


def graph_of(roots: Sequence[Node], parameters: Mapping[int, str], names: Mapping[int, str], weights: str = "copies") -> Graph:
    """The graph of what the roots were made from; names by identity; weights as one copy for each block, or "once"."""
    return _Builder(roots, parameters, names, weights).graph


class _Builder:
    """Fills a Graph, in the order of its methods."""

    def __init__(self, roots: Sequence[Node], parameters: Mapping[int, str], names: Mapping[int, str], weights: str) -> None:
        self.parameters, self.names, self.weights = parameters, names, weights
        nodes = reachable(roots)
        numbers = range(len(nodes))
        self.numbers = {node._order: i for i, node in zip(numbers, nodes, strict=True) if node._op is None}  # of leaves
        self.roots = {y._order for y in roots}
        self.ops = [node for node in nodes if node._op is not None]
        self.places = Places()
        self.runs = find_runs(self.ops, self.places)
        self.graph = Graph(runs=list(dict.fromkeys(self.runs.values())))
        outermost = {run.around[:1] for run in self.graph.runs if len(run.around) > 1}
        self.root = outermost.pop() if len(outermost) == 1 else ("",)  # the module of all: a box around everything says nothing
        self.made: dict[int, Item] = {}  # by the order of the op, in the order of `ops`
        self.run: dict[int, Run] = {}
        self.leaves: dict[Any, Item] = {}
        self.leaf_blocks: dict[Any, tuple[int, int, Any]] = {}
        self.copies: dict[Any, int] = defaultdict(int)
        self.kinds: dict[Any, int] = {}  # numbers for what tells ops of a step apart
        self.short_names: dict[Any, str] = {}
        for number, node in zip(numbers, nodes, strict=True):
            if node._op is not None:
                self._add_op(node, number)
        self._set_grid()
        self._add_edges()
        for y in roots:
            if y._op is None and not self.copies[y._order]:
                self._leaf(y, (0, 0, None), (), ("leaf", y._order), self._name(y))
        self.graph.items.sort(key=lambda item: item.order)
        self._adopt_views()
        self._name_states()

    # ---- ops

    def _add_op(self, node: Node, number: int) -> None:
        op: Any = node._op
        where = self.places.where(node._place)
        word = op.__name__.lstrip("_")
        words = index_text(node._settings["index"]) if word == "getitem" else SYMBOLS.get(word, word)
        look = "gradient operation" if where.backward else "mask" if where.scopes[-1:] == ("mask",) else "operation"
        look = "output" if node._order in self.roots else look
        item = Item(f"n{number}", look, words, None, (node,), name=self._name(node), scopes=where.scopes)
        is_slice = word == "getitem" and isinstance(node._settings["index"], tuple)
        kind = self.kinds.setdefault((word, words if is_slice else "", where.scopes, where.backward), len(self.kinds))
        if where.step is None:
            item.key = (kind, node._order)
            item.scopes = where.scopes[where.scopes[:1] == self.root :]
        else:
            run = self.run[node._order] = self.runs[id(where.loop)]
            place = run.number, where.step, kind
            item.key = kind, self.copies[place]
            self.copies[place] += 1
            item.step = where.step
        self.made[node._order] = item
        self.graph.items.append(item)

    def _name(self, x: Any) -> str:
        return self.parameters.get(id(x)) or self.names.get(id(x)) or getattr(x, "name", None) or ""

    # ---- the grid

    def _source(self, x: Any) -> Item | None:
        """The op's item that an operand comes from, or was detached from."""
        if not isinstance(x, Node):
            return None
        return self.made.get(x._settings.get("detached", -1)) if x._op is None else self.made[x._order]

    def _set_grid(self) -> None:
        """Stages and rows of the runs; then what runs outside of them stands below the first that it feeds or above the last it reads."""
        reads = self._set_stages()
        made = self.made
        after: list[Node] = []
        for node, item in zip(self.ops, made.values(), strict=True):
            run = self.run.get(node._order)
            if run is not None:
                item.stage, item.row = run.stage, 2 * run.row + 1
            elif read := reads[node._order]:
                item.stage, row = max((run.stage, run.row) for run in self.graph.runs if read >> run.number & 1)
                item.row = 2 * row + 2
            else:
                after.append(node)
        uses: dict[int, tuple[int, int]] = {}
        pending = {node._order for node in after}
        for node, item in zip(reversed(self.ops), reversed(made.values()), strict=True):
            if node._order in pending:
                item.stage, item.row = uses.get(node._order, (0, 0))
            at = item.stage, item.row - item.row % 2
            for x in node._inputs:
                if isinstance(x, Node) and x._order in pending:
                    uses[x._order] = min(uses.get(x._order, at), at)

    def _set_stages(self) -> dict[int, int]:
        """Which runs each op outside of them reads, as bits; on the way, which run reads which, and how."""
        reads: dict[int, int] = {}
        along: dict[tuple[int, int], int] = defaultdict(int)  # run, run: how often one reads the other's same step
        across: dict[tuple[int, int], int] = defaultdict(int)
        runs = self.run
        for node, item in zip(self.ops, self.made.values(), strict=True):
            run = runs.get(node._order)
            bits = 0
            step = item.step
            for x in node._inputs:
                source = self._source(x)
                if source is None:
                    continue
                order = source.nodes[0]._order
                other = runs.get(order)
                if other is not None and other is run:
                    continue
                bit = 1 << other.number if other is not None else reads[order]
                bits |= bit
                if run is None or not bit:
                    continue
                if other is not None:
                    kind = along if source.step == step else across
                    kind[other.number, run.number] += 1
                else:
                    op: Any = node._op
                    is_step = op.__name__ == "getitem" and not isinstance(node._settings["index"], tuple)
                    for earlier in self.graph.runs[: run.number]:
                        if bit >> earlier.number & 1:
                            (along if is_step else across)[earlier.number, run.number] += len(run.steps) if is_step else 1
            reads[node._order] = bits if run is None else 0
        rows: dict[int, int] = defaultdict(int)
        for run in self.graph.runs:
            for earlier in self.graph.runs[: run.number]:
                pair = earlier.number, run.number
                if along[pair] and along[pair] >= across[pair]:
                    run.stage = max(run.stage, earlier.stage)
                elif across[pair]:
                    run.stage = max(run.stage, earlier.stage + 1)
            run.row = rows[run.stage]
            rows[run.stage] += 1
        return reads

    # ---- edges and leaves

    def _add_edges(self) -> None:
        """Edges in the order of their heads; initial states are leaves where other steps have what another step made."""
        made = self.made
        carried: dict[Any, set[int]] = defaultdict(set)  # what an op of a run is called -> which of its operands are states
        for node, head in zip(self.ops, made.values(), strict=True):
            for i, x in enumerate(node._inputs):
                source = made.get(x._order) if isinstance(x, Node) else None
                if source is None and isinstance(x, Node) and self.weights == "once":  # below the first that uses it
                    own = (head.stage, head.row - head.row % 2, None)
                    self.leaf_blocks[x._order] = min(self.leaf_blocks.get(x._order, own), own, key=lambda block: block[:2])
                if source is not None and source.step is not None and source.step != head.step and self._same_run(source, head):
                    carried[head.stage, head.row, head.key].add(i)
        edges, new = self.graph.edges, []
        for node, head in zip(self.ops, made.values(), strict=True):
            if head.step is not None and head.scopes[-1:] == ("mask",):
                self._note_mask(node, head)
            states = carried.get((head.stage, head.row, head.key), ())
            for i, x in enumerate(node._inputs):
                is_state = i in states
                maker = made.get(x._order) if isinstance(x, Node) else None
                if maker is None:
                    maker = self._operand(head, i, x, is_state)
                edges.append(Edge(maker, head, i, _edge_look(maker, head, is_state)))
                if isinstance(x, Node) and x._op is None and (source := self._source(x)) is not None:
                    new.append((source, maker, "fed back" if x._data.dtype.kind in "iu" else "cut"))
        for source, leaf, look in dict.fromkeys(new):
            edges.append(Edge(source, leaf, 0, look))

    def _same_run(self, a: Item, b: Item) -> bool:
        return (a.stage, a.row) == (b.stage, b.row)

    def _operand(self, head: Item, i: int, x: Any, is_state: bool) -> Item:
        """The item of an operand that no op made."""
        if isinstance(x, Node):
            is_parameter = id(x) in self.parameters or x.requires_grad
            block = head.block
            if is_parameter and self.weights == "once":
                block = self.leaf_blocks[x._order]
            elif is_state:
                block = (head.stage, head.row, START)
            elif not is_parameter and head.step is not None:  # an input that several rows read stands in the lowest
                block = self.leaf_blocks.setdefault((x._order, head.stage, head.step), block)
            key = ("leaf", x._order) if is_parameter or block[2] in (None, START) else ("leaf", head.key, i)
            return self._leaf(x, block, head.scopes if is_parameter and block == head.block else (), key, self._short_name(x, head))
        if isinstance(x, np.ndarray) and x.ndim:
            words = self._name(x) or (("m", "1 − m")[head.key[1] % 2] if head.look == "mask" else _unnamed(x))
            item = Item(f"{head.id}_{i}", "input", words, ("leaf", head.key, i))
        else:
            item = Item(f"{head.id}_{i}", "constant", f"{x:.4g}" if isinstance(x, (float, np.floating)) else str(x), ("leaf", head.key, i))
        item.stage, item.row, item.step, item.scopes = head.stage, head.row, head.step, head.scopes
        self.graph.items.append(item)
        return item

    def _short_name(self, x: Node, head: Item) -> str:
        """A leaf's name, without the path of the module whose box it stands in."""
        where = self.places.where(head.nodes[0]._place)
        key = x._order, where.around, where.scopes
        if key not in self.short_names:
            self.short_names[key] = self._without_path(self._name(x), where)
        return self.short_names[key]

    def _without_path(self, name: str, where: Where) -> str:
        parts = (*where.around, *where.scopes)[1:]
        prefixes = (".".join(parts[:k]) + "." for k in range(len(parts), 0, -1))
        return name.removeprefix(next((prefix for prefix in prefixes if name.startswith(prefix)), ""))

    def _leaf(self, x: Node, block: tuple[int, int, Any], scopes: tuple[str, ...], key: Any, name: str) -> Item:
        """A leaf is drawn once in each block that uses it: long edges to a weight that all steps share would hide the rest."""
        place = (x._order, block)
        if place not in self.leaves:
            number, copy = self.numbers[x._order], self.copies[x._order]
            self.copies[x._order] += 1
            look = "detached" if "detached" in x._settings else "input"
            if id(x) in self.parameters or x.requires_grad:
                look = "parameter"
            item = Item(f"n{number}_{copy}" if copy else f"n{number}", look, name or _unnamed(x._data), key, (x,), name=name, scopes=scopes)
            item.stage, item.row, item.step = block
            self.leaves[place] = item
            self.graph.items.append(item)
        return self.leaves[place]

    def _note_mask(self, node: Node, head: Item) -> None:
        """Which part of the batch a masked step leaves as it was: the first factor in it is 1 where the step happens."""
        kept = next((x for x in node._inputs if isinstance(x, np.ndarray)), None)
        if kept is not None and head.block not in self.graph.masked:
            idle = int((kept == 0).sum())
            self.graph.masked[head.block] = "" if not idle else "masked" if idle == kept.size else f"masked: {idle} of {kept.size}"

    # ---- last touches

    def _adopt_views(self) -> None:
        """What only slices or reshapes for one op belongs to the box of that op."""
        views = [item for node, item in zip(self.ops, self.made.values(), strict=True) if node._op and node._op.__name__ in VIEWS]
        users: dict[Item, list[Item]] = {item: [] for item in views}
        shared = [item for item in self.graph.items if item.look == "input" and item.nodes and self.copies[item.order] > 1]
        users |= {item: [] for item in shared}
        for edge in self.graph.edges:
            if edge.tail in users:
                users[edge.tail].append(edge.head)
        for item in shared:  # the same in all steps: no input that comes from below
            scopes = {user.scopes for user in users[item]}
            item.scopes = scopes.pop() if len(scopes) == 1 else ()
        for item in reversed(views):
            if len(users[item]) == 1:
                (user,) = users[item]
                if user.block == item.block and len(user.scopes) > len(item.scopes) and user.scopes[: len(item.scopes)] == item.scopes:
                    item.scopes = user.scopes

    def _name_states(self) -> None:
        """What a step hands to the next is called as the initial state is, with the step's number: h_3."""
        cut = {edge.head: edge.tail for edge in self.graph.edges if edge.look == "cut"}
        first: dict[Any, tuple[str, Any]] = {}  # operand of a run that reads a state -> the name of what it first reads, what made it
        carries: dict[Any, list[Any]] = defaultdict(list)  # what makes a state in a run -> the operands that read it
        for edge in self.graph.edges:
            tail, head = edge.tail, edge.head
            if edge.look == "state":
                made, operand = (tail.stage, tail.row, tail.key), (head.stage, head.row, head.key, edge.operand)
                if self._same_run(tail, head) and tail.step != START:
                    carries[made].append(operand)
                else:
                    source = cut.get(tail, tail)
                    first.setdefault(operand, (tail.name, (source.stage, source.row, source.key)))
        bases: dict[Any, str] = {}
        for made, operands in carries.items():
            names = [name or bases.get(source, "") for name, source in (first[operand] for operand in operands if operand in first)]
            bases[made] = next(filter(None, names), "")
        ranks = {(run.stage, 2 * run.row + 1): {t: n for n, t in enumerate(run.steps)} for run in self.graph.runs}
        for item in self.made.values():
            base = bases.get((item.stage, item.row, item.key))
            if base and not item.name and item.step is not None:
                stem, _, number = base.rpartition("_")
                rank = ranks[item.stage, item.row][item.step]
                item.name = f"{stem}_{int(number) + 1 + rank}" if stem and number.isdigit() else f"{base}_{item.step}"
        for leaf, source in cut.items():
            leaf.words = leaf.name or source.name or leaf.words


def _unnamed(data: np.ndarray[Any, Any]) -> str:
    return f"{data.item():.4g}" if data.size == 1 else f"{data.dtype} {data.shape}"


def _edge_look(tail: Item, head: Item, is_state: bool) -> str:
    """What an edge says: a value, a state carried from step to step, a gradient (of a second-order graph), or a look back across."""
    if tail.look == "gradient operation":
        return "gradient"
    if is_state or (tail.step is not None and head.step is not None and (tail.step != head.step or tail.stage != head.stage)):
        return "state"
    return "across" if tail.stage < head.stage and head.step is not None else "value"
