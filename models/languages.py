"""Which language is a name in?  A sequence in, one answer out (many-to-one: Chaudhury 2024, ch. 10).

    python -m models.languages   train, and tell unseen names apart; about a minute and a half
    python -m models.languages sample --checkpoint runs/languages "Rzeczpospolita"   the probabilities for yours

The names are those that Unicode's locale data, by way of Babel, gives to territories, languages, currencies and scripts: "Deutschland",
"chovarština", "peso colombien".  A name that two of the ten languages share, whatever its capitals, is left out: it has no one answer.
One name in five is never trained on.

Two GRUs read the name, one from each end, and what they hold when they are through is all that the answer is made of.  There are six
weights for each of the 6,500 names to learn from: that the network does not learn them by heart is the work of dropout, and of hiding
characters, each with a small probability, while it learns.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator

from models.experiment import CELLS, Experiment, load_checkpoint, load_model
from models.seq2seq import padded
from models.stacked import stacked
from models.task import Problem, fraction, picture, positive, run, write_text
from tinygrad_seq import Tensor, cross_entropy, no_grad, softmax
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.nn import Dropout, Embedding, Linear, Module
from tinygrad_seq.record import Array

LANGUAGES = {"cs": "Czech", "pl": "Polish", "de": "German", "nl": "Dutch", "en": "English", "fr": "French", "es": "Spanish",
             "it": "Italian", "fi": "Finnish", "tr": "Turkish"}  # fmt: skip  # those akin beside each other
NAMES = tuple(LANGUAGES.values())
KINDS = ("territories", "languages", "currencies", "scripts")
HELD_OUT = 5  # one name in five is never trained on

# ---- names ---------------------------------------------------------------------------------------------------------------------------


class Labelled(NamedTuple):
    """Names, and the number of the language of each, (N,)."""

    names: list[str]
    labels: Array


def written_by(language: str) -> set[str]:
    """The names that a language has for things, of letters, hyphens and apostrophes; remarks in brackets are left out."""
    try:
        from babel import Locale
    except ImportError as error:
        raise Problem("this task takes its names from Babel; install it: pip install -e '.[data]'.") from error
    locale = Locale(language)
    names = {re.sub(r"\s*\([^)]*\)", "", name) for kind in KINDS for name in getattr(locale, kind).values()}
    words = {re.sub(r"\s+", " ", name).strip() for name in names}
    return {name for name in words if re.fullmatch(r"[^\W\d_]+(?:[ \-'’ʻʼ]+[^\W\d_]+)*", name)}


def of_one_language(names: dict[str, set[str]]) -> Labelled:
    """The names that only one language has, whatever the capitals, in sorted order."""
    owners = Counter(name for own in names.values() for name in {name.casefold() for name in own})
    kept = sorted((name, i) for i, own in enumerate(names.values()) for name in own if owners[name.casefold()] == 1)
    return Labelled([name for name, _ in kept], np.array([i for _, i in kept], np.intp))


def held_out(name: str) -> bool:
    """Whether a name is kept for the test: a rule of the name alone, whatever its capitals."""
    return zlib.crc32(name.casefold().encode()) % HELD_OUT == 0


@cache
def all_names() -> Labelled:
    """What Babel has."""
    return of_one_language({language: written_by(language) for language in LANGUAGES})


@cache
def part(*, test: bool) -> Labelled:
    """The names to learn from, or those held out."""
    names, labels = all_names()
    chosen = np.array([held_out(name) == test for name in names])
    return Labelled([name for name, own in zip(names, chosen, strict=True) if own], labels[chosen])


@cache
def letters() -> Vocabulary:
    """The characters of all names."""
    return Vocabulary("".join(all_names().names))


# ---- what simpler methods make of it -------------------------------------------------------------------------------------------------


def groups(name: str, n: int) -> list[str]:
    """The groups of n characters that follow each other in a name; for n > 1 its beginning and its end are marked."""
    marked = name if n == 1 else f"{'^' * (n - 1)}{name}$"
    return [marked[i : i + n] for i in range(len(marked) - n + 1)]


def naive_bayes(known: Labelled, names: Sequence[str], n: int, extra: float) -> Array:
    """The log of P(language) Π P(group | language) over the groups of n characters in each name, (N, languages).

    Both are counted in the known names; each count of a group is raised by `extra`, so that none is 0 (Laplace 1814).
    """
    found = [groups(name, n) for name in known.names]
    rows = {group: i for i, group in enumerate(sorted({group for own in found for group in own}))}
    counts = np.zeros((len(rows) + 1, len(LANGUAGES)))  # the last row is for groups that were never seen
    seen = np.array([rows[group] for own in found for group in own])
    np.add.at(counts, (seen, np.repeat(known.labels, [len(own) for own in found])), 1)
    log_p = np.log((counts + extra) / (counts + extra).sum(axis=0))
    with np.errstate(divide="ignore"):
        prior = np.log(np.bincount(known.labels, minlength=len(LANGUAGES)) / len(known.labels))
    return np.array([prior + log_p[[rows.get(group, -1) for group in groups(name, n)]].sum(axis=0) for name in names])


@cache
def baseline_accuracies() -> dict[str, float]:
    """What the commonest language and naive Bayes get right of the names held out; of several `extra` the best, which favours Bayes."""
    known, asked = part(test=False), part(test=True)
    levels = {"commonest language": float((asked.labels == np.bincount(known.labels).argmax()).mean())}
    for n in (1, 2, 3):
        right = [(naive_bayes(known, asked.names, n, extra).argmax(axis=1) == asked.labels).mean() for extra in (0.05, 0.2, 1)]
        levels[f"Bayes on {n} character{'s' if n > 1 else ''}"] = float(max(right))
    return levels


# ---- the model -----------------------------------------------------------------------------------------------------------------------


class Classifier(Module):
    """y = W [h→; h←] + b, the scores of which softmax makes probabilities: h→ and h← (N, H) are the last states of two cells that read
    the name, a vector (E) for each character, from its two ends.

    names (T, N), integers below `symbols`, and their lengths (N,) -> scores (N, K) of K classes.  dropout: on [h→; h←], and between
    layers.
    """

    def __init__(
        self, cell: str, symbols: int, embedding: int, hidden: int, classes: int, *, layers: int = 1, dropout: float = 0.0,
        rng: Generator, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        self.embedding = Embedding(symbols, embedding, rng=rng, dtype=dtype)
        self.layers = stacked(CELLS[cell], embedding, hidden, layers=layers, bidirectional=True, dropout=dropout, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)
        self.output = Linear(2 * hidden, classes, rng=rng, dtype=dtype)

    def forward(self, names: Array, lengths: Array) -> Tensor:
        """The scores, (N, K)."""
        scores: Tensor = self.output(self.dropout(self.layers(self.embedding(names), lengths=lengths, packed=True).last))
        return scores


def classifier(arguments: argparse.Namespace, symbols: int, rng: Generator) -> Classifier:
    """The model that the options describe; one symbol more than the characters stands for a hidden one."""
    options = {"layers": arguments.layers, "dropout": arguments.dropout}
    return Classifier(arguments.cell, symbols + 1, arguments.embedding, arguments.hidden, len(LANGUAGES), rng=rng, **options)


def probabilities(model: Classifier, names: Iterable[str], vocabulary: Vocabulary) -> Array:
    """P(language | name) for each name, (N, languages); ValueError for an empty name or a character that no name has."""
    model.eval()
    with no_grad():
        p = softmax(model(*padded([vocabulary.encode(name) for name in names]))).numpy()
    model.train()
    return p


# ---- the task ------------------------------------------------------------------------------------------------------------------------


class Languages(Experiment):
    """Names that were never trained on, each given to one of ten languages."""

    name = "languages"
    measure = "of unseen names right"
    time = "about a minute and a half of one core"
    defaults: ClassVar[dict[str, Any]] = {"cell": "gru", "hidden": 64, "batch": 64, "steps": 2500, "lr": 6e-3}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """The depth, and what keeps the network from learning by heart."""
        more = parser.add_argument_group("the reader of names")
        more.add_argument("--embedding", type=positive(int), default=32, metavar="E", help="numbers for a character (default: %(default)s)")
        more.add_argument("--layers", type=positive(int), default=1, metavar="L", help="on top of each other (default: %(default)s)")
        more.add_argument("--dropout", type=fraction, default=0.5, metavar="P", help="before the answer (default: %(default)s)")
        more.add_argument("--hide", type=fraction, default=0.15, metavar="P", help="characters hidden in training (default: %(default)s)")

    def prepare(self) -> None:
        """The names as numbers, and the model."""
        self.known, self.asked = part(test=False), part(test=True)
        self.encoded = [letters().encode(name) for name in self.known.names]
        self.model: Classifier = classifier(self.arguments, len(letters()), self.rng)

    def describe(self) -> list[str]:
        """How many names there are."""
        return [f"names      {len(self.known.names):,} to learn from, {len(self.asked.names):,} held out, in {len(LANGUAGES)} languages",
                f"           such as {', '.join(self.asked.names[100::400][:4])}"]  # fmt: skip

    def config(self) -> dict[str, Any]:
        """The characters, and a sum over the names and their languages."""
        lines = "\n".join(f"{name} {NAMES[label]}" for name, label in zip(*all_names(), strict=True))
        return {"letters": "".join(letters().symbols), "names": zlib.crc32(lines.encode())}

    def check_config(self, config: dict[str, Any]) -> None:
        """A Problem where the names are others."""
        if config["names"] != self.config()["names"]:
            raise Problem("the run was trained on the names of another version of Babel; install that one, or start anew.")

    def baselines(self) -> dict[str, float]:
        """The commonest language, and naive Bayes on groups of 1, 2 and 3 characters."""
        return baseline_accuracies()

    def loss(self) -> Tensor:
        """The cross-entropy of a batch of names of about one length, some of their characters hidden."""
        drawn = self.rng.integers(0, len(self.encoded), 8 * self.arguments.batch)
        by_length = drawn[np.argsort([len(self.encoded[i]) for i in drawn], kind="stable")]
        chosen = by_length.reshape(8, -1)[self.rng.integers(8)]  # each name as likely as any other, and steps saved that pad short ones
        names, lengths = padded([self.encoded[i] for i in chosen])
        names[self.rng.random(names.shape) < self.arguments.hide] = len(letters())
        return cross_entropy(self.model(names, lengths), self.known.labels[chosen])

    def score(self) -> float:
        """The share of unseen names whose language is the likeliest."""
        return float((probabilities(self.model, self.asked.names, letters()).argmax(axis=1) == self.asked.labels).mean())

    def report(self, folder: Path) -> list[str]:
        """What is right in each language, what is taken for what, and the surest mistakes."""
        p = probabilities(self.model, self.asked.names, letters())
        counts = confusion(self.asked.labels, p.argmax(axis=1))
        text = "\n".join([*by_language(counts), "", *mistakes(self.asked, p)])
        print(f"\n{text}")
        write_text(folder / "languages.txt", text + "\n")
        draw_confusion(folder / "confusion.svg", counts)
        return ["languages.txt  what is right in each language, and the surest mistakes", "confusion.svg  what is taken for what"]


def confusion(labels: Array, answers: Array) -> Array:
    """How many names of each language (rows) are taken for names of each (columns)."""
    counts = np.zeros((len(LANGUAGES), len(LANGUAGES)), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


def by_language(counts: Array) -> list[str]:
    """Of a confusion matrix, for each language: how much of it is found, how much of what is taken for it is it, and its worst rival."""
    lines = [f"{'':8}{'names':>6}{'found':>8}{'of those so called':>20}   most often taken for"]
    for i, language in enumerate(NAMES):
        right, own, called = counts[i, i], counts[i].sum(), counts[:, i].sum()
        others = np.where(np.arange(len(NAMES)) == i, 0, counts[i])
        rival = f"{NAMES[others.argmax()]} ({others.max()})" if others.max() else ""
        lines.append(f"{language:8}{own:6}{share(right, own):>8}{share(right, called):>20}   {rival}".rstrip())
    return lines


def share(count: int, whole: int) -> str:
    """A part of a whole in per cent."""
    return f"{100 * count / whole:.1f}%" if whole else "-"


def mistakes(asked: Labelled, p: Array, count: int = 10) -> list[str]:
    """The mistakes of which the network is surest; p (N, languages)."""
    wrong = np.flatnonzero(p.argmax(axis=1) != asked.labels)
    surest = wrong[np.argsort(-p[wrong].max(axis=1), kind="stable")][:count]
    lines = [f"{len(wrong)} of {len(asked.names)} are wrong" + (", the surest:" if len(wrong) else ".")]
    return lines + [f"  {asked.names[i]}: {NAMES[p[i].argmax()]} (p = {p[i].max():.2f}), not {NAMES[asked.labels[i]]}" for i in surest]


def draw_confusion(path: Path, counts: Array) -> None:
    """A row for each language, its names by what they are taken for: the shade is the share of the row, the number a count."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with picture(path, 7.2, 6) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=9, color="white" if shares[i, j] > 0.5 else "0.2")
        axes.set_xticks(range(len(NAMES)), NAMES, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(NAMES)), NAMES)
        axes.tick_params(length=0)
        axes.set(xlabel="taken for", ylabel="language of the name")
        axes.set_title(f"{counts.sum():,} unseen names, {share(counts.trace(), counts.sum())} right", fontsize=11)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, label="share of the language", shrink=0.8).outline.set_visible(False)


