"""What a recorder is doing, as values to print or to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.live import SourceStatus

__all__ = ["RecorderStatus", "percentiles_ms"]


@dataclass(slots=True, kw_only=True)
class RecorderStatus:
    """
    What a recorder is doing.

    Attributes:
        frame_count: Frames written down in this session.
        written_count: Frames that are in journal files.
        pending_bytes: Payload bytes that are not yet in journal files.
        payload_bytes: Payload bytes of all frames.
        message_count: Normalized messages.
        gap_count: Gaps so far.
        reconnect_count: Connections made again.
        parse_error_count: Frames that were not understood.
        segment: Number of the open segment.
        unsealed: Closed segments that are yet to be sealed.
        sealing_failures: How often sealing failed in this session; it is tried again.
        sealing_problem: Why the oldest unsealed segment could not be sealed when it was last tried; empty if it was not.
        disk_free: Bytes free on the disk.
        sources: One per venue.
        delays_ms: Receive time less the venue's time, of recent messages that are not history: 50th, 95th and 99th
            percentile, milliseconds; None before the first. Clocks differ, so it may be negative.
        tee_clients: Clients that follow the recording through its tee.
        tee_cut: Clients of the tee that were cut off because they were too slow.
    """

    frame_count: int = 0
    written_count: int = 0
    pending_bytes: int = 0
    payload_bytes: int = 0
    message_count: int = 0
    gap_count: int = 0
    reconnect_count: int = 0
    parse_error_count: int = 0
    segment: int = 0
    unsealed: int = 0
    sealing_failures: int = 0
    sealing_problem: str = ""
    disk_free: int = 0
    sources: tuple[SourceStatus, ...] = ()
    delays_ms: tuple[float, float, float] | None = None
    tee_clients: int = 0
    tee_cut: int = 0

    def delay_text(self) -> str:
        """The delays as part of a status line; empty if nothing with a time has come."""
        return "delay p50/p95/p99 {:.0f}/{:.0f}/{:.0f} ms  ".format(*self.delays_ms) if self.delays_ms else ""


def percentiles_ms(delays: Sequence[int]) -> tuple[float, float, float] | None:
    """50th, 95th and 99th percentile of delays in ns, as ms; None if there are none."""
    if not delays:
        return None
    ordered = sorted(delays)
    p50, p95, p99 = (ordered[min(len(ordered) * rank // 100, len(ordered) - 1)] / 1e6 for rank in (50, 95, 99))
    return p50, p95, p99
