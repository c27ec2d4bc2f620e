"""Orders that the venue works off in parts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.strategy.context import Context
from replay.strategy.limits import RiskLimits
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from toolkit.account_messages import Fill, OrderUpdate
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey
from toolkit.messages import EventKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}
BEGIN = START + HOUR


def thin(ask_sizes: list[float], *, mark: float = 100.0) -> Market:
    """A mark, and each 30 s a book that offers so much at 101, the first at the full hour."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=mark)
    for number, size in enumerate(ask_sizes):
        at_ns = BEGIN - 10 + number * 30 * NS_PER_S
        market.messages.append(market.say.snapshot(at_ns, {99: 50}, {101: size, 150: 50}))
    return market


def worked(market: Market, *deeds: Any, **settings: Any) -> Played:
    return run(market.end(BEGIN + HOUR), deeds, keys=[HYPERLIQUID], fees=NO_FEES, **settings)


def bought(played: Played) -> list[tuple[int, float]]:
    """When parts were executed, in s after the beginning, and how much of each."""
    rows = [row for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
    return [((row.time_ns - BEGIN) // NS_PER_S, row.acts[6]) for row in rows]


def end(played: Played, number: str = "1") -> tuple[str, str]:
    found: list[tuple[str, str]] = [
        row[1:3] for kind, row in played.heard if kind == "order" and row[0].endswith(f"-{number}")
    ]
    return found[-1]


def test_four_parts_of_ten_lots_in_two_minutes() -> None:
    """The whole up to part k is 10 k / 4, rounded down: 2, 5, 7, 10, so the parts are 2, 3, 2 and 3."""
    played = worked(thin([50] * 6), (BEGIN, lambda ctx: ctx.buy("BTC-USD", 10, twap="2m")))
    assert bought(played) == [(0, 2), (30, 3), (60, 2), (90, 3)]
    assert end(played) == ("filled", "")
    assert played.record is not None
    orders = [each for each in played.record.messages if isinstance(each, OrderUpdate) and each.order_id == "1"]
    assert (orders[0].order_type, orders[-1].remaining, orders[-1].state.value) == ("twap", 0.0, "filled")
    fills = [each for each in played.record.messages if isinstance(each, Fill)]
    assert {each.cause for each in fills} == {"twap"}


def test_what_a_part_did_not_find_the_next_ones_make_up_for_up_to_three_times_their_size() -> None:
    """
    12 in four parts of 3, 9 at most; offers near the mark are 1, 2, 50, 50, and those at 150 are beyond the bound of 103. So 1
    of 3, 2 of 6 - 1, then 9 - 3, then 3.
    """
    played = worked(thin([1, 2, 50, 60]), (BEGIN, lambda ctx: ctx.buy("BTC-USD", 12, twap="2m")))
    assert bought(played) == [(0, 1), (30, 2), (60, 6), (90, 3)]
    assert end(played) == ("filled", "")


def test_what_is_left_at_the_end_expires_and_a_part_goes_no_further_than_the_slippage() -> None:
    """At a mark of 97 the bound is 99.91: nobody sells below it."""
    played = worked(thin([50] * 6, mark=97.0), (BEGIN, lambda ctx: ctx.buy("BTC-USD", 10, twap="1m")))
    assert bought(played) == []
    assert end(played) == ("expired", "expiry")


def test_it_can_be_given_back_and_ends_with_the_session() -> None:
    kept: list[Any] = []
    played = worked(
        thin([50] * 6),
        (BEGIN, lambda ctx: kept.append(ctx.buy("BTC-USD", 10, twap="2m"))),
        (BEGIN + 40 * NS_PER_S, lambda ctx: ctx.cancel(kept[0])),
    )
    assert bought(played) == [(0, 2), (30, 3)]
    assert end(played) == ("cancelled", "requested")
    whole = worked(thin([50] * 6), (BEGIN, lambda ctx: ctx.buy("BTC-USD", 10_000, twap="48h")))
    assert end(whole) == ("cancelled", "session_end")


def resting_in_a_gap(market: Market, *deeds: Any, **settings: Any) -> None:
    """An order at 90 rests across a gap, after what else was done; it is the one that the gap names."""
    lost_ns = BEGIN + 5 * 60 * NS_PER_S
    market.messages.append(market.say.event(lost_ns, EventKind.STALE))
    market.quote(lost_ns + NS_PER_S, 99, 101)
    played = worked(market, *deeds, (lost_ns - NS_PER_S, lambda ctx: ctx.buy("BTC-USD", 1, 90)), **settings)
    assert played.record is not None
    updates = [each for each in played.record.messages if isinstance(each, OrderUpdate)]
    resting = {int(each.order_id) for each in updates if each.price == 90}
    assert [set(each.orders) for each in played.record.gaps] == [resting]


def test_a_gap_names_the_order_that_rested_also_after_parts_that_the_venue_sent() -> None:
    """The venue's ids count the four parts too, of which the strategy has sent none."""
    resting_in_a_gap(thin([50] * 6), (BEGIN, lambda ctx: ctx.buy("BTC-USD", 10, twap="2m")))


def test_a_gap_names_the_order_that_rested_also_after_a_liquidation() -> None:
    """40 at 101 with 210: at 96.9 there are 46 against 48.45, so the venue sends an order of its own, which leaves 130."""
    market = thin([50] * 2)
    market.rate(BEGIN + 60 * NS_PER_S, mark_price=96.9)
    many = (BEGIN, lambda ctx: ctx.buy("BTC-USD", 40))
    resting_in_a_gap(market, many, leverage={"": Decimal(20)}, capital="210")


def test_a_gap_names_the_order_that_rested_also_after_orders_that_a_limit_held_back() -> None:
    """Those have numbers of the strategy, and no ids at the venue."""

    def act(ctx: Context) -> None:
        ctx.buy("BTC-USD", 6)
        ctx.buy("BTC-USD", 7)
        ctx.buy("BTC-USD", 1, twap="1m")

    resting_in_a_gap(thin([50] * 6), (BEGIN, act), limits=RiskLimits(order_size_max=Decimal(5)))


def test_parts_only_reduce_where_the_order_does() -> None:
    def act(ctx: Context) -> None:
        ctx.sell("BTC-USD", 3)
        ctx.buy("BTC-USD", 8, reduce_only=True, twap="1m")

    played = worked(thin([50] * 6), (BEGIN, act))
    assert played.record is not None
    assert played.record.ledger.positions[0].size == 0
    assert bought(played)[1:] == [(0, 3)]


def test_where_the_venue_has_none_it_is_not_offered_and_a_price_makes_no_sense() -> None:
    market = Market(PairKey("dydx_v4", "BTC-USD"))
    played = run(
        market.end(START + DAY),
        [(BEGIN, lambda ctx: ctx.buy("BTC-USD", 1, twap="1m"))],
        keys=[PairKey("dydx_v4", "BTC-USD")],
    )
    assert end(played) == ("rejected", "not_offered")
    for wrong in ({"price": 100.0}, {"stop": 90.0}, {"tif": "IOC"}):
        with pytest.raises(AssertionError, match="twap goes with neither a price"):
            worked(thin([50]), (BEGIN, lambda ctx, wrong=wrong: ctx.buy("BTC-USD", 1, twap="1m", **wrong)))
    with pytest.raises(AssertionError, match="is no length of time"):
        worked(thin([50]), (BEGIN, lambda ctx: ctx.buy("BTC-USD", 1, twap="soon")))
