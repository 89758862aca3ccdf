"""Hypothesis profiles: the everyday one, and the thorough one, `HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_ops.py`.

And a fixture: processors with and without kernels for small products.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tinygrad_seq import blas

phases = [phase for phase in Phase if phase is not Phase.explain]  # which takes a minute to say little of numbers
slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "everyday",
    max_examples=25,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    phases=phases,
    suppress_health_check=slow_is_fine,
    print_blob=True,
)
settings.register_profile("brief", parent=settings.get_profile("everyday"), max_examples=4, database=None)
settings.register_profile(
    "thorough", max_examples=10_000, deadline=None, phases=phases, suppress_health_check=slow_is_fine, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))


@pytest.fixture(params=[True, False], ids=["small kernels", "none"])
def small_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether the processor is taken to have them; products run in blocks, or whole."""
    monkeypatch.setattr(blas, "SMALL_KERNELS", request.param)
    blas.blocks.cache_clear()
    yield request.param
    blas.blocks.cache_clear()
