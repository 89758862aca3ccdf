"""Mutants of the gradient rules: `python -m tests.mutants` breaks each rule of ops.py in every small way, and tells what no test notices.

Mutated are the rules (lambdas in decorators) and the functions that rules call; each mutant is a module of its own, in memory, judged by
the rows of tests/test_ops.py.  A mutator of our own, since the rules are lambdas in decorators, and since judging a mutant by its own op's
rows, without a new test run, keeps it cheap.  All mutants take minutes; `python -m tests.mutants tanh sigmoid` tries those whose name
holds one of the words.  Prints each survivor; exits with 1 if there is one that is not in EQUIVALENT.
"""

from __future__ import annotations

import ast
import copy
import sys
import types
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import tinygrad_seq.ops

SOURCE = Path(tinygrad_seq.ops.__file__).read_text(encoding="utf-8")

# What rules call, and the ops whose rows judge it.
HELPERS = {
    "_log_or_0": ["pow"],
    "_choose": ["where"],
    "_axes": ["sum", "mean", "max", "logsumexp"],
    "_keep": ["sum", "mean", "max", "logsumexp"],
    "_count": ["mean"],
    "_spread": ["sum", "mean"],
    "_share": ["max", "min"],
    "_matrices": ["matmul"],
    "_matmul_a": ["matmul"],
    "_matmul_b": ["matmul"],
    "_matmul_b_together": ["matmul"],
    "_transpose_back": ["transpose"],
    "_add_at": ["_put", "getitem", "take"],
    "_put": ["_put", "getitem", "take"],
    "_add_rows": ["_put", "getitem", "take"],
    "_getitem_together": ["getitem", "split"],
    "_steps_joined": ["getitem"],
    "_parts_joined": ["split"],
    "_joined": ["matmul", "take"],
    "_added": ["matmul"],
    "_along": ["take"],
    "_take_together": ["take"],
    "_concat_rule": ["_concat", "concat"],
    "_at": ["_cross_entropy"],
    "_cross_entropy_x": ["_cross_entropy"],
    "_less_target": ["_cross_entropy"],
    "_cross_entropy_together": ["_cross_entropy"],
}

