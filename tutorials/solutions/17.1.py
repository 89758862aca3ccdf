from tinygrad_seq import grad


def hessian_vector(f, x, v):
    return grad((grad(f(x), x, create_graph=True) * v).sum(), x)
