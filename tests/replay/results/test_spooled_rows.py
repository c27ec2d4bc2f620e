"""Rows of a run come back as they were, whether they were held or not."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.results.run_record import DecisionRow, SeriesRow
from replay.results.spooled_rows import SpooledRows
from tests.replay.results.runs import at
from toolkit.errors import RecordingError
from toolkit.messages import BookTop, EventKind, StreamEvent

EVENT = StreamEvent("venue", "BTC", "BTC-USD", None, at(12), 9, 0, EventKind.GAP, "full", "cut", at(10), at(12), 0)
TOP = BookTop("venue", "BTC", "BTC-USD", at(1), at(1), 3, 1, 99.5, 1.0, None, None, False, False)


@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), held=st.integers(1, 7))
def test_all_rows_come_back_in_order_any_number_of_times(numbers: list[int], held: int) -> None:
    rows: SpooledRows[tuple[int, int, SeriesRow]] = SpooledRows(tuple[int, int, SeriesRow], block_rows=held)
    expected = [(number, 0, SeriesRow(number, "é", number / 3)) for number in numbers]
    for row in expected:
        rows.append(row)
        assert rows.last == row
    assert len(rows) == len(expected)
    assert list(rows) == expected == list(rows)
    assert all(one == other for one, other in zip(rows, rows, strict=True))
    assert (rows.last is None) == (not expected)


def test_rows_of_several_kinds_keep_their_own() -> None:
    rows: SpooledRows[StreamEvent | BookTop] = SpooledRows(BookTop, StreamEvent, block_rows=2)
    expected: list[StreamEvent | BookTop] = [EVENT, TOP, TOP, EVENT, EVENT]
    for row in expected:
        rows.append(row)
    assert list(rows) == expected
    with pytest.raises(TypeError, match="DecisionRow is no kind of these rows"):
        rows.append(DecisionRow(1, "", "", None, None, "", ""))  # type: ignore[arg-type]  # what is tested


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no name, and is closed with the rows."""
    made: list[IO[bytes]] = []
    temporary = tempfile.TemporaryFile

    def noted(**options: Any) -> IO[bytes]:
        made.append(temporary(dir=tmp_path, **options))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    rows: SpooledRows[StreamEvent] = SpooledRows(StreamEvent, block_rows=1)
    rows.append(EVENT)
    assert [file.closed for file in made] == [False]
    assert list(tmp_path.iterdir()) == []
    del rows
    gc.collect()
    assert made[0].closed


def test_a_disk_that_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    rows: SpooledRows[StreamEvent] = SpooledRows(StreamEvent, block_rows=1)
    with pytest.raises(RecordingError, match="set TMPDIR") as caught:
        rows.append(EVENT)
    assert "\n" not in str(caught.value)
