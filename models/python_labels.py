"""What each character of a Python program is, as `tokenize` and `ast` have it; needs nothing but the standard library.

In `total = sum(w, start=0)  # all`, the name `total` is a target, `sum` a call, `w` a name, `start` an argument, and so on.  What a name is
often shows only behind it: in the `=`, in the parenthesis.
"""

from __future__ import annotations

import ast
import hashlib
import io
import keyword
import sys
import sysconfig
import tokenize
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LABELS = {
    "space": "white space between tokens, line ends, a backslash that continues a line",
    "comment": "from # to the end of the line",
    "string": "a literal with its prefix and quotes; an f-string wholly, with what stands in its braces",
    "number": "a literal",
    "operator": "operators and delimiters",
    "keyword": "a reserved word; match, case, type and _ where they act as one",
    "name": "any other name",
    "call": "the name that is called: f in f(x), g in a.g(x)",
    "target": "the name that =, an augmented assignment, := or an annotation binds: x in x = 1, y in a.y = 1",
    "argument": "the name of a keyword argument: k in f(k=1)",
    "parameter": "the name of a parameter, of def or lambda",
    "definition": "the name that def or class defines",
}
NAMES = tuple(LABELS)
SPACE, COMMENT, STRING, NUMBER, OPERATOR, KEYWORD, NAME, CALL, TARGET, ARGUMENT, PARAMETER, DEFINITION = range(len(LABELS))
_OF_TOKEN = {tokenize.COMMENT: COMMENT, tokenize.STRING: STRING, tokenize.NUMBER: NUMBER, tokenize.OP: OPERATOR}


def labels(text: str) -> bytes:
    """The label of each character, as an index into NAMES; the same on every version of Python that can read the text.

    Raises SyntaxError where the text is no Python program, ValueError where its lines do not end in newlines alone, as `open` gives them.
    """
    if "\r" in text:
        raise ValueError("labels: the text holds carriage returns; read it with universal newlines, as open(...) does.")
    tree = _parsed(text)
    return bytes(_Labeller(text).run(tree))


