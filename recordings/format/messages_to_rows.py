"""
Messages to Arrow and Parquet.

Messages are collected per table, turned into Arrow columns a few thousand at a time, and written in the order that
`recordings/format/row_order.py` gives them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from recordings.format.columns_to_rows import SIDES, dictionary_schema
from recordings.format.manifest import TableFile
from recordings.format.parquet_options import SMALL, Compression
from recordings.format.row_order import StretchedFile
from recordings.format.schema import RAW_TABLE, TABLE_OF, TABLES
from recordings.format.table_writer import TableSink
from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderUpdate, PositionUpdate
from toolkit.messages import (
    BalanceUpdate,
    BestQuote,
    BookDiff,
    BookSnapshot,
    BookTop,
    FundingInfo,
    Instrument,
    Liquidation,
    Message,
    StreamEvent,
    Trade,
)

__all__ = [
    "BATCH_MESSAGES",
    "COUNT_NAMES",
    "COUNT_OF_TABLE",
    "RAW_ROW_GROUP_ROWS",
    "TableBuilders",
    "rows_of_messages",
    "with_all_columns",
]

#: Messages of one table that are held as Python objects before they become columns; of the book also as many levels.
BATCH_MESSAGES: Final = 2048
BATCH_LEVELS: Final = 131_072
RAW_ROW_GROUP_ROWS: Final = 16_384

#: Names of the counts a manifest keeps, by class of message.
COUNT_NAMES: Final[dict[type[Message], str]] = {
    BookSnapshot: "book_snapshots",
    BookDiff: "book_diffs",
    BestQuote: "quotes",
    Trade: "trades",
    FundingInfo: "funding",
    Instrument: "instruments",
    Liquidation: "liquidations",
    StreamEvent: "events",
    OrderUpdate: "order_updates",
    Fill: "fills",
    BalanceUpdate: "balances",
    PositionUpdate: "positions",
    FundingPayment: "funding_payments",
    AccountEvent: "account_events",
    BookTop: "tops",
}
#: The same by table, but for `book`, whose rows are several to a message.
COUNT_OF_TABLE: Final = {table: COUNT_NAMES[kind] for kind, table in TABLE_OF.items() if table != "book"}
_BOOK_FIELDS: Final = BookSnapshot.__struct_fields__
_astuple = msgspec.structs.astuple


_WRITE_SCHEMAS: Final = {
    table: schema if table == RAW_TABLE else dictionary_schema(table) for table, schema in TABLES.items()
}


def rows_of_messages(table: str, messages: Sequence[Message]) -> pa.RecordBatch:
    """Messages of one table as rows of it, in its schema while it is written."""
    return _book_batch(messages) if table == "book" else _flat_batch(table, messages)


def with_all_columns(rows: pa.Table, table: str) -> pa.Table:
    """Rows of a file as they are written today: a column that the file does not have is null in it."""
    schema = _WRITE_SCHEMAS[table]
    if rows.schema.names == schema.names:
        return rows
    columns = [
        rows.column(field.name) if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class TableBuilders:
    """
    Collects the messages of a segment and writes its normalized tables.

    What is held does not grow with the segment: messages become columns some thousands at a time, and columns are
    written as `recordings/format/row_order.py` has it.

    Args:
        folder: The recording.
        number: Number in the names of the files.
        compression: How well.
        executor: Executor that writes, as `TableFileWriter` has it; None to write at once.
        make_sink: Gives what the row groups of a table go to; None to write files.

    Attributes:
        counts: Messages by the name that a manifest counts them under.
        symbols: Trading pair of every symbol, as `venue/symbol`: the one that its newest message had.
    """

    def __init__(
        self,
        folder: Path,
        number: int = 0,
        compression: Compression = SMALL,
        executor: Executor | None = None,
        make_sink: Callable[[str], TableSink] | None = None,
    ) -> None:
        self._folder = folder
        self._number = number
        self._compression = compression
        self._executor = executor
        self._make_sink = make_sink
        self._pending: dict[str, list[Message]] = {}
        #: Messages held since all were turned into columns; levels of the book messages that are pending.
        self._held = 0
        self._levels = 0
        self._files: dict[str, StretchedFile] = {}
        self.counts: dict[str, int] = {}
        self.symbols: dict[str, str] = {}
        self._symbol_seqs: dict[str, tuple[int, int]] = {}

    def add(self, message: Message) -> None:
        """Add the next message."""
        self.hold(message)
        table = TABLE_OF[type(message)]
        if len(self._pending[table]) >= BATCH_MESSAGES or (table == "book" and self._levels >= BATCH_LEVELS):
            self._flush(table)

    def hold(self, message: Message) -> None:
        """Add the next message, where rows of frames before it are still to come: see `add_rows`."""
        table = TABLE_OF[type(message)]
        pending = self._pending.get(table)
        if pending is None:
            pending = self._pending[table] = []
        pending.append(message)
        self._held += 1
        if isinstance(message, (BookSnapshot, BookDiff)):
            self._levels += len(message.bid_prices) + len(message.ask_prices)

    @property
    def is_due(self) -> bool:
        """Whether so many messages are held that `add_rows` is to be called after this frame."""
        return self._levels >= BATCH_LEVELS or self._held >= BATCH_MESSAGES

    def note(self, counted_as: str, venue: str, names: Iterable[tuple[str, str, int]], count: int) -> None:
        """
        Note what rows are about that are to be added.

        `counted_as` is the name that the manifest counts them under; `names` has each symbol with its pair and the `capture_seq` of its last message; `count` is that of the messages.
        """
        for symbol, trading_pair, last_seq in names:
            self._name(f"{venue}/{symbol}", trading_pair, (last_seq, 0))
        self.counts[counted_as] = self.counts.get(counted_as, 0) + count

    def add_rows(self, made: Mapping[str, list[pa.RecordBatch]], complete_seq: int) -> None:
        """
        Add rows by table, in its schema while it is written, among the messages that are held.

        Rows of one symbol are in order. With these and with what is held, those of all frames up to `complete_seq` are
        there.
        """
        for table, batches in made.items():
            held = self._made(table)
            file = self._file(table)
            for rows in batches if held is None else _in_order([held, *batches]):
                file.add(rows)
        self.cut(complete_seq)

    def cut(self, complete_seq: int) -> None:
        """Write what can be: all rows of frames up to `complete_seq` have been added."""
        self.flush()
        for file in self._files.values():
            if file.is_full:
                file.cut(complete_seq)

    def flush(self) -> None:
        """Turn every message into columns; `counts` and `symbols` are complete then."""
        self._held = 0
        for table in self._pending:
            self._flush(table)

    def write(self) -> dict[str, TableFile]:
        """Write what is left; what the manifest says of each table that has rows."""
        try:
            self.flush()
            return {table: self._files[table].finish() for table in TABLES if table in self._files}
        except BaseException:  # Ctrl-C and out of memory too: nothing half-written stays
            self.close()
            raise

    def close(self) -> None:
        """Leave nothing behind but tables that are complete. May be called twice."""
        self._pending.clear()
        for file in self._files.values():
            file.abort()

    def _name(self, symbol: str, trading_pair: str, place: tuple[int, int]) -> None:
        # A frame may tell of a gap under the old pair and go on under a new one, in whatever order tables are flushed.
        if place >= self._symbol_seqs.get(symbol, (-1, -1)):
            self.symbols[symbol] = trading_pair
            self._symbol_seqs[symbol] = place

    def _file(self, table: str) -> StretchedFile:
        file = self._files.get(table)
        if file is None:
            sink = self._make_sink(table) if self._make_sink is not None else None
            file = StretchedFile(self._folder, table, self._number, self._compression, self._executor, sink)
            self._files[table] = file
        return file

    def _flush(self, table: str) -> None:
        messages = self._pending.get(table)
        rows = self._made(table)
        if messages and rows is not None:
            file = self._file(table)
            file.add(rows)
            if file.is_full:
                file.cut(messages[-1].capture_seq - 1)  # more of the newest frame may come

    def _made(self, table: str) -> pa.RecordBatch | None:
        """The messages of a table that are held, as rows of it; none is held any more."""
        messages = self._pending.get(table)
        if not messages:
            return None
        self._pending[table] = []
        if table == "book":
            self._levels = 0
        newest = {(message.venue, message.symbol): message for message in messages}
        for (venue, symbol), last in newest.items():
            if symbol:
                self._name(f"{venue}/{symbol}", last.trading_pair, (last.capture_seq, last.sub_seq))
        for kind, count in Counter(map(type, messages)).items():
            name = COUNT_NAMES[kind]
            self.counts[name] = self.counts.get(name, 0) + count
        return rows_of_messages(table, messages)


def _in_order(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Rows of whole frames, in the order of these."""
    rows = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    order = np.argsort(rows.column("capture_seq").to_numpy(), kind="stable")
    found: list[pa.RecordBatch] = rows.take(pa.array(order)).to_batches()
    return found


