"""What each character of a Python program is: by examples, by programs made together with their labels, by what holds of any text."""

from __future__ import annotations

import ast
import io
import keyword
import sys
import tokenize
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.python_labels import LABELS, NAMES, STRING, labelled_files, labels, read_source, source_files

LETTERS = dict(zip(NAMES, '.#"0+knCTAPD', strict=True))  # space, comment, string, number, operator, keyword, name, call, target, ...
CODES = dict(zip(LETTERS.values(), NAMES, strict=True))


def in_letters(text: str) -> str:
    return "".join(
        "\n" if c == "\n" and NAMES[label] == "space" else LETTERS[NAMES[label]] for c, label in zip(text, labels(text), strict=True)
    )


EXAMPLES = [
    ("x.y = f(a)[0]", "n+T.+.C+n++0+"),
    ("f(a).b = c[d] = e", "C+n++T.+.n+n+.+.n"),
    ("x += y", "T.++.n"),
    ("x: int = 3", "T+.nnn.+.0"),
    ("a.b: int", "n+T+.nnn"),
    ("a, (b.c, *d[e], [g]) = 1, 2", "T+.+n+T+.+n+n++.+T++.+.0+.0"),
    ("*a, b = c", "+T+.T.+.n"),
    ("(a) = b", "+T+.+.n"),
    ("if (n := g(k=1, **r)): pass", "kk.+T.++.C+A+0+.++n+++.kkkk"),
    ("f(x == y, *z, k = v)", "C+n.++.n+.+n+.A.+.n+"),
    ("a.b.c(d)(e)(f)", "n+n+C+n++n++n+"),
    ("(f)(x); (lambda: 0)(); g[0]()", "+C++n++.+kkkkkk+.0++++.n+0+++"),
    ("(a\n . b)()", "+n\n.+.C+++"),
    ("a.  \\\n  b()", "n+...\n..C++"),
    ("a.b  \\\n  . c = d.e()", "n+n...\n..+.T.+.n+C++"),
    ("@dec.o(1)\n@p\nclass C(B, metaclass=M): pass", "+nnn+C+0+\n+n\nkkkkk.D+n+.AAAAAAAAA+n++.kkkk"),
    ("async def f(a, /, b: t = c, *d, e=1, **g) -> r: await h()",
     "kkkkk.kkk.D+P+.++.P+.n.+.n+.+P+.P+0+.++P+.++.n+.kkkkk.C++"),
    ("def \\\n  f(): pass", "kkk..\n..D+++.kkkk"),
    ("g = lambda a, *b: a", "T.+.kkkkkk.P+.+P+.n"),
    ("for i, j in k: del i", "kkk.n+.n.kk.n+.kkk.n"),
    ("[x for x in f(y) if x]", "+n.kkk.n.kk.C+n+.kk.n+"),
    ("with a() as b: pass", "kkkk.C++.kk.n+.kkkk"),
    ("from m import a as b\nglobal c", "kkkk.n.kkkkkk.n.kk.n\nkkkkkk.n"),
    ("try: pass\nexcept* E as e: raise", "kkk+.kkkk\nkkkkkk+.n.kk.n+.kkkkk"),
    ("x = True is not None", "T.+.kkkk.kk.kkk.kkkk"),
    ("s = b'x' rb\"\"\"y\n'z\"\"\"  # c", "T.+.\"\"\"\".\"\"\"\"\"\"\"\"\"\"\"\"..###"),
    ("s = f'{a(b=1):{w}} {q!r}' 'x' f'''\n{y}'''", 'T.+.' + 21 * '"' + '.' + 3 * '"' + '.' + 11 * '"'),
    ("s = f'{{' + f\"{f'{x}'}\" + y", "T.+.\"\"\"\"\".+.\"\"\"\"\"\"\"\"\"\"\".+.n"),
    ("0x1F + 1_0.5e-3j - .5", "0000.+.000000000.+.00"),
    ("x = 1  # a = f()\n# b", "T.+.0..#########\n###"),
    ("(a,  # c\n\tb)", "+n+..###\n.n+"),
    ("x = a if b else \\\n c", "T.+.n.kk.n.kkkk..\n.n"),
    ("\f\nx\f = 1", ".\nT..+.0"),
    ("é = ü(ñ=1); 名前.値 = 'ä'; b = f(c)", "T.+.C+A+0++.nn+T.+.\"\"\"+.T.+.C+n+"),
    ("x = 'é' + '''é\né''' + f(é)", "T.+.\"\"\".+.\"\"\"\"\"\"\"\"\".+.C+n+"),
    ("é = '''a\n'''; b = 1", "T.+.\"\"\"\"\"\"\"\"+.T.+.0"),
    ("ℌ = a.ﬁ() + ℘", "T.+.n+C++.+.n"),  # names that Python normalises, and one that `tokenize` of 3.11 does not know
    ("match x:\n  case (1 |\n 2): pass\n  case _: match = case",
     "kkkkk.n+\n..kkkk.+0.+\n.0++.kkkk\n..kkkk.k+.TTTTT.+.nnnn"),
    ("match (a, b):\n case {'k': v}, [*_, c.d(e=1)] as g if case(g): case",
     "kkkkk.+n+.n++\n.kkkk.+\"\"\"+.n++.++n+.n+n+n+0++.kk.n.kk.CCCC+n++.nnnn"),
    ("match(x)\ncase = match[0]\n_ = type(type)", "CCCCC+n+\nTTTT.+.nnnnn+0+\nT.+.CCCC+nnnn+"),
    ("x = 1if a else '\\d'", 'T.+.0kk.n.kkkk.""""'),  # of which Python warns
    ("print(*a, sep='')", "CCCCC++n+.AAA+\"\"+"),
    ("", ""), ("\n\n", "\n\n"), ("#", "#"), (" # x\n  \n", ".###\n..\n"),
]  # fmt: skip
NEWER = [
    ("type X[T] = list[T]\ntype = 3", "kkkk.T+n+.+.nnnn+n+\nTTTT.+.0"),
    ("def f[T](p: T): pass", "kkk.D+n++P+.n++.kkkk"),
    ("s = f'{a['b']}' + f(x)", "T.+." + 11 * '"' + ".+.C+n+"),
    ("s = f'{f'{x}' + f'{y}'}'", "T.+." + 20 * '"'),
]


