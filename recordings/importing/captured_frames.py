"""The frames of capture files, merged by receive time, and what is to be said of the files in the end."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.manifest import InputFile
from recordings.importing.capture_files import CaptureFile
from recordings.importing.line_blocks import merged_blocks, raw_batch
from toolkit.frames import DAMAGED, REST_IN, WS_IN, Frame

__all__ = ["CapturedFrames"]


class CapturedFrames:
    """
    The frames of some files, the venue's metadata replies before them; they can be read once.

    Args:
        venue: Venue whose frames they are.
        paths: Where the files are.
        line_format: Form of their lines.
        time_unit: Unit of integer times; None to tell it from the data.
        metadata: Replies by request name.
    """

    def __init__(
        self,
        venue: str,
        paths: Sequence[Path],
        line_format: str,
        time_unit: str | None,
        metadata: Sequence[tuple[str, bytes]],
    ) -> None:
        self._venue = venue
        self._metadata = metadata
        self.files = [CaptureFile(path, line_format, time_unit) for path in paths]

    @property
    def bytes_read(self) -> int:
        """Bytes of the files on disk read so far."""
        return sum(file.bytes_read for file in self.files)

    def frames(self) -> Iterator[Frame]:
        """One by one."""
        files = self.files
        lines = (
            _timed(files[0], 0) if len(files) == 1 else heapq.merge(*(_timed(file, i) for i, file in enumerate(files)))
        )
        capture_seq = 0
        for _, conn_id, _, ts_recv, payload, kind in lines:
            if capture_seq == 0:
                replies = self._replies(ts_recv)
                yield from replies
                capture_seq = len(replies)
            yield Frame(capture_seq, ts_recv, ts_recv, self._venue, conn_id, 0, kind, payload)
            capture_seq += 1

    def batches(self, is_compiled: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
        """The same as rows of the `raw` table; `is_compiled` as `blocks_of` has it."""
        capture_seq = 0
        for stretches in merged_blocks(self.files, is_compiled):
            if capture_seq == 0 and self._metadata:
                replies = self._replies(int(stretches[0][1].ts_recv[0]))
                yield frames_to_batch(replies)
                capture_seq = len(replies)
            batch = raw_batch(self._venue, capture_seq, stretches)
            yield batch
            capture_seq += len(batch)

    def _replies(self, ts_recv: int) -> list[Frame]:
        return [
            Frame(seq, ts_recv, ts_recv, self._venue, -1, 0, REST_IN, body, _context(tag))
            for seq, (tag, body) in enumerate(self._metadata)
        ]

    def inputs(self) -> list[InputFile]:
        """What the manifest says of the files, once they were read."""
        return [
            InputFile(file.path.name, file.line_count, file.damaged_count, file.time_unit, self._note(index))
            for index, file in enumerate(self.files)
        ]

    def _note(self, index: int) -> str:
        """What was wrong with a file as a whole; that it is one of those before it once more, too."""
        file = self.files[index]
        for other in self.files[:index]:
            if file.is_like(other):
                again = f"it holds the same lines as {other.path.name}: the recording has each of them twice"
                return f"{file.note}; {again}" if file.note else again
        return file.note


def _context(tag: str) -> str:
    return msgspec.json.encode({"tag": tag, "status": 200}).decode()


def _timed(file: CaptureFile, index: int) -> Iterator[tuple[int, int, int, int, bytes, str]]:
    """`(merge time, file, line, ts_recv, payload, kind)`: the merge time never goes back, so the file keeps its order."""
    # Lines before the first one that can be read get its time.
    last = merge_time = file.first_time or 0
    for number, line in enumerate(file):
        if line.ts_recv is not None:
            last = line.ts_recv
            merge_time = max(merge_time, last)
        if last:
            yield merge_time, index, number, last, line.payload, DAMAGED if line.is_damaged else WS_IN
