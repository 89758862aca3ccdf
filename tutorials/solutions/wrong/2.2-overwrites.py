def gradient(y, x):
    waiting, grads = {y._order: y}, {y._order: 1.0}
    while waiting:
        node = waiting.pop(max(waiting))
        for i, z in enumerate(node._inputs):
            if hasattr(z, "_order"):
                slope = {"add": 1.0, "sub": 1.0 - 2 * i, "mul": float(node._arrays[1 - i])}[node._op.__name__]
                grads[z._order] = grads[node._order] * slope
                waiting[z._order] = z
    return grads.get(x._order, 0.0)
