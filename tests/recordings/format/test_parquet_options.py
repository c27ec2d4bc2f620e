"""Whatever encodings columns have, every reader gets back what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recordings.format.parquet_options import FAST, SMALL, Compression, parquet_options
from recordings.format.schema import TABLES

ROWS = 3000
#: Columns whose encoding is none that any other of their kind has.
CHOSEN = {
    "book": {"ts_event": "DELTA_BINARY_PACKED", "capture_seq": "DELTA_BINARY_PACKED", "sub_seq": "BYTE_STREAM_SPLIT"},
    "bbo": {"bid_price": "PLAIN", "ask_price": "PLAIN", "ts_recv": "DELTA_BINARY_PACKED"},
    "trades": {"price": "PLAIN", "size": "RLE_DICTIONARY", "trade_id": "PLAIN"},
}


def _value(kind: pa.DataType, row: int) -> Any:
    if row % 7 == 3:
        return None
    if pa.types.is_boolean(kind):
        return row % 3 == 0
    if pa.types.is_floating(kind):
        return 61_000 + (row * 37 % 101) / 10
    if pa.types.is_string(kind):
        return f"word{row % 50}"
    if pa.types.is_binary(kind):
        return b"\xff%d" % row
    if pa.types.is_timestamp(kind) or kind.bit_width == 64:
        return 1_700_000_000_000_000_000 + row * row * 977
    return row % 70


def _rows(table: str) -> pa.Table:
    schema = TABLES[table]
    arrays = []
    for field in schema:
        values = [_value(field.type, row) for row in range(ROWS)]
        is_time = pa.types.is_timestamp(field.type)
        column = pa.array(values, pa.int64()).cast(field.type) if is_time else pa.array(values, field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=schema)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_all_readers_get_back_what_was_written(tmp_path: Path, table: str) -> None:
    rows = _rows(table)
    path = tmp_path / "table.parquet"
    with pq.ParquetWriter(path, rows.schema, **parquet_options(rows.schema, table, SMALL)) as writer:
        writer.write_table(rows)
    assert pq.read_table(path).equals(rows)
    words = [field.name for field in rows.schema if field.type == pa.string()]
    as_words = pq.read_table(path, read_dictionary=words)
    assert as_words.cast(rows.schema).equals(rows), "as dictionaries too"
    assert pl.read_parquet(path).equals(pl.DataFrame(rows))
    found = duckdb.read_parquet(str(path)).to_arrow_table()
    assert found.cast(rows.schema).equals(rows)


@pytest.mark.parametrize("compression", [SMALL, FAST])
@pytest.mark.parametrize("table", sorted(CHOSEN))
def test_columns_have_the_encodings_that_were_chosen(tmp_path: Path, table: str, compression: Compression) -> None:
    rows = _rows(table)
    path = tmp_path / "table.parquet"
    with pq.ParquetWriter(path, rows.schema, **parquet_options(rows.schema, table, compression)) as writer:
        writer.write_table(rows)
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    for name, encoding in CHOSEN[table].items():
        assert encoding in columns[name].encodings
        assert columns[name].has_dictionary_page == (encoding == "RLE_DICTIONARY")
