def counterexample():
    return -1e4
