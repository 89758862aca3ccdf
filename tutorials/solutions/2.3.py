from tinygrad_seq import Tensor


def smallest():
    a = Tensor(1.0, requires_grad=True)
    p = a + a
    q = p + p
    return p + q, a  # p is near to y and hands on before q has handed it anything
