"""Where the desk of a session sends to, when the exchange is the compiled engine: requests go into its arrays."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from replay.backtest.market import Market
from replay.backtest.requests import NewOrder, OwnOrder, Refusal, Response, check_order, own_order
from replay.fast.engine_layout import CLOCK, ORDER, POST, Engine
from replay.market.layout import RequestCode
from toolkit.errors import ConfigError

__all__ = ["CLOCK_AT", "REQUESTS_MAX", "EngineExchange", "words_of"]

#: Requests of one call that there is room for, as many as a callback may ask for.
REQUESTS_MAX: Final = 10_000
#: Place of each field of the engine's clock, in words.
CLOCK_AT: Final[dict[str, int]] = {name: place for place, name in enumerate(CLOCK.names or ())}
_NOW, _NUMBERS, _ORDERS, _OPEN, _FREE = (CLOCK_AT[name] for name in ("now", "numbers", "orders", "open", "free"))
_POSTS, _POST_AT, _DIRTY = (CLOCK_AT[name] for name in ("posts", "post_at", "is_dirty"))
_ORDER_AT: Final = {name: place for place, name in enumerate(ORDER.names or ())}
_LEFT, _PENDING, _CANCELLING, _NUMBER, _ARRIVES = (
    _ORDER_AT[name] for name in ("left", "pending", "cancelling", "number", "arrives")
)
_ORDER_WORDS: Final = len(_ORDER_AT)
_POST_WORDS: Final = len(POST.names or ())
#: In the order of the layouts, which hold words of 8 bytes alone.
_ORDER: Final = struct.Struct(f"={_ORDER_WORDS}q")
_POST: Final = struct.Struct(f"={_POST_WORDS}q")
#: Latencies are of requests by kind, then of the answers to them, then of what no request did.
_ENTRIES: Final = len(RequestCode)
_NEW, _AMEND, _CANCEL = RequestCode.NEW, RequestCode.AMEND, RequestCode.CANCEL


def words_of(rows: npt.NDArray[Any]) -> memoryview:
    """Rows of words of 8 bytes as their words: reading one so takes a tenth of what a field of a record takes."""
    return rows.view(np.int64).reshape(-1).data.cast("B").cast("q")


class EngineExchange:
    """
    Sends requests into the arrays of an engine, as `replay.backtest.exchange.Exchange` sends them to its venues.

    Args:
        markets: The pairs.
        refuses_early: Whether a request is refused while another about its order is under way.
        comes: Brings the engine to where a request is sent.

    Attributes:
        markets: Markets as given.
        adopted: Orders that the venue has sent in the account's name: none.
        refused: Error for what was asked for that the engine does not do; None: nothing was.
    """

    def __init__(self, markets: Sequence[Market], *, refuses_early: bool, comes: Callable[[], None]) -> None:
        self.markets = tuple(markets)
        self.adopted: dict[int, OwnOrder] = {}
        self.refused: ConfigError | None = None
        self._refuses_early = refuses_early
        self._comes = comes
        #: Those that have not ended, or that something under way is about, with their slots.
        self._own: dict[int, tuple[OwnOrder, int]] = {}
        #: While a session ends: kinds of the requests that were answered, and when each order was last heard of.
        self._codes: dict[int, RequestCode] = {}
        self._heard: dict[int, int] = {}

    def bind(self, engine: Engine) -> None:
        """Use the arrays of an engine, which are others after they have grown."""
        hands = engine.hands
        self._clock = words_of(hands.clock)
        self._orders, self._posts = words_of(hands.orders), words_of(hands.posts)
        self._order_bytes, self._post_bytes = self._orders.cast("B"), self._posts.cast("B")
        self._listed, self._free = words_of(hands.listed), words_of(hands.free)
        self._pending = words_of(hands.pending)
        self._pending_words = hands.pending.shape[1]
        self._posts_max, self._orders_max = len(hands.posts), len(hands.orders)
        self._latency: list[int] = hands.latency.tolist()

    @property
    def has_room(self) -> bool:
        """Whether there is room for all that one more call may ask for."""
        clock = self._clock
        under_way = clock[_POSTS] - clock[_POST_AT]
        return clock[_FREE] > REQUESTS_MAX and self._posts_max - under_way > 2 * REQUESTS_MAX

    @property
    def room_times(self) -> int:
        """How many times the room of now is enough for that: a power of two."""
        clock, times = self._clock, 1
        under_way = clock[_POSTS] - clock[_POST_AT]
        while (
            clock[_FREE] + (times - 1) * self._orders_max <= REQUESTS_MAX
            or times * self._posts_max - under_way <= 2 * REQUESTS_MAX
        ):
            times *= 2
        return times

    @property
    def request_count(self) -> int:
        """Requests so far."""
        return self._clock[_NUMBERS]

    def refuse(self, what: str) -> NoReturn:
        """
        Raise ConfigError: a strategy does something that was not seen in its source, and that the engine does not do.

        The run is over then, also where the strategy catches that.
        """
        self.refused = ConfigError(
            f"{what}: the compiled engine does not do that, and that it would be asked for was not seen in the source;"
            " run it in plain Python, with fast=False (--plain)"
        )
        raise self.refused

    def orders(self) -> list[OwnOrder]:
        """Those that have not ended, or that something under way is about."""
        return [order for order, _ in self._own.values()]

    def order(self, number: int) -> OwnOrder | None:
        """One of them by its number."""
        found = self._own.get(number)
        return None if found is None else found[0]

    # -- requests ----------------------------------------------------------------------------------------------

    def submit(self, now_ns: int, order: NewOrder) -> OwnOrder:
        """Send an order. Raises ConfigError for what no venue has, and for what the engine does not do."""
        check_order(order, len(self.markets))
        if order.trigger is not None or order.twap_ns or order.good_blocks or order.expires_ns is not None:
            self.refuse("an order that waits, is worked off in parts or ends by itself")
        self._comes()
        clock = self._clock
        number = clock[_ORDERS] + 1
        own = own_order(number, order, now_ns, self.markets[order.pair].scale)
        free = clock[_FREE] - 1
        slot = self._free[free]
        clock[_FREE], clock[_ORDERS] = free, number
        side, lots, tick = order.side, order.lots, order.tick
        _ORDER.pack_into(
            self._order_bytes,
            slot * _ORDER.size,
            *(order.pair, side, 0 if order.is_market else tick, lots, lots, 0, 0, 0, 0, 0, number),
            *(int(order.tif), order.is_market, order.reduce_only, 0, 0, 0, 0, 0),
        )
        count = clock[_OPEN]
        self._listed[count] = slot
        clock[_OPEN] = count + 1
        self._own[number] = own, slot
        self._post(own, slot, _NEW, 0 if order.is_market else tick, lots)
        return own

    def amend(self, now_ns: int, order: OwnOrder, *, tick: int, lots: int) -> Refusal | None:
        """Ask for another price or size; None, or why it was not sent."""
        return self._ask(order, _AMEND, 0 if order.is_market else tick, lots)

    def cancel(self, now_ns: int, order: OwnOrder) -> Refusal | None:
        """Ask for an order back; None, or why that was not sent."""
        return self._ask(order, _CANCEL, 0, 0)

    def schedule_cancel(self, now_ns: int, at_ns: int | None, venue: str | None = None) -> None:
        """Set the dead man's switch. Raises ConfigError: the engine has none."""
        self.refuse("schedule_cancel")

    def _ask(self, order: OwnOrder, code: RequestCode, tick: int, lots: int) -> Refusal | None:
        found = self._own.get(order.order_id)
        if found is None or order.has_ended:
            return Refusal.UNKNOWN_ID
        if order.pending and self._refuses_early:
            return Refusal.PENDING
        self._comes()
        self._post(order, found[1], code, tick, lots)
        return None

    def _post(self, own: OwnOrder, slot: int, code: RequestCode, tick: int, lots: int) -> None:
        """As `kernel_mail.post`."""
        clock, orders, base = self._clock, self._orders, slot * _ORDER_WORDS
        pending = orders[base + _PENDING]
        if 2 * pending >= self._pending_words:
            self.refuse(f"{pending:,} requests under way about one order")
        number = clock[_NUMBERS] + 1
        clock[_NUMBERS], clock[_DIRTY] = number, 1
        at = slot * self._pending_words + 2 * pending
        self._pending[at], self._pending[at + 1] = number, code
        orders[base + _PENDING] = pending + 1
        if code is _CANCEL:
            orders[base + _CANCELLING] += 1
        due = max(clock[_NOW] + self._latency[code], orders[base + _ARRIVES])
        orders[base + _ARRIVES] = due
        place = self._place_for(due)
        _POST.pack_into(
            self._post_bytes,
            place * _POST.size,
            *(due, number, slot, orders[base + _NUMBER], code, tick, lots, orders[base + _LEFT]),
        )
        own.pending[number] = code

    def _place_for(self, due: int) -> int:
        """A place among the requests under way in the order of their times, after those of the same time."""
        clock, posts = self._clock, self._posts
        begin, end = clock[_POST_AT], clock[_POSTS]
        if end == self._posts_max:
            # What is over stands at the beginning.
            waiting = bytes(self._post_bytes[begin * _POST.size : end * _POST.size])
            self._post_bytes[: len(waiting)] = waiting
            begin, end = 0, end - begin
            clock[_POST_AT] = 0
        clock[_POSTS] = end + 1
        at = end
        while at > begin and posts[(at - 1) * _POST_WORDS] > due:
            at -= 1
        if at < end:
            # Of those that come later, one place further.
            later = bytes(self._post_bytes[at * _POST.size : end * _POST.size])
            self._post_bytes[(at + 1) * _POST.size : (end + 1) * _POST.size] = later
        return at

    # -- answers -----------------------------------------------------------------------------------------------

    def deliver(self, response: Response) -> None:
        """An answer is received: the order it is about is as it says, before anybody hears of it."""
        found = self._own.get(response.order_id)
        if found is None:
            return
        order = found[0]
        order.take(response)
        if order.has_ended and not order.pending:
            del self._own[order.order_id]

    def heard_ns(self, response: Response) -> int:
        """When an answer would have been received that is heard before its time, since the session ends."""
        found = self._own.get(response.order_id)
        code = None if found is None else found[0].pending.get(response.request, self._codes.get(response.request))
        if code is not None:
            self._codes[response.request] = code
        at_ns = response.venue_ns + self._latency[_ENTRIES + (_ENTRIES if code is None else code)]
        at_ns = self._heard[response.order_id] = max(at_ns, self._heard.get(response.order_id, at_ns))
        return at_ns

    def note_uncertain(self, number: int) -> None:
        """An order rests while its book does not hold."""
        found = self._own.get(number)
        if found is not None:
            found[0].is_uncertain = True

    def forget(self) -> None:
        """The session has ended: nothing about any order is under way."""
        for order, _ in self._own.values():
            order.pending.clear()
        for each in (self._own, self._codes, self._heard):
            each.clear()
