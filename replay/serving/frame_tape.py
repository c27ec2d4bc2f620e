"""
Recordings as one stream of raw frames, for those who serve what crossed the wire and not what it meant.

It is a `Tape`, merged, cut and paced like any other; what it plays are `Frame`s in place of messages. The merge and the
player ask of a message no more than `capture_seq` and `ts_recv`, and a frame has both. Between recordings of a symbol
the tape's own events about the hole come along, as in every tape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, cast

from recordings.recording import Recording
from replay.seeking import Start
from replay.tape import Batch, Books, Tape
from toolkit.digest import DigestChain
from toolkit.frames import ALL_VENUES, Frame
from toolkit.messages import Message

__all__ = ["FrameTape"]

#: Connections of the second recording are numbered from here, of the third from twice here: they are others.
_CONNECTIONS: Final = 1 << 20
#: Frames read at a time. No client is served meanwhile, so it is less than a replay reads.
_BATCH: Final = 512


class FrameTape(Tape):
    """
    The raw frames of recordings: those of some venues, and of what befell the recorder itself; empty: of all.

    Where there are several, `conn_id` tells their connections apart, also that of REST requests, which is below 0.
    """

    def __init__(self, recordings: Sequence[Recording], venues: Collection[str] = ()) -> None:
        super().__init__(recordings, fidelity="raw", venues=venues or None)
        self._venues = frozenset(venues)

    def batches_near(self, ns: int, tracker: Books, digest: DigestChain | None) -> Iterator[Batch]:
        """From the beginning: a recording's states hold normalized books, and what is served are the venue's own words."""
        return self.batches(tracker.fused_forms)

    def opening(self, frame_count: int) -> Iterator[Frame]:
        """The first frames of each recording, one recording after the other."""
        for position in range(len(self.recordings)):
            left = frame_count
            for frames in self._frames(position, min(_BATCH, frame_count)):
                yield from frames[:left]
                left -= len(frames)
                if left <= 0:
                    break

    def _messages(self, position: int, batch_rows: int | None, start: Start) -> Iterator[list[Message]]:
        for frames in self._frames(position, _BATCH):
            yield cast("list[Message]", frames)

    def _frames(self, position: int, batch_rows: int) -> Iterator[list[Frame]]:
        for frames in self.recordings[position].raw_frames(batch_rows=batch_rows):
            if self._venues:
                frames = [frame for frame in frames if frame.venue in self._venues or frame.venue == ALL_VENUES]
            yield [_moved(frame, position) for frame in frames] if position else frames


def _moved(frame: Frame, position: int) -> Frame:
    conn_id = frame.conn_id + position * _CONNECTIONS if frame.conn_id >= 0 else frame.conn_id - position
    return Frame(
        frame.capture_seq,
        frame.ts_recv,
        frame.ts_mono,
        frame.venue,
        conn_id,
        frame.conn_epoch,
        frame.kind,
        frame.payload,
        frame.context,
    )
