from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from replay.market.engine.exchange import RATE_DECIMALS
from replay.market.engine.instruments import Kind
from replay.serving.face import as_json as encode
from replay.synthetic.context import hourly_rate
from replay.synthetic.instruments import DEFAULT_INSTRUMENTS
from replay.synthetic.market import Block, Market, MarketOptions
from tests.units import unit_digits
from toolkit.clock import NS_PER_MS

ROOT = Path(__file__).resolve().parents[3]
LISTED = {each.symbol: each for each in DEFAULT_INSTRUMENTS}


def digest(blocks: Iterator[Block], market: Market) -> str:
    """Everything that a stretch of the market said and the books at its end."""
    state = blake2b()
    for block in blocks:
        state.update(encode([block.number, block.trades, block.fundings]))
    for book in market.books.values():
        state.update(encode([book.bids.levels(), book.asks.levels()]))
    for context in market.perps.values():
        state.update(encode([context.oracle, context.mark, context.premium, context.funding, context.open_interest]))
    return state.hexdigest()


def test_a_block_depends_on_seed_and_number_alone() -> None:
    one, other = Market(MarketOptions(seed=7)), Market(MarketOptions(seed=7))
    first = digest(one.advance(120), one)
    parts = [block for size in (1, 50, 0, 69) for block in other.advance(size)]
    assert digest(iter(parts), other) == first
    different = Market(MarketOptions(seed=8))
    assert digest(different.advance(120), different) != first


def test_genesis_moves_the_times_and_nothing_else() -> None:
    hour_ms = 3_600_000
    one = Market(MarketOptions(seed=1))
    other = Market(MarketOptions(seed=1, genesis_ns=one.options.genesis_ns + hour_ms * NS_PER_MS))
    for block, late in zip(one.advance(60), other.advance(60), strict=True):
        assert late.time_ms == block.time_ms + hour_ms
        shifted = {
            coin: [trade._replace(time_ms=trade.time_ms + hour_ms) for trade in trades]
            for coin, trades in block.trades.items()
        }
        assert late.trades == shifted


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_the_hash_seed_changes_nothing(hash_seed: str) -> None:
    market = Market(MarketOptions(seed="x"))
    program = (
        "from tests.replay.synthetic.test_market import *;"
        "market = Market(MarketOptions(seed='x')); print(digest(market.advance(80), market))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == digest(market.advance(80), market)


@pytest.mark.parametrize("seed", range(4))
def test_books_stay_deep_narrow_and_uncrossed(seed: int) -> None:
    market = Market(MarketOptions(seed=seed))
    wide = deep = looks = 0
    for _ in market.advance(120):
        for coin in market.flows:
            book, instrument = market.books[coin], market.instruments[coin]
            bid, ask = book.bids.best, book.asks.best
            assert bid is not None
            assert ask is not None
            assert bid < ask
            looks += 1
            deep += min(len(book.bids), len(book.asks)) >= 20
            wide += instrument.kind is not Kind.OUTCOME and ask - bid > 5 * instrument.tick(bid)
    assert deep > 0.98 * looks
    assert wide < 0.02 * looks


def test_prices_and_sizes_obey_the_venues_rules() -> None:
    market = Market(MarketOptions(seed=5))
    for _ in market.advance(200):
        pass
    for coin, book in market.books.items():
        instrument = market.instruments[coin]
        for order in book.orders.values():
            figures = str(order.px).rstrip("0")
            assert len(figures) <= 5 or order.px % instrument.one == 0
            assert order.lots > 0
            notional = order.px * order.orig_lots / instrument.one / instrument.lots_per_unit
            assert notional >= 9.9


@pytest.mark.parametrize("seed", range(4))
def test_block_times_increase_by_about_the_interval(seed: int) -> None:
    market = Market(MarketOptions(seed=seed))
    times = [market.block_time_ns(number) for number in range(500)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) > 40 * NS_PER_MS
    assert max(gaps) < 100 * NS_PER_MS


def test_a_delisted_coin_has_an_empty_book_for_ever() -> None:
    market = Market()
    for block in market.advance(50):
        assert "MATIC" not in block.trades
    assert not market.books["MATIC"].orders


def test_the_trades_of_an_outcome_pair_mirror_each_other() -> None:
    market = Market(MarketOptions(seed=9))
    seen = 0
    for block in market.advance(200):
        pairs = zip(block.trades.get("751/YES", []), block.trades.get("751/NO", []), strict=True)
        for yes, no in pairs:
            seen += 1
            assert no.px == LISTED["751/YES"].one - yes.px
            assert (no.lots, no.hash, no.is_buy) == (yes.lots, yes.hash, not yes.is_buy)
            assert (no.buyer, no.seller) == (yes.seller, yes.buyer)
            assert no.tid != yes.tid
    assert seen > 10


def test_every_coin_that_trades_has_a_past_before_anybody_looks() -> None:
    market = Market()
    for _ in market.advance(300):
        pass
    for coin, instrument in market.listed.items():
        trades = market.history[coin]
        assert bool(trades) is not instrument.delisted
        assert [trade.time_ms for trade in trades] == sorted(trade.time_ms for trade in trades)


def test_trade_ids_have_fifty_bits_and_do_not_repeat() -> None:
    market = Market()
    keys = [
        (trade.symbol, trade.tid)
        for block in market.advance(300)
        for trades in block.trades.values()
        for trade in trades
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 < tid < 1 << 50 for _, tid in keys)


def test_funding_settles_at_its_interval_with_the_rate_that_was_announced() -> None:
    market = Market(MarketOptions(seed=4, funding_every_ns=7_000 * NS_PER_MS))
    settled: list[int] = []
    announced = 0
    for block in market.advance(450):
        for row in block.fundings:
            if row.symbol == "BTC":
                settled.append(block.number)
                assert row.rate == announced
        announced = market.perps["BTC"].funding
    assert settled == [100, 200, 300, 400]


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        ("0.0", "0.0000125"),  # the interest alone
        ("0.0003", "0.0000125"),  # within the clamp
        ("0.002", "0.0001875"),
        ("-0.002", "-0.0001875"),
        ("0.9", "0.04"),  # capped
    ],
)
def test_the_hourly_rate_is_an_eighth_of_the_clamped_premium(premium: str, rate: str) -> None:
    assert hourly_rate(unit_digits(premium, RATE_DECIMALS)) == unit_digits(rate, RATE_DECIMALS)


def test_funding_has_a_past_on_the_hour() -> None:
    market = Market()
    rows = market.perps["ETH"].fundings
    assert len(rows) >= 799
    assert all(row.time_ms * NS_PER_MS < market.options.genesis_ns for row in rows)
    assert all(1 <= row.time_ms % 3_600_000 <= 118 for row in rows)


@pytest.mark.parametrize(
    ("coin", "px", "tick"),
    [("BTC", "84143", "1"), ("BTC", "123456", "1"), ("ETH", "3412.5", "0.1"), ("SOL", "99.999", "0.001")],
)
def test_ticks_follow_five_significant_figures(coin: str, px: str, tick: str) -> None:
    instrument = LISTED[coin]
    units = unit_digits(px, instrument.px_decimals)
    assert instrument.tick(units) == unit_digits(tick, instrument.px_decimals)
    assert instrument.is_valid_px(units)
