import numpy as np


def largest_lr(x):
    return len(x) / np.linalg.norm(x) ** 2
