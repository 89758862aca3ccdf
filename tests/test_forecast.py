"""Forecasts: the integrator against exact solutions, the split, simpler methods, the network that reads what it wrote, and the task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.experiment import load_checkpoint
from models.forecast import (
    BETA,
    DT,
    EVERY,
    GAMMA,
    TAU,
    Forecast,
    Forecaster,
    Forecasts,
    by_horizon,
    direct_forecasts,
    draw_series,
    least_squares,
    linear_forecasts,
    mackey_glass,
    normalised_errors,
    production,
    squared_error,
    windows,
)
from models.task import CHECKPOINT, Problem
from tinygrad_seq import Tensor
from tinygrad_seq.check import check_gradients

histories = st.lists(st.floats(0.1, 2.0), min_size=1, max_size=4).map(np.array)
SMALL = ["--hidden", "6", "--batch", "4", "--steps", "6", "--context", "6", "--ahead", "3", "--quiet"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few series: what is tested is that they are forecast."""
    for name, count in (("known", 4), ("length", 40), ("unseen", 5), ("horizon", 20), ("evaluations", 2)):
        monkeypatch.setattr(Forecast, name, count)


# ---- the series ----------------------------------------------------------------------------------------------------------------------


@given(histories, st.sampled_from([0.25, 0.5, 1.0]))
def test_while_the_past_is_constant_the_solution_is_an_exponential(history: np.ndarray, dt: float) -> None:
    x = mackey_glass(history, round(TAU / dt), dt=dt)
    t = dt * np.arange(len(x))[:, None]
    limit = BETA * history / (1 + history**10) / GAMMA  # where what is made equals what is lost
    np.testing.assert_allclose(x, limit + (history - limit) * np.exp(-GAMMA * t), rtol=1e-7 * dt**4 * 16)


@given(st.floats(0.3, 1.5))
def test_one_delay_later_it_is_the_integral_over_that_exponential(history: float) -> None:
    limit = BETA * history / (1 + history**10) / GAMMA
    first = lambda t: limit + (history - limit) * np.exp(-GAMMA * t)  # noqa: E731 - an equation
    nodes, weights = np.polynomial.legendre.leggauss(80)
    for s in (0.5, 8.0, TAU):
        u = s / 2 * (nodes + 1)
        made = s / 2 * weights @ (np.exp(-GAMMA * (s - u)) * production(first(u)))
        x = mackey_glass(np.array([history]), round((TAU + s) / DT))[-1, 0]
        assert x == pytest.approx(np.exp(-GAMMA * s) * first(TAU) + made, abs=2e-6)


def test_halving_the_step_divides_the_error_by_sixteen() -> None:
    history = np.array([0.5, 0.9, 1.2, 1.5])
    one, two, four, fine = (mackey_glass(history, 100 * per_unit, dt=1 / per_unit)[::per_unit] for per_unit in (1, 2, 4, 32))
    errors = [np.abs(x - fine).max() for x in (one, two, four)]
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 16, rtol=0.1)
    assert DT == 1 / 2
    assert errors[1] < 1e-6


@given(histories)
def test_series_side_by_side_do_not_touch(history: np.ndarray) -> None:
    together = mackey_glass(history, 100)
    for n, alone in enumerate(history):
        np.testing.assert_allclose(together[:, n], mackey_glass(np.array([alone]), 100)[:, 0], rtol=1e-9)


def test_where_as_much_is_made_as_is_lost_nothing_changes() -> None:
    np.testing.assert_allclose(mackey_glass(np.array([1.0, 0.0]), 200), np.array([[1.0, 0.0]] * 201), atol=1e-8)


def test_the_series_is_chaotic_and_stays_within_bounds() -> None:
    x = mackey_glass(np.array([1.2, 1.2 + 1e-6]), 4000)
    apart = np.abs(x[:, 0] - x[:, 1])
    assert apart[:100].max() < 1e-5
    assert apart[3000:].max() > 1e-3
    assert 0.2 < x[1000:].min() < 0.6
    assert 1.2 < x[1000:].max() < 1.5


@pytest.mark.parametrize("tau", [17.0, 30.0])
@pytest.mark.parametrize("dt", [0.3, 0.0, -0.25, 40.0])
def test_a_step_that_does_not_divide_the_delay_is_refused(tau: float, dt: float) -> None:
    if dt == 0.3 and tau == 30:
        assert len(mackey_glass(np.ones(1), 5, tau=tau, dt=dt)) == 6
    else:
        with pytest.raises(ValueError, match=f"tau={tau}, dt={dt}, expected tau to be a multiple of dt"):
            mackey_glass(np.ones(1), 5, tau=tau, dt=dt)


@settings(max_examples=3)
@given(st.integers(0, 2**32 - 1))
def test_samples_are_those_of_the_finer_series_and_of_their_seed(seed: int) -> None:
    coarse, again, fine, other = (
        draw_series(np.random.default_rng(s), 3, length, every=every)
        for s, length, every in ((seed, 8, EVERY), (seed, 8, EVERY), (seed, 7 * EVERY + 1, 1), (seed + 1, 8, EVERY))
    )
    assert coarse.shape == (8, 3)
    np.testing.assert_array_equal(coarse, again)
    np.testing.assert_array_equal(coarse, fine[::EVERY])
    assert (np.abs(coarse - other) > 1e-6).any()
    assert len(np.unique(coarse)) == coarse.size


