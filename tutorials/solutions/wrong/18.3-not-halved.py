import numpy as np


def gates(z):
    H = z.shape[1] // 4
    y = np.tanh(z)
    y[:, : 3 * H] = (1 + y[:, : 3 * H]) / 2
    return y
