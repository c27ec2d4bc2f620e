"""The synthetic venue's answers to `POST /info` about the market."""

from __future__ import annotations

from typing import Any

from replay.serving.venues.hyperliquid.requests import INTERVALS_MS
from replay.serving.venues.hyperliquid.rest_rules import ROWS_MAX, InfoDesk, Unprocessable, VenueFault, field
from replay.serving.venues.hyperliquid.synthetic.candles import Candles
from replay.serving.venues.hyperliquid.synthetic.listing import Metadata
from replay.serving.venues.hyperliquid.synthetic.rows import Wire
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_MS

__all__ = ["Info"]

_RECENT_TRADES = 10
_HOUR_MS = 3_600_000


class Info(InfoDesk):
    """Answers `info` requests about the market; account requests are added with `handlers`."""

    def __init__(self, market: Market, wire: Wire, metadata: Metadata, candles: Candles) -> None:
        super().__init__()
        self.market = market
        self.wire = wire
        self.metadata = metadata
        self.candles = candles
        self.handlers |= {
            "meta": self._meta,
            "allPerpMetas": self._all_perp_metas,
            "perpDexs": lambda request: metadata.perp_dexs(),
            "metaAndAssetCtxs": self._meta_and_ctxs,
            "spotMeta": lambda request: metadata.spot_meta(),
            "spotMetaAndAssetCtxs": self._spot_meta_and_ctxs,
            "outcomeMeta": lambda request: metadata.outcome_meta(),
            "allMids": self._all_mids,
            "l2Book": self._l2_book,
            "recentTrades": self._recent_trades,
            "candleSnapshot": self._candle_snapshot,
            "fundingHistory": self._funding_history,
            "predictedFundings": self._predicted_fundings,
            "exchangeStatus": lambda request: {"specialStatuses": None, "time": market.time_ms},
        }

    def dex(self, request: dict[str, Any]) -> str:
        """The dex that a request names, "" if none."""
        dex = field(request, "dex", str, optional=True) or ""
        if dex not in self.metadata.dexes:
            raise VenueFault
        return str(dex)

    # Listing -------------------------------------------------------------------------------------------------------

    def _meta(self, request: dict[str, Any]) -> Any:
        return self.metadata.meta(self.dex(request))

    def _all_perp_metas(self, request: dict[str, Any]) -> Any:
        return [self.metadata.meta(dex) for dex in self.metadata.dexes]

    def _meta_and_ctxs(self, request: dict[str, Any]) -> Any:
        dex = self.dex(request)
        ctxs = [self.wire.perp_ctx(each.coin) for each in self.metadata.universe(dex)]
        return [self.metadata.meta(dex), ctxs]

    def _spot_meta_and_ctxs(self, request: dict[str, Any]) -> Any:
        return [self.metadata.spot_meta(), [self.wire.spot_ctx(each.coin) for each in self.metadata.spots()]]

    # Market data ---------------------------------------------------------------------------------------------------

    def _all_mids(self, request: dict[str, Any]) -> Any:
        return self.wire.mids(self.dex(request))

    def _l2_book(self, request: dict[str, Any]) -> Any:
        coin = field(request, "coin", str)
        figures = field(request, "nSigFigs", int, optional=True)
        mantissa = field(request, "mantissa", int, optional=True)
        if coin not in self.metadata.listed:
            return None
        if figures not in (None, 2, 3, 4, 5) or mantissa not in (None, 2, 5) or (mantissa and figures != 5):
            raise VenueFault
        return self.wire.l2_book(coin, n_sig_figs=figures, mantissa=mantissa)

    def _recent_trades(self, request: dict[str, Any]) -> Any:
        coin = field(request, "coin", str)
        if coin not in self.metadata.listed:
            raise VenueFault
        newest_first = list(self.market.history[self.metadata.listed[coin].symbol])[: -_RECENT_TRADES - 1 : -1]
        return [self.wire.trade(trade) for trade in newest_first]

    def _candle_snapshot(self, request: dict[str, Any]) -> Any:
        wanted = field(request, "req", dict)
        coin, interval = field(wanted, "coin", str), field(wanted, "interval", str)
        start, end = field(wanted, "startTime", int), field(wanted, "endTime", int, optional=True)
        if interval not in INTERVALS_MS:
            raise Unprocessable
        if coin not in self.metadata.listed:
            raise VenueFault
        return self.candles.between(coin, interval, start, self.market.time_ms if end is None else end)

    # Funding -------------------------------------------------------------------------------------------------------

    def _funding_history(self, request: dict[str, Any]) -> Any:
        coin, start = field(request, "coin", str), field(request, "startTime", int)
        end = field(request, "endTime", int, optional=True)
        listed = self.metadata.listed.get(coin)
        if listed is None or listed.symbol not in self.market.perps:
            raise VenueFault
        rows = [
            row
            for row in self.market.perps[listed.symbol].fundings
            if row.time_ms >= start and (end is None or row.time_ms <= end)
        ]
        return [self.wire.funding_row(row) for row in rows[:ROWS_MAX]]

    def _predicted_fundings(self, request: dict[str, Any]) -> Any:
        # The real venue names the hour that has already been settled as the next one; so do we.
        every_ms = self.market.options.funding_every_ns // NS_PER_MS
        settled = self.market.time_ms - self.market.time_ms % every_ms
        rows = []
        for each in self.metadata.universe(""):
            if each.instrument.delisted:
                continue
            rate = self.wire.perp_ctx(each.coin)["funding"]
            own = {"fundingRate": rate, "nextFundingTime": settled, "fundingIntervalHours": 1}
            other = {"fundingRate": "0.0001", "nextFundingTime": settled + 8 * _HOUR_MS, "fundingIntervalHours": 8}
            rows.append([each.coin, [["BinPerp", other], ["HlPerp", own], ["BybitPerp", None]]])
        return rows
