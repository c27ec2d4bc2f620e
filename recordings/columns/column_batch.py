"""
Normalized rows as columns of numpy, in the order of the messages that they are of.

A batch has one row for each message, and the levels of all of them in arrays beside it, so that compiled code can go
through both without an object. Nothing here knows a venue.

| `MESSAGE`     | type  | what                                                                                       |
|---------------|-------|--------------------------------------------------------------------------------------------|
| `ts_recv`     | int64 | ns                                                                                         |
| `ts_event`    | int64 | ns; `NO_TIME` where the venue gave none                                                     |
| `capture_seq` | int64 |                                                                                            |
| `first`       | int64 | where its levels begin                                                                     |
| `sub_seq`     | int32 |                                                                                            |
| `pair`        | int32 | place of the pair among `Names.pairs`; -1: of a whole connection                            |
| `bids`        | int32 | how many bids there are, which asks follow                                                  |
| `asks`        | int32 | how many                                                                                   |
| `cap`         | int32 | `depth_cap`; -1: none                                                                       |
| `row`         | int32 | where `message` finds the rest of it; -1 of book messages, quotes and trades read in part   |
| `form`        | int16 | of a book message its place among `Names.forms`; else -1                                    |
| `flags`       | int16 | `Flag`                                                                                     |
| `kind`        | int8  | `Kind`                                                                                     |

| levels   | type    | what                                                                                          |
|----------|---------|-----------------------------------------------------------------------------------------------|
| `prices` | float64 | a quote has one of each side, NaN where it has none; a trade has one; of funding, the mark price |
| `sizes`  | float64 | likewise; of funding, the rate                                                                  |
| `counts` | int32   | orders of a level; `NO_COUNT` where the venue does not say, `SIDE_NOT_TOLD` as a quote has it   |
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.columns.row_columns import RowColumns, arrow_of, optional, with_constants
from recordings.format.messages_to_rows import rows_of_messages
from recordings.format.rows_to_messages import book_messages, check_levels, equals, flat_messages, values
from recordings.format.schema import TABLE_OF
from toolkit.errors import RecordingDamaged
from toolkit.messages import FORM_QUOTE, SIDE_NOT_TOLD, Message

__all__ = [
    "MATCHED",
    "MESSAGE",
    "NO_COUNT",
    "NO_TIME",
    "TABLE_COLUMNS",
    "ColumnBatch",
    "Flag",
    "Kind",
    "Names",
    "joined",
    "joined_counts",
    "no_counts",
    "of_book_rows",
    "of_messages",
    "of_rows",
]

#: No time of the venue's.
NO_TIME: Final = -(1 << 63)
#: Nobody counts the orders of a level. Another number than that of a side that a quote says nothing of.
NO_COUNT: Final = SIDE_NOT_TOLD - 1


class Kind(enum.IntEnum):
    """What a message is."""

    SNAPSHOT = 0
    DIFF = 1
    QUOTE = 2
    TRADE = 3
    FUNDING = 4
    INSTRUMENT = 5
    EVENT = 6
    LIQUIDATION = 7
    #: Of an account.
    ACCOUNT = 8


class Flag(enum.IntFlag):
    """What there is to say of a message beside its numbers."""

    #: It takes part in the fused book.
    FUSED = 1
    #: Its levels have counts of orders.
    COUNTED = 2
    #: A trade that happened before the subscription that brought it.
    HISTORY = 4
    #: A trade that has been in this recording before.
    DUPLICATE = 8
    #: A trade whose taker sold.
    SELL = 16
    #: A trade that the venue says was not matched in the book.
    UNMATCHED = 32
    #: Funding that was charged, not what is current.
    SETTLED = 64


_KINDS: Final = {
    "bbo": Kind.QUOTE,
    "trades": Kind.TRADE,
    "funding": Kind.FUNDING,
    "instruments": Kind.INSTRUMENT,
    "events": Kind.EVENT,
    "liquidations": Kind.LIQUIDATION,
}
#: Causes of trades that were matched in the book; others name why one was not.
MATCHED: Final = frozenset({None, "liquidation"})
#: Columns of the tables that are read here; of others all are, for `ColumnBatch.message`.
_HEAD: Final = ("venue", "symbol", "trading_pair", "ts_event", "ts_recv", "capture_seq", "sub_seq")
TABLE_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "book": (
        *_HEAD,
        "form",
        "fused",
        "depth_cap",
        "is_snapshot",
        "is_first",
        "is_last",
        "side",
        "price",
        "size",
        "count",
    ),
    "bbo": (*_HEAD, "fused", "bid_price", "bid_size", "bid_count", "ask_price", "ask_size", "ask_count"),
    "trades": (*_HEAD, "aggressor_side", "price", "size", "is_history", "is_duplicate", "cause"),
}
#: Columns of `book` that are the same in all rows of a message.
_PER_MESSAGE: Final = (*_HEAD, "form", "fused", "depth_cap", "is_snapshot")
#: Messages that are made at a time, at most.
_STRETCH_MAX: Final = 4096
_IDS: Final = ("first_update_id", "last_update_id", "prev_update_id")


class Names:
    """
    The pairs and forms that columns name by their place.

    Args:
        pairs: Venue and trading pair of those that have the first places.

    Attributes:
        pairs: Venue and trading pair of each place.
        forms: The forms of books, by place.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: list[tuple[str, str]] = [(venue, pair) for venue, pair in pairs]
        self.forms: list[str] = []
        self._places = {pair: place for place, pair in enumerate(self.pairs)}
        self._forms: dict[str, int] = {}

    def pair(self, venue: str, trading_pair: str) -> int:
        """The place of a pair, which a new one is given; -1 for that of a whole connection."""
        if not trading_pair:
            return -1
        key = (venue, trading_pair)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.pairs)
            self.pairs.append(key)
        return place

    def places_of(self, other: Names) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int16]]:
        """What the places of pairs and forms by other names are here, where new ones are given; of each -1 is the last."""
        pairs = [self.pair(*pair) for pair in other.pairs]
        forms = [self.form(form) for form in other.forms]
        return np.array([*pairs, -1], np.int32), np.array([*forms, -1], np.int16)

    def form(self, form: str) -> int:
        """The place of a form, which a new one is given."""
        place = self._forms.get(form)
        if place is None:
            place = self._forms[form] = len(self.forms)
            self.forms.append(form)
        return place


