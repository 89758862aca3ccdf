import numpy as np


def grows():
    return np.array([[0.5, 100.0], [0.0, 0.5]])


def fades():
    return 2 * np.eye(2), np.zeros(2)
