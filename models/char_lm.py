"""A character-level language model: a recurrent network that learns to write the text it reads (exercise 11.1).

    python -m models.char_lm                                   train, sample, and draw; under three minutes
    python -m models.char_lm sample --checkpoint runs/char_lm  write text from a trained model

The network reads one character at a time and says how likely each character is to come next,
h_t = cell(x_t, h_(t-1)), p(x_(t+1)) = softmax(W_y h_t + b_y).  The loss is what it gives away: bits per character.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from models import task
from models.experiment import CELLS, Experiment, load_checkpoint, load_model
from models.recurrent import Cell, detached, map_state, stepper, unroll
from models.stacked import stacked
from models.task import Problem, fraction, natural, positive, smoothed
from tinygrad_seq import Tensor, cross_entropy, no_grad, scope, stack, step
from tinygrad_seq.data import Streams, Vocabulary
from tinygrad_seq.nn import Dropout, Module, uniform
from tinygrad_seq.record import Array

State = tuple[Any, ...]  # of each layer


class CharLM(Module):
    """Layers of recurrent cells under a softmax over the V characters: p(x_(t+1) | x_0 ... x_t) = softmax(W_y h_t + b_y)."""

    def __init__(
        self, cell: str, symbols: int, hidden: int, layers: int, dropout: float, *, rng: Generator, dtype: Any = np.float32
    ) -> None:
        self.stack = stacked(CELLS[cell], symbols, hidden, layers=layers, dropout=dropout, rng=rng, dtype=dtype)
        self.W_y = uniform(rng, hidden, symbols, bound=1 / math.sqrt(hidden), dtype=dtype)
        self.b_y = uniform(rng, symbols, bound=1 / math.sqrt(hidden), dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)

    @property
    def cells(self) -> list[Cell]:
        """The layers, from the lowest."""
        return [layer for layer in self.stack.layers if isinstance(layer, Cell)]

    def forward(self, xs: Array, state: State | None = None) -> tuple[Tensor, State]:
        """Characters xs (T, N) -> the scores of the next ones (T, N, V), and each layer's last state, to go on from."""
        run = self.stack(xs, state, fused=True)
        return self.dropout(run.outputs) @ self.W_y + self.b_y, run.state


# ---- the text ------------------------------------------------------------------------------------------------------------------------


class Corpus:
    """A text as numbers: the first nine tenths to learn from, the last tenth held out."""

    def __init__(self, name: str, text: str) -> None:
        if len(text) < 100:
            raise Problem(f"{name} has {len(text)} characters; a language model needs at least 100, and some 100,000 to be worth reading.")
        self.name, self.vocabulary = name, Vocabulary(text)
        self.opening = "".join(re.findall(r"^\s*\S+\s?", text[:20])) or text[0]  # its first word, where it has words
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.ids = self.vocabulary.encode(text)
        self.start = len(text) - len(text) // 10  # of the held-out part
        self.train, self.held_out = self.ids[: self.start], self.ids[self.start :]

    def describe(self) -> str:
        """One line: where from, and how much."""
        return (
            f"{self.name}: {len(self.ids):,} characters, {len(self.vocabulary)} different ones; "
            f"{len(self.train):,} to learn from, {len(self.held_out):,} held out"
        )


def read_text(source: str | None) -> tuple[str, str]:
    """The name and the content of a text: a file, "-" for standard input, or None for Python's own language reference."""
    if source is None:
        from pydoc_data.topics import topics

        return "Python's language reference (pydoc_data.topics)", "\n\n".join(topics[key] for key in sorted(topics))
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return "standard input" if source == "-" else source, raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise Problem(f"cannot read {source}: {error.strerror or error}. Give a text file, or - for standard input.") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{source} is not UTF-8 text (byte {error.start}: {error.reason}). Convert it first, e.g. with iconv.") from error


