"""Captions for pictures: one vector in, a sequence of words out (Vinyals et al. 2015; Chaudhury 2024, ch. 10: one-to-many).

    python -m models.caption                                    train, and caption unseen numbers; about two minutes
    python -m models.caption sample --checkpoint runs/caption 407   draw a number, and say what the network sees

The picture is a noisy strip of one to four drawn digits, set to the right as in a column of figures; the
caption is the number in English: "three thousand seven hundred one".

Two layers make one vector of the picture, which is the decoder's first state and all that it ever knows of it.  The caption is not the
digits spelled out: what 3 is called depends on how many digits follow, 0 is silent, and 13 and 30 are words of their own.  One number in
ten is never trained on, so that a caption cannot be remembered and must be composed.

The symbols are words, not letters: a caption then has at most six, each of which says something that must be seen; a network that writes
letters spends most of its forty steps on spelling, which is the same for every picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator

from models.experiment import CELLS, Experiment, load_checkpoint, load_model
from models.recurrent import named
from models.seq2seq import Decoder, DecoderState, counted, padded
from models.task import COLOURS, Problem, natural, picture, positive, run, write_text
from tinygrad_seq import Tensor, cross_entropy, no_grad, relu, tanh
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.record import Array

# ---- numbers in words ----------------------------------------------------------------------------------------------------------------

SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
         "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = Vocabulary([*SMALL, *TENS, "hundred", "thousand"])
END = len(WORDS)
NUMBERS = 10_000
LONGEST = 6  # words of "seven thousand seven hundred seventy-seven"


def in_words(number: int) -> list[str]:
    """The words of a number from 0 to 9,999."""
    for unit, name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            return [SMALL[number // unit], name, *(in_words(number % unit) if number % unit else [])]
    if number < len(SMALL):
        return [SMALL[number]]
    return [TENS[number // 10 - 2], *([SMALL[number % 10]] if number % 10 else [])]


def spelled(words: Sequence[str]) -> str:
    """Words as a line, with the hyphen of "seventy-one"."""
    line = "".join(
        word + ("-" if word in TENS and after in SMALL[1:10] else " ") for word, after in zip(words, [*words[1:], ""], strict=False)
    )
    return line.rstrip()


def captions(numbers: Array) -> Array:
    """The captions of numbers (N,) as the decoder writes them, (T, N), each followed by its end."""
    return padded([WORDS.encode(in_words(int(n))) for n in numbers], end=END)[0]


def _unseen() -> Array:
    """A tenth of the numbers of two, three and four digits; those of one digit are what the others are made of."""
    rng, unseen = np.random.default_rng(407), np.zeros(NUMBERS, bool)
    for low, high in ((10, 100), (100, 1000), (1000, NUMBERS)):
        unseen[low + rng.permutation(high - low)[: (high - low) // 10]] = True
    return unseen


UNSEEN = _unseen()  # (NUMBERS,): whether a number is kept for the test, for every seed the same


def draw_numbers(rng: Generator, count: int, *, test: bool) -> Array:
    """Random numbers of those held out, where two, three and four digits are equally likely, or to learn from: there one to four are drawn
    in the ratio 1 : 2 : 3 : 4, since the few short numbers would soon be known by heart.
    """
    numbers = np.empty(count, np.int64)
    digits = rng.choice([2, 3, 4], count) if test else rng.choice([1, 2, 3, 4], count, p=[0.1, 0.2, 0.3, 0.4])
    for d in np.unique(digits):
        low = 0 if d == 1 else 10 ** (d - 1)
        choice = low + np.flatnonzero(UNSEEN[low : 10**d] == test)
        numbers[digits == d] = rng.choice(choice, (digits == d).sum())
    return numbers


# ---- pictures ------------------------------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 12, 36
FONT = """
 ###    #    ###   ###     #  #####   ##  #####  ###   ###
#   #  ##   #   # #   #   ##  #      #        # #   # #   #
#  ##   #       #     #  # #  ####  #        #  #   # #   #
# # #   #      #    ##  #  #      # ####    #    ###   ####
##  #   #     #       # #####     # #   #  #    #   #     #
#   #   #    #    #   #    #  #   # #   #  #    #   #    #
 ###   ###  #####  ###     #   ###   ###   #     ###   ##
