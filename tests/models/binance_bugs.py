"""
Faults of Binance's protocols that the machine has to find.

Each is what the code once did, in as few lines as show it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from tests.models.machine import Bug, replaced
from toolkit.books.tracker import OrderBookTracker
from toolkit.errors import ParseError, SymbolError, VenueRefused
from toolkit.frames import Frame
from toolkit.messages import BookDiff, FundingInfo, Message
from toolkit.venues.binance import books, depth, market
from toolkit.venues.binance.books import Books
from toolkit.venues.binance.depth import Before
from toolkit.venues.binance.market import BinanceMarketProtocol
from toolkit.venues.binance.polls import Polls, SettledRates
from toolkit.venues.binance.symbols import Listed, parse_exchange_info
from toolkit.venues.binance.trade_tape import ToldTrades

__all__ = ["BUGS"]


def _all_replaced(*changes: tuple[Any, str, Any]) -> Callable[[], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def put_back() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for change in changes:
                stack.enter_context(replaced(*change))
            yield

    return put_back


def _is_at_most_the_highest(self: ToldTrades, first: int, last: int) -> bool:
    return bool(self.ends) and first <= self.ends[-1]


def _alone(before: Before, diff: BookDiff) -> BookDiff:
    return diff


def _only_asks(self: Books, frame: Frame, symbol: str, low: float, high: float, messages: list[Message]) -> None:
    cover = self.covered.get(symbol)
    if cover is not None and (low < cover[2] or high > cover[3]):
        del self.covered[symbol]
        self._requests.refresh[symbol] = frame.ts_mono


def _gives_up(self: Books, symbol: str, mono_ns: int) -> None:
    if symbol in self._requests.next_ask:
        self._requests.next_ask[symbol] = mono_ns + 5_000_000_000
    elif symbol in self._requests.refresh:
        self._requests.refresh[symbol] = mono_ns + 900_000_000_000


def _keeps_all(self: Books, symbols: Iterable[str]) -> None:
    for symbol in symbols:
        if symbol in self.joins:
            self.joins[symbol].lose()
            self.covered.pop(symbol, None)


def _newest_alone(self: OrderBookTracker, message: FundingInfo) -> None:
    self._funding[message.venue, message.trading_pair] = message


def _window(self: SettledRates, symbol: str) -> int:
    return self._state.owed[symbol].time


def _all_or_nothing(payload: bytes, *, is_spot: bool) -> tuple[list[Listed], list[str]]:
    rows, odd = market_parse(payload, is_spot=is_spot)
    if odd:
        raise ParseError("exchangeInfo of another shape than documented")
    return rows, odd


market_parse = parse_exchange_info


def _chooses_again(self: BinanceMarketProtocol, frame: Frame, messages: list[Message]) -> None:
    wanted = []
    for name in self.options.pairs:
        try:
            symbol = self.symbols.symbol(name)
        except SymbolError as exc:
            self.failure = exc
            return
        row = self.symbols.get(symbol)
        if row is not None and row.is_trading:
            wanted.append(symbol)
    self._wanted = wanted
    if not wanted:
        self.failure = VenueRefused("nothing to record")


def _whole_list(payload: bytes) -> list[msgspec.Raw]:
    rows = msgspec.json.decode(payload)
    if any(not isinstance(row, Mapping) or not isinstance(row.get("symbol"), str) for row in rows):
        raise msgspec.DecodeError("a row of another shape")
    return msgspec.json.decode(payload, type=list[msgspec.Raw])


BUGS: Final = (
    Bug("a maximum in place of a set of ids", lambda: replaced(ToldTrades, "has", _is_at_most_the_highest)),
    Bug("holes in trade ids are not noticed", lambda: replaced(ToldTrades, "step", lambda *args, **kwargs: 0)),
    Bug("diffs within a snapshot are dropped", lambda: replaced(depth, "_with", _alone)),
    Bug(
        "a book beyond its cover looks good",
        _all_replaced((Books, "reach", _only_asks), (Books, "failed", _gives_up), (books, "ANSWER_S_MAX", 900.0)),
    ),
    Bug(
        "an old epoch's snapshot begins a book, and nothing ends it",
        _all_replaced((Books, "lost", _keeps_all), (books, "OLD_S_MAX", 1e9)),
    ),
    Bug(
        "a poll overwrites what it does not carry", lambda: replaced(OrderBookTracker, "_apply_funding", _newest_alone)
    ),
    Bug("terms are read once", lambda: replaced(Polls, "are_terms_due", lambda self, mono_ns: False)),
    Bug("rates of a window, not since the last known one", lambda: replaced(SettledRates, "since", _window)),
    Bug("what is polled counts as fresh after a sleep", lambda: replaced(Polls, "slept", lambda self, mono_ns: None)),
    Bug("one odd entry of a listing discards it", lambda: replaced(market, "parse_exchange_info", _all_or_nothing)),
    Bug("one odd rate discards the others", lambda: replaced(market, "_decode_list", _whole_list)),
    Bug(
        "metadata that is read again ends a recording",
        lambda: replaced(BinanceMarketProtocol, "_choose", _chooses_again),
    ),
    Bug("a book whose diffs never come up to it stays", lambda: replaced(books, "OLD_S_MAX", 1e9)),
)
