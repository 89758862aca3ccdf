def beam(log_p, limit, width):
    kept = [(0.0, ())]
    for _ in range(limit):
        longer, over = [], []
        for total, prefix in kept:
            *symbols, end = log_p(prefix)
            over.append((total + end, prefix))
            longer += [(total + p, (*prefix, s)) for s, p in enumerate(symbols)]
        kept = sorted(longer, reverse=True)[:width]
    best = max(kept + over)
    return best[1], best[0]
