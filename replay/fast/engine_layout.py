"""
The arrays of the compiled run of a step function: the owner's orders, what is under way, and what is told of it all.

A run is sans-I/O as a session is (`replay/strategy/session.py`), and keeps to the order of its docstring. Everything is
int64: times ns, prices ticks, sizes lots of the market's grid.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from replay.backtest.latency_settings import parse_latency
from replay.backtest.venue_facts import VenueFacts
from replay.fast.book_layout import Books
from replay.market.layout import EVENT, REQUEST, RequestCode, State, TifCode
from toolkit.kernels.levels import Store

__all__ = [
    "ACTS_MAX",
    "ANSWER",
    "CLOCK",
    "FEED",
    "LIMIT",
    "LOG",
    "MARKET",
    "ME",
    "ORDER",
    "PENDING_MAX",
    "POST",
    "QUOTE",
    "RULE",
    "Code",
    "Engine",
    "Hands",
    "Status",
    "Why",
    "book_of",
    "doubled",
    "kinds_of",
    "latencies_of",
    "limits_of",
    "linked",
    "longer",
    "make_engine",
    "widen_engine",
    "widened",
]

#: Requests of one call; more are a loop that nobody meant.
ACTS_MAX: Final = 1024
#: Requests about one order that may be under way.
PENDING_MAX: Final = 8


class Why(enum.IntFlag):
    """Why a step function is called."""

    QUOTE = 1
    TRADE = 2
    TIMER = 4
    FILL = 8
    ORDER = 16
    FUNDING = 32
    GAP = 64
    BOOK = 128
    START = 256


class Status(enum.IntFlag):
    """Why a run stopped before the end of its rows."""

    DONE = 0
    #: There is no room for more: orders, answers or log rows; reports or levels of the core; the books' own.
    ROOM = 1
    CORE = 2
    BOOKS = 4
    #: The row is for Python to take in.
    PYTHON = 8
    #: The step function raised an error.
    FAILED = 16
    #: A frame begins, and the run has not.
    BEGIN = 32
    #: Python has to hear of a row of funding, before it is taken in.
    FUNDING = 64
    #: A frame begins with an event, which may say that the clock was set: what is due by then may be passed over.
    EVENT = 128


class Code(enum.IntEnum):
    """What a row of the log says."""

    SENT = 0
    ANSWER = 1
    #: Best prices of a pair from now on; a frame that changed them is over.
    TOP = 2
    MARK = 3
    #: A frame in which something was told is over.
    FRAME = 4
    #: An execution at the venue, before its owner hears of it.
    EXECUTED = 5
    #: A book holds again that was stale.
    RESUMED = 6
    #: An order comes to rest at the venue while its pair is in doubt.
    UNCERTAIN = 7
    #: A call has asked for something, and sent no order.
    ASKED = 8


#: What a step function sees of a pair's market; 0 where there is none.
QUOTE: Final = np.dtype(
    [
        ("bid", "i8"),
        ("ask", "i8"),
        ("bid_size", "i8"),
        ("ask_size", "i8"),
        ("last_price", "i8"),  # of the newest trade
        ("last_size", "i8"),
        ("last_side", "i8"),  # 0 bought, 1 sold
        ("tick", "i8"),  # units of prices in one tick of the venue
        ("lot", "i8"),  # units of sizes in one lot
        ("stale", "i8"),
        ("mark", "f8"),  # NaN where there is none
        ("funding", "f8"),
    ],
    align=True,
)
#: And of its own affairs there, by what it has heard.
ME: Final = np.dtype([("position", "i8"), ("open_buys", "i8"), ("open_sells", "i8"), ("orders", "i8")], align=True)
#: An order as its owner knows it.
ORDER: Final = np.dtype(
    [
        ("pair", "i8"),
        ("side", "i8"),
        ("tick", "i8"),
        ("size", "i8"),
        ("left", "i8"),
        ("filled", "i8"),
        ("state", "i8"),  # `StateCode`
        ("pending", "i8"),  # requests about it that were not answered
        ("cancelling", "i8"),  # those of them that ask for it back
        ("tag", "i8"),
        ("number", "i8"),  # from 1
        ("tif", "i8"),
        ("market", "i8"),
        ("reduce", "i8"),
        ("is_done", "i8"),
        ("is_uncertain", "i8"),
        ("at_venue", "i8"),
        ("arrives", "i8"),  # when the last request about it arrives,
        ("heard", "i8"),  # and when the last answer is heard
    ],
    align=True,
)
#: A request under way.
POST: Final = np.dtype(
    [
        ("due", "i8"),
        ("number", "i8"),
        ("slot", "i8"),
        ("order", "i8"),
        ("code", "i8"),
        ("tick", "i8"),
        ("lots", "i8"),
        ("known_left", "i8"),
    ],
    align=True,
)
ANSWER: Final = np.dtype(
    [
        ("due", "i8"),
        ("venue_ns", "i8"),
        ("request", "i8"),
        ("slot", "i8"),
        ("order", "i8"),
        ("code", "i8"),
        ("state", "i8"),
        ("tick", "i8"),
        ("lots", "i8"),
        ("left", "i8"),
        ("filled", "i8"),
        ("size", "i8"),
        ("role", "i8"),
        ("reason", "i8"),
        ("bid", "i8"),  # the venue's best prices then
        ("ask", "i8"),
        ("is_uncertain", "i8"),
        ("ahead", "i8"),  # lots ahead of an order that has just come to rest, `FAR` where that is out of sight; else -1
    ],
    align=True,
)
LOG: Final = np.dtype(
    [
        ("now", "i8"),
        ("code", "i8"),
        ("pair", "i8"),
        ("number", "i8"),
        ("side", "i8"),
        ("tif", "i8"),
        ("market", "i8"),
        ("reduce", "i8"),
        ("cancelling", "i8"),
        ("order_tick", "i8"),
        ("size", "i8"),
        ("left", "i8"),
        ("is_done", "i8"),
        ("is_over", "i8"),  # it has ended, and nothing about it is under way
        ("answer", ANSWER),
        ("bid", "i8"),
        ("bid_size", "i8"),
        ("ask", "i8"),
        ("ask_size", "i8"),
        ("stale", "i8"),
        ("value", "f8"),
    ],
    align=True,
)
#: Of a pair what the venue asks of orders, and what of its market was fed to the core.
RULE: Final = np.dtype(
    [
        ("ticks", "i8"),
        ("lots", "i8"),
        ("figures", "i8"),  # most significant figures of a price; 0: no such rule
        ("decimals", "i8"),  # of one unit of prices, where there is one
        ("is_active", "i8"),
        ("least", "i8"),  # least value, in units of price times units of size; 0: none
        ("least_value", "f8"),  # the same in quote currency, and what a unit of size is worth per unit of price
        ("unit_size", "f8"),
        ("price_over", "f8"),  # a unit of price is this
        ("price_under", "f8"),  # over this
        ("is_inverse", "i8"),
        ("lacks", "i8"),  # bits by `TifCode`; 16: at market; 32: reduce only
        ("reduce_tifs", "i8"),  # bits of those that orders which only reduce may have; 0: all
        ("exempts_reducing", "i8"),
        ("venue", "i8"),
        ("max_orders", "i8"),  # of the venue; -1: any
        ("max_of_pair", "i8"),
        ("band", "i8"),  # what a limit may not be too far from: 1 the mark, 2 the middle of the book; 0: nothing
        ("band_low", "f8", (2,)),  # by side the lowest multiple of it
        ("band_high", "f8", (2,)),  # and the highest
    ],
    align=True,
)
LIMIT: Final = np.dtype(
    [("venue", "i8"), ("tokens", "i8"), ("per", "i8"), ("missing", "i8"), ("since", "i8"), ("costs", "i8", (4,))],
    align=True,
)
FEED: Final = np.dtype(
    [
        ("is_exact", "i8"),
        ("is_joining", "i8"),
        ("cap", "i8"),
        ("cut_bids", "i8"),
        ("cut_asks", "i8"),
        ("horizon_bids", "i8"),  # tick; -1: none
        ("horizon_asks", "i8"),
        ("is_stale", "i8"),  # as the venue's desk has it
        ("in_doubt", "i8"),  # what is lost of a pair in doubt, as `GapWatch` has it; 1: the book, 2: the trades
        ("is_same", "i8"),  # the core was told of a whole snapshot, and of all that was fused since
    ],
    align=True,
)
#: What was last told of a pair.
MARKET: Final = np.dtype(
    [
        ("bid", "i8"),
        ("bid_size", "i8"),
        ("ask", "i8"),
        ("ask_size", "i8"),
        ("held", "i8"),
        ("changed", "i8"),
        ("slot", "i8"),
        ("venue_mark", "f8"),
        ("wakes", "i8"),
    ],
    align=True,
)
CLOCK: Final = np.dtype(
    [
        ("now", "i8"),
        ("frame", "i8"),
        ("stage", "i8"),  # of the row at hand: 0 untouched, 1 its events are with the core, 2 it wakes
        ("why", "i8"),
        ("event_at", "i8"),
        ("event_count", "i8"),
        ("numbers", "i8"),  # requests so far
        ("orders", "i8"),  # orders so far
        ("open", "i8"),  # orders that have not ended, in `listed`
        ("free", "i8"),
        ("posts", "i8"),
        ("post_at", "i8"),
        ("answers", "i8"),
        ("answer_at", "i8"),
        ("log", "i8"),
        ("acts", "i8"),  # of the call under way
        ("wakes", "i8"),  # which of `Why` are wanted
        ("every", "i8"),
        ("timer", "i8"),  # when the next one is due
        ("min_gap", "i8"),
        ("is_running", "i8"),
        ("at_once", "i8"),
        ("calls", "i8"),
        ("until", "i8"),
        ("quote_form", "i8"),
        ("rest_form", "i8"),
        ("pair", "i8"),  # whose market calls
        ("queues", "i8"),  # whether requests wait for one that is under way
        ("logs_tops", "i8"),
        ("called_why", "i8"),
        ("is_touched", "i8"),  # whether a book has changed in this frame
        ("needs", "i8"),  # answers and log rows that the row at hand may take
        ("notice", "i8"),  # when Python hears of what the venue did with the money
        ("is_dirty", "i8"),  # whether anything was told since the end of a frame
        ("jumped_from", "i8"),  # the clock was set from there,
        ("jumped_to", "i8"),  # to there: of the times between the timer is called for the first alone
        ("heard", "i8"),  # the frame whose event Python has looked at, before what is due by then
        ("counted", "i8"),  # whether numbers of orders were heard of: before, the core's array of them says none
        ("asks_funding", "i8"),  # whether funding is for Python to take in as well
        ("row", "i8"),  # place in its rows of the message that calls
        ("told", "i8"),  # how often anything was heard of own orders
    ],
    align=True,
)


class Hands(NamedTuple):
    """What the functions that a step function calls work on."""

    clock: npt.NDArray[np.void]
    orders: npt.NDArray[np.void]
    listed: npt.NDArray[np.int64]
    free: npt.NDArray[np.int64]
    pending: npt.NDArray[np.int64]
    posts: npt.NDArray[np.void]
    rules: npt.NDArray[np.void]
    log: npt.NDArray[np.void]
    latency: npt.NDArray[np.int64]
    books: Books
    #: That of the core, which has the levels of pairs whose books are shared; see `linked`.
    core_book: Store


class Engine(NamedTuple):
    """A run."""

    hands: Hands
    core: State
    answers: npt.NDArray[np.void]
    quotes: npt.NDArray[np.void]
    me: npt.NDArray[np.void]
    market: npt.NDArray[np.void]
    feeds: npt.NDArray[np.void]
    limits: npt.NDArray[np.void]
    events: npt.NDArray[np.void]
    request: npt.NDArray[np.void]
    #: Two sides of a book at a time: keys, sizes and counts.
    scratch: npt.NDArray[np.int64]
    parameters: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    state_before: npt.NDArray[np.int64]


_ORDERS: Final = 2 * ACTS_MAX
_LOG: Final = 4 * ACTS_MAX


def make_engine(pairs: int, books: Books, core: State, limits: Any, parameters: Any, state: Any) -> Engine:
    """A run in which nothing has happened."""
    clock = np.zeros(1, CLOCK)
    clock["frame"], clock["free"], clock["until"] = -(1 << 62), _ORDERS, (1 << 62)
    clock["heard"] = -(1 << 62)
    feeds = np.zeros(pairs, FEED)
    for name in ("is_joining", "cut_bids", "cut_asks", "is_stale"):
        feeds[name] = 1
    feeds["horizon_bids"] = feeds["horizon_asks"] = -1
    quotes = np.zeros(pairs, QUOTE)
    quotes["mark"] = quotes["funding"] = np.nan
    quotes["stale"] = 1
    market = np.zeros(pairs, MARKET)
    market["slot"] = -1
    market["venue_mark"] = np.nan
    hands = Hands(
        clock,
        np.zeros(_ORDERS, ORDER),
        np.zeros(_ORDERS, np.int64),
        np.arange(_ORDERS - 1, -1, -1, dtype=np.int64),
        np.zeros((_ORDERS, 2 * PENDING_MAX), np.int64),
        np.zeros(2 * _ORDERS, POST),
        np.zeros(pairs, RULE),
        np.zeros(_LOG, LOG),
        np.zeros(9, np.int64),
        books,
        core.book,
    )
    books.pairs["is_shared"] = 1
    return Engine(
        hands,
        core,
        np.zeros(2 * _ORDERS, ANSWER),
        quotes,
        np.zeros(pairs, ME),
        market,
        feeds,
        limits,
        np.zeros(1024, EVENT),
        np.zeros(1, REQUEST),
        np.zeros((6, 1024), np.int64),
        parameters,
        state,
        state.copy(),
    )


def linked(engine: Engine) -> Engine:
    """
    The same, after its core was replaced or copied: what a step function looks at is the core's book again.

    A book that consists of diffs after a whole snapshot is the same for the owner of the orders and for the core, so it
    is kept once, by the core.
    """
    if engine.hands.core_book is engine.core.book:
        return engine
    return engine._replace(hands=engine.hands._replace(core_book=engine.core.book))


def book_of(engine: Engine, pair: int) -> Store:
    """Where the levels of a pair's book are: its bids are side `2 * pair`, its asks the next one."""
    return engine.core.book if engine.hands.books.pairs["is_shared"][pair] else engine.hands.books.store


