from tinygrad_seq import Tensor, op


def fails_at():
    return 2


@op(lambda g, y, x: 3.0 * g * (x.detach() if isinstance(x, Tensor) else x) ** 2)
def cube(x):
    return x**3
