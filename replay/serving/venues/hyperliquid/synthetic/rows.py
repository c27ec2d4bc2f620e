"""
How the venue writes things down: the JSON shapes of market data, shared by the WebSocket and the REST face.

Key order is the real venue's. Decimals are strings, times are integer milliseconds (UTC), ids are integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.market.engine.book import Level
from replay.market.engine.exchange import RATE_DECIMALS
from replay.market.engine.facts import FundingSettled, Trade
from replay.serving.venues.hyperliquid.fills import text
from replay.serving.venues.hyperliquid.synthetic.listing import Listed, Metadata
from replay.synthetic.market import Market

__all__ = ["Wire", "rate_text"]

#: One level as the venue sends it.
JsonLevel = dict[str, Any]


def rate_text(rate: int) -> str:
    """A rate as the venue prints it."""
    return text(rate, RATE_DECIMALS)


class Wire:
    """Reads the market and writes it as the venue would. Its methods name instruments by coin."""

    def __init__(self, market: Market, metadata: Metadata) -> None:
        self.market = market
        self._listed = metadata.listed
        self._by_symbol = metadata.by_symbol

    # Books ---------------------------------------------------------------------------------------------------------

    def sides(self, coin: str, depth: int | None) -> tuple[list[Level], list[Level]]:
        """Bids and asks of a coin in its own prices, best first; for the second side of an outcome pair, mirrored."""
        listed = self._listed[coin]
        book = self.market.books[listed.symbol]
        bids, asks = book.bids.levels(depth), book.asks.levels(depth)
        if self.market.primary(listed.symbol) == listed.symbol:
            return bids, asks
        one = listed.instrument.one
        return _mirrored(asks, one), _mirrored(bids, one)

    def l2_book(
        self,
        coin: str,
        *,
        depth: int = 20,
        n_sig_figs: int | None = None,
        mantissa: int | None = None,
        fast: bool = False,
    ) -> dict[str, Any]:
        """`data` of an `l2Book` frame, which is also the REST reply."""
        listed = self._listed[coin]
        data: dict[str, Any] = {"coin": coin, "time": self.market.time_ms}
        if n_sig_figs is None:
            bids, asks = self.sides(coin, depth)
        else:
            bids, asks = self.sides(coin, None)
            bids = _bucketed(bids, n_sig_figs, mantissa, up=False)[:depth]
            asks = _bucketed(asks, n_sig_figs, mantissa, up=True)[:depth]
        data["levels"] = [self._levels(listed, bids), self._levels(listed, asks)]
        if n_sig_figs is not None and bids and asks:
            data["spread"] = listed.px_text(asks[0].px - bids[0].px)
        if fast:
            data["fast"] = True
        return data

    @staticmethod
    def _levels(listed: Listed, levels: Sequence[Level]) -> list[JsonLevel]:
        return [_level(listed, level) for level in levels]

    def best(self, coin: str) -> tuple[Level | None, Level | None]:
        """
        Best bid and ask as `bbo` has them.

        For an outcome these are the best of the orders placed on that very coin, and not the top of its `l2Book`
        (observed in a capture of July 2026).
        """
        listed = self._listed[coin]
        book, instrument = self.market.books[listed.symbol], listed.instrument
        if instrument.mirror is None:
            return book.bids.best_level(), book.asks.best_level()
        if self.market.primary(listed.symbol) == listed.symbol:
            return book.bids.native_best(False), book.asks.native_best(False)
        bid, ask = book.asks.native_best(True), book.bids.native_best(True)
        one = instrument.one
        return (
            None if bid is None else bid._replace(px=one - bid.px),
            None if ask is None else ask._replace(px=one - ask.px),
        )

    def bbo(self, coin: str, best: tuple[Level | None, Level | None]) -> dict[str, Any]:
        """`data` of a `bbo` frame."""
        listed = self._listed[coin]
        sides = [None if level is None else _level(listed, level) for level in best]
        return {"coin": coin, "time": self.market.time_ms, "bbo": sides}

    def mid(self, coin: str) -> str | None:
        """Mid price; it may have a digit more than a price may."""
        bids, asks = self.sides(coin, 1)
        if not bids or not asks:
            return None
        return text((bids[0].px + asks[0].px) * 5, self._listed[coin].instrument.px_decimals + 1)

    def mids(self, dex: str) -> dict[str, str]:
        """Every mid price of one dex; that of the first dex includes spot pairs and outcomes."""
        mids = {}
        for coin, listed in self._listed.items():
            mid = self.mid(coin) if listed.dex == dex else None
            if mid is not None:
                mids[coin] = mid
        return mids

    # Trades --------------------------------------------------------------------------------------------------------

    def trade(self, trade: Trade) -> dict[str, Any]:
        """One entry of a `trades` frame."""
        listed = self._by_symbol[trade.symbol]
        return {
            "coin": listed.coin,
            "side": "B" if trade.is_buy else "A",
            "px": listed.px_text(trade.px),
            "sz": listed.sz_text(trade.lots),
            "time": trade.time_ms,
            "hash": trade.hash,
            "tid": trade.tid,
            "users": [trade.buyer, trade.seller],
        }

    # Contexts ------------------------------------------------------------------------------------------------------

    def perp_ctx(self, coin: str) -> dict[str, Any]:
        """The context of a perpetual."""
        listed = self._listed[coin]
        context, instrument = self.market.perps[listed.symbol], listed.instrument
        decimals = instrument.px_decimals
        impact = context.impact(self.market.books[listed.symbol])
        gone = instrument.delisted
        return {
            "funding": rate_text(context.funding),
            "openInterest": listed.sz_text(context.open_interest),
            "prevDayPx": listed.px_text(context.prev_day_px),
            "dayNtlVlm": text(context.day_notional, decimals + instrument.sz_decimals),
            "premium": None if gone else rate_text(context.premium),
            "oraclePx": listed.px_text(context.oracle),
            "markPx": listed.px_text(context.mark),
            "midPx": self.mid(coin),
            "impactPxs": None if impact is None else [listed.px_text(px) for px in impact],
            "dayBaseVlm": listed.sz_text(context.day_lots),
        }

    def spot_ctx(self, coin: str) -> dict[str, Any]:
        """The context of a spot pair or an outcome coin."""
        listed = self._listed[coin]
        context, instrument = self.market.spots[listed.symbol], listed.instrument
        return {
            "prevDayPx": listed.px_text(context.prev_day_px),
            "dayNtlVlm": text(context.day_notional, instrument.px_decimals + instrument.sz_decimals),
            "markPx": listed.px_text(context.mark),
            "midPx": self.mid(coin),
            "circulatingSupply": text(context.circulating, 8),
            "coin": coin,
            "totalSupply": text(context.total, 8),
            "dayBaseVlm": listed.sz_text(context.day_lots),
        }

    def active_ctx(self, coin: str) -> tuple[str, dict[str, Any]]:
        """Channel and data that an `activeAssetCtx` subscription gets: spot coins answer on another channel."""
        # That outcome coins answer as spot coins do has not been seen on the wire.
        if self._listed[coin].symbol in self.market.perps:
            return "activeAssetCtx", {"coin": coin, "ctx": self.perp_ctx(coin)}
        return "activeSpotAssetCtx", {"coin": coin, "ctx": self.spot_ctx(coin)}

    def funding_row(self, row: FundingSettled) -> dict[str, Any]:
        """One row of `fundingHistory`."""
        return {
            "coin": self._by_symbol[row.symbol].coin,
            "fundingRate": rate_text(row.rate),
            "premium": rate_text(row.premium),
            "time": row.time_ms,
        }


def _level(listed: Listed, level: Level) -> JsonLevel:
    return {"px": listed.px_text(level.px), "sz": listed.sz_text(level.lots), "n": level.n}


def _mirrored(levels: Sequence[Level], one: int) -> list[Level]:
    return [Level(one - level.px, level.lots, level.n) for level in levels]


def _bucketed(levels: Sequence[Level], n_sig_figs: int, mantissa: int | None, *, up: bool) -> list[Level]:
    """Levels merged into buckets: bids rounded down, asks rounded up, to that many significant figures."""
    merged: dict[int, tuple[int, int]] = {}
    for level in levels:
        digits = len(str(level.px))
        step = 10 ** max(0, digits - n_sig_figs) * (mantissa or 1)
        px = level.px - level.px % step
        if up and px != level.px:
            px += step
        lots, n = merged.get(px, (0, 0))
        merged[px] = (lots + level.lots, n + level.n)
    return [Level(px, lots, n) for px, (lots, n) in merged.items()]
