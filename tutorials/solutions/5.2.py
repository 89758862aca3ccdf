from tinygrad_seq import op


@op(lambda g, y, x: (x + x) * (g == 1) + 3 * x * (g != 1))
def fooling(x):
    return x * x
