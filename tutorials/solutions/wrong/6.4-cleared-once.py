def train(loss, parameters, lr, steps):
    for p in parameters:
        p.grad = None
    for _ in range(steps):
        loss().backward()
        for p in parameters:
            p.data = p.data - lr * p.grad
