"""
The two abstract interfaces below which nothing can tell live from replay.

The life cycle is async and `async with` does it: entering initializes and starts, leaving stops. A failed
`initialize` raises. Messages come in capture order, by callback (synchronous, the push path) or by async iterators
over the same one stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from toolkit.books.orderbook import OrderBook
from toolkit.borders import Shown
from toolkit.dispatch import MessageCallback, MessageDispatcher
from toolkit.keys import PairName
from toolkit.messages import (
    BookDiff,
    BookSnapshot,
    FundingInfo,
    Message,
    Trade,
    UserStreamMessage,
)

__all__ = ["MessageSource", "OrderBookTrackerDataSource", "UserStreamTrackerDataSource"]


class MessageSource(Shown, ABC):
    """What both interfaces share: a life cycle, and one ordered stream of messages."""

    def __init__(self, dispatcher: MessageDispatcher | None = None) -> None:
        self.dispatcher = dispatcher if dispatcher is not None else MessageDispatcher()
        self._callback: MessageCallback | None = None

    @abstractmethod
    async def initialize(self) -> None:
        """Get ready to start (metadata, files). Raises TickdeckError when that cannot be done."""

    @abstractmethod
    async def start(self) -> None:
        """Let messages flow. Returns at once; messages come until `stop` or the end of the recording."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop the flow and release everything. May be called twice."""

    async def __aenter__(self) -> Self:
        await self.initialize()
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def set_message_callback(self, callback: MessageCallback | None) -> None:
        """
        Call `callback(message)` synchronously with every message, in capture order; None removes it.

        Its exceptions stop the source: a callback that fails must not fail silently.
        """
        if self._callback is not None:
            self.dispatcher.remove_callback(self._callback)
        self._callback = callback
        if callback is not None:
            self.dispatcher.add_callback(callback)

    def emit_message(self, message: Message) -> None:
        """Hand a message to the callback and to every listener."""
        self.dispatcher.emit(message)


class OrderBookTrackerDataSource(MessageSource):
    """Market data of one venue, or of a recording of one or several."""

    @abstractmethod
    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        """
        The present book of a pair, given by its name or its key.

        Raises SymbolError for a pair the source does not have, and for a name that several of its venues have if
        `venue` does not say which.
        """

    @abstractmethod
    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo:
        """The present funding, mark and index price of a pair. Raises SymbolError as `get_snapshot`, and if it has none."""

    def listen_for_order_book_diffs(self) -> AsyncIterator[BookDiff]:
        """Changes of books, from now on. Safe to cancel."""
        return self.dispatcher.listen(lambda message: message if isinstance(message, BookDiff) else None)

    def listen_for_order_book_snapshots(self) -> AsyncIterator[BookSnapshot]:
        """Whole books, from now on. Safe to cancel."""
        return self.dispatcher.listen(lambda message: message if isinstance(message, BookSnapshot) else None)

    def listen_for_trades(self) -> AsyncIterator[Trade]:
        """Trades, from now on, history marked as such. Safe to cancel."""
        return self.dispatcher.listen(lambda message: message if isinstance(message, Trade) else None)


class UserStreamTrackerDataSource(MessageSource):
    """One account's orders, fills, balances and positions at one venue, or in a recording of it."""

    @abstractmethod
    async def subscribe_to_order_updates(self) -> None:
        """Ask for order updates and fills."""

    @abstractmethod
    async def subscribe_to_balance_updates(self) -> None:
        """Ask for balances."""

    @abstractmethod
    async def subscribe_to_position_updates(self) -> None:
        """Ask for positions; does nothing on a spot venue."""

    def listen_for_user_stream(self) -> AsyncIterator[UserStreamMessage]:
        """Everything about the account, from now on, in capture order. Safe to cancel."""
        return self.dispatcher.listen(lambda message: message if isinstance(message, UserStreamMessage) else None)
