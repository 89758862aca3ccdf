def one_bias(state):
    return dict(state)
