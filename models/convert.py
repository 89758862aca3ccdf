"""Our networks as PyTorch's and Keras's layers and as the papers' equations, and back: the same function in another convention.

                   this project    PyTorch, cuDNN             Keras 3                Cho 2014        Chung 2014
    vectors        rows, x W       columns, W x               rows                   columns         columns
    biases         one             two, b_ih + b_hh           one                    none written    none written
    LSTM, order    f, i, o, c̃      i, f, g = c̃, o             i, f, c̃, o             -               by name
    GRU, order     r, z, h̃         r, z, n = h̃                z, r, h̃                by name         by name
    GRU, z         takes in        keeps                      keeps                  keeps           takes in
    GRU, reset     before, W (r ⊙ h); or after, r ⊙ (W h + b), with reset_after=True
                                   after                      after, or before       before          before

Where z takes in, h_t = (1-z) h + z h̃; where it keeps, z h + (1-z) h̃: that gate's sign, as σ(-a) = 1 - σ(a).  All of it converts
exactly but the last line: resetting before the product and after it are different functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

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
Paper = Literal["course", "cho", "chung"]
CELLS: dict[str, Any] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}
OURS = {"rnn": "h", "lstm": "fioc", "gru": "rzh"}  # the order of the gates, a letter each: h and c are the candidates
TORCH = {"rnn": "h", "lstm": "ifco", "gru": "rzh"}
KERAS = {"rnn": "h", "lstm": "ifco", "gru": "zrh"}


# ---- one cell, as plain arrays -------------------------------------------------------------------------------------------------------


class Weights(NamedTuple):
    """A cell's numbers, the gates side by side: W_x (C, G H), W_h (H, G H), b (G H), and b_r (H), a GRU's bias inside the reset."""

    W_x: Array
    W_h: Array
    b: Array | None = None
    b_r: Array | None = None

    def reordered(self, have: str, want: str, *, flip: bool = True) -> Weights:
        """The gates in another order, and z, where there is one and `flip`, with the other sign."""

        def moved(a: Array) -> Array:
            blocks = dict(zip(have, np.split(a, len(have), axis=-1), strict=True))
            if flip and "z" in blocks:
                blocks["z"] = -blocks["z"]
            return np.concatenate([blocks[gate] for gate in want], axis=-1)

        return Weights(moved(self.W_x), moved(self.W_h), None if self.b is None else moved(self.b), self.b_r)


def weights_of(cell: Any, values: Mapping[Tensor, Array] | None = None) -> Weights:
    """The numbers of one of our cells, or other `values` that belong to its parameters, as gradients do."""
    if type(cell) not in CELLS.values():
        raise ValueError(f"convert: the cell is a {type(cell).__name__}, expected RNNCell, LSTMCell or GRUCell.")
    if cell.h_0 is not None:
        raise ValueError("convert: this network trains its initial state, which elsewhere is an input of the layer, not a parameter.")
    at = values or {p: p.numpy() for p in cell.parameters()}
    W_h = np.concatenate([at[cell.W_h], at[cell.W]], axis=-1) if isinstance(cell, GRUCell) else at[cell.W_h]
    b_r = at[cell.b_r] if isinstance(cell, GRUCell) and cell.b_r is not None else None
    return Weights(at[cell.W_x], W_h, None if cell.b is None else at[cell.b], b_r)


def cell_of(kind: Kind, weights: Weights, order: str, *, flip: bool = True, reset_after: bool = False) -> Cell:
    """One of our cells with these numbers, whose gates stand in the order given, z with the other sign if `flip`.

    Raises ValueError for arrays whose shapes are not those of such a cell, or of several dtypes.
    """
    arrays, G, H = [a for a in weights if a is not None], len(order), weights.W_h.shape[0] if weights.W_h.ndim else 0
    wanted = [(*weights.W_x.shape[:1], G * H), (H, G * H), (G * H,), (H,)]
    if any(a is not None and a.shape != shape for a, shape in zip(weights, wanted, strict=True)):
        raise ValueError(
            f"convert: arrays of {', '.join(str(a.shape) for a in arrays)} are not those of one {kind} cell: expected {G} blocks of one "
            f"size H side by side: (C, {G} H) for the input, (H, {G} H) for the state, ({G} H,) for the bias, or their transposes. "
            f"Say with cell= which network it was."
        )
    dtypes = sorted({str(a.dtype) for a in arrays})
    if len(dtypes) > 1 or dtypes[0] not in ("float32", "float64"):
        raise ValueError(f"convert: arrays of {', '.join(dtypes)}, expected one floating dtype, float32 or float64.")
    weights = weights.reordered(order, OURS[kind], flip=flip)
    options = {"reset_after": reset_after} if kind == "gru" else {}
    bias = weights.b is not None
    cell: Cell = CELLS[kind](len(weights.W_x), H, bias=bias, rng=np.random.default_rng(0), dtype=weights.W_h.dtype, **options)
    state: dict[str, Any] = {"W_x": weights.W_x, "W_h": weights.W_h}
    if kind == "gru":
        state |= {"W_h": weights.W_h[:, : 2 * H], "W": weights.W_h[:, 2 * H :]}
    state |= {name: a for name, a in (("b", weights.b), ("b_r", weights.b_r)) if a is not None}
    cell.load_state_dict(state)
    return cell


def cells_of(net: Stacked | Bidirectional | Cell) -> list[list[Any]]:
    """The cells of each layer, the lowest first: one, or the two directions; a ValueError where they are of several kinds."""
    layers = net.layers if isinstance(net, Stacked) else [net]
    cells = [[layer.forward_cell, layer.backward_cell] if isinstance(layer, Bidirectional) else [layer] for layer in layers]
    kinds = sorted({type(cell).__name__ for layer in cells for cell in layer})
    if len(kinds) > 1:
        raise ValueError(f"convert: cells are {kinds}, expected one kind: RNNCell, LSTMCell or GRUCell.")
    for layer in layers:
        if isinstance(layer, Bidirectional) and layer.merge != "concat":
            raise ValueError(f"convert: merge={layer.merge!r}; only directions merged by concat convert.")
    return cells


def kind_of(cell: Any) -> Kind:
    """Which of the three a cell is; ValueError for any other."""
    weights_of(cell)
    kind: Any = next(name for name, made in CELLS.items() if type(cell) is made)
    return kind


def checked_kind(kind: str) -> None:
    """ValueError unless it is one of the three."""
    if kind not in CELLS:
        raise ValueError(f"convert: cell={kind!r}, expected one of {', '.join(CELLS)}.")


def _stacked(layers: Sequence[Cell | Bidirectional]) -> Stacked:
    """The layers on top of each other, if each reads what the one below gives; else ValueError."""
    net = Stacked(layers)
    cells = cells_of(net)
    for i, (below, layer) in enumerate(itertools.pairwise(cells), 1):
        given = sum(len(cell.W_h) for cell in below)
        for cell in layer:
            if len(cell.W_x) != given:
                raise ValueError(f"convert: layer {i} reads {len(cell.W_x)} numbers, expected {given}, the outputs of the layer below.")
    return net


# ---- PyTorch -------------------------------------------------------------------------------------------------------------------------


def load_torch(state: Mapping[str, Value], cell: Kind, *, prefix: str = "") -> Stacked:
    """A network from the `state_dict()` of a PyTorch nn.RNN (tanh), nn.LSTM or nn.GRU, of any depth, in one direction or both.

    state: names and arrays, or anything that NumPy can read; PyTorch is not needed.  A GRU becomes one with reset_after=True.
    prefix: "encoder.", say, takes the layer of that name out of a larger model's state.
    Raises ValueError where the state is of another kind of network: names that do not fit, shapes that contradict each other.
    """
    checked_kind(cell)
    arrays = {name.removeprefix(prefix): np.asarray(value) for name, value in state.items() if name.startswith(prefix)}
    depth = len({name for name in arrays if name.startswith("weight_ih_l") and not name.endswith("_reverse")})
    ends, bias = (["", "_reverse"] if "weight_ih_l0_reverse" in arrays else [""]), "bias_ih_l0" in arrays
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if bias else [])]
    names = {f"{kind}_l{i}{end}" for kind in kinds for i in range(depth) for end in ends}
    if not depth or names != set(arrays):
        raise ValueError(
            f"load_torch: unexpected {sorted(set(arrays) - names)}, missing {sorted(names - set(arrays))}; expected the state_dict of an "
            f"nn.RNN, nn.LSTM or nn.GRU without projections (proj_size)."
        )
    layers: list[Cell | Bidirectional] = []
    for i in range(depth):
        made = [_load_torch_cell(*(arrays.get(f"{kind}_l{i}{end}") for kind in TORCH_NAMES), kind=cell) for end in ends]
        layers.append(Bidirectional(*made) if len(made) == 2 else made[0])
    return _stacked(layers)


TORCH_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _load_torch_cell(W_ih: Any, W_hh: Any, b_ih: Any, b_hh: Any, *, kind: Kind) -> Cell:
    b = b_r = None
    if b_ih is not None:
        if b_ih.shape != b_hh.shape or b_ih.dtype != b_hh.dtype:
            raise ValueError(f"load_torch: biases of {b_ih.dtype} {b_ih.shape} and {b_hh.dtype} {b_hh.shape}, expected two that are alike.")
        b = b_ih + b_hh
        if kind == "gru":  # the candidate's second bias stands inside the reset, and stays by itself
            H = len(b) // 3
            b, b_r = np.concatenate([b[: 2 * H], b_ih[2 * H :]]), b_hh[2 * H :]
    return cell_of(kind, Weights(W_ih.T, W_hh.T, b, b_r), TORCH[kind], reset_after=kind == "gru")


def to_torch(net: Stacked | Bidirectional | Cell, *, prefix: str = "") -> dict[str, Array]:
    """The `state_dict` for the PyTorch layer that computes the same: nn.RNN, nn.LSTM or nn.GRU, num_layers and bidirectional as ours.

    `layer.load_state_dict({name: torch.tensor(a) for name, a in to_torch(net).items()})`; our one bias becomes bias_ih, bias_hh is 0.
    Raises ValueError for what PyTorch cannot compute: a GRU that resets before the product, directions merged other than by concat, a
    trained initial state, layers of several kinds or sizes.
    """
    return {f"{prefix}{name}": a for name, a in _to_torch(net, None).items()}


def gradients_to_torch(net: Stacked | Bidirectional | Cell, gradients: Sequence[Array]) -> dict[str, Array]:
    """The gradients of `net.parameters()` where PyTorch has them; bias_hh gets what bias_ih gets, but in a GRU's candidate."""
    return _to_torch(net, dict(zip(net.parameters(), gradients, strict=True)))


