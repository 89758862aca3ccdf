import numpy as np


def mended(hs, us, W_h):
    dz, dh = np.empty_like(hs), np.zeros_like(hs[0])
    for t in reversed(range(len(hs))):
        np.multiply(us[t] + dh, 1 - hs[t] * hs[t], out=dz[t])
        dh = dz[t] @ W_h.T
    return dz


def unnoticed():
    return 1
