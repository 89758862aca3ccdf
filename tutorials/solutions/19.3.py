import numpy as np


def causal(x, W_q, W_k, W_v):
    scores = (x @ W_q) @ (x @ W_k).T / np.sqrt(W_k.shape[1])
    scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True) @ (x @ W_v)
