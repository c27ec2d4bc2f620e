"""What comes from outside is shown for what it is."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolkit.cli.terminal import run
from toolkit.borders import printable
from toolkit.cli.output.status_line import StatusLine


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bid 1 ask 2", "bid 1 ask 2"),
        ("币安人生-USDT", "币安人生-USDT"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("one\n2026-01-01T00:00:00.000Z forged", "one\\n2026-01-01T00:00:00.000Z forged"),
        ("a\rb\tc\x00", "a\\rb\\tc\\x00"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\u05d0\u05d1 100", "\\u05d0\\u05d1 100"),
        ("\u0627 1 2", "\\u0627 1 2"),
        ("\U00010840", "\\U00010840"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_visible_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_a_line_stays_a_line(text: str) -> None:
    """Whatever it is, also on its way through an encoding."""
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.encode().splitlines()) <= 1


def test_a_line_of_the_log_is_one_line() -> None:
    """A venue's error text with a line break does not begin another one."""
    stream = io.StringIO()
    StatusLine(stream).log("hyperliquid venue error \x1b[2J\n2026-01-01T00:00:00.000Z all is well")
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line


def test_an_error_is_one_line() -> None:
    """It may quote what a venue, a file or the user said."""
    done = run("verify", "no\x1b[31m\nsuch")
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
