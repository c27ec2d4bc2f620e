"""The known accounts behind the synthetic dYdX v4: what anybody is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from replay.market.engine.orders import Tif
from replay.serving.synthetic_venue import Ask
from replay.serving.venues.dydx_v4.names import bech32
from replay.serving.venues.dydx_v4.synthetic.venue import SyntheticDydx
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from toolkit.clock import NS_PER_S

SUBACCOUNTS, PARENTS = "v4_subaccounts", "v4_parent_subaccounts"


class Watch:
    """What a minute and a half of the market said of every account."""

    def __init__(self) -> None:
        market = Market(MarketOptions(seed=7))
        self.venue = SyntheticDydx(market, None, AccountsOptions())
        self.names = self.venue.account_names()
        self.start_ns = market.options.genesis_ns
        session = self.venue.open("x", "/v4/ws", "", self.start_ns)
        assert session is not None
        for channel, name in [*((SUBACCOUNTS, each) for each in self.names.values()), (PARENTS, self.names["maker"])]:
            session.receive(json.dumps({"type": "subscribe", "channel": channel, "id": name}), self.start_ns)
        self.venue.advance(self.start_ns + 90 * NS_PER_S)
        self.frames: list[Any] = [json.loads(text) for text in session.take()]

    def contents(self, channel: str, id: str, kind: str = "channel_data") -> list[Any]:
        wanted = (kind, channel, id)
        return [
            each["contents"] for each in self.frames if (each["type"], each.get("channel"), each.get("id")) == wanted
        ]

    def rows(self, name: str, key: str) -> Iterator[Any]:
        for contents in self.contents(SUBACCOUNTS, self.names[name]):
            yield from contents.get(key, [])

    def get(self, path: str, name: str, **query: str) -> tuple[int, Any]:
        address, number = self.names[name].split("/")
        query = {"address": address, "subaccountNumber": number, "parentSubaccountNumber": number} | query
        reply = self.venue.answer(Ask("GET", f"/v4/{path}", query, b"", "", "x"), self.start_ns)
        return reply.status, json.loads(reply.body)


@pytest.fixture(scope="module")
def watch() -> Watch:
    """Nobody changes it."""
    return Watch()


def test_an_address_is_the_standards_example() -> None:
    """The first of BIP 173's valid addresses, without the witness version that other chains do not have."""
    assert bech32("a", b"") == "a12uel5l"
    assert bech32("dydx", bytes(20)).startswith("dydx1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq")


def test_a_sub_account_is_the_owners_next_subaccount(watch: Watch) -> None:
    owner = watch.names["maker"].partition("/")[0]
    assert watch.names["maker"] == f"{owner}/0"
    assert watch.names["sub"] == f"{owner}/1"


def test_a_subscription_begins_with_the_subaccount(watch: Watch) -> None:
    (first,) = watch.contents(SUBACCOUNTS, watch.names["taker"], "subscribed")
    assert first.keys() == {"subaccount", "orders", "blockHeight"}
    assert first["subaccount"]["assetPositions"]["USDC"]["symbol"] == "USDC"


def test_who_never_existed_has_no_contents() -> None:
    venue = SyntheticDydx(Market(MarketOptions(seed=1)), None, AccountsOptions())
    stranger = bech32("dydx", b"\x01" * 20)
    assert venue.people.snapshot(SUBACCOUNTS, f"{stranger}/0") == {}
    assert venue.people.is_valid(SUBACCOUNTS, f"{stranger}/127999")
    assert not venue.people.is_valid(SUBACCOUNTS, f"{stranger}/128000")
    assert not venue.people.is_valid(PARENTS, f"{stranger}/128")
    assert not venue.people.is_valid(SUBACCOUNTS, "dydx1/0")


def test_every_life_of_an_order_is_there(watch: Watch) -> None:
    seen = {(row["status"], row["orderFlags"]) for name in watch.names for row in watch.rows(name, "orders")}
    assert seen >= {
        ("BEST_EFFORT_OPENED", "0"),
        ("OPEN", "0"),
        ("FILLED", "0"),
        ("BEST_EFFORT_CANCELED", "0"),
        ("OPEN", "64"),
        ("FILLED", "64"),
        ("CANCELED", "64"),
        ("UNTRIGGERED", "32"),
        ("CANCELED", "32"),
    }


def test_a_short_term_order_is_open_in_the_chain_only_with_a_fill(watch: Watch) -> None:
    rows = [row for row in watch.rows("maker", "orders") if row["orderFlags"] == "0"]
    assert all(Decimal(row["totalFilled"]) > 0 for row in rows if row["status"] in ("OPEN", "FILLED"))
    assert not [row for row in rows if row["status"] == "CANCELED"]


def test_a_cancelled_order_may_still_be_filled_by_the_next_block() -> None:
    """What was matched before the cancel becomes final after it."""
    market = Market(MarketOptions(seed=7))
    venue = SyntheticDydx(market, None, AccountsOptions())
    session = venue.open("x", "/v4/ws", "", market.options.genesis_ns)
    assert session is not None
    name = venue.account_names()["taker"]
    session.receive(json.dumps({"type": "subscribe", "channel": SUBACCOUNTS, "id": name}), venue.now_ns)
    venue.advance(market.options.genesis_ns + NS_PER_S)
    taker = next(each for each in venue.exchange.accounts.values() if each.name == "taker")
    placed: list[int] = []

    def take_more_than_there_is(block: int) -> None:
        best = market.books["ETH"].asks.best_level()
        if best is not None and not placed:
            record = venue.exchange.place(taker, "ETH", True, best.px, best.lots + 5_000, tif=Tif.IOC)
            placed.append(record.order.oid)

    venue.exchange.owners.append(take_more_than_there_is)
    session.take()
    venue.advance(market.options.genesis_ns + 3 * NS_PER_S)
    order_id = venue.people._subaccount(taker, "").orders[placed[0]]["id"]
    told: list[tuple[str, str]] = []
    for text in session.take():
        contents = json.loads(text)["contents"]
        told += [("order", row["status"]) for row in contents.get("orders", []) if row["id"] == order_id]
        told += [("fill", row["type"]) for row in contents.get("fills", []) if row["orderId"] == order_id]
    assert told[0] == ("order", "BEST_EFFORT_CANCELED")
    assert told[1:].count(("fill", "LIMIT"))
    assert told[-1][0] == "fill" or told[-1] == ("order", "BEST_EFFORT_CANCELED")


