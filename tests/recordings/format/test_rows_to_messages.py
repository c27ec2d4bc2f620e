"""What was written comes back: every message and frame, value for value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format import rows_to_messages
from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.messages_to_rows import TableBuilders, rows_of_messages
from recordings.format.rows_to_messages import (
    book_messages,
    end_of_message,
    flat_messages,
    frames,
    split_complete,
    values,
)
from recordings.format.schema import NORMALIZED_TABLES, TABLE_OF, TABLES
from tests.recordings.strategies import FRAMES, MESSAGE_CLASSES, messages
from tests.tapes import diff, snapshot
from toolkit.digest import canonical_bytes
from toolkit.errors import RecordingDamaged
from toolkit.frames import Frame
from toolkit.messages import BookTop, Message

in_a_folder = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def written(folder: Path, given_messages: list[Message]) -> dict[str, Path]:
    builders = TableBuilders(folder)
    for message in given_messages:
        builders.add(message)
    return {table: folder / file.path for table, file in builders.write().items()}


def read(table: str, path: Path) -> list[Message]:
    """Row group by row group, as a reader does."""
    found: list[Message] = []
    file = pq.ParquetFile(path)
    for number in range(file.metadata.num_row_groups):
        for batch in file.read_row_group(number).combine_chunks().to_batches():
            found += book_messages(batch) if table == "book" else flat_messages(table, batch)
    return found


def by_group(given_messages: list[Message]) -> list[Message]:
    return sorted(given_messages, key=lambda message: (message.symbol, message.venue))


@pytest.mark.parametrize("cls", [*MESSAGE_CLASSES, BookTop])
def test_every_kind_of_message_survives_the_file(cls: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """None, empty and extreme values too; equal to the bit, so a digest over them is the same."""

    @in_a_folder
    @given(st.lists(messages(cls), min_size=1, max_size=6))
    def check(given_messages: list[Message]) -> None:
        table = TABLE_OF[cls]
        path = written(tmp_path_factory.mktemp("rows"), given_messages)[table]
        found = read(table, path)
        assert found == by_group(given_messages)
        assert list(map(canonical_bytes, found)) == list(map(canonical_bytes, by_group(given_messages)))
        assert [type(message) for message in found] == [cls] * len(found)

    check()


@given(st.lists(FRAMES, min_size=1, max_size=6))
def test_every_frame_survives_its_row(given_frames: list[Frame]) -> None:
    """Payloads of any bytes: text as text, the rest beside it."""
    assert frames(frames_to_batch(given_frames)) == given_frames


def test_a_payload_that_is_text_is_text_in_the_file() -> None:
    batch = frames_to_batch([Frame(0, 1, 2, "v", 0, 0, "ws_in", payload) for payload in (b"{}", b"\xff", b"")])
    assert batch.column("payload").to_pylist() == ["{}", None, ""]
    assert batch.column("payload_bytes").to_pylist() == [None, b"\xff", None]


@given(st.lists(messages(type(snapshot())), min_size=1, max_size=5), st.integers(1, 6))
def test_book_messages_can_be_read_in_pieces_of_any_size(given_messages: list[Message], rows: int) -> None:
    """A message that is cut in two is put together again."""
    given_messages = [msgspec.structs.replace(message, symbol="A", venue="v") for message in given_messages]
    table = rows_of_messages("book", given_messages)
    found: list[Message] = []
    rest = table.slice(0, 0)
    for start in range(0, len(table), rows):
        piece = pa.Table.from_batches([rest, table.slice(start, rows)]).combine_chunks().to_batches()[0]
        whole, rest = split_complete(piece)
        found += book_messages(whole) if len(whole) else []
    assert (found, len(rest)) == (given_messages, 0)


def book_batch(**columns: list[Any]) -> pa.RecordBatch:
    batch = rows_of_messages("book", [snapshot([(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0)])])
    arrays = {name: batch.column(name) for name in batch.schema.names}
    for name, given_values in columns.items():
        arrays[name] = pa.array(given_values, TABLES["book"].field(name).type)
    return pa.RecordBatch.from_pydict(arrays)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"price": [10.0, math.nan, 11.0]}, "a price in the book table is not a finite number above 0"),
        ({"price": [10.0, math.inf, 11.0]}, "a price in the book table is not a finite number above 0"),
        ({"price": [10.0, -1.0, 11.0]}, "a price in the book table is not a finite number above 0"),
        ({"size": [1.0, math.nan, 1.0]}, "a size in the book table is not a finite number of 0 or more"),
        ({"size": [1.0, -1.0, 1.0]}, "a size in the book table is not a finite number of 0 or more"),
        ({"size": [1.0, None, 1.0]}, "3 prices with 2 sizes in the book table: expected as many"),
        ({"is_first": [False, True, False]}, "a book message without its first row: expected is_first"),
    ],
)
def test_rows_that_are_no_book_are_refused(columns: dict[str, list[Any]], message: str) -> None:
    """What is read here is not checked again."""
    with pytest.raises(RecordingDamaged, match=message):
        book_messages(book_batch(**columns))


def test_columns_of_an_older_format_are_empty() -> None:
    """A table without a column that was added since."""
    batch = rows_of_messages("book", [diff([(10.0, 0.0)], [], prev_update_id=7)])
    older = batch.select([name for name in batch.schema.names if name != "prev_update_id"])
    assert book_messages(older) == [diff([(10.0, 0.0)], [])]


def test_every_table_has_the_fields_of_its_messages() -> None:
    for cls, table in TABLE_OF.items():
        if table != "book":
            assert list(cls.__struct_fields__) == TABLES[table].names, table
    assert set(TABLE_OF.values()) == set(NORMALIZED_TABLES)


def test_words_that_repeat_are_one_object_in_all_batches() -> None:
    """Books are found by names of pairs: those of another file are the same objects. Ids are not kept."""
    batches = [pa.array(["BTC-" + "USD"] * 2).dictionary_encode() for _ in range(2)]
    first, second = (values(batch)[1] for batch in batches)
    assert first is second
    many = pa.array([f"id {number}" for number in range(5000)]).dictionary_encode()
    assert values(many)[0] is not values(many)[0]


@pytest.mark.parametrize("reach", [1, 2, 3, 1024])
def test_a_portion_ends_with_the_message_that_its_last_row_is_of(reach: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_to_messages, "_REACH", reach)
    is_last = [False, True, True, False, False, False, False, False, True, False, False]
    batch = pa.RecordBatch.from_pydict({"is_last": is_last})
    ends = [end_of_message(batch, rows) for rows in range(1, len(is_last) + 2)]
    assert ends == [2, 2, 3, 9, 9, 9, 9, 9, 9, 11, 11, 11]


def test_ids_of_a_few_rows_of_many_are_what_they_are() -> None:
    """A file has each of them once among its words, and a part of it reads those of its own."""
    ids = [f"id-{number}" for number in range(5_000)]
    column = pa.array([*ids, None]).dictionary_encode()
    assert values(column.slice(4_990)) == [*ids[4_990:], None]
    assert values(column) == [*ids, None]
