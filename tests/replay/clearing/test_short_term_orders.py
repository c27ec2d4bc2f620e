"""Orders of dYdX that are good for some blocks alone, and cancels by best effort: they may be filled after they were acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

DYDX = PairKey("dydx_v4", "BTC-USD")
PAIR = "BTC-USD"
#: Blocks of 1 s; the orders are sent 0.3 s into one.
AT = START + HOUR
MS = 1_000_000
BLOCK = NS_PER_S


def played(*deeds: tuple[int, Callable[[Context], Any]], trades: tuple[float, ...] = (), **settings: Any) -> Played:
    """Deeds at times in ms after `AT`; somebody sells 5 at 98 at each of these seconds after it."""
    market = Market(DYDX, depth=1.0)
    for second in trades:
        market.messages.append(market.say.trade(AT + round(second * NS_PER_S), "sell", 98, 5))
    timed = [(AT + ms * MS, deed) for ms, deed in deeds]
    settings.setdefault("block_ns", BLOCK)
    return run(market.end(START + DAY), timed, keys=[DYDX], **settings)


def answers(done: Played) -> list[tuple[float, str, int]]:
    """When each answer was heard of, in seconds, what it says and of which order."""
    return [((row.time_ns - AT) / NS_PER_S, row.acts[0], row.acts[1]) for row in done.rows if row.kind == "response"]


def told(done: Played) -> list[tuple[str, str, str]]:
    return [row[1:] for kind, row in done.heard if kind == "order"]


def one(kept: list[Any], **terms: Any) -> Callable[[Context], Any]:
    return lambda ctx: kept.append(ctx.buy(PAIR, 1, 98, **terms))


def test_an_order_is_good_until_its_last_block_is_over() -> None:
    """Sent in block 0 for 3 more: it is there at once, may be filled in block 3, and is over when block 4 begins."""
    kept: list[Any] = []
    rests = played((300, one(kept, good_til_blocks=3)))
    assert answers(rests) == [(0.3, "accepted", 1), (4.0, "ended", 1)]
    assert told(rests)[-1][:2] == ("expired", "expiry")
    filled = played((300, one(kept, good_til_blocks=3)), trades=(3.9,))
    assert answers(filled)[1:] == [(3.9, "executed", 1)]
    assert answers(played((300, one(kept, good_til_blocks=3)), trades=(4.0,)))[-1][1] == "ended"


@pytest.mark.parametrize(
    "trades", [(), (5.0,), (20.9,), (21.0,)], ids=["no trade", "soon", "in its last block", "too late"]
)
def test_a_cancel_is_acknowledged_by_best_effort_and_the_order_may_be_filled_after_it(
    trades: tuple[float, ...],
) -> None:
    """
    Good for 20 blocks, which are over at 21 s; the cancel of 2 s is acknowledged at once, in the venue's words. A trade before 21 s
    fills it; without one it is cancelled then, and is no expiry.
    """
    kept: list[Any] = []
    done = played((300, one(kept, good_til_blocks=20)), (2000, lambda ctx: ctx.cancel(kept[0])), trades=trades)
    assert answers(done)[:2] == [(0.3, "accepted", 1), (2.0, "leaving", 1)]
    assert told(done)[1] == ("pending_cancel", "requested", "BEST_EFFORT_CANCELED")
    assert done.record is not None
    held = done.record.ledger.positions[0].size
    if trades and trades[0] < 21:
        assert answers(done)[2:] == [(trades[0], "executed", 1)]
        assert told(done)[-1][0] == "filled"
        assert held > 0
    else:
        assert answers(done)[2:] == [(21.0, "ended", 1)]
        assert told(done)[-1][:2] == ("cancelled", "requested")
        assert held == 0


@pytest.mark.parametrize(("blocks", "gone_s"), [(0, 3.0), (1, 4.0), (5, 8.0), (30, 21.0)])
def test_how_long_it_may_be_filled_after_its_cancel_can_be_assumed(blocks: int, gone_s: float) -> None:
    """The cancel arrives in block 2: with 0 more the order is gone when that is over, and when it expires at the latest."""
    kept: list[Any] = []
    deeds = (300, one(kept, good_til_blocks=20)), (2000, lambda ctx: ctx.cancel(kept[0]))
    assert answers(played(*deeds, cancel_blocks=blocks))[-1] == (gone_s, "ended", 1)
    done = played(*deeds, cancel_blocks=blocks)
    assert done.record is not None
    assert done.record.head.settings["money"] == {"block_ns": BLOCK, "cancel_blocks": blocks}


def test_a_cancelled_order_is_being_cancelled_and_is_asked_back_once() -> None:
    kept: list[Any] = []
    seen: list[Any] = []

    def again(ctx: Context) -> None:
        order = kept[0]
        seen.extend(
            [ctx.cancel(order), ctx.cancel_all(), ctx.amend(order, price=97.0), str(order.state), order.is_done]
        )
        seen.append(len(ctx.orders()))

    played((300, one(kept, good_til_blocks=20)), (2000, lambda ctx: ctx.cancel(kept[0])), (3000, again))
    assert seen == [False, 0, False, "pending_cancel", False, 1]


def test_a_stateful_order_is_cancelled_for_good() -> None:
    """Without a last block it is in consensus from the next block on, and so is its cancel."""
    kept: list[Any] = []
    done = played((300, one(kept)), (2000, lambda ctx: ctx.cancel(kept[0])), trades=(5.0,))
    assert answers(done) == [(1.0, "accepted", 1), (3.0, "ended", 1)]


def test_what_replaces_an_order_is_good_for_longer() -> None:
    """
    For 5 blocks from block 0; replaced in block 2 it is good to block 7, and over at 8 s. In block 0, with 20 blocks, what replaces
    it would have to be good to block 21, which is further ahead than the venue takes: it stays as it is.
    """
    kept: list[Any] = []
    later = played((300, one(kept, good_til_blocks=5)), (2000, lambda ctx: ctx.amend(kept[0], price=97.0)))
    assert answers(later) == [(0.3, "accepted", 1), (2.0, "amended", 1), (8.0, "ended", 1)]
    kept.clear()
    same = played((300, one(kept, good_til_blocks=20)), (600, lambda ctx: ctx.amend(kept[0], price=97.0)))
    assert answers(same) == [(0.3, "accepted", 1), (0.6, "refused", 1), (21.0, "ended", 1)]
    assert told(same)[1] == ("open", "invalid", "")
    kept.clear()
    soon = played((300, one(kept, good_til_blocks=3)), (600, lambda ctx: ctx.amend(kept[0], price=97.0)))
    assert answers(soon)[1:] == [(0.6, "amended", 1), (5.0, "ended", 1)]


def test_more_blocks_than_the_venue_takes_are_refused_by_it_and_one_that_is_over_as_it_arrives_too() -> None:
    """21 from the block of sending; of 1 s of entry latency 1 block is left of 20, and of 1 none."""
    kept: list[Any] = []
    far = played((300, one(kept, good_til_blocks=21)))
    assert told(far) == [("rejected", "invalid", "")]
    slow = "entry=2s,response=0ns"
    assert told(played((300, one(kept, good_til_blocks=21)), latency=slow))[0][0] == "open"
    assert told(played((300, one(kept, good_til_blocks=1)), latency=slow)) == [("rejected", "expiry", "")]


def test_other_venues_have_no_such_orders() -> None:
    for venue in ("hyperliquid", "binance-usdm"):
        key = PairKey(venue, PAIR)
        deed = (AT, lambda ctx: ctx.buy(PAIR, 1, 98, good_til_blocks=3))
        settings: dict[str, Any] = {"block_ns": BLOCK} if venue == "hyperliquid" else {}
        done = run(Market(key).end(START + DAY), [deed], keys=[key], **settings)
        assert told(done) == [("rejected", "not_offered", "")]


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        ({"good_til_blocks": 0}, "good_til_blocks is 0, expected a whole number above 0, for instance 20"),
        ({"good_til_blocks": 2.5}, "good_til_blocks is 2.5, expected a whole number above 0"),
        ({"good_til_blocks": True}, "good_til_blocks is True, expected a whole number above 0"),
        ({"good_til_blocks": 3, "stop": 105.0}, "good_til_blocks goes with neither a stop nor expires_ns"),
        ({"good_til_blocks": 3, "tif": "GTD", "expires_ns": AT + HOUR}, "goes with neither a stop nor expires_ns"),
        ({"on": "mark"}, "on='mark' without a stop or take_profit, which it is about"),
        ({"on": "mid", "stop": 105.0}, "on is 'mid', expected one of mark, index, last"),
    ],
)
def test_terms_that_make_no_sense_are_the_strategys_own_error(terms: dict[str, Any], line: str) -> None:
    with pytest.raises(AssertionError, match=f".*{line}"):
        played((300, one([], **terms)))


def test_blocks_need_a_length_and_cancel_blocks_a_venue_and_a_length() -> None:
    with pytest.raises(AssertionError, match="good_til_blocks needs the length of a block"):
        played((300, one([], good_til_blocks=3)), block_ns=0)
    with pytest.raises(ConfigError, match=r"^cancel_blocks is assumed without the length of a block"):
        played(block_ns=0, cancel_blocks=1)
    key = PairKey("hyperliquid", PAIR)
    with pytest.raises(
        ConfigError, match=r"^cancel_blocks is assumed, but no order is cancelled by best effort at hyperliquid"
    ):
        run(Market(key).end(START + DAY), [], keys=[key], block_ns=BLOCK, cancel_blocks=1)
