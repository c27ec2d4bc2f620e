"""What every source that reads a recording has in common: both interfaces, one dispatcher, and books."""

from __future__ import annotations

from abc import abstractmethod

from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.datasource import OrderBookTrackerDataSource, UserStreamTrackerDataSource
from toolkit.digest import DigestChain
from toolkit.errors import SymbolError
from toolkit.facets import FacetHub, MarketFacet, UserStreamFacet
from toolkit.keys import PairName, split
from toolkit.messages import FundingInfo

__all__ = ["RecordedDataSource"]


class RecordedDataSource(OrderBookTrackerDataSource, UserStreamTrackerDataSource):
    """
    Answers from what was recorded, up to the last message emitted.

    Attributes:
        tracker: The order books.
        chain: The digest chain; None unless asked for.
    """

    def __init__(self, *, with_digest: bool) -> None:
        super().__init__()
        self.tracker = OrderBookTracker(checked=True)
        self.chain = DigestChain() if with_digest else None
        self._hub = FacetHub(self)

    @abstractmethod
    async def wait(self) -> None:
        """Until no more messages will come. Raises what a callback or the reading raised."""

    @property
    def market(self) -> MarketFacet:
        """The market facet alone, for code that wants an `OrderBookTrackerDataSource` of its own."""
        return MarketFacet(self._hub)

    @property
    def user_stream(self) -> UserStreamFacet:
        """The account facet alone, for code that wants a `UserStreamTrackerDataSource` of its own."""
        return UserStreamFacet(self._hub)

    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        """
        The book as of the last message emitted.

        Raises SymbolError for a pair not seen yet, and for a name of several venues if `venue` does not say which.
        """
        return self.tracker.book(trading_pair, venue=venue)

    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo:
        """The newest funding as of the last message emitted. Raises SymbolError as `get_snapshot`, and if there is none."""
        info = self.tracker.funding_info(trading_pair, venue=venue)
        if info is None:
            raise SymbolError(f"no funding of {split(trading_pair)[1]!r} in the recording so far")
        return info

    async def subscribe_to_order_updates(self) -> None:
        """Nothing to ask for: what was recorded comes."""

    async def subscribe_to_balance_updates(self) -> None:
        """Nothing to ask for: what was recorded comes."""

    async def subscribe_to_position_updates(self) -> None:
        """Nothing to ask for: what was recorded comes."""
