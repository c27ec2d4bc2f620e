"""Protocols against models of their venues, over roads that lose, double, reorder and delay: see `tests/models`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.chaos.bench import ROOT, check
from tests.models.registry import MODELS

__all__ = ["SEQUENCES_EACH", "VENUES", "run_sequences"]

VENUES = tuple(MODELS)
#: Sequences of one venue that one process tries.
SEQUENCES_EACH = 1_000


def run_sequences(venue: str, count: int, work: Path, seed: object) -> int:
    """A share of a venue's sequences, in a process of their own; how many there were."""
    command = [sys.executable, "-m", "tests.models", venue, "--count", str(count), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    check(done.returncode == 0, done.stdout + done.stderr)
    return count
