def slope(y):
    return 1 - y * y