@pytest.mark.parametrize(("text", "letters"), EXAMPLES)
def test_examples(text: str, letters: str) -> None:
    assert in_letters(text) == letters


@pytest.mark.skipif(sys.version_info < (3, 12), reason="newer syntax")
@pytest.mark.parametrize(("text", "letters"), NEWER)
def test_examples_of_newer_syntax(text: str, letters: str) -> None:
    assert in_letters(text) == letters


# ---- programs made together with their labels ----------------------------------------------------------------------------------------

Pieces = list[tuple[str, str]]  # of text, each with the letter of its label
words = st.sampled_from(["a", "b2", "_c", "é", "名前", "match", "case", "type", "print", "f", "rb"])


def op(text: str) -> tuple[str, str]:
    return text, "+"


def listed(items: list[Pieces]) -> Pieces:
    return [piece for i, item in enumerate(items) for piece in ([op(",")] if i else []) + item]


def bracketed(pieces: Pieces, kind: str = "()") -> Pieces:
    return [op(kind[0]), *pieces, op(kind[1])]


literals = st.sampled_from([("1", "0"), ("0x_f", "0"), ("2.5e3", "0"), ("'s'", '"'), ('"""é\n\'"""', '"'), ("f'{a(b=c)} é'", '"'),
                            ("rb'='", '"'),
                            ("None", "k")])  # fmt: skip


@st.composite
def called(draw: Any, inner: Any) -> Pieces:
    """A call with arguments, of a name, of a method, or of what is no name."""
    kind, name = draw(st.sampled_from(["name", "method", "other"])), draw(words)
    head: Pieces = (
        [(name, "C")]
        if kind == "name"
        else [*bracketed(draw(inner)), op("."), (name, "C")]
        if kind == "method"
        else bracketed(draw(inner), "[]")
    )
    keywords = draw(st.lists(words, max_size=2, unique=True))
    arguments = draw(st.lists(inner, max_size=2)) + [[(k, "A"), op("="), *draw(inner)] for k in keywords]
    return [*head, *bracketed(listed(arguments))]


