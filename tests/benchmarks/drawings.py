"""The same recurrent networks, drawn by this project and by torchviz, torchview and torchlens, side by side in one run.

    python -m tests.benchmarks.drawings                        a table, some minutes
    python -m tests.benchmarks.drawings --steps 5 --out runs/drawings    the pictures as well, for a reader to judge

Needs what the extra `benchmarks` installs; what is missing is left out with a word.  Each drawing is made in a process of its own, which
is ended after a minute, with all that it started.  Three ways to write the network in PyTorch: "layer", torch.nn's fused one, that people
use; "cell", torch.nn's cell in a loop; "ops", the textbook's equations op by op, as ours are.  Nodes and lines are those of the DOT text;
"text" is CPU seconds from the input to it (torchlens renders a first time on the way, and needs `dot` on the PATH), "MB" by how much the
process grows for that, "SVG" the seconds that Graphviz then takes, with dot's layout where the tool leaves the layout to it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib.util
import json
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZES = {"N": 2, "C": 3, "H": 4}
LIMIT = 60.0  # seconds for a drawing
TOOLS = ("tinygrad_seq", "torchviz", "torchview", "torchlens")
Row = dict[str, Any]


# ---- ours ----------------------------------------------------------------------------------------------------------------------------


def ours(cell: str, steps: int, way: str) -> str:
    """The DOT text of our network, whose loss is Σ h²."""
    import numpy as np

    from models.experiment import CELLS
    from models.recurrent import unroll
    from tinygrad_seq import Tensor
    from tinygrad_seq.draw import draw

    rng = np.random.default_rng(0)
    net = CELLS[cell](SIZES["C"], SIZES["H"], rng=rng)
    xs = [Tensor(rng.standard_normal((SIZES["N"], SIZES["C"])), name=f"x_{t}") for t in range(steps)]
    return draw((unroll(net, xs, hoist=False).outputs ** 2).sum(), params=net, **WAYS[way]).source


# ---- theirs --------------------------------------------------------------------------------------------------------------------------


def torch_module(cell: str, way: str) -> Any:
    """A torch module that reads (T, N, C) and gives the loss Σ h²."""
    import torch

    kinds = {"rnn": (torch.nn.RNN, torch.nn.RNNCell), "lstm": (torch.nn.LSTM, torch.nn.LSTMCell), "gru": (torch.nn.GRU, torch.nn.GRUCell)}
    C, H = SIZES["C"], SIZES["H"]

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            if way == "ops":
                gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
                self.W_x = torch.nn.Parameter(torch.randn(C, gates * H))
                self.W_h = torch.nn.Parameter(torch.randn(H, gates * H))
                self.b = torch.nn.Parameter(torch.zeros(gates * H))
            else:
                self.inner = kinds[cell][way == "cell"](C, H)

        def forward(self, xs: Any) -> Any:
            if way == "layer":
                return (self.inner(xs)[0] ** 2).sum()
            h = c = torch.zeros(SIZES["N"], H)
            outputs = []
            for x in xs:
                if way == "cell":
                    state = self.inner(x, (h, c) if cell == "lstm" else h)
                    h, c = state if cell == "lstm" else (state, c)
                else:
                    h, c = self.equations(x, h, c)
                outputs.append(h)
            return (torch.stack(outputs) ** 2).sum()

        def equations(self, x: Any, h: Any, c: Any) -> Any:
            a = x @ self.W_x + self.b
            if cell == "rnn":
                return torch.tanh(h @ self.W_h + a), c
            if cell == "lstm":
                f, i, o, g = (h @ self.W_h + a).split(H, dim=-1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                return torch.sigmoid(o) * torch.tanh(c), c
            r, z = torch.sigmoid(h @ self.W_h[:, : 2 * H] + a[:, : 2 * H]).split(H, dim=-1)
            return (1 - z) * h + z * torch.tanh((r * h) @ self.W_h[:, 2 * H :] + a[:, 2 * H :]), c

    return Net()


def theirs(tool: str, cell: str, steps: int, way: str) -> str:
    """The DOT text that a tool makes of the torch module."""
    import torch

    torch.set_num_threads(1)
    net, xs = torch_module(cell, way), torch.randn(steps, SIZES["N"], SIZES["C"])
    if tool == "torchviz":
        import torchviz

        return str(torchviz.make_dot(net(xs), params=dict(net.named_parameters())).source)
    if tool == "torchview":
        import torchview

        return str(torchview.draw_graph(net, input_data=xs, depth=10, expand_nested=True).visual_graph.source)
    import torchlens

    with tempfile.TemporaryDirectory() as folder:
        found: Any = torchlens.trace(net, xs).draw(return_graph=True, vis_save_only=True, vis_outpath=f"{folder}/graph")
    return str(getattr(found, "source", found))


# ---- the comparison ------------------------------------------------------------------------------------------------------------------


def svg_of(source: str) -> bytes:
    """What Graphviz makes of a DOT text."""
    import pygraphviz

    return bytes(pygraphviz.AGraph(string=source).draw(format="svg", prog="nop2" if "layout=nop2" in source else "dot"))


def draw_one(tool: str, cell: str, steps: int, way: str, out: Path | None) -> None:
    """One drawing: prints what is known of it when its text is made, and again when its picture is."""
    row: Row = {}
    try:
        for module in ("models.experiment", "tinygrad_seq.draw") if tool == "tinygrad_seq" else (tool,):
            importlib.import_module(module)
        began, small = time.process_time(), _peak()
        source = ours(cell, steps, way) if tool == "tinygrad_seq" else theirs(tool, cell, steps, way)
        row = {"text": time.process_time() - began, "kB": len(source) / 1e3, "MB": _peak() - small}
        body = source.split("subgraph cluster_legend")[0]
        row["lines"] = len(re.findall(r"->", body))
        named = re.findall(r"^\s*\"?([\w.:\-]+)\"? \[", body, re.M)
        row["nodes"] = len([name for name in named if name not in ("node", "edge", "graph")])
        print(json.dumps(row), flush=True)
        began = time.perf_counter()
        svg = svg_of(source)
        row["SVG"] = time.perf_counter() - began
        if out:
            (out / f"{cell}_{steps}_{tool}_{way}.svg").write_bytes(svg)
    except RecursionError:
        row["said"] = "RecursionError"
    except Exception as error:  # whatever a tool does, the table goes on
        row["said"] = f"{type(error).__name__}: {error}".splitlines()[0][:60]
    print(json.dumps(row), flush=True)


def _peak() -> float:
    """The most memory that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


