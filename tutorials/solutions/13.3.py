import numpy as np


def mirrored(outputs):
    H = outputs.shape[2] // 2
    return np.concatenate([outputs[::-1, :, H:], outputs[::-1, :, :H]], axis=-1)