# Survivors that compute the same: the mutant's name, and why no input can tell it from the original.
_REASONS: dict[str, list[str]] = {
    "zero times any finite number; a cast of inf to integers is undefined": ["astype: g -> y #2", "astype: g -> x #2"],
    "y > 0 exactly where x > 0": [
        "relu: y -> x",
    ],
    "comparing with the larger (smaller) of both says the same as comparing with the other": [
        "maximum: a -> y",
        "maximum: b -> y #2",
        "maximum: b -> y #3",
        "maximum: a -> y #4",
        "minimum: a -> y",
        "minimum: b -> y #2",
        "minimum: b -> y #3",
        "minimum: a -> y #4",
    ],
    "counts divide as exactly in float64, and the engine casts the gradient back; g has x's dtype": [
        "_share: chosen.sum(axis=_axes(x, axis)...e, dtype=x.dtype) -> chosen.sum(axis=_axes(x, axis), keepdims=True)",
        "_share: x -> g #3",
        "_cross_entropy_x: np.zeros(x.shape, x.dtype) -> np.zeros(x.shape)",
    ],
    "all axes are those of None": [
        "_count: x.size if axis is None else ma... _axes(x, axis))) -> math.prod((x.shape[i] for i in _axes(x, axis)))",
        "_spread: g if axis is None else _keep(g, x, axis) -> _keep(g, x, axis)",
    ],
    "rules do not read keepdims": [
        "sum: False -> True",
        "mean: False -> True",
        "max: False -> True",
        "min: False -> True",
        "logsumexp: False -> True",
    ],
    "the batch is summed by the engine instead; an axis of size 1 has one index": [
        "_matmul_b: if b.ndim == 2: g, a = (_rows(g), _rows(a)) -> if False: g, a = (_rows(g), _rows(a))",
        "_matmul_b: 2 -> 1",
        "_matmul_b: 0 -> -1",
    ],
    "how the stacks are cut is speed only; both ends of a list of uses name the same weight; the rule of b does not read y": [
        "_matmul_b_together: y -> g",
        "_matmul_b_together: y -> b",
        "_matmul_b_together: y -> a",
        "_matmul_b_together: 512 // (len(pairs[0][0]) or 1) or 1 -> 1",
        "_matmul_b_together: 512 // (len(pairs[0][0]) or 1) -> 512",
        "_matmul_b_together: 512 // (len(pairs[0][0]) or 1) -> len(pairs[0][0]) or 1",
        "_matmul_b_together: len(pairs[0][0]) or 1 -> 1",
        "_matmul_b_together: 0 -> 1 #2",
        "_matmul_b_together: 0 -> -1 #2",
        "_matmul_b_together: zip(*pairs[i:i + at_once], strict=True) -> zip(*pairs[i:i + at_once])",
        "_matmul_b_together: 512 -> 513",
        "_matmul_b_together: 512 -> 511",
        "_matmul_b_together: 1 -> 2 #2",
        "_matmul_b_together: 1 -> 2 #3",
        "_matmul_b_together: 0 -> -1 #3",
        "_matmul_b_together: True -> False",
        "_matmul_b_together: 0 -> -1",
        "_joined: pieces[0] if len(pieces) == 1 ...ncatenate(pieces) -> np.concatenate(pieces)",
        "_joined: 1 -> 0",
        "_joined: 0 -> -1",
    ],
    "np.add.at, or another order of equal rows, gives the same sums, more slowly": [
        "_add_at: if is_view(index): part = buff...buffer, index, g) -> if False: part = buffer[index]...buffer, index, g)",
        "_add_at: if part.__class__ is np.ndarra...uffer[index] += g -> if False: part += g else: buffer[index] += g",
        "_add_at: if isinstance(index, np.ndarra...buffer, index, g) -> if False: _add_rows(buffer, in...buffer, index, g)",
        "_add_rows: np.argsort(rows, kind='stable') -> np.argsort(rows)",
        "_add_rows: 1 -> 2",
        "_add_rows: counts ** 2 > len(rows) -> counts ** 2 >= len(rows)",
        "_add_rows: counts ** 2 > len(rows) -> counts ** 2 < len(rows)",
        "_add_rows: counts ** 2 -> counts * 2",
        "_add_rows: counts ** 2 -> counts",
        "_add_rows: 2 -> 3",
        "_add_rows: 2 -> 1",
        "_add_rows: zip(first[often].tolist(), cou...t(), strict=True) -> zip(first[often].tolist(), counts[often].tolist())",
        "_add_rows: first[often].tolist() -> first[often]",
        "_add_rows: counts[often].tolist() -> counts[often]",
        "_add_rows: 0 -> 1 #2",
        "_add_rows: 0 -> -1 #2",
        "_add_rows: True -> False",
    ],
    "slices that are not seen to make up the tensor are added to zeros: the same sums, more slowly": [
        "_getitem_together: _steps_joined(pieces, len(x)) ...is Part else None -> _parts_joined(pieces) if kind is Part else None",
        "_getitem_together: _parts_joined(pieces) if kind is Part else None -> None",
        "_parts_joined: index.parts is parts -> index.parts is not parts",
        "_getitem_together: if whole is not None: return whole -> if False: return whole",
        "_steps_joined: index.__class__ is not int -> index.__class__ is int",
        "_steps_joined: np.array([g for _, g in pieces...eces))) else None -> None",
    ],
    "both ends of a list of uses name the same tensor; the engine casts the sum to its dtype; zip has nothing to leave out": [
        "_getitem_together: 0 -> -1",
        "_getitem_together: 0 -> -1 #2",
        "_getitem_together: 0 -> 1 #3",
        "_getitem_together: 0 -> -1 #3",
        "_getitem_together: np.zeros(x.shape, x.dtype) -> np.zeros(x.shape)",
        "_take_together: 0 -> -1 #2",
        "_take_together: np.zeros(table.shape, table.dtype) -> np.zeros(table.shape)",
        "_take_together: zip(*along_0, strict=True) -> zip(*along_0)",
        "_take_together: True -> False",
    ],
    "rows hold targets of int64; of other integers a test of its own tells": ["_at: targets.astype(np.intp) -> targets"],
    "the same sum of exponentials, to the digits that rows compare; of what large losses keep of it, a test of its own tells": [
        "_less_target: y + x.take(at) if (y < 32).all...umexp(x, axis=-1) -> logsumexp(x, axis=-1) if (y < ...se y + x.take(at)",
        "_less_target: y + x.take(at) if (y < 32).all...umexp(x, axis=-1) -> y + x.take(at)",
        "_less_target: y + x.take(at) if (y < 32).all...umexp(x, axis=-1) -> logsumexp(x, axis=-1)",
        "_less_target: y < 32 -> y <= 32",
        "_less_target: y < 32 -> y > 32",
        "_less_target: y -> x #2",
        "_less_target: 32 -> 33",
        "_less_target: 32 -> 31",
    ],
    "rules do not read wrap": [
        "take: True -> False",
    ],
    "the edges are computed anew": ["_concat_rule: edges or _edges(xs, axis) -> _edges(xs, axis)"],
    "g has y's axes": [
        "_stack: g -> y #2",
    ],
}
EQUIVALENT = {name: reason for reason, names in _REASONS.items() for name in names}

