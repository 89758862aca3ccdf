import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_step(x, h, c, W_x, W_h, b):
    f, i, o, c_tilde = np.split(h @ W_h + x @ W_x + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(c_tilde)
    return sigmoid(o) * np.tanh(c), c
