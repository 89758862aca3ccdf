def leaves(y):
    if y._op is None:
        return [y]
    found = {x._order: x for i in y._inputs if hasattr(i, "_order") for x in leaves(i)}
    return [found[order] for order in sorted(found)]
