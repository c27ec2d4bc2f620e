"""
How the three markets write what happens: payloads of the streams, and rows of REST that are made of them.

Futures give the time of the matching engine, `T`, beside that of the message, `E`; spot gives `E` alone, and none at all in
quotes and partial books. Frames of COIN-M are those of USD-M with the pair of the contract in `ps` and another class in
`st`.

A trade of spot, and the same of USD-M:

    {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,
     "m":true,"M":true}
    {"e":"trade","E":1723161257687,"T":1723161257679,"s":"BTCUSDT","ps":"BTCUSDT","t":849714402,"p":"61804.8","q":"4",
     "X":"MARKET","m":false,"st":1}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from replay.market.engine.facts import Trade
from replay.serving.venues.binance.synthetic.listing import Listed, next_funding_ms, rate_text
from replay.synthetic.context import PerpContext
from replay.synthetic.market import Market

__all__ = ["FUTURES", "SPOT_WORDS", "Levels", "Words", "words_of"]

#: Levels as they are sent: price and size.
Levels = list[tuple[str, str]]
Row = dict[str, Any]


class Words(Protocol):
    """What a market says of a symbol."""

    def diff(self, listed: Listed, time_ms: int, ids: tuple[int, int, int], bids: Levels, asks: Levels) -> Row:
        """A diff; `ids` are the first and last update in it and the last one of the diff before."""

    def partial(self, listed: Listed, time_ms: int, ids: tuple[int, int], bids: Levels, asks: Levels) -> Row:
        """The best levels, whole; `ids` are the last update and that of the partial book before."""

    def snapshot(self, listed: Listed, time_ms: int, update_id: int, bids: Levels, asks: Levels) -> Row:
        """REST `depth`."""

    def ticker(self, listed: Listed, time_ms: int, update_id: int, bid: tuple[str, str], ask: tuple[str, str]) -> Row:
        """`bookTicker`."""

    def trade(self, listed: Listed, trade: Trade, number: int) -> Row:
        """`trade`."""

    def aggregate(self, listed: Listed, trades: Sequence[Trade], number: int, first: int) -> Row:
        """`aggTrade` of trades at one price; `first` is the id of the first of them."""

    def trade_row(self, row: Row) -> Row:
        """A row of REST `trades`, of what the stream said."""

    def aggregate_row(self, row: Row) -> Row:
        """A row of REST `aggTrades`, likewise."""


class _Futures:
    """USD-M and COIN-M."""

    @staticmethod
    def _head(listed: Listed, time_ms: int) -> Row:
        return {
            "e": "depthUpdate",
            "E": time_ms + 1,
            "T": time_ms,
            "s": listed.symbol,
            "ps": listed.pair,
            "st": listed.product.product_class,
        }

    def diff(self, listed: Listed, time_ms: int, ids: tuple[int, int, int], bids: Levels, asks: Levels) -> Row:
        first, last, before = ids
        return self._head(listed, time_ms) | {"U": first, "u": last, "pu": before, "b": bids, "a": asks}

    def partial(self, listed: Listed, time_ms: int, ids: tuple[int, int], bids: Levels, asks: Levels) -> Row:
        # The keys of a diff, but whole.
        last, before = ids
        return self.diff(listed, time_ms, (last, last, before), bids, asks)

    def snapshot(self, listed: Listed, time_ms: int, update_id: int, bids: Levels, asks: Levels) -> Row:
        head: Row = {"lastUpdateId": update_id, "E": time_ms + 1, "T": time_ms}
        if listed.contract:
            head |= {"symbol": listed.symbol, "pair": listed.pair}
        return head | {"bids": bids, "asks": asks}

    def ticker(self, listed: Listed, time_ms: int, update_id: int, bid: tuple[str, str], ask: tuple[str, str]) -> Row:
        # COIN-M puts the id first.
        head = {"u": update_id, "e": "bookTicker"} if listed.contract else {"e": "bookTicker", "u": update_id}
        return head | {
            "s": listed.symbol,
            "ps": listed.pair,
            "b": bid[0],
            "B": bid[1],
            "a": ask[0],
            "A": ask[1],
            "T": time_ms,
            "E": time_ms + 1,
            "st": listed.product.product_class,
        }

    def trade(self, listed: Listed, trade: Trade, number: int) -> Row:
        return {
            "e": "trade",
            "E": trade.time_ms + 1,
            "T": trade.time_ms,
            "s": listed.symbol,
            "ps": listed.pair,
            "t": number,
            "p": listed.px_text(trade.px),
            "q": listed.sz_text(trade.px, trade.lots),
            "X": "MARKET",
            "m": not trade.is_buy,
            "st": listed.product.product_class,
        }

    def aggregate(self, listed: Listed, trades: Sequence[Trade], number: int, first: int) -> Row:
        return _aggregate(listed, trades, number, first) | {"st": listed.product.product_class}

    def trade_row(self, row: Row) -> Row:
        return {
            "id": row["t"],
            "price": row["p"],
            "qty": row["q"],
            "time": row["T"],
            "isBuyerMaker": row["m"],
        }

    def aggregate_row(self, row: Row) -> Row:
        return {key: row[key] for key in ("a", "p", "q", "f", "l", "T", "m")}

    def forced(self, listed: Listed, order: Sequence[Trade]) -> Row:
        """`forceOrder`: `S` is the order's own side, `p` its limit, `ap` what it traded at on average."""
        last = order[-1]
        lots = sum(trade.lots for trade in order)
        average = sum(trade.px * trade.lots for trade in order) // lots
        size = listed.count_text(sum(listed.count(trade.px, trade.lots) for trade in order))
        return {
            "e": "forceOrder",
            "E": last.time_ms + 1,
            "o": {
                "s": listed.symbol,
                "ps": listed.pair,
                "S": "BUY" if last.is_buy else "SELL",
                "o": "LIMIT",
                "f": "IOC",
                "q": size,
                "p": listed.px_text(last.px),
                "ap": listed.px_text(average),
                "X": "FILLED",
                "l": listed.sz_text(last.px, last.lots),
                "z": size,
                "T": last.time_ms,
            },
            "st": listed.product.product_class,
        }

    def mark(self, listed: Listed, context: PerpContext, market: Market) -> Row:
        """`markPrice`."""
        return {
            "e": "markPriceUpdate",
            "E": market.time_ms,
            "s": listed.symbol,
            "p": listed.long_px_text(context.mark),
            "i": listed.long_px_text(context.oracle),
            "P": listed.long_px_text(context.oracle),
            "r": rate_text(context.funding),
            "T": next_funding_ms(market),
            "st": listed.product.product_class,
        }


