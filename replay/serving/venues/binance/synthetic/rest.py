"""The REST face of the synthetic Binance USD-M: paths below `/fapi/v1`, weights and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from replay.serving.synthetic_venue import Ask, Reply, Window, as_json
from replay.serving.venues.binance.rest_rules import BOOK_LIMITS, NOT_FOUND, Rejected, invalid_symbol, missing, number
from replay.serving.venues.binance.synthetic.depth import Depth
from replay.serving.venues.binance.synthetic.listing import (
    Listed,
    exchange_info,
    funding_info,
    next_funding_ms,
    rate_text,
)
from replay.serving.venues.binance.synthetic.tape import Tape
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_MS, NS_PER_S

__all__ = ["BinanceRest", "Shelf"]

_PREFIX = "/fapi/v1/"
_MINUTE_NS = 60 * NS_PER_S


class Shelf(Protocol):
    """What REST reads."""

    market: Market
    listed: dict[str, Listed]
    depths: dict[str, Depth]
    tapes: dict[str, Tape]


class BinanceRest:
    """
    Answers requests.

    Args:
        shelf: What there is to tell.
        weight_per_minute: Allowed per address.
    """

    def __init__(self, shelf: Shelf, weight_per_minute: int) -> None:
        self._shelf = shelf
        self._weight_max = weight_per_minute
        self._used: dict[str, Window] = {}
        self._calls: dict[str, tuple[Callable[[Mapping[str, str]], Any], Callable[[Mapping[str, str]], int]]] = {
            "ping": (lambda _: {}, _one),
            "time": (lambda _: {"serverTime": self._shelf.market.time_ms}, _one),
            "exchangeInfo": (self._exchange_info, _one),
            "fundingInfo": (lambda _: funding_info(self._shelf.listed.values(), self._shelf.market), _one),
            "depth": (self._depth, _depth_weight),
            "trades": (self._trades, _five),
            "aggTrades": (self._aggregates, _twenty),
            "premiumIndex": (self._premium_index, lambda query: 1 if "symbol" in query else 10),
            "fundingRate": (self._funding_rate, _one),
            "openInterest": (self._open_interest, _one),
        }

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """The answer to one request."""
        call = self._calls.get(ask.path.removeprefix(_PREFIX)) if ask.path.startswith(_PREFIX) else None
        if call is None:
            return NOT_FOUND
        if ask.method != "GET":
            return Reply(405, as_json({"code": -1000, "msg": "Method not allowed"}))
        read, weigh = call
        used = self._used.setdefault(ask.remote, Window(_MINUTE_NS)).add(now_ns, weigh(ask.query))
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        if used > self._weight_max:
            text = f"Too many requests; current limit of IP is {self._weight_max} requests per minute."
            return Reply(429, as_json({"code": -1003, "msg": text}), headers=headers | {"Retry-After": "60"})
        try:
            return Reply(200, as_json(read(ask.query)), headers=headers)
        except Rejected as refusal:
            return Reply(refusal.status, refusal.body, headers=headers)

    def _symbol(self, query: Mapping[str, str]) -> Listed:
        name = query.get("symbol", "")
        if not name:
            raise missing("symbol")
        listed = self._shelf.listed.get(name.upper())
        if listed is None:
            raise invalid_symbol()
        return listed

    def _exchange_info(self, query: Mapping[str, str]) -> Any:
        return exchange_info(self._shelf.listed.values(), self._shelf.market.time_ms)

    def _depth(self, query: Mapping[str, str]) -> Any:
        listed = self._symbol(query)
        limit = number(query, "limit", 500)
        if limit not in BOOK_LIMITS:
            raise Rejected(-4021, f"'{limit}' is not valid depth limit.")
        return self._shelf.depths[listed.symbol].snapshot(limit, self._shelf.market.time_ms)

    def _trades(self, query: Mapping[str, str]) -> Any:
        rows = list(self._shelf.tapes[self._symbol(query).symbol].trades)[-number(query, "limit", 500) :]
        return [
            {
                "id": row["t"],
                "price": row["p"],
                "qty": row["q"],
                "time": row["T"],
                "isBuyerMaker": row["m"],
            }
            for row in rows
        ]

    def _aggregates(self, query: Mapping[str, str]) -> Any:
        rows = list(self._shelf.tapes[self._symbol(query).symbol].aggregates)
        limit = number(query, "limit", 500)
        if "fromId" in query:
            first = number(query, "fromId", 0)
            rows = [row for row in rows if row["a"] >= first][:limit]
        return [{key: row[key] for key in ("a", "p", "q", "f", "l", "T", "m")} for row in rows[-limit:]]

    def _premium_index(self, query: Mapping[str, str]) -> Any:
        if "symbol" in query:
            return self._premium(self._symbol(query))
        return [self._premium(listed) for listed in self._shelf.listed.values()]

    def _premium(self, listed: Listed) -> dict[str, Any]:
        market = self._shelf.market
        context = market.perps[listed.instrument.symbol]
        return {
            "symbol": listed.symbol,
            "markPrice": listed.long_px_text(context.mark),
            "indexPrice": listed.long_px_text(context.oracle),
            "estimatedSettlePrice": listed.long_px_text(context.oracle),
            "lastFundingRate": rate_text(context.funding),
            "interestRate": "0.00010000",
            "nextFundingTime": next_funding_ms(market),
            "time": market.time_ms,
        }

    def _funding_rate(self, query: Mapping[str, str]) -> Any:
        listed = self._symbol(query)
        start, end = number(query, "startTime", 0), number(query, "endTime", 1 << 62)
        rows = [
            row for row in self._shelf.market.perps[listed.instrument.symbol].fundings if start <= row.time_ms <= end
        ]
        limit = number(query, "limit", 100)
        return [
            {
                "symbol": listed.symbol,
                "fundingTime": row.time_ms,
                "fundingRate": rate_text(row.rate),
                "markPrice": listed.long_px_text(row.oracle),
            }
            for row in (rows[:limit] if "startTime" in query else rows[-limit:])
        ]

    def _open_interest(self, query: Mapping[str, str]) -> Any:
        listed = self._symbol(query)
        market = self._shelf.market
        return {
            "symbol": listed.symbol,
            "openInterest": listed.sz_text(market.perps[listed.instrument.symbol].open_interest),
            "time": self._shelf.depths[listed.symbol].time_ms or market.block_time_ns(0) // NS_PER_MS,
        }


def _one(query: Mapping[str, str]) -> int:
    return 1


def _five(query: Mapping[str, str]) -> int:
    return 5


def _twenty(query: Mapping[str, str]) -> int:
    return 20


def _depth_weight(query: Mapping[str, str]) -> int:
    limit = query.get("limit", "500")
    return {"100": 5, "500": 10, "1000": 20}.get(limit, 2)
