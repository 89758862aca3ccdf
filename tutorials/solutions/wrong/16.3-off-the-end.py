import numpy as np


def tempered(p, temperature):
    q = (p / p.max()) ** (1 / temperature)
    return q / q.sum()


def draw(p, u):
    return int(np.searchsorted(np.cumsum(p), u, side="right"))
