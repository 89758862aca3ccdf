def leaves(y):
    found, waiting = {y._order: y}, [y]
    while waiting:
        for x in waiting.pop()._inputs:
            if hasattr(x, "_order") and x._order not in found:
                found[x._order] = x
                waiting.append(x)
    return [found[order] for order in sorted(found) if found[order]._op is None]
