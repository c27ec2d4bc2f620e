"""
dYdX v4's trades: in order, each distinguished from the ones before.

An id is 24 hex digits: height of the block, transaction and event in it, so ascending ids are the order of execution,
and the same trade has the same id in a subscription's history, in updates and in REST. All trades of a block share
its time. (Indexer, packages/postgres/src/lib/helpers.ts; before protocol version 1 ids were UUIDs without an order.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from typing import Any, Final

import msgspec

from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import Message, Side, Trade
from toolkit.venues.dydx_v4.items import UNREADABLE, Finding, ItemReader
from toolkit.venues.dydx_v4.memory import remember
from toolkit.venues.dydx_v4.pages import Page
from toolkit.venues.dydx_v4.wire import Envelope, WireTrade, decode_trades, decode_trades_batch, time_ns

__all__ = ["TRADES", "TradeMemory", "block_of", "blocks_of", "read_trades"]

#: Trades kept per market to recognise a repeated one: the longest history on subscribing is 1000, so is a page.
REMEMBERED: Final = 4096
#: Trades of so many blocks may have been in frames that were lost without our noticing yet: it takes 30 s at most, at
#: two blocks a second at most.
BLOCKS_IN_DOUBT: Final = 100

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


def blocks_of(trades: Sequence[WireTrade]) -> list[int]:
    """The blocks of trades whose ids say theirs."""
    return [block for block in map(block_of, (trade.id for trade in trades)) if block is not None]


def read_trades(envelope: Envelope, found: list[Finding]) -> list[WireTrade]:
    """The trades in a frame of `v4_trades`, one by one. Raises ParseError where none can be distinguished."""
    if not envelope.id:
        raise ParseError("trades without the id of their market")
    if envelope.type == "channel_batch_data":
        parts = decode_trades_batch(envelope.contents)
        return [trade for part in parts for trade in TRADES.read_all(part.trades, found)]
    try:
        # Almost always all are as they should be.
        trades = _decode_all(envelope.contents).trades
        for trade in trades:
            _check(trade, found)
        return trades
    except (ParseError, *UNREADABLE):
        return TRADES.read_all(decode_trades(envelope.contents).trades, found)


def _check(trade: WireTrade, found: list[Finding]) -> None:
    if trade.side not in _SIDES:
        raise ParseError(f"trade side {trade.side!r}, expected 'BUY' or 'SELL'")
    if not (0 < trade.price < inf and 0 <= trade.size < inf):
        raise ParseError(f"trade {trade.price} x {trade.size}: expected a positive price and a size")
    if not trade.id:
        raise ParseError("a trade without an id")
    time_ns(trade.createdAt)


class _All(msgspec.Struct):
    trades: list[WireTrade]


_decode_all: Final = msgspec.json.Decoder(_All, strict=False).decode
#: Reads trades one by one.
TRADES: Final = ItemReader(WireTrade, "trade", _check)


class TradeMemory:
    """The ids of the newest trades of every market, and up to which block all of them were reported."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}
        self._reported_to: dict[str, int] = {}
        #: The newest block of what was missed, where pages of it are still to come.
        self._paging: dict[str, int] = {}

    def messages(
        self,
        venue: str,
        ticker: str,
        trades: Sequence[WireTrade],
        blocks: Sequence[int],
        frame: Frame,
        sub_seq: int,
        *,
        is_history: bool,
    ) -> list[Message]:
        """
        Checked trades of one frame as messages, in the order of their execution.

        Args:
            venue: Name of the venue, for the messages.
            ticker: Market they are of.
            trades: Trades as the venue sent them.
            blocks: Blocks that their ids name.
            frame: Frame that brought them.
            sub_seq: `sub_seq` of the first message.
            is_history: Whether they answer a subscription or a REST request, and so come newest first.
        """
        has_blocks = len(blocks) == len(trades)
        if has_blocks:
            trades = sorted(trades, key=_id)
        elif is_history:
            trades = trades[::-1]
        seen = self._seen.setdefault(ticker, {})
        is_held = ticker in self._paging
        messages: list[Message] = []
        for trade in trades:
            is_duplicate = trade.id in seen
            if not is_duplicate:
                block = int(trade.id[:8], 16) if has_blocks else block_of(trade.id) or 0
                remember(seen, trade.id, block, REMEMBERED, is_held=is_held)
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

    def snapshot(self, ticker: str, blocks: Sequence[int]) -> Page | None:
        """
        A subscription was answered with the newest trades, in those blocks: the page before them, if any was missed.

        What came before the first subscription was not.
        """
        if not blocks:
            # There was none yet: whatever comes is missed from the first on.
            self._reported_to.setdefault(ticker, 0)
            return None
        top, oldest = max(blocks), min(blocks)
        goal = self._reported_to.setdefault(ticker, top)
        if oldest <= goal:
            self._reported_to[ticker] = max(goal, top)
            self._paging.pop(ticker, None)
            return None
        self._paging[ticker] = top
        return Page(1, goal, top, oldest)

    def live(self, ticker: str, blocks: Sequence[int]) -> None:
        """The stream reported all trades in those blocks."""
        if blocks and ticker not in self._paging:
            self._reported_to[ticker] = max(self._reported_to.get(ticker, 0), *blocks)

    def page(self, ticker: str, page: Page, blocks: Sequence[int], new_count: int) -> Page | None:
        """A page came: the next one, None if nothing is missing any more."""
        following = page.following(blocks, new_count)
        if following is None:
            self._reported_to[ticker] = max(self._reported_to.get(ticker, 0), page.top)
            if self._paging.get(ticker, 0) <= page.top:
                self._paging.pop(ticker, None)
        return following

    def doubt(self, ticker: str) -> None:
        """Frames may have been lost a while ago."""
        if ticker in self._reported_to:
            self._reported_to[ticker] = max(0, self._reported_to[ticker] - BLOCKS_IN_DOUBT)

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return {
            "seen": {ticker: list(seen) for ticker, seen in self._seen.items()},
            "told_to": dict(self._reported_to),
            "paging": dict(self._paging),
        }

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._seen = {
            ticker: {trade_id: block_of(trade_id) or 0 for trade_id in seen} for ticker, seen in state["seen"].items()
        }
        self._reported_to = dict(state["told_to"])
        self._paging = dict(state["paging"])


def _id(trade: WireTrade) -> str:
    return trade.id
