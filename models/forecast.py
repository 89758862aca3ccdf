"""Forecasting a chaotic series, one step and many steps ahead (time series: Chaudhury 2024, ch. 10).

    python -m models.forecast             train, and forecast series that were never trained on; about a minute and a half
    python -m models.forecast --ahead 1   learn the next value only, and see what feeding it back makes of small errors

Mackey and Glass (1977) describe the white blood cells of a patient, which are made at a rate that answers to their number some time ago:

    dx/dt = β x(t - τ) / (1 + x(t - τ)^n) - γ x(t),   β = 0.2, γ = 0.1, n = 10, τ = 17.

The solution never repeats itself, and two that begin close together drift apart: the further ahead, the harder to say.  It is integrated
in steps of 0.5 from a random past, the first 1,000 units of time are thrown away, and every 6 units, as is common, a sample is taken, less
the mean of the training series and divided by their standard deviation.

The network reads 30 values, then it goes on by itself: each value that it forecasts is the next that it reads.  It is trained on such
forecasts too, by backpropagation through what it fed itself, so that it learns to live with its own errors.
"""

from __future__ import annotations

import argparse
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator

from models.experiment import CELLS, Experiment
from models.recurrent import generate, unroll
from models.task import COLOURS, Problem, picture, positive, run, write_text
from tinygrad_seq import Tensor, no_grad, stack
from tinygrad_seq.nn import Linear, Module
from tinygrad_seq.record import Array, Value

# ---- the series ----------------------------------------------------------------------------------------------------------------------

BETA, GAMMA, POWER, TAU = 0.2, 0.1, 10, 17.0
DT = 0.5  # of the integrator: its error after 100 units of time is below 1e-6
EVERY = 6  # units of time from sample to sample
WASHOUT = 1000  # units of time that are thrown away, in which a solution forgets how it began


def production(y: Array) -> Array:
    """β y / (1 + y^n): what is made when there were y."""
    return np.asarray(BETA * y / (1 + y**POWER))


def mackey_glass(history: Array, steps: int, *, tau: float = TAU, dt: float = DT) -> Array:
    """x(t) at t = 0, dt, ... , steps dt, where x(t) = history (N,) for all t <= 0; -> (steps + 1, N).

    With g = production, which only knows the past, x(t + dt) = e^(-γ dt) x(t) + ∫₀^dt e^(-γ (dt - s)) g(x(t + s - τ)) ds exactly.  The
    integral is taken by Simpson's rule, and x between two steps, for its middle, by Hermite's cubic: both are of order dt⁴.
    Raises ValueError unless dt > 0 divides tau > 0.
    """
    lag = round(tau / dt) if dt > 0 else 0
    if lag < 1 or not np.isclose(lag * dt, tau):
        raise ValueError(f"mackey_glass: tau={tau}, dt={dt}, expected tau to be a multiple of dt, and both above 0.")
    x = np.empty((lag + steps + 1, *np.shape(history)))
    x[: lag + 1] = history
    middle = x[:-1].copy()  # x half a step later
    half = np.exp(-GAMMA * dt / 2)
    for i in range(lag, lag + steps):
        g_0, g_1, g_2 = production(x[i - lag]), production(middle[i - lag]), production(x[i - lag + 1])
        x[i + 1] = half**2 * x[i] + dt / 6 * (half**2 * g_0 + 4 * half * g_1 + g_2)
        slope, next_slope = g_0 - GAMMA * x[i], g_2 - GAMMA * x[i + 1]
        middle[i] = (x[i] + x[i + 1]) / 2 + dt / 8 * (slope - next_slope)
    return x[lag:]


def draw_series(rng: Generator, count: int, length: int, *, every: float = EVERY) -> Array:
    """Series (length, count) on the attractor, each from a history of its own in [0.5, 1.5], sampled every so many units of time.

    Raises ValueError unless `every` is a multiple of DT above 0.
    """
    washout, stride = round(WASHOUT / DT), round(every / DT)
    if stride < 1 or stride * DT != every:
        raise ValueError(f"draw_series: every={every}, expected a multiple of {DT}, the integrator's step, above 0.")
    return mackey_glass(rng.uniform(0.5, 1.5, count), washout + (length - 1) * stride)[washout::stride]


