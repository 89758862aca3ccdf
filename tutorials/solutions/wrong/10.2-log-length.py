import numpy as np


def road(fs):
    out = np.ones_like(fs)
    for t in reversed(range(len(fs) - 1)):
        out[t] = out[t + 1] * fs[t + 1]
    return out


def bias_for(T):
    return np.log(T)