def _flat_batch(table: str, messages: Sequence[Message]) -> pa.RecordBatch:
    schema = _WRITE_SCHEMAS[table]
    columns = zip(*map(_astuple, messages), strict=True)
    arrays = [_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return _dictionary(values, None)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def _dictionary(values: Sequence[Any], row_counts: Any) -> pa.Array:
    """Strings as a dictionary column, each repeated `row_counts` times; most columns have a single value."""
    if values and values[0] is not None and values.count(values[0]) == len(values):
        rows = len(values) if row_counts is None else int(row_counts.sum())
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([values[0]], pa.string()))
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    indices = np.fromiter(map(places.__getitem__, values), np.int32, len(values))
    null = places.get(None)
    words = pa.array(["" if word is None else word for word in places], pa.string())
    if row_counts is not None:
        indices = np.repeat(indices, row_counts)
    mask = None if null is None else indices == null
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=mask), words)


def _repeated(values: Sequence[Any], kind: pa.DataType, row_counts: Any) -> pa.Array:
    """A column of messages as a column of rows: the i-th value `row_counts[i]` times."""
    if pa.types.is_dictionary(kind):
        return _dictionary(values, row_counts)
    if None not in values:
        storage = np.bool_ if pa.types.is_boolean(kind) else np.int64
        flat: Any = np.fromiter(values, storage, len(values))
        column = np.repeat(flat, row_counts)
        return pa.array(column).cast(kind)
    if all(value is None for value in values):
        return pa.nulls(int(row_counts.sum()), kind)
    return _array(values, kind).take(pa.array(np.repeat(np.arange(len(values)), row_counts)))


