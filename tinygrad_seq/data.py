"""Text as numbers: the vocabulary, and the batches of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .record import Array


class Vocabulary:
    """Numbers 0 ... V-1 for the V distinct symbols of a text, in sorted order."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = sorted(set(symbols))
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: Sequence[str]) -> Array:
        """The symbols' numbers, (len(text),); ValueError for a symbol that the vocabulary lacks."""
        try:
            return np.array([self._index[symbol] for symbol in text], dtype=np.int64)
        except KeyError as error:
            unknown = sorted(set(text) - set(self.symbols))
            raise ValueError(
                f"unknown symbols {unknown[:10]!r}: the vocabulary has {len(self)}: {''.join(self.symbols)[:200]!r}."
            ) from error

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers."""
        return "".join(self.symbols[i] for i in numbers)


class Streams:
    """A sequence cut into N parallel streams, read T symbols at a time, so that the state after one batch is the state before the next.

    `streams[i]` is the i-th batch (inputs, targets), each (T, N); the targets are the inputs one symbol later.  At the end it starts over.
    Raises ValueError where the sequence is too short for a single batch.
    """

    def __init__(self, sequence: Array, batch: int, length: int) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"Streams: batch={batch}, length={length}, expected numbers above 0.")
        each = (len(sequence) - 1) // batch
        self.batches = each // length
        if self.batches < 1:
            raise ValueError(
                f"a text of {len(sequence)} symbols is too short for {batch} streams of {length} and a target; give a longer text."
            )
        self.length = length
        self._inputs = sequence[: each * batch].reshape(batch, each).T
        self._targets = sequence[1 : each * batch + 1].reshape(batch, each).T

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return (self[i] for i in range(self.batches))

    def __getitem__(self, i: int) -> tuple[Array, Array]:
        start = i % self.batches * self.length
        window = slice(start, start + self.length)
        return self._inputs[window], self._targets[window]
