"""The task that shows the ledger of three networks: what it measures is what the ledger says, and a learnt delay is seen in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.experiment import CELLS
from models.task import Problem
from models.through_time import Echo, draw_symbols, learn, main, measured, relative_to_distance
from tinygrad_seq import grad
from tinygrad_seq.ledger import loss_table

every_cell = pytest.mark.parametrize("kind", CELLS)


@every_cell
def test_the_ledgers_are_those_of_the_last_loss_and_of_all(kind: str) -> None:
    rng = np.random.default_rng(0)
    model, symbols = Echo(kind, 5, 2, rng=rng), draw_symbols(rng, 7, 3)
    kept = measured(model, symbols)
    losses, run = model(symbols)
    assert losses.shape == (5, 3)
    assert kept.loss == pytest.approx(losses.data.mean())
    np.testing.assert_allclose(kept.table.norms, loss_table(losses, run)["h"].norms)
    assert (kept.table.norms == 0).sum() == sum(range(5))  # loss t + 2 depends on the states 0 ... t + 2
    assert kept.shares[0] == 0  # h before the first step is 0
    assert len(kept.shares) == len(kept.values) == len(kept.bound) == 7
    last = grad(losses[-1].sum(), model.cell.W_h)
    assert np.linalg.norm(last) <= kept.shares.sum() * (1 + 1e-12)
    if kind == "rnn":
        assert (kept.values <= kept.bound * (1 + 1e-12)).all()


def test_the_loss_is_the_surprise_at_the_symbol_read_before() -> None:
    rng = np.random.default_rng(0)
    model, symbols = Echo("rnn", 5, 2, rng=rng), draw_symbols(rng, 6, 3)
    losses, run = model(symbols)
    scores = run.outputs.data @ model.output.W.data + model.output.b.data
    p = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    expected = [[-np.log(p[t, n, symbols[t - 2, n]]) for n in range(3)] for t in range(2, 6)]
    np.testing.assert_allclose(losses.data, expected)


def test_the_gradient_by_distance_is_the_median_over_the_losses_that_reach_so_far() -> None:
    rng = np.random.default_rng(0)
    model, symbols = Echo("gru", 4, 1, rng=rng), draw_symbols(rng, 4, 2)
    kept = measured(model, symbols)
    rows = kept.table.norms / kept.table.norms.max(axis=1, keepdims=True)
    expected = [np.median([rows[t - 1, t - d] for t in range(1, 4) if t >= d]) for d in range(4)]
    np.testing.assert_allclose(relative_to_distance(kept), expected)


def test_what_must_be_remembered_gets_the_gradient_once_it_is_learnt() -> None:
    """Saying the symbol before: untrained, the gradient falls off from the last state; trained, the state that read it counts most."""
    rng = np.random.default_rng(0)
    model, symbols = Echo("gru", 12, 1, rng=rng), draw_symbols(rng, 10, 16)
    before = measured(model, symbols)
    learn(model, 10, 100, rng=rng, lr=0.03)
    after = measured(model, symbols)
    assert after.loss < 0.1 * before.loss
    assert relative_to_distance(before)[1] < 0.6
    assert relative_to_distance(after)[1] > 0.9


def test_the_command_says_draws_and_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    options = ["--hidden", "4", "--steps", "8", "--delay", "2", "--updates", "2"]
    assert main([*options, "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    for words in ("RNN, as initialised", "GRU, after learning", "a guess", "6 back", "tables.svg"):
        assert words in printed
    main([*options, "--out", str(tmp_path / "b")])
    for name in ("tables.svg", "curves.svg", "ledger.txt", "ledger.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    numbers = json.loads((tmp_path / "a" / "ledger.json").read_text())
    assert np.shape(numbers["LSTM, after learning"]["table"]) == (6, 8)
    with pytest.raises(Problem, match="--delay 7 takes at least 9 steps"):
        main(["--steps", "8", "--delay", "7"])
