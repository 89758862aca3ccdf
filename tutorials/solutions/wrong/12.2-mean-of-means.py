import numpy as np


def masked_mean(losses, lengths):
    return np.mean([losses[:length, n].mean() for n, length in enumerate(lengths)])
