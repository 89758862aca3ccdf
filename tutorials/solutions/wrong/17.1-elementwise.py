import numpy as np

from tinygrad_seq import grad


def hessian_vector(f, x, v):
    g = grad(f(x), x, create_graph=True)
    return grad(g.sum(), x) * np.asarray(v)
