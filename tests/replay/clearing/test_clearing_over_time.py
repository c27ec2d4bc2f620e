"""Clearing where a run is not one quiet session: finer steps, sessions that end and go on, answers that take their time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.clearing.house import House
from replay.clearing.house_settings import Transfer
from replay.ledger.money import amount
from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, funded, run
from tests.replay.strategy.sessions import Played
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey
from toolkit.messages import EventKind, InstrumentKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
SPOT = PairKey("hyperliquid", "UBTC-USD")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}


def fills(played: Played) -> list[tuple[str, float, float]]:
    return [fill[:3] for kind, fill in played.heard if kind == "fill"]


def test_finer_ticks_and_lots_leave_positions_triggers_and_liquidation_what_they_are() -> None:
    """100 at 101, 20x, tick and lot a tenth from 0:30 on, a stop at 90 waits; liquidated at 97, at the bid of 96.5."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    market.messages.append(market.say.instrument(START + HOUR // 2, tick=0.1, lot=0.1))
    market.rate(START + HOUR, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    market.quote(START + 2 * HOUR, 96.5, 97.5)
    market.rate(START + 2 * HOUR + 1, mark_price=97.0, index_price=100.0, funding_rate=0.0)
    played = run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 100)),
            (START + 70, lambda ctx: ctx.sell("BTC-USD", 7, stop=90)),
        ],
        keys=[HYPERLIQUID],
        capital="505",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
    )
    assert fills(played) == [("buy", 101.0, 100.0), ("sell", 96.5, 100.0)]
    assert played.record is not None
    # 505 - 450, less twice 100 * 100 * 0.0001.
    assert cash(played.record.ledger) == 53
    assert [row[1:3] for kind, row in played.heard if kind == "order"][-3:-1] == [
        ("cancelled", "liquidation"),
        ("open", ""),
    ]


