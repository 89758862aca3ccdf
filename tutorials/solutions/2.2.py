RULES = {
    "add": (lambda g, a, b: g, lambda g, a, b: g),
    "sub": (lambda g, a, b: g, lambda g, a, b: -g),
    "mul": (lambda g, a, b: g * b, lambda g, a, b: g * a),
}


def gradient(y, x):
    waiting, grads = {y._order: y}, {y._order: 1.0}
    while waiting:
        node = waiting.pop(max(waiting))
        for i, z in enumerate(node._inputs):
            if hasattr(z, "_order"):
                contribution = RULES[node._op.__name__][i](grads[node._order], *node._arrays)
                grads[z._order] = grads.get(z._order, 0.0) + float(contribution)
                waiting[z._order] = z
    return grads.get(x._order, 0.0)
