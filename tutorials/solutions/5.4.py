def analytic(f, x):
    try:
        stepped = complex(f(complex(x, 1e-30))).imag / 1e-30
    except TypeError:
        return False
    central = (f(x + 1e-5) - f(x - 1e-5)) / 2e-5
    return abs(stepped - central) <= 1e-6 * max(1, abs(central))
