import numpy as np


def picked_rule(g, index, shape):
    gradient = np.zeros(shape)
    np.add.at(gradient, index, g)
    return gradient
