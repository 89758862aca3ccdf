import numpy as np


def unnoticed():
    return np.zeros((2, 1)), np.ones((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [4.0]]])


def noticed():
    scores = np.array([[1.0, 0.0], [0.0, 1.0]])
    return np.ones((2, 1)), scores[:, :, None], np.ones((2, 2, 1))