def widen_engine(engine: Engine, times: int = 2) -> Engine:
    """The same with so many times the room for orders and for what is under way."""
    hands = engine.hands
    before = len(hands.orders)
    free = np.zeros(times * before, np.int64)
    left, added = int(hands.clock["free"][0]), (times - 1) * before
    free[:added] = np.arange(times * before - 1, before - 1, -1)
    free[added : added + left] = hands.free[:left]
    hands.clock["free"] += added
    hands = hands._replace(
        orders=widened(hands.orders, times),
        listed=widened(hands.listed, times),
        free=free,
        pending=widened(hands.pending, times),
        posts=widened(hands.posts, times),
    )
    return engine._replace(hands=hands, answers=widened(engine.answers, times))


def doubled(rows: Any) -> Any:
    """The same rows with room for as many more."""
    return widened(rows, 2)


def widened(rows: Any, times: int) -> Any:
    """The same rows with room for so many times as many."""
    wide = np.zeros((times * len(rows), *rows.shape[1:]), rows.dtype)
    wide[: len(rows)] = rows
    return wide


def longer(rows: Any, count: int, used: int) -> Any:
    """The first so many that are used, with room for `count`."""
    # As bytes: numpy copies records field by field, and most of what there is room for is never written.
    wide = np.zeros(count, rows.dtype)
    wide[:used].view(np.uint8)[:] = rows[:used].view(np.uint8)
    return wide