def _book_batch(messages: Sequence[Any]) -> pa.RecordBatch:
    """Book messages as one row per level, bids before asks; a message without a level is one row without a price."""
    schema = _WRITE_SCHEMAS["book"]
    columns = dict(zip(_BOOK_FIELDS, zip(*map(_astuple, messages), strict=True), strict=True))
    bid_prices, ask_prices = columns["bid_prices"], columns["ask_prices"]
    bid_rows = np.fromiter(map(len, bid_prices), np.int64, len(messages))
    level_rows = bid_rows + np.fromiter(map(len, ask_prices), np.int64, len(messages))
    rows = np.maximum(level_rows, 1)
    total = int(rows.sum())
    starts = np.cumsum(rows) - rows
    within = np.arange(total) - np.repeat(starts, rows)
    first = within == 0
    empty = np.zeros(total, np.bool_)
    empty[starts[level_rows == 0]] = True
    counts = [len(message.bid_counts) + len(message.ask_counts) for message in messages]
    has_counts = (np.fromiter(counts, np.int64, len(messages)) == level_rows) & (level_rows > 0)
    sides = (within >= np.repeat(bid_rows, rows)).astype(np.int32)
    arrays: dict[str, pa.Array] = {
        "is_snapshot": pa.array(np.repeat(np.fromiter(map(_is_snapshot, messages), np.bool_, len(messages)), rows)),
        "is_first": pa.array(first),
        "is_last": pa.array(np.roll(first, -1)),
        "side": pa.DictionaryArray.from_arrays(pa.array(sides, mask=empty), SIDES),
        "price": _levels(bid_prices, ask_prices, empty, np.float64, pa.float64()),
        "size": _levels(columns["bid_sizes"], columns["ask_sizes"], empty, np.float64, pa.float64()),
        "count": _levels(
            _where(has_counts, columns["bid_counts"]),
            _where(has_counts, columns["ask_counts"]),
            ~np.repeat(has_counts, rows),
            np.int32,
            pa.int32(),
        ),
        "sub_seq": pa.array((within + np.repeat(np.asarray(columns["sub_seq"]), rows)).astype(np.int32)),
    }
    for field in schema:
        if field.name not in arrays:
            arrays[field.name] = _repeated(columns[field.name], field.type, rows)
    return pa.RecordBatch.from_arrays([arrays[field.name] for field in schema], schema=schema)


def _levels(bids: Sequence[Any], asks: Sequence[Any], null: Any, dtype: Any, kind: pa.DataType) -> pa.Array:
    """Interleave both sides, message by message, leaving the rows where `null` is set empty."""
    flat = np.fromiter(chain.from_iterable(chain.from_iterable(zip(bids, asks, strict=True))), dtype)
    if not null.any():
        return pa.array(flat, kind)
    values = np.zeros(len(null), dtype)
    values[~null] = flat
    return pa.array(values, kind, mask=null)


def _where(keep: Any, counts: Sequence[Any]) -> Sequence[Any]:
    if keep.all():
        return counts
    none: tuple[int, ...] = ()
    return [column if has else none for column, has in zip(counts, keep, strict=True)]


def _is_snapshot(message: BookSnapshot | BookDiff) -> bool:
    return type(message) is BookSnapshot
