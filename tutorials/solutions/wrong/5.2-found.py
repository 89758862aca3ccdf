from tinygrad_seq import op


@op(lambda g, y, x: g * x)
def fooling(x):
    return x * x
