"""dYdX v4's protocol against a model of its Indexer, through losses, repetitions, delays and restarts."""

from __future__ import annotations

import pytest

from tests.models.dydx import DydxModel
from tests.models.dydx_bugs import BUGS
from tests.models.machine import Bug, hunt, run_many


def test_a_few_sequences_agree_with_the_model() -> None:
    run_many(DydxModel, "few", 4, 40)


@pytest.mark.slow
def test_sequences_agree_with_the_model_of_dydx() -> None:
    run_many(DydxModel, "cut", 120, 60)


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS[:4], ids=[bug.name for bug in BUGS[:4]])
def test_a_fault_of_dydx_that_is_put_back_is_found(bug: Bug) -> None:
    assert hunt(DydxModel, bug, "hunt", 60) is not None
