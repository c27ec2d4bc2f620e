"""The line that renews itself: within the terminal, the most important first, and never over a log line."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recordings.recorder import Recorder
from recordings.writing.recorder_status import RecorderStatus
from toolkit.cli.output.status_line import StatusLine, _status, fitted
from toolkit.cli.output.table_layout import cell_width


class Terminal(io.StringIO):
    """What a terminal of a width shows of what it is sent."""

    def isatty(self) -> bool:
        return True

    def rows(self, width: int) -> list[str]:
        rows, at, column, text = [""], 0, 0, self.getvalue()
        while text:
            if text.startswith("\x1b["):
                number, letter = "", ""
                for position, character in enumerate(text[2:], 3):
                    if character.isalpha():
                        letter, text = character, text[position:]
                        break
                    number += character
                if letter == "A":
                    at -= int(number)
                elif letter in "KJ":
                    rows[at] = rows[at][:column]
                    if letter == "J":
                        del rows[at + 1 :]
                continue
            character, text = text[0], text[1:]
            if character == "\r":
                column = 0
            elif character == "\n" or column == width:
                at, column = at + 1, 0
                rows += [""] * (at + 1 - len(rows))
            if character not in "\r\n":
                rows[at] = rows[at][:column] + character + rows[at][column + 1 :]
                column += 1
        return rows


PARTS = [(0, "1,234 frames (5/s)"), (3, "5.0 MB"), (1, "hyperliquid waiting"), (2, ""), (4, "disk 99 GB free")]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (None, "1,234 frames (5/s)  5.0 MB  hyperliquid waiting  disk 99 GB free"),
        (64, "1,234 frames (5/s)  5.0 MB  hyperliquid waiting  disk 99 GB free"),
        (63, "1,234 frames (5/s)  5.0 MB  hyperliquid waiting"),
        (46, "1,234 frames (5/s)  hyperliquid waiting"),
        (38, "1,234 frames (5/s)"),
        (5, ""),
    ],
)
def test_the_most_important_parts_stay_in_their_order(width: int | None, line: str) -> None:
    assert fitted(PARTS, width) == line


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_log_lines_stay_whole_above_one_status_line(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    line = StatusLine(terminal)
    for number in range(5):
        line.present([(0, f"{number} frames"), (1, "x" * 30), (2, "y" * 90)])
        line.log(f"warning {number} " + "of something long " * 6)
    rows = terminal.rows(width)
    said = "".join(rows)
    assert all(f"warning {number} " + ("of something long " * 6).rstrip() in said for number in range(5))
    assert said.count("frames") == 1
    assert rows[-1].startswith("4 frames")
    assert len(rows[-1]) < width
    line.close()
    assert "frames" not in "".join(terminal.rows(width))


def test_a_terminal_that_is_made_narrower_keeps_no_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    line = StatusLine(terminal)
    monkeypatch.setenv("COLUMNS", "100")
    line.present([(0, "1 frames"), (1, "x" * 80)])
    monkeypatch.setenv("COLUMNS", "40")
    line.log("warned")
    line.present([(0, "2 frames"), (1, "x" * 80)])
    rows = terminal.rows(40)  # as the terminal has folded what was there
    assert [row[24:].strip() if "warned" in row else row for row in rows] == [" warned".strip(), "2 frames"]


def test_without_a_terminal_there_is_no_status_line() -> None:
    stream = io.StringIO()
    line = StatusLine(stream)
    line.present(PARTS)
    line.log("warned")
    line.close()
    assert stream.getvalue()[24:] == " warned\n"


def test_what_is_wrong_outlives_what_is_well() -> None:
    """At 60 columns: gaps and a venue that waits, not megabytes."""
    status = RecorderStatus()
    source = SimpleNamespace(venue="hyperliquid", state="waiting", connections=[SimpleNamespace(state="lost")])
    status.frame_count, status.gap_count, status.sources = 1_234_567, 3, cast("Any", [source])
    text = fitted(_status(cast("Recorder", SimpleNamespace(status=status)), 1234.5), 79)
    assert cell_width(text) <= 79
    for part in ("1,234,567 frames (1,234/s)", "hyperliquid waiting", "connections 0/1", "gaps 3"):
        assert part in text
