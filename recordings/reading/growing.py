"""
Reads the frames of a recording's folder in order, each once, whatever its recorder does to the folder meanwhile.

Segments are read from the manifest's files, what is not sealed yet from the journals, as far as whole batches are there.
Nothing is locked and nothing is written. What makes that safe is the order in which sealing works: a journal goes only
when the manifest names its segment, so frames that are in neither place have not been looked for well enough.

What a recorder that died has left is read as `recover` would seal it: a hole that it would state is stated.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.checking import open_checked
from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.manifest import MANIFEST_NAME, Manifest, Segment, inside, lacks_raw, read_manifest
from recordings.format.rows_to_messages import frames
from recordings.format.schema import RAW_TABLE
from recordings.journal.holes import Moment, lost_frames, moment_of, moment_of_row, unbroken
from recordings.journal.journal_reader import JournalReader, journal_path, journal_segments
from recordings.reading.raw_frames import RAW_BATCH, last_moment, reading
from recordings.storage.lock_holder import holder_of
from toolkit.errors import RecordingDamaged, RecordingError
from toolkit.frames import Frame

__all__ = ["GrowingRecording"]

_Stamp = tuple[int, int, int]


class GrowingRecording:
    """
    A recording that may still be written. Raises RecordingError if the folder is none.

    Args:
        folder: The recording.
        next_seq: First frame that is wanted.
        is_left: Whether its recorder has died: then what is missing before a journal will not come any more.

    Attributes:
        folder: The recording.
        next_seq: First frame that was not given yet.
        manifest: Manifest at the last look.
        missing: Frames that are missing among the journals, and journals that are of no use: one line each.
        unreadable: Parts of journals that could not be read so far, and will not come: one line each.
    """

    def __init__(self, folder: Path, next_seq: int = 0, *, is_left: bool = False) -> None:
        self.folder = folder
        self.next_seq = next_seq
        self._is_left = is_left
        self._stamp = self._stamp_now()
        self.manifest: Manifest = read_manifest(folder)
        #: How far the last journal was read: its segment, bytes and batches.
        self._place = (-1, 0, 0)
        self._last: Moment | None = None
        self.missing: list[str] = []
        self.unreadable: list[str] = []

    @property
    def journal(self) -> int:
        """Number of the last journal that anything was read from; -1 if there is none."""
        return self._place[0]

    @property
    def is_over(self) -> bool:
        """Whether recording has ended and every frame was given, as of the last look."""
        segments = self.manifest.segments
        if self.manifest.status == "running" or (segments and segments[-1].capture_seq_last >= self.next_seq):
            return False
        if any(number >= len(segments) for number in journal_segments(self.folder)):
            return False
        # One that records on has healed the folder first, and has not said yet that it runs; one that ends is about to go.
        # Asked each time, since the answer changes, but only where all else says that it is over: at the end, a few times.
        holder = holder_of(self.folder)
        return holder is None or holder.heals or not holder.is_alive

    def look(self) -> bool:
        """
        Read the manifest again if it was replaced, and say whether it was.

        Raises RecordingError if it is that of another recording now.
        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return False
        manifest = read_manifest(self.folder)
        if manifest.created_ns != self.manifest.created_ns:
            raise RecordingError(
                f"{self.folder} holds another recording now than when it was opened: follow that one from its beginning"
            )
        if len(manifest.segments) < len(self.manifest.segments):
            self._place = (-1, 0, 0)  # it was compacted: journals have numbers from the start again
        self._stamp, self.manifest = stamp, manifest
        return True

    def signs_of_life(self) -> object:
        """A value that changes as long as a recorder lives: it touches its journal at every flush."""
        times = []
        for number in journal_segments(self.folder):
            try:
                times.append((number, journal_path(self.folder, number).stat().st_mtime_ns))
            except OSError:
                continue  # sealed this moment
        return self._stamp_now(), times

    def accept(self, batch: list[Frame]) -> list[Frame]:
        """The frames of a batch that were not given yet. Raises RecordingDamaged if some are missing before it."""
        if not batch:
            return batch
        known = self._take_note(batch[0].capture_seq, batch[-1].capture_seq, len(batch))
        self._last = moment_of(batch[-1])
        return batch[known:] if known else batch

    def read(self) -> Iterator[list[Frame]]:
        """All that is there and was not given yet, a list at a time; ends where the recorder has come to."""
        for batch in self.batches():
            yield frames(batch)

    def batches(self, passes_max: int | None = None) -> Iterator[pa.RecordBatch]:
        """
        The same as rows of the `raw` table.

        Args:
            passes_max: How often to look for more at most; None until nothing more is there, which on a starved machine
                may be never.
        """
        for _ in count() if passes_max is None else range(passes_max):
            before = self.next_seq
            try:
                yield from self._sealed()
            except RecordingError:
                if self.look():
                    continue  # it was compacted
                raise
            yield from self._open()
            if not self.look() and self.next_seq == before:
                return

    def _take_note(self, first: int, last: int, number: int) -> int:
        """Frames come next; how many of them were given before. Raises RecordingDamaged if some are missing."""
        known = self.next_seq - first
        if known < 0 or last - first + 1 != number:
            raise RecordingDamaged(
                f"{self.folder}: frames {first} to {last} come next, "
                f"expected frame {self.next_seq} and none missing: run `tickdeck verify`"
            )
        self.next_seq = max(self.next_seq, last + 1)
        return max(known, 0)

    def _new_of(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        if len(batch):
            seqs = batch.column("capture_seq")
            known = self._take_note(seqs[0].as_py(), seqs[-1].as_py(), len(batch))
            self._last = moment_of_row(batch, len(batch) - 1)
            if known < len(batch):
                yield batch.slice(known)

    def _sealed(self) -> Iterator[pa.RecordBatch]:
        for segment in self.manifest.segments:
            if segment.capture_seq_last >= self.next_seq:
                for batch in self._of_segment(segment):
                    yield from self._new_of(batch)

    def _of_segment(self, segment: Segment) -> Iterator[pa.RecordBatch]:
        file = segment.tables.get(RAW_TABLE)
        if file is None:
            raise RecordingError(
                f"{lacks_raw(self.folder, segment)}: follow it from a later time, or replay it normalized"
            )
        path = inside(self.folder, file.path)
        source = open_checked(self.folder, file)
        with reading(path):
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            wanted, seq = [], segment.capture_seq_first
            for number in range(parquet.metadata.num_row_groups):
                seq += parquet.metadata.row_group(number).num_rows
                if seq > self.next_seq:
                    wanted.append(number)
            yield from parquet.iter_batches(RAW_BATCH, row_groups=wanted)

    def _open(self) -> Iterator[pa.RecordBatch]:
        for number in journal_segments(self.folder):
            if number < max(len(self.manifest.segments), self._place[0]):
                continue  # its segment was read, or it was itself: nothing is written after the next has begun
            reader = JournalReader(
                journal_path(self.folder, number), *(self._place[1:] if number == self._place[0] else ())
            )
            try:
                for batch in reader.batches():
                    is_begun = number == self._place[0]
                    if self._is_left and not is_begun and batch.column("capture_seq")[0].as_py() < self.next_seq:
                        self._note(
                            self.missing, f"{reader.path} begins with frames that are sealed: it is of another history"
                        )
                        break
                    for rows in unbroken(batch):
                        first = moment_of_row(rows, 0)
                        if first.capture_seq > self.next_seq:
                            # Before a journal that was not begun, it may be that the segment was sealed meanwhile.
                            is_certain = is_begun or bool(reader.unread)
                            if not is_certain and self._was_replaced():
                                return
                            if not is_certain and not self._is_left:
                                missing = f"{self.next_seq} to {first.capture_seq - 1}"
                                self._note(self.missing, f"{reader.path}: frames {missing} before it are not there yet")
                                return
                            # Sealing will state the same.
                            last = self._last or last_moment(self.folder, self.manifest, first)
                            if not reader.unread:
                                missing = f"{last.capture_seq + 1} to {first.capture_seq - 1}"
                                self._note(self.missing, f"{reader.path}: frames {missing} are missing before it")
                            yield from self._new_of(frames_to_batch(lost_frames(last, first)))
                        self._place = (number, reader.good_bytes, reader.batch_count)
                        is_begun = True
                        yield from self._new_of(rows)
                self._note_damage(reader)
            except RecordingDamaged:
                if journal_path(self.folder, number).exists():
                    raise
                return  # sealed and gone: the manifest has it by now

    def _note_damage(self, reader: JournalReader) -> None:
        """What is torn at the end of a journal may be on its way, as long as somebody writes it."""
        for begin, end in reader.unread:
            if begin < reader.good_bytes or self._is_left:
                self._note(
                    self.unreadable, f"{reader.path}: bytes {begin:,} to {end:,} cannot be read ({reader.problem})"
                )

    @staticmethod
    def _note(lines: list[str], line: str) -> None:
        if line not in lines:
            lines.append(line)

    def _was_replaced(self) -> bool:
        """Whether the manifest is another than when it was last looked at."""
        return self._stamp_now() != self._stamp

    def _stamp_now(self) -> _Stamp | None:
        try:
            stat = (self.folder / MANIFEST_NAME).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
