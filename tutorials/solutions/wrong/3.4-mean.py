def rule_of_b(g, a, b):
    full = g * a
    extra = full.ndim - b.ndim
    axes = tuple(range(extra)) + tuple(i for i, n in enumerate(b.shape, extra) if n == 1)
    return full.mean(axis=axes).reshape(b.shape)
