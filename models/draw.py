"""Pictures of all networks, drawn from the graph of a run that really ran.

    python -m models.draw --cell lstm --steps 4 --depth gate --out lstm.svg
    python -m models.draw --network attention --depth cell --out attention.svg
    python -m models.draw --cell rnn --steps 12 --loss last --gradients --out vanishing.svg    how much gradient is left, as colour
    python -m models.draw --network bidirectional --steps 50 --show-steps 0,1,-1               the others as one column
    python -m models.draw --gallery tutorials/img                                              the README's pictures

Columns are time steps, rows are layers and directions; an encoder stands to the left of its decoder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.random import Generator

from models.bidirectional import Bidirectional, merged
from models.caption import Captioner, captions, draw_strips
from models.char_lm import CharLM, Corpus, read_text, training_graph
from models.experiment import CELLS
from models.recurrent import Cell, detached, unroll
from models.seq2seq import AdditiveDecoder, Decoder, DotDecoder, Seq2Seq
from models.stacked import stacked
from models.task import Problem, natural, positive, run
from tinygrad_seq import Tensor, cross_entropy, scope, stack, step
from tinygrad_seq.draw import Drawing, draw
from tinygrad_seq.draw.fold import Depth
from tinygrad_seq.draw.paint import Show
from tinygrad_seq.nn import Module, uniform

SYMBOLS, FEATURES, HIDDEN, OUTPUTS = 5, 3, 4, 2


class Wish(NamedTuple):
    """What is to run: steps, the cell's name, and what happens on the way."""

    cell: str = "lstm"
    steps: int = 4
    loss: str = "all"
    teacher: float = 1.0
    cut: int = 2
    masked: bool = False
    seed: int = 0


class Run(NamedTuple):
    """A loss, and the module whose parameters have names."""

    loss: Tensor
    module: Module


# ---- networks that give an output at each step ---------------------------------------------------------------------------------------


class Labeller(Module):
    """Layers, cells or `Bidirectional`s, and y_t = W_y h_t + b_y on top; L = Σ_t |y_t - 1|²."""

    def __init__(self, layers: Sequence[Cell | Bidirectional], width: int, *, rng: Generator) -> None:
        self.layers = list(layers)
        self.W_y = uniform(rng, width, OUTPUTS, bound=0.5, dtype=np.float64)
        self.b_y = uniform(rng, OUTPUTS, bound=0.5, dtype=np.float64)

    def forward(self, xs: list[Any], wish: Wish) -> Tensor:
        """The loss of a run in which each step is recorded whole, as the textbook draws it."""
        for layer in self.layers:
            xs = hidden(layer, xs, wish)
        losses = []
        for t, h in enumerate(xs):
            if wish.loss == "all" or t == len(xs) - 1:
                with scope("output"), step(t):
                    y = h @ self.W_y + self.b_y
                    y.name = f"y_{t}"
                    with scope("loss"):
                        losses.append(((y - 1.0) ** 2).sum())
                    losses[-1].name = f"L_{t}"
        with scope("loss"):
            total: Tensor = stack(losses).sum() if len(losses) > 1 else losses[0]
        return total


def hidden(layer: Cell | Bidirectional, xs: list[Any], wish: Wish) -> list[Tensor]:
    """The outputs of a layer at each step."""
    if not isinstance(layer, Bidirectional):
        return over_time(layer, xs, wish)
    with scope(layer):
        there, back = over_time(layer.forward_cell, xs, wish), over_time(layer.backward_cell, xs, wish, reverse=True)
        both = []
        for t, pair in enumerate(zip(there, back, strict=True)):
            with step(t):
                both.append(merged(*pair, layer.merge))
        return both


def over_time(cell: Cell, xs: list[Any], wish: Wish, reverse: bool = False) -> list[Tensor]:
    """The outputs of a cell at each step."""
    lengths = np.linspace(len(xs), 1, xs[0].shape[0]).round().astype(int) if wish.masked else None
    return [state.h for state in unroll(cell, xs, lengths=lengths, hoist=False, reverse=reverse).states]


def inputs(wish: Wish, rng: Generator) -> list[Any]:
    """x_t for each step."""
    return [Tensor(rng.standard_normal((1 + wish.masked, FEATURES)), name=f"x_{t}") for t in range(wish.steps)]


def pieces(wish: Wish, rng: Generator) -> Run:
    """Truncated backpropagation: after every `wish.cut` steps the state goes on without its history."""
    cell, xs = CELLS[wish.cell](FEATURES, HIDDEN, rng=rng, dtype=np.float64), inputs(wish, rng)
    losses, state = [], None
    for start in range(0, wish.steps, wish.cut):
        run = unroll(cell, xs[start : start + wish.cut], state, hoist=False)
        with scope("loss"):
            losses.append((run.outputs**2).sum())
            if len(losses) > 1:
                losses.append(losses[-2] + losses[-1])
        state = detached(run.state)
    return Run(losses[-1], cell)


