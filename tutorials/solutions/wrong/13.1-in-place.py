def reversed_within(xs, lengths):
    for n, length in enumerate(lengths):
        xs[:length, n] = xs[:length, n][::-1].copy()
    return xs
