import numpy as np


def gates(z):
    H = z.shape[1] // 4
    halves = np.where(np.arange(4 * H) < 3 * H, 0.5, 1.0)
    y = np.tanh(z * halves)
    y[:, : 3 * H] = (1 + y[:, : 3 * H]) / 2
    return y