def labelled(layers: int = 1, bidirectional: bool = False) -> Callable[[Wish, Generator], Run]:
    """A network of that many layers."""

    def network(wish: Wish, rng: Generator) -> Run:
        made = stacked(CELLS[wish.cell], FEATURES, HIDDEN, layers=layers, bidirectional=bidirectional, rng=rng, dtype=np.float64).layers
        net = Labeller(made, HIDDEN * (1 + bidirectional), rng=rng)
        return Run(net(inputs(wish, rng), wish), net)

    return network


# ---- encoder and decoder -------------------------------------------------------------------------------------------------------------


def sequences(decoder: Any, bidirectional: bool = False) -> Callable[[Wish, Generator], Run]:
    """An encoder of `wish.steps` steps and a decoder of as many."""

    def network(wish: Wish, rng: Generator) -> Run:
        cell = CELLS[wish.cell]
        encoder = cell(SYMBOLS, HIDDEN, rng=rng)
        if bidirectional:
            encoder = Bidirectional(encoder, cell(SYMBOLS, HIDDEN, rng=rng))
        more = {} if decoder is Decoder else {"memory": HIDDEN * (1 + bidirectional)}
        net = Seq2Seq(encoder, decoder(cell, SYMBOLS, HIDDEN, rng=rng, **more), rng=rng)
        xs, targets = (rng.integers(0, SYMBOLS, (wish.steps, 1)) for _ in range(2))
        return Run(net.loss(xs, targets, teacher=wish.teacher, rng=rng), net)

    return network


def caption(wish: Wish, rng: Generator) -> Run:
    """A picture in, words out."""
    net = Captioner(wish.cell, HIDDEN, HIDDEN, rng=rng)
    numbers = np.array([407])
    targets = captions(numbers)[: wish.steps]
    scores = net(draw_strips(rng, numbers), targets)
    with scope("loss"):
        return Run(cross_entropy(scores, targets), net)


def char_lm(wish: Wish, rng: Generator) -> Run:
    """The character model, reading the beginning of Python's language reference."""
    corpus = Corpus(*read_text(None))
    net = CharLM(wish.cell, len(corpus.vocabulary), 128, 1, 0.0, rng=rng)
    return Run(training_graph(net, corpus, wish.steps), net)


NETWORKS: dict[str, Callable[[Wish, Generator], Run]] = {
    "cell": labelled(),
    "stacked": labelled(layers=2),
    "bidirectional": labelled(bidirectional=True),
    "stacked-bidirectional": labelled(layers=2, bidirectional=True),
    "seq2seq": sequences(Decoder),
    "attention": sequences(DotDecoder),
    "additive-attention": sequences(AdditiveDecoder),
    "bidirectional-encoder": sequences(DotDecoder, bidirectional=True),
    "caption": caption,
    "truncated": pieces,
    "char_lm": char_lm,
}

_LABELLERS = ("cell", "stacked", "bidirectional", "stacked-bidirectional")
ONLY_FOR = {  # wishes that the other networks would pass over in silence
    "loss": _LABELLERS,
    "masked": _LABELLERS,
    "teacher": ("seq2seq", "attention", "additive-attention", "bidirectional-encoder"),
    "cut": ("truncated",),
}


def drawn(network: str, wish: Wish, **options: Any) -> Drawing:
    """The picture of a network; `options` go to `draw`."""
    ran = NETWORKS[network](wish, np.random.default_rng(wish.seed))
    return draw(ran.loss, params=ran.module, **options)


# ---- the command line ----------------------------------------------------------------------------------------------------------------

GALLERY: dict[str, tuple[str, Wish, dict[str, Any]]] = {  # of the README: file -> network, wish, options of draw
    "char_lm": ("char_lm", Wish("lstm"), {}),
    "draw_rnn": ("cell", Wish("rnn"), {}),
    "draw_lstm": ("cell", Wish("lstm"), {}),
    "draw_gru": ("cell", Wish("gru", 3), {}),
    "draw_bidirectional": ("bidirectional", Wish("rnn"), {"depth": "gate"}),
    "draw_stacked": ("stacked", Wish("lstm"), {"depth": "cell"}),
    "draw_attention": ("attention", Wish("rnn", 3), {"depth": "gate"}),
    "draw_seq2seq": ("seq2seq", Wish("lstm", teacher=0.5), {"depth": "cell"}),
    "draw_truncated": ("truncated", Wish("rnn"), {"depth": "gate"}),
    "draw_masked": ("cell", Wish("rnn", 3, masked=True), {}),
    "draw_caption": ("caption", Wish("gru"), {"depth": "cell"}),
    "draw_folded": ("cell", Wish("lstm", 50), {"steps": [0, 1, -1], "depth": "gate"}),
    "draw_rolled": ("cell", Wish("lstm"), {"rolled": True}),
    "draw_vanishing_rnn": ("cell", Wish("rnn", 6, loss="last"), {"depth": "gate", "gradients": True}),
    "draw_vanishing_lstm": ("cell", Wish("lstm", 6, loss="last"), {"depth": "gate", "gradients": True}),
}


