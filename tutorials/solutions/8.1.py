import numpy as np


def bptt(xs, us, W_x, W_h, b):
    states = [np.zeros((xs.shape[1], len(W_h)))]
    for x in xs:
        states.append(np.tanh(states[-1] @ W_h + x @ W_x + b))
    dxs, dW_x, dW_h, db, dh = np.zeros_like(xs), np.zeros_like(W_x), np.zeros_like(W_h), np.zeros_like(b), 0.0
    for t in reversed(range(len(xs))):
        dz = (us[t] + dh) * (1 - states[t + 1] ** 2)
        dxs[t] = dz @ W_x.T
        dW_x += xs[t].T @ dz
        dW_h += states[t].T @ dz
        db += dz.sum(axis=0)
        dh = dz @ W_h.T
    return dxs, dW_x, dW_h, db
