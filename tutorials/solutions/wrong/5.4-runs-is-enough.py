def analytic(f, x):
    try:
        f(complex(x, 1e-30))
    except TypeError:
        return False
    return True
