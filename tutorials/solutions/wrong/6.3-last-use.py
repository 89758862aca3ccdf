def gradient_of_W(uses):
    a, g = uses[-1]
    return a.T @ g