def _numbers(text: str) -> list[int]:
    """An argument type: whole numbers with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of steps such as 0,1,-1") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.draw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what runs")
    what.add_argument("--network", choices=list(NETWORKS), default="cell", help="(default: %(default)s, one layer)")
    what.add_argument("--cell", choices=list(CELLS), default="lstm", help="(default: %(default)s)")
    what.add_argument("--steps", type=positive(int), default=4, metavar="T", help="time steps (default: %(default)s)")
    what.add_argument("--loss", choices=("all", "last"), default="all", help="of every step, or of the last only (default: %(default)s)")
    what.add_argument("--teacher", type=float, default=1.0, metavar="P", help="how often a decoder reads the true symbol (default: always)")
    what.add_argument("--cut", type=positive(int), default=2, metavar="K", help="steps of a truncated piece (default: %(default)s)")
    what.add_argument("--masked", action="store_true", help="a batch of two, of which the second ends early")
    what.add_argument("--seed", type=natural, default=0, help="of the weights (default: %(default)s)")
    how = parser.add_argument_group("how it is drawn")
    how.add_argument("--depth", choices=get_args(Depth), help="what becomes one node (default: as fine as can be read)")
    how.add_argument("--show-steps", type=_numbers, metavar="0,1,-1", help="these steps, the others as one column")
    how.add_argument("--all-steps", action="store_true", help="every step, however many there are")
    how.add_argument("--rolled", action="store_true", help="one step that stands for all")
    how.add_argument("--weights", choices=("copies", "once"), default="copies", help="copies in each step, or one (default: %(default)s)")
    how.add_argument("--show", choices=get_args(Show), action="append", default=[], help="write into the nodes; may be given again")
    how.add_argument("--gradients", action="store_true", help="paint the norm of the gradient at each node")
    how.add_argument(
        "--layout", choices=("columns", "dot"), default="columns", help="columns of time, or Graphviz's dot (default: %(default)s)"
    )
    how.add_argument("--title")
    how.add_argument("--no-legend", action="store_true")
    how.add_argument("--out", type=Path, metavar="FILE", help="what to write: .svg .png .pdf .dot .html (default: NETWORK.svg)")
    how.add_argument("--gallery", type=Path, metavar="FOLDER", help="draw the README's pictures into a folder, and nothing else")
    return parser


def main(argv: Sequence[str]) -> int:
    """Draw what the arguments describe; gives the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.gallery:
        for name, (network, wish, options) in GALLERY.items():
            _save(drawn(network, wish, **options), arguments.gallery / f"{name}.svg")
        return 0
    if not 0 <= arguments.teacher <= 1:
        raise Problem(f"--teacher {arguments.teacher} is no probability; give a number from 0 to 1.")
    if arguments.all_steps and arguments.show_steps:
        raise Problem("--all-steps and --show-steps contradict each other; give one of them.")
    wish = Wish(*(getattr(arguments, field) for field in Wish._fields))
    for field, networks in ONLY_FOR.items():
        if arguments.network not in networks and getattr(wish, field) != Wish._field_defaults[field]:
            raise Problem(f"--{field} changes nothing in --network {arguments.network}; it is for {', '.join(networks)}.")
    try:
        picture = drawn(
            arguments.network, wish, depth=arguments.depth, steps="all" if arguments.all_steps else arguments.show_steps,
            rolled=arguments.rolled, weights=arguments.weights, show=arguments.show, gradients=arguments.gradients,
            title=arguments.title, legend=not arguments.no_legend, layout=arguments.layout,
        )  # fmt: skip
    except ValueError as error:
        raise Problem(str(error)) from error
    _save(picture, arguments.out or Path(f"{arguments.network}.svg"))
    if picture.graph.remark:
        print(picture.graph.remark.replace("draw(...,", "in Python, draw(...,").replace("draws all", "(--all-steps --depth op) draws all"))
    return 0


def _save(picture: Drawing, path: Path) -> None:
    try:
        picture.save(path)
    except (ValueError, RuntimeError) as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"{path}: {error.strerror or error}. Choose another --out, or --gallery.") from error
    print(f"{path}: {len(picture.graph.items)} nodes")


if __name__ == "__main__":
    run(main)
