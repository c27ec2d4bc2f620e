"""
What the venue would say at the tape's present: the last word of each stream, old trades, an account's lists.

Payloads are kept as they came and decoded only when somebody asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from replay.serving.venues.hyperliquid.desk import frame as envelope
from replay.serving.venues.hyperliquid.recorded.candles import TapeCandles
from replay.serving.venues.hyperliquid.recorded.streams import LIST_KINDS, StreamKey

__all__ = ["ROWS_KEPT", "TapeState", "decoded"]

#: Old trades in the first `trades` frame; HMSTR was sent 30 (protocol notes, section 5).
TRADES_REPLAYED: Final = 30
#: Rows of a list that the venue keeps ready.
ROWS_KEPT: Final = 2000
#: News of a list that wait to be put in; one frame may hold many.
_NEWS_MAX: Final = 256
#: Streams that are not kept, since a new subscriber is sent nothing of them.
_UNKEPT: Final = frozenset({"userEvents", "notification"})

_decode = msgspec.json.decode

Row = dict[str, Any]


def decoded(payload: bytes | None) -> Any:
    """`data` of a recorded frame; None if there is none."""
    if payload is None:
        return None
    try:
        message = _decode(payload)
    except UNREADABLE:
        return None
    return message.get("data") if isinstance(message, dict) else None


class _TradesFrame(msgspec.Struct):
    data: list[msgspec.Raw]


_decode_trades = msgspec.json.Decoder(_TradesFrame).decode


class _Rows:
    """A list of an account, newest first: snapshots joined with the news since, each row once."""

    def __init__(self, kind: str) -> None:
        self._field = LIST_KINDS[kind]
        self._waiting: list[bytes] = []
        self._rows: dict[bytes, Row] = {}
        self.has_snapshot = False

    def take(self, payload: bytes) -> None:
        self._waiting.append(payload)
        if b'"isSnapshot":true' in payload or b'"isSnapshot": true' in payload:
            self.has_snapshot = True
        if len(self._waiting) >= _NEWS_MAX:
            self._work()

    def rows(self) -> list[Row]:
        self._work()
        return list(self._rows.values())

    def _work(self) -> None:
        waiting, self._waiting = self._waiting, []
        for payload in waiting:
            data = decoded(payload)
            rows = data.get(self._field) if isinstance(data, dict) else None
            if not isinstance(rows, list):
                continue
            # A snapshot lists the newest first, news the oldest.
            fresh = rows if data.get("isSnapshot") else rows[::-1]
            joined = {_identity(row): row for row in fresh if isinstance(row, dict)}
            for key, row in self._rows.items():
                joined.setdefault(key, row)
            newest_first = sorted(joined.items(), key=lambda item: _time(item[1]), reverse=True)
            self._rows = dict(newest_first[:ROWS_KEPT])


def _identity(row: Row) -> bytes:
    return msgspec.json.encode(row)


def _time(row: Row) -> int:
    time = row.get("time", row.get("statusTimestamp", 0))
    return time if isinstance(time, int) else 0


class TapeState:
    """
    Attributes:
        last: The newest payload of each stream.
        candles: Candles of the tape so far.
    """

    def __init__(self) -> None:
        self.last: dict[StreamKey, bytes] = {}
        self.candles = TapeCandles()
        self._trades: dict[str, deque[bytes]] = {}
        self._lists: dict[StreamKey, _Rows] = {}
        self._updates: dict[StreamKey, deque[bytes]] = {}
        self._takers: dict[str, Callable[[StreamKey, bytes], None]] = {
            "trades": self._take_trades,
            "orderUpdates": self._take_updates,
            "candle": self._take_candle,
            **dict.fromkeys(LIST_KINDS, self._take_rows),
            **dict.fromkeys(_UNKEPT, lambda key, payload: None),
        }

    def take(self, key: StreamKey, payload: bytes) -> None:
        """Take in the newest frame of a stream."""
        taker = self._takers.get(key[0])
        if taker is None:
            self.last[key] = payload
        else:
            taker(key, payload)

    def __getstate__(self) -> dict[str, Any]:
        """What the tape has said; the table of functions is no part of it."""
        return {name: value for name, value in vars(self).items() if name != "_takers"}

    def clear(self) -> None:
        """Return to before the first frame."""
        self.last.clear()
        self.candles.clear()
        self._trades.clear()
        self._lists.clear()
        self._updates.clear()

    def lose(self, keys: Iterable[StreamKey]) -> None:
        """What these streams said last may hold no longer."""
        for key in keys:
            self.last.pop(key, None)
            self._lists.pop(key, None)
            self.candles.lost(key)
            if key[0] == "trades":
                self._trades.pop(key[1], None)

    def _take_trades(self, key: StreamKey, payload: bytes) -> None:
        kept = self._trades.get(key[1])
        if kept is None:
            kept = self._trades[key[1]] = deque(maxlen=TRADES_REPLAYED)
        kept.append(payload)
        self.candles.take_trades(key[1], payload)

    def _take_candle(self, key: StreamKey, payload: bytes) -> None:
        self.last[key] = payload
        self.candles.take_candle(key, payload)

    def _take_updates(self, key: StreamKey, payload: bytes) -> None:
        self._updates.setdefault(key, deque(maxlen=ROWS_KEPT)).append(payload)

    def _take_rows(self, key: StreamKey, payload: bytes) -> None:
        self._lists.setdefault(key, _Rows(key[0])).take(payload)

    def coins(self) -> list[str]:
        """Coins that have a book or a quote."""
        return list(dict.fromkeys(key[1] for key in self.last if key[0] in ("l2Book", "bbo")))

    def trades(self, coin: str, most: int = TRADES_REPLAYED) -> list[msgspec.Raw] | None:
        """The newest trades of a coin, oldest first, each as it was written; None before the first."""
        kept = self._trades.get(coin)
        if not kept:
            return None
        rows: list[msgspec.Raw] = []
        for payload in kept:
            with suppress(*UNREADABLE):
                rows += _decode_trades(payload).data
        return rows[-most:]

    def rows(self, kind: str, user: str) -> list[Row] | None:
        """A list of an account, newest first; None before its first snapshot."""
        found = self._lists.get((kind, user, "", False))
        return found.rows() if found is not None and found.has_snapshot else None

    def order_updates(self, user: str) -> list[Row]:
        """The statuses of an account's orders since the tape began, oldest first."""
        rows: list[Row] = []
        for payload in self._updates.get(("orderUpdates", user, "", False), ()):
            data = decoded(payload)
            rows += [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
        return rows

    def first_frames(self, key: StreamKey) -> list[bytes]:
        """What a new subscriber is sent at once: the state as it was last said, old trades, or a whole list."""
        kind = key[0]
        if kind == "trades":
            old = self.trades(key[1])
            return [envelope("trades", old).encode()] if old else []
        if kind in LIST_KINDS:
            found = self._lists.get(key)
            if found is None or not found.has_snapshot:
                return []
            data = {"user": key[1], LIST_KINDS[kind]: found.rows(), "isSnapshot": True}
            return [envelope(kind, data).encode()]
        last = self.last.get(key)
        return [last] if last is not None else []
