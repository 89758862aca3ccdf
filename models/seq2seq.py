"""Sequence to sequence: an encoder reads, a decoder writes (Sutskever et al. 2014; Cho et al. 2014; Chaudhury 2024, ch. 10).

The decoder is a cell like any other.  Trained with teacher forcing it reads the target, shifted by one; left alone it reads what it wrote.
Its V symbols are 0 ... V-1; one symbol more, V, begins each sequence as the first input, and ends it as the last output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from models.bidirectional import Bidirectional, Both
from models.recurrent import Cell, generate, named, select, unroll
from models.stacked import Stacked, run_layer
from tinygrad_seq import Tensor, concat, cross_entropy, log_softmax, no_grad, scope, softmax, stack, swapaxes, tanh
from tinygrad_seq.nn import Linear, Module, uniform, xavier, zeros
from tinygrad_seq.record import Array, Value


class DecoderState(NamedTuple):
    """h (N, D), from which the scores are made; the recurrent cell's own state; with attention also the memory, and the weights (N, S)."""

    h: Tensor
    cell: Any
    memory: Memory | None = None
    attention: Tensor | None = None


class Memory(NamedTuple):
    """What a decoder can look back at: values (N, S, E) and keys (N, S, K) of S source steps; 0 where there is one, else -1e9."""

    values: Tensor
    keys: Tensor
    padding: Tensor


class Text(NamedTuple):
    """What a decoder wrote: symbols (T, N), V from the end of each sequence on; lengths (N,) without the end; log p (N,) of each.

    attention: (T, N, S), where the decoder looked as it wrote each symbol; None without attention.
    """

    symbols: Array
    lengths: Array
    log_p: Array
    attention: Array | None = None

    def sequences(self) -> list[Array]:
        """The symbols of each sequence, without the end."""
        return [self.symbols[:length, n] for n, length in enumerate(self.lengths)]


