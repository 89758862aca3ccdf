import numpy as np


def unnoticed():
    return np.zeros((2, 1)), np.ones((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [4.0]]])


def noticed():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 3)), rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 2))
