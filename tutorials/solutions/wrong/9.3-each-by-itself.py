import numpy as np


def clip(gradients, max_norm):
    lengths = [np.linalg.norm(g) for g in gradients]
    return [g * (max_norm / n) if n > max_norm else g.copy() for g, n in zip(gradients, lengths, strict=True)]