"""  # ten digits, 7 x 5 and a column between two


def _glyphs() -> Array:
    rows = [[c == "#" for c in line.ljust(60)] for line in FONT.strip("\n").split("\n")]
    return np.array(rows, np.float32).reshape(7, 10, 6).transpose(1, 0, 2)


GLYPHS = _glyphs()  # (10, 7, 6)


def line_of(numbers: Array) -> Array:
    """Numbers (N,) as clean lines of digits (N, 7, 24), set to the right as in a column of figures."""
    lines = np.zeros((len(numbers), 7, 24), np.float32)
    for n, number in enumerate(numbers):
        digits = [int(d) for d in str(number)]
        start = 6 * (4 - len(digits))
        lines[n, :, start : start + 6 * len(digits)] = GLYPHS[digits].transpose(1, 0, 2).reshape(7, -1)
    return lines


def draw_strips(rng: Generator, numbers: Array, noise: float = 1.0) -> Array:
    """Pictures (N, HEIGHT, WIDTH) of numbers (N,), float32: 0 is paper, 1 black ink; noise=0 draws them clean.

    Each strip has its own place, size, slant and strength of ink; then come Gaussian noise and pixels lost to pepper and salt.  Pixel
    (y, x) shows the point v = (y - y_0) / s, u = (x - x_0) / s + slant v of the line, between the line's pixels by bilinear interpolation.
    """
    N = len(numbers)

    def around(middle: float, spread: float) -> Array:
        return (middle + noise * spread * rng.uniform(-1, 1, (N, 1, 1))).astype(np.float32)

    scale, slant, ink = around(1.2, 0.08), around(0, 0.1), around(0.85, 0.15)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    v = (y - (HEIGHT - 1) / 2 - around(0, 0.75)) / scale
    u = (x - (WIDTH - 1) / 2 - around(0, 0.75)) / scale - slant * v
    strips = ink * bilinear(line_of(numbers), v + 3, u + 11)  # the middle of the line: its last column is empty
    strips += np.float32(noise * 0.1) * rng.standard_normal(strips.shape, np.float32)
    speck = rng.random(strips.shape, np.float32)
    strips[speck < noise * 0.01] = 0
    strips[speck > 1 - noise * 0.01] = 1
    return np.asarray(strips)


def bilinear(images: Array, v: Array, u: Array) -> Array:
    """The value of each image (N, H, W) at rows v and columns u (N, ...), between pixels by their distance, 0 outside."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    H, W = framed.shape[1:]
    v, u = np.clip(v + 1, 0, H - 1), np.clip(u + 1, 0, W - 1)
    top, left = np.minimum(v.astype(int), H - 2), np.minimum(u.astype(int), W - 2)
    dv, du, n = (v - top).astype(v.dtype), (u - left).astype(u.dtype), np.arange(len(images)).reshape(-1, 1, 1)
    upper = (1 - du) * framed[n, top, left] + du * framed[n, top, left + 1]
    lower = (1 - du) * framed[n, top + 1, left] + du * framed[n, top + 1, left + 1]
    return np.asarray((1 - dv) * upper + dv * lower)


def as_text(strip: Array) -> str:
    """A strip in characters, darker for more ink, two for each pixel, as they are narrow."""
    ramp = " .:-=+*#%@"
    levels = (np.clip(strip, 0, 0.999) * len(ramp)).astype(int)
    return "\n".join("".join(2 * ramp[level] for level in row).rstrip() for row in levels)


# ---- the model -----------------------------------------------------------------------------------------------------------------------


