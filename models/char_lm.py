"""A character-level language model: a recurrent network that learns to write the text it reads (exercise 11.1).

    python -m models.char_lm                                   train, sample, and draw; about two minutes
    python -m models.char_lm sample --checkpoint runs/char_lm  write text from a trained model

The network reads one character at a time and says how likely each character is to come next,
h_t = cell(x_t, h_(t-1)), p(x_(t+1)) = softmax(W_y h_t + b_y).  The loss is what it gives away: bits per character.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from models import task
from models.recurrent import Cell, unroll
from models.rnn import RNNCell
from models.task import CHECKPOINT, Problem
from tinygrad_seq import Tensor, checkpoint, cross_entropy, no_grad, scope, softmax, step
from tinygrad_seq.data import Streams, Vocabulary
from tinygrad_seq.nn import Dropout, Module, uniform
from tinygrad_seq.optim import Adam, clip_grad_norm
from tinygrad_seq.record import Array

CELLS: dict[str, type[RNNCell]] = {"rnn": RNNCell}
State = list[Any]  # of each layer


class CharLM(Module):
    """Layers of recurrent cells under a softmax over the V characters: p(x_(t+1) | x_0 ... x_t) = softmax(W_y h_t + b_y)."""

    def __init__(
        self, cell: str, symbols: int, hidden: int, layers: int, dropout: float, *, rng: Generator, dtype: Any = np.float32
    ) -> None:
        self.cells: list[Cell] = [CELLS[cell](hidden if i else symbols, hidden, rng=rng, dtype=dtype) for i in range(layers)]
        self.W_y = uniform(rng, hidden, symbols, bound=1 / math.sqrt(hidden), dtype=dtype)
        self.b_y = uniform(rng, symbols, bound=1 / math.sqrt(hidden), dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, xs: Array, state: State | None = None) -> tuple[Tensor, State]:
        """Characters xs (T, N) -> the scores of the next ones (T, N, V), and each layer's last state, to go on from."""
        h: Any = xs
        last = []
        for i, cell in enumerate(self.cells):
            run = unroll(cell, h, state[i] if state else None)
            h = self.dropout(run.outputs)
            last.append(run.state)
        return h @ self.W_y + self.b_y, last


def detached(state: State) -> State:
    """The same numbers without history: here backpropagation through time is truncated."""
    return [type(layer)(*(part.detach() for part in layer)) for layer in state]


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
    xs, state = np.array(text)[:, None], None
    with no_grad():
        model.eval()
        for _ in range(length):
            scores, state = model(xs, state)
            last = scores.data[-1, 0]
            if temperature == 0:
                x = int(last.argmax())
            else:
                p = np.asarray(softmax((last.astype(np.float64) - last.max()) / max(temperature, 1e-9))).cumsum()
                x = int(np.searchsorted(p, rng.random() * p[-1]))
            text.append(x)
            xs = np.array([[x]])
        model.train()
    return vocabulary.decode(text)


# ---- training ------------------------------------------------------------------------------------------------------------------------


