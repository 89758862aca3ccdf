import numpy as np


def mended(fs, ws, os, us):
    c, cs = 0.0, []
    for f, w in zip(fs, ws, strict=True):
        c = f * c + w
        cs.append(c)
    dc, dws = 0.0, []
    for f, o, c, u in reversed(list(zip(fs, os, cs, us, strict=True))):
        dc = dc + u * o * (1 - np.tanh(c) ** 2)
        dws.append(dc)
        dc = dc * f
    return np.array(dws[::-1])


def unnoticed():
    return np.ones(3), np.array([0.1, -0.2, 0.3]), np.full(3, 0.5), np.array([1.0, 2.0, 3.0])
