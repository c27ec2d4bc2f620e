"""What the venue would say at the tape's present: books, old trades, markets, the chain's height, candles, accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from replay.serving.venues.dydx_v4.recorded.accounts import ROWS_KEPT, TapeAccount
from replay.serving.venues.dydx_v4.recorded.books import TapeBook
from replay.serving.venues.dydx_v4.recorded.streams import BATCH, SUBSCRIBED, Envelope, StreamKey
from replay.serving.venues.dydx_v4.requests import (
    BLOCKS,
    BOOK,
    CANDLES,
    MARKETS,
    PARENT_SUBACCOUNTS,
    SUBACCOUNTS,
    TRADES,
)

__all__ = ["TapeState"]

#: Channels that need no snapshot to be distinguished from their updates.
_OF_UPDATES: Final = (TRADES, BLOCKS)
_ACCOUNTS: Final = (SUBACCOUNTS, PARENT_SUBACCOUNTS)

_decode = msgspec.json.decode

Row = dict[str, Any]


class TapeState:
    """
    Attributes:
        fresh: Streams whose present is known.
        markets: Markets by ticker; None before the first snapshot.
        block: Height and time of the newest block.
        books: Books by ticker.
        accounts: Accounts by stream.
    """

    def __init__(self) -> None:
        self.clear()
        self._takers: dict[str, Callable[[Envelope], None]] = {
            BOOK: self._take_book,
            TRADES: self._take_trades,
            MARKETS: self._take_markets,
            BLOCKS: self._take_block,
            CANDLES: self._take_candles,
            **dict.fromkeys(_ACCOUNTS, self._take_account),
        }

    def __getstate__(self) -> dict[str, Any]:
        """What the tape has said; the table of functions is no part of it."""
        return {name: value for name, value in vars(self).items() if name != "_takers"}

    def clear(self) -> None:
        """Return to before the first frame."""
        self.fresh: set[StreamKey] = set()
        self.markets: dict[str, Row] | None = None
        self.block: tuple[str, str] | None = None
        self.books: dict[str, TapeBook] = {}
        self.accounts: dict[StreamKey, TapeAccount] = {}
        self._trades: dict[str, dict[str, Row]] = {}
        self._candles: dict[str, dict[str, Row]] = {}

    def lose(self, keys: Iterable[StreamKey]) -> None:
        """What these streams said last may hold no longer; trades that were, were."""
        for key in keys:
            self.fresh.discard(key)

    def take(self, envelope: Envelope) -> None:
        """Take in a frame; one that cannot be understood changes nothing, or its stream is not known any more."""
        taker = self._takers.get(envelope.key[0])
        if taker is None:
            return
        try:
            taker(envelope)
        except (*UNREADABLE, LookupError, TypeError, ValueError, AttributeError):
            self.fresh.discard(envelope.key)
            return
        if envelope.kind == SUBSCRIBED or envelope.key[0] in _OF_UPDATES:
            self.fresh.add(envelope.key)

    def _take_book(self, envelope: Envelope) -> None:
        ticker = envelope.key[1]
        if envelope.kind == SUBSCRIBED:
            self.books.setdefault(ticker, TapeBook()).begin(envelope.contents)
        elif ticker in self.books:
            self.books[ticker].change(envelope.contents, is_batch=envelope.kind == BATCH)

    def _take_trades(self, envelope: Envelope) -> None:
        kept = self._trades.setdefault(envelope.key[1], {})
        for contents in _each(envelope):
            rows = contents["trades"]
            # A snapshot lists the newest first, updates the oldest.
            for row in reversed(rows) if envelope.kind == SUBSCRIBED else rows:
                name = str(row["id"])
                if name not in kept:
                    # Only snapshots say the height, and it is in the id.
                    kept[name] = row if "createdAtHeight" in row else row | {"createdAtHeight": str(int(name[:8], 16))}
        if len(kept) > 2 * ROWS_KEPT:
            self._trades[envelope.key[1]] = {name: kept[name] for name in sorted(kept)[-ROWS_KEPT:]}

    def _take_markets(self, envelope: Envelope) -> None:
        for contents in _each(envelope):
            if envelope.kind == SUBSCRIBED:
                self.markets = dict(contents["markets"])
            elif self.markets is not None:
                self._change_markets(self.markets, contents)

    @staticmethod
    def _change_markets(markets: dict[str, Row], contents: Row) -> None:
        for ticker, row in (contents.get("trading") or {}).items():
            fields = {name: value for name, value in row.items() if name not in ("id", "marketId")}
            known = markets.get(ticker) or {"ticker": ticker, "clobPairId": str(row.get("id", ""))}
            markets[ticker] = known | fields
        for ticker, row in (contents.get("oraclePrices") or {}).items():
            if ticker in markets:
                markets[ticker] = markets[ticker] | {"oraclePrice": row["oraclePrice"]}

    def _take_block(self, envelope: Envelope) -> None:
        for contents in _each(envelope):
            # The two forms of the answer have different names for it.
            self.block = (str(contents.get("blockHeight", contents.get("height"))), str(contents["time"]))

    def _take_candles(self, envelope: Envelope) -> None:
        kept = self._candles.setdefault(envelope.key[1], {})
        for contents in _each(envelope):
            for row in contents["candles"] if envelope.kind == SUBSCRIBED else [contents]:
                kept[str(row["startedAt"])] = row
        if len(kept) > 2 * ROWS_KEPT:
            self._candles[envelope.key[1]] = {start: kept[start] for start in sorted(kept)[-ROWS_KEPT:]}

    def _take_account(self, envelope: Envelope) -> None:
        for contents in _each(envelope):
            account = self.accounts.get(envelope.key)
            if envelope.kind == SUBSCRIBED or account is None:
                fresh = self.accounts[envelope.key] = TapeAccount(envelope.key[0], contents)
                if account is not None:
                    fresh.orders = account.orders | fresh.orders
                    fresh.fills = account.fills
                if envelope.kind != SUBSCRIBED:
                    fresh.contents = {}
                    fresh.change(contents, envelope.subaccount)
            else:
                account.change(contents, envelope.subaccount)

    # What it says ------------------------------------------------------------------------------------------------------

    def trades(self, ticker: str) -> list[Row]:
        """The newest trades of a market, newest first."""
        kept = self._trades.get(ticker, {})
        return [kept[name] for name in sorted(kept, reverse=True)[:ROWS_KEPT]]

    def candles(self, name: str) -> list[Row] | None:
        """Candles of a market and resolution, newest first; None where the tape has none."""
        kept = self._candles.get(name)
        return None if kept is None else [kept[start] for start in sorted(kept, reverse=True)[:ROWS_KEPT]]

    def book(self, ticker: str) -> Row | None:
        """A market's book; None where it is not known."""
        return self.books[ticker].contents() if (BOOK, ticker) in self.fresh else None

    def account(self, key: StreamKey) -> TapeAccount | None:
        """An account; None where its present is not known."""
        return self.accounts.get(key) if key in self.fresh else None

    def snapshot(self, key: StreamKey) -> Any:
        """Contents of the answer to a subscribe; None where they are not known yet."""
        if key not in self.fresh:
            return None
        channel, name = key
        with suppress(KeyError):
            match channel:
                case "v4_orderbook":
                    return self.books[name].contents()
                case "v4_trades":
                    return {"trades": self.trades(name)}
                case "v4_markets":
                    return {"markets": self.markets}
                case "v4_block_height":
                    return None if self.block is None else dict(zip(("height", "time"), self.block, strict=True))
                case "v4_candles":
                    return {"candles": self.candles(name)}
                case _:
                    return self.accounts[key].contents
        return None


def _each(envelope: Envelope) -> list[Row]:
    """The contents of a frame, one by one."""
    contents = _decode(envelope.contents)
    return list(contents) if envelope.kind == BATCH else [contents]
