"""What a backtest takes from a recording."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from replay.backtest.running import recorded_scale
from replay.backtest.scales import PairScale
from tests.serving import synthetic_session
from tests.tapes import VENUE
from toolkit.keys import PairKey


def test_the_scale_is_the_finest_that_was_recorded_with_the_venues_rule(tmp_path: Path) -> None:
    """An assumed tick is the user's word, and goes without the rule; an assumed lot changes nothing else."""
    recording, _ = synthetic_session(tmp_path / "tape", seconds=1)
    pair = PairKey(VENUE, "BTC-USD")
    found = recorded_scale([recording], pair, {})
    assert found == PairScale("BTC-USD", Decimal("0.1"), Decimal("0.00001"), 5)
    assert recorded_scale([recording], pair, {"lot": Decimal(1)}) == PairScale("BTC-USD", Decimal("0.1"), Decimal(1), 5)
    assert recorded_scale([recording], pair, {"tick": Decimal(1)}) == PairScale("BTC-USD", Decimal(1), found.lot)
