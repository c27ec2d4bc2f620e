"""Order within a block: what is cancelled or only rests goes before what may take."""

from __future__ import annotations

from typing import Any

import pytest

from replay.clearing.money_settings import choices_of
from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
MS = 1_000_000


def played(*deeds: Any, key: PairKey = HYPERLIQUID, block_ms: int = 100, **settings: Any) -> Played:
    market = Market(key)
    return run(market.end(START + DAY), deeds, keys=[key], block_ns=block_ms * MS, **settings)


def answers(done: Played) -> list[tuple[int, str, int]]:
    """When each answer was heard of, what it says and of which order."""
    return [(row.time_ns - START - HOUR, row.acts[0], row.acts[1]) for row in done.rows if row.kind == "response"]


def test_a_taker_arrives_with_the_end_of_its_block_behind_a_later_post_only() -> None:
    """Blocks of 100 ms begin at the full hour: the taker of 10 ms is matched at 100, the post-only of 40 ms rests at 40."""
    done = played(
        (START + HOUR + 10 * MS, lambda ctx: ctx.buy("BTC-USD", 1)),
        (START + HOUR + 40 * MS, lambda ctx: ctx.buy("BTC-USD", 1, 98, post_only=True)),
    )
    assert answers(done)[:3] == [(40 * MS, "accepted", 2), (100 * MS, "accepted", 1), (100 * MS, "executed", 1)]


def test_a_cancel_goes_before_an_own_taker_of_the_block_that_would_have_met_it() -> None:
    """An offer rests at 101; the buy at market of 10 ms and the cancel of 50 ms are in one block: no self-trade."""
    kept: list[Any] = []

    def both(ctx: Context) -> None:
        ctx.buy("BTC-USD", 1, 100)

    done = played(
        (START + HOUR, lambda ctx: kept.append(ctx.sell("BTC-USD", 1, 100, post_only=True))),
        (START + HOUR + 10 * MS, both),
        (START + HOUR + 50 * MS, lambda ctx: ctx.cancel(kept[0])),
    )
    told = [(row[0][-1], *row[1:3]) for kind, row in done.heard if kind == "order"]
    assert told[:3] == [("1", "open", ""), ("1", "cancelled", "requested"), ("2", "open", "")]


def test_about_one_order_nothing_overtakes_in_a_block_either() -> None:
    kept: list[Any] = []
    done = played(
        (START + HOUR + 10 * MS, lambda ctx: kept.append(ctx.buy("BTC-USD", 1, 98))),
        (START + HOUR + 20 * MS, lambda ctx: ctx.cancel(kept[0])),
    )
    assert answers(done) == [(100 * MS, "accepted", 1), (100 * MS, "ended", 1)]


def test_without_a_length_requests_are_there_as_they_arrive() -> None:
    done = played((START + HOUR + 10 * MS, lambda ctx: ctx.buy("BTC-USD", 1)), block_ms=0)
    assert answers(done)[0] == (10 * MS, "accepted", 1)


def test_a_length_is_refused_where_no_venue_has_blocks_and_is_a_setting_of_the_log() -> None:
    with pytest.raises(
        ConfigError, match=r"^the length of a block is assumed, but nothing is known of blocks of binance"
    ):
        played(key=PairKey("binance-usdm", "BTC-USDT"))
    assert played().session.house is not None
    assert played().record.head.settings["money"] == {"block_ns": 100 * MS}  # type: ignore[union-attr]


def test_the_length_is_read_as_it_is_written() -> None:
    assert choices_of({"tick": "1", "block": "70ms"}, "--assume")["block_ns"] == 70 * MS
    assert choices_of({}, "--assume")["block_ns"] == 0
    with pytest.raises(ConfigError, match="is no length of time"):
        choices_of({"block": "70"}, "--assume")


def test_a_stateful_order_takes_part_from_the_next_block_and_a_short_term_one_at_once() -> None:
    """
    dYdX, blocks of 1 s: a GTC order of 0.2 s is there at 1 s, one that expires within 20 blocks at 0.3 s, an IOC at 0.4 s. The
    cancel of the first, of 1.5 s, acts at 2 s; that of the second, of 1.6 s, is acknowledged at once, and it ends as it expires.
    """
    key, second = PairKey("dydx_v4", "BTC-USD"), 1000 * MS
    at_ns = START + HOUR
    kept: list[Any] = []

    def short(ctx: Context) -> None:
        kept.append(ctx.buy("BTC-USD", 1, 97, tif="GTD", expires_ns=at_ns + 20 * second))

    done = played(
        (at_ns + 200 * MS, lambda ctx: kept.append(ctx.buy("BTC-USD", 1, 98, post_only=True))),
        (at_ns + 300 * MS, short),
        (at_ns + 400 * MS, lambda ctx: ctx.buy("BTC-USD", 1)),
        (at_ns + 1500 * MS, lambda ctx: ctx.cancel(kept[0])),
        (at_ns + 1600 * MS, lambda ctx: ctx.cancel(kept[1])),
        key=key,
        block_ms=1000,
    )
    assert answers(done) == [
        (300 * MS, "accepted", 2),
        (400 * MS, "accepted", 3),
        (400 * MS, "executed", 3),
        (1000 * MS, "accepted", 1),
        (1600 * MS, "leaving", 2),
        (2000 * MS, "ended", 1),
        (20_000 * MS, "ended", 2),
    ]
