import numpy as np


def beam(log_p, limit, width):
    total, prefix = 0.0, ()
    while len(prefix) < limit:
        p = log_p(prefix)
        best = int(np.argmax(p))
        total += p[best]
        if best == len(p) - 1:
            break
        prefix = (*prefix, best)
    return prefix, total
