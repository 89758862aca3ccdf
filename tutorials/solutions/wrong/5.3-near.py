def counterexample():
    return -7.0
