import numpy as np

from tinygrad_seq import cross_entropy


def mended(read, xs, ys, end):
    return cross_entropy(read(xs, ys)[:-1], ys[1:])


def copycat(V):
    return 5 * np.eye(V + 1), 20 * np.eye(V + 1)
