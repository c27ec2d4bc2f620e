"""
Reads the frames of a recording's folder in order, each once, whatever its recorder does to the folder meanwhile.

Segments are read from the manifest's files, what is not sealed yet from the journals, as far as whole batches are there.
Nothing is locked and nothing is written. What makes that safe is the order in which sealing works: a journal goes only
when the manifest names its segment, so frames that are in neither place have not been looked for well enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from recordings.checking import open_checked
from recordings.holes import Moment, lost_frames, moment_of
from recordings.journal import JournalReader, journal_path, journal_segments
from recordings.manifest import MANIFEST_NAME, Manifest, Segment, inside, read_manifest
from recordings.recording import RAW_BATCH, reading
from recordings.rows import frames
from recordings.schema import RAW_TABLE
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

    Attributes:
        folder: The recording.
        next_seq: First frame that was not given yet.
        manifest: As it was when it was last looked at.
    """

    def __init__(self, folder: Path, next_seq: int = 0) -> None:
        self.folder = folder
        self.next_seq = next_seq
        self._stamp = self._stamp_now()
        self.manifest: Manifest = read_manifest(folder)
        #: How far the last journal was read: its segment, bytes and batches.
        self._place = (-1, 0, 0)
        self._last: Moment | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody records any more and every frame was given, as of the last look."""
        segments = self.manifest.segments
        if self.manifest.status == "running" or (segments and segments[-1].capture_seq_last >= self.next_seq):
            return False
        return not any(number >= len(segments) for number in journal_segments(self.folder))

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
                f"{self.folder} holds another recording now than when it was opened: follow that one anew"
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
        known = self.next_seq - batch[0].capture_seq
        if known < 0 or batch[-1].capture_seq - batch[0].capture_seq + 1 != len(batch):
            raise RecordingDamaged(
                f"{self.folder}: frames {batch[0].capture_seq} to {batch[-1].capture_seq} come next, "
                f"expected frame {self.next_seq} and none missing: run `tickdeck verify`"
            )
        self.next_seq = max(self.next_seq, batch[-1].capture_seq + 1)
        self._last = moment_of(batch[-1])
        return batch[known:] if known else batch

    def read(self) -> Iterator[list[Frame]]:
        """All that is there and was not given yet, a list at a time; ends where the recorder has come to."""
        while True:
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

    def _sealed(self) -> Iterator[list[Frame]]:
        for segment in self.manifest.segments:
            if segment.capture_seq_last >= self.next_seq:
                for batch in self._of_segment(segment):
                    if new := self.accept(batch):
                        yield new

    def _of_segment(self, segment: Segment) -> Iterator[list[Frame]]:
        file = segment.tables.get(RAW_TABLE)
        if file is None:
            raise RecordingError(
                f"{self.folder} holds no raw frames of segment {segment.number} any more: "
                "follow it from a later time, or replay it normalized"
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
            for batch in parquet.iter_batches(RAW_BATCH, row_groups=wanted):
                yield frames(batch)

    def _open(self) -> Iterator[list[Frame]]:
        for number in journal_segments(self.folder):
            if number < len(self.manifest.segments):
                continue  # left over: its segment was read
            is_begun = number == self._place[0]
            reader = JournalReader(journal_path(self.folder, number), *(self._place[1:] if is_begun else ()))
            try:
                for batch in reader.frames():
                    if batch[0].capture_seq > self.next_seq:
                        if not reader.unread or self._last is None:
                            return  # the segment before it was closed or sealed meanwhile, or is not whole
                        # It is damaged: sealing will state the same.
                        yield self.accept(lost_frames(self._last, moment_of(batch[0])))
                    self._place = (number, reader.good_bytes, reader.batch_count)
                    if new := self.accept(batch):
                        yield new
            except RecordingDamaged:
                if journal_path(self.folder, number).exists():
                    raise
                return  # sealed and gone: the manifest has it by now

    def _stamp_now(self) -> _Stamp | None:
        try:
            stat = (self.folder / MANIFEST_NAME).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
