"""Our networks as PyTorch's, and back: the same function in another convention.

                       this project (Chaudhury 2024)     PyTorch, cuDNN
    vectors            rows, x W                         columns, W x: weights transposed
    biases             one                               two, b_ih + b_hh
    LSTM, order        f, i, o, c̃                        i, f, g = c̃, o
    GRU, order         r, z, h̃                           r, z, n = h̃
    GRU, z             takes in: (1-z) h + z h̃           keeps: z h + (1-z) n, so z -> 1 - z: that gate's sign
    GRU, reset         before the product W (r ⊙ h);     after it: r ⊙ (W h + b)
                       after with reset_after=True

All of it converts exactly but the last line: resetting before the product and after it are different functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from models.bidirectional import Bidirectional
from models.gru import GRUCell
from models.lstm import LSTMCell
from models.recurrent import Cell
from models.rnn import RNNCell
from models.stacked import Stacked
from tinygrad_seq import Tensor
from tinygrad_seq.record import Array, Value

Kind = Literal["rnn", "lstm", "gru"]
BLOCKS = {"rnn": [0], "lstm": [1, 0, 3, 2], "gru": [0, 1, 2]}  # ours, in PyTorch's order; swapping twice is the way back
CELLS: dict[str, Any] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


def load_torch(state: Mapping[str, Value], cell: Kind) -> Stacked:
    """A network from the `state_dict()` of a PyTorch nn.RNN (tanh), nn.LSTM or nn.GRU, of any depth, in one direction or both.

    state: names and arrays, or anything that NumPy can read; PyTorch is not needed.  A GRU becomes one with reset_after=True.
    Raises ValueError where the state is of another kind of network: names that do not fit, shapes that contradict each other.
    """
    if cell not in CELLS:
        raise ValueError(f"load_torch: cell={cell!r}, expected one of {', '.join(CELLS)}.")
    arrays = {name: np.asarray(value) for name, value in state.items()}
    depth = len({name for name in arrays if name.startswith("weight_ih_l") and not name.endswith("_reverse")})
    both, bias = "weight_ih_l0_reverse" in arrays, "bias_ih_l0" in arrays
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if bias else [])]
    names = {f"{kind}_l{i}{end}" for kind in kinds for i in range(depth) for end in (["", "_reverse"] if both else [""])}
    if not depth or names != set(arrays):
        raise ValueError(
            f"load_torch: unexpected {sorted(set(arrays) - names)}, missing {sorted(names - set(arrays))}; expected the state_dict of an "
            f"nn.RNN, nn.LSTM or nn.GRU without projections (proj_size)."
        )
    dtypes = sorted({str(a.dtype) for a in arrays.values()})
    if len(dtypes) > 1 or dtypes[0] not in ("float32", "float64"):
        raise ValueError(f"load_torch: arrays of {', '.join(dtypes)}, expected one floating dtype, float32 or float64.")
    layers: list[Cell | Bidirectional] = []
    for i in range(depth):
        reads, above = arrays[f"weight_ih_l{i}"].shape[-1:], (1 + both) * arrays["weight_hh_l0"].shape[-1] if i else None
        if i and reads != (above,):
            raise ValueError(f"load_torch: weight_ih_l{i} reads {reads[0]} numbers, expected {above}, the outputs of the layer below.")
        made = [_load_cell(arrays, f"_l{i}{end}", cell, bias) for end in (["", "_reverse"] if both else [""])]
        layers.append(Bidirectional(*made) if both else made[0])
    return Stacked(layers)


def _load_cell(arrays: dict[str, Array], suffix: str, kind: Kind, bias: bool) -> Cell:
    W_ih, W_hh = arrays["weight_ih" + suffix], arrays["weight_hh" + suffix]
    blocks, H = len(BLOCKS[kind]), W_hh.shape[-1] if W_hh.ndim else 0
    if W_hh.shape != (blocks * H, H) or W_ih.ndim != 2 or len(W_ih) != blocks * H:
        raise ValueError(
            f"load_torch: weight_ih{suffix} is {W_ih.shape}, weight_hh{suffix} {W_hh.shape}, expected {blocks} blocks of rows, as an "
            f"nn.{kind.upper()} has: ({blocks} H, C) and ({blocks} H, H). Say which network it was with cell=."
        )
    weights = {"W_x": W_ih.T, "W_hh": W_hh.T}
    if bias:
        weights |= {"b_ih": arrays["bias_ih" + suffix], "b_hh": arrays["bias_hh" + suffix]}
        if any(weights[b].shape != (blocks * H,) for b in ("b_ih", "b_hh")):
            raise ValueError(f"load_torch: the biases{suffix} are not ({blocks * H},), as the weights are.")
    ours = {name: reordered(a, kind) for name, a in weights.items()}
    options = {"reset_after": True} if kind == "gru" else {}
    cell: Cell = CELLS[kind](W_ih.shape[1], H, bias=bias, rng=np.random.default_rng(0), dtype=W_hh.dtype, **options)
    state = {"W_x": ours["W_x"], "W_h": ours["W_hh"]}
    if kind == "gru":
        state |= {"W_h": ours["W_hh"][:, : 2 * H], "W": ours["W_hh"][:, 2 * H :]}
    if bias:
        b = ours["b_ih"] + ours["b_hh"]
        if kind == "gru":  # the candidate's second bias stands inside the reset, and stays by itself
            b = np.concatenate([b[: 2 * H], ours["b_ih"][2 * H :]])
            state["b_r"] = ours["b_hh"][2 * H :]
        state["b"] = b
    cell.load_state_dict(state)
    return cell


def reordered(array: Array, kind: Kind) -> Array:
    """The blocks of the last axis in the other convention's order, the gate z of a GRU with the other sign; its own inverse."""
    blocks = np.split(array, len(BLOCKS[kind]), axis=-1)
    if kind == "gru":
        blocks[1] = -blocks[1]
    return np.concatenate([blocks[i] for i in BLOCKS[kind]], axis=-1)


