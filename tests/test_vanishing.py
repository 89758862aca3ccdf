"""The gradient through time: against the product of Jacobians by hand, Pascanu's bound, and the two matrices that eigenvalues misjudge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recurrent import State, unroll
from models.rnn import RNNCell
from models.task import Problem
from models.vanishing import bound, counter_examples, gradient_norms, main, non_normal, saturated, scaled
from tinygrad_seq import Tensor

seeds = st.integers(0, 2**32 - 1)


def cell_and_inputs(seed: int, T: int = 9, H: int = 5) -> tuple[RNNCell, np.ndarray]:
    rng = np.random.default_rng(seed)
    return RNNCell(3, H, rng=rng, dtype=np.float64), rng.standard_normal((T, 1, 3))


@given(seeds)
def test_norms_are_those_of_the_product_of_jacobians_by_hand(seed: int) -> None:
    cell, xs = cell_and_inputs(seed)
    W_h, states = cell.W_h.numpy(), [state.h.numpy() for state in unroll(cell, xs).states]
    g = np.random.default_rng(0).standard_normal((1, 5))
    g, expected = g / np.linalg.norm(g), []
    for h in reversed(states):
        expected.append(np.linalg.norm(g))
        g = (g * (1 - h**2)) @ W_h.T
    np.testing.assert_allclose(gradient_norms(cell, xs)["h"], expected[::-1], rtol=1e-10)


@given(seeds, st.floats(0.1, 3))
def test_the_bound_by_the_largest_singular_value_holds(seed: int, size: float) -> None:
    cell, xs = cell_and_inputs(seed)
    scaled(cell, size, spectral=False)
    assert np.linalg.norm(cell.W_h.numpy(), 2) == pytest.approx(size)
    norms = gradient_norms(cell, xs)["h"]
    assert (norms <= bound(cell, len(xs)) * norms[-1] * (1 + 1e-12)).all()


@given(seeds, st.floats(0.1, 3))
def test_scaling_sets_the_spectral_radius(seed: int, radius: float) -> None:
    cell = scaled(cell_and_inputs(seed)[0], radius)
    assert np.abs(np.linalg.eigvals(cell.W_h.numpy())).max() == pytest.approx(radius)


def test_with_all_eigenvalues_below_1_the_gradient_can_grow_before_it_vanishes() -> None:
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(non_normal().W_h.numpy())), 0.9, atol=1e-3)
    norms = gradient_norms(non_normal(), np.zeros((400, 1, 1)), State(Tensor(np.zeros((1, 4)))), seed=1)["h"]
    assert norms.max() > 100 * norms[-1]
    assert norms[0] < 1e-6 * norms[-1]


def test_with_all_eigenvalues_above_1_the_gradient_can_vanish() -> None:
    np.testing.assert_allclose(np.linalg.eigvals(saturated().W_h.numpy()), 1.5)
    norms = list(counter_examples(50).values())[1]
    assert norms[0] < 1e-20 * norms[-1]


def test_the_command_says_draws_and_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--hidden", "6", "--steps", "25", "--seeds", "2"]
    assert main([*options, "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    for words in ("10 back", "20 back", "LSTM dL/dc", "not normal"):
        assert words in printed
    main([*options, "--out", str(tmp_path / "b")])
    for name in ("gradients.svg", "norms.txt", "norms.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    numbers = json.loads((tmp_path / "a" / "norms.json").read_text())
    assert np.shape(numbers["LSTM"]["c"]) == (2, 25)
    with pytest.raises(Problem, match="at least 12"):
        main(["--steps", "5"])