def _to_torch(net: Stacked | Bidirectional | Cell, gradients: dict[Tensor, Array] | None) -> dict[str, Array]:
    layers = cells_of(net)
    kind = kind_of(layers[0][0])
    shapes = {(len(layer), len(cell.W_h), cell.b is not None) for layer in layers for cell in layer}
    if len(shapes) > 1:
        raise ValueError("to_torch: PyTorch has all layers alike: of one size, with biases or without, in one direction or both.")
    out: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        for cell, end in zip(layer, ("", "_reverse"), strict=False):
            if kind == "gru" and not cell.reset_after:
                raise ValueError(
                    "to_torch: this GRU resets before the product, W (r ⊙ h), as the textbook and Cho et al. 2014; PyTorch resets after "
                    "it, r ⊙ (W h): in general another function. Train with reset_after=True."
                )
            W_x, W_h, b, b_r = weights_of(cell, gradients).reordered(OURS[kind], TORCH[kind])
            arrays = [W_x.T, W_h.T]
            if b is not None:
                second = np.zeros_like(b) if gradients is None else b.copy()
                if b_r is not None:
                    second[-len(b_r) :] = b_r
                arrays += [b, second]
            out |= {f"{name}_l{i}{end}": np.ascontiguousarray(a) for name, a in zip(TORCH_NAMES, arrays, strict=False)}
    return out


