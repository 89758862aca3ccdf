def summed_back(g, shape):
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i for i, n in enumerate(shape, extra) if n == 1)
    return g.sum(axis=axes).reshape(shape)
