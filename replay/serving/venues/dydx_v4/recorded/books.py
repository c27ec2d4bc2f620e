"""
A market's book at the tape's present, uncrossed as the venue's own snapshots are.

The stream leaves levels standing that crossed and went without a word; REST and the answer to a subscribe leave them out.
Of two levels that cross, the one that was said later stays; of one frame, the larger; of the same size, the ask.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["LEVELS_MAX", "TapeBook"]

#: Of a side, in a snapshot.
LEVELS_MAX: Final = 100


class _Level(msgspec.Struct):
    price: str
    size: str


class _Snapshot(msgspec.Struct):
    bids: list[_Level] = []
    asks: list[_Level] = []


class _Change(msgspec.Struct):
    bids: list[list[str]] = []
    asks: list[list[str]] = []


class _Standing(NamedTuple):
    price: str
    size: str
    #: Number of the frame that said it last.
    said: int


_decode_snapshot: Final = msgspec.json.Decoder(_Snapshot).decode
_decode_change: Final = msgspec.json.Decoder(_Change).decode
_decode_changes: Final = msgspec.json.Decoder(list[_Change]).decode


class TapeBook:
    """Levels by price, as they were written."""

    def __init__(self) -> None:
        self._bids: dict[float, _Standing] = {}
        self._asks: dict[float, _Standing] = {}
        self._frames = 0

    def begin(self, contents: bytes | msgspec.Raw) -> None:
        """A snapshot. Raises DecodeError."""
        snapshot = _decode_snapshot(contents)
        self._frames += 1
        self._bids, self._asks = {}, {}
        for side, levels in ((self._bids, snapshot.bids), (self._asks, snapshot.asks)):
            for level in levels:
                self._put(side, level.price, level.size)

    def change(self, contents: bytes | msgspec.Raw, *, is_batch: bool) -> None:
        """An update, or several. Raises DecodeError."""
        for change in _decode_changes(contents) if is_batch else [_decode_change(contents)]:
            self._frames += 1
            for side, levels in ((self._bids, change.bids), (self._asks, change.asks)):
                for level in levels:
                    if len(level) >= 2:
                        self._put(side, level[0], level[1])

    def _put(self, side: dict[float, _Standing], price: str, size: str) -> None:
        with suppress(ValueError):
            if float(size) > 0:
                side[float(price)] = _Standing(price, size, self._frames)
            else:
                side.pop(float(price), None)

    def contents(self) -> dict[str, Any]:
        """What a snapshot says now."""
        bids, asks = self._uncrossed()
        return {
            name: [{"price": each.price, "size": each.size} for each in side[:LEVELS_MAX]]
            for name, side in (("bids", bids), ("asks", asks))
        }

    def _uncrossed(self) -> tuple[list[_Standing], list[_Standing]]:
        bids = [self._bids[price] for price in sorted(self._bids, reverse=True)]
        asks = [self._asks[price] for price in sorted(self._asks)]
        bid_at = ask_at = 0
        while bid_at < len(bids) and ask_at < len(asks):
            bid, ask = bids[bid_at], asks[ask_at]
            if float(bid.price) < float(ask.price):
                break
            if (bid.said, float(bid.size)) > (ask.said, float(ask.size)):
                ask_at += 1
            else:
                bid_at += 1
        return bids[bid_at:], asks[ask_at:]
