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

from recordings.format.messages_to_rows import rows_of_messages
from recordings.format.rows_to_messages import book_messages, check_levels, equals, flat_messages, values
from recordings.format.schema import TABLE_OF, TABLES
from toolkit.errors import RecordingDamaged
from toolkit.messages import FORM_QUOTE, SIDE_NOT_TOLD, Message

__all__ = [
    "MESSAGE",
    "NO_COUNT",
    "NO_TIME",
    "TABLE_COLUMNS",
    "ColumnBatch",
    "Flag",
    "Kind",
    "Names",
    "joined",
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
_MATCHED: Final = frozenset({None, "liquidation"})
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

    def trimmed(self) -> ColumnBatch:
        """The same without levels before its first message's and after its last one's; messages lie in their order."""
        if not len(self.rows):
            return self._replace(prices=self.prices[:0], sizes=self.sizes[:0], counts=self.counts[:0])
        last = self.rows[-1]
        begin, end = int(self.rows["first"][0]), int(last["first"]) + int(last["bids"]) + int(last["asks"])
        if begin == 0 and end == len(self.prices):
            return self
        rows = self.rows.copy()
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

    def column(self, name: str) -> Sequence[Any]:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = values(_optional(self._rows, name))
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
    rows = np.concatenate([batch.rows for batch in batches])
    prices = np.concatenate([batch.prices for batch in batches])
    sizes = np.concatenate([batch.sizes for batch in batches])
    counts = np.concatenate([batch.counts for batch in batches])
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
        rows = rows[order]
    return ColumnBatch(rows, prices, sizes, counts, tuple(rest for batch in batches for rest in batch.rest))


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
    rows = _with(given, constants)
    count = len(rows)
    kind = _KINDS.get(table, Kind.ACCOUNT)
    heads = _heads(rows, names, kind)
    levels = _NO_LEVELS
    keeps = whole or kind >= Kind.FUNDING
    rest: tuple[_Rest, ...] = ()
    if keeps:
        rest = (_Rest(count, rows, lambda begin, end: flat_messages(table, rows.slice(begin, end - begin))),)
    if keeps:
        heads["row"] = np.arange(count)
    uncounted = np.full(count, NO_COUNT, np.int32)
    if kind is Kind.QUOTE:
        levels = _quoted(rows)
        heads["bids"] = heads["asks"] = 1
        heads["first"] = np.arange(count) * 2
        heads["form"] = names.form(FORM_QUOTE)
        _set(heads, rows, "fused", Flag.FUSED)
    elif kind is Kind.TRADE:
        levels = (_floats(rows, "price"), _floats(rows, "size"), uncounted)
        heads["bids"] = 1
        heads["first"] = np.arange(count)
        heads["flags"][equals(rows.column("aggressor_side"), "sell")] |= Flag.SELL
        _set(heads, rows, "is_history", Flag.HISTORY)
        _set(heads, rows, "is_duplicate", Flag.DUPLICATE)
        _set_unmatched(heads, rows)
    elif kind is Kind.FUNDING:
        levels = (_floats(rows, "mark_price"), _floats(rows, "funding_rate"), uncounted)
        heads["bids"] = 1
        heads["first"] = np.arange(count)
        heads["flags"][equals(rows.column("kind"), "settled")] |= Flag.SETTLED
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
    price, size, count = rows.column("price"), rows.column("size"), _optional(rows, "count")
    levels = np.diff(starts, append=len(rows))
    if price.null_count:
        levels = _sums(price.is_valid().to_numpy(zero_copy_only=False), starts)
        price, size = price.fill_null(0.0), size.fill_null(0.0)
    bids = _sums(equals(rows.column("side"), "bid"), starts)
    wanted = (*_PER_MESSAGE, *_IDS, "count") if whole else (*_PER_MESSAGE, "count")
    here = [name for name in wanted if rows.schema.get_field_index(name) >= 0]
    firsts = _with(rows.select(here).take(pa.array(starts)), constants)
    is_snapshot = firsts.column("is_snapshot").to_numpy(zero_copy_only=False)
    heads = _heads(firsts, names, np.where(is_snapshot, Kind.SNAPSHOT, Kind.DIFF))
    heads["first"], heads["bids"], heads["asks"] = starts, bids, levels - bids
    heads["cap"] = _optional(firsts, "depth_cap").cast(pa.int32()).fill_null(-1).to_numpy()
    heads["form"] = _codes(firsts.column("form"), names.form)
    _set(heads, firsts, "fused", Flag.FUSED)
    counts = np.full(len(rows), NO_COUNT, np.int32)
    if count.null_count < len(count):
        heads["flags"][_optional(firsts, "count").is_valid().to_numpy(zero_copy_only=False)] |= Flag.COUNTED
        counts = count.fill_null(NO_COUNT).to_numpy()
    rest: tuple[_Rest, ...] = ()
    if whole:
        heads["row"] = np.arange(len(heads))
        bounds = np.append(starts, len(rows)).tolist()

        def made(begin: int, end: int) -> Sequence[Message]:
            first = bounds[begin]
            return book_messages(_with(rows.slice(first, bounds[end] - first), constants))

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


def _with(rows: pa.RecordBatch, constants: Mapping[str, Any]) -> pa.RecordBatch:
    """Rows with the columns that have one value in all of them."""
    for name, value in constants.items():
        if isinstance(value, str):
            column: Any = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), pa.array([value]))
        else:
            column = pa.repeat(pa.scalar(value, _TYPES.get(name)), len(rows))
        rows = rows.append_column(name, column)
    return rows


