"""
The normalized vocabulary: what every venue's frames are turned into.

All messages are immutable, compare by value and share the same first seven fields. `(capture_seq, sub_seq)` is
their order within a recording; the times explain but never order. `sub_seq` counts rows, not messages: a book
message of n levels takes n of them (one, if it has no level), so every stored row has a place of its own.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import msgspec

from toolkit.borders import format_ns, one_line
from toolkit.keys import PairKey

__all__ = [
    "BETWEEN_RECORDINGS",
    "FORM_FULL",
    "FORM_QUOTE",
    "FORM_REST",
    "NO_ANSWER",
    "OUT_OF_ORDER",
    "SIDE_NOT_TOLD",
    "BalanceUpdate",
    "BestQuote",
    "BookDiff",
    "BookSnapshot",
    "BookTop",
    "EventKind",
    "FundingInfo",
    "FundingKind",
    "Instrument",
    "InstrumentKind",
    "Liquidation",
    "Message",
    "OrderBookMessage",
    "OrderBookMessageType",
    "Side",
    "StreamEvent",
    "Trade",
    "UserStreamMessage",
    "UserStreamMessageType",
]

#: The one form of a book on venues that send only one, and the deepest on those that send several.
FORM_FULL = "full"
#: The form of a best bid and offer stream.
FORM_QUOTE = "bbo"
#: The cause of a notice that a gap was none, with the times of that gap: all came, in another order.
OUT_OF_ORDER = "out_of_order"
#: The form of a book that was asked for by REST.
FORM_REST = "rest"
#: The number of orders on a side that a quote says nothing of, not even that it is empty.
SIDE_NOT_TOLD = -1
#: Cause of the events about a hole between two recordings that are replayed as one.
BETWEEN_RECORDINGS = "between_recordings"
#: Cause of the events about something that is polled and was not answered.
NO_ANSWER = "no_answer"


class Side(enum.StrEnum):
    """`BUY` and `SELL`: of a trade the taker's side, of an order its own."""

    BUY = "buy"
    SELL = "sell"


class OrderBookMessageType(enum.StrEnum):
    """What an `OrderBookMessage` says. A quote speaks of the two best levels only, so it is not a snapshot."""

    SNAPSHOT = "snapshot"
    DIFF = "diff"
    TRADE = "trade"
    QUOTE = "quote"


#: Levels of a side that the repr of a book message spells out.
_LEVELS_SHOWN: Final = 3


def _shown(name: str, value: object) -> str:
    """One field of a message for people: a time in words beside its ns, the first of many levels."""
    if isinstance(value, int) and (name.startswith("ts_") or name.endswith("_ts")):
        return f"{value} [{format_ns(value)}]"
    if isinstance(value, enum.Enum):
        return repr(value.value)
    if isinstance(value, tuple) and len(value) > _LEVELS_SHOWN:
        return f"({', '.join(map(repr, value[:_LEVELS_SHOWN]))}, ... {len(value)} in all)"
    return repr(value)


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="message", tag=True):
    """
    What every message carries.

    Attributes:
        venue: Venue it came from.
        symbol: Instrument as the venue spells it; empty where the message speaks of a whole connection.
        trading_pair: The same instrument as we spell it, or the venue's spelling where no pair is known.
        ts_event: The venue's own time of the event, ns since the Unix epoch (UTC); None where it gives none.
        ts_recv: Our receive time of the frame, same unit.
        capture_seq: The frame it came from.
        sub_seq: Index of its first row within the frame.

    Encoded, fields that have their default are left out, so that a field added later leaves the digest of older
    recordings as it is: as long as a class has at most 15 fields, past which MessagePack writes a longer head and
    `DIGEST_VERSION` has to rise.
    """

    venue: str
    symbol: str
    trading_pair: str
    ts_event: int | None
    ts_recv: int
    capture_seq: int
    sub_seq: int

    def __repr__(self) -> str:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        fields = ", ".join(f"{name}={_shown(name, value)}" for name, value in values)
        return one_line(f"{type(self).__name__}({fields})")

    @property
    def key(self) -> PairKey:
        """Which instrument it speaks of, among those of all venues; takes a book from `tracker.book`."""
        return PairKey(self.venue, self.trading_pair)

    @property
    def row_count(self) -> int:
        """How many rows, and so how many `sub_seq`, the message takes."""
        return 1