def test_a_stop_that_was_set_in_coarser_ticks_wakes_at_its_price() -> None:
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    market.messages.append(market.say.instrument(START + HOUR, tick=0.01, lot=0.001))
    market.quote(START + HOUR, 99, 101)
    market.rate(START + 2 * HOUR, mark_price=90.5)
    market.rate(START + 3 * HOUR, mark_price=90.0)
    played = run(
        market.end(START + DAY),
        [(START + 70, lambda ctx: ctx.sell("BTC-USD", 7, 80, stop=90))],
        keys=[HYPERLIQUID],
        fees=NO_FEES,
    )
    assert fills(played) == [("sell", 99.0, 7.0)]
    times = [row.time_ns - START for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
    assert times == [3 * HOUR]


def test_what_waits_ends_with_its_session_and_the_money_goes_on_in_the_next() -> None:
    """A position over the pause pays the funding of an hour in it, and a deposit of that time comes with the next session."""
    market = Market(HYPERLIQUID)
    say = market.say
    market.rate(START + 1, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    market.messages.append(say.event(START + HOUR // 2, EventKind.SESSION_END, stream=""))
    market.messages.append(say.event(START + 2 * HOUR - 60, EventKind.SESSION_START, stream=""))
    market.rate(START + 2 * HOUR - 50, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    market.quote(START + 2 * HOUR - 40, 99, 101)
    played = run(
        market.end(START + 2 * HOUR - 1),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 3)),
            (START + 70, lambda ctx: ctx.sell("BTC-USD", 3, stop=50)),
        ],
        keys=[HYPERLIQUID],
        fees=NO_FEES,
        capital="1000",
        transfers=(Transfer(START + HOUR, "USD", Decimal(7)),),
    )
    assert played.record is not None
    assert funded(played.record) == [(3.0, -0.03)]
    assert amount(played.record.ledger.account().transfers) == 7
    assert [row[1:3] for kind, row in played.heard if kind == "order" and row[0].endswith("2")][-1] == (
        "cancelled",
        "session_end",
    )


@pytest.mark.parametrize("orders", [1, 40])
def test_the_venue_looks_at_the_book_once_a_second_however_many_orders_came(
    orders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order that is worked off asks for times of its own; those of one end with it, and none is asked for twice."""
    acted: list[int] = []
    wake = House.wake

    def noted(self: House, at_ns: int) -> None:
        acted.append(at_ns)
        wake(self, at_ns)

    monkeypatch.setattr(House, "wake", noted)
    market = Market(HYPERLIQUID)
    run(
        market.end(START + 120 * NS_PER_S),
        [(START + 60 + number, lambda ctx: ctx.cancel(ctx.buy("BTC-USD", 1, twap="10m"))) for number in range(orders)],
        keys=[HYPERLIQUID],
        leverage={"": Decimal(5)},
        mark_is_mid=True,
    )
    assert len(acted) == 121 + orders
    assert len(set(acted)) == len(acted)


def test_the_venue_liquidates_what_its_owner_has_not_heard_of_yet() -> None:
    """Answers take 10 s: the mark falls 5 s after the purchase, and the owner hears of both in their order."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    market.quote(START + HOUR + 5 * NS_PER_S, 96, 98)
    market.rate(START + HOUR + 5 * NS_PER_S, mark_price=97.0)
    market.quote(START + HOUR + 30 * NS_PER_S, 96, 98)
    played = run(
        market.end(START + DAY),
        [(START + HOUR, lambda ctx: ctx.buy("BTC-USD", 100))],
        keys=[HYPERLIQUID],
        capital="505",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
        latency="entry=0ns,response=10s",
    )
    assert fills(played) == [("buy", 101.0, 100.0), ("sell", 96.0, 100.0)]
    times = [row.time_ns - START - HOUR for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
    assert times == [10 * NS_PER_S, 15 * NS_PER_S]


def test_nothing_is_liquidated_into_a_book_that_is_not_known_unless_nothing_is_left() -> None:
    """The book is stale at the mark of 97, so the order waits for the next mark, when the book is whole."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    market.messages.append(market.say.event(START + HOUR, EventKind.STALE))
    market.rate(START + HOUR + 1, mark_price=97.0)
    market.messages.append(market.say.event(START + 2 * HOUR, EventKind.GAP))
    market.quote(START + 2 * HOUR, 96, 98)
    market.rate(START + 2 * HOUR + 1, mark_price=97.0)
    played = run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 100))],
        keys=[HYPERLIQUID],
        capital="505",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
    )
    assert fills(played)[-1] == ("sell", 96.0, 100.0)
    assert played.record is not None
    assert [each.time_ns - START for each in played.record.liquidations] == [2 * HOUR + 1]


def test_spot_beside_a_perpetual_is_no_margin_and_has_no_funding() -> None:
    """
    One account in USD: 4 of spot bought at 101 (404 of 500) leave 96, of which 5x gives 480: 5 at a mark of 100 are too
    many, 4 are not.
    """
    spot, perp = Market(SPOT, kind=InstrumentKind.SPOT), Market(HYPERLIQUID)
    perp.rate(START + 1, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    perp.rate(START + HOUR, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    spot.rate(START + HOUR, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    both = sorted([*spot.messages, *perp.messages], key=lambda each: each.ts_recv)
    merged = [type(each)(**_fields(each) | {"capture_seq": number}) for number, each in enumerate(both)]

    def act(ctx: Context) -> None:
        ctx.buy("UBTC-USD", 4)
        ctx.buy("BTC-USD", 5)
        ctx.buy("BTC-USD", 4)

    played = run(
        merged,
        [(START + 60, act)],
        keys=[HYPERLIQUID, SPOT],
        capital="500",
        fees=NO_FEES,
        leverage={"": Decimal(5)},
    )
    assert fills(played) == [("buy", 101.0, 4.0), ("buy", 101.0, 4.0)]
    assert [row[2] for kind, row in played.heard if kind == "order" and row[1] == "rejected"] == ["margin"]
    assert played.record is not None
    assert funded(played.record) == [(4.0, -0.04)]


def _fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}
