"""The chain under the synthetic dYdX: about one block a second, in which the trades since the last one become final."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from replay.market.engine.facts import Trade
from replay.market.engine.matching import ZERO_HASH
from replay.serving.venues.dydx_v4.names import iso
from replay.serving.venues.dydx_v4.synthetic.listing import Listed
from toolkit.clock import NS_PER_MS

__all__ = ["Chain", "ChainBlock"]

_KEPT = 1000


class ChainBlock(NamedTuple):
    """A block: its height, its time in ms, the rows of its trades by ticker, and event ids by the market's trade ids."""

    height: int
    time_ms: int
    trades: dict[str, list[dict[str, Any]]]
    events: dict[int, str]


class Chain:
    """
    Heights, times and the ids of trades.

    Args:
        listed: The venue's markets, by what the seeded market calls them.
        height: Height of the block before the first.
        genesis_ns: Time of that block.
        every_ns: Mean time between blocks.
    """

    def __init__(self, listed: dict[str, Listed], height: int, genesis_ns: int, every_ns: int) -> None:
        self._listed = listed
        self._every_ns = every_ns
        self._genesis_ns = genesis_ns
        self._genesis_height = height
        self._turn = genesis_ns // every_ns
        self.height = height
        self.time_ms = genesis_ns // NS_PER_MS
        self._pending: list[Trade] = []
        #: Trades of each market, newest last, as a subscriber is sent them.
        self.history: dict[str, deque[dict[str, Any]]] = {each.ticker: deque(maxlen=_KEPT) for each in listed.values()}
        #: Trades of each market so far, and a day's worth before.
        self.counts = {each.ticker: 20_000 + 7 * each.pair_id for each in listed.values()}

    def height_at(self, time_ms: int) -> int:
        """Height at a time before the first block."""
        return self._genesis_height - (self._genesis_ns - time_ms * NS_PER_MS) // self._every_ns

    def add(self, trades: dict[str, list[Trade]]) -> None:
        """Take in what was matched; it is not final yet."""
        for symbol, rows in trades.items():
            if symbol in self._listed:
                self._pending += rows

    def advance(self, time_ns: int) -> ChainBlock | None:
        """The block that is due at that time, if one is."""
        turn = time_ns // self._every_ns
        if turn == self._turn:
            return None
        self._turn = turn
        self.height += 1
        self.time_ms = time_ns // NS_PER_MS
        block = ChainBlock(self.height, self.time_ms, {}, {})
        transaction, event, last_hash = -1, 0, ""
        for trade in self._pending:
            # One order of a taker is one transaction; its fills are events of it.
            if trade.hash != last_hash:
                transaction, event, last_hash = transaction + 1, 0, trade.hash
            event += 3
            self._print(block, trade, f"{self.height:08x}{transaction + 2:08x}{event - 1:08x}")
        self._pending.clear()
        return block

    def _print(self, block: ChainBlock, trade: Trade, event_id: str) -> None:
        listed = self._listed[trade.symbol]
        block.events[trade.tid] = event_id
        row = {
            "id": event_id,
            "side": "BUY" if trade.is_buy else "SELL",
            "size": listed.sz_text(trade.lots),
            "price": listed.px_text(trade.px),
            "type": "LIQUIDATED" if trade.hash == ZERO_HASH else "LIMIT",
            "createdAt": iso(block.time_ms),
        }
        block.trades.setdefault(listed.ticker, []).append(row)
        self.history[listed.ticker].append(row | {"createdAtHeight": str(block.height)})
        self.counts[listed.ticker] += 1
