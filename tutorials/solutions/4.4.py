def slope(y):
    return (1 - abs(y)) ** 2
