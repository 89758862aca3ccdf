def edges(y):
    found, seen, waiting = [], {y._order}, [y]
    while waiting:
        node = waiting.pop()
        for x in node._inputs:
            if not hasattr(x, "_order"):
                continue
            found.append((x._order, node._order))
            if x._order not in seen:
                seen.add(x._order)
                waiting.append(x)
    return found
