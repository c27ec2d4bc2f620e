"""
The books of all instruments: diffs as they come, snapshots as they come, and the messages that this makes.

A diff that follows what the book holds is a `BookDiff` of form `full`. One that cannot be joined is kept as form
`unjoined`, which is no part of the book, and waits. The snapshot that it waits for is asked for by REST in a live
session; an import takes what the file has. Whenever anything marks the stream stale (a lost connection, silence), its
chain is given up, and the book is good again from the next snapshot on.

A snapshot holds a limited number of levels. Those beyond it exist and are unknown until they change, so a live session
asks again every quarter of an hour, and when a quote, a trade or an order shows that the market nears the end of the
prices that the snapshot covered: the diffs since that request are kept, said again after the new snapshot, and the book
was never stale. Where the market has left these prices, the best levels are among the unknown ones: the book is stale
until another snapshot is joined.

An answer counts only if its request left while what it asks about was there: after a lost connection, and after ids that
began again, snapshots asked for before are put aside, since their ids may be of another numbering. For the same reason a
book ends that was begun with a snapshot to which the diffs do not come up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import FORM_FULL, BookDiff, EventKind, Message, StreamEvent
from toolkit.streams import Stream, StreamTable
from toolkit.venues.binance import wire
from toolkit.venues.binance.convert import columns
from toolkit.venues.binance.depth import FORM_UNJOINED, Base, DepthJoin, Verdict
from toolkit.venues.binance.kernel_state import NO_CEILING

__all__ = ["Books", "Host"]

#: A snapshot that was asked for and did not come is asked for again after this long, seconds.
ANSWER_S_MAX: Final = 30.0
#: One that was older than the diffs, after this long: the next one is newer.
RETRY_S: Final = 1.0
#: A request that failed for good, after this long.
FAILED_RETRY_S: Final = 5.0
#: One for a book that is good, after this long.
REFRESH_RETRY_S: Final = 15.0
REFRESH_S: Final = 900.0
#: For so long before that its diffs are kept: what they say of levels that are passing in the snapshot.
LEAD_S: Final = 2.0
#: Beyond every price.
_LOWEST: Final = 0.0
_HIGHEST: Final = 1e300
#: How far from the best price to the last one of the snapshot the market may go before another is asked for.
NEAR: Final = 0.75
#: Diffs that say nothing new may come for this long; then the ids of the book are of another numbering.
OLD_S_MAX: Final = 5.0
#: Diffs that wait longer than this for a snapshot are reported, once.
WAIT_S_MAX: Final = 10.0
_NO_COUNTS: Final[tuple[int, ...]] = ()


class Host(Protocol):
    """What the books need of the protocol they belong to."""

    @property
    def streams(self) -> StreamTable: ...
    def received(self, frame: Frame, symbol: str, stream_name: str, messages: list[Message]) -> Stream: ...
    def mark_stale(
        self, frame: Frame, stream: Stream, cause: str, messages: list[Message], detail: str = ""
    ) -> None: ...
    def mark_missing(
        self, frame: Frame, stream: Stream, cause: str, messages: list[Message], detail: str = ""
    ) -> None: ...
    def event(
        self,
        frame: Frame,
        kind: EventKind,
        *,
        stream: Stream | None = None,
        sub_seq: int = 0,
        cause: str = "",
        ts_start: int | None = None,
        ts_end: int | None = None,
        detail: str = "",
    ) -> StreamEvent: ...
    def trading_pair(self, symbol: str) -> str: ...
    def next_funding(self, frame: Frame, symbol: str, time_ns: int) -> None: ...
    def misread(self, frame: Frame, entry: bytes, exc: Exception) -> StreamEvent: ...


#: Prices beyond which a snapshot is asked for, and those beyond which the book is unknown: lowest, highest, of each.
Cover = list[float]


class _Requests(msgspec.Struct):
    """
    When snapshots are to be asked for, on the monotonic clock, ns, by symbol. It decides no message.

    Attributes:
        next_ask: Monotonic time of the next request for a book that is missing, ns, by symbol.
        refresh: Monotonic time of the next request for a book that is good, ns, by symbol.
    """

    next_ask: dict[str, int] = {}
    refresh: dict[str, int] = {}


class Books:
    """
    The books of one protocol.

    Args:
        host: The protocol.
        venue: Its name.
        is_spot: Whether its diffs keep the rules of spot or of futures.
        ask: Asks for the snapshot of a symbol; None where nothing can be asked for (an import).
    """

    def __init__(self, host: Host, venue: str, *, is_spot: bool, ask: Callable[[str], None] | None) -> None:
        self._host = host
        self._venue = venue
        self._is_spot = is_spot
        self._ask_for = ask
        #: The chain of diffs of each symbol.
        self.joins: dict[str, DepthJoin] = {}
        #: Symbols with diffs, and snapshots without a symbol, by the connection (file) they came on.
        self._on_conn: dict[int, list[str]] = {}
        self._unnamed: dict[int, Base] = {}
        self._unnamed_taken: dict[int, str] = {}
        self._requests = _Requests()
        #: What the snapshot of a symbol covered, in a live session.
        self.covered: dict[str, Cover] = {}

    # -- diffs -------------------------------------------------------------------------------------------------

    def take_diff(self, frame: Frame, symbol: str, pair: str, speed: str, data: wire.Depth) -> list[Message]:
        """The messages of a diff. Raises ParseError, having changed nothing."""
        wire.exact(data.U, data.u, data.pu, data.E, data.T)
        if data.u < data.U:
            raise ParseError(f"a diff of updates {data.U} to {data.u}: expected the first not above the last")
        if data.pu is None and not self._is_spot:
            raise ParseError("a futures diff without pu, the update that it follows")
        ts_event = wire.to_ns(data.T or data.E)
        bid_prices, bid_sizes = columns(data.b)
        ask_prices, ask_sizes = columns(data.a)
        join = self.joins.get(symbol)
        if join is None:
            join = self.joins[symbol] = DepthJoin(self._is_spot)
        if not join.speed:
            join.speed = speed
        messages: list[Message] = []
        if frame.conn_id not in join.conn_ids:
            self._first_on_connection(frame, symbol, join, messages)
        diff = BookDiff(
            self._venue,
            symbol,
            pair,
            ts_event,
            frame.ts_recv,
            frame.capture_seq,
            0,
            FORM_FULL,
            True,
            None,
            bid_prices,
            bid_sizes,
            _NO_COUNTS,
            ask_prices,
            ask_sizes,
            _NO_COUNTS,
            data.U,
            data.u,
            None if self._is_spot else data.pu,
        )
        if speed != join.speed:
            # The ids of one chain say nothing about the other's.
            messages.append(msgspec.structs.replace(diff, form=f"{FORM_UNJOINED}:{speed}", fused=False))
        else:
            self._take(frame, symbol, join, diff, messages)
        return messages if len(messages) == 1 else _numbered(messages)

    def _take(self, frame: Frame, symbol: str, join: DepthJoin, diff: BookDiff, messages: list[Message]) -> None:
        stream = self._host.streams.get(symbol, FORM_FULL)
        if join.last_id is not None and (stream is None or not stream.is_live):
            self._lose(symbol, join)
        if join.keep_from and frame.ts_mono >= join.keep_from:
            join.keep_from = 0
            join.recent = [] if join.recent is None else join.recent
        before = join.last_id
        verdict, told = join.take(diff)
        if verdict is Verdict.FOLLOWS:
            self._host.received(frame, symbol, FORM_FULL, messages)
            messages.append(told)
            if join.spare is not None and join.recent is not None:
                self._join(frame, symbol, join, join.spare, messages)
            if self.covered:
                self._look_at_orders(frame, symbol, diff, messages)
            return
        if verdict is Verdict.REPEATS:
            if self._ask_for is None or stream is None or not stream.is_live:
                return
            if frame.ts_mono - stream.last_mono <= OLD_S_MAX * NS_PER_S:
                return
            join.void()
            join.wait_with(diff)
            verdict = Verdict.GAP
        if verdict is Verdict.GAP:
            self.covered.pop(symbol, None)
        if verdict is Verdict.GAP and stream is not None:
            came = f"U={diff.first_update_id} u={diff.last_update_id}"
            came += "" if self._is_spot else f" pu={diff.prev_update_id}"
            detail = f"expected a diff that follows {before}, received {came}"
            self._host.mark_stale(frame, stream, "sequence", messages, detail)
        if join.spare is not None and self._join(frame, symbol, join, join.spare, messages):
            return
        self._wait(frame, symbol, join, diff, messages)

    def _wait(self, frame: Frame, symbol: str, join: DepthJoin, diff: BookDiff, messages: list[Message]) -> None:
        host = self._host
        stream = host.streams.get(symbol, FORM_FULL)
        if stream is None:
            stream = host.streams.add(Stream(symbol, diff.trading_pair, FORM_FULL, frame.conn_id))
        stream.frame_count += 1  # it speaks; only nothing can be made of it yet
        # After a gap the book is known to be stale; this is for one that never began.
        is_news = not stream.last_recv and not join.was_told
        if is_news and frame.ts_recv - join.waiting_since > WAIT_S_MAX * NS_PER_S:
            join.was_told = True
            stream.since_recv = join.waiting_since
            detail = f"diffs came for {WAIT_S_MAX:g} s and no snapshot that they follow: there is no book"
            host.mark_missing(frame, stream, "no_snapshot", messages, detail)
        messages.append(msgspec.structs.replace(diff, form=FORM_UNJOINED, fused=False))
        if self._ask_for is not None and symbol not in self._requests.next_ask:
            self._ask_for(symbol)
            self._requests.next_ask[symbol] = frame.ts_mono + round(ANSWER_S_MAX * NS_PER_S)

    def has_cover(self, symbol: str) -> bool:
        """Whether a price of that symbol (empty: of any) may change what is known of a book."""
        return symbol in self.covered if symbol else bool(self.covered)

    def cover(self, symbol: str) -> tuple[float, float] | None:
        """The prices, in a live session, beyond which another snapshot is needed: lowest and highest."""
        cover = self.covered.get(symbol)
        return None if cover is None else (cover[0], cover[1])

    def tells_from(self, symbol: str) -> int | None:
        """
        The receive time, ns, after which a diff without a snapshot does more than wait; None if the next one does.

        Once it is known that there is no snapshot, and while one is asked for, more diffs change nothing.
        """
        join, stream = self.joins.get(symbol), self._host.streams.get(symbol, FORM_FULL)
        if join is None or stream is None or not join.pending:
            return None
        if self._ask_for is not None and symbol not in self._requests.next_ask:
            return None
        if stream.last_recv or join.was_told:
            return NO_CEILING
        return join.waiting_since + round(WAIT_S_MAX * NS_PER_S)

    # -- snapshots ---------------------------------------------------------------------------------------------

    def take_snapshot(self, frame: Frame, symbol: str, base: Base, request_id: int | None = None) -> list[Message]:
        """The messages of a snapshot to join diffs to; `request_id` names the request that it answers, if one did."""
        join = self.joins.get(symbol)
        if join is None:
            join = self.joins[symbol] = DepthJoin(self._is_spot)
        messages: list[Message] = []
        stream = self._host.streams.get(symbol, FORM_FULL)
        if join.last_id is not None and (stream is None or not stream.is_live):
            self._lose(symbol, join)
        if self._ask_for is not None:
            if 0 <= (join.sent_id if request_id is None else request_id) <= join.void_id:
                return messages
            if not join.is_joined and not join.pending:
                # Nothing would keep this book up to date; if the next diff meets it, it serves.
                join.spare = None if join.is_cut else base
                self._requests.next_ask.pop(symbol, None)
                return messages
        was_joined = join.is_joined
        if self._join(frame, symbol, join, base, messages):
            return _numbered(messages)
        retry = frame.ts_mono + round(RETRY_S * NS_PER_S)
        if not was_joined:
            first, last = join.pending[0], join.pending[-1]
            text = (
                f"a snapshot at update {base.update_id} does not meet the diffs kept for it (U={first.first_update_id} "
                f"u={first.last_update_id} pu={first.prev_update_id} to u={last.last_update_id}): another is needed"
            )
            messages.append(self._host.event(frame, EventKind.NOTICE, stream=stream, cause="old_snapshot", detail=text))
            if self._ask_for is not None:
                self._requests.next_ask[symbol] = retry
        elif self._ask_for is not None and join.spare is None:
            self._requests.refresh[symbol] = retry
        return _numbered(messages)

    def take_unnamed(self, frame: Frame, base: Base) -> list[Message]:
        """
        A snapshot that does not say whose it is, as capture files have them.

        It is of the one instrument whose diffs are in that file. With several it is refused: their ids overlap, and
        a book joined to another one's snapshot would be wrong without a sign of it.
        """
        symbols = self._on_conn.get(frame.conn_id, [])
        if not symbols:
            self._unnamed[frame.conn_id] = base
            return []
        if len(symbols) > 1:
            return [self._refusal(frame, symbols)]
        self._unnamed_taken[frame.conn_id] = symbols[0]
        return self.take_snapshot(frame, symbols[0], base)

    def _first_on_connection(self, frame: Frame, symbol: str, join: DepthJoin, messages: list[Message]) -> None:
        join.conn_ids.append(frame.conn_id)
        symbols = self._on_conn.setdefault(frame.conn_id, [])
        symbols.append(symbol)
        base = self._unnamed.pop(frame.conn_id, None)
        if base is not None:
            self._unnamed_taken[frame.conn_id] = symbol
            self._join(frame, symbol, join, base, messages)
        taker = self._unnamed_taken.get(frame.conn_id, symbol)
        if taker == symbol:
            return
        # Another instrument shows up in the same file: whose snapshot it was is no longer sure.
        del self._unnamed_taken[frame.conn_id]
        stream = self._host.streams.get(taker, FORM_FULL)
        if stream is not None:
            self._host.mark_stale(frame, stream, "ambiguous", messages, _AMBIGUOUS.format(", ".join(symbols)))
        messages.append(self._refusal(frame, symbols))

    def is_unnamed_of_another(self, symbol: str, conn_id: int) -> bool:
        """Whether a snapshot without a symbol, on that connection, was taken for another one's: whose it is may change."""
        return self._unnamed_taken.get(conn_id, symbol) != symbol

    def _refusal(self, frame: Frame, symbols: list[str]) -> Message:
        return self._host.event(
            frame, EventKind.REFUSED, cause="ambiguous", detail=_AMBIGUOUS.format(", ".join(symbols))
        )

    def _join(self, frame: Frame, symbol: str, join: DepthJoin, base: Base, messages: list[Message]) -> bool:
        following = join.join(base)
        if following is None:
            return False
        # An instrument with nothing but a snapshot has no stream yet; this makes one.
        stream = self._host.received(frame, symbol, FORM_FULL, messages)
        pair = stream.trading_pair
        messages.append(base.message(self._venue, symbol, pair, frame))
        again = msgspec.structs.replace
        messages += [again(diff, ts_recv=frame.ts_recv, capture_seq=frame.capture_seq) for diff in following]
        self.covered.pop(symbol, None)
        if self._ask_for is not None:
            bids, asks = base.bids[0] or (_LOWEST,), base.asks[0] or (_HIGHEST,)  # an empty side is known as a whole
            near = bids[0] + NEAR * (bids[-1] - bids[0]), asks[0] + NEAR * (asks[-1] - asks[0])
            self.covered[symbol] = [*near, bids[-1], asks[-1]]
        self._requests.next_ask.pop(symbol, None)
        if self._ask_for is not None:
            self._requests.refresh[symbol] = frame.ts_mono + round(REFRESH_S * NS_PER_S)
            join.keep_from = frame.ts_mono + round((REFRESH_S - LEAD_S) * NS_PER_S)
        return True

    # -- requests ----------------------------------------------------------------------------------------------

    def reach(self, frame: Frame, symbol: str, low: float, high: float, messages: list[Message]) -> None:
        """The market was seen from `low` to `high`: it may be near the end of what is known of it, or beyond."""
        cover = self.covered.get(symbol)
        if cover is None or (low >= cover[0] and high <= cover[1]):
            return
        if low >= cover[2] and high <= cover[3]:
            cover[:2] = cover[2:]
            if symbol in self._requests.refresh:
                self._requests.refresh[symbol] = frame.ts_mono
            return
        stream, join = self._host.streams.get(symbol, FORM_FULL), self.joins.get(symbol)
        if stream is not None and join is not None:
            detail = f"the market is at {low:g} to {high:g}, the snapshot covered {cover[2]:g} to {cover[3]:g}"
            self._host.mark_stale(frame, stream, "cover", messages, detail)
            self._lose(symbol, join)
            self._requests.next_ask[symbol] = frame.ts_mono
        self.covered.pop(symbol, None)

    def _look_at_orders(self, frame: Frame, symbol: str, diff: BookDiff, messages: list[Message]) -> None:
        """An order to sell below the lowest bid that is known, say, tells that the best bid is below it too."""
        cover = self.covered.get(symbol)
        if cover is None:
            return
        low, high = cover[0], cover[1]
        if diff.ask_prices and min(diff.ask_prices) < low:
            asks = [price for price, size in zip(diff.ask_prices, diff.ask_sizes, strict=True) if size]
            low = min(asks, default=low)
        if diff.bid_prices and max(diff.bid_prices) > high:
            bids = [price for price, size in zip(diff.bid_prices, diff.bid_sizes, strict=True) if size]
            high = max(bids, default=high)
        self.reach(frame, symbol, min(low, cover[0]), max(high, cover[1]), messages)

    def asked(self, frame: Frame, symbol: str, request_id: int | None) -> None:
        """A request for a snapshot left: from here on diffs are kept for it."""
        join = self.joins.get(symbol)
        if join is None:
            return
        join.sent_id = frame.capture_seq if request_id is None else request_id
        if join.is_joined and join.recent is None:
            join.recent = []
        at = frame.ts_mono + round(ANSWER_S_MAX * NS_PER_S)
        for table in (self._requests.next_ask, self._requests.refresh):
            if symbol in table and table[symbol] < at:
                table[symbol] = at

    def failed(self, symbol: str, mono_ns: int) -> None:
        """A request for a snapshot was given up."""
        if symbol in self._requests.next_ask:
            self._requests.next_ask[symbol] = mono_ns + round(FAILED_RETRY_S * NS_PER_S)
        if symbol in self._requests.refresh:
            self._requests.refresh[symbol] = mono_ns + round(REFRESH_RETRY_S * NS_PER_S)

    def _lose(self, symbol: str, join: DepthJoin) -> None:
        join.lose()
        self.covered.pop(symbol, None)

    def lost(self, symbols: Iterable[str]) -> None:
        """Their connection was lost: what came before says nothing about what will come."""
        for symbol in symbols:
            join = self.joins.get(symbol)
            if join is not None:
                self._lose(symbol, join)
                join.void()
                join.is_cut = True

    def lost_all(self) -> None:
        """Every connection is gone."""
        self.lost(self.joins)

    def connected(self, symbols: Iterable[str]) -> None:
        """A connection was made: whatever was under way for these is requested again."""
        for symbol in symbols:
            self._requests.next_ask.pop(symbol, None)
            self._requests.refresh.pop(symbol, None)

    def due(self, mono_ns: int) -> list[str]:
        """Symbols whose snapshot is to be asked for now, because of time."""
        again = [symbol for symbol, at in self._requests.next_ask.items() if mono_ns >= at]
        for symbol in again:
            self._requests.next_ask[symbol] = mono_ns + round(ANSWER_S_MAX * NS_PER_S)
        stale = [symbol for symbol, at in self._requests.refresh.items() if mono_ns >= at and self._is_good(symbol)]
        for symbol in stale:
            self._requests.refresh[symbol] = mono_ns + round(ANSWER_S_MAX * NS_PER_S)
        return again + [symbol for symbol in stale if symbol not in again]

    def _is_good(self, symbol: str) -> bool:
        join = self.joins.get(symbol)
        return join is not None and join.is_joined

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> Any:
        """Everything, for a checkpoint, which is JSON: what waits for snapshots may be millions of numbers."""
        return _State(self.joins, self._on_conn, self._unnamed, self._unnamed_taken, self._requests, self.covered)

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        found = msgspec.convert(state, _State, str_keys=True, strict=False)
        self.joins, self._on_conn, self._unnamed = found.joins, found.on_conn, found.unnamed
        self._unnamed_taken, self._requests = found.unnamed_taken, found.requests
        self.covered.clear()  # others hold it
        self.covered.update(found.covered)


class _State(msgspec.Struct):
    joins: dict[str, DepthJoin]
    on_conn: dict[int, list[str]]
    unnamed: dict[int, Base]
    unnamed_taken: dict[int, str]
    requests: _Requests
    covered: dict[str, Cover]


_AMBIGUOUS: Final = (
    "a snapshot without a symbol in a file with the diffs of {}: it may be any one's, so no book rests on it; split "
    "the file by symbol and import the parts together"
)


def _numbered(messages: list[Message]) -> list[Message]:
    """The same, with `sub_seq` counting their rows."""
    row = 0
    for index, message in enumerate(messages):
        if message.sub_seq != row:
            messages[index] = msgspec.structs.replace(message, sub_seq=row)
        row += message.row_count
    return messages
