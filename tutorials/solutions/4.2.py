import numpy as np


def cumsum_rule(g):
    return np.cumsum(g[::-1])[::-1]