#: See the table above.
MESSAGE: Final = np.dtype(
    [
        ("ts_recv", "i8"),
        ("ts_event", "i8"),
        ("capture_seq", "i8"),
        ("first", "i8"),
        ("sub_seq", "i4"),
        ("pair", "i4"),
        ("bids", "i4"),
        ("asks", "i4"),
        ("cap", "i4"),
        ("row", "i4"),
        ("form", "i2"),
        ("flags", "i2"),
        ("kind", "i1"),
    ],
    align=True,
)


class ColumnBatch(NamedTuple):
    """Messages that follow each other, and their levels, see above; `rest` has those rows that `row` counts."""

    rows: npt.NDArray[np.void]
    prices: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int32]
    rest: tuple[_Rest, ...] = ()

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return len(self.rows)

    def message(self, place: int) -> Message:
        """
        The message at a place: of any kind where the tape is read as a whole, else of a kind from `FUNDING` on.

        It is made when it is asked for. One that is asked for again may be another object, equal to the one before.
        """
        rest, row = self._rest_of(place)
        return rest.message(row)

    def messages_at(self, places: npt.NDArray[np.intp] | npt.NDArray[np.int64]) -> list[Message]:
        """The messages at places; as `message` has them, and many in less time than one after the other."""
        found: list[Any] = [None] * len(places)
        rows, count = self.rows["row"][places], 0
        for rest in self.rest:
            own = np.flatnonzero((rows >= 0) & (rows < rest.count))
            if len(own):
                count += len(own)
                for at, message in zip(own.tolist(), rest.messages(rows[own].tolist()), strict=True):
                    found[at] = message
            rows = rows - rest.count
        if count != len(places):
            raise IndexError(f"no message is kept of {len(places) - count:,} of {len(places):,} places")
        return found

    def said(self, place: int, name: str) -> Any:
        """What the row of a message says in a column of its table, of several rows the first; as `message` has it."""
        rest, row = self._rest_of(place)
        return rest.column(name)[row]

    def all_said(self, places: npt.NDArray[np.intp], name: str) -> list[Any]:
        """The same of many messages of one table, in order."""
        found: list[Any] = []
        rows = self.rows["row"][places]
        for rest in self.rest:
            own = rows[(rows >= 0) & (rows < rest.count)]
            if len(own):
                column = rest.column(name)
                found += map(column.__getitem__, own.tolist())
            rows = rows - rest.count
        return found

    def _rest_of(self, place: int) -> tuple[_Rest, int]:
        row = int(self.rows["row"][place])
        for rest in self.rest:
            if 0 <= row < rest.count:
                return rest, row
            row -= rest.count
        raise IndexError(f"no message is kept for place {place}: it is of kind {self.rows['kind'][place]}")

    def part(self, begin: int, end: int) -> ColumnBatch:
        """The messages of some places; levels are shared."""
        return self._replace(rows=self.rows[begin:end])

    @property
    def level_span(self) -> tuple[int, int]:
        """Where the levels of its messages begin and end, if these lie in their order."""
        if not len(self.rows):
            return 0, 0
        last = self.rows[-1]
        return int(self.rows["first"][0]), int(last["first"]) + int(last["bids"]) + int(last["asks"])

    def trimmed(self) -> ColumnBatch:
        """The same without levels before its first message's and after its last one's; messages lie in their order."""
        begin, end = self.level_span
        if begin == 0 and end == len(self.prices):
            return self
        rows = _of_words(_in_words(self.rows).copy())
        rows["first"] -= begin
        return ColumnBatch(rows, self.prices[begin:end], self.sizes[begin:end], self.counts[begin:end], self.rest)


