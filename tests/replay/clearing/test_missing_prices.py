"""What a recording does not say: refused, or assumed and repeated by the result."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from replay.fast.actions import BUY, send
from replay.fast.backtesting import can_compile
from replay.fast.step import step
from replay.fast_classes.strategy_backtest import backtest
from replay.results.result import Result
from replay.results.run_info import run_info
from replay.strategy.plan import RunSettings
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, funded, run
from tests.replay.strategy.sessions import Played
from tests.tapes import collector_line, import_files
from toolkit.cli.options.run_options import assumed_of
from toolkit.cli.output.run_doubts import say_doubts
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import FundingKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}


def test_leverage_without_a_recorded_price_is_refused_after_the_run_and_says_what_to_do() -> None:
    market = Market(HYPERLIQUID)
    played = run(
        market.end(START + HOUR // 2),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 1))],
        keys=[HYPERLIQUID],
        leverage={"": Decimal(2)},
    )
    house = played.session.house
    assert house is not None
    with pytest.raises(
        ConfigError,
        match=r"^the recording says no mark or oracle price of BTC-USD on hyperliquid, which leverage needs:"
        r" record funding as well, or say --assume mark=mid$",
    ):
        house.check_prices()


def test_the_middle_of_the_book_stands_in_for_the_mark_each_second_and_the_result_repeats_it() -> None:
    """Leverage 20 as elsewhere: at a middle of 97 it is liquidated, at the full second after that book came."""
    market = Market(HYPERLIQUID)
    market.quote(START + HOUR + 5, 97, 99)
    market.quote(START + 2 * HOUR + 5, 96, 98)
    played = run(
        market.end(START + 3 * HOUR),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 100))],
        keys=[HYPERLIQUID],
        capital="505",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
        mark_is_mid=True,
    )
    record = played.record
    assert record is not None
    assert [(each.time_ns, each.what, each.mark_price) for each in record.liquidations] == [
        (START + 2 * HOUR + NS_PER_S, "order", "97")
    ]
    assert cash(record.ledger) == 5
    assert record.head.settings["money"]["mark"] == "mid"
    assert played.session.house is not None
    played.session.house.check_prices()


def test_funding_of_which_nothing_was_ever_heard_is_counted_where_something_was_held() -> None:
    """Held from 0:00 to 2:30: two hours; and sold after that."""
    market = Market(HYPERLIQUID)
    played = run(
        market.end(START + 5 * HOUR),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 1)),
            (START + 2 * HOUR + HOUR // 2, lambda ctx: ctx.sell("BTC-USD", 1)),
        ],
        keys=[HYPERLIQUID],
    )
    assert played.record is not None
    assert played.record.counts["funding_missed"] == 2


@pytest.mark.parametrize(("interval_h", "missed"), [(1, 8), (4, 2), (8, 1)])
def test_settlements_after_the_last_word_are_counted_by_the_interval_that_was_said(
    interval_h: int, missed: int
) -> None:
    """Held for nine hours of which nothing is heard but the first second, whatever the venue's facts say."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0, funding_rate=0.0, funding_interval_s=interval_h * 3600)
    played = run(market.end(START + 9 * HOUR), [(START + 60, lambda ctx: ctx.buy("BTC-USD", 1))], keys=[HYPERLIQUID])
    assert played.record is not None
    assert played.record.counts["funding_missed"] == missed


def test_facts_that_are_older_than_the_tape_are_said_with_the_days() -> None:
    """The tape of these tests ends in 2024; one of 2027 is later than the facts."""
    for days, expected in ((0, 0), (1_000, None)):
        start = START + days * DAY
        market = Market(HYPERLIQUID, at_ns=start)
        played = run(market.end(start + HOUR), [], keys=[HYPERLIQUID])
        assert played.record is not None
        (preset,) = run_info(played.record).presets
        assert preset.venue == "hyperliquid"
        assert preset.days_older == expected if expected is not None else preset.days_older > 0
        assert preset.source
        assert set(preset.evidence) == set(preset.values)
        assert preset.evidence["funding.interval"] == "d: hyperliquid-docs, on funding, by mirrors"
        assert preset.unknown


