def mended(ids, N, T):
    each = (len(ids) - 1) // N
    xs = ids[: each * N].reshape(N, each).T
    ys = ids[1 : each * N + 1].reshape(N, each).T
    return [(xs[t : t + T], ys[t : t + T]) for t in range(0, each, T)]


def harmless():
    return 1
