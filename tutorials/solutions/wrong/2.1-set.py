def paths(y, x):
    if y is x:
        return 1
    return sum(paths(z, x) for z in set(y._inputs))
