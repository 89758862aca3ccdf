import numpy as np

from models.lstm import LSTM
from models.recurrent import detached
from tinygrad_seq import cross_entropy, no_grad, softmax
from tinygrad_seq.data import Streams, Vocabulary
from tinygrad_seq.optim import Adam, clip_grad_norm


def learn(text, rng):
    vocabulary = Vocabulary(text)
    ids = vocabulary.encode(text)
    model = LSTM(len(vocabulary), 32, len(vocabulary), rng=rng)
    optimizer = Adam(model.parameters(), lr=0.02)
    streams, state = Streams(ids, 8, 32), None
    for i in range(100):
        inputs, targets = streams[i]
        scores, state = model(inputs, state if i % len(streams) else None)
        state = detached(state)
        optimizer.zero_grad()
        cross_entropy(scores, targets).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()

    def predict(prefix):
        with no_grad():
            return softmax(model(vocabulary.encode(prefix)[:, None]).ys[-1, 0]).numpy()

    return predict


def write(predict, symbols, prompt, length, rng):
    for _ in range(length):
        p = np.asarray(predict(prompt), float)
        prompt += symbols[rng.choice(len(symbols), p=p / p.sum())]
    return prompt
