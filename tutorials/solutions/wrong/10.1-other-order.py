import numpy as np


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2


def lstm_step(x, h, c, W_x, W_h, b):
    i, f, c_tilde, o = np.split(h @ W_h + x @ W_x + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(c_tilde)
    return sigmoid(o) * np.tanh(c), c
