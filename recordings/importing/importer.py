"""Capture files to a recording like any other: the frames run through the venue's protocol as if they were received."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pyarrow as pa

from recordings.columns.free_memory import keep_freed_memory
from recordings.format.manifest import Manifest, Segment, SourceInfo, TableFile, write_manifest
from recordings.format.parquet_options import SMALL, Compression
from recordings.format.software import SOFTWARE
from recordings.importing.captured_frames import CapturedFrames
from recordings.importing.reading_apart import ProcessRefused, RawApart, ReadingApart, ReadingTask
from recordings.importing.segment_cuts import SegmentCuts
from recordings.importing.venue_check import check_venue
from recordings.queries.several_recordings import refuse_same
from recordings.sealing.leftovers import take_back
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.checkpoints import encode_checkpoint, weight_of, write_content
from recordings.states.compiling_beside import CompilingBeside, note_of_compiling
from recordings.states.normalizer import Normalizer
from recordings.states.seek_points import SHRINKS, is_worth_keeping
from recordings.storage.atomic_files import disk_refusals, make_folder
from recordings.storage.child_environment import usable_processors
from recordings.storage.lock import LOCK_NAME, FolderLock
from toolkit.digest import DIGEST_VERSION
from toolkit.errors import ConfigError, ImportFailed
from toolkit.frames import Frame
from toolkit.gc_tuning import rare_collections
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue

__all__ = ["ImportOptions", "import_capture", "note_before"]

#: A segment is sealed at this many frames or payload bytes; an import holds two of them in memory.
SEGMENT_FRAMES: Final = 500_000
SEGMENT_BYTES: Final = 64 << 20
#: Bytes of files from which on another process reads them, if nothing else is said.
APART_BYTES: Final = 64 << 20
#: Processors from which on it does. One process with its threads is at work on nearly two.
APART_PROCESSORS: Final = 3

Progress = Callable[[int, int], None]


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an import shall do.

    Attributes:
        venue: Venue whose frames they are.
        line_format: One of `capture_files.LINE_FORMATS`.
        time_unit: Unit of integer times; None to tell it from the data.
        metadata: File with the venue's metadata replies; None for none.
        segment_frames: Frames after which a segment is sealed.
        segment_bytes: Payload bytes after which a segment is sealed.
        compression: How well.
        threads: Whether other threads compress and write; without, one thread does everything.
        compiled: Whether compiled code takes the frames, where the venue has such; None to use it if it was compiled
            before and, if the files are not small, from when another process has compiled it. What is written is the
            same.
        jobs: How many processes do it, of which two are used at most: one reads the files and writes raw frames, the other
            makes messages and writes them. What is written is the same. None for two where the files have 64 MiB or
            more, threads may be used, and three processors too; else one, whose threads take nearly two.
    """

    venue: str
    line_format: str
    time_unit: str | None = None
    metadata: Path | None = None
    segment_frames: int = SEGMENT_FRAMES
    segment_bytes: int = SEGMENT_BYTES
    compression: Compression = SMALL
    threads: bool = True
    compiled: bool | None = None
    jobs: int | None = None


@contextlib.contextmanager
def _new_recording(folder: Path) -> Iterator[None]:
    """The folder of a new recording, made and locked within the block. Raises ConfigError if anything is in it already."""
    _check_empty(folder)
    try:
        make_folder(folder, parents=True)
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be made: {exc.strerror}") from None
    with FolderLock(folder):
        _check_empty(folder)  # another import may have come first
        try:
            with disk_refusals(folder, "nothing was imported; see to the disk, then import again"):
                yield
        except BaseException:
            take_back(folder)  # so that it can be run again
            raise


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(path.name != LOCK_NAME for path in folder.iterdir())):
        raise ConfigError(f"{folder} already exists and is not an empty folder: name another one")


