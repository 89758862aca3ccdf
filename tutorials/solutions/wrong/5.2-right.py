from tinygrad_seq import op


@op(lambda g, y, x: 2 * g * x)
def fooling(x):
    return x * x