# ---- the command line ----------------------------------------------------------------------------------------------------------------


def sample(argv: Sequence[str]) -> int:
    """Say which language names are in, by a trained model."""
    parser = argparse.ArgumentParser(prog="python -m models.languages sample", description="Say which language a name is in.")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="of the run, or its checkpoint file")
    parser.add_argument("name", nargs="+", help="a name, with its capitals")
    arguments = parser.parse_args(argv)
    arrays, config = load_checkpoint("languages", arguments.checkpoint)
    vocabulary = Vocabulary(config["letters"])
    names = [readable(name, vocabulary) for name in arguments.name]
    model = classifier(argparse.Namespace(**config["arguments"]), len(vocabulary), np.random.default_rng(0))
    load_model(model, arrays)
    for name, p in zip(names, probabilities(model, names, vocabulary), strict=True):
        print(name)
        for i in np.argsort(-p, kind="stable"):
            print(f"  {NAMES[i]:8} {p[i]:.3f} {'█' * round(40 * p[i])}".rstrip())
    return 0


def readable(text: str, vocabulary: Vocabulary) -> str:
    """A name as the network reads it, each letter with its accent as one character; a Problem where it is empty or has others."""
    name = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()
    if not name:
        raise Problem("an empty name is in no language; give one of at least one letter.")
    try:
        vocabulary.encode(name)
    except ValueError as error:
        raise Problem(f"cannot read {text!r}: {error}") from error
    return name


def main(argv: Sequence[str]) -> int:
    """`sample ...`, or the options of a training run."""
    return sample(argv[1:]) if argv[:1] == ["sample"] else Languages.main(argv)


if __name__ == "__main__":
    run(main)