def import_capture(
    paths: Sequence[Path], folder: Path, options: ImportOptions, progress: Progress | None = None
) -> Manifest:
    """
    Import capture files, merged by receive time, into a new recording.

    Within one file the order of its lines is kept even where its clock went back; between files the earlier receive
    time goes first, at equal times the file named first. Damaged lines are kept in `raw` with the time of the line
    before them.

    Args:
        paths: The files, of one session.
        folder: The recording; must not exist or be empty.
        options: See `ImportOptions`.
        progress: Called now and then with bytes read and bytes in all.

    Raises:
        ImportFailed: A file cannot be read, or no line of it can.
        ConfigError: Unknown venue or format, a file that stands there twice, or the folder is taken.
        RecordingLocked: Another process writes into it.
    """
    spec = find_venue(options.venue)
    refuse_same(list(map(Path, paths)), "file")
    protocol = spec.make_protocol(ProtocolOptions())
    metadata = _metadata_replies(options)
    captured = CapturedFrames(spec.name, paths, options.line_format, options.time_unit, metadata)
    keep_freed_memory()
    with rare_collections():
        for file in captured.files:
            file.check()
            check_venue(file, spec)
        with _new_recording(folder):
            return _import(captured, metadata, folder, options, protocol, progress or (lambda *_: None))


def _import(
    captured: CapturedFrames,
    metadata: list[tuple[str, bytes]],
    folder: Path,
    options: ImportOptions,
    protocol: VenueProtocol,
    progress: Progress,
) -> Manifest:
    manifest = Manifest(software=SOFTWARE, origin="import", digest_version=DIGEST_VERSION)
    manifest.sources = [SourceInfo(protocol.venue, protocol.version)]
    normalizer = Normalizer({protocol.venue: protocol})
    paths = [file.path for file in captured.files]
    total = sum(path.stat().st_size for path in paths)
    with contextlib.ExitStack() as stack:
        reading = None
        if _jobs(options, total) > 1:
            task = ReadingTask(
                folder=str(folder),
                venue=protocol.venue,
                paths=list(map(str, paths)),
                line_format=options.line_format,
                time_unit=options.time_unit,
                metadata=metadata,
                segment_frames=options.segment_frames,
                segment_bytes=options.segment_bytes,
                compression=options.compression,
                compiled=options.compiled,
            )
            with contextlib.suppress(ProcessRefused):  # then one process does everything
                reading = stack.enter_context(ReadingApart(task))
        compiled = stack.enter_context(_Compiled(normalizer, options, total))
        sealer = stack.enter_context(_Sealer(folder, manifest, normalizer, options, reading))
        if reading is not None:
            for batch in reading.batches():
                compiled.look()
                sealer.add_batch(batch)
                progress(reading.bytes_read, total)
        # Lines of other forms take longer by the block before there is compiled code.
        elif _has_blocks(options) or compiled.is_used or compiled.is_coming:
            for batch in captured.batches(compiled.look):
                sealer.add_batch(batch)
                progress(captured.bytes_read, total)
        else:
            for frame in captured.frames():
                sealer.add(frame)
                if frame.capture_seq % 4096 == 0:
                    progress(captured.bytes_read, total)
    progress(total, total)
    manifest.inputs = captured.inputs() if reading is None else reading.inputs
    manifest.status = "sealed"
    manifest.digest = normalizer.chain.hexdigest()
    manifest.created_ns = manifest.segments[0].ts_recv_first
    write_manifest(folder, manifest)
    return manifest


def _has_blocks(options: ImportOptions) -> bool:
    return options.line_format == "collector" and options.compiled is not False


def _jobs(options: ImportOptions, total_bytes: int) -> int:
    """How many processes, where that is not said."""
    if options.jobs is not None:
        return options.jobs
    is_worth_it = options.threads and total_bytes >= APART_BYTES and usable_processors() >= APART_PROCESSORS
    return 2 if is_worth_it else 1


