"""
A connector: the state of a market and of accounts in it, and the news of both, from whatever sources it is given.

It is the same object on a live source, a replay or a simulation. It observes: no code path sends an order to a live
venue.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

from toolkit.accounts.connector_events import BookUpdated, ConnectionLost, ConnectionRestored, ConnectorEvent
from toolkit.accounts.exact_sums import ZERO
from toolkit.accounts.orders import InFlightOrder
from toolkit.accounts.positions import Position
from toolkit.accounts.user_tracker import UserStreamTracker
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.borders import Shown
from toolkit.datasource import OrderBookTrackerDataSource, UserStreamTrackerDataSource
from toolkit.errors import SymbolError
from toolkit.keys import PairKey, PairName, key_among
from toolkit.messages import (
    BalanceUpdate,
    BestQuote,
    BookDiff,
    BookSnapshot,
    EventKind,
    FundingInfo,
    Message,
    StreamEvent,
)

__all__ = ["ConnectorBase", "PerpetualDerivativeBase"]

E = TypeVar("E", bound=ConnectorEvent)


class ConnectorBase(Shown):
    """
    The market and accounts of one venue, or of the several that a recording has.

    Args:
        market: Where market messages come from. Its books are used if it keeps any.
        user_stream: Where account messages come from: another source, or the same one; None for a market without
            accounts.

    Attributes:
        market: Market as given.
        user_stream: User stream as given.
        books: The order books, up to date before any listener receives a message.
        user: Orders, positions, balances and funding.
    """

    def __init__(
        self, market: OrderBookTrackerDataSource, user_stream: UserStreamTrackerDataSource | None = None
    ) -> None:
        self.market = market
        self.user_stream = user_stream
        tracker = getattr(market, "tracker", None)
        self._keeps_books = not isinstance(tracker, OrderBookTracker)
        self.books: OrderBookTracker = tracker if isinstance(tracker, OrderBookTracker) else OrderBookTracker()
        self.user = UserStreamTracker()
        self.user.add_listener(self._emit)
        self._listeners: dict[type[ConnectorEvent], list[Callable[[Any], None]]] = {}
        self._everything: list[Callable[[ConnectorEvent], None]] = []
        self._lost: set[tuple[str, int]] = set()
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            StreamEvent: self._on_stream_event,
            FundingInfo: self.user,
        }
        # A replay is both sources in one object, and calls once for each message.
        self._is_one_source = id(user_stream) == id(market)
        if self._is_one_source:
            self._handlers.update(self.user.handlers)
        self._is_attached = False

    def _shown(self) -> str:
        return f"over {self.market!r}"

    # -- life cycle --------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Take the messages of the sources from now on. `connect` does it; a replay that is played needs no more."""
        if not self._is_attached:
            self._is_attached = True
            self.market.set_message_callback(self._on_market)
            if self.user_stream is not None and not self._is_one_source:
                self.user_stream.set_message_callback(self.user)

    async def connect(self) -> None:
        """
        Start both sources.

        Raises what their `initialize` and `start` raise; nothing stays open then.
        """
        self.attach()
        sources = [self.market] if self.user_stream is None else [self.market, self.user_stream]
        try:
            for source in sources:
                await source.initialize()
            if self.user_stream is not None:
                await self.user_stream.subscribe_to_order_updates()
                await self.user_stream.subscribe_to_balance_updates()
                await self.user_stream.subscribe_to_position_updates()
            for source in sources:
                await source.start()
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """Stop both sources; what is known stays. May be called twice."""
        if self.user_stream is not None:
            await self.user_stream.stop()
        await self.market.stop()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether no connection is lost at the moment."""
        return not self._lost

    @property
    def trading_pairs(self) -> list[str]:
        """The pair of each book; of two venues with a pair of one name it is there twice."""
        return self.books.trading_pairs

    @property
    def keys(self) -> list[PairKey]:
        """Venue and pair of each book."""
        return self.books.keys

    def order_book(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        """
        The present book of a pair, given by its name or its key; it goes on changing.

        Raises SymbolError for a pair not seen, and for a name of several venues if `venue` does not say which.
        """
        return self.books.book(trading_pair, venue=venue)

    @property
    def open_orders(self) -> list[InFlightOrder]:
        """Orders that have not ended, of all accounts."""
        return self.user.orders.active

    def order(self, order_id: str, *, venue: str | None = None) -> InFlightOrder:
        """The order of that id, by the venue's or its owner's. Raises SymbolError if none is known, or of several venues."""
        order = self.user.orders.find(order_id, venue=venue)
        if order is None:
            raise SymbolError(f"no order {order_id!r}; {len(self.user.orders):,} are known")
        return order

    @property
    def balances(self) -> list[BalanceUpdate]:
        """Every balance as last stated."""
        return self.user.balances.all

    def balance(self, asset: str, *, wallet: str | None = None, venue: str | None = None) -> float:
        """
        All of an asset, in the first wallet that has it unless it is said which; 0 where none is known.

        Raises SymbolError for an asset that accounts of several venues hold if `venue` does not say which.
        """
        balance = self.user.balances.find(asset, wallet=wallet, venue=venue)
        return balance.total if balance is not None else 0.0

    def available_balance(self, asset: str, *, wallet: str | None = None, venue: str | None = None) -> float:
        """What is free of an asset; 0 where none is known. Raises SymbolError as `balance` does."""
        balance = self.user.balances.find(asset, wallet=wallet, venue=venue)
        return balance.available if balance is not None else 0.0

    # -- listeners ---------------------------------------------------------------------------------------------

    def add_listener(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """
        Call `listener(event)` for events of exactly that class; of all classes, for `ConnectorEvent` itself.

        Its exceptions stop the source. Only listeners of `BookUpdated` itself receive book changes, since they
        change with almost every message.
        """
        if kind is ConnectorEvent:
            self._everything.append(listener)  # type: ignore[arg-type]  # E is ConnectorEvent here
            return
        self._listeners.setdefault(kind, []).append(listener)
        if kind is BookUpdated:
            self._listen_to_books()

    def remove_listener(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Stop calling it; nothing happens if it was not added."""
        listeners: list[Any] = self._everything if kind is ConnectorEvent else self._listeners.get(kind, [])
        if listener in listeners:
            listeners.remove(listener)

    def _emit(self, event: ConnectorEvent) -> None:
        for listener in self._listeners.get(type(event), ()):
            listener(event)
        for listener in self._everything:
            listener(event)

    def _listen_to_books(self) -> None:
        for kind in (BookSnapshot, BestQuote, BookDiff):
            self._handlers[kind] = self._on_book

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_market(self, message: Message) -> None:
        if self._keeps_books:
            self.books.apply(message)
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message)

    def _on_book(self, message: BookSnapshot | BestQuote | BookDiff) -> None:
        if message.fused:
            event = BookUpdated(message)
            for listener in self._listeners[BookUpdated]:
                listener(event)

    def _on_stream_event(self, event: StreamEvent) -> None:
        key = (event.venue, event.conn_id)
        if event.kind is EventKind.DISCONNECTED:
            self._lost.add(key)
            self._emit(ConnectionLost(event))
        elif event.kind is EventKind.CONNECTED and key in self._lost:
            self._lost.discard(key)
            self._emit(ConnectionRestored(event))


class PerpetualDerivativeBase(ConnectorBase):
    """A connector of a venue with perpetual contracts."""

    @property
    def positions(self) -> list[Position]:
        """Positions that are not flat."""
        return self.user.positions.open

    def position(
        self, trading_pair: PairName, *, account: str | None = None, venue: str | None = None
    ) -> Position | None:
        """
        The position in a pair, given by its name or its key; None if there never was one.

        Raises SymbolError for a name of several venues if `venue` does not say which.
        """
        return self.user.positions.find(trading_pair, account=account, venue=venue)

    def funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo | None:
        """The newest funding, mark and index price of a pair; None if none was received. Raises SymbolError as `position`."""
        return self.books.funding_info(trading_pair, venue=venue)

    def funding_received(self, trading_pair: PairName | None = None, *, venue: str | None = None) -> Decimal:
        """
        Funding received (positive) or paid since the accounts are watched, in a pair or in all.

        Raises SymbolError as `position` does.
        """
        if trading_pair is not None:
            key = key_among(self.user.funding, trading_pair, venue)
            return self.user.funding[key] if key is not None else ZERO
        return sum((paid for key, paid in self.user.funding.items() if venue in (None, key.venue)), ZERO)
