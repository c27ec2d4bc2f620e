"""One segment on its way to disk: frames in, Parquet files and a manifest entry out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import msgspec
import pyarrow as pa

from recordings.format.columns_to_rows import rows_of
from recordings.format.imprecise_decimals import count_imprecise, imprecise_decimals
from recordings.format.manifest import Segment, TableFile
from recordings.format.messages_to_rows import BATCH_MESSAGES, TableBuilders
from recordings.format.parquet_options import SMALL, Compression
from recordings.format.rows_to_arrays import FrameRows
from recordings.format.rows_to_messages import frames
from recordings.format.schema import RAW_TABLE
from recordings.format.table_writer import TableSink
from recordings.sealing.raw_writer import RawFile, RawTable
from recordings.states.normalizer import Normalizer
from recordings.states.seek_points import PointCollector
from toolkit.columnar import FrameBatch, MessageColumns, TopColumns
from toolkit.frames import Frame
from toolkit.messages import Message

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """
    Takes the frames of one segment.

    Args:
        folder: The recording.
        number: Number of the segment.
        normalizer: Goes on from segment to segment; this reads its digest and counts.
        checkpoint: Checkpoint of the state before the first frame, as the manifest names it.
        with_raw: Write the raw frames too; without, the entry names no raw table.
        compression: How well.
        raw_writer: Executor that writes raw frames while others come; None to do that at once.
        raw: Receiver of raw frames in place of a file that is written here.
        table_writer: Executor that writes rows of the other tables; None to do that at once.
        serial: Number in the names of its files; that of the segment if None.
        with_points: Keep states for seeks too.
        state_weight: Bytes of the last state that was made before the segment; 0 if that is not known.
        make_sink: Gives what the row groups of a table other than `raw` go to; None to write files.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        normalizer: Normalizer,
        checkpoint: TableFile | None = None,
        *,
        with_raw: bool = True,
        compression: Compression = SMALL,
        raw_writer: Executor | None = None,
        raw: RawTable | None = None,
        table_writer: Executor | None = None,
        serial: int | None = None,
        with_points: bool = True,
        state_weight: int = 0,
        make_sink: Callable[[str], TableSink] | None = None,
    ) -> None:
        self._folder = folder
        self._number = number
        self._serial = number if serial is None else serial
        self._normalizer = normalizer
        self._checkpoint = checkpoint
        self._raw = raw
        if raw is None and with_raw:
            self._raw = RawFile(folder, self._serial, compression, raw_writer)
        self._builders = TableBuilders(folder, self._serial, compression, table_writer, make_sink)
        self._points = PointCollector(state_weight) if with_points else None
        self._counts_before = dict(normalizer.counts)
        self._digest_start = normalizer.chain.hexdigest()
        self._messages_before = normalizer.chain.message_count
        self._first_seq = -1
        self._last_seq = -1
        self._imprecise = 0
        self._ts_min = 0
        self._ts_max = 0
        self.frame_count = 0
        self.payload_bytes = 0

    def add(self, frame: Frame) -> list[Message]:
        """Add the next frame; returns its messages."""
        self._offer_point(frame.capture_seq)
        if self._raw is not None:
            self._raw.add(frame)
        self._note(frame.capture_seq, frame.capture_seq, frame.ts_recv, frame.ts_recv)
        self.frame_count += 1
        self.payload_bytes += len(frame.payload)
        return self._normalize(frame, self._builders.add)

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """
        Add the next frames, as rows of the `raw` table.

        The same as adding one after the other. Where the normalizer takes frames by the batch, it is many times
        faster.
        """
        if self._points is None:
            self._add_rows(batch)
            return
        while len(batch):
            self._offer_point(batch.column("capture_seq")[0].as_py())
            count = self._points.count_until_due(batch, self.frame_count, self.payload_bytes)
            self._add_rows(batch.slice(0, count))
            batch = batch.slice(count)

    def _add_rows(self, batch: pa.RecordBatch) -> None:
        rows = FrameRows(batch)
        if self._raw is not None:
            self._raw.add_batch(batch)
        ts_recv = rows.ts_recv
        self._note(rows.first_seq, rows.first_seq + len(rows) - 1, int(ts_recv.min()), int(ts_recv.max()))
        self.frame_count += len(rows)
        self.payload_bytes += int(rows.payload_bytes.sum())
        normalizer = self._normalizer
        if not normalizer.takes_batches:
            self._add_frames(batch)
            return
        index = 0
        while index < len(rows):
            taken = normalizer.take_batch(rows, index)
            if taken is not None:
                self._imprecise += taken.imprecise_count
                index = taken.end
                continue
            frame = rows.frame(index)
            self._normalize(frame, self._builders.hold)
            if rows.is_text(index):
                self._imprecise += imprecise_decimals(frame.payload)
            if self._builders.is_due:
                self._collect(rows, frame.capture_seq)
            index += 1
        self._collect(rows, rows.first_seq + len(rows) - 1)
        normalizer.conn_id_max = max(normalizer.conn_id_max, rows.conn_id_max)

    def _add_frames(self, batch: pa.RecordBatch) -> None:
        """The messages of rows of the `raw` table, frame by frame."""
        for start in range(0, len(batch), BATCH_MESSAGES):
            part = batch.slice(start, BATCH_MESSAGES)
            self._imprecise += count_imprecise(part.column("payload"))
            for frame in frames(part):
                self._normalize(frame, self._builders.add)

    def _note(self, first_seq: int, last_seq: int, ts_min: int, ts_max: int) -> None:
        if self._first_seq < 0:
            self._first_seq, self._ts_min, self._ts_max = first_seq, ts_min, ts_max
        else:
            self._ts_min, self._ts_max = min(self._ts_min, ts_min), max(self._ts_max, ts_max)
        self._last_seq = last_seq

    def _normalize(self, frame: Frame, add: Callable[[Message], None]) -> list[Message]:
        messages = self._normalizer.messages(frame)
        for message in messages:
            add(message)
            _, top = self._normalizer.take(message)
            if top is not None:
                add(top)
        return messages

    def _collect(self, rows: FrameRows, complete_seq: int) -> None:
        """Add the messages of frames up to that one: those that came one by one, and those that came as columns."""
        made: dict[str, list[pa.RecordBatch]] = {}
        for venue, collected in self._normalizer.collect():
            kinds: dict[type, list[MessageColumns | TopColumns]] = {}
            for columns in (*collected.messages, *collected.tops):
                kinds.setdefault(type(columns), []).append(columns)
            for several in kinds.values():
                of_venue = rows.of_venue(venue)  # which `take_batch` had made
                table, batch = rows_of(venue, of_venue, several)
                made.setdefault(table, []).append(batch)
                self._builders.note(several[0].counted_as, venue, _names(of_venue, several), sum(map(len, several)))
        self._builders.add_rows(made, complete_seq)

    def abort(self) -> None:
        """Give the segment up."""
        self._builders.close()
        if self._raw is not None:
            self._raw.abort()

    def _offer_point(self, capture_seq: int) -> None:
        """Before frame `capture_seq`: keep the state for seeks, if it is time."""
        points = self._points
        if points is None:
            return
        if self.frame_count >= points.due_frames or self.payload_bytes >= points.due_bytes:
            points.take(self._normalizer, capture_seq, self._ts_max, self.frame_count, self.payload_bytes)

    @property
    def state_weight(self) -> int:
        """Bytes of the last state that was made; 0 if that is not known."""
        return 0 if self._points is None else self._points.weight

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
        if self._first_seq < 0:
            return None
        normalizer = self._normalizer
        self._builders.flush()
        counts = dict(self._builders.counts)
        for name, count in normalizer.counts.items():
            counts[name] = count - self._counts_before.get(name, 0)
        entry = Segment(
            number=self._number,
            frame_count=self.frame_count,
            capture_seq_first=self._first_seq,
            capture_seq_last=self._last_seq,
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
        imprecise = self._imprecise
        made = self._builders.write()
        if self._raw is not None:
            tables[RAW_TABLE] = self._raw.finish()
            imprecise += self._raw.imprecise_count
        tables |= made
        points = None
        if self._points is not None:
            points = self._points.write(self._folder, self._serial, entry.digest_start, entry.capture_seq_first)
        return msgspec.structs.replace(entry, tables=tables, imprecise_values=imprecise, seek_points=points)


def _names(frames: FrameBatch, several: Sequence[MessageColumns | TopColumns]) -> Iterator[tuple[str, str, int]]:
    """Each symbol with its pair, and the `capture_seq` of its last message."""
    for columns in several:
        seqs = (columns.frame[columns.last_rows] + frames.first_seq).tolist()
        yield from zip(columns.symbols, columns.trading_pairs, seqs, strict=True)
