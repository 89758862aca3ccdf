def summed(hs, gs):
    return (hs.swapaxes(1, 2) @ gs).sum(axis=0)
