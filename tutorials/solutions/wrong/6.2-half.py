import numpy as np


def largest_lr(x):
    return len(x) / (2 * np.linalg.norm(x, 2) ** 2)
