"""The tables of rules in the documentation: every rule is there, and every test that a row names."""

from __future__ import annotations

import re
from pathlib import Path

from replay.market.rules import PRESETS

_TESTS = Path(__file__).resolve().parents[2]
_DOCS = _TESTS.parent / "docs" / "backtesting.md"


def test_every_row_of_the_tables_names_a_test_that_there_is() -> None:
    rows = [line for line in _DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    named = [name for row in rows for name in re.findall(r"`(test_\w+)`", row)]
    there = {
        name for path in _TESTS.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert len(named) >= 36
    assert [name for name in named if name not in there] == []


def test_every_rule_has_a_row_with_a_test() -> None:
    text = _DOCS.read_text(encoding="utf-8")
    for name in PRESETS["default"].__struct_fields__:
        if name != "queue_power":
            assert re.search(rf"^\| `{name}` \|.*\| `test_\w+` \|$", text, re.M), name
