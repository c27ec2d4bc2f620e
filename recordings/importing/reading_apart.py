"""
Capture files read by another process, which writes their raw frames while this one makes messages of them.

What it does is most of what an import does beside the protocol: decompressing, cutting lines, merging files, compressing
the `raw` table. It finds the ends of segments for itself, by the same rule, so what is written is the same.

`python -m recordings.importing.reading_apart` reads what it shall do as one line of JSON. It answers with a head of JSON,
batches of frames after some of these, and at the end what is to be said of the files. It ends with its input.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NoReturn, Self

import msgspec
import pyarrow as pa

from recordings.columns.free_memory import keep_freed_memory
from recordings.format.manifest import InputFile, TableFile
from recordings.format.parquet_options import Compression
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.importing.captured_frames import CapturedFrames
from recordings.importing.segment_cuts import SegmentCuts
from recordings.sealing.raw_writer import RawFile
from recordings.states.normalizer import Normalizer
from recordings.storage.child_environment import child_environment, end_with_input, module_command
from recordings.storage.crash_points import this_is
from toolkit.errors import ImportFailed
from toolkit.gc_tuning import rare_collections
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["ProcessRefused", "RawApart", "ReadingApart", "ReadingTask", "main"]

#: Lengths of the head and of what comes after it.
_LENGTHS: Final = struct.Struct("<IQ")
#: Batches that wait for the protocol: a few MiB each.
_WAITING_MAX: Final = 3
_PIPE_BYTES: Final = 1 << 20


class ReadingTask(msgspec.Struct, kw_only=True):
    """
    What is read, and how its frames are written.

    Attributes:
        folder: The recording.
        venue: Venue whose frames they are.
        paths: The files.
        line_format: See `ImportOptions`.
        time_unit: See there.
        metadata: Replies of the venue by request name, which go first.
        segment_frames: See there.
        segment_bytes: See there.
        compression: See there.
        compiled: See there.
    """

    folder: str
    venue: str
    paths: list[str]
    line_format: str
    time_unit: str | None
    metadata: list[tuple[str, bytes]]
    segment_frames: int
    segment_bytes: int
    compression: Compression
    compiled: bool | None


class _Said(msgspec.Struct, omit_defaults=True):
    """
    What the process says.

    Attributes:
        bytes_read: Bytes of the files read so far, with a batch.
        raw: Raw table of the next segment that has one.
        inputs: Entries of the manifest for the files; the last that it says.
        failed: Reason why it cannot go on; likewise.
        errno: Number of the error of the system that it is, and the file that was refused.
        path: See there.
    """

    bytes_read: int = 0
    raw: TableFile | None = None
    inputs: list[InputFile] | None = None
    failed: str = ""
    errno: int = 0
    path: str = ""


_decode = msgspec.json.Decoder(_Said).decode
_encode = msgspec.json.encode


class ProcessRefused(Exception):
    """The system has no process, or no memory for one."""


class ReadingApart:
    """
    The process, from the side of who takes the frames. A context: it does not outlive the block.

    Entering it raises ProcessRefused if there can be none.

    Args:
        task: Its work.

    Attributes:
        bytes_read: Bytes of the files read when the last batch was made.
        inputs: Entries of the manifest for the files, once all batches have come.
    """

    def __init__(self, task: ReadingTask) -> None:
        self._task = task
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._batches: queue.SimpleQueue[tuple[int, pa.RecordBatch] | BaseException | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_WAITING_MAX)
        #: Raw tables by segment, those that are still to come among them.
        self._tables: list[Future[TableFile]] = []
        self._table_count = 0
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._is_over = self._is_complete = False
        self.bytes_read = 0
        self.inputs: list[InputFile] = []

    def __enter__(self) -> Self:
        self._process = process = _started()
        _widen(process.stdout)
        self._thread = threading.Thread(target=self._listen, args=(process,), name="reading apart", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; whoever waits for something of it waits no longer. May be called twice."""
        self._is_over = True
        if self._process is not None:
            self._process.kill()
        self._room.release(_WAITING_MAX)
        if self._thread is not None:
            self._thread.join()
        if self._process is not None:
            with self._process:
                pass
        if not self._is_complete:
            self._fail(ImportFailed("the import was given up"))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """
        The frames as rows of the `raw` table.

        Raises:
            ImportFailed: A file cannot be read, or the process has ended.
            OSError: The disk refused what it wrote.
        """
        while (said := self._batches.get()) is not None:
            if isinstance(said, BaseException):
                raise said
            self.bytes_read, batch = said
            self._room.release()
            yield batch

    def table(self, number: int) -> TableFile:
        """The raw table of a segment, once it is written. Raises as `batches` does."""
        return self._table(number).result()

    def _table(self, number: int) -> Future[TableFile]:
        with self._lock:
            while len(self._tables) <= number:
                self._tables.append(Future())
                if self._failure is not None:
                    self._tables[-1].set_exception(self._failure)
            return self._tables[number]

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        try:
            if process.stdin is not None and isinstance(process.stdout, FileIO):  # unbuffered, as it is started
                with contextlib.suppress(BrokenPipeError):  # how it ended is said below
                    _write(process.stdin, _encode(self._task) + b"\n")
                while self._take(process.stdout):
                    pass
        except BaseException as exc:  # noqa: BLE001  # whatever it is, somebody waits for it
            self._fail(exc)
        self._batches.put(None)

    def _take(self, stream: FileIO) -> bool:
        """What it says next; whether more is to come."""
        lengths = _read(stream, _LENGTHS.size)
        if lengths is None:
            raise self._end()
        head_bytes, batch_bytes = _LENGTHS.unpack(lengths)
        head, content = _read(stream, head_bytes), _read(stream, batch_bytes)
        if head is None or content is None:
            raise self._end()
        said = _decode(head)
        if said.errno:
            raise OSError(said.errno, said.failed, said.path or None)
        if said.failed:
            raise ImportFailed(said.failed)
        if batch_bytes:
            self._room.acquire()
            if self._is_over:
                return False
            batch = pa.ipc.read_record_batch(content, TABLES[RAW_TABLE])
            self._batches.put((said.bytes_read, batch))
        elif said.raw is not None:
            self._table(self._table_count).set_result(said.raw)
            self._table_count += 1
        if said.inputs is None:
            return True
        self.inputs = said.inputs
        self._is_complete = True
        return False

    def _end(self) -> ImportFailed:
        """It has ended, and not by itself."""
        status = self._process.wait() if self._process is not None else 0
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return ImportFailed(
            f"the process that reads the files ended before them ({how}): import again, with `--jobs 1` if memory is short"
        )

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or exc
            for table in self._tables[self._table_count :]:
                if not table.done():
                    table.set_exception(self._failure)
        self._batches.put(exc)


