"""Every number of a result by hand: one run whose money is simple enough to be computed on paper, and what few of it have."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import sqrt

import msgspec
import pytest

from replay.backtest.gap_policy import Doubt
from replay.ledger.money import CASH_DECIMALS, SIZE_DECIMALS, units_of
from replay.market.layout import BUY, SELL, Role
from replay.results.result import Result
from replay.results.run_record import FillRow, OrderRow
from replay.results.run_recorder import RunRecorder
from replay.results.run_study import MarketInfo, RunStudy
from tests.replay.results.runs import at, linear_market, quote, recorder, trade
from tests.replay.results.test_profit_parts import studied
from toolkit.account_messages import OrderState

#: From 22:13:20 on a day to the same time of the 31st day after it: 30 whole days lie between.
DAYS = 31
SECONDS = DAYS * 86_400


def _order(made: RunRecorder, number: int, sent: float, there: float, heard: float, side: int, lots: int) -> OrderRow:
    """An order from its sending until its owner heard of it, which the caller takes down."""
    row = OrderRow(
        now_ns=at(sent), venue_ns=None, pair=0, order_id=number, state=OrderState.PENDING_CREATE, status="sent",
        side=side, tick=100, lots=lots, left=lots,
    )  # fmt: skip
    made.order(row)
    made.frame_done(at(sent))
    return msgspec.structs.replace(
        row, now_ns=at(heard), venue_ns=at(there), state=OrderState.OPEN, status="open", created_ns=at(there)
    )


def whole_run() -> Result:
    """
    Buys 2 at 100 as a maker, sells 1 at 106 as a taker, and holds 1 that is worth 114 at the end.

    Realized 6, not realized 14, fees 200 * 0.0001 + 106 * 0.0005 = 0.073, funding 0.5: net 20.427. 100 are deposited.
    """
    made = recorder()
    quote(made, 1, 99, 101)
    made.frame_done(at(1))
    # There after 30 ms, heard of 20 ms later; filled a second after it came.
    row = _order(made, 1, 2, 2.03, 2.05, BUY, 200)
    made.order(row)
    made.frame_done(at(2.05))
    fill = FillRow(
        now_ns=at(3.05), venue_ns=at(3.03), pair=0, order_id=1, side=BUY, tick=100, lots=200, role=Role.MAKER
    )
    made.fill(fill)
    made.order(msgspec.structs.replace(row, now_ns=at(3.05), venue_ns=at(3.03), state=OrderState.FILLED, left=0))
    made.frame_done(at(3.05))
    # Not known from 10 to 12 s, when the middle is 106: the 12 that are gained are doubtful.
    quote(made, 10, 99, 101, is_stale=True)
    made.frame_done(at(10), is_doubtful=True)
    quote(made, 12, 105, 107)
    made.frame_done(at(12))
    # There after 40 ms and heard of 10 ms later, with the fill: an uncertain one, so its fee is doubtful too.
    row = _order(made, 2, 14.9, 14.94, 14.95, SELL, 100)
    made.order(row)
    made.fill(
        FillRow(
            now_ns=at(14.95), venue_ns=at(14.94), pair=0, order_id=2, side=SELL, tick=106, lots=100, role=Role.TAKER,
            is_uncertain=True,
        )
    )  # fmt: skip
    made.order(msgspec.structs.replace(row, state=OrderState.FILLED, left=0))
    made.frame_done(at(14.95))
    # Refused after 60 ms, which is heard 10 ms later.
    row = _order(made, 3, 16, 16.06, 16.07, BUY, 300)
    made.order(msgspec.structs.replace(row, state=OrderState.REJECTED, status="no", created_ns=None))
    made.frame_done(at(16.07))
    # There after 30 ms, heard of 10 ms later, and cancelled.
    row = _order(made, 4, 17, 17.03, 17.04, BUY, 100)
    made.order(row)
    made.frame_done(at(17.04))
    made.order(msgspec.structs.replace(row, now_ns=at(18), venue_ns=at(17.9), state=OrderState.CANCELLED))
    made.note_late()
    made.frame_done(at(18))
    # From 11.98 down to 9.927.
    quote(made, 20, 103, 105)
    made.frame_done(at(20))
    made.funding(0, at(25), at(25), units_of(Decimal("0.5"), CASH_DECIMALS), Decimal("-0.005"), 10**SIZE_DECIMALS)
    made.frame_done(at(25))
    made.transfer("USDC", at(30), at(30), units_of(Decimal(100), CASH_DECIMALS))
    made.frame_done(at(30))
    quote(made, 2 * 86_400, 113, 115)
    made.frame_done(at(2 * 86_400))
    doubt = Doubt(uncertain_orders=6, clipped_answers=2)
    made.note_exchange(doubt, [(0, 1.5), (0, 2.5), (0, 9.0), (0, None)], lambda order: order)
    for name, number in {"gaps": 1, "funding_missed": 3, "liquidations": 4, "of_its_own": 5}.items():
        made.count(name, number)
    return studied(made.finish(at(SECONDS)), {0: [(101.0, 103.0, 100.0, 101.0), (105.0, 104.0, 105.0, 105.0)]})


MARKET = MarketInfo(
    venue="hyperliquid", trading_pair="BTC-USD", volume=12.0, trades=3, sideless=0, own_volume=3.0, own_share_max=None,
    large_fills=0, known_ns=1, stale_ns=0, crossed_ns=0, one_sided_ns=0, delays=[],
)  # fmt: skip
EXPECTED: dict[str, tuple[object, str]] = {
    "doubtful_time": (2 / SECONDS, "share"),
    # 12 of the jump less 0.053 of the fee; 20.427 less that in all other times.
    "doubtful_profit": (11.947 / (11.947 + 8.48), "share"),
    "uncertain_fills": (1, ""),
    "net_profit": (Decimal("20.427"), "USDC"),
    "realized": (Decimal(6), "USDC"),
    "unrealized": (Decimal(14), "USDC"),
    "fees": (Decimal("0.073"), "USDC"),
    "funding": (Decimal("0.5"), "USDC"),
    "equity_end": (Decimal("10120.427"), "USDC"),
    "return": (0.0020427, "share"),
    "drawdown_max": (Decimal("2.053"), "USDC"),
    # From 11.98 at 12 s until the price rises: the deposit is no gain.
    "drawdown_length": (2 * 86_400.0 - 12, "s"),
    "profit_of_turnover": (20.427 / 306 * 10_000, "bp"),
    # 2 * (101 - 100) + (106 - 105), whatever came afterwards.
    "spread_captured": (Decimal(3), "USDC"),
    # Where the middle went, and what is left of 6 + 14.
    "adverse_selection_1s": (Decimal(5), "USDC"),
    "inventory_1s": (Decimal(12), "USDC"),
    "adverse_selection_10s": (Decimal(-2), "USDC"),
    "inventory_10s": (Decimal(19), "USDC"),
    "adverse_selection_60s": (Decimal(0), "USDC"),
    "inventory_60s": (Decimal(17), "USDC"),
    # 10 on one day of 30: the mean is 10 / 30, the deviation 10 / sqrt(30).
    "sharpe": (sqrt(365 / 30), ""),
    "turnover": (Decimal(306), "USDC"),
    "maker_fills": (1, ""),
    "taker_fills": (1, ""),
    "orders": (4, ""),
    "filled_orders": (0.5, "share"),
    "rejected_orders": (1, ""),
    # 3 of 2 + 1 + 1: what was refused does not count.
    "fill_ratio": (0.75, "share"),
    # Of 30, 30, 40 and 60 ms, and of 10, 10, 10 and 20.
    "entry_latency": (0.03, "s"),
    "response_latency": (0.01, "s"),
    "time_to_fill": (1.0, "s"),
    "queue_ahead": (2.5, "BTC"),
    # The cancelled order was not filled.
    "late_requests": (1, ""),
    "own_share": (0.25, "share"),
    "clipped_responses": (2, ""),
    "funding_missed": (3, ""),
    "gaps": (1, ""),
    "liquidations": (4, ""),
    "of_its_own": (5, ""),
    "uncertain_orders": (6, ""),
    "time_in_market": ((SECONDS - 3.05) / SECONDS, "share"),
    "length": (float(SECONDS), "s"),
    "start": ("2023-11-14T22:13:20.000000000Z", ""),
    "end": ("2023-12-15T22:13:20.000000000Z", ""),
}  # fmt: skip


def values(result: Result) -> Iterator[tuple[str, tuple[object, str]]]:
    """Each number by its name, with its unit."""
    for metric in result.metrics:
        yield metric.name, (metric.value, metric.unit)


def test_every_number_is_what_it_comes_to_by_hand() -> None:
    """All that there are and no others, in the order in which they are shown; amounts to the last digit."""
    made = whole_run()
    assert made.info.study is not None
    study = msgspec.structs.replace(made.info.study, markets=[MARKET])
    found = dict(values(Result(msgspec.structs.replace(made.info, study=study), made.table)))
    assert list(found) == list(EXPECTED)
    for name, (value, unit) in EXPECTED.items():
        got, its_unit = found[name]
        assert (type(got), its_unit) == (type(value), unit), name
        assert got == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


def test_accounts_of_one_currency_are_added_up() -> None:
    """20 less 0.01 of a fee here, 5 less 0.01 there."""
    made = recorder(linear_market("hyperliquid"), linear_market("dydx_v4"), capital={"USDC": Decimal(100)})
    for pair, mark in enumerate((120.0, 105.0)):
        trade(made, 1, BUY, 100, 100, pair=pair)
        made.note_mark(pair, mark)
    made.frame_done(at(1))
    found = list(values(Result.of(made.finish(at(2)))))
    assert [value for name, value in found if name == "net_profit_together"] == [(Decimal("24.98"), "USDC")]


def test_what_no_pair_accounts_for_is_a_number_of_its_own() -> None:
    made = recorder()
    trade(made, 1, BUY, 100, 100)
    made.frame_done(at(1))
    record = made.finish(at(2))
    record.study = RunStudy(parts=[], markets=[])
    assert dict(values(Result.of(record)))["other"] == (Decimal("-0.01"), "USDC")


def test_what_there_is_none_of_is_none() -> None:
    """Without a trade there is no share of anything, no median, and no ratio of too few days."""
    found = dict(values(Result.of(recorder(capital={}).finish(at(10)))))
    nothing = (
        "return", "profit_of_turnover", "sharpe", "filled_orders", "fill_ratio", "entry_latency", "response_latency",
        "time_to_fill", "late_requests",
    )  # fmt: skip
    assert {name: found[name][0] for name in nothing} == dict.fromkeys(nothing)


@pytest.mark.parametrize("moved", [-500, 500])
@pytest.mark.parametrize("when", [5, 11, 59], ids=["before", "in a doubtful time", "after"])
def test_money_that_comes_and_goes_is_neither_gained_nor_lost(when: int, moved: int) -> None:
    """A withdrawal is no drawdown, a deposit no profit that may be doubted: all is as it was but what is there at the end."""
    found = []
    for units in (0, units_of(Decimal(moved), CASH_DECIMALS)):
        made = recorder()
        trade(made, 1, BUY, 100, 100)
        for now in (1, 5, 10, 11, 12, 40, 59):
            if now == when and units:
                made.transfer("USDC", at(now), at(now), units)
            made.note_mark(0, 100.0 + now % 12)
            made.frame_done(at(now), is_doubtful=now in (10, 11))
        found.append(dict(values(Result.of(made.finish(at(60))))))
    without, moving = found
    assert moving.pop("equity_end") == (Decimal(moved) + Decimal("10010.99"), "USDC")
    assert without.pop("equity_end") == (Decimal("10010.99"), "USDC")
    assert moving == without
    assert without["drawdown_max"] == (Decimal(11), "USDC")
