import numpy as np


def run(xs, h, W_x, W_h, b):
    return np.array([np.tanh(h @ W_h + x @ W_x + b) for x in xs])
