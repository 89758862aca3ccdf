import numpy as np


def clip(gradients, max_norm):
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g * (max_norm / length) if length > max_norm else g.copy() for g in gradients]