def context_bits(corpus: Corpus, k: int, alpha: float = 0.05) -> float:
    """Bits per character, on the held-out text, of a model that counts what follows each context of k characters.

    p(x | context) = (count(context, x) + alpha) / (count(context) + alpha V), the counts taken on the text to learn from.
    """
    V, ids = len(corpus.vocabulary), corpus.ids
    contexts = np.zeros(len(ids) - k, np.int64)
    for i in range(k):
        contexts = contexts * V + ids[i : len(ids) - k + i]
    pairs = contexts * V + ids[k:]
    cut = corpus.start - k  # pairs from here on have a held-out character last

    def counted(codes: Array) -> Array:
        seen, counts = np.unique(codes[:cut], return_counts=True)
        at = np.searchsorted(seen, codes[cut:]).clip(max=len(seen) - 1)
        return np.where(seen[at] == codes[cut:], counts[at], 0)

    p = (counted(pairs) + alpha) / (counted(contexts) + alpha * V)
    return float(-np.log2(p).mean())


def baselines(corpus: Corpus) -> dict[str, float]:
    """What models without a memory reach, in bits per character on the held-out text."""
    levels = {"uniform": math.log2(len(corpus.vocabulary))}
    return levels | {f"{k}-character context": context_bits(corpus, k) for k in (1, 2, 3)}


