"""
Candles of the tape: those that were recorded, and those that its trades make.

A candle is given only where the tape has every trade of it so far: none that began before the tape, or into which a lost
connection cut. One-minute candles are kept; longer ones are put together when asked for, if no minute of theirs is such.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from replay.serving.venues.hyperliquid.recorded.streams import StreamKey
from replay.serving.venues.hyperliquid.requests import INTERVALS_MS

__all__ = ["TapeCandles"]

#: The venue keeps only so many candles of an interval.
CANDLES_MAX: Final = 5000
_MINUTE_MS: Final = 60_000
#: Frames of trades that wait to be put in.
_WAITING_MAX: Final = 256
#: Trades remembered, to know one that comes twice.
_SEEN_MAX: Final = 1024

Candle = dict[str, Any]


class _WireTrade(msgspec.Struct, gc=False):
    time: int
    px: str
    sz: str
    tid: int = 0


class _TradesFrame(msgspec.Struct):
    data: list[_WireTrade]


class _CandleFrame(msgspec.Struct):
    data: Candle


_decode_trades = msgspec.json.Decoder(_TradesFrame).decode
_decode_candle = msgspec.json.Decoder(_CandleFrame).decode
_UNREADABLE: Final = (*UNREADABLE, InvalidOperation, TypeError)


class _Minutes:
    """The minutes of one coin."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.candles: dict[int, Candle] = {}
        #: The first minute that is complete; None while the next frame of trades begins again.
        self.whole_from: int | None = None
        #: Beginnings of minutes in which the tape was blind, from and to.
        self.blind: list[tuple[int, int]] = []
        self._newest = 0
        self._seen: dict[tuple[int, int], None] = {}

    def work(self) -> None:
        """Put in what waits."""
        waiting, self.waiting = self.waiting, []
        for payload in waiting:
            try:
                trades = _decode_trades(payload).data
            except _UNREADABLE:
                continue
            if self.whole_from is None and trades:
                # The first frame is old trades: from the minute after its newest one on, all are here.
                begin = _minute(max(trade.time for trade in trades)) + _MINUTE_MS
                self.blind.append((_minute(self._newest), begin))
                self.whole_from = begin
            for trade in trades:
                self._add(trade)
        while len(self.candles) > CANDLES_MAX:
            del self.candles[next(iter(self.candles))]

    def lost(self) -> None:
        """What comes next begins again."""
        self.work()
        self.whole_from = None

    def _add(self, trade: _WireTrade) -> None:
        if (trade.time, trade.tid) in self._seen:
            return
        self._seen[trade.time, trade.tid] = None
        if len(self._seen) > _SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self._newest = max(self._newest, trade.time)
        start = _minute(trade.time)
        made: Candle = {"t": start, "o": trade.px, "c": trade.px, "h": trade.px, "l": trade.px, "v": trade.sz, "n": 1}
        minute = self.candles.get(start)
        if minute is None:
            self.candles[start] = made
        else:
            _join(minute, made)

    def is_whole(self, start: int, end: int) -> bool:
        """Whether the tape missed nothing between these two times."""
        return self.whole_from is not None and not any(first < end and start < last for first, last in self.blind)


class TapeCandles:
    """The candles of every coin, up to the tape's present."""

    def __init__(self) -> None:
        self._coins: dict[str, _Minutes] = {}
        self._recorded: dict[StreamKey, dict[int, Candle]] = {}

    def clear(self) -> None:
        """Return to before the first frame."""
        self._coins.clear()
        self._recorded.clear()

    def take_trades(self, coin: str, payload: bytes) -> None:
        """A frame of trades came."""
        minutes = self._coins.get(coin)
        if minutes is None:
            minutes = self._coins[coin] = _Minutes()
        minutes.waiting.append(payload)
        if len(minutes.waiting) >= _WAITING_MAX:
            minutes.work()

    def take_candle(self, key: StreamKey, payload: bytes) -> None:
        """A frame of a candle came; it counts until the next one of the same time."""
        try:
            candle = _decode_candle(payload).data
        except _UNREADABLE:
            return
        kept = self._recorded.setdefault(key, {})
        if isinstance(candle.get("t"), int):
            kept[candle["t"]] = candle
        if len(kept) > CANDLES_MAX:
            del kept[next(iter(kept))]

    def lost(self, key: StreamKey) -> None:
        """A stream was lost."""
        if key[0] == "trades" and key[1] in self._coins:
            self._coins[key[1]].lost()

    def between(self, coin: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles that begin in the interval of `start_ms` or later and not after `end_ms`, oldest first."""
        step = INTERVALS_MS[interval]
        first = start_ms - start_ms % step
        found: dict[int, Candle] = {}
        minutes = self._coins.get(coin)
        if minutes is not None:
            minutes.work()
            for start in sorted(minutes.candles):
                begin = start - start % step
                if first <= begin <= end_ms and minutes.is_whole(begin, begin + step):
                    made = {"T": begin + step - 1, "s": coin, "i": interval, **minutes.candles[start], "t": begin}
                    if begin in found:
                        _join(found[begin], made)
                    else:
                        found[begin] = made
        recorded = self._recorded.get(("candle", coin, interval), {})
        found |= {time: candle for time, candle in recorded.items() if first <= time <= end_ms}
        return [found[time] for time in sorted(found)][-CANDLES_MAX:]


def _minute(time: int) -> int:
    return time - time % _MINUTE_MS


def _join(candle: Candle, later: Candle) -> None:
    """Put a later candle, or trade, into one."""
    candle["c"] = later["c"]
    candle["h"] = max(candle["h"], later["h"], key=Decimal)
    candle["l"] = min(candle["l"], later["l"], key=Decimal)
    candle["v"] = format(Decimal(candle["v"]) + Decimal(later["v"]), "f")
    candle["n"] += later["n"]
