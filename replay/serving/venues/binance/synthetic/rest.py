"""The REST face of the synthetic Binance, of each of its three markets: paths, weights and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol

from replay.serving.face import Unreadable, read_json
from replay.serving.synthetic_venue import Ask, Reply, Window, as_json
from replay.serving.venues.binance.rest_rules import (
    BOOK_LIMITS,
    NOT_FOUND,
    SPOT_BOOK_MAX,
    Rejected,
    invalid_symbol,
    missing,
    number,
)
from replay.serving.venues.binance.synthetic.depth import Depth
from replay.serving.venues.binance.synthetic.exchange_info import exchange_info, funding_info
from replay.serving.venues.binance.synthetic.listing import Listed, next_funding_ms, rate_text
from replay.serving.venues.binance.synthetic.tape import Tape
from replay.serving.venues.binance.synthetic.words import words_of
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.venues.binance.products import COINM, Product

__all__ = ["BinanceRest", "Shelf"]

_MINUTE_NS = 60 * NS_PER_S

Query = Mapping[str, str]
_Read = Callable[[Query], Any]


class Shelf(Protocol):
    """What REST reads."""

    product: ClassVar[Product]
    market: Market
    listed: dict[str, Listed]
    depths: dict[str, Depth]
    tapes: dict[str, Tape]


class BinanceRest:
    """
    Answers requests.

    Args:
        shelf: Listing, books and trades of the seeded market.
        weight_per_minute: Allowed per address.
    """

    def __init__(self, shelf: Shelf, weight_per_minute: int) -> None:
        self._shelf = shelf
        self._weight_max = weight_per_minute
        self._used: dict[str, Window] = {}
        self._prefix = f"{shelf.product.rest_prefix}/"
        self._is_spot = shelf.product.is_spot
        weights = _SPOT_WEIGHTS if self._is_spot else _WEIGHTS
        reads: dict[str, _Read] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self._shelf.market.time_ms},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._trades,
            "aggTrades": self._aggregates,
        }
        if not self._is_spot:
            reads |= {
                "fundingInfo": lambda _: funding_info(self._shelf.listed.values(), self._shelf.market),
                "premiumIndex": self._premium_index,
                "fundingRate": self._funding_rate,
                "openInterest": self._open_interest,
            }
        self._calls = {name: (read, weights.get(name, _one)) for name, read in reads.items()}

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """The answer to one request."""
        call = self._calls.get(ask.path.removeprefix(self._prefix)) if ask.path.startswith(self._prefix) else None
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

    def _symbol(self, query: Query) -> Listed:
        name = query.get("symbol", "")
        if not name:
            raise missing("symbol")
        listed = self._shelf.listed.get(name.upper())
        if listed is None:
            raise invalid_symbol()
        return listed

    def _exchange_info(self, query: Query) -> Any:
        shelf = self._shelf
        rows = list(shelf.listed.values())
        if self._is_spot and ("symbol" in query or "symbols" in query):
            # Futures have no such parameter.
            wanted = [query["symbol"]] if "symbol" in query else _names(query["symbols"])
            rows = [row for row in rows if row.symbol in wanted]
            if len(rows) != len(set(wanted)):
                raise invalid_symbol()
        return exchange_info(shelf.product, rows, shelf.market.time_ms, self._weight_max)

    def _depth(self, query: Query) -> Any:
        listed = self._symbol(query)
        limit = number(query, "limit", 100 if self._is_spot else 500)
        if self._is_spot:
            limit = limit if 1 <= limit <= SPOT_BOOK_MAX else SPOT_BOOK_MAX
        elif limit not in BOOK_LIMITS:
            raise Rejected(-4021, f"'{limit}' is not valid depth limit.")
        return self._shelf.depths[listed.symbol].snapshot(limit, self._shelf.market.time_ms)

    def _trades(self, query: Query) -> Any:
        listed = self._symbol(query)
        rows = list(self._shelf.tapes[listed.symbol].trades)[-number(query, "limit", 500) :]
        return [words_of(listed).trade_row(row) for row in rows]

    def _aggregates(self, query: Query) -> Any:
        listed = self._symbol(query)
        rows = list(self._shelf.tapes[listed.symbol].aggregates)
        limit = number(query, "limit", 500)
        if "fromId" in query:
            first = number(query, "fromId", 0)
            rows = [row for row in rows if row["a"] >= first][:limit]
        return [words_of(listed).aggregate_row(row) for row in rows[-limit:]]

    def _premium_index(self, query: Query) -> Any:
        if "symbol" in query:
            row = self._premium(self._symbol(query))
            # COIN-M answers with a list even then.
            return [row] if self._shelf.product is COINM else row
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

    def _funding_rate(self, query: Query) -> Any:
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

    def _open_interest(self, query: Query) -> Any:
        listed = self._symbol(query)
        market = self._shelf.market
        context = market.perps[listed.instrument.symbol]
        row: dict[str, Any] = {"symbol": listed.symbol}
        if listed.contract:
            row |= {"pair": listed.pair, "contractType": "PERPETUAL"}
        return row | {
            "openInterest": listed.sz_text(context.mark, context.open_interest),
            "time": self._shelf.depths[listed.symbol].time_ms or market.block_time_ns(0) // NS_PER_MS,
        }


def _names(text: str) -> list[str]:
    """The `symbols` of a question: a list in JSON."""
    try:
        names = read_json(text)
    except Unreadable:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise missing("symbols")
    return names


def _one(query: Query) -> int:
    return 1


def _depth_weight(query: Query) -> int:
    limit = query.get("limit", "500")
    return {"100": 5, "500": 10, "1000": 20}.get(limit, 2)


def _spot_depth_weight(query: Query) -> int:
    limit = query.get("limit", "100")
    levels = int(limit) if limit.isdecimal() and len(limit) < 10 else 0
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if 1 <= levels <= most), 250)


#: What requests weigh that do not weigh 1.
_WEIGHTS: Final[Mapping[str, Callable[[Query], int]]] = {
    "depth": _depth_weight,
    "trades": lambda _: 5,
    "aggTrades": lambda _: 20,
    "premiumIndex": lambda query: 1 if "symbol" in query else 10,
}
_SPOT_WEIGHTS: Final[Mapping[str, Callable[[Query], int]]] = {
    "exchangeInfo": lambda _: 20,
    "depth": _spot_depth_weight,
    "trades": lambda _: 25,
    "aggTrades": lambda _: 4,
}
