def edges(y):
    found, waiting = set(), [y]
    while waiting:
        node = waiting.pop()
        for x in set(node._inputs):
            if hasattr(x, "_order"):
                found.add((x._order, node._order))
                waiting.append(x)
    return list(found)
