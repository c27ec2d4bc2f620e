"""JSON and errors that a command prints: nothing in them that a terminal obeys, and JSON exact all the same."""

from __future__ import annotations

import json
from typing import Any

import click

from toolkit.borders import one_line, printable, shown_json

__all__ = ["printable", "say_error", "say_json", "say_json_line", "say_lines"]


def say_error(text: str) -> None:
    """Write one line on stderr, whatever it quotes, and whatever the width of the terminal."""
    click.echo(one_line(f"Error: {text}"), err=True)


def say_lines(text: str) -> None:
    """Write lines of a file on stdout, whatever the width of the terminal."""
    for line in text.splitlines():
        click.echo(printable(line))


def say_json(value: Any, *, err: bool = False) -> None:
    """Write one JSON value, indented."""
    click.echo(shown_json(json.dumps(value, indent=2, ensure_ascii=False)), err=err)


def say_json_line(encoded: bytes) -> None:
    """Write one JSON value that is encoded already, as a line."""
    if not encoded.isascii() or b"\x7f" in encoded:
        encoded = shown_json(encoded.decode()).encode()
    click.echo(encoded)