class Captioner(Module):
    """A picture x as the decoder's first state: h_0 = tanh(W_2 relu(W_1 x + b_1) + b_2), and for an LSTM c_0 likewise.

    Pictures (N, HEIGHT, WIDTH); W_1 (HEIGHT WIDTH, E), W_2 (E, H).
    """

    def __init__(self, cell: str, hidden: int, features: int, *, rng: Generator, dtype: Any = np.float32) -> None:
        self.look = Linear(HEIGHT * WIDTH, features, rng=rng, dtype=dtype)
        self.decoder = Decoder(CELLS[cell], len(WORDS), hidden, rng=rng, dtype=dtype)
        parts = self.decoder.cell.initial_state(1)
        self.bridge = [Linear(features, hidden, rng=rng, dtype=dtype) for _ in parts]
        self.state = type(parts)

    def begin(self, strips: Array) -> DecoderState:
        """The state that the decoder begins with, as the pictures say."""
        seen = relu(self.look(Tensor(strips.reshape(len(strips), -1).astype(self.look.W.dtype))))
        return self.decoder.begin(named(self.state(*(tanh(linear(seen)) for linear in self.bridge))))

    def forward(self, strips: Array, targets: Array) -> Tensor:
        """Pictures and their captions (T, N) -> the scores (T, N, V+1) of each next word, told the true ones before it."""
        return self.decoder.forced(targets, self.begin(strips))

    def write(self, strips: Array, width: int = 1) -> Captions:
        """What the network says of each picture, the best of a beam of `width`; with 1, the likeliest word at each step."""
        with no_grad():
            state = self.begin(strips)
            text = self.decoder.greedy(state, LONGEST + 3) if width == 1 else self.decoder.beam(state, LONGEST + 3, width=width)
        return Captions([[WORDS.symbols[i] for i in s] for s in text.sequences()], np.exp(text.log_p))


class Captions(NamedTuple):
    """What was written of each picture, and its probability."""

    words: list[list[str]]
    p: Array

    def right(self, numbers: Array) -> Array:
        """Whether each is, word for word, the caption of its number."""
        return np.array([words == in_words(int(n)) for words, n in zip(self.words, numbers, strict=True)])


def captioner(arguments: argparse.Namespace, rng: Generator) -> Captioner:
    """The model that the options describe."""
    return Captioner(arguments.cell, arguments.hidden, arguments.features, rng=rng)


# ---- what simpler methods make of it -------------------------------------------------------------------------------------------------


def square_captions(numbers: Array) -> Array:
    """Captions as (LONGEST + 1, N), filled up with ends: a method without a decoder says a word, or the end, at each place."""
    targets = captions(numbers)
    return np.concatenate([targets, np.full((LONGEST + 1 - len(targets), len(numbers)), END)])


def linear_captions(known: Array, answers: Array, strips: Array, penalty: float = 30.0) -> Array:
    """Each word by itself, linear in the pixels: ridge regression to one-hot words; known (M, P), answers (T, M), strips (N, P) -> (T, N).

    W = (XᵀX + λ I)⁻¹ Xᵀ Y, the word with the highest score is said.
    """
    X, asked = (np.concatenate([a, np.ones((len(a), 1), a.dtype)], axis=1).astype(np.float64) for a in (known, strips))
    Y = np.concatenate(np.eye(END + 1)[answers], axis=1)  # (M, T (V+1))
    W = np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ Y)
    return np.asarray((asked @ W).reshape(len(strips), len(answers), END + 1).argmax(axis=-1).T)


def nearest_captions(known: Array, answers: Array, strips: Array) -> Array:
    """The caption of the known picture at the least distance; known (M, P), answers (T, M), strips (N, P) -> (T, N)."""
    distance = (known**2).sum(axis=1) - 2 * strips @ known.T  # and |strip|^2, the same for all
    return np.asarray(answers[:, distance.argmin(axis=1)])


# ---- the task ------------------------------------------------------------------------------------------------------------------------


