"""REST over a recording: paths below `/v4`, from the tape's present and from recorded replies; honest errors for the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE, Ask, Reply, as_json
from replay.serving.venues.dydx_v4.names import iso
from replay.serving.venues.dydx_v4.recorded.accounts import ROWS_KEPT, TapeAccount
from replay.serving.venues.dydx_v4.recorded.state import TapeState
from replay.serving.venues.dydx_v4.requests import PARENT_SUBACCOUNTS, SUBACCOUNTS
from replay.serving.venues.dydx_v4.rest_rules import PREFIX, Query, Refused, errors, no_ticker, number, page
from toolkit.clock import NS_PER_MS, Clock
from toolkit.frames import REST_IN, Frame

__all__ = ["Replies", "TapeRest"]

#: Paths that the venue answers, and that a recording can answer only with a recorded reply.
_KNOWN: Final = re.compile(
    r"(sparklines|candles|transfers|perpetualPositions|assetPositions|fundingPayments|historical-pnl|pnl|tradeHistory"
    r"|addresses|orders|fills|historicalBlockTradingRewards|historicalTradingRewardAggregations|compliance)(/.*)?"
)
#: What says of whom a question is; other parameters choose among the rows.
_WHO: Final = ("address", "subaccountNumber", "parentSubaccountNumber")

_decode = msgspec.json.decode

Row = dict[str, Any]


class Replies:
    """Recorded replies, the newest to each question about the same account; settled funding is joined over all of them."""

    def __init__(self) -> None:
        self._now: dict[tuple[str, ...], bytes] = {}
        self._first: dict[tuple[str, ...], bytes] = {}
        self._funding: dict[str, dict[str, Row]] = {}
        self._first_funding: dict[str, dict[str, Row]] = {}

    def forget(self) -> None:
        """Return to what the opening said."""
        self._now.clear()
        self._funding.clear()

    def take(self, frame: Frame, *, is_opening: bool) -> None:
        """Take in a frame of REST."""
        if frame.kind != REST_IN:
            return
        try:
            context = _decode(frame.context or "{}")
            if context.get("status", 200) != 200:
                return
            path, _, query = str(context.get("path", "")).partition("?")
        except (*UNREADABLE, AttributeError):
            return
        fields = dict(part.partition("=")[::2] for part in query.split("&"))
        key = _question(path.removeprefix("/"), fields)
        if is_opening:
            self._first.setdefault(key, frame.payload)
        else:
            self._now.pop(key, None)
            self._now[key] = frame.payload
            if len(self._now) > 4096:
                del self._now[next(iter(self._now))]
        what, _, ticker = str(context.get("tag", "")).partition(":")
        if what == "historicalFunding" and ticker:
            self._take_funding((self._first_funding if is_opening else self._funding).setdefault(ticker, {}), frame)

    @staticmethod
    def _take_funding(held: dict[str, Row], frame: Frame) -> None:
        try:
            rows = _decode(frame.payload)["historicalFunding"]
            held.update((str(row["effectiveAt"]), row) for row in rows)
        except (*UNREADABLE, LookupError, TypeError):
            return
        while len(held) > 20_000:
            del held[next(iter(held))]

    def find(self, path: str, query: Query, *, primed: bool = False) -> Any:
        """The newest reply about the same, decoded; None if there is none."""
        key = _question(path, query)
        body = self._now.get(key)
        if body is None and primed:
            body = self._first.get(key)
        if body is None:
            return None
        try:
            return _decode(body)
        except UNREADABLE:
            return None

    def funding(self, ticker: str, until: str) -> list[Row] | None:
        """Rates settled by then, newest first; None where no reply about the market was recorded."""
        if ticker not in self._funding and ticker not in self._first_funding:
            return None
        rows = self._first_funding.get(ticker, {}) | self._funding.get(ticker, {})
        return [rows[time] for time in sorted(rows, reverse=True) if time <= until]


def _question(path: str, query: Query) -> tuple[str, ...]:
    return (path, *(query.get(name, "") for name in _WHO))


class TapeRest:
    """
    Args:
        state: The tape's present.
        replies: Recorded replies.
        clock: The tape's time.
    """

    def __init__(self, state: TapeState, replies: Replies, clock: Clock) -> None:
        self._state = state
        self._replies = replies
        self._clock = clock
        self._of_market: dict[str, Callable[[str, Query], Any]] = {
            "orderbooks/perpetualMarket/": self._book,
            "trades/perpetualMarket/": self._trades,
            "historicalFunding/": self._fundings,
            "candles/perpetualMarkets/": self._candles,
        }

    def answer(self, ask: Ask) -> Reply:
        """The answer to one request."""
        try:
            if ask.method != "GET" or not ask.path.startswith(PREFIX):
                raise Refused(404, "Not Found")
            return Reply(200, as_json(self._read(ask.path.removeprefix(PREFIX), ask.query)))
        except Refused as refusal:
            return Reply(refusal.status, errors(str(refusal)))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
            # Of what was recorded only what was needed to tell it apart has been checked.
            return Reply(503, errors("what was recorded is of another shape than documented"))

    def _read(self, what: str, query: Query) -> Any:
        match what:
            case "perpetualMarkets":
                return self._markets(query)
            case "height":
                return self._height()
            case "time":
                now_ms = self._clock.time_ns() // NS_PER_MS
                return {"iso": iso(now_ms), "epoch": now_ms / 1000}
            case _:
                pass
        for prefix, read in self._of_market.items():
            if what.startswith(prefix):
                return read(what.removeprefix(prefix), query)
        return self._account(what, query)

    # Markets -----------------------------------------------------------------------------------------------------------

    @property
    def markets(self) -> dict[str, Row]:
        """Every market; before the stream has sent them, as the recorder's first question was answered."""
        if self._state.markets is not None:
            return self._state.markets
        found = self._replies.find("perpetualMarkets", {}, primed=True)
        markets = found.get("markets") if isinstance(found, dict) else None
        return markets if isinstance(markets, dict) else {}

    def _markets(self, query: Query) -> Any:
        markets = self.markets
        if not markets:
            raise Refused(503, "the recording says nothing of the markets up to this point")
        ticker = query.get("ticker", query.get("market"))
        if ticker is None:
            return {"markets": dict(list(markets.items())[: number(query, "limit", ROWS_KEPT)])}
        if ticker not in markets:
            raise no_ticker()
        return {"markets": {ticker: markets[ticker]}}

    def _known(self, ticker: str) -> str:
        if ticker not in self.markets and ticker not in self._state.books:
            raise no_ticker()
        return ticker

    def _height(self) -> Any:
        if self._state.block is not None:
            return dict(zip(("height", "time"), self._state.block, strict=True))
        found = self._replies.find("height", {})
        if found is None:
            raise Refused(503, "the recording says no height up to this point")
        return found

    def _book(self, ticker: str, query: Query) -> Any:
        book = self._state.book(self._known(ticker))
        if book is None:
            raise Refused(503, f"the recording has no book of {ticker} at this point")
        return book

    def _trades(self, ticker: str, query: Query) -> Any:
        rows = self._state.trades(self._known(ticker))
        if not rows:
            raise Refused(503, f"the recording has no trades of {ticker} up to this point")
        height = number(query, "createdBeforeOrAtHeight", 1 << 62)
        time = query.get("createdBeforeOrAt", "~")  # sorts after every time
        some = [row for row in rows if int(row["createdAtHeight"]) <= height and str(row["createdAt"]) <= time]
        return {"trades": page(some, query)}

    def _fundings(self, ticker: str, query: Query) -> Any:
        rows = self._replies.funding(self._known(ticker), iso(self._clock.time_ns() // NS_PER_MS))
        if rows is None:
            raise Refused(503, f"no funding of {ticker} was recorded")
        height = number(query, "effectiveBeforeOrAtHeight", 1 << 62)
        time = query.get("effectiveBeforeOrAt", "~")
        some = [row for row in rows if int(row["effectiveAtHeight"]) <= height and str(row["effectiveAt"]) <= time]
        return {"historicalFunding": page(some, query)}

    def _candles(self, ticker: str, query: Query) -> Any:
        resolution = query.get("resolution", "")
        rows = self._state.candles(f"{self._known(ticker)}/{resolution}")
        if rows is None:
            raise Refused(503, f"no candles {resolution} of {ticker} were recorded")
        start, end = query.get("fromISO", ""), query.get("toISO", "~")
        return {"candles": page([row for row in rows if start <= str(row["startedAt"]) < end], query)}

    # Accounts ----------------------------------------------------------------------------------------------------------

    def _account(self, what: str, query: Query) -> Any:
        match what.split("/"):
            case ["addresses", address, ("subaccountNumber" | "parentSubaccountNumber") as kind, count]:
                channel = SUBACCOUNTS if kind == "subaccountNumber" else PARENT_SUBACCOUNTS
                account = self._state.account((channel, f"{address}/{count}"))
                if account is not None and "subaccount" in account.contents:
                    return {"subaccount": account.contents["subaccount"]}
            case ["orders", *more] if not more or more == ["parentSubaccountNumber"]:
                return self._orders(what, query)
            case ["orders", name]:
                for account in self._state.accounts.values():
                    if name in account.orders:
                        return account.orders[name]
            case ["fills", *_]:
                return self._fills(what, query)
            case _:
                pass
        found = self._replies.find(what, query)
        if found is not None:
            return _cut(found, query)
        if _KNOWN.fullmatch(what):
            raise Refused(503, f"the recording has no reply to {what} about that account up to this point")
        raise Refused(404, "Not Found")

    def _asked(self, query: Query) -> TapeAccount | None:
        address = query.get("address", "")
        if "parentSubaccountNumber" in query:
            return self._state.accounts.get((PARENT_SUBACCOUNTS, f"{address}/{query['parentSubaccountNumber']}"))
        return self._state.accounts.get((SUBACCOUNTS, f"{address}/{query.get('subaccountNumber', '')}"))

    def _orders(self, what: str, query: Query) -> Any:
        account, found = self._asked(query), self._replies.find(what, query)
        if account is None and not isinstance(found, list):
            raise Refused(503, "the recording says nothing of that account's orders up to this point")
        newer = account.orders if account is not None else {}
        older = {str(row["id"]): row for row in found or ()}
        rows = [older.pop(name, {}) | row for name, row in reversed(newer.items())] + list(older.values())
        statuses = [status for status in query.get("status", "").split(",") if status]
        some = [
            row
            for row in rows
            if (not statuses or row.get("status") in statuses)
            and all(row.get(name) == query[name] for name in ("ticker", "side", "type") if name in query)
        ]
        return some[: number(query, "limit", ROWS_KEPT)]

    def _fills(self, what: str, query: Query) -> Any:
        account, found = self._asked(query), self._replies.find(what, query)
        if account is None and not isinstance(found, dict):
            raise Refused(503, "the recording says nothing of that account's fills up to this point")
        rows = {str(row["id"]): row for row in (found or {}).get("fills", ())}
        for name, row in account.fills.items() if account is not None else ():
            rows.setdefault(name, row)
        height = number(query, "createdBeforeOrAtHeight", 1 << 62)
        some = [
            row
            for row in rows.values()
            if int(row["createdAtHeight"]) <= height and ("market" not in query or row.get("market") == query["market"])
        ]
        some.sort(key=lambda row: (int(row["createdAtHeight"]), str(row.get("eventId", ""))), reverse=True)
        return {"fills": page(some, query)}


def _cut(found: Any, query: Query) -> Any:
    """A recorded reply with no more rows than were asked for."""
    limit = number(query, "limit", ROWS_KEPT)
    if isinstance(found, list):
        return found[:limit]
    if isinstance(found, dict):
        return {name: value[:limit] if isinstance(value, list) else value for name, value in found.items()}
    return found
