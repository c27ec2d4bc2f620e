"""The dead man's switch of a strategy, by the rules of each venue."""

from __future__ import annotations

from typing import Any

import pytest

from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
NOWHERE = PairKey("testing", "BTC-USD")


def played(key: PairKey, *deeds: Any, **settings: Any) -> Played:
    return run(Market(key).end(START + DAY), deeds, keys=[key], **settings)


def rest(ctx: Context) -> None:
    ctx.buy("BTC-USD", 1, 90)


def ended(done: Played) -> list[tuple[int, str, int]]:
    rows = [row for row in done.rows if row.kind == "response" and row.acts[0] == "ended"]
    return [(row.time_ns - START - HOUR, row.acts[3], row.acts[11]) for row in rows]


def refusals(done: Played) -> list[int]:
    return [row.acts[11] for row in done.rows if row.kind == "response" and row.acts[0] == "refused"]


def test_all_orders_are_cancelled_at_its_time_unless_it_is_set_again() -> None:
    done = played(
        HYPERLIQUID,
        (START + HOUR - 10, rest),
        (START + HOUR, lambda ctx: ctx.schedule_cancel("10s")),
        (START + HOUR + 8 * NS_PER_S, lambda ctx: ctx.schedule_cancel("10s")),
    )
    assert ended(done) == [(18 * NS_PER_S, "cancelled", 17)]
    assert [row[1:] for kind, row in done.heard if kind == "order"][-1] == ("cancelled", "switch", "scheduledCancel")


def test_put_out_it_does_nothing() -> None:
    done = played(
        HYPERLIQUID,
        (START + HOUR - 10, rest),
        (START + HOUR, lambda ctx: ctx.schedule_cancel("10s")),
        (START + HOUR + 8 * NS_PER_S, lambda ctx: ctx.schedule_cancel(None)),
    )
    assert [state for _, _, state in ended(done)] == [20]  # SESSION_END


def test_less_than_the_venue_takes_is_refused_and_a_venue_without_one_refuses_it() -> None:
    assert refusals(played(HYPERLIQUID, (START + HOUR, lambda ctx: ctx.schedule_cancel("4s")))) == [8]
    assert refusals(played(DYDX, (START + HOUR, lambda ctx: ctx.schedule_cancel("10s")))) == [22]
    assert refusals(played(NOWHERE, (START + HOUR, lambda ctx: ctx.schedule_cancel("1ms")))) == []


@pytest.mark.parametrize(
    ("key", "after", "said"),
    [
        (HYPERLIQUID, "5s", "schedule_cancel is 4.95 s ahead where it arrives, expected 5 s or more"),
        (DYDX, "10s", "the venue has no schedule_cancel"),
        (HYPERLIQUID, "6s", None),
    ],
)
def test_a_refusal_is_counted_and_says_why(key: PairKey, after: str, said: str | None) -> None:
    done = played(key, (START + HOUR, lambda ctx: ctx.schedule_cancel(after)), latency="entry=50ms,response=50ms")
    rows = [row for row in done.rows if row.kind == "response" and row.acts[0] == "refused"]
    assert [row.acts[12] for row in rows] == [said] * (said is not None)
    assert done.record is not None
    assert done.record.counts.get("schedule_cancel_refused", 0) == len(rows)


def test_it_acts_ten_times_a_day_and_no_more_where_that_is_the_rule() -> None:
    deeds = [(START + HOUR + number * 60 * NS_PER_S, lambda ctx: ctx.schedule_cancel("10s")) for number in range(12)]
    done = played(HYPERLIQUID, *deeds)
    assert refusals(done) == [14, 14]
    assert done.record is not None
    assert done.record.counts["schedule_cancel_refused"] == 2


def test_what_is_no_length_or_no_venue_is_the_strategys_own_error() -> None:
    for wrong in (lambda ctx: ctx.schedule_cancel("soon"), lambda ctx: ctx.schedule_cancel("10s", venue="moon")):
        with pytest.raises(AssertionError, match=r"'soon'|no venue 'moon' in this run"):
            played(HYPERLIQUID, (START + HOUR, wrong))
