"""The REST face of the synthetic dYdX v4 Indexer: paths below `/v4`, all of them GET."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from replay.serving.synthetic_venue import Ask, Reply, Window, as_json
from replay.serving.venues.dydx_v4.names import iso
from replay.serving.venues.dydx_v4.rest_rules import (
    PREFIX,
    ROWS_MAX,
    Query,
    Refused,
    errors,
    no_ticker,
    not_found,
    number,
    page,
)
from replay.serving.venues.dydx_v4.synthetic.chain import Chain
from replay.serving.venues.dydx_v4.synthetic.listing import Listed, plain_rate
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_MS, NS_PER_S

__all__ = ["DydxRest", "Shelf"]

_WINDOW_NS = 10 * NS_PER_S


class Accounts(Protocol):
    """What there is to ask of accounts."""

    def answer(self, path: str, query: Query) -> Any:
        """The answer of a path below `/v4`. Raises Refused."""


class Shelf(Protocol):
    """What REST reads."""

    market: Market
    listed: dict[str, Listed]
    chain: Chain

    @property
    def people(self) -> Accounts: ...
    def markets(self) -> dict[str, Any]: ...
    def book(self, ticker: str) -> dict[str, Any]: ...


class DydxRest:
    """
    Answers requests.

    Args:
        shelf: Listing, books and trades of the seeded market.
        requests_max: Most requests in ten seconds, per address.
    """

    def __init__(self, shelf: Shelf, requests_max: int) -> None:
        self._shelf = shelf
        self._requests_max = requests_max
        self._used: dict[str, Window] = {}
        self._whole: dict[str, Callable[[Query, int], Any]] = {
            "perpetualMarkets": self._markets,
            "height": lambda query, now_ns: self._height(),
            "time": lambda query, now_ns: {"iso": iso(now_ns // NS_PER_MS), "epoch": now_ns // NS_PER_MS / 1000},
        }
        self._of_market: dict[str, Callable[[Listed, Query], Any]] = {
            "orderbooks/perpetualMarket/": lambda listed, query: self._shelf.book(listed.ticker),
            "trades/perpetualMarket/": self._trades,
            "historicalFunding/": self._fundings,
        }

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """The answer to one request."""
        used = self._used.setdefault(ask.remote, Window(_WINDOW_NS)).add(now_ns)
        headers = {
            "RateLimit-Limit": str(self._requests_max),
            "RateLimit-Remaining": str(max(0, self._requests_max - used)),
            "RateLimit-Reset": str((now_ns + _WINDOW_NS) // NS_PER_MS),
        }
        if used > self._requests_max:
            return Reply(429, errors("Too many requests"), headers=headers)
        try:
            if ask.method != "GET":
                raise not_found()
            return Reply(200, as_json(self._read(ask.path, ask.query, now_ns)), headers=headers)
        except Refused as refusal:
            return Reply(refusal.status, errors(str(refusal)), headers=headers)

    def _read(self, path: str, query: Query, now_ns: int) -> Any:
        what = path.removeprefix(PREFIX)
        if what == path:
            raise not_found()
        if what in self._whole:
            return self._whole[what](query, now_ns)
        for prefix, read in self._of_market.items():
            if what.startswith(prefix):
                return read(self._listed(what.removeprefix(prefix)), query)
        return self._shelf.people.answer(what, query)

    def _listed(self, ticker: str) -> Listed:
        listed = self._shelf.listed.get(ticker)
        if listed is None:
            raise no_ticker()
        return listed

    def _height(self) -> dict[str, str]:
        chain = self._shelf.chain
        return {"height": str(chain.height), "time": iso(chain.time_ms)}

    def _markets(self, query: Query, now_ns: int) -> Any:
        markets = self._shelf.markets()
        ticker = query.get("ticker", query.get("market"))
        if ticker is not None:
            return {"markets": {self._listed(ticker).ticker: markets[ticker]}}
        return {"markets": dict(list(markets.items())[: number(query, "limit", ROWS_MAX)])}

    def _trades(self, listed: Listed, query: Query) -> Any:
        height = number(query, "createdBeforeOrAtHeight", 1 << 62)
        rows = [
            row for row in reversed(self._shelf.chain.history[listed.ticker]) if int(row["createdAtHeight"]) <= height
        ]
        return {"trades": page(rows, query)}

    def _fundings(self, listed: Listed, query: Query) -> Any:
        chain = self._shelf.chain
        context = self._shelf.market.perps[listed.symbol]
        rows = [
            {
                "ticker": listed.ticker,
                "rate": plain_rate(row.rate),
                "price": listed.px_text(row.oracle),
                "effectiveAtHeight": str(chain.height_at(row.time_ms)),
                "effectiveAt": iso(row.time_ms),
            }
            for row in reversed(context.fundings)
        ]
        return {"historicalFunding": page(rows, query)}
