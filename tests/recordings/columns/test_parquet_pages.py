"""Pages of Parquet become the numbers that Arrow reads, or are left to it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.columns.column_batch import Names
from recordings.columns.column_runs import columns_of
from recordings.columns.kernel_page_heads import ENCODING_BY_BYTE, ENCODING_DELTA, ENCODING_DICTIONARY, HEAD
from recordings.columns.kernel_pages import decode_numbers
from recordings.columns.page_columns import PAGE_TABLES, of_pages
from recordings.columns.parquet_pages import NAN, FileColumns, NotPlain, Room, RowGroupPages, Words
from recordings.format.manifest import TableFile, inside
from recordings.format.schema import TABLES
from recordings.recording import Recording
from tests.column_checks import all_told
from tests.golden.expectations import RECORDINGS
from toolkit.errors import RecordingDamaged

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
_INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
#: By type of column what it may hold, and how it may be written.
_KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], tuple[str, ...]]] = {
    "int64": (pa.int64(), _INT64 | st.integers(0, 3), ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "")),
    "int32": (pa.int32(), _INT32 | st.integers(0, 3), ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "")),
    "double": (pa.float64(), st.floats(allow_nan=False), ("PLAIN", "BYTE_STREAM_SPLIT", "")),
    "bool": (pa.bool_(), st.booleans(), ("PLAIN",)),
    "text": (pa.string(), st.sampled_from(["bid", "ask", "\u00e4", ""]), ("",)),
}


def _pages(written: bytes, number: int = 0) -> RowGroupPages:
    source = pa.BufferReader(written)
    return RowGroupPages(source, FileColumns(pq.read_metadata(io.BytesIO(written))), number, Room())


def _written(column: pa.Array, encoding: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"c": column}),
        sink,
        use_dictionary=["c"] if not encoding else False,
        column_encoding={"c": encoding} if encoding else None,
        store_schema=False,
        **{"compression": "zstd", "write_page_checksum": True, **options},
    )
    return sink.getvalue()


def _read(pages: RowGroupPages, kind: str, starts: Any = None) -> list[Any]:
    if kind == "text":
        found = pages.words("c", starts)
        return [None if code < 0 else found.words[code] for code in found.codes]
    if kind == "bool":
        flags = [bool(flag) for flag in pages.flags("c")]
        return flags if starts is None else [flags[start] for start in starts]
    numbers = pages.numbers("c", NAN if kind == "double" else -7, starts)
    return [None if number != number else number for number in numbers.tolist()]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_pages_become_what_arrow_reads(data: st.DataObject) -> None:
    """Any type, encoding, page size and codec, with values missing or not, all rows or some."""
    kind = data.draw(st.sampled_from(sorted(_KINDS)))
    of, values, encodings = _KINDS[kind]
    one = data.draw(st.lists(values, min_size=1, max_size=3))
    element = data.draw(st.sampled_from([values, st.sampled_from(one), st.none() | values]))
    wanted = data.draw(st.lists(element, min_size=1, max_size=60)) * data.draw(st.sampled_from([1, 1, 7, 40]))
    written = _written(
        pa.array(wanted, of),
        data.draw(st.sampled_from(encodings)),
        compression=data.draw(st.sampled_from(["zstd", "none"])),
        max_rows_per_page=data.draw(st.sampled_from([3, 10, 1000])),
    )
    missing = {"bool": False, "int64": -7, "int32": -7}.get(kind)
    told = [missing if value is None else value for value in wanted]
    pages = _pages(written)
    assert _read(pages, kind) == told
    if kind != "bool":
        assert pages.present == sum(value is not None for value in wanted)
    starts = data.draw(st.sets(st.integers(0, len(wanted) - 1), max_size=20).map(sorted))
    assert _read(pages, kind, np.array(starts, np.int64)) == [told[start] for start in starts]


def test_a_column_without_missing_values_has_no_levels() -> None:
    schema = pa.schema([pa.field("c", pa.int64(), nullable=False)])
    sink = io.BytesIO()
    pq.write_table(pa.table({"c": [3, 1, 2]}, schema=schema), sink, compression="zstd")
    assert _pages(sink.getvalue()).numbers("c", -1).tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("PLAIN", {"compression": "snappy"}),
        ("PLAIN", {"data_page_version": "2.0"}),
        ("", {"dictionary_pagesize_limit": 8, "max_rows_per_page": 2}),
    ],
)
def test_text_in_another_form_is_left_to_arrow(encoding: str, options: dict[str, Any]) -> None:
    """Another codec, other pages, a dictionary that was given up."""
    written = _written(pa.array([f"word {number}" for number in range(20)]), encoding, **options)
    with pytest.raises(NotPlain):
        _pages(written).words("c")


def test_lists_are_left_to_arrow() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"c": [[1], [2, 3]]}), sink)
    with pytest.raises(NotPlain):
        _pages(sink.getvalue()).numbers("c", -1)


def test_a_page_whose_bytes_changed_is_no_page() -> None:
    written = bytearray(_written(pa.array([float(number) for number in range(1000)]), "PLAIN", compression="none"))
    written[1000] ^= 1
    with pytest.raises(OSError, match="page integrity"):
        _pages(bytes(written)).numbers("c", NAN)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from([0, ENCODING_DICTIONARY, ENCODING_DELTA, ENCODING_BY_BYTE]),
    st.integers(0, 40),
    st.booleans(),
    st.sampled_from([np.int64, np.int32]),
)
def test_any_bytes_are_read_within_their_bounds(
    content: bytes, encoding: int, count: int, has_levels: bool, kind: Any
) -> None:
    """Where kernels check every access to memory, one outside of the page fails this."""
    head = np.array([[0, encoding, 3, count, 0, len(content), len(content), 0]])
    assert head.shape[1] == HEAD
    data, out = np.frombuffer(content, np.uint8).copy(), np.zeros(count, kind)
    words = np.arange(3, dtype=kind)
    found = decode_numbers(data, head, has_levels, words, -1, np.zeros(count, np.uint8), out)
    assert -1 <= found <= count


def _files(recording: Recording) -> list[tuple[str, TableFile]]:
    return [
        (table, file)
        for segment in recording.manifest.segments
        for table, file in segment.tables.items()
        if table in PAGE_TABLES
    ]


def test_what_is_sealed_here_is_read_so() -> None:
    """Else it would be read by way of Arrow, at half the speed and without a word."""
    read = 0
    for folder in RECORDINGS:
        recording = Recording.open(folder)
        for table, file in _files(recording):
            written = inside(recording.path, file.path).read_bytes()
            for number in range(pq.read_metadata(io.BytesIO(written)).num_row_groups):
                read += len(of_pages(table, _pages(written, number), Names()).rows)
    assert read > 1000


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "snappy"},
        {"data_page_version": "2.0", "compression": "zstd"},
        {"use_dictionary": False, "compression": "zstd"},
    ],
)
def test_columns_are_the_same_of_files_that_others_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Of the same rows, in forms that pages are not read in, or some of whose columns are not."""
    monkeypatch.setattr("recordings.checking._is_on", False)
    folder = next(path for path in RECORDINGS if path.name == "hyperliquid")
    names = Names()
    wanted = all_told(columns_of(Recording.open(folder), names), names)
    copy = tmp_path / "tape"
    for path in folder.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for table, file in _files(Recording.open(copy)):
        path = copy / file.path
        parquet = pq.ParquetFile(path)
        groups = [parquet.read_row_group(number) for number in range(parquet.num_row_groups)]
        with pq.ParquetWriter(path, TABLES[table], store_schema=False, **options) as writer:
            for group in groups:
                writer.write_table(group.cast(TABLES[table]))
    other = Names()
    assert all_told(columns_of(Recording.open(copy), other), other) == wanted


