import numpy as np


def attend_within(queries, keys, values, lengths):
    scores = (keys @ queries[:, :, None])[:, :, 0]
    scores = np.where(np.arange(keys.shape[1]) < lengths[:, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights[:, None] @ values)[:, 0], weights
