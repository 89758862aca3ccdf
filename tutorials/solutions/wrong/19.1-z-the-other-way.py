import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru(state, xs):
    W_i, W_h, b_i, b_h = (state[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, outputs = np.zeros((xs.shape[1], W_h.shape[1])), []
    for x in xs:
        from_x, from_h = np.split(x @ W_i.T + b_i, 3, axis=1), np.split(h @ W_h.T + b_h, 3, axis=1)
        r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        n = np.tanh(from_x[2] + r * from_h[2])
        h = z * n + (1 - z) * h
        outputs.append(h)
    return np.array(outputs)