@pytest.mark.parametrize(
    ("prices", "sizes", "firsts", "said"),
    [
        ([0.0, 1.0], [1.0, 1.0], [True, False], "a price in the book table is not a finite number above 0"),
        ([float("inf"), 1.0], [1.0, 1.0], [True, False], "a price in the book table is not a finite number above 0"),
        ([1.0, float("nan")], [1.0, None], [True, False], "a price in the book table"),
        ([1.0, 1.0], [-1.0, 1.0], [True, False], "a size in the book table is not a finite number of 0 or more"),
        ([1.0, None], [1.0, 1.0], [True, False], "prices without sizes"),
        ([1.0, 1.0], [1.0, 1.0], [False, True], "a book message without its first row"),
    ],
)
def test_rows_that_are_no_book_are_damaged(prices: Any, sizes: Any, firsts: Any, said: str) -> None:
    rows = {
        **{name: [None, None] for name in TABLES["book"].names},
        **{name: ["x", "x"] for name in ("venue", "symbol", "trading_pair", "form")},
        **{name: [1, 2] for name in ("ts_recv", "ts_event", "capture_seq", "sub_seq")},
        "price": prices,
        "size": sizes,
        "is_first": firsts,
        "is_last": [False, True],
        "side": ["bid", "ask"],
        "fused": [True, True],
        "is_snapshot": [True, True],
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(rows, schema=TABLES["book"]), sink, compression="zstd", store_schema=False)
    with pytest.raises(RecordingDamaged, match=said):
        of_pages("book", _pages(sink.getvalue()), Names())


def test_words_are_places_in_their_dictionary() -> None:
    pages = _pages(_written(pa.array(["b", None, "a", "b"]), ""))
    found = pages.words("c")
    assert isinstance(found, Words)
    assert (found.codes.tolist(), found.words) == ([0, -1, 1, 0], ["b", "a"])
