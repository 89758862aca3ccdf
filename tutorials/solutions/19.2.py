def one_bias(state):
    first, second = state["bias_ih_l0"].copy(), state["bias_hh_l0"].copy()
    H = len(second) // 3
    first[: 2 * H] += second[: 2 * H]
    second[: 2 * H] = 0
    return {**state, "bias_ih_l0": first, "bias_hh_l0": second}