class Caption(Experiment):
    """Whole captions right, of numbers that were never trained on."""

    name = "caption"
    measure = "of unseen numbers exactly right"
    time = "about two minutes on one core"
    defaults: ClassVar[dict[str, Any]] = {"cell": "gru", "hidden": 128, "batch": 128, "steps": 2400, "lr": 4e-3}
    full: ClassVar[dict[str, Any]] = {"steps": 12000}
    unseen, known, rows = 1000, 5000, 8  # pictures to be judged by, that simpler methods learn from, in the gallery three to a row

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """How pictures are drawn and read."""
        more = parser.add_argument_group("the pictures")
        more.add_argument("--features", type=positive(int), default=256, metavar="E", help="size of the first layer (default: %(default)s)")
        more.add_argument("--noise", type=noise, default=1.0, help="0 for clean pictures, 1, or up to 2 (default: %(default)s)")

    def prepare(self) -> None:
        """The model, and pictures of unseen numbers."""
        self.model: Captioner = captioner(self.arguments, self.rng)
        self.numbers, self.strips = self.draw(np.random.default_rng([self.seed, 1]), self.unseen, test=True)

    def draw(self, rng: Generator, count: int, *, test: bool) -> tuple[Array, Array]:
        """Numbers and their pictures."""
        numbers = draw_numbers(rng, count, test=test)
        return numbers, draw_strips(rng, numbers, self.arguments.noise)

    def describe(self) -> list[str]:
        """What is drawn, and what is kept for the test."""
        example = f"{self.numbers[0]} -> {spelled(in_words(int(self.numbers[0])))}"
        return [f"pictures   {HEIGHT} x {WIDTH} pixels, numbers from 0 to {NUMBERS - 1:,}; {UNSEEN.sum()} are never trained on",
                f"           such as {example}"]  # fmt: skip

    @cached_property
    def simple(self) -> dict[str, Array]:
        """What simpler methods write of the unseen pictures, (T, N), having seen others of known numbers."""
        numbers, strips = self.draw(np.random.default_rng([self.seed, 2]), self.known, test=False)
        known, asked, answers = strips.reshape(len(strips), -1), self.strips.reshape(len(self.strips), -1), square_captions(numbers)
        usual = [np.bincount(words).argmax() for words in answers]
        return {
            "the commonest word at each place": np.array(usual)[:, None] * np.ones(len(asked), int),
            "nearest known picture": nearest_captions(known, answers, asked),
            "each word linear in the pixels": linear_captions(known, answers, asked),
        }

    def baselines(self) -> dict[str, float]:
        """The nearest picture, whose caption is that of another number, and words that are linear in the pixels and know no sentence."""
        true = square_captions(self.numbers)
        return {name: float((said == true).all(axis=0).mean()) for name, said in self.simple.items() if "commonest" not in name}

    def loss(self) -> Tensor:
        """The cross-entropy of a batch, under teacher forcing; every batch is drawn anew."""
        numbers, strips = self.draw(self.rng, self.arguments.batch, test=False)
        targets = captions(numbers)
        return cross_entropy(self.model(strips, targets), targets, mask=counted(targets, END))

    def score(self) -> float:
        """The share of captions without a mistake, each word the likeliest."""
        return float(self.model.write(self.strips).right(self.numbers).mean())

    def report(self, folder: Path) -> list[str]:
        """What is right, by length and by word, beside simpler methods; strips and what is written of them."""
        self.model.eval()
        greedy, beam = self.model.write(self.strips), self.model.write(self.strips, width=4)
        self.model.train()
        text = "\n".join([*self.table(greedy, beam), "", *self.mistakes(beam)])
        print(f"\n{text}")
        write_text(folder / "captions.txt", text + "\n")
        self.gallery(folder / "captions.svg", beam)
        return [
            "captions.txt  what is right, and each mistake",
            "captions.svg  unseen numbers, and what was written of them",
        ]

    def table(self, greedy: Captions, beam: Captions) -> list[str]:
        """The share of whole captions and of words that are right, of each method; for the network by the number of digits too."""
        true, real = square_captions(self.numbers), counted(square_captions(self.numbers), END)
        methods = self.simple | {"the network, likeliest words": as_symbols(greedy), "the network, beam of 4": as_symbols(beam)}
        lines = [f"{'':34}{'captions':>9}{'words':>9}{'2 digits':>10}{'3 digits':>9}{'4 digits':>9}"]
        for name, said in methods.items():
            whole, words = (said == true).all(axis=0), (said == true)[real]
            by_digits = [whole[(self.numbers >= low) & (self.numbers < 10 * low)] for low in (10, 100, 1000)]
            shares = "".join(f"{100 * part.mean():8.1f}%" for part in (whole, words)) + " "
            lines.append(f"{name:34}{shares}{''.join(f'{100 * part.mean():8.1f}%' for part in by_digits)}")
        return lines

    def mistakes(self, said: Captions, count: int = 30) -> list[str]:
        """The wrong captions of which the network is surest."""
        wrong = np.flatnonzero(~said.right(self.numbers))
        lines = [f"{len(wrong)} of {len(self.numbers)} captions of the beam are wrong" + (", the surest:" if len(wrong) else ".")]
        surest = wrong[np.argsort(-said.p[wrong], kind="stable")][:count]
        return lines + [f"{self.numbers[i]:5}  p = {said.p[i]:.2f}  {spelled(said.words[i])}" for i in surest]

    def gallery(self, path: Path, said: Captions, columns: int = 3) -> None:
        """The first unseen strips with what was written beneath, and at the end two rows of mistakes, in another colour."""
        right, places = said.right(self.numbers), self.rows * columns
        wrong = np.flatnonzero(~right)[: 2 * columns]
        first = np.flatnonzero(right)[: places - len(wrong)]
        with picture(path, 11, 1.2 * self.rows) as figure:
            title = f"Unseen numbers: {100 * right.mean():.1f} % of {len(right)} captions are right"
            figure.suptitle(title + (f"; the last {len(wrong)} shown are mistakes" if len(wrong) else ""))
            for axes, i in zip(figure.subplots(self.rows, columns).flat, [*first, *wrong], strict=False):
                axes.imshow(self.strips[i], cmap="gray_r", vmin=-0.3, vmax=1.1, aspect="equal")
                axes.set(xticks=[], yticks=[])
                for spine in axes.spines.values():
                    spine.set(visible=True, color="0.75" if right[i] else COLOURS[1], linewidth=0.8 if right[i] else 2)
                label = spelled(said.words[i]) + ("" if right[i] else f"\n(not {self.numbers[i]}; p = {said.p[i]:.2f})")
                axes.set_xlabel(label, color="black" if right[i] else COLOURS[1], fontsize=9)


