"""
Frames of the channels that carry nearly everything, read from their bytes: `l2Book`, `bbo` and `trades`.

It accepts what the venue sends, `{"channel":"...","data":...}` with keys of an object in any order, and says no to whatever
the general decoder should see: unknown keys, a key twice, white space, escapes, numbers that are no plain decimals.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiling import kernel
from toolkit.kernels.text import (
    POWERS,
    POWERS_INT,
    read_decimal,
    read_int,
    skip_string,
    skip_word,
    starts_with,
)

__all__ = ["BOOK", "NO_COIN", "PREFIX", "QUOTE", "TRADES", "Columns", "Head", "Place", "read_channel", "read_frame"]

#: Channels; 0 is one that the kernel leaves alone.
BOOK: Final = 1
QUOTE: Final = 2
TRADES: Final = 3

PREFIX: Final = np.frombuffer(b'{"channel":"', np.uint8)
_BOOK: Final = np.frombuffer(b'l2Book","data":', np.uint8)
_QUOTE: Final = np.frombuffer(b'bbo","data":', np.uint8)
_TRADES: Final = np.frombuffer(b'trades","data":', np.uint8)
_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FALSE: Final = np.frombuffer(b"false", np.uint8)
_NULL: Final = np.frombuffer(b"null", np.uint8)
_KEY_COIN: Final = np.frombuffer(b'"coin":', np.uint8)
_KEY_TIME: Final = np.frombuffer(b'"time":', np.uint8)
_KEY_LEVELS: Final = np.frombuffer(b'"levels":[', np.uint8)
_KEY_BBO: Final = np.frombuffer(b'"bbo":[', np.uint8)
_KEY_FAST: Final = np.frombuffer(b'"fast":', np.uint8)
_KEY_SPREAD: Final = np.frombuffer(b'"spread":', np.uint8)
_KEY_PX: Final = np.frombuffer(b'"px":', np.uint8)
_KEY_SZ: Final = np.frombuffer(b'"sz":', np.uint8)
_KEY_N: Final = np.frombuffer(b'"n":', np.uint8)
_KEY_SIDE: Final = np.frombuffer(b'"side":"', np.uint8)
_KEY_TID: Final = np.frombuffer(b'"tid":', np.uint8)
_KEY_HASH: Final = np.frombuffer(b'"hash":', np.uint8)
_KEY_USERS: Final = np.frombuffer(b'"users":[', np.uint8)
_HEX: Final = np.frombuffer(b'"0x', np.uint8)

_QUOTE_MARK: Final = 34
_COMMA: Final = 44
_OPEN: Final = 91
_CLOSE: Final = 93
_BEGIN: Final = 123
_END: Final = 125
_BUY: Final = 66  # B
_SELL: Final = 65  # A
_COUNT_MAX: Final = 2**31 - 1
_MILLIS_MAX: Final = 9_223_372_036_853
_COIN_BYTES_MAX: Final = 128
_REFUSED: Final = -1

# Places in `Columns.head`.
_COIN_START: Final = 0
_COIN_END: Final = 1
_TIME: Final = 2
_IS_FAST: Final = 3
_BIDS: Final = 4
_ASKS: Final = 5
_COUNT: Final = 6
#: Of a head that names no coin.
NO_COIN: Final = 0


class Head:
    """Places in `Columns.head`: what a frame says once."""

    COIN_START: Final = _COIN_START
    COIN_END: Final = _COIN_END
    TIME: Final = _TIME
    IS_FAST: Final = _IS_FAST
    BIDS: Final = _BIDS
    ASKS: Final = _ASKS
    TRADES: Final = _COUNT
    END: Final = 7


class Place:
    """Places in a row of `Columns.numbers`, of trades."""

    TIME: Final = 0
    ID: Final = 1
    IS_SELL: Final = 2
    END: Final = 3


class Columns(NamedTuple):
    """
    Levels of all books and quotes of a run, or its trades, one after the other.

    Attributes:
        price: float64; NaN for a side of a quote that it has not.
        size: float64.
        orders: int32: of a level; -1 for such a side.
        numbers: int64 (trades, Place.END): of the trades of one frame.
        head: int64 (Head.END): of one frame.
    """

    price: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    orders: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int64]
    head: npt.NDArray[np.int64]


@kernel
def _read_value(data, at, end):
    """`(next, value)` of a quoted decimal above 0 that a float64 keeps; -1 for others."""
    after, mantissa, places = read_decimal(data, at, end)
    if after < 0 or mantissa == 0 or mantissa >= POWERS_INT[15]:
        return np.int64(_REFUSED), 0.0
    return after, mantissa / POWERS[places]


@kernel
def _read_level(data, at, end, row, columns):
    """The place after a level, from its opening brace on; -1 if it is for others."""
    refused = np.int64(_REFUSED)
    if at >= end or data[at] != _BEGIN or row >= len(columns.price):
        return refused
    seen = 0
    while True:
        at += 1
        if starts_with(data, at, end, _KEY_PX):
            at, columns.price[row] = _read_value(data, at + len(_KEY_PX), end)
            bit = 1
        elif starts_with(data, at, end, _KEY_SZ):
            at, columns.size[row] = _read_value(data, at + len(_KEY_SZ), end)
            bit = 2
        elif starts_with(data, at, end, _KEY_N):
            at, count = read_int(data, at + len(_KEY_N), end)
            if count > _COUNT_MAX:
                return refused
            columns.orders[row] = count
            bit = 4
        else:
            return refused
        if at < 0 or at >= end or seen & bit:
            return refused
        seen |= bit
        if data[at] == _END:
            return at + 1 if seen == 7 else refused
        if data[at] != _COMMA:
            return refused


@kernel
def _read_side(data, at, end, row, columns, sign):
    """`(next, row)` after a list of levels, best first, from its opening bracket on."""
    refused = np.int64(_REFUSED), row
    if at >= end or data[at] != _OPEN:
        return refused
    at += 1
    if at < end and data[at] == _CLOSE:
        return at + 1, row
    first = row
    while True:
        at = _read_level(data, at, end, row, columns)
        if at < 0 or at >= end:
            return refused
        if row > first and columns.price[row] * sign >= columns.price[row - 1] * sign:
            return refused
        row += 1
        if data[at] == _CLOSE:
            return at + 1, row
        if data[at] != _COMMA:
            return refused
        at += 1


@kernel
def _read_quoted(data, at, end, row, columns):
    """The place after one side of a quote: a level, or null."""
    if starts_with(data, at, end, _NULL):
        if row >= len(columns.price):
            return np.int64(_REFUSED)
        columns.price[row], columns.size[row], columns.orders[row] = np.nan, np.nan, -1
        return at + len(_NULL)
    return _read_level(data, at, end, row, columns)


@kernel
def _read_data(data, at, end, channel, row, columns):
    """The place after the data of a book or a quote, from its opening brace on; -1 if it is for others."""
    refused = np.int64(_REFUSED)
    head = columns.head
    if at >= end or data[at] != _BEGIN:
        return refused
    seen = 0
    while True:
        at += 1
        if starts_with(data, at, end, _KEY_COIN):
            at += len(_KEY_COIN)
            after = skip_string(data, at, end)
            head[_COIN_START], head[_COIN_END] = at + 1, after - 1
            at = after
            bit = 1
        elif starts_with(data, at, end, _KEY_TIME):
            at, head[_TIME] = read_int(data, at + len(_KEY_TIME), end)
            bit = 2
        elif channel == BOOK and starts_with(data, at, end, _KEY_LEVELS):
            at, next_row = _read_side(data, at + len(_KEY_LEVELS), end, row, columns, 1.0)
            if at < 0 or at >= end or data[at] != _COMMA:
                return refused
            head[_BIDS] = next_row - row
            at, last_row = _read_side(data, at + 1, end, next_row, columns, -1.0)
            if at < 0 or at >= end or data[at] != _CLOSE or last_row == row:
                return refused
            head[_ASKS] = last_row - next_row
            at += 1
            bit = 4
        elif channel == QUOTE and starts_with(data, at, end, _KEY_BBO):
            at = _read_quoted(data, at + len(_KEY_BBO), end, row, columns)
            if at < 0 or at >= end or data[at] != _COMMA:
                return refused
            at = _read_quoted(data, at + 1, end, row + 1, columns)
            if at < 0 or at >= end or data[at] != _CLOSE:
                return refused
            head[_BIDS], head[_ASKS] = 1, 1
            at += 1
            bit = 4
        elif channel == BOOK and starts_with(data, at, end, _KEY_FAST):
            at += len(_KEY_FAST)
            if starts_with(data, at, end, _TRUE):
                head[_IS_FAST] = 1
                at += len(_TRUE)
            else:
                at = skip_word(data, at, end, _FALSE)
            bit = 8
        elif channel == BOOK and starts_with(data, at, end, _KEY_SPREAD):
            at = skip_word(data, at + len(_KEY_SPREAD), end, _NULL)
            bit = 16
        else:
            return refused
        if at < 0 or at >= end or seen & bit:
            return refused
        seen |= bit
        if data[at] == _END:
            return at + 1 if seen & 7 == 7 else refused
        if data[at] != _COMMA:
            return refused


@kernel
def _skip_hex(data, at, end):
    """The place after a string that begins as hashes and addresses do, which is no decimal."""
    return skip_string(data, at, end) if starts_with(data, at, end, _HEX) else np.int64(_REFUSED)


@kernel
def _read_trade(data, at, end, row, place, columns):
    """The place after a trade, from its opening brace on; all are of one coin. -1 if it is for others."""
    refused = np.int64(_REFUSED)
    head, numbers = columns.head, columns.numbers
    if at >= end or data[at] != _BEGIN or row >= len(columns.price) or place >= len(numbers):
        return refused
    seen = 0
    while True:
        at += 1
        if starts_with(data, at, end, _KEY_COIN):
            at += len(_KEY_COIN)
            after = skip_string(data, at, end)
            if after < 0:
                return refused
            if place == 0:
                head[_COIN_START], head[_COIN_END] = at + 1, after - 1
            else:
                known = data[head[_COIN_START] : head[_COIN_END]]
                if after - at - 2 != len(known) or not starts_with(data, at + 1, after, known):
                    return refused
            at = after
            bit = 1
        elif starts_with(data, at, end, _KEY_SIDE):
            at += len(_KEY_SIDE)
            if at + 1 >= end or (data[at] != _BUY and data[at] != _SELL) or data[at + 1] != _QUOTE_MARK:
                return refused
            numbers[place, 2] = data[at] == _SELL
            at += 2
            bit = 2
        elif starts_with(data, at, end, _KEY_PX):
            at, columns.price[row] = _read_value(data, at + len(_KEY_PX), end)
            bit = 4
        elif starts_with(data, at, end, _KEY_SZ):
            at, columns.size[row] = _read_value(data, at + len(_KEY_SZ), end)
            bit = 8
        elif starts_with(data, at, end, _KEY_TIME):
            at, numbers[place, 0] = read_int(data, at + len(_KEY_TIME), end)
            if numbers[place, 0] > _MILLIS_MAX:
                return refused
            bit = 16
        elif starts_with(data, at, end, _KEY_TID):
            at, numbers[place, 1] = read_int(data, at + len(_KEY_TID), end)
            if numbers[place, 1] == 0:
                return refused  # a conversion of dust has no id of its own
            bit = 32
        elif starts_with(data, at, end, _KEY_HASH):
            at = _skip_hex(data, at + len(_KEY_HASH), end)
            bit = 64
        elif starts_with(data, at, end, _KEY_USERS):
            at = _skip_hex(data, at + len(_KEY_USERS), end)
            if at < 0 or at >= end or data[at] != _COMMA:
                return refused
            at = _skip_hex(data, at + 1, end)
            if at < 0 or at >= end or data[at] != _CLOSE:
                return refused
            at += 1
            bit = 128
        else:
            return refused
        if at < 0 or at >= end or seen & bit:
            return refused
        seen |= bit
        if data[at] == _END:
            return at + 1 if seen & 63 == 63 else refused
        if data[at] != _COMMA:
            return refused


@kernel
def _read_trades(data, at, end, row, columns):
    """The place after the trades of a frame, from their opening bracket on; -1 if they are for others."""
    refused = np.int64(_REFUSED)
    if at >= end or data[at] != _OPEN:
        return refused
    place = np.int64(0)
    while True:
        at = _read_trade(data, at + 1, end, row + place, place, columns)
        if at < 0 or at >= end:
            return refused
        place += 1
        if data[at] == _CLOSE:
            columns.head[_COUNT] = place
            return at + 1
        if data[at] != _COMMA:
            return refused


@kernel
def read_channel(data, at, end):
    """`(next, channel)`: the place after `"data":`, and which of the channels it is; 0 for another one."""
    if starts_with(data, at, end, PREFIX):
        at += len(PREFIX)
        if starts_with(data, at, end, _BOOK):
            return at + len(_BOOK), np.int64(BOOK)
        if starts_with(data, at, end, _QUOTE):
            return at + len(_QUOTE), np.int64(QUOTE)
        if starts_with(data, at, end, _TRADES):
            return at + len(_TRADES), np.int64(TRADES)
    return at, np.int64(0)


@kernel
def read_frame(data, at, end, channel, row, columns):
    """
    Read what follows `"data":`.

    Args:
        data: The bytes; the frame ends at `end`.
        at: See there.
        end: See there.
        channel: One of `BOOK`, `QUOTE`, `TRADES`.
        row: First free row of `columns`; levels and trades are written from there on, and `columns.head`.
        columns: A `Columns`.

    Returns:
        Whether it could be read; else it is for the general decoder.
    """
    head = columns.head
    for place in range(len(head)):
        head[place] = 0
    if channel == TRADES:
        at = _read_trades(data, at, end, row, columns)
    else:
        at = _read_data(data, at, end, channel, row, columns)
    if at < 0 or at + 1 != end or data[at] != _END or head[_TIME] > _MILLIS_MAX:
        return False
    length = head[_COIN_END] - head[_COIN_START]
    return 0 < length <= _COIN_BYTES_MAX
