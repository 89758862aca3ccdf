def counterexample():
    return -20.0
