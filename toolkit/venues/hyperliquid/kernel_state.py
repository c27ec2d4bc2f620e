"""The state that a run of frames works on: arrays, by name."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "FAST",
    "FEEDS",
    "FULL",
    "LOADED",
    "NEVER",
    "QUOTES_FEED",
    "REFUSED",
    "ROLE_FAST",
    "ROLE_OTHER",
    "ROLE_PLAIN",
    "SEEN_MAX",
    "STAMPS",
    "TRADES_FEED",
    "UNKNOWN",
    "Coins",
    "Messages",
    "Number",
    "Run",
    "Scratch",
    "Tapes",
    "TopRows",
]

#: Streams of a coin by number; the first three are forms of its book too.
FULL: Final = 0
FAST: Final = 1
QUOTES_FEED: Final = 2
TRADES_FEED: Final = 3
FEEDS: Final = 4
#: What is known here of a coin's book, or of its tape: nothing yet, all, or that the protocol keeps it.
UNKNOWN: Final = 0
LOADED: Final = 1
REFUSED: Final = 2
#: Connections: of any book, of fast books, and those whose frames are for the protocol.
ROLE_PLAIN: Final = 0
ROLE_FAST: Final = 1
ROLE_OTHER: Final = 2
#: Monotonic time of a coin whose trades were never asked for, ns.
NEVER: Final = -(2**62)
#: Trades of a coin that are remembered at most, and stamps of the venue's clock.
SEEN_MAX: Final = 1024
STAMPS: Final = 12


class Number:
    """Places in `Run.counts`, and numbers of the pieces of canonical bytes."""

    SNAPSHOTS: Final = 0
    QUOTES: Final = 1
    TRADES: Final = 2
    TOPS: Final = 3
    LEVEL_ROWS: Final = 4
    STAMPS: Final = 5
    NEEDED: Final = 6
    END: Final = 7


# Pieces: what stands before each value that differs from message to message. Of all kinds:
BEFORE_TS_RECV: Final = 0
BEFORE_CAPTURE_SEQ: Final = 1
# Of books:
BEFORE_BID_PRICES_FULL: Final = 2
BEFORE_BID_PRICES_FAST: Final = 3
BEFORE_BID_SIZES: Final = 4
BEFORE_BID_COUNTS: Final = 5
BEFORE_ASK_PRICES: Final = 6
BEFORE_ASK_SIZES: Final = 7
BEFORE_ASK_COUNTS: Final = 8
# Of quotes:
BEFORE_BID_PRICE_FUSED: Final = 9
BEFORE_BID_PRICE_APART: Final = 10
BEFORE_BID_SIZE: Final = 11
BEFORE_BID_COUNT: Final = 12
BEFORE_ASK_PRICE: Final = 13
BEFORE_ASK_SIZE: Final = 14
BEFORE_ASK_COUNT: Final = 15
# Of trades:
BEFORE_SUB_SEQ: Final = 16
BEFORE_PRICE_OF_BUY: Final = 17
BEFORE_PRICE_OF_SELL: Final = 18
BEFORE_SIZE: Final = 19
BEFORE_TRADE_ID: Final = 20


class Coins(NamedTuple):
    """
    Coins by name, in a hash table whose length is a power of two, and what is known of each.

    Attributes:
        table: int32, by hash of the name: number of the coin, or -1.
        names: uint8: all names, one after the other.
        name_ends: int64 (coins + 1).
        head_ends: int64 (3 * coins + 1): where the canonical bytes of its books, quotes and trades begin, in `heads`.
        heads: uint8.
        book: int8: UNKNOWN, LOADED or REFUSED; likewise `tape`.
        tape: See there.
        is_taken: int8 (coins, FEEDS): whether frames of a stream may be taken.
        taken: int64 (coins, FEEDS): frames taken that its stream was not told of yet.
        recv: int64 (coins, FEEDS): receive time of the last of them, ns.
        mono: int64 (coins, FEEDS): likewise, monotonic.
        last_time: int64 (coins, FEEDS): the venue's last time, ms.
        is_apart: int8: whether its quotes take no part in its book.
        since: int64: monotonic time at which its trades were asked for, ns; or NEVER.
        top: float64 (coins, 4): the last row of `top`, NaN for a side that is empty.
        has_top: int8: whether there was one, and of a book that was as stale as this one.
        is_stale: int8: whether there was no book yet, only quotes.
        crossed: int64: messages after which the book was crossed.
    """

    table: npt.NDArray[np.int32]
    names: npt.NDArray[np.uint8]
    name_ends: npt.NDArray[np.int64]
    head_ends: npt.NDArray[np.int64]
    heads: npt.NDArray[np.uint8]
    book: npt.NDArray[np.int8]
    tape: npt.NDArray[np.int8]
    is_taken: npt.NDArray[np.int8]
    taken: npt.NDArray[np.int64]
    recv: npt.NDArray[np.int64]
    mono: npt.NDArray[np.int64]
    last_time: npt.NDArray[np.int64]
    is_apart: npt.NDArray[np.int8]
    since: npt.NDArray[np.int64]
    top: npt.NDArray[np.float64]
    has_top: npt.NDArray[np.int8]
    is_stale: npt.NDArray[np.int8]
    crossed: npt.NDArray[np.int64]


class Tapes(NamedTuple):
    """
    Trades of each coin that were reported, in a ring.

    Attributes:
        time: int64 (coins, SEEN_MAX + 2): ms.
        id: Likewise.
        start: int64: place of the one that came first.
        length: int64: how many there are.
    """

    time: npt.NDArray[np.int64]
    id: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]


class Messages(NamedTuple):
    """
    Messages of one kind of a run.

    Attributes:
        coin: int32.
        frame: int64: index of the frame in the batch.
        ts_event: int64, ns.
        bids: int64: of a book.
        asks: int64.
        kind: int8: form of a book, whether a quote is fused, whether the taker of a trade sold.
        number: int64: id of a trade.
        sub_seq: int32.
    """

    coin: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int64]
    ts_event: npt.NDArray[np.int64]
    bids: npt.NDArray[np.int64]
    asks: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int8]
    number: npt.NDArray[np.int64]
    sub_seq: npt.NDArray[np.int32]


class TopRows(NamedTuple):
    """Changes of the best levels; `values` is float64 (rows, 4), the flags int8."""

    coin: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int64]
    ts_event: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    is_crossed: npt.NDArray[np.int8]
    is_stale: npt.NDArray[np.int8]


class Scratch(NamedTuple):
    """Memory of one frame: `words` is uint64, the state of the digest and what is hashed, and `bytes` the same memory."""

    words: npt.NDArray[np.uint64]
    bytes: npt.NDArray[np.uint8]
    hash: npt.NDArray[np.uint64]


class Run(NamedTuple):
    """
    Where a run stands.

    Attributes:
        counts: int64 (Number.END): messages by kind, rows of levels, stamps since the clock was told, the coin that is needed.
        stamps: int64 (STAMPS, 3): the last of them, in a ring: connection, monotonic time and the venue's, ns.
        roles: int8 by number of the connection.
    """

    counts: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.int64]
    roles: npt.NDArray[np.int8]
