def parameters(C, H, D):
    return C * H + H * H + H + H * D + D


def multiplications(T, C, H, D):
    return T * (C * H + H * H + H * D)
