"""What a recording does not say: refused, or assumed and repeated by the result."""

from __future__ import annotations

from decimal import Decimal

import pytest

from replay.results.result import Result
from replay.results.run_info import run_info
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, run
from toolkit.cli.commands.backtest_strategy import _say_doubts_of_money
from toolkit.cli.options.run_options import assumed_of
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
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
    _say_doubts_of_money(Result.of(played.record))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("The facts of hyperliquid (fees, margin, limits) are of 2026-11-28, ")
    assert lines[0].endswith(" days older than the tape")
    assert lines[1] == "No rate or price was recorded of 2 funding settlements, which are left out"


def test_mark_is_no_number_and_no_other_word() -> None:
    with pytest.raises(ConfigError, match=r"^--assume mark: no such thing"):
        assumed_of(["mark=last"])


def test_an_assumed_mark_needs_leverage() -> None:
    with pytest.raises(ConfigError, match=r"^a mark price is assumed, which only leverage needs"):
        run(Market(HYPERLIQUID).end(START + HOUR), [], keys=[HYPERLIQUID], mark_is_mid=True)
