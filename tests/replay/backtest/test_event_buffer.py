"""Rows of one message are those that are added one by one, few or many."""

from __future__ import annotations

import pytest

from replay.backtest.event_buffer import EventBuffer
from replay.market.layout import BUY, SELL, EventCode

_LEVEL = int(EventCode.LEVEL)


@pytest.mark.parametrize(("buys", "sells"), [(0, 1), (2, 3), (12, 11), (12, 12), (40, 0), (0, 40), (300, 200)])
def test_levels_of_a_message_are_rows_added_one_by_one(buys: int, sells: int) -> None:
    at_once, singly = EventBuffer(), EventBuffer()
    ticks, lots, counts = ([start + each for each in range(buys + sells)] for start in (1_000, 0, -1))
    for buffer in (at_once, singly):
        buffer.add(1, 2, 3, 4, 5, 6, 7, _LEVEL, SELL)
    at_once.add_levels(10, 11, 12, 1, _LEVEL, buys, (ticks, lots, counts))
    for place, (tick, size, count) in enumerate(zip(ticks, lots, counts, strict=True)):
        singly.add(10, 11, 12, tick, size, count, 1, _LEVEL, BUY if place < buys else SELL)
    assert at_once.count == singly.count == 1 + buys + sells
    assert at_once.rows.tolist() == singly.rows.tolist()
