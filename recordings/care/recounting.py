"""
What the manifest says of a segment, computed again from the segment's frames and rows.

The digest holds what messages say, and hashes hold files; nothing but this holds times, counts, symbols and numbers of
rows, which `info`, `ls` and every choice of a pair or a time go by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recordings.checking import open_checked
from recordings.format.imprecise_decimals import count_imprecise
from recordings.format.manifest import Manifest, Segment, TableFile, inside
from recordings.format.messages_to_rows import COUNT_OF_TABLE
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.reading.raw_frames import opened, reading

__all__ = ["Recount", "symbol_problems"]

_WORDS: Final = ("venue", "symbol", "trading_pair", "kind")
_COUNTS: Final = {*COUNT_OF_TABLE.values(), "book_snapshots", "book_diffs", "trades_history", "trades_duplicate"}


class Recount:
    """
    Counts the segments of a recording, one after the other.

    Args:
        folder: The recording.
        tables: Kinds of tables that have the hashes they should have: `raw`, `normalized`.

    Attributes:
        symbols: Frame that was last to name a pair, and the pairs that it named, by `venue/symbol`.
    """

    def __init__(self, folder: Path, tables: Collection[str]) -> None:
        self._folder = folder
        self._with_raw = RAW_TABLE in tables
        self._with_rows = "normalized" in tables
        self.symbols: dict[str, tuple[int, set[str]]] = {}

    def problems(self, segment: Segment) -> Iterator[str]:
        """What the manifest says of a segment that is not so, one line each. Raises RecordingDamaged."""
        where = f"of segment {segment.number}"
        frames = segment.capture_seq_last - segment.capture_seq_first + 1
        if segment.frame_count != frames:
            yield f"the manifest says {segment.frame_count:,} frames {where}, its numbers {frames:,}"
        raw = segment.tables.get(RAW_TABLE)
        if raw is not None and self._with_raw:
            for name, found in self._of_frames(raw):
                if (said := getattr(segment, name)) != found:
                    yield f"the manifest says {name} {said} {where}, its frames {found}"
        if self._with_rows:
            counts = {name: 0 for name in segment.counts if _is_counted(name)}
            for table, file in segment.tables.items():
                # Of a table that is none of messages, or of a later version, nothing is counted.
                if table != RAW_TABLE and table in TABLES:
                    for name, count in self._of_rows(table, file):
                        counts[name] = counts.get(name, 0) + count
            for name, count in sorted(counts.items()):
                said = segment.counts.get(name, 0)
                # Before version 2 those that made a book stale were not counted, and compacting adds up what was said.
                if said != count and not (name == "event_stale" and said < count):
                    yield f"the manifest says {name} {said:,} {where}, its rows {count:,}"
        for file in [*segment.tables.values()]:
            if (file is raw and self._with_raw) or (file is not raw and self._with_rows):
                with reading(inside(self._folder, file.path)):
                    rows = pq.read_metadata(open_checked(self._folder, file)).num_rows
                if rows != file.rows:
                    yield f"the manifest says {file.rows:,} rows of {file.path}, it has {rows:,}"

    def _of_frames(self, file: TableFile) -> Iterator[tuple[str, int]]:
        firsts, lasts, imprecise, rows = [], [], 0, 0
        first_seq, last_seq = -1, -1
        for batch in self._batches(file, ["capture_seq", "ts_recv", "payload"]):
            times = batch.column("ts_recv").cast(pa.int64()).to_numpy()
            seqs = batch.column("capture_seq").to_numpy()
            firsts.append(int(times.min()))
            lasts.append(int(times.max()))
            first_seq = int(seqs[0]) if not rows else first_seq
            last_seq = int(seqs[-1])
            rows += len(batch)
            imprecise += count_imprecise(batch.column("payload"))
        yield "frame_count", rows
        yield "capture_seq_first", first_seq
        yield "capture_seq_last", last_seq
        yield "ts_recv_first", min(firsts, default=0)
        yield "ts_recv_last", max(lasts, default=0)
        yield "imprecise_values", imprecise

    def _of_rows(self, table: str, file: TableFile) -> Iterator[tuple[str, int]]:
        columns = ["venue", "symbol", "trading_pair", "capture_seq"]
        columns += {
            "book": ["is_first", "is_snapshot"],
            "trades": ["is_history", "is_duplicate"],
            "events": ["kind"],
        }.get(table, [])
        for batch in self._batches(file, columns, [name for name in columns if name in _WORDS]):
            self._name(batch)
            if table == "book":
                first = batch.column("is_first").to_numpy(zero_copy_only=False)
                snapshots = first & batch.column("is_snapshot").to_numpy(zero_copy_only=False)
                yield "book_snapshots", int(snapshots.sum())
                yield "book_diffs", int(first.sum()) - int(snapshots.sum())
                continue
            yield COUNT_OF_TABLE[table], len(batch)
            if table == "trades":
                history, again = (batch.column(name).to_numpy(zero_copy_only=False) for name in columns[-2:])
                yield "trades_duplicate", int(again.sum())
                yield "trades_history", int((history & ~again).sum())
            elif table == "events":
                for each in pc.value_counts(batch.column("kind")).to_pylist():
                    yield f"event_{each['values']}", each["counts"]

    def _batches(self, file: TableFile, columns: list[str], words: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        source = open_checked(self._folder, file)
        with reading(inside(self._folder, file.path)):
            parquet = opened(source, words=words or ())
            for batch in parquet.iter_batches(columns=columns):
                if len(batch):
                    yield batch

    def _name(self, batch: pa.RecordBatch) -> None:
        """Take in which pair each symbol has: the newest word counts."""
        keys = [batch.column(name) for name in ("venue", "symbol", "trading_pair")]
        seqs = batch.column("capture_seq").to_numpy()
        codes: Any = np.zeros(len(batch), np.int64)
        for key in keys:
            codes = codes * (len(key.dictionary) + 1) + key.indices.to_numpy()
        # Rows of one symbol lie together, in order: the last of each stretch is its newest.
        ends = [*np.flatnonzero(np.diff(codes)).tolist(), len(batch) - 1]
        for end in ends:
            venue, symbol, pair = (key[end].as_py() for key in keys)
            if not symbol:
                continue
            name, seq = f"{venue}/{symbol}", int(seqs[end])
            before, pairs = self.symbols.get(name, (-1, set()))
            if seq >= before:
                self.symbols[name] = (seq, {pair} | (pairs if seq == before else set()))


def _is_counted(name: str) -> bool:
    """Whether rows tell of it; a later version may count more."""
    return name in _COUNTS or name.startswith("event_")


def symbol_problems(manifest: Manifest, symbols: dict[str, tuple[int, set[str]]]) -> Iterator[str]:
    """Where the manifest names other symbols, or other pairs for them, than the rows do."""
    for name in sorted(manifest.symbols.keys() | symbols.keys()):
        said, (_, found) = manifest.symbols.get(name), symbols.get(name, (0, set()))
        if said not in found:
            pairs = " or ".join(sorted(map(repr, found))) or "none"
            yield f"the manifest says that {name!r} is {said!r}, the rows say {pairs}"