def held_out_bits(model: CharLM, corpus: Corpus, streams: int = 16, warm: int = 64) -> float:
    """Bits per character on the held-out text, read in parallel streams, each after `warm` characters that do not count."""
    warm, each = min(warm, corpus.start - 1), len(corpus.held_out) // streams or 1
    first = corpus.start + each * np.arange(min(streams, len(corpus.held_out) // each))
    window = first + np.arange(-warm - 1, each)[:, None]
    nats, state = [], None
    with no_grad():
        model.eval()
        for t in range(0, len(window) - 1, 256):
            block = corpus.ids[window[t : t + 257]]
            scores, state = model(block[:-1], state)
            nats.append(cross_entropy(scores, block[1:], reduction="none").data)
        model.train()
    return float(np.concatenate(nats)[warm:].mean(dtype=np.float64) / math.log(2))


def generate(model: CharLM, vocabulary: Vocabulary, prompt: str, length: int, temperature: float, rng: Generator) -> str:
    """The prompt, and `length` characters more, each drawn from p(x)**(1/temperature), normalised; temperature 0 takes the likeliest."""
    text = list(vocabulary.encode(prompt))
    model.eval()
    with no_grad():
        scores, state = model(np.array(text)[:, None])
    model.train()
    last, step = scores.data[-1, 0], writer(model, state)
    for _ in range(length):
        if temperature == 0:
            x = int(last.argmax())
        else:
            p = np.exp((last.astype(np.float64) - last.max()) / max(temperature, 1e-9)).cumsum()
            x = int(p.searchsorted(rng.random() * p[-1]))
        text.append(x)
        last = step(x)
    return vocabulary.decode(text)


def writer(model: CharLM, state: State) -> Callable[[int], Array]:
    """The model as a function of the next character x, which it remembers, that gives the scores (V,) of the one after it."""
    steps: list[Callable[[Array], Array]] = []
    x: Array = np.zeros(1, np.int64)  # an example of what the layer reads
    for cell, part in zip(model.cells, state, strict=True):
        steps.append(stepper(cell, x, part))
        x = part.h.data
    W_y, b_y = model.W_y.data, model.b_y.data

    def step(x: int) -> Array:
        h = np.array([x])
        for advance in steps:
            h = advance(h)
        return h[0] @ W_y + b_y

    return step


# ---- what a run leaves behind --------------------------------------------------------------------------------------------------------


def training_graph(model: CharLM, corpus: Corpus, steps: int = 4) -> Tensor:
    """The loss of the text's first `steps` characters, each time step recorded whole as the textbook draws it, and differentiated."""
    ids, text = corpus.train, corpus.vocabulary.decode(corpus.train[:steps])
    run: list[Any] = [Tensor(ids[t : t + 1], name=f"x_{t} = {text[t]!r}") for t in range(steps)]
    losses = []
    with scope(model):
        for cell in model.cells:
            run = [state.h for state in unroll(cell, run, hoist=False).states]
        for t, h in enumerate(run):
            with scope("output"), step(t):
                losses.append(cross_entropy(h @ model.W_y + model.b_y, ids[t + 1 : t + 2]))
        mean: Tensor = stack(losses).mean()
    mean.name = "loss"
    mean.backward()
    model.zero_grad()
    return mean


def draw_step(model: CharLM, corpus: Corpus, folder: Path) -> str:
    """Draw a training step into graph.svg; without a renderer leave graph.dot and say so."""
    from tinygrad_seq.draw import draw

    drawing = draw(training_graph(model, corpus), params=model)
    try:
        drawing.save(folder / "graph.svg")
    except RuntimeError as error:
        drawing.save(folder / "graph.dot")
        return f"graph.dot   one training step, unrolled, as DOT text ({error})"
    return "graph.svg   one training step, unrolled"


# ---- training ------------------------------------------------------------------------------------------------------------------------


class Training(Experiment):
    """Truncated backpropagation through time over the text: `length` steps at once, the state carried on from batch to batch."""

    name = "char_lm"
    measure = "bits per character"
    time = "under three minutes of one core"
    defaults: ClassVar[dict[str, Any]] = {"batch": 32, "steps": 6000, "lr": 8e-3}
    changeable = (*Experiment.changeable, "text", "temperature", "prompt", "characters")

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """How deep, on what text, what to write."""
        more = parser.add_argument_group("the text and its model")
        more.add_argument("--text", metavar="FILE", help="a UTF-8 text, - for standard input (default: Python's language reference)")
        more.add_argument("--length", type=positive(int), default=32, metavar="T", help="time steps per update (default: %(default)s)")
        more.add_argument(
            "--layers", type=positive(int), default=1, help="recurrent layers, one on top of the other (default: %(default)s)"
        )
        more.add_argument("--dropout", type=fraction, default=0.0, metavar="P", help="dropout after each layer (default: %(default)s)")
        more.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="(default: %(default)s)")
        sampling_options(parser.add_argument_group("the sample"))

    def prepare(self) -> None:
        """Read the text, make the model."""
        arguments = self.arguments
        self.corpus = corpus = Corpus(*read_text(arguments.text))
        check_prompt(corpus.vocabulary, arguments.prompt)
        self.model: CharLM = CharLM(
            arguments.cell, len(corpus.vocabulary), arguments.hidden, arguments.layers, arguments.dropout,
            rng=self.rng, dtype=np.dtype(arguments.dtype),
        )  # fmt: skip
        try:
            self.streams = Streams(corpus.train, arguments.batch, arguments.length)
        except ValueError as error:
            raise Problem(f"{corpus.name}: {error} Or lower --batch or --length.") from error
        self.state: State | None = None

    def describe(self) -> list[str]:
        """The text."""
        return [f"text       {self.corpus.describe()}"]

    def baselines(self) -> dict[str, float]:
        """Models that count."""
        return baselines(self.corpus)

    def loss(self) -> Tensor:
        """The cross-entropy on the next batch, in bits."""
        if self.done % self.streams.batches == 0:
            self.state = None  # the text begins anew
        inputs, targets = self.streams[self.done]
        scores, state = self.model(inputs, self.state)
        self.state = detached(state)
        return cross_entropy(scores, targets) / math.log(2)

    def score(self) -> float:
        """Bits per character on the held-out text."""
        return held_out_bits(self.model, self.corpus)

    def arrays(self) -> dict[str, Array]:
        """The state that the next batch begins with."""
        parts: list[Tensor] = []
        map_state(parts.append, self.state or ())
        return {str(i): part.data for i, part in enumerate(parts)}

    def restore_arrays(self, arrays: dict[str, Array]) -> None:
        """Take the state back."""
        if arrays:
            parts = iter([Tensor(arrays[str(i)]) for i in range(len(arrays))])
            self.state = tuple(map_state(lambda _: next(parts), cell.initial_state(1)) for cell in self.model.cells)

    def config(self) -> dict[str, Any]:
        """Which text, and its characters."""
        text = {"name": self.corpus.name, "sha256": self.corpus.sha256, "opening": self.corpus.opening}
        return {"text": text | {"symbols": "".join(self.corpus.vocabulary.symbols)}}

    def check_config(self, config: dict[str, Any]) -> None:
        """A Problem where the text is another."""
        if config["text"]["sha256"] != self.corpus.sha256:
            raise Problem(f"the run was trained on another text ({config['text']['name']}); give the same with --text.")

    def report(self, folder: Path) -> list[str]:
        """A sample, and a training step as a picture."""
        arguments, corpus = self.arguments, self.corpus
        rng = np.random.default_rng(self.seed)
        sample = generate(
            self.model, corpus.vocabulary, arguments.prompt or corpus.opening, arguments.characters, arguments.temperature, rng
        )
        task.write_text(folder / "sample.txt", sample)
        print(f"\n--- a sample, at temperature {arguments.temperature} ---\n{sample}\n---")
        return [
            f"sample.txt  that text; python -m models.char_lm sample --checkpoint {folder} writes more",
            draw_step(self.model, corpus, folder),
        ]

    def picture(self, folder: Path, levels: dict[str, float]) -> str:
        """Training and held-out text have the same unit: one picture."""
        bits = smoothed(self.losses, 50)
        curves: dict[str, tuple[Any, Any]] = {
            "training text": (np.arange(1, len(bits) + 1), bits),
            "held-out text": ([at for at, _ in self.scores], [b for _, b in self.scores]),
        }
        task.plot_curves(folder / "loss.svg", curves, levels, "training step", "bits per character")
        return "loss.svg    the loss curve"

    def again(self, folder: Path) -> str:
        """With the text, where it was given."""
        return super().again(folder) + (f" --text {self.arguments.text}" if self.arguments.text else "")


# ---- the command line ----------------------------------------------------------------------------------------------------------------


def sampling_options(group: Any) -> None:
    """How to write text."""
    group.add_argument("--prompt", help="what the text begins with (default: the first word of the text learned from)")
    group.add_argument("--characters", type=positive(int), default=600, metavar="N", help="how many to write (default: %(default)s)")
    group.add_argument(
        "--temperature",
        type=temperature,
        default=0.6,
        help="below 1 safer, above 1 wilder, 0 the likeliest character always (default: %(default)s)",
    )


def temperature(text: str) -> float:
    """An argument type: a finite number, 0 or above."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a temperature: 0 or above")
    return value


def check_prompt(vocabulary: Vocabulary, prompt: str | None) -> None:
    """A Problem where a prompt was given that is empty, or holds a character that the model does not know."""
    if prompt is not None:
        if not prompt:
            raise Problem("--prompt is empty; give at least one character.")
        try:
            vocabulary.encode(prompt)
        except ValueError as error:
            raise Problem(f"--prompt: {error}") from error


def sample(argv: Sequence[str]) -> int:
    """Write text from a trained model to standard output."""
    parser = argparse.ArgumentParser(prog="python -m models.char_lm sample", description="Write text from a trained model.")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="of the run, or its checkpoint file")
    sampling_options(parser)
    parser.add_argument("--seed", type=natural, default=0, help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    arrays, config = load_checkpoint("char_lm", arguments.checkpoint)
    vocabulary, old = Vocabulary(config["text"]["symbols"]), config["arguments"]
    check_prompt(vocabulary, arguments.prompt)
    rng = np.random.default_rng(arguments.seed)
    model = CharLM(old["cell"], len(vocabulary), old["hidden"], old["layers"], 0.0, rng=rng, dtype=np.dtype(old["dtype"]))
    load_model(model, arrays)
    rng = np.random.default_rng(arguments.seed)
    prompt = arguments.prompt or config["text"]["opening"]
    print(generate(model, vocabulary, prompt, arguments.characters, arguments.temperature, rng))
    return 0


def main(argv: Sequence[str]) -> int:
    """`sample ...`, or the options of a training run."""
    return sample(argv[1:]) if argv[:1] == ["sample"] else Training.main(argv)


if __name__ == "__main__":
    task.run(main)
