"""The same things have the same names in every venue's two folders, as the page about adding one says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-venue.md").read_text(encoding="utf-8")
ROOMS = ("toolkit/venues", "replay/serving/venues")
VENUES = sorted(path.name for path in (ROOT / ROOMS[0]).iterdir() if (path / "__init__.py").is_file())


def named_files() -> list[dict[str, str]]:
    """Of each of the two rooms, the files that the page names, to who has them."""
    tables = [part for part in re.split(r"\n\n", PAGE) if part.startswith("| file | what is in it | who has it |")]
    found = []
    for table in tables:
        rows = [row.strip("|").split("|") for row in table.splitlines()[2:]]
        found.append({name: row[2].strip() for row in rows for name in re.findall(r"`([\w/]+\.py)`", row[0])})
    return found


@pytest.mark.parametrize("venue", VENUES)
def test_a_venue_has_the_files_that_every_venue_has(venue: str) -> None:
    tables = named_files()
    assert len(tables) == len(ROOMS)
    has_accounts = (ROOT / ROOMS[0] / venue / "accounts.py").is_file()
    for room, files in zip(ROOMS, tables, strict=True):
        assert len(files) > 9
        missing = [
            name
            for name, who in files.items()
            if (who == "every venue" or has_accounts) and not (ROOT / room / venue / name).is_file()
        ]
        assert missing == []


def test_both_folders_of_each_venue_are_there() -> None:
    assert (
        sorted(path.name for path in (ROOT / ROOMS[1]).iterdir() if path.is_dir() and path.name != "__pycache__")
        == VENUES
    )


def test_the_symbol_table_is_called_so_in_every_venue() -> None:
    tables = [ROOT / ROOMS[0] / venue / "symbols.py" for venue in VENUES]
    assert all("\nclass SymbolTable" in path.read_text(encoding="utf-8") for path in tables)
