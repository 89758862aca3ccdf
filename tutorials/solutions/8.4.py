import numpy as np


def unnoticed():
    return np.array([[0.5, 1.0], [1.0, -0.5]])


def noticed():
    return np.array([[0.5, 1.0], [-1.0, -0.5]])
