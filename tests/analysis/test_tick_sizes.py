"""The smallest price step."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analysis.tick_sizes import TickRule, infer_tick, price_band, tick_rules
from toolkit.messages import Instrument, InstrumentKind


@pytest.mark.parametrize("decimals", [0, 1, 3, 6])
@pytest.mark.parametrize("figures", [None, 3, 5])
def test_the_rule_is_that_of_the_instrument_message(decimals: int, figures: int | None) -> None:
    """At and around powers of ten, where a logarithm may be off by one."""
    instrument = Instrument(
        venue="v", symbol="s", trading_pair="p", ts_event=None, ts_recv=0, capture_seq=0, sub_seq=0,
        kind=InstrumentKind.SPOT, base="", quote="", settle="", price_decimals_max=decimals, price_figures_max=figures,
    )  # fmt: skip
    prices = [float(f"{head}e{power}") for power in range(-5, 7) for head in ("1", "9.9999", "1.0001", "5")]
    found = TickRule(decimals_max=decimals, figures_max=figures).at(np.array(prices))
    assert found.tolist() == pytest.approx([instrument.tick_at(price) for price in prices], rel=1e-15)


@pytest.mark.parametrize(
    ("prices", "step"),
    [
        ([42000.0, 42001.0, 42007.0], 1.0),
        ([100.5, 101.0, 103.5], 0.5),
        ([0.05, 0.1, 0.3], 0.05),
        ([0.00001234, 0.00001236], 0.00000002),
        ([100.0, 100.25], 0.25),
        ([7.0], 1.0),
        ([7.1, 7.1], 0.1),
        ([1000.0, 1250.0, 1500.0], 250.0),
    ],
)
def test_a_step_is_inferred_from_prices(prices: list[float], step: float) -> None:
    rule = infer_tick(np.array(prices))
    assert rule == TickRule(step=step, source="inferred")


@pytest.mark.parametrize("prices", [[], [1 / 3], [float(2**60), float(2**60) + 4096]])
def test_prices_that_are_no_decimals_have_no_step(prices: list[float]) -> None:
    assert infer_tick(np.array(prices)) is None


def test_the_newest_metadata_holds() -> None:
    frame = pl.LazyFrame(
        {
            "venue": ["v"] * 3,
            "symbol": ["A", "A", "B"],
            "price_tick": [0.1, 0.5, None],
            "price_decimals_max": [None, None, None],
            "price_figures_max": [None, None, None],
        },
        schema_overrides={"price_decimals_max": pl.Int32, "price_figures_max": pl.Int32},
    )
    assert tick_rules(frame) == {("v", "A"): TickRule(step=0.5)}


def test_the_band_of_prices_ends_at_the_powers_of_ten_around() -> None:
    assert price_band(np.array([0.003, 0.008])) == (0.0015, 0.01)
    assert price_band(np.array([150.0, 160.0])) == (100.0, 320.0)
