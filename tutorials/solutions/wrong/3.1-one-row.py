import numpy as np


def summed_back(g, shape):
    return np.resize(g, shape)  # the first of the uses, and none of the others