class OrderBookMessage(Message, frozen=True, gc=False):
    """Base of everything about an order book; `type` tells which of the four it is."""

    type: ClassVar[OrderBookMessageType]


class _BookLevels(OrderBookMessage, frozen=True, gc=False):
    """
    Levels of a book, best first on both sides, as parallel columns.

    Attributes:
        form: Form of the book, of those the venue sends: `full`, `fast`, `agg:5:2`, ...
        fused: Whether the form takes part in the fused book (an aggregated one does not).
        depth_cap: Most levels a side of this form can hold; a side with fewer is complete. None: no such limit.
        bid_prices: Bids, in quote currency; descending in a snapshot, as sent in a diff.
        bid_sizes: Absolute resting sizes, in base currency; 0 in a diff removes the level.
        bid_counts: Number of orders at each level; empty where the venue does not say.
        ask_prices: Asks, ascending in a snapshot, as sent in a diff.
        ask_sizes: Sizes, as for bids.
        ask_counts: Counts, as for bids.
        first_update_id: The venue's first sequence number covered; None where it has none.
        last_update_id: The last one.
        prev_update_id: The `last_update_id` this one says it follows.
    """

    form: str
    fused: bool
    depth_cap: int | None
    bid_prices: tuple[float, ...]
    bid_sizes: tuple[float, ...]
    bid_counts: tuple[int, ...]
    ask_prices: tuple[float, ...]
    ask_sizes: tuple[float, ...]
    ask_counts: tuple[int, ...]
    first_update_id: int | None = None
    last_update_id: int | None = None
    prev_update_id: int | None = None

    @property
    def row_count(self) -> int:
        return (len(self.bid_prices) + len(self.ask_prices)) or 1


class BookSnapshot(_BookLevels, frozen=True, gc=False):
    """The whole of one form of a book: what is not in it is not there (up to `depth_cap`)."""

    type: ClassVar[OrderBookMessageType] = OrderBookMessageType.SNAPSHOT


class BookDiff(_BookLevels, frozen=True, gc=False):
    """Changed levels of a book; sizes are absolute, 0 removes."""

    type: ClassVar[OrderBookMessageType] = OrderBookMessageType.DIFF


class BestQuote(OrderBookMessage, frozen=True, gc=False):
    """
    Best bid and ask. A side that is None holds no order, unless its count is `SIDE_NOT_TOLD`.

    Attributes:
        fused: Whether it speaks of the same book as the depth forms do. On some markets it does not (see the
            venue's module), and then the fused book ignores it.
        update_id: The venue's sequence number of the book it was taken from; None where there is none.
    """

    fused: bool
    bid_price: float | None
    bid_size: float | None
    bid_count: int | None
    ask_price: float | None
    ask_size: float | None
    ask_count: int | None
    update_id: int | None = None

    type: ClassVar[OrderBookMessageType] = OrderBookMessageType.QUOTE
    form: ClassVar[str] = FORM_QUOTE


class Trade(OrderBookMessage, frozen=True, gc=False):
    """
    One execution, as the venue reported it.

    Attributes:
        aggressor_side: Side of the taker, never of the resting order.
        price: Price in quote currency per unit of base.
        size: Size in base currency.
        trade_id: The venue's id, as text. Unique together with symbol and `ts_event`.
        is_history: Whether it happened before the subscription that brought it: kept, but not new.
        is_duplicate: The same trade has been in this recording before.
        cause: Why it happened where the venue says so (`liquidation`, `deleveraging`, ...); None for an ordinary one.
    """

    aggressor_side: Side
    price: float
    size: float
    trade_id: str
    is_history: bool = False
    is_duplicate: bool = False
    cause: str | None = None

    type: ClassVar[OrderBookMessageType] = OrderBookMessageType.TRADE


