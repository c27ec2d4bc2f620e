"""
Recordings as one stream of raw frames, for those who serve what crossed the wire and not what it meant.

It is a `Tape`, merged, cut and paced like any other; what it plays are `Frame`s in place of messages. The merge and the
player ask of a message no more than `capture_seq` and `ts_recv`, and a frame has both. Between recordings of a symbol
the tape's own events about the hole come along, as in every tape.

A seek begins at the newest mark before its time (`tape_marks.py`), or where there is none from the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Final, cast

from recordings.recording import Recording
from replay.holes import FormsOf
from replay.reels import Reel, merged
from replay.seeking import Start
from replay.serving.tape_marks import Keeper, Mark, Place, TapeMarks
from replay.tape import NOTICES, Batch, Books, Tape
from toolkit.digest import DigestChain
from toolkit.frames import ALL_VENUES, Frame
from toolkit.messages import Message

__all__ = ["FrameTape"]

#: Connections of the second recording are numbered from here, of the third from twice here: they are others.
_CONNECTIONS: Final = 1 << 20
#: Frames read at a time. No client is served meanwhile, so it is less than a replay reads.
_BATCH: Final = 512
_BEGINNING: Final = Place(0, -1)


class FrameTape(Tape):
    """
    The raw frames of recordings: those of some venues, and of what befell the recorder itself; empty: of all.

    Where there are several, `conn_id` tells their connections apart, also that of REST requests, which is below 0.

    Attributes:
        marks: Places that were played, from which a seek may begin.
        keeper: State that is brought to a place; None for nothing, and then there are no marks.
    """

    def __init__(self, recordings: Sequence[Recording], venues: Collection[str] = ()) -> None:
        super().__init__(recordings, fidelity="raw", venues=venues or None)
        self._venues = frozenset(venues)
        self.marks = TapeMarks()
        self.keeper: Keeper | None = None

    def batches(self, forms_of: FormsOf) -> Iterator[Batch]:
        """The frames, in order."""
        return self._marked(super().batches(forms_of), {})

    def batches_near(self, ns: int, tracker: Books, digest: DigestChain | None) -> Iterator[Batch]:
        """From the newest mark: a recording's own states hold normalized books, and what is served are the venue's words."""
        mark = self.marks.before(ns)
        self.marks.restart()
        if mark is None or self.keeper is None:
            return self.batches(tracker.fused_forms)
        self.keeper.load(mark.state)
        return self._marked(self._from(mark), dict(mark.places))

    def _from(self, mark: Mark) -> Iterator[Batch]:
        """What follows a mark."""
        reels = []
        for position, recording in enumerate(self.recordings):
            span, place = recording.span, mark.places.get(position, _BEGINNING)
            if span is None:
                continue
            frames = self._messages(position, None, Start(capture_seq=place.capture_seq))
            if len(self.recordings) == 1:
                return (Batch(0, each) for each in frames)
            begins_ns = max(span[0], place.reached_ns)
            reels.append(Reel(position, position, _keyed(frames, place.reached_ns), begins_ns))
        # One of that very time was played; it is before what is sought, so it is not sent again.
        gaps = Reel(NOTICES, NOTICES, self._gaps(mark.reached_ns))
        return (Batch(*taken) for taken in merged([gaps, *reels]))

    def _marked(self, batches: Iterator[Batch], places: dict[int, Place]) -> Iterator[Batch]:
        """The same, with a mark between two of them now and then: what was handed over has been taken in by then."""
        reached_ns = max((place.reached_ns for place in places.values()), default=-1)
        for batch in batches:
            yield batch
            if batch.position != NOTICES and batch.messages and self.keeper is not None:
                before = places.get(batch.position, _BEGINNING)
                latest_ns = max(before.reached_ns, *(frame.ts_recv for frame in batch.messages))
                places[batch.position] = Place(batch.messages[-1].capture_seq + 1, latest_ns)
                reached_ns = max(reached_ns, latest_ns)
                if self.marks.passed(len(batch.messages), reached_ns):
                    self.marks.add(Mark(reached_ns, dict(places), self.keeper.save()))

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
        for frames in self._frames(position, _BATCH, start.capture_seq):
            yield cast("list[Message]", frames)

    def _frames(self, position: int, batch_rows: int, first_seq: int = 0) -> Iterator[list[Frame]]:
        for frames in self.recordings[position].raw_frames(batch_rows=batch_rows, first_seq=first_seq):
            if self._venues:
                frames = [frame for frame in frames if frame.venue in self._venues or frame.venue == ALL_VENUES]
            yield [_moved(frame, position) for frame in frames] if position else frames


def _keyed(batches: Iterator[list[Message]], reached_ns: int) -> Iterator[tuple[list[int], list[Message]]]:
    """With each frame its merge time, see `Tape`, from where that had come to."""
    for frames in batches:
        if frames:
            keys = list(accumulate((frame.ts_recv for frame in frames), max, initial=reached_ns))[1:]
            reached_ns = keys[-1]
            yield keys, frames


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