class Decoder(Cell):
    """A cell that writes: p(y_t | y_0 ... y_(t-1)) = softmax(W_y h_t + b_y), where h_t = cell(y_(t-1), h_(t-1)).

    `cell` reads V + 1 symbols; W_y (D, V+1), b_y (V+1), for outputs h of D numbers; D is `hidden` if not given as `outputs`.
    """

    def __init__(
        self, cell: Any, symbols: int, hidden: int, *, outputs: int | None = None, rng: Generator, dtype: Any = np.float32
    ) -> None:
        self.symbols, self.hidden = symbols, hidden
        self.cell: Cell = cell(symbols + 1, hidden, rng=rng, dtype=dtype)
        self.W_y = xavier(rng, outputs or hidden, symbols + 1, dtype=dtype)
        self.b_y = zeros(symbols + 1, dtype=dtype)

    def input(self, x: Value) -> Tensor:
        """The cell's."""
        return self.cell.input(x)

    def recur(self, a: Tensor, state: DecoderState) -> DecoderState:
        """The cell's."""
        cell = self.cell.recur(a, state.cell)
        return state._replace(h=cell.h, cell=cell)

    def initial_state(self, batch: int) -> DecoderState:
        """That of a decoder which nobody told anything."""
        return self.begin(self.cell.initial_state(batch))

    def checked_state(self, state: Any, batch: int) -> DecoderState:
        """The state, if the cell's part of it is one for N sequences; else ValueError."""
        if not isinstance(state, DecoderState):
            raise ValueError(f"a decoder begins with the state that begin() gives, and not with a {type(state).__name__}.")
        self.cell.checked_state(state.cell, batch)
        return state

    def begin(self, cell: Any, memory: Tensor | None = None, lengths: Array | None = None) -> DecoderState:
        """The state before the first symbol: the cell's state, as an encoder left it or as made from any vector.

        memory: the encoder's outputs (S, N, E), for a decoder with attention; lengths: how many of them are not padding.
        """
        del memory, lengths  # this decoder knows no more than the cell's state: the context vector
        return DecoderState(cell.h, cell)

    def scores(self, h: Tensor) -> Tensor:
        """W_y h + b_y: (..., D) -> (..., V+1)."""
        with scope("scores"):
            return h @ self.W_y + self.b_y

    # ---- training

    def forced(self, targets: Array, state: DecoderState) -> Tensor:
        """Teacher forcing: the scores (T, N, V+1) of each next symbol, given the true ones before it; targets (T, N), as `padded` gives."""
        return self.scores(unroll(self, self._shifted(targets), state).outputs)

    def mixed(self, targets: Array, state: DecoderState, *, teacher: float, rng: Generator) -> Tensor:
        """Scheduled sampling (Bengio et al. 2015): each input is the true symbol with probability `teacher`, else the one that scored best.

        Raises ValueError where `teacher` is not a probability.
        """
        if not 0 <= teacher <= 1:
            raise ValueError(f"teacher={teacher}, expected a probability in [0, 1].")
        shifted = self._shifted(targets)
        true = np.asarray(rng.random(shifted.shape) < teacher)

        def feed(t: int, state: DecoderState) -> tuple[Value, DecoderState]:
            if t == 0 or true[t].all():
                return shifted[t], state
            with no_grad():
                written = self.scores(state.h).data.argmax(axis=-1)
            return state.h.detach(np.where(true[t], shifted[t], written)), state

        return self.scores(generate(self, feed, state, len(targets)).outputs)

    def _shifted(self, targets: Array) -> Array:
        targets = self._checked(targets)
        return np.concatenate([np.full_like(targets[:1], self.symbols), targets[:-1]])

    def _checked(self, targets: Array) -> Array:
        targets = np.asarray(targets)
        if targets.ndim != 2 or targets.dtype.kind not in "iu" or not len(targets):
            raise ValueError(f"targets are {targets.dtype} {targets.shape}, expected integers (T, N), T at least 1.")
        if targets.size and not 0 <= targets.min() <= targets.max() <= self.symbols:
            raise ValueError(f"targets from {targets.min()} to {targets.max()}, expected 0 to {self.symbols}, the last of which ends.")
        return targets

    # ---- writing

    def greedy(self, state: DecoderState, limit: int) -> Text:
        """The likeliest symbol at each step, until all sequences ended, or `limit` symbols."""
        return self._write(state, limit, lambda log_p: log_p.argmax(axis=-1))

    def sample(self, state: DecoderState, limit: int, *, rng: Generator, temperature: float = 1.0) -> Text:
        """A symbol drawn from p**(1/temperature), normalised, at each step; raises ValueError unless temperature > 0."""
        if not temperature > 0:
            raise ValueError(f"temperature={temperature}, expected a number above 0; greedy() takes the likeliest.")

        def choose(log_p: Array) -> Array:
            return np.asarray((log_p / temperature + rng.gumbel(size=log_p.shape)).argmax(axis=-1))  # draws from the softmax

        return self._write(state, limit, choose)

    def _write(self, state: DecoderState, limit: int, choose: Callable[[Array], Array]) -> Text:
        N = len(state.h)
        written: list[Array] = []
        going, log_p = np.ones(N, bool), np.zeros(N)

        def read(state: DecoderState) -> None:
            """Choose the symbol that the state says."""
            scores = log_softmax(self.scores(state.h)).data.astype(np.float64)
            symbol = np.where(going, choose(scores), self.symbols)
            log_p[going] += scores[np.arange(N), symbol][going]
            going[symbol == self.symbols] = False
            written.append(symbol)

        def feed(t: int, state: DecoderState) -> tuple[Array, DecoderState] | None:
            if t == 0:
                return np.full(N, self.symbols), state
            read(state)
            return (written[-1], state) if going.any() else None

        with no_grad():
            run = generate(self, feed, state, limit)
            if going.any():
                read(run.state)
            looked = [state.attention for state in run.states if state.attention is not None]
        symbols = np.array(written)
        return Text(symbols, (symbols != self.symbols).sum(axis=0), log_p, stack(looked).data if looked else None)

    def beam(self, state: DecoderState, limit: int, *, width: int = 4, alpha: float = 0.0) -> Text:
        """The best of `width` sequences that are kept at each step, by log p / ((5 + length) / 6)**alpha (Wu et al. 2016).

        length counts the end.  alpha = 0 compares log p itself, which favours short sequences.  What has not ended at the limit stays as
        it is.  Raises ValueError unless 1 <= width <= V + 1.
        """
        if not 1 <= width <= self.symbols + 1:
            raise ValueError(f"beam: width={width}, expected from 1 to {self.symbols + 1}, the symbols there are to choose from.")
        N, V = len(state.h), self.symbols + 1
        log_p = np.where(np.arange(width) == 0, 0.0, -np.inf) * np.ones((N, 1))  # (N, width): at first all beams are one
        length = np.zeros((N, width), np.intp)
        ended = np.zeros((N, width), bool)
        symbols = np.empty((0, N, width), np.intp)

        def extend(state: DecoderState) -> Array:
            """Choose the best continuations of all beams of a sequence; gives the rows that they continue."""
            nonlocal log_p, length, ended, symbols
            scores = log_softmax(self.scores(state.h)).data.astype(np.float64).reshape(N, width, V)
            stay = np.where(np.arange(V) == V - 1, 0.0, -np.inf)  # an ended sequence has one continuation: none
            total = (log_p[..., None] + np.where(ended[..., None], stay, scores)).reshape(N, width * V)
            long = np.repeat(length + ~ended, V, axis=1)
            best = np.argsort(-total / ((5 + long) / 6) ** alpha, axis=1, kind="stable")[:, :width]
            parent, symbol = np.divmod(best, V)
            log_p, length = np.take_along_axis(total, best, 1), np.take_along_axis(long, best, 1)
            ended = np.take_along_axis(ended, parent, 1) | (symbol == V - 1)
            symbols = np.concatenate([np.take_along_axis(symbols, parent[None], 2), symbol[None]])
            return (np.arange(N)[:, None] * width + parent).ravel()

        def feed(t: int, state: DecoderState) -> tuple[Array, DecoderState] | None:
            if t == 0:
                return np.full(N * width, self.symbols), state
            rows = extend(state)
            return None if ended.all() else (symbols[-1].ravel(), select(state, rows))

        with no_grad():
            run = generate(self, feed, select(state, np.repeat(np.arange(N), width)), limit)
            if not ended.all():
                extend(run.state)
        text = symbols[:, :, 0]  # the best stand first
        return Text(text, (text != self.symbols).sum(axis=0), log_p[:, 0])


