"""Which values of a venue's facts a run rests on."""

from __future__ import annotations

from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of
from replay.ledger.venue_evidence import Use, is_rested_on, used_by


def rested(venue: str, pair: str, **did: Any) -> set[str]:
    values = facts_of(venue).values
    used = used_by(Use(**did), values)
    return {path for path in values if is_rested_on(path, used, [pair])}


def test_a_run_in_which_nothing_happened_rests_on_nothing() -> None:
    for venue in ("hyperliquid", "binance-usdm", "binance-spot", "dydx_v4"):
        assert rested(venue, "BTC-USD") == set()


def test_fees_are_those_of_the_tiers_in_force_and_none_where_they_were_given() -> None:
    found = rested("binance-usdm", "BTC-USDT", has_fills=True, tiers=["VIP 1"])
    assert found == {
        "fees.decimals",
        "fees.rounding",
        "fees.window_days",
        "fees.assessed",
        "fees.at_volume",
        *(f"fees.tiers.VIP 1.{name}" for name in ("volume", "maker", "taker")),
    }
    assert rested("binance-usdm", "BTC-USDT", has_fills=True, has_own_fees=True) == {"fees.decimals", "fees.rounding"}
    assert rested("binance-spot", "BTC-USDT", has_fills=True, has_spot=True) == {
        "fees.decimals", "fees.rounding", "fees.maker", "fees.taker", "fees.in_kind",
    }  # fmt: skip


def test_margin_is_that_of_the_pairs_of_the_run() -> None:
    found = rested("hyperliquid", "ETH-USD", has_leverage=True)
    assert {"margin.price", "margin.tables.ETH-USD.0.rate", "margin.tables.ETH-USD.100000000.rate"} <= found
    assert not any("BTC-USD" in path or path == "margin.isolated_funding" for path in found)
    assert "margin.isolated_funding" in rested("hyperliquid", "ETH-USD", has_leverage=True, is_isolated=True)


@pytest.mark.parametrize(
    ("did", "section"),
    [
        ({"has_funding": True}, "funding."),
        ({"is_liquidated": True}, "liquidation."),
        ({"has_blocks": True}, "blocks."),
        ({"order_types": ["twap"]}, "twap."),
        ({"order_types": ["stop market"]}, "triggers."),
        ({"order_types": ["limit"], "statuses": ["scheduledCancel"]}, ("switch.", "words.switch")),
        ({"statuses": ["badAloPxRejected: Post only order would have immediately matched, bbo was 99@101"]}, ("words.would_cross", "rules.post_only_cross")),
        ({"statuses": ["price_band"]}, "bands."),
        ({"statuses": ["not_offered"]}, "lacks"),
    ],
)  # fmt: skip
def test_what_was_done_rests_on_its_section_and_on_nothing_else(
    did: dict[str, Any], section: str | tuple[str, ...]
) -> None:
    found = rested("hyperliquid", "BTC-USD", **did)
    assert found
    assert all(path.startswith(section) for path in found)
