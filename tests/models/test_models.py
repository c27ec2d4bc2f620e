"""Every venue's protocol against its model, and that the model finds what was wrong once."""

from __future__ import annotations

import pytest

from tests.models.machine import Bug, hunt, run_many
from tests.models.registry import MODELS

_ALL_BUGS = [(venue, bug) for venue, entry in MODELS.items() for bug in entry.bugs]


@pytest.mark.parametrize("venue", MODELS)
def test_a_protocol_and_its_model_agree(venue: str) -> None:
    assert run_many(MODELS[venue].make, "test", 12) == 12 * 60


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("venue", MODELS)
def test_a_protocol_and_its_model_agree_for_long(venue: str, part: int) -> None:
    assert run_many(MODELS[venue].make, f"long {part}", 75) == 75 * 60


@pytest.mark.slow
@pytest.mark.parametrize(("venue", "bug"), _ALL_BUGS, ids=[f"{venue}: {bug.name}" for venue, bug in _ALL_BUGS])
def test_a_bug_that_is_put_back_is_found(venue: str, bug: Bug) -> None:
    """In the sequences of one seed or another: each has what it happens to bring about."""
    assert any(hunt(MODELS[venue].make, bug, seed, 600) is not None for seed in ("bugs", "hunt2"))
