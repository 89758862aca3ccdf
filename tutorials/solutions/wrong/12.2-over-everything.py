import numpy as np


def masked_mean(losses, lengths):
    return np.where(np.arange(len(losses))[:, None] < lengths, losses, 0.0).mean()
