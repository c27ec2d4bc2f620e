"""Messages of a table's columns, and the merge of their levels."""

from __future__ import annotations

from typing import Final

import numpy as np

from toolkit.kernels.compiling import kernel, unlocked

__all__ = [
    "NO_FIRST",
    "NO_PRICE",
    "NO_SIZE",
    "UNEVEN",
    "count_levels",
    "interleave",
    "merge_order",
    "place_heads",
    "put_heads",
    "take_levels",
]

#: What `count_levels` says of rows that are no book.
NO_FIRST: Final = -1
UNEVEN: Final = -2
NO_PRICE: Final = -3
NO_SIZE: Final = -4


@unlocked
def count_levels(starts, sides, bid, prices, sizes, bids, levels):
    """
    Count the levels of book messages, and look at each of them.

    Args:
        starts: Where each message begins.
        sides: Of each row the place of its side among words, and `bid` that of bids.
        prices: Of each row; NaN where the message has no level.
        sizes: Likewise.
        bids: How many there are, written for each message.
        levels: How many levels of either side there are, likewise.

    Returns:
        0; one of the numbers above for rows that are no book.
    """
    if len(prices) and (not len(starts) or starts[0] != 0):
        return NO_FIRST
    for message in range(len(starts)):
        stop = starts[message + 1] if message + 1 < len(starts) else len(prices)
        here = np.int64(0)
        there = np.int64(0)
        wrong = np.int64(0)
        for row in range(starts[message], stop):
            price, size = prices[row], sizes[row]
            is_level = np.int64(price == price)
            here += np.int64(sides[row] == bid)
            there += is_level
            # NaN is none of them, and infinity less its like is NaN.
            wrong |= np.int64(is_level != np.int64(size == size))
            wrong |= is_level & np.int64((price <= 0.0) | (price - price != 0.0) | (size < 0.0) | (size - size != 0.0))
        if wrong:
            return _wrong(prices, sizes)
        bids[message] = here
        levels[message] = there
    return 0


@kernel
def _wrong(prices, sizes):
    """What is wrong, where something is: first of all rows whether there are as many of both."""
    balance = np.int64(0)
    is_price = False
    for row in range(len(prices)):
        price, size = prices[row], sizes[row]
        balance += np.int64(price == price) - np.int64(size == size)
        is_price |= (price <= 0.0) | (price - price != 0.0) & (price == price)
    if balance:
        return UNEVEN
    return NO_PRICE if is_price else NO_SIZE


@kernel
def _of(values, row):
    """The value of a row, of those that are the same in all rows the only one."""
    return values[row if len(values) > 1 else 0]


@unlocked
def put_heads(heads, kinds, ts_recv, ts_event, seqs, subs, pairs, forms, flags, caps, firsts, bids, levels):
    """
    Write what messages are. Columns that are the same in all rows have one.

    Args:
        heads: Rows of `MESSAGE`, to be written.
        kinds: Kind of each.
        ts_recv: Times of receipt.
        ts_event: Times of the venue's.
        seqs: Of `capture_seq`.
        subs: Of `sub_seq`.
        pairs: Places of pairs.
        forms: Places of forms.
        flags: Of `Flag`.
        caps: Of `depth_cap`.
        firsts: Where their levels begin; none where all have as many, which lie one after the other.
        bids: How many bids each has.
        levels: How many levels.
    """
    for row in range(len(heads)):
        heads[row]["ts_recv"] = ts_recv[row]
        heads[row]["ts_event"] = ts_event[row]
        heads[row]["capture_seq"] = seqs[row]
        heads[row]["first"] = firsts[row] if len(firsts) else row * levels[0]
        heads[row]["sub_seq"] = subs[row]
        heads[row]["pair"] = _of(pairs, row)
        heads[row]["bids"] = _of(bids, row)
        heads[row]["asks"] = _of(levels, row) - _of(bids, row)
        heads[row]["cap"] = _of(caps, row)
        heads[row]["row"] = -1
        heads[row]["form"] = _of(forms, row)
        heads[row]["flags"] = _of(flags, row)
        heads[row]["kind"] = _of(kinds, row)


@unlocked
def interleave(first, second, out):
    """Two columns as pairs, one after the other."""
    for row in range(len(first)):
        out[2 * row] = first[row]
        out[2 * row + 1] = second[row]


@unlocked
def take_levels(order, heads, prices, sizes, counts, new_heads, new_prices, new_sizes, new_counts):
    """
    Messages in another order, and their levels in that of the messages.

    Args:
        order: Of the messages, by their places.
        heads: Of `MESSAGE`.
        prices: Of the levels.
        sizes: Likewise.
        counts: Likewise; none where there are none.
        new_heads: Where they are written, and so on.

    Returns:
        How many levels were written.
    """
    at = np.int64(0)
    for place in range(len(order)):
        old = order[place]
        new_heads[place] = heads[old]
        new_heads[place]["first"] = at
        first = heads[old]["first"]
        levels = np.int64(heads[old]["bids"]) + np.int64(heads[old]["asks"])
        for level in range(levels):
            new_prices[at + level] = prices[first + level]
            new_sizes[at + level] = sizes[first + level]
        if len(counts):
            for level in range(levels):
                new_counts[at + level] = counts[first + level]
        at += levels
    return at


@unlocked
def merge_order(keys, at, ends, places):
    """
    Where the messages of several runs go, each of which is in order.

    Args:
        keys: Numbers of the messages, one run after the other.
        at: Where each run begins; gone through.
        ends: Where each ends.
        places: The place of each message in the order of all, to be written. Of equal ones the first run's is first.
    """
    for place in range(len(keys)):
        best = -1
        for run in range(len(at)):
            if at[run] < ends[run] and (best < 0 or keys[at[run]] < keys[at[best]]):
                best = run
        places[at[best]] = place
        at[best] += 1


@unlocked
def place_heads(heads, places, levels, rest, out):
    """
    Put messages in their places.

    Args:
        heads: Of `MESSAGE`.
        places: The place of each.
        levels: How much further on their levels lie.
        rest: How much further on the rows lie that are kept of them.
        out: Where they are put.
    """
    for row in range(len(heads)):
        place = places[row]
        out[place] = heads[row]
        out[place]["first"] = heads[row]["first"] + levels
        if heads[row]["row"] >= 0:
            out[place]["row"] = heads[row]["row"] + rest
