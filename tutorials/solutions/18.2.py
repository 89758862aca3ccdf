def summed(hs, gs):
    return hs.reshape(-1, hs.shape[2]).T @ gs.reshape(-1, gs.shape[2])
