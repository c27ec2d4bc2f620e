"""The connector and its trackers: who is told what, and when."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from replay.embedded import EmbeddedVenue
from tests.toolkit.account_harness import ACCOUNT, fill, position, update
from tests.toolkit.live_harness import Tape, in_loop
from toolkit.account_messages import AccountEvent, AccountEventKind, FundingPayment, OrderState
from toolkit.accounts.connector_events import (
    AccountNotice,
    BalanceChanged,
    BookUpdated,
    ConnectionLost,
    ConnectionRestored,
    ConnectorEvent,
    FundingPaid,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    PositionChanged,
)
from toolkit.books.orderbook import OrderBook
from toolkit.clock import SystemClock
from toolkit.datasource import OrderBookTrackerDataSource, UserStreamTrackerDataSource
from toolkit.errors import ConfigError, SymbolError, VenueRefused
from toolkit.keys import PairName
from toolkit.live.capture import Capture
from toolkit.messages import BalanceUpdate, BookSnapshot, EventKind, FundingInfo, Message, StreamEvent
from toolkit.venues.hyperliquid.connector import HyperliquidPerpetualConnector


class HandFed(OrderBookTrackerDataSource, UserStreamTrackerDataSource):
    """A source of whatever a test emits; both kinds of messages at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def initialize(self) -> None:
        self.calls.append("initialize")

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        raise NotImplementedError

    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo:
        raise NotImplementedError

    async def subscribe_to_order_updates(self) -> None:
        self.calls.append("orders")

    async def subscribe_to_balance_updates(self) -> None:
        self.calls.append("balances")

    async def subscribe_to_position_updates(self) -> None:
        self.calls.append("positions")


def told(*messages: Message) -> list[str]:
    """Names of the events that messages cause."""
    source = HandFed()
    connector = HyperliquidPerpetualConnector(source, source)
    events: list[ConnectorEvent] = []
    connector.add_listener(ConnectorEvent, events.append)
    connector.attach()
    for message in messages:
        source.emit_message(message)
    return [type(event).__name__ for event in events]


def names(*kinds: type[ConnectorEvent]) -> list[str]:
    return [kind.__name__ for kind in kinds]


DONE = {
    OrderState.FILLED: OrderCompleted,
    OrderState.CANCELLED: OrderCancelled,
    OrderState.EXPIRED: OrderExpired,
    OrderState.REJECTED: OrderFailed,
}


def test_an_order_is_created_filled_in_parts_and_completed() -> None:
    messages = [update(size=2.0), fill(1), fill(1), fill(2), update(OrderState.FILLED, size=2.0, ts_ms=2)]
    assert told(*messages) == names(OrderCreated, OrderFilled, OrderFilled, OrderCompleted)


@pytest.mark.parametrize(("state", "event"), DONE.items())
def test_every_ending_has_its_event_once(state: OrderState, event: type[ConnectorEvent]) -> None:
    ended = update(state, ts_ms=2)
    assert told(update(), ended, ended) == names(OrderCreated, event)


def test_an_order_that_is_refused_at_once_was_never_created() -> None:
    assert told(update(OrderState.REJECTED)) == names(OrderFailed)


def test_history_is_taken_in_silently_and_what_follows_is_told() -> None:
    old = [update(is_history=True), fill(1, is_history=True), update(OrderState.CANCELLED, oid="2", is_history=True)]
    assert told(*old) == []
    assert told(*old, fill(2)) == names(OrderFilled)


def test_a_fill_tells_of_the_order_and_then_of_the_position() -> None:
    assert told(fill(1, position_before=0.0)) == names(OrderFilled, PositionChanged)
    assert told(position(1.0, ts_ms=1), fill(1, ts_ms=1, position_before=0.0)) == names(PositionChanged, OrderFilled)


def payment(amount: float, **fields: Any) -> FundingPayment:
    head = ("hyperliquid", "BTC", "BTC-USD", 1, 1, 0, 0, ACCOUNT)
    return FundingPayment(*head, "p", amount, **fields)


def test_funding_is_summed_exactly_and_told() -> None:
    source = HandFed()
    connector = HyperliquidPerpetualConnector(source, source)
    paid: list[FundingPaid] = []
    connector.add_listener(FundingPaid, paid.append)
    connector.attach()
    for amount in (0.1, 0.2, -0.7):
        source.emit_message(payment(amount))
    source.emit_message(payment(5.0, is_history=True))
    assert connector.funding_received("BTC-USD") == connector.funding_received() == Decimal("-0.4")
    assert len(paid) == 3


def test_balances_and_other_events_are_told() -> None:
    balance = BalanceUpdate("hyperliquid", "", "", 1, 1, 0, 0, ACCOUNT, "USDC", 3.0, 2.0, "perp")
    event = AccountEvent("hyperliquid", "", "", 1, 1, 0, 0, ACCOUNT, AccountEventKind.DEPOSIT, "x")
    assert told(balance, replace(balance, ts_event=0), event) == names(BalanceChanged, AccountNotice)
    source = HandFed()
    connector = HyperliquidPerpetualConnector(source, source)
    connector.attach()
    source.emit_message(balance)
    assert (connector.balance("USDC"), connector.available_balance("USDC"), connector.balance("HYPE")) == (
        3.0,
        2.0,
        0.0,
    )


