"""A cut of the machine that tries random sequences of everything that writes; 10,000 of them are part of `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos import storage_machine
from tests.chaos.storage_bugs import BUGS
from tests.models.machine import Bug

SEED = 20_261_128


def test_some_sequences_of_interrupted_commands_keep_every_frame() -> None:
    """Recording, rewriting and healing, killed and refused anywhere."""
    storage_machine.run(8, seed=SEED)


@pytest.mark.slow
def test_many_sequences_of_interrupted_commands_keep_every_frame() -> None:
    """The same, for longer."""
    storage_machine.run(80, seed=SEED + 1)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_every_fault_that_storage_once_had_can_be_put_back(bug: Bug) -> None:
    """Its code may have moved since; the machine is to be tried against all of them."""
    with bug.put_back():
        pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A6: a batch", "A8", "A9", "A5"])
def test_the_machine_finds_faults_that_are_put_back(name: str) -> None:
    """A cut of `make chaos`, which puts back every one of them."""
    (bug,) = (bug for bug in BUGS if bug.name.startswith(name))
    with bug.put_back():
        number, why = storage_machine.hunt(60, SEED)
    assert number, why
