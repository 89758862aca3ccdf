import numpy as np


def leak():
    return np.full((3, 3), -10.0)


def weights(scores):
    scores = np.where(np.tri(len(scores), dtype=bool), scores, -1000.0)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
