import numpy as np


def largest_lr(x):
    return len(x) / np.linalg.norm(x, 2) ** 2  # the error is multiplied by 1 - lr * 2 / N * x.T @ x