def _parsed(text: str) -> ast.Module:
    """The program's tree; SyntaxError for all that is none."""
    if "\0" in text:
        raise SyntaxError("the text holds a null character")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d"
            return ast.parse(text)
    except (RecursionError, MemoryError) as error:
        raise SyntaxError("the program is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise SyntaxError(f"the text holds a lone surrogate, at character {error.start}") from error


class _Labeller:
    """The labels of a text: first by its tokens, then what the tree knows better of the names."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = io.StringIO(text).readlines()
        self.starts = [0]  # of each line in the text
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.logical: list[int] = []  # starts of the logical lines
        self.labels = bytearray(len(text))

    def run(self, tree: ast.Module) -> bytearray:
        """All labels."""
        self.tokens()
        for node in _nodes(tree):
            self.visit(node)
        return self.labels

    def tokens(self) -> None:
        """What each token is by itself; definitions too, as they follow their keyword."""
        depth, begun, fresh, defines = 0, 0, True, False
        for kind, string, (row, column), _, _ in tokenize.generate_tokens(io.StringIO(self.text).readline):
            start = self.starts[row - 1] + column
            end = start + len(string)  # the end that 3.12 gives for a string of several lines may be wrong
            name = tokenize.tok_name[kind]
            if name.endswith("STRING_START"):  # of f-strings, from 3.12 on in parts
                begun, depth = (begun if depth else start), depth + 1
            elif name.endswith("STRING_END"):
                depth -= 1
                self.fill(begun, end, STRING)
            if depth or kind in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT):
                if kind == tokenize.COMMENT and not depth:
                    self.fill(start, end, COMMENT)
                continue
            if kind == tokenize.NEWLINE:
                fresh = True
                continue
            if fresh:
                self.logical.append(start)
            if kind in _OF_TOKEN:
                self.fill(start, end, _OF_TOKEN[kind])
            elif not string.isspace() and not name.startswith(("FSTRING", "TSTRING")):
                self.fill(start, end, KEYWORD if keyword.iskeyword(string) else DEFINITION if defines else NAME)
            fresh, defines = False, string in ("def", "class")

    def visit(self, node: Any) -> None:
        """What a node of the tree says of the names in it."""
        match node:
            case ast.Call(func=function):
                self.bind(function, CALL)
            case ast.Assign(targets=targets):
                for target in targets:
                    self.bind(target, TARGET)
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target) | ast.NamedExpr(target=target):
                self.bind(target, TARGET)
            case ast.keyword(arg=str()):
                self.mark(self.start(node), ARGUMENT)
            case ast.arg():
                self.mark(self.start(node), PARAMETER)
            case ast.Match() | ast.MatchAs(pattern=None, name=None):
                self.mark(self.start(node), KEYWORD)
            case ast.match_case(pattern=pattern):
                self.mark(self.logical[bisect_right(self.logical, self.start(pattern)) - 1], KEYWORD)
            case _ if type(node).__name__ == "TypeAlias":  # from 3.12 on
                self.mark(self.start(node), KEYWORD)
                self.bind(node.name, TARGET)

    def bind(self, node: Any, label: int) -> None:
        """Label the names that are called or assigned to: of a.b[c].d only the last, of a[b] none."""
        match node:
            case ast.Name():
                self.mark(self.start(node), label)
            case ast.Attribute():
                end = self.offset(node.end_lineno, node.end_col_offset)
                start = end - 1
                while _in_word(self.text[start - 1]):
                    start -= 1
                self.fill(start, end, label)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if label == TARGET:
                for part in parts:
                    self.bind(part, label)
            case ast.Starred(value=part):
                self.bind(part, label)

    def start(self, node: Any) -> int:
        """Where a node begins."""
        return self.offset(node.lineno, node.col_offset)

    def offset(self, row: Any, column: Any) -> int:
        """The place in the text of a row, from 1 on, and a column in bytes of UTF-8, as trees have them."""
        line = self.lines[row - 1]
        return self.starts[row - 1] + (column if line.isascii() else len(line.encode()[:column].decode()))

    def mark(self, start: int, label: int) -> None:
        """Label the word that begins here."""
        end = start + 1
        while end < len(self.text) and _in_word(self.text[end]):
            end += 1
        self.fill(start, end, label)

    def fill(self, start: int, end: int, label: int) -> None:
        """Label the characters from start up to end."""
        self.labels[start:end] = bytes([label]) * (end - start)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those within f-strings, which are strings here, and whose places 3.11 gets wrong."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if type(node).__name__ not in ("JoinedStr", "TemplateStr"):
            yield node
            stack.extend(ast.iter_child_nodes(node))


def _in_word(character: str) -> bool:
    """Whether a name may go on with this character."""
    return ("a" + character).isidentifier()


# ---- source files --------------------------------------------------------------------------------------------------------------------


def read_source(path: Path | None) -> str:
    """The text of a Python file, in the encoding that it declares, or of standard input; its lines end in newlines alone.

    Raises OSError where it cannot be read, SyntaxError where it is not text in that encoding.
    """
    raw = sys.stdin.buffer.read() if path is None else path.read_bytes()
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return raw.decode(tokenize.detect_encoding(io.BytesIO(raw).readline)[0])
    except UnicodeDecodeError as error:
        raise SyntaxError(f"byte {error.start} is not {error.encoding}: {error.reason}") from error


def source_files(folder: Path | None) -> Iterator[tuple[str, Path]]:
    """The Python files of a folder and of those in it, or the modules of the standard library: (name, path).

    Their order is that of a hash of their names, so that what comes first is a fair choice, and the same everywhere.
    """
    if folder is None:
        library = Path(sysconfig.get_path("stdlib"))
        paths = [path for path in library.glob("*.py") if path.stem in sys.stdlib_module_names]
    else:
        library, paths = folder, list(folder.rglob("*.py"))
    named = [(path.relative_to(library).as_posix(), path) for path in paths]
    yield from sorted(named, key=lambda pair: hashlib.sha256(pair[0].encode()).digest())


def labelled_files(folder: Path | None, *, shortest: int = 500, longest: int = 60_000) -> Iterator[tuple[str, str, bytes]]:
    """Name, text and labels of the files of `source_files` that are Python, leaving out those that say nothing or would say too much."""
    for name, path in source_files(folder):
        try:
            text = read_source(path)
            if shortest <= len(text) <= longest:
                yield name, text, labels(text)
        except (OSError, SyntaxError):
            continue