# ---- what simpler methods make of it -------------------------------------------------------------------------------------------------


def windows(series: Array, length: int) -> Array:
    """All pieces of that length of series (T, N), (pieces, length)."""
    return np.lib.stride_tricks.sliding_window_view(series, length, axis=0).reshape(-1, length)


def least_squares(series: Array, width: int, ahead: int = 1) -> Array:
    """The coefficients (width + 1) of x_(t + ahead) = a · (x_(t - width + 1), ..., x_t, 1) that fit series (T, N) best."""
    pieces = windows(series, width + ahead).astype(np.float64)
    return np.linalg.lstsq(with_one(pieces[:, :width]), pieces[:, -1], rcond=None)[0]


def with_one(rows: Array) -> Array:
    """Rows (M, W), each followed by a 1."""
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def linear_forecasts(series: Array, read: Array, ahead: int) -> Array:
    """A linear autoregression, fitted to series (T, M), that reads (W, N) and then what it wrote; -> (ahead, N)."""
    coefficients, known = least_squares(series, len(read)), list(read.astype(np.float64))
    for _ in range(ahead):
        known.append(with_one(np.transpose(known[-len(read) :])) @ coefficients)
    return np.array(known[len(read) :])


def direct_forecasts(series: Array, read: Array, ahead: int) -> Array:
    """A linear fit for each number of steps ahead, none of which reads what another wrote; -> (ahead, N)."""
    rows = with_one(read.T.astype(np.float64))
    return np.array([rows @ least_squares(series, len(read), k) for k in range(1, ahead + 1)])


def normalised_errors(forecasts: Array, truth: Array) -> Array:
    """For each step (T, N) -> (T,): the root of the mean squared error, over the truth's standard deviation; the mean would score 1."""
    return np.asarray(np.sqrt(((forecasts - truth) ** 2).mean(axis=1)) / truth.std(axis=1))


# ---- the model -----------------------------------------------------------------------------------------------------------------------


class Forecasts(NamedTuple):
    """`told` (T, N, 1): after each value read, the one expected next; `alone` (K, N, 1): the K values after the last, each fed back."""

    told: Tensor
    alone: Tensor


class Forecaster(Module):
    """x̂_(t+1) = W h_t + b, where h_t = cell(x_t, h_(t-1)); after the last x_t that is known, x̂_t stands for it.

    xs (T, N, 1) -> told (T, N, 1), alone (ahead, N, 1).
    """

    def __init__(self, cell: str, hidden: int, *, rng: Generator, dtype: Any = np.float32) -> None:
        self.cell = CELLS[cell](1, hidden, rng=rng, dtype=dtype)
        self.output = Linear(hidden, 1, rng=rng, dtype=dtype)

    def forward(self, xs: Value, ahead: int) -> Forecasts:
        """Read xs, then go on `ahead` steps by itself; ValueError where `ahead` is below 1."""
        if ahead < 1:
            raise ValueError(f"Forecaster: ahead={ahead}, expected at least one step.")
        read = unroll(self.cell, xs)
        told = self.output(read.outputs)
        alone = [told[-1]]

        def feed(t: int, state: Any) -> tuple[Tensor, Any]:
            if t:
                alone.append(self.output(state.h))
            return alone[-1], state

        if ahead > 1:
            alone.append(self.output(generate(self.cell, feed, read.state, ahead - 1).last))
        return Forecasts(told, stack(alone))


# ---- the task ------------------------------------------------------------------------------------------------------------------------


