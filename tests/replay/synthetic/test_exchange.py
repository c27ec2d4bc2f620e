"""Orders of known accounts: what the venue makes of them, and what they do to positions and balances."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.synthetic.account import Account, Position, Trigger, divide
from replay.synthetic.account_wire import AccountWire
from replay.synthetic.coins import DEFAULT_INSTRUMENTS, unit_digits
from replay.synthetic.exchange import Exchange
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.metadata import Metadata
from toolkit.clock import NS_PER_S

COINS = {each.coin: each for each in DEFAULT_INSTRUMENTS}
USD = 10**6


def _units(usd: str) -> int:
    """Printed perpetual money as an integer of 1e-6."""
    return unit_digits(usd, 6)


class Desk:
    """A market with one account that has 100,000 USDC on each side and the book of BTC to trade in."""

    def __init__(self, **options: Any) -> None:
        self.market = Market(MarketOptions(seed=1, **options))
        self.exchange = Exchange(self.market, AccountWire(self.market, Metadata(self.market.instruments)), 1)
        self.market.participants.append(self.exchange)
        self.account = self.exchange.open_account("tester")
        self.exchange.deposit(self.account, COINS["BTC"], 200_000 * USD)
        self.exchange.to_spot(self.account, COINS["BTC"], 100_000 * USD)
        self.exchange.take_news()

    @property
    def bid(self) -> int:
        best = self.market.books["BTC"].bids.best
        assert best is not None
        return best

    @property
    def ask(self) -> int:
        best = self.market.books["BTC"].asks.best
        assert best is not None
        return best

    @property
    def position(self) -> Position:
        return self.account.clearinghouse(COINS["BTC"]).position(COINS["BTC"])

    def place(self, is_buy: bool, px: int, lots: int = 5000, **options: Any) -> str:
        return self.exchange.place(self.account, "BTC", is_buy, px, lots, **options).status

    def buy(self, lots: int) -> None:
        assert self.place(True, self.ask + 1000, lots, tif="Ioc") == "filled"

    def statuses(self) -> list[str]:
        """Statuses told to the owner since the last call."""
        news = self.exchange.take_news().get(self.account.address)
        return [] if news is None else [row["status"] for row in news.updates]


# Positions -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10_000)), max_size=40), st.integers(1, 10_000)
)
def test_realised_and_unrealised_profit_are_the_money_that_moved(fills: list[tuple[int, int]], mark: int) -> None:
    position = Position(COINS["BTC"], 40)
    realised = sum(position.fill(lots, px) for lots, px in fills)
    held = sum(lots for lots, _ in fills)
    assert position.lots == held
    assert realised + held * mark - position.cost == held * mark - sum(lots * px for lots, px in fills)
    if not held:
        assert position.cost == 0


def test_division_towards_zero_is_symmetric() -> None:
    assert [divide(7, 2), divide(-7, 2), divide(7, -2), divide(-7, -2)] == [3, -3, -3, 3]


# What becomes of an order ----------------------------------------------------------------------------------------------


def test_a_resting_order_is_open_until_it_is_cancelled() -> None:
    desk = Desk()
    record = desk.exchange.place(desk.account, "BTC", True, desk.bid, 5000, cloid="0x" + "1" * 32)
    assert desk.statuses() == ["open"]
    assert record.order.oid in desk.market.books["BTC"].orders
    assert desk.exchange.cancel(desk.account, record.order.oid)
    assert desk.statuses() == ["canceled"]
    assert not desk.exchange.cancel(desk.account, record.order.oid)
    assert record.order.oid not in desk.market.books["BTC"].orders


def test_a_modify_is_a_cancel_and_a_new_order_under_the_same_cloid() -> None:
    desk = Desk()
    cloid = "0x" + "2" * 32
    record = desk.exchange.place(desk.account, "BTC", True, desk.bid, 5000, cloid=cloid)
    changed = desk.exchange.modify(desk.account, record.order.oid, desk.bid - 10, 4000)
    assert changed is not None
    assert changed.order.oid != record.order.oid
    assert (record.status, changed.status, changed.order.cloid) == ("canceled", "open", cloid)
    assert list(desk.account.open) == [changed.order.oid]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"lots": 1}, "minTradeNtlRejected"),
        ({"px": 3}, "tickRejected"),
        ({"lots": 10**9}, "perpMarginRejected"),
        ({"px": 10_000, "tif": "Alo"}, "badAloPxRejected"),
        ({"tif": "Ioc"}, "iocCancelRejected"),
        ({"reduce_only": True}, "reduceOnlyRejected"),
    ],
)
def test_an_order_that_the_venue_does_not_take_says_why(options: dict[str, Any], status: str) -> None:
    desk = Desk()
    px = desk.bid + options.pop("px", 0)
    assert desk.place(True, px, **options) == status
    assert desk.statuses() == [status]
    assert not desk.account.open
    assert not desk.position.lots


def test_spot_needs_the_balance_less_what_is_held() -> None:
    desk = Desk()
    hype = COINS["@107"]
    bid = desk.market.books["@107"].bids.best
    assert bid is not None
    lots = 90_000 * hype.one // bid * 100
    exchange, account = desk.exchange, desk.account
    assert exchange.place(account, "@107", True, bid, lots).status == "open"
    assert account.held("USDC") == bid * lots
    assert exchange.place(account, "@107", True, bid, lots).status == "insufficientSpotBalanceRejected"
    assert exchange.place(account, "@107", False, bid, lots).status == "insufficientSpotBalanceRejected"


def test_an_immediate_order_that_finds_too_little_is_cancelled_with_its_rest() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    record = desk.exchange.place(desk.account, "BTC", True, level.px, level.lots + 7, tif="Ioc")
    assert (record.status, record.order.lots, desk.position.lots) == ("canceled", 7, level.lots)
    assert desk.statuses() == ["canceled"]


def test_a_marketable_limit_order_rests_with_what_is_left() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    record = desk.exchange.place(desk.account, "BTC", True, level.px, level.lots + 5000)
    assert (record.status, record.order.lots) == ("open", 5000)
    assert desk.bid == level.px
    # A partial fill is no change of status.
    assert desk.statuses() == ["open"]


def test_own_orders_are_cancelled_rather_than_traded_with() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    own = desk.exchange.place(desk.account, "BTC", False, level.px, 5000, tif="Alo")
    assert desk.place(True, level.px, level.lots + 1000, tif="Ioc") == "canceled"
    assert own.status == "selfTradeCanceled"
    assert desk.position.lots == level.lots
    assert desk.statuses() == ["open", "selfTradeCanceled", "canceled"]
    assert own.order.oid not in desk.market.books["BTC"].orders


# Fills -----------------------------------------------------------------------------------------------------------------


def test_a_fill_says_what_it_did_to_the_position() -> None:
    desk = Desk()
    desk.buy(3000)
    assert desk.place(False, desk.bid - 1000, 1000, tif="Ioc") == "filled"
    assert desk.place(False, desk.bid - 1000, 4000, tif="Ioc") == "filled"
    assert desk.place(True, desk.ask + 1000, 2000, tif="Ioc", reduce_only=True) == "filled"
    rows = list(desk.account.fills)
    assert rows[0]["dir"] == "Open Long"
    assert {"Open Long", "Close Long", "Long > Short", "Close Short"} <= {row["dir"] for row in rows}
    assert rows[0]["startPosition"] == "0.0"
    assert desk.position.lots == 0
    assert all(row["crossed"] and row["feeToken"] == "USDC" for row in rows)


def test_fees_and_profits_of_the_fills_are_what_the_balance_moved_by() -> None:
    desk = Desk()
    house = desk.account.clearinghouse(COINS["BTC"])
    before = house.balance
    for lots in (3000, 2500):
        desk.buy(lots)
    desk.place(False, desk.bid - 1000, 4100, tif="Ioc")
    moved = sum(_units(row["closedPnl"]) - _units(row["fee"]) for row in desk.account.fills)
    assert house.balance - before == moved


def test_both_sides_of_a_trade_between_accounts_share_its_id() -> None:
    desk = Desk()
    other = desk.exchange.open_account("other")
    desk.exchange.deposit(other, COINS["BTC"], 100_000 * USD)
    spread = desk.ask - desk.bid
    px = desk.ask if spread == 10 else desk.ask - 10
    desk.exchange.place(other, "BTC", False, px, 10**6)
    lots = sum(level.lots for level in desk.market.books["BTC"].asks.levels(1)) + 1
    desk.place(True, px, lots, tif="Ioc")
    mine = {row["tid"]: row for row in desk.account.fills}
    theirs = other.fills[-1]
    own = mine[theirs["tid"]]
    assert (own["side"], own["crossed"]) == ("B", True)
    assert (theirs["side"], theirs["crossed"]) == ("A", False)
    assert (own["px"], own["sz"], own["hash"]) == (theirs["px"], theirs["sz"], theirs["hash"])


def test_a_reduce_only_order_is_cut_to_the_position_and_goes_with_it() -> None:
    desk = Desk()
    desk.buy(3000)
    resting = desk.exchange.place(desk.account, "BTC", False, desk.ask + 500, 9000, reduce_only=True)
    assert resting.order.orig_lots == 3000
    assert desk.place(False, desk.bid - 1000, 3000, tif="Ioc") == "filled"
    assert resting.status == "reduceOnlyCanceled"
    assert not desk.account.open


def test_spot_fees_are_taken_from_what_is_received() -> None:
    desk = Desk()
    exchange, account, hype = desk.exchange, desk.account, COINS["@107"]
    ask = desk.market.books["@107"].asks.best
    assert ask is not None
    before = account.balance("USDC").total
    assert exchange.place(account, "@107", True, ask + 10**4, 1000, tif="Ioc").status == "filled"
    rows = list(account.fills)
    paid = sum(round(float(row["px"]) * float(row["sz"]) * 10**8) for row in rows)
    assert before - account.balance("USDC").total == paid
    assert {row["feeToken"] for row in rows} == {hype.base_name}
    assert {row["dir"] for row in rows} == {"Buy"}
    fees = sum(round(float(row["fee"]) * 10**8) for row in rows)
    assert account.balance("HYPE").total == 10 * 10**8 - fees


# Triggers, funding, liquidation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("above", "wakes"), [(True, True), (False, False)])
def test_a_trigger_waits_for_the_mark_price(above: bool, wakes: bool) -> None:
    desk = Desk()
    desk.buy(3000)
    mark = desk.market.perps["BTC"].mark
    px = desk.bid // 2
    trigger = Trigger(mark - mark % 10, above, "Take Profit Market")
    record = desk.exchange.place(desk.account, "BTC", False, px - px % 10, 3000, reduce_only=True, trigger=trigger)
    desk.statuses()
    desk.market.perps["BTC"].mark = trigger.px + 10
    desk.market.step()
    assert record.status == ("filled" if wakes else "open")
    assert desk.statuses() == (["triggered", "filled"] if wakes else [])
    assert desk.position.lots == (0 if wakes else 3000)


def test_a_trigger_goes_when_there_is_nothing_left_to_protect() -> None:
    desk = Desk()
    desk.buy(3000)
    trigger = Trigger(desk.bid // 100 * 50, False, "Stop Market")
    record = desk.exchange.place(desk.account, "BTC", False, 10_000, 3000, reduce_only=True, trigger=trigger)
    assert record.is_open
    desk.place(False, desk.bid - 1000, 3000, tif="Ioc")
    assert record.status == "reduceOnlyCanceled"


def test_funding_is_size_times_oracle_times_rate_and_longs_pay_a_positive_one() -> None:
    desk = Desk(funding_every_ns=7 * NS_PER_S)
    desk.buy(30_000)
    house = desk.account.clearinghouse(COINS["BTC"])
    rows = []
    for block in desk.market.advance(210):
        rows += [row for row in block.fundings if row.coin == "BTC"]
    before = 200_000 * USD - 100_000 * USD - sum(_units(row["fee"]) for row in desk.account.fills)
    payments = [_units(each["usdc"]) for each in desk.account.fundings]
    assert payments == [-divide(30_000 * row.oracle * row.rate, 10**10) for row in rows]
    assert len(payments) == 2
    assert house.balance == before + sum(payments)
    assert desk.position.funding_all == -sum(payments)
    assert list(desk.account.fundings[0]) == ["time", "coin", "usdc", "szi", "fundingRate", "nSamples"]


def test_an_account_below_its_maintenance_margin_is_closed_out() -> None:
    desk = Desk()
    desk.buy(300_000)
    resting = desk.exchange.place(desk.account, "BTC", True, desk.bid // 20 * 10, 5000)
    house = desk.account.clearinghouse(COINS["BTC"])
    house.balance -= house.value(desk.market) - house.maintenance(desk.market) + USD
    value = house.value(desk.market)
    desk.exchange.take_news()
    desk.market.step()
    news = desk.exchange.take_news()[desk.account.address]
    assert desk.position.lots == 0
    assert resting.status == "liquidatedCanceled"
    assert news.system_cancels == [{"coin": "BTC", "oid": resting.order.oid}]
    (event,) = news.liquidations
    assert event["liquidated_user"] == desk.account.address
    assert _units(event["liquidated_account_value"]) == value
    assert {row["dir"] for row in news.fills} == {"Liquidated Cross Long"}
    assert {row["liquidation"]["liquidatedUser"] for row in news.fills} == {desk.account.address}
    assert {row["hash"] for row in news.fills} == {"0x" + "0" * 64}
    assert news.ledger[-1]["delta"]["type"] == "liquidation"


def test_a_transfer_to_a_sub_account_is_in_both_ledgers() -> None:
    desk = Desk()
    sub = desk.exchange.open_account("sub", master=desk.account.address)
    desk.exchange.to_sub_account(desk.account, sub, COINS["BTC"], 5 * USD)
    assert desk.account.ledger[-1] == sub.ledger[-1]
    assert sub.clearinghouse(COINS["BTC"]).balance == 5 * USD


def test_an_agent_owns_nothing() -> None:
    desk = Desk()
    agent = desk.exchange.add_agent(desk.account)
    assert agent not in desk.exchange.accounts
    assert desk.exchange.agents == {agent: desk.account.address}
    assert isinstance(desk.exchange.accounts[desk.account.address], Account)
