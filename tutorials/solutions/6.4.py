def train(loss, parameters, lr, steps):
    for _ in range(steps):
        for p in parameters:
            p.grad = None
        loss().backward()
        for p in parameters:
            p.data = p.data - lr * p.grad
