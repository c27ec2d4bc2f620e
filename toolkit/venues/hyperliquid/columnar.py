"""
Runs of frames by compiled code, between frames that the protocol takes.

The state of a coin is copied into the kernel's arrays when the first frame of it comes, and stays there until the protocol
is about to look at it: copying a book with the messages that are kept of it takes as long as taking some frames in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from toolkit.books.tracker import OrderBookTracker
from toolkit.columnar import Collected, FrameBatch, Taken, Tops, no_frames
from toolkit.frames import DAMAGED, WS_IN, WS_OUT, Frame
from toolkit.kernels.fusion_state import KeptBook, load_book, unload_book
from toolkit.kernels.run_taker import RunTaker, top_from_values, values_of_top
from toolkit.kernels.text import name_hash
from toolkit.keys import PairKey
from toolkit.venues.hyperliquid import kernel_run
from toolkit.venues.hyperliquid.kernel_arrays import CONNECTIONS_MAX, FORMS, Arrays
from toolkit.venues.hyperliquid.kernel_state import (
    FEEDS,
    LOADED,
    NEVER,
    QUOTES_FEED,
    REFUSED,
    ROLE_FAST,
    ROLE_OTHER,
    ROLE_PLAIN,
    STAMPS,
    TRADES_FEED,
    UNKNOWN,
    Number,
)
from toolkit.venues.hyperliquid.run_columns import changed_tops, message_columns
from toolkit.venues.hyperliquid.subscriptions import FAST_ROLE
from toolkit.venues.hyperliquid.wire import IGNORED_CHANNELS

if TYPE_CHECKING:
    from toolkit.streams import Stream
    from toolkit.venues.hyperliquid.market import HyperliquidMarketProtocol

__all__ = ["HyperliquidTaker"]

#: Streams of a coin by number, of which the first are forms of its book.
_STREAMS: Final = (*FORMS, "trades")
_CHANNEL: Final = re.compile(rb'\{"channel":"([A-Za-z0-9]+)"')
_COIN: Final = re.compile(rb'"coin":"([^"\\]*)"')
_BOOKS: Final = frozenset({b"l2Book", b"bbo"})
#: Channels whose frames change nothing that is known here, whatever is in them.
_OTHERS: Final = frozenset({b"pong", b"activeAssetCtx", b"activeSpotAssetCtx", *map(str.encode, IGNORED_CHANNELS)})
_PING: Final = b'{"method":"ping"}'


class HyperliquidTaker(RunTaker[str]):
    """
    See `ColumnarTaker`. What the protocol may have changed are coins; anything includes connections.

    Args:
        protocol: Protocol on whose state it works.
        tracker: The books that it keeps.
        tops: Values of the last row of `top`.
    """

    def __init__(self, protocol: HyperliquidMarketProtocol, tracker: OrderBookTracker, tops: Tops) -> None:
        super().__init__()
        self._protocol = protocol
        self._tracker = tracker
        self._tops = tops
        self._venue = protocol.venue
        self._arrays = Arrays(self._venue)
        self._kept: dict[int, KeptBook] = {}

    # -- what `ColumnarTaker` asks ------------------------------------------------------------------------------

    def _make_room(self, frames: FrameBatch, begin: int) -> None:
        self._arrays.begin(frames, begin)

    def _run(self, frames: FrameBatch, begin: int, digest: bytes) -> Taken:
        arrays = self._arrays
        arrays.digest = digest
        before = arrays.counts.copy()
        end = begin
        while True:
            end, reason = kernel_run.run(*arrays.arguments(frames, end))
            if reason != kernel_run.LOAD:
                break
            self._load(int(arrays.counts[Number.NEEDED]))
        more = (arrays.counts - before).tolist()
        return Taken(
            end=end,
            digest=arrays.digest,
            message_count=more[Number.SNAPSHOTS] + more[Number.QUOTES] + more[Number.TRADES],
        )

    def compile(self) -> None:
        arrays = self._arrays
        kernel_run.run(*arrays.arguments(no_frames(), 0))
        name_hash(arrays.state.names, 0, 0)

    def _add_columns(self, collected: Collected) -> None:
        collected.messages.extend(message_columns(self._arrays))
        collected.tops.extend(changed_tops(self._arrays))

    def _empty(self) -> None:
        self._arrays.counts[: Number.STAMPS] = 0

    def before(self, frame: Frame) -> None:
        touched = self._touched
        if touched is None:
            return
        self._tell_clock()
        if frame.kind == DAMAGED or (frame.kind == WS_OUT and frame.payload == _PING):
            return
        found = _CHANNEL.match(frame.payload) if frame.kind == WS_IN else None
        is_plain = found is not None and frame.payload.count(b'"channel"') == 1 and b"\\" not in frame.payload
        channel = found[1] if found is not None and is_plain else b""
        if channel in _OTHERS:
            return
        coins = {name.decode("utf-8", "replace") for name in _COIN.findall(frame.payload)}
        is_book = channel in _BOOKS and frame.payload.count(b'"coin"') == len(coins) == 1
        is_tape = channel == b"trades" and frame.payload.count(b'"coin"') == len(_COIN.findall(frame.payload))
        if not (is_book or is_tape):
            self._leave_all()
            return
        state = self._arrays.state
        for coin in coins:
            touched.add(coin)
            number = self._arrays.number(coin)
            if number < 0:
                continue
            if is_book:
                self._write_book(number)
                state.book[number] = UNKNOWN
            else:
                self._write_tape(number)
                state.tape[number] = UNKNOWN

    def settle(self) -> None:
        self._tell_clock()
        taken = self._arrays.state.taken
        for number in np.flatnonzero(taken[: len(self._arrays.coins)].any(axis=1)).tolist():
            self._write_book(number)
            self._write_tape(number)

    # -- into the kernel ----------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Know the coins of all streams, and forget what the protocol may have changed."""
        touched, arrays = self._touched, self._arrays
        if touched is None:
            protocol = self._protocol
            touched = {stream.symbol for stream in protocol.streams if stream.stream in _STREAMS}
            if any(pair != protocol.trading_pair(coin) for coin, pair in arrays.coins):
                # Pairs are spelled otherwise than before (metadata came): nothing in the arrays holds.
                self._gather(wanted=True)
                self._arrays = arrays = Arrays(self._venue)
                self._kept = {}
            arrays.state.book[:] = UNKNOWN
            arrays.state.tape[:] = UNKNOWN
            self._refresh_roles()
        for coin in touched:
            if arrays.number(coin) < 0 and any(self._protocol.streams.get(coin, name) for name in _STREAMS):
                arrays.add(coin, self._protocol.trading_pair(coin))
        self._touched = set()

    def _refresh_roles(self) -> None:
        roles = self._arrays.roles
        roles[:] = ROLE_PLAIN
        accounts = self._protocol.accounts
        for conn_id, role in self._protocol.roles.items():
            if not 0 <= conn_id < CONNECTIONS_MAX:
                continue
            if role.startswith("agg") or (accounts.reads_frames and accounts.has_role(role)):
                roles[conn_id] = ROLE_OTHER
            elif role == FAST_ROLE:
                roles[conn_id] = ROLE_FAST

    def _stream(self, number: int, feed: int) -> Stream | None:
        """A stream that has spoken and whose frames say nothing but what is in them."""
        coin, pair = self._arrays.coins[number]
        stream = self._protocol.streams.get(coin, _STREAMS[feed])
        if stream is None or not stream.is_live or not stream.frame_count or stream.trading_pair != pair:
            return None
        return stream

    def _load(self, number: int) -> None:
        """Copy in what is not known of a coin."""
        state = self._arrays.state
        state.is_taken[number] = [self._stream(number, feed) is not None for feed in range(FEEDS)]
        if state.book[number] == UNKNOWN:
            state.book[number] = LOADED if self._load_book(number) else REFUSED
        if state.tape[number] == UNKNOWN:
            state.tape[number] = LOADED if self._load_tape(number) else REFUSED

    def _load_book(self, number: int) -> bool:
        arrays, protocol = self._arrays, self._protocol
        coin, pair = arrays.coins[number]
        fusion = self._tracker.fusion_of(self._venue, pair)
        if fusion is None:
            return False
        is_apart = not protocol.has_fused_quotes(coin)
        kept = load_book(arrays.books, number, fusion, (self._venue, coin, pair), FORMS, (True, True, not is_apart))
        if kept is None:
            return False
        self._kept[number] = kept
        state = arrays.state
        for feed, name in enumerate(FORMS):
            # A form that is new to the book adds to what is kept of it.
            state.is_taken[number, feed] &= name in kept.latest
            state.last_time[number, feed] = protocol.last_times.get((coin, name), 0)
        state.is_apart[number] = is_apart
        top = self._tops.get(f"{self._venue} {pair}")
        state.is_stale[number] = kept.is_stale
        state.has_top[number] = top is not None and top[4] == kept.is_stale
        if top is not None:
            state.top[number] = values_of_top(top)
        return True

    def _load_tape(self, number: int) -> bool:
        arrays, tape = self._arrays, self._protocol.tape
        coin, pair = arrays.coins[number]
        seen = tape.seen_of(coin)
        if self._protocol.trading_pair(coin) != pair or any(isinstance(name, str) for _, name in seen):
            return False
        tapes = arrays.tapes
        tapes.start[number], tapes.length[number] = 0, len(seen)
        tapes.time[number, : len(seen)] = [time for time, _ in seen]
        tapes.id[number, : len(seen)] = [name for _, name in seen]
        since = tape.since_of(coin)
        arrays.state.since[number] = NEVER if since is None else since
        return True

    # -- out of the kernel --------------------------------------------------------------------------------------

    def _tell_clock(self) -> None:
        """The newest stamps, in their order."""
        arrays = self._arrays
        count = int(arrays.counts[Number.STAMPS])
        for place in range(max(count - STAMPS, 0), count):
            conn_id, mono_ns, time_ns = arrays.stamps[place % STAMPS].tolist()
            self._protocol.clock.stamped((conn_id, mono_ns, time_ns))
        arrays.counts[Number.STAMPS] = 0

    def _write_stream(self, number: int, feed: int) -> None:
        state = self._arrays.state
        stream = self._protocol.streams.get(self._arrays.coins[number][0], _STREAMS[feed])
        if stream is not None:
            stream.frame_count += int(state.taken[number, feed])
            stream.last_recv = int(state.recv[number, feed])
            stream.last_mono = int(state.mono[number, feed])
        state.taken[number, feed] = 0

    def _write_book(self, number: int) -> None:
        """Bring a coin's book and the streams of its forms up to date."""
        arrays, state = self._arrays, self._arrays.state
        feeds = np.flatnonzero(state.taken[number, : len(FORMS)]).tolist()
        if not feeds:
            return
        coin, pair = arrays.coins[number]
        for feed in feeds:
            self._write_stream(number, feed)
            self._protocol.last_times[coin, FORMS[feed]] = int(state.last_time[number, feed])
        unload_book(arrays.books, number, self._kept[number])
        if state.is_apart[number] and feeds == [QUOTES_FEED]:
            return
        is_stale = bool(state.is_stale[number])
        self._tops[f"{self._venue} {pair}"] = top_from_values(state.top[number], is_stale=is_stale)
        if state.crossed[number]:
            self._tracker.add_crossed(PairKey(self._venue, pair), int(state.crossed[number]))
            state.crossed[number] = 0

    def _write_tape(self, number: int) -> None:
        """Bring what was reported of a coin's trades up to date."""
        arrays = self._arrays
        if not arrays.state.taken[number, TRADES_FEED]:
            return
        self._write_stream(number, TRADES_FEED)
        tapes = arrays.tapes
        width = tapes.id.shape[1]
        places = (int(tapes.start[number]) + np.arange(int(tapes.length[number]))) % width
        seen = zip(tapes.time[number, places].tolist(), tapes.id[number, places].tolist(), strict=True)
        self._protocol.tape.take_seen(arrays.coins[number][0], seen)
