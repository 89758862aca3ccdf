import numpy as np

from tinygrad_seq import grad


def newton_step(f, x):
    g = grad(f(x), x, create_graph=True)
    A = np.array([grad(g[i], x) for i in range(len(x))])
    return x.numpy() - np.linalg.solve(A, g.numpy())
