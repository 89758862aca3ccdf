def matmul_rules(g, a, b):
    return g @ b.T, a.T @ g