class Forecast(Experiment):
    """Forecasts of series that were never trained on, each once; the error is that over all of them, step by step."""

    name = "forecast"
    measure = "normalised error 84 units ahead"
    time = "about a minute and a half of one core"
    defaults: ClassVar[dict[str, Any]] = {"cell": "gru", "hidden": 64, "batch": 64, "steps": 2000, "lr": 4e-3}
    full: ClassVar[dict[str, Any]] = {"steps": 10000}
    known, length = 64, 200  # series to learn from, and values in each
    unseen, horizon = 256, 50  # series to forecast, and how many steps
    judged = 84 // EVERY  # the step whose error is the score

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """How much is read, and how far training goes on alone."""
        more = parser.add_argument_group("the forecasts")
        more.add_argument("--context", type=positive(int), default=30, metavar="T", help="values read (default: %(default)s)")
        more.add_argument("--ahead", type=positive(int), default=20, metavar="K", help="steps alone in training (default: %(default)s)")

    def prepare(self) -> None:
        """The model, series to learn from, and others to forecast."""
        arguments = self.arguments
        if arguments.context + max(arguments.ahead, self.horizon) > self.length:
            raise Problem(f"--context {arguments.context} --ahead {arguments.ahead}: the series to learn from have {self.length} values, "
                          f"which must hold the values read and then --ahead, or the {self.horizon} of the test; give less.")  # fmt: skip
        self.model: Forecaster = Forecaster(arguments.cell, arguments.hidden, rng=self.rng)
        known = draw_series(np.random.default_rng([self.seed, 1]), self.known, self.length)
        self.mean, self.deviation = known.mean(), known.std()
        self.series = self.normalised(known)  # (length, known)
        fine = draw_series(np.random.default_rng([self.seed, 2]), self.unseen, (arguments.context + self.horizon - 1) * EVERY + 1, every=1)
        self.fine = fine  # between the samples too, for the picture
        self.read, self.truth = np.split(self.normalised(fine[::EVERY]), [arguments.context])

    def normalised(self, series: Array) -> Array:
        """Less the mean of the series to learn from, over their standard deviation."""
        return np.asarray((series - self.mean) / self.deviation, np.float32)

    def describe(self) -> list[str]:
        """How much there is to learn from, and how forecasts are judged."""
        context = self.arguments.context
        return [
            f"series     {self.known} of {self.length} values, {EVERY} units of time apart, to learn from, and {self.unseen} others",
            f"           of these {context} values are read and {self.horizon} forecast without another look; the mean would score 1",
        ]

    @cached_property
    def simple(self) -> dict[str, Array]:
        """What simpler methods forecast, (horizon, unseen), having read the same values."""
        return {
            "persistence": np.repeat(self.read[-1:], self.horizon, axis=0),
            "linear, fed back": linear_forecasts(self.series, self.read, self.horizon),
            "linear, direct": direct_forecasts(self.series, self.read, self.horizon),
        }

    def baselines(self) -> dict[str, float]:
        """The last value read; linear autoregression that is fed back; and a linear fit for this step alone."""
        return {name: float(normalised_errors(said, self.truth)[self.judged - 1]) for name, said in self.simple.items()}

    def loss(self) -> Tensor:
        """The mean squared error of the values after each that is read, but for the first half, and of the forecasts made alone."""
        context, ahead, batch = self.arguments.context, self.arguments.ahead, self.arguments.batch
        start = self.rng.integers(0, self.length - context - ahead + 1, batch)
        column = self.rng.integers(0, self.known, batch)
        xs = self.series[start + np.arange(context + ahead)[:, None], column][:, :, None]
        told, alone = self.model(xs[:context], ahead)
        begun = context // 2  # by then it can know where in the series it is
        return squared_error(told[begun:], xs[begun + 1 : context + 1]) + squared_error(alone, xs[context:])

    def forecasts(self) -> Array:
        """What the network forecasts, (horizon, unseen)."""
        with no_grad():
            return np.asarray(self.model(self.read[:, :, None], self.horizon).alone.numpy()[:, :, 0])

    def score(self) -> float:
        """The error 84 units of time ahead."""
        return float(normalised_errors(self.forecasts(), self.truth)[self.judged - 1])

    def report(self, folder: Path) -> list[str]:
        """The error of each method for each horizon; forecasts beside the truth."""
        network = self.forecasts()
        errors = {name: normalised_errors(said, self.truth) for name, said in (self.simple | {"network": network}).items()}
        text = "\n".join(by_horizon(errors))
        print(f"\n{text}")
        write_text(folder / "errors.txt", text + "\n")
        draw_errors(folder / "errors.svg", errors, self.arguments.ahead)
        self.draw_forecasts(folder / "forecasts.svg", {"linear, fed back": self.simple["linear, fed back"], "network": network})
        return [
            "errors.txt  the error of each method for each horizon",
            "errors.svg  that, as a picture",
            "forecasts.svg  forecasts and what came",
        ]

    def draw_forecasts(self, path: Path, forecasts: dict[str, Array], rows: int = 3) -> None:
        """The first unseen series, what was read of each, and the forecasts (horizon, unseen), in the units of the equation."""
        context, horizon = self.arguments.context, self.horizon
        with picture(path, 10, 2.1 * rows) as figure:
            panels = figure.subplots(rows, 1, sharex=True)
            for n, axes in enumerate(panels):
                axes.axvspan(-EVERY * (context - 1), 0, color="0.95", linewidth=0)
                axes.plot(np.arange(len(self.fine)) - EVERY * (context - 1), self.fine[:, n], color="0.55", linewidth=1.4, label="truth")
                for name, said in forecasts.items():
                    values = said[:, n] * self.deviation + self.mean
                    axes.plot(EVERY * np.arange(1, horizon + 1), values, **STYLES[name], markersize=3.2, linewidth=1, label=name)
                axes.set_ylabel("x(t)")
                axes.margins(x=0.01)
            panels[0].annotate("read", (-EVERY * (context - 1), 0), (4, 4), xycoords=("data", "axes fraction"),
                               textcoords="offset points", color="0.4", fontsize=9)  # fmt: skip
            panels[-1].set_xlabel("units of time from the last value read")
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, frameon=False, loc="outside upper right", ncols=3)