def test_the_command_says_that_facts_are_older_and_that_funding_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, after the numbers."""
    start = START + 1_000 * DAY
    market = Market(HYPERLIQUID, at_ns=start)
    played = run(
        market.end(start + 3 * HOUR),
        [(start + 60, lambda ctx: ctx.buy("BTC-USD", 1))],
        keys=[HYPERLIQUID],
        start_ns=start,
    )
    assert played.record is not None
    say_doubts([Result.of(played.record)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("The facts of hyperliquid (fees, margin, limits) are of 2026-11-28, ")
    assert lines[0].endswith(" days older than the tape")
    assert lines[1] == "No rate or price was recorded of 2 funding settlements, which are left out"


def test_of_several_runs_each_doubt_is_said_once_with_the_highest_count(capsys: pytest.CaptureFixture[str]) -> None:
    """One held for two hours, one for one, and one not at all."""
    start = START + 1_000 * DAY
    results = []
    for hours in (2, 1, 0):
        deeds = [(start + 60, lambda ctx: ctx.buy("BTC-USD", 1))] if hours else []
        market = Market(HYPERLIQUID, at_ns=start)
        end_ns = start + (hours + 1) * HOUR
        played = run(market.end(end_ns), deeds, keys=[HYPERLIQUID], start_ns=start)
        assert played.record is not None
        results.append(Result.of(played.record))
    say_doubts(results)
    facts, funding = capsys.readouterr().err.splitlines()
    assert facts.startswith("The facts of hyperliquid (fees, margin, limits) are of ")
    assert funding == "No rate or price was recorded of up to 2 funding settlements, which are left out"


def test_mark_is_no_number_and_no_other_word() -> None:
    with pytest.raises(ConfigError, match=r"^--assume mark: no such thing"):
        assumed_of(["mark=last"])


def test_an_assumed_mark_needs_leverage_or_a_venue_with_funding() -> None:
    spot = PairKey("binance-spot", "BTC-USDT")
    with pytest.raises(
        ConfigError,
        match=r"^a mark price is assumed, which only leverage and funding need, and binance-spot has no funding: leave it out$",
    ):
        run(Market(spot).end(START + HOUR), [], keys=[spot], mark_is_mid=True)
    assert run(Market(HYPERLIQUID).end(START + HOUR), [], keys=[HYPERLIQUID], mark_is_mid=True).record is not None


# -- rates of funding without a price to settle by -----------------------------------------------------------------


def bare(key: PairKey, *, every: int, price_at: int | None = None) -> Market:
    """
    A rate of 0.1 % each hour or each 8, a minute before and a minute after each instant, and no price but at one hour.

    The book is 99 to 101 at first, and 119 to 121 from two seconds before the second instant on.
    """
    market = Market(key)
    for number in range(3):
        due = START + (number + 1) * every * HOUR
        if number == 1:
            market.quote(due - 2 * NS_PER_S, 119, 121)
        for late in (-60, 60):
            at_ns = due + late * NS_PER_S
            price = 500.0 if price_at == number and late > 0 else None
            upcoming = due if late < 0 else due + every * HOUR
            market.rate(at_ns, funding_rate=0.001, mark_price=price, index_price=price, next_funding_ts=upcoming)
    return market


def held(market: Market, key: PairKey, end_ns: int, **settings: Any) -> Played:
    buy = [(START + 60, lambda ctx: ctx.buy(key.trading_pair, 1))]
    return run(market.end(end_ns), buy, keys=[key], fees=NO_FEES, **settings)


def checked(played: Played) -> None:
    assert played.session.house is not None
    played.session.house.check_prices()


@pytest.mark.parametrize(("key", "every"), [(USDM, 8), (HYPERLIQUID, 1), (DYDX, 1)])
def test_a_rate_without_a_price_to_settle_by_is_refused_where_something_was_held(key: PairKey, every: int) -> None:
    played = held(bare(key, every=every), key, START + 3 * every * HOUR + HOUR // 2)
    with pytest.raises(
        ConfigError,
        match=rf"^the recording says the funding rate of {key}, but no mark or oracle price to settle by while a position"
        r" was held: record that as well, or say --assume mark=mid$",
    ):
        checked(played)
    checked(run(bare(key, every=every).end(START + 3 * every * HOUR + HOUR // 2), [], keys=[key]))


@pytest.mark.parametrize(("key", "every"), [(USDM, 8), (HYPERLIQUID, 1), (DYDX, 1)])
@pytest.mark.parametrize("leverage", [{}, {"": Decimal(2)}])
def test_the_middle_of_the_book_at_the_instant_is_what_funding_is_settled_by(
    key: PairKey, every: int, leverage: dict[str, Decimal]
) -> None:
    """One long, 0.1 % of a middle of 100, then of 120 twice; the book of 119 and 121 came two seconds before."""
    end_ns = START + 3 * every * HOUR + HOUR // 2
    assumed = {"maintenance": Decimal("0.005")} if leverage else {}
    played = held(bare(key, every=every), key, end_ns, mark_is_mid=True, leverage=leverage, assumed=assumed)
    checked(played)
    assert played.record is not None
    assert funded(played.record) == [(1.0, -0.1), (1.0, -0.12), (1.0, -0.12)]
    assert "funding_missed" not in played.record.counts
    assert played.record.head.settings["money"]["mark"] == "mid"


def test_a_price_of_the_venue_outranks_the_middle_from_then_on() -> None:
    """A price of 500 comes a minute after the first instant: that one was settled by the middle, those after it by 500."""
    end_ns = START + 3 * HOUR + HOUR // 2
    played = held(bare(HYPERLIQUID, every=1, price_at=0), HYPERLIQUID, end_ns, mark_is_mid=True)
    assert played.record is not None
    assert funded(played.record) == [(1.0, -0.1), (1.0, -0.5), (1.0, -0.5)]
    # Without the middle the first one is left out for want of a price, whatever came later.
    with pytest.raises(ConfigError, match="but no mark or oracle price to settle by"):
        checked(held(bare(HYPERLIQUID, every=1, price_at=0), HYPERLIQUID, end_ns))


@pytest.mark.parametrize(
    ("price", "mid", "paid", "missed"),
    [(100.0, False, [-0.1, -0.1], 0), (None, True, [-0.1, -0.1], 0), (None, False, [], 2)],
)
def test_settled_rates_alone_are_paid_where_there_is_a_price_and_count_as_missed_where_there_is_none(
    price: float | None, mid: bool, paid: list[float], missed: int
) -> None:
    market = Market(DYDX)
    for hour in (1, 2):
        due = START + hour * HOUR
        market.rate(
            due + NS_PER_S,
            event_ns=due,
            kind=FundingKind.SETTLED,
            funding_rate=0.001,
            index_price=price,
            mark_price=price,
        )
    played = held(market, DYDX, START + 2 * HOUR + HOUR // 2, mark_is_mid=mid)
    assert played.record is not None
    assert [each for _, each in funded(played.record)] == paid
    assert played.record.counts.get("funding_missed", 0) == missed
    if missed:
        with pytest.raises(ConfigError, match="but no mark or oracle price to settle by"):
            checked(played)
    else:
        checked(played)


# -- stops without the price that wakes them ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "on", "what"),
    [(HYPERLIQUID, None, "mark"), (DYDX, None, "oracle"), (USDM, "mark", "mark"), (USDM, "last", None)],
)
@pytest.mark.parametrize("other", [False, True])
def test_a_stop_whose_price_never_came_is_refused_or_woken_by_the_middle(
    key: PairKey, on: str | None, what: str | None, other: bool
) -> None:
    """A stop at 90; the middle falls to 81 after half an hour. `other`: the venue says its other price alone, which is above."""
    market = Market(key)
    if other:
        of_mark = what == "oracle"
        market.rate(START + 30, mark_price=100.0 if of_mark else None, index_price=None if of_mark else 100.0)
    market.quote(START + HOUR // 2 + 5, 80, 82)
    tape = market.end(START + 3 * HOUR // 4)
    on_price = {} if on is None else {"on": on}
    deeds = [(START + 60, lambda ctx: ctx.sell(key.trading_pair, 1, stop=90.0, **on_price))]
    played = run(tape, deeds, keys=[key], fees=NO_FEES)
    assert [each for kind, each in played.heard if kind == "fill"] == []
    if what is None:
        return checked(played)
    with pytest.raises(
        ConfigError, match=rf"^the recording says no {what} price of {key}, by which an order that waited"
    ):
        checked(played)
    played = run(tape, deeds, keys=[key], fees=NO_FEES, mark_is_mid=True)
    checked(played)
    assert [each[:2] for kind, each in played.heard if kind == "fill"] == [("sell", 80.0)]
    return None


def test_a_compiled_run_is_not_made_with_an_assumed_mark() -> None:
    assert can_compile(RunSettings())
    assert not can_compile(RunSettings(mark_is_mid=True))


@step(every="10m", state={"calls": 0})
def buys_once(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Holds from its first call on."""
    s.calls += 1
    if s.calls == 1:
        send(act, 0, BUY, 101, 1)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("strategy", [buys_once, buys_once.in_python()], ids=["compiled", "python"])