class _AtOnce(Executor):
    """Runs what it is given where it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _Sealer:
    """
    Writes raw frames in one thread while they are read, and closed segments in another while the next is collected.

    Arrow lets go of the interpreter while it compresses, so the second core does that work.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        normalizer: Normalizer,
        options: ImportOptions,
        reading: ReadingApart | None,
    ) -> None:
        self._folder = folder
        self._cuts = SegmentCuts(options.segment_frames, options.segment_bytes)
        self._reading = reading
        self._manifest = manifest
        self._normalizer = normalizer
        self._compression = options.compression
        self._pool: Executor = ThreadPoolExecutor(1) if options.threads else _AtOnce()
        self._raw_writer = ThreadPoolExecutor(1) if options.threads else None
        self._busy: Future[Segment] | None = None
        self._number = 0
        #: Payload since the last state that was kept, since the last one that was made, and how large that was.
        self._since_bytes = self._untried_bytes = 0
        self._state_weight = 0
        self.writer = self._segment(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        try:
            if exc_type is None:
                self._seal()
                self._wait()
        finally:
            if exc_type is not None and self._reading is not None:
                self._reading.close()  # a segment may wait for a table that it will not write any more
            self._pool.shutdown()
            self.writer.abort()
            if self._raw_writer is not None:
                self._raw_writer.shutdown()

    def _segment(self, checkpoint: TableFile | None) -> SegmentWriter:
        return SegmentWriter(
            self._folder,
            self._number,
            self._normalizer,
            checkpoint,
            compression=self._compression,
            raw_writer=self._raw_writer,
            raw=RawApart(self._reading, self._number) if self._reading is not None else None,
            # Of one thread, so what a segment's end waits for has been done when its turn comes.
            table_writer=self._pool,
            state_weight=self._state_weight,
        )

    def add(self, frame: Frame) -> None:
        """Add the next frame, to a new segment if this one is full."""
        if self._cuts.is_due(len(frame.payload)):
            self.rotate()
        self.writer.add(frame)

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Add the next frames; segments end at the frames at which they would end if these came one by one."""
        for is_next, part in self._cuts.parts(batch):
            if is_next:
                self.rotate()
            self.writer.add_batch(part)

    def rotate(self) -> SegmentWriter:
        """Seal the segment and begin the next one."""
        self._since_bytes += self.writer.payload_bytes
        self._untried_bytes += self.writer.payload_bytes
        self._state_weight = self.writer.state_weight
        self._seal()
        self._number += 1
        checkpoint = None
        if is_worth_keeping(self._untried_bytes, self._state_weight // SHRINKS):
            checkpoint = self._checkpoint()
        self.writer = self._segment(checkpoint)
        return self.writer

    def _checkpoint(self) -> TableFile | None:
        """The state, if it is worth keeping. How large the tables of the segment will be is not known yet."""
        content = encode_checkpoint(self._normalizer)
        self._state_weight = weight_of(content)
        self._untried_bytes = 0
        if not is_worth_keeping(self._since_bytes, len(content)):
            return None
        self._since_bytes = 0
        return write_content(self._folder, self._number, content)

    def _seal(self) -> None:
        write = self.writer.cut()
        self._manifest.symbols = dict(sorted({**self._manifest.symbols, **self.writer.symbols}.items()))
        self._wait()
        if write is not None:
            self._busy = self._pool.submit(write)

    def _wait(self) -> None:
        if self._busy is not None:
            self._manifest.segments.append(self._busy.result())
            self._busy = None


def note_before(options: ImportOptions, total_bytes: int) -> str:
    """One line of what is about to be compiled, or why nothing is, for people; empty where nothing needs to be."""
    if options.compiled is not None:
        return ""
    protocol = find_venue(options.venue).make_protocol(ProtocolOptions())
    return note_of_compiling(Normalizer({options.venue: protocol}), total_bytes)


class _Compiled(CompilingBeside):
    """The same, as the options of an import have it."""

    def __init__(self, normalizer: Normalizer, options: ImportOptions, size: int) -> None:
        super().__init__(normalizer, size)
        self._options = options

    def __enter__(self) -> Self:
        if self._options.compiled is False:
            return self
        if self._options.compiled is None:
            return super().__enter__()
        self.is_used = self._normalizer.compile()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        if kind is None and self.is_used:
            self._normalizer.note_compiled()


def _metadata_replies(options: ImportOptions) -> list[tuple[str, bytes]]:
    """The replies in a metadata file: an object of the venue's request names and its replies."""
    if options.metadata is None:
        return []
    try:
        replies: dict[str, Any] = msgspec.json.decode(
            _unmarked(options.metadata.read_bytes()), type=dict[str, msgspec.Raw]
        )
    except OSError as exc:
        raise ImportFailed(f"{options.metadata} cannot be read: {exc.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ImportFailed(
            f"{options.metadata} is no metadata ({exc}): expected an object of the venue's requests and its replies, "
            'such as {"meta": {...}, "spotMeta": {...}}'
        ) from None
    return [(tag, bytes(body)) for tag, body in replies.items()]


def _unmarked(text: bytes) -> bytes:
    """Without the mark that some editors begin a text with."""
    return text.removeprefix(b"\xef\xbb\xbf")
