import numpy as np

from models.memory_tasks import LastState
from models.recurrent import unroll
from tinygrad_seq import cross_entropy, grad
from tinygrad_seq.nn import orthogonal


def measure(model, xs, targets):
    run = unroll(model.cell, xs)
    L = cross_entropy(model.answer(run.last), targets)
    return np.array([np.linalg.norm(g) for g in grad(L, [state.h for state in run.states])])


def demonstrate():
    rng = np.random.default_rng(0)
    model = LastState("rnn", 6, 16, 2, rng=rng)
    model.cell.W_h.data = orthogonal(rng, 16, 16).numpy()
    xs = rng.integers(2, 6, (60, 8))
    xs[0] = rng.integers(0, 2, 8)
    return model, xs, xs[0]
