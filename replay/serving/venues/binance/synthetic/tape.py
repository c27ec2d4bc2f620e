"""Trades of one symbol as the synthetic Binance numbers them: one by one, aggregated, and who was forced to."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from replay.market.engine.facts import Trade
from replay.market.engine.matching import ZERO_HASH
from replay.serving.venues.binance.synthetic.listing import Listed

__all__ = ["Printed", "Tape"]

#: Rows that REST can look back on.
_KEPT = 1000
#: One in so many taker orders was a liquidation, besides those that the market says were.
_FORCED_ONE_IN = 40


class Printed(NamedTuple):
    """What a block printed for one symbol; `forced` is its latest liquidation."""

    trades: list[dict[str, Any]]
    aggregates: list[dict[str, Any]]
    forced: dict[str, Any] | None


class Tape:
    """
    The numbers of one symbol's trades.

    Args:
        listed: The symbol.
        first_id: The id that its first trade gets.
    """

    def __init__(self, listed: Listed, first_id: int) -> None:
        self._listed = listed
        self._trade_id = first_id
        self._aggregate_id = first_id // 2
        #: Newest last.
        self.trades: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self.aggregates: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def add(self, trades: Sequence[Trade]) -> Printed:
        """Number a block's trades. Those of one taker order at one price make one aggregate."""
        rows: list[dict[str, Any]] = []
        aggregates: list[dict[str, Any]] = []
        forced: dict[str, Any] | None = None
        orders: list[list[Trade]] = []
        for trade in trades:
            rows.append(self._row(trade))
            if orders and orders[-1][-1].hash == trade.hash and orders[-1][-1].is_buy == trade.is_buy:
                orders[-1].append(trade)
            else:
                orders.append([trade])
        number = self._trade_id - len(rows)
        for order in orders:
            aggregates += self._aggregates(order, number)
            number += len(order)
            if _is_forced(order[0]):
                forced = self._forced(order)
        self.trades.extend(rows)
        self.aggregates.extend(aggregates)
        return Printed(rows, aggregates, forced)

    def _row(self, trade: Trade) -> dict[str, Any]:
        symbol = self._listed.symbol
        row = {
            "e": "trade",
            "E": trade.time_ms + 1,
            "T": trade.time_ms,
            "s": symbol,
            "ps": symbol,
            "t": self._trade_id,
            "p": self._listed.px_text(trade.px),
            "q": self._listed.sz_text(trade.lots),
            "X": "MARKET",
            "m": not trade.is_buy,
            "st": 1,
        }
        self._trade_id += 1
        return row

    def _aggregates(self, order: Sequence[Trade], first_id: int) -> list[dict[str, Any]]:
        listed = self._listed
        rows = []
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and order[end].px == order[start].px:
                end += 1
            trade = order[start]
            rows.append(
                {
                    "e": "aggTrade",
                    "E": trade.time_ms + 1,
                    "a": self._aggregate_id,
                    "s": listed.symbol,
                    "p": listed.px_text(trade.px),
                    "q": listed.sz_text(sum(each.lots for each in order[start:end])),
                    "f": first_id + start,
                    "l": first_id + end - 1,
                    "T": trade.time_ms,
                    "m": not trade.is_buy,
                    "st": 1,
                }
            )
            self._aggregate_id += 1
            start = end
        return rows

    def _forced(self, order: Sequence[Trade]) -> dict[str, Any]:
        """A liquidation order: `S` is its own side, `p` its limit, `ap` what it traded at on average."""
        listed, last = self._listed, order[-1]
        lots = sum(trade.lots for trade in order)
        average = sum(trade.px * trade.lots for trade in order) // lots
        return {
            "e": "forceOrder",
            "E": last.time_ms + 1,
            "o": {
                "s": listed.symbol,
                "ps": listed.symbol,
                "S": "BUY" if last.is_buy else "SELL",
                "o": "LIMIT",
                "f": "IOC",
                "q": listed.sz_text(lots),
                "p": listed.px_text(last.px),
                "ap": listed.px_text(average),
                "X": "FILLED",
                "l": listed.sz_text(last.lots),
                "z": listed.sz_text(lots),
                "T": last.time_ms,
            },
            "st": 1,
        }


def _is_forced(trade: Trade) -> bool:
    return trade.hash == ZERO_HASH or int(trade.hash[2:10], 16) % _FORCED_ONE_IN == 0
