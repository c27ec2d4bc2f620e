"""Folders whose names mean something to a shell, a glob, SQL, a format or a terminal are folders like any other."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tapes import mixed_tape
from tests.toolkit.cli.terminal import run

NAMES = [
    "run[1]",
    "run*",
    "run?",
    "[!a]",
    "date=2026-01-01",
    "it's",
    'a "b"',
    "100%",
    "{x}",
    "$HOME",
    "~",
    "a;b",
    "ü 漢",
]

COMMANDS = [
    ("info", "{}", "--json"),
    ("gaps", "{}", "--json"),
    ("verify", "{}"),
    ("replay", "{}"),
    ("replay", "{}", "--fidelity", "raw"),
    (
        "sql",
        "{}",
        "SELECT venue, symbol, count(*), min(price), (SELECT count(*) FROM gaps) FROM trades GROUP BY ALL ORDER BY ALL",
        "--json",
    ),
    ("analyze", "spreads", "{}", "--json"),
    ("compact", "{}"),
]


#: Those that hand names to SQL, to Polars and to a library that reads files: what else reads goes by paths alone.
NEAR_NAMES = [words for words in COMMANDS if words[0] in ("sql", "analyze", "info")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_tape(tmp_path_factory.mktemp("plain") / "tape", frames=60, segment_frames=40).path


@pytest.fixture(scope="module")
def expected(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    return answers(Path(shutil.copytree(plain, tmp_path_factory.mktemp("copy") / "tape")), COMMANDS)


def answers(folder: Path, commands: Sequence[tuple[str, ...]]) -> list[tuple[int, str]]:
    found = []
    for words in commands:
        done = run(*(word.replace("{}", str(folder)) if word == "{}" else word for word in words))
        text = done.stdout
        for place in (str(folder), folder.name):
            text = text.replace(place, "tape").replace(json.dumps(place)[1:-1], "tape")
        found.append((done.exit_code, re.sub(r" in [\d.]+ s, [\d,]+/s", "", text)))
    return found


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (NAMES[0], COMMANDS),
        *((name, NEAR_NAMES) for name in NAMES[1:]),
        *(pytest.param(name, COMMANDS, marks=pytest.mark.slow) for name in NAMES[1:]),
    ],
)
def test_a_folder_of_any_name_answers_as_one_called_tape(
    tmp_path: Path,
    plain: Path,
    expected: list[tuple[int, str]],
    name: str,
    commands: Sequence[tuple[str, ...]],
) -> None:
    """Beside it stand those that the name would mean, were it a pattern."""
    for other in ("run1", "runs", "b", "2026-01-01", "x", name):
        shutil.copytree(plain, tmp_path / other, dirs_exist_ok=True)
    for other in ("run1", "runs", "b", "2026-01-01", "x"):
        if other != name:
            for path in (tmp_path / other).glob("*/*.parquet"):
                path.write_bytes(b"not this one")
    wanted = [answer for words, answer in zip(COMMANDS, expected, strict=True) if words in commands]
    assert answers(tmp_path / name, commands) == wanted
