"""Every example runs on a recording of the embedded venue and finds what is in it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded_recording import PAIRS, ROOT
from tests.venue_tapes import KEYS

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != "__init__")


@pytest.fixture
def tapes(workspace_template: Path) -> Path:
    """A folder with recordings."""
    return workspace_template / "tapes"


def run_example(name: str, *arguments: str) -> None:
    """Run it in this process, where what it imports is loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, f"examples.{name}", raising=False)  # another test may have imported it
        patch.setattr(sys, "argv", [name, *arguments])
        runpy.run_module(f"examples.{name}", run_name="__main__")


def arguments_for(name: str, *recordings: Path) -> list[str]:
    return [*map(str, recordings), *(["2"] if name == "aggressor_imbalance" else [])]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_something_of_every_pair(name: str, tapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends well, and each pair is in what it prints."""
    more = [tapes / "tuesday"] if name == "several_recordings" else []
    run_example(name, *arguments_for(name, tapes / "monday", *more))
    out, errors = capsys.readouterr()
    assert errors == ""
    assert [pair for pair in PAIRS if pair not in out] == []


def test_an_example_is_a_program(tapes: Path) -> None:
    """Started as its docstring says."""
    command = [sys.executable, "-m", f"examples.{EXAMPLES[0]}", *arguments_for(EXAMPLES[0], tapes / "monday")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [pair for pair in PAIRS if pair not in done.stdout] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_tells_the_venues_of_a_pair_apart(
    name: str, tapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says of BTC-USD it says of each of its venues alone."""
    more = [tapes / "monday"] if name == "several_recordings" else []
    run_example(name, *arguments_for(name, tapes / "both", *more))
    lines = [line for line in capsys.readouterr().out.splitlines() if "BTC-USD " in line]
    found = [[venue for venue, _ in KEYS if venue in line] for line in lines]
    assert {venues[0] for venues in found} == {venue for venue, pair in KEYS if pair == "BTC-USD"}
    assert all(len(set(venues)) == 1 for venues in found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_how_it_is_run(name: str) -> None:
    """Its docstring has the command."""
    assert f"Example:  python -m examples.{name} " in (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("arguments", [[], ["a", "b", "c", "d"]], ids=len)
def test_an_example_that_is_started_wrongly_says_how(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what it takes, and no traceback."""
    if name == "several_recordings" and arguments:
        return  # it takes any number
    with pytest.raises(SystemExit, match=rf"^usage: python -m examples\.{name} RECORDING"):
        run_example(name, *arguments)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_what_is_no_recording_says_so(name: str) -> None:
    """One line, as the command has it."""
    with pytest.raises(SystemExit, match=r"^Error: no-such-folder is not a recording: no such folder"):
        run_example(name, "no-such-folder")
