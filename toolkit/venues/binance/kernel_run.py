"""
One call takes in a run of frames: what `Feeds`, `Books`, the book and the digest do message by message, over arrays.

It stops before the first frame that it cannot take exactly as they would, having changed nothing by it, and says why.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from toolkit.kernels.compiling import kernel
from toolkit.kernels.hashing import end_frame
from toolkit.kernels.levels import Store, best, has_room, set_level, side_columns
from toolkit.kernels.name_table import number_of
from toolkit.kernels.packing import (
    Pieces,
    put_array_head,
    put_best,
    put_bytes,
    put_digits,
    put_float,
    put_floats,
    put_int,
    put_piece,
    set_top,
)
from toolkit.kernels.text import POWERS, POWERS_INT, starts_with
from toolkit.venues.binance import kernel_numbers as numbers
from toolkit.venues.binance.kernel_frames import AGG_TRADE, DIFF, PREFIX, PU, QUOTE, read_data
from toolkit.venues.binance.kernel_state import (
    NO_CEILING,
    RENUMBERED_NS,
    Columns,
    Feeds,
    Instruments,
    Messages,
    Run,
    Scratch,
)

__all__ = ["DONE", "FIXED_BYTES", "FULL", "OTHER", "RESCALE", "UNITS_END", "run"]

#: Why a run stopped: all frames are done; this frame is for others; an array is full, and `Run.needed` says what it
#: takes; a price is no step of the book.
DONE: Final = 0
OTHER: Final = 1
FULL: Final = 2
RESCALE: Final = 3

_MS: Final = 1_000_000
_MS_MIN: Final = 1_230_768_000_000
_MS_MAX: Final = 4_102_444_800_000
_FULL_DEPTH_EVERY: Final = 256
_ABSENT: Final = -1
#: What is hashed of a frame takes at most so many bytes beside the head of its message and its levels: the state, the
#: pieces, integers and lengths, the best levels, and zeros to the end of a block.
FIXED_BYTES: Final = 1536
#: A level takes at most so many: two floats.
_LEVEL_BYTES: Final = 18
#: Prices have fewer units of the last decimal than this: of up to 15 digits no two are the same float64, so levels are
#: told apart here as they are where prices are floats.
UNITS_END: Final = 10**15
#: A longer frame is left to the protocol. Twenty times what a snapshot of 5,000 levels takes.
_FRAME_BYTES_MAX: Final = 4 << 20

# Places among the fields, by letter.
_E: Final = 69
_T: Final = 84
_U: Final = 85
_u: Final = 117
_PU: Final = PU
_t: Final = 116
_a: Final = 97
_A: Final = 65
_b: Final = 98
_B: Final = 66
_p: Final = 112
_q: Final = 113
_f: Final = 102
_l: Final = 108
_m: Final = 109

# Places in `Instruments.told`.
_TOLD_START: Final = 0
_TOLD_END: Final = 1
_TOLD_CEILING: Final = 2
_TOLD_TS: Final = 3
_NEWEST_TRADE: Final = 4
_NEWEST_AGGREGATE: Final = 5


@kernel
def _begin(scratch, feeds, feed, pieces, ts_event, ts_recv, seq):
    """Head and first fields of a message, after the state of the digest."""
    out = scratch.bytes
    at = put_bytes(out, 16, feeds.heads, feeds.head_ends[feed], feeds.head_ends[feed + 1])
    if ts_event < 0:
        out[at] = 0xC0
        at += 1
    else:
        at = put_int(out, at, ts_event)
    at = put_piece(out, at, pieces, numbers.BEFORE_TS_RECV)
    at = put_int(out, at, ts_recv)
    at = put_piece(out, at, pieces, numbers.BEFORE_CAPTURE_SEQ)
    return put_int(out, at, seq)


@kernel
def _put_side(scratch, at, store, side, sign, step, power):
    """All levels of a side as two arrays."""
    out = scratch.bytes
    side_columns(store, side, scratch.keys, scratch.sizes)
    levels = store.levels[side]
    out[at] = 0x92
    at = put_array_head(out, at + 1, levels)
    for row in range(levels):
        at = put_float(out, at, sign * scratch.keys[row] * step / power)
    at = put_array_head(out, at, levels)
    for row in range(levels):
        at = put_float(out, at, scratch.sizes[row])
    return at


@kernel
def _time(milliseconds):
    """Nanoseconds; 0 for what is no time in milliseconds."""
    return milliseconds * _MS if _MS_MIN <= milliseconds < _MS_MAX else np.int64(0)


@kernel
def _diff(
    frame,
    feed,
    bid_rows,
    rows,
    row,
    ts_recv,
    seq,
    feeds,
    instruments,
    store,
    columns,
    diffs,
    tops,
    pieces,
    scratch,
    state,
):
    """A diff that was read: check, apply, hash. Returns a reason to stop, or DONE."""
    integers, seen, out = scratch.integers, scratch.seen, scratch.bytes
    number = feeds.instrument[feed]
    first, last, prev = integers[_U], integers[_u], integers[_PU]
    if not (seen[_E] and seen[_U] and seen[_u] and seen[_a] and rows) or last < first:
        return OTHER
    before = instruments.last_id[number]
    waits = instruments.is_waiting[number]
    if before < 0 or (waits and ts_recv > instruments.tell_from[number]):
        return OTHER
    if state.is_spot:
        if not first <= before + 1 <= last:
            return OTHER
    elif not seen[_PU]:
        return OTHER
    elif instruments.is_bare[number]:
        if not prev <= before <= last:
            return OTHER
    elif prev != before:
        return OTHER
    time = integers[_T] if seen[_T] and integers[_T] else integers[_E]
    ts_event = _time(time)
    if not ts_event:
        return OTHER

    bid_side = number * 2
    # Both sides whole, and what this frame adds to them.
    levels = store.levels[bid_side] + store.levels[bid_side + 1] + rows
    head = feeds.head_ends[feed + 1] - feeds.head_ends[feed]
    needed = FIXED_BYTES + head + (levels + rows) * _LEVEL_BYTES
    if (
        not (has_room(store, bid_side, bid_rows) and has_room(store, bid_side + 1, rows))
        or levels > len(scratch.keys)
        or needed > len(out)
    ):
        state.needed[numbers.PAGES] = max(store.pages[bid_side], store.pages[bid_side + 1]) + rows
        state.needed[numbers.FREE_SLOTS] = rows
        state.needed[numbers.SIDE_LEVELS] = levels
        state.needed[numbers.HASHED_BYTES] = needed
        state.needed[numbers.INSTRUMENT] = number
        return FULL
    low, high = instruments.cover[number, 0], instruments.cover[number, 1]
    if waits:
        low, high = -np.inf, np.inf
    for index in range(row, row + bid_rows):
        if columns.price[index] > high and columns.size[index]:
            return OTHER
    for index in range(row + bid_rows, row + rows):
        if columns.price[index] < low and columns.size[index]:
            return OTHER
    decimals, step = instruments.decimals[number], instruments.step[number]
    for index in range(row, row + rows):
        units = columns.mantissa[index]
        places = columns.decimals[index]
        if places > decimals:
            factor = POWERS_INT[places - decimals]
            if units % factor:
                state.needed[numbers.INSTRUMENT] = number
                return RESCALE
            units //= factor
        elif places < decimals:
            if units >= UNITS_END // POWERS_INT[decimals - places]:
                return OTHER
            units *= POWERS_INT[decimals - places]
        if units >= UNITS_END:
            return OTHER
        if step != 1:
            if units % step:
                state.needed[numbers.INSTRUMENT] = number
                return RESCALE
            units //= step
        columns.mantissa[index] = units  # the key of the level, from here on; bids are not negated
    for index in range(row, row + bid_rows):
        set_level(store, bid_side, columns.mantissa[index], columns.size[index])
    for index in range(row + bid_rows, row + rows):
        set_level(store, bid_side + 1, -columns.mantissa[index], columns.size[index])

    instruments.last_id[number] = last
    instruments.last_ts[number] = ts_event
    instruments.is_bare[number] = False
    instruments.last_frame[number] = frame

    at = _begin(scratch, feeds, feed, pieces, ts_event, ts_recv, seq)
    at = put_piece(out, at, pieces, numbers.BEFORE_BID_PRICES_WAITING if waits else numbers.BEFORE_BID_PRICES)
    at = put_floats(out, at, columns.price, row, row + bid_rows)
    at = put_piece(out, at, pieces, numbers.BEFORE_BID_SIZES)
    at = put_floats(out, at, columns.size, row, row + bid_rows)
    at = put_piece(out, at, pieces, numbers.BEFORE_ASK_PRICES)
    at = put_floats(out, at, columns.price, row + bid_rows, row + rows)
    at = put_piece(out, at, pieces, numbers.BEFORE_ASK_SIZES)
    at = put_floats(out, at, columns.size, row + bid_rows, row + rows)
    at = put_piece(out, at, pieces, numbers.BEFORE_FIRST_UPDATE_ID)
    at = put_int(out, at, first)
    at = put_piece(out, at, pieces, numbers.BEFORE_LAST_UPDATE_ID)
    at = put_int(out, at, last)
    if not state.is_spot:
        at = put_piece(out, at, pieces, numbers.BEFORE_PREV_UPDATE_ID)
        at = put_int(out, at, prev)

    index = state.counts[numbers.DIFFS]
    diffs.instrument[index] = number
    diffs.frame[index] = frame
    diffs.ts_event[index] = ts_event
    diffs.ids[index, 0] = first
    diffs.ids[index, 1] = last
    diffs.ids[index, 2] = prev
    diffs.rows[index, 0] = row
    diffs.rows[index, 1] = rows
    diffs.bids[index] = bid_rows
    diffs.kind[index] = waits
    state.counts[numbers.DIFFS] = index + 1
    if waits:
        end_frame(scratch, at)
        return DONE

    power = POWERS[decimals]
    bid, bid_size, ask, ask_size = np.nan, np.nan, np.nan, np.nan
    if store.levels[bid_side]:
        key, bid_size = best(store, bid_side)
        bid = key * step / power
    if store.levels[bid_side + 1]:
        key, ask_size = best(store, bid_side + 1)
        ask = -key * step / power
    stale = instruments.is_stale[number]
    bids, asks = store.levels[bid_side], store.levels[bid_side + 1]
    at = put_best(out, at, bid, bid_size, ask, ask_size, bids, asks, stale)
    if seq % _FULL_DEPTH_EVERY == 0:
        out[at] = 0x92
        at = _put_side(scratch, at + 1, store, bid_side, 1, step, power)
        at = _put_side(scratch, at, store, bid_side + 1, -1, step, power)
    end_frame(scratch, at)

    is_crossed = bid >= ask  # never with NaN
    instruments.crossed[number] += is_crossed

    top = instruments.top[number]
    if not set_top(top, bid, bid_size, ask, ask_size) and instruments.top_is_stale[number] == stale:
        return DONE
    instruments.top_is_stale[number] = stale
    index = state.counts[numbers.TOPS]
    tops.instrument[index] = number
    tops.frame[index] = frame
    tops.ts_event[index] = ts_event
    for place in range(4):
        tops.values[index, place] = top[place]
    tops.flags[index, 0] = stale
    tops.flags[index, 1] = is_crossed
    state.counts[numbers.TOPS] = index + 1
    return DONE


@kernel
def _quote(frame, feed, ts_recv, seq, feeds, instruments, quotes, pieces, scratch, state):
    """A quote that was read. Returns a reason to stop, or DONE."""
    integers, decimals, seen, out = scratch.integers, scratch.decimals, scratch.seen, scratch.bytes
    if not (seen[_u] and seen[_b] and seen[_B] and seen[_a] and seen[_A]):
        return OTHER
    if not integers[_b] or not integers[_a]:
        return OTHER  # a side that is empty
    ts_event = np.int64(_ABSENT)
    if seen[_T] and integers[_T]:
        ts_event = _time(integers[_T])
        if not ts_event:
            return OTHER
    number = feeds.instrument[feed]
    bid, bid_size, ask, ask_size = decimals[_b], decimals[_B], decimals[_a], decimals[_A]
    if not bid_size or not ask_size:
        return OTHER  # likewise
    if bid < instruments.cover[number, 0] or ask > instruments.cover[number, 1]:
        return OTHER
    at = _begin(scratch, feeds, feed, pieces, ts_event, ts_recv, seq)
    at = put_piece(out, at, pieces, numbers.BEFORE_BID_PRICE)
    at = put_float(out, at, bid)
    at = put_piece(out, at, pieces, numbers.BEFORE_BID_SIZE)
    at = put_float(out, at, bid_size)
    at = put_piece(out, at, pieces, numbers.BEFORE_ASK_PRICE)
    at = put_float(out, at, ask)
    at = put_piece(out, at, pieces, numbers.BEFORE_ASK_SIZE)
    at = put_float(out, at, ask_size)
    at = put_piece(out, at, pieces, numbers.BEFORE_UPDATE_ID)
    at = put_int(out, at, integers[_u])
    end_frame(scratch, at)
    index = state.counts[numbers.QUOTES]
    quotes.instrument[index] = number
    quotes.frame[index] = frame
    quotes.ts_event[index] = ts_event
    quotes.ids[index, 0] = integers[_u]
    quotes.values[index, 0] = bid
    quotes.values[index, 1] = bid_size
    quotes.values[index, 2] = ask
    quotes.values[index, 3] = ask_size
    state.counts[numbers.QUOTES] = index + 1
    return DONE


@kernel
def _trade(frame, feed, kind, ts_recv, seq, feeds, instruments, trades, pieces, scratch, state):
    """A trade, or an aggregate of some, that was read. Returns a reason to stop, or DONE."""
    integers, decimals, seen, out = scratch.integers, scratch.decimals, scratch.seen, scratch.bytes
    is_aggregate = kind == AGG_TRADE
    if not (seen[_T] and seen[_p] and seen[_q] and seen[_m]) or not integers[_p] or not integers[_q]:
        return OTHER
    if is_aggregate:
        if not (seen[_a] and seen[_f] and seen[_l]):
            return OTHER
        first, last, trade_id = integers[_f], integers[_l], integers[_a]
    else:
        if not seen[_t]:
            return OTHER
        first, last, trade_id = integers[_t], integers[_t], integers[_t]
    ts_event = _time(integers[_T])
    if not ts_event:
        return OTHER
    if first > last:
        return OTHER
    number = feeds.instrument[feed]
    price = decimals[_p]
    if price < instruments.cover[number, 0] or price > instruments.cover[number, 1]:
        return OTHER
    # As `ToldTrades` has it, for the range that was added to last; whatever concerns another one is left to it.
    told = instruments.told[number]
    newest = told[_NEWEST_AGGREGATE if is_aggregate else _NEWEST_TRADE]
    if newest < 0 or trade_id > newest + 1:
        return OTHER
    if ts_event - told[_TOLD_TS] >= RENUMBERED_NS and (last <= told[_TOLD_END] or told[_TOLD_CEILING] != NO_CEILING):
        return OTHER
    is_duplicate = first <= told[_TOLD_END] and last >= told[_TOLD_START]
    if not is_duplicate:
        if first != told[_TOLD_END] + 1 or last + 1 >= told[_TOLD_CEILING]:
            return OTHER
        told[_TOLD_END] = last
        told[_TOLD_TS] = max(told[_TOLD_TS], ts_event)
    told[_NEWEST_AGGREGATE if is_aggregate else _NEWEST_TRADE] = max(newest, trade_id)
    at = _begin(scratch, feeds, feed, pieces, ts_event, ts_recv, seq)
    if is_duplicate:
        out[16] += 1  # one field more in the head of the map
    at = put_piece(out, at, pieces, numbers.BEFORE_PRICE_OF_SELL if integers[_m] else numbers.BEFORE_PRICE_OF_BUY)
    at = put_float(out, at, decimals[_p])
    at = put_piece(out, at, pieces, numbers.BEFORE_SIZE)
    at = put_float(out, at, decimals[_q])
    at = put_piece(out, at, pieces, numbers.BEFORE_TRADE_ID)
    at = put_digits(out, at, trade_id, _a if is_aggregate else 0)
    if is_duplicate:
        at = put_piece(out, at, pieces, numbers.IS_DUPLICATE)
    end_frame(scratch, at)
    index = state.counts[numbers.TRADES]
    trades.instrument[index] = number
    trades.frame[index] = frame
    trades.ts_event[index] = ts_event
    trades.ids[index, 0] = trade_id
    trades.values[index, 0] = decimals[_p]
    trades.values[index, 1] = decimals[_q]
    trades.flags[index, 0] = integers[_m]
    trades.flags[index, 1] = is_duplicate
    trades.kind[index] = is_aggregate
    state.counts[numbers.TRADES] = index + 1
    state.counts[numbers.DUPLICATES] += is_duplicate
    return DONE


@kernel
def run(
    data: Any,
    offsets: Any,
    ts_recv: Any,
    ts_mono: Any,
    conn_id: Any,
    is_taken: Any,
    begin: int,
    end: int,
    first_seq: int,
    feeds: Feeds,
    instruments: Instruments,
    store: Store,
    columns: Columns,
    diffs: Messages,
    quotes: Messages,
    trades: Messages,
    tops: Messages,
    pieces: Pieces,
    scratch: Scratch,
    state: Run,
) -> tuple[int, int]:
    """
    Take frames in, from `begin` on.

    Args:
        data: uint8: the payloads, frame i from `offsets[i]` to `offsets[i + 1]`.
        offsets: int32 or int64.
        ts_recv: int64, ns.
        ts_mono: int64, ns.
        conn_id: int32.
        is_taken: bool: whether a frame is a message that this venue sent.
        begin: The first frame.
        end: After the last frame.
        first_seq: `capture_seq` of frame 0.
        feeds: State of each stream, a `Feeds`.
        instruments: Terms and books of each instrument, an `Instruments`.
        store: Pages of the books: side `2 * instrument` holds bids, the next one asks.
        columns: Rows of diffs that are made, a `Columns`.
        diffs: Messages of diffs, like the next three a `Messages`.
        quotes: Messages of best quotes.
        trades: Messages of trades.
        tops: Messages of the fused book's best prices.
        pieces: Pieces of canonical bytes, in order, a `Pieces`.
        scratch: Buffers of one frame, a `Scratch`; `words` begins with the state of the digest.
        state: State of the run, a `Run`.

    Returns:
        The frame it stopped before (`end`, if it took all), and why.
    """
    counters = state.imprecise
    for frame in range(begin, end):
        # A time before 1970 would be packed as another number.
        if not is_taken[frame] or ts_recv[frame] < 0:
            return frame, OTHER
        start, stop = np.int64(offsets[frame]), np.int64(offsets[frame + 1])
        if not starts_with(data, start, stop, PREFIX) or stop - start > _FRAME_BYTES_MAX:
            return frame, OTHER
        name = start + len(PREFIX)
        name_end = name
        while name_end < stop and data[name_end] != 34:
            name_end += 1
        feed = np.int64(number_of(data, name, name_end, feeds.table, feeds.names, feeds.name_ends))
        if feed < 0:
            return frame, OTHER
        kind = feeds.kind[feed]
        if not kind:
            return frame, OTHER
        number = feeds.instrument[feed]
        if kind == DIFF:
            connection = conn_id[frame]
            if connection < 0 or connection >= instruments.connections.shape[1]:
                return frame, OTHER
            if not instruments.connections[number, connection] or ts_mono[frame] >= instruments.keep_from[number]:
                return frame, OTHER
        row = state.counts[numbers.LEVEL_ROWS]
        # Every kind needs this much; what levels need beside it is looked at where they are known.
        needed = FIXED_BYTES + feeds.head_ends[feed + 1] - feeds.head_ends[feed]
        if needed > len(scratch.bytes):
            state.needed[:] = 0
            state.needed[numbers.HASHED_BYTES] = needed
            state.needed[numbers.INSTRUMENT] = number
            return frame, FULL
        scratch.seen[:] = 0
        counters[0] = 0
        bid_rows, rows = read_data(
            data, name, name_end, stop, kind, row, columns, scratch.integers, scratch.decimals, scratch.seen, counters
        )
        if bid_rows < 0:
            return frame, OTHER
        seq = first_seq + frame
        if kind == DIFF:
            if state.counts[numbers.DIFFS] >= len(diffs.frame) or state.counts[numbers.TOPS] >= len(tops.frame):
                return frame, OTHER
            reason = _diff(
                frame, feed, bid_rows, rows, row, ts_recv[frame], seq, feeds, instruments, store, columns, diffs, tops,
                pieces, scratch, state,
            )  # fmt: skip
            if reason == DONE:
                state.counts[numbers.LEVEL_ROWS] = row + rows
        elif kind == QUOTE:
            if state.counts[numbers.QUOTES] >= len(quotes.frame):
                return frame, OTHER
            reason = _quote(frame, feed, ts_recv[frame], seq, feeds, instruments, quotes, pieces, scratch, state)
        else:
            if state.counts[numbers.TRADES] >= len(trades.frame):
                return frame, OTHER
            reason = _trade(frame, feed, kind, ts_recv[frame], seq, feeds, instruments, trades, pieces, scratch, state)
        if reason != DONE:
            return frame, reason
        state.counts[numbers.IMPRECISE] += counters[0]
        feeds.taken[feed] += 1
        feeds.last[feed] = frame
    return end, DONE
