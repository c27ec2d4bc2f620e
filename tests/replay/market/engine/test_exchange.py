"""Orders of known accounts: what the exchange makes of them, and what they do to positions and balances."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.market.engine.accounts import Account, Position, divide
from replay.market.engine.exchange import Exchange, ExchangeRules
from replay.market.engine.facts import (
    Accepted,
    Amended,
    Cancelled,
    Completed,
    Fact,
    Filled,
    FundingPaid,
    Liquidated,
    Rejected,
    TransferKind,
    Transferred,
    Triggered,
)
from replay.market.engine.matching import ZERO_HASH
from replay.market.engine.orders import OrderRecord, Origin, Reason, Tif, Trigger
from replay.market.engine.settlement import FeeRates
from replay.synthetic.instruments import DEFAULT_INSTRUMENTS
from replay.synthetic.market import Market, MarketOptions
from toolkit.account_messages import OrderState
from toolkit.clock import NS_PER_S

LISTED = {each.symbol: each for each in DEFAULT_INSTRUMENTS}
USD = 10**6


class Desk:
    """A market with one account that has 100,000 USDC on each side and the book of BTC to trade in."""

    def __init__(self, **options: Any) -> None:
        self.market = Market(MarketOptions(seed=1, **options))
        self.exchange = Exchange(self.market, 1)
        self.market.participants.append(self.exchange)
        self.account = self.exchange.open_account("tester")
        self.exchange.deposit(self.account, LISTED["BTC"], 200_000 * USD)
        self.exchange.to_spot(self.account, LISTED["BTC"], 100_000 * USD)
        self.exchange.take_facts()

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
        return self.account.clearinghouse(LISTED["BTC"]).position(LISTED["BTC"])

    def place(self, is_buy: bool, px: int, lots: int = 5000, **options: Any) -> OrderRecord:
        return self.exchange.place(self.account, "BTC", is_buy, px, lots, **options)

    def take(self, is_buy: bool, lots: int, **options: Any) -> None:
        px = self.ask + 1000 if is_buy else self.bid - 1000
        assert self.place(is_buy, px, lots, tif=Tif.IOC, **options).state is OrderState.FILLED

    def facts(self) -> list[Fact]:
        """What happened to the account since the last call."""
        return self.exchange.take_facts().get(self.account.address, [])

    def course(self) -> list[object]:
        """Of each fact that is no fill, its type, or the reason where it has one."""
        return [getattr(each, "reason", type(each)) for each in self.facts() if not isinstance(each, Filled)]


# Positions -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10_000)), max_size=40), st.integers(1, 10_000)
)
def test_realised_and_unrealised_profit_are_the_money_that_moved(fills: list[tuple[int, int]], mark: int) -> None:
    position = Position(LISTED["BTC"], 40)
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
    record = desk.place(True, desk.bid, client_id="0x" + "1" * 32)
    assert desk.course() == [Accepted]
    assert record.order.oid in desk.market.books["BTC"].orders
    assert desk.exchange.cancel(desk.account, record.order.oid)
    assert desk.course() == [Reason.REQUESTED]
    assert not desk.exchange.cancel(desk.account, record.order.oid)
    assert record.order.oid not in desk.market.books["BTC"].orders


def test_a_fact_stays_as_it_was_when_the_order_goes_on() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    desk.place(True, level.px, level.lots + 5000)
    accepted, *fills = desk.facts()
    assert isinstance(accepted, Accepted)
    assert accepted.order.lots == level.lots + 5000
    lefts = [each.order.lots for each in fills if isinstance(each, Filled)]
    assert lefts == sorted(set(lefts), reverse=True)
    assert lefts[-1] == 5000


def test_a_replaced_order_is_one_fact_with_both_and_keeps_the_client_id() -> None:
    desk = Desk()
    record = desk.place(True, desk.bid, client_id="mine")
    desk.facts()
    changed = desk.exchange.replace(desk.account, record.order.oid, desk.bid - 10, 4000)
    assert changed is not None
    (fact,) = desk.facts()
    assert isinstance(fact, Amended)
    assert (fact.before.oid, fact.before.lots) == (record.order.oid, 5000)
    assert (fact.order.oid, fact.order.lots, fact.order.client_id) == (changed.order.oid, 4000, "mine")
    assert (record.state, changed.state) == (OrderState.CANCELLED, OrderState.OPEN)
    assert list(desk.account.open) == [changed.order.oid]
    assert desk.exchange.replace(desk.account, record.order.oid, desk.bid, 4000) is None


def test_a_replacement_that_is_refused_leaves_nothing() -> None:
    desk = Desk()
    record = desk.place(True, desk.bid - 10, tif=Tif.POST_ONLY)
    desk.facts()
    changed = desk.exchange.replace(desk.account, record.order.oid, desk.ask, 4000)
    assert changed is not None
    assert desk.course() == [Reason.REQUESTED, Reason.WOULD_CROSS]
    assert not desk.account.open
    assert record.order.oid not in desk.market.books["BTC"].orders


def test_a_replaced_order_goes_on_waiting_for_its_trigger() -> None:
    desk = Desk()
    desk.take(True, 3000)
    trigger = Trigger(desk.bid // 100 * 50, above=False, is_stop=True)
    record = desk.place(False, 10_000, 3000, reduce_only=True, trigger=trigger)
    changed = desk.exchange.replace(desk.account, record.order.oid, 20_000, 2000)
    assert changed is not None
    assert (changed.trigger, changed.is_open, changed.order.px) == (trigger, True, 20_000)
    assert changed.order.oid not in desk.market.books["BTC"].orders


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lots": 1}, Reason.NOTIONAL),
        ({"px": 3}, Reason.TICK),
        ({"lots": 10**9}, Reason.MARGIN),
        ({"px": 10_000, "tif": Tif.POST_ONLY}, Reason.WOULD_CROSS),
        ({"reduce_only": True}, Reason.NOTHING_TO_REDUCE),
    ],
)
def test_an_order_that_is_not_taken_says_why(options: dict[str, Any], reason: Reason) -> None:
    desk = Desk()
    record = desk.place(True, desk.bid + options.pop("px", 0), **options)
    assert (record.state, record.reason) == (OrderState.REJECTED, reason)
    (fact,) = desk.facts()
    assert isinstance(fact, Rejected)
    assert fact.reason is reason
    assert not desk.account.open
    assert not desk.position.lots


def test_an_immediate_order_without_a_match_ends_cancelled() -> None:
    desk = Desk()
    record = desk.place(True, desk.bid, tif=Tif.IOC)
    assert (record.state, record.reason) == (OrderState.CANCELLED, Reason.NO_MATCH)
    assert desk.course() == [Reason.NO_MATCH]


def test_spot_needs_the_balance_less_what_is_held() -> None:
    desk = Desk()
    hype = LISTED["HYPE/USDC"]
    bid = desk.market.books[hype.symbol].bids.best
    assert bid is not None
    lots = 90_000 * hype.one // bid * 100
    exchange, account = desk.exchange, desk.account
    assert exchange.place(account, hype.symbol, True, bid, lots).is_open
    assert account.held("USDC") == bid * lots
    assert exchange.place(account, hype.symbol, True, bid, lots).reason is Reason.BALANCE
    assert exchange.place(account, hype.symbol, False, bid, lots).reason is Reason.BALANCE


def test_an_immediate_order_that_finds_too_little_is_cancelled_with_its_rest() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    record = desk.place(True, level.px, level.lots + 7, tif=Tif.IOC)
    assert (record.reason, record.order.lots, desk.position.lots) == (Reason.UNFILLED, 7, level.lots)
    assert desk.course() == [Reason.UNFILLED]


def test_a_marketable_limit_order_rests_with_what_is_left() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    record = desk.place(True, level.px, level.lots + 5000)
    assert (record.state, record.order.lots) == (OrderState.OPEN, 5000)
    assert desk.bid == level.px
    # A partial fill ends nothing.
    assert desk.course() == [Accepted]


def test_own_orders_are_cancelled_rather_than_traded_with() -> None:
    desk = Desk()
    level = desk.market.books["BTC"].asks.best_level()
    assert level is not None
    own = desk.place(False, level.px, tif=Tif.POST_ONLY)
    assert desk.place(True, level.px, level.lots + 1000, tif=Tif.IOC).reason is Reason.UNFILLED
    assert own.reason is Reason.SELF_TRADE
    assert desk.position.lots == level.lots
    assert desk.course() == [Accepted, Reason.SELF_TRADE, Reason.UNFILLED]
    assert own.order.oid not in desk.market.books["BTC"].orders


# Fills -----------------------------------------------------------------------------------------------------------------


def test_a_fill_says_what_it_did_to_the_position() -> None:
    desk = Desk()
    for is_buy, lots in ((True, 3000), (False, 1000), (False, 4000)):
        desk.take(is_buy, lots)
    desk.take(True, 2000, reduce_only=True)
    fills = list(desk.account.fills)
    assert fills[0].before == 0
    assert fills[-1].after == desk.position.lots == 0
    for earlier, later in itertools.pairwise(fills):
        assert later.before == earlier.after
    for each in fills:
        assert each.after - each.before == (each.trade.lots if each.order.is_buy else -each.trade.lots)
    assert all(each.is_taker and each.fee_token == "USDC" for each in fills)


def test_fees_and_profits_of_the_fills_are_what_the_balance_moved_by() -> None:
    desk = Desk()
    house = desk.account.clearinghouse(LISTED["BTC"])
    before = house.balance
    for lots in (3000, 2500):
        desk.take(True, lots)
    desk.take(False, 4100)
    assert house.balance - before == sum(each.pnl - each.fee for each in desk.account.fills)


def test_fees_follow_the_rates_of_the_exchange() -> None:
    desk = Desk()
    desk.exchange.rules = ExchangeRules(perp_fees=FeeRates(taker=100, maker=0))
    desk.take(True, 3000)
    for each in desk.account.fills:
        assert each.fee == each.trade.px * each.trade.lots * 100 // 100_000


def test_both_sides_of_a_trade_between_accounts_share_its_id() -> None:
    desk = Desk()
    other = desk.exchange.open_account("other")
    desk.exchange.deposit(other, LISTED["BTC"], 100_000 * USD)
    spread = desk.ask - desk.bid
    px = desk.ask if spread == 10 else desk.ask - 10
    desk.exchange.place(other, "BTC", False, px, 10**6)
    lots = sum(level.lots for level in desk.market.books["BTC"].asks.levels(1)) + 1
    desk.place(True, px, lots, tif=Tif.IOC)
    theirs = other.fills[-1]
    (own,) = [each for each in desk.account.fills if each.trade.tid == theirs.trade.tid]
    assert (own.order.is_buy, own.is_taker) == (True, True)
    assert (theirs.order.is_buy, theirs.is_taker) == (False, False)
    assert own.trade == theirs.trade


def test_a_reduce_only_order_is_cut_to_the_position_and_goes_with_it() -> None:
    desk = Desk()
    desk.take(True, 3000)
    resting = desk.place(False, desk.ask + 500, 9000, reduce_only=True)
    assert resting.order.orig_lots == 3000
    desk.take(False, 3000)
    assert resting.reason is Reason.REDUCED
    assert not desk.account.open


def test_spot_fees_are_taken_from_what_is_received() -> None:
    desk = Desk()
    exchange, account, hype = desk.exchange, desk.account, LISTED["HYPE/USDC"]
    ask = desk.market.books[hype.symbol].asks.best
    assert ask is not None
    before = account.balance("USDC").total
    assert exchange.place(account, hype.symbol, True, ask + 10**4, 1000, tif=Tif.IOC).state is OrderState.FILLED
    fills = list(account.fills)
    assert before - account.balance("USDC").total == sum(each.trade.px * each.trade.lots for each in fills)
    assert {each.fee_token for each in fills} == {hype.base_name}
    assert account.balance("HYPE").total == 10 * 10**8 - sum(each.fee for each in fills) == fills[-1].after


# Triggers, funding, liquidation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("above", "wakes"), [(True, True), (False, False)])
def test_a_trigger_waits_for_the_mark_price(above: bool, wakes: bool) -> None:
    desk = Desk()
    desk.take(True, 3000)
    mark = desk.market.mark("BTC")
    px = desk.bid // 2
    trigger = Trigger(mark - mark % 10, above, is_stop=False)
    record = desk.place(False, px - px % 10, 3000, reduce_only=True, trigger=trigger)
    desk.facts()
    desk.market.perps["BTC"].mark = trigger.px + 10
    desk.market.step()
    assert record.state is (OrderState.FILLED if wakes else OrderState.OPEN)
    assert desk.course() == ([Triggered, Completed] if wakes else [])
    assert desk.position.lots == (0 if wakes else 3000)


def test_a_trigger_goes_when_there_is_nothing_left_to_protect() -> None:
    desk = Desk()
    desk.take(True, 3000)
    trigger = Trigger(desk.bid // 100 * 50, above=False, is_stop=True)
    record = desk.place(False, 10_000, 3000, reduce_only=True, trigger=trigger)
    assert record.is_open
    desk.take(False, 3000)
    assert record.reason is Reason.REDUCED


def test_funding_is_size_times_oracle_times_rate_and_longs_pay_a_positive_one() -> None:
    desk = Desk(funding_every_ns=7 * NS_PER_S)
    desk.take(True, 30_000)
    house = desk.account.clearinghouse(LISTED["BTC"])
    rows = []
    for block in desk.market.advance(210):
        rows += [row for row in block.fundings if row.symbol == "BTC"]
    before = 200_000 * USD - 100_000 * USD - sum(each.fee for each in desk.account.fills)
    paid = [each.amount for each in desk.account.fundings]
    assert paid == [divide(30_000 * row.oracle * row.rate, 10**10) for row in rows]
    assert len(paid) == 2
    assert house.balance == before - sum(paid)
    assert desk.position.funding_all == sum(paid)
    assert [each for each in desk.facts() if isinstance(each, FundingPaid)] == desk.account.fundings


def test_an_account_below_its_maintenance_margin_is_closed_out() -> None:
    desk = Desk()
    desk.take(True, 300_000)
    resting = desk.place(True, desk.bid // 20 * 10, 5000)
    house, marks = desk.account.clearinghouse(LISTED["BTC"]), desk.market.mark
    house.balance -= house.value(marks) - house.maintenance(marks) + USD
    value = house.value(marks)
    desk.facts()
    desk.market.step()
    facts = desk.facts()
    assert desk.position.lots == 0
    assert resting.reason is Reason.LIQUIDATED
    assert next(each.order.oid for each in facts if isinstance(each, Cancelled)) == resting.order.oid
    (event,) = [each for each in facts if isinstance(each, Liquidated)]
    assert (event.account, event.value, event.number) == (desk.account.address, value, 1)
    assert event.positions == ((LISTED["BTC"], 300_000),)
    fills = [each for each in facts if isinstance(each, Filled)]
    assert {each.liquidation.account for each in fills if each.liquidation} == {desk.account.address}
    assert {(each.trade.hash, each.order.origin) for each in fills} == {(ZERO_HASH, Origin.LIQUIDATION)}
    assert desk.account.ledger[-1] == event


def test_a_transfer_to_a_sub_account_is_in_both_ledgers() -> None:
    desk = Desk()
    sub = desk.exchange.open_account("sub", master=desk.account.address)
    desk.exchange.to_sub_account(desk.account, sub, LISTED["BTC"], 5 * USD)
    fact = desk.account.ledger[-1]
    assert isinstance(fact, Transferred)
    assert (fact.kind, fact.amount) == (TransferKind.BETWEEN_ACCOUNTS, 5 * USD)
    assert (fact.sender, fact.recipient) == (desk.account.address, sub.address)
    assert sub.ledger[-1] == fact
    assert sub.clearinghouse(LISTED["BTC"]).balance == 5 * USD


def test_an_agent_owns_nothing() -> None:
    desk = Desk()
    agent = desk.exchange.add_agent(desk.account)
    assert agent not in desk.exchange.accounts
    assert desk.exchange.agents == {agent: desk.account.address}
    assert isinstance(desk.exchange.accounts[desk.account.address], Account)
