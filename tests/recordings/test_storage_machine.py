"""A cut of the machine that tries random sequences of everything that writes; 10,000 of them are part of `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos import storage_machine

SEED = 20_261_128


def test_some_sequences_of_interrupted_commands_keep_every_frame() -> None:
    """Recording, rewriting and healing, killed and refused anywhere."""
    storage_machine.run(12, seed=SEED)


@pytest.mark.slow
def test_many_sequences_of_interrupted_commands_keep_every_frame() -> None:
    """The same, for longer."""
    storage_machine.run(300, seed=SEED + 1)