def stream_event(kind: EventKind, conn_id: int, epoch: int = 0) -> StreamEvent:
    return StreamEvent("hyperliquid", "", "", None, 1, 0, 0, kind, conn_id=conn_id, conn_epoch=epoch)


def test_connections_are_lost_and_restored() -> None:
    source = HandFed()
    connector = HyperliquidPerpetualConnector(source)
    events: list[ConnectorEvent] = []
    connector.add_listener(ConnectorEvent, events.append)
    connector.attach()
    for kind, conn_id in (("connected", 0), ("connected", 1), ("disconnected", 0), ("connected", 0)):
        source.emit_message(stream_event(EventKind(kind), conn_id))
        assert connector.is_connected == (kind != "disconnected")
    assert [type(event) for event in events] == [ConnectionLost, ConnectionRestored]


def book(fused: bool = True) -> BookSnapshot:
    columns = ((9.0,), (1.0,), (1,), (11.0,), (1.0,), (1,))
    return BookSnapshot("hyperliquid", "BTC", "BTC-USD", 1, 1, 0, 0, "full", fused, 20, *columns)


def test_books_are_up_to_date_when_their_listener_is_told() -> None:
    source = HandFed()
    connector = HyperliquidPerpetualConnector(source, source)
    mids: list[float | None] = []
    everything: list[ConnectorEvent] = []
    connector.add_listener(BookUpdated, lambda event: mids.append(connector.order_book(event.trading_pair).mid_price))
    connector.add_listener(ConnectorEvent, everything.append)
    connector.attach()
    source.emit_message(book())
    source.emit_message(book(fused=False))
    assert mids == [10.0]
    assert everything == []
    assert connector.trading_pairs == ["BTC-USD"]


def test_a_listener_that_was_removed_is_not_told() -> None:
    source = HandFed()
    connector = HyperliquidPerpetualConnector(source, source)
    events: list[ConnectorEvent] = []
    for kind in (OrderCreated, ConnectorEvent):
        connector.add_listener(kind, events.append)
        connector.remove_listener(kind, events.append)
        connector.remove_listener(kind, events.append)
    connector.attach()
    source.emit_message(update())
    assert events == []


def test_an_order_that_is_not_known_says_how_many_are() -> None:
    connector = HyperliquidPerpetualConnector(HandFed())
    with pytest.raises(SymbolError, match=r"^no order '7'; 0 are known$"):
        connector.order("7")


@in_loop
async def test_connecting_starts_and_subscribes_both_sources() -> None:
    source = HandFed()
    async with HyperliquidPerpetualConnector(source, source):
        pass
    assert source.calls == [
        *("initialize", "initialize", "orders", "balances", "positions", "start", "start"),
        *("stop", "stop"),
    ]


def test_a_connector_has_no_way_to_trade() -> None:
    forbidden = {"buy", "sell", "place_order", "cancel", "create_order", "execute"}
    assert not forbidden & set(dir(HyperliquidPerpetualConnector))


# Live ------------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_live_connector_follows_an_account_and_its_market() -> None:
    tape = Tape()
    async with EmbeddedVenue(seed=3, clock=SystemClock()) as venue:
        address = venue.accounts["agent"]
        options: dict[str, Any] = {"ws_url": venue.ws_url, "rest_url": venue.rest_url, "backoff_seed": 1}
        connector = HyperliquidPerpetualConnector.live(["BTC-USD"], [address], capture=Capture(sink=tape), **options)
        async with connector:
            await tape.until(lambda: bool(connector.positions and connector.open_orders and connector.trading_pairs))
            assert connector.order_book("BTC-USD").best_bid is not None
            assert connector.balance("USDC", wallet="perp") > 0
            funding = await connector.market.get_funding_info("BTC-USD")
            assert funding.mark_price is not None
        assert {order.account for order in connector.open_orders} == {venue.accounts["maker"]}


@in_loop
async def test_an_address_that_nobody_has_used_ends_connect_in_one_line() -> None:
    async with EmbeddedVenue(seed=3, clock=SystemClock()) as venue:
        connector = HyperliquidPerpetualConnector.live(
            ["BTC-USD"], ["0x" + "12" * 20], ws_url=venue.ws_url, rest_url=venue.rest_url, backoff_seed=1
        )
        with pytest.raises(VenueRefused, match=r"^hyperliquid: no one has ever used the address 0x(12){20}; check it"):
            await connector.connect()


def test_a_malformed_address_ends_before_anything_is_opened() -> None:
    with pytest.raises(ConfigError, match="is no address"):
        HyperliquidPerpetualConnector.live(["BTC-USD"], ["0x12"])