class Training:
    """All that changes while the model learns, so that a run can stop after any step and go on as if it had not."""

    def __init__(self, arguments: argparse.Namespace, corpus: Corpus) -> None:
        self.arguments, self.corpus = arguments, corpus
        self.rng = np.random.default_rng(arguments.seed)
        self.model = CharLM(
            arguments.cell, len(corpus.vocabulary), arguments.hidden, arguments.layers, arguments.dropout,
            rng=self.rng, dtype=np.dtype(arguments.dtype),
        )  # fmt: skip
        self.optimizer = Adam(self.model.parameters(), lr=arguments.lr)
        try:
            self.streams = Streams(corpus.train, arguments.batch, arguments.length)
        except ValueError as error:
            raise Problem(f"{corpus.name}: {error} Or lower --batch or --length.") from error
        self.done = 0
        self.state: State | None = None
        self.train_bits: list[float] = []  # after each step
        self.held_out_bits: list[tuple[int, float]] = []  # (step, bits)

    def step(self) -> None:
        """Learn from one batch: truncated backpropagation through time, over `length` steps, the state carried on from the last batch."""
        arguments = self.arguments
        if self.done % self.streams.batches == 0:
            self.state = None  # the text begins anew
        inputs, targets = self.streams[self.done]
        scores, state = self.model(inputs, self.state)
        loss = cross_entropy(scores, targets)
        self.optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(self.optimizer.parameters, arguments.clip)
        self.optimizer.lr = arguments.lr * max(0.05, 1 - self.done / arguments.steps)
        self.optimizer.step()
        self.state = detached(state)
        self.done += 1
        self.train_bits.append(loss.item() / math.log(2))

    def evaluate(self) -> None:
        """Note the bits per character on the held-out text."""
        self.held_out_bits.append((self.done, held_out_bits(self.model, self.corpus)))

    def save(self, path: Path) -> None:
        """Write all of it."""
        arrays = {f"model.{name}": a for name, a in self.model.state_dict().items()}
        arrays |= {f"optimizer.{name}": a for name, a in self.optimizer.state_dict().items()}
        for i, layer in enumerate(self.state or []):
            arrays |= {f"state.{i}.{field}": part.data for field, part in zip(layer._fields, layer, strict=True)}
        corpus = self.corpus
        config = {
            "task": "char_lm",
            "arguments": {name: getattr(self.arguments, name) for name in REMEMBERED},
            "text": {
                "name": corpus.name, "sha256": corpus.sha256, "opening": corpus.opening, "symbols": "".join(corpus.vocabulary.symbols),
            },
            "done": self.done, "train_bits": self.train_bits, "held_out_bits": self.held_out_bits, "rng": self.rng.bit_generator.state,
        }  # fmt: skip
        checkpoint.save(path, arrays, config)

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint of the same model and text."""
        arrays, config = saved
        restore_model(self.model, arrays)
        self.optimizer.load_state_dict(_under("optimizer", arrays))
        parts = _under("state", arrays)
        if parts:
            zero = [cell.initial_state(self.arguments.batch) for cell in self.model.cells]
            self.state = [type(z)(*(Tensor(parts[f"{i}.{field}"]) for field in z._fields)) for i, z in enumerate(zero)]
        self.done, self.train_bits = config["done"], config["train_bits"]
        self.held_out_bits = [(step, bits) for step, bits in config["held_out_bits"]]
        self.rng.bit_generator.state = config["rng"]


def _under(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}


def restore_model(model: CharLM, arrays: dict[str, Array]) -> None:
    """Give the model its numbers from a checkpoint; a Problem where they are another model's."""
    try:
        model.load_state_dict(_under("model", arrays))
    except ValueError as error:
        raise Problem(f"the checkpoint holds another model: {error}") from error


def load_checkpoint(path: Path) -> checkpoint.Checkpoint:
    """The checkpoint in a folder, or the file itself; a Problem where it is none of this task's."""
    try:
        saved = checkpoint.load(path / CHECKPOINT if path.is_dir() else path)
    except (OSError, ValueError) as error:
        raise Problem(str(error)) from error
    if saved.config.get("task") != "char_lm":
        raise Problem(f"{path} is a checkpoint of {saved.config.get('task')!r}, expected one of char_lm.")
    return saved


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
            with step(t), scope("output"):
                losses.append(cross_entropy(h @ model.W_y + model.b_y, ids[t + 1 : t + 2]))
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    mean = total / steps
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


