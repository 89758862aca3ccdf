def masked_last(step, xs, h, mask):
    for x, m in zip(xs, mask[:, :, None], strict=True):
        h = m * step(x, h) + (1 - m) * h
    return h