class _Rest:
    """
    Rows of a table whose columns are not all here, made into messages as these are asked for.

    Where one after the other is asked for they are made by ever longer stretches, since a stretch costs little more than
    its first message; one alone is made alone.

    Args:
        count: How many messages there are.
        rows: Rows that are held back, or the first row of each.
        make: Makes the messages of some places, from the first to before the last.
    """

    def __init__(self, count: int, rows: pa.RecordBatch, make: Callable[[int, int], Sequence[Message]]) -> None:
        self.count = count
        self._rows = rows
        self._make = make
        self._begin = 0
        self._made: Sequence[Message] = ()
        self._stretch = 1
        self._columns: dict[str, Sequence[Any]] = {}

    def message(self, row: int) -> Message:
        at = row - self._begin
        if not 0 <= at < len(self._made):
            is_next = 0 <= at - len(self._made) < self._stretch
            self._stretch = min(2 * self._stretch, _STRETCH_MAX) if is_next else max(1, self._stretch // 2)
            self._made = self._make(row, min(row + self._stretch, self.count))
            self._begin, at = row, 0
        return self._made[at]

    def messages(self, rows: Sequence[int]) -> list[Message]:
        """Those of some rows: made at once where most between the first and the last of them are wanted."""
        begin, end = min(rows), max(rows) + 1
        if end - begin > 2 * len(rows):
            return [self.message(row) for row in rows]
        if not self._begin <= begin < end <= self._begin + len(self._made):
            self._made, self._begin = self._make(begin, end), begin
        made, first = self._made, self._begin
        return [made[row - first] for row in rows]

    def column(self, name: str) -> Sequence[Any]:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = values(optional(self._rows, name))
        return column


def joined(batches: Sequence[ColumnBatch], order: npt.NDArray[np.intp] | None = None) -> ColumnBatch:
    """
    Several batches as one.

    Args:
        batches: One at least; their levels stay where they are, one batch's after the other's.
        order: Order of the messages, by their places one batch after the other; None for that one.
    """
    if len(batches) == 1 and order is None:
        return batches[0]
    # As words: numpy copies records field by field.
    words = np.concatenate([_in_words(batch.rows) for batch in batches])
    prices = np.concatenate([batch.prices for batch in batches])
    sizes = np.concatenate([batch.sizes for batch in batches])
    counts = joined_counts([batch.counts for batch in batches])
    rows = _of_words(words)
    level, row, at = 0, 0, 0
    for batch in batches:
        part = rows[at : at + batch.messages]
        part["first"] += level
        if batch.rest:
            part["row"][part["row"] >= 0] += row
            row += sum(rest.count for rest in batch.rest)
        level += len(batch.prices)
        at += batch.messages
    if order is not None:
        rows = _of_words(words[order])
    return ColumnBatch(rows, prices, sizes, counts, tuple(rest for batch in batches for rest in batch.rest))


def _in_words(rows: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Rows of `MESSAGE` as they lie in memory."""
    return rows.view(np.int64).reshape(len(rows), MESSAGE.itemsize // 8)


def _of_words(words: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    return words.view(MESSAGE).reshape(len(words))


#: Counts of levels that have none, which all batches share; longer once more are asked for.
_uncounted = [np.full(1 << 17, NO_COUNT, np.int32)]


def no_counts(levels: int) -> npt.NDArray[np.int32]:
    """Counts of so many levels that have none. Nobody may write to them."""
    if levels > len(_uncounted[0]):
        _uncounted[0] = np.full(2 * levels, NO_COUNT, np.int32)
    return _uncounted[0][:levels]


def joined_counts(parts: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    """Counts of levels one after the other; those that all batches share stay so."""
    if all(len(part) == 0 or part.base is _uncounted[0] for part in parts):
        return no_counts(sum(map(len, parts)))
    return np.concatenate(parts)


_NO_LEVELS: Final = (np.empty(0, np.float64), np.empty(0, np.float64), np.empty(0, np.int32))
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


# -- from rows -----------------------------------------------------------------------------------------------------


def of_rows(
    table: str, given: pa.RecordBatch, names: Names, constants: Mapping[str, Any] = _NONE, *, whole: bool = False
) -> ColumnBatch:
    """
    Rows of a table other than `book`, in their order.

    Args:
        table: Its name.
        given: The rows.
        names: Numbers of pairs and forms, by name.
        constants: Columns that are not there, since they have one value in all rows.
        whole: Whether all columns are there, and are kept for `ColumnBatch.message`.

    Raises RecordingDamaged for those that cannot be.
    """
    count = len(given)
    kind = _KINDS.get(table, Kind.ACCOUNT)
    keeps = whole or kind >= Kind.FUNDING
    if keeps:
        given, constants = with_constants(given, constants), _NONE
    rows = RowColumns(given, constants)
    heads = _heads(rows, names, kind)
    levels = _NO_LEVELS
    rest: tuple[_Rest, ...] = ()
    if keeps:
        rest = (_Rest(count, given, lambda begin, end: flat_messages(table, given.slice(begin, end - begin))),)
    if keeps:
        heads["row"] = np.arange(count)
    uncounted = no_counts(count)
    if kind is Kind.QUOTE:
        levels = _quoted(rows)
        heads["bids"] = heads["asks"] = 1
        heads["first"] = np.arange(count) * 2
        heads["form"] = names.form(FORM_QUOTE)
        _add_flags(heads, rows.flags("fused"), Flag.FUSED)
    elif kind is Kind.TRADE:
        levels = (rows.floats("price"), rows.floats("size"), uncounted)
        heads["bids"] = 1
        heads["first"] = np.arange(count)
        _add_flags(heads, equals(rows.column("aggressor_side"), "sell"), Flag.SELL)
        _add_flags(heads, rows.flags("is_history"), Flag.HISTORY)
        _add_flags(heads, rows.flags("is_duplicate"), Flag.DUPLICATE)
        _set_unmatched(heads, rows)
    elif kind is Kind.FUNDING:
        levels = (rows.floats("mark_price"), rows.floats("funding_rate"), uncounted)
        heads["bids"] = 1
        heads["first"] = np.arange(count)
        _add_flags(heads, equals(rows.column("kind"), "settled"), Flag.SETTLED)
    return ColumnBatch(heads, *levels, rest)


def of_book_rows(
    rows: pa.RecordBatch, names: Names, constants: Mapping[str, Any] = _NONE, *, whole: bool = False
) -> ColumnBatch:
    """
    Whole rows of `book`, in their order; as `of_rows`.

    Raises RecordingDamaged for rows that are no book.
    """
    starts: Any = np.flatnonzero(rows.column("is_first").to_numpy(zero_copy_only=False))
    if len(rows) and (not len(starts) or starts[0] != 0):
        raise RecordingDamaged("a book message without its first row: expected is_first on the first row of each")
    check_levels(rows)
    price, size = rows.column("price"), rows.column("size")
    levels = np.diff(starts, append=len(rows))
    if price.null_count:
        levels = _sums(price.is_valid().to_numpy(zero_copy_only=False), starts)
        price, size = price.fill_null(0.0), size.fill_null(0.0)
    bids = _sums(equals(rows.column("side"), "bid"), starts)
    wanted = (*_PER_MESSAGE, *_IDS, "count") if whole else (*_PER_MESSAGE, "count")
    here = [name for name in wanted if rows.schema.get_field_index(name) >= 0]
    firsts = rows.select(here)
    if len(starts) < len(rows):
        firsts = firsts.take(arrow_of(starts))
    if whole:
        firsts = with_constants(firsts, constants)
    first = RowColumns(firsts, _NONE if whole else constants)
    heads = _heads(first, names, Kind.DIFF)
    _set_where(heads, "kind", first.flags("is_snapshot"), Kind.SNAPSHOT)
    heads["first"], heads["bids"], heads["asks"] = starts, bids, levels - bids
    if first.has("depth_cap"):
        heads["cap"] = first.column("depth_cap").cast(pa.int32()).fill_null(-1).to_numpy()
    heads["form"] = first.places("form", names.form)
    _add_flags(heads, first.flags("fused"), Flag.FUSED)
    counts = no_counts(len(rows))
    if RowColumns(rows, _NONE).has("count"):
        _add_flags(heads, first.column("count").is_valid().to_numpy(zero_copy_only=False), Flag.COUNTED)
        counts = rows.column("count").fill_null(NO_COUNT).to_numpy()
    rest: tuple[_Rest, ...] = ()
    if whole:
        heads["row"] = np.arange(len(heads))
        bounds = np.append(starts, len(rows)).tolist()

        def made(begin: int, end: int) -> Sequence[Message]:
            first = bounds[begin]
            return book_messages(with_constants(rows.slice(first, bounds[end] - first), constants))

        rest = (_Rest(len(heads), firsts, made),)
    return ColumnBatch(heads, price.to_numpy(), size.to_numpy(), counts, rest)


def of_messages(messages: Sequence[Message], names: Names, *, whole: bool = False) -> ColumnBatch:
    """Messages of any kind, in their order, by way of the rows that they would be."""
    if not messages:
        return ColumnBatch(np.zeros(0, MESSAGE), *_NO_LEVELS)
    by_table: dict[str, list[int]] = {}
    for place, message in enumerate(messages):
        by_table.setdefault(TABLE_OF[type(message)], []).append(place)
    batches = []
    for table, places in by_table.items():
        rows = rows_of_messages(table, [messages[place] for place in places])
        if table == "book":
            batches.append(of_book_rows(rows, names, whole=whole))
        else:
            batches.append(of_rows(table, rows, names, whole=whole))
    order = np.argsort(np.concatenate([np.array(places) for places in by_table.values()]), kind="stable")
    return joined(batches, order)


def _sums(flags: Any, starts: Any) -> Any:
    return np.add.reduceat(flags, starts, dtype=np.int64) if len(starts) else starts


def _heads(rows: RowColumns, names: Names, kind: Kind) -> npt.NDArray[np.void]:
    """What all messages have, one to a row."""
    heads = np.zeros(len(rows), MESSAGE)
    heads["kind"] = kind
    heads["pair"] = rows.pairs(names.pair)
    heads["ts_recv"] = rows.times("ts_recv", NO_TIME)
    heads["ts_event"] = rows.times("ts_event", NO_TIME)
    heads["capture_seq"] = rows.column("capture_seq").to_numpy()
    heads["sub_seq"] = rows.column("sub_seq").to_numpy()
    heads["row"] = heads["form"] = heads["cap"] = -1
    return heads


def _set_where(heads: npt.NDArray[np.void], name: str, where: Any, value: int) -> None:
    if where is True:
        heads[name] = value
    elif where is not False:
        heads[name][where] = value


def _add_flags(heads: npt.NDArray[np.void], where: Any, flag: Flag) -> None:
    """Add a flag in the rows where it holds: one answer for each, or one for all."""
    if where is True:
        heads["flags"] |= flag
    elif where is not False and where.any():
        heads["flags"] |= np.where(where, np.int16(flag), np.int16(0))


def _set_unmatched(heads: npt.NDArray[np.void], rows: RowColumns) -> None:
    if rows.has("cause"):
        causes = rows.column("cause").to_pylist()
        _add_flags(heads, np.array([cause not in MATCHED for cause in causes]), Flag.UNMATCHED)


def _quoted(rows: RowColumns) -> tuple[Any, Any, Any]:
    """Bid and ask of each quote, one after the other."""
    prices, sizes = (
        np.stack([rows.floats(f"{side}_{name}") for side in ("bid", "ask")], axis=1).reshape(-1)
        for name in ("price", "size")
    )
    if not (rows.has("bid_count") or rows.has("ask_count")):
        return prices, sizes, no_counts(len(prices))
    # What is no number of orders says that a side is not told of, and is kept.
    counts = [rows.column(f"{side}_count").cast(pa.int32()).fill_null(NO_COUNT).to_numpy() for side in ("bid", "ask")]
    return prices, sizes, np.stack(counts, axis=1).reshape(-1)
