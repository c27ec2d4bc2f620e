"""Funding: at its instant, on what was held then, by the last rate and price before, and by what the venue says afterwards."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of
from replay.clearing.funding_clock import FundingClock
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.margin_rules import FundingRules, ReferencePrice
from replay.ledger.money import Contract, ContractKind, FeeRounding, Fees, Rounding, price_units, units_of
from tests.replay.backtest.market_messages import Messages
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, funded, run
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey
from toolkit.messages import FundingInfo, FundingKind, InstrumentKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
COINM = PairKey("binance-coinm", "BTC-USD_PERP")
SPOT = PairKey("binance-spot", "BTC-USDT")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}
RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "hyperliquid" / "rest"


def test_a_long_pays_and_a_short_receives_at_the_hour_on_the_oracle_price() -> None:
    """
    Hyperliquid, hourly, size * oracle * rate, cut to 6 digits; the mark is another price and does not count.

    Long 3, oracle 100.5, rate 0.0001: 3 * 100.5 * 0.0001 = 0.03015 paid. Then sold 5, so short 2, oracle 101.25:
    2 * 101.25 * 0.0001 = 0.02025 received. Then rate -0.00003: 2 * 101.25 * 0.00003 = 0.006075 paid.
    """
    market = Market(HYPERLIQUID)
    market.rate(START + 1, funding_rate=0.0001, mark_price=99.0, index_price=100.5)
    market.rate(START + HOUR, funding_rate=0.0001, mark_price=99.0, index_price=101.25)
    market.rate(START + 2 * HOUR + 5, funding_rate=-0.00003, mark_price=99.0, index_price=101.25)
    market.rate(START + 3 * HOUR + 9, funding_rate=0.5, mark_price=99.0, index_price=1.0)
    played = run(
        market.end(START + 4 * HOUR),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 3)),
            (START + HOUR + 60, lambda ctx: ctx.sell("BTC-USD", 5)),
        ],
        keys=[HYPERLIQUID],
        fees=NO_FEES,
    )
    assert played.record is not None
    assert funded(played.record) == [(3.0, -0.03015), (-2.0, 0.02025), (-2.0, -0.006075)]
    # 1,000,000 less 3 at 101, and 5 at 99 sold.
    assert cash(played.record.ledger) == Decimal(1_000_192) - Decimal("0.03015") + Decimal("0.02025") - Decimal(
        "0.006075"
    )


def test_what_was_held_at_the_instant_counts_and_not_at_the_message_after_it() -> None:
    """
    The message comes 40 s after the hour; 2 were bought before it and 7 in between: 2 * 100 * 0.001 = 0.2 is paid.
    """
    market = Market(HYPERLIQUID)
    market.rate(START + 1, funding_rate=0.001, index_price=100.0, mark_price=100.0)
    market.rate(START + HOUR + 40 * NS_PER_S, funding_rate=0.002, index_price=50.0, mark_price=100.0)
    played = run(
        market.end(START + 90 * 60 * NS_PER_S),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 2)),
            (START + HOUR + NS_PER_S, lambda ctx: ctx.buy("BTC-USD", 7)),
        ],
        keys=[HYPERLIQUID],
        fees=NO_FEES,
    )
    assert played.record is not None
    assert funded(played.record) == [(2.0, -0.2)]


def test_the_time_that_a_venue_names_holds_and_the_mark_price_where_it_counts() -> None:
    """
    Binance: at `next_funding_ts`, here 8 h after the start, on the mark: short 4 at a mark of 98.5 and 0.0002 receive
    4 * 98.5 * 0.0002 = 0.0788. The message that stands at the instant has the next period's rate already.
    """
    market = Market(USDM)
    eight = START + 8 * HOUR
    market.rate(START + 1, funding_rate=0.0005, mark_price=100.0, index_price=7.0, next_funding_ts=eight)
    market.rate(eight - 1, funding_rate=0.0002, mark_price=98.5, index_price=7.0, next_funding_ts=eight)
    market.rate(eight, funding_rate=0.9, mark_price=55.0, index_price=7.0, next_funding_ts=eight + 8 * HOUR)
    played = run(
        market.end(eight + HOUR),
        [(START + 60, lambda ctx: ctx.sell("BTC-USDT", 4))],
        keys=[USDM],
        fees=NO_FEES,
    )
    assert played.record is not None
    assert funded(played.record) == [(-4.0, 0.0788)]


def test_an_inverse_contract_pays_in_its_coin() -> None:
    """
    COIN-M: 30 contracts of 100 USD, long, mark 120: 3000 / 120 = 25 BTC, of which 0.01 % is 0.0025 BTC.
    """
    market = Market(COINM, contract_value=100.0, settle="BTC")
    eight = START + 8 * HOUR
    market.rate(START + 1, funding_rate=0.0001, mark_price=120.0, next_funding_ts=eight)
    market.rate(eight, funding_rate=0.0001, mark_price=120.0, next_funding_ts=eight + 8 * HOUR)
    played = run(
        market.end(eight + HOUR),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD_PERP", 30))],
        keys=[COINM],
        capital="5",
        asset="BTC",
        fees=NO_FEES,
    )
    assert played.record is not None
    assert funded(played.record) == [(30.0, -0.0025)]
    assert played.record.ledger.account().asset == "BTC"


def test_what_the_venue_says_it_has_settled_by_corrects_what_was_taken_for_it() -> None:
    """
    dYdX: 10 long at the hour; the estimate was 0.0001 at 100: 0.1 paid. The row that comes later has 0.00012 at 101:
    10 * 101 * 0.00012 = 0.1212, so 0.0212 more. The same row again changes nothing.
    """
    market = Market(DYDX)
    market.rate(START + 1, funding_rate=0.0001, index_price=100.0, mark_price=100.0)
    market.rate(START + HOUR + 5, funding_rate=0.0003, index_price=100.0, mark_price=100.0)
    for at_ns in (START + HOUR + 20 * NS_PER_S, START + HOUR + 30 * NS_PER_S):
        market.rate(
            at_ns,
            event_ns=START + HOUR + 219_000_000,
            kind=FundingKind.SETTLED,
            funding_rate=0.00012,
            index_price=101.0,
            mark_price=101.0,
        )
    played = run(
        market.end(START + 90 * 60 * NS_PER_S),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 10))],
        keys=[DYDX],
        fees=NO_FEES,
    )
    assert played.record is not None
    assert funded(played.record) == [(10.0, -0.1), (10.0, -0.0212)]


def test_settled_rows_of_before_the_run_settle_nothing() -> None:
    market = Market(DYDX)
    for hours in (5, 4, 3):
        market.rate(START + 1, event_ns=START - hours * HOUR, kind=FundingKind.SETTLED, funding_rate=0.1, index_price=9)
    played = run(
        market.end(START + HOUR // 2), [(START + 60, lambda ctx: ctx.buy("BTC-USD", 10))], keys=[DYDX], fees=NO_FEES
    )
    assert played.record is not None
    assert funded(played.record) == []


def test_instants_of_which_nothing_was_heard_are_counted_where_something_was_held() -> None:
    """Nothing comes between 0:00 and 4:30: the first hour is settled by what was known, three are missed."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, funding_rate=0.001, index_price=100.0, mark_price=100.0)
    market.rate(START + 4 * HOUR + HOUR // 2, funding_rate=0.001, index_price=100.0, mark_price=100.0)
    played = run(
        market.end(START + 5 * HOUR - 1), [(START + 60, lambda ctx: ctx.buy("BTC-USD", 1))], keys=[HYPERLIQUID]
    )
    assert played.record is not None
    assert funded(played.record) == [(1.0, -0.1)]
    assert played.record.counts["funding_missed"] == 3


def test_spot_has_no_funding_and_no_position_pays_none() -> None:
    market = Market(HYPERLIQUID)
    market.rate(START + 1, funding_rate=0.001, index_price=100.0, mark_price=100.0)
    market.rate(START + HOUR, funding_rate=0.001, index_price=100.0, mark_price=100.0)
    played = run(market.end(START + 2 * HOUR - 1), [], keys=[HYPERLIQUID])
    assert played.record is not None
    assert funded(played.record) == []
    assert facts_of("binance-spot").funding is None


@pytest.mark.parametrize("kind", [InstrumentKind.FUTURE, InstrumentKind.OUTCOME])
def test_what_is_no_perpetual_pays_no_funding_and_misses_none(kind: InstrumentKind) -> None:
    """A delivery contract: its rate is empty, and only its mark comes."""
    market = Market(USDM, kind=kind)
    for hours in (0, 8, 16):
        market.rate(START + hours * HOUR + 1, mark_price=100.0)
    played = run(market.end(START + DAY), [(START + 60, lambda ctx: ctx.buy("BTC-USDT", 1))], keys=[USDM])
    assert played.record is not None
    assert funded(played.record) == []
    assert "funding_missed" not in played.record.counts


def test_messages_that_say_nothing_of_funding_do_not_move_its_instant() -> None:
    """Open interest at 3:00 of a contract that settles every 4 h: 4:00 stands, though its facts have 8 h."""
    market = Market(USDM)
    four = START + 4 * HOUR
    market.rate(START + 1, funding_rate=0.001, mark_price=100.0, next_funding_ts=four)
    market.rate(START + 3 * HOUR, open_interest=5.0)
    market.rate(four + 2, open_interest=6.0)
    played = run(market.end(START + 5 * HOUR), [(START + 60, lambda ctx: ctx.buy("BTC-USDT", 1))], keys=[USDM])
    assert played.record is not None
    assert funded(played.record) == [(1.0, -0.1)]


def test_a_payment_is_a_row_of_the_log_with_its_amount_to_the_last_digit() -> None:
    market = Market(HYPERLIQUID)
    market.rate(START + 1, funding_rate=0.00001234, index_price=100.1, mark_price=100.0)
    market.rate(START + HOUR, funding_rate=0.1, index_price=100.1, mark_price=100.0)
    played = run(
        market.end(START + 2 * HOUR - 1), [(START + 60, lambda ctx: ctx.buy("BTC-USD", 7))], keys=[HYPERLIQUID]
    )
    # 7 * 100.1 * 0.00001234 = 0.0086466380: cut to 6 digits.
    rows = played.told("money")
    assert [row[3][:6] for row in rows] == [("funding", 0, "-0.008646", "7", "100.1", "0.00001234")]


def rows_of(text: str) -> list[dict[str, str]]:
    """The payments in a recorded exchange, which is YAML with one long JSON text in quotes."""
    body = text[text.index("string: '") + len("string: '") :]
    body = re.sub(r"\s*\n\s+", " ", body[: body.index("'\n")])
    return [row["delta"] for row in json.loads(body)]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded rows are not at hand")
@pytest.mark.parametrize("name", ["with_end_time", "without_end_time"])
def test_the_sign_of_every_recorded_payment_is_reproduced(name: str) -> None:
    """
    Recorded `userFunding` rows of an account, longs and shorts at rates of both signs. Sizes are averages of a day, and there
    is no oracle price, so amounts cannot be had; the price that a row implies stands in for it.
    """
    rows = rows_of((RECORDED / f"test_user_funding_history_{name}.yaml").read_text())
    assert len(rows) > 10
    rules = facts_of("hyperliquid").funding
    assert rules is not None
    ledger, signs = one_pair(rules), set()
    for row in rows:
        size, paid, rate = Decimal(row["szi"]), Decimal(row["usdc"]), Decimal(row["fundingRate"])
        received = ledger.funding_of(0, rate, price_units(abs(paid / (size * rate))), units_of(size, 12))
        assert (received > 0, received < 0) == (paid > 0, paid < 0), row
        signs.add((size > 0, rate > 0))
    assert len(signs) > 2


def one_pair(rules: FundingRules) -> Ledger:
    contract = Contract(kind=ContractKind.LINEAR, settle="USDC", base="BTC")
    return Ledger(
        [
            LedgerMarket(
                key=HYPERLIQUID,
                contract=contract,
                fees=Fees(maker=Decimal(0), taker=Decimal(0), decimals=6),
                tick=Decimal("0.1"),
                lot=Decimal("0.00001"),
                funding_rounding=Rounding(rules.decimals, rules.rounding),
            )
        ]
    )


def said(at_ns: int, **fields: Any) -> FundingInfo:
    return Messages(HYPERLIQUID).funding(at_ns, **fields)


def test_a_clock_settles_each_instant_once_whatever_the_interval() -> None:
    """Hourly by the facts, and every 4 hours where messages say so."""
    rules = FundingRules(price=ReferencePrice.MARK, interval_ns=HOUR, decimals=8, rounding=FeeRounding.CUT)
    clock = FundingClock(rules)
    got = [
        clock.hear(said(at_ns, funding_rate=0.1, mark_price=1.0, funding_interval_s=4 * 3600))
        for at_ns in (
            START + 1,
            START + 3 * HOUR,
            START + 4 * HOUR - 1,
            START + 4 * HOUR,
            START + 5 * HOUR,
            START + DAY,
        )
    ]
    assert [None if each is None else each.instant_ns - START for each in got] == [
        None,
        None,
        None,
        4 * HOUR,
        None,
        8 * HOUR,
    ]
    assert [each - START for each in clock.missed] == [12 * HOUR, 16 * HOUR, 20 * HOUR, 24 * HOUR]