class _Spot:
    """Spot."""

    def diff(self, listed: Listed, time_ms: int, ids: tuple[int, int, int], bids: Levels, asks: Levels) -> Row:
        first, last, _ = ids
        head = {"e": "depthUpdate", "E": time_ms + 1, "s": listed.symbol}
        return head | {"U": first, "u": last, "b": bids, "a": asks}

    def partial(self, listed: Listed, time_ms: int, ids: tuple[int, int], bids: Levels, asks: Levels) -> Row:
        return self.snapshot(listed, time_ms, ids[0], bids, asks)

    def snapshot(self, listed: Listed, time_ms: int, update_id: int, bids: Levels, asks: Levels) -> Row:
        return {"lastUpdateId": update_id, "bids": bids, "asks": asks}

    def ticker(self, listed: Listed, time_ms: int, update_id: int, bid: tuple[str, str], ask: tuple[str, str]) -> Row:
        return {"u": update_id, "s": listed.symbol, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}

    def trade(self, listed: Listed, trade: Trade, number: int) -> Row:
        return {
            "e": "trade",
            "E": trade.time_ms + 1,
            "s": listed.symbol,
            "t": number,
            "p": listed.px_text(trade.px),
            "q": listed.sz_text(trade.px, trade.lots),
            "T": trade.time_ms,
            "m": not trade.is_buy,
            "M": True,
        }

    def aggregate(self, listed: Listed, trades: Sequence[Trade], number: int, first: int) -> Row:
        return _aggregate(listed, trades, number, first) | {"M": True}

    def trade_row(self, row: Row) -> Row:
        return {
            "id": row["t"],
            "price": row["p"],
            "qty": row["q"],
            "quoteQty": _product(row["p"], row["q"]),
            "time": row["T"],
            "isBuyerMaker": row["m"],
            "isBestMatch": row["M"],
        }

    def aggregate_row(self, row: Row) -> Row:
        return {key: row[key] for key in ("a", "p", "q", "f", "l", "T", "m", "M")}


def _aggregate(listed: Listed, trades: Sequence[Trade], number: int, first: int) -> Row:
    trade = trades[0]
    return {
        "e": "aggTrade",
        "E": trade.time_ms + 1,
        "a": number,
        "s": listed.symbol,
        "p": listed.px_text(trade.px),
        "q": listed.count_text(sum(listed.count(each.px, each.lots) for each in trades)),
        "f": first,
        "l": first + len(trades) - 1,
        "T": trade.time_ms,
        "m": not trade.is_buy,
    }


def _product(price: str, size: str) -> str:
    """The product of two numbers of eight decimals, with eight decimals: further ones are cut off."""
    value = int(price.replace(".", "")) * int(size.replace(".", "")) // 10**8
    whole, fraction = divmod(value, 10**8)
    return f"{whole}.{fraction:08d}"


FUTURES = _Futures()
SPOT_WORDS = _Spot()


def words_of(listed: Listed) -> Words:
    """The words of the market that lists it."""
    return SPOT_WORDS if listed.product.is_spot else FUTURES
