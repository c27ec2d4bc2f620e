"""
A recording on disk, for reading.

Raw frames come back in the order of `capture_seq`; messages in the order of `(capture_seq, sub_seq)`, merged from the
tables, where they lie sorted by symbol. Both stream: memory does not grow with the recording.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.manifest import Manifest, Segment, inside, read_manifest
from recordings.rows import book_messages, flat_messages, frames, split_complete
from recordings.schema import MESSAGE_TABLES, RAW_TABLE, TABLES
from toolkit.errors import RecordingDamaged
from toolkit.frames import Frame
from toolkit.messages import Message

__all__ = ["Recording", "reading", "row_groups_by_symbol"]

RAW_BATCH: Final = 4096
#: Rows held per table and symbol while merging, and in all.
BATCH_ROWS: Final = 65_536
BATCH_ROWS_TOTAL: Final = 2_000_000
#: `sub_seq` of one frame stay below this, since no frame is longer than its limit of bytes.
_SUB_SEQ_SPAN: Final = 1 << 21
#: Strings are read as dictionaries: each distinct one becomes a Python string once, not once per row.
_DICTIONARY_COLUMNS: Final = {
    table: [field.name for field in TABLES[table] if field.type == pa.string()] for table in MESSAGE_TABLES
}


class Recording:
    """
    A recording, opened by `Recording.open`.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> Recording:
        """
        Open a recording's folder.

        Raises:
            NotARecording: It is none.
            FormatTooNew: A newer tickdeck wrote it.
            RecordingDamaged: Its manifest cannot be read.
        """
        folder = Path(path)
        return cls(folder, read_manifest(folder))

    @property
    def trading_pairs(self) -> list[str]:
        """Every trading pair in it, in alphabetical order."""
        return sorted(set(self.manifest.symbols.values()))

    def files(self, table: str) -> list[Path]:
        """The sealed files of a table, in order. Raises RecordingDamaged for one that is missing."""
        paths = []
        for segment in self.manifest.segments:
            file = segment.tables.get(table)
            if file is not None:
                path = inside(self.path, file.path)
                if not path.is_file():
                    raise RecordingDamaged(f"{path} is missing: expected {file.rows:,} rows of {table}")
                paths.append(path)
        return paths

    def raw_frames(
        self, segments: Sequence[Segment] | None = None, batch_rows: int = RAW_BATCH
    ) -> Iterator[list[Frame]]:
        """Frames of the sealed segments, in order, a list at a time."""
        for segment in self.manifest.segments if segments is None else segments:
            file = segment.tables.get(RAW_TABLE)
            if file is None:
                raise RecordingDamaged(
                    f"{self.path} holds no raw frames of segment {segment.number} any more: replay it normalized"
                )
            path = inside(self.path, file.path)
            with reading(path):
                parquet = pq.ParquetFile(path)
                for batch in parquet.iter_batches(batch_rows):
                    yield frames(batch)

    def messages(
        self,
        segments: Sequence[Segment] | None = None,
        *,
        tables: Collection[str] = MESSAGE_TABLES,
        trading_pairs: Collection[str] | None = None,
        batch_rows: int | None = None,
    ) -> Iterator[list[Message]]:
        """
        Messages of the sealed segments, in order, a list at a time.

        Args:
            segments: Which; None for all.
            tables: Which kinds of messages.
            trading_pairs: Which pairs; None for all. Events of a whole connection always come along.
            batch_rows: Rows held per table and symbol; None to choose by the number of symbols. Any number gives the
                same messages.
        """
        symbols = None
        if trading_pairs is not None:
            wanted = set(trading_pairs)
            symbols = {name.partition("/")[2] for name, pair in self.manifest.symbols.items() if pair in wanted}
            symbols.add("")
        for segment in self.manifest.segments if segments is None else segments:
            yield from self._segment_messages(segment, tables, symbols, batch_rows)

    def _segment_messages(
        self, segment: Segment, tables: Collection[str], symbols: Collection[str] | None, batch_rows: int | None
    ) -> Iterator[list[Message]]:
        runs: list[_Run] = []
        for table in MESSAGE_TABLES:
            file = segment.tables.get(table)
            if file is not None and table in tables:
                runs += _runs(inside(self.path, file.path), table, symbols)
        if not runs:
            return
        rows = batch_rows or min(BATCH_ROWS, max(1024, BATCH_ROWS_TOTAL // len(runs)))
        with ThreadPoolExecutor(1) as reader:
            for run in runs:
                run.start(rows, reader)
            yield from _merged(runs)


def _merged(runs: list[_Run]) -> Iterator[list[Message]]:
    while runs := [run for run in runs if run.fill()]:
        if len(runs) == 1:
            yield runs[0].take_all()
            continue
        # Every run still to be read has messages up to this key, so below it nothing is missing.
        bound = min(run.keys[-1] for run in runs)
        keys, messages = [], []
        for run in runs:
            run_keys, run_messages = run.take_until(bound)
            keys.append(run_keys)
            messages += run_messages
        order = np.argsort(np.concatenate(keys), kind="stable")
        yield list(map(messages.__getitem__, order.tolist()))


class _Run:
    """The rows of one table and symbol, as messages with their keys, a buffer at a time."""

    def __init__(self, path: Path, table: str, row_groups: list[int]) -> None:
        self._path = path
        self._table = table
        self._row_groups = row_groups
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._reader: Executor | None = None
        self._coming: Future[pa.RecordBatch | None] | None = None
        self._rest: pa.RecordBatch | None = None
        self._messages: list[Message] = []
        self.keys: Any = np.empty(0, np.int64)

    def start(self, batch_rows: int, reader: Executor) -> None:
        """Begin to read, one batch ahead, in `reader`: decoding does not need the interpreter."""
        self._reader = reader
        with reading(self._path):
            parquet = pq.ParquetFile(self._path, read_dictionary=_DICTIONARY_COLUMNS[self._table])
            self._batches = parquet.iter_batches(batch_rows, row_groups=self._row_groups)
        self._coming = reader.submit(next, self._batches, None)

    def fill(self) -> bool:
        """Read on if the buffer is empty; False once nothing is left."""
        while not self._messages:
            if self._coming is None or self._reader is None:
                return False
            with reading(self._path):
                batch = self._coming.result()
                self._coming = self._reader.submit(next, self._batches, None) if batch is not None else None
                if batch is not None:
                    self._take_in(batch)
                elif self._rest is not None:
                    raise RecordingDamaged(f"{self._path} ends inside a message: expected is_last on its last row")
        return True

    def take_all(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages

    def take_until(self, key: int) -> tuple[Any, list[Message]]:
        end = int(np.searchsorted(self.keys, key, side="right"))
        keys, self.keys = self.keys[:end], self.keys[end:]
        messages, self._messages = self._messages[:end], self._messages[end:]
        return keys, messages

    def _take_in(self, batch: pa.RecordBatch) -> None:
        if self._table == "book":
            if self._rest is not None:
                batch = pa.Table.from_batches([self._rest, batch]).combine_chunks().to_batches()[0]
            batch, rest = split_complete(batch)
            self._rest = rest if len(rest) else None
            self._messages = book_messages(batch)
            keys = batch.select(["capture_seq", "sub_seq"]).filter(batch.column("is_first"))
        else:
            self._messages = flat_messages(self._table, batch)
            keys = batch
        seqs = keys.column("capture_seq").to_numpy()
        self.keys = seqs * _SUB_SEQ_SPAN + keys.column("sub_seq").to_numpy()
        if len(self.keys) > 1 and not (np.diff(self.keys) > 0).all():
            raise RecordingDamaged(f"{self._path} is not sorted by (symbol, capture_seq, sub_seq)")


def row_groups_by_symbol(path: Path) -> dict[tuple[str, str], list[int]]:
    """Row groups of a normalized table by `(symbol, venue)`, from their statistics. Raises RecordingDamaged."""
    places: dict[tuple[str, str], list[int]] = {}
    with reading(path):
        metadata = pq.read_metadata(path)
        names = metadata.schema.to_arrow_schema().names
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            key = []
            for name in ("symbol", "venue"):
                statistics = group.column(names.index(name)).statistics
                if statistics is None or statistics.min != statistics.max:
                    raise RecordingDamaged(f"{path} has a row group of several symbols: expected one symbol in each")
                key.append(statistics.min)
            places.setdefault((key[0], key[1]), []).append(number)
    return places


def _runs(path: Path, table: str, symbols: Collection[str] | None) -> list[_Run]:
    """One run per symbol and venue of a file."""
    places = row_groups_by_symbol(path)
    return [_Run(path, table, groups) for (symbol, _), groups in places.items() if symbols is None or symbol in symbols]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise RecordingDamaged(f"{path} is missing") from None
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError, OverflowError) as exc:
        text = str(exc).partition("\n")[0]
        raise RecordingDamaged(
            f"{path} cannot be read ({text}): expected a whole Parquet file of this format"
        ) from None