def smoothed(values: Sequence[float], window: int) -> Array:
    """The mean over the last `window` values, at each."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    at = np.arange(1, len(sums))
    start = np.maximum(0, at - window)
    return np.asarray((sums[at] - sums[start]) / (at - start))


def report(training: Training, levels: dict[str, float], folder: Path) -> None:
    """Write the sample, the loss curve, the graph and the configuration; say where they are."""
    arguments, corpus = training.arguments, training.corpus
    rng = np.random.default_rng(arguments.seed)
    prompt = arguments.prompt or corpus.opening
    sample = generate(training.model, corpus.vocabulary, prompt, arguments.characters, arguments.temperature, rng)
    task.write_text(folder / "sample.txt", sample)
    task.write_text(folder / "config.json", json.dumps({name: getattr(arguments, name) for name in REMEMBERED}, indent=2) + "\n")
    bits = smoothed(training.train_bits, 50)
    curves: dict[str, tuple[Any, Any]] = {
        "training text": (np.arange(1, len(bits) + 1), bits),
        "held-out text": ([at for at, _ in training.held_out_bits], [b for _, b in training.held_out_bits]),
    }
    task.plot_curves(folder / "loss.svg", curves, levels, "training step", "bits per character")
    graph = draw_step(training.model, corpus, folder)
    print(f"\n--- a sample, at temperature {arguments.temperature} ---\n{sample}\n---")
    print(
        f"\nIn {folder}:\n  sample.txt  that text\n  loss.svg    the loss curve\n  {graph}\n"
        f"  {CHECKPOINT}  the model; python -m models.char_lm sample --checkpoint {folder}\n  config.json"
    )


def learn(training: Training, folder: Path, minutes: float | None, quiet: bool) -> int:
    """Run the steps that remain, or those that the time allows, saving as it goes; gives the exit status, 130 where Ctrl-C stopped it."""
    from tqdm import tqdm

    arguments = training.arguments
    every = max(1, arguments.steps // 20)
    began, first = time.monotonic(), training.done
    with (
        task.stop_on_interrupt() as interrupted,
        tqdm(total=arguments.steps, initial=first, unit="step", disable=quiet, dynamic_ncols=True) as bar,
    ):
        while training.done < arguments.steps:
            training.step()
            bar.update()
            if training.done % every == 0 or training.done == arguments.steps:
                training.evaluate()
                training.save(folder / CHECKPOINT)
            if training.done % 20 == 0:
                rate = (training.done - first) * arguments.batch * arguments.length / (time.monotonic() - began)
                held_out = f"{training.held_out_bits[-1][1]:.3f}" if training.held_out_bits else "-"
                bar.set_postfix_str(f"bits/char {np.mean(training.train_bits[-50:]):.3f}, held out {held_out}, {rate / 1e3:.0f}k chars/s")
            if interrupted() or (minutes is not None and time.monotonic() - began > 60 * minutes):
                break
        training.save(folder / CHECKPOINT)
        return 130 if interrupted() else 0


# ---- the command line ----------------------------------------------------------------------------------------------------------------

MODEL_ARGUMENTS = ("cell", "hidden", "layers", "dropout", "dtype", "length", "batch", "seed")
REMEMBERED = (*MODEL_ARGUMENTS, "text", "steps", "lr", "clip", "temperature", "prompt", "characters")


def training_parser() -> argparse.ArgumentParser:
    """The options of a training run."""
    parser = argparse.ArgumentParser(
        prog="python -m models.char_lm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The default run takes about two minutes on two cores.  Ctrl-C stops after the step at hand; --resume goes on from there.",
    )  # fmt: skip
    integer, real = task.positive(int), task.positive(float)
    model = parser.add_argument_group("the model")
    model.add_argument("--cell", choices=sorted(CELLS), default="rnn", help="the recurrent cell (default: %(default)s)")
    model.add_argument("--hidden", type=integer, default=128, metavar="H", help="size of the state (default: %(default)s)")
    model.add_argument("--layers", type=integer, default=1, help="recurrent layers, one on top of the other (default: %(default)s)")
    model.add_argument("--dropout", type=fraction, default=0.0, metavar="P", help="dropout after each layer (default: %(default)s)")
    model.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="(default: %(default)s)")
    learning = parser.add_argument_group("learning")
    learning.add_argument("--text", metavar="FILE", help="a UTF-8 text, - for standard input (default: Python's language reference)")
    learning.add_argument("--length", type=integer, default=32, metavar="T", help="time steps per update (default: %(default)s)")
    learning.add_argument("--batch", type=integer, default=32, metavar="N", help="streams read in parallel (default: %(default)s)")
    learning.add_argument(
        "--steps", type=integer, default=7000, help="updates; the learning rate falls to 5%% over them (default: %(default)s)"
    )
    learning.add_argument("--minutes", type=real, help="stop after this time, if the steps are not done; --resume goes on")
    learning.add_argument("--lr", type=real, default=5e-3, help="Adam's learning rate at the start (default: %(default)s)")
    learning.add_argument("--clip", type=real, default=1.0, metavar="NORM", help="clip the gradient to this norm (default: %(default)s)")
    learning.add_argument("--seed", type=natural, default=0, help="of weights, dropout and sample (default: %(default)s)")
    sampling_options(parser.add_argument_group("the sample"))
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: runs/char_lm, or the next free number)")
    output.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with the run in this folder, exactly as if it had not stopped")
    output.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def sampling_options(group: Any) -> None:
    """How to write text."""
    group.add_argument("--prompt", help="what the text begins with (default: the first word of the text learned from)")
    group.add_argument("--characters", type=task.positive(int), default=600, metavar="N", help="how many to write (default: %(default)s)")
    group.add_argument(
        "--temperature",
        type=temperature,
        default=0.6,
        help="below 1 safer, above 1 wilder, 0 the likeliest character always (default: %(default)s)",
    )


def natural(text: str) -> int:
    """An argument type: a whole number, 0 or above."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def fraction(text: str) -> float:
    """An argument type: a number in [0, 1)."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 1)")
    return value


def temperature(text: str) -> float:
    """An argument type: a finite number, 0 or above."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a temperature: 0 or above")
    return value