def test_a_capture_with_rates_alone_is_refused_in_compiled_runs_as_well(strategy: Any, tmp_path: Path) -> None:
    """dYdX says rates and oracle prices apart: here none of the second."""
    start = 500_000 * HOUR

    def line(at_ns: int, kind: str, channel: str, **fields: Any) -> bytes:
        said = {"type": kind, "connection_id": "a", "message_id": 1, "channel": channel, **fields}
        return collector_line(at_ns, said)

    sides = {side: [{"price": price, "size": "1000"}] for side, price in (("bids", "99"), ("asks", "101"))}
    lines = [line(start, "subscribed", "v4_orderbook", id="BTC-USD", contents=sides)]
    for number, minutes in enumerate((59, 61, 62)):
        markets = {"trading": {"BTC-USD": {"nextFundingRate": f"0.00{number + 1}"}}}
        lines.append(
            line(start + minutes * 60 * NS_PER_S, "channel_data", "v4_markets", version="1.0.0", contents=markets)
        )
    recording = import_files(tmp_path / "tape", b"".join(lines), venue="dydx_v4")
    with pytest.raises(ConfigError, match=r"^the recording says the funding rate of BTC-USD on dydx_v4, but no mark"):
        backtest(strategy, recording, assumed={"tick": 1, "lot": 1}, fees={"maker": 0, "taker": 0})
