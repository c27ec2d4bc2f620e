"""
One recording's counter: numbers and stamps frames, and writes each down before anybody else sees it.

Several live sources (venues) of one process share one `Capture`, so that `capture_seq` has no holes and no repeats
across all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit.clock import Clock, SystemClock
from toolkit.errors import BackpressureError
from toolkit.frames import Frame

__all__ = ["Capture", "FrameSink"]

#: Takes a frame down for good. What it raises stops the source whose frame it was.
FrameSink = Callable[[Frame], None]


class Capture:
    """
    Gives frames their number and their times, and hands them to the sink.

    Attributes:
        clock: Where `ts_recv` and `ts_mono` come from.
    """

    def __init__(
        self, *, sink: FrameSink, clock: Clock | None = None, first_seq: int = 0, first_conn_id: int = 0
    ) -> None:
        """
        Start counting; `first_seq` and `first_conn_id` are above 0 where an earlier recording is continued.

        Raises ValueError for a negative one.
        """
        if first_seq < 0 or first_conn_id < 0:
            raise ValueError(f"a capture counts from 0 on, not from {first_seq} and {first_conn_id}")
        self.clock = clock if clock is not None else SystemClock()
        self._time_ns = self.clock.time_ns
        self._monotonic_ns = self.clock.monotonic_ns
        self._sink = sink
        self._has_failed = False
        self._next_seq = first_seq
        self._next_conn_id = first_conn_id

    @property
    def next_seq(self) -> int:
        """Number that the next frame will get."""
        return self._next_seq

    @property
    def next_conn_id(self) -> int:
        """Number that the next connection will get."""
        return self._next_conn_id

    def new_connection(self) -> int:
        """A number for a connection. Making it again keeps the number and raises the epoch of its frames."""
        conn_id = self._next_conn_id
        self._next_conn_id += 1
        return conn_id

    def record(
        self, venue: str, conn_id: int, conn_epoch: int, kind: str, payload: bytes, context: str | None = None
    ) -> Frame:
        """
        Stamp and number a frame and write it down; only then is it returned.

        Raises what the sink raises, and BackpressureError for every frame after that: a frame that follows one which
        was not written would make a hole.
        """
        seq = self._next_seq
        frame = Frame(seq, self._time_ns(), self._monotonic_ns(), venue, conn_id, conn_epoch, kind, payload, context)
        try:
            self._sink(frame)
        except BaseException as exc:
            if not self._has_failed:
                self._refuse_from_now_on(seq, exc)
            raise
        self._next_seq = seq + 1
        return frame

    def outgoing(self, payload: bytes) -> bytes:
        """What is really sent where a protocol asks to send `payload`: the same, unless a capture keeps a secret."""
        return payload

    def _refuse_from_now_on(self, seq: int, cause: BaseException) -> None:
        self._has_failed = True
        why = f"{type(cause).__name__}: {cause}"

        def refuse(frame: Frame) -> None:
            raise BackpressureError(
                f"nothing more is recorded: frame {seq} could not be written ({why}); "
                "see to that, then start recording again"
            )

        self._sink = refuse
