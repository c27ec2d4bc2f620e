"""
dYdX v4's trades: in order, each told apart from the ones before.

An id is 24 hex digits: height of the block, transaction and event in it, so ascending ids are the order of execution,
and the same trade has the same id in a subscription's history, in updates and in REST. All trades of a block share
its time. (Indexer, packages/postgres/src/lib/helpers.ts; before protocol version 1 ids were UUIDs without an order.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import Message, Side, Trade
from toolkit.venues.dydx_v4.wire import Envelope, WireTrade, decode_trades, decode_trades_batch, time_ns

__all__ = ["TradeMemory", "block_of", "checked", "read_trades"]

#: Trades kept per market to recognise a repeated one: the longest history on subscribing is 1000.
REMEMBERED: Final = 4096

_SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
#: What the taker's order was, in our words; an ordinary one needs none.
_CAUSES: Final = {
    "LIMIT": None,
    "MARKET": None,
    "LIQUIDATED": "liquidation",
    "DELEVERAGED": "deleveraging",
    "TWAP_SUBORDER": "twap",
}
_EVENT_ID: Final = re.compile(r"[0-9a-f]{24}")


def block_of(trade_id: str) -> int | None:
    """Height of the block a trade is in; None where its id does not say."""
    return int(trade_id[:8], 16) if _EVENT_ID.fullmatch(trade_id) else None


def read_trades(envelope: Envelope) -> list[WireTrade]:
    """The trades in a frame of `v4_trades`, checked. Raises ParseError."""
    if not envelope.id:
        raise ParseError("trades without the id of their market")
    if envelope.type == "channel_batch_data":
        trades = [trade for part in decode_trades_batch(envelope.contents) for trade in part.trades]
    else:
        trades = decode_trades(envelope.contents).trades
    return checked(trades)


def checked(trades: list[WireTrade]) -> list[WireTrade]:
    """The same trades. Raises ParseError if one of them cannot be."""
    for trade in trades:
        if trade.side not in _SIDES:
            raise ParseError(f"trade side {trade.side!r}, expected 'BUY' or 'SELL'")
        if not (0 < trade.price < inf and 0 <= trade.size < inf):
            raise ParseError(f"trade {trade.price} x {trade.size}: expected a positive price and a size")
        if not trade.id:
            raise ParseError("a trade without an id")
        time_ns(trade.createdAt)
    return trades


class TradeMemory:
    """The ids of the newest trades of every market."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, None]] = {}

    def messages(
        self, venue: str, ticker: str, trades: Sequence[WireTrade], frame: Frame, sub_seq: int, *, is_history: bool
    ) -> list[Message]:
        """
        Checked trades of one frame as messages, in the order of their execution.

        Args:
            venue: For the messages.
            ticker: Market they are of.
            trades: As the venue sent them.
            frame: That brought them.
            sub_seq: Of the first message.
            is_history: Whether they answer a subscription or a REST request, and so come newest first.
        """
        if all(_EVENT_ID.fullmatch(trade.id) for trade in trades):
            trades = sorted(trades, key=_id)
        elif is_history:
            trades = trades[::-1]
        seen = self._seen.setdefault(ticker, {})
        messages: list[Message] = []
        for trade in trades:
            is_duplicate = trade.id in seen
            if not is_duplicate:
                seen[trade.id] = None
                if len(seen) > REMEMBERED:
                    del seen[next(iter(seen))]
            messages.append(
                Trade(
                    venue,
                    ticker,
                    ticker,
                    time_ns(trade.createdAt),
                    frame.ts_recv,
                    frame.capture_seq,
                    sub_seq + len(messages),
                    _SIDES[trade.side],
                    trade.price,
                    trade.size,
                    trade.id,
                    is_history,
                    is_duplicate,
                    _CAUSES[trade.type] if trade.type in _CAUSES else trade.type.lower(),
                )
            )
        return messages

    def newest_block(self, ticker: str) -> int | None:
        """Height of the highest block that a remembered trade of the market is in."""
        heights = (block_of(trade_id) for trade_id in self._seen.get(ticker, ()))
        return max((height for height in heights if height is not None), default=None)

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return {ticker: list(seen) for ticker, seen in self._seen.items()}

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._seen = {ticker: dict.fromkeys(seen) for ticker, seen in state.items()}


def _id(trade: WireTrade) -> str:
    return trade.id
