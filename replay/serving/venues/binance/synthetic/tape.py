"""Trades of one symbol as the synthetic Binance numbers them: one by one, aggregated, and who was forced to."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from replay.market.engine.facts import Trade
from replay.market.engine.matching import ZERO_HASH
from replay.serving.venues.binance.synthetic.listing import Listed
from replay.serving.venues.binance.synthetic.words import FUTURES, words_of

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
        self._words = words_of(listed)
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
            rows.append(self._words.trade(self._listed, trade, self._trade_id))
            self._trade_id += 1
            if orders and orders[-1][-1].hash == trade.hash and orders[-1][-1].is_buy == trade.is_buy:
                orders[-1].append(trade)
            else:
                orders.append([trade])
        number = self._trade_id - len(rows)
        for order in orders:
            aggregates += self._aggregates_of(order, number)
            number += len(order)
            if _is_forced(order[0]) and not self._listed.product.is_spot:
                forced = FUTURES.forced(self._listed, order)
        self.trades.extend(rows)
        self.aggregates.extend(aggregates)
        return Printed(rows, aggregates, forced)

    def _aggregates_of(self, order: Sequence[Trade], first_id: int) -> list[dict[str, Any]]:
        rows = []
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and order[end].px == order[start].px:
                end += 1
            rows.append(self._words.aggregate(self._listed, order[start:end], self._aggregate_id, first_id + start))
            self._aggregate_id += 1
            start = end
        return rows


def _is_forced(trade: Trade) -> bool:
    return trade.hash == ZERO_HASH or int(trade.hash[2:10], 16) % _FORCED_ONE_IN == 0