class RawApart:
    """The raw table of one segment, as `SegmentWriter` has it, that the other process writes."""

    #: They are counted by who makes messages of the frames.
    imprecise_count = 0

    def __init__(self, reading: ReadingApart, number: int) -> None:
        self._reading = reading
        self._number = number

    def add(self, frame: Any) -> None:
        """It has them already."""

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Likewise."""

    def finish(self) -> TableFile:
        """What the manifest says of the file, once it is complete and synced."""
        return self._reading.table(self._number)

    def abort(self) -> None:
        """What is left of it goes with the recording."""


def _started() -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            module_command("recordings.importing.reading_apart"),
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Ctrl-C in a terminal reaches the whole group: this process ends it then.
            start_new_session=True,
        )
    except OSError as exc:
        raise ProcessRefused(exc.strerror) from exc


def _write(stream: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[stream.write(view) :]


def _read(stream: FileIO, count: int) -> Any:
    """So many bytes; None where the stream ends before them."""
    buffer = pa.allocate_buffer(count)
    view, at = memoryview(buffer), 0
    while at < count:
        got = stream.readinto(view[at:])
        if not got:
            return None
        at += got
    return buffer


def _widen(stream: IO[bytes] | None) -> None:
    """Fewer turns of reading and writing for a batch, where the system allows for that."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        if stream is not None:
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


class _Reader:
    """The other side: reads, writes, and says so."""

    def __init__(self, task: ReadingTask, say: Callable[..., None], executor: ThreadPoolExecutor) -> None:
        self._task = task
        self._say = say
        self._executor = executor
        self._number = 0
        self._raw: RawFile | None = None

    def run(self) -> None:
        task = self._task
        captured = CapturedFrames(
            task.venue, list(map(Path, task.paths)), task.line_format, task.time_unit, task.metadata
        )
        cuts = SegmentCuts(task.segment_frames, task.segment_bytes)
        for batch in captured.batches(self._is_compiled()):
            # First, so that the other one has something to do.
            self._say(_Said(captured.bytes_read), batch)
            for is_next, part in cuts.parts(batch):
                if is_next:
                    self._finish()
                if self._raw is None:
                    self._raw = RawFile(Path(task.folder), self._number, task.compression, self._executor)
                self._raw.add_batch(part)
        self._finish()
        self._say(_Said(inputs=captured.inputs()))

    def _finish(self) -> None:
        if self._raw is not None:
            self._say(_Said(raw=self._raw.finish()))
            self._raw = None
            self._number += 1

    def _is_compiled(self) -> Callable[[], bool]:
        """Whether compiled code may be used, from when there is some."""
        protocol = find_venue(self._task.venue).make_protocol(ProtocolOptions())
        normalizer = Normalizer({self._task.venue: protocol})
        is_there = self._task.compiled is True and bool(normalizer.kernel_sets)

        def look() -> bool:
            nonlocal is_there
            is_there = is_there or (self._task.compiled is None and normalizer.is_compiled)
            return is_there

        return look


def main() -> NoReturn:
    """Do what the first line of the input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    this_is("reader")
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=ReadingTask)
    end_with_input()
    # What somebody prints must not come among what is said.
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    keep_freed_memory()

    def say(said: _Said, batch: pa.RecordBatch | None = None) -> None:
        head = _encode(said)
        content: Any = batch.serialize() if batch is not None else b""
        out.write(_LENGTHS.pack(len(head), len(content)) + head)
        out.write(content)
        out.flush()

    status = 1
    with contextlib.suppress(BrokenPipeError), rare_collections():
        try:
            with ThreadPoolExecutor(1) as executor:
                _Reader(task, say, executor).run()
            status = 0
        except ImportFailed as exc:
            say(_Said(failed=str(exc)))
        except BrokenPipeError:
            raise
        except OSError as exc:
            path = exc.filename if isinstance(exc.filename, str) else ""
            say(_Said(failed=exc.strerror or str(exc), errno=exc.errno or errno.EIO, path=path))
    os._exit(status)


if __name__ == "__main__":
    main()
