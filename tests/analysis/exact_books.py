"""Profit, spreads and gaps of a recording by exact arithmetic, from its messages one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.analysis.reference import Quote, Stretch, stretches
from toolkit.account_messages import Fill, FundingPayment, PositionUpdate
from toolkit.books.tracker import OrderBookTracker
from toolkit.messages import EventKind, FundingInfo, FundingKind, Message, Side, StreamEvent

__all__ = ["Holding", "gaps_of", "profits", "quotes_of", "valid_ns"]


def _exact(value: float) -> Fraction:
    return Fraction(repr(value))


@dataclass
class Holding:
    """What one account has in one perpetual, and what it has moved."""

    size: Fraction = Fraction(0)
    started: Fraction = Fraction(0)
    cash: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    funding: Fraction = Fraction(0)
    mark: Fraction | None = None

    @property
    def net(self) -> Fraction | None:
        if self.size and self.mark is None:
            return None
        return self.cash + self.size * (self.mark or 0) - self.started - self.fees + self.funding


def profits(messages: Iterable[Message], watched: dict[str, int]) -> dict[tuple[str, str], Holding]:
    """
    The holdings of each account and symbol at the end.

    Args:
        messages: Messages of a recording.
        watched: Frame of the first statement of each account: positions in it were there before.
    """
    holdings: dict[tuple[str, str], Holding] = {}
    marks: dict[str, Fraction] = {}
    for message in messages:
        match message:
            case FundingInfo(kind=FundingKind.CURRENT):
                price = message.mark_price if message.mark_price is not None else message.index_price
                if price is not None:
                    marks[message.symbol] = _exact(price)
                    for (_, symbol), each in holdings.items():
                        if symbol == message.symbol:
                            each.mark = marks[symbol]
            case PositionUpdate():
                key = (message.account, message.symbol)
                is_new = key not in holdings
                each = holdings.setdefault(key, Holding(mark=marks.get(message.symbol)))
                if message.size:
                    size = _exact(message.size)
                    if message.position_value is not None:
                        each.mark = _exact(message.position_value) / abs(size)
                    elif message.entry_price is not None and message.unrealized_pnl is not None:
                        each.mark = _exact(message.entry_price) + _exact(message.unrealized_pnl) / size
                    if is_new and message.capture_seq <= watched[message.account]:
                        each.size, each.started = size, size * (each.mark or 0)
            case Fill(is_history=False):
                each = holdings.setdefault((message.account, message.symbol), Holding(mark=marks.get(message.symbol)))
                size = _exact(message.size) * (1 if message.side is Side.BUY else -1)
                each.size += size
                each.cash -= size * _exact(message.price)
                each.fees += _exact(message.fee)
            case FundingPayment(is_history=False):
                each = holdings.setdefault((message.account, message.symbol), Holding(mark=marks.get(message.symbol)))
                each.funding += _exact(message.amount)
            case _:
                pass
    return holdings


@dataclass
class _Course:
    quotes: list[Quote] = field(default_factory=list)
    state: Any = None


def quotes_of(messages: Sequence[Message]) -> dict[tuple[str, str], list[Quote]]:
    """What the fused book of each instrument showed best, whenever that changed; stale since its feed was last heard."""
    tracker = OrderBookTracker(checked=True)
    courses: dict[tuple[str, str], _Course] = {}
    heard: dict[tuple[str, str, int], int] = {}
    for message in messages:
        if isinstance(message, StreamEvent) and message.kind is EventKind.STALE and message.ts_start is not None:
            frame = (message.venue, message.symbol, message.capture_seq)
            heard[frame] = max(heard.get(frame, 0), message.ts_start)
    for message in messages:
        book = tracker.apply(message)
        key = (message.venue, message.symbol)
        if book is None:
            continue
        bid, ask = book.bids.best, book.asks.best
        course = courses.setdefault(key, _Course())
        state = (bid, ask, book.is_stale)
        if state == course.state:
            continue
        course.state = state
        time = message.ts_recv
        if book.is_stale and (*key, message.capture_seq) in heard and course.quotes:
            before = course.quotes[-1].time
            assert before is not None
            time = min(time, max(before, heard[*key, message.capture_seq]))
        course.quotes.append(
            Quote(time, repr(bid.price) if bid else None, repr(ask.price) if ask else None, book.is_stale, key[1])
        )
    return {key: course.quotes for key, course in courses.items()}


def valid_ns(quotes: Sequence[Quote], start: int | None, end: int) -> tuple[int, int, Fraction | None]:
    """Time covered and time valid, ns, and the mean spread over the latter."""
    found: list[Stretch] = list(stretches(quotes, "recv", start, end, counts_end=False))
    valid = [each for each in found if each.state == "valid"]
    length = sum(each.length for each in valid)
    mean = sum((each.spread * each.length for each in valid), Fraction(0)) / length if length else None
    return sum(each.length for each in found), length, mean


def gaps_of(messages: Iterable[Message]) -> list[tuple[str, str, str, str, int | None, int | None]]:
    """Venue, symbol, stream, kind, start and end of each gap, in the order of their events."""
    events = [message for message in messages if isinstance(message, StreamEvent)]
    found: list[tuple[str, str, str, str, int | None, int | None]] = []
    for number, event in enumerate(events):
        start = event.ts_start
        match event.kind:
            case EventKind.GAP | EventKind.LOST:
                pass
            case EventKind.STALE if event.cause not in ("stop", "session_end"):
                same = (event.venue, event.symbol, event.stream)
                kinds = (EventKind.GAP, EventKind.STALE, EventKind.LOST)
                later = [
                    each.kind
                    for each in events[number + 1 :]
                    if (each.venue, each.symbol, each.stream) == same and each.kind in kinds
                ]
                if later[:1] == [EventKind.GAP]:
                    continue
            case EventKind.SESSION_END if event.cause not in ("stop", "session_end", "crash", ""):
                start = event.ts_recv
            case _:
                continue
        start = event.ts_recv if start is None else start
        found.append((event.venue, event.symbol, event.stream, event.kind.value, start, event.ts_end))
    return found
