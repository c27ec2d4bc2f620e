"""Protocols against models of their venues, over roads that lose, double, reorder and delay: see `tests/models`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.models.registry import MODELS

__all__ = ["SEQUENCES", "SEQUENCES_EACH", "VENUES", "run_sequences"]

VENUES = tuple(MODELS)
#: Sequences of one venue, in jobs of `SEQUENCES_EACH`.
SEQUENCES = 10_000
SEQUENCES_EACH = 2_500


def run_sequences(venue: str, work: Path, seed: object) -> str:
    """A share of a venue's sequences, in a process of their own."""
    command = [sys.executable, "-m", "tests.models", venue, "--count", str(SEQUENCES_EACH), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
