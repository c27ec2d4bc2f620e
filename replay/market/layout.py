"""
The arrays that the matching core works on: events in, requests in, reports out, and the state between them.

Prices are ticks, sizes lots, times ns, all int64. A side of a pair is a *line*, numbered `2 * pair + side`; within a
line a price is a *key* that ascends towards the better price: the tick for buys, minus the tick for sells. An own order
at key k is reached by the other side's level at key j where k + j >= 0, so one piece of code serves both sides.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from replay.market.rules import Rules
from toolkit.account_messages import OrderState
from toolkit.kernels.levels import Store, make_store, more_room, widen_store

__all__ = [
    "BUY",
    "COUNTERS",
    "EVENT",
    "FAR",
    "HORIZON",
    "LINE",
    "NONE",
    "ORDER",
    "ORDER_TRANSITIONS",
    "PAIR",
    "REPORT",
    "REQUEST",
    "RULES",
    "SELL",
    "STATES",
    "EventCode",
    "Reason",
    "ReportCode",
    "RequestCode",
    "Role",
    "State",
    "StateCode",
    "TifCode",
    "Want",
    "encode_rules",
    "make_state",
    "widen_book",
    "widen_orders",
    "widen_reports",
]

BUY: Final = 0
SELL: Final = 1
#: No key at all, and one that is beyond every price. Their sums with keys stay within 64 bits.
NONE: Final = -(2**62)
FAR: Final = 2**61
#: A horizon before which everything is in sight.
HORIZON: Final = NONE


class EventCode(enum.IntEnum):
    """What a market event says; `side` is that of the level, of a trade that of the aggressor."""

    #: `lots` rest at `tick` now, 0 removes; `count` orders, -1 where the venue does not say.
    LEVEL = 0
    #: The same, of a snapshot that joins the book again.
    SYNC_LEVEL = 1
    TRADE = 2
    #: Levels from the best one to `tick` are gone; own orders hear nothing of it.
    CLEAR = 3
    #: From now on levels worse than `tick` are out of sight, and are forgotten; `lots` 0: everything is in sight.
    HORIZON = 4
    #: From now on the pair's book cannot be believed: levels change it, and nothing is matched.
    STALE = 5
    #: It can be again; own orders that it reaches by now are filled.
    RESUME = 6


class RequestCode(enum.IntEnum):
    """What the owner of orders asks for."""

    NEW = 0
    AMEND = 1
    CANCEL = 2
    #: Of one pair, or of all where `pair` is -1.
    CANCEL_ALL = 3


class TifCode(enum.IntEnum):
    """How long an order lives."""

    GTC = 0
    IOC = 1
    FOK = 2
    POST_ONLY = 3


class StateCode(enum.IntEnum):
    """Where an order is in its life at the venue."""

    #: Not known there: not yet, or not any more.
    UNKNOWN = 0
    OPEN = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELLED = 4
    REJECTED = 5
    EXPIRED = 6


#: The same in the words of account messages.
STATES: Final[Mapping[int, OrderState]] = MappingProxyType(
    {code: OrderState(code.name.lower()) for code in StateCode if code is not StateCode.UNKNOWN}
)

_ENDED: Final = frozenset({StateCode.FILLED, StateCode.CANCELLED, StateCode.EXPIRED})
#: From each state of an order at the venue the states that may follow it. An id is free again after an end.
ORDER_TRANSITIONS: Final[Mapping[StateCode, frozenset[StateCode]]] = MappingProxyType(
    {
        StateCode.UNKNOWN: frozenset({StateCode.OPEN, StateCode.REJECTED, StateCode.EXPIRED}),
        # It may be filled in parts again and again, and amended without leaving its state.
        StateCode.OPEN: _ENDED | {StateCode.OPEN, StateCode.PARTIALLY_FILLED},
        StateCode.PARTIALLY_FILLED: _ENDED | {StateCode.PARTIALLY_FILLED},
        StateCode.FILLED: frozenset(),
        StateCode.CANCELLED: frozenset(),
        StateCode.REJECTED: frozenset(),
        StateCode.EXPIRED: frozenset(),
    }
)


class ReportCode(enum.IntEnum):
    """What the venue says of an order."""

    ACCEPTED = 0
    EXECUTED = 1
    AMENDED = 2
    #: It ended without a fill of all of it: cancelled, rejected or expired, as `state` says.
    ENDED = 3
    #: The request is refused and changes nothing.
    REFUSED = 4
    #: A request about many orders is done; `lots` says how many.
    DONE = 5
    #: A cancel was taken in by best effort: the order may still be filled until it ends.
    LEAVING = 6


class Role(enum.IntEnum):
    """Which side of an execution the order was."""

    NEITHER = 0
    MAKER = 1
    TAKER = 2


class Reason(enum.IntEnum):
    """Why an order ended or a request was refused."""

    NONE = 0
    REQUESTED = 1
    WOULD_CROSS = 2
    NO_MATCH = 3
    UNFILLED = 4
    SELF_TRADE = 5
    UNKNOWN_ORDER = 6
    DUPLICATE_ID = 7
    #: A size that is not positive, or a pair that is not there.
    INVALID = 8
    #: The new size is no larger than what was filled.
    NOTHING_LEFT = 9
    #: A price or a size that is no whole number of the ticks or lots of that time.
    OFF_TICK = 10
    OFF_LOT = 11
    #: Its value is below the least one.
    MIN_NOTIONAL = 12
    TOO_MANY_ORDERS = 13
    RATE_LIMIT = 14
    #: It would not reduce the position, or there is none left to reduce.
    REDUCE_ONLY = 15
    #: Its time was over.
    EXPIRY = 16
    #: The dead man's switch was not set again in time.
    SWITCH = 17
    #: It rested across a gap, and the policy is to cancel then.
    GAP = 18
    #: It came while the book was stale.
    STALE = 19
    SESSION_END = 20
    #: The venue takes no orders for the pair, or its tick and lot are not known.
    NO_MARKET = 21
    #: An order of a kind that the venue has not.
    NOT_OFFERED = 22
    #: The account has not the margin for it.
    MARGIN = 23
    #: The account is liquidated.
    LIQUIDATION = 24
    #: Its price is too far from the venue's reference.
    PRICE_BAND = 25
    #: A trigger that the price has passed already.
    TRIGGER = 26


class Want(enum.IntFlag):
    """What the core needs more of before it goes on."""

    NOTHING = 0
    REPORTS = 1
    LEVELS = 2
    ORDERS = 4


# Requests and orders are few, and all their fields int64, so that kernels are compiled for one type of each.
EVENT: Final = np.dtype(
    [
        ("time", "i8"),  # when the market acts at the venue
        ("recv", "i8"),  # when we received it
        ("frame", "i8"),  # its place in the capture
        ("tick", "i8"),
        ("lots", "i8"),
        ("count", "i4"),
        ("pair", "i2"),
        ("code", "i1"),
        ("side", "i1"),
    ],
    align=True,
)
REQUEST: Final = np.dtype(
    [
        ("time", "i8"),  # of its arrival
        ("number", "i8"),  # its sender's count
        ("id", "i8"),  # of the order, chosen by the sender, unique among those that have not ended
        ("tick", "i8"),
        ("lots", "i8"),  # all of it, of an amendment too
        ("known_left", "i8"),  # what its sender knows to be left, of an amendment
        ("pair", "i8"),
        ("code", "i8"),
        ("side", "i8"),
        ("tif", "i8"),
        ("market", "i8"),  # 1: at any price within reach, `tick` means nothing
        ("reduce", "i8"),  # 1: it may only make the position smaller
        ("reason", "i8"),  # of a cancel that was not asked for, a `Reason`
    ],
    align=True,
)
ORDER: Final = np.dtype(
    [
        ("id", "i8"),
        ("key", "i8"),
        ("lots", "i8"),
        ("left", "i8"),
        ("filled", "i8"),
        ("front", "i8"),  # lots ahead, of the pessimistic queue
        ("next", "i8"),  # slot of the next own order of its line, -1 at the end: best first, then by place
        ("previous", "i8"),
        ("ahead", "f8"),  # the same as `front`, of the other queues, in the pair's unit
        ("traded", "f8"),  # traded there since the level was last set
        ("orders_ahead", "f8"),  # how many orders that is, of the queue by count
        ("orders_traded", "f8"),  # and how many of them trades took since the level was last set
        ("line", "i8"),
        ("tif", "i8"),
        ("market", "i8"),
        ("state", "i8"),
        ("unseen", "i8"),  # 1: outside of the recorded depth
        ("rests", "i8"),  # 1: it is in its line
        ("reduce", "i8"),  # 1: it may only make the position smaller
    ],
    align=True,
)
REPORT: Final = np.dtype(
    [
        ("time", "i8"),
        ("id", "i8"),
        ("request", "i8"),  # number of the request that it answers, -1: the market did it
        ("frame", "i8"),  # frame of the event that did it, -1: a request did
        ("tick", "i8"),  # of the execution, else of the order
        ("lots", "i8"),  # executed
        ("left", "i8"),
        ("filled", "i8"),
        ("size", "i8"),  # of the order
        ("pair", "i2"),
        ("code", "i1"),
        ("side", "i1"),
        ("state", "i1"),
        ("role", "i1"),
        ("reason", "i1"),
        ("pad", "i1"),
    ],
    align=True,
)
LINE: Final = np.dtype(
    [
        ("best", "i8"),  # key, `NONE` where the side is empty
        ("horizon", "i8"),  # key of the worst level in sight
        ("head", "i8"),  # slot of the best own order, -1
        ("live", "i8"),  # own orders that rest
        ("mask", "i8"),  # bit key & 63 is set where an own order may rest
    ],
    align=True,
)
PAIR: Final = np.dtype(
    [
        ("reach", "i8"),  # band of market orders, ticks; 0: none
        ("grain", "i8"),  # least part of an execution of a resting order, lots
        ("lots_per_unit", "f8"),  # unit of the queues that are not whole numbers
        ("lot", "f8"),  # one grain in that unit
        ("position", "i8"),  # lots, bought less sold
        ("stale", "i8"),  # 1: nothing is matched
    ],
    align=True,
)
COUNTERS: Final = np.dtype(
    [
        ("free", "i8"),  # slots on the free list
        ("reports", "i8"),  # not yet taken
        ("live", "i8"),  # orders that rest
        ("reducing", "i8"),  # those of them that may only reduce a position
        ("want", "i8"),  # a `Want`
        ("took", "i8"),  # 1: something was taken from a level, so that `taken` is not all zero
    ],
    align=True,
)
#: Of the flags, 1 is yes; of the choices, the place of the value.
RULES: Final = np.dtype(
    [(name, "f8" if name == "queue_power" else "i8") for name in Rules.__struct_fields__], align=True
)


class State(NamedTuple):
    """Everything between two events. Orders stand in slots; the free list and the table of ids say which."""

    book: Store
    taken: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    lines: npt.NDArray[np.void]
    pairs: npt.NDArray[np.void]
    orders: npt.NDArray[np.void]
    free: npt.NDArray[np.int64]
    #: Slot + 1 at the hash of an id, or at the next place that was free; at most half full.
    ids: npt.NDArray[np.int64]
    reports: npt.NDArray[np.void]
    counters: npt.NDArray[np.void]
    rules: npt.NDArray[np.void]


def encode_rules(rules: Rules) -> npt.NDArray[np.void]:
    """Rules as compiled code reads them; a `market_reach` that is None becomes 0."""
    row = np.zeros(1, RULES)
    for name in Rules.__struct_fields__:
        value = getattr(rules, name)
        row[name] = getattr(value, "code", 0 if value is None else value)
    return row


def make_state(pairs: int, rules: Rules, *, orders: int, reports: int, pages: int, slots: int) -> State:
    """An empty market of that many pairs, with room for that many orders, reports and pages of levels."""
    lines = np.zeros(2 * pairs, LINE)
    lines["best"], lines["horizon"], lines["head"] = NONE, HORIZON, -1
    facts = np.zeros(pairs, PAIR)
    facts["grain"], facts["lots_per_unit"], facts["lot"] = 1, 1.0, 1.0
    counters = np.zeros(1, COUNTERS)
    counters["free"] = orders
    return State(
        make_store(2 * pairs, pages, slots, np.int64),
        np.zeros((slots, 64), np.int64),
        np.full((slots, 64), -1, np.int64),
        lines,
        facts,
        np.zeros(orders, ORDER),
        np.arange(orders - 1, -1, -1, dtype=np.int64),
        np.zeros(_table_size(orders), np.int64),
        np.zeros(reports, REPORT),
        counters,
        encode_rules(rules),
    )


def _table_size(orders: int) -> int:
    return 1 << max(4, (2 * orders - 1).bit_length())


def widen_reports(state: State, reports: int) -> State:
    """The same with room for so many reports."""
    wide = np.zeros(reports, REPORT)
    wide[: len(state.reports)] = state.reports
    return state._replace(reports=wide)


def widen_book(state: State) -> State:
    """The same with twice the room for levels, of that which is taken up."""
    before = len(state.book.bits)
    pages, slots = more_room(state.book)
    book = widen_store(state.book, state.book.page.shape[0], pages, slots)
    taken, counts = np.zeros((slots, 64), np.int64), np.full((slots, 64), -1, np.int64)
    taken[:before], counts[:before] = state.taken, state.counts
    return state._replace(book=book, taken=taken, counts=counts)


def widen_orders(state: State) -> State:
    """The same with twice the room for orders."""
    before = len(state.orders)
    orders = np.zeros(2 * before, ORDER)
    orders[:before] = state.orders
    left = int(state.counters["free"][0])
    free = np.zeros(2 * before, np.int64)
    free[:before] = np.arange(2 * before - 1, before - 1, -1)
    free[before : before + left] = state.free[:left]
    counters = state.counters.copy()
    counters["free"] += before
    ids = np.zeros(_table_size(2 * before), np.int64)
    waiting = [int(each) for each in state.ids if each]
    for entry in waiting:
        place = int(orders[entry - 1]["id"]) & (len(ids) - 1)
        while ids[place]:
            place = (place + 1) & (len(ids) - 1)
        ids[place] = entry
    return state._replace(orders=orders, free=free, counters=counters, ids=ids)
