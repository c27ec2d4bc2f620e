"""
What a recording's folder holds, as Arrow alone reads its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.format.file_names import FILE_FOLDERS
from recordings.format.frames_to_rows import batch_checksum
from recordings.format.manifest import MANIFEST_NAME, SourceInfo
from recordings.format.messages_to_rows import rows_of_messages
from recordings.format.rows_to_messages import frames as frames_of_rows
from recordings.format.schema import RAW_TABLE, TABLE_OF
from recordings.states.normalizer import Normalizer
from tests.tapes import TS
from toolkit.clock import ManualClock
from toolkit.frames import CONTROL, Frame

__all__ = ["Broken", "Disk", "event_of", "events_in", "later", "rows_in", "scratch_of", "undisturbed"]

#: Long after every frame, in the time of the tapes.
LATER_NS: Final = 10**18


class Broken(AssertionError):
    """The folder is not what it must be."""


def later() -> ManualClock:
    """The clock of whoever heals or prunes."""
    return ManualClock(TS + LATER_NS)


def event_of(frame: Frame) -> str:
    """The event of a control frame; empty for others."""
    return str(json.loads(frame.payload)["event"]) if frame.kind == CONTROL else ""


def events_in(frames: list[Frame]) -> list[str]:
    """The events of the control frames among them."""
    return [event for frame in frames if (event := event_of(frame))]


class Disk:
    """
    What the files of a recording say, by Arrow alone.

    Args:
        folder: The recording.
        cache: Frames in files that were read before.
        sound: Content of files as it was before they were damaged, by path.

    Attributes:
        sealed: Raw frames of each segment; None where it was pruned.
        bounds: First and last frame of each segment, as the manifest says.
        journals: Frames of each journal whose segment is not sealed, by number.
        files: Every file that the manifest names, below the folder.
        resume: The one of them that holds the state after the last segment, if there is one.
    """

    def __init__(self, folder: Path, cache: dict[Any, list[Frame]], sound: dict[Path, bytes]) -> None:
        manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
        self.status: str = manifest["status"]
        self.sealed: list[list[Frame] | None] = []
        self.bounds: list[tuple[int, int]] = []
        self.resume: set[str] = set() if manifest.get("resume") is None else {manifest["resume"]["path"]}
        self.files: set[str] = set(self.resume)
        for segment in manifest["segments"]:
            tables = segment["tables"]
            raw = tables.get(RAW_TABLE)
            self.sealed.append(None if raw is None else _parquet_frames(folder / raw["path"], cache, sound))
            self.bounds.append((segment["capture_seq_first"], segment["capture_seq_last"]))
            files = [*tables.values(), segment.get("checkpoint"), segment.get("seek_points")]
            self.files |= {file["path"] for file in files if file is not None}
        last = self.bounds[-1][1] if self.bounds else -1
        self.journals: dict[int, list[Frame]] = {}
        for path in sorted((folder / "journal").glob("[0-9][0-9][0-9][0-9][0-9][0-9].arrows")):
            found = _journal_frames(path)
            if int(path.stem) >= len(self.sealed) and not (found and found[-1].capture_seq <= last):
                self.journals[int(path.stem)] = found

    def frames(self) -> Iterator[tuple[int, Frame | None]]:
        """Every frame by its number, None for one that was pruned, in the order in which they are kept."""
        for found, (first, last) in zip(self.sealed, self.bounds, strict=True):
            if found is None:
                yield from ((seq, None) for seq in range(first, last + 1))
            else:
                yield from ((frame.capture_seq, frame) for frame in found)
        for journal in self.journals.values():
            yield from ((frame.capture_seq, frame) for frame in journal)

    def has_journals_from(self, number: int) -> bool:
        """Whether any journal of that number or a later one is there, as a session that began with it would leave."""
        return any(each >= number for each in self.journals)

    @property
    def is_cut(self) -> bool:
        """Whether a session had begun to write and did not say that it ends."""
        last = None
        for _, frame in self.frames():
            last = frame
        # Only the last journal tells: an empty one before it is of a session whose loss a later one has stated.
        is_last_empty = bool(self.journals) and not self.journals[max(self.journals)]
        is_open = bool(self.journals) or self.status == "running"
        return is_last_empty or (is_open and last is not None and event_of(last) != "session_end")


def _parquet_frames(path: Path, cache: dict[Any, list[Frame]], sound: dict[Path, bytes]) -> list[Frame]:
    state = path.stat()
    key = (path, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in cache:
        rows = pq.read_table(pa.BufferReader(sound[path]) if path in sound else path).combine_chunks().to_batches()
        cache[key] = [frame for batch in rows for frame in frames_of_rows(batch)]
    return cache[key]


def _journal_frames(path: Path) -> list[Frame]:
    found: list[Frame] = []
    try:
        with pa.ipc.open_stream(pa.BufferReader(path.read_bytes())) as stream:
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                if metadata.get(b"crc32") != b"%d" % batch_checksum(batch):
                    break  # written, and not synced before the power was cut
                found += frames_of_rows(batch)
    except (StopIteration, pa.ArrowException, OSError):
        pass  # the end, or a torn one
    return found


def undisturbed(frames: list[Frame], sources: list[SourceInfo]) -> tuple[str, list[str]]:
    """The digest of an undisturbed run over the frames, and the rows of its tables as `rows_in` gives them."""
    normalizer = Normalizer.for_sources(sources)
    messages: dict[str, list[Any]] = {}
    for frame in frames:
        for message in normalizer.messages(frame):
            _, top = normalizer.take(message)
            for each in (message, top):
                if each is not None:
                    messages.setdefault(TABLE_OF[type(each)], []).append(each)
    rows = [row for table, some in messages.items() for row in _as_text(table, pa.table(rows_of_messages(table, some)))]
    return normalizer.chain.hexdigest(), sorted(rows)


def rows_in(folder: Path) -> list[str]:
    """Every row of the normalized tables that the manifest names, in any order, by Arrow alone."""
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    return sorted(
        row
        for segment in manifest["segments"]
        for table, file in segment["tables"].items()
        if table != RAW_TABLE
        for row in _as_text(table, pq.read_table(pa.BufferReader((folder / file["path"]).read_bytes())))
    )


def _as_text(table: str, rows: pa.Table) -> list[str]:
    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    return [f"{table} {dict(zip(columns, row, strict=True))}" for row in zip(*columns.values(), strict=True)]


def scratch_of(folder: Path) -> set[str]:
    """Files in the folder that belong to none of its orderly places: what an interrupted writer left."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    orderly = (*FILE_FOLDERS, "set-aside")
    return {name for name in found if name.partition("/")[0] not in orderly} - {MANIFEST_NAME, "recording.lock"}
