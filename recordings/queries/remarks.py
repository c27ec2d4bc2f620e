"""What is no damage of a recording and yet worth knowing before one trusts its times and its books."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from recordings.queries.lazy_tables import events_of
from recordings.recording import Recording
from toolkit.clock import NS_PER_MS, NS_PER_S, format_ns
from toolkit.messages import EventKind
from toolkit.streams import BOOK_STREAMS

__all__ = ["remarks"]

_KINDS: Final = tuple(
    kind.value for kind in (EventKind.CLOCK_STEP, EventKind.CLOCK_STATE, EventKind.STALE, EventKind.GAP)
)
#: Why a book that was asked for did not come.
_BOOKLESS: Final = ("no_book", "no_snapshot", "no_data")
#: So many of a kind are listed one by one.
_SHOWN_MAX: Final = 3
_DELTA: Final = re.compile(r"delta_ns=(-?\d+)")
_BOUND: Final = re.compile(r"error_max_ns=(\d+)")


def remarks(recording: Recording) -> list[str]:
    """
    One line each: steps of the wall clock, a clock that nothing kept right, books that did not come.

    Raises RecordingDamaged where the events cannot be read.
    """
    events = (
        events_of(recording, _KINDS)
        .select("venue", "trading_pair", "stream", "kind", "cause", "detail", "ts_recv", "ts_start", "ts_end")
        .with_columns(pl.col("ts_recv", "ts_start", "ts_end").dt.timestamp("ns"))
    )
    return [*_steps(events), *_states(events), *_bookless(events)]


def _of(events: pl.DataFrame, kind: EventKind) -> pl.DataFrame:
    return events.filter(pl.col("kind") == kind.value)


def _steps(events: pl.DataFrame) -> list[str]:
    # Each venue's source notes a step for itself; those of one venue are all of them.
    steps = _of(events, EventKind.CLOCK_STEP)
    counts = steps.group_by("venue").len().sort("len", "venue", descending=[True, False])
    if counts.is_empty():
        return []
    shown = []
    for row in steps.filter(pl.col("venue") == counts["venue"][0]).head(_SHOWN_MAX).iter_rows(named=True):
        delta = _DELTA.search(row["detail"])
        seconds = int(delta[1]) / NS_PER_S if delta else 0.0
        shown.append(f"by {seconds:+,.3f} s at {format_ns(row['ts_recv'])}")
    count = counts["len"][0]
    more = f" and {count - _SHOWN_MAX} more" if count > _SHOWN_MAX else ""
    times = "once" if count == 1 else f"{count} times"
    return [
        f"the wall clock stepped {times}, {', '.join(shown)}{more}: times of receipt before and after do not compare"
    ]


def _states(events: pl.DataFrame) -> list[str]:
    states = _of(events, EventKind.CLOCK_STATE)
    bad = states.filter(pl.col("detail").str.contains("is_synchronised=False", literal=True))
    if bad.is_empty():
        return []
    bounds = [int(found[1]) for detail in bad["detail"] if (found := _BOUND.search(detail))]
    bound = f", the kernel's bound of its error is {max(bounds) / NS_PER_MS:,.0f} ms" if bounds else ""
    when = "always" if bad.height == states.height else f"{bad.height} of {states.height} times that it was asked"
    return [f"the clock of the machine was not synchronised ({when}){bound}"]


def _bookless(events: pl.DataFrame) -> list[str]:
    is_book = pl.any_horizontal(pl.col("stream").str.starts_with(prefix) for prefix in BOOK_STREAMS)
    missed = events.filter(is_book & pl.col("cause").is_in(_BOOKLESS) & pl.col("ts_start").is_not_null())
    ends = (
        missed.group_by("venue", "trading_pair", maintain_order=True)
        .agg(pl.col("ts_start").min(), pl.col("ts_end").max())
        .sort("venue", "trading_pair")
    )
    lines = []
    for row in ends.head(_SHOWN_MAX).iter_rows(named=True):
        name = f"{row['trading_pair']} of {row['venue']}"
        if row["ts_end"] is None:
            lines.append(f"{name} has no book from {format_ns(row['ts_start'])} on: see `tickdeck gaps`")
        else:
            seconds = (row["ts_end"] - row["ts_start"]) / NS_PER_S
            lines.append(f"{name} had no book for {seconds:,.0f} s after it was asked for: see `tickdeck gaps`")
    if ends.height > _SHOWN_MAX:
        lines.append(f"{ends.height - _SHOWN_MAX} more pairs had no book at first: see `tickdeck gaps`")
    return lines
