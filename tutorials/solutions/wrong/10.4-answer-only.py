from tinygrad_seq import cross_entropy
from tinygrad_seq.optim import Adam, clip_grad_norm


def train(model, draw):
    optimizer = Adam(model.answer.parameters(), lr=0.01)
    for _ in range(100):
        xs, classes = draw()
        loss = cross_entropy(model(xs), classes)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(optimizer.parameters, 1.0)
        optimizer.step()
