"""Every example runs on a recording of the embedded venue and finds what is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded_recording import PAIRS, ROOT

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != "__init__")


@pytest.fixture
def tapes(workspace_template: Path) -> Path:
    """A folder with two recordings."""
    return workspace_template / "tapes"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_something_of_every_pair(name: str, tapes: Path) -> None:
    """It ends well, and each pair is in what it prints."""
    arguments = [str(tapes / "monday")]
    if name == "several_recordings":
        arguments.append(str(tapes / "tuesday"))
    if name == "aggressor_imbalance":
        arguments.append("2")
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [pair for pair in PAIRS if pair not in done.stdout] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_how_it_is_run(name: str) -> None:
    """Its docstring has the command."""
    assert f"Example:  python -m examples.{name} " in (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
