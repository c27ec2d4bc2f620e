"""Columns of messages, as a venue's compiled code gives them, to rows of the tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from recordings.format.parquet_options import PLAIN_COLUMNS
from recordings.format.schema import ALL_TABLES
from toolkit.columnar import DiffColumns, FrameBatch, MessageColumns, QuoteColumns, TopColumns, TradeColumns

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


def rows_of(venue: str, frames: FrameBatch, columns: MessageColumns | TopColumns) -> tuple[str, pa.RecordBatch]:
    """The table, and its rows in the schema of `dictionary_schema`."""
    words = {"venue": venue, "symbol": columns.symbol, "trading_pair": columns.trading_pair}
    if isinstance(columns, DiffColumns):
        table, values = "book", _levels(columns)
        rows = columns.level_count
        words["form"] = columns.form
    elif isinstance(columns, QuoteColumns):
        table, values = "bbo", _quotes(columns)
        rows = None
    elif isinstance(columns, TradeColumns):
        table, values = "trades", _trades(columns)
        rows = None
    else:
        table, values = "top", _tops(columns)
        rows = None
    count = len(columns) if rows is None else int(rows.sum())
    has_time = columns.ts_event >= 0
    ts_event = _times(_spread(columns.ts_event, rows), None if has_time.all() else ~_spread(has_time, rows))
    firsts = pa.array(np.zeros(count, np.int32))
    for name, word in words.items():
        values[name] = pa.DictionaryArray.from_arrays(firsts, pa.array([word], pa.string()))
    values |= {
        "ts_event": ts_event,
        "ts_recv": _times(_spread(frames.ts_recv[columns.frame], rows)),
        "capture_seq": pa.array(_spread(columns.frame + frames.first_seq, rows)),
    }
    if "sub_seq" not in values:
        values["sub_seq"] = firsts
    schema = dictionary_schema(table)
    arrays = [values[name] if name in values else pa.nulls(count, schema.field(name).type) for name in schema.names]
    return table, pa.RecordBatch.from_arrays(arrays, schema=schema)


def _spread(values: Any, rows: Any) -> Any:
    return values if rows is None else np.repeat(values, rows)


def _times(values: Any, mask: Any = None) -> pa.Array:
    return pa.array(values, pa.int64(), mask=mask).view(pa.timestamp("ns"))


def _floats(values: Any) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(values, mask=missing) if missing.any() else pa.array(values)


def _levels(columns: DiffColumns) -> dict[str, pa.Array]:
    counts = columns.level_count
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    within = np.arange(total) - np.repeat(starts, counts)
    first = within == 0
    side = (within >= np.repeat(columns.bid_count, counts)).astype(np.int32)
    values = {
        "fused": pa.array(np.ones(total, np.bool_)),
        "is_snapshot": pa.array(np.zeros(total, np.bool_)),
        "is_first": pa.array(first),
        "is_last": pa.array(np.roll(first, -1)),
        "side": pa.DictionaryArray.from_arrays(pa.array(side), SIDES),
        "price": pa.array(columns.price),
        "size": pa.array(columns.size),
        "first_update_id": pa.array(np.repeat(columns.first_update_id, counts)),
        "last_update_id": pa.array(np.repeat(columns.last_update_id, counts)),
        "sub_seq": pa.array(within.astype(np.int32)),
    }
    if columns.prev_update_id is not None:
        values["prev_update_id"] = pa.array(np.repeat(columns.prev_update_id, counts))
    return values


def _quotes(columns: QuoteColumns) -> dict[str, pa.Array]:
    return {
        "fused": pa.array(np.zeros(len(columns), np.bool_)),
        "bid_price": pa.array(columns.bid_price),
        "bid_size": pa.array(columns.bid_size),
        "ask_price": pa.array(columns.ask_price),
        "ask_size": pa.array(columns.ask_size),
        "update_id": pa.array(columns.update_id),
    }


_TAKERS = pa.array(["buy", "sell"])


def _trades(columns: TradeColumns) -> dict[str, pa.Array]:
    ids = pa.array(columns.trade_id).cast(pa.string())
    if columns.id_prefix:
        ids = pa.array([f"{columns.id_prefix}{trade_id}" for trade_id in columns.trade_id.tolist()], pa.string())
    side = pa.DictionaryArray.from_arrays(pa.array(columns.is_sell.astype(np.int32)), _TAKERS)
    return {
        "aggressor_side": side,
        "price": pa.array(columns.price),
        "size": pa.array(columns.size),
        "trade_id": ids,
        "is_history": pa.array(np.zeros(len(columns), np.bool_)),
        "is_duplicate": pa.array(columns.is_duplicate),
    }


def _tops(columns: TopColumns) -> dict[str, pa.Array]:
    return {
        "bid_price": _floats(columns.bid_price),
        "bid_size": _floats(columns.bid_size),
        "ask_price": _floats(columns.ask_price),
        "ask_size": _floats(columns.ask_size),
        "is_stale": pa.array(columns.is_stale),
        "is_crossed": pa.array(columns.is_crossed),
    }
