"""
Faults of Hyperliquid's protocol, and of the books and trackers behind it, that the machine has to find.

Each is what the code once did, in as few lines as show it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from tests.models.machine import Bug, replaced
from toolkit.account_messages import AccountEventKind, OrderState, PositionUpdate
from toolkit.accounts.exact_sums import exact
from toolkit.accounts.orders import InFlightOrder
from toolkit.accounts.positions import BalanceBook, Position, PositionBook
from toolkit.books import book_side
from toolkit.books.book_fusion import BookFusion
from toolkit.clock import NS_PER_MS
from toolkit.errors import ParseError, SymbolError
from toolkit.frames import Frame
from toolkit.messages import BalanceUpdate
from toolkit.protocol import RestCall
from toolkit.venues.hyperliquid import accounts_news, accounts_wire, market, symbols, trade_tape, wire
from toolkit.venues.hyperliquid.accounts_convert import AccountMessages
from toolkit.venues.hyperliquid.accounts_news import Account
from toolkit.venues.hyperliquid.accounts_status import order_state
from toolkit.venues.hyperliquid.listing import Listing
from toolkit.venues.hyperliquid.settled_rates import Settlements
from toolkit.venues.hyperliquid.symbols import SymbolTable
from toolkit.venues.hyperliquid.trade_tape import TradeTape
from toolkit.venues.hyperliquid.venue_clock import VenueClock
from toolkit.venues.hyperliquid.wire import FundingRow

__all__ = ["BUGS"]

Patch = tuple[Any, str, Any]


def _bug(name: str, *patches: Patch) -> Bug:
    @contextlib.contextmanager
    def put_back() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, attribute, value in patches:
                stack.enter_context(replaced(owner, attribute, value))
            yield

    return Bug(name, put_back)


# -- books ---------------------------------------------------------------------------------------------------------


def _all_told(level: wire.Level | None) -> tuple[float | None, float | None, int | None]:
    return (None, None, None) if level is None or level is wire.UNREADABLE else (level.px, level.sz, level.n)


# -- trades and settled rates --------------------------------------------------------------------------------------


def _keys_of_ids(trades: Sequence[wire.WireTrade]) -> list[tuple[int, int | str]]:
    return [(trade.time, trade.tid) for trade in trades]


def _keys_below_a_maximum(trades: Sequence[wire.WireTrade]) -> list[tuple[int, int | str]]:
    # What has an id below the highest of its frame is taken for told.
    return [(0, max(trade.tid, *(each.tid for each in trades))) for trade in trades]


def _news_above_a_maximum(self: Settlements, rows: Sequence[FundingRow]) -> list[FundingRow]:
    new = [row for row in rows if row.time > self._newest.get(row.coin, 0)]
    for row in new:
        self._newest[row.coin] = max(row.time, self._newest.get(row.coin, 0))
    return new


def _ask_by_the_clock(self: Settlements, coin: str, count: int, mono_ns: int) -> RestCall:
    self._asked[coin] = (self._hour(mono_ns), count, mono_ns)
    is_first = coin not in self._newest and count == 0 and self._hour(mono_ns) == self._from[coin] // 3_600_000 + 24
    return self._call(coin, self._from[coin] if is_first else self._clock.at(mono_ns) // NS_PER_MS - 2 * 3_600_000)


def _by_the_highest(self: VenueClock, mono_ns: int) -> int:
    return mono_ns + max((time - mono for _, mono, time in self._stamps), default=self._wall_offset)


# -- the listing ---------------------------------------------------------------------------------------------------


def _rename(self: SymbolTable, _rebuild: Callable[[SymbolTable], None] = SymbolTable._rebuild) -> None:
    self._given = {}
    _rebuild(self)


def _end_for_what_vanishes(self: Listing, frame: Frame, sub_seq: int, messages: Any) -> None:
    if any(self.table.get(coin) is None for coin in self.wanted):
        self._protocol.failure = SymbolError("the venue lists it no more")


def _all_or_nothing(raw: list[Any], kind: type[Any], what: str, odd: list[str]) -> list[Any]:
    try:
        return msgspec.convert(raw, list[kind], strict=False)  # type: ignore[valid-type]
    except msgspec.ValidationError as exc:
        raise ParseError(str(exc)) from None


# -- the account ---------------------------------------------------------------------------------------------------


def _known_state(status: str) -> OrderState:
    state = order_state(status)
    if state is None:
        raise ParseError(f"unknown status {status!r}")
    return state


def _later_only(new: Any, known: Any, *, in_order: bool) -> bool:
    if (new.status, new.time) == (known.status, known.time):
        return bool(new.is_full and not known.is_full and not known.is_done)
    if known.is_done and not new.is_done:
        return False
    return bool(new.time >= known.time)


def _history_by_connection(self: Account, kind: str, time_ms: int) -> bool:
    if kind == "orders" or kind.startswith("openOrders"):
        return self.connect_count < 2
    return kind not in self.snapshots


def _size_of_nothing(self: AccountMessages, *args: Any, _order: Any = AccountMessages.order, **options: Any) -> Any:
    update = _order(self, *args, **options)
    return msgspec.structs.replace(update, size=0.0) if update.size is None else update


def _complete_at_once(self: InFlightOrder, _settle: Any = InFlightOrder._settle) -> None:
    _settle(self)
    if self.filled and not self.is_done and self.size is not None and self.filled >= exact(self.size):
        self._go(OrderState.FILLED)


def _own_liquidation(self: AccountMessages, *args: Any, _liquidation: Any = AccountMessages.liquidation) -> Any:
    return msgspec.structs.replace(_liquidation(self, *args), kind=AccountEventKind.LIQUIDATION)


def _balance_by_time(self: BalanceBook, update: BalanceUpdate) -> bool:
    key = (update.venue, update.account, update.wallet, update.asset)
    before = self._balances.get(key)
    ts = update.ts_event if update.ts_event is not None else update.ts_recv
    known = (before.ts_event if before.ts_event is not None else before.ts_recv) if before is not None else 0
    if ts < known:
        return False
    self._balances[key] = update
    return True


def _position_by_time(
    self: PositionBook, update: PositionUpdate, _on_position: Any = PositionBook.on_position
) -> Position | None:
    position = self._of(update)[0]
    if (update.ts_event or update.ts_recv) < position.ts_event:
        return None
    found: Position | None = _on_position(self, update)
    return found


def _no_positions_left(self: Any, coin: str, values: Any, time_ms: int | None) -> Any:
    return values


BUGS: Final = (
    _bug("a book is ordered by stamps alone", (BookFusion, "_weigh", lambda self, form, ts: None)),
    _bug("a level of size zero is the best", (book_side, "held", lambda columns: columns)),
    _bug("a quote of one side empties the other", (market, "_quoted", _all_told)),
    _bug(
        "the first live trade of a quiet coin is history",
        (TradeTape, "_history_until", lambda self, frame, times, coin: 1 << 63),
        (TradeTape, "_is_fresh", lambda self, coin, frame: False),
    ),
    _bug(
        "stamps of before a sleep tell the time after it",
        (market.HyperliquidMarketProtocol, "_on_sleep", lambda self, frame: self.listing.slept()),
    ),
    _bug("the highest stamp is the venue's time", (VenueClock, "at", _by_the_highest)),
    _bug("conversions of dust are one trade", (trade_tape, "_keys", _keys_of_ids)),
    _bug("a trade below the highest id is a duplicate", (trade_tape, "_keys", _keys_below_a_maximum)),
    _bug("a settled rate below the newest was told", (Settlements, "news", _news_above_a_maximum)),
    _bug("settled rates are asked for by the clock", (Settlements, "_ask", _ask_by_the_clock)),
    _bug("terms are read once", (Listing, "due", lambda self, mono_ns: [])),
    _bug("a pair is renamed by later metadata", (SymbolTable, "_rebuild", _rename)),
    _bug("what vanishes ends the recording", (Listing, "_compare", _end_for_what_vanishes)),
    _bug("one odd entry discards a listing", (symbols, "_entries", _all_or_nothing)),
    _bug("a refused optional reply stops everything", (Listing, "on_failure", lambda *args: None)),
    _bug("one odd row discards its frame", (accounts_wire, "_readable", lambda channel, data, odd: None)),
    _bug("one odd trade discards its frame", (wire, "_readable", lambda channel, data, odd: None)),
    _bug("an unknown status discards all around it", (accounts_news, "order_state", _known_state)),
    _bug("an order never ends by an older stamp", (accounts_news, "_says_more", _later_only)),
    _bug("the past is news after a lost connection", (Account, "is_history", _history_by_connection)),
    _bug(
        "an order of the whole position is complete at once",
        (AccountMessages, "order", _size_of_nothing),
        (InFlightOrder, "_settle", _complete_at_once),
    ),
    _bug("another's liquidation is one's own", (AccountMessages, "liquidation", _own_liquidation)),
    _bug(
        "a fill against a liquidated position was forced",
        (AccountMessages, "_is_own_liquidation", lambda self, fill: fill.liquidation is not None),
    ),
    _bug("balances are ordered by clocks", (BalanceBook, "on_balance", _balance_by_time)),
    _bug("positions are ordered by clocks", (PositionBook, "on_position", _position_by_time)),
    _bug("a state before the newest fill is remembered", (accounts_news.AccountNews, "_stated", _no_positions_left)),
)
