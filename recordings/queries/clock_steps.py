"""
Where the wall clock of a recorder stepped, and what that does to the length of a stretch of time.

The recorder looks at its clocks once a second and reports a step as an event. The step itself came up to some seconds
earlier: between the two frames whose receive times are apart by more, or by less, than the time that passed. Those are
found here, so that a length of time across a step is what a monotonic clock would have measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from recordings.format.schema import MESSAGE_TABLES
from recordings.queries.lazy_tables import events_of, scan_table
from recordings.recording import Recording
from toolkit.clock import NS_PER_S
from toolkit.messages import EventKind

__all__ = ["ClockStep", "clock_steps", "elapsed_ns"]

_DELTA: Final = re.compile(r"\bdelta_ns=(-?\d+)")
#: A step is looked for among that many frames before its report, and no longer ago than that.
_FRAMES: Final = 100_000
_BEFORE_REPORT_NS: Final = 10 * NS_PER_S
#: Two sources of one recorder report one step as they see it, apart by what passes between two readings of a clock.
_SAME_NS: Final = 50_000_000


class ClockStep(NamedTuple):
    """
    One step of the wall clock.

    Attributes:
        capture_seq: First frame that was stamped after it.
        delta_ns: Length by which the clock stepped, ns; negative: back.
        ts_before: Receive time of the last frame before it, ns, by the clock before the step.
        ts_after: Receive time of the first frame after it.
    """

    capture_seq: int
    delta_ns: int
    ts_before: int
    ts_after: int


def clock_steps(recording: Recording) -> list[ClockStep]:
    """The steps of a recorder's wall clock, in order; none of an import. Raises RecordingDamaged."""
    reports = events_of(recording, (EventKind.CLOCK_STEP.value,)).select(
        "capture_seq", pl.col("ts_recv").cast(pl.Int64), "detail"
    )
    steps: dict[int, ClockStep] = {}
    for seq, ts_recv, detail in reports.iter_rows():
        found = _DELTA.search(detail)
        if found is None:
            continue
        step = _place(recording, seq, ts_recv, int(found[1]))
        before = steps.get(step.capture_seq)
        if before is None or abs(before.delta_ns - step.delta_ns) > _SAME_NS:
            steps[step.capture_seq] = step
    return sorted(steps.values())


def elapsed_ns(steps: Sequence[ClockStep], start_ns: int, end_ns: int, end_seq: int | None = None) -> int:
    """
    Time that passed from one reading of the wall clock to a later one, ns, without what the clock stepped between.

    Args:
        steps: Steps of the recorder whose clock it is.
        start_ns: The earlier reading.
        end_ns: The later reading, which is the smaller number if the clock stepped back between them.
        end_seq: Frame that the later reading is the receive time of; None where that is not known.

    Between readings that the clock gave twice, before and after a step back, that step is not counted.
    """
    passed = end_ns - start_ns
    for step in steps:
        if end_seq is not None and step.capture_seq > end_seq:
            break
        if step.delta_ns > 0:
            is_between = start_ns <= step.ts_before and step.ts_after <= end_ns
        else:
            is_known = end_seq is not None or step.ts_before <= end_ns
            is_between = (start_ns <= step.ts_after and is_known) or end_ns < start_ns <= step.ts_before
        passed -= step.delta_ns * is_between
    return max(0, passed)


def _place(recording: Recording, seq: int, ts_recv: int, delta_ns: int) -> ClockStep:
    """Find the two frames that a reported step lies between: those whose times differ from it the least."""
    frames = _frames_before(recording, seq)
    jumps = frames.with_columns(pl.col("ts_recv").shift(1).alias("before")).filter(
        pl.col("before").is_not_null()
        # After the step, but not after its report: by the new clock a few seconds ago at most.
        & pl.col("ts_recv").is_between(ts_recv - _BEFORE_REPORT_NS, ts_recv)
    )
    passed = pl.col("ts_recv") - pl.col("before") - delta_ns
    best = jumps.filter(passed >= -_SAME_NS).sort(passed, pl.col("capture_seq"), descending=[False, True]).head(1)
    if best.height:
        return ClockStep(best["capture_seq"].item(), delta_ns, best["before"].item(), best["ts_recv"].item())
    return ClockStep(seq, delta_ns, ts_recv - delta_ns, ts_recv)


def _frames_before(recording: Recording, seq: int) -> pl.DataFrame:
    """Number and receive time of frames up to that one: of all that are in `raw`, else of those that gave messages."""
    inside = pl.col("capture_seq").is_between(seq - _FRAMES, seq)
    columns = (pl.col("capture_seq"), pl.col("ts_recv").cast(pl.Int64))
    raw = scan_table(recording, "raw").filter(inside).select(columns).collect()
    if raw.height and raw["capture_seq"].max() == seq:
        return raw.sort("capture_seq")
    tables = [scan_table(recording, table).filter(inside).select(columns) for table in MESSAGE_TABLES]
    return pl.concat(tables).unique("capture_seq").sort("capture_seq").collect()
