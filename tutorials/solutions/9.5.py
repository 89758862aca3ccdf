import numpy as np


def turned():
    xs = np.array([[[2.0]], [[2.0]], [[-1.0]]])
    us = np.array([[[-3.0, 0.0]], [[3.0, 3.0]], [[2.0, -1.0]]])
    return xs, us, np.array([[0.0, -1.0]]), np.array([[-4.0, 2.0], [0.0, 4.0]]), np.zeros(2)
