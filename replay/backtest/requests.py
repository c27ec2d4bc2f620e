"""
Own orders as their owner knows them: what was sent, and what of it was answered.

The venue's answers come later than what they tell, so this is not what the venue knows. It decides what may be sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from replay.backtest.scales import PairScale
from replay.ledger.margin_rules import ReferencePrice
from replay.market.layout import Reason, ReportCode, RequestCode, StateCode, TifCode
from toolkit.errors import ConfigError

__all__ = [
    "ENDED",
    "NewOrder",
    "Notice",
    "NoticeKind",
    "OwnOrder",
    "OwnOrders",
    "Refusal",
    "Response",
    "Trigger",
    "check_order",
    "own_order",
]

#: States that an order does not leave.
ENDED = frozenset({StateCode.FILLED, StateCode.CANCELLED, StateCode.REJECTED, StateCode.EXPIRED})


class Refusal(enum.StrEnum):
    """Why a request was not sent."""

    #: An order of that id has not been forgotten.
    KNOWN_ID = "known_id"
    #: Another request about the order has not been answered, and the rules refuse one before that.
    PENDING = "pending"
    #: There is no order of that id.
    UNKNOWN_ID = "unknown_id"


class Response(msgspec.Struct, frozen=True, gc=False):
    """
    An answer of the venue, or its word of an execution, as received.

    Attributes:
        received_ns: When we hear of it, on our clock.
        venue_ns: When it happened, on the venue's.
        request: Number of the request that it answers; -1: an order that rested was filled.
        order_id: Number of the order; 0 in a request about many.
        pair: Place of the pair.
        code: Kind of the answer.
        state: State of the order after it; `UNKNOWN` where the request was refused and changed nothing.
        side: 0 buy, 1 sell.
        tick: Price of the execution, or of the order.
        lots: Executed.
        left: Still to be filled.
        filled: Size filled in all.
        size: Size of the order.
        role: 1 maker, 2 taker, 0 where nothing was executed.
        reason: Why it ended or was refused, of `layout.Reason`.
        text: The same in the venue's words, where they are known; for rejections only.
        is_uncertain: Whether the order rested while the book was stale: what is said of it is a guess from then on.
        rate: Fee of the execution, in units of 10**-12 of its worth; None: the fee of the pair.
    """

    received_ns: int
    venue_ns: int
    request: int
    order_id: int
    pair: int
    code: ReportCode
    state: StateCode
    side: int
    tick: int
    lots: int
    left: int
    filled: int
    size: int
    role: int
    reason: int
    text: str = ""
    is_uncertain: bool = False
    rate: int | None = None

    @property
    def is_too_late(self) -> bool:
        """Whether it refuses a request about an order that had ended before the request arrived."""
        return self.code is ReportCode.REFUSED and self.reason == Reason.UNKNOWN_ORDER


class NoticeKind(enum.StrEnum):
    """What the venue has done with the money of an account, of which no order is."""

    #: Funding was paid or received.
    FUNDING = "funding"
    #: The venue has taken a position over.
    TAKEOVER = "takeover"
    #: Cash was deposited or withdrawn.
    TRANSFER = "transfer"


class Notice(Response, frozen=True, gc=False, kw_only=True):
    """
    Something that the venue has done with the money of an account, reported like an answer.

    Attributes:
        kind: Kind of the notice.
        amount: Cash that came in, negative: that went out, in units of cash; of a takeover 0.
        held: Size of the position it is about, or that was taken over, signed, in units of size.
        at_price: Price that it goes by, in units of prices.
        fraction: The rate of funding, in units of 10**-12.
        account: Name of the account, of a transfer.
    """

    kind: NoticeKind
    amount: int = 0
    held: int = 0
    at_price: int = 0
    fraction: int = 0
    account: str = ""

    @classmethod
    def of(
        cls,
        kind: NoticeKind,
        venue_ns: int,
        pair: int,
        *,
        amount: int = 0,
        held: int = 0,
        at_price: int = 0,
        fraction: int = 0,
        account: str = "",
    ) -> Notice:
        """One that has not been received yet."""
        none = (StateCode.UNKNOWN, 0, 0, 0, 0, 0, 0, 0, 0)
        return cls(
            0,
            venue_ns,
            -1,
            0,
            pair,
            ReportCode.DONE,
            *none,
            kind=kind,
            amount=amount,
            held=held,
            at_price=at_price,
            fraction=fraction,
            account=account,
        )


class Trigger(msgspec.Struct, frozen=True, gc=False):
    """
    What wakes an order that waits at the venue until then.

    Attributes:
        tick: The price that the venue's reference has to reach, in ticks of the grid.
        is_above: Whether from below; else from above.
        is_stop: Whether it is a stop; else it takes a profit.
        on: Price of the venue that counts; None: the one that is meant where nothing is said.
    """

    tick: int
    is_above: bool
    is_stop: bool
    on: ReferencePrice | None = None


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    An order to send.

    Attributes:
        pair: Place of the pair.
        side: 0 buy, 1 sell.
        lots: Size, in lots of the market's grid.
        tick: Limit price, in ticks of the grid; of a market order nothing.
        tif: How long it lives.
        is_market: Whether it has no limit.
        reduce_only: Whether it may only make the position smaller.
        expires_ns: When it ends if it still rests then (GTD), on the clock that recorded; None: never.
        tag: Whatever its sender wants to find it by.
        trigger: Condition that wakes it; None: it is awake at once.
        twap_ns: Time in which the venue works it off, in parts; 0: it is an order like others.
        good_blocks: For how many blocks after the one under way it is good, at venues that have such orders; 0: it is none.
    """

    pair: int
    side: int
    lots: int
    tick: int = 0
    tif: TifCode = TifCode.GTC
    is_market: bool = False
    reduce_only: bool = False
    expires_ns: int | None = None
    tag: str = ""
    trigger: Trigger | None = None
    twap_ns: int = 0
    good_blocks: int = 0


