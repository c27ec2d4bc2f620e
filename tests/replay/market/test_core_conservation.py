"""Whatever the tape and the orders: no fill that nobody paid for, no order in two states, and a cut tape a prefix."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.market.layout import ORDER_TRANSITIONS, REPORT, ReportCode, Role, StateCode
from replay.market.rules import Rules
from tests.replay.market.random_tapes import Step, any_rules, play, tapes


def check_conservation(steps: list[Step], *, compiled: bool) -> None:
    """Hold every report of a tape, played by the default rules, to what can have happened."""
    limits: dict[int, dict[str, Any]] = {}
    taken: dict[tuple[int, int], int] = defaultdict(int)
    offered: dict[tuple[int, int], int] = {}
    by_frame: dict[int, int] = defaultdict(int)
    played = play(steps, Rules(), compiled=compiled)
    begun, position, is_stale = 0, 0, False
    for place, (step, count) in enumerate(zip(steps, played.counts, strict=True)):
        kind, _, side_word = step[0].rpartition(" ")
        if side_word in ("bid", "ask") and kind in ("", "sync"):
            level = (int(side_word == "ask"), step[1])
            offered[level], taken[level] = step[2], 0
        for report in played.reports[begun:count]:
            row = {name: int(report[name]) for name in REPORT.names or ()}
            _check_state(row, limits, step)
            if row["code"] == ReportCode.EXECUTED:
                assert row["lots"] > 0
                assert not is_stale or step[0] == "resume"
                if limits[row["id"]]["reduces"]:
                    assert row["lots"] <= (position if row["side"] else -position)
                position += row["lots"] * (1 - 2 * row["side"])
                _check_price(row, limits)
                if row["role"] == Role.TAKER:
                    level = (1 - row["side"], row["tick"])
                    taken[level] += row["lots"]
                    assert taken[level] <= offered[level]
                else:
                    assert row["request"] == -1
                    by_frame[row["frame"]] += row["lots"] if step[0] != "resume" else 0
                    if side_word in ("bid", "ask"):
                        taken[(int(side_word == "ask"), step[1])] += row["lots"]
        begun = count
        is_stale = {"stale": True, "resume": False}.get(step[0], is_stale)
        # What the event brought, a trade or a level, pays for all fills that it caused.
        assert by_frame[place] <= (step[2] if len(step) > 2 and step[0] not in ("new", "amend") else 0)


def _check_state(row: dict[str, int], limits: dict[int, dict[str, Any]], step: Step) -> None:
    """Each report follows legally from the one before it of the same order, and nothing is filled that never arrived."""
    if row["code"] in (ReportCode.REFUSED, ReportCode.DONE):
        assert row["state"] == StateCode.UNKNOWN
        return
    order = limits.get(row["id"], {"state": StateCode.UNKNOWN})
    if order["state"] == StateCode.UNKNOWN:
        assert step[0] == "new"
        assert row["id"] == step[1]
        order = {"state": StateCode.UNKNOWN, "side": step[2], "tick": step[3], "filled": 0, "reduces": step[6]}
    state = StateCode(row["state"])
    assert state in ORDER_TRANSITIONS[order["state"]]
    if step[0] == "amend" and row["id"] == step[1]:
        order["tick"] = step[2]
    order["filled"] += row["lots"] if row["code"] == ReportCode.EXECUTED else 0
    assert row["filled"] == order["filled"]
    if row["code"] != ReportCode.ENDED:
        assert row["left"] + row["filled"] == row["size"]
    assert (row["left"] == 0) == (state == StateCode.FILLED)
    order["state"] = state if ORDER_TRANSITIONS[state] else StateCode.UNKNOWN
    limits[row["id"]] = order


def _check_price(row: dict[str, int], limits: dict[int, dict[str, Any]]) -> None:
    """Never worse than the limit, and as maker at the limit."""
    limit = limits[row["id"]]["tick"]
    if limit is None:
        assert row["role"] == Role.TAKER
    elif row["role"] == Role.MAKER:
        assert row["tick"] == limit
    else:
        assert row["tick"] <= limit if row["side"] == 0 else row["tick"] >= limit


@settings(max_examples=40)
@given(tapes)
def test_every_fill_is_paid_for_and_every_state_follows_from_the_one_before(steps: list[Step]) -> None:
    check_conservation(steps, compiled=False)


@pytest.mark.slow
@settings(max_examples=5_000)
@given(tapes)
def test_every_fill_of_compiled_code_is_paid_for(steps: list[Step]) -> None:
    check_conservation(steps, compiled=True)


@settings(max_examples=25)
@given(tapes, any_rules, st.data())
def test_a_tape_that_is_cut_gives_a_prefix(steps: list[Step], rules: Rules, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    whole, part = play(steps, rules), play(steps[:cut], rules)
    assert part.reports.tobytes() == whole.reports[: len(part.reports)].tobytes()
    assert part.counts == whole.counts[:cut]
