"""Settled funding of each coin, from the recorded replies to `fundingHistory`, whatever time each of them began at."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE

__all__ = ["FundingRows"]

#: Rows kept per coin: two years of hours.
_ROWS_KEPT: Final = 20_000

_Rows = dict[int, dict[str, Any]]


class FundingRows:
    """Rows by time, each once; those of the opening stand in until the tape's own replies have come."""

    def __init__(self) -> None:
        self._now: dict[str, _Rows] = {}
        self._first: dict[str, _Rows] = {}

    def forget(self) -> None:
        """Return to what the opening said."""
        self._now.clear()

    def take(self, tag: str, body: bytes, *, is_opening: bool) -> None:
        """A reply came; others than to `fundingHistory` are passed over."""
        kind, _, coin = tag.partition(":")
        if kind != "fundingHistory" or not coin:
            return
        try:
            rows = msgspec.json.decode(body)
        except UNREADABLE:
            return
        if not isinstance(rows, list):
            return
        held = (self._first if is_opening else self._now).setdefault(coin, {})
        for row in rows:
            if isinstance(row, dict) and isinstance(row.get("time"), int):
                held[row["time"]] = row
        while len(held) > _ROWS_KEPT:
            del held[next(iter(held))]

    def rows(self, coin: str, now_ms: int) -> list[dict[str, Any]] | None:
        """Rows settled by then, oldest first; None where no reply about the coin was recorded."""
        if coin not in self._now and coin not in self._first:
            return None
        held = self._first.get(coin, {}) | self._now.get(coin, {})
        return [held[time] for time in sorted(held) if time <= now_ms]
