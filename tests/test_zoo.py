"""Every bug of the zoo is rejected, and no right function is."""

from __future__ import annotations

import pytest

from tests.zoo import ZOO, Bug, Specimen
from tinygrad_seq.check import GradientError

BUGS = [pytest.param(specimen, bug, id=bug.name) for specimen in ZOO for bug in specimen.bugs]
RIGHT = [pytest.param(specimen, id=specimen.name) for specimen in ZOO]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("specimen", "bug"), BUGS)
def test_wrong_gradients_are_rejected(specimen: Specimen, bug: Bug, seed: int) -> None:
    with pytest.raises(GradientError) as error:
        specimen.check(bug.wrong, seed)
    assert error.value.kind == bug.kind


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("specimen", RIGHT)
def test_right_gradients_are_accepted(specimen: Specimen, seed: int) -> None:
    specimen.check(specimen.right, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 20))
@pytest.mark.parametrize(("specimen", "bug"), BUGS)
def test_wrong_gradients_are_rejected_at_any_seed(specimen: Specimen, bug: Bug, seed: int) -> None:
    with pytest.raises(GradientError) as error:
        specimen.check(bug.wrong, seed)
    assert error.value.kind == bug.kind


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 20))
@pytest.mark.parametrize("specimen", RIGHT)
def test_right_gradients_are_accepted_at_any_seed(specimen: Specimen, seed: int) -> None:
    specimen.check(specimen.right, seed)


def test_the_zoo_is_large_and_its_names_are_distinct() -> None:
    names = [bug.name for specimen in ZOO for bug in specimen.bugs]
    assert len(names) == len(set(names))
    assert len(names) >= 60