class AdditiveDecoder(Decoder):
    """A decoder that looks before it steps (Bahdanau et al. 2015): the context is a further input of the cell.

    e_ts = v · tanh(W_a h_(t-1) + U_a m_s), α_t = softmax_s(e_ts), context_t = Σ_s α_ts m_s, h_t = cell([y_(t-1), context_t], h_(t-1)).
    The scores are made of [h_t, context_t].  Memory m (S, N, E); W_a (H, K), U_a (E, K), v (K), with K = H.
    """

    def __init__(self, cell: Any, symbols: int, hidden: int, *, memory: int, rng: Generator, dtype: Any = np.float32) -> None:
        super().__init__(cell, symbols, hidden, outputs=hidden + memory, rng=rng, dtype=dtype)
        self.W_a, self.U_a = xavier(rng, hidden, hidden, dtype=dtype), xavier(rng, memory, hidden, dtype=dtype)
        self.v = uniform(rng, hidden, bound=1 / math.sqrt(hidden), dtype=dtype)
        self.W_c = xavier(rng, memory, self.cell.input(np.array([0])).shape[-1], dtype=dtype)

    def begin(self, cell: Any, memory: Tensor | None = None, lengths: Array | None = None) -> DecoderState:
        """As for `Decoder`; raises ValueError without a memory."""
        remembered = recalled(memory, lengths, self.U_a)
        nowhere = Tensor(np.zeros(remembered.padding.shape, self.v.dtype))
        no_context = Tensor(np.zeros((len(cell.h), remembered.values.shape[-1]), self.v.dtype))
        return DecoderState(concat([cell.h, no_context], axis=-1), cell, remembered, nowhere)

    def recur(self, a: Tensor, state: DecoderState) -> DecoderState:
        """Look, then step."""
        cell, memory = state.cell, state.memory
        assert memory is not None  # begin() gives one
        with scope("attention"):
            query = (cell.h @ self.W_a).reshape(len(cell.h), 1, -1)
            alpha = softmax(tanh(query + memory.keys) @ self.v + memory.padding)
            context = weighted(alpha, memory.values)
        cell = self.cell.recur(a + context @ self.W_c, cell)
        return DecoderState(concat([cell.h, context], axis=-1), cell, memory, alpha)