# ---- Keras ---------------------------------------------------------------------------------------------------------------------------


def load_keras(layers: Sequence[Sequence[Value]], cell: Kind, *, reset_after: bool | None = None) -> Stacked:
    """A network from `[layer.get_weights() for layer in ...]` of Keras 3's SimpleRNN, LSTM or GRU, or of Bidirectional around one.

    A layer is kernel (C, G H), recurrent_kernel (H, G H), and bias (G H), or for a GRU that resets after the product (2, 3 H); then the
    same of the other direction.  A GRU without biases does not show where it resets: say it with reset_after.
    Raises ValueError for another number of arrays, or shapes that contradict each other or `reset_after`.
    """
    checked_kind(cell)
    made: list[Cell | Bidirectional] = []
    for given in layers:
        arrays = [np.asarray(a) for a in given]
        if len(arrays) not in (2, 3, 4, 6):
            raise ValueError(
                f"load_keras: a layer of {len(arrays)} arrays, expected kernel, recurrent_kernel and bias, for each direction."
            )
        each = len(arrays) // 2 if len(arrays) > 3 else len(arrays)
        cells = [_load_keras_cell(arrays[i : i + each], cell, reset_after) for i in range(0, len(arrays), each)]
        made.append(Bidirectional(*cells) if len(cells) == 2 else cells[0])
    return _stacked(made)


