def mirrored(outputs):
    return outputs[::-1]
