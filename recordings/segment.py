"""One segment on its way to disk: frames in, Parquet files and a manifest entry out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from recordings.manifest import Segment, TableFile
from recordings.normalize import Normalizer
from recordings.schema import RAW_TABLE
from recordings.tables import RAW_ROW_GROUP_ROWS, RawBuilder, TableBuilders, write_table
from toolkit.frames import Frame
from toolkit.messages import Message

__all__ = ["SegmentWriter"]

#: float64 returns every decimal of up to 15 significant digits exactly.
EXACT_DIGITS: Final = 15
#: A quoted decimal that may have more.
_SUSPECT: Final = rf'"-?[0-9.]{{{EXACT_DIGITS + 1},}}"'
_suspects = re.compile(_SUSPECT.encode())


class SegmentWriter:
    """
    Takes the frames of one segment.

    Args:
        folder: The recording.
        number: Of the segment.
        normalizer: Goes on from segment to segment; this reads its digest and counts.
        checkpoint: What the manifest says of the state before the first frame.
        with_raw: Write the raw frames too; without, the entry names no raw table.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        normalizer: Normalizer,
        checkpoint: TableFile | None = None,
        *,
        with_raw: bool = True,
    ) -> None:
        self._folder = folder
        self._number = number
        self._normalizer = normalizer
        self._checkpoint = checkpoint
        self._raw = RawBuilder() if with_raw else None
        self._builders = TableBuilders()
        self._counts_before = dict(normalizer.counts)
        self._digest_start = normalizer.chain.hexdigest()
        self._messages_before = normalizer.chain.message_count
        self._first: Frame | None = None
        self._last: Frame | None = None
        self._ts_min = 0
        self._ts_max = 0
        self.frame_count = 0
        self.payload_bytes = 0

    def add(self, frame: Frame) -> list[Message]:
        """Add the next frame; returns its messages."""
        if self._raw is not None:
            self._raw.add(frame)
        ts_recv = frame.ts_recv
        if self._first is None:
            self._first = frame
            self._ts_min = self._ts_max = ts_recv
        elif ts_recv > self._ts_max:
            self._ts_max = ts_recv
        elif ts_recv < self._ts_min:
            self._ts_min = ts_recv
        self._last = frame
        self.frame_count += 1
        self.payload_bytes += len(frame.payload)
        messages = self._normalizer.messages(frame)
        for message in messages:
            self._builders.add(message)
            _, top = self._normalizer.take(message)
            if top is not None:
                self._builders.add(top)
        return messages

    @property
    def symbols(self) -> dict[str, str]:
        """Trading pair of every symbol, as `venue/symbol`; complete once cut."""
        return self._builders.symbols

    def cut(self) -> Callable[[], Segment] | None:
        """
        End the segment here; None if no frame was added.

        The normalizer may go on at once. What is returned writes the files and returns the manifest entry; it may be
        called in another thread.
        """
        if self._first is None or self._last is None:
            return None
        normalizer = self._normalizer
        self._builders.flush()
        counts = dict(self._builders.counts)
        for name, count in normalizer.counts.items():
            counts[name] = count - self._counts_before.get(name, 0)
        entry = Segment(
            number=self._number,
            frame_count=self.frame_count,
            capture_seq_first=self._first.capture_seq,
            capture_seq_last=self._last.capture_seq,
            ts_recv_first=self._ts_min,
            ts_recv_last=self._ts_max,
            digest=normalizer.chain.hexdigest(),
            digest_start=self._digest_start,
            tables={},
            counts={name: count for name, count in sorted(counts.items()) if count},
            message_count=normalizer.chain.message_count - self._messages_before,
            checkpoint=self._checkpoint,
        )
        return lambda: self._write(entry)

    def _write(self, entry: Segment) -> Segment:
        tables = {}
        imprecise = 0
        if self._raw is not None:
            raw = self._raw.table()
            tables[RAW_TABLE] = write_table(self._folder, RAW_TABLE, self._number, [raw], RAW_ROW_GROUP_ROWS)
            imprecise = count_imprecise(raw["payload"])
        tables |= self._builders.write(self._folder, self._number)
        return msgspec.structs.replace(entry, tables=tables, imprecise_values=imprecise)


def count_imprecise(payloads: pa.ChunkedArray) -> int:
    """Quoted decimals in the payloads that have more significant digits than a float64 keeps."""
    total = 0
    for chunk in payloads.chunks:
        suspicious: Any = chunk.filter(pc.match_substring_regex(chunk, _SUSPECT))
        for text in suspicious.to_pylist():
            total += sum(_digits(match) > EXACT_DIGITS for match in _suspects.findall(text.encode()))
    return total


def _digits(quoted: bytes) -> int:
    """Significant digits of a quoted decimal."""
    digits = quoted.strip(b'"').lstrip(b"-").replace(b".", b"").lstrip(b"0")
    return len(digits.rstrip(b"0"))
