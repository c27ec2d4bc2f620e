"""
Writing a journal: a thread of its own takes frames to the file, and the loop that receives never waits for the disk.

The file is held open until its segment is sealed. So a journal that somebody removes, or replaces, is written again
under its name from the open file; nothing of it is lost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyarrow as pa

from recordings.format.frames_to_rows import STREAM_BEGIN, STREAM_END, batch_checksum, batch_message, frames_to_batch
from recordings.format.manifest import read_manifest
from recordings.journal.sign_of_life import PLACE, begin_of, stamp
from recordings.storage.atomic_files import make_folder, sync_folder, sync_handle, temporary_path
from recordings.storage.crash_points import step
from recordings.storage.set_aside import move_aside
from toolkit.errors import BackpressureError, RecordingError
from toolkit.frames import Frame

__all__ = [
    "FLUSH_BYTES",
    "JOURNAL_FOLDER",
    "PENDING_BYTES_MAX",
    "JournalWriter",
    "NoticeCallback",
    "WrittenCallback",
    "journal_path",
]

#: Called with a batch once the operating system has it: its first and last frame's number, and the bytes of it in the
#: file.
WrittenCallback = Callable[[int, int, bytes], None]
#: Called with one line that an operator should know.
NoticeCallback = Callable[[str], None]

JOURNAL_FOLDER: Final = "journal"
#: A batch is written at this many payload bytes even before its time.
FLUSH_BYTES: Final = 1 << 20
#: Payload bytes that may wait for the disk.
PENDING_BYTES_MAX: Final = 64 << 20
#: A journal is copied in pieces of this size.
_COPY_BYTES: Final = 4 << 20


def journal_path(folder: Path, segment: int) -> Path:
    """The journal of a segment."""
    return folder / JOURNAL_FOLDER / f"{segment:06d}.arrows"


def _nothing(_: str) -> None:
    """Notify no one."""


class JournalWriter:
    """
    Writes frames to the journal of one segment, in a thread of its own.

    `append` keeps a frame until `flush`, or until `flush_bytes` of them have come, and never waits for the disk. What
    the disk refuses is raised by the next call. Nothing that was written before is lost by that, and nothing is
    written after it: what follows a hole cannot be read.

    `append`, `flush`, `drain`, `finish` and `close` are for the thread that appends, one after the other. `settle`,
    `sync` and `look` may be called in any other thread at any time.

    Args:
        folder: The recording.
        segment: Number of the segment.
        flush_bytes: Payload bytes at which frames go to the thread at once.
        pending_bytes_max: Payload bytes held in memory while the disk is too slow.
        opened_ns: The time, ns; 0 for a journal that does not say when its recorder was alive.
        after: The journal of the segment before. With one the file is opened by the thread, not by the constructor;
            nothing is written until the one before is written to its end, and nothing at all if it could not be; and
            nothing is synced before that one is.
        on_written: Called in the writing thread after each batch, in order over all journals of a session. If it
            raises, it is not called again, and `on_notice` is called.
        on_notice: Called in any thread with one line that an operator should know.

    Attributes:
        written_count: Frames that the operating system has.
        byte_count: Size of the file.
        restored_count: How often the file was written again because it had been removed or replaced.
    """

    def __init__(
        self,
        folder: Path,
        segment: int,
        *,
        flush_bytes: int = FLUSH_BYTES,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        opened_ns: int = 0,
        after: JournalWriter | None = None,
        on_written: WrittenCallback | None = None,
        on_notice: NoticeCallback = _nothing,
    ) -> None:
        self._folder = folder
        self._segment = segment
        self._on_written = on_written
        self._on_notice = on_notice
        self.path = journal_path(folder, segment)
        self._flush_bytes = flush_bytes
        self._pending_bytes_max = pending_bytes_max
        self._opened_ns = opened_ns
        self._frames: list[Frame] = []
        self._frame_bytes = 0
        self._batch_number = 0
        # What was handed over is counted by the thread that appends, what was written by the thread that writes.
        self._handed_count = 0
        self._handed_bytes = 0
        self._written_bytes = 0
        self.written_count = 0
        self.byte_count = 0
        self.restored_count = 0
        self._failure: OSError | RecordingError | None = None
        self._restoring_failed = ""
        self._handle = -1
        self._before = after
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._last: Future[None] | None = None
        self._is_finished = False
        self._is_named = False
        #: Its last batch is with the operating system, or never will be; and it is on the disk, likewise.
        self._written, self._synced = threading.Event(), threading.Event()
        self._handing_lock = threading.Lock()
        # Apart, because a sync may take seconds; closing the file takes both.
        self._handle_lock, self._place_lock = threading.Lock(), threading.Lock()
        if after is None:
            self._open()
        else:
            self._last = self._thread.submit(self._open_after, after)

    @property
    def frame_count(self) -> int:
        """Frames appended."""
        return self._handed_count + len(self._frames)

    @property
    def pending_bytes(self) -> int:
        """Payload bytes that the operating system does not have yet, those of the journal before included."""
        before = self._before
        others = 0 if before is None or before._written.is_set() else before.pending_bytes
        return others + self._handed_bytes + self._frame_bytes - self._written_bytes

    @property
    def is_written(self) -> bool:
        """Whether it was written to its end, or never will be."""
        return self._written.is_set()

    # -- for the thread that appends -----------------------------------------------------------------------------------

    def append(self, frame: Frame) -> None:
        """
        Take a frame down.

        Raises OSError if the disk refused an earlier one, RecordingError if it could not be written for another
        reason, BackpressureError if the disk is too slow.
        """
        if self._failure is not None:
            raise self._failure
        self._frames.append(frame)
        self._frame_bytes += len(frame.payload)
        if self._frame_bytes >= self._flush_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand what was appended to the thread that writes, as one batch."""
        if self._failure is not None:
            raise self._failure
        if not self._frames:
            return
        if self.pending_bytes > self._pending_bytes_max:
            raise BackpressureError(
                f"{self.path}: {self.pending_bytes >> 20} MiB wait for the disk, expected at most "
                f"{self._pending_bytes_max >> 20} MiB: it cannot follow; record less, or to a faster disk"
            )
        self._hand_over()

    def _hand_over(self) -> None:
        # Taking the frames and queueing them is one act: of two threads between the two, the later frames could be
        # written first.
        with self._handing_lock:
            frames_, size = self._frames, self._frame_bytes
            if frames_:
                self._last = self._thread.submit(self._write_batch, frames_, size)
                self._frames, self._frame_bytes = [], 0
                self._handed_count += len(frames_)
                self._handed_bytes += size

    def drain(self) -> None:
        """Write what is left, however long that takes. Raises as `append` does."""
        self._hand_over()
        self._wait()

    def _wait(self) -> None:
        last = self._last
        if last is not None:
            last.result()
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """
        Write what is left, end the stream and sync it; the file stays open for `look`. May be called twice.

        Raises as `append` does; the file then ends with the last batch that was taken whole.
        """
        if self._is_finished:
            return
        try:
            self.drain()
            self._thread.submit(self._end).result()
            self.sync()
        except BaseException as exc:  # noqa: BLE001  # raised again, as one that says what became of the journal
            self._fail(exc)
            raise self._failure or exc from None
        finally:
            self._is_finished = True
            self._thread.shutdown()
            self._written.set()
            self._synced.set()
            self._before = None

    def close(self) -> None:
        """As `finish`, and let the file go. May be called twice, and after a failure."""
        try:
            self.finish()
        finally:
            self.release()

    def release(self) -> None:
        """Let the finished file go: its segment is sealed, or it is not looked after any more."""
        with self._handle_lock, self._place_lock:  # another thread may be at work on it
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    # -- for any thread ----------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Wait until what was handed over before is written, then `sync`. Raises as `append` does."""
        self._wait()
        return self.sync()

    def sync(self) -> bool:
        """
        Make what was written survive a power cut; False where the file system cannot do that. May take long.

        The journal before this one is on the disk first.
        """
        before = self._before
        if before is not None:
            before._synced.wait()
            self._before = None
        with self._handle_lock:
            if self._handle < 0:
                return True
            can = sync_handle(self._handle)
            if not self._is_named:
                # Not when it is opened: frames are written meanwhile, and do not wait for the disk.
                can = sync_folder(self.path.parent) and can
                self._is_named = True
            return can

    def look(self, now_ns: int = 0) -> None:
        """
        Leave on disk that the recorder lived until now, and see that the file is still there under its name.

        If it is not, it is put back, or the next call of `append` raises. Not to be called by two threads at a time.

        Args:
            now_ns: The time, ns; 0 where the file says nothing of it.
        """
        if not self._is_finished:
            with suppress(OSError):  # a disk that says so elsewhere
                os.utime(self.path)
        with suppress(OSError), self._place_lock:
            if self._handle < 0:
                return
            if self._is_in_place():
                # Its size was looked at: stamps in a file that was emptied would hide that.
                if self._opened_ns and now_ns and self.byte_count and not self._is_finished:
                    os.pwrite(self._handle, stamp(self._opened_ns, now_ns), PLACE)
                return
        if self._is_finished:
            self._keep_in_place()
            return
        with suppress(RuntimeError):  # finished meanwhile
            self._thread.submit(self._keep_in_place).result()

    # -- in the thread that writes -----------------------------------------------------------------------------

    def _open_after(self, before: JournalWriter) -> None:
        try:
            self._open()
        except BaseException as exc:  # noqa: BLE001  # the next append raises it
            self._fail(exc)
        before._written.wait()
        self._failure = self._failure or before._failure

    def _open(self) -> None:
        make_folder(self.path.parent)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            self._write(begin_of(self._opened_ns) if self._opened_ns else STREAM_BEGIN)
        except BaseException:
            self.release()
            raise
        step("journal-opened")

    def _write_batch(self, batch_frames: list[Frame], size: int) -> None:
        if self._failure is not None:
            return  # a batch after one that is missing would make a hole
        try:
            batch = frames_to_batch(batch_frames)
            metadata = {b"crc32": b"%d" % batch_checksum(batch), b"batch": b"%d" % self._batch_number}
            message = batch_message(batch, metadata)
            step("journal-batch-made")
            self._check_size()
            self._write(message)
            step("journal-batch-written")
        except BaseException as exc:  # noqa: BLE001  # out of memory, say: the next append raises it
            self._fail(exc)
            return
        self._batch_number += 1
        self.written_count += len(batch_frames)
        self._written_bytes += size
        if self._on_written is not None:
            try:
                self._on_written(batch_frames[0].capture_seq, batch_frames[-1].capture_seq, message.to_pybytes())
            except Exception as exc:  # noqa: BLE001  # followers can read the folder; recording goes on
                self._on_written = None
                self._on_notice(f"followers are not notified of new frames any more ({type(exc).__name__}: {exc})")

    def _fail(self, exc: BaseException) -> None:
        if not isinstance(exc, (OSError, RecordingError)):
            why = f"{type(exc).__name__}: {exc}".removesuffix(": ")
            cause = exc
            exc = RecordingError(f"{self.path}: a batch could not be written ({why}): stopped with what it has")
            exc.__cause__ = cause
        self._failure = self._failure or exc

    def _end(self) -> None:
        self._check_size()
        self._write(STREAM_END)
        # The next journal's batches need not wait for the disk: for the operating system they are after these.
        self._written.set()
        self._keep_in_place(is_last=True)

    def _write(self, content: bytes | pa.Buffer) -> None:
        view = memoryview(content)
        while view:
            written = os.write(self._handle, view)
            view = view[written:]
            self.byte_count += written

    def _check_size(self) -> None:
        """See that the file has not been cut; before every write, which would hide it under a hole of zeros."""
        size = os.fstat(self._handle).st_size
        if size < self.byte_count:
            raise RecordingError(
                f"{self.path} was cut from {self.byte_count:,} to {size:,} bytes while it was recorded: stopped with what "
                "it has; see who writes there, then record again"
            )

    def _is_in_place(self) -> bool:
        """Whether the file has its name and its size. Safe in any thread: the size is counted after it has grown."""
        size_min = self.byte_count
        held = os.fstat(self._handle)
        if held.st_size < size_min:
            return False
        try:
            named = self.path.lstat()
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def _is_sealed(self) -> bool:
        """
        Whether a journal that is gone went because its segment is sealed: the manifest in force names it then.

        Another process removes it, and this one hears of that later.
        """
        if not self._is_finished:
            return False
        try:
            segments = read_manifest(self._folder).segments
        except (OSError, RecordingError):
            return False
        return any(segment.number == self._segment for segment in segments)

    def _keep_in_place(self, *, is_last: bool = False) -> None:
        """
        Write the file again under its name, unless it is there.

        What keeps it from that is reported once and tried again at the next look; `is_last` raises it instead.
        """
        try:
            with self._place_lock:
                if self._handle >= 0 and not self._is_in_place() and not self._is_sealed():
                    self._restore()
                self._restoring_failed = ""
        except (OSError, RecordingError) as exc:
            if is_last:
                raise
            if isinstance(exc, RecordingError) and not self._is_finished:
                self._fail(exc)
                return
            why = (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)
            if why != self._restoring_failed:
                self._restoring_failed = why
                self._on_notice(
                    f"{self.path} was removed while it was recorded, and cannot be written again ({why}): its frames are "
                    "in the open file only; tried again until it is sealed"
                )

    def _restore(self) -> None:
        """Copy the open file, which has lost its name, to where it belongs, and go on in the copy."""
        self._check_size()
        if not self._folder.is_dir():
            raise RecordingError(f"{self._folder} was removed while it was recorded into: stopped")
        make_folder(self.path.parent)
        what = "removed"
        if os.path.lexists(self.path):
            moved = move_aside(self._folder, self.path)
            what = f"replaced by another file (now {moved})"
        temporary = temporary_path(self.path)
        copy = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            offset = 0
            while offset < self.byte_count:
                view = memoryview(os.pread(self._handle, min(_COPY_BYTES, self.byte_count - offset), offset))
                if not view:
                    raise RecordingError(f"{self.path} was cut to {offset:,} bytes while it was recorded: stopped")
                offset += len(view)
                while view:
                    view = view[os.write(copy, view) :]
            sync_handle(copy)
            temporary.replace(self.path)
            # The number of the handle stays, so a sync that is under way in another thread ends on the old file.
            os.dup2(copy, self._handle, inheritable=False)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(copy)
        sync_folder(self.path.parent)
        self.restored_count += 1
        self._restoring_failed = ""
        self._on_notice(
            f"{self.path} was {what} while it was recorded: written again from the open file, {offset:,} bytes, and "
            "nothing is lost; see who removes files there"
        )
