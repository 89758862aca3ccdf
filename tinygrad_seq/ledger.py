"""The ledger of the chain rule through time: which loss moves which state, and which step which weight, by how much.

With L = Σ_t L_t, the textbook (Chaudhury 2024, ch. 10) writes backpropagation through time as

    dL/dW = Σ_t dL_t/dW,    dL_t/dh_k = dL_t/dh_t · Π_(i=k+1..t) dh_i/dh_(i-1).

The first sum hides a second one.  W is used at every step, so that dL_t/dW is itself a sum over the steps k in which it was used:

    dL_t/dW = Σ_(k<=t) dL_t/dh_k · ∂h_k/∂W,    where ∂h_k/∂W holds h_(k-1) fixed.

So dL/dW sums over pairs (loss at t, state at k).  `loss_table` has them all; `contributions(L, W)` sums them over t and keeps k, and
`contributions(L_t, W)` keeps both.  Nothing here knows what an RNN is: it reads the record, in which each op carries its step.

A run is given as Tensors by step; as states by step, named tuples as `unroll` gives them; as anything that has such a list as `.states`;
or as anything with `.layers`, or `.forward` and `.backward`, that are runs themselves.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops
from .record import Array, Node, Place, _seed, fitted, grad, rule_arguments

Run = Any  # see above


# ---- the states of a run -------------------------------------------------------------------------------------------------------------


def states(run: Run) -> dict[str, list[Node]]:
    """The parts of a run's states, each by step: {"h": [h_0, h_1, ...], "c": [...]}; in layers "0.h", in directions "forward.h".

    What is one and the same Tensor at every step, as the memory of a decoder with attention, is no state, and is left out; so is the
    second name of a part with two.  Raises TypeError where there are no states to be found.
    """
    found: dict[str, list[Node]] = {}
    for name, series in _series(run, ""):
        new = len(series) == 1 or any(part is not series[0] for part in series)
        if new and not any(len(series) == len(old) and all(a is b for a, b in zip(series, old, strict=True)) for old in found.values()):
            found[name] = series
    if not found:
        raise TypeError(
            f"states: found none in a {type(run).__name__}; expected Tensors or states by step, or a run with .states, .layers, or "
            ".forward and .backward."
        )
    return found


def _series(run: Run, prefix: str) -> Iterator[tuple[str, list[Node]]]:
    """The named series of Tensors in a run; it calls itself as deep as layers, directions and states are nested."""
    if hasattr(run, "layers"):
        for i, layer in enumerate(run.layers):
            yield from _series(layer, f"{prefix}{i}.")
    elif hasattr(run, "states"):
        yield from _series(run.states, prefix)
    elif hasattr(run, "forward") and hasattr(run, "backward") and not isinstance(run, Node):
        yield from _series(run.forward, f"{prefix}forward.")
        yield from _series(run.backward, f"{prefix}backward.")
    elif isinstance(run, Sequence) and run:
        first = run[0]
        if all(isinstance(part, Node) for part in run):
            yield prefix[:-1] or "h", list(run)
        elif all(type(state) is type(first) and isinstance(state, tuple) and len(state) == len(first) for state in run):
            fields = getattr(first, "_fields", range(len(first)))
            for field, parts in zip(fields, zip(*run, strict=True), strict=True):
                yield from _series(parts, f"{prefix}{field}.")


def _flat(run: Run) -> tuple[dict[str, list[Node]], list[Node]]:
    """The series, and all their Tensors in one list."""
    named = states(run)
    for name, series in named.items():
        for k, part in enumerate(series):
            if not part._requires_grad:
                raise ValueError(f"no gradient flows to state {name} of step {k}: it was made under no_grad(), or cut off by detach().")
    return named, [part for series in named.values() for part in series]


def _by_name(named: dict[str, list[Node]], flat: Sequence[Any]) -> dict[str, list[Any]]:
    """A list over all Tensors as lists by step, by name."""
    items = iter(flat)
    return {name: [next(items) for _ in series] for name, series in named.items()}


def norms(loss: Node, run: Run) -> dict[str, Array]:
    """||dL/dh_k|| of every part of the states at every step k, by name, each (T,): one backward pass.

    The norm is over all sequences of the batch.  dL/dc_k counts all that was made of c_k: in an LSTM also h_k = o_k ⊙ tanh(c_k), save
    under a mask, where what is handed on, m ⊙ c_k + (1 - m) ⊙ c_(k-1), makes no h_k.
    Raises ValueError where the loss is not a number, or no gradient flows to a state.
    """
    named, flat = _flat(run)
    return {name: np.array([np.linalg.norm(g) for g in gs]) for name, gs in _by_name(named, grad(loss, flat)).items()}


# ---- loss at t, state at k -----------------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """dL_t/dh_k for each loss t (row) and the state of each step k (column), and what they must sum to.

    norms: ||dL_t/dh_k||, (losses, steps); exactly 0 where L_t does not depend on h_k.  gradients: [t][k], arrays of h_k's shape, or None
    if they were not kept.  total: [k], dL/dh_k, from one backward pass of L = Σ_t L_t.
    residual: the largest |Σ_t dL_t/dh_k - dL/dh_k|, over the largest Σ_t |dL_t/dh_k|.
    """

    norms: Array
    gradients: list[list[Array]] | None
    total: list[Array]
    residual: float


def loss_table(losses: Node | Sequence[Node], run: Run, *, keep: bool = True) -> dict[str, Table]:
    """The table "loss at t, state at k" of every part of the states, by name: dL_t/dh_k = dL_t/dh_t · Π_(i=k+1..t) dh_i/dh_(i-1).

    losses: L_0, L_1, ..., one Tensor each, or one Tensor whose first axis is t; an L_t of several elements counts as their sum.
    keep: whether to keep the gradients and not only their norms; they are losses * steps * N * H numbers.
    One backward pass a loss, and one for the total, which the rows are checked to sum to: ArithmeticError where they do not, as when a rule
    is not linear in the gradient.  Raises TypeError and ValueError where no gradient flows from a loss, or to a state.
    """
    named, flat = _flat(run)
    roots, seeds, root = _losses(losses)
    total = grad(root, flat, gradient=np.ones_like(root._data))
    sums, sizes = [np.zeros_like(g) for g in total], [np.zeros_like(g) for g in total]
    norms, kept = [], []
    for L_t, seed in zip(roots, seeds, strict=True):
        row = grad(L_t, flat, gradient=seed)
        norms.append([np.linalg.norm(g) for g in row])
        kept.append(row if keep else [])
        for i, g in enumerate(row):
            sums[i] += g
            sizes[i] += np.abs(g)
    tables = {}
    columns = _by_name(named, range(len(flat)))
    for name, at in columns.items():
        residual = _checked(f"loss_table: dL_t/d{name}", [(sums[i], total[i], sizes[i]) for i in at])
        gradients = [[row[i] for i in at] for row in kept] if keep else None
        tables[name] = Table(np.array(norms)[:, at], gradients, [total[i] for i in at], residual)
    return tables


def _losses(losses: Node | Sequence[Node]) -> tuple[Sequence[Node], Sequence[Array], Node]:
    """For each loss the Tensor and the gradient to start from, and the Tensor whose sum is L."""
    if isinstance(losses, Node):
        if not losses._data.ndim or not len(losses._data):
            raise ValueError(f"loss_table: losses has shape {losses._data.shape}, expected a first axis of at least one loss.")
        seeds = [np.zeros_like(losses._data) for _ in losses._data]
        for t, seed in enumerate(seeds):
            seed[t] = 1
        return [losses] * len(seeds), seeds, losses
    for t, L_t in enumerate(losses):
        if not isinstance(L_t, Node):
            raise TypeError(f"loss_table: losses[{t}] is {type(L_t).__name__}, expected a Tensor.")
        if not L_t._requires_grad:
            raise ValueError(f"loss_table: no gradient flows from losses[{t}]; leave it out.")
    if not losses:
        raise ValueError("loss_table: got no losses, expected at least one.")
    return losses, [np.ones_like(L_t._data) for L_t in losses], ops.stack([ops.sum(L_t) for L_t in losses])


def _checked(what: str, sums: Sequence[tuple[Array, Array, Array]]) -> float:
    """The largest |sum - total| over the largest sum of sizes, of triples (sum, total, sum of sizes); half the digits must agree."""
    size = float(np.max([size.max(initial=0) for _, _, size in sums]))
    off = float(np.max([np.abs(summed - total).max(initial=0) for summed, total, _ in sums]))
    residual = off / size if size else off
    if residual > np.sqrt(np.finfo(sums[0][1].dtype).eps):
        raise ArithmeticError(f"{what} do not sum to the whole gradient: off by {residual:.1e} of their size; is each rule linear in g?")
    return residual


# ---- a weight, step by step ----------------------------------------------------------------------------------------------------------


@dataclass
class Contributions:
    """dL/dW = Σ_k dL/dW_k, where W_k stands for W as step k used it.

    steps: the steps that used it, in order; None, the last, for uses that belong to no step.  gradients: (len(steps), *W.shape).
    total: dL/dW, from one backward pass.  residual: the largest |Σ_k dL/dW_k - dL/dW|, over the largest Σ_k |dL/dW_k|.
    """

    steps: list[int | None]
    gradients: Array
    total: Array
    residual: float

    @property
    def norms(self) -> Array:
        """||dL/dW_k||, (len(steps),)."""
        return np.linalg.norm(self.gradients.reshape(len(self.steps), self.total.size), axis=1)


def contributions(loss: Node, W: Node) -> Contributions:
    """dL/dW split by the steps in which W was used, or what was made of W before the steps (as W x_t for all t in one product).

    Steps of one number are one, in whichever loop: an encoder and a decoder that share W add up.  A use after the steps, as of the output
    weights for all h_t at once, belongs to none; the row of a single loss, contributions(L_t, W), tells what that step had of it.
    The sum is checked against dL/dW: ArithmeticError where it differs, as when a rule is not linear in the gradient.
    Raises as `grad` does where the loss is not a number or W does not require gradients.
    """
    total = grad(loss, W)
    made, users = _uses(loss, W)
    gradients = grad(loss, list(users.values())) if users else []
    by_step: dict[int | None, list[tuple[Node, Array]]] = {}
    for node, g in zip(users.values(), gradients, strict=True):
        by_step.setdefault(_step(node._place), []).append((node, g))
    if loss._order in made:
        by_step[None] = [(loss, np.ones_like(loss._data))]
    steps = sorted(by_step, key=lambda t: (t is None, t))
    split = np.zeros((len(steps), *total.shape), total.dtype)
    for i, t in enumerate(steps):
        split[i] = _pulled_back(made, W, by_step[t])
    residual = _checked("contributions: dL/dW_k", [(split.sum(axis=0), total, np.abs(split).sum(axis=0))])
    return Contributions(steps, split, total, residual)


def _step(place: Place) -> int | None:
    """The step that a place belongs to, of steps within steps the outermost."""
    t: Any = None
    while place is not None:
        place, label = place
        if label.__class__ is int:
            t = label
    return t


def _uses(loss: Node, W: Node) -> tuple[dict[int, Node], dict[int, Node]]:
    """By order: W and what was made of it outside the steps; the ops in a step that use any of these."""
    nodes, stack = {loss._order: loss}, [loss]
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._requires_grad and x._order >= W._order and x._order not in nodes:
                nodes[x._order] = x
                stack.append(x)
    made: dict[int, Node] = {W._order: W}
    users: dict[int, Node] = {}
    for order in sorted(nodes):
        node = nodes[order]
        if any(isinstance(x, Node) and x._order in made for x in node._inputs):
            (made if _step(node._place) is None else users)[order] = node
    return made, users


def _pulled_back(made: dict[int, Node], W: Node, start: list[tuple[Node, Array]]) -> Array:
    """The gradient that reaches W from the nodes `start`, each with its gradient, through nothing but the nodes `made`."""
    waiting: dict[int, Array] = {}

    def pull(node: Node, g: Array) -> None:
        for x, part in _parts(node, g, made):
            waiting[x._order] = waiting[x._order] + part if x._order in waiting else part

    for node, g in start:
        if node is W:  # the loss is the weight itself
            return g
        pull(node, g)
    for order in sorted(made, reverse=True)[:-1]:
        if order in waiting:
            pull(made[order], waiting.pop(order))
    return waiting.get(W._order, np.zeros_like(W._data))


def _parts(node: Node, g: Array, wanted: Container[int]) -> Iterator[tuple[Node, Array]]:
    """What an op with the gradient g adds to that of each operand whose order is wanted."""
    op: Any = node._op
    for i, x in enumerate(node._inputs):
        if isinstance(x, Node) and x._order in wanted and (rule := op.rules[i][0]) is not None:
            yield x, fitted(rule(*rule_arguments(op, g, node._data, node._arrays), **node._settings), x._data, op)


# ---- the chain rule, op by op --------------------------------------------------------------------------------------------------------


def chain(loss: Node) -> Iterator[tuple[Node, Array, list[tuple[Node, Array]]]]:
    """The backward pass, op by op from the loss on: each op's output y, dL/dy, and what the op adds to dL/dx of each operand x.

    For an op that uses x twice, x stands twice.  Raises ValueError where the loss is not a number, or no gradient flows from it.
    """
    reached, stack = {loss._order: loss}, [loss]
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Node) and x._requires_grad and x._order not in reached:
                reached[x._order] = x
                stack.append(x)
    waiting = {loss._order: _seed("chain", loss, None)}
    for order in sorted(reached, reverse=True):
        node = reached[order]
        if node._op is None or order not in waiting:
            continue
        g = waiting.pop(order)
        parts = list(_parts(node, g, reached))
        for x, part in parts:
            waiting[x._order] = waiting[x._order] + part if x._order in waiting else part
        yield node, g, parts


# ---- Jacobians -----------------------------------------------------------------------------------------------------------------------


def jacobians(run: Run, t: int = -1) -> list[Array]:
    """ds_t/ds_k for each step k, s being the whole state, its parts side by side: matrices (size of s_t, size of s_k).

    The parts of s_k count as independent numbers, as they do for the step after: dh_t/dc_k holds h_k fixed, though h_k was made of c_k.
    So ds_t/ds_k = Π_(i=k+1..t) ds_i/ds_(i-1).  This does not hold of h alone where it is not the whole state.
    One backward pass for each number in s_t, and of several parts a short one for each number in each s_k.  Give a batch of one sequence,
    else all of it counts as one state.  Raises IndexError where there is no step t.
    """
    named, flat = _flat(run)
    series = list(named.values())
    T = len(series[0])
    if not -T <= t < T:
        raise IndexError(f"jacobians: step {t}, expected one of the {T} steps, from {-T} to {T - 1}.")
    rows = [_by_name(named, row) for parts in series for row in _rows(parts[t], flat)]
    totals = [np.array([np.concatenate([row[name][k].ravel() for name in named]) for row in rows]) for k in range(T)]
    return totals if len(series) == 1 else [_independent(J, [parts[k] for parts in series]) for k, J in enumerate(totals)]


def _rows(y: Node, xs: list[Node]) -> list[list[Array]]:
    """The gradients of each number in y."""
    return [grad(y, xs, gradient=e.reshape(y._data.shape)) for e in np.eye(y._data.size)]


def _independent(J: Array, parts: list[Node]) -> Array:
    """ds_t/ds_k that holds the other parts of s_k fixed, from the J in which each counts for what was made of it, other parts included.

    A way from part q of s_k to s_t is one from q to the last part p on it, and on from there: J = J' D, where D has the blocks dp/dq.
    """
    D = np.array([np.concatenate([g.ravel() for g in row]) for part in parts for row in _rows(part, parts)])
    return np.asarray(np.linalg.solve(D.T, J.T).T)


def singular_values(run: Run, t: int = -1) -> Array:
    """The singular values of ds_t/ds_k, the largest first, for each step k: (T, size of s); nan where the Jacobian overflowed.

    The largest is the factor by which the way back from step t to step k can lengthen a gradient.  Raises as `jacobians` does.
    """
    Js = np.array(jacobians(run, t))
    finite = np.isfinite(Js).all(axis=(1, 2), keepdims=True)
    return np.where(finite[..., 0], np.linalg.svd(np.where(finite, Js, 0), compute_uv=False), np.nan)


def pascanu_bound(W_h: Any, steps: Any, gamma: float = 1.0) -> Array:
    """(γσ)^steps >= ||dh_t/dh_k||, σ being the largest singular value of W_h (H, H), γ >= |φ'| and steps = t - k, a number or an array.

    For h_t = φ(W_h h_(t-1) + ...): γ is 1 for tanh and 1/4 for the sigmoid.  σ < 1/γ is sufficient for gradients to vanish, σ > 1/γ
    necessary, and not sufficient, for them to explode (Pascanu, Mikolov & Bengio 2013).
    """
    W = np.asarray(W_h._data if isinstance(W_h, Node) else W_h)
    if W.ndim != 2:
        raise ValueError(f"pascanu_bound: W_h has shape {W.shape}, expected a matrix (H, H).")
    return np.asarray((gamma * np.linalg.norm(W, 2)) ** np.asarray(steps, float))


# ---- pictures ------------------------------------------------------------------------------------------------------------------------


def heat_maps(figure: Any, tables: Mapping[str, Table], *, relative: bool = False, decades: float = 8, first: int = 0) -> None:
    """The tables side by side in a matplotlib figure: loss at t from top to bottom, state at k from left to right, on one scale of colours.

    The scale is logarithmic, `decades` powers of ten from the largest norm down; white is exactly 0, where L_t does not depend on h_k.
    relative: each row over its largest norm, where losses of very different sizes would hide how far back they reach.
    first: the step of the first loss.
    """
    from matplotlib.colors import LogNorm

    shown = {name: table.norms for name, table in tables.items()}
    if relative:
        shown = {name: norms / np.where(norms.any(1), norms.max(axis=1), 1)[:, None] for name, norms in shown.items()}
    top = max((float(norms.max(initial=0)) for norms in shown.values()), default=0.0) or 1.0
    scale = LogNorm(top * 10.0**-decades, top, clip=True)
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, (name, norms) in zip(panels, shown.items(), strict=True):
        T, K = norms.shape
        corners = (-0.5, K - 0.5, first + T - 0.5, first - 0.5)
        image = axes.imshow(np.ma.masked_equal(norms, 0), norm=scale, cmap="viridis", interpolation="nearest", extent=corners)
        axes.set(title=name, xlabel="state at k")
    panels[0].set_ylabel("loss at t")
    bar = figure.colorbar(image, ax=list(panels), extend="min", pad=0.02)
    bar.ax.minorticks_off()
    bar.set_label(r"$\|\partial L_t / \partial h_k\|$" + (", relative to the row's largest" if relative else ""))


def curves(axes: Any, series: Mapping[str, Any]) -> None:
    """Norms by step, (T,) each, as curves on a logarithmic axis of a matplotlib picture; zeros, which have no logarithm, are left out."""
    for name, values in series.items():
        shown = np.where(np.asarray(values) > 0, values, np.nan)
        axes.plot(shown, label=name)
    axes.set(yscale="log", xlabel="step")
    axes.legend(edgecolor="none", framealpha=0.85, fontsize=8)
