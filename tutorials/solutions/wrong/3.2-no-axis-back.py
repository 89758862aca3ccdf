import numpy as np


def mirror(g, shape, axis):
    return np.broadcast_to(g, shape)