_OTHER_OPERATORS: dict[type[ast.operator], list[type[ast.operator]]] = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult], ast.Pow: [ast.Mult], ast.Mod: [ast.Add],
    ast.MatMult: [ast.Mult],
}  # fmt: skip
_OTHER_COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.LtE], ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.GtE], ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.In: [ast.NotIn], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
}  # fmt: skip
_NAMES = [("a", "b"), ("x", "y"), ("g", "y"), ("axis1", "axis2"), ("b", "y"), ("a", "y"), ("x", "g")]


@dataclass
class Mutant:
    """A change of one expression of ops.py."""

    name: str
    line: int
    before: str
    after: str
    ops: list[str]
    source: str


def mutants() -> list[Mutant]:
    """All mutants, in the order of the source."""
    tree, found = ast.parse(SOURCE), []
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for part in _rules(function):
            for node in ast.walk(part):
                found += [_mutant(tree, function.name, node, change) for change in _changes(node, part)]
    counts: dict[str, int] = {}
    for mutant in found:
        counts[mutant.name] = counts.get(mutant.name, 0) + 1
        if counts[mutant.name] > 1:
            mutant.name += f" #{counts[mutant.name]}"
    return [m for m in found if m.before != m.after]


def _rules(function: ast.FunctionDef) -> list[ast.AST]:
    """What of a function says a gradient: its rules, or all of it if rules call it."""
    lambdas: list[ast.AST] = [n for d in function.decorator_list for n in ast.walk(d) if isinstance(n, ast.Lambda)]
    return lambdas + [s for s in function.body if not _is_docstring(s)] if function.name in HELPERS else lambdas


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _changes(node: ast.AST, part: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    if isinstance(node, ast.BinOp):
        for other in _OTHER_OPERATORS.get(type(node.op), []):
            yield ast.BinOp(node.left, other(), node.right)
        yield node.left
        yield node.right
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for comparison in _OTHER_COMPARISONS.get(type(node.ops[0]), []):
            yield ast.Compare(node.left, [comparison()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        yield from node.values
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        yield ast.If(ast.Constant(value=False), node.body, node.orelse)
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        for pair in _NAMES:
            if node.id in pair and (name := pair[1 - pair.index(node.id)]) in _arguments(part):
                yield ast.Name(name, ast.Load())
    elif isinstance(node, ast.Call):
        for i, argument in enumerate(node.args):
            if i and not isinstance(argument, ast.Starred):
                yield ast.Call(node.func, node.args[:i] + node.args[i + 1 :], node.keywords)
        for i in range(len(node.keywords)):
            yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, (ast.Name, ast.Call, ast.Subscript)):
            yield node.func.value  # the method is not called
    elif isinstance(node, ast.Lambda):
        yield ast.Lambda(node.args, ast.UnaryOp(ast.USub(), node.body))
        yield ast.Lambda(node.args, ast.BinOp(ast.Constant(value=2), ast.Mult(), node.body))
        yield ast.Lambda(node.args, ast.BinOp(ast.Constant(value=0), ast.Mult(), node.body))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.BinOp(ast.Constant(value=2), ast.Mult(), node.value))
    elif isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value)
        yield ast.AugAssign(node.target, ast.Sub(), node.value)


