def shifted(targets, end):
    targets[1:] = targets[:-1].copy()
    targets[0] = end
    return targets