class DotDecoder(Decoder):
    """A decoder that steps, then looks (Luong et al. 2015): the context changes what is written, not what is remembered.

    h_t = cell(y_(t-1), h_(t-1)), e_ts = h_t · W_a m_s, α_t = softmax_s(e_ts), context_t = Σ_s α_ts m_s, h̃_t = tanh(W_c [context_t, h_t]).
    The scores are made of h̃_t.  Memory m (S, N, E); W_a (E, H), W_c (E + H, H).
    """

    def __init__(self, cell: Any, symbols: int, hidden: int, *, memory: int, rng: Generator, dtype: Any = np.float32) -> None:
        super().__init__(cell, symbols, hidden, rng=rng, dtype=dtype)
        self.W_a = xavier(rng, memory, hidden, dtype=dtype)
        self.W_c = xavier(rng, memory + hidden, hidden, dtype=dtype)

    def begin(self, cell: Any, memory: Tensor | None = None, lengths: Array | None = None) -> DecoderState:
        """As for `Decoder`; raises ValueError without a memory."""
        remembered = recalled(memory, lengths, self.W_a)
        return DecoderState(cell.h, cell, remembered, Tensor(np.zeros(remembered.padding.shape, self.W_a.dtype)))

    def recur(self, a: Tensor, state: DecoderState) -> DecoderState:
        """Step, then look."""
        memory = state.memory
        assert memory is not None  # begin() gives one
        cell = self.cell.recur(a, state.cell)
        with scope("attention"):
            query = cell.h.reshape(len(cell.h), -1, 1)
            alpha = softmax((memory.keys @ query).reshape(memory.padding.shape) + memory.padding)
            context = weighted(alpha, memory.values)
        h = tanh(concat([context, cell.h], axis=-1) @ self.W_c)
        return DecoderState(h, cell, memory, alpha)


def weighted(alpha: Tensor, values: Tensor) -> Tensor:
    """Σ_s α_s m_s: weights (N, S) and values (N, S, E) -> (N, E)."""
    N, S = alpha.shape
    return (alpha.reshape(N, 1, S) @ values).reshape(N, -1)


def recalled(outputs: Tensor | None, lengths: Array | None, W: Tensor) -> Memory:
    """An encoder's outputs (S, N, E) as a memory whose keys are W m_s; what comes after `lengths` gets no weight."""
    if outputs is None:
        raise ValueError("a decoder with attention looks back at the encoder's outputs; give memory=outputs (S, N, E).")
    S, N = outputs.shape[:2]
    real = np.ones((N, S), bool) if lengths is None else np.arange(S) < np.asarray(lengths)[:, None]
    padding = Tensor(np.where(real, 0, -1e9).astype(W.dtype), name="padding")
    with scope("memory"):
        values = swapaxes(outputs, axis1=0, axis2=1)
        return Memory(values, values @ W, padding)


# ---- encoder and decoder -------------------------------------------------------------------------------------------------------------