def _load_keras_cell(arrays: list[Array], kind: Kind, reset_after: bool | None) -> Cell:
    W_x, W_h = arrays[:2]
    b, b_r = arrays[2] if len(arrays) == 3 else None, None
    if kind == "gru":
        if b is None and reset_after is None:
            raise ValueError("load_keras: this GRU has no biases, which would show where it resets; give reset_after=True or False.")
        after = b.ndim == 2 if b is not None else bool(reset_after)
        if reset_after not in (None, after):
            raise ValueError(
                f"load_keras: reset_after={reset_after}, but the bias is {None if b is None else b.shape}, as of a GRU of the other kind."
            )
        if b is not None and after:
            H = b.shape[1] // 3
            b, b_r = np.concatenate([b.sum(axis=0)[: 2 * H], b[0, 2 * H :]]), b[1, 2 * H :]
        reset_after = after
    return cell_of(kind, Weights(W_x, W_h, b, b_r), KERAS[kind], reset_after=bool(reset_after))


def to_keras(net: Stacked | Bidirectional | Cell) -> list[list[Array]]:
    """For each layer the arrays that `set_weights` takes, of SimpleRNN, LSTM or GRU(reset_after as ours), or Bidirectional around one.

    Keras's sequences are (N, T, C).  Raises ValueError for directions merged other than by concat and a trained initial state.
    """
    return [[a for cell in layer for a in _to_keras_cell(cell)] for layer in cells_of(net)]


def _to_keras_cell(cell: Any) -> list[Array]:
    kind = kind_of(cell)
    W_x, W_h, b, b_r = weights_of(cell).reordered(OURS[kind], KERAS[kind])
    if b is not None and b_r is not None:
        b = np.stack([b, np.concatenate([np.zeros(2 * len(b_r), b.dtype), b_r])])
    return [W_x, W_h] if b is None else [W_x, W_h, b]


# ---- equations of papers and of the textbook -----------------------------------------------------------------------------------------


