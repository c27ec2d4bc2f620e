"""A cut of the fuzz of imports: the same frames on every machine, both ways, in a process with a limit of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import run


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "checked"), [("a cut", False), ("a checked cut", True)])
def test_both_ways_of_importing_agree_over_mutated_frames_and_files(tmp_path: Path, seed: str, checked: bool) -> None:
    """`make fuzz` looks further; once by kernels that check every access to memory."""
    assert run(seed, 60_000, tmp_path, checked=checked, quiet=True) == ""
