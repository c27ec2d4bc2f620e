"""Rows back to messages and frames: the reverse of `recordings/format/messages_to_rows.py`, column by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import intern
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recordings.format.schema import RAW_TABLE, TABLES
from toolkit.account_messages import (
    AccountEvent,
    AccountEventKind,
    Fill,
    FundingPayment,
    OrderState,
    OrderUpdate,
    PositionUpdate,
)
from toolkit.errors import RecordingDamaged
from toolkit.frames import Frame
from toolkit.messages import (
    BalanceUpdate,
    BestQuote,
    BookDiff,
    BookSnapshot,
    BookTop,
    EventKind,
    FundingInfo,
    FundingKind,
    Instrument,
    InstrumentKind,
    Liquidation,
    Message,
    Side,
    StreamEvent,
    Trade,
)

__all__ = [
    "LEVEL_COLUMNS",
    "book_messages",
    "check_levels",
    "end_of_message",
    "equals",
    "flat_messages",
    "frames",
    "split_complete",
    "values",
]

#: Columns that rows of `book` are made messages of, whether or not there are levels.
LEVEL_COLUMNS: Final = frozenset({"side", "price", "size"})
#: Columns of `book` that differ from level to level, and flags; the others are the same on all rows of a message.
_PER_LEVEL: Final = frozenset({"is_first", "is_last", "side", "price", "size", "count"})
#: Rows that are looked at for the end of a message.
_REACH: Final = 1024
#: Words of a column that are kept as one object each, at most: names of pairs, and not ids of anything.
_WORDS_MAX: Final = 4096
_CLASSES: Final[dict[str, type[Message]]] = {
    "bbo": BestQuote,
    "trades": Trade,
    "funding": FundingInfo,
    "instruments": Instrument,
    "liquidations": Liquidation,
    "events": StreamEvent,
    "orders": OrderUpdate,
    "fills": Fill,
    "balances": BalanceUpdate,
    "positions": PositionUpdate,
    "funding_payments": FundingPayment,
    "account_events": AccountEvent,
    "top": BookTop,
}
_ENUMS: Final[dict[tuple[str, str], Callable[[str], Any]]] = {
    ("trades", "aggressor_side"): Side,
    ("funding", "kind"): FundingKind,
    ("instruments", "kind"): InstrumentKind,
    ("liquidations", "side"): Side,
    ("events", "kind"): EventKind,
    ("orders", "state"): OrderState,
    ("orders", "side"): Side,
    ("fills", "side"): Side,
    ("account_events", "kind"): AccountEventKind,
}


def frames(batch: pa.RecordBatch) -> list[Frame]:
    """Frames of a batch of the `raw` table."""
    names = ("capture_seq", "ts_recv", "ts_mono", "venue", "conn_id", "conn_epoch", "kind")
    columns = [values(_column(batch, name, TABLES[RAW_TABLE])) for name in names]
    if batch.column("ts_mono").null_count:
        # An import knows one time only, which is not stored twice.
        columns[2] = [recv if mono is None else mono for recv, mono in zip(columns[1], columns[2], strict=True)]
    payload = batch.column("payload")
    payloads = payload.cast(pa.binary()).to_pylist()
    if payload.null_count:
        others = batch.column("payload_bytes").to_pylist()
        payloads = [text if text is not None else other for text, other in zip(payloads, others, strict=True)]
    context = _column(batch, "context", TABLES[RAW_TABLE])
    contexts: Sequence[Any] = [None] * len(batch) if context.null_count == len(batch) else context.to_pylist()
    return list(map(Frame, *columns, payloads, contexts))


def flat_messages(table: str, batch: pa.RecordBatch) -> list[Message]:
    """Messages of a batch of any normalized table but `book`: one per row."""
    columns = []
    for name in TABLES[table].names:
        enum = _ENUMS.get((table, name))
        columns.append(values(_column(batch, name, TABLES[table]), enum))
    return list(map(_CLASSES[table], *columns))


def split_complete(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Rows of whole book messages, and the rows of one that goes on in the next batch."""
    last = np.flatnonzero(batch.column("is_last").to_numpy(zero_copy_only=False))
    end = int(last[-1]) + 1 if len(last) else 0
    return batch.slice(0, end), batch.slice(end)


def end_of_message(batch: pa.RecordBatch, rows: int) -> int:
    """Where the message that row `rows` is of has ended: the number of rows until then, or of all."""
    while rows < len(batch):
        ends = np.flatnonzero(batch.column("is_last").slice(rows - 1, _REACH).to_numpy(zero_copy_only=False))
        if len(ends):
            return rows + int(ends[0])
        rows += _REACH
    return len(batch)