WAYS: dict[str, dict[str, Any]] = {
    "ops": {"depth": "op", "steps": "all"}, "gate": {"depth": "gate", "steps": "all"}, "cell": {"depth": "cell", "steps": "all"},
    "folded": {},
}  # fmt: skip


def measure(tool: str, cell: str, steps: int, way: str, out: Path | None) -> Row:
    """One row of the table, from a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.drawings", "--one", tool, cell, str(steps), way]
    command += ["--out", str(out)] if out else []
    said = ""
    # In a session of its own: a `dot` that a tool started would else go on, and hold the pipe open, when the tool is killed.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        try:
            printed, _ = run.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            printed, _ = run.communicate()
            said = f"over {LIMIT:.0f} s"
    if run.returncode and not said:
        said = f"ended with status {run.returncode}"
    rows = [json.loads(line) for line in printed.decode().splitlines() if line.startswith("{")]
    return {**({"said": said} if said else {}), **(rows[-1] if rows else {})}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=("rnn", "lstm", "gru"), default=["rnn", "lstm"])
    parser.add_argument("--steps", nargs="+", type=int, default=[5, 20, 100, 400], metavar="T")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to leave the pictures")
    arguments = parser.parse_args(argv)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        tool, cell, steps, way = arguments.one
        draw_one(tool, cell, int(steps), way, arguments.out)
        return
    tools = [tool for tool in TOOLS if importlib.util.find_spec(tool)]
    for tool in TOOLS:
        if tool not in tools:
            print(f"{tool} is not installed and is left out: pip install 'tinygrad_seq[benchmarks]'")
    print(f"{'cell':5} {'T':>4}  {'drawn by':22} {'nodes':>6} {'lines':>6} {'kB':>7} {'text s':>7} {'MB':>5} {'SVG s':>7}")
    for cell in arguments.cells:
        for steps in arguments.steps:
            for tool in tools:
                for way in WAYS if tool == "tinygrad_seq" else ("layer", "cell", "ops"):
                    row = measure(tool, cell, steps, way, arguments.out)
                    numbers = [f"{row[key]:{form}}" if key in row else " " * width for key, form, width in COLUMNS]
                    print(f"{cell:5} {steps:4}  {tool + ', ' + way:22} {' '.join(numbers)} {row.get('said', '')}", flush=True)


COLUMNS = (("nodes", "6d", 6), ("lines", "6d", 6), ("kB", "7.1f", 7), ("text", "7.2f", 7), ("MB", "5.0f", 5), ("SVG", "7.2f", 7))

if __name__ == "__main__":
    main()
