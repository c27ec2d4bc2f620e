"""Times between recordings that none of them covers, and the events that say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from recordings.reading.selecting import Selection
from recordings.recording import Recording
from toolkit.messages import BETWEEN_RECORDINGS, EventKind, Message, StreamEvent

__all__ = ["HOLE", "FormsOf", "Hole", "gap_event", "holes_between", "stale_events"]

#: Cause of the events about holes between recordings.
HOLE: Final = BETWEEN_RECORDINGS

#: Forms of the book seen so far, by pair and venue.
FormsOf = Callable[[str, str], Sequence[str]]


class Hole(NamedTuple):
    """A time that no recording of a symbol covers, though there is one before and one after; ns."""

    start_ns: int
    end_ns: int
    venue: str
    symbol: str
    trading_pair: str


def holes_between(recordings: Sequence[Recording], selection: Selection | None) -> list[Hole]:
    """The holes of every symbol, in order; of those that a selection takes."""
    spans: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for recording in recordings:
        span = recording.span
        if span is None:
            continue
        for name, pair in recording.symbols.items():
            venue, _, symbol = name.partition("/")
            if selection is None or selection.takes(venue, symbol):
                spans.setdefault((venue, symbol, pair), []).append(span)
    holes = []
    for (venue, symbol, pair), covered in spans.items():
        covered.sort()
        reached = covered[0][1]
        for first, last in covered[1:]:
            if first > reached:
                holes.append(Hole(reached, first, venue, symbol, pair))
            reached = max(reached, last)
    return sorted(holes)


def stale_events(hole: Hole, forms_of: FormsOf) -> list[Message]:
    """What a hole says when it begins: of each form of the book that it no longer holds."""
    forms = forms_of(hole.trading_pair, hole.venue)
    return [_event(hole, EventKind.STALE, hole.start_ns, stream=form) for form in forms]


def gap_event(hole: Hole) -> Message:
    """What a hole says when it ends."""
    return _event(hole, EventKind.GAP, hole.end_ns, ts_end=hole.end_ns)


def _event(hole: Hole, kind: EventKind, ns: int, *, stream: str = "", ts_end: int | None = None) -> Message:
    return StreamEvent(
        hole.venue,
        hole.symbol,
        hole.trading_pair,
        None,
        ns,
        -1,
        0,
        kind=kind,
        stream=stream,
        cause=HOLE,
        ts_start=hole.start_ns,
        ts_end=ts_end,
    )
