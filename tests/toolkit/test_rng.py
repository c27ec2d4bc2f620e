from __future__ import annotations

import os
import subprocess
import sys

import pytest

from toolkit.rng import counted, fresh_key, fresh_seed, seeded


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_a_sequence_depends_on_the_seed_alone(hash_seed: str) -> None:
    program = "from toolkit.rng import seeded; print([seeded('a').random(), seeded(7).randrange(10**9)])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([seeded("a").random(), seeded(7).randrange(10**9)])


def test_a_number_and_its_text_are_one_seed() -> None:
    assert seeded(7).random() == seeded("7").random() != seeded(8).random()


def test_counting_changes_nothing_that_is_drawn() -> None:
    plain, with_count = seeded(3), counted(3)
    drawn = [
        (each.random(), each.randrange(1000), each.choice("abc"), each.gauss(0, 1)) for each in (plain, with_count)
    ]
    assert drawn[0] == drawn[1]
    assert with_count.draws >= 4


def test_what_is_fresh_differs() -> None:
    assert fresh_seed() != fresh_seed()
    assert len({fresh_key(), fresh_key()}) == 2
    assert len(fresh_key()) == 32
