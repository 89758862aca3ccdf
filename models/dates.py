"""Dates in twelve languages, translated to ISO 8601 by a sequence-to-sequence model that looks back (Bahdanau et al. 2015).

    python -m models.dates                                             train and translate unseen dates; about three minutes
    python -m models.dates sample --checkpoint runs/dates "23 août 1941"   translate yours

The encoder reads "mercredi 23 septembre 1942" in both directions, the decoder writes "1942-09-23", and at each character that it writes
the attention says where in the source it looks.  The dates are written by Babel from Unicode's locale data, so there is no end to them,
and each answer can be checked exactly.
"""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from models.bidirectional import Bidirectional
from models.experiment import CELLS, Experiment, load_checkpoint, load_model
from models.seq2seq import AdditiveDecoder, Decoder, DotDecoder, Seq2Seq, Text, padded
from models.task import Problem, picture, run, write_text
from tinygrad_seq import Tensor, no_grad
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.record import Array

LANGUAGES = ("cs", "de", "el", "en", "es", "fi", "fr", "it", "nl", "pl", "pt", "tr")
FORMATS = ("full", "long", "medium")
FIRST, DAYS = datetime.date(1900, 1, 1).toordinal(), 73049  # to the end of 2099
ISO = Vocabulary("0123456789-")
DECODERS: dict[str, Any] = {"additive": AdditiveDecoder, "dot": DotDecoder, "none": Decoder}


def written(day: int, language: str, form: str) -> str:
    """The day of that number, from 1900-01-01 on, as a language writes it."""
    try:
        from babel.dates import format_date
    except ImportError as error:
        raise Problem("this task takes its dates from Babel; install it: pip install -e '.[data]'.") from error
    return re.sub(r"\s+", " ", format_date(datetime.date.fromordinal(FIRST + day), form, locale=language))


def iso(day: int) -> str:
    """The same day in ISO 8601."""
    return datetime.date.fromordinal(FIRST + day).isoformat()


def held_out(day: Any) -> Any:
    """Whether a day is kept for the test, in every language: one in ten is."""
    return (np.asarray(day) * 7919 + 13) % 104729 % 10 == 0


@cache
def letters() -> Vocabulary:
    """The characters that dates are written in: those of every day of a leap year, and all digits."""
    days = range(36524, 36524 + 366)
    return Vocabulary("".join(written(d, language, form) for d in days for language in LANGUAGES for form in FORMATS) + "0123456789")


def draw_dates(rng: Generator, count: int, *, test: bool, language: str | None = None) -> tuple[list[str], list[str]]:
    """Dates as they are written, and in ISO 8601, of the days to learn from or of those held out."""
    days = np.empty(0, np.int64)
    while len(days) < count:
        more = rng.integers(0, DAYS, 15 * count if test else 2 * count)
        days = np.concatenate([days, more[held_out(more) == test]])[:count]
    forms = [(language or LANGUAGES[rng.integers(len(LANGUAGES))], FORMATS[rng.integers(len(FORMATS))]) for _ in days]
    return [written(int(d), *form) for d, form in zip(days, forms, strict=True)], [iso(int(d)) for d in days]


def encoded(sources: Sequence[str]) -> tuple[Array, Array]:
    """Sources as symbols (S, N), and their lengths."""
    return padded([letters().encode(source) for source in sources])


def month_words(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[float, int]]:
    """For each word of known dates, how surely it means one month, and which."""
    counts: dict[str, Array] = {}
    for source, target in pairs:
        for word in set(re.findall(r"[^\W\d]+", source)):
            counts.setdefault(word, np.zeros(13))[int(target[5:7])] += 1
    return {word: (float(c.max() / (c.sum() + 1)), int(c.argmax())) for word, c in counts.items()}


def by_rule(source: str, months: dict[str, tuple[float, int]]) -> str:
    """A baseline told how dates are built: the year has four digits, the day is the other number that comes first, the month is the
    second, or else the word that means a month most surely; July where there is none."""
    numbers = re.findall(r"\d+", source)
    year = next((n for n in numbers if len(n) == 4), "2000")
    others = [int(n) for n in numbers if len(n) < 4]
    known = [months[word] for word in re.findall(r"[^\W\d]+", source) if word in months]
    month = others[1] if len(others) > 1 else max(known)[1] if known else 7
    return f"{year}-{month:02}-{others[0] if others else 15:02}"


def nearest(source: str, known: Sequence[tuple[set[str], str]]) -> str:
    """A baseline that remembers: the translation of the known date that shares most groups of three characters."""
    own = groups(source)
    return max(known, key=lambda pair: len(own & pair[0]) / len(own | pair[0]))[1]


def groups(text: str) -> set[str]:
    """The groups of three characters in a text."""
    return {text[i : i + 3] for i in range(-2, len(text))}


