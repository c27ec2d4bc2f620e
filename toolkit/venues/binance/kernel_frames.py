"""
Frames of the four streams that carry nearly everything, read from their bytes: diffs, quotes, trades, aggregates.

It accepts the combined form `{"stream":"...","data":{...}}` with any order of keys, and says no to whatever the general
decoder should see: unknown shapes of a known key, a key twice, white space, escapes, empty sides of a quote.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from toolkit.kernels.compiling import kernel
from toolkit.kernels.text import (
    LONG,
    POWERS,
    is_imprecise,
    read_decimal,
    read_int,
    skip_string,
    skip_value,
    skip_word,
    starts_with,
)

__all__ = ["AGG_TRADE", "DIFF", "FIELDS", "PREFIX", "PU", "QUOTE", "TRADE", "read_data"]

#: Kinds of stream; 0 is one that the kernel leaves alone.
DIFF: Final = 1
QUOTE: Final = 2
TRADE: Final = 3
AGG_TRADE: Final = 4

PREFIX: Final = np.frombuffer(b'{"stream":"', np.uint8)
#: Scalars of a frame by the letter of their key. Keys of two letters are where no letter is.
FIELDS: Final = 128
#: Place of `pu` among the fields.
PU: Final = 2

_DATA: Final = np.frombuffer(b'","data":{', np.uint8)
_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FALSE: Final = np.frombuffer(b"false", np.uint8)
_MARKET: Final = np.frombuffer(b'"MARKET"', np.uint8)
_NONE_KIND: Final = np.frombuffer(b'"NA"', np.uint8)
_EMPTY: Final = np.frombuffer(b'""', np.uint8)
#: What frames of each kind of stream say that they are.
_DIFF_EVENT: Final = np.frombuffer(b'"depthUpdate"', np.uint8)
_QUOTE_EVENT: Final = np.frombuffer(b'"bookTicker"', np.uint8)
_TRADE_EVENT: Final = np.frombuffer(b'"trade"', np.uint8)
_AGG_TRADE_EVENT: Final = np.frombuffer(b'"aggTrade"', np.uint8)

_QUOTE_MARK: Final = 34
_AT: Final = 64
_a: Final = 97
_z: Final = 122
_UPPER: Final = 32  # what a lower-case letter is above its upper-case one
_COMMA: Final = 44
_COLON: Final = 58
_OPEN: Final = 91
_CLOSE: Final = 93
_END: Final = 125
_TILDE: Final = 126
_ST: Final = 1  # place of `st` among the fields

_REFUSED: Final = -1


@kernel
def _read_levels(data, at, end, row, columns, counters):
    """`(next, row)` after a list of levels, from its opening bracket on; levels are written from `row` on."""
    refused = np.int64(_REFUSED), row
    if at >= end or data[at] != _OPEN:
        return refused
    at += 1
    if at < end and data[at] == _CLOSE:
        return at + 1, row
    while True:
        if at >= end or data[at] != _OPEN or row >= len(columns.price):
            return refused
        at += 1
        start = at
        at, price, price_decimals = read_decimal(data, at, end)
        if at < 0 or price == 0 or at >= end or data[at] != _COMMA:
            return refused
        counters[0] += at - start >= LONG and is_imprecise(price)
        start = at + 1
        at, size, size_decimals = read_decimal(data, at + 1, end)
        if at < 0 or at >= end or data[at] != _CLOSE:
            return refused
        counters[0] += at - start >= LONG and is_imprecise(size)
        columns.price[row] = price / POWERS[price_decimals]
        columns.size[row] = size / POWERS[size_decimals]
        columns.mantissa[row] = price
        columns.decimals[row] = price_decimals
        row += 1
        at += 1
        if at >= end:
            return refused
        if data[at] == _CLOSE:
            return at + 1, row
        if data[at] != _COMMA:
            return refused
        at += 1


@kernel
def _is_integer(kind, key):
    """Whether the stream's structure has an integer under that key."""
    if kind == DIFF:
        return key == 69 or key == 84 or key == 85 or key == 117 or key == PU  # E T U u pu
    if kind == QUOTE:
        return key == 117 or key == 84 or key == _ST  # u T st
    if kind == TRADE:
        return key == 69 or key == 84 or key == 116  # E T t
    return key == 69 or key == 97 or key == 102 or key == 108 or key == 84  # E a f l T


@kernel
def _is_decimal(kind, key):
    if kind == QUOTE:
        return key == 98 or key == 66 or key == 97 or key == 65  # b B a A
    return kind >= TRADE and (key == 112 or key == 113)  # p q


@kernel
def _key_of(data, start, end):
    """The place of a key among the fields; 0 for one that no structure has."""
    if end - start == 1:
        return np.int64(data[start])
    if end - start == 2 and data[start] == 112 and data[start + 1] == 117:  # pu
        return np.int64(PU)
    if end - start == 2 and data[start] == 115 and data[start + 1] == 116:  # st
        return np.int64(_ST)
    return np.int64(0)


