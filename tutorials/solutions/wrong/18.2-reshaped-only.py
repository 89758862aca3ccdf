def summed(hs, gs):
    return hs.reshape(hs.shape[2], -1) @ gs.reshape(-1, gs.shape[2])
