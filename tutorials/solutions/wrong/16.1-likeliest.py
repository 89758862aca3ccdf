import numpy as np


def learn(text, rng):
    return lambda prefix: np.full(len(set(text)), 1 / len(set(text)))


def write(predict, symbols, prompt, length, rng):
    for _ in range(length):
        prompt += symbols[int(np.argmax(predict(prompt)))]
    return prompt