class Liquidation(Message, frozen=True, gc=False):
    """
    An order by which the venue closes somebody's position.

    No trade: what it executes is among the trades. Venues may leave some of these orders out.

    Attributes:
        side: Side of that order: `SELL` closes a long position.
        price: Its limit price.
        size: Its size.
        average_price: Average price of the execution; None where nothing was executed, or the venue does not say.
        filled_size: How much of it was executed; None where the venue does not say.
        status: State of the order, in lower case, in the venue's words; empty where it does not say.
    """

    side: Side
    price: float
    size: float
    average_price: float | None = None
    filled_size: float | None = None
    status: str = ""


class BookTop(Message, frozen=True, gc=False):
    """
    Best bid and ask of the fused book after a message that changed them. Derived: stored, but not part of a feed.

    Attributes:
        bid_price: Best bid, None if that side is empty.
        bid_size: Size at it.
        ask_price: Best ask, None if that side is empty.
        ask_size: Size at it.
        is_stale: Whether the book could not be believed.
        is_crossed: Whether the bid was at or above the ask.
    """

    bid_price: float | None
    bid_size: float | None
    ask_price: float | None
    ask_size: float | None
    is_stale: bool
    is_crossed: bool


class FundingKind(enum.StrEnum):
    """`CURRENT`: the running state of the instrument. `SETTLED`: a rate that was charged."""

    CURRENT = "current"
    SETTLED = "settled"


class FundingInfo(Message, frozen=True, gc=False):
    """
    Funding, mark and index price, open interest and day statistics. None where the venue does not say.

    Attributes:
        kind: Running state, or a settled rate.
        funding_rate: Fraction of notional per `funding_interval_s`; positive: longs pay.
        funding_interval_s: Length of the funding period, seconds.
        next_funding_ts: When the rate will be charged, ns.
        mark_price: Mark price in quote currency.
        index_price: Oracle or index price, in quote currency.
        mid_price: The venue's own mid price.
        premium: Premium over the index, as the venue computes it.
        impact_bid_price: Price to sell the venue's impact notional.
        impact_ask_price: Price to buy it.
        open_interest: Open interest in base currency, one-sided.
        prev_day_price: Price 24 h ago.
        day_volume_base: Traded in 24 h, base currency.
        day_volume_quote: Traded in 24 h, quote currency.
        circulating_supply: Circulating supply of a spot token.
    """

    kind: FundingKind = FundingKind.CURRENT
    funding_rate: float | None = None
    funding_interval_s: int | None = None
    next_funding_ts: int | None = None
    mark_price: float | None = None
    index_price: float | None = None
    mid_price: float | None = None
    premium: float | None = None
    impact_bid_price: float | None = None
    impact_ask_price: float | None = None
    open_interest: float | None = None
    prev_day_price: float | None = None
    day_volume_base: float | None = None
    day_volume_quote: float | None = None
    circulating_supply: float | None = None


class InstrumentKind(enum.StrEnum):
    """What kind of contract an instrument is."""

    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OUTCOME = "outcome"


class Instrument(Message, frozen=True, gc=False):
    """
    What the venue says of an instrument.

    Attributes:
        kind: Kind of contract.
        base: Base currency; empty where the venue does not say.
        quote: Currency of prices; empty where the venue does not say.
        settle: Currency of margin and profit; empty where the venue does not say.
        price_tick: Smallest price step; None where it depends on the price.
        price_decimals_max: Most decimals of a price; None where `price_tick` says it.
        price_figures_max: Most significant figures of a price; None where there is no such rule.
        size_step: Smallest size step, base currency (or contracts, see `contract_value`).
        min_notional: Smallest order value, quote currency.
        multiplier: Units of base that one unit of size stands for (1000 for `kPEPE`).
        max_leverage: Highest leverage.
        is_active: False when it is delisted or not trading.
        contract_value: Quote currency that one unit of size stands for, where sizes count contracts of fixed value
            (inverse contracts); then every size of this instrument is in contracts. None: sizes are in base currency.
    """

    kind: InstrumentKind
    base: str
    quote: str
    settle: str
    price_tick: float | None = None
    price_decimals_max: int | None = None
    price_figures_max: int | None = None
    size_step: float | None = None
    min_notional: float | None = None
    # Made again each time: a default is left out of the canonical bytes by identity, and an equal float from a file is
    # another object. So this one is never left out.
    multiplier: float = msgspec.field(default_factory=lambda: 1.0)
    max_leverage: float | None = None
    is_active: bool = True
    contract_value: float | None = None

    def tick_at(self, price: float) -> float | None:
        """Smallest price step near `price`, in quote currency; None where the venue's rule is not known."""
        if self.price_tick is not None:
            return self.price_tick
        if self.price_decimals_max is None:
            return None
        tick = 10.0**-self.price_decimals_max
        if self.price_figures_max is not None and price > 0:
            # The power comes from the decimal text, not from log10: log10(1000) may be 2.9999999999999996.
            power = int(f"{price:e}".split("e")[1])
            tick = max(tick, min(1.0, 10.0 ** (power - self.price_figures_max + 1)))
        return tick


