"""The seeded market's books and numbers in the venue's words."""

from __future__ import annotations

import pytest

from replay.serving.venues.hyperliquid.fills import text
from replay.serving.venues.hyperliquid.synthetic.listing import Metadata
from replay.serving.venues.hyperliquid.synthetic.rows import Wire
from replay.synthetic.market import Market, MarketOptions
from tests.units import unit_digits


def test_the_books_of_an_outcome_pair_mirror_each_other() -> None:
    market = Market(MarketOptions(seed=9))
    wire = Wire(market, Metadata(market.listed.values()))
    one = market.listed["751/YES"].one
    for _ in market.advance(100):
        yes_bids, yes_asks = wire.sides("#7510", 20)
        no_bids, no_asks = wire.sides("#7511", 20)
        assert [(one - px, lots, n) for px, lots, n in yes_asks] == list(no_bids)
        assert [(one - px, lots, n) for px, lots, n in yes_bids] == list(no_asks)


def test_best_quotes_of_outcomes_are_not_the_top_of_their_books() -> None:
    market = Market(MarketOptions(seed=9))
    wire = Wire(market, Metadata(market.listed.values()))
    different = 0
    for _ in market.advance(100):
        bids, asks = wire.sides("#7510", 1)
        bid, ask = wire.best("#7510")
        different += (bids[0], asks[0]) != (bid, ask)
        # Never better than the whole book.
        assert bid is None or bid.px <= bids[0].px
        assert ask is None or ask.px >= asks[0].px
    assert different > 20


@pytest.mark.parametrize(
    ("value", "decimals", "printed"),
    [(841430, 1, "84143.0"), (36, 5, "0.00036"), (0, 5, "0.0"), (-150, 2, "-1.5"), (69, 0, "69.0"), (5, 1, "0.5")],
)
def test_decimals_are_printed_as_the_venue_does(value: int, decimals: int, printed: str) -> None:
    assert text(value, decimals) == printed
    assert unit_digits(printed, decimals) == value


def test_every_instrument_has_the_venue_s_own_kind_of_name() -> None:
    metadata = Metadata(Market().listed.values())
    assert {each.symbol: coin for coin, each in metadata.listed.items() if coin != each.symbol} == {
        "HYPE/USDC": "@107",
        "SP500": "xyz:SP500",
        "751/YES": "#7510",
        "751/NO": "#7511",
    }