def train(argv: Sequence[str]) -> int:
    """Train, sample, draw; gives the exit status."""
    parser = training_parser()
    arguments = parser.parse_args(argv)
    saved = load_checkpoint(arguments.resume) if arguments.resume else None
    if saved:
        arguments = resumed_arguments(parser, argv, saved)
    corpus = Corpus(*read_text(arguments.text))
    if saved and saved.config["text"]["sha256"] != corpus.sha256:
        raise Problem(f"{arguments.resume} was trained on another text ({saved.config['text']['name']}); give the same with --text.")
    check_prompt(corpus.vocabulary, arguments.prompt)
    training = Training(arguments, corpus)
    if saved:
        training.restore(saved)
        folder = arguments.resume if arguments.resume.is_dir() else arguments.resume.parent
        task.check_writable(folder)
    else:
        folder = task.output_folder("char_lm", arguments.out)
    levels = baselines(corpus)
    print(f"text       {corpus.describe()}")
    print(f"baselines  bits per character, held out: {', '.join(f'{name} {bits:.2f}' for name, bits in levels.items())}")
    count = sum(p.size for p in training.model.parameters())
    print(f"model      {arguments.cell}, {arguments.layers} x {arguments.hidden}, {count:,} parameters, {arguments.dtype}", flush=True)
    status = learn(training, folder, arguments.minutes, arguments.quiet)
    report(training, levels, folder)
    if training.held_out_bits:
        print(
            f"\nheld out: {training.held_out_bits[-1][1]:.3f} bits per character (3-character context: {levels['3-character context']:.2f})"
        )
    if training.done < arguments.steps:
        again = f" --text {arguments.text}" if arguments.text else ""
        print(f"stopped after step {training.done} of {arguments.steps}; go on with: python -m models.char_lm --resume {folder}{again}")
    return status


def resumed_arguments(parser: argparse.ArgumentParser, argv: Sequence[str], saved: checkpoint.Checkpoint) -> argparse.Namespace:
    """The arguments of the run that goes on, with what the command line changes; a Problem where that would be another model."""
    old = saved.config["arguments"]
    parser.set_defaults(**old)
    arguments = parser.parse_args(argv)
    for name in MODEL_ARGUMENTS:
        if getattr(arguments, name) != old[name]:
            raise Problem(
                f"--{name} {getattr(arguments, name)} contradicts the checkpoint, which has {old[name]}; leave it out, or start anew."
            )
    if arguments.out is not None:
        raise Problem("--resume writes into the folder that it resumes; leave --out out.")
    return arguments


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
    arrays, config = load_checkpoint(arguments.checkpoint)
    vocabulary, old = Vocabulary(config["text"]["symbols"]), config["arguments"]
    check_prompt(vocabulary, arguments.prompt)
    rng = np.random.default_rng(arguments.seed)
    model = CharLM(old["cell"], len(vocabulary), old["hidden"], old["layers"], 0.0, rng=rng, dtype=np.dtype(old["dtype"]))
    restore_model(model, arrays)
    rng = np.random.default_rng(arguments.seed)
    prompt = arguments.prompt or config["text"]["opening"]
    print(generate(model, vocabulary, prompt, arguments.characters, arguments.temperature, rng))
    return 0


def main(argv: Sequence[str]) -> int:
    """`sample ...`, or the options of a training run."""
    return sample(argv[1:]) if argv[:1] == ["sample"] else train(argv)


if __name__ == "__main__":
    task.run(main)