def to_paper(cell: Cell, paper: Paper) -> dict[str, Array]:
    """The cell's numbers by the letters of a paper's equations.

    "course" (Chaudhury 2024): rows, [h, x] W with W_f, W_i, W_o, W_c (H + C, H) for an LSTM, W_r, W_z, W for a GRU; W_h (H, H) and
    W_x (C, H) for an RNN.  "cho" (2014, a GRU) and "chung" (2014, all three): columns, W x + U h, with W_g (H, C) and U_g (H, H) for each
    gate g, W and U for the candidate of a GRU and for an RNN.  Biases, which some of them leave out, are b_g, or b, (H).
    Raises ValueError for a cell that the paper does not describe: one that resets after the product, an LSTM or an RNN for Cho.
    """
    kind = kind_of(cell)
    _check_paper(paper, kind)
    if kind == "gru" and getattr(cell, "reset_after", False):
        raise ValueError(
            f"to_paper: this GRU resets after the product, r ⊙ (W h + b); {paper} resets before it, W (r ⊙ h): another function."
        )
    gates = OURS[kind]
    W_x, W_h, b, _ = weights_of(cell).reordered(gates, gates, flip=paper == "cho")
    out: dict[str, Array] = {}
    for i, name in enumerate(_suffixes(kind)):
        H = len(W_h)
        W, U = W_x[:, i * H : (i + 1) * H], W_h[:, i * H : (i + 1) * H]
        if paper != "course":
            out |= {f"W{name}": W.T, f"U{name}": U.T}
        else:
            out |= {"W_h": U, "W_x": W} if kind == "rnn" else {f"W{name}": np.concatenate([U, W])}
        if b is not None:
            out[f"b{name}"] = b[i * H : (i + 1) * H]
    return {name: np.ascontiguousarray(a) for name, a in out.items()}


def load_paper(weights: Mapping[str, Value], cell: Kind, paper: Paper) -> Cell:
    """One of our cells from the numbers of a paper's equations, named as `to_paper` names them.

    Raises ValueError for a cell that the paper does not describe, names that do not fit, and peepholes (V_g, Chung's LSTM) that are not 0,
    through which gates see the memory cell, as ours do not.
    """
    checked_kind(cell)
    _check_paper(paper, cell)
    arrays = {name: np.asarray(a) for name, a in weights.items()}
    peepholes = {f"V{name}" for name in _suffixes("lstm")} & set(arrays) if cell == "lstm" and paper == "chung" else set()
    if any(arrays.pop(name).any() for name in sorted(peepholes)):
        raise ValueError("load_paper: peepholes V_i, V_f, V_o let the gates see the memory cell; our LSTM has none, so they must be 0.")
    suffixes = _suffixes(cell)
    parts = ["W_h", "W_x"] if (paper, cell) == ("course", "rnn") else ["W"] if paper == "course" else ["W", "U"]
    bias = any(name.startswith("b") for name in arrays)
    expected = [f"{part}{suffix}" for suffix in suffixes for part in [*parts, *(["b"] if bias else [])]]
    if set(expected) != set(arrays):
        raise ValueError(f"load_paper: got {sorted(arrays)}, expected {sorted(expected)}, the letters of {paper}'s {cell}.")
    if parts == ["W_h", "W_x"]:
        U, W = [arrays["W_h"]], [arrays["W_x"]]
    elif parts == ["W"]:
        H = arrays[expected[0]].shape[-1]
        U, W = ([arrays[f"W{s}"][half] for s in suffixes] for half in (slice(H), slice(H, None)))
    else:
        W, U = ([arrays[f"{part}{s}"].T for s in suffixes] for part in parts)
    b = np.concatenate([arrays[f"b{s}"] for s in suffixes]) if bias else None
    return cell_of(cell, Weights(np.concatenate(W, axis=-1), np.concatenate(U, axis=-1), b), OURS[cell], flip=paper == "cho")


def _suffixes(kind: str) -> list[str]:
    """What stands behind W for each of our gates, in our order: the candidate of a GRU and an RNN's only part have nothing."""
    return [f"_{gate}" if gate != "h" else "" for gate in OURS[kind]]


def _check_paper(paper: str, kind: Kind) -> None:
    known = {"course": ("rnn", "lstm", "gru"), "cho": ("gru",), "chung": ("rnn", "lstm", "gru")}
    if paper not in known:
        raise ValueError(f"paper={paper!r}, expected one of {', '.join(known)}.")
    if kind not in known[paper]:
        raise ValueError(f"{paper} describes {', '.join(known[paper])} alone, and no {kind}; take another paper.")