@dataclass(slots=True)
class OwnOrder:
    """
    One order, as far as its owner knows.

    Attributes:
        order_id: The owner's id.
        pair: Place of the pair.
        side: 0 buy, 1 sell.
        tick: Its limit, ticks.
        size: Lots in all.
        left: Lots that were not filled.
        state: `UNKNOWN` until the first answer.
        pending: The requests that were not answered, oldest first, by number.
        filled: Lots that were filled.
        sent_ns: When it was sent, on our clock.
        tif: How long it lives.
        is_market: Whether it has no limit.
        reduce_only: Whether it may only make the position smaller.
        expires_ns: When it ends if it still rests then; None: never.
        tag: Its sender's name for it.
        reason: Why it ended, or why the last request about it was refused, of `layout.Reason`.
        text: The same in the venue's words; empty where they are not known.
        is_uncertain: Whether it rested while the book was stale: its state is a guess from then on.
        scale: The ticks and lots that it is counted in.
        trigger: Condition that wakes it; None: it is awake at once.
        is_waiting: Whether the venue holds it back until then, or works it off in parts.
        twap_ns: Time in which it does that; 0: it does not.
        good_blocks: For how many blocks it was sent; 0: it is not of that kind.
        good_til: The last one, by its number; 0 likewise.
        is_leaving: Whether its cancel was taken in by best effort: it may be filled until it ends.
    """

    order_id: int
    pair: int
    side: int
    tick: int
    size: int
    left: int
    state: StateCode
    pending: dict[int, RequestCode]
    filled: int = 0
    sent_ns: int = 0
    tif: TifCode = TifCode.GTC
    is_market: bool = False
    reduce_only: bool = False
    expires_ns: int | None = None
    tag: str = ""
    reason: int = 0
    text: str = ""
    is_uncertain: bool = False
    scale: PairScale | None = None
    trigger: Trigger | None = None
    is_waiting: bool = False
    twap_ns: int = 0
    good_blocks: int = 0
    good_til: int = 0
    is_leaving: bool = False

    @property
    def is_for_later(self) -> bool:
        """Whether the venue does not bring it to the book when it comes."""
        return self.trigger is not None or self.twap_ns > 0

    @property
    def has_ended(self) -> bool:
        """Whether it cannot be filled any more, as far as is known."""
        return self.state in ENDED

    @property
    def is_open(self) -> bool:
        """Whether it can still be filled, as far as is known: answered, and not ended."""
        return self.state in (StateCode.OPEN, StateCode.PARTIALLY_FILLED)

    def rescale(self, scale: PairScale, ticks: int, lots: int) -> None:
        """Count it in finer steps: as many new ticks and lots as an old one is."""
        self.scale = scale
        self.tick *= ticks
        if self.trigger is not None:
            self.trigger = msgspec.structs.replace(self.trigger, tick=self.trigger.tick * ticks)
        self.size, self.left, self.filled = self.size * lots, self.left * lots, self.filled * lots

    def take(self, response: Response) -> None:
        """Hear an answer."""
        self.pending.pop(response.request, None)
        self.is_uncertain = self.is_uncertain or response.is_uncertain
        if response.reason:
            self.reason, self.text = response.reason, response.text
        if response.state is StateCode.UNKNOWN:
            return
        self.state, self.left = response.state, response.left
        self.filled, self.size = response.filled, response.size
        if response.code is not ReportCode.EXECUTED:
            self.tick = response.tick