def book_messages(batch: pa.RecordBatch) -> list[Message]:
    """
    Messages of whole rows of the `book` table.

    Raises RecordingDamaged for rows that are no book: what is read here is not checked again.
    """
    schema = TABLES["book"]
    starts = np.flatnonzero(batch.column("is_first").to_numpy(zero_copy_only=False))
    if len(batch) and (not len(starts) or starts[0] != 0):
        raise RecordingDamaged("a book message without its first row: expected is_first on the first row of each")
    side = equals(batch.column("side"), "bid")
    is_level = batch.column("price").is_valid().to_numpy(zero_copy_only=False)
    check_levels(batch)
    bids = np.add.reduceat(side.astype(np.int64), starts) if len(starts) else starts
    levels = np.add.reduceat(is_level.astype(np.int64), starts) if len(starts) else starts
    head_names = [name for name in batch.schema.names if name not in _PER_LEVEL or name == "count"]
    first_rows = batch.select(head_names).take(pa.array(starts))
    heads = {name: values(_column(first_rows, name, schema)) for name in schema.names if name not in _PER_LEVEL}
    prices = tuple(batch.column("price").fill_null(0.0).to_numpy().tolist())
    sizes = tuple(batch.column("size").fill_null(0.0).to_numpy().tolist())
    none: tuple[int, ...] = ()
    counted: list[bool] = [False]
    counts: tuple[int, ...] = none
    if "count" in head_names:
        counted = first_rows.column("count").is_valid().to_pylist()
        counts = tuple(batch.column("count").fill_null(0).to_numpy().tolist())
    middles, ends = starts + bids, starts + levels
    # Everything below runs at C speed: slices, then one constructor call per message.
    bid_slices = list(map(slice, starts.tolist(), middles.tolist()))
    ask_slices = list(map(slice, middles.tolist(), ends.tolist()))
    bid_counts: Sequence[tuple[int, ...]] = [none] * len(starts)
    ask_counts: Sequence[tuple[int, ...]] = [none] * len(starts)
    if any(counted):
        bid_counts = list(map(counts.__getitem__, bid_slices))
        ask_counts = list(map(counts.__getitem__, ask_slices))
    if any(counted) and not all(counted):
        bid_counts = [column if has else none for column, has in zip(bid_counts, counted, strict=True)]
        ask_counts = [column if has else none for column, has in zip(ask_counts, counted, strict=True)]
    is_snapshot = heads.pop("is_snapshot")
    ids = [heads.pop(name) for name in ("first_update_id", "last_update_id", "prev_update_id")]
    columns = (
        *heads.values(),
        map(prices.__getitem__, bid_slices),
        map(sizes.__getitem__, bid_slices),
        bid_counts,
        map(prices.__getitem__, ask_slices),
        map(sizes.__getitem__, ask_slices),
        ask_counts,
        *ids,
    )
    if all(is_snapshot):
        return list(map(BookSnapshot, *columns))
    if not any(is_snapshot):
        return list(map(BookDiff, *columns))
    classes = map((BookDiff, BookSnapshot).__getitem__, map(int, is_snapshot))
    return [cls(*values) for cls, values in zip(classes, zip(*columns, strict=True), strict=True)]


def equals(column: pa.Array, word: str) -> Any:
    """Where a column of strings, plain or dictionary, holds that word."""
    if pa.types.is_dictionary(column.type):
        words = column.dictionary.to_pylist()
        if word not in words:
            return np.zeros(len(column), np.bool_)
        codes = column.indices.fill_null(-1) if column.null_count else column.indices
        return codes.to_numpy() == words.index(word)
    return pc.fill_null(pc.equal(column, word), False).to_numpy(zero_copy_only=False)


def check_levels(batch: pa.RecordBatch) -> None:
    """Raise RecordingDamaged for prices and sizes that no book has."""
    prices, sizes = (
        (column.drop_null() if column.null_count else column).to_numpy()
        for column in (batch.column("price"), batch.column("size"))
    )
    if len(prices) != len(sizes):
        raise RecordingDamaged(f"{len(prices)} prices with {len(sizes)} sizes in the book table: expected as many")
    if len(prices) and not (np.isfinite(prices).all() and prices.min() > 0):
        raise RecordingDamaged("a price in the book table is not a finite number above 0")
    if len(sizes) and not (np.isfinite(sizes).all() and sizes.min() >= 0):
        raise RecordingDamaged("a size in the book table is not a finite number of 0 or more")


def _column(batch: pa.RecordBatch, name: str, schema: pa.Schema) -> pa.Array:
    """A column, or nulls where an older format had none."""
    index = batch.schema.get_field_index(name)
    return batch.column(index) if index >= 0 else pa.nulls(len(batch), schema.field(name).type)


def _has(column: pa.DictionaryArray, place: int) -> bool:
    """Whether any value is the word at that place."""
    return bool((column.indices.fill_null(-1).to_numpy() == place).any())


def values(column: pa.Array, enum: Callable[[str], Any] | None = None) -> Sequence[Any]:
    """A column as Python values; strings are shared, times are integers."""
    kind = column.type
    is_repeated = pa.types.is_dictionary(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = column.dictionary_encode()
        kind = column.type
    if pa.types.is_dictionary(kind):
        if len(column.dictionary) > max(_WORDS_MAX, len(column)) and enum is None:
            # Ids of which each is there once: those of the rows alone, which may be few of all.
            decoded: list[Any] = column.dictionary_decode().to_numpy(zero_copy_only=False).tolist()
            return decoded
        words: list[Any] = column.dictionary.to_pylist()
        if is_repeated and len(words) <= _WORDS_MAX:
            # Names of pairs are then those that books are found by, however many files they come from.
            words = [intern(word) if type(word) is str else word for word in words]
        if enum is not None:
            # Where values are missing, an empty word keeps their place among the words, also of rows cut out of such.
            is_there = [bool(word) or _has(column, place) for place, word in enumerate(words)]
            words = [enum(word) if there else None for word, there in zip(words, is_there, strict=True)]
        if column.null_count:
            return [None if index is None else words[index] for index in column.indices.to_pylist()]
        if len(words) == 1:
            return words * len(column)
        return list(map(words.__getitem__, column.indices.to_numpy().tolist()))
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    if column.null_count == len(column):
        return [None] * len(column)
    if column.null_count:
        return list(column.to_pylist())
    found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return found
