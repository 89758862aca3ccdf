"""Long memory: the two generators, what counts as right, a single training, and the comparison of the cells."""

from __future__ import annotations

import json
import signal
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiment import CELLS, load_checkpoint
from models.long_memory import Result, Setting, main, reached, seconds_per_update, verdict
from models.memory_tasks import SOLVED, TASKS, LastState, LongMemory, adding, size, state_of_size, temporal_order
from models.recurrent import unroll
from models.task import CHECKPOINT, Problem
from tinygrad_seq import Tensor
from tinygrad_seq.check import check_gradients

SMALLEST = ["--hidden", "4", "--batch", "4", "--steps", "4", "--quiet"]
lengths, seeds = st.integers(10, 123), st.integers(0, 2**32 - 1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few held-out sequences and evaluations: what is tested is that they are made."""
    monkeypatch.setattr(LongMemory, "unseen", 12)
    monkeypatch.setattr(LongMemory, "evaluations", 2)


def training(*options: str, seed: int = 0) -> LongMemory:
    return LongMemory(LongMemory.parser().parse_args(list(options)), seed)


# ---- the generators


@given(seeds, lengths)
def test_adding_marks_two_numbers_in_the_first_half_and_asks_for_their_sum(seed: int, T: int) -> None:
    xs, sums = adding(np.random.default_rng(seed), T, 20)
    assert xs.shape == (T, 20, 2)
    assert xs.dtype == sums.dtype == np.float32
    numbers, marks = xs[..., 0], xs[..., 1]
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert set(np.unique(marks)) == {0, 1}
    for n in range(20):
        first, second = np.flatnonzero(marks[:, n])
        assert 0 <= first < T / 10
        assert T // 10 <= second < T / 2
        assert sums[n] == numbers[first, n] + numbers[second, n]


@given(seeds, lengths)
def test_order_hides_two_symbols_among_others_and_asks_for_their_order(seed: int, T: int) -> None:
    symbols, classes = temporal_order(np.random.default_rng(seed), T, 20)
    assert symbols.shape == (T, 20)
    assert symbols.dtype.kind == "i"
    assert ((symbols >= 0) & (symbols < 6)).all()
    for n in range(20):
        first, second = np.flatnonzero(symbols[:, n] < 2)
        assert T // 10 <= first < 2 * T / 10
        assert T // 2 <= second < 6 * T / 10
        said = "XY"[symbols[first, n]] + "XY"[symbols[second, n]]
        assert ["XX", "XY", "YX", "YY"][classes[n]] == said


@pytest.mark.parametrize("name", TASKS)
def test_sequences_repeat_with_the_seed_only(name: str) -> None:
    a, b, c = (TASKS[name].draw(np.random.default_rng(seed), 30, 10) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert (a[0] != c[0]).any()
    assert len({a[0][:, n].tobytes() for n in range(10)}) == 10


def test_every_step_of_the_intervals_is_drawn_and_alike_often() -> None:
    T, N = 40, 20_000
    marks = adding(np.random.default_rng(0), T, N)[0][..., 1]
    expected = np.array([N / 4] * 4 + [N / 16] * 16 + [0] * 20)
    np.testing.assert_allclose(marks.sum(axis=1), expected, atol=5 * np.sqrt(N / 4))
    assert (marks.sum(axis=1) > 0).tolist() == (expected > 0).tolist()
    relevant = (temporal_order(np.random.default_rng(0), T, N)[0] < 2).sum(axis=1)
    expected = np.array([N / 4 if t in {4, 5, 6, 7, 20, 21, 22, 23} else 0 for t in range(T)])
    np.testing.assert_allclose(relevant, expected, atol=5 * np.sqrt(N / 4))


def test_nothing_but_the_two_steps_tells_the_answer() -> None:
    T, N = 20, 40_000
    xs, sums = adding(np.random.default_rng(0), T, N)
    numbers, marks = xs[..., 0], xs[..., 1]
    unmarked = np.where(marks == 1, 0.5, numbers) - 0.5
    assert np.abs(unmarked @ (sums - 1) / N).max() < 5 * np.sqrt(1 / 12 / 6 / N)  # of the covariance; that of a marked number is 1/12
    assert np.abs(marks @ (sums - 1) / N).max() < 5 * np.sqrt(1 / 6 / N)
    symbols, classes = temporal_order(np.random.default_rng(0), T, N)
    for t in (0, 1, 4, 9, 12, 19):
        together = np.histogram2d(symbols[t], classes, [np.arange(7), np.arange(5)])[0] / N
        np.testing.assert_allclose(together[:2], 0)
        np.testing.assert_allclose(together[2:], 1 / 16, atol=5 * np.sqrt(1 / 16 / N))


@pytest.mark.parametrize("name", TASKS)
def test_the_baselines_are_what_the_best_guess_reaches(name: str) -> None:
    task, N = TASKS[name], 40_000
    _, targets = task.draw(np.random.default_rng(0), 10, N)
    guess = np.ones((N, 1), np.float32) if name == "adding" else np.zeros((N, 4), np.float32)
    assert task.loss(Tensor(guess), targets).item() == pytest.approx(task.guess_loss, rel=0.02)
    assert task.right(guess, targets).mean() == pytest.approx(task.guess_right, abs=0.01)
    assert round(task.guess_loss, 4) == {"adding": 0.1667, "order": 1.3863}[name]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("T", [9, 1, 0, -5])
def test_sequences_too_short_to_have_tenths_are_refused(name: str, T: int) -> None:
    with pytest.raises(ValueError, match=rf"length {T}, expected at least 10"):
        TASKS[name].draw(np.random.default_rng(0), T, 2)


# ---- right and wrong


def test_a_sum_is_right_when_it_is_close_enough() -> None:
    sums = np.array([1.0, 1.0, 1.0, 1.0, 0.2])
    ys = np.array([[1.079], [0.921], [1.081], [0.919], [0.2]])
    assert TASKS["adding"].right(ys, sums).tolist() == [True, True, False, False, True]
    assert TASKS["adding"].loss(Tensor(ys), sums).item() == pytest.approx(np.mean((ys[:, 0] - sums) ** 2))


def test_a_class_is_right_when_it_is_the_likeliest() -> None:
    ys = np.array([[0.0, 3, 1, 2], [0.0, 3, 1, 2], [9.0, 3, 1, 2]])
    assert TASKS["order"].right(ys, np.array([1, 2, 0])).tolist() == [True, False, True]


@pytest.mark.parametrize("name", TASKS)
def test_who_reads_the_two_steps_solves_the_task_and_who_guesses_does_not(name: str) -> None:
    def by_the_rule(xs: Any) -> Tensor:
        if name == "adding":
            return Tensor((xs[..., 0] * xs[..., 1]).sum(axis=0)[:, None])
        relevant = [symbols[symbols < 2] for symbols in xs.T]
        return Tensor(np.eye(4)[[2 * a + b for a, b in relevant]])

    run = training("--task", name, "--length", "31")
    for answer, score in ((by_the_rule, 1.0), (lambda xs: by_the_rule(xs) * 0 + 1, TASKS[name].guess_right)):
        run.model = answer  # type: ignore[assignment]
        assert run.score() == pytest.approx(score, abs=0.06)


# ---- the network


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", TASKS)
def test_the_answer_is_linear_in_the_last_state_and_its_gradients_are_right(name: str, cell: str) -> None:
    task, rng = TASKS[name], np.random.default_rng(0)
    model = LastState(cell, task.inputs, 3, task.outputs, rng=rng, dtype=np.float64)
    xs, targets = task.draw(rng, 10, 4)
    xs = xs if name == "order" else xs.astype(float)
    last = unroll(model.cell, xs).states[9].h.numpy()
    np.testing.assert_allclose(model(xs).numpy(), last @ model.answer.W.numpy() + model.answer.b.numpy(), rtol=1e-12)
    task.loss(model(xs), targets).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert np.abs(parameter.grad).max() > 0
    weights = rng.standard_normal((4, task.outputs))
    check_gradients(lambda weights: (model(xs) * weights).sum(), weights, float32=False)


@given(st.sampled_from(sorted(CELLS)), st.sampled_from(sorted(TASKS)), st.integers(1, 700))
def test_the_size_for_a_number_of_parameters_is_the_nearest(cell: str, name: str, parameters: int) -> None:
    task, rng = TASKS[name], np.random.default_rng(0)
    counts = [size(LastState(cell, task.inputs, hidden, task.outputs, rng=rng)) for hidden in range(1, 28)]
    found = state_of_size(cell, task, parameters)
    assert abs(counts[found - 1] - parameters) == min(abs(count - parameters) for count in counts)


def test_the_forget_gate_begins_open_for_as_long_as_the_sequence_unless_told_otherwise() -> None:
    for options, b_f, b_i in (
        ((), log(50), -log(50)), (("--length", "20"), log(20), -log(20)), (("--forget-bias", "1"), 1, 0), (("--forget-bias", "0"), 0, 0),
    ):  # fmt: skip
        run = training(*options)
        np.testing.assert_allclose(run.model.cell.b.numpy(), [b_f] * 32 + [b_i] * 32 + [0] * 64, rtol=1e-6)
        assert run.model.cell.b.dtype == np.float32


def test_a_memory_cell_that_begins_so_keeps_a_third_of_what_it_holds_over_the_sequence() -> None:
    T = 50
    cell = training("--hidden", "1", "--length", str(T)).model.cell
    cell.W_x.data, cell.W_h.data = cell.W_x.numpy() * 0, cell.W_h.numpy() * 0
    state = cell.initial_state(1)._replace(c=Tensor(np.ones((1, 1), np.float32)))
    kept = unroll(cell, np.zeros((T, 1, 2), np.float32), state).state.c.item()
    assert kept == pytest.approx(np.exp(-1), rel=0.02)


def test_a_run_ends_when_more_than_the_share_that_counts_is_right() -> None:
    run = training("--hidden", "4")
    assert not run.finished()
    for right, solved in ((SOLVED, False), (SOLVED + 0.001, True), (0.5, False)):
        run.scores.append((50, right))
        assert run.solved() == run.finished() == solved
    run.done = run.arguments.steps
    assert run.finished()
    assert run.outcome() == "not solved in 1,500 updates: 50.0 % right"


def test_a_gru_learns_the_order_and_stops_when_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "order", "--length", "10", "--cell", "gru", "--hidden", "16", "--steps", "400", "--quiet"]
    assert main(["train", "--out", str(tmp_path / "run"), *options]) == 0
    config = load_checkpoint("long_memory", tmp_path / "run").config
    assert config["done"] < 400
    assert config["scores"][-1][1] > SOLVED
    printed = capsys.readouterr().out
    assert f"solved after {config['done']} updates" in printed
    assert "guessing 0.250" in printed
    assert "stopped after" not in printed


@pytest.mark.usefixtures("few")
def test_a_training_that_was_stopped_tells_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    main(["train", "--out", out, "--minutes", "1e-9", *SMALLEST])
    assert f"python -m models.long_memory train --resume {out}" in capsys.readouterr().out
    main(["train", "--resume", out, "--quiet"])
    assert load_checkpoint("long_memory", tmp_path / "run").config["done"] == 4


# ---- the comparison

COMPARE = ["--lengths", "12", "10", "--seeds", "2", *SMALLEST]


@pytest.mark.usefixtures("few")
def test_the_comparison_is_the_runs_that_train_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "all"), *COMPARE, "--cells", "lstm", "gru"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "all" / "results.json").read_text())
    assert {(r["task"], r["length"], r["cell"], r["seed"]) for r in results if r["hidden"] == 4} >= {
        (task, T, cell, seed) for task in TASKS for T in (10, 12) for cell in ("lstm", "gru") for seed in (0, 1)
    }
    assert {r["hidden"] for r in results if r["cell"] == "gru"} == {4, 5}  # 5: as many parameters as the LSTM
    for words in ("always saying 1 is right for 15.4 %, at a loss of 0.1667", "guessing is right for 25.0 %, at a loss of 1.3863",
                  "adding, equal parameter count", "Measured: the GRU has 0.7", "The course says", "0 of 2"):  # fmt: skip
        assert words in printed
    assert (tmp_path / "all" / "comparison.txt").read_text() in printed
    options = ["--task", "order", "--length", "12", "--cell", "gru", "--seed", "1"]
    main(["train", "--out", str(tmp_path / "one"), *options, *SMALLEST])
    one = load_checkpoint("long_memory", tmp_path / "one")
    among = load_checkpoint("long_memory", tmp_path / "all" / "trained" / "order-12-gru-4-seed-1")
    assert among.config["losses"] == one.config["losses"]
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(among.arrays[name], array)
    assert [r["right"] for r in results if (r["task"], r["length"], r["cell"], r["hidden"], r["seed"]) == ("order", 12, "gru", 4, 1)] == [
        one.config["scores"][-1][1]
    ]


@pytest.mark.usefixtures("few")
def test_a_comparison_stopped_anywhere_and_resumed_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*COMPARE, "--cells", "rnn", "lstm"]
    main(["--out", str(tmp_path / "whole"), *options])
    step, stop_at = LongMemory.step, {("lstm", 1, 0), ("rnn", 0, 2)}

    def interrupted(self: LongMemory) -> None:
        here = (self.arguments.cell, self.seed, self.done)
        if here in stop_at:
            stop_at.remove(here)
            signal.raise_signal(signal.SIGINT)
        step(self)

    monkeypatch.setattr(LongMemory, "step", interrupted)
    parts = str(tmp_path / "parts")
    capsys.readouterr()
    assert main(["--out", parts, *options]) == 130
    assert f"runs are done; go on with: python -m models.long_memory --resume {parts}" in capsys.readouterr().out
    while main(["--resume", parts, "--quiet"]) == 130:
        pass
    assert not stop_at
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert len(files) == 4 + 2 * (8 + 1)  # of the comparison; two seeds of eight settings, and of one more RNN
    for name in files:
        if name.name != "comparison.txt":  # it tells times
            assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name


@pytest.mark.usefixtures("few")
def test_a_comparison_can_be_gone_on_with_more_seeds_but_not_as_another(tmp_path: Path) -> None:
    out = tmp_path / "run"
    main(["--out", str(out), "--tasks", "order", "--cells", "lstm", "--lengths", "10", "--seeds", "1", *SMALLEST])
    before = (out / "trained" / "order-10-lstm-4-seed-0" / CHECKPOINT).read_bytes()
    assert main(["--resume", str(out), "--seeds", "2", "--quiet"]) == 0
    assert [r["seed"] for r in json.loads((out / "results.json").read_text())] == [0, 1]
    assert (out / "trained" / "order-10-lstm-4-seed-0" / CHECKPOINT).read_bytes() == before
    for argv, message in (
        (["--resume", str(out), "--hidden", "5"], "--hidden 5 contradicts"),
        (["--resume", str(out), "--lengths", "10", "20"], "--lengths .* contradicts"),
        (["--resume", str(out), "--out", "elsewhere"], "leave --out out"),
        (["--resume", str(out / "trained" / "order-10-lstm-4-seed-0")], "holds no comparison"),
        (["--out", str(out)], "holds a checkpoint already"),
        (["train", "--resume", str(out)], "no checkpoint"),
    ):
        with pytest.raises(Problem, match=message):
            main(argv)


@pytest.mark.usefixtures("few")
def test_a_single_run_and_a_broken_file_are_not_gone_on_with_as_a_comparison(tmp_path: Path) -> None:
    main(["train", "--out", str(tmp_path / "one"), *SMALLEST])
    for text, message in ((None, "a single run; go on with it by `train --resume`"), ("3", "a single run"), ("{", "holds no comparison")):
        if text is not None:
            (tmp_path / "one" / "config.json").write_text(text)
        with pytest.raises(Problem, match=message):
            main(["--resume", str(tmp_path / "one")])


@pytest.mark.usefixtures("few")
def test_a_comparison_gone_on_with_fewer_steps_than_were_done_is_judged_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LongMemory.step
    monkeypatch.setattr(LongMemory, "step", lambda self: (signal.raise_signal(signal.SIGINT), step(self)))
    options = ["--tasks", "order", "--cells", "rnn", "--lengths", "10", "--seeds", "1"]
    assert main(["--out", str(tmp_path / "run"), *options, *SMALLEST, "--steps", "9"]) == 130
    monkeypatch.setattr(LongMemory, "step", step)
    assert main(["--resume", str(tmp_path / "run"), "--steps", "1", "--quiet"]) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())[0]["updates"] == 1


def result(cell: str, updates: int, right: float, seed: int = 0, parameters: int = 100) -> Result:
    return Result(Setting("adding", 50, cell, 32), seed, parameters, updates, right > SOLVED, right)


def test_tables_tell_successes_and_the_updates_of_those_alone() -> None:
    runs = [result("gru", 300, 0.96), result("gru", 500, 0.99), result("gru", 1000, 0.2)]
    assert reached(runs).split() == ["2", "of", "3", "400", "20.0", "96.0", "99.0"]
    assert reached(runs[2:]).split() == ["0", "of", "1", "-", "20.0", "20.0", "20.0"]


def test_the_verdict_compares_gru_and_lstm() -> None:
    gru, lstm = [result("gru", 300, 0.97, parameters=75)], [result("lstm", 600, 0.97)]
    said = verdict({"gru": (gru, 0.03), "lstm": (lstm, 0.02), "rnn": ([], 0.01)}).replace("\n          ", " ")
    for words in (
        "0.75 of the LSTM's parameters",
        "1.50 of the time",
        "solved 1 of 1, the LSTM 1",
        "0.50 of the updates",
        "0.75 of the time",
    ):
        assert words in said
    assert "updates" not in verdict({"gru": (gru, 0.03), "lstm": ([result("lstm", 600, 0.3)], 0.02)})
    assert "nothing to compare" in verdict({"gru": (gru, 0.03)})


@pytest.mark.usefixtures("few")
def test_longer_sequences_take_longer() -> None:
    arguments = LongMemory.parser().parse_args(SMALLEST)
    short, long = seconds_per_update(arguments, [Setting("adding", T, "rnn", 4) for T in (10, 500)])
    assert 0 < 2 * short < long


@pytest.mark.parametrize(
    "argv",
    [
        ["--lengths", "9"], ["--lengths", "x"], ["--cells", "mlp"], ["--tasks", "sorting"], ["--hidden", "0"], ["--seeds", "0"],
        ["--lr", "-1"], ["--forget-bias", "nan"], ["train", "--length", "9"], ["train", "--task", "sorting"], ["train", "--cell", "mlp"],
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_the_command_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert argv[-2] in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--help"], ["train", "--help"]])
def test_help_tells_the_time_of_the_default_run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(argv)
    printed = " ".join(capsys.readouterr().out.split())
    assert "takes about four minutes of one core" in printed or "takes half a minute" in printed
    assert f"usage: {' '.join(['python -m models.long_memory', *argv[:-1]])} [-h]" in printed
