"""What a reader waits for besides training: the import, a drawing, a gradient check.  CPU seconds, the best of a few."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from models.lstm import LSTM
from models.recurrent import unroll
from tinygrad_seq import cross_entropy
from tinygrad_seq.check import check_gradients
from tinygrad_seq.draw import draw

TRIES = 5
PACKAGES = ("numpy", "tinygrad_seq", "autograd", "mygrad", "jax", "torch")


def _import_time(package: str) -> float:
    code = f"import time; began = time.process_time(); import {package}; print(time.process_time() - began)"
    return min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(TRIES))


def _best(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(TRIES):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def _loss(T: int, dtype: Any = np.float32) -> tuple[LSTM, Callable[..., Any], Any]:
    rng = np.random.default_rng(0)
    net, xs, targets = LSTM(5, 8, 5, rng=rng, dtype=dtype), rng.standard_normal((T, 2, 5)).astype(dtype), rng.integers(0, 5, (T, 2))
    return net, lambda xs: cross_entropy(unroll(net.cell, xs).outputs @ net.W_y + net.b_y, targets), xs


def measured() -> dict[str, float]:
    """Seconds by what was done."""
    found = {f"import {package}": _import_time(package) for package in PACKAGES if importlib.util.find_spec(package)}
    for T in (4, 32):
        net, loss, xs = _loss(T)
        y = loss(xs)
        found[f"draw an LSTM of {T} steps as DOT"] = _best(partial(draw, y, params=net))
    net, loss, xs = _loss(8, np.float64)
    found["check the gradients of an LSTM of 8 steps, all weights"] = _best(lambda: check_gradients(loss, xs, parameters=net))
    return found
