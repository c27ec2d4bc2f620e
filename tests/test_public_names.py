"""The public names: each is there, documented, and loaded when it is used."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tickdeck as td
from tests.embedded_recording import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
STUB = (ROOT / "tickdeck" / "__init__.pyi").read_text(encoding="utf-8")
#: What everybody begins with.
FIRST = {"open", "Recording", "replay", "connect", "scan", "ReplayDataSource", "OrderBookTracker", "Trade", "Clock"}


def test_the_list_is_that_of_the_page() -> None:
    """Every public name has a line in docs/python.md, and no other name has."""
    listed = re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(td.__all__)
    assert len(set(listed)) == len(listed)
    assert set(td.__all__) >= FIRST


@pytest.mark.parametrize("name", td.__all__)
def test_a_name_is_there_and_documented(name: str) -> None:
    """And where it comes from, it is a public name too."""
    value = getattr(td, name)
    assert inspect.getdoc(value)
    assert value.__doc__, "its own, not an ancestor's"
    (module,) = re.findall(rf"^from ([\w.]+) import {name} as {name}$", STUB, re.MULTILINE)
    assert name in importlib.import_module(module).__all__


def test_every_error_is_among_them() -> None:
    """So that whatever is raised on purpose can be caught by a name of `tickdeck`."""
    errors = importlib.import_module("toolkit.errors")
    assert set(errors.__all__) <= set(td.__all__)


def test_every_message_is_among_them() -> None:
    for module in ("toolkit.messages", "toolkit.account_messages"):
        found = importlib.import_module(module)
        classes = {name for name in found.__all__ if inspect.isclass(getattr(found, name))}
        assert classes <= set(td.__all__)


def test_the_stub_is_sorted_with_a_line_for_each_name() -> None:
    """A new one is a line, put where it belongs."""
    lines = [line for line in STUB.splitlines() if line.startswith("from ")]
    assert all(re.fullmatch(r"from [\w.]+ import (\w+) as \1", line) for line in lines)
    assert [line.split()[1] for line in lines] == sorted(line.split()[1] for line in lines)
    assert len(lines) == len(td.__all__) == len(set(td.__all__))


def test_completion_shows_the_public_names_only() -> None:
    assert dir(td) == sorted([*td.__all__, "__version__"])


def test_the_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", td.__version__)


@pytest.mark.parametrize(("name", "meant"), [("Recordin", "Recording"), ("replai", "replay"), ("Tradde", "Trade")])
def test_a_mistyped_name_is_an_error_with_the_closest(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'tickdeck' has no attribute '{name}'; did you mean {meant}\\?$"):
        getattr(td, name)


def test_the_import_loads_nothing(tmp_path: Path) -> None:
    """Neither a room of ours nor a library: what takes time is loaded when it is used."""
    program = (
        "import sys; before = set(sys.modules); import tickdeck\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - {'tickdeck', 'warnings'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['__future__', 'importlib']\n", "")
