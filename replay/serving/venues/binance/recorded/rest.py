"""
REST over a recording: the state of the tape's present in the venue's words, recorded replies, and honest errors.

`depth` is the book after the last diff that the tape has played, with that diff's `u` as `lastUpdateId`: the next diff of the
stream follows it by every rule of the venue, and one that a client has buffered meanwhile is dropped or applied again.

At the very beginning of a tape the recorder itself has asked for its snapshot, and the answer lies a moment ahead. A client
that asks before it is given that answer: REST of the venue is ahead of its streams too, and the join drops what is older.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from replay.serving.face import Ask, Reply, as_json
from replay.serving.recorded_answers import RecordedAnswers
from replay.serving.venues.binance.recorded.books import Snapshot, TapeBook
from replay.serving.venues.binance.recorded.listing import Listing
from replay.serving.venues.binance.recorded.state import SymbolState, TapeState, decoded
from replay.serving.venues.binance.recorded.streams import data_of
from replay.serving.venues.binance.rest_rules import (
    BOOK_LIMITS,
    NOT_FOUND,
    SPOT_BOOK_MAX,
    Rejected,
    invalid_symbol,
    missing,
    number,
)
from toolkit.clock import NS_PER_MS, NS_PER_S, Clock
from toolkit.venues.binance.products import COINM, Product

__all__ = ["Opening", "TapeRest"]

#: How far ahead the recorder's first snapshot may lie for a client to be given it.
_AHEAD_NS: Final = 10 * NS_PER_S
_ROWS_MAX: Final = 1000
#: Paths that the venue answers, and that a recording can answer only with a recorded reply to the same question.
_RECORDED_ONLY: Final = ("historicalTrades", "klines", "ticker/24hr")
_OF_SPOT: Final = ("avgPrice", "uiKlines", "ticker", "ticker/tradingDay")
_OF_FUTURES: Final = (
    "continuousKlines",
    "indexPriceKlines",
    "markPriceKlines",
    "premiumIndexKlines",
    "openInterest",
    "constituents",
    "indexInfo",
)
_NO_ACCOUNTS: Final = Rejected(
    -2015, "Invalid API-key, IP, or permissions for action: a recording has no accounts.", 401
)

Query = Mapping[str, str]
#: The first recorded snapshot of a symbol, and when it came.
Opening = dict[str, tuple[int, Snapshot]]


class TapeRest:
    """
    Args:
        product: Market of the tape.
        state: The tape's present.
        listing: Its symbols.
        answers: Recorded replies.
        opening: The first snapshots of the tape.
        clock: The tape's time.
    """

    def __init__(
        self,
        product: Product,
        state: TapeState,
        listing: Listing,
        answers: RecordedAnswers,
        opening: Opening,
        clock: Clock,
    ) -> None:
        self._product = product
        self._state = state
        self._listing = listing
        self._answers = answers
        self._opening = opening
        self._clock = clock
        self._calls: dict[str, Callable[[Query], Any]] = {
            "ping": lambda query: {},
            "time": lambda query: {"serverTime": self._now_ms},
            "depth": self._depth,
            "trades": self._trades,
            "aggTrades": self._aggregates,
            "ticker/bookTicker": lambda query: self._each(query, self._quote),
            "ticker/price": lambda query: self._each(query, self._price),
        }
        if not product.is_spot:
            self._calls |= {"premiumIndex": self._premium_index, "fundingRate": self._funding_rate}

    @property
    def _now_ms(self) -> int:
        return self._clock.time_ns() // NS_PER_MS

    def answer(self, ask: Ask) -> Reply:
        """The answer to one request."""
        prefix = f"{self._product.rest_prefix}/"
        if not ask.path.startswith(prefix):
            return _refusal(_NO_ACCOUNTS) if ask.path.startswith("/sapi/") else NOT_FOUND
        try:
            return self._answer(ask, ask.path.removeprefix(prefix))
        except Rejected as refusal:
            return _refusal(refusal)
        except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError):
            # Of frames and replies only what was needed to tell them apart has been checked.
            return _refusal(_unknowable("what was recorded is of another shape than documented"))

    def _answer(self, ask: Ask, what: str) -> Reply:
        if ask.method != "GET" or "signature" in ask.query:
            return _refusal(_NO_ACCOUNTS)
        if what == "exchangeInfo":
            return Reply(200, self._exchange_info(ask.query))
        if what == "fundingInfo" and not self._product.is_spot:
            recorded = self._recorded("fundingInfo", primed=True)
            return Reply(200, b"[]" if recorded is None else recorded)
        call = self._calls.get(what)
        if call is not None:
            return Reply(200, as_json(call(ask.query)))
        query = "&".join(f"{name}={value}" for name, value in ask.query.items())
        recorded = self._recorded(f"{what}?{query}" if query else what)
        if recorded is not None:
            return Reply(200, recorded)
        if what in _RECORDED_ONLY or what in (_OF_SPOT if self._product.is_spot else _OF_FUTURES):
            raise _unknowable(f"no reply to {what}?{query} was recorded up to this point")
        return NOT_FOUND

    def _recorded(self, what: str, *, primed: bool = False) -> bytes | None:
        found = self._answers.find("GET", f"{self._product.rest_prefix}/{what}", primed=primed)
        return found.body if found is not None and found.status == 200 else None

    # Listing -----------------------------------------------------------------------------------------------------------

    @property
    def has_listing(self) -> bool:
        """Whether an `exchangeInfo` was recorded."""
        return self._recorded("exchangeInfo", primed=True) is not None

    def _exchange_info(self, query: Query) -> bytes:
        body = self._recorded("exchangeInfo", primed=True) or self._listing.made_up(self._now_ms)
        wanted = [query["symbol"]] if "symbol" in query else decoded(query.get("symbols", "").encode())
        if not self._product.is_spot or not isinstance(wanted, list):
            return body  # futures have no such parameter
        info = decoded(body)
        rows = [row for row in info["symbols"] if row["symbol"] in wanted]
        if len(rows) != len(set(map(str, wanted))):
            raise invalid_symbol()
        return as_json(info | {"symbols": rows})

    def _symbol(self, query: Query) -> str:
        name = query.get("symbol", "")
        if not name:
            raise missing("symbol")
        if not self._listing.is_listed(name, self._recorded("exchangeInfo", primed=True)):
            raise invalid_symbol()
        return name

    def _of(self, query: Query) -> tuple[str, SymbolState]:
        symbol = self._symbol(query)
        # Asking leaves nothing behind.
        return symbol, self._state.symbols.get(symbol) or SymbolState(is_spot=self._product.is_spot)

    # Books -------------------------------------------------------------------------------------------------------------

    def _depth(self, query: Query) -> Any:
        symbol, state = self._of(query)
        levels = number(query, "limit", 100 if self._product.is_spot else 500)
        if self._product.is_spot:
            if not 1 <= levels <= SPOT_BOOK_MAX:
                levels = SPOT_BOOK_MAX
        elif levels not in BOOK_LIMITS:
            raise Rejected(-4021, f"'{levels}' is not valid depth limit.")
        reply = state.book.reply(levels) or self._partial(state, levels) or self._ahead(symbol, state.book, levels)
        if reply is None:
            raise _unknowable(f"the recording has no book of {symbol} at this point")
        if self._product is COINM:
            reply |= {"symbol": symbol, "pair": symbol.partition("_")[0]}
        return reply

    @staticmethod
    def _partial(state: SymbolState, levels: int) -> dict[str, Any] | None:
        """The deepest partial book, where the tape has no diffs."""
        for kind in ("depth20", "depth10", "depth5"):
            data = decoded(data_of(state.partials[kind])) if kind in state.partials else None
            if not isinstance(data, dict):
                continue
            if "lastUpdateId" in data:
                return {name: data[name] if name == "lastUpdateId" else data[name][:levels] for name in _SPOT_BOOK}
            if "u" in data:
                times = {"E": data.get("E"), "T": data.get("T")}
                return {"lastUpdateId": data["u"], **times, "bids": data["b"][:levels], "asks": data["a"][:levels]}
        return None

    def _ahead(self, symbol: str, book: TapeBook, levels: int) -> dict[str, Any] | None:
        found = self._opening.get(symbol)
        if found is None:
            return None
        ts_recv, base = found
        return book.cut(base, levels) if 0 <= ts_recv - self._clock.time_ns() <= _AHEAD_NS else None

    def _each(self, query: Query, say: Callable[[str, SymbolState], Any]) -> Any:
        """Of one symbol, or of every one that has something to say."""
        if "symbol" not in query:
            rows = (say(symbol, state) for symbol, state in self._state.symbols.items())
            return [row for row in rows if row is not None]
        symbol, state = self._of(query)
        row = say(symbol, state)
        if row is None:
            raise _unknowable(f"the recording has said nothing of {symbol} up to this point")
        # COIN-M answers with a list even then.
        return [row] if self._product is COINM else row

    def _quote(self, symbol: str, state: SymbolState) -> dict[str, Any] | None:
        said = decoded(data_of(state.quote)) if state.quote is not None else None
        if isinstance(said, dict):
            names = {"bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A"}
            row = {"symbol": symbol, **{name: said.get(key) for name, key in names.items()}}
            if not self._product.is_spot:
                row |= {"time": said.get("T"), "lastUpdateId": said.get("u")}
            return row
        best = state.book.best()
        if best is None:
            return None
        bid, ask = (("0", "0") if side is None else side for side in best)
        return {"symbol": symbol, "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}

    # Trades ------------------------------------------------------------------------------------------------------------

    def _price(self, symbol: str, state: SymbolState) -> dict[str, Any] | None:
        newest = state.trades or state.aggregates
        row = decoded(data_of(newest[-1])) if newest else None
        if not isinstance(row, dict):
            return None
        said = {"symbol": symbol, "price": row.get("p")}
        return said if self._product.is_spot else said | {"time": row.get("T")}

    def _trades(self, query: Query) -> Any:
        symbol, state = self._of(query)
        rows = _rows(state.trades)
        if not rows:
            # An aggregate of one trade is that trade; of several, their sizes are not known.
            rows = [row | {"t": row.get("f")} for row in _rows(state.aggregates) if row.get("f") == row.get("l")]
        if not rows:
            raise _unknowable(f"the recording has no trades of {symbol} up to this point")
        limit = min(number(query, "limit", 500), _ROWS_MAX)
        return [self._trade(row) for row in rows[-limit:]]

    def _trade(self, row: dict[str, Any]) -> dict[str, Any]:
        said = {"id": row.get("t"), "price": row.get("p"), "qty": row.get("q")}
        if self._product is not COINM:
            said["quoteQty"] = _product_text(row.get("p"), row.get("q"))
        said |= {"time": row.get("T"), "isBuyerMaker": row.get("m")}
        return said | {"isBestMatch": row.get("M", True)} if self._product.is_spot else said

    def _aggregates(self, query: Query) -> Any:
        symbol, state = self._of(query)
        rows = _rows(state.aggregates)
        if not rows:
            # Each trade for itself, numbered by itself: what is said of them is true, but not how the venue counts.
            rows = [row | {"a": row.get("t"), "f": row.get("t"), "l": row.get("t")} for row in _rows(state.trades)]
        if not rows:
            raise _unknowable(f"the recording has no trades of {symbol} up to this point")
        limit = min(number(query, "limit", 500), _ROWS_MAX)
        start, end = number(query, "startTime", 0), number(query, "endTime", 1 << 62)
        first = number(query, "fromId", 0)
        ours = [row for row in rows if isinstance(row.get("a"), int)]
        some = [row for row in ours if start <= row["T"] <= end and row["a"] >= first]
        some = some[:limit] if "fromId" in query or "startTime" in query else some[-limit:]
        return [{name: row[name] for name in _AGGREGATE if name in row} for row in some]

    # Funding -----------------------------------------------------------------------------------------------------------

    def _premium_index(self, query: Query) -> Any:
        everybody = decoded(data_of(self._state.marks)) if self._state.marks is not None else None
        marks = {row.get("s"): row for row in everybody if isinstance(row, dict)} if isinstance(everybody, list) else {}
        for symbol, state in self._state.symbols.items():
            row = decoded(state.mark)
            if isinstance(row, dict):
                marks[symbol] = row
        if "symbol" not in query:
            return [_premium(name, row) for name, row in marks.items() if isinstance(name, str)]
        symbol = self._symbol(query)
        if symbol not in marks:
            raise _unknowable(f"the recording has said no mark price of {symbol} up to this point")
        said = _premium(symbol, marks[symbol])
        return [said] if self._product is COINM else said

    def _funding_rate(self, query: Query) -> Any:
        """Settled rates: those of recorded replies to the same question, and those that the tape has passed."""
        symbol, state = self._of(query)
        path = f"{self._product.rest_prefix}/fundingRate"
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        found = self._answers.find("GET", f"{path}?{asked}")
        recorded = decoded(found.body) if found is not None else None
        if not state.settled and not isinstance(recorded, list):
            raise _unknowable(
                f"no funding of {symbol} was settled between the beginning of the recording and this point"
            )
        rows = {row["fundingTime"]: row for row in (*state.settled, *(recorded or ()))}
        start, end = number(query, "startTime", 0), number(query, "endTime", 1 << 62)
        some = [rows[time] for time in sorted(rows) if start <= time <= end]
        limit = min(number(query, "limit", 100), _ROWS_MAX)
        return some[:limit] if "startTime" in query else some[-limit:]


_SPOT_BOOK: Final = ("lastUpdateId", "bids", "asks")
_AGGREGATE: Final = ("a", "p", "q", "f", "l", "T", "m", "M")


def _rows(payloads: Any) -> list[dict[str, Any]]:
    rows = (decoded(data_of(payload)) for payload in payloads)
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("T"), int)]


def _premium(symbol: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "markPrice": row.get("p"),
        "indexPrice": row.get("i"),
        "estimatedSettlePrice": row.get("P"),
        "lastFundingRate": row.get("r"),
        "nextFundingTime": row.get("T"),
        "time": row.get("E"),
    }


def _product_text(price: Any, size: Any) -> str | None:
    try:
        value = Decimal(price) * Decimal(size)
    except (InvalidOperation, TypeError):
        return None
    exact = format(value, "f")
    # Spot has eight decimals, of a product of twice eight.
    return exact[: exact.index(".") + 9] if "." in exact else exact


def _unknowable(text: str) -> Rejected:
    # The venue's code for a request that it cannot process now.
    return Rejected(-1001, f"Internal error; unable to process your request: {text}.", 503)


def _refusal(refusal: Rejected) -> Reply:
    return Reply(refusal.status, refusal.body)
