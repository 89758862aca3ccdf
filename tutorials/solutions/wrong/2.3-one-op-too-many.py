from tinygrad_seq import Tensor


def smallest():
    a = Tensor(1.0, requires_grad=True)
    p = a + a
    q = p + p
    r = q + q
    return p + r, a