def as_symbols(said: Captions) -> Array:
    """Captions as (LONGEST + 1, N), filled up with ends; what is longer is cut, and stays wrong for want of an end."""
    cut = [WORDS.encode(words[: LONGEST + 1]) for words in said.words]
    return np.array([np.pad(words, (0, LONGEST + 1 - len(words)), constant_values=END) for words in cut]).T


def noise(text: str) -> float:
    """An argument type: a number in [0, 2]."""
    value = float(text)
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 2]")
    return value


# ---- the command line ----------------------------------------------------------------------------------------------------------------


def drawable(text: str) -> int:
    """A number that can be drawn; a Problem for anything else."""
    if not (text.isascii() and text.isdigit()) or int(text) >= NUMBERS:
        raise Problem(f"{text!r} cannot be drawn; give a whole number from 0 to {NUMBERS - 1}.")
    return int(text)


def sample(argv: Sequence[str]) -> int:
    """Draw numbers, and say what a trained model sees."""
    parser = argparse.ArgumentParser(prog="python -m models.caption sample", description="Draw numbers, and caption the pictures.")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="of the run, or its checkpoint file")
    parser.add_argument("--noise", type=noise, help="0 for a clean picture, up to 2 (default: as in training)")
    parser.add_argument("--seed", type=natural, default=0, help="of the drawing (default: %(default)s)")
    parser.add_argument("number", nargs="+", help=f"what to draw, from 0 to {NUMBERS - 1}")
    arguments = parser.parse_args(argv)
    numbers = np.array([drawable(text) for text in arguments.number])
    arrays, config = load_checkpoint("caption", arguments.checkpoint)
    old = argparse.Namespace(**config["arguments"])
    model = captioner(old, np.random.default_rng(0))
    load_model(model, arrays)
    strips = draw_strips(np.random.default_rng(arguments.seed), numbers, old.noise if arguments.noise is None else arguments.noise)
    said = model.write(strips, width=4)
    for number, strip, words, p, right in zip(numbers, strips, said.words, said.p, said.right(numbers), strict=True):
        known = "never trained on" if UNSEEN[number] else "trained on"
        verdict = "right" if right else f"wrong: {spelled(in_words(int(number)))}"
        print(f"{as_text(strip)}\n{number} ({known}) -> {spelled(words)}   (p = {p:.3f}; {verdict})\n")
    return 0


def main(argv: Sequence[str]) -> int:
    """`sample ...`, or the options of a training run."""
    return sample(argv[1:]) if argv[:1] == ["sample"] else Caption.main(argv)


if __name__ == "__main__":
    run(main)
