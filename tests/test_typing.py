"""What users write passes `mypy --strict`, from a file of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded_recording import ROOT

USER = ROOT / "tests" / "typed_user.py"


@pytest.mark.slow
def test_a_users_program_passes_strictly(tmp_path: Path) -> None:
    """Every form that documents name has a type; so has none that is marked as wrong, since a mark too many is an error."""
    program = tmp_path / "program.py"
    program.write_text(USER.read_text(encoding="utf-8"), encoding="utf-8")
    # Slow only where nothing is remembered of the packages: the project's own settings share the cache of `make types`.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "type: ignore" in program.read_text(encoding="utf-8")
