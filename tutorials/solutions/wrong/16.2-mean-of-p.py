import numpy as np


def bits(scores, targets):
    scores = scores - scores.max(axis=-1, keepdims=True)
    p = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    return -np.log2(np.take_along_axis(p, targets[..., None], axis=-1).mean())
