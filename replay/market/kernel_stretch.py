"""
Whole messages of a market at once: until something is due, an own order is answered, or the book is read.

What a message does is what `run` does with its events. Beside it the best levels of each book are noted, as a reader of the
recorded book sees them: also the levels that the other side has passed.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from replay.market.kernel_core import run
from replay.market.layout import NONE
from toolkit.kernels.compiling import kernel
from toolkit.kernels.levels import best

__all__ = ["BOOK", "LOOK", "LOOK_AT_QUOTE", "MARK", "TOP", "best_levels", "play"]

#: A message, and where its events begin and end.
MARK: Final = np.dtype(
    [
        ("frame", "i8"),
        ("now", "i8"),  # when it is received; does not go back
        ("first", "i8"),
        ("stop", "i8"),
        ("pair", "i8"),
        ("what", "i8"),  # `BOOK`, `LOOK`, `LOOK_AT_QUOTE`
    ],
    align=True,
)
#: It changes the book of its pair.
BOOK: Final = 1
#: Somebody looks after it.
LOOK: Final = 2
#: Somebody does if the best levels have changed.
LOOK_AT_QUOTE: Final = 4
#: The best levels of a pair after the last of a frame's messages about it. Keys, `NONE` for a side without one.
TOP: Final = np.dtype(
    [
        ("place", "i8"),  # of the message
        ("pair", "i8"),
        ("bid", "i8"),
        ("bid_lots", "i8"),
        ("ask", "i8"),
        ("ask_lots", "i8"),
    ],
    align=True,
)
_BOOK = np.int64(BOOK)
_LOOK = np.int64(LOOK)
_LOOK_AT_QUOTE = np.int64(LOOK_AT_QUOTE)
_END = np.int64(2**63 - 1)


@kernel
def best_levels(s, pair, row):
    """Write the best levels of a pair's recorded book into a row of four: key and lots of the bid, then of the ask."""
    for side in range(2):
        row[2 * side] = NONE
        row[2 * side + 1] = 0
        if s.book.levels[2 * pair + side]:
            key, lots = best(s.book, 2 * pair + side)
            row[2 * side] = key
            row[2 * side + 1] = lots


@kernel
def play(s, events, marks, now, seen, tops, crossed, counts, begin, end, frame, until):
    """
    Take in the messages of `marks[begin:end]`, of which the first may be of the frame that is under way.

    Args:
        s: The state.
        events: Their events; of a message that was taken in part its mark says from where.
        marks: The messages; `first` goes on with what was taken in.
        now: The best levels of each pair, as `best_levels` has them.
        seen: The same as they were last looked at.
        tops: Where those of each frame are noted, in order; it ends where there may be no room for those of a frame.
        crossed: Count per pair of messages after which its book was crossed; what is found is added.
        counts: How many rows of `tops` there are already, and then how many there are.
        begin: The first message.
        end: Before this one it ends.
        frame: The frame under way.
        until: No frame of this time or later is begun, nor any once there are reports.

    Returns:
        The first message that was not taken in; `want` says whether for lack of room.
    """
    s.counters[0]["want"] = 0
    count = counts[0]
    at = begin
    while at < end:
        mark = marks[at]
        if mark["frame"] != frame:
            if s.counters[0]["reports"] or mark["now"] >= until or count + len(now) > len(tops):
                break
            frame = mark["frame"]
        if mark["first"] < mark["stop"]:
            mark["first"] = run(s, events, mark["first"], mark["stop"], _END)
            if mark["first"] < mark["stop"]:
                break
        pair, what = mark["pair"], mark["what"]
        at += 1
        if what & _BOOK:
            top = now[pair]
            best_levels(s, pair, top)
            if top[0] != NONE and top[2] != NONE and top[0] + top[2] >= 0:
                crossed[pair] += 1
            row = count
            while row > 0 and marks[tops[row - 1]["place"]]["frame"] == frame:
                row -= 1
                if tops[row]["pair"] == pair:
                    break
            if row == count or tops[row]["pair"] != pair:
                row = count
                count += 1
            noted = tops[row]
            noted["place"] = at - 1
            noted["pair"] = pair
            noted["bid"] = top[0]
            noted["bid_lots"] = top[1]
            noted["ask"] = top[2]
            noted["ask_lots"] = top[3]
            if what & _LOOK_AT_QUOTE:
                before = seen[pair]
                if top[0] != before[0] or top[1] != before[1] or top[2] != before[2] or top[3] != before[3]:
                    break
        if what & _LOOK:
            break
    counts[0] = count
    return at
