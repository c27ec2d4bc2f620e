"""What was really sent and really reached the disk, read without the code that is on trial; and what must follow."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.care.verifying import verify
from recordings.format.manifest import Manifest, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.queries.gaps import find_gaps
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.states.normalizer import Normalizer
from replay.source import Fidelity, ReplayDataSource
from tests.chaos.bench import ChaosFailure, check
from toolkit.frames import CONTROL, WS_IN, Frame
from toolkit.messages import Message

#: What names a frame: everything it is.
Row = tuple[Any, ...]


class SentLog:
    """The venue's log of what it sent, read on as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        #: By connection, in the order they were sent.
        self.payloads: dict[int, list[bytes]] = defaultdict(list)
        self.times: dict[int, list[int]] = defaultdict(list)

    def read(self) -> SentLog:
        """Take in what was sent since."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._offset += len(line)
                entry = msgspec.json.decode(line)
                text = entry.get("text")
                self.payloads[entry["connection"]].append(
                    text.encode() if text is not None else base64.b64decode(entry["base64"])
                )
                self.times[entry["connection"]].append(entry["ts_sent"])
        return self


def rows_of(table: pa.Table | pa.RecordBatch) -> list[Row]:
    """Rows of the raw table as plain values."""
    columns = []
    for name in table.schema.names:
        column = table.column(name)
        kind = column.type
        columns.append((column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column).to_pylist())
    return list(zip(*columns, strict=True))


def stream_rows(content: bytes) -> list[Row]:
    """Every whole batch of a journal, by Arrow alone."""
    found: list[Row] = []
    try:
        with pa.ipc.open_stream(pa.BufferReader(content)) as stream:
            for batch in stream:
                found += rows_of(batch)
    except (pa.ArrowException, OSError):
        pass  # a torn end
    return found


def rows_on_disk(folder: Path) -> list[Row]:
    """
    Every frame that has reached the files of a recording, in order.

    While it is being recorded a file may go away between two looks; then it is looked at again.
    """
    while True:
        try:
            before = _manifest_bytes(folder)
            rows = _rows_on_disk(folder, before)
        except FileNotFoundError:
            continue
        if _manifest_bytes(folder) == before:
            return rows


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / "recording.json"
    return path.read_bytes() if path.exists() else b""


def _rows_on_disk(folder: Path, manifest_bytes: bytes) -> list[Row]:
    if not manifest_bytes:
        return []
    manifest = json.loads(manifest_bytes)
    sealed = [segment["tables"]["raw"]["path"] for segment in manifest["segments"]]
    found: list[Row] = []
    for path in sealed:
        found += rows_of(pq.read_table(folder / path))
    for journal in sorted((folder / "journal").glob("*.arrows")):
        if int(journal.stem) >= len(sealed):
            found += stream_rows(journal.read_bytes())
    return found


def raw_rows(folder: Path) -> list[Row]:
    """The raw table of a sealed recording."""
    files = [segment.tables["raw"].path for segment in read_manifest(folder).segments]
    return [row for file in files for row in rows_of(pq.read_table(folder / file))]


def is_end(row: Row) -> bool:
    """Whether a raw row says that a session ends."""
    return CONTROL in row and any(isinstance(value, str) and '"session_end"' in value for value in row)


def says(frame: Frame, event: str) -> bool:
    """Whether it is a control frame of that event."""
    return frame.kind == CONTROL and json.loads(frame.payload)["event"] == event


def frames_of(folder: Path) -> list[Frame]:
    recording = Recording.open(folder)
    return [frame for batch in recording.raw_frames() for frame in batch]


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file but the lock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "recording.lock"
    }


# -- what must hold -----------------------------------------------------------------------------------------------


def check_numbers(frames: Sequence[Frame]) -> None:
    """`capture_seq` without holes."""
    numbers = [frame.capture_seq for frame in frames]
    check(numbers == list(range(len(numbers))), "capture_seq counts from 0 without holes")


def check_sent(frames: Iterable[Frame], sent: SentLog) -> int:
    """
    Per connection, the frames are the beginning of what the venue sent on it: each once, in order, nothing between.

    Returns how many frames that were sent on those connections are not there.
    """
    received: dict[tuple[int, int], list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.kind == WS_IN:
            received[frame.conn_id, frame.conn_epoch].append(frame)
    missing = 0
    taken: set[int] = set()
    for key, found in received.items():
        payloads = [frame.payload for frame in found]
        # The stamps tell connections apart that begin alike: it is the last one begun before the first frame came.
        fitting = [
            (sent.times[number][0], number)
            for number in sent.payloads
            if number not in taken
            and sent.times[number][0] <= found[0].ts_recv
            and sent.payloads[number][: len(payloads)] == payloads
        ]
        if not fitting:
            raise ChaosFailure(_misfit(key, payloads, sent))
        _, number = max(fitting)
        taken.add(number)
        missing += len(sent.payloads[number]) - len(payloads)
    return missing


def _misfit(key: tuple[int, int], payloads: Sequence[bytes], sent: SentLog) -> str:
    best, best_count = -1, -1
    for number, others in sent.payloads.items():
        count = 0
        for one, other in zip(payloads, others, strict=False):
            if one != other:
                break
            count += 1
        if count > best_count:
            best, best_count = number, count
    return (
        f"the {len(payloads)} frames of connection {key} are no beginning of what was sent on one; nearest is "
        f"{best} of {len(sent.payloads.get(best, ()))} frames, the same for {best_count}"
    )


def check_digest(folder: Path) -> str:
    """The digest is that of the raw frames through a fresh protocol in one go."""
    manifest = read_manifest(folder)
    normalizer = Normalizer.for_sources(manifest.sources)
    for frame in frames_of(folder):
        for message in normalizer.messages(frame):
            normalizer.take(message)
    digest = normalizer.chain.hexdigest()
    if manifest.segments:
        check(digest == manifest.digest, f"digest {manifest.digest}, of an undisturbed run {digest}")
    return digest


def check_tables(folder: Path, scratch: Path) -> None:
    """Every table is what one undisturbed segment of the same frames gives."""
    manifest = read_manifest(folder)
    if not manifest.segments:
        return
    scratch.mkdir(parents=True)
    plain = Manifest(sources=manifest.sources, digest_version=manifest.digest_version)
    write_manifest(scratch, plain)
    journal = JournalWriter(scratch, 0)
    for frame in frames_of(folder):
        journal.append(frame)
    journal.close()
    plain = Sealer(scratch).seal(0)
    check(plain.digest == manifest.digest, f"digest {manifest.digest}, sealed at once {plain.digest}")
    tables = {table for segment in manifest.segments for table in segment.tables}
    check(tables == set(plain.segments[0].tables), "the same tables as sealed at once")
    for table in sorted(tables):
        check(_ordered(folder, manifest, table) == _ordered(scratch, plain, table), f"{table} as sealed at once")


def _ordered(folder: Path, manifest: Manifest, table: str) -> list[Row]:
    files = [segment.tables[table].path for segment in manifest.segments if table in segment.tables]
    table_ = pa.concat_tables([pq.read_table(folder / file) for file in files])
    rows = rows_of(table_)
    keys = [table_.column(name).to_pylist() for name in ("capture_seq", "sub_seq") if name in table_.column_names]
    order = sorted(range(len(rows)), key=list(zip(*keys, strict=True)).__getitem__)
    return [rows[number] for number in order]  # stable: the levels of a message stay in order


def check_sound(folder: Path) -> None:
    """`verify` finds nothing."""
    result = verify(folder)
    check(result.is_sound, f"verify finds {folder.name} sound, not: {'; '.join(result.problems)}")


def lost_events(frames: Iterable[Frame]) -> list[tuple[Frame, int, int]]:
    """The statements of loss: frame, start and end."""
    found = []
    for frame in frames:
        if frame.kind == CONTROL:
            details = json.loads(frame.payload)
            if details["event"] == "lost":
                found.append((frame, details["ts_start"], details["ts_end"]))
    return found


def check_gaps(folder: Path, kind: str) -> None:
    """A gap of that kind is listed."""
    gaps = find_gaps(folder)
    check(kind in gaps["kind"].to_list(), f"a gap of kind {kind} is listed, not only {gaps['kind'].to_list()}")


def check_sound_tape(folder: Path, sent: SentLog) -> int:
    """All of it: numbers, what was sent, digest, verify. Returns the frames that were sent and are not there."""
    frames = frames_of(folder)
    check_numbers(frames)
    missing = check_sent(frames, sent.read())
    check_digest(folder)
    check_sound(folder)
    return missing


class Told(NamedTuple):
    """What readers make of a recording, sealed or not: frames, and the messages of both fidelities."""

    frames: list[Frame]
    normalized: list[Message]
    raw: list[Message]

    def up_to(self, seq: int) -> Told:
        """What was told of the frames below that number."""
        return Told(
            self.frames[:seq], *([m for m in each if m.capture_seq < seq] for each in (self.normalized, self.raw))
        )


def read_all(folder: Path) -> Told:
    """Read a recording as its users do, whether or not it was healed."""
    opened = Recording.open(folder)
    played: list[list[Message]] = []
    fidelities: tuple[Fidelity, ...] = ("normalized", "raw")
    for fidelity in fidelities:
        source = ReplayDataSource(opened, fidelity=fidelity)
        seen: list[Message] = []
        source.set_message_callback(seen.append)
        source.play()
        played.append(seen)
    return Told([frame for batch in opened.raw_frames() for frame in batch], *played)
