import numpy as np


def shifted(targets, end):
    return np.concatenate([np.full_like(targets[:1], end), targets[:-1]])
