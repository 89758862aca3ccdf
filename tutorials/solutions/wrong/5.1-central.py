import numpy as np


def complex_step(f, x):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.astype(float), x.astype(float)
        up[i] += 1e-5
        down[i] -= 1e-5
        gradient[i] = (f(up) - f(down)) / 2e-5
    return gradient
