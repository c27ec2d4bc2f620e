"""Tables as files: sorted, cut by symbol, and read by others without our code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format.messages_to_rows import TableBuilders
from recordings.format.schema import MESSAGE_TABLES, TABLE_OF, TABLES
from recordings.sealing.raw_writer import RawFile
from recordings.storage.atomic_files import file_hash
from tests.recordings.strategies import MESSAGE_CLASSES, messages
from tests.tapes import TS, quote, snapshot
from toolkit.frames import Frame
from toolkit.messages import Message


@st.composite
def tapes(draw: st.DrawFn) -> list[Message]:
    """Messages of all kinds in the order of a recording."""
    found: list[Message] = []
    for seq in range(draw(st.integers(1, 12))):
        cls = draw(st.sampled_from(MESSAGE_CLASSES))
        found.append(msgspec.structs.replace(draw(messages(cls)), capture_seq=seq, sub_seq=0))
    return found


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(tapes())
def test_a_small_segment_is_one_row_group_sorted_by_symbol(
    tmp_path_factory: pytest.TempPathFactory, tape: list[Message]
) -> None:
    """However many symbols; what the manifest is told of a file is true."""
    folder = tmp_path_factory.mktemp("tables")
    builders = TableBuilders(folder, 3)
    for message in tape:
        builders.add(message)
    files = builders.write()
    assert {TABLE_OF[type(message)] for message in tape} == set(files)
    for table, file in files.items():
        path = folder / file.path
        assert file.path == f"{table}/000003.parquet"
        assert (file.bytes, file.blake2b) == (path.stat().st_size, file_hash(path))
        found = pq.ParquetFile(path)
        assert (found.metadata.num_rows, found.metadata.num_row_groups) == (file.rows, 1)
        assert found.schema_arrow.equals(TABLES[table])
        keys = found.read(columns=["symbol", "venue", "capture_seq", "sub_seq"]).to_pylist()
        places = [tuple(row.values()) for row in keys]
        assert places == sorted(places)
    named = {f"{message.venue}/{message.symbol}" for message in tape if message.symbol}
    assert set(builders.symbols) == named
    assert sum(builders.counts.values()) == len(tape)


#: Run with the standard library's own environment: what it imports is the point.
PROGRAM = """
import json, sys
import duckdb, polars, pyarrow.parquet
folder = sys.argv[1]
found = {}
for table in json.loads(sys.argv[2]):
    pattern = f"{folder}/{table}/*.parquet"
    rows = duckdb.sql(f"SELECT count(*), min(epoch_ns(ts_recv)), max(epoch_ns(ts_recv)) FROM '{pattern}'").fetchall()[0]
    frame = polars.scan_parquet(pattern).select(polars.len().alias("n"), polars.col("ts_recv").cast(polars.Int64).min().alias("a"),
                                                polars.col("ts_recv").cast(polars.Int64).max().alias("b")).collect()
    whole = pyarrow.parquet.read_table(f"{folder}/{table}").column("ts_recv").cast("int64")
    found[table] = [list(rows), list(frame.row(0)), [len(whole), min(whole.to_pylist()), max(whole.to_pylist())]]
types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{folder}/book/*.parquet')").fetchall())
kinds = {name: str(kind) for name, kind in polars.read_parquet_schema(f"{folder}/book/000000.parquet").items()}
print(json.dumps([found, types, kinds, [name for name in sys.modules if name in ("recordings", "toolkit", "replay", "analysis")]]))
"""


def test_plain_readers_of_another_process_read_every_table_to_the_nanosecond(tmp_path: Path) -> None:
    """DuckDB, Polars and pyarrow, without importing anything of ours."""
    tape: list[Message] = []
    for cls in MESSAGE_CLASSES:
        tape += [example_of(cls, TS + number) for number in range(3)]
    builders = TableBuilders(tmp_path)
    raw = RawFile(tmp_path, 0)
    for message in tape:
        builders.add(message)
    for number in range(3):
        raw.add(Frame(number, TS + number, number, "v", 0, 0, "ws_in", b"{}" if number else b"\xff"))
    builders.write()
    raw.finish()
    tables = ["raw", *MESSAGE_TABLES]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps(tables)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found, types, kinds, ours = json.loads(done.stdout)
    assert ours == []
    for table in tables:
        rows = {tuple(answer) for answer in found[table]}
        assert len(rows) == 1, table
        count, first, last = rows.pop()
        assert (count >= 3, first, last) == (True, TS, TS + 2), table
    assert (types["ts_recv"], types["price"], types["symbol"], types["is_snapshot"]) == (
        "TIMESTAMP_NS",
        "DOUBLE",
        "VARCHAR",
        "BOOLEAN",
    )
    assert (kinds["ts_recv"], kinds["price"], kinds["symbol"]) == (
        "Datetime(time_unit='ns', time_zone=None)",
        "Float64",
        "String",
    )


def example_of(cls: Any, ts_recv: int) -> Message:
    """Some message of a class."""
    found: list[Message] = []

    @settings(max_examples=1, database=None, derandomize=True)
    @given(messages(cls))
    def draw(message: Message) -> None:
        found.append(message)

    draw()
    return msgspec.structs.replace(found[0], ts_recv=ts_recv, symbol="A", venue="v")


def test_prices_and_sizes_of_up_to_15_digits_come_back_as_the_venue_wrote_them(tmp_path: Path) -> None:
    texts = ["0.1", "84143.0", "0.00711", "123456789012345.0", "1e-15", "99999.9999999999"]
    builders = TableBuilders(tmp_path)
    for number, text in enumerate(texts):
        builders.add(quote((float(text), float(text)), None, capture_seq=number))
    files = builders.write()
    column = pq.read_table(tmp_path / files["bbo"].path).column("bid_price").to_pylist()
    assert [repr(value) for value in column] == [repr(float(text)) for text in texts]


def test_a_book_is_a_row_per_level_bids_first(tmp_path: Path) -> None:
    builders = TableBuilders(tmp_path)
    builders.add(snapshot([(10.0, 1.0), (9.0, 2.0)], [(11.0, 3.0)], sub_seq=4))
    builders.add(snapshot(capture_seq=1))
    files = builders.write()
    names = ["capture_seq", "sub_seq", "side", "price", "size", "is_first", "is_last"]
    rows = [tuple(row.values()) for row in pq.read_table(tmp_path / files["book"].path, columns=names).to_pylist()]
    assert rows == [
        (0, 4, "bid", 10.0, 1.0, True, False),
        (0, 5, "bid", 9.0, 2.0, False, False),
        (0, 6, "ask", 11.0, 3.0, False, True),
        (1, 0, None, None, None, True, True),
    ]
    assert builders.counts == {"book_snapshots": 2}
