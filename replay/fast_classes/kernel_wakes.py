"""
Writes down what would call a class, in place of calling it: the step function of an engine that runs ahead.

Each wake is so many words among `records`: why, place of the pair, time, place of the row, rows of the log by then, how
often anything was heard of own orders, and of each pair that is shown its best bid and ask with their sizes, and whether its
book is stale. Behind the wakes stand the
times at which timers are due, of which the clock is given the next one where one has called.

| `state` | what |
|---|---|
| 0 | wakes so far |
| 1 | wakes after which the engine stops |
| 2 | words of a wake |
| 3 | 1: all pairs are shown; 0: that which calls |
| 4 | place of the next time of a timer |
| 5 | place behind the last one |
| 6 | whether it has stopped the engine |
"""

from __future__ import annotations

import numpy as np

from replay.fast.engine_layout import Why

__all__ = ["HEAD_WORDS", "SHOWN_WORDS", "STATE_WORDS", "note_wake"]

HEAD_WORDS = 6
#: Of each pair that is shown.
SHOWN_WORDS = 5
STATE_WORDS = 7
_TIMER = np.int64(Why.TIMER)


def note_wake(now, why, pair, q, me, records, state, act):
    """A step function. Returns whether the engine is to stop."""
    clock = act.clock[0]
    at = state[0] * state[2]
    # Whatever the class says of it is said before the end of the frame, which is written down therefore.
    clock["is_dirty"] = 1
    records[at] = why
    records[at + 1] = pair
    records[at + 2] = now
    records[at + 3] = clock["row"]
    records[at + 4] = clock["log"]
    records[at + 5] = clock["told"]
    at += HEAD_WORDS
    first, end = 0, len(q)
    if state[3] == 0:
        first = max(pair, 0)
        end = first + 1
    for place in range(first, end):
        quote = q[place]
        records[at] = quote["bid"]
        records[at + 1] = quote["bid_size"]
        records[at + 2] = quote["ask"]
        records[at + 3] = quote["ask_size"]
        records[at + 4] = quote["stale"]
        at += SHOWN_WORDS
    state[0] += 1
    stops = state[0] >= state[1]
    if why == _TIMER:
        clock["timer"] = records[state[4]]
        state[4] += 1
        stops = stops or state[4] >= state[5]
    if stops:
        state[6] = 1
        return 1
    return 0
