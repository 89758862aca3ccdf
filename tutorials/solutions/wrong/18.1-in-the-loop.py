import numpy as np


def hoisted(xs, W, b):
    H = W.shape[1]
    h, states = np.zeros((xs.shape[1], H)), []
    for x in xs:
        h = np.tanh(h @ W[:H] + x @ W[H:] + b)
        states.append(h)
    return np.array(states)