def test_no_short_term_order_rests_beyond_its_block(watch: Watch) -> None:
    """One that rests on is placed again for longer, as clients of that venue do."""
    height = watch.venue.chain.height
    _, rows = watch.get("orders", "maker", status="BEST_EFFORT_OPENED")
    assert rows
    assert all(height < int(row["goodTilBlock"]) <= height + 20 for row in rows)


def test_fills_add_up_to_orders_and_positions(watch: Watch) -> None:
    filled: dict[str, Decimal] = {}
    held: dict[str, Decimal] = {}
    totals: dict[str, Decimal] = {}
    positions: dict[str, Decimal] = {}
    for contents in watch.contents(SUBACCOUNTS, watch.names["taker"]):
        for fill in contents.get("fills", []):
            size = Decimal(fill["size"])
            filled[fill["orderId"]] = filled.get(fill["orderId"], Decimal(0)) + size
            held[fill["ticker"]] = held.get(fill["ticker"], Decimal(0)) + (size if fill["side"] == "BUY" else -size)
        totals |= {row["id"]: Decimal(row["totalFilled"]) for row in contents.get("orders", [])}
        positions |= {row["market"]: Decimal(row["size"]) for row in contents.get("perpetualPositions", [])}
    assert len(filled) > 20
    assert filled == {order: totals[order] for order in filled}
    assert held == positions


def test_a_fill_is_a_public_trade(watch: Watch) -> None:
    trades = {row["id"]: row for rows in watch.venue.chain.history.values() for row in rows}
    fills = list(watch.rows("taker", "fills"))
    assert len({fill["id"] for fill in fills}) == len(fills)
    for fill in fills:
        trade = trades.get(fill["eventId"])
        if trade is not None:
            assert (fill["size"], fill["price"], fill["createdAt"]) == (
                trade["size"],
                trade["price"],
                trade["createdAt"],
            )


def test_a_liquidation_has_fills_without_an_order_and_ends_the_position(watch: Watch) -> None:
    fills = [fill for fill in watch.rows("gambler", "fills") if fill["type"] == "LIQUIDATED"]
    assert fills
    assert all("orderId" not in fill for fill in fills)
    assert any(row["status"] == "LIQUIDATED" for row in watch.rows("gambler", "perpetualPositions"))


def test_the_parent_is_told_of_the_child_that_holds_isolated_positions(watch: Watch) -> None:
    numbers = {
        frame["subaccountNumber"]
        for frame in watch.frames
        if frame.get("channel") == PARENTS and frame["type"] == "channel_data"
    }
    assert numbers == {0, 128}
    (first,) = watch.contents(PARENTS, watch.names["maker"], "subscribed")
    assert [child["subaccountNumber"] for child in first["subaccount"]["childSubaccounts"]] == [0, 128]
    assert not [row for row in watch.rows("maker", "fills") if "," in row["ticker"]]


def test_transfers_are_one_object_a_frame(watch: Watch) -> None:
    transfers = [each["transfers"] for each in watch.contents(SUBACCOUNTS, watch.names["sub"]) if "transfers" in each]
    assert transfers
    assert transfers[-1]["type"] == "TRANSFER_IN"
    assert transfers[-1]["recipient"]["subaccountNumber"] == 1


def test_rest_tells_the_rows_of_the_stream(watch: Watch) -> None:
    _, answer = watch.get("fills", "taker")
    told = [fill["id"] for fill in watch.rows("taker", "fills")]
    assert sorted(row["id"] for row in answer["fills"]) == sorted(told)
    assert all("market" in row and "ticker" not in row for row in answer["fills"])
    _, orders = watch.get("orders", "taker")
    assert isinstance(orders, list)
    address, number = watch.names["taker"].split("/")
    _, one = watch.get(f"addresses/{address}/subaccountNumber/{number}", "taker")
    assert one["subaccount"]["address"] == address
    assert watch.get(f"addresses/{address}/subaccountNumber/77", "taker")[0] == 404
    _, positions = watch.get("perpetualPositions", "taker", status="OPEN")
    assert {row["market"] for row in positions["positions"]} == one["subaccount"]["openPerpetualPositions"].keys()
    assert watch.get("transfers/parentSubaccountNumber", "maker")[1]["transfers"]
    assert watch.get("assetPositions", "maker")[1]["positions"][0]["symbol"] == "USDC"


@pytest.mark.parametrize("path", ["fills", "transfers", "fundingPayments"])
def test_pages_of_accounts_are_bounded_as_all_others(watch: Watch, path: str) -> None:
    for limit in ("0", "1001"):
        status, answer = watch.get(path, "maker", limit=limit)
        assert (status, list(answer)) == (400, ["errors"])
    assert watch.get(path, "maker", limit="1000")[0] == 200
