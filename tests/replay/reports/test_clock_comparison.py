"""The orders of a run as a list: the same orders, or why there is no such list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.reports.clock_comparison import clocks, orders_of
from replay.results.run_info import run_info
from replay.strategy.context import Context
from replay.strategy.limits import RiskLimits
from replay.strategy.plan import RunPlan, RunSettings
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.strategy.sessions import Opener, loaded, market, opened
from toolkit.messages import Side

MS = 1_000_000


class Asker(Opener):
    """Asks for one thing of each kind; the second order is more than a limit allows."""

    def go(self, ctx: Context) -> None:
        pair = ctx.pairs[0]
        resting = ctx.buy(pair, 2, 98.0, post_only=True)
        ctx.buy(pair, 900, 97.0)
        ctx.sell(pair, 1, reduce_only=True)
        ctx.log("a note")
        ctx.keep(pair, "ask", Side.SELL, price=102.0, size=1)
        ctx.amend(resting, price=97.0)
        ctx.cancel(resting)
        ctx.rng.random()


def record_of(cls: type[Opener], **settings: Any) -> Any:
    say, played = Messages(), opened(cls, **settings)
    for message in [*market(say), say.diff(50 * MS, {96: 1})]:
        played.session.take(message)
    return played.session.finish()


def test_a_list_has_every_request_that_was_sent_and_no_other() -> None:
    rows = orders_of(record_of(Asker, limits=RiskLimits(order_size_max=Decimal(100))))
    assert [{name: value for name, value in row.items() if name != "local_ns"} for row in rows] == [
        {"what": "buy", "id": 1, "qty": 2.0, "tif": "GTX", "price_ticks": 98},
        {"what": "sell", "id": 3, "qty": 1.0, "tif": "GTC", "type": "market", "reduce_only": True},
        {"what": "sell", "id": 4, "qty": 1.0, "tif": "GTX", "price_ticks": 102},
        {"what": "modify", "id": 1, "price_ticks": 97, "qty": 2.0},
        {"what": "cancel", "id": 1},
    ]


class Waiter(Opener):
    def go(self, ctx: Context) -> None:
        ctx.sell(ctx.pairs[0], 1, stop=97.0)


class Idler(Opener):
    def go(self, ctx: Context) -> None:
        ctx.log("nothing to do")


class Switcher(Opener):
    def go(self, ctx: Context) -> None:
        ctx.buy(ctx.pairs[0], 1, 98.0)
        ctx.schedule_cancel("10s")


@pytest.mark.parametrize(
    ("strategy", "is_whole", "why"),
    [
        (Waiter, True, "a list of orders has neither stops nor orders that the venue works off"),
        (Idler, True, "the run has sent no order"),
        (Switcher, True, "a list of orders has no schedule_cancel"),
        (Asker, False, "a list of orders is played to the end of the tape, and the run ended before"),
    ],
)
def test_where_there_is_no_such_list_it_says_why(strategy: type[Opener], is_whole: bool, why: str) -> None:
    record = record_of(strategy)
    plan = RunPlan(loaded(strategy), [KEY], RunSettings())
    [told] = clocks(record, run_info(record), plan, [], is_whole=is_whole)
    assert (told.name, told.why_not) == ("orders_venue", why)
