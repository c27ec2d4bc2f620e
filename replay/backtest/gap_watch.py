"""Keeps note of gaps: since when a pair is in doubt, why, and which orders that touches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from replay.backtest.gap_policy import NO_BOOK, Doubt, StaleSpan
from toolkit.messages import FORM_FULL, EventKind, StreamEvent

__all__ = ["MEANT", "GapWatch"]

_TRADES: Final = "trades"
#: Ends of a session that were meant: nothing is missing after them.
MEANT: Final = frozenset({"stop", "session_end"})


class GapWatch:
    """
    Watches the pairs of an exchange.

    A pair is in doubt while its book is stale, and while its trades are lost: what fills an order may be missing.

    Args:
        count: How many pairs there are.
        doubt: Where it is written down.
    """

    def __init__(self, count: int, doubt: Doubt) -> None:
        self._doubt = doubt
        self._open: list[StaleSpan | None] = [None] * count
        doubt.bookless = [StaleSpan(place, 0, None, NO_BOOK, []) for place in range(count)]
        self._last: list[StaleSpan | None] = [*doubt.bookless]
        #: The orders of the last one, for looking them up.
        self._noted: list[set[int]] = [set() for _ in range(count)]
        #: What is lost of each pair: its book, its trades.
        self._lost: list[set[str]] = [{"book"} for _ in range(count)]
        self._began = [False] * count
        #: How many pairs are in doubt.
        self.open_count = 0

    def is_open(self, place: int) -> bool:
        """Whether a pair is in doubt, after it was not."""
        return self._open[place] is not None

    def lost(self, place: int) -> Collection[str]:
        """What of a pair in doubt is lost, `book` or `trades`; nothing where it is in none."""
        return () if self._open[place] is None else self._lost[place]

    def begin(self, place: int, now_ns: int, cause: str, what: str = "book", *, since_ns: int | None = None) -> bool:
        """
        Something of a pair is lost, since a time that may be earlier than now.

        Returns whether that puts it in doubt, which it was not in before.
        """
        self._lost[place].add(what)
        if not self._began[place] or self._open[place] is not None or cause in MEANT:
            return False
        span = self._open[place] = self._add(StaleSpan(place, now_ns, None, cause, []))
        if since_ns is not None and since_ns < now_ns:
            span.since_ns = since_ns
        self.open_count += 1
        return True

    def _add(self, span: StaleSpan) -> StaleSpan:
        self._last[span.pair] = span
        self._noted[span.pair] = set()
        self._doubt.spans.append(span)
        return span

    def end(self, place: int, now_ns: int, what: str = "book") -> None:
        """It is received again, and whole."""
        self._lost[place].discard(what)
        if what == "book" and not self._began[place]:
            self._began[place] = True
            self._last[place] = None
            self._doubt.bookless = [span for span in self._doubt.bookless if span.pair != place]
        span = self._open[place]
        if span is not None and not self._lost[place]:
            span.end_ns = now_ns
            self._open[place] = None
            self.open_count -= 1

    def hear(self, place: int, event: StreamEvent, now_ns: int) -> bool:
        """An event of a stream. Returns whether the pair's trades are lost by it, which puts it in doubt."""
        if event.stream != _TRADES:
            return False
        if event.kind is EventKind.GAP:
            self.end(place, now_ns, _TRADES)
        return event.kind is EventKind.STALE and self.begin(
            place, now_ns, event.cause, _TRADES, since_ns=event.ts_start
        )

    def is_gap(self, place: int, event: StreamEvent, now_ns: int, *, is_form: bool) -> bool:
        """
        Whether an event is a gap of the pair's book or trades: orders that rest have rested across it.

        One that nothing led up to, since numbers were left out, is over as soon as it is known.

        Args:
            place: Place of the pair.
            event: The event.
            now_ns: Our time.
            is_form: Whether its stream is a form that the pair's book is made of.
        """
        is_ours = is_form or event.stream in (FORM_FULL, _TRADES, "")
        if not is_ours or event.kind is not EventKind.GAP or not self._began[place] or event.cause in MEANT:
            return False
        last = self._last[place]
        if last is None or (last.end_ns is not None and last.end_ns < now_ns):
            start_ns = now_ns if event.ts_start is None else min(event.ts_start, now_ns)
            self._add(StaleSpan(place, start_ns, now_ns, event.cause, []))
        return True

    def rests(self, place: int, order_id: int, *, is_new: bool) -> None:
        """
        An order rests as its pair comes to be in doubt, or has rested across a gap that is just over.

        Args:
            place: Place of the pair.
            order_id: The order.
            is_new: Whether it was certain before.
        """
        self._note(self._last[place], order_id)
        self._doubt.uncertain_orders += is_new

    def comes(self, place: int, order_id: int) -> None:
        """An order comes to rest while its pair is in doubt, or before its book was there."""
        self._note(self._open[place] if self._began[place] else self._last[place], order_id)
        self._doubt.uncertain_orders += 1

    def _note(self, span: StaleSpan | None, order_id: int) -> None:
        if span is not None and order_id not in self._noted[span.pair]:
            self._noted[span.pair].add(order_id)
            span.orders.append(order_id)
