"""
Faults of the protocol of dYdX v4 as it once was, to be put back: the machine has to find each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.models.machine import Bug, replaced
from toolkit.account_messages import OrderState
from toolkit.accounts.orders import TRANSITIONS
from toolkit.accounts.positions import PositionBook
from toolkit.errors import ParseError
from toolkit.messages import FundingInfo
from toolkit.venues.dydx_v4 import accounts_news, market, trade_tape
from toolkit.venues.dydx_v4.accounts import AccountStreams
from toolkit.venues.dydx_v4.accounts_news import Account, AccountNews
from toolkit.venues.dydx_v4.accounts_polls import AccountPolls
from toolkit.venues.dydx_v4.base import DydxV4Base
from toolkit.venues.dydx_v4.heights import ChainHeight
from toolkit.venues.dydx_v4.items import ItemReader
from toolkit.venues.dydx_v4.market import DydxV4MarketProtocol
from toolkit.venues.dydx_v4.numbering import Arrival, MessageNumbers
from toolkit.venues.dydx_v4.pages import Page
from toolkit.venues.dydx_v4.polls import FundingPolls
from toolkit.venues.dydx_v4.rest import funding_call
from toolkit.venues.dydx_v4.trade_tape import TradeMemory

__all__ = ["BUGS"]


@contextlib.contextmanager
def _all(*contexts: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


def _nothing(*arguments: Any, **named: Any) -> None:
    return None


def _discards() -> contextlib.AbstractContextManager[None]:
    read = ItemReader.read

    def whole(self: Any, raw: Any, found: list[Any], symbol: str = "") -> Any:
        item = read(self, raw, found, symbol)
        if found:
            raise ParseError(found[-1].text)
        return item

    return replaced(ItemReader, "read", whole)


def _stops_at_known_rows() -> contextlib.AbstractContextManager[None]:
    following = Page.following

    def until_known(self: Page, heights: Any, new_count: int) -> Page | None:
        return following(self, heights, new_count) if new_count == len(heights) else None

    return replaced(Page, "following", until_known)


def _forgets_what_came_first() -> contextlib.AbstractContextManager[None]:
    def remember(known: dict[str, int], key: str, height: int, limit: int, *, is_held: bool = False) -> None:
        known[key] = height
        if len(known) > 150:
            del known[next(iter(known))]

    return replaced(trade_tape, "remember", remember)


def _expires_by_any_connection() -> contextlib.AbstractContextManager[None]:
    block = AccountStreams.block

    def any_block(self: AccountStreams, frame: Any, height: int, messages: Any, *, is_own: bool) -> None:
        block(self, frame, height, messages, is_own=True)

    expired = {**TRANSITIONS, OrderState.EXPIRED: frozenset(), OrderState.CANCELLED: frozenset()}
    from toolkit.accounts import orders

    return _all(replaced(AccountStreams, "block", any_block), replaced(orders, "TRANSITIONS", expired))


def _settles_by_old_answers() -> contextlib.AbstractContextManager[None]:
    on_reply = AccountStreams.on_reply

    def whoever_asked(self: AccountStreams, frame: Any, tag: str, seq: Any, found: Any, **named: Any) -> Any:
        return on_reply(self, frame, tag, None, found, **named)

    return _all(replaced(AccountStreams, "on_reply", whoever_asked), replaced(AccountPolls, "joined", _nothing))


def _asks_for_a_window() -> contextlib.AbstractContextManager[None]:
    note_reported = FundingPolls.note_reported

    def no_more(self: FundingPolls, rows: Any, fresh: Any) -> Any:
        note_reported(self, rows, fresh)
        return []

    window: Callable[..., Any] = lambda self, ticker, wall_ns: funding_call(ticker, 3)  # noqa: E731
    return _all(replaced(FundingPolls, "call", window), replaced(FundingPolls, "note_reported", no_more))


def _takes_whatever_arrives() -> contextlib.AbstractContextManager[None]:
    seen = MessageNumbers.seen

    def always_next(self: MessageNumbers, *arguments: Any, **named: Any) -> Arrival:
        seen(self, *arguments, **named)
        return Arrival.NEXT

    return replaced(MessageNumbers, "seen", always_next)


def _rest_undoes() -> contextlib.AbstractContextManager[None]:
    """REST's statements count in the order they come, whatever was told since of which market."""

    def is_behind(self: AccountNews, name: str, height: int, source: Any, least: int | None) -> bool:
        return height < self.account.height

    return replaced(AccountNews, "_is_behind", is_behind)


def _marks_by_settled_rates() -> contextlib.AbstractContextManager[None]:
    def on_funding(self: PositionBook, info: FundingInfo) -> None:
        if info.mark_price is not None:
            for position in self._by_market.get((info.venue, info.symbol), ()):
                position.mark_price = info.mark_price

    return replaced(PositionBook, "on_funding", on_funding)


def _heals_by_any_frame() -> contextlib.AbstractContextManager[None]:
    return replaced(DydxV4MarketProtocol, "_awaits_snapshot", lambda *_: False)


BUGS = (
    Bug("one odd item discards its whole frame or reply", _discards),
    Bug(
        "a fill between snapshot and updates leaves the position as it was",
        lambda: _all(replaced(Account, "changed", _nothing), replaced(AccountPolls, "joined", _nothing)),
    ),
    Bug("paging ends at a row that is known", _stops_at_known_rows),
    Bug("the memory of trades forgets what came first", _forgets_what_came_first),
    Bug("orders end by the height that any connection tells", _expires_by_any_connection),
    Bug("answers to an old connection settle what the new one owes", _settles_by_old_answers),
    Bug("an id stands for one order for ever", lambda: replaced(accounts_news, "is_another", lambda *_: False)),
    Bug("settled rates are asked for by the last three", _asks_for_a_window),
    Bug("a poll without an answer is no event", lambda: replaced(DydxV4Base, "miss_poll", _nothing)),
    Bug("a frame counts however often and late it comes", _takes_whatever_arrives),
    Bug(
        "a loss that nobody noticed yet is forgotten with its connection",
        lambda: replaced(TradeMemory, "doubt", _nothing),
    ),
    Bug("the first snapshot without a trade begins nothing", lambda: replaced(market, "blocks_of", _some_blocks)),
    Bug("what REST says undoes what the stream said of later blocks", _rest_undoes),
    Bug("a settled rate marks positions", _marks_by_settled_rates),
    Bug("any frame after a loss heals a stream", _heals_by_any_frame),
    Bug(
        "a fill is told before the word that says which order it is of",
        lambda: replaced(AccountNews, "_is_undecided", lambda *_: False),
    ),
    Bug(
        "a statement without a block is newer than all others",
        lambda: replaced(AccountStreams, "_own_height", _Highest()),
    ),
    Bug("the same block told twice is believed", lambda: replaced(ChainHeight, "note_height", _believes_twice)),
)


class _Highest:
    """In place of the newest block of a connection: one above all."""

    def __get__(self, owner: Any, kind: Any = None) -> int:
        return 2**62

    def __set__(self, owner: Any, value: int) -> None:
        pass


def _believes_twice(self: ChainHeight, height: int, ts: int, _note_height: Any = ChainHeight.note_height) -> bool:
    if height and height == self.doubted:
        self.newest, self.ts, self.doubted = height, ts, 0
        return True
    return bool(_note_height(self, height, ts))


def _some_blocks(rows: Any) -> list[int]:
    found = trade_tape.blocks_of(rows)
    return found or [2**31]
