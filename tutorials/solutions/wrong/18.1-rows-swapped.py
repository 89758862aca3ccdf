import numpy as np


def hoisted(xs, W, b):
    H = W.shape[1]
    h, states = np.zeros((xs.shape[1], H)), []
    for a in xs @ W[: len(W) - H] + b:
        h = np.tanh(h @ W[len(W) - H :] + a)
        states.append(h)
    return np.array(states)
