from __future__ import annotations

import pytest

from toolkit.messages import EventKind, StreamEvent
from toolkit.timing.clock_jumps import jump_of

RECV = 1_000_000_000_000


def event(kind: EventKind, *, cause: str = "", detail: str = "") -> StreamEvent:
    return StreamEvent(
        venue="v",
        symbol="",
        trading_pair="",
        ts_event=None,
        ts_recv=RECV,
        capture_seq=1,
        sub_seq=0,
        kind=kind,
        cause=cause,
        detail=detail,
    )


@pytest.mark.parametrize(
    ("told", "length_ns"),
    [
        (event(EventKind.CLOCK_STEP, detail="delta_ns=2500"), 2500),
        (event(EventKind.NOTICE, cause="suspend", detail="silence_s=3.5"), 3_500_000_000),
        (event(EventKind.NOTICE, cause="suspend", detail="silence_s=2"), 2_000_000_000),
    ],
)
def test_the_jump_ends_where_it_is_told_of(told: StreamEvent, length_ns: int) -> None:
    assert jump_of(told) == (RECV - length_ns, RECV)


@pytest.mark.parametrize(
    "told",
    [
        event(EventKind.CLOCK_STEP, detail="delta_ns=-2500"),  # back
        event(EventKind.CLOCK_STEP, detail="delta_ns=0"),
        event(EventKind.CLOCK_STEP),
        event(EventKind.NOTICE, cause="unlisted", detail="silence_s=3.5"),
        event(EventKind.GAP, cause="suspend", detail="delta_ns=2500"),
    ],
)
def test_what_tells_of_no_jump_ahead_is_none(told: StreamEvent) -> None:
    assert jump_of(told) is None
