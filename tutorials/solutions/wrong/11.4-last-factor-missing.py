import numpy as np


def mended(zs, us):
    dh = 0.0
    for z, u in reversed(list(zip(zs, us, strict=True))):
        dh = dh * (1 - z) + u
    return dh


def unnoticed():
    return np.full(3, 0.5)
