"""Fees that buyers pay in what they get, as on Binance spot: less is held, and the money adds up to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.clearing.money_settings import choices_of
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.money import Contract, ContractKind, FeeRounding, Fees, amount, size_of
from replay.market.layout import BUY, SELL, Role
from replay.results.result import Result
from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, run
from tests.replay.strategy.sessions import Played
from toolkit.account_messages import Fill
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import Instrument, InstrumentKind

SPOT = PairKey("binance-spot", "BTC-USDT")
PAIR = "BTC-USDT"


def played(*deeds: Any, key: PairKey = SPOT, **settings: Any) -> Played:
    market = Market(key, kind=InstrumentKind.SPOT, lot=0.00001)
    timed = [(START + number * HOUR + HOUR, deed) for number, deed in enumerate(deeds)]
    return run(market.end(START + DAY), timed, keys=[key], capital="10000", **settings)


def buy_and_sell(ctx: Context) -> None:
    ctx.buy(PAIR, 1.23457)


def test_a_buyer_pays_in_what_he_gets_and_a_seller_in_the_quote_currency() -> None:
    """
    1.23457 at 101 cost 124.69157; 0.1 % of 1.23457 is 0.00123457: 1.23333543 are held. All that is whole lots of that, 1.23333, is
    sold at 99: 122.09967, of which 0.1 % is 0.12209967. Left are 0.00000543.
    """
    sold: list[float] = []

    def sell(ctx: Context) -> None:
        size = ctx.rules(PAIR).round_size(ctx.position(PAIR).size)
        sold.append(size)
        ctx.sell(PAIR, size)

    done = played(buy_and_sell, sell)
    assert sold == [1.23333]
    assert done.record is not None
    ledger, fills = done.record.ledger, [each for each in done.record.messages if isinstance(each, Fill)]
    assert [(each.fee, each.fee_asset) for each in fills] == [(0.00123457, "BTC"), (0.12209967, "USD")]
    assert cash(ledger) == Decimal(10_000) - Decimal("124.69157") + Decimal("122.09967") - Decimal("0.12209967")
    [position] = ledger.positions
    assert [size_of(each) for each in (position.bought, position.sold, position.fees_size, position.size)] == [
        Decimal(text) for text in ("1.23457", "1.23333", "0.00123457", "0.00000543")
    ]
    # Of what it was worth when it was bought: 0.00123457 * 101 = 0.12469157.
    account = ledger.account(None)
    assert (amount(account.fees_in_kind), amount(account.fees)) == (Decimal("0.12469157"), Decimal("0.24679124"))
    # 1.23333 gained -2 each; what is left is worth 100 and cost 101.
    assert amount(position.realized) == Decimal("-2.46666")
    assert ledger.equity() == account.start + position.realized + ledger.unrealized(0) - account.fees
    venue = done.session.house
    assert venue is not None
    assert venue.ledger.positions[0].size == position.size
    assert venue.ledger.account(None).cash == account.cash


def test_a_result_shows_what_is_held_after_each_fill_and_in_what_each_order_paid() -> None:
    done = played(buy_and_sell, lambda ctx: ctx.sell(PAIR, 1.0))
    assert done.record is not None
    result = Result.of(done.record)
    assert result.fills.select("position", "fee", "fee_asset").rows() == [
        (1.23333543, 0.00123457, "BTC"),
        (0.23333543, 0.099, "USD"),
    ]
    assert result.orders.select("fee", "fee_asset").rows() == [(0.00123457, "BTC"), (0.099, "USD")]
    fees = next(metric for metric in result.metrics if metric.name == "fees")
    assert fees.value == Decimal("0.12469157") + Decimal("0.099")


def test_what_a_strategy_hears_of_such_a_fill() -> None:
    seen: list[Any] = []
    played(buy_and_sell, lambda ctx: seen.append(ctx.position(PAIR)))
    [position] = seen
    assert (position.size, position.traded) == (1.23333543, 1.23457)
    done = played(buy_and_sell)
    assert [row[3] for kind, row in done.heard if kind == "fill"] == [Decimal("0.12469157")]


def test_in_bnb_or_elsewhere_the_fee_is_taken_in_money() -> None:
    """With `fee_asset=quote` all that was bought is held. A linear contract pays in money whatever is said."""
    done = played(buy_and_sell, fees_in_quote=True)
    assert done.record is not None
    assert size_of(done.record.ledger.positions[0].size) == Decimal("1.23457")
    assert cash(done.record.ledger) == Decimal(10_000) - Decimal("124.69157") - Decimal("0.12469157")
    assert done.record.head.settings["money"] == {"fee_asset": "quote"}
    usdm = PairKey("binance-usdm", PAIR)
    market = Market(usdm, lot=0.00001)
    linear = run(market.end(START + DAY), [(START + HOUR, buy_and_sell)], keys=[usdm])
    assert linear.record is not None
    assert linear.record.ledger.account(None).fees_in_kind == 0
    with pytest.raises(ConfigError, match=r"fee_asset is 'BNB', expected quote"):
        choices_of({"fee_asset": "BNB"}, "--assume")


def ledger_of(
    maker: str, *, rounding: FeeRounding = FeeRounding.HALF_EVEN, kind: ContractKind = ContractKind.SPOT
) -> Ledger:
    contract = Contract(kind=kind, settle="USDT", base="BTC")
    fees = Fees(maker=Decimal(maker), taker=Decimal("0.001"), decimals=8, rounding=rounding, in_kind=True)
    market = LedgerMarket(key=SPOT, contract=contract, fees=fees, tick=Decimal("0.01"), lot=Decimal("0.00001"))
    return Ledger([market], {"USDT": Decimal(1000)})


@pytest.mark.parametrize(
    ("rounding", "kept"),
    [(FeeRounding.HALF_EVEN, "0.00000002"), (FeeRounding.CUT, "0.00000001"), (FeeRounding.UP, "0.00000002")],
)
def test_the_size_that_pays_is_rounded_in_the_venues_way(rounding: FeeRounding, kept: str) -> None:
    """0.00002 at 0.075 % are 0.000000015: a tie between 1 and 2 hundred-millionths."""
    ledger = ledger_of("0.00075", rounding=rounding)
    ledger.execute(0, BUY, 6_000_000, 2, Role.MAKER, 0)
    assert size_of(ledger.positions[0].fees_size) == Decimal(kept)
    assert size_of(ledger.positions[0].size) == Decimal("0.00002") - Decimal(kept)


def test_a_rebate_in_kind_is_more_of_what_was_bought() -> None:
    ledger = ledger_of("-0.0001")
    entry = ledger.execute(0, BUY, 10_000, 100_000, Role.MAKER, 0)
    assert size_of(ledger.positions[0].size) == Decimal("1.0001")
    assert (amount(entry.fee), amount(entry.cash)) == (Decimal("-0.01"), Decimal(900))


def test_buying_back_what_was_owed_realizes_what_came() -> None:
    """1 sold at 100 and 1 bought at 90, of which 0.999 come: 0.999 * 10 is gained, and 0.001 stays owed."""
    ledger = ledger_of("0")
    ledger.execute(0, SELL, 10_000, 100_000, Role.MAKER, 0)
    ledger.execute(0, BUY, 9_000, 100_000, Role.TAKER, 1)
    [position] = ledger.positions
    assert (amount(position.realized), size_of(position.size)) == (Decimal("9.99"), Decimal("-0.001"))
    ledger.mark(0, 90.0)
    account = ledger.account(None)
    assert ledger.equity() == account.start + position.realized + ledger.unrealized(0) - account.fees


def test_a_spot_venue_whose_recording_says_nothing_of_the_pair_has_spot_all_the_same() -> None:
    """A capture without metadata, with tick and lot assumed: 0.1 % of 2 are held back, and what is held is a thing."""
    market = Market(SPOT, kind=InstrumentKind.SPOT)
    messages = [each for each in market.end(START + DAY) if not isinstance(each, Instrument)]
    deed = (START + HOUR, lambda ctx: ctx.buy(PAIR, 2))
    assumed = {"tick": Decimal(1), "lot": Decimal(1)}
    done = run(messages, [deed], keys=[SPOT], asset="USDT", assumed=assumed)
    assert done.record is not None
    [market_known] = done.record.markets
    assert market_known.contract is not None
    assert market_known.contract.kind is ContractKind.SPOT
    assert size_of(done.record.ledger.positions[0].size) == Decimal("1.998")
