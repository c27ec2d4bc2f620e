"""
One call takes in a run of frames: what the protocol, the fused books and the digest do message by message, over arrays.

It stops before the first frame that it cannot take exactly as they would, having changed nothing by it, and says why.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from toolkit.kernels.compiling import inlined, kernel
from toolkit.kernels.fusion import FusedBooks, fuse, keep_apart
from toolkit.kernels.hashing import end_frame
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
from toolkit.venues.hyperliquid import kernel_state as names
from toolkit.venues.hyperliquid.kernel_frames import BOOK, QUOTE, TRADES, Columns, read_channel, read_frame
from toolkit.venues.hyperliquid.kernel_state import (
    FAST,
    FULL,
    LOADED,
    QUOTES_FEED,
    ROLE_FAST,
    ROLE_OTHER,
    SEEN_MAX,
    STAMPS,
    TRADES_FEED,
    UNKNOWN,
    Coins,
    Messages,
    Run,
    Scratch,
    Tapes,
    TopRows,
)

__all__ = ["DONE", "LOAD", "OTHER", "SCRATCH_BYTES", "run"]

#: Why a run stopped: all frames are done; this frame is for others; of its coin something is not known here yet.
DONE: Final = 0
OTHER: Final = 1
LOAD: Final = 2

#: What is hashed of a frame: both sides of a book take 18 KiB, and a book its levels.
SCRATCH_BYTES: Final = 1 << 18
#: A trade takes at most so many bytes beside its head.
_TRADE_BYTES: Final = 256
_FRAME_BYTES_MAX: Final = 4 << 20
_MS: Final = 1_000_000
_FULL_DEPTH_EVERY: Final = 256
#: As `TradeTape` has them; a test holds that they are the same.
BATCH_NS_MAX: Final = 10_000_000_000
TRADES_REMEMBERED: Final = 64
REMEMBERED_MS: Final = 20_000
_FULL_CAP: Final = 20.0
_FAST_CAP: Final = 5.0
_NIL: Final = 0xC0

_SNAPSHOTS: Final = names.Number.SNAPSHOTS
_QUOTES: Final = names.Number.QUOTES
_TRADES: Final = names.Number.TRADES
_TOPS: Final = names.Number.TOPS
_LEVEL_ROWS: Final = names.Number.LEVEL_ROWS
_STAMPS: Final = names.Number.STAMPS
_NEEDED: Final = names.Number.NEEDED


@inlined
def _begin(scratch, at, coins, head, pieces, ts_event, ts_recv, seq):
    """Head and first fields of a message."""
    out = scratch.bytes
    at = put_bytes(out, at, coins.heads, coins.head_ends[head], coins.head_ends[head + 1])
    at = put_int(out, at, ts_event)
    at = put_piece(out, at, pieces, names.BEFORE_TS_RECV)
    at = put_int(out, at, ts_recv)
    at = put_piece(out, at, pieces, names.BEFORE_CAPTURE_SEQ)
    return put_int(out, at, seq)


@kernel
def _put_counts(out, at, values, start, end):
    at = put_array_head(out, at, end - start)
    for row in range(start, end):
        at = put_int(out, at, values[row])
    return at


@kernel
def _put_side(out, at, prices, sizes, levels):
    """All levels of a side as two arrays, the best, which are the last ones, first."""
    out[at] = 0x92
    at = put_array_head(out, at + 1, levels)
    for row in range(levels - 1, -1, -1):
        at = put_float(out, at, prices[row])
    at = put_array_head(out, at, levels)
    for row in range(levels - 1, -1, -1):
        at = put_float(out, at, sizes[row])
    return at


@inlined
def _end_book(frame, coin, ts_event, seq, at, coins, books, tops, scratch, state):
    """Hash what a message has left of its book, and note the best levels if they changed."""
    out = scratch.bytes
    side = 2 * coin
    bids, asks = books.levels[side], books.levels[side + 1]
    bid, bid_size, ask, ask_size = np.nan, np.nan, np.nan, np.nan
    if bids:
        bid, bid_size = books.price[side, bids - 1], books.size[side, bids - 1]
    if asks:
        ask, ask_size = books.price[side + 1, asks - 1], books.size[side + 1, asks - 1]
    at = put_best(out, at, bid, bid_size, ask, ask_size, bids, asks, coins.is_stale[coin])
    if seq % _FULL_DEPTH_EVERY == 0:
        out[at] = 0x92
        at = _put_side(out, at + 1, books.price[side], books.size[side], bids)
        at = _put_side(out, at, books.price[side + 1], books.size[side + 1], asks)
    end_frame(scratch, at)
    is_crossed = bid >= ask  # never with NaN
    coins.crossed[coin] += is_crossed
    top = coins.top[coin]
    if not set_top(top, bid, bid_size, ask, ask_size) and coins.has_top[coin]:
        return
    coins.has_top[coin] = 1
    index = state.counts[_TOPS]
    tops.coin[index] = coin
    tops.frame[index] = frame
    tops.ts_event[index] = ts_event
    for place in range(4):
        tops.values[index, place] = top[place]
    tops.is_crossed[index] = is_crossed
    tops.is_stale[index] = coins.is_stale[coin]
    state.counts[_TOPS] = index + 1


@inlined
def _note(coin, feed, recv, mono, coins):
    """A frame of a stream was taken."""
    coins.taken[coin, feed] += 1
    coins.recv[coin, feed] = recv
    coins.mono[coin, feed] = mono


@inlined
def _stamp(connection, mono, ts_event, state):
    place = state.counts[_STAMPS] % STAMPS
    state.stamps[place, 0], state.stamps[place, 1], state.stamps[place, 2] = connection, mono, ts_event
    state.counts[_STAMPS] += 1


@kernel
def _book(frame, coin, feed, time, recv, seq, coins, books, levels, snapshots, tops, pieces, scratch, state):
    """A book that was read. Returns a reason to stop, or DONE."""
    index, row = state.counts[_SNAPSHOTS], state.counts[_LEVEL_ROWS]
    if not coins.is_taken[coin, feed] or time < coins.last_time[coin, feed] or coins.is_stale[coin]:
        return OTHER  # the first book is one that says more
    if index >= len(snapshots.frame) or state.counts[_TOPS] >= len(tops.frame):
        return OTHER
    bids, asks = levels.head[4], levels.head[5]
    ts_event = time * _MS
    cap = _FAST_CAP if feed == FAST else _FULL_CAP
    if not fuse(books, coin, feed, cap, ts_event, recv, seq, levels.price, levels.size, levels.orders, row, bids, asks):
        return OTHER
    coins.last_time[coin, feed] = time
    out = scratch.bytes
    middle, end = row + bids, row + bids + asks
    at = _begin(scratch, 16, coins, 3 * coin, pieces, ts_event, recv, seq)
    at = put_piece(out, at, pieces, names.BEFORE_BID_PRICES_FAST if feed == FAST else names.BEFORE_BID_PRICES_FULL)
    at = put_floats(out, at, levels.price, row, middle)
    at = put_piece(out, at, pieces, names.BEFORE_BID_SIZES)
    at = put_floats(out, at, levels.size, row, middle)
    at = put_piece(out, at, pieces, names.BEFORE_BID_COUNTS)
    at = _put_counts(out, at, levels.orders, row, middle)
    at = put_piece(out, at, pieces, names.BEFORE_ASK_PRICES)
    at = put_floats(out, at, levels.price, middle, end)
    at = put_piece(out, at, pieces, names.BEFORE_ASK_SIZES)
    at = put_floats(out, at, levels.size, middle, end)
    at = put_piece(out, at, pieces, names.BEFORE_ASK_COUNTS)
    at = _put_counts(out, at, levels.orders, middle, end)
    _end_book(frame, coin, ts_event, seq, at, coins, books, tops, scratch, state)
    snapshots.coin[index] = coin
    snapshots.frame[index] = frame
    snapshots.ts_event[index] = ts_event
    snapshots.bids[index] = bids
    snapshots.asks[index] = asks
    snapshots.kind[index] = feed
    state.counts[_SNAPSHOTS] = index + 1
    state.counts[_LEVEL_ROWS] = end
    return DONE


@kernel
def _put_quoted(out, at, pieces, price, size, count, before_size, before_count):
    """A side of a quote, its price first."""
    if price != price:
        out[at] = _NIL
        at = put_piece(out, at + 1, pieces, before_size)
        out[at] = _NIL
        at = put_piece(out, at + 1, pieces, before_count)
        out[at] = _NIL
        return at + 1
    at = put_float(out, at, price)
    at = put_piece(out, at, pieces, before_size)
    at = put_float(out, at, size)
    at = put_piece(out, at, pieces, before_count)
    return put_int(out, at, count)


@kernel
def _quote(frame, coin, time, recv, seq, coins, books, quoted, quotes, tops, pieces, scratch, state):
    """A quote that was read. Returns a reason to stop, or DONE."""
    index = state.counts[_QUOTES]
    row = 2 * index
    if not coins.is_taken[coin, QUOTES_FEED] or time < coins.last_time[coin, QUOTES_FEED]:
        return OTHER
    if index >= len(quotes.frame) or state.counts[_TOPS] >= len(tops.frame):
        return OTHER
    price, size, count = quoted.price, quoted.size, quoted.orders
    ts_event = time * _MS
    is_apart = coins.is_apart[coin]
    if is_apart:
        if not keep_apart(books, coin, QUOTES_FEED, recv, seq, ts_event, price, size, count, row):
            return OTHER
    elif not fuse(books, coin, QUOTES_FEED, 0.0, ts_event, recv, seq, price, size, count, row, 1, 1):
        return OTHER
    coins.last_time[coin, QUOTES_FEED] = time
    out = scratch.bytes
    at = _begin(scratch, 16, coins, 3 * coin + 1, pieces, ts_event, recv, seq)
    at = put_piece(out, at, pieces, names.BEFORE_BID_PRICE_APART if is_apart else names.BEFORE_BID_PRICE_FUSED)
    at = _put_quoted(out, at, pieces, price[row], size[row], count[row], names.BEFORE_BID_SIZE, names.BEFORE_BID_COUNT)
    at = put_piece(out, at, pieces, names.BEFORE_ASK_PRICE)
    at = _put_quoted(
        out, at, pieces, price[row + 1], size[row + 1], count[row + 1], names.BEFORE_ASK_SIZE, names.BEFORE_ASK_COUNT
    )
    if is_apart:
        end_frame(scratch, at)
    else:
        _end_book(frame, coin, ts_event, seq, at, coins, books, tops, scratch, state)
    quotes.coin[index] = coin
    quotes.frame[index] = frame
    quotes.ts_event[index] = ts_event
    quotes.kind[index] = not is_apart
    state.counts[_QUOTES] = index + 1
    return DONE


@kernel
def _is_known(tapes, coin, time, number):
    """Whether a trade was reported."""
    place = tapes.start[coin]
    width = tapes.id.shape[1]
    for _ in range(tapes.length[coin]):
        if tapes.id[coin, place] == number and tapes.time[coin, place] == time:
            return True
        place += 1
        if place == width:
            place = np.int64(0)
    return False


@kernel
def _remember(tapes, coin, time, number):
    """A trade was reported: of those before it the newest are kept, and all of the last seconds, if they are not too many."""
    width = tapes.id.shape[1]
    place = (tapes.start[coin] + tapes.length[coin]) % width
    tapes.time[coin, place], tapes.id[coin, place] = time, number
    tapes.length[coin] += 1
    while tapes.length[coin] > TRADES_REMEMBERED:
        first = tapes.start[coin]
        if tapes.time[coin, first] >= time - REMEMBERED_MS and tapes.length[coin] <= SEEN_MAX:
            return
        tapes.start[coin] = (first + 1) % width
        tapes.length[coin] -= 1


@kernel
def _trades(frame, coin, recv, mono, seq, coins, tapes, traded, trades, pieces, scratch, state):
    """Trades of a coin that were read. Returns a reason to stop, or DONE."""
    index, count = state.counts[_TRADES], traded.head[6]
    numbers = traded.numbers
    since = coins.since[coin]
    if not coins.is_taken[coin, TRADES_FEED] or (since > names.NEVER and mono - since < BATCH_NS_MAX):
        return OTHER  # after a subscription some are history
    head = coins.head_ends[3 * coin + 3] - coins.head_ends[3 * coin + 2]
    if index + count > len(trades.frame) or count * (head + _TRADE_BYTES) > SCRATCH_BYTES // 2:
        return OTHER
    for place in range(count):
        if _is_known(tapes, coin, numbers[place, 0], numbers[place, 1]):
            return OTHER
        for before in range(place):
            if numbers[before, 1] == numbers[place, 1] and numbers[before, 0] == numbers[place, 0]:
                return OTHER
    out = scratch.bytes
    at = np.int64(16)
    for place in range(count):
        time, number, is_sell = numbers[place, 0], numbers[place, 1], numbers[place, 2]
        _remember(tapes, coin, time, number)
        row = index + place
        at = _begin(scratch, at, coins, 3 * coin + 2, pieces, time * _MS, recv, seq)
        at = put_piece(out, at, pieces, names.BEFORE_SUB_SEQ)
        at = put_int(out, at, place)
        at = put_piece(out, at, pieces, names.BEFORE_PRICE_OF_SELL if is_sell else names.BEFORE_PRICE_OF_BUY)
        at = put_float(out, at, traded.price[row])
        at = put_piece(out, at, pieces, names.BEFORE_SIZE)
        at = put_float(out, at, traded.size[row])
        at = put_piece(out, at, pieces, names.BEFORE_TRADE_ID)
        at = put_digits(out, at, number, 0)
        trades.coin[row] = coin
        trades.frame[row] = frame
        trades.ts_event[row] = time * _MS
        trades.kind[row] = is_sell
        trades.number[row] = number
        trades.sub_seq[row] = place
    end_frame(scratch, at)
    state.counts[_TRADES] = index + count
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
    coins: Coins,
    tapes: Tapes,
    books: FusedBooks,
    levels: Columns,
    quoted: Columns,
    traded: Columns,
    snapshots: Messages,
    quotes: Messages,
    trades: Messages,
    tops: TopRows,
    pieces: Pieces,
    scratch: Scratch,
    state: Run,
) -> tuple[int, int]:
    """
    Take frames in, from `begin` on.

    Args:
        data: uint8: the payloads, frame i from `offsets[i]` to `offsets[i + 1]`.
        offsets: int32.
        ts_recv: int64, ns.
        ts_mono: int64, ns.
        conn_id: int32.
        is_taken: bool: whether a frame is a message that this venue sent.
        begin: The first frame.
        end: After the last frame.
        first_seq: `capture_seq` of frame 0.
        coins: State of each coin.
        tapes: Trades of each that were reported.
        books: The book of each.
        levels: Levels of the books of the run; `quoted` those of its quotes, `traded` its trades.
        quoted: See there.
        traded: See there.
        snapshots: Messages of books, like the next three.
        quotes: Messages of best quotes.
        trades: Messages of trades.
        tops: Changes of the fused book's best prices.
        pieces: Pieces of canonical bytes, in order.
        scratch: Memory of one frame; `words` begins with the state of the digest.
        state: State of the run.

    Returns:
        The frame it stopped before (`end`, if it took all), and why.
    """
    for frame in range(begin, end):
        # A time before 1970 would be packed as another number.
        if not is_taken[frame] or ts_recv[frame] < 0:
            return frame, OTHER
        start, stop = np.int64(offsets[frame]), np.int64(offsets[frame + 1])
        connection = np.int64(conn_id[frame])
        if stop - start > _FRAME_BYTES_MAX or connection < 0 or connection >= len(state.roles):
            return frame, OTHER
        role = state.roles[connection]
        at, channel = read_channel(data, start, stop)
        if not channel or role == ROLE_OTHER:
            return frame, OTHER
        if channel == BOOK:
            is_read = read_frame(data, at, stop, channel, state.counts[_LEVEL_ROWS], levels)
        elif channel == QUOTE:
            is_read = read_frame(data, at, stop, channel, 2 * state.counts[_QUOTES], quoted)
        else:
            is_read = read_frame(data, at, stop, channel, state.counts[_TRADES], traded)
        head = levels.head  # of all three
        if not is_read:
            return frame, OTHER
        coin = np.int64(number_of(data, head[0], head[1], coins.table, coins.names, coins.name_ends))
        if coin < 0:
            return frame, OTHER
        recv, mono, seq = ts_recv[frame], ts_mono[frame], first_seq + frame
        known = coins.tape[coin] if channel == TRADES else coins.book[coin]
        if known == UNKNOWN:
            state.counts[_NEEDED] = coin
            return frame, LOAD
        if known != LOADED:
            return frame, OTHER
        time = head[2]
        feed = np.int64(TRADES_FEED)
        if channel == BOOK:
            feed = np.int64(FAST if head[3] or role == ROLE_FAST else FULL)
            reason = _book(
                frame, coin, feed, time, recv, seq, coins, books, levels, snapshots, tops, pieces, scratch, state
            )
        elif channel == QUOTE:
            feed = np.int64(QUOTES_FEED)
            reason = _quote(frame, coin, time, recv, seq, coins, books, quoted, quotes, tops, pieces, scratch, state)
        else:
            reason = _trades(frame, coin, recv, mono, seq, coins, tapes, traded, trades, pieces, scratch, state)
        if reason != DONE:
            return frame, reason
        _note(coin, feed, recv, mono, coins)
        if channel != TRADES:
            _stamp(connection, mono, time * _MS, state)
    return end, DONE
