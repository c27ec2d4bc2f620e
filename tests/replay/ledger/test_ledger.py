"""The money of a run, to the last unit, against sums in fractions that share no line with the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.backtest.venue_facts import facts_of
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.money import CASH_DECIMALS, Contract, ContractKind, FeeRounding, Fees, amount, divide, size_of
from replay.market.layout import BUY, SELL, Role
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

UNIT = Fraction(1, 10**CASH_DECIMALS)
FREE = Fees(maker=Decimal(0), taker=Decimal(0))


def linear(tick: str = "0.1", lot: str = "0.001", fees: Fees = FREE, pair: str = "BTC-USD") -> LedgerMarket:
    contract = Contract(kind=ContractKind.LINEAR, settle="USDC", base="BTC")
    return LedgerMarket(key=PairKey("one", pair), contract=contract, fees=fees, tick=Decimal(tick), lot=Decimal(lot))


def inverse(value: str = "100", fees: Fees = FREE) -> LedgerMarket:
    contract = Contract(kind=ContractKind.INVERSE, settle="BTC", base="BTC", contract_value=Decimal(value))
    return LedgerMarket(
        key=PairKey("one", "BTC-USD_PERP"), contract=contract, fees=fees, tick=Decimal("0.1"), lot=Decimal(1)
    )


# -- the reference ------------------------------------------------------------------------------------------------------


class Act(NamedTuple):
    """Something that happens: an execution, a mark, funding, a transfer or a new tick and lot."""

    kind: str
    pair: int = 0
    side: int = BUY
    tick: int = 1
    lots: int = 1
    role: int = Role.MAKER
    value: Decimal = Decimal(0)


@dataclass
class Reference:
    """The same in fractions: what was bought and sold, in a list, summed up from the beginning each time."""

    markets: list[LedgerMarket]
    start: dict[str, Fraction]
    trades: list[tuple[int, Fraction, Fraction, Fraction]] = field(
        default_factory=list
    )  # pair, signed size, price, fee
    funding: list[tuple[str, Fraction]] = field(default_factory=list)
    moved: list[tuple[str, Fraction]] = field(default_factory=list)
    marks: dict[int, Fraction] = field(default_factory=dict)

    def worth(self, pair: int, size: Fraction, price: Fraction) -> Fraction:
        contract = self.markets[pair].contract
        assert contract is not None
        if contract.contract_value is None:
            return size * price
        return -Fraction(round(size * Fraction(contract.contract_value) / price / UNIT)) * UNIT

    def fee(self, pair: int, worth: Fraction, rate: Decimal) -> Fraction:
        fees = self.markets[pair].fees
        assert fees is not None
        steps = worth * Fraction(rate) * 10**fees.decimals
        match fees.rounding:
            case FeeRounding.HALF_EVEN:
                return Fraction(round(steps), 10**fees.decimals)
            case FeeRounding.CUT:
                return Fraction(int(steps), 10**fees.decimals)
            case FeeRounding.UP:
                return Fraction(-((-steps).__floor__()), 10**fees.decimals)

    def settle(self, pair: int) -> str:
        contract = self.markets[pair].contract
        assert contract is not None
        return contract.settle

    def size(self, pair: int) -> Fraction:
        return sum((size for place, size, _, _ in self.trades if place == pair), Fraction(0))

    def cash(self, asset: str) -> Fraction:
        mine = [trade for trade in self.trades if self.settle(trade[0]) == asset]
        spent = sum((self.worth(pair, size, price) for pair, size, price, _ in mine), Fraction(0))
        fees = sum((fee for *_, fee in mine), Fraction(0))
        others = sum((value for name, value in [*self.funding, *self.moved] if name == asset), Fraction(0))
        return self.start.get(asset, Fraction(0)) - spent - fees + others

    def equity(self, asset: str) -> Fraction:
        pairs = [pair for pair in range(len(self.markets)) if self.settle(pair) == asset]
        assert all(self.size(pair) == 0 or pair in self.marks for pair in pairs)
        held = (self.worth(pair, self.size(pair), self.marks[pair]) for pair in pairs if self.size(pair))
        return self.cash(asset) + sum(held, Fraction(0))

    def take(self, act: Act) -> None:
        market = self.markets[act.pair]
        assert market.tick is not None
        assert market.lot is not None
        assert market.fees is not None
        if act.kind == "execute":
            price = act.tick * Fraction(market.tick)
            size = act.lots * Fraction(market.lot) * (1 if act.side == BUY else -1)
            rate = market.fees.maker if act.role == Role.MAKER else market.fees.taker
            fee = self.fee(act.pair, abs(self.worth(act.pair, size, price)), rate)
            self.trades.append((act.pair, size, price, fee))
            self.marks.setdefault(act.pair, price)
        elif act.kind == "mark":
            self.marks[act.pair] = act.tick * Fraction(market.tick) / 2
        elif act.kind == "fund" and act.pair in self.marks:
            held = abs(self.worth(act.pair, self.size(act.pair), self.marks[act.pair]))
            paid = self.fee(act.pair, held if self.size(act.pair) > 0 else -held, act.value)
            self.funding.append((self.settle(act.pair), -paid))
        elif act.kind == "move":
            self.moved.append((self.settle(act.pair), Fraction(act.value)))


def tell(ledger: Ledger, reference: Reference, act: Act) -> None:
    """The same to both."""
    if act.kind == "execute":
        before = act.pair in reference.marks
        ledger.execute(act.pair, act.side, act.tick, act.lots, act.role, 0)
        if not before:  # the reference values what has no mark at its first price
            market = ledger.markets[act.pair]
            assert market.tick is not None
            ledger.mark(act.pair, market.tick * act.tick)
    elif act.kind == "mark":
        ledger.mark_mid(act.pair, act.tick // 2, act.tick - act.tick // 2)
    elif act.kind == "fund" and act.pair in reference.marks:
        ledger.fund(act.pair, act.value)
    elif act.kind == "move":
        ledger.transfer(reference.settle(act.pair), act.value)
    reference.take(act)


_fees = st.builds(
    Fees,
    maker=st.sampled_from([Decimal(text) for text in ("0", "0.00015", "-0.00003", "0.0001368", "0.000000000001")]),
    taker=st.sampled_from([Decimal(text) for text in ("0.00045", "0.0005", "0.07", "0.000333333333")]),
    decimals=st.integers(0, 12),
    rounding=st.sampled_from(FeeRounding),
)


@st.composite
def _markets(draw: st.DrawFn) -> list[LedgerMarket]:
    ticks, lots = ("0.1", "0.25", "0.00001", "5"), ("0.001", "1", "0.00000001", "100")
    made: list[LedgerMarket] = []
    for place in range(draw(st.integers(1, 3))):
        fees = draw(_fees)
        if draw(st.integers(0, 2)) == 0:
            made.append(inverse(draw(st.sampled_from(["1", "10", "100"])), fees))
        else:
            made.append(linear(draw(st.sampled_from(ticks)), draw(st.sampled_from(lots)), fees, f"P{place}-USD"))
    return made


@st.composite
def _acts(draw: st.DrawFn, pairs: int) -> Act:
    kind = draw(st.sampled_from(["execute", "execute", "execute", "mark", "fund", "move"]))
    value = draw(st.sampled_from([Decimal(text) for text in ("0.0001", "-0.000125", "0.000000000003", "1000", "-0.5")]))
    return Act(
        kind,
        draw(st.integers(0, pairs - 1)),
        draw(st.sampled_from([BUY, SELL])),
        draw(st.one_of(st.integers(2, 9), st.integers(2, 10**9), st.just(2**62))),
        draw(st.one_of(st.integers(1, 4), st.integers(1, 10**6), st.just(2**62))),
        draw(st.sampled_from([Role.MAKER, Role.TAKER])),
        value if kind != "fund" else max(min(value, Decimal("0.01")), Decimal("-0.01")),
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_money_is_conserved_at_every_event(data: st.DataObject) -> None:
    """Cash, and equity at the marks, are those of the fractions, of sizes and prices beyond 64 bits as well."""
    markets = data.draw(_markets())
    start = {"USDC": Fraction(10_000), "BTC": Fraction(3)}
    ledger = Ledger(markets, {name: Decimal(value.numerator) for name, value in start.items()})
    reference = Reference(markets, start)
    for act in data.draw(st.lists(_acts(len(markets)), min_size=1, max_size=25)):
        tell(ledger, reference, act)
        for name, account in ledger.accounts.items():
            assert account.cash * UNIT == reference.cash(name)
            assert ledger.equity(name) * UNIT == reference.equity(name)
            realized = sum(ledger.positions[pair].realized for pair in account.pairs)
            unrealized = sum(ledger.unrealized(pair) for pair in account.pairs)
            flows = account.funding + account.transfers - account.fees
            assert ledger.equity(name) == account.start + realized + unrealized + flows
            assert ledger.wallet(name) == account.start + realized + flows


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 500), st.integers(1, 50)), max_size=40))
def test_profit_is_that_of_average_cost(trades: list[tuple[int, int, int]]) -> None:
    """Entry price and realized profit of the textbook, in fractions; what rounding may differ by is a unit a trade."""
    ledger = Ledger([linear()])
    size, entry, realized = Fraction(0), Fraction(0), Fraction(0)
    for number, (side, tick, lots) in enumerate(trades, 1):
        ledger.execute(0, side, tick, lots, Role.MAKER, 0)
        signed, price = Fraction(lots, 1000) * (1 if side == BUY else -1), Fraction(tick, 10)
        if size * signed >= 0:
            entry = (entry * size + price * signed) / (size + signed)
        else:
            closed = min(abs(signed), abs(size))
            realized += closed * (price - entry) * (1 if size > 0 else -1)
            entry = price if abs(signed) > abs(size) else entry
        size += signed
        position = ledger.positions[0]
        assert Fraction(size_of(position.size)) == size
        assert abs(position.realized * UNIT - realized) <= number * UNIT
        if size:
            found = ledger.entry_price(0)
            assert found is not None
            assert abs(found - entry) * abs(size) <= number * UNIT
            assert ledger.entry_price_near(0) == float(found)
        else:
            assert (position.open_worth, ledger.entry_price(0)) == (0, None)


# -- by hand ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        # 66653 * 0.001 * 0.00015 = 0.00999795
        (FeeRounding.CUT, "0.009997"),
        (FeeRounding.UP, "0.009998"),
        (FeeRounding.HALF_EVEN, "0.009998"),
    ],
)
def test_a_fee_is_rounded_as_the_venue_does(rounding: FeeRounding, expected: str) -> None:
    fees = Fees(maker=Decimal("0.00015"), taker=Decimal("0.00045"), decimals=6, rounding=rounding)
    ledger = Ledger([linear("1", "0.001", fees)])
    assert amount(ledger.execute(0, SELL, 66653, 1, Role.MAKER, 0).fee) == Decimal(expected)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [(FeeRounding.CUT, "-0.01"), (FeeRounding.UP, "-0.01"), (FeeRounding.HALF_EVEN, "-0.02")],
)
def test_a_rebate_is_money_that_comes(rounding: FeeRounding, expected: str) -> None:
    """Of 0.015, cut and up leave the venue the rest; the nearest even cent is 2."""
    fees = Fees(maker=Decimal("-0.0001"), taker=Decimal(0), decimals=2, rounding=rounding)
    ledger = Ledger([linear("1", "1", fees)], {"USDC": Decimal(1000)})
    ledger.execute(0, BUY, 150, 1, Role.MAKER, 0)
    assert amount(ledger.account().fees) == Decimal(expected)
    assert amount(ledger.account().cash) == 1000 - 150 - Decimal(expected)


def test_a_round_trip_in_an_inverse_contract_gains_coins() -> None:
    """1000 USD from 50,000 to 62,500 are 0.02 - 0.016 BTC."""
    ledger = Ledger([inverse()], {"BTC": Decimal(1)})
    ledger.execute(0, BUY, 500_000, 10, Role.TAKER, 0)
    assert ledger.entry_price(0) == 50_000
    ledger.mark(0, Decimal(40_000))
    assert amount(ledger.unrealized(0)) == Decimal("0.02") - Decimal("0.025")
    assert amount(ledger.equity()) == Decimal("0.995")
    entry = ledger.execute(0, SELL, 625_000, 10, Role.TAKER, 0)
    assert amount(entry.realized) == Decimal("0.004")
    assert amount(ledger.equity()) == amount(ledger.wallet()) == Decimal("1.004")


def test_an_execution_that_turns_a_position_closes_and_opens() -> None:
    """3 at 100 sold down to -2 at 110: 30 gained, and 2 stand open at 110."""
    ledger = Ledger([linear("1", "1")])
    ledger.execute(0, BUY, 100, 3, Role.MAKER, 0)
    entry = ledger.execute(0, SELL, 110, 5, Role.TAKER, 0)
    assert [amount(entry.realized), amount(entry.open_worth)] == [30, -220]
    assert ledger.entry_price(0) == 110


@pytest.mark.parametrize(
    ("side", "rate", "received"), [(BUY, "0.01", -1), (SELL, "0.01", 1), (BUY, "-0.01", 1), (SELL, "-0.01", -1)]
)
@pytest.mark.parametrize("market", [linear("1", "1"), inverse("100")], ids=["linear", "inverse"])
def test_longs_pay_where_the_rate_is_positive(market: LedgerMarket, side: int, rate: str, received: int) -> None:
    """In both kinds of contract: 1 % of 1 at 200 is 2, of 100 USD at 200 it is 0.005."""
    ledger = Ledger([market])
    price = 200 if market.tick == 1 else 2000
    ledger.execute(0, side, price, 1, Role.MAKER, 0)
    ledger.mark(0, Decimal(200))
    expected = Decimal(2) if market.tick == 1 else Decimal("0.005")
    assert amount(ledger.fund(0, Decimal(rate))) == received * expected
    assert amount(ledger.account().funding) == received * expected


def test_a_tick_and_lot_that_change_leave_the_position_what_it_is() -> None:
    """What was bought by the old steps is worth the same by the new ones."""
    ledger = Ledger([linear("1", "1")])
    ledger.execute(0, BUY, 100, 3, Role.MAKER, 0)
    ledger.define(0, linear("0.5", "0.25"))
    entry = ledger.execute(0, SELL, 200, 12, Role.MAKER, 0)
    assert (entry.position, entry.realized, ledger.account().cash) == (0, 0, 0)


def test_what_is_not_known_yet_takes_no_execution() -> None:
    key = PairKey("one", "BTC-USD")
    ledger = Ledger([LedgerMarket(key=key)], {"USDC": Decimal(5)})
    with pytest.raises(ValueError, match="contract, fees, tick or lot are not known yet"):
        ledger.execute(0, BUY, 1, 1, Role.MAKER, 0)
    ledger.define(0, linear())
    assert amount(ledger.equity("USDC")) == 5
    ledger.execute(0, BUY, 1, 1, Role.MAKER, 0)
    with pytest.raises(ConfigError, match="its contract changed while it was traded"):
        ledger.define(0, inverse())


def test_accounts_of_two_currencies_are_kept_apart() -> None:
    """And capital that nothing settles in stays what it is."""
    ledger = Ledger([linear("1", "1"), inverse()], {"USDC": Decimal(10), "BTC": Decimal(2), "ETH": Decimal(7)})
    ledger.execute(0, BUY, 4, 1, Role.MAKER, 0)
    ledger.transfer("BTC", Decimal("-0.5"))
    assert {name: amount(ledger.equity(name)) for name in ledger.accounts} == {
        "USDC": 10,
        "BTC": Decimal("1.5"),
        "ETH": 7,
    }
    with pytest.raises(ValueError, match=r"^which account of USDC, BTC, ETH\?$"):
        ledger.equity()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"maker": Decimal("NaN")}, "maker fee is NaN, expected a fraction below 1"),
        ({"taker": Decimal(5)}, "taker fee is 5, expected a fraction below 1"),
        ({"maker": Decimal("1e-13")}, "of at most 12 decimals"),
        ({"decimals": 30}, "fees have 30 decimals, expected 0 to 18"),
    ],
)
def test_fees_that_are_none_are_refused(fields: dict[str, Decimal | int], message: str) -> None:
    given_fields = {"maker": Decimal(0), "taker": Decimal(0), **fields}
    with pytest.raises(ConfigError, match=message):
        Fees(**given_fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "moved", "message"),
    [
        ("EUR", Decimal(1), "no account 'EUR', expected one of USDC"),
        ("USDC", Decimal("Infinity"), "Infinity USDC cannot be moved"),
        ("USDC", Decimal("1e-31"), "expected a number of at most 30 decimals"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused(name: str, moved: Decimal, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ledger([linear()]).transfer(name, moved)


@pytest.mark.parametrize(
    "act", [(BUY, 1, 0, Role.MAKER), (BUY, 1, -5, Role.MAKER), (2, 1, 1, Role.MAKER), (BUY, 1, 1, 0)]
)
def test_what_is_no_execution_is_refused(act: Sequence[int]) -> None:
    side, tick, lots, role = act
    with pytest.raises(ValueError, match="no execution"):
        Ledger([linear()]).execute(0, side, tick, lots, role, 0)


@given(st.integers(-(10**40), 10**40), st.integers(1, 10**20))
def test_a_quotient_is_rounded_half_to_even(over: int, under: int) -> None:
    assert divide(over, under) == round(Fraction(over, under))
    assert divide((2 * over + 1) * under, 2 * under) == round(Fraction(2 * over + 1, 2))


@pytest.mark.parametrize(
    ("venue", "side", "price", "size", "role", "fee"),
    [
        # Fills of the venues' own accounts, as they printed them.
        ("hyperliquid", SELL, "66653.0", "0.001", Role.MAKER, "0.009997"),
        ("dydx_v4", BUY, "2620.1", "0.001", Role.TAKER, "0.001311"),
        ("dydx_v4", BUY, "2624.7", "0.001", Role.TAKER, "0.001313"),
    ],
)
def test_fees_that_venues_printed_come_out_to_the_last_digit(
    venue: str, side: int, price: str, size: str, role: Role, fee: str
) -> None:
    """By the rates and the rounding of the venue's facts."""
    facts = facts_of(venue)
    assert facts.maker is not None
    assert facts.taker is not None
    fees = Fees(maker=facts.maker, taker=facts.taker, decimals=facts.fee_decimals, rounding=facts.fee_rounding)
    ledger = Ledger([linear("0.1", "0.001", fees)])
    entry = ledger.execute(0, side, int(Decimal(price) * 10), int(Decimal(size) * 1000), role, 0)
    assert amount(entry.fee) == Decimal(fee)
