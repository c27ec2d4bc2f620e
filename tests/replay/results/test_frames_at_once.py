"""Frames that are written down at once leave what the same frames leave one by one."""

from __future__ import annotations

from dataclasses import asdict, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from replay.ledger.money import Contract, ContractKind
from replay.market.layout import BUY, SELL
from replay.results.recent_tops import TopRow
from replay.results.run_recorder import RunRecorder
from tests.replay.results.runs import at, linear_market, recorder, trade

#: Frames at most a little apart, so that some share their time and some are of another second.
_STEP = st.sampled_from([0.0, 0.01, 0.4, 1.5])
_TICK = st.one_of(st.none(), st.integers(95, 105))
_FRAME = st.tuples(_STEP, _TICK, st.integers(0, 3), _TICK, st.integers(0, 3))
_PART = st.tuples(
    st.lists(_FRAME, max_size=6),
    st.booleans(),  # whether it is doubtful
    st.one_of(st.none(), st.tuples(st.sampled_from([BUY, SELL]), st.integers(95, 105), st.integers(1, 3))),
    st.booleans(),  # whether the venue says a mark price from then on
)


@settings(max_examples=60)
@given(st.lists(_PART, min_size=1, max_size=5), st.booleans())
def test_frames_at_once_leave_what_they_leave_one_by_one(parts: list[tuple], is_inverse: bool) -> None:  # type: ignore[type-arg]
    assert _left(parts, is_inverse, at_once=True) == _left(parts, is_inverse, at_once=False)


def _left(parts: list[tuple], is_inverse: bool, *, at_once: bool) -> object:  # type: ignore[type-arg]
    made = _recorder(is_inverse)
    seconds = 1.0
    for frames, is_doubtful, filled, has_mark in parts:
        tops: list[TopRow] = []
        for step, bid, bid_lots, ask, ask_lots in frames:
            seconds += step
            tops.append((at(seconds), bid, bid_lots, ask, ask_lots))
        if at_once:
            made.note_frames(0, tops, is_doubtful=is_doubtful)
        else:
            for now_ns, bid, bid_lots, ask, ask_lots in tops:
                made.note_top(0, now_ns, bid, bid_lots, ask, ask_lots)
                made.frame_done(now_ns, is_doubtful=is_doubtful)
        seconds += 0.1
        if filled is not None:
            trade(made, seconds, *filled)
        if has_mark:
            made.note_mark(0, 101.0)
    record = made.finish(at(seconds + 1))
    courses = {name: asdict(course) for name, course in record.courses.items()}
    rows = (list(record.messages), list(record.tops), record.equity, record.entries)
    return courses, rows, record.instants, [asdict(each) for each in record.ledger.positions]


def _recorder(is_inverse: bool) -> RunRecorder:
    if not is_inverse:
        return recorder()
    contract = Contract(kind=ContractKind.INVERSE, settle="BTC", base="BTC", contract_value=Decimal(100))
    return recorder(replace(linear_market(), contract=contract), capital={"BTC": Decimal(10)})


def test_a_deeper_fall_between_two_kept_points_is_not_lost() -> None:
    made = recorder()
    trade(made, 0.1, BUY, 100, 10)
    made.frame_done(at(0.1))
    tops: list[TopRow] = [
        (at(0.2 + each / 100), tick, 1, tick + 2, 1) for each, tick in enumerate((99, 90, 99, 120, 99))
    ]
    made.note_frames(0, tops, is_doubtful=False)
    (course,) = made.finish(at(1)).courses.values()
    # A tenth is held, from a middle of 121 to one of 100: of the fall before, to 91, was less than 1.
    assert course.drawdown_max == 21 * 10**29
    assert (course.drawdown_from_ns, course.drawdown_bottom_ns, course.peak_ns) == (at(0.23), at(0.24), at(0.23))