def latencies_of(text: str) -> list[int]:
    """Of each kind of request how long it takes, then of the answers to each, and of what no request did."""
    model = parse_latency(text).on_receipt()
    entries = [model.entry_ns("", code, 0) for code in RequestCode]
    return [*entries, *(model.response_ns("", code, 0) for code in (*RequestCode, None))]


def kinds_of(names: Sequence[str]) -> int:
    """Kinds of orders by their names, as bits: the time in force, 16 for market and 32 for reduce-only."""
    bits = {**{code.name.lower(): 1 << code for code in TifCode}, "market": 16, "reduce_only": 32}
    return sum(bits.get(name, 0) for name in names)


def limits_of(facts: Sequence[VenueFacts]) -> npt.NDArray[np.void]:
    """The rate limits of the venues, in the order of the venues."""
    by_venue = {fact.venue: fact for fact in facts}
    rows = [
        (number, limit.tokens, limit.per_ns, 0, 0, [limit.costs.get(code, 0) for code in RequestCode])
        for number, fact in enumerate(by_venue.values())
        for limit in fact.rate_limits
    ]
    found = np.zeros(len(rows), LIMIT)
    for place, (venue, tokens, per, missing, since, costs) in enumerate(rows):
        found[place] = (venue, tokens, per, missing, since, costs)
    return found