class Dates(Experiment):
    """A bidirectional encoder, a decoder with attention."""

    name = "dates"
    measure = "of unseen dates exactly right"
    time = "about three minutes on two cores"
    defaults: ClassVar[dict[str, Any]] = {"cell": "gru", "hidden": 64, "batch": 64, "steps": 1500, "lr": 6e-3}
    full: ClassVar[dict[str, Any]] = {"steps": 6000}
    evaluations = 10

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Which attention."""
        more = parser.add_argument_group("attention")
        more.add_argument(
            "--attention", choices=list(DECODERS), default="additive",
            help="additive looks before the decoder's step, dot after it (default: %(default)s)",
        )  # fmt: skip

    def prepare(self) -> None:
        """The model, and 600 unseen dates."""
        self.model: Seq2Seq = translator(self.arguments, self.rng)
        self.tests = draw_dates(np.random.default_rng([self.seed, 1]), 600, test=True)

    def describe(self) -> list[str]:
        """Where the dates come from."""
        return [f"dates      1900 to 2099 in {len(LANGUAGES)} languages and {len(FORMATS)} formats; one day in ten is never trained on",
                f"           such as {', '.join(self.tests[0][:3])}"]  # fmt: skip

    def baselines(self) -> dict[str, float]:
        """The nearest of 2,000 known dates, and rules that are told how a date is built."""
        pairs = list(zip(*draw_dates(np.random.default_rng([self.seed, 2]), 2000, test=False), strict=True))
        known, months = [(groups(a), b) for a, b in pairs], month_words(pairs)
        tests = list(zip(*self.tests, strict=True))
        return {
            "nearest known date": float(np.mean([nearest(s, known) == t for s, t in tests[:200]])),
            "rules, month guessed": float(np.mean([by_rule(s, {}) == t for s, t in tests])),
            "rules and month words": float(np.mean([by_rule(s, months) == t for s, t in tests])),
        }

    def loss(self) -> Tensor:
        """The cross-entropy of a batch, under teacher forcing."""
        sources, targets = draw_dates(self.rng, self.arguments.batch, test=False)
        xs, lengths = encoded(sources)
        return self.model.loss(xs, padded([ISO.encode(t) for t in targets], end=len(ISO))[0], lengths)

    def score(self) -> float:
        """The share of unseen dates that are translated without a mistake."""
        return float(np.mean([a == b for a, b in zip(translate(self.model, self.tests[0])[0], self.tests[1], strict=True)]))

    def report(self, folder: Path) -> list[str]:
        """Exactness by language, mistakes, and where the decoder looked."""
        rng, lines = np.random.default_rng([self.seed, 3]), [f"{'':4}{'right':>8}   a mistake"]
        self.model.eval()
        for language in LANGUAGES:
            sources, targets = draw_dates(rng, 100, test=True, language=language)
            answers = translate(self.model, sources)[0]
            wrong = [f"{s} -> {a}, not {t}" for s, a, t in zip(sources, answers, targets, strict=True) if a != t]
            lines.append(f"{language:4}{100 - 100 * len(wrong) / len(sources):7.0f}%   {wrong[0] if wrong else ''}")
        text = "\n".join(lines)
        print(f"\n{text}")
        write_text(folder / "languages.txt", text + "\n")
        day = next(d for d in range(15600, DAYS) if held_out(d))
        examples = [written(day, language, "full") for language in ("fr", "el", "tr")]
        answers, texts = translate(self.model, examples)
        self.model.train()
        if texts.attention is None:
            return ["languages.txt  exactness by language"]
        draw_attention(folder / "attention.svg", examples, answers, texts.attention)
        return ["languages.txt  exactness by language", "attention.svg  where the decoder looks"]


def translator(arguments: Any, rng: Generator) -> Seq2Seq:
    """The model that the options describe."""
    cell, H, V = CELLS[arguments.cell], arguments.hidden, len(letters())
    encoder = Bidirectional(cell(V, H, rng=rng), cell(V, H, rng=rng))
    memory = {} if arguments.attention == "none" else {"memory": 2 * H}
    return Seq2Seq(encoder, DECODERS[arguments.attention](cell, len(ISO), H, rng=rng, **memory), rng=rng)


def translate(model: Seq2Seq, sources: Sequence[str]) -> tuple[list[str], Text]:
    """What the model makes of dates, and where it looked."""
    with no_grad():
        text = model.decoder.greedy(model.encode(*encoded(sources)), 12)
    return [ISO.decode(sequence) for sequence in text.sequences()], text


def draw_attention(path: Path, sources: Sequence[str], answers: Sequence[str], attention: Array) -> None:
    """A matrix for each source: a row for each character written, a column for each character read; dark where the decoder looked."""
    with picture(path, 8, 2.6 * len(sources)) as figure:
        for axes, n in zip(figure.subplots(len(sources), 1), range(len(sources)), strict=True):
            rows = list(answers[n]) or ["end"]
            S, T = len(sources[n]), len(rows)
            axes.imshow(attention[:T, n, :S], cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(S), list(sources[n]))
            axes.set_yticks(range(T), rows)
            axes.tick_params(length=0)
            axes.set_title(f"{sources[n]}  →  {answers[n]}", fontsize=10)
        figure.supylabel("written", fontsize=9)
        figure.supxlabel("read", fontsize=9)


def sample(argv: Sequence[str]) -> int:
    """Translate dates with a trained model."""
    parser = argparse.ArgumentParser(prog="python -m models.dates sample", description="Translate dates with a trained model.")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="of the run, or its checkpoint file")
    parser.add_argument("date", nargs="+", help="a date, as one of the languages writes it")
    arguments = parser.parse_args(argv)
    if "" in arguments.date:
        raise Problem("cannot read an empty date; give one such as '23 août 1941'.")
    arrays, config = load_checkpoint("dates", arguments.checkpoint)
    model = translator(argparse.Namespace(**config["arguments"]), np.random.default_rng(0))
    load_model(model, arrays)
    try:
        answers = translate(model, arguments.date)[0]
    except ValueError as error:
        raise Problem(f"cannot read {arguments.date}: {error}") from error
    for source, answer in zip(arguments.date, answers, strict=True):
        print(f"{source} -> {answer}")
    return 0


def main(argv: Sequence[str]) -> int:
    """`sample ...`, or the options of a training run."""
    return sample(argv[1:]) if argv[:1] == ["sample"] else Dates.main(argv)


if __name__ == "__main__":
    run(main)
