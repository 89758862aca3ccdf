def gradient_of_W(uses):
    return sum(a.T @ g for a, g in uses)
