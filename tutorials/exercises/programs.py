"""Small programs of + - * on numbers, drawn by Hypothesis, that read as one would write them: inputs for exercises about graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tinygrad_seq import Tensor

NAMES = "abcdefghijklmnop"
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": lambda x, y: x + y, "*": lambda x, y: x * y, "-": lambda x, y: x - y}


@dataclass(frozen=True)
class Program:
    """Numbers for the first names, then steps (operator, left, right) for the next ones; the last name is the result."""

    numbers: tuple[float, ...]
    steps: tuple[tuple[str, int, int], ...]

    def __repr__(self) -> str:
        lines = [f"{NAMES[i]} = {number!r}" for i, number in enumerate(self.numbers)]
        for k, (sign, i, j) in enumerate(self.steps, len(lines)):
            lines.append(f"{NAMES[k]} = {NAMES[i]} {sign} {NAMES[j]}")
        return "; ".join(lines)

    def run(self, leaves: list[Any]) -> list[Any]:
        """The values of all names, given those of the first."""
        values = list(leaves)
        for sign, i, j in self.steps:
            values.append(OPERATORS[sign](values[i], values[j]))
        return values

    def tensors(self) -> list[Tensor]:
        """All names as Tensors that require gradients, in the order in which they were made."""
        return self.run([Tensor(number, requires_grad=True, name=NAMES[i]) for i, number in enumerate(self.numbers)])

    def used(self) -> list[int]:
        """Which names the result was made from, itself included, in order."""
        needed = {len(self.numbers) + len(self.steps) - 1}
        for k in range(len(self.steps) - 1, -1, -1):
            if k + len(self.numbers) in needed:
                needed |= set(self.steps[k][1:])
        return sorted(needed)


@st.composite
def programs(draw: Any, operators: str = "+*-", longest: int = 6) -> Program:
    """Programs of one to `longest` steps on one to three numbers."""
    numbers = draw(st.lists(st.integers(1, 9).map(float), min_size=1, max_size=3))
    steps: list[tuple[str, int, int]] = []
    for k in range(len(numbers), len(numbers) + draw(st.integers(1, longest))):
        # Counted from the newest, so that a program becomes simpler where Hypothesis makes numbers smaller.
        i, j = (k - 1 - draw(st.integers(0, k - 1)) for _ in range(2))
        steps.append((draw(st.sampled_from(operators)), i, j))
    return Program(tuple(numbers), tuple(steps))
