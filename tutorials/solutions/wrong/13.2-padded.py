import numpy as np


def last(there, back, lengths):
    return np.concatenate([there[-1], back[0]], axis=-1)
