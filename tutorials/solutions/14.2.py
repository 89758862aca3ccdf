def beam(log_p, limit, width):
    kept = [(0.0, (), False)]
    for _ in range(limit):
        longer = []
        for total, prefix, ended in kept:
            if ended:
                longer.append((total, prefix, True))
                continue
            *symbols, end = log_p(prefix)
            longer.append((total + end, prefix, True))
            longer += [(total + p, (*prefix, s), False) for s, p in enumerate(symbols)]
        kept = sorted(longer, key=lambda each: -each[0])[:width]
    return kept[0][1], kept[0][0]
