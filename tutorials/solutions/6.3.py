import numpy as np


def gradient_of_W(uses):
    return np.concatenate([a for a, _ in uses]).T @ np.concatenate([g for _, g in uses])
