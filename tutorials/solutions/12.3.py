import numpy as np


def places(lengths, T):
    order = np.argsort(-lengths, kind="stable")
    return [(t, n) for t in range(T) for n in order if lengths[n] > t]


def pack(xs, lengths):
    alive = (lengths > np.arange(len(xs))[:, None]).sum(axis=1)
    return np.array([xs[place] for place in places(lengths, len(xs))]), alive


def unpack(rows, lengths, T):
    xs = np.zeros((T, len(lengths)), rows.dtype)
    for row, place in zip(rows, places(lengths, T), strict=True):
        xs[place] = row
    return xs