expressions: Any = st.recursive(
    st.one_of(words.map(lambda w: [(w, "n")]), literals.map(lambda literal: [literal])),
    lambda inner: st.one_of(
        called(inner),
        st.tuples(words, words).map(lambda w: [(w[0], "n"), op("."), (w[1], "n")]),
        st.tuples(words, inner).map(lambda t: [(t[0], "n"), *bracketed(t[1], "[]")]),
        st.tuples(inner, st.sampled_from(["+", "==", "<=", "@", "//"]), inner).map(lambda t: bracketed([*t[0], op(t[1]), *t[2]])),
        st.tuples(words, inner).map(lambda t: bracketed([(t[0], "T"), op(":="), *t[1]])),
        st.tuples(words, inner).map(lambda t: bracketed([("lambda", "k"), (t[0], "P"), op("="), *t[1], op(":"), *t[1]])),
        st.tuples(inner, inner).map(lambda t: bracketed([*t[0], ("if", "k"), *t[1], ("else", "k"), *t[0]])),
    ),
    max_leaves=6,
)
single_targets: Any = st.one_of(
    words.map(lambda w: [(w, "T")]),
    st.tuples(words, words).map(lambda w: [(w[0], "n"), op("."), (w[1], "T")]),
    st.tuples(words, expressions, words).map(lambda t: [(t[0], "n"), *bracketed(t[1], "[]"), op("."), (t[2], "T")]),
    st.tuples(words, expressions).map(lambda t: [(t[0], "n"), *bracketed(t[1], "[]")]),
)
targets: Any = st.recursive(
    single_targets,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: bracketed(listed(items), "[]")),
        st.tuples(inner, inner).map(lambda t: bracketed([op("*"), *t[0], op(","), *t[1]])),
    ),
    max_leaves=4,
).filter(lambda pieces: pieces[:2] != [op("("), op("*")] or pieces[2] != op("("))
statements: Any = st.one_of(
    expressions,
    st.tuples(targets, expressions).map(lambda t: [*t[0], op("="), *t[1]]),
    st.tuples(single_targets, st.sampled_from(["+=", "**=", ">>="]), expressions).map(lambda t: [*t[0], op(t[1]), *t[2]]),
    st.tuples(words, expressions, expressions).map(lambda t: [(t[0], "T"), op(":"), *t[1], op("="), *t[2]]),
    st.tuples(words, expressions).map(lambda t: [("for", "k"), (t[0], "n"), ("in", "k"), *t[1], op(":"), ("pass", "k")]),
    st.tuples(words, words, expressions).map(
        lambda t: [("def", "k"), (t[0], "D"), *bracketed([op("**"), (t[1], "P"), op(":"), *t[2]]), op(":"), ("return", "k"), *t[2]]
    ),
)


@st.composite
def programs(draw: Any) -> tuple[str, str]:
    """A program and its letters: statements, their pieces set apart by any white space that the place allows."""
    text = letters = ""
    for pieces in draw(st.lists(statements, min_size=1, max_size=3)):
        depth, before = 0, ""
        for piece, letter in pieces:
            wordlike = before[-1:].isidentifier() or before[-1:].isdigit()
            gaps = [" ", "\t ", " \\\n "] + ([" # = (\n", "\n"] if depth else []) + ([""] if not wordlike or letter == "+" else [])
            gap = draw(st.sampled_from(gaps)) if before else ""
            if before[:1].isdigit() and piece == ".":
                gap = " "
            comment = gap.find("#")
            text += gap + piece
            letters += ("." * len(gap) if comment < 0 else "." * comment + "#" * (len(gap) - comment - 1) + ".") + letter * len(piece)
            depth += (piece in "([{") - (piece in ")]}") if letter == "+" else 0
            before = piece
        ending = draw(st.sampled_from(["\n", "\n\n", "  # x\n", " ;\n"]))
        text += ending
        letters += {"\n": ".", "\n\n": "..", "  # x\n": "..###.", " ;\n": ".+."}[ending]
    return text, letters


@given(programs())
def test_a_program_made_with_its_labels_gets_them(program: tuple[str, str]) -> None:
    text, letters = program
    assert [NAMES[label] for label in labels(text)] == [CODES[letter] for letter in letters], text


# ---- what holds of any text ----------------------------------------------------------------------------------------------------------