def to_torch(net: Stacked | Bidirectional | Cell) -> dict[str, Array]:
    """The `state_dict` for the PyTorch layer that computes the same: nn.RNN, nn.LSTM or nn.GRU, num_layers and bidirectional as ours.

    `layer.load_state_dict({name: torch.tensor(a) for name, a in to_torch(net).items()})`; our one bias becomes bias_ih, bias_hh is 0.
    Raises ValueError for what PyTorch cannot compute: a GRU that resets before the product, directions merged other than by concat, a
    trained initial state, layers of several kinds.
    """
    return {name: np.ascontiguousarray(a) for name, a in laid_out(net, {p: p.numpy() for p in _all(net)}).items()}


def gradients_to_torch(net: Stacked | Bidirectional | Cell, gradients: list[Array]) -> dict[str, Array]:
    """The gradients of `net.parameters()` where PyTorch has them; bias_hh gets what bias_ih gets, but in a GRU's candidate."""
    return laid_out(net, dict(zip(_all(net), gradients, strict=True)), gradients=True)


def _all(net: Any) -> list[Tensor]:
    parameters: list[Tensor] = net.parameters()
    return parameters


def laid_out(net: Stacked | Bidirectional | Cell, values: dict[Tensor, Array], *, gradients: bool = False) -> dict[str, Array]:
    """Numbers that belong to our parameters by PyTorch's names and in its layout."""
    layers = net.layers if isinstance(net, Stacked) else [net]
    kinds = {type(cell) for layer in layers for cell in _cells(layer)}
    if len(kinds) != 1 or not kinds <= set(CELLS.values()):
        raise ValueError(f"to_torch: cells are {sorted(kind.__name__ for kind in kinds)}, expected RNNCell, LSTMCell or GRUCell alone.")
    shapes = {(len(_cells(layer)), len(cell.W_h), cell.b is not None) for layer in layers for cell in _cells(layer)}
    if len(shapes) > 1:
        raise ValueError("to_torch: PyTorch has all layers alike: of one size, with biases or without, in one direction or both.")
    kind: Any = next(name for name, cell in CELLS.items() if cell in kinds)
    out: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        if isinstance(layer, Bidirectional) and layer.merge != "concat":
            raise ValueError(f"to_torch: merge={layer.merge!r}; PyTorch's bidirectional layers have concat alone.")
        for cell, end in zip(_cells(layer), ("", "_reverse"), strict=False):
            out |= {name.replace("_l", f"_l{i}{end}"): a for name, a in _cell_to_torch(cell, kind, values, gradients).items()}
    return out


def _cells(layer: Any) -> list[Any]:
    return [layer.forward_cell, layer.backward_cell] if isinstance(layer, Bidirectional) else [layer]


def _cell_to_torch(cell: Any, kind: Kind, values: dict[Tensor, Array], gradients: bool) -> dict[str, Array]:
    if cell.h_0 is not None:
        raise ValueError("to_torch: this network trains its initial state, which is an input of PyTorch's layers, not a parameter.")
    H, W_h = len(cell.W_h), values[cell.W_h]
    if kind == "gru":
        if not cell.reset_after:
            raise ValueError(
                "to_torch: this GRU resets before the product, W (r ⊙ h), as the textbook and Cho et al. 2014; PyTorch resets after it, "
                "r ⊙ (W h): in general another function. Train with reset_after=True."
            )
        W_h = np.concatenate([W_h, values[cell.W]], axis=-1)
    out = {"weight_ih_l": reordered(values[cell.W_x], kind).T, "weight_hh_l": reordered(W_h, kind).T}
    if cell.b is not None:
        b = values[cell.b]
        second = b.copy() if gradients else np.zeros_like(b)
        if kind == "gru":
            second[2 * H :] = values[cell.b_r]
        out |= {"bias_ih_l": reordered(b, kind), "bias_hh_l": reordered(second, kind)}
    return out
