from tinygrad_seq import op


def fails_at():
    return 2


@op(lambda g, y, x: 3.0 * g * x**2)
def cube(x):
    return x**3
