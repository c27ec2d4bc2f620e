"""Orders that wait at the venue: stops and orders that take a profit, on the price that the venue goes by."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from toolkit.account_messages import OrderUpdate
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
NOWHERE = PairKey("testing", "BTC-USD")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}


def states(played: Played) -> list[tuple[str, str, str]]:
    """`(client id's number, state, reason)` of what was heard of orders."""
    return [(row[0].rpartition("-")[2], *row[1:3]) for kind, row in played.heard if kind == "order"]


def fills(played: Played) -> list[tuple[str, float, float]]:
    return [fill[:3] for kind, fill in played.heard if kind == "fill"]


def on_hyperliquid(prices: list[float], *deeds: Any, **settings: Any) -> Played:
    """Marks at full hours, 100 at first; the oracle and the book, 99 to 101, do not move."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0)
    for hour, price in enumerate(prices, 1):
        market.rate(START + hour * HOUR, mark_price=price, index_price=100.0)
    return run(market.end(START + DAY), deeds, keys=[HYPERLIQUID], fees=NO_FEES, **settings)


def test_a_stop_waits_until_the_mark_has_fallen_to_it_and_sells_at_market() -> None:
    """Bought 5 at 101. The mark goes 98, 97, 96: at 97 the stop is reached, and 5 are sold at the bid of 99."""
    played = on_hyperliquid(
        [98.0, 97.0, 96.0],
        (START + 60, lambda ctx: ctx.buy("BTC-USD", 5)),
        (START + 70, lambda ctx: ctx.sell("BTC-USD", 5, stop=97.0)),
    )
    assert fills(played) == [("buy", 101.0, 5.0), ("sell", 99.0, 5.0)]
    times = [row.time_ns - START for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
    assert times == [60, 2 * HOUR]
    assert states(played)[2:] == [("2", "open", ""), ("2", "open", ""), ("2", "filled", "")]


def test_a_take_profit_of_a_short_buys_once_the_mark_has_fallen_and_a_stop_once_it_has_risen() -> None:
    def act(ctx: Context) -> None:
        ctx.buy("BTC-USD", 1, 101, stop=103)
        ctx.buy("BTC-USD", 2, 101, take_profit=98)

    played = on_hyperliquid([99.0, 98.0, 102.5, 103.5], (START + 60, act))
    assert fills(played) == [("buy", 101.0, 2.0), ("buy", 101.0, 1.0)]
    times = [row.time_ns - START for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
    assert times == [2 * HOUR, 4 * HOUR]


def test_a_woken_limit_rests_and_trades_do_not_wake_where_the_mark_does() -> None:
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    market.messages.append(market.say.trade(START + HOUR, "sell", 90, 1))
    market.rate(START + 2 * HOUR, mark_price=95.0)
    market.messages.append(market.say.trade(START + 3 * HOUR, "buy", 106, 7))
    played = run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.sell("BTC-USD", 3, 105, stop=96))],
        keys=[HYPERLIQUID],
        fees=NO_FEES,
    )
    assert fills(played) == [("sell", 105.0, 3.0)]


def test_a_trigger_that_is_reached_already_is_refused_in_the_venues_words_or_wakes_at_once() -> None:
    played = on_hyperliquid([], (START + 60, lambda ctx: ctx.sell("BTC-USD", 1, stop=100)))
    assert next(row for kind, row in played.heard if kind == "order")[1:] == (
        "rejected",
        "trigger",
        "badTriggerPxRejected: Invalid TP/SL price.",
    )
    market = Market(DYDX)
    market.rate(START + 1, index_price=100.0, mark_price=100.0)
    market.quote(START + HOUR, 99, 101)
    here = run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.sell("BTC-USD", 1, 90, stop=100))],
        keys=[DYDX],
        fees=NO_FEES,
    )
    assert fills(here) == [("sell", 99.0, 1.0)]


