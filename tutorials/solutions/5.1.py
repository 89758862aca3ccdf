import numpy as np


def complex_step(f, x):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[i] += 1e-30j
        gradient[i] = f(moved).imag / 1e-30
    return gradient
