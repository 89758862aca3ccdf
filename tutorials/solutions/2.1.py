def paths(y, x):
    waiting, counts, total = {y._order: y}, {y._order: 1}, 0
    while waiting:
        node = waiting.pop(max(waiting))
        if node is x:
            total = counts[node._order]
        for z in node._inputs:
            if hasattr(z, "_order"):
                counts[z._order] = counts.get(z._order, 0) + counts[node._order]
                waiting[z._order] = z
    return total
