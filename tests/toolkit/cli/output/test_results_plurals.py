"""Plurals."""

from __future__ import annotations

import ast
import re

import pytest

from tests.test_layers import sources
from toolkit.cli.output.results import counted

NOUNS = [
    "bytes",
    "clients",
    "frames",
    "gaps",
    "lines",
    "messages",
    "orders",
    "pairs",
    "rows",
    "segments",
    "streams",
    "trades",
    "files",
    "events",
    "journals",
]


@pytest.mark.parametrize(
    ("count", "name", "text"),
    [(0, "frame", "0 frames"), (1, "frame", "1 frame"), (2, "frame", "2 frames"), (12345, "gap", "12,345 gaps")],
)
def test_one_of_something_is_no_plural(count: int, name: str, text: str) -> None:
    assert counted(count, name) == text
    assert counted(count, "entry", "entries").endswith("entry" if count == 1 else "entries")


def test_commands_count_with_it() -> None:
    """What a command prints says "1 frame", so no text of one puts a noun in the plural after a number by itself."""
    found = []
    for source in sources():
        if not source.name.startswith("toolkit.cli"):
            continue
        for node in ast.walk(ast.parse(source.text)):
            if isinstance(node, ast.JoinedStr):
                for number, text in zip(node.values, node.values[1:], strict=False):
                    is_count = isinstance(number, ast.FormattedValue) and ast.unparse(number).endswith(":,}'")
                    after = text.value if isinstance(text, ast.Constant) else ""
                    word = re.match(r" (\w+)", str(after))
                    if is_count and word and word[1] in NOUNS:
                        found.append(f"{source.name}:{node.lineno} {word[1]}")
    assert found == []
