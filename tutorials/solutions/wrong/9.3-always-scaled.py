import numpy as np


def clip(gradients, max_norm):
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g * (max_norm / length) for g in gradients]
