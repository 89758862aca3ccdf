"""What is each character of a Python program? Reading in one direction against reading in both (Chaudhury 2024, ch. 10).

    python -m models.tagger                                            train two networks and compare them; about four minutes
    python -m models.tagger label --checkpoint runs/tagger FILE.py     colour a file by what they make of it

In `total = sum(w, start=0)` the name `total` is a target, `sum` a call, `w` a name, `start` an argument: what a name is shows only behind
it.  A network that reads from left to right must guess, and is often wrong for it; one that reads in both directions has seen the `=` and
the parenthesis.  Both learn from the same windows of the standard library's source, labelled by `tokenize` and `ast`, and both have as
many units, H in one direction, or H/2 in each of two, which have fewer weights.

Look-ups give the numbers their meaning: for each character, the commonest label of the longest context, to the left or to both sides,
that the training text holds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator

from models.experiment import CELLS, Experiment, load_checkpoint, load_model
from models.python_labels import LABELS, NAMES, labelled_files, labels, read_source
from models.stacked import stacked
from models.tagger_show import LEGEND, class_table, draw_classes, draw_snippet, in_colours, liveliest, with_letters
from models.task import Problem, positive, run, write_text
from tinygrad_seq import Tensor, cross_entropy, no_grad
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.record import Array

DIRECTIONS = ("forward", "bidirectional")
K = len(LABELS)

# ---- characters ----------------------------------------------------------------------------------------------------------------------

SYMBOLS = "\n\t" + "".join(map(chr, range(32, 127)))
LETTER, OTHER = len(SYMBOLS), len(SYMBOLS) + 1  # what is beyond ASCII
V = len(SYMBOLS) + 2
_KNOWN = np.array([SYMBOLS.find(chr(point)) for point in range(127)] + [OTHER])
_KNOWN[_KNOWN < 0] = OTHER


def encoded(text: str) -> Array:
    """A text as symbols (len(text),): those of ASCII, and one each for all other letters and for all the rest."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    ids = _KNOWN[np.minimum(points, 127)]
    for point in np.unique(points[points > 127]):
        if ("a" + chr(point)).isidentifier():
            ids[points == point] = LETTER
    return np.asarray(ids)


class Labelled(NamedTuple):
    """Files joined: the text, its symbols and its labels, each (L,)."""

    files: list[str]
    text: str
    ids: Array
    labels: Array


