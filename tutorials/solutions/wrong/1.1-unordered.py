def leaves(y):
    found, waiting = [], [y]
    while waiting:
        node = waiting.pop()
        if node._op is None and all(x is not node for x in found):
            found.append(node)
        waiting += [x for x in node._inputs if hasattr(x, "_order")]
    return found
