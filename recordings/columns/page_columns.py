"""
The messages of row groups of `book`, `bbo` and `trades` as columns, from the pages of their files.

What `of_book_rows` and `of_rows` make of rows of Arrow, without these: a row group at a time, and of the columns that are
the same in all rows of a message the first row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import (
    MATCHED,
    MESSAGE,
    NO_COUNT,
    NO_TIME,
    ColumnBatch,
    Flag,
    Kind,
    Names,
    joined_counts,
    no_counts,
)
from recordings.columns.kernel_heads import (
    NO_FIRST,
    NO_PRICE,
    UNEVEN,
    count_levels,
    interleave,
    merge_order,
    place_heads,
    put_heads,
    take_levels,
)
from recordings.columns.parquet_pages import NAN, NotPlain, RowGroupPages, Words
from recordings.reading.selecting import Selection
from toolkit.errors import RecordingDamaged
from toolkit.messages import FORM_QUOTE

__all__ = ["PAGE_TABLES", "in_order", "merged", "of_pages"]

_Array = npt.NDArray[Any]

#: Tables that are read so.
PAGE_TABLES: Final = frozenset({"book", "bbo", "trades"})
_NO_ROWS: Final = np.empty(0, np.int32)
#: No limit of levels; and where levels begin, of messages that all have as many.
_NO_CAP: Final = np.array([-1], np.int32)
_NOWHERE: Final = np.empty(0, np.int64)
_WRONG: Final = {
    NO_FIRST: "a book message without its first row: expected is_first on the first row of each",
    UNEVEN: "prices without sizes, or sizes without prices, in the book table: expected as many",
    NO_PRICE: "a price in the book table is not a finite number above 0",
}
_NO_SIZE: Final = "a size in the book table is not a finite number of 0 or more"


def of_pages(
    table: str, pages: RowGroupPages, names: Names, selection: Selection | None = None, first_seq: int = 0
) -> ColumnBatch:
    """
    The messages of a row group, in its order.

    Args:
        table: One of `PAGE_TABLES`.
        pages: The row group.
        names: Numbers of pairs and forms, by name.
        selection: Instruments that are wanted; None for all.
        first_seq: Frame whose messages are the first.

    Raises:
        NotPlain: It is written in another form than is read here.
        RecordingDamaged: It holds what cannot be.
    """
    batch, symbols = _MAKERS[table](pages, names)
    mask: Any = None
    if selection is not None:
        venues, spelled = symbols()
        mask = _taken(selection, venues, spelled, len(batch.rows))
    if first_seq:
        is_late = batch.rows["capture_seq"] >= first_seq
        mask = is_late if mask is None else mask & is_late
    if mask is None or mask is True or np.all(mask):
        return batch
    return in_order(batch, np.flatnonzero(np.broadcast_to(mask, len(batch.rows))))


def in_order(batch: ColumnBatch, order: npt.NDArray[np.intp]) -> ColumnBatch:
    """Some of the messages, in that order, with their levels in it as well."""
    levels = sum(int(batch.rows[side][order].sum(dtype=np.int64)) for side in ("bids", "asks"))
    rows = np.empty(len(order), MESSAGE)
    prices, sizes = np.empty(levels), np.empty(levels)
    uncounted = no_counts(len(batch.counts))
    is_counted = batch.counts.base is not uncounted.base
    counts = np.empty(levels, np.int32) if is_counted else _NO_ROWS
    take_levels(
        order,
        batch.rows,
        batch.prices,
        batch.sizes,
        batch.counts if is_counted else _NO_ROWS,
        rows,
        prices,
        sizes,
        counts,
    )
    return ColumnBatch(rows, prices, sizes, counts if is_counted else no_counts(levels), batch.rest)


def merged(taken: Sequence[tuple[npt.NDArray[np.int64], ColumnBatch]]) -> ColumnBatch:
    """
    Messages of several runs as one batch, in order.

    Args:
        taken: Messages that are in order, and lie so, with their numbers; of equal numbers the first run's goes first.
    """
    keys = np.concatenate([keys for keys, _ in taken])
    ends = np.cumsum([len(keys) for keys, _ in taken])
    places, rows = np.empty(len(keys), np.int64), np.empty(len(keys), MESSAGE)
    merge_order(keys, np.concatenate([[0], ends[:-1]]), ends, places)
    at, level, rest = 0, 0, 0
    levels = []
    for _, part in taken:
        begin, end = part.level_span
        place_heads(part.rows, places[at : at + part.messages], level - begin, rest, rows)
        levels.append((part.prices[begin:end], part.sizes[begin:end], part.counts[begin:end]))
        at += part.messages
        level += end - begin
        rest += sum(each.count for each in part.rest)
    prices, sizes, counts = zip(*levels, strict=True)
    kept = tuple(each for _, part in taken for each in part.rest)
    return ColumnBatch(rows, np.concatenate(prices), np.concatenate(sizes), joined_counts(counts), kept)


def _taken(selection: Selection, venues: Words, symbols: Words, rows: int) -> Any:
    takes = np.array([[selection.takes(venue, name) for venue in venues.words] for name in symbols.words])
    if takes.all():
        return True
    return takes[symbols.codes, venues.codes]


_Symbols = Callable[[], tuple[Words, Words]]


def _book(pages: RowGroupPages, names: Names) -> tuple[ColumnBatch, _Symbols]:
    starts = np.flatnonzero(pages.flags("is_first"))
    last = pages.flags("is_last")
    if pages.rows and not last[-1]:
        raise NotPlain("a message goes on in the next row group")
    prices = pages.numbers("price", NAN)
    present = pages.present
    sizes = pages.numbers("size", NAN)
    sides = pages.words("side")
    bid = sides.words.index("bid") if "bid" in sides.words else -2
    bids, levels = (pages.empty(name, len(starts), np.int64) for name in ("bids", "levels"))
    found = count_levels(starts, sides.codes, bid, prices, sizes, bids, levels)
    if found == 0 and int(levels.sum()) != present:
        found = NO_PRICE  # what is missing is NaN here, which is no price either
    if found:
        raise RecordingDamaged(_WRONG.get(found, _NO_SIZE))
    flags = _flag(pages, "fused", Flag.FUSED, starts)
    counts = no_counts(pages.rows)
    if not _is_empty(pages, "count"):
        counts = pages.numbers("count", NO_COUNT)
        flags = flags | np.where(counts[starts] != NO_COUNT, np.int16(Flag.COUNTED), np.int16(0))
    is_snapshot = _flag(pages, "is_snapshot", 1, starts)
    rows = _heads(
        pages,
        names,
        starts,
        kinds=np.where(is_snapshot != 0, np.int16(Kind.SNAPSHOT), np.int16(Kind.DIFF)),
        forms=_places(pages.words("form", starts), names.form),
        flags=flags,
        caps=_NO_CAP if _is_empty(pages, "depth_cap") else pages.numbers("depth_cap", -1, starts),
        firsts=starts,
        bids=bids,
        levels=levels,
    )
    return ColumnBatch(rows, prices, sizes, counts), lambda: (
        pages.words("venue", starts),
        pages.words("symbol", starts),
    )


def _bbo(pages: RowGroupPages, names: Names) -> tuple[ColumnBatch, _Symbols]:
    rows = _heads(
        pages,
        names,
        None,
        kinds=_one_number(Kind.QUOTE, np.int16),
        forms=_one_number(names.form(FORM_QUOTE), np.int64),
        flags=_flag(pages, "fused", Flag.FUSED),
        caps=_NO_CAP,
        firsts=_NOWHERE,
        bids=_one_number(1, np.int64),
        levels=_one_number(2, np.int64),
    )
    prices, sizes = (pages.empty(name, 2 * pages.rows, np.float64) for name in ("prices", "sizes"))
    interleave(pages.numbers("bid_price", NAN), pages.numbers("ask_price", NAN), prices)
    interleave(pages.numbers("bid_size", NAN), pages.numbers("ask_size", NAN), sizes)
    counts = no_counts(2 * pages.rows)
    if not (_is_empty(pages, "bid_count") and _is_empty(pages, "ask_count")):
        # What is no number of orders says that a side is not told of, and is kept.
        counts = np.stack([pages.numbers(f"{side}_count", NO_COUNT) for side in ("bid", "ask")], axis=1).reshape(-1)
    batch = ColumnBatch(rows, prices, sizes, counts)
    return batch, lambda: (pages.words("venue"), pages.words("symbol"))


def _trades(pages: RowGroupPages, names: Names) -> tuple[ColumnBatch, _Symbols]:
    sides = pages.words("aggressor_side")
    sell = sides.words.index("sell") if "sell" in sides.words else -2
    flags = np.where(sides.codes == sell, np.int16(Flag.SELL), np.int16(0))
    flags |= _flag(pages, "is_history", Flag.HISTORY)
    flags |= _flag(pages, "is_duplicate", Flag.DUPLICATE)
    if not _is_empty(pages, "cause"):
        causes = pages.words("cause")
        is_matched = np.array([*(cause in MATCHED for cause in causes.words), None in MATCHED])
        flags |= np.where(is_matched[causes.codes], np.int16(0), np.int16(Flag.UNMATCHED))
    rows = _heads(
        pages,
        names,
        None,
        kinds=_one_number(Kind.TRADE, np.int16),
        forms=_one_number(-1, np.int64),
        flags=flags,
        caps=_NO_CAP,
        firsts=_NOWHERE,
        bids=_one_number(1, np.int64),
        levels=_one_number(1, np.int64),
    )
    batch = ColumnBatch(rows, pages.numbers("price", NAN), pages.numbers("size", NAN), no_counts(pages.rows))
    return batch, lambda: (pages.words("venue"), pages.words("symbol"))


_MAKERS: Final[dict[str, Callable[[RowGroupPages, Names], tuple[ColumnBatch, _Symbols]]]] = {
    "book": _book,
    "bbo": _bbo,
    "trades": _trades,
}


def _heads(pages: RowGroupPages, names: Names, starts: _Array | None, **more: _Array) -> npt.NDArray[np.void]:
    """What messages are; `more` are those of the columns of `put_heads` that differ from table to table."""
    rows = pages.empty("rows", pages.rows if starts is None else len(starts), MESSAGE)
    put_heads(
        rows,
        more["kinds"],
        pages.numbers("ts_recv", NO_TIME, starts),
        pages.numbers("ts_event", NO_TIME, starts),
        pages.numbers("capture_seq", -1, starts),
        pages.numbers("sub_seq", -1, starts),
        _pairs(pages, names, starts),
        more["forms"],
        more["flags"],
        more["caps"],
        more["firsts"],
        more["bids"],
        more["levels"],
    )
    return rows


def _one_number(value: int, kind: Any) -> _Array:
    return np.array([value], kind)


def _pairs(pages: RowGroupPages, names: Names, starts: _Array | None) -> _Array:
    """Places of pairs: one for each row, or one for all."""
    venue, pair = _one(pages, "venue"), _one(pages, "trading_pair")
    if venue is not None and pair is not None:
        return np.array([names.pair(venue[0], pair[0])])
    venues, pairs = pages.words("venue", starts), pages.words("trading_pair", starts)
    codes = venues.codes.astype(np.int64) * max(len(pairs.words), 1) + pairs.codes
    if len(codes) and codes.min() < 0:
        raise NotPlain("venue")
    return _looked_up(
        codes, lambda code: names.pair(venues.words[code // len(pairs.words)], pairs.words[code % len(pairs.words)])
    )


def _places(column: Words, place: Callable[[str], int]) -> _Array:
    if len(column.codes) and column.codes.min() < 0:
        raise NotPlain("form")
    return _looked_up(column.codes, lambda code: place(column.words[code]))


def _looked_up(codes: _Array, place: Callable[[int], int]) -> _Array:
    """The places of small numbers, given in their order: one for each, or one for all."""
    there: Sequence[int] = np.flatnonzero(np.bincount(codes)).tolist() if len(codes) else [0]
    if not len(codes):
        return np.array([-1])
    if len(there) == 1:
        return np.array([place(there[0])])
    table = np.full(there[-1] + 1, -1, np.int64)
    for code in there:
        table[code] = place(code)
    found: _Array = table[codes]
    return found


def _one(pages: RowGroupPages, name: str) -> tuple[Any] | None:
    """The one value of a column, by what is known without reading it; that of an older format's is null."""
    return pages.one_value(name) if pages.has(name) else (None,)


def _is_empty(pages: RowGroupPages, name: str) -> bool:
    return _one(pages, name) == (None,)


def _flag(pages: RowGroupPages, name: str, flag: int, starts: _Array | None = None) -> _Array:
    """A flag where a column of truths says so: one for each row, or one for all."""
    one = _one(pages, name)
    if one is not None:
        return np.array([int(flag) if one[0] else 0], np.int16)
    told = pages.flags(name)
    return (told if starts is None else told[starts]).astype(np.int16) * np.int16(flag)
