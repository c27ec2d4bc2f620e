"""The example strategies do what their docstrings say, on small markets by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from examples.strategies.cross_venue_watcher import CrossVenueWatcher
from examples.strategies.market_maker import MarketMaker
from examples.strategies.momentum_taker import MomentumTaker
from replay.results.result import Result
from replay.strategy.loading import load_strategy
from replay.strategy.strategy import Strategy
from tests.embedded_recording import ROOT
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.strategy.sessions import opened
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Message

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
