"""Networks whose drawings are stepped through, the page of a drawing, and a reader before it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import unroll
from models.rnn import RNNCell
from tinygrad_seq import Tensor, cross_entropy
from tinygrad_seq.draw import Drawing, draw

CELLS: dict[str, Any] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


def network(kind: str, T: int = 2, hidden: int = 3) -> tuple[Tensor, Any]:
    rng = np.random.default_rng(0)
    cell = CELLS[kind](2, hidden, rng=rng, dtype=np.float64)
    W_y = Tensor(rng.standard_normal((hidden, 4)), requires_grad=True, name="W_y")
    run = unroll(cell, rng.standard_normal((T, 1, 2)), hoist=False)
    return cross_entropy(run.outputs @ W_y, rng.integers(0, 4, (T, 1))), cell


def page(drawing: Drawing) -> str:
    """The page of a drawing, or a skipped test where there is no renderer."""
    try:
        return drawing.html()
    except RuntimeError as error:
        pytest.skip(f"nothing to render with: {error}")


@lru_cache
def stepped(kind: str, T: int = 2) -> tuple[Tensor, Any, str]:
    """A network's loss, its cell, and the page of it."""
    L, cell = network(kind, T)
    return L, cell, page(draw(L, params=cell))


PANEL = """() => {
    const rows = (part) => [...part.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    const numbers = (card, kind) => { const table = card.querySelector(`${kind} table`); return table && rows(table); };
    const cards = [...document.querySelectorAll('.tensor')].map((card) => ({
        name: card.querySelector('button').textContent,
        value: numbers(card, '.value'), adds: numbers(card, '.adds'), total: numbers(card, '.total'),
    }));
    const panel = document.getElementById('panel');
    const marked = (kind) => [...document.querySelectorAll(`g.node.${kind} > title`)].map((title) => title.textContent);
    const [frame, now] = ['#picture', 'g.node.now'].map((which) => document.querySelector(which)?.getBoundingClientRect());
    return {
        at: Number(panel.dataset.at), title: panel.querySelector('h2').textContent, cards,
        equation: panel.querySelector('.equation')?.textContent, now: marked('now'), graded: marked('graded'), todo: marked('todo'),
        inSight: Boolean(now) && frame.left <= now.left && now.right <= frame.right && frame.top <= now.top && now.bottom <= frame.bottom,
    };
}"""


class Reader:
    """Somebody before the page, who has keys, a pointer and eyes; the console must stay silent, and nothing may be asked of a network."""

    def __init__(self, browser: Any, path: Path, width: int = 1300, height: int = 850) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_page()
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def at(self) -> int:
        return int(self.page.evaluate("Number(document.getElementById('panel').dataset.at)"))

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))

    def panel(self) -> dict[str, Any]:
        """What the panel shows: the heading, the equation, and of the output and each operand the numbers; and how nodes are marked."""
        return dict(self.page.evaluate(PANEL))

    def walk(self, steps: int, key: str = "ArrowRight") -> list[dict[str, Any]]:
        """What the panel shows after each of several presses of a key."""
        press = f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
        return list(self.page.evaluate(f"() => Array.from({{length: {steps}}}, () => {{ {press}; return ({PANEL})(); }})"))

    def marked(self, kind: str) -> list[str]:
        return list(self.page.evaluate(f"[...document.querySelectorAll('g.node.{kind} > title')].map((title) => title.textContent)"))

    def view(self) -> list[float]:
        return [float(x) for x in self.page.get_attribute("#picture svg", "viewBox").split()]

    def done(self) -> None:
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []
        self.page.close()
