"""One order book: bids descending, asks ascending, updated in place."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Final

from toolkit.books.book_side import BookSide, LevelSource, Upkeep
from toolkit.books.checked_levels import (
    Columns,
    KeptColumns,
    OrderBookEntry,
    check_levels,
    check_quote,
    shown_level,
)
from toolkit.borders import Shown
from toolkit.errors import BookError
from toolkit.keys import PairKey
from toolkit.messages import SIDE_NOT_TOLD, BestQuote, BookDiff, BookSnapshot, Side

__all__ = [
    "BookSide",
    "Columns",
    "KeptColumns",
    "LevelSource",
    "OrderBook",
    "OrderBookEntry",
    "check_levels",
    "check_quote",
]

#: Decimals are not exact in binary: what differs by less than this share is meant to be equal.
_ROUNDING: Final = 1e-13


class OrderBook(Shown):
    """
    An order book that knows whether it can be believed.

    Attributes:
        trading_pair: Instrument, as we spell it.
        venue: Venue whose book it is; empty where that was not said.
        bids: Bid side; iterating it gives `OrderBookEntry`, best first.
        asks: Ask side.
        is_stale: True before the first snapshot, and from a gap or a lost connection until the next one.
        stale_cause: Why, in one word; empty while the book is good.
    """

    __slots__ = (
        "_ts_event",
        "_ts_recv",
        "_update_id",
        "_upkeep",
        "asks",
        "bids",
        "is_stale",
        "stale_cause",
        "trading_pair",
        "venue",
    )

    def __init__(self, trading_pair: str = "", venue: str = "", upkeep: Upkeep | None = None) -> None:
        self.trading_pair = trading_pair
        self.venue = venue
        self.bids = BookSide(is_bid=True, upkeep=upkeep)
        self.asks = BookSide(is_bid=False, upkeep=upkeep)
        self.is_stale = True
        self.stale_cause = "no snapshot yet"
        self._upkeep = upkeep
        self._ts_event: int | None = None
        self._ts_recv = 0
        self._update_id: int | None = None

    # -- stamps ------------------------------------------------------------------------------------------------

    @property
    def ts_event(self) -> int | None:
        """Venue's time of the newest update taken in, ns; None before the first."""
        self._catch_up()
        return self._ts_event

    @ts_event.setter
    def ts_event(self, ns: int | None) -> None:
        self._catch_up()
        self._ts_event = ns

    @property
    def ts_recv(self) -> int:
        """Our receive time of the newest update, ns."""
        self._catch_up()
        return self._ts_recv

    @ts_recv.setter
    def ts_recv(self, ns: int) -> None:
        self._catch_up()
        self._ts_recv = ns

    @property
    def update_id(self) -> int | None:
        """Venue's sequence number of the newest update; None where it has none."""
        self._catch_up()
        return self._update_id

    @update_id.setter
    def update_id(self, number: int | None) -> None:
        self._catch_up()
        self._update_id = number

    def _catch_up(self) -> None:
        upkeep = self._upkeep
        if upkeep is not None and upkeep.is_ahead:
            upkeep.settle()

    # -- updates -----------------------------------------------------------------------------------------------

    def apply_snapshot(self, message: BookSnapshot) -> None:
        """Become this snapshot. Raises BookError, and stays as it was, if it is no book."""
        previous = self.bids.kept_columns()
        self.bids.replace((message.bid_prices, message.bid_sizes, message.bid_counts))
        try:
            self.asks.replace((message.ask_prices, message.ask_sizes, message.ask_counts))
        except BookError:
            self.bids.replace(previous)
            raise
        self.stamp(message.ts_event, message.ts_recv, message.last_update_id)
        self.is_stale = False
        self.stale_cause = ""

    def apply_diff(
        self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]], update_id: int | None = None
    ) -> None:
        """
        Set levels to absolute sizes; a size of 0 removes the level.

        Raises BookError for NaN, infinity, a negative size, or a price that is not positive; levels before the bad
        one are applied, so the caller should mark the book stale.
        """
        set_bid, set_ask = self.bids.set_level, self.asks.set_level
        for price, size in bids:
            set_bid(price, size)
        for price, size in asks:
            set_ask(price, size)
        if update_id is not None:
            self.update_id = update_id

    def apply_diff_message(self, message: BookDiff, *, checked: bool = False) -> None:
        """
        Apply a diff as it came from a venue. Raises BookError for levels that no book can take.

        `checked` says that the protocol or the reader of a recording has checked them.
        """
        self.bids.set_levels((message.bid_prices, message.bid_sizes, message.bid_counts), checked=checked)
        self.asks.set_levels((message.ask_prices, message.ask_sizes, message.ask_counts), checked=checked)
        self.stamp(message.ts_event, message.ts_recv, message.last_update_id)

    def apply_quote(self, message: BestQuote, *, checked: bool = False) -> None:
        """
        Set both best levels: better ones are gone, as are all of a side that the quote says is empty. A side that it
        says nothing of stays.

        Raises BookError, and stays as it was, if a price or a size is none; `checked` says that this is known.
        """
        if not checked:
            check_quote(message)
        if message.bid_count != SIDE_NOT_TOLD:
            self.bids.set_best(message.bid_price, message.bid_size, message.bid_count)
        if message.ask_count != SIDE_NOT_TOLD:
            self.asks.set_best(message.ask_price, message.ask_size, message.ask_count)
        self.stamp(message.ts_event, message.ts_recv, message.update_id)

    def stamp(self, ts_event: int | None, ts_recv: int, update_id: int | None) -> None:
        """Note the times and sequence number of the newest update."""
        if ts_event is not None:
            self._ts_event = ts_event
        self._ts_recv = ts_recv
        if update_id is not None:
            self._update_id = update_id

    def mark_stale(self, cause: str) -> None:
        """Say that the book cannot be believed until the next snapshot; its levels stay to be looked at."""
        self.is_stale = True
        self.stale_cause = cause

    def _shown(self) -> str:
        name = f"{self.trading_pair} on {self.venue}" if self.venue else self.trading_pair or "of no pair"
        sides = (
            f"{shown_level(self.best_bid)} / {shown_level(self.best_ask)}, {len(self.bids)} bids, {len(self.asks)} asks"
        )
        crossed = ", crossed" if self.is_crossed else ""
        return f"{name}: {sides}{crossed}{f', stale ({self.stale_cause})' if self.is_stale else ''}"

    # -- reading -----------------------------------------------------------------------------------------------

    @property
    def key(self) -> PairKey:
        """Venue and trading pair."""
        return PairKey(self.venue, self.trading_pair)

    @property
    def best_bid(self) -> OrderBookEntry | None:
        """Highest bid, or None."""
        return self.bids.best

    @property
    def best_ask(self) -> OrderBookEntry | None:
        """Lowest ask, or None."""
        return self.asks.best

    @property
    def mid_price(self) -> float | None:
        """Middle between the best prices, in quote currency; None if a side is empty."""
        bid, ask = self.bids.best_price, self.asks.best_price
        return None if bid is None or ask is None else (bid + ask) / 2

    @property
    def spread(self) -> float | None:
        """Best ask minus best bid, in quote currency; negative when crossed, None if a side is empty."""
        bid, ask = self.bids.best_price, self.asks.best_price
        return None if bid is None or ask is None else ask - bid

    @property
    def spread_bps(self) -> float | None:
        """Spread over the mid price, in basis points."""
        mid, spread = self.mid_price, self.spread
        return None if mid is None or spread is None else spread / mid * 1e4

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask: reported, never hidden."""
        bid, ask = self.bids.best_price, self.asks.best_price
        return bid is not None and ask is not None and bid >= ask

    def depth(self, levels: int | None = None) -> tuple[list[OrderBookEntry], list[OrderBookEntry]]:
        """The best levels of both sides, bids first; all of them if `levels` is None."""
        return list(self.bids.levels(levels)), list(self.asks.levels(levels))

    def size_within(self, side: Side | str, bps: float) -> float:
        """
        Resting size no further than `bps` basis points from the mid price, in base currency.

        `side` is the side of the resting orders: `BUY` for bids. 0.0 where there is no mid price.
        """
        mid = self.mid_price
        if mid is None:
            return 0.0
        reach = mid * (bps / 1e4 + _ROUNDING)
        book_side = self.bids if Side(side) is Side.BUY else self.asks
        total = 0.0
        for level in book_side.levels():
            if abs(level.price - mid) > reach:
                break
            total += level.size
        return total

    def price_to_fill(self, side: Side | str, size: float) -> float | None:
        """
        Volume-weighted price of a market order, in quote currency; None if the book is too thin for it.

        `side` is the taker's: `buy` walks up the asks. Raises ValueError for another side than `buy` and `sell`, and
        unless `size` is positive and finite.
        """
        if not (size > 0 and isfinite(size)):
            raise ValueError(f"a size of {size}: expected a positive, finite number")
        left, paid = size, 0.0
        for level in (self.asks if Side(side) is Side.BUY else self.bids).levels():
            taken = min(left, level.size)
            paid += taken * level.price
            left -= taken
            if left <= size * _ROUNDING:
                return paid / size
        return None

    def imbalance(self, levels: int = 1) -> float | None:
        """(bid size - ask size) / (bid size + ask size) over the best `levels`, in [-1, 1]; None if both are empty."""
        bid = sum(level.size for level in self.bids.levels(levels))
        ask = sum(level.size for level in self.asks.levels(levels))
        return (bid - ask) / (bid + ask) if bid + ask > 0 else None

    def staleness_ns(self, now_ns: int) -> int:
        """How long ago the newest update was received, ns on the clock of `now_ns`."""
        return now_ns - self.ts_recv
