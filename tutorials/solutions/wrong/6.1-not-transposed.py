def matmul_rules(g, a, b):
    A = a[None, :] if a.ndim == 1 else a
    B = b[:, None] if b.ndim == 1 else b
    G = g.reshape(len(A), B.shape[1])
    if len(A) == A.shape[1]:
        return (G @ B.T).reshape(a.shape), (A @ G).reshape(b.shape)
    return (G @ B.T).reshape(a.shape), (A.T @ G).reshape(b.shape)
