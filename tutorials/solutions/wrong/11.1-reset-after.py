import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gru_step(x, h, W_x, W_h, W, b):
    a_r, a_z, a_h = np.split(x @ W_x + b, 3, axis=-1)
    past_r, past_z = np.split(h @ W_h, 2, axis=-1)
    r, z = sigmoid(a_r + past_r), sigmoid(a_z + past_z)
    return (1 - z) * h + z * np.tanh(r * (h @ W) + a_h)
