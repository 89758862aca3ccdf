import numpy as np


def sees_order(attend, K, E):
    rng = np.random.default_rng(0)
    for _ in range(5):
        query, keys, values = rng.normal(size=K), rng.normal(size=(5, K)), rng.normal(size=(5, E))
        order = rng.permutation(5)
        context, weights = attend(query, keys, values)
        other_context, other_weights = attend(query, keys[order], values[order])
        if not (np.allclose(context, other_context) and np.allclose(weights[order], other_weights)):
            return True
    return False
