"""dYdX v4's accounts: every frame and reply that was captured, against values read in the JSON by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import events, frame, of
from toolkit.account_messages import AccountEvent, Fill, OrderUpdate, PositionUpdate
from toolkit.accounts.exact_sums import exact
from toolkit.frames import REST_IN
from toolkit.messages import BalanceUpdate, EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions
from toolkit.venues.dydx_v4.protocol import DydxV4Protocol

pytestmark = pytest.mark.usefixtures("shared_data")

TRADER = "dydx1kzsvkf2ghjqlysuffdkhcdctknl4rsvcx5hkm5/0"
OWNER = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art/0"
REST = "dydx1n56z5fhmemtffzkt2eqyf9kuc7ycjfs86mvqy7/0"


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "dydx_v4"


def told(folder: Path, name: str) -> list[Message]:
    messages = DydxV4Protocol(ProtocolOptions()).receive(frame((folder / f"{name}.json").read_bytes()))
    assert not events(messages, EventKind.PARSE_ERROR)
    assert [message.sub_seq for message in messages] == list(range(len(messages)))
    return messages


def replied(folder: Path, name: str, tag: str) -> list[Message]:
    body = json.loads((folder / "rest" / f"{name}.json").read_bytes())["result"]
    context = {"tag": f"{tag}:{REST}", "status": 200}
    messages = DydxV4Protocol(ProtocolOptions()).receive(frame(body, kind=REST_IN, conn_id=-1, context=context))
    assert not events(messages, EventKind.PARSE_ERROR)
    return messages


def at(text: str) -> int:
    """Nanoseconds of a time in UTC with three decimals."""
    whole, millis = text.split(".")
    return int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()) * 10**9 + int(millis) * 10**6


def order(message: OrderUpdate) -> tuple[Any, ...]:
    return (
        message.order_id[:8],
        message.state,
        message.status,
        message.side,
        message.price,
        message.size,
        message.remaining,
        message.client_order_id,
    )


def terms(message: OrderUpdate) -> tuple[Any, ...]:
    return message.order_type, message.time_in_force, message.trigger_price, message.is_reduce_only


def test_an_opened_order(folder: Path) -> None:
    (opened,) = of(OrderUpdate, told(folder, "v4_accounts_channel_data_order_opened"))
    assert order(opened) == ("09a4bd71", "open", "BEST_EFFORT_OPENED", "buy", 2791.6, 0.002, None, "1885399800")
    assert terms(opened) == ("limit", "ioc", None, False)
    assert (opened.account, opened.symbol, opened.trading_pair) == (TRADER, "ETH-USD", "ETH-USD")
    assert (opened.ts_event, opened.is_history) == (None, False)


def test_a_stop_order(folder: Path) -> None:
    (opened,) = of(OrderUpdate, told(folder, "v4_accounts_channel_data_order_opened_stop_limit"))
    assert terms(opened) == ("stop limit", "ioc", 2791.9, False)


def test_a_long_term_order_and_its_cancel(folder: Path) -> None:
    (opened,) = of(OrderUpdate, told(folder, "v4_accounts_channel_data_order"))
    assert order(opened) == ("e628b62f", "open", "OPEN", "buy", 2666.4, 0.001, None, "1053905556")
    assert opened.ts_event == at("2024-08-12T11:19:22.082")
    (cancelled,) = of(OrderUpdate, told(folder, "v4_accounts_channel_data_order_canceled"))
    status = "CANCELED: USER_CANCELED"
    assert order(cancelled) == ("e628b62f", "cancelled", status, "buy", 2666.4, 0.001, 0.001, "1053905556")
    assert cancelled.ts_event == at("2024-08-12T11:27:02.651")


def test_a_best_effort_cancel_is_under_way(folder: Path) -> None:
    (update,) = of(OrderUpdate, told(folder, "v4_accounts_channel_data_order_best_effort_canceled"))
    status = "BEST_EFFORT_CANCELED: REDUCE_ONLY_RESIZE"
    assert order(update) == ("1a28b05a", "pending_cancel", status, "sell", 2519.4, 0.003, None, "1560051747")
    assert update.is_reduce_only


def test_an_expired_order_of_which_nothing_else_is_said(folder: Path) -> None:
    (update,) = of(OrderUpdate, told(folder, "v4_accounts_channel_data_order_expired"))
    assert order(update) == ("5a1c10aa", "expired", "CANCELED: EXPIRED", None, None, None, None, "1964904710")
    assert (update.account, update.symbol, terms(update)) == (OWNER, "ETH-USD", ("", "", None, False))


def test_fills(folder: Path) -> None:
    messages = told(folder, "v4_accounts_fills")
    fills = of(Fill, messages)
    assert [(each.price, each.size, each.fee, each.trade_id) for each in fills] == [
        (2620.1, 0.001, 0.001311, "011ec83d000000020000000b"),
        (2624.7, 0.001, 0.001313, "011ec83d000000020000000e"),
    ]
    first = fills[0]
    assert first.fill_id == "aec07db3-d668-5b77-8508-0f50a28bb303"
    assert first.order_id == "70dbcf99-214e-54f5-9ddd-3c5e1a46b95e"
    assert (first.side, first.is_maker, first.fee_asset, first.direction) == ("buy", False, "USDC", "LIMIT")
    assert (first.cause, first.ts_event) == (None, at("2024-08-12T14:06:01.172"))
    (update,) = of(OrderUpdate, messages)
    assert order(update) == ("70dbcf99", "filled", "FILLED", "buy", 2752.3, 0.002, 0.0, "1497046405")
    assert update.sub_seq < first.sub_seq


def test_a_frame_of_2023_has_its_event_as_a_buffer_and_no_fee(folder: Path) -> None:
    messages = told(folder, "v4_accounts_channel_data")
    (fill,) = of(Fill, messages)
    assert (fill.price, fill.size, fill.fee, fill.fee_asset) == (1854.25, 1.0, 0.0, "")
    assert fill.trade_id == "0000eef1000000020000004d"
    assert fill.account == "dydx1zsw8fczav25uvc8rg3zcv6zy9j7yhnktpq374m/0"
    (update,) = of(OrderUpdate, messages)
    assert order(update) == ("64fe30a2", "filled", "FILLED", "buy", 1948.65, 1.0, 0.0, None)


def test_a_fill_with_its_position(folder: Path) -> None:
    messages = told(folder, "v4_accounts_channel_data_affiliate_rev_share")
    (fill,) = of(Fill, messages)
    assert (fill.side, fill.price, fill.size, fill.fee) == ("sell", 2437.0, 0.001, 0.001219)
    (position,) = of(PositionUpdate, messages)
    assert (position.size, position.entry_price, position.unrealized_pnl) == (0.013, 1885.328125, 7.3268871)
    assert (position.margin_mode, position.funding_paid, position.ts_event) == ("cross", 0.0, None)
    (update,) = of(OrderUpdate, messages)
    assert (update.state, update.is_reduce_only, update.price) == ("filled", True, 0.1)


def test_a_withdrawal(folder: Path) -> None:
    (event,) = of(AccountEvent, told(folder, "v4_accounts_channel_data_transfers"))
    assert (event.kind, event.asset, event.amount) == ("withdrawal", "USDC", -10.0)
    assert event.ts_event == at("2024-08-16T08:43:22.999")
    assert event.event_id == (
        "19079256/WITHDRAWAL/USDC/10.0/C0A42DABFC98F8B51D0F092A9B8EB48BA189B3B77128D8A453FCD69D4365BD9C"
    )


def test_a_reward(folder: Path) -> None:
    (event,) = of(AccountEvent, told(folder, "v4_accounts_rewards"))
    assert (event.kind, event.asset, event.amount) == ("reward", "DYDX", 0.000406735266535702)
    assert (event.event_id, event.ts_event) == ("reward/18794557", at("2024-08-12T14:06:01.172"))


def test_a_snapshot_of_an_order_that_is_filled_whole(folder: Path) -> None:
    """Nobody announces that one is removed when it is filled: here it is listed four million blocks later."""
    messages = told(folder, "v4_accounts_subscribed")
    (update,) = of(OrderUpdate, messages)
    assert order(update) == ("05009670", "filled", "OPEN", "buy", 3335.3, 0.003, 0.0, "2043599281")
    assert update.is_history
    equity, collateral = of(BalanceUpdate, messages)
    assert (equity.wallet, equity.asset, equity.total, equity.available) == ("perp", "USDC", 11.623325, 11.623325)
    assert (equity.margin_used, equity.ts_event) == (0.0, None)
    assert (collateral.wallet, collateral.total, collateral.available) == ("collateral", 11.623325, 11.623325)


def test_a_snapshot_that_lists_one_order_twice(folder: Path) -> None:
    messages = told(folder, "v4_accounts_subscribed_best_effort_canceled")
    assert [(each.state, each.status) for each in of(OrderUpdate, messages)] == [
        ("filled", "BEST_EFFORT_OPENED"),
        ("filled", "BEST_EFFORT_CANCELED"),
    ]


@pytest.mark.parametrize(
    ("name", "equity", "free", "used", "cash", "short", "entry"),
    [
        ("v4_accounts_balance", 326.241869692, 20.9475641534, 305.2943055386, -5742.811799, -0.007, 2656.542857142857),
        (
            "v4_accounts_subscribed_negative_initial_margin",
            304.384048054,
            0.1986661447,
            304.1853819093,
            -5768.816478,
            -0.002,
            2618.8,
        ),
    ],
)
def test_a_snapshot_with_positions(
    folder: Path, name: str, equity: float, free: float, used: float, cash: float, short: float, entry: float
) -> None:
    messages = told(folder, name)
    whole, collateral = of(BalanceUpdate, messages)
    assert (whole.total, whole.available, whole.margin_used) == (equity, free, used)
    assert (collateral.total, collateral.available) == (cash, 0.0)
    positions = {each.symbol: each for each in of(PositionUpdate, messages)}
    assert positions["ETH-USD"].size == short
    assert positions["ETH-USD"].entry_price == pytest.approx(entry, rel=1e-15)
    bitcoin = positions["BTC-USD"]
    assert (bitcoin.size, bitcoin.entry_price) == (0.1036, 58308.13962472406)
    assert bitcoin.funding_paid == (0.043512 if name == "v4_accounts_balance" else 0.0)
    # Five orders of long ago: those filled whole are filled, of the others the last block is past.
    orders = of(OrderUpdate, messages)
    ends = {each.order_id[:8]: (each.state, each.status) for each in orders}
    assert ends == {
        "ae9e64e1": ("filled", "BEST_EFFORT_CANCELED"),
        "a5eb3913": ("cancelled", "goodTilBlock passed"),
        "02e7c5bb": ("filled", "BEST_EFFORT_CANCELED"),
        "0123a72b": ("filled", "BEST_EFFORT_CANCELED"),
        "d459eead": ("cancelled", "goodTilBlock passed"),
    }
    assert [each.state for each in orders if each.order_id.startswith("a5eb3913")] == ["pending_cancel", "cancelled"]
    assert all(each.is_history for each in orders)


def test_rest_fills(folder: Path) -> None:
    fills = of(Fill, replied(folder, "http_get_fills", "accountFills"))
    assert [(each.fill_id[:8], each.side, each.price, each.size, each.fee) for each in fills] == [
        ("c9dc5ed7", "sell", 104746.0, 0.0001, 0.0),
        ("ef7ad6fb", "sell", 104746.0, 0.0001, 0.0),
        ("6450e369", "buy", 105117.0, 0.0001, 0.0),
    ]
    assert {(each.symbol, each.account, each.fee_asset, each.trade_id) for each in fills} == {
        ("BTC-USD", REST, "USDC", "")
    }
    assert fills[-1].ts_event == at("2025-11-12T11:19:52.470")
    assert sum((exact(each.size) for each in fills), start=exact(0.0)) == exact(0.0003)


def test_rest_orders(folder: Path) -> None:
    orders = of(OrderUpdate, replied(folder, "http_get_orders", "accountOrders"))
    assert [order(each) for each in orders] == [
        ("47077318", "filled", "FILLED", "sell", 1.0, 0.0001, 0.0, "426627592"),
        ("8e2be4a2", "filled", "FILLED", "sell", 1.0, 0.0001, 0.0, "2501724362"),
        ("0f0981cb", "filled", "FILLED", "buy", 110372.0, 0.0001, 0.0, "1700756032"),
    ]
    assert orders[-1].ts_event == at("2025-11-12T11:19:52.470")
    assert terms(orders[-1]) == ("limit", "ioc", None, True)


def test_rest_transfers(folder: Path) -> None:
    (event,) = of(AccountEvent, replied(folder, "http_get_transfers", "accountTransfers"))
    assert (event.kind, event.asset, event.amount) == ("deposit", "USDC", 45.334703)
    assert event.ts_event == at("2025-10-20T11:42:26.405")


def test_a_rest_subaccount(folder: Path) -> None:
    messages = replied(folder, "http_get_subaccount", "subaccount")
    assert [(each.wallet, each.total, each.available) for each in of(BalanceUpdate, messages)] == [
        ("perp", 45.201296, 45.201296),
        ("collateral", 45.201296, 45.201296),
    ]


def test_every_captured_account_frame_is_looked_at(folder: Path) -> None:
    """A frame that is added to the captures has to be understood too."""
    for path in sorted(folder.glob("v4_accounts*.json")):
        messages = told(folder, path.stem)
        assert [each for each in messages if not isinstance(each, StreamEvent)], path.stem
