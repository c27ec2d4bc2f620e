"""
Closed journals to Parquet: normalize, sort, write, hash, sync, rename, then the manifest, then the journal goes.

Each step may be the last one before a crash. Until the manifest names a segment, its journal is the truth and the
files are remade; after that the files are, and a journal still there is left over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pyarrow as pa

from recordings.format.file_names import next_serial
from recordings.format.manifest import Manifest, read_manifest, write_manifest
from recordings.format.rows_to_messages import frames
from recordings.format.schema import TABLES
from recordings.journal.holes import Moment, lost_frames, moment_of, moment_of_row, unbroken
from recordings.journal.journal_reader import JournalReader, journal_path
from recordings.reading.raw_frames import last_moment
from recordings.reading.resume_state import resume_at_end, write_resume
from recordings.sealing.leftovers import set_aside_unread
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.checkpoints import checkpoint_name, is_worth_keeping, write_checkpoint
from recordings.states.normalizer import Normalizer
from recordings.states.seek_points import points_name
from recordings.storage.atomic_files import sync_folder
from recordings.storage.crash_points import step
from recordings.storage.set_aside import move_aside
from toolkit.errors import RecordingDamaged, TickdeckError
from toolkit.frames import Frame
from toolkit.gc_tuning import rare_collections

__all__ = ["Sealer"]

#: Compiling takes some 20 s, once; sealing a journal of this size takes as long without.
COMPILE_BYTES: Final = 512 << 20
#: Loading what was compiled takes half a second, in each process; sealing journals of this size takes as long without.
LOAD_BYTES: Final = 8 << 20


class Sealer:
    """
    Seals the segments of one recording, one after the other.

    It keeps the state of protocols and books from one segment to the next; the first time it takes them from the
    manifest's checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._normalizer: Normalizer | None = None
        #: Whether its state is in no sound file.
        self._is_remade = False
        #: Bytes of the journals that were sealed without compiled code.
        self._plain_bytes = 0

    @property
    def normalizer(self) -> Normalizer:
        """The state after the last sealed segment."""
        if self._normalizer is None:
            manifest = read_manifest(self._folder)
            self._normalizer = Normalizer.for_sources(manifest.sources)
            self._is_remade = resume_at_end(self._folder, manifest, self._normalizer)
        return self._normalizer

    def seal(
        self, number: int, extra: Iterable[Frame] = (), *, status: str | None = None, is_again: bool = False
    ) -> Manifest:
        """
        Seal a segment's journal, as far as it is sound, and remove it.

        Args:
            number: The segment; all before it must be sealed.
            extra: Frames to put after those of the journal.
            status: Status that the manifest has from then on; None to leave it.
            is_again: The try before failed, or its process died: without compiled code, and over what that left.

        Raises:
            RecordingDamaged: The journal or the manifest does not allow it.
            OSError: The disk does not; the journal is then as it was.
        """
        manifest = read_manifest(self._folder)
        if number < len(manifest.segments):
            self._remove_journal(number)
            return manifest
        if number > len(manifest.segments):
            raise RecordingDamaged(
                f"{self._folder} cannot seal segment {number}: expected segment {len(manifest.segments)} first"
            )
        serial = next_serial(manifest)
        self._make_room(serial, is_ours=is_again)
        try:
            self._write(manifest, number, serial, extra, status, is_again=is_again)
        except BaseException:
            self._take_back(number, serial)
            raise
        self._remove_journal(number)
        return manifest

    def last_moment(self, manifest: Manifest, following: pa.RecordBatch) -> Moment:
        """The last moment that is sealed: the first of the recording where nothing is."""
        return last_moment(self._folder, manifest, moment_of_row(following, 0))

    def _write(
        self,
        manifest: Manifest,
        number: int,
        serial: int,
        extra: Iterable[Frame],
        status: str | None,
        *,
        is_again: bool,
    ) -> None:
        normalizer = self.normalizer
        if self._is_remade:
            manifest.resume = write_resume(self._folder, manifest, normalizer)
            write_manifest(self._folder, manifest)  # a journal without frames writes none
            self._is_remade = False
        before = manifest.resume if manifest.segments else None
        is_kept = before is not None and is_worth_keeping(manifest.segments, before.bytes)
        checkpoint = before if is_kept else None
        writer = SegmentWriter(self._folder, number, normalizer, checkpoint, serial=serial)
        reader = JournalReader(journal_path(self._folder, number))
        try:
            self._fill(manifest, writer, reader, extra, is_plain=is_again)
            write = writer.cut()
            entry = write() if write is not None else None
        except BaseException:
            writer.abort()
            raise
        set_aside_unread(self._folder, reader)  # before the manifest: from then on the journal is superfluous
        if entry is not None:
            manifest.segments.append(entry)
            step("tables-written")
            manifest.resume = write_checkpoint(self._folder, serial + 1, normalizer)
            step("checkpoint-written")
            manifest.symbols = dict(sorted({**manifest.symbols, **writer.symbols}.items()))
            manifest.digest = normalizer.chain.hexdigest()
        if status is not None:
            manifest.status = status
        if entry is not None or status is not None:
            write_manifest(self._folder, manifest)
            step("manifest-written")
        if entry is not None and before is not None and not is_kept:
            (self._folder / before.path).unlink(missing_ok=True)  # nothing names it any more
            step("state-removed")

    def _files(self, serial: int) -> list[Path]:
        """Whatever stands where a segment's files will."""
        names = [f"{table}/{serial:06d}.parquet" for table in TABLES]
        names += [points_name(serial), checkpoint_name(serial + 1)]
        return [path for name in names if (path := self._folder / name).is_file()]

    def _make_room(self, serial: int, *, is_ours: bool) -> None:
        """No manifest names these: of a sealing that was interrupted, or somebody else's."""
        for path in self._files(serial):
            if is_ours:
                path.unlink()  # else a process that dies again and again fills the disk with what it leaves
            else:
                move_aside(self._folder, path)

    def _take_back(self, number: int, serial: int) -> None:
        """Sealing failed: remove what it made, which a full disk has no room for, and be ready to try again."""
        self._normalizer = None  # it has come further than the manifest
        with contextlib.suppress(TickdeckError, OSError):
            if len(read_manifest(self._folder).segments) <= number:
                for path in self._files(serial):
                    path.unlink()

    def _fill(
        self,
        manifest: Manifest,
        writer: SegmentWriter,
        reader: JournalReader,
        extra: Iterable[Frame],
        *,
        is_plain: bool,
    ) -> None:
        by_batch = not is_plain and self._is_worth_compiling(reader.path) and self.normalizer.compile()
        with rare_collections():
            last = None
            for batch in reader.batches():
                for rows in unbroken(batch):
                    last = self._fill_hole(manifest, writer, rows, last)
                    if by_batch:
                        writer.add_batch(rows)
                    else:
                        for frame in frames(rows):
                            writer.add(frame)
            for frame in extra:
                writer.add(frame)
        if by_batch:
            self.normalizer.note_compiled()

    def _is_worth_compiling(self, journal: Path) -> bool:
        if self.normalizer.takes_batches:
            return True  # it is loaded
        size = journal.stat().st_size
        if size >= COMPILE_BYTES or (self.normalizer.is_compiled and self._plain_bytes + size >= LOAD_BYTES):
            return True
        self._plain_bytes += size
        return False

    def _fill_hole(
        self, manifest: Manifest, writer: SegmentWriter, rows: pa.RecordBatch, last: pa.RecordBatch | None
    ) -> pa.RecordBatch:
        """Put into the place of missing frames what states that they are; the rows, as the last ones then."""
        before = manifest.segments[-1].capture_seq_last if manifest.segments else -1
        expected = before + 1 + writer.frame_count
        first = rows.column("capture_seq")[0].as_py()
        if first < expected:
            raise RecordingDamaged(f"{self._folder}: the journal goes on with frame {first}, expected {expected}")
        if first > expected:
            ended = (
                moment_of(frames(last.slice(len(last) - 1))[0])
                if last is not None
                else self.last_moment(manifest, rows)
            )
            for frame in lost_frames(ended, moment_of(frames(rows.slice(0, 1))[0])):
                writer.add(frame)
        return rows

    def _remove_journal(self, number: int) -> None:
        path = journal_path(self._folder, number)
        if path.exists():
            path.unlink()
            sync_folder(path.parent)
            step("journal-removed")
