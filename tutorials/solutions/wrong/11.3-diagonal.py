import numpy as np


def differ():
    b = np.array([9.0, -9.0, 9.0, 9.0, 0.0, 0.0])
    return np.zeros((1, 6)), np.zeros((2, 4)), np.array([[1.0, -1.0], [1.0, 1.0]]), b


def agree():
    return np.ones((1, 6)), np.ones((2, 4)), np.eye(2), np.ones(6)
