"""The example strategies do what their docstrings say, on small markets by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.strategies.cross_venue_watcher import CrossVenueWatcher
from examples.strategies.funding_collector import FundingCollector
from examples.strategies.leverage_lesson import LeverageLesson
from examples.strategies.market_maker import MarketMaker
from examples.strategies.momentum_taker import MomentumTaker
from replay.results.result import Result
from replay.strategy.loading import load_strategy
from replay.strategy.strategy import Strategy
from tests.embedded_recording import ROOT
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.clearing.money_tapes import START as MARKET_START
from tests.replay.clearing.money_tapes import Market
from tests.replay.strategy.sessions import opened
from toolkit.keys import PairKey
from toolkit.messages import EventKind, InstrumentKind, Message

FILES = sorted(path for path in (ROOT / "examples" / "strategies").glob("*.py") if path.stem != "__init__")
MS = 1_000_000
SECOND = 1_000 * MS
OTHER = PairKey("other", "BTC-USD")


def begun(say: Messages, middle: int = 10_001) -> list[Message]:
    """Tick 1, lot 0.01, and a book of 5 on each side, one tick around the middle."""
    start = say.event(0, EventKind.SESSION_START, stream="")
    return [start, say.instrument(0, tick=1.0, lot=0.01), say.snapshot(0, {middle - 1: 5}, {middle + 1: 5})]


def played(cls: type[Strategy], messages: Iterable[Message], **settings: Any) -> Result:
    """What came of it, in the order of receipt."""
    run = opened(cls, **settings)
    for message in messages:
        run.session.take(message)
    record = run.session.finish()
    assert run.session.failure is None
    return Result.of(record)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_one_strategy_that_says_how_it_is_run(path: Path) -> None:
    loaded = load_strategy(path)
    text = path.read_text(encoding="utf-8")
    assert f"Example:  tickdeck backtest {path.relative_to(ROOT).as_posix()} tapes/" in text
    assert loaded.cls.__doc__
    # Each parameter says what it is, in a comment behind it.
    lines = inspect.getsource(loaded.cls).splitlines()
    assert [line for line in lines if re.match(r"    \w+: float = ", line) and "  # " not in line] == []


# -- market maker ---------------------------------------------------------------------------------------------------------


def test_the_maker_quotes_around_the_middle() -> None:
    """1 bp of 10,001 from it, rounded away: 9,999 and 10,003; 500 are 0.04."""
    say = Messages()
    result = played(MarketMaker, [*begun(say), say.diff(150 * MS, {9_990: 1})])
    orders = result.table("orders").filter(state="open").select("side", "price", "size").rows()
    assert orders == [("buy", 9_999.0, 0.04), ("sell", 10_003.0, 0.04)]


def test_the_maker_leans_against_what_it_holds() -> None:
    """
    A trade through 9,999 fills its bid. It holds 0.04, a fifth of 2,000, so at 50 bp for all of it the fair price is 10 bp or
    10 lower: the bid goes to 9,989, and the ask down to the best one, 10,002.
    """
    say = Messages()
    tape = [
        *begun(say),
        say.diff(150 * MS, {9_990: 1}),
        say.trade(160 * MS, "sell", 9_998, 8),
        say.diff(250 * MS, {9_990: 2}),
    ]
    result = played(MarketMaker, tape, parameters={"skew_bps": 50.0})
    assert result.fills.select("side", "price", "size", "is_maker").rows() == [("buy", 9_999.0, 0.04, True)]
    asked = result.table("orders").filter(side="sell")["price"].unique(maintain_order=True).to_list()
    assert asked == [10_003.0, 10_002.0]
    bids = result.table("orders").filter(side="buy", state="open")["price"].to_list()
    assert bids == [9_999.0, 9_989.0]


def test_the_maker_sells_only_at_its_largest_position() -> None:
    say = Messages()
    tape = [
        *begun(say),
        say.diff(150 * MS, {9_990: 1}),
        say.trade(160 * MS, "sell", 9_998, 8),
        say.diff(250 * MS, {9_990: 2}),
    ]
    result = played(MarketMaker, tape, parameters={"inventory_max": 400.0})
    assert result.table("orders").filter(side="buy", state="open")["price"].to_list() == [9_999.0]


def test_the_maker_has_no_orders_in_a_book_that_is_not_known() -> None:
    say = Messages()
    tape = [
        *begun(say),
        say.diff(150 * MS, {9_990: 1}),
        say.event(200 * MS, EventKind.STALE),
        say.diff(900 * MS, {9_990: 3}),
    ]
    result = played(MarketMaker, tape)
    assert set(result.orders["state"]) == {"cancelled"}


# -- momentum taker -------------------------------------------------------------------------------------------------------


def bought(say: Messages, *, size: float, at_ns: int) -> list[Message]:
    """Small trades that go both ways, and then a large one that buys."""
    small = [say.trade(n * 100 * MS, "buy" if n % 2 else "sell", 10_001, 0.01) for n in range(1, 19)]
    return [*small, say.trade(at_ns, "buy", 10_002, size)]


def test_the_taker_goes_with_a_large_trade_and_closes_after_a_while() -> None:
    """It buys at the best ask, 10,002, and five seconds later sells at the best bid, 10,000: 0.09 of each."""
    say = Messages()
    tape = [*begun(say), *bought(say, size=3, at_ns=2_000 * MS), say.diff(8 * SECOND, {9_990: 1})]
    result = played(MomentumTaker, tape)
    assert result.fills.select("side", "price", "size", "is_maker", "position").rows() == [
        ("buy", 10_002.0, 0.09, False, 0.09),
        ("sell", 10_000.0, 0.09, False, 0.0),
    ]
    first, second = result.fills["ts_event"].cast(int)
    assert (first, second - first) == (2_000 * MS, 5 * SECOND)


def test_the_taker_leaves_a_small_trade_alone() -> None:
    say = Messages()
    assert played(MomentumTaker, [*begun(say), *bought(say, size=0.01, at_ns=2_000 * MS)]).orders.is_empty()


def test_the_taker_has_nothing_to_close_where_the_price_was_gone() -> None:
    """Its order arrives 100 ms later, when the best ask is 10,050; no other order follows."""
    say = Messages()
    gone = say.diff(2_050 * MS, {}, {10_002: 0, 10_050: 5})
    tape = [*begun(say), *bought(say, size=3, at_ns=2_000 * MS), gone, say.diff(8 * SECOND, {9_990: 1})]
    result = played(MomentumTaker, tape, latency="entry=100ms,response=1ms")
    assert result.orders.select("side", "state", "filled").rows() == [("buy", "expired", 0.0)]


# -- cross-venue watcher --------------------------------------------------------------------------------------------------


def two_venues(*later: tuple[int, int]) -> list[Message]:
    """Two books around 10,001, and what the middle of the first is later."""
    one, other = Messages(KEY), Messages(OTHER, start=100)
    made = [*begun(one), *begun(other)]
    for number, (at_ns, middle) in enumerate(later):
        made.append(Messages(KEY, start=1_000 + number).snapshot(at_ns, {middle - 1: 5}, {middle + 1: 5}))
    return made


def test_the_watcher_sells_dear_and_buys_cheap_and_closes_both() -> None:
    """The first venue rises by 20, 20 bp: sold there at 10,020 and bought at 10,002; it falls back, and both are closed."""
    tape = two_venues((SECOND, 10_001), (2 * SECOND, 10_021), (4 * SECOND, 10_001), (5 * SECOND, 10_001))
    result = played(CrossVenueWatcher, tape, keys=[KEY, OTHER], parameters={"average_s": 1e6})
    fills = result.fills.select("venue", "side", "price", "position").rows()
    assert sorted(fills[:2]) == [("other", "buy", 10_002.0, 0.09), ("testing", "sell", 10_020.0, -0.09)]
    assert sorted(fills[2:]) == [("other", "sell", 10_000.0, 0.0), ("testing", "buy", 10_002.0, 0.0)]


def test_the_watcher_closes_a_leg_that_was_filled_alone() -> None:
    """The dear price is gone when the orders arrive, 100 ms later: what was bought is sold again."""
    tape = two_venues(
        (SECOND, 10_001),
        (2 * SECOND, 10_021),
        (2 * SECOND + 50 * MS, 10_005),
        (4 * SECOND, 10_006),
        (5 * SECOND, 10_005),
    )
    result = played(
        CrossVenueWatcher,
        tape,
        keys=[KEY, OTHER],
        parameters={"average_s": 1e6, "entry_bps": 10.0},
        latency="entry=100ms,response=1ms",
    )
    assert result.fills.select("venue", "side").rows() == [("other", "buy"), ("other", "sell")]
    assert not any(pair.position for pair in result.info.pairs)


def test_the_watcher_does_nothing_in_stale_books() -> None:
    tape = two_venues((SECOND, 10_001))
    tape += [Messages(OTHER, start=2_000).event(1_500 * MS, EventKind.STALE)]
    tape += [Messages(KEY, start=3_000).snapshot(2 * SECOND, {10_040: 5}, {10_042: 5})]
    assert played(CrossVenueWatcher, tape, keys=[KEY, OTHER]).orders.is_empty()


# -- funding collector ----------------------------------------------------------------------------------------------------

PERPETUAL, SPOT = PairKey("hyperliquid", "BTC-USD"), PairKey("hyperliquid", "UBTC-USD")
HOUR = 3_600 * SECOND


def legs(rate: float, later: float) -> list[Message]:
    """A thing at 10,001 and its perpetual at 10,006 for two hours, at one rate until the first funding, then at another."""
    perpetual, spot = Messages(PERPETUAL), Messages(SPOT, start=10_000)
    told = [
        *begun(perpetual, 10_006),
        msgspec.structs.replace(spot.instrument(0, tick=1.0, lot=0.01), kind=InstrumentKind.SPOT, settle="USD"),
        spot.snapshot(0, {10_000: 5}, {10_002: 5}),
        *[
            perpetual.funding(
                minute * 60 * SECOND + MS,
                funding_rate=rate if minute < 60 else later,
                funding_interval_s=3_600,
                next_funding_ts=HOUR if minute < 60 else 2 * HOUR,
                mark_price=10_006.0,
                index_price=10_006.0,
            )
            for minute in range(119)
        ],
    ]
    for minute in range(119):  # nothing happens to the best prices
        told.append(perpetual.diff(minute * 60 * SECOND + 500 * MS, {9_990: 1 + minute}))
        told.append(spot.diff(minute * 60 * SECOND + 600 * MS, {9_990: 1 + minute}))
    # Frames in the order of time, each with a number of its own.
    ordered = sorted(told, key=lambda each: each.ts_recv)
    return [msgspec.structs.replace(each, capture_seq=number) for number, each in enumerate(ordered)]


def collected(rate: float, later: float, **parameters: float) -> Result:
    return played(
        FundingCollector,
        legs(rate, later),
        keys=[PERPETUAL, SPOT],
        fees={"maker": Decimal(0), "taker": Decimal(0)},
        parameters=parameters,
    )


def test_the_collector_is_paid_on_the_leg_that_it_is_short_of() -> None:
    """
    1 bp an hour: 1000 of each leg are 0.09; at the first hour shorts are paid 0.0001 of 0.09 * 10,006. The rate is negative
    then, so both legs are closed again, at two spreads.
    """
    result = collected(0.0001, -0.0001)
    assert sorted(result.fills.select("trading_pair", "side", "price", "size").rows()) == [
        ("BTC-USD", "buy", 10_007.0, 0.09),
        ("BTC-USD", "sell", 10_005.0, 0.09),
        ("UBTC-USD", "buy", 10_002.0, 0.09),
        ("UBTC-USD", "sell", 10_000.0, 0.09),
    ]
    assert float(result.account.funding) == pytest.approx(0.0001 * 0.09 * 10_006)
    assert {pair.position for pair in result.info.pairs} == {0}


def test_the_collector_holds_on_while_the_rate_is_between_the_two() -> None:
    result = collected(0.0001, 0.00001)
    assert result.fills.height == 2
    assert sorted(float(pair.position) for pair in result.info.pairs) == [-0.09, 0.09]


def test_the_collector_leaves_a_small_rate_alone() -> None:
    assert collected(0.00001, 0.00001).orders.height == 0


# -- leverage -------------------------------------------------------------------------------------------------------------


def falling_from_100(leverage: int, minutes: int = 30, **parameters: float) -> Result:
    """The price falls by one a minute from 100 on, to 70; 1000 of capital, no fees."""
    market = Market(PERPETUAL)
    market.rate(MARKET_START + 1, mark_price=100.0, index_price=100.0)
    for minute in range(1, minutes + 1):
        at_ns = MARKET_START + minute * 60 * SECOND
        market.quote(at_ns, 99 - minute, 101 - minute)
        market.rate(at_ns + 1, mark_price=100.0 - minute, index_price=100.0 - minute)
    return played(
        LeverageLesson,
        market.end(MARKET_START + (minutes + 1) * 60 * SECOND),
        keys=[PERPETUAL],
        start_ns=MARKET_START,
        capital={"USD": Decimal(1000)},
        leverage={"": Decimal(leverage)},
        fees={"maker": Decimal(0), "taker": Decimal(0)},
        parameters={"leverage": leverage, **parameters},
    )


def test_leverage_20_ends_at_the_venue_and_leverage_2_does_not() -> None:
    """The same tape: one loses nearly all of it once, the other 58 of 100 and has its position still."""
    fallen, stands = falling_from_100(20), falling_from_100(2)
    assert fallen.info.liquidations
    assert fallen.fills["side"].to_list()[0] == "buy"
    assert float(fallen.account.end) < 200
    assert {pair.position for pair in fallen.info.pairs} == {0}
    assert (stands.info.liquidations, stands.fills.height) == ([], 1)
    assert float(stands.account.end) > 350
    assert fallen.series["name"].unique().to_list() == ["to_liquidation_bps"]
    assert fallen.series["value"][0] > 0


def test_a_stop_sells_before_the_venue_does() -> None:
    """Where half of the way to the liquidation is gone: more than half of the capital is left."""
    result = falling_from_100(20, stop_share=0.4)
    assert result.info.liquidations == []
    assert result.fills["side"].to_list() == ["buy", "sell"]
    assert float(result.account.end) > float(falling_from_100(20).account.end)
