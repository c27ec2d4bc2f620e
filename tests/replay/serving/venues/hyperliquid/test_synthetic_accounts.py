"""The account streams and requests of the venue, with the seeded traders at work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pytest

from replay.serving.face import as_json as encode
from replay.serving.venues.hyperliquid.fills import aggregated
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid, VenueOptions
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from tests.units import unit_digits
from toolkit.clock import NS_PER_S

QUICK_FUNDING_NS = 20 * NS_PER_S
LISTS = (
    "orderUpdates",
    "userEvents",
    "userFills",
    "userFundings",
    "userNonFundingLedgerUpdates",
    "userHistoricalOrders",
)
STATES = ("clearinghouseState", "allDexsClearinghouseState", "openOrders", "spotState", "webData3")


def make_venue(seed: int = 7, **options: Any) -> SyntheticHyperliquid:
    market = Market(MarketOptions(seed=seed, funding_every_ns=QUICK_FUNDING_NS))
    return SyntheticHyperliquid(market, VenueOptions(**options), AccountsOptions(liquidation_block=200))


def advance(venue: SyntheticHyperliquid, blocks: int) -> int:
    """Make blocks; returns the time after them."""
    now_ns = venue.market.block_time_ns(venue.market.number + blocks)
    venue.advance(now_ns)
    return now_ns


def user(venue: SyntheticHyperliquid, name: str) -> str:
    return next(each.address for each in venue.exchange.accounts.values() if each.name == name)


def ask(venue: SyntheticHyperliquid, kind: str, **fields: Any) -> Any:
    reply = venue.info.handle(encode({"type": kind, **fields}), "application/json")
    assert reply.status == 200
    return msgspec.json.decode(reply.body)


class Watcher:
    """A client that follows one account by its streams alone."""

    def __init__(self, venue: SyntheticHyperliquid, address: str, kinds: tuple[str, ...] = LISTS + STATES) -> None:
        self.venue = venue
        self.address = address
        now_ns = venue.market.block_time_ns(venue.market.number)
        session = venue.connect("127.0.0.1", now_ns)
        assert session is not None
        self.session = session
        for kind in kinds:
            message = {"method": "subscribe", "subscription": {"type": kind, "user": address}}
            session.receive(encode(message).decode(), now_ns)

    def take(self) -> Iterator[tuple[str, Any]]:
        for text in self.session.take():
            message = msgspec.json.decode(text)
            if message["channel"] != "subscriptionResponse":
                yield message["channel"], message["data"]


@pytest.fixture(scope="module")
def played() -> SyntheticHyperliquid:
    """A venue with 1,000 blocks behind it; the tests only ask."""
    venue = make_venue()
    advance(venue, 1000)
    return venue


# Streams ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maker", "taker", "gambler", "sub"])
def test_streams_and_requests_agree_after_every_block(name: str) -> None:
    venue = make_venue()
    address = user(venue, name)
    advance(venue, 100)
    watcher = Watcher(venue, address)
    latest: dict[str, Any] = {}
    fills: list[Any] = []
    fundings: list[Any] = []
    ledger: list[Any] = []
    open_orders: dict[int, Any] = {row["oid"]: row for row in ask(venue, "openOrders", user=address)}
    for _ in range(250):
        for channel, data in watcher.take():
            match channel:
                case "userFills":
                    fills = data["fills"][::-1] if data.get("isSnapshot") else fills + data["fills"]
                case "userFundings":
                    fundings = data["fundings"] if data.get("isSnapshot") else fundings + data["fundings"]
                case "userNonFundingLedgerUpdates":
                    ledger = ([] if data.get("isSnapshot") else ledger) + data["nonFundingLedgerUpdates"]
                case "orderUpdates":
                    for row in data:
                        if row["status"] == "open":
                            open_orders[row["order"]["oid"]] = row["order"]
                        else:
                            open_orders.pop(row["order"]["oid"], None)
                case state if state in STATES:
                    latest[state] = data
                case _:
                    pass
        whole = {"user": address, "startTime": 0}
        assert ask(venue, "userFills", user=address) == fills[::-1][:2000]
        assert [row["delta"]["usdc"] for row in ask(venue, "userFunding", **whole)] == [row["usdc"] for row in fundings]
        assert ask(venue, "userNonFundingLedgerUpdates", **whole) == ledger
        assert set(open_orders) == {row["oid"] for row in ask(venue, "openOrders", user=address)} | {
            row["oid"] for row in ask(venue, "openOrders", user=address, dex="xyz")
        }
        assert latest["openOrders"]["orders"] == ask(venue, "frontendOpenOrders", user=address)
        assert latest["spotState"]["spotState"] == ask(venue, "spotClearinghouseState", user=address)
        streamed, asked = (
            latest["clearinghouseState"]["clearinghouseState"],
            ask(venue, "clearinghouseState", user=address),
        )
        assert {**streamed, "time": 0} == {**asked, "time": 0}
        advance(venue, 1)


@pytest.mark.parametrize("name", ["maker", "taker", "gambler", "sub"])
def test_positions_and_money_follow_from_the_streams(played: SyntheticHyperliquid, name: str) -> None:
    address = user(played, name)
    whole = {"user": address, "startTime": 0}
    fills = ask(played, "userFillsByTime", **whole)
    sizes: Counter[str] = Counter()
    money = 0
    for row in fills:
        if row["coin"].startswith(("@", "xyz:")):
            continue
        assert unit_digits(row["startPosition"], 6) == sizes[row["coin"]]
        size = unit_digits(row["sz"], 6)
        sizes[row["coin"]] += size if row["side"] == "B" else -size
        money += unit_digits(row["closedPnl"], 6) - unit_digits(row["fee"], 6)
    for row in ask(played, "userFunding", **whole):
        if not row["delta"]["coin"].startswith("xyz:"):
            money += unit_digits(row["delta"]["usdc"], 6)
    for row in ask(played, "userNonFundingLedgerUpdates", **whole):
        delta = row["delta"]
        if delta["type"] == "liquidation":
            continue
        sign = 1 if delta["type"] == "deposit" or delta.get("destination") == address else -1
        money += sign * unit_digits(delta["usdc"], 6)
    if name == "maker":
        money -= 200_000 * 10**6  # the deposit that went to the other dex
    state = ask(played, "clearinghouseState", user=address)
    held = {row["position"]["coin"]: row["position"] for row in state["assetPositions"]}
    assert {coin: unit_digits(row["szi"], 6) for coin, row in held.items()} == {
        coin: size for coin, size in sizes.items() if size
    }
    unrealised = sum(unit_digits(row["unrealizedPnl"], 6) for row in held.values())
    assert unit_digits(state["marginSummary"]["accountValue"], 6) == money + unrealised


def test_the_traders_meet_whatever_an_account_stream_can_say() -> None:
    venue = make_venue()
    watchers = [Watcher(venue, each) for each in venue.exchange.accounts]
    advance(venue, 1600)
    statuses: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for watcher in watchers:
        for channel, data in watcher.take():
            if channel == "orderUpdates":
                statuses.update(row["status"] for row in data)
                assert not any("user" in row for row in data)
            elif channel == "user":
                assert len(data) == 1
                events.update(list(data))
    assert set(events) == {"fills", "funding", "liquidation", "nonUserCancel"}
    assert set(statuses) >= {
        "open",
        "filled",
        "canceled",
        "triggered",
        "liquidatedCanceled",
        "reduceOnlyCanceled",
        "iocCancelRejected",
        "badAloPxRejected",
        "minTradeNtlRejected",
        "perpMarginRejected",
        "reduceOnlyRejected",
        "insufficientSpotBalanceRejected",
    }


def test_the_first_frame_of_a_list_is_a_snapshot_and_later_ones_are_not() -> None:
    venue = make_venue()
    advance(venue, 150)
    address = user(venue, "maker")
    watcher = Watcher(venue, address)
    first = dict(watcher.take())
    assert "orderUpdates" not in first
    assert "user" not in first
    for channel in ("userFills", "userFundings", "userNonFundingLedgerUpdates", "userHistoricalOrders"):
        assert first[channel]["isSnapshot"] is True
        assert first[channel]["user"] == address
    assert first["userFills"]["fills"] == ask(venue, "userFills", user=address)
    advance(venue, 150)
    later = [(channel, data) for channel, data in watcher.take() if channel not in STATES]
    assert {"userFills", "orderUpdates", "user"} <= {channel for channel, _ in later}
    assert not any("isSnapshot" in data for _, data in later)


def test_status_and_fills_come_in_either_order() -> None:
    venue = make_venue()
    watcher = Watcher(venue, user(venue, "taker"), ("orderUpdates", "userFills"))
    orders: set[str] = set()
    for _ in range(400):
        advance(venue, 1)
        seen = ["fill" if channel == "userFills" else "status" for channel, _ in watcher.take()]
        if len(seen) == 2:
            orders.add(seen[0])
    assert orders == {"fill", "status"}


def test_a_modify_keeps_the_cloid_and_changes_the_order_id() -> None:
    venue = make_venue()
    watcher = Watcher(venue, user(venue, "maker"), ("orderUpdates",))
    advance(venue, 400)
    by_cloid: dict[str, set[int]] = {}
    for _, data in watcher.take():
        for row in data:
            by_cloid.setdefault(row["order"]["cloid"], set()).add(row["order"]["oid"])
    assert max(len(oids) for oids in by_cloid.values()) > 1


def test_states_are_sent_again_on_a_slow_clock_though_nothing_changed() -> None:
    venue = make_venue()
    watcher = Watcher(venue, "0x" + "0" * 40, ("spotState",))
    advance(venue, 1)
    list(watcher.take())
    advance(venue, 300)
    states = [data for _, data in watcher.take()]
    assert 3 <= len(states) <= 5
    assert all(each["spotState"] == {"balances": []} for each in states)


def test_the_liquidation_begins_in_the_block_that_was_asked_for() -> None:
    venue = make_venue()
    gambler = user(venue, "gambler")
    advance(venue, 199)
    assert ask(venue, "clearinghouseState", user=gambler)["assetPositions"]
    advance(venue, 150)
    assert not ask(venue, "clearinghouseState", user=gambler)["assetPositions"]
    ledger = ask(venue, "userNonFundingLedgerUpdates", user=gambler, startTime=0)
    assert ledger[-1]["delta"]["type"] == "liquidation"
    assert unit_digits(ask(venue, "clearinghouseState", user=gambler)["withdrawable"], 6) > 0


@pytest.mark.parametrize("seed", range(4))
def test_nobody_ends_with_less_than_nothing(seed: int) -> None:
    venue = make_venue(seed)
    for _ in range(6):
        advance(venue, 100)
        for account in venue.exchange.accounts.values():
            for house in account.clearinghouses.values():
                assert house.value(venue.market.mark) >= 0
            for token, balance in account.spot.items():
                assert balance.total >= account.held(token) >= 0


def test_accounts_are_as_deterministic_as_the_market() -> None:
    def digest(steps: list[int]) -> str:
        venue = make_venue(seed=11)
        watchers = [Watcher(venue, each) for each in venue.exchange.accounts]
        for blocks in steps:
            advance(venue, blocks)
        state = blake2b()
        for watcher in watchers:
            for text in watcher.session.take():
                state.update(text.encode())
        return state.hexdigest()

    assert digest([120]) == digest([1] * 50 + [70])


# Requests --------------------------------------------------------------------------------------------------------------


def test_roles_tell_agents_and_sub_accounts_from_users(played: SyntheticHyperliquid) -> None:
    maker = user(played, "maker")
    (agent,) = played.exchange.agents
    assert ask(played, "userRole", user=maker) == {"role": "user"}
    assert ask(played, "userRole", user=maker.upper().replace("0X", "0x")) == {"role": "user"}
    assert ask(played, "userRole", user=agent) == {"role": "agent", "data": {"user": maker}}
    assert ask(played, "userRole", user=user(played, "sub")) == {"role": "subAccount", "data": {"master": maker}}
    assert ask(played, "userRole", user="0x" + "0" * 40) == {"role": "missing"}
    (sub,) = ask(played, "subAccounts", user=maker)
    assert (sub["subAccountUser"], sub["master"]) == (user(played, "sub"), maker)
    assert ask(played, "subAccounts", user=user(played, "taker")) is None
    assert ask(played, "extraAgents", user=maker)[0]["address"] == agent


@pytest.mark.parametrize("who", ["agent", "nobody"])
def test_an_address_that_owns_nothing_gets_empty_answers(played: SyntheticHyperliquid, who: str) -> None:
    address = next(iter(played.exchange.agents)) if who == "agent" else "0x" + "0" * 40
    for kind in ("openOrders", "frontendOpenOrders", "userFills", "historicalOrders"):
        assert ask(played, kind, user=address) == []
    assert ask(played, "spotClearinghouseState", user=address) == {"balances": []}
    state = ask(played, "clearinghouseState", user=address)
    assert state["marginSummary"]["accountValue"] == "0.0"
    assert state["assetPositions"] == []
    assert ask(played, "orderStatus", user=address, oid=1) == {"status": "unknownOid"}


@pytest.mark.parametrize("address", ["0x12", "me", "0x" + "g" * 40])
def test_a_malformed_address_is_unprocessable(played: SyntheticHyperliquid, address: str) -> None:
    body = encode({"type": "userFills", "user": address})
    assert played.info.handle(body, "application/json").status == 422


def test_an_order_is_found_by_either_id(played: SyntheticHyperliquid) -> None:
    maker = user(played, "maker")
    newest = ask(played, "historicalOrders", user=maker)[0]
    found = ask(played, "orderStatus", user=maker, oid=newest["order"]["oid"])
    assert found == {"status": "order", "order": newest}
    by_cloid = ask(played, "orderStatus", user=maker, oid=newest["order"]["cloid"])
    assert by_cloid["order"]["order"]["cloid"] == newest["order"]["cloid"]


def test_fills_by_time_come_oldest_first_and_within_bounds(played: SyntheticHyperliquid) -> None:
    taker = user(played, "taker")
    newest_first = ask(played, "userFills", user=taker)
    rows = ask(played, "userFillsByTime", user=taker, startTime=0)
    assert rows == newest_first[::-1]
    middle = rows[len(rows) // 2]["time"]
    assert all(row["time"] >= middle for row in ask(played, "userFillsByTime", user=taker, startTime=middle))
    assert all(row["time"] <= middle for row in ask(played, "userFillsByTime", user=taker, startTime=0, endTime=middle))


def test_aggregated_fills_keep_the_sums() -> None:
    base = {"time": 1, "oid": 5, "coin": "BTC", "side": "B", "crossed": True, "closedPnl": "-1.5"}
    rows = [
        {**base, "px": "100.0", "sz": "1.0", "fee": "0.1", "tid": 1},
        {**base, "px": "101.0", "sz": "3.0", "fee": "0.25", "tid": 2},
        {**base, "px": "101.0", "sz": "3.0", "fee": "0.25", "tid": 3, "oid": 6},
    ]
    one, other = aggregated(rows)
    assert (one["px"], one["sz"], one["fee"], one["closedPnl"], one["tid"]) == ("100.75", "4.0", "0.35", "-3.0", 1)
    assert other == rows[2]


def test_a_liquidation_price_is_where_the_margin_ends() -> None:
    venue = make_venue()
    advance(venue, 199)
    (row,) = ask(venue, "clearinghouseState", user=user(venue, "gambler"))["assetPositions"]
    context = venue.market.perps["SOL"]
    px = unit_digits(row["position"]["liquidationPx"], context.instrument.px_decimals + 1)
    account = venue.exchange.accounts[user(venue, "gambler")]
    house = account.clearinghouses[""]
    # One unit to either side of it.
    inside, outside = (px // 10 + 2, px // 10 - 1)
    if house.positions["SOL"].lots < 0:
        inside, outside = px // 10 - 1, px // 10 + 2
    context.mark = inside
    assert house.value(venue.market.mark) >= house.maintenance(venue.market.mark)
    context.mark = outside
    assert house.value(venue.market.mark) < house.maintenance(venue.market.mark)


# Shapes ----------------------------------------------------------------------------------------------------------------


def captured(shared_data: Path, name: str) -> Any:
    """The reply in one of the recorded request and response pairs: the last JSON text in the file."""
    import yaml

    document = yaml.safe_load((shared_data / "hyperliquid" / "rest" / f"{name}.yaml").read_text())
    return msgspec.json.decode(document["interactions"][-1]["response"]["body"]["string"])


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return type(value).__name__


def test_orders_and_ledgers_have_the_shape_of_captured_ones(played: SyntheticHyperliquid, shared_data: Path) -> None:
    maker = user(played, "maker")
    ours = next(row for row in ask(played, "historicalOrders", user=maker) if row["order"]["cloid"])
    theirs = captured(shared_data, "test_historical_orders")[0]
    ours["order"]["cloid"] = None
    assert shape(ours) == shape(theirs)
    ours = ask(played, "userNonFundingLedgerUpdates", user=maker, startTime=0)[0]
    assert shape(ours) == shape(captured(shared_data, "test_user_non_funding_ledger_updates_without_end_time")[0])
    funding = ask(played, "userFunding", user=maker, startTime=0)[0]
    theirs = captured(shared_data, "test_user_funding_history_with_end_time")[0]
    assert set(funding) == set(theirs)
    assert set(funding["delta"]) == set(theirs["delta"])


def test_a_clearinghouse_state_has_what_captured_ones_have(played: SyntheticHyperliquid, shared_data: Path) -> None:
    theirs = captured(shared_data, "test_get_user_state")
    ours = ask(played, "clearinghouseState", user=user(played, "maker"))
    # Since that capture of 2023 the venue renamed `maxTradeSzs` away and added fields.
    expected = set(theirs["assetPositions"][0]["position"]) - {"maxTradeSzs"}
    assert expected <= set(ours["assetPositions"][0]["position"])
    assert set(ours["marginSummary"]) == set(theirs["marginSummary"])


def test_a_liquidation_fill_has_the_shape_of_the_captured_one(shared_data: Path) -> None:
    theirs = msgspec.json.decode((shared_data / "hyperliquid" / "ws_user_fill_liquidation.json").read_bytes())
    venue = make_venue()
    advance(venue, 350)
    fills = ask(venue, "userFills", user=user(venue, "gambler"))
    ours = next(row for row in fills if "liquidation" in row)
    expected = shape(theirs["data"]["fills"][0])
    del expected["cloid"]
    assert shape(ours) == expected


def test_addresses_and_hashes_are_hex(played: SyntheticHyperliquid) -> None:
    for account in played.exchange.accounts.values():
        assert re.fullmatch(r"0x[0-9a-f]{40}", account.address)
        for row in ask(played, "userNonFundingLedgerUpdates", user=account.address, startTime=0):
            assert re.fullmatch(r"0x[0-9a-f]{64}", row["hash"])
