"""What tests of protocols, recordings and replays share: frames and messages by hand, imports, and what a replay saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.source import Fidelity, ReplayDataSource
from toolkit.books.orderbook import KeptColumns, OrderBook
from toolkit.frames import CONTROL, REST_IN, WS_IN, WS_OUT, Frame, control_payload
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, Message
from toolkit.protocol import VenueProtocol

VENUE = "hyperliquid"
#: A plausible receive time, with nine digits that mean something.
TS = 1_785_000_000_123_456_789
SECOND = 1_000_000_000

Levels = Sequence[tuple[float, float]]


def snapshot(bids: Levels = (), asks: Levels = (), **fields: Any) -> BookSnapshot:
    """A whole book of A-B, without counts unless given."""
    return BookSnapshot(**{**_KEY, **_levels(bids, asks), "form": "full", "fused": True, "depth_cap": 20, **fields})


def diff(bids: Levels = (), asks: Levels = (), **fields: Any) -> BookDiff:
    return BookDiff(**{**_KEY, **_levels(bids, asks), "form": "full", "fused": True, "depth_cap": None, **fields})


_KEY: Final[dict[str, Any]] = {
    "venue": VENUE,
    "symbol": "A",
    "trading_pair": "A-B",
    "ts_event": None,
    "ts_recv": 0,
    "capture_seq": 0,
    "sub_seq": 0,
}


def _levels(bids: Levels, asks: Levels) -> dict[str, Any]:
    return {
        "bid_prices": tuple(price for price, _ in bids),
        "bid_sizes": tuple(size for _, size in bids),
        "bid_counts": (),
        "ask_prices": tuple(price for price, _ in asks),
        "ask_sizes": tuple(size for _, size in asks),
        "ask_counts": (),
    }


def quote(bid: tuple[float, float] | None, ask: tuple[float, float] | None, **fields: Any) -> BestQuote:
    (bid_price, bid_size), (ask_price, ask_size) = bid or (None, None), ask or (None, None)
    values = {"bid_price": bid_price, "bid_size": bid_size, "ask_price": ask_price, "ask_size": ask_size}
    return BestQuote(**{**_KEY, **values, "fused": True, "bid_count": None, "ask_count": None, **fields})


class BookState(NamedTuple):
    """Everything a book says, as plain values."""

    bids: KeptColumns
    asks: KeptColumns
    ts_event: int | None
    ts_recv: int
    update_id: int | None
    is_stale: bool
    stale_cause: str


def state_of(book: OrderBook) -> BookState:
    return BookState(
        book.bids.kept_columns(),
        book.asks.kept_columns(),
        book.ts_event,
        book.ts_recv,
        book.update_id,
        book.is_stale,
        book.stale_cause,
    )


class Feed:
    """
    Numbers frames and gives them to a protocol.

    Attributes:
        frames: All so far.
        now: Receive time of the next frame, ns; the monotonic clock runs with it.
        slept_ns: For how long the machine slept so far, in which the monotonic clock stood still.
    """

    def __init__(self, protocol: VenueProtocol, now: int = TS) -> None:
        self.protocol = protocol
        self.frames: list[Frame] = []
        self.now = now
        self.slept_ns = 0

    def give(self, kind: str, payload: bytes, *, conn_id: int = 0, epoch: int = 0, context: str | None = None) -> Any:
        mono = self.now - TS - self.slept_ns
        frame = Frame(len(self.frames), self.now, mono, VENUE, conn_id, epoch, kind, payload, context)
        self.frames.append(frame)
        return self.protocol.receive(frame)

    def text(self, payload: Any, conn_id: int = 0) -> Any:
        """A WebSocket frame; anything but bytes is encoded."""
        raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        return self.give(WS_IN, raw, conn_id=conn_id)

    def channel(self, name: str, data: Any, conn_id: int = 0) -> Any:
        return self.text({"channel": name, "data": data}, conn_id)

    def sent(self, payload: bytes, conn_id: int = 0) -> Any:
        return self.give(WS_OUT, payload, conn_id=conn_id)

    def rest(self, tag: str, body: Any, status: int = 200) -> Any:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        context = msgspec.json.encode({"tag": tag, "status": status}).decode()
        return self.give(REST_IN, raw, conn_id=-1, context=context)

    def control(self, event: str, conn_id: int = 0, **details: Any) -> Any:
        return self.give(CONTROL, control_payload(event, **details), conn_id=conn_id)


def book_frame(coin: str, time_ms: int, bids: Levels = (), asks: Levels = (), **more: Any) -> dict[str, Any]:
    """An `l2Book` frame."""
    levels = [[{"px": str(price), "sz": str(size), "n": 1} for price, size in side] for side in (bids, asks)]
    return {"channel": "l2Book", "data": {"coin": coin, "time": time_ms, "levels": levels, **more}}


def bbo_frame(coin: str, time_ms: int, *levels: tuple[float, float] | None) -> dict[str, Any]:
    """A `bbo` frame of as many levels as are given; without any, of two empty sides."""
    sides = [{"px": str(level[0]), "sz": str(level[1]), "n": 1} if level else None for level in levels or (None, None)]
    return {"channel": "bbo", "data": {"coin": coin, "time": time_ms, "bbo": sides}}


def trade(coin: str, tid: int, time_ms: int, price: float = 10.0, side: str = "B") -> dict[str, Any]:
    """An entry of a `trades` frame."""
    return {"coin": coin, "side": side, "px": str(price), "sz": "1.5", "time": time_ms, "tid": tid, "hash": "0x0"}


def collector_line(ts: int, payload: Any) -> bytes:
    raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return b"%d %s\n" % (ts, raw)


def import_files(folder: Path, *files: bytes | Path, **options: Any) -> Recording:
    """A recording made of capture files, or of what is to be in them."""
    paths = []
    for number, content in enumerate(files):
        path = content if isinstance(content, Path) else folder.with_name(f"{folder.name}-{number}.txt")
        if isinstance(content, bytes):
            path.write_bytes(content)
        paths.append(path)
    import_capture(paths, folder, ImportOptions(**{"venue": VENUE, "line_format": "collector", **options}))
    return Recording.open(folder)


def mixed_tape(folder: Path, *, frames: int = 240, segment_frames: int = 90) -> Recording:
    """Four coins in every table, with a damaged line now and then."""
    lines, start = [], TS // 1_000_000
    for number in range(frames):
        coin = ("BTC", "ETH", "PURR/USDC", "#7510")[number % 4]
        frame = (
            book_frame(coin, start + number, [(10.0 + number, 1.0), (9.0, 1.0)], [(500.0, 2.0)]),
            bbo_frame(coin, start + number, (10.5 + number, 1.0), None),
            {"channel": "trades", "data": [trade(coin, number, start), trade("BTC", number, start + 1)]},
            {"channel": "activeAssetCtx", "data": {"coin": coin, "ctx": {"markPx": "5.0"}}},
            {"channel": "unknown"},
        )[number // 4 % 5]
        lines.append(collector_line(TS + number, frame))
    return import_files(folder, b"".join(lines), segment_frames=segment_frames)


Seen = list[tuple[Message, BookState | None]]


def seen_in_replay(recording: Recording, fidelity: Fidelity, batch_rows: int | None = None) -> tuple[Seen, str]:
    """Every message of a replay with the state of its pair's book after it, and the digest."""
    source = ReplayDataSource(recording, fidelity=fidelity, batch_rows=batch_rows, with_digest=True)
    seen: Seen = []
    source.set_message_callback(lambda message: seen.append((message, pair_state(source.tracker, message))))
    source.play()
    assert source.chain is not None
    return seen, source.chain.hexdigest()


def pair_state(tracker: Any, message: Message) -> BookState | None:
    """The fused book of the message's pair as it is now; None if there is none."""
    if message.key not in tracker.keys:
        return None
    return state_of(tracker.book(message.key))


def messages_of(recording: Recording, **options: Any) -> list[Message]:
    return [message for batch in recording.messages(**options) for message in batch]


def one(values: Iterable[Any]) -> Any:
    """The only one."""
    (value,) = values
    return value
