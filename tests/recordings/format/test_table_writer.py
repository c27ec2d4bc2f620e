"""A file that is given up leaves nothing, whatever the disk and the thread that writes are at."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from recordings.format.messages_to_rows import TableBuilders, rows_of_messages
from recordings.format.parquet_options import SMALL
from recordings.format.table_writer import TableFileWriter
from tests.tapes import diff, quote


@contextmanager
def no_room() -> Iterator[None]:
    """No file can be longer than the first bytes of Parquet."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_tables_are_given_up_where_there_is_no_room_for_their_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close a file is to write its end; that it cannot be written keeps nobody from removing it and the others."""
    monkeypatch.setattr("recordings.format.row_order.STRETCH_ROWS", 4)
    builders = TableBuilders(tmp_path)
    for seq in range(20):
        builders.add(quote((1.0, 1.0), None, capture_seq=seq))
        builders.add(diff([(10.0, 1.0)], [], capture_seq=seq, sub_seq=1))
    builders.flush()
    assert {path.name for path in tmp_path.glob("*/*")} == {".000000.parquet.tmp"}
    with no_room():
        builders.close()
    assert list(tmp_path.glob("*/*")) == []


def test_a_table_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    """Nor half of one, nor its temporary name."""
    rows = pa.Table.from_batches([rows_of_messages("bbo", [quote((1.0, 1.0), None)])])
    with pytest.raises(TypeError):
        TableFileWriter(tmp_path, "bbo", 0, rows.schema, SMALL).finish(lambda: [rows, None])
    assert list((tmp_path / "bbo").iterdir()) == []


def test_what_waits_behind_a_part_that_failed_is_not_written(tmp_path: Path) -> None:
    """The error is that of the part, and the thread begins no other file once nobody would close it."""
    rows = pa.Table.from_batches([rows_of_messages("bbo", [quote((1.0, 1.0), None)])])

    def fail() -> list[pa.Table]:
        raise ZeroDivisionError

    with ThreadPoolExecutor(1) as executor:
        file = TableFileWriter(tmp_path, "bbo", 0, rows.schema, SMALL, executor)
        file.write(fail)
        for _ in range(3):
            file.write(lambda: [rows])
        with pytest.raises(ZeroDivisionError):
            file.finish(list)
    assert list(tmp_path.glob("*/*")) == []