def test_the_last_trade_wakes_where_the_venue_goes_by_it() -> None:
    """Binance: the mark falls to 50 and wakes nothing; the trade at 95 does, after it is matched itself."""
    market = Market(USDM)
    market.rate(START + 1, mark_price=100.0)
    market.messages.append(market.say.trade(START + HOUR // 2, "buy", 101, 1))
    market.rate(START + HOUR, mark_price=50.0)
    market.messages.append(market.say.trade(START + 2 * HOUR, "sell", 95, 1))
    played = run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.sell("BTC-USDT", 1, stop=95))],
        keys=[USDM],
        fees=NO_FEES,
    )
    assert fills(played) == [("sell", 99.0, 1.0)]
    times = [row.time_ns - START for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
    assert times == [2 * HOUR]


def test_what_waits_can_be_cancelled_amended_and_ends_with_the_session() -> None:
    kept: list[Any] = []

    def act(ctx: Context) -> None:
        kept.extend(ctx.sell("BTC-USD", size, stop=90) for size in (1, 2, 3))

    def change(ctx: Context) -> None:
        assert ctx.cancel(kept[0])
        assert ctx.amend(kept[1], size=7)

    played = on_hyperliquid([99.0, 90.0], (START + 60, act), (START + 70, change), (START + HOUR, lambda ctx: None))
    assert states(played)[3:5] == [("1", "cancelled", "requested"), ("2", "open", "")]
    assert fills(played) == [("sell", 99.0, 7.0), ("sell", 99.0, 3.0)]
    ended = on_hyperliquid([99.0], (START + 60, act))
    assert {row[1:] for row in states(ended)[3:]} == {("cancelled", "session_end")}


def test_a_stop_needs_margin_when_it_wakes_and_not_before() -> None:
    """Capital 10 at 2x: 4 at a mark of 104 need 208. It is taken, and is cancelled when it wakes."""
    played = on_hyperliquid(
        [104.0],
        (START + 60, lambda ctx: ctx.buy("BTC-USD", 4, stop=104)),
        capital="10",
        leverage={"": Decimal(2)},
    )
    told = [row for kind, row in played.heard if kind == "order"]
    assert [row[1:] for row in told] == [("open", "", ""), ("cancelled", "margin", "marginCanceled")]


def test_a_venue_of_which_no_triggers_are_known_offers_none() -> None:
    market = Market(NOWHERE)
    played = run(market.end(START + DAY), [(START + 60, lambda ctx: ctx.sell("BTC-USD", 1, stop=97))], keys=[NOWHERE])
    assert states(played) == [("1", "rejected", "not_offered")]


def test_an_order_that_waits_is_written_down_as_what_it_is() -> None:
    played = on_hyperliquid([97.0], (START + 60, lambda ctx: ctx.sell("BTC-USD", 5, 95, stop=97)))
    assert played.record is not None
    rows = [each for each in played.record.messages if isinstance(each, OrderUpdate)]
    assert {(each.order_type, each.trigger_price, each.price) for each in rows} == {("stop limit", 97.0, 95.0)}


def test_two_triggers_or_one_off_the_tick_are_the_strategys_own_error() -> None:
    for wrong in ({"stop": 97, "take_profit": 103}, {"stop": 97.5}, {"stop": float("nan")}, {"take_profit": -1}):
        with pytest.raises(
            AssertionError, match=r"stop and take_profit|whole number of ticks|expected a number above 0"
        ):
            on_hyperliquid([], (START + 60, lambda ctx, wrong=wrong: ctx.sell("BTC-USD", 1, **wrong)))


def test_a_limit_too_far_from_the_mark_is_refused_where_the_venue_has_a_band() -> None:
    """80 % of 100: a sell at 180 passes, at 181 it does not; a buy at 20 passes, at 19 it does not."""

    def act(ctx: Context) -> None:
        ctx.sell("BTC-USD", 1, 180)
        ctx.sell("BTC-USD", 1, 181)
        ctx.buy("BTC-USD", 1, 20)
        ctx.buy("BTC-USD", 1, 19)

    played = on_hyperliquid([], (START + 60, act))
    assert [row[1:] for row in states(played)[:4]] == [
        ("open", ""),
        ("rejected", "price_band"),
        ("open", ""),
        ("rejected", "price_band"),
    ]


@pytest.mark.parametrize(
    ("on", "woken_at"), [(None, 2 * HOUR), ("last", 2 * HOUR), ("mark", HOUR)], ids=["nothing said", "last", "mark"]
)
def test_on_binance_a_stop_may_go_by_the_mark_and_else_by_the_last_trade(on: str | None, woken_at: int) -> None:
    """The mark falls to 94 after an hour, the price of trades after two. A take-profit of a short alike."""
    market = Market(USDM)
    market.rate(START + 1, mark_price=100.0)
    market.messages.append(market.say.trade(START + 2, "buy", 100, 1))
    market.rate(START + HOUR, mark_price=94.0)
    market.messages.append(market.say.trade(START + 2 * HOUR, "sell", 94, 1))
    for deed in (
        lambda ctx: ctx.sell("BTC-USDT", 1, stop=95, on=on),
        lambda ctx: ctx.buy("BTC-USDT", 1, take_profit=95, on=on),
    ):
        played = run(market.end(START + DAY), [(START + 60, deed)], keys=[USDM], fees=NO_FEES)
        times = [row.time_ns - START for row in played.rows if row.kind == "response" and row.acts[0] == "executed"]
        assert times == [woken_at]


def test_a_price_that_a_venue_does_not_go_by_is_not_offered_and_the_log_has_what_was_said() -> None:
    for key, on in ((HYPERLIQUID, "last"), (DYDX, "mark"), (USDM, "index")):
        market = Market(key)
        pair = key.trading_pair
        deed = (START + 60, lambda ctx, pair=pair, on=on: ctx.sell(pair, 1, stop=95, on=on))
        played = run(market.end(START + DAY), [deed], keys=[key])
        assert states(played) == [("1", "rejected", "not_offered")]
        sent = next(act for row in played.rows for act in row.acts if isinstance(act, tuple) and "sell" in act)
        assert sent[-4:] == (95, "stop", "on", on)


def test_a_first_stop_that_the_market_has_passed_is_refused_where_no_trade_was_heard_yet() -> None:
    """Best prices are 99 and 101: a stop to sell at 101 is passed whatever the next trade is, one at 100 is not."""
    market = Market(USDM)
    for stop, state in ((101, "rejected"), (100, "open")):
        deed = (START + 60, lambda ctx, stop=stop: ctx.sell("BTC-USDT", 1, stop=stop))
        assert states(run(market.end(START + DAY), [deed], keys=[USDM]))[0][1] == state
