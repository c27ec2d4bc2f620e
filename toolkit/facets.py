"""
The two abstract interfaces over one source: market and account messages from one dispatcher, in one order.

A source that has both kinds of messages hands out facets; each is an interface of its own for code that wants one, and
the source begins when every facet that was taken has been started.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.datasource import MessageSource, OrderBookTrackerDataSource, UserStreamTrackerDataSource
from toolkit.dispatch import MessageCallback, MessageDispatcher
from toolkit.keys import PairName
from toolkit.messages import FundingInfo, Message, UserStreamMessage

__all__ = ["FacetHub", "FacetedSource", "MarketFacet", "UserStreamFacet"]


class FacetedSource(Protocol):
    """What has facets: a life cycle, one dispatcher, and books."""

    @property
    def dispatcher(self) -> MessageDispatcher: ...

    @property
    def tracker(self) -> OrderBookTracker: ...

    async def initialize(self) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def wait(self) -> None: ...

    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook: ...

    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo: ...


class FacetHub:
    """
    Runs a source on behalf of its facets: once, at the first request.

    Attributes:
        source: The source.
    """

    def __init__(self, source: FacetedSource) -> None:
        self.source = source
        self._facets: list[_Facet] = []
        self._is_initialized = False
        self._is_started = False

    def add(self, facet: _Facet) -> None:
        """A facet was taken."""
        self._facets.append(facet)

    @property
    def are_all_started(self) -> bool:
        """Whether every facet that was taken has been started."""
        return all(facet.is_started for facet in self._facets)

    async def initialize(self) -> None:
        """Initialize the source, the first time."""
        if not self._is_initialized:
            self._is_initialized = True
            await self.source.initialize()

    async def start(self) -> None:
        """Start the source, once all facets were started."""
        if self.are_all_started and not self._is_started:
            self._is_started = True
            await self.source.start()


class _Facet(MessageSource):
    """One of the two interfaces over a source."""

    def __init__(self, hub: FacetHub) -> None:
        super().__init__(hub.source.dispatcher)
        self.hub = hub
        self.is_started = False
        self._wrapped: Callable[[Message], None] | None = None
        hub.add(self)

    def _shown(self) -> str:
        return f"of {self.hub.source!r}"

    def _filtered(self, callback: MessageCallback) -> MessageCallback:
        raise NotImplementedError

    def set_message_callback(self, callback: MessageCallback | None) -> None:
        """Call `callback(message)` with every message of this facet, in capture order; None removes it."""
        if self._wrapped is not None:
            self.dispatcher.remove_callback(self._wrapped)
            self._wrapped = None
        if callback is not None:
            self._wrapped = self._filtered(callback)
            self.dispatcher.add_callback(self._wrapped)

    async def initialize(self) -> None:
        """Initialize the source, if no other facet has."""
        await self.hub.initialize()

    async def start(self) -> None:
        """Start this facet, and the source once all are."""
        self.is_started = True
        await self.hub.start()

    async def stop(self) -> None:
        """Stop the source."""
        await self.hub.source.stop()

    async def wait(self) -> None:
        """Until the source ends; raises what ended it."""
        await self.hub.source.wait()


class MarketFacet(_Facet, OrderBookTrackerDataSource):
    """The market messages of a source."""

    @property
    def tracker(self) -> OrderBookTracker:
        """The source's books, up to date before any callback sees a message."""
        return self.hub.source.tracker

    def _filtered(self, callback: MessageCallback) -> MessageCallback:
        def call(message: Message) -> None:
            if not isinstance(message, UserStreamMessage):
                callback(message)

        return call

    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        """The source's book of a pair."""
        return await self.hub.source.get_snapshot(trading_pair, venue=venue)

    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo:
        """The source's funding of a pair."""
        return await self.hub.source.get_funding_info(trading_pair, venue=venue)


class UserStreamFacet(_Facet, UserStreamTrackerDataSource):
    """The account messages of a source."""

    def _filtered(self, callback: MessageCallback) -> MessageCallback:
        def call(message: Message) -> None:
            if isinstance(message, UserStreamMessage):
                callback(message)

        return call

    async def subscribe_to_order_updates(self) -> None:
        """Nothing more to ask for: all of an account's streams come with its connection, or with the recording."""

    async def subscribe_to_balance_updates(self) -> None:
        """Nothing more to ask for: all of an account's streams come with its connection, or with the recording."""

    async def subscribe_to_position_updates(self) -> None:
        """Nothing more to ask for: all of an account's streams come with its connection, or with the recording."""
