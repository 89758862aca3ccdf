import numpy as np


def causal(x, W_q, W_k, W_v):
    scores = (x @ W_q) @ (x @ W_k).T / np.sqrt(W_k.shape[1])
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.tri(len(x)) * (e / e.sum(axis=1, keepdims=True)) @ (x @ W_v)