@kernel
def _skip_event(data, at, end, kind):
    """The place after the name of the event that frames of such a stream are, or -1."""
    if kind == DIFF:
        return skip_word(data, at, end, _DIFF_EVENT)
    if kind == QUOTE:
        return skip_word(data, at, end, _QUOTE_EVENT)
    if kind == TRADE:
        return skip_word(data, at, end, _TRADE_EVENT)
    return skip_word(data, at, end, _AGG_TRADE_EVENT)


@kernel
def _skip_symbol(data, at, end, name):
    """The place after the symbol of the stream whose name begins at `name`, in quotes and upper case, or -1."""
    refused = np.int64(-1)
    if at >= end or data[at] != _QUOTE_MARK:
        return refused
    at += 1
    while at < end and data[name] != _AT:
        letter = data[name]
        if letter > _TILDE:
            return refused
        if _a <= letter <= _z:
            letter -= np.uint8(_UPPER)
        if data[at] != letter:
            return refused
        at += 1
        name += 1
    if at >= end or data[at] != _QUOTE_MARK:
        return refused
    return at + 1


@kernel
def read_data(data, name, at, end, kind, row, columns, integers, decimals, seen, counters):
    """
    Read what follows the name of the stream.

    Args:
        data: The bytes; the frame ends at `end`, and the name of its stream goes from `name` to `at`.
        name: See there.
        at: See there.
        end: See there.
        kind: One of `DIFF`, `QUOTE`, `TRADE`, `AGG_TRADE`.
        row: First free row of `columns`.
        columns: Where levels go: `price`, `size`, `mantissa` and `decimals` of the price.
        integers: Integers, and mantissas of decimals, by key.
        decimals: Decimals as float64, by key.
        seen: Flags by key: 1 where it came. All zero on entry.
        counters: [0] counts decimals with more digits than a float64 keeps.

    Returns:
        `(rows of bids, rows of both)`, or -1 and 0 for a frame that the general decoder has to see.
    """
    refused = np.int64(_REFUSED), np.int64(0)
    if not starts_with(data, at, end, _DATA):
        return refused
    at += len(_DATA)
    bid_rows = np.int64(0)
    ask_row = row
    next_row = row
    while True:
        if at >= end or data[at] != _QUOTE_MARK:
            return refused
        after = skip_string(data, at, end)
        if after < 0 or after >= end or data[after] != _COLON or after - at >= LONG:
            return refused
        key = _key_of(data, at + 1, after - 1)
        at = after + 1
        if key:
            if seen[key]:
                return refused
            seen[key] = 1
        if _is_integer(kind, key):
            at, integers[key] = read_int(data, at, end)
        elif _is_decimal(kind, key):
            start = at
            at, mantissa, places = read_decimal(data, at, end)
            if at >= 0:
                counters[0] += at - start >= LONG and is_imprecise(mantissa)
                integers[key] = mantissa
                decimals[key] = mantissa / POWERS[places]
        elif kind == DIFF and key == 98:  # b
            if seen[97]:
                return refused  # bids go before asks
            at, next_row = _read_levels(data, at, end, next_row, columns, counters)
            bid_rows = next_row - row
            ask_row = next_row
        elif kind == DIFF and key == 97:  # a
            if not seen[98]:
                return refused
            at, next_row = _read_levels(data, at, end, ask_row, columns, counters)
        elif kind >= TRADE and key == 109:  # m
            if starts_with(data, at, end, _TRUE):
                integers[key] = 1
                at += 4
            elif starts_with(data, at, end, _FALSE):
                integers[key] = 0
                at += 5
            else:
                return refused
        elif kind == TRADE and key == 88:  # X
            if starts_with(data, at, end, _MARKET):
                at += len(_MARKET)
            elif starts_with(data, at, end, _NONE_KIND):
                at += len(_NONE_KIND)
            elif starts_with(data, at, end, _EMPTY):
                at += len(_EMPTY)
            else:
                return refused
        elif key == 115:  # s
            start = at
            at = _skip_symbol(data, at, end, name)
            if at - start >= LONG:
                return refused  # it may be a decimal that is to be counted
        elif key == 101:  # e
            at = _skip_event(data, at, end, kind)
        else:
            start = at
            at = skip_value(data, at, end)
            if at - start >= LONG and data[start] == _QUOTE_MARK:
                return refused  # it may be a decimal that is to be counted
        if at < 0 or at >= end:
            return refused
        if data[at] == _END:
            break
        if data[at] != _COMMA:
            return refused
        at += 1
    if at + 2 != end or data[at + 1] != _END:
        return refused
    return bid_rows, next_row - row