class Seq2Seq(Module):
    """An encoder whose last state is the decoder's first: the context, all that a decoder without attention knows of the source.

    The encoder is a cell, a `Bidirectional`, whose two last states a linear layer makes one, or a `Stacked`, whose highest layer counts.
    """

    def __init__(self, encoder: Cell | Bidirectional | Stacked, decoder: Decoder, *, rng: Generator, dtype: Any = np.float32) -> None:
        self.encoder, self.decoder = encoder, decoder
        top = encoder.layers[-1] if isinstance(encoder, Stacked) else encoder
        both = isinstance(top, Bidirectional)
        cell = top.forward_cell if isinstance(top, Bidirectional) else top
        begins, expects = cell.initial_state(1), decoder.cell.initial_state(1)
        if type(begins) is not type(expects) or (not both and begins.h.shape != expects.h.shape):
            raise ValueError(
                f"Seq2Seq: the encoder ends in {type(begins).__name__} of {begins.h.shape[-1]}, the decoder begins with "
                f"{type(expects).__name__} of {expects.h.shape[-1]}; give cells of one kind and size, or a bidirectional encoder."
            )
        parts = type(expects)._fields if both else ()
        self.bridge = [Linear(2 * begins.h.shape[-1], decoder.hidden, rng=rng, dtype=dtype) for _ in parts]

    def encode(self, xs: Value, lengths: Array | None = None) -> DecoderState:
        """Read the sources xs (S, N), or (S, N, C): the state that the decoder begins with."""
        if isinstance(self.encoder, Stacked):
            run = self.encoder(xs, lengths=lengths)
            last = run.state[-1]
        else:
            run = run_layer(self.encoder, xs, lengths=lengths)
            last = run.state
        if isinstance(last, Both):
            pairs = zip(self.bridge, last.forward, last.backward, strict=True)
            last = named(type(last.forward)(*(tanh(linear(concat([there, back], axis=-1))) for linear, there, back in pairs)))
        return self.decoder.begin(last, run.outputs, lengths)

    def forward(
        self, xs: Value, targets: Array, lengths: Array | None = None, *, teacher: float = 1.0, rng: Generator | None = None
    ) -> Tensor:
        """Sources xs (S, N) and targets (T, N) -> the scores (T, N, V+1) of each next symbol.

        teacher: the probability at which the decoder reads the true symbol before it rather than its own; below 1 it takes `rng`.
        """
        state = self.encode(xs, lengths)
        if teacher == 1:
            return self.decoder.forced(targets, state)
        if rng is None:
            raise ValueError(f"teacher={teacher} needs a source of randomness; give rng.")
        return self.decoder.mixed(targets, state, teacher=teacher, rng=rng)

    def loss(self, xs: Value, targets: Array, lengths: Array | None = None, **options: Any) -> Tensor:
        """The mean cross-entropy of the targets (T, N), each up to and with its first end."""
        scores = self(xs, targets, lengths, **options)
        with scope("loss"):
            return cross_entropy(scores, targets, mask=counted(targets, self.decoder.symbols))


def counted(targets: Array, end: int) -> Array:
    """True for each symbol of the targets (T, N) up to and with the first end; what comes after is padding."""
    before = np.cumsum(np.asarray(targets) == end, axis=0) - (np.asarray(targets) == end)
    return before == 0


def padded(sequences: list[Array], end: int | None = None) -> tuple[Array, Array]:
    """Sequences of integers as one array (T, N) and their lengths (N,).

    With `end` each is followed by it, and it fills up the rest, as a decoder's targets are; without, 0 fills up, as for an encoder.
    Raises ValueError where there is no sequence, or an empty one that gets no end.
    """
    lengths = np.array([len(s) for s in sequences], np.intp)
    if not len(sequences) or (end is None and lengths.min() < 1):
        raise ValueError("padded: no sequences, or an empty one; an encoder needs at least one symbol of each.")
    out = np.full((lengths.max() + (end is not None), len(sequences)), 0 if end is None else end, np.int64)
    for n, sequence in enumerate(sequences):
        out[: len(sequence), n] = sequence
    return out, lengths
