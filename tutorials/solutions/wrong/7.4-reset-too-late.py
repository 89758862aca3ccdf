import numpy as np


def surprise():
    return np.ones((1, 1, 1)), np.zeros((1, 1, 1))


class Mended:
    def __init__(self):
        self.h = 0.0

    def __call__(self, xs):
        for x in xs:
            self.h = np.tanh(0.5 * self.h + x)
        h = self.h
        self.h = 0.5 * h
        return h