class EventKind(enum.StrEnum):
    """What a `StreamEvent` reports."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CONNECT_FAILED = "connect_failed"
    STALE = "stale"
    GAP = "gap"
    PARSE_ERROR = "parse_error"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    VENUE_ERROR = "venue_error"
    REQUEST_FAILED = "request_failed"
    TIME_REGRESSION = "time_regression"
    CROSSED = "crossed"
    CLOCK_STEP = "clock_step"
    CLOCK_STATE = "clock_state"
    BACKPRESSURE = "backpressure"
    LOST = "lost"
    SESSION_START = "session_start"
    SESSION_END = "session_end"
    NOTICE = "notice"


class StreamEvent(Message, frozen=True, gc=False):
    """
    Something that happened to a stream: gaps and errors are data.

    Attributes:
        kind: Kind of the event.
        stream: Name of the stream: a book form (`full`, `fast`, `bbo`), `trades`, `funding`, ... Empty: all of the
            connection.
        cause: Why, in one word: `disconnect`, `silence`, `sequence`, `quarantine`, ... Empty where `kind` says it all.
        ts_start: Start of the interval, ns: of a gap, the last receipt before it. None for an instant.
        ts_end: End of the interval, ns; None while it is open, and for an instant.
        conn_id: Connection, or -1.
        conn_epoch: Number of times that the connection was made before.
        detail: Text for people: what was found and what was expected.
    """

    kind: EventKind
    stream: str = ""
    cause: str = ""
    ts_start: int | None = None
    ts_end: int | None = None
    conn_id: int = -1
    conn_epoch: int = 0
    detail: str = ""


class UserStreamMessageType(enum.StrEnum):
    """What a `UserStreamMessage` says."""

    ORDER_UPDATE = "order_update"
    TRADE = "trade"
    BALANCE_UPDATE = "balance_update"
    POSITION_UPDATE = "position_update"
    FUNDING_PAYMENT = "funding_payment"
    ACCOUNT_EVENT = "account_event"


class UserStreamMessage(Message, frozen=True, gc=False):
    """
    Base of everything about one account; `type` tells which it is. The others are in `toolkit/account_messages.py`.

    Attributes:
        account: The address or account name it belongs to.
    """

    account: str

    type: ClassVar[UserStreamMessageType]


class BalanceUpdate(UserStreamMessage, frozen=True, gc=False):
    """
    An account's balance of one asset in one of its wallets, absolute.

    Attributes:
        asset: The asset.
        total: All of it; of a margin wallet its value, with unrealised profit.
        available: Part that is free to use.
        wallet: Wallet, where the venue keeps several apart: `spot`, `perp`, `perp:<dex>`; empty where there is one.
        margin_used: Margin that the positions of a margin wallet take.
        maintenance_margin: Value below which a margin wallet is liquidated.
    """

    asset: str
    total: float
    available: float
    wallet: str = ""
    margin_used: float | None = None
    maintenance_margin: float | None = None

    type: ClassVar[UserStreamMessageType] = UserStreamMessageType.BALANCE_UPDATE
