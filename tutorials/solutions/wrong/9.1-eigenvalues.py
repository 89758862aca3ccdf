import numpy as np


def bounds(W_h, hs):
    def size(W):
        return np.abs(np.linalg.eigvals(W)).max()

    steps = [np.diag(1 - h * h) @ W_h.T for h in hs[:0:-1]]
    product = np.eye(len(W_h))
    for step in steps:
        product = product @ step
    return size(W_h) ** len(steps), np.prod([size(step) for step in steps]), size(product)