@pytest.mark.parametrize("every", [0, -6, 0.3])
def test_samples_between_the_steps_are_refused(every: float) -> None:
    with pytest.raises(ValueError, match=f"every={every}, expected a multiple of 0.5"):
        draw_series(np.random.default_rng(0), 1, 2, every=every)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 9))
def test_windows_are_all_pieces_of_each_series(length: int, count: int, more: int) -> None:
    T = length + more
    series = np.arange(T)[:, None] + 100 * np.arange(count)
    pieces = windows(series, length)
    expected = {tuple(range(100 * n + t, 100 * n + t + length)) for n in range(count) for t in range(T - length + 1)}
    assert sorted(map(tuple, pieces.tolist())) == sorted(expected)


@settings(max_examples=3)
@given(st.integers(0, 1000))
def test_no_series_to_forecast_is_one_to_learn_from(seed: int) -> None:
    task = Forecast(Forecast.parser().parse_args(["--hidden", "2", "--context", "5"]), seed)
    assert task.series.shape == (task.length, task.known)
    assert task.read.shape == (5, task.unseen)
    assert task.truth.shape == (task.horizon, task.unseen)
    assert abs(task.series.mean()) < 1e-4
    assert abs(task.series.std() - 1) < 1e-4
    known = windows(task.series, 5)
    for asked in task.read.T:
        assert np.abs(known - asked).max(axis=1).min() > 1e-5
    fine = (task.fine[::EVERY] - task.mean) / task.deviation
    np.testing.assert_allclose(np.concatenate([task.read, task.truth]), fine, atol=1e-6)


@pytest.mark.usefixtures("few")
def test_batches_are_pieces_of_the_series_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Forecast(Forecast.parser().parse_args(SMALL), 0)
    model, known = task.model, windows(task.series, 9)
    seen = []

    def forward(xs: np.ndarray, ahead: int) -> object:
        seen.append(xs)
        return Forecaster.forward(model, xs, ahead)

    monkeypatch.setattr(model, "forward", forward)
    losses = [task.loss().item() for _ in range(20)]
    assert np.ptp(losses) > 0
    for xs in np.concatenate(seen, axis=1)[:, :, 0].T:
        assert (known[:, :6] == xs).all(axis=1).any()


@pytest.mark.usefixtures("few")
def test_the_loss_of_the_truth_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Forecast(Forecast.parser().parse_args(SMALL), 0)
    known = windows(task.series, 9)

    def forecasting(late: float, wrong: float) -> Callable[..., Forecasts]:
        def model(xs: np.ndarray, ahead: int) -> Forecasts:
            whole = np.array([known[(known[:, :6] == x).all(axis=1)][0] for x in xs[:, :, 0].T]).T[:, :, None]
            assert len(whole) == 6 + ahead
            return Forecasts(Tensor(whole[1:7] + late), Tensor(whole[6:] + wrong))

        return model

    for late, wrong, loss in ((0, 0, 0), (0.5, 0, 0.25), (0, 2, 4)):
        monkeypatch.setattr(task, "model", forecasting(late, wrong))
        assert task.loss().item() == pytest.approx(loss)


# ---- simpler methods -----------------------------------------------------------------------------------------------------------------


def test_a_linear_series_is_found_and_continued_exactly() -> None:
    xs = list(np.random.default_rng(0).normal(size=(2, 3)))
    for _ in range(40):
        xs.append(1.6 * xs[-1] - 0.9 * xs[-2] + 0.1)
    series = np.array(xs)
    np.testing.assert_allclose(least_squares(series[:30], 2), [-0.9, 1.6, 0.1], atol=1e-9)
    for method in (linear_forecasts, direct_forecasts):
        np.testing.assert_allclose(method(series[:30], series[28:30], 10), series[30:40], atol=1e-8)


def test_one_step_ahead_both_linear_methods_are_the_same_and_no_line_fits_better() -> None:
    rng = np.random.default_rng(0)
    series = draw_series(rng, 6, 60)
    read, truth = np.split(series[:20], [10])
    fed_back, direct = linear_forecasts(series, read, 3), direct_forecasts(series, read, 3)
    np.testing.assert_allclose(fed_back[0], direct[0])
    assert np.abs(fed_back[2] - direct[2]).max() > 1e-4
    assert fed_back.shape == truth[:3].shape
    pieces, a = windows(series, 11), least_squares(series, 10)

    def error(a: np.ndarray) -> float:
        return float(((pieces[:, :10] @ a[:10] + a[10] - pieces[:, 10]) ** 2).mean())

    assert all(error(a) < error(a + 1e-3 * rng.normal(size=11)) for _ in range(20))


