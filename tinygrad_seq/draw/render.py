"""What the user holds: a picture that can be shown, saved and rendered."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ..checkpoint import write_whole
from ..record import Node
from .boxes import Box
from .items import Graph
from .page import page
from .story import tell

_LARGEST = 50_000  # nodes
_LARGEST_DOT = 1_000  # of those that `dot` has to place
_LARGEST_PAGE = 5_000
_NO_RENDERER = (
    "draw: rendering needs Graphviz, and there is neither `dot` on the PATH nor pygraphviz. Either `pip install 'tinygrad_seq[draw]'`, or "
    "install graphviz itself (apt, brew or winget install graphviz). The DOT text is in .source, and .save('graph.dot') needs neither."
)


class Drawing:
    """A picture of a computation graph: shown by notebooks, saved by `save`, its DOT text in `source`.

    `graph` is what it shows, laid out: items, each with its place and the record's nodes that it stands for, and edges with their routes.
    `boxes` are the rectangles around steps, runs and scopes, nested.
    """

    def __init__(
        self, source: str, graph: Graph, boxes: list[Box], roots: Sequence[Node] = (), called: Mapping[int, str] | None = None,
        title: str | None = None, engine: Literal["nop2", "dot"] = "nop2",
    ) -> None:  # fmt: skip
        self.source, self.graph, self.boxes = source, graph, boxes
        self._roots, self._called, self._title, self._engine = roots, called or {}, title, engine

    @property
    def graphviz(self) -> Any:
        """The picture as a `graphviz.Source`, for those who render it themselves."""
        import graphviz

        return graphviz.Source(self.source)

    def svg(self) -> str:
        """The picture as SVG.  Raises as `save` does."""
        return self._rendered("svg").decode()

    def html(self) -> str:
        """The picture as a page on which a reader steps through the computation, and back through its gradients.  Raises as `save` does."""
        if len(self.graph.items) > _LARGEST_PAGE:
            raise ValueError(
                f"html: this drawing has {len(self.graph.items):,} nodes, and a browser steps slowly through more than {_LARGEST_PAGE:,}. "
                'Draw fewer steps (steps=[0, 1, -1]), or fold it (depth="gate", depth="cell").'
            )
        return page(self.svg(), self._title or "computation graph", self.story())

    def story(self) -> dict[str, Any]:
        """What that page tells, as `tell` gives it."""
        return tell(self.graph, self._roots, self._called)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file, by its suffix: .svg, .png, .pdf, .dot or .html; a file that is there is replaced when all is done.

        Raises ValueError for another suffix, and for a graph too large to be read; RuntimeError where there is no Graphviz; OSError where
        the file cannot be written.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".png", ".pdf", ".dot", ".html"):
            raise ValueError(f"save: {path.name!r} has suffix {path.suffix!r}, expected .svg, .png, .pdf, .dot or .html.")
        if path.suffix in (".dot", ".html"):
            content = (self.source if path.suffix == ".dot" else self.html()).encode()
        else:
            content = self._rendered(path.suffix[1:])
        try:
            write_whole(path, lambda file: file.write(content))
        except OSError as error:
            raise OSError(error.errno, f"save: cannot write there ({error.strerror})", str(path)) from error

    def _rendered(self, format: str) -> bytes:
        largest = _LARGEST if self._engine == "nop2" else _LARGEST_DOT
        if len(self.graph.items) > largest:
            raise ValueError(
                f"draw: this picture has {len(self.graph.items):,} nodes, and to render more than {largest:,} takes too long. Fold it: "
                'steps=[0, 1, -1], depth="cell" or rolled=True. .source has the DOT text all the same.'
            )
        if shutil.which("dot"):
            return bytes(self.graphviz.pipe(format=format))
        try:
            import pygraphviz
        except ImportError:
            raise RuntimeError(_NO_RENDERER) from None
        with _without_fontconfig_warnings():
            return bytes(pygraphviz.AGraph(string=self.source).draw(format=format, prog=self._engine))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        try:
            return {"image/svg+xml": self.svg()}
        except (RuntimeError, ValueError) as error:
            return {"text/plain": f"{self!r}: {error}"}

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.graph.items)} nodes>"


@contextmanager
def _without_fontconfig_warnings() -> Iterator[None]:
    """Hold back what C libraries write to stderr, then pass it on without Fontconfig's warnings, which nobody can act on.

    The Fontconfig in pygraphviz's wheel may be older than the system's configuration, which it then complains of.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # no stderr: nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            kept = b"".join(line for line in held if not line.startswith(b"Fontconfig warning"))
            if kept:
                os.write(2, kept)
