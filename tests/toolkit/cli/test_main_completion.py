"""The public package, `python -m tickdeck`, and what a shell completes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.embedded_recording import BIN, ROOT
from toolkit.cli.main import COMMANDS

ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "tickdeck", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: tickdeck ")


def test_importing_the_package_loads_nothing_until_a_name_is_used() -> None:
    program = (
        "import sys, tickdeck\n"
        "print([name for name in ('polars', 'duckdb', 'pyarrow', 'toolkit') if name in sys.modules])\n"
        "for name in tickdeck.__all__: assert getattr(tickdeck, name).__name__ == name\n"
        "assert set(tickdeck.__all__) <= set(dir(tickdeck)) and tickdeck.__version__\n"
        "from tickdeck import *\n"
        "try: tickdeck.nonsense\n"
        "except AttributeError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "module 'tickdeck' has no attribute 'nonsense'; dir(tickdeck) lists what it has",
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tickdeck", "re"], ["record", "replay", "report", "recover", "renormalize"]),
        (["tickdeck", "record", "--fsync", ""], ["always", "interval", "off"]),
        pytest.param(["tickdeck", "analyze", "s"], ["spreads"], marks=pytest.mark.slow),
        pytest.param(["tickdeck", "gaps", "--pa"], ["--pair"], marks=pytest.mark.slow),
        pytest.param(["tickdeck", ""], list(COMMANDS), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_bash_completes_commands_options_and_values(words: list[str], expected: list[str]) -> None:
    """As the line of the README sets it up."""
    script = (
        'eval "$(_TICKDECK_COMPLETE=bash_source tickdeck)"\n'
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        "_tickdeck_completion tickdeck\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stderr == ""
    assert done.stdout.split() == expected
