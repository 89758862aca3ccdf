import numpy as np


def last(there, back, lengths):
    n = np.arange(len(lengths))
    return np.concatenate([there[lengths - 1, n], back[lengths - 1, n]], axis=-1)
