"""Fees that venues printed for accounts of their users: which tiers explain each, and which rows none does."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of
from replay.ledger.fee_tiers import tiers_of_fee
from replay.ledger.money import CASH_DECIMALS, Rounding, units_of
from replay.market.layout import Role

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data"


def explained(venue: str, role: Role, price: str, size: str, fee: str) -> tuple[str, ...]:
    facts = facts_of(venue)
    assert facts.schedule is not None
    worth, paid = units_of(Decimal(price) * Decimal(size), CASH_DECIMALS), units_of(Decimal(fee), CASH_DECIMALS)
    rounding = Rounding(facts.fee_decimals, facts.fee_rounding)
    return tuple(tiers_of_fee(facts.schedule.tiers, rounding, role, worth, paid))


def of_dydx(rows: list[dict[str, Any]]) -> Counter[tuple[str, ...]]:
    return Counter(explained("dydx_v4", Role[row["liquidity"]], row["price"], row["size"], row["fee"]) for row in rows)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded rows are not at hand")
def test_fees_of_2024_are_of_the_lowest_tier_and_takers_of_2025_who_paid_nothing_of_none() -> None:
    """Two fills of 2024 pay 0.05 %, rounded up. Those of November 2025 are takers' and cost nothing: a promotion, no tier."""
    old = json.loads((RECORDED / "dydx_v4" / "v4_accounts_fills.json").read_text())["contents"]["fills"]
    assert of_dydx(old) == {("1",): 2}
    new = json.loads((RECORDED / "dydx_v4" / "rest" / "http_get_fills.json").read_text())["result"]["fills"]
    unexplained = [row for row in new if not of_dydx([row]).keys() - {()}]
    assert len(new) > 0
    assert {(row["liquidity"], row["fee"]) for row in unexplained} <= {("TAKER", "0")}
    assert len(unexplained) == len([row for row in new if row["liquidity"] == "TAKER"])


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded rows are not at hand")
def test_fills_before_there_were_fees_are_explained_for_makers_of_the_highest_tiers_and_no_taker() -> None:
    """All 500 rows of May 2023 cost nothing; a maker's would today from 500 M on, a taker's by no tier."""
    text = (RECORDED / "hyperliquid" / "rest" / "test_get_user_fills.yaml").read_text()
    body = text[text.index("string: '") + len("string: '") :]
    rows = json.loads(re.sub(r"\s*\n\s+", " ", body[: body.index("'\n")]))
    assert len(rows) == 500
    found = Counter(
        explained("hyperliquid", Role.TAKER if row["crossed"] else Role.MAKER, row["px"], row["sz"], row["fee"])
        for row in rows
    )
    tiny = sum(Decimal(row["px"]) * Decimal(row["sz"]) * Decimal("0.00045") < Decimal("0.000001") for row in rows)
    assert tiny == 0
    assert found == {("4", "5", "6"): 261, (): 239}


def test_a_rebate_and_a_fee_are_told_apart_by_their_last_digit() -> None:
    """66,653 * 0.001 at 0.015 % is 0.00999795: cut to 0.009997, which is the lowest tier's and no other's."""
    assert explained("hyperliquid", Role.MAKER, "66653", "0.001", "0.009997") == ("0",)
    assert explained("hyperliquid", Role.MAKER, "66653", "0.001", "0.009998") == ()
    assert explained("hyperliquid", Role.MAKER, "66653", "0.001", "-0.000666") == ("maker-1",)
    assert explained("dydx_v4", Role.TAKER, "2620.1", "0.001", "0.001311") == ("1",)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded rows are not at hand")
def test_the_one_recorded_fee_of_hyperliquid_is_the_makers_of_the_lowest_tier_cut() -> None:
    """0.009997 for a maker, or a taker with rebates and discounts that no table has: listed with what explains it."""
    frame = json.loads((RECORDED / "hyperliquid" / "ws_user_fill_liquidation.json").read_text())
    rows = frame["data"]["fills"]
    assert [row["fee"] for row in rows] == ["0.009997"]
    [row] = rows
    role = Role.TAKER if row["crossed"] else Role.MAKER
    assert explained("hyperliquid", role, row["px"], row["sz"], row["fee"]) == ("0",)
    worth = Decimal(row["px"]) * Decimal(row["sz"])
    assert (worth * Decimal("0.00015")).quantize(Decimal("0.000001"), "ROUND_DOWN") == Decimal(row["fee"])
