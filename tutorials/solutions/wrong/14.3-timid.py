import numpy as np

from tinygrad_seq import cross_entropy


def mended(read, xs, ys, end):
    inputs = np.concatenate([np.full_like(ys[:1], end), ys[:-1]])
    return cross_entropy(read(xs, inputs), ys)


def copycat(V):
    return np.eye(V + 1), np.eye(V + 1)
