import numpy as np


def differ():
    b = np.array([9.0, -9.0, 9.0, 9.0, 0.0, 0.0])
    return np.zeros((1, 6)), np.zeros((2, 4)), np.array([[1.0, -1.0], [1.0, 1.0]]), b


def agree():
    W_h = np.array([[0.5, 0.3, 0.2, -0.3], [-0.4, -0.1, 0.1, 0.6]])
    return np.ones((1, 6)), W_h, np.array([[1.0, -1.0], [0.5, 2.0]]), np.ones(6)
