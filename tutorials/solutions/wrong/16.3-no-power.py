import numpy as np


def tempered(p, temperature):
    q = p / temperature
    return q / q.sum()


def draw(p, u):
    return min(int(np.searchsorted(np.cumsum(p), u, side="right")), len(p) - 1)