class Corpus:
    """Files held out, the first of the folder that fill `held` characters, and files to learn from, the next ones that fill `train`.

    Where there are fewer characters, an eighth is held out.  Raises Problem where there are no two files, or hardly any text.
    """

    def __init__(self, folder: Path | None, train: int, held: int) -> None:
        files, total = [], 0
        for file in labelled_files(folder):
            files.append(file)
            total += len(file[1])
            if total >= train + held:
                break
        held = min(held, total // 8)
        sizes = np.cumsum([len(text) for _, text, _ in files])
        cut = int(np.searchsorted(sizes, held)) + 1
        if total < 4000 or cut >= len(files):
            where = folder or "the standard library of this Python"
            raise Problem(
                f"{where} has {len(files)} Python files of 500 to 60,000 characters, {total:,} in all; give --source a folder with more."
            )
        self.held, self.train = _joined(files[:cut]), _joined(files[cut:])
        self.sha256 = hashlib.sha256((self.train.text + "\0" + self.held.text).encode()).hexdigest()


def _joined(files: Sequence[tuple[str, str, bytes]]) -> Labelled:
    names, texts, marks = zip(*files, strict=True)
    text = "".join(texts)
    return Labelled(list(names), text, encoded(text), np.frombuffer(b"".join(marks), np.uint8).astype(np.int64))


# ---- look-ups ------------------------------------------------------------------------------------------------------------------------


def look_ups(train: Labelled, ids: Array, at: Array, sides: Sequence[int]) -> list[Array]:
    """The labels of the symbols `ids` at the places `at`, by contexts that grow: by none first, then one symbol more from each of `sides`,
    which are distances from the place.  Each is the commonest label of that context in `train`; where it never occurs, that of the last
    one that does.
    """
    reach = max(abs(side) for side in sides)
    known, asked = (np.pad(a, reach) for a in (train.ids, ids))  # ends are newlines, symbol 0
    places, at = np.arange(len(train.ids)) + reach, at + reach
    code, wanted = known[places], asked[at]
    said, answers = np.zeros(len(at), np.int64), []
    for side in [0, *sides]:
        if side:
            code, wanted = code * V + known[places + side], wanted * V + asked[at + side]
        seen, wanted = np.unique(wanted, return_inverse=True)
        code, full = np.searchsorted(seen, code).clip(max=len(seen) - 1), code
        kept = seen[code] == full  # contexts that are asked for
        code, places = code[kept], places[kept]
        counts = np.bincount(code * K + train.labels[places - reach], minlength=len(seen) * K).reshape(-1, K)
        said = np.where(counts.sum(axis=1)[wanted] > 0, counts.argmax(axis=1)[wanted], said)
        answers.append(said)
    return answers


def best(answers: Sequence[Array], true: Array) -> Array:
    """The answers that are right most often: a look-up with as much context as does it good, chosen on the test itself."""
    return max(answers, key=lambda said: float((said == true).mean()))


LEFT = tuple(range(-1, -13, -1))
BOTH = tuple(side for d in range(1, 8) for side in (d, -d))

# ---- the networks --------------------------------------------------------------------------------------------------------------------


class Tagger(Module):
    """Recurrent layers under a softmax over the labels, at each character: p(label_t) = softmax(W_y h_t + b_y).

    forward: h_t of a cell with H units, which has read x_0 ... x_t.  bidirectional: h_t = [h→_t; h←_t] of two with H/2 units each, which
    have read x_0 ... x_t and x_T ... x_t.  Symbols (T, N) -> scores (T, N, K).
    """

    def __init__(self, cell: str, hidden: int, layers: int, direction: str, *, rng: Generator, dtype: Any = np.float32) -> None:
        both = direction == "bidirectional"
        units = hidden // 2 if both else hidden
        self.stack = stacked(CELLS[cell], V, units, layers=layers, bidirectional=both, rng=rng, dtype=dtype)
        self.output = Linear(hidden, K, rng=rng, dtype=dtype)

    def forward(self, xs: Array) -> Tensor:
        """Symbols xs (T, N) -> the scores of their labels (T, N, K)."""
        scores: Tensor = self.output(self.stack(xs, fused=True).outputs)
        return scores


class Taggers(Module):
    """The networks to be compared, by the direction that they read in; each starts from random numbers of its own."""

    def __init__(self, arguments: argparse.Namespace, seed: int) -> None:
        if arguments.hidden % 2:
            raise Problem(f"--hidden {arguments.hidden} cannot be halved between two directions; give an even number.")
        self.networks = {}
        for direction in DIRECTIONS if arguments.direction == "compare" else [arguments.direction]:
            rng = np.random.default_rng([seed, DIRECTIONS.index(direction)])
            self.networks[direction] = Tagger(arguments.cell, arguments.hidden, arguments.layers, direction, rng=rng)


BODY, MARGIN = 128, 64  # of a window that is labelled: what counts, and what is read before and after it


def read(network: Tagger, ids: Array, starts: Array | None = None) -> Array:
    """The network's labels of the blocks of BODY symbols that begin at `starts`, (len(starts), BODY); of all blocks by default.

    Each block is read with MARGIN symbols on either side, newlines where the text has ended.
    """
    starts = np.arange(0, len(ids), BODY) if starts is None else starts
    window = np.pad(ids, (MARGIN, MARGIN + BODY))[starts[:, None] + np.arange(BODY + 2 * MARGIN)].T
    said = []
    with no_grad():
        for n in range(0, len(starts), 64):
            scores = network(window[:, n : n + 64]).data[MARGIN : MARGIN + BODY]
            said.append(scores.argmax(axis=-1).T)
    return np.concatenate(said)


# ---- the task ------------------------------------------------------------------------------------------------------------------------


def f1(said: Array, true: Array) -> Array:
    """F1 of each label, 2 TP / (2 TP + FP + FN); NaN for one that neither is true nor was said."""
    confusion = np.bincount(true * K + said, minlength=K * K).reshape(K, K)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.divide(2 * np.diag(confusion), total, out=np.full(K, np.nan), where=total > 0)


class Tagging(Experiment):
    """Two networks side by side: the same windows, separate weights; the score is that of the last one, which reads both ways."""

    name = "tagger"
    measure = "of unseen files' characters right"
    time = "about four minutes on two cores"
    defaults: ClassVar[dict[str, Any]] = {"cell": "gru", "hidden": 128, "batch": 64, "steps": 1000, "lr": 6e-3}
    full: ClassVar[dict[str, Any]] = {"steps": 5000}
    evaluations = 10
    changeable = (*Experiment.changeable, "source")
    train_size, held_size, judged = 1_200_000, 200_000, 64_000  # characters: to learn from, held out, and of these judged by

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """What is read, and how."""
        more = parser.add_argument_group("reading")
        more.add_argument(
            "--direction", choices=["compare", *DIRECTIONS], default="compare", help="which networks to train (default: %(default)s)"
        )
        more.add_argument("--layers", type=positive(int), default=1, help="recurrent layers (default: %(default)s)")
        more.add_argument("--length", type=positive(int), default=64, metavar="T", help="characters in a window (default: %(default)s)")
        more.add_argument("--source", metavar="FOLDER", help="Python files to learn from (default: those of the standard library)")

    def prepare(self) -> None:
        """Label the files, make the networks."""
        arguments = self.arguments
        if arguments.source and not Path(arguments.source).is_dir():
            raise Problem(f"--source {arguments.source} is no folder; give one that holds Python files.")
        self.model: Taggers = Taggers(arguments, self.seed)
        self.corpus = Corpus(Path(arguments.source) if arguments.source else None, self.train_size, self.held_size)
        held = len(self.corpus.held.ids)
        if arguments.length > len(self.corpus.train.ids) // 2:
            raise Problem(f"--length {arguments.length} is more than half of the {len(self.corpus.train.ids):,} characters to learn from.")
        starts = np.arange(0, held - BODY + 1, BODY)
        self.starts = starts[:: max(1, round(held / self.judged))]
        self.places = (self.starts[:, None] + np.arange(BODY)).reshape(-1)
        self.true = self.corpus.held.labels[self.places]
        self.right: dict[str, list[float]] = {direction: [] for direction in self.model.networks}  # at each evaluation

    def describe(self) -> list[str]:
        """What is learned from, and the networks."""
        train, held = self.corpus.train, self.corpus.held
        counts = {name: sum(p.size for p in network.parameters()) for name, network in self.model.networks.items()}
        return [f"source     {len(train.files)} files, {len(train.ids):,} characters to learn from; {len(held.files)} files held out,",
                f"           {len(self.true):,} of their characters judged, such as those of {', '.join(held.files[:3])}",
                f"networks   {', '.join(f'{name} {count:,} parameters' for name, count in counts.items())}"]  # fmt: skip

    @cached_property
    def simple(self) -> dict[str, Array]:
        """What look-ups say of the characters to be judged."""
        train, ids = self.corpus.train, self.corpus.held.ids
        usual = np.bincount(train.labels, minlength=K).argmax()
        left, both = (best(look_ups(train, ids, self.places, sides), self.true) for sides in (LEFT, BOTH))
        return {"commonest label": np.full(len(self.true), usual), "look-up, left": left, "look-up, both sides": both}

    def baselines(self) -> dict[str, float]:
        """The commonest label, and look-ups with context on the left and on both sides."""
        return {name: float((said == self.true).mean()) for name, said in self.simple.items()}

    def loss(self) -> Tensor:
        """The cross-entropy of a batch of windows, summed over the networks."""
        train, arguments = self.corpus.train, self.arguments
        window = self.rng.integers(0, len(train.ids) - arguments.length + 1, arguments.batch) + np.arange(arguments.length)[:, None]
        xs, targets = train.ids[window], train.labels[window]
        total, *others = [cross_entropy(network(xs), targets) for network in self.model.networks.values()]
        for other in others:
            total = total + other
        return total

    def clipped_together(self) -> list[list[Tensor]]:
        """Each network by itself, so that it learns in company what it would learn alone."""
        return [network.parameters() for network in self.model.networks.values()]

    def said(self) -> dict[str, Array]:
        """What each network says of the characters to be judged."""
        return {name: read(network, self.corpus.held.ids, self.starts).reshape(-1) for name, network in self.model.networks.items()}

    def score(self) -> float:
        """The share of characters that the last network labels right."""
        for name, said in self.said().items():
            self.right[name].append(float((said == self.true).mean()))
        return self.right[name][-1]

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """The score of each network, that of the last one first."""
        steps = [step for step, _ in self.scores]
        return {name: list(zip(steps, right, strict=True)) for name, right in reversed(self.right.items())}

    def arrays(self) -> dict[str, Array]:
        """The scores of each network."""
        return {name: np.array(right) for name, right in self.right.items()}

    def restore_arrays(self, arrays: dict[str, Array]) -> None:
        """Take the scores back."""
        self.right = {name: arrays[name].tolist() for name in self.right}

    def config(self) -> dict[str, Any]:
        """Which source."""
        return {"source": self.corpus.sha256}

    def check_config(self, config: dict[str, Any]) -> None:
        """A Problem where the source is another."""
        if config["source"] != self.corpus.sha256:
            raise Problem("the run learned from other files; resume it with the same version of Python, or with the same --source.")

    def again(self, folder: Path) -> str:
        """With the source, where it was given."""
        return super().again(folder) + (f" --source {self.arguments.source}" if self.arguments.source else "")

    def report(self, folder: Path) -> list[str]:
        """F1 of each label beside the look-ups', and a piece of an unseen file with each mistake."""
        self.model.eval()
        methods = {name: said for name, said in self.simple.items() if name != "commonest label"} | self.said()
        scores = {name: f1(said, self.true) for name, said in methods.items()}
        text = "\n".join(class_table(self.true, methods, scores))
        print(f"\n{text}")
        write_text(folder / "classes.txt", text + "\n")
        draw_classes(folder / "classes.svg", scores)
        held = self.corpus.held
        start, stop = liveliest(held.text, held.labels)
        places = np.arange(start, stop, BODY)
        pieces = {name: read(network, held.ids, places).reshape(-1)[: stop - start] for name, network in self.model.networks.items()}
        draw_snippet(folder / "snippet.svg", held.text[start:stop], held.labels[start:stop], pieces)
        self.model.train()
        return [
            "classes.txt  that table",
            "classes.svg  F1 of each label, as a picture",
            "snippet.svg  a piece of an unseen file as the networks read it, mistakes marked",
        ]


# ---- the command line ----------------------------------------------------------------------------------------------------------------


def label(argv: Sequence[str]) -> int:
    """Print a file as a trained network reads it."""
    parser = argparse.ArgumentParser(
        prog="python -m models.tagger label", description="Colour a Python file by what a trained network makes of each character.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The labels:\n" + "\n".join(f"  {name:12}{meaning}" for name, meaning in LABELS.items()),
    )  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="of the run, or its checkpoint file")
    parser.add_argument("--direction", choices=DIRECTIONS, help="which network (default: the bidirectional one, where it was trained)")
    parser.add_argument(
        "--show", choices=["colours", "letters"], help="colour the text, or write letters under it (default: colours in a terminal)"
    )
    parser.add_argument("file", help="the file, finished or not; - reads standard input")
    arguments = parser.parse_args(argv)
    text = _text(arguments.file)
    arrays, config = load_checkpoint("tagger", arguments.checkpoint)
    taggers = Taggers(argparse.Namespace(**config["arguments"]), 0)
    load_model(taggers, arrays)
    direction = arguments.direction or list(taggers.networks)[-1]
    if direction not in taggers.networks:
        raise Problem(f"{arguments.checkpoint} holds no {direction} network, only: {', '.join(taggers.networks)}.")
    said = read(taggers.networks[direction], encoded(text)).reshape(-1)[: len(text)]
    try:
        true = np.frombuffer(labels(text), np.uint8)
    except SyntaxError as error:
        true, verdict = None, f"no judgement: this is no Python that {sys.version_info[0]}.{sys.version_info[1]} can read ({error.msg})"
    else:
        verdict = f"{100 * (said == true).mean():.1f} % of {len(text):,} characters right"
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    show = in_colours if (arguments.show or ("colours" if coloured else "letters")) == "colours" else with_letters
    print(show(text, said, true).rstrip("\n"))
    print(f"\n{show(*_legend()) if show is in_colours else LEGEND}\n{direction}: {verdict}")
    return 0


def _text(file: str) -> str:
    """The text of the file to be labelled; a Problem where there is none."""
    try:
        text = read_source(None if file == "-" else Path(file))
    except OSError as error:
        raise Problem(f"cannot read {file}: {error.strerror or error}. Give a Python file, or - for standard input.") from error
    except SyntaxError as error:
        raise Problem(f"{file} is not text in the encoding that it declares, UTF-8 if none: {error.msg}.") from error
    if not text:
        raise Problem(f"{file} is empty; give a file with at least one character.")
    return text


def _legend() -> tuple[str, Array]:
    """The names of the labels, and for each character of them its label."""
    return " ".join(NAMES), np.repeat(np.arange(K), [len(name) + 1 for name in NAMES])[:-1]


def main(argv: Sequence[str]) -> int:
    """`label ...`, or the options of a training run."""
    return label(argv[1:]) if argv[:1] == ["label"] else Tagging.main(argv)


if __name__ == "__main__":
    run(main)
