"""
One venue of the simulated exchange: its markets in the matching core, and the orders that it has.

Market data waits in a buffer until something depends on it: an order that rests and may be reached, a request that
arrives, or the buffer's length. What reaches no order that rests changes the book and queues alone, of which nothing is
received: so it may wait, and the matching core takes in many events at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from typing import Final

from replay.backtest.event_buffer import EventBuffer
from replay.backtest.market import Market
from replay.backtest.market_feed import Levels, PairFeed
from replay.backtest.reports import response_of
from replay.backtest.requests import OwnOrder, Response
from replay.backtest.venue_facts import Admission, VenueFacts
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import FAR, EventCode, Reason, ReportCode, RequestCode
from replay.market.rules import Rules
from toolkit.books.orderbook import OrderBook
from toolkit.messages import BookDiff, FundingInfo, Instrument, Message, Trade

__all__ = ["VenueDesk"]

_ROWS_MAX: Final = 4096
_STALE: Final = int(EventCode.STALE)
_RESUME: Final = int(EventCode.RESUME)
#: Answers after which an order has a new place in a queue, if it rests.
_PLACED: Final = frozenset({ReportCode.ACCEPTED, ReportCode.AMENDED})


class VenueDesk:
    """
    A venue's side of things, at its own time.

    Args:
        venue: Its name.
        markets: Markets of the venue, by their place among all.
        places: How many pairs there are in all.
        rules: Rules of matching.
        facts: Limits and words of the venue.
        compiled: Whether to run machine code or plain Python.
        tell: Called with what came of market data that had to be matched before anybody asked.
        count_finer: Called with a pair that is counted in finer steps from now on, and how many new ticks and lots an
            old one is.

    Attributes:
        venue: Name of the venue as given.
        alive: The orders that it has, by id.
        stale: Places of the pairs whose book cannot be believed.
        marks: Newest mark price of each pair that has one.
        admission: Count of orders and requests, against the venue's limits.
        is_pressing: Whether something waits that may reach an order that rests, so that `flush` may tell of it.
        queued: Place of the pair, and the size ahead of it, of each order at the time it came to rest or was
            amended; None where it rests outside of the recorded depth.
    """

    def __init__(
        self,
        venue: str,
        markets: Mapping[int, Market],
        places: int,
        rules: Rules,
        facts: VenueFacts,
        *,
        compiled: bool,
        tell: Callable[[VenueDesk, list[Response]], None],
        count_finer: Callable[[int, int, int], None],
    ) -> None:
        self.venue = venue
        self._tell = tell
        self._count_finer = count_finer
        self._markets = markets
        self._buffer = EventBuffer()
        self.rules = rules
        self.core = MatchingCore([PairFacts() for _ in range(places)], rules, compiled=compiled)
        self.feeds = {place: self._make_feed(place, market) for place, market in markets.items()}
        self.alive: dict[int, OwnOrder] = {}
        self.stale: set[int] = set()
        self.marks: dict[int, float] = {}
        self.admission = Admission(facts)
        self.is_pressing = False
        self.queued: list[tuple[int, float | None]] = []
        #: Of each pair its best own buy and sell that rest, as prices; forgotten when orders change.
        self._own: dict[int, tuple[float, float]] = {}
        for place in markets:
            self._say(place, _STALE, 0)
            self.stale.add(place)

    def _make_feed(self, place: int, market: Market) -> PairFeed:
        held, refine = partial(self._held, place), partial(self._refine, place)
        return PairFeed(place, market.key, market.scale, self._buffer, held, refine)

    # -- the market ------------------------------------------------------------------------------------------------

    def take(self, place: int, message: Message, book: OrderBook | None, now_ns: int) -> bool:
        """
        A message about a pair.

        Args:
            place: Place of the pair.
            message: The message.
            book: The recorded book that it has changed; None if it changed none.
            now_ns: Our time.

        Returns:
            Whether the book cannot be believed from now on, or can again: see `stale`.
        """
        feed = self.feeds[place]
        if book is not None:
            feed.book = book
        if type(message) is Trade and not self.alive:
            feed.pass_trade(message, now_ns)
            return False
        feed.take(message, now_ns)
        if self.alive and not self.is_pressing:
            self.is_pressing = self._may_reach(place, message, book)
        if self._buffer.count >= _ROWS_MAX and not self.is_pressing:
            self._tell(self, self._flush())
        return book is not None and book.is_stale is not (place in self.stale) and self._turn(place, book, now_ns)

    def _may_reach(self, place: int, message: Message, book: OrderBook | None) -> bool:
        """Whether a message may fill or end an own order of its pair."""
        own = self._own.get(place)
        if own is None:
            own = self._own[place] = self._own_best(place)
        bid, ask = own
        if type(message) is Trade:
            return message.price <= bid or message.price >= ask
        if type(message) is BookDiff:
            bids, asks = message.bid_prices, message.ask_prices
            return bool((bids and max(bids) >= ask) or (asks and min(asks) <= bid))
        if book is None:
            return False
        # Of other forms the book has what they made of it.
        best_bid, best_ask = book.bids.best_price, book.asks.best_price
        return bool((best_bid is not None and best_bid >= ask) or (best_ask is not None and best_ask <= bid))

    def _own_best(self, place: int) -> tuple[float, float]:
        """Prices up to which, and from which on, the market reaches an own order."""
        scale = self._markets[place].scale
        if scale is None or self.core.has_reducing:
            return inf, -inf
        bid, ask = self.core.own_best(place)
        return -inf if bid is None else scale.price(bid), inf if ask is None else scale.price(ask)

    def _turn(self, place: int, book: OrderBook, now_ns: int) -> bool:
        if book.is_stale:
            self.stale.add(place)
        else:
            self.stale.discard(place)
        self._say(place, _STALE if book.is_stale else _RESUME, now_ns)
        return True

    def join(self, place: int, book: OrderBook, forms: list[str], now_ns: int) -> None:
        """Go on from a book that was made elsewhere, of those forms."""
        feed = self.feeds[place]
        feed.book = book
        feed.forms.update(forms)
        feed.say_again(now_ns)
        self.is_pressing = bool(self.alive)
        if book.is_stale is not (place in self.stale):
            self._turn(place, book, now_ns)

    def forget(self, now_ns: int) -> None:
        """Forget every book: the tape goes elsewhere."""
        for place, market in self._markets.items():
            self.feeds[place] = self._make_feed(place, market)
            if place not in self.stale:
                self.stale.add(place)
                self._say(place, _STALE, now_ns)

    def _say(self, place: int, code: int, now_ns: int) -> None:
        self._buffer.add(now_ns, now_ns, -1, 0, 0, -1, place, code, 0)
        self.is_pressing = bool(self.alive)

    def hear_instrument(self, place: int, message: Instrument, now_ns: int) -> None:
        """Tick, lot and least value of a pair from now on."""
        market, feed = self._markets[place], self.feeds[place]
        self.settle()
        before = market.scale
        is_other = market.take(message)
        scale = feed.scale = market.scale
        if not is_other or scale is None:
            return
        if before is None:
            feed.say_again(now_ns)
            self.is_pressing = bool(self.alive)
        else:
            self._rescale(place, int(before.tick / scale.tick), int(before.lot / scale.lot))

    def _refine(self, place: int, prices: Iterable[float], sizes: Iterable[float]) -> bool:
        """Count a pair in steps that fit these prices and sizes: a venue may use finer ones before it says so."""
        self.settle()
        finer = self._markets[place].refine(prices, sizes)
        if finer is None:
            return False
        self.feeds[place].scale = self._markets[place].scale
        self._rescale(place, *finer)
        return True

    def _rescale(self, place: int, ticks: int, lots: int) -> None:
        self.core.rescale(place, ticks, lots)
        self._own.clear()
        self._count_finer(place, ticks, lots)

    def hear_funding(self, place: int, message: FundingInfo) -> None:
        """A mark price."""
        if message.mark_price is not None:
            self.marks[place] = message.mark_price

    def reference(self, place: int, side: int) -> float | None:
        """What an order at market is valued at: the mark price, or else the best price that it would take."""
        if place in self.marks:
            return self.marks[place]
        return self.best(place)[1 - side]

    def best(self, place: int) -> tuple[float | None, float | None]:
        """The best bid and ask of the recorded book, after all that waits; None where the side is empty."""
        self.settle()
        scale = self._markets[place].scale
        bid, ask = self.core.best(place)
        return (
            None if bid is None or scale is None else scale.price(bid),
            None if ask is None or scale is None else scale.price(ask),
        )

    def middle(self, place: int) -> float | None:
        """The middle of the recorded book; None where a side is empty."""
        bid, ask = self.best(place)
        return None if bid is None or ask is None else (bid + ask) / 2

    def crowded(self, place: int) -> Reason | None:
        """Why no further order may rest; None if one may."""
        facts = self.admission.facts
        if facts.max_orders is not None and len(self.alive) >= facts.max_orders:
            return Reason.TOO_MANY_ORDERS
        of_pair = facts.max_orders_per_pair
        if of_pair is None or len(self.alive) < of_pair:
            return None
        return Reason.TOO_MANY_ORDERS if sum(each.pair == place for each in self.alive.values()) >= of_pair else None

    # -- orders ----------------------------------------------------------------------------------------------------

    def _held(self, place: int) -> Levels:
        """What the core holds of a pair, after all that waits."""
        scale = self._markets[place].scale
        if scale is None:
            return {}, {}
        self.settle()
        bids, asks = self.core.levels(place)
        return (
            {scale.price(key): (scale.size(lots), count) for key, lots, _, count in bids},
            {scale.price(-key): (scale.size(lots), count) for key, lots, _, count in asks},
        )

    def pass_messages(self) -> None:
        """Messages have been taken in by the core itself: what came of them waits."""
        self.is_pressing = self.core.has_reports

    def settle(self) -> None:
        """Let the market act, and tell what came of it."""
        if self._buffer.count or self.core.has_reports:
            self._tell(self, self._flush())
        else:
            self.is_pressing = False

    def catch_up(self) -> list[Response]:
        """Let the market act; what came of it."""
        return self._flush()

    def flush(self) -> list[Response]:
        """Let the market act on the orders that rest; what came of it."""
        return self._flush() if self.alive else []

    def ask(self, code: RequestCode, at_ns: int, number: int, **fields: int) -> list[Response]:
        """A request arrives at the core, after all that the market did before; what came of both."""
        came = self._flush() if self._buffer.count or self.is_pressing else []
        self.core.ask(at_ns, number, code, **fields)
        self._own.clear()
        # Each execution is answered, whatever `responses` says: positions are made of them.
        answered = [response_of(row) for row in self.core.take_rows()]
        for each in answered:
            if each.code in _PLACED and each.left and each.request == number:
                self._note_queued(each)
        return came + answered

    def _note_queued(self, response: Response) -> None:
        scale = self._markets[response.pair].scale
        lots = self.core.ahead_of(response.order_id)
        if lots is not None and scale is not None:
            self.queued.append((response.pair, scale.size(lots) if lots < FAR else None))

    def _flush(self) -> list[Response]:
        if not self._buffer.count:
            self.is_pressing = False
            return self._collect()
        self.core.run(self._buffer.rows)
        self._buffer.drop()
        self.is_pressing = False
        return self._collect()

    def _collect(self) -> list[Response]:
        if not self.core.has_reports:
            return []
        self._own.clear()
        # Each execution is answered, whatever `responses` says: positions are made of them.
        return [response_of(row) for row in self.core.take_rows()]
