import numpy as np


def surprise():
    return np.ones((1, 1, 1)), np.zeros((1, 1, 1))


class Mended:
    def __call__(self, xs):
        h = 0.0
        for x in xs:
            h = np.tanh(0.5 * h + x)
        return h
