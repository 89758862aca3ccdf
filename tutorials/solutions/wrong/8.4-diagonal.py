import numpy as np


def unnoticed():
    return np.eye(2)


def noticed():
    return np.array([[0.5, 1.0], [-1.0, -0.5]])