def squared_error(forecasts: Tensor, truth: Array) -> Tensor:
    """The mean of (forecast - truth)²."""
    difference = forecasts - truth
    return (difference * difference).mean()


def by_horizon(errors: dict[str, Array]) -> list[str]:
    """The errors of each method at some horizons, as a table."""
    last = len(next(iter(errors.values())))
    steps = [step for step in (1, 2, 4, 8, 14, 20, 30, 50) if step <= last]
    lines = [f"{'units of time ahead':20}{''.join(f'{step * EVERY:9}' for step in steps)}"]
    return lines + [f"{name:20}{''.join(f'{error[step - 1]:9.4f}' for step in steps)}" for name, error in errors.items()]


STYLES: dict[str, dict[str, Any]] = {
    "persistence": {"color": COLOURS[3], "linestyle": ":"},
    "linear, fed back": {"color": COLOURS[1], "linestyle": "--"},
    "linear, direct": {"color": COLOURS[5], "linestyle": "-."},
    "network": {"color": COLOURS[0], "marker": "o"},
}


def draw_errors(path: Path, errors: dict[str, Array], ahead: int) -> None:
    """The error of each method (T,) against how far ahead it looks; a line marks how far training went."""
    with picture(path, 7.5, 4.5) as figure:
        axes = figure.add_subplot()
        for name, error in errors.items():
            axes.plot(EVERY * np.arange(1, len(error) + 1), error, **STYLES[name], markersize=3.2, linewidth=1.5, label=name)
        axes.axhline(1, color="0.45", linestyle=(0, (5, 4)), linewidth=0.9)
        axes.annotate("the mean", (1, 1), (-4, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                      color="0.35", fontsize=9)  # fmt: skip
        axes.axvline(EVERY * ahead, color="0.75", linewidth=0.9)
        axes.annotate("← trained this far", (EVERY * ahead, 0), (4, 5), xycoords=("data", "axes fraction"),
                      textcoords="offset points", color="0.35", fontsize=9)  # fmt: skip
        axes.set_yscale("log", subs=[2, 5])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set(xlabel="units of time ahead", ylabel="normalised root mean squared error")
        axes.margins(x=0.01)
        axes.legend(frameon=False, loc="lower right")


if __name__ == "__main__":
    run(Forecast.main)
