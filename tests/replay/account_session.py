"""A recorded session with accounts, for the tests: a connector watches while the embedded venue misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from replay.embedded import EmbeddedVenue
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid
from replay.synthetic.market import MarketOptions
from replay.synthetic.traders import AccountsOptions
from tests.deadlines import HANG_S
from toolkit.account_messages import AccountEventKind
from toolkit.accounts.connector_events import BookUpdated, ConnectorEvent, FundingPaid
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_S, Clock, SystemClock
from toolkit.facets import FacetHub, MarketFacet, UserStreamFacet
from toolkit.keys import PairName
from toolkit.messages import FundingInfo
from toolkit.protocol import ProtocolOptions
from toolkit.timing.times import Seconds, seconds_of
from toolkit.venue import find_venue
from toolkit.venues.hyperliquid.connector import HyperliquidPerpetualConnector

PAIRS = ("BTC-USD", "SOL-USD")


class QuickClock(Clock):
    """A clock that runs several times as fast as the machine's."""

    def __init__(self, speed: int) -> None:
        self._system = SystemClock()
        self._speed = speed
        self._wall_ns, self._mono_ns = self._system.time_ns(), self._system.monotonic_ns()

    def time_ns(self) -> int:
        return self._wall_ns + self._speed * (self._system.monotonic_ns() - self._mono_ns)

    def monotonic_ns(self) -> int:
        return self._mono_ns + self._speed * (self._system.monotonic_ns() - self._mono_ns)

    async def sleep(self, seconds: Seconds) -> None:
        await self._system.sleep(seconds_of(seconds) / self._speed)


class RecorderSession:
    """The messages of a recorder as a source with facets; it lives and ends with the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.dispatcher = recorder.dispatcher
        self.tracker = OrderBookTracker()
        self.dispatcher.add_callback(self.tracker)

    async def initialize(self) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def wait(self) -> None: ...

    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        return self.tracker.book(trading_pair)

    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo:
        raise NotImplementedError


@dataclass(slots=True)
class Watched:
    """A connector, and everything it told."""

    connector: HyperliquidPerpetualConnector
    events: list[ConnectorEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connector.add_listener(ConnectorEvent, self.events.append)
        self.connector.add_listener(BookUpdated, self.events.append)
        self.connector.attach()

    def state(self) -> dict[str, Any]:
        """All that is known at the end, as values."""
        user = self.connector.user
        return {
            "active": [order.view() for order in user.orders.active],
            "done": [order.view() for order in user.orders.done],
            "unknown": [order.view() for order in user.orders.unknown],
            "positions": [msgspec.structs.asdict(position) for position in user.positions.open],
            "balances": user.balances.all,
            "funding": user.funding,
            "notices": user.notices,
            "books": {
                pair: (book.best_bid, book.best_ask, len(book.bids), len(book.asks), book.is_stale)
                for pair in self.connector.trading_pairs
                for book in [self.connector.order_book(pair)]
            },
        }

    def count(self, kind: type[ConnectorEvent]) -> int:
        return sum(type(event) is kind for event in self.events)


@dataclass(slots=True)
class Session:
    """
    What is left of a session.

    Attributes:
        folder: The recording.
        live: The connector that watched.
        accounts: Addresses by name.
        rest: Replies of the venue by REST at the end: request and account name to reply.
    """

    folder: Path
    live: Watched
    accounts: dict[str, str]
    rest: dict[tuple[str, str], Any]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; fails with the test's deadline."""
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110  # many things change it, none of which can be waited for here
            await asyncio.sleep(0.01)


async def record_session(folder: Path, *, seed: int, names: tuple[str, ...]) -> Session:
    """Record accounts through two lost connections, a liquidation and funding, until the venue stands still."""
    market = MarketOptions(funding_every_ns=3 * NS_PER_S)
    accounts = AccountsOptions(liquidation_block=345)
    async with EmbeddedVenue(seed=seed, clock=QuickClock(4), accounts=accounts, market=market) as venue:
        options = ProtocolOptions(pairs=PAIRS, accounts=tuple(venue.accounts[name] for name in names))
        wanted = VenueRequest(
            spec=find_venue("hyperliquid"), options=options, ws_url=venue.ws_url, rest_url=venue.rest_url
        )
        recorder = Recorder(RecorderOptions(folder=folder, venues=[wanted], backoff_seed=1))
        hub = FacetHub(RecorderSession(recorder))
        live = Watched(HyperliquidPerpetualConnector(MarketFacet(hub), UserStreamFacet(hub)))
        async with asyncio.TaskGroup() as group:
            run = group.create_task(recorder.run())
            user = live.connector.user
            blocks = venue.venue.market
            await until(lambda: len(user.orders.done) > 20)
            for _ in range(2):
                at = blocks.number
                venue.drop_connections()
                await until(lambda: not live.connector.is_connected)
                await until(lambda: live.connector.is_connected)
                await until(lambda: blocks.number > at + 50)  # noqa: B023
            await until(lambda: any(notice.kind is AccountEventKind.LIQUIDATION for notice in user.notices))
            await until(lambda: live.count(FundingPaid) > 5)
            # Nothing more happens at the venue; what is under way arrives.
            setattr(venue.venue, "advance", lambda now_ns: 0)  # noqa: B010  # mypy sees a method there
            face = venue.venue
            assert isinstance(face, SyntheticHyperliquid)
            rest = {
                (kind, name): face.info.answer({**request, "user": _owner(venue, name)})
                for name in names
                for kind, request in _REQUESTS.items()
            }
            expected = {row["oid"] for (kind, _), rows in rest.items() if kind.endswith("OpenOrders") for row in rows}
            with contextlib.suppress(TimeoutError):  # the tests show what differs
                await until(lambda: {int(order.order_id) for order in user.orders.active} == expected)
            await asyncio.sleep(0.3)  # frames that are in the sockets' buffers
            recorder.stop()
            await run
        return Session(folder, live, venue.accounts, rest)


#: By the name under which the tests look for the reply.
_REQUESTS: dict[str, dict[str, Any]] = {
    "frontendOpenOrders": {"type": "frontendOpenOrders"},
    "xyzOpenOrders": {"type": "frontendOpenOrders", "dex": "xyz"},
    "historicalOrders": {"type": "historicalOrders"},
    "userFills": {"type": "userFills"},
    "clearinghouseState": {"type": "clearinghouseState"},
    "spotClearinghouseState": {"type": "spotClearinghouseState"},
}


def _owner(venue: EmbeddedVenue, name: str) -> str:
    return venue.accounts["maker" if name == "agent" else name]
