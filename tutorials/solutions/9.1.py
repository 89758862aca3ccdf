import numpy as np


def bounds(W_h, hs):
    steps = [np.diag(1 - h * h) @ W_h.T for h in hs[:0:-1]]
    product = np.eye(len(W_h))
    for step in steps:
        product = product @ step
    second = np.prod([np.linalg.norm(step, 2) for step in steps])
    return np.linalg.norm(W_h, 2) ** len(steps), second, np.linalg.norm(product, 2)