def _constants(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(value=not value)
    elif isinstance(value, int):
        yield ast.Constant(value=value + 1)
        yield ast.Constant(value=value - 1)


def _arguments(part: ast.AST) -> set[str]:
    """The names that a rule can mention."""
    return {n.arg for n in ast.walk(part) if isinstance(n, ast.arg)} | {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}


def _mutant(tree: ast.Module, function: str, node: ast.AST, change: ast.AST) -> Mutant:
    before, line = ast.unparse(node), getattr(node, "lineno", 0)
    change = ast.fix_missing_locations(ast.copy_location(copy.copy(change), node))
    source = ast.unparse(_Replace(node, change).visit(_copied(tree, node)))
    after = ast.unparse(change)
    return Mutant(f"{function}: {_short(before)} -> {_short(after)}", line, before, after, HELPERS.get(function, [function]), source)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 50 else f"{text[:30]}...{text[-17:]}"


def _copied(tree: ast.Module, keep: ast.AST) -> ast.Module:
    """A copy of the tree in which `keep` is the same object, to be found again."""
    return copy.deepcopy(tree, {id(keep): keep})


class _Replace(ast.NodeTransformer):
    def __init__(self, node: ast.AST, change: ast.AST) -> None:
        self.node, self.change = node, change

    def visit(self, node: ast.AST) -> ast.AST:
        return self.change if node is self.node else super().visit(node)


def module_of(source: str) -> types.ModuleType:
    """ops.py with other rules, as a module that nothing else sees."""
    module = types.ModuleType("tinygrad_seq.ops")
    module.__package__ = "tinygrad_seq"
    exec(compile(source, "<mutant>", "exec"), vars(module))
    return module


def killed_by(mutant: Mutant, examples: int = 25) -> str | None:
    """The row and the error that tell the mutant from the original, or None: it survives."""
    from tests.test_ops import ROWS, run_row

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            module = module_of(mutant.source)
        except Exception as error:  # a mutant that does not import is noticed at once
            return f"import: {type(error).__name__}"
        for row in [row for row in ROWS if row.op in mutant.ops]:
            try:
                run_row(row, module, examples)
            except Exception as error:  # whatever a broken rule raises
                return f"{row}: {type(error).__name__}"
    return None


def main() -> int:
    """Run all mutants; print the survivors and the score."""
    wanted = sys.argv[1:]
    chosen = [m for m in mutants() if not wanted or any(word in m.name for word in wanted)]
    original = Mutant("the original", 0, "", "", sorted({op for m in chosen for op in m.ops}), SOURCE)
    if death := killed_by(original):
        print(f"the rules as they are do not pass: {death}")
        return 2
    with ProcessPoolExecutor() as pool:
        survivors = []
        for m, death in zip(chosen, pool.map(killed_by, chosen, chunksize=2), strict=True):
            survived = f"equivalent: {EQUIVALENT[m.name]}" if m.name in EQUIVALENT else "SURVIVED"
            print(f"line {m.line}: {m.name}: {f'killed by {death}' if death else survived}", flush=True)
            survivors += [] if death else [m]
    unknown = [m for m in survivors if m.name not in EQUIVALENT]
    killed, alike = len(chosen) - len(survivors), len(survivors) - len(unknown)
    score = 100 * killed / max(1, len(chosen) - alike)
    print(f"{len(chosen)} mutants: {killed} killed, {alike} equivalent, {len(unknown)} survived: {score:.1f} %")
    for name in [name for name in EQUIVALENT if not wanted and name not in {m.name for m in survivors}]:
        print(f"in EQUIVALENT, but not a survivor: {name}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
