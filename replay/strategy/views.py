"""What a strategy sees of markets and of its own orders: prices and sizes as numbers of the venue's units."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from replay.backtest.market import Market
from replay.backtest.requests import OwnOrder as SentOrder
from replay.backtest.scales import PairScale
from replay.market.layout import STATES, Reason, RequestCode, StateCode
from toolkit.account_messages import TERMINAL_ORDER_STATES, OrderState
from toolkit.books.orderbook import OrderBook
from toolkit.keys import PairKey
from toolkit.messages import Side

__all__ = ["BookView", "Gap", "OwnFill", "OwnOrder", "PositionView", "Quote", "Tif"]

#: A book is looked at as it is: the strategy is called between two messages, and nothing else changes it.
BookView = OrderBook
_CANCELS: Final = frozenset({RequestCode.CANCEL, RequestCode.CANCEL_ALL})


class Tif:
    """How long an order lives: `tif` of an order, or the plain words."""

    GTC: Final = "GTC"
    IOC: Final = "IOC"
    FOK: Final = "FOK"
    GTD: Final = "GTD"


class Quote(NamedTuple):
    """
    Best bid and ask of the fused book.

    Attributes:
        pair: Its name, as `ctx.pairs` spells it.
        bid_price: None where there is none.
        bid_size: Size at it; 0.0 where there is none.
        ask_price: None where there is none.
        ask_size: Size at it; 0.0 where there is none.
        is_stale: Whether the book cannot be believed now.
    """

    pair: str
    bid_price: float | None
    bid_size: float
    ask_price: float | None
    ask_size: float
    is_stale: bool


class OwnOrder:
    """
    An own order, as far as its owner knows; it goes on changing, before `on_order` is called.

    Attributes:
        client_id: `<strategy>-<seed>-<n>`.
        number: Number in the order of requests, from 1.
        key: Venue and pair.
        pair: Its name, as `ctx.pairs` spells it.
        side: Buy or sell.
        tif: `GTC`, `IOC`, `FOK` or `GTD`.
        is_market: Whether it has no limit.
        is_post_only: Whether it is refused rather than taking.
        is_reduce_only: Whether it may only make the position smaller.
        tag: Tag as its owner gave it.
        sent_ns: When it was sent.
        fill_count: Executions seen.
        is_venues: Whether the venue has sent it in the account's name, to liquidate a position.
    """

    __slots__ = (
        "_failure",
        "_market",
        "client_id",
        "fill_count",
        "is_market",
        "is_post_only",
        "is_reduce_only",
        "is_venues",
        "key",
        "number",
        "pair",
        "place",
        "sent",
        "sent_ns",
        "side",
        "tag",
        "tif",
        "was_cancelled",
    )

    def __init__(
        self,
        *,
        number: int,
        client_id: str,
        key: PairKey,
        pair: str,
        place: int,
        side: Side,
        market: Market,
        sent: SentOrder,
        tif: str,
        is_post_only: bool,
        failure: str = "",
        is_venues: bool = False,
    ) -> None:
        self.number = number
        self.client_id = client_id
        self.key = key
        self.pair = pair
        self.place = place
        self.side = side
        self.sent = sent
        self.tif = tif
        self.is_market = sent.is_market
        self.is_post_only = is_post_only
        self.is_reduce_only = sent.reduce_only
        self.tag = sent.tag
        self.sent_ns = sent.sent_ns
        self.fill_count = 0
        self.was_cancelled = False
        self._market = market
        self._failure = failure
        self.is_venues = is_venues

    @property
    def _scale(self) -> PairScale:
        # The exchange counts in the finest tick and lot so far, orders that were sent before as well.
        scale = self._market.scale
        assert scale is not None, "an order is sent where tick and lot are known"
        return scale

    @property
    def state(self) -> OrderState:
        """`PENDING_CREATE` until the venue answers; `FAILED`: a limit of risk kept it from being sent."""
        if self._failure:
            return OrderState.FAILED
        state = self.sent.state
        ended = STATES.get(state)
        if ended is not None and ended in TERMINAL_ORDER_STATES:
            return ended
        pending = self.sent.pending
        if self.sent.is_leaving or (pending and any(code in _CANCELS for code in pending.values())):
            return OrderState.PENDING_CANCEL
        return OrderState.PENDING_CREATE if state is StateCode.UNKNOWN or ended is None else ended

    @property
    def price(self) -> float | None:
        """Limit, as the venue has answered last; None of a market order."""
        return None if self.is_market else self._scale.price(self.sent.tick)

    @property
    def size(self) -> float:
        """All of it, as the venue has answered last."""
        return self._scale.size(self.sent.size)

    @property
    def filled(self) -> float:
        """Executed of it so far."""
        return self._scale.size(self.sent.filled)

    @property
    def left(self) -> float:
        """Still to be filled."""
        return self._scale.size(self.sent.left)

    @property
    def reason(self) -> str:
        """Why it ended, or why the last request about it was refused, in one word; empty where neither is so."""
        return self._failure or ("" if not self.sent.reason else Reason(self.sent.reason).name.lower())

    @property
    def text(self) -> str:
        """The same in the venue's words, where they are known."""
        return self.sent.text

    @property
    def is_uncertain(self) -> bool:
        """Whether it rested while its book did not hold: what happened to it meanwhile is not known."""
        return self.sent.is_uncertain

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return bool(self._failure) or self.sent.has_ended

    @property
    def is_awaited(self) -> bool:
        """Whether an answer about it is on its way."""
        return not self._failure and bool(self.sent.pending)

    def __repr__(self) -> str:
        return f"<{self.client_id}: {self.side} {self.size} of {self.pair} at {self.price}, {self.state}>"


class OwnFill(NamedTuple):
    """
    One execution of an own order.

    Attributes:
        number: Number of the fill, from 1.
        order: The order, as it is after it.
        pair: Name of the pair.
        side: Side of the order.
        price: Executed at.
        size: Executed.
        fee: Paid, in the settlement currency; negative: received. Of a fee in kind what it is worth at that price.
        is_maker: Whether the order rested.
        venue_ns: When it happened, on the clock of the simulated venue.
        fee_size: Part of the size that has paid the fee in kind and is not held: buyers on Binance spot pay so; else 0.
    """

    number: int
    order: OwnOrder
    pair: str
    side: Side
    price: float
    size: float
    fee: Decimal
    is_maker: bool
    venue_ns: int
    fee_size: float = 0.0


class PositionView(NamedTuple):
    """
    What is held of a pair.

    Attributes:
        size: Bought less sold, and less fees in kind, in the unit of sizes: of spot that need be no whole number of lots, so
            `ctx.rules(pair).round_size(size)` is what can be sold.
        entry_price: Average price it was entered at; None without a position.
        unrealized_pnl: At its mark, in the settlement currency; 0 where there is no mark yet.
        realized_pnl: Profit of what was closed, without fees.
        is_uncertain: Whether an order that rested while its book did not hold has changed it.
        traded: Bought less sold, with what of it has paid fees in kind.
    """

    size: float
    entry_price: float | None
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    is_uncertain: bool
    traded: float


class Gap(msgspec.Struct, frozen=True):
    """
    A book that no longer holds, or holds again.

    Attributes:
        pair: Name of the pair.
        is_over: Whether it holds again.
        cause: Why it did not, in one word.
        since_ns: When it ceased to hold.
    """

    pair: str
    is_over: bool
    cause: str
    since_ns: int
