"""Columns of messages, as a venue's compiled code gives them, to rows of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recordings.format.parquet_options import PLAIN_COLUMNS
from recordings.format.schema import ALL_TABLES
from toolkit.columnar import (
    DiffColumns,
    FrameBatch,
    MessageColumns,
    QuoteColumns,
    SnapshotColumns,
    TopColumns,
    TradeColumns,
)

__all__ = ["SIDES", "dictionary_columns", "dictionary_schema", "rows_of"]

#: The dictionary of the column `side` while it is written.
SIDES = pa.array(["bid", "ask"])


@cache
def dictionary_schema(table: str) -> pa.Schema:
    """
    The schema of a table while it is written: strings as dictionaries, which reach the file as plain strings.

    What hardly ever repeats, such as the id of a trade, is text here too.
    """
    words = pa.dictionary(pa.int32(), pa.string())
    is_words = {
        field.name: field.type == pa.string() and field.name not in PLAIN_COLUMNS for field in ALL_TABLES[table]
    }
    return pa.schema(
        [pa.field(field.name, words if is_words[field.name] else field.type) for field in ALL_TABLES[table]]
    )


def dictionary_columns(table: str) -> list[str]:
    """Names of the columns that are to be read as dictionaries in order to be written again."""
    return [field.name for field in dictionary_schema(table) if pa.types.is_dictionary(field.type)]


def rows_of(
    venue: str, frames: FrameBatch, several: Sequence[MessageColumns | TopColumns]
) -> tuple[str, pa.RecordBatch]:
    """The table, and the rows in the schema of `dictionary_schema`, of columns of one kind, one after the other."""
    first = several[0]
    rows: Any = None
    if isinstance(first, DiffColumns):
        diffs = [columns for columns in several if isinstance(columns, DiffColumns)]
        table, values = "book", _levels(diffs)
        rows = _joined([columns.level_count for columns in diffs])
        is_apart = _joined([~columns.fused for columns in diffs]).astype(np.int32)
        values["form"] = _coded([diffs[0].form, diffs[0].form_apart], _spread(is_apart, rows))
    elif isinstance(first, SnapshotColumns):
        snapshots = [columns for columns in several if isinstance(columns, SnapshotColumns)]
        table, values = "book", _snapshots(snapshots)
        rows = _joined([columns.level_count for columns in snapshots])
        codes = _joined([columns.form + place * len(columns.forms) for place, columns in enumerate(snapshots)]).astype(
            np.int32
        )
        caps = np.array([cap for columns in snapshots for cap in columns.depth_caps], np.int32)
        values["form"] = _coded([form for columns in snapshots for form in columns.forms], _spread(codes, rows))
        values["depth_cap"] = pa.array(_spread(caps[codes], rows))
    elif isinstance(first, QuoteColumns):
        table, values = "bbo", _quotes([columns for columns in several if isinstance(columns, QuoteColumns)])
    elif isinstance(first, TradeColumns):
        table, values = "trades", _trades([columns for columns in several if isinstance(columns, TradeColumns)])
    else:
        table, values = "top", _tops([columns for columns in several if isinstance(columns, TopColumns)])
    frame, event = _joined([columns.frame for columns in several]), _joined([columns.ts_event for columns in several])
    has_time = event >= 0
    names = _joined([columns.instrument + start for columns, start in zip(several, _starts(several), strict=True)])
    names = _spread(names, rows)
    total = len(names)
    values |= {
        "venue": _words([venue], [total]),
        "symbol": _coded([symbol for columns in several for symbol in columns.symbols], names),
        "trading_pair": _coded([pair for columns in several for pair in columns.trading_pairs], names),
        "ts_event": _times(_spread(event, rows), None if has_time.all() else ~_spread(has_time, rows)),
        "ts_recv": _times(_spread(frames.ts_recv[frame], rows)),
        "capture_seq": pa.array(_spread(frame + frames.first_seq, rows)),
    }
    if "sub_seq" not in values:
        values["sub_seq"] = pa.array(np.zeros(total, np.int32))
    schema = dictionary_schema(table)
    arrays = [values[name] if name in values else pa.nulls(total, schema.field(name).type) for name in schema.names]
    return table, pa.RecordBatch.from_arrays(arrays, schema=schema)


def _joined(arrays: Sequence[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _spread(values: Any, rows: Any) -> Any:
    return values if rows is None else np.repeat(values, rows)


def _words(words: Sequence[str], counts: Sequence[int]) -> pa.DictionaryArray:
    """Each word so many times; a dictionary holds a word once."""
    places = {word: place for place, word in enumerate(dict.fromkeys(words))}
    codes = np.repeat(np.array([places[word] for word in words], np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([*places], pa.string()))


def _coded(words: Sequence[str], codes: Any) -> pa.DictionaryArray:
    """The word of each code; a dictionary holds a word once."""
    places = {word: place for place, word in enumerate(dict.fromkeys(words))}
    if len(places) < len(words):
        codes = np.array([places[word] for word in words], np.int32)[codes]
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([*places], pa.string()))


def _starts(several: Sequence[MessageColumns | TopColumns]) -> Sequence[np.int32]:
    """The code that the first instrument of each has, where all are one after the other."""
    counts = np.array([len(columns.symbols) for columns in several], np.int32)
    return [*(np.cumsum(counts, dtype=np.int32) - counts)]


def _times(values: Any, mask: Any = None) -> pa.Array:
    return pa.array(values, pa.int64(), mask=mask).view(pa.timestamp("ns"))


def _floats(values: Any) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(values, mask=missing) if missing.any() else pa.array(values)


def _sides(several: Sequence[DiffColumns] | Sequence[SnapshotColumns], *, is_snapshot: bool) -> dict[str, pa.Array]:
    """What rows of levels have, whatever they are of."""
    counts = _joined([columns.level_count for columns in several])
    bid_counts = _joined([columns.bid_count for columns in several])
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    within = np.arange(total) - np.repeat(starts, counts)
    first = within == 0
    side = (within >= np.repeat(bid_counts, counts)).astype(np.int32)
    return {
        "is_snapshot": pa.array(np.full(total, is_snapshot, np.bool_)),
        "is_first": pa.array(first),
        "is_last": pa.array(np.roll(first, -1)),
        "side": pa.DictionaryArray.from_arrays(pa.array(side), SIDES),
        "price": pa.array(_joined([columns.price for columns in several])),
        "size": pa.array(_joined([columns.size for columns in several])),
        "sub_seq": pa.array(within.astype(np.int32)),
    }


def _snapshots(several: Sequence[SnapshotColumns]) -> dict[str, pa.Array]:
    values = _sides(several, is_snapshot=True)
    total = len(values["price"])
    return {
        **values,
        "fused": pa.array(np.ones(total, np.bool_)),
        "count": pa.array(_joined([columns.count for columns in several])),
    }


def _levels(several: Sequence[DiffColumns]) -> dict[str, pa.Array]:
    counts = _joined([columns.level_count for columns in several])
    values = {
        **_sides(several, is_snapshot=False),
        "fused": pa.array(np.repeat(_joined([columns.fused for columns in several]), counts)),
        "first_update_id": pa.array(np.repeat(_joined([columns.first_update_id for columns in several]), counts)),
        "last_update_id": pa.array(np.repeat(_joined([columns.last_update_id for columns in several]), counts)),
    }
    prev = [columns.prev_update_id for columns in several if columns.prev_update_id is not None]
    if prev:
        values["prev_update_id"] = pa.array(np.repeat(_joined(prev), counts))
    return values


def _quotes(several: Sequence[QuoteColumns]) -> dict[str, pa.Array]:
    fused = [np.zeros(len(columns), np.bool_) if columns.fused is None else columns.fused for columns in several]
    values = {
        "fused": pa.array(_joined(fused)),
        "bid_price": _floats(_joined([columns.bid_price for columns in several])),
        "bid_size": _floats(_joined([columns.bid_size for columns in several])),
        "ask_price": _floats(_joined([columns.ask_price for columns in several])),
        "ask_size": _floats(_joined([columns.ask_size for columns in several])),
    }
    ids = [columns.update_id for columns in several if columns.update_id is not None]
    if ids:
        values["update_id"] = pa.array(_joined(ids))
    for name in ("bid_count", "ask_count"):
        counts = [getattr(columns, name) for columns in several if getattr(columns, name) is not None]
        if counts:
            joined = _joined(counts)
            values[name] = pa.array(joined, mask=joined < 0)
    return values


_TAKERS = pa.array(["buy", "sell"])


def _trades(several: Sequence[TradeColumns]) -> dict[str, pa.Array]:
    ids = pa.array(_joined([columns.trade_id for columns in several])).cast(pa.string())
    is_prefixed = _joined([columns.is_prefixed for columns in several])
    if is_prefixed.any():
        prefixes = pa.array(["", several[0].id_prefix]).take(pa.array(is_prefixed.astype(np.int32)))
        ids = pc.binary_join_element_wise(prefixes, ids, "")
    is_sell = _joined([columns.is_sell for columns in several])
    sub_seq = [columns.sub_seq for columns in several if columns.sub_seq is not None]
    return {
        **({"sub_seq": pa.array(_joined(sub_seq))} if sub_seq else {}),
        "aggressor_side": pa.DictionaryArray.from_arrays(pa.array(is_sell.astype(np.int32)), _TAKERS),
        "price": pa.array(_joined([columns.price for columns in several])),
        "size": pa.array(_joined([columns.size for columns in several])),
        "trade_id": ids,
        "is_history": pa.array(np.zeros(len(is_sell), np.bool_)),
        "is_duplicate": pa.array(_joined([columns.is_duplicate for columns in several])),
    }


def _tops(several: Sequence[TopColumns]) -> dict[str, pa.Array]:
    return {
        "bid_price": _floats(_joined([columns.bid_price for columns in several])),
        "bid_size": _floats(_joined([columns.bid_size for columns in several])),
        "ask_price": _floats(_joined([columns.ask_price for columns in several])),
        "ask_size": _floats(_joined([columns.ask_size for columns in several])),
        "is_stale": pa.array(_joined([columns.is_stale for columns in several])),
        "is_crossed": pa.array(_joined([columns.is_crossed for columns in several])),
    }