fragments = st.sampled_from(
    ["a", "é", "℘", "1", "'s'", '"""m\n"""', "f'{a!r:>{b}}'", "f'{{'", "(", ")", "[", "]", "=", ":=", ":", ",", ".", "*", "@",
     "lambda ",     "def ", "class ",
     "if ", "for ", " in ", "match ", "case ", "type ", "_", "not ", "# c", " ", "\n", "\n ", "\\\n", "\t", "\f", "\ufeff",
     "\u2028", "\x0b", "\x1c", "$", "?", "'''", "\\", "\ud800", "\0"]
)  # fmt: skip
FILES = sorted(Path(__file__).parents[1].glob("models/*.py"))


def check(text: str) -> None:
    """Every character has a label; white space is white space; and no word has two."""
    marks = labels(text)
    assert len(marks) == len(text)
    for c, label in zip(text, marks, strict=True):
        if NAMES[label] == "space":
            assert c.isspace() or c == "\\", (text, c)
        else:
            assert not c.isspace() or NAMES[label] in ("string", "comment"), (text, c)


@given(st.lists(fragments, max_size=9).map("".join))
def test_any_text_is_labelled_wholly_or_refused(text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of 1if, which is a number and a keyword
            ast.parse(text)
    except (SyntaxError, ValueError):
        with pytest.raises(SyntaxError):
            labels(text)
    else:
        check(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_labelled_as_their_tokens_say(path: Path) -> None:
    text = path.read_text()
    check(text)
    marks, starts = labels(text), [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start = starts[token.start[0] - 1] + token.start[1]
        said = {NAMES[label] for label in marks[start : start + len(token.string)]}
        if token.type == tokenize.NAME and marks[start] != STRING:
            assert len(said) == 1
            assert not keyword.iskeyword(token.string) or said == {"keyword"}
            assert said <= {"keyword", "name", "call", "target", "argument", "parameter", "definition"}


def test_every_label_is_explained_and_occurs() -> None:
    assert {NAMES[label] for path in FILES for label in labels(path.read_text())} == set(LABELS)


@pytest.mark.parametrize("text", ["x = (", "x = '", "def", "  x", "if a:\nb", "a\0b", "x = \ud800", "(" * 5000, "\\", "'''", "a b"])
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(SyntaxError):
        labels(text)


def test_carriage_returns_are_refused() -> None:
    with pytest.raises(ValueError, match="universal newlines"):
        labels("x = 1\r\n")


# ---- source files --------------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_in_the_encoding_that_it_declares_and_its_lines_end_in_newlines(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    for raw, text in [
        ("é = 1\r\n".encode(), "é = 1\n"), ("# coding: latin-1\rx = 'é'".encode("latin-1"), "# coding: latin-1\nx = 'é'"),
        (b"\xef\xbb\xbfx", "x"), (b"", ""),
    ]:  # fmt: skip
        file.write_bytes(raw)
        assert read_source(file) == text
    for raw in (b"x = '\xe9'", b"# coding: nonsense\n", b"# coding: ascii\n\n\n# \xe9\n"):
        file.write_bytes(raw)
        with pytest.raises(SyntaxError):
            read_source(file)


def test_files_that_are_python_come_in_an_order_of_their_names_alone(tmp_path: Path) -> None:
    def fill(folder: Path, names: list[str]) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(f"# {name}\nx = 1\n")

    names = ["a.py", "b.py", "c/d.py", "c/e/f.py", "g.py"]
    fill(tmp_path / "one", names)
    fill(tmp_path / "other", [*names[::-1], "z.py"])
    (tmp_path / "one" / "broken.py").write_text("x = (")
    (tmp_path / "one" / "bytes.py").write_bytes(b"\xff\xfe")
    (tmp_path / "one" / "notes.txt").write_text("x = 1")
    (tmp_path / "one" / "folder.py").mkdir()
    (tmp_path / "one" / "long.py").write_text("x = 1\n" * 100)
    one = list(labelled_files(tmp_path / "one", shortest=2, longest=99))
    assert sorted(name for name, _, _ in one) == names
    assert [name for name, _ in source_files(tmp_path / "other") if name != "z.py"] == [name for name, _, _ in one]
    assert [name for name, _, _ in one] != names
    for name, text, marks in one:
        assert text == f"# {name}\nx = 1\n"
        assert marks == labels(text)


def test_the_standard_library_has_source() -> None:
    files = dict(source_files(None))
    assert {"ast.py", "tokenize.py"} <= set(files)
    assert all("/" not in name for name in files)
