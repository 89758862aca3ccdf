from tinygrad_seq import Tensor


def smallest():
    a = Tensor(1.0, requires_grad=True)
    p = a + a
    q = p + p
    r = q + q
    return p + r, a  # p is near to y and hands on before q has handed it anything
