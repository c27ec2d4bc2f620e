"""A connector fed by the embedded venue against one fed by the recording of it, and both against the venue itself."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.source import Fidelity, ReplayDataSource
from tests.replay.account_session import Session, Watched, record_session
from toolkit.account_messages import Fill, OrderState
from toolkit.accounts.connector_events import (
    AccountNotice,
    BookUpdated,
    ConnectionLost,
    ConnectionRestored,
    FundingPaid,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderFilled,
    PositionChanged,
)
from toolkit.accounts.exact_sums import ZERO
from toolkit.digest import DigestChain
from toolkit.venues.hyperliquid.accounts_status import order_state
from toolkit.venues.hyperliquid.connector import HyperliquidPerpetualConnector

NAMES = ("taker", "gambler", "agent")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """One session for all tests here; nobody changes it."""
    folder = tmp_path_factory.mktemp("tapes") / "session"
    return asyncio.run(record_session(folder, seed=3, names=NAMES))


def replayed(folder: Path, fidelity: Fidelity, batch_rows: int | None = None) -> Watched:
    source = ReplayDataSource(folder, fidelity=fidelity, batch_rows=batch_rows)
    watched = Watched(HyperliquidPerpetualConnector(source, source))
    source.play()
    return watched


@pytest.mark.parametrize(("fidelity", "batch_rows"), [("raw", None), ("normalized", None), ("normalized", 7)])
def test_a_replay_goes_through_the_same_events_and_states(
    session: Session, fidelity: Fidelity, batch_rows: int | None
) -> None:
    """Object for object, through lost connections, a liquidation and funding."""
    replay = replayed(session.folder, fidelity, batch_rows)
    live = session.live
    for number, (ours, theirs) in enumerate(zip(live.events, replay.events, strict=False)):
        assert ours == theirs, number
    assert len(live.events) == len(replay.events)
    assert live.state() == replay.state()


def test_the_facets_of_a_replay_feed_a_connector_too(session: Session) -> None:
    """Two sources with one dispatcher, in an event loop."""

    async def main() -> Watched:
        source = ReplayDataSource(session.folder)
        watched = Watched(HyperliquidPerpetualConnector(source.market, source.user_stream))
        async with watched.connector:
            await source.wait()
        return watched

    assert asyncio.run(main()).events == session.live.events


def test_the_session_had_everything_in_it(session: Session) -> None:
    """Else the comparisons prove little."""
    live = session.live
    for kind in (OrderCreated, OrderFilled, OrderCompleted, OrderCancelled, FundingPaid, PositionChanged, BookUpdated):
        assert live.count(kind) > 5, kind
    assert live.count(ConnectionLost) >= 10
    assert live.count(ConnectionRestored) >= 10
    kinds = {event.message.kind for event in live.events if isinstance(event, AccountNotice)}
    assert "liquidation" in kinds
    counts = Recording.open(session.folder).manifest.counts
    assert counts["fills"] > 50
    assert counts["order_updates"] > 100
    assert "event_parse_error" not in counts


def test_the_digest_covers_account_messages(session: Session) -> None:
    recording = Recording.open(session.folder)
    assert recording.manifest.live_digest == recording.manifest.digest
    chain, without = DigestChain(), DigestChain()
    source = ReplayDataSource(recording)
    for messages in recording.messages():
        for message in messages:
            book = source.tracker.apply(message)
            chain.update(message, book)
            if not isinstance(message, Fill):
                without.update(message, book)
    assert chain.hexdigest() == recording.manifest.digest != without.hexdigest()


# Against the venue's own REST state ------------------------------------------------------------------------------------


def rows(session: Session, kind: str) -> list[Any]:
    return [row for (each, _), found in session.rest.items() if each == kind for row in found]


def test_open_orders_are_the_venues(session: Session) -> None:
    ours = {
        order.order_id: (order.symbol, order.side, order.remaining, order.price)
        for order in session.live.connector.open_orders
    }
    theirs = {
        str(row["oid"]): (
            row["coin"],
            "buy" if row["side"] == "B" else "sell",
            Decimal(row["sz"]),
            float(row["limitPx"]),
        )
        for row in rows(session, "frontendOpenOrders") + rows(session, "xyzOpenOrders")
    }
    assert ours == theirs
    assert len(ours) > 3


def test_ended_orders_ended_as_the_venue_says(session: Session) -> None:
    orders = session.live.connector.user.orders
    history = [row for row in rows(session, "historicalOrders") if row["status"] != "open"]
    assert len(history) > 100
    for row in history:
        order = orders.find(str(row["order"]["oid"]), venue="hyperliquid")
        assert order is not None, row
        assert order.state is order_state(row["status"]), row
        if order.state is OrderState.FILLED and not order.is_reduce_only:
            # One that only reduces is cut to the position when it wakes, and filled with less than its size.
            assert order.missing == ZERO, row


def test_every_fill_is_counted_once(session: Session) -> None:
    filled: dict[str, Decimal] = {}
    fees: dict[str, Decimal] = {}
    profit = ZERO
    for row in rows(session, "userFills"):
        oid = str(row["oid"])
        filled[oid] = filled.get(oid, ZERO) + Decimal(row["sz"])
        fees[row["feeToken"]] = fees.get(row["feeToken"], ZERO) + Decimal(row["fee"])
        profit += Decimal(row["closedPnl"])
    orders = list(session.live.connector.user.orders)
    assert {order.order_id: order.filled for order in orders if order.filled} == filled
    assert sum((order.realized_pnl or ZERO for order in orders), ZERO) == profit
    for token, fee in fees.items():
        assert sum((order.fees.get(token, ZERO) for order in orders), ZERO) == fee


def test_positions_and_balances_are_the_venues(session: Session) -> None:
    connector = session.live.connector
    theirs = {
        (row["position"]["coin"], row["position"]["szi"], row["position"]["entryPx"])
        for state in [found for (kind, _), found in session.rest.items() if kind == "clearinghouseState"]
        for row in state["assetPositions"]
    }
    ours = {(each.symbol, each.size, each.entry_price) for each in connector.positions if ":" not in each.symbol}
    assert ours == {(coin, Decimal(size), Decimal(price)) for coin, size, price in theirs}
    assert ours
    for (kind, name), found in session.rest.items():
        account = session.accounts["maker" if name == "agent" else name]
        if kind == "clearinghouseState":
            balance = connector.user.balances.find("USDC", wallet="perp", account=account)
            assert balance is not None
            assert balance.total == float(found["marginSummary"]["accountValue"])
            assert balance.available == float(found["withdrawable"])
        elif kind == "spotClearinghouseState":
            for row in found["balances"]:
                balance = connector.user.balances.find(row["coin"], wallet="spot", account=account)
                assert balance is not None
                assert Decimal(repr(balance.total)) == Decimal(row["total"])
                assert Decimal(repr(balance.available)) == Decimal(row["total"]) - Decimal(row["hold"])