def test_the_error_of_the_mean_is_one_and_of_the_truth_nothing() -> None:
    truth = np.random.default_rng(0).normal(2, 3, (4, 100))
    np.testing.assert_allclose(normalised_errors(np.repeat(truth.mean(axis=1, keepdims=True), 100, axis=1), truth), 1)
    np.testing.assert_array_equal(normalised_errors(truth, truth), 0)
    np.testing.assert_allclose(normalised_errors(np.array([[1.0, 4.0]]), np.array([[1.0, 2.0]])), np.sqrt(2) / 0.5)


def test_the_table_has_the_step_of_each_horizon() -> None:
    lines = by_horizon({"a": np.arange(20) + 1.0, "b": np.zeros(20)})
    assert lines[0].split() == ["units", "of", "time", "ahead", "6", "12", "24", "48", "84", "120"]
    assert lines[1].split() == ["a", "1.0000", "2.0000", "4.0000", "8.0000", "14.0000", "20.0000"]


# ---- the network ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_alone_it_says_what_it_would_say_having_read_its_own_forecasts(cell: str) -> None:
    rng = np.random.default_rng(0)
    model, xs = Forecaster(cell, 5, rng=rng, dtype=np.float64), rng.normal(size=(4, 3, 1))
    told, alone = (part.numpy() for part in model(xs, 6))
    assert told.shape == (4, 3, 1)
    assert alone.shape == (6, 3, 1)
    for k in range(6):
        again = model(np.concatenate([xs, alone[:k]]), 1)
        np.testing.assert_allclose(again.alone.numpy()[0], alone[k], rtol=1e-12)
        np.testing.assert_allclose(again.told.numpy()[:4], told, rtol=1e-12)
    np.testing.assert_array_equal(model(xs, 1).alone.numpy(), alone[:1])


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_through_what_it_fed_itself_are_those_of_the_complex_step(cell: str) -> None:
    rng = np.random.default_rng(0)
    model, truth = Forecaster(cell, 3, rng=rng, dtype=np.float64), rng.normal(size=(4, 2, 1))

    def f(xs: Tensor) -> Tensor:
        told, alone = model(xs, 4)
        return squared_error(alone, truth) + told.sum()

    report = check_gradients(f, rng.normal(size=(3, 2, 1)), parameters=model, float32=False)
    assert "complex" in str(report)


def test_no_step_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="ahead=0, expected at least one step"):
        Forecaster("gru", 2, rng=np.random.default_rng(0))(np.zeros((3, 1, 1), np.float32), 0)


# ---- the task ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", ["1", "5"])
def test_it_learns_in_seconds_what_persistence_does_not_know(ahead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forecast, "unseen", 40)
    options = ["--hidden", "16", "--batch", "32", "--steps", "120", "--lr", "1e-2", "--context", "10", "--ahead", ahead]
    task = Forecast(Forecast.parser().parse_args(options), 0)
    before = normalised_errors(task.forecasts(), task.truth)
    for _ in range(120):
        task.step()
    after = normalised_errors(task.forecasts(), task.truth)
    persistence = normalised_errors(task.simple["persistence"], task.truth)
    assert after[0] < 0.6 * min(before[0], persistence[0])
    assert np.mean(task.losses[-10:]) < 0.5 * np.mean(task.losses[:3])


@pytest.mark.usefixtures("few")
def test_the_score_is_the_error_84_units_ahead_as_are_the_baselines() -> None:
    task = Forecast(Forecast.parser().parse_args(SMALL), 0)
    assert task.judged * EVERY == 84
    assert task.score() == normalised_errors(task.forecasts(), task.truth)[13]
    assert task.baselines()["persistence"] == normalised_errors(np.repeat(task.read[-1:], 20, axis=0), task.truth)[13]
    assert set(task.baselines()) == {"persistence", "linear, fed back", "linear, direct"}


@pytest.mark.usefixtures("few")
def test_a_run_leaves_its_files_and_one_stopped_and_resumed_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert Forecast.main(["--out", str(whole), *SMALL]) == 0
    printed = capsys.readouterr().out
    for words in ("baselines  normalised error 84 units ahead: persistence", "units of time ahead", "network", "5 others"):
        assert words in printed
    files = {path.name for path in whole.iterdir()}
    assert files == {CHECKPOINT, "config.json", "curve.svg", "errors.txt", "errors.svg", "forecasts.svg"}
    Forecast.main(["--out", str(parts), "--minutes", "1e-9", *SMALL])
    assert load_checkpoint("forecast", parts).config["done"] == 1
    Forecast.main(["--resume", str(parts), "--quiet"])
    for path in whole.iterdir():
        assert path.read_bytes() == (parts / path.name).read_bytes(), path.name


@pytest.mark.parametrize("options", [["--context", "151"], ["--ahead", "171"], ["--context", "100", "--ahead", "101"]])
def test_more_than_the_series_hold_is_refused(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(Problem, match="the series to learn from have 200 values"):
        Forecast.main([*options, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [["--context", "0"], ["--ahead", "0"], ["--ahead", "x"]])
def test_options_out_of_range_are_refused_by_the_command_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Forecast.main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
