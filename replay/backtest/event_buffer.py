"""Market events in the making: rows of `replay.market.layout.EVENT`, written one by one at the price of a call each."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from replay.market.layout import BUY, EVENT, SELL

__all__ = ["EventBuffer"]

#: The fields of `EVENT`, in its order and without padding.
_ROW: Final = struct.Struct("=5qihbb")
_ROOM: Final = 256
#: Ticks, lots and numbers of orders.
Columns = tuple[Sequence[int], Sequence[int], Sequence[int]]
#: Levels of a message from which on whole columns are faster than one row after the other.
_WIDE: Final = 24


class EventBuffer:
    """
    Rows that are added to, read and dropped.

    Attributes:
        count: How many there are.
    """

    __slots__ = ("_bytes", "_rows", "count")

    def __init__(self) -> None:
        self.count = 0
        self._bytes = bytearray(_ROOM * _ROW.size)
        self._rows: npt.NDArray[np.void] = np.frombuffer(self._bytes, EVENT)

    @property
    def rows(self) -> npt.NDArray[np.void]:
        """All of them; what is added or dropped later may overwrite this."""
        return self._rows[: self.count]

    def add(
        self, time: int, recv: int, frame: int, tick: int, lots: int, count: int, pair: int, code: int, side: int
    ) -> None:
        """Add a row, by the fields of `EVENT`."""
        at = self.count * _ROW.size
        if at == len(self._bytes):
            self._widen()
        _ROW.pack_into(self._bytes, at, time, recv, frame, tick, lots, count, pair, code, side)
        self.count += 1

    def add_levels(self, time: int, recv: int, frame: int, pair: int, code: int, buys: int, columns: Columns) -> None:
        """Add many rows of one message; `columns` are ticks, lots and counts, of so many buys and then of sells."""
        first, length = self.count, len(columns[0])
        self.count = stop = first + length
        while stop * _ROW.size > len(self._bytes):
            self._widen()
        if length < _WIDE:
            at, pack = first * _ROW.size, _ROW.pack_into
            for place, (tick, lots, count) in enumerate(zip(*columns, strict=True)):
                side = BUY if place < buys else SELL
                pack(self._bytes, at, time, recv, frame, tick, lots, count, pair, code, side)
                at += _ROW.size
            return
        rows = self._rows[first:stop]
        # What all rows have in common, in one go.
        _ROW.pack_into(self._bytes, first * _ROW.size, time, recv, frame, 0, 0, 0, pair, code, SELL)
        rows[:] = rows[0]
        rows["side"][:buys] = BUY
        rows["tick"], rows["lots"], rows["count"] = columns

    def drop(self) -> None:
        """Drop all rows."""
        self.count = 0

    def _widen(self) -> None:
        # The array holds on to the old bytes for as long as somebody reads it.
        self._bytes = self._bytes + bytes(len(self._bytes))
        self._rows = np.frombuffer(self._bytes, EVENT)