def own_order(order_id: int, order: NewOrder, now_ns: int, scale: PairScale | None) -> OwnOrder:
    """An order that is sent, as its owner knows it then."""
    return OwnOrder(
        order_id,
        order.pair,
        order.side,
        order.tick,
        order.lots,
        order.lots,
        StateCode.UNKNOWN,
        {},
        sent_ns=now_ns,
        tif=order.tif,
        is_market=order.is_market,
        reduce_only=order.reduce_only,
        expires_ns=order.expires_ns,
        tag=order.tag,
        scale=scale,
        trigger=order.trigger,
        twap_ns=order.twap_ns,
        good_blocks=order.good_blocks,
    )


def check_order(order: NewOrder, pairs: int) -> None:
    """Raise ConfigError for what no venue has: a pair or side that is not there, a size that is not positive."""
    if not 0 <= order.pair < pairs:
        raise ConfigError(f"an order for pair {order.pair}, expected 0 to {pairs - 1}")
    if order.side not in (0, 1):
        raise ConfigError(f"an order of side {order.side}, expected 0 to buy or 1 to sell")
    if order.lots <= 0 or (order.tick <= 0 and not order.is_market):
        raise ConfigError(f"an order of {order.lots} lots at tick {order.tick}, expected both above 0")


class OwnOrders:
    """
    All of them, by id.

    Args:
        queues: Whether a request is sent while another about the same order is under way.

    Attributes:
        orders: Orders that were not forgotten.
        sent: All there ever were, in the order they were sent.
    """

    def __init__(self, *, queues: bool) -> None:
        self.orders: dict[int, OwnOrder] = {}
        self.sent: list[OwnOrder] = []
        self._queues = queues

    def refusal(self, code: RequestCode, order_id: int) -> Refusal | None:
        """Why a request may not be sent; None if it may."""
        order = self.orders.get(order_id)
        if code is RequestCode.NEW:
            return None if order is None else Refusal.KNOWN_ID
        if order is None:
            return Refusal.UNKNOWN_ID
        return Refusal.PENDING if order.pending and not self._queues else None

    def add(self, order: OwnOrder) -> None:
        """Know of an order that is sent."""
        self.orders[order.order_id] = order
        self.sent.append(order)

    def forget_ended(self) -> None:
        """Forget the orders that have ended, so that their ids are free again."""
        self.orders = {key: order for key, order in self.orders.items() if order.state not in ENDED or order.pending}

    def take(self, response: Response) -> None:
        """Hear an answer."""
        order = self.orders.get(response.order_id)
        if order is None:
            return
        order.take(response)
