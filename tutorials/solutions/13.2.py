import numpy as np


def last(there, back, lengths):
    return np.concatenate([there[lengths - 1, np.arange(len(lengths))], back[0]], axis=-1)
