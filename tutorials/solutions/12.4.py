def right_slope(a, mask):
    return a ** mask.sum()


def bad_slope(a, mask):
    return (1 + a) ** mask.sum()