def _heads(rows: pa.RecordBatch, names: Names, kind: Any) -> npt.NDArray[np.void]:
    """What all messages have, one to a row."""
    heads = np.zeros(len(rows), MESSAGE)
    heads["kind"] = kind
    heads["pair"] = _pairs(rows, names)
    heads["ts_recv"] = rows.column("ts_recv").cast(pa.int64()).to_numpy()
    heads["ts_event"] = rows.column("ts_event").cast(pa.int64()).fill_null(NO_TIME).to_numpy()
    heads["capture_seq"] = rows.column("capture_seq").to_numpy()
    heads["sub_seq"] = rows.column("sub_seq").to_numpy()
    heads["row"] = heads["form"] = heads["cap"] = -1
    return heads


def _pairs(rows: pa.RecordBatch, names: Names) -> Any:
    venues, pairs = _words(rows.column("venue")), _words(rows.column("trading_pair"))
    width = max(len(pairs.dictionary), 1)
    codes = venues.indices.to_numpy().astype(np.int64) * width + pairs.indices.to_numpy()
    venue_words, pair_words = venues.dictionary.to_pylist(), pairs.dictionary.to_pylist()
    return _looked_up(codes, lambda code: names.pair(venue_words[code // width], pair_words[code % width]))


def _looked_up(codes: Any, place: Callable[[int], int]) -> Any:
    """The places of small numbers."""
    there = np.flatnonzero(np.bincount(codes)) if len(codes) else codes
    if len(there) == 1:
        return place(int(there[0]))
    table = np.full(int(there[-1]) + 1 if len(there) else 1, -1, np.int64)
    for code in there.tolist():
        table[code] = place(code)
    return table[codes]


def _words(column: pa.Array) -> pa.DictionaryArray:
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _codes(column: pa.Array, place: Callable[[str], int]) -> Any:
    words = _words(column)
    texts = words.dictionary.to_pylist()
    return _looked_up(words.indices.to_numpy(), lambda code: place(texts[code]))


def _optional(rows: pa.RecordBatch, name: str) -> pa.Array:
    """A column, or nulls where an older format had none."""
    at = rows.schema.get_field_index(name)
    return rows.column(at) if at >= 0 else pa.nulls(len(rows), _TYPES[name])


_TYPES: Final = {field.name: field.type for table in ("trades", "funding", "bbo", "book") for field in TABLES[table]}


def _floats(rows: pa.RecordBatch, name: str) -> Any:
    return _optional(rows, name).cast(pa.float64()).fill_null(np.nan).to_numpy()


def _set(heads: npt.NDArray[np.void], rows: pa.RecordBatch, name: str, flag: Flag) -> None:
    heads["flags"][_optional(rows, name).fill_null(False).to_numpy(zero_copy_only=False)] |= flag


def _set_unmatched(heads: npt.NDArray[np.void], rows: pa.RecordBatch) -> None:
    causes = _optional(rows, "cause")
    if causes.null_count < len(causes):
        heads["flags"][[cause not in _MATCHED for cause in causes.to_pylist()]] |= Flag.UNMATCHED


def _quoted(rows: pa.RecordBatch) -> tuple[Any, Any, Any]:
    """Bid and ask of each quote, one after the other."""
    columns = []
    for name in ("price", "size", "count"):
        bids, asks = _optional(rows, f"bid_{name}"), _optional(rows, f"ask_{name}")
        if name == "count":
            # What is no number of orders says that a side is not told of, and is kept.
            sides = [each.cast(pa.int32()).fill_null(NO_COUNT).to_numpy() for each in (bids, asks)]
        else:
            sides = [each.cast(pa.float64()).fill_null(np.nan).to_numpy() for each in (bids, asks)]
        columns.append(np.stack(sides, axis=1).reshape(-1))
    return columns[0], columns[1], columns[2]
