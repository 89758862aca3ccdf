"""Hypothesis profiles: the everyday one, and the thorough one, `HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_ops.py`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

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
