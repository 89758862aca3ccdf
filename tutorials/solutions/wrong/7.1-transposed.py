import numpy as np


def run(xs, h, W_x, W_h, b):
    states = []
    for x in xs:
        h = np.tanh(h @ W_h.T + x @ W_x + b)
        states.append(h)
    return np.array(states)
