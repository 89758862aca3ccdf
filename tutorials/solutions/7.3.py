import numpy as np


def pair():
    return np.array([0, 1, 0, 2, 0]), np.array([0, 2, 0, 1, 0])
