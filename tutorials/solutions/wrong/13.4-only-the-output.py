import numpy as np


def unnoticed():
    return np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([1, 2])


def noticed():
    return np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([1, 2])


def mended(xs, lengths):
    h, out = np.zeros(xs.shape[1]), np.zeros(xs.shape)
    for t in reversed(range(len(xs))):
        h = np.tanh(0.5 * h + xs[t])
        out[t] = h
    return out * (np.arange(len(xs))[:, None] < lengths)
