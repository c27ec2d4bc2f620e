"""What columns have to say of a message, for tests of whatever gives columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from recordings.columns.column_batch import NO_COUNT, NO_TIME, ColumnBatch, Flag, Kind, Names
from replay.column_tape import ColumnTape
from replay.tape import Tape
from toolkit.books.tracker import OrderBookTracker
from toolkit.digest import canonical_bytes
from toolkit.messages import (
    FORM_QUOTE,
    BestQuote,
    BookDiff,
    BookSnapshot,
    FundingInfo,
    FundingKind,
    Message,
    Side,
    Trade,
)


def told(batch: ColumnBatch, place: int, names: Names) -> tuple[Any, ...]:
    """All that the columns say of a message."""
    row = batch.rows[place]
    flags, kind = Flag(int(row["flags"])), Kind(int(row["kind"]))
    begin = int(row["first"])
    middle = begin + int(row["bids"])
    end = middle + int(row["asks"])
    levels = [
        (column[begin:middle].tolist(), column[middle:end].tolist())
        for column in (batch.prices, batch.sizes, batch.counts)
    ]
    pair = names.pairs[row["pair"]] if row["pair"] >= 0 else None
    ts_event = None if row["ts_event"] == NO_TIME else int(row["ts_event"])
    head = (kind, pair, ts_event, int(row["ts_recv"]), int(row["capture_seq"]), int(row["sub_seq"]))
    more: tuple[Any, ...] = ()
    if kind <= Kind.QUOTE:
        cap = None if row["cap"] < 0 else int(row["cap"])
        more = (names.forms[row["form"]], cap, Flag.FUSED in flags, Flag.COUNTED in flags)
    elif kind is Kind.TRADE:
        more = tuple(flag in flags for flag in (Flag.SELL, Flag.HISTORY, Flag.DUPLICATE, Flag.UNMATCHED))
    else:
        more = (canonical_bytes(batch.message(place)), Flag.SETTLED in flags)
    return (*head, *more, _without_nan(levels))


def expected(message: Message) -> tuple[Any, ...]:
    """The same of the message itself."""
    pair = (message.venue, message.trading_pair) if message.trading_pair else None
    head = (pair, message.ts_event, message.ts_recv, message.capture_seq, message.sub_seq)
    if isinstance(message, BookSnapshot | BookDiff):
        kind = Kind.SNAPSHOT if isinstance(message, BookSnapshot) else Kind.DIFF
        counts = [
            list(given) if is_counted else [NO_COUNT] * levels
            for given, levels in (
                (message.bid_counts, len(message.bid_prices)),
                (message.ask_counts, len(message.ask_prices)),
            )
            for is_counted in [bool(message.bid_counts or message.ask_counts)]
        ]
        more: tuple[Any, ...] = (
            message.form,
            None if (message.depth_cap or 0) < 0 else message.depth_cap,
            message.fused,
            bool(message.bid_counts or message.ask_counts),
        )
        sides = [(message.bid_prices, message.ask_prices), (message.bid_sizes, message.ask_sizes)]
        levels = [*((list(bids), list(asks)) for bids, asks in sides), (counts[0], counts[1])]
    elif isinstance(message, BestQuote):
        kind = Kind.QUOTE
        more = (FORM_QUOTE, None, message.fused, False)
        told_counts = [NO_COUNT if each is None else each for each in (message.bid_count, message.ask_count)]
        levels = [
            ([message.bid_price], [message.ask_price]),
            ([message.bid_size], [message.ask_size]),
            ([told_counts[0]], [told_counts[1]]),
        ]
    elif isinstance(message, Trade):
        kind = Kind.TRADE
        is_matched = message.cause in (None, "liquidation")
        more = (message.aggressor_side is Side.SELL, message.is_history, message.is_duplicate, not is_matched)
        levels = [([message.price], []), ([message.size], []), ([NO_COUNT], [])]
    else:
        kind = Kind[_KIND_NAMES.get(type(message).__name__, "ACCOUNT")]
        is_settled = isinstance(message, FundingInfo) and message.kind is FundingKind.SETTLED
        more = (canonical_bytes(message), is_settled)
        levels = [([], [])] * 3
        if isinstance(message, FundingInfo):
            levels = [([message.mark_price], []), ([message.funding_rate], []), ([NO_COUNT], [])]
    return (kind, *head, *more, levels)


_KIND_NAMES = {
    "FundingInfo": "FUNDING",
    "Instrument": "INSTRUMENT",
    "StreamEvent": "EVENT",
    "Liquidation": "LIQUIDATION",
}


def _without_nan(levels: list[Any]) -> list[Any]:
    return [tuple([None if value != value else value for value in side] for side in sides) for sides in levels]


def all_told(batches: Iterable[ColumnBatch], names: Names) -> list[tuple[Any, ...]]:
    """Of every message of some batches."""
    return [told(batch, place, names) for batch in batches for place in range(batch.messages)]


def played(tape: Tape) -> Iterator[Message]:
    """The messages of a tape, with books that are asked for their forms."""
    tracker = OrderBookTracker(checked=True)
    for batch in tape.batches(tracker.fused_forms):
        for message in batch.messages:
            tracker.apply(message)
            yield message


def check_tape(tape: Tape, **options: Any) -> int:
    """Compare the columns of a tape with its messages; how many there are."""
    columns = ColumnTape(tape, **options)
    found = all_told(columns.batches(), columns.names)
    wanted = [expected(message) for message in played(tape)]
    check_same(found, wanted)
    return len(wanted)


def check_whole(tape: Tape, **options: Any) -> int:
    """Compare the messages that the columns of a tape can make, of every kind, with those that it plays."""
    columns = ColumnTape(tape, whole=True, **options)
    found = []
    for batch in columns.batches():
        for place in range(batch.messages):
            message = batch.message(place)
            found.append(canonical_bytes(message))
            if isinstance(message, BookSnapshot | BookDiff):
                assert batch.said(place, "last_update_id") == message.last_update_id
            elif isinstance(message, Trade):
                assert batch.said(place, "trade_id") == message.trade_id
    assert found == [canonical_bytes(message) for message in played(tape)]
    return len(found)


def check_same(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> None:
    """Compare what two lists say, and show the first difference alone: the whole of both is longer than anybody reads."""
    for place, (one, other) in enumerate(zip(found, wanted, strict=False)):
        assert one == other, f"message {place} of {len(wanted)}"
    assert len(found) == len(wanted)
