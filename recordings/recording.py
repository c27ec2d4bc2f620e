"""
A recording on disk, for reading.

Raw frames come back in the order of `capture_seq`; messages in the order of `(capture_seq, sub_seq)`, merged from the
tables. Both stream: memory does not grow with the recording, nor with the number of its symbols.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec.structs import replace

from recordings.checking import check_files, open_checked
from recordings.format.manifest import Manifest, Segment, inside, read_manifest
from recordings.format.rows_to_messages import (
    LEVEL_COLUMNS,
    book_messages,
    end_of_message,
    flat_messages,
    split_complete,
)
from recordings.format.schema import MESSAGE_TABLES, TABLES
from recordings.reading.raw_frames import RAW_BATCH, opened, reading, sealed_frames
from recordings.reading.selecting import Selection, keys_of, select_in
from recordings.reading.sorted_rows import row_keys, rows_in_order, said_columns
from toolkit.borders import Shown
from toolkit.clock import format_ns
from toolkit.errors import ConfigError, RecordingDamaged
from toolkit.frames import Frame
from toolkit.keys import PairKey, PairName, named
from toolkit.messages import FORM_FULL, EventKind, Message, StreamEvent

if TYPE_CHECKING:
    from recordings.reading.tail import Tail
    from recordings.reading.unsealed import Unsealed

__all__ = ["Recording", "folder_of"]

#: Of journals that are not sealed: so much is played for a summary, which takes some two seconds.
SUMMARY_BYTES: Final = 64 << 20
#: Rows of one table that are read at a time, where they lie in order.
BATCH_ROWS: Final = 32_768
#: Rows of these that are messages at one time: few at first, since after a seek the first messages are wanted soon.
PORTION_ROWS_FIRST: Final = 1024
PORTION_ROWS: Final = 16_384
#: Rows decoded, at least, before what was decoded is given back.
_RELEASED_ROWS: Final = 1 << 18
#: Strings are read as dictionaries: each distinct one becomes a Python string once, not once per row.
_DICTIONARY_COLUMNS: Final = {
    table: [field.name for field in TABLES[table] if field.type == pa.string()] for table in MESSAGE_TABLES
}


def folder_of(path: object) -> Path:
    """The folder of one recording. Raises ConfigError for what is no path, such as a list of several."""
    # Python takes bytes for a path too, but joins them with no text.
    if not isinstance(path, str | PathLike) or isinstance(fspath(path), bytes):
        raise ConfigError(f"expected one recording, open or by its folder, received a {type(path).__name__}")
    return Path(path)


#: Pairs that the repr of a recording names.
_NAMES_SHOWN: Final = 5


class Recording(Shown):
    """
    A recording, opened by `Recording.open`.

    One that is being recorded, or whose recorder died and that was not recovered yet, has a tail besides what is sealed.

    Args:
        path: Its folder.
        manifest: Manifest of the recording.
        sealed: Whether it is what is sealed, and nothing besides.

    Attributes:
        path: Its folder.
        manifest: Manifest of the recording: of the sealed part.
    """

    def __init__(self, path: Path, manifest: Manifest, *, sealed: bool = True) -> None:
        self.path = path
        self.manifest = manifest
        self._is_sealed_only = sealed
        self._tail: Tail | None = None
        self._is_looked_for = sealed

    @classmethod
    def open(cls, path: str | PathLike[str], *, sealed: bool = False) -> Self:
        """
        Open a recording's folder.

        Args:
            path: The folder.
            sealed: Leave out what is not sealed yet.

        Raises:
            NotARecording: It is none.
            FormatTooNew: A newer tickdeck wrote it.
            RecordingDamaged: Its manifest cannot be read.
            ConfigError: It is no path, but a list of several, say.
        """
        folder = folder_of(path)
        return cls(folder, read_manifest(folder), sealed=sealed)

    def _shown(self) -> str:
        manifest = self.manifest
        segments = manifest.segments
        keys = named(PairKey(name.partition("/")[0], pair) for name, pair in manifest.symbols.items())
        names = ", ".join(keys[:_NAMES_SHOWN]) + (
            f" and {len(keys) - _NAMES_SHOWN} more" if len(keys) > _NAMES_SHOWN else ""
        )
        parts = [", ".join(source.venue for source in manifest.sources), names or "no pairs"]
        if segments:
            span = (min(each.ts_recv_first for each in segments), max(each.ts_recv_last for each in segments))
            parts.append(" to ".join(f"{format_ns(ns)[:19]}Z" for ns in span))
        parts.append(f"{sum(each.frame_count for each in segments):,} frames ({manifest.status})")
        return f"{self.path}: {'; '.join(parts)}"

    @property
    def tail(self) -> Tail | None:
        """
        What is not sealed yet, as far as it was written when this is first asked for; None if all is sealed.

        Raises RecordingError if the folder cannot be read.
        """
        if not self._is_looked_for:
            from recordings.reading.tail import look_for_tail  # it imports this module

            self._tail = look_for_tail(self.path, self.manifest)
            self._is_looked_for = True
        return self._tail

    def unsealed(self) -> Unsealed | None:
        """
        How much is not sealed yet, without reading it; None if all is, or if that was to be left out.

        Raises RecordingError if the folder cannot be read.
        """
        if self._is_sealed_only:
            return None
        from recordings.reading.unsealed import unsealed_part  # likewise

        return unsealed_part(self.path, self.manifest)

    def sealed_part(self) -> Self:
        """The recording without what is not sealed yet."""
        return type(self)(self.path, self.manifest)

    def for_summary(self) -> Self:
        """All of it, or its sealed part where playing the rest takes longer than anybody waits for a summary."""
        unsealed = self.unsealed()
        return self if unsealed is None or unsealed.journal_bytes <= SUMMARY_BYTES else self.sealed_part()

    @property
    def symbols(self) -> dict[str, str]:
        """
        Every symbol with a row, as `venue/symbol`, and its trading pair; a tail is played for it.

        Raises RecordingError.
        """
        tail = self.tail
        symbols = self.manifest.symbols
        return symbols if tail is None else dict(sorted({**symbols, **tail.summary.symbols}.items()))

    @property
    def trading_pairs(self) -> list[str]:
        """
        The trading pair of every instrument in it, in alphabetical order; one that two venues have is there twice.

        A tail is played for it. Raises RecordingError.
        """
        return sorted(key.trading_pair for key in self.keys)

    @property
    def keys(self) -> list[PairKey]:
        """Venue and trading pair of every instrument in it, sorted; a tail is played for it. Raises RecordingError."""
        return sorted(keys_of([self.described()]))

    def described(self, names: Collection[str] | None = None) -> Manifest:
        """
        The manifest, with the symbols of the tail among its own.

        Args:
            names: Pairs and symbols that it takes to know, if they are there; None for all of the tail's, which is played.
        """
        tail, symbols = self.tail, self.manifest.symbols
        if tail is None:
            return self.manifest
        if names is None:
            return replace(self.manifest, symbols=self.symbols)
        known = {*symbols.values(), *(name.partition("/")[2] for name in symbols)}
        missing = [name for name in names if name not in known]
        return replace(self.manifest, symbols={**symbols, **tail.names(missing)}) if missing else self.manifest

    @property
    def span(self) -> tuple[int, int] | None:
        """Earliest and latest receive time of its frames, ns; None if it holds none. Raises RecordingError."""
        firsts = [segment.ts_recv_first for segment in self.manifest.segments]
        lasts = [segment.ts_recv_last for segment in self.manifest.segments]
        if (tail := self.tail) is not None and tail.end_seq > tail.begin_seq:
            firsts.append(tail.first_ns)
            lasts.append(tail.last_ns)
        return (min(firsts), max(lasts)) if firsts else None

    def files(self, table: str, *, check: bool = True) -> list[Path]:
        """
        The sealed files of a table, in order, each found to be the one that was sealed unless `check` is false.

        Raises RecordingDamaged for one that is missing or another.
        """
        segments = self.manifest.segments
        files = [segment.tables[table] for segment in segments if table in segment.tables]
        return check_files(self.path, files) if check else [inside(self.path, file.path) for file in files]

    def pairs_with_book(self) -> set[tuple[str, str]]:
        """
        Venue and trading pair of every book that its messages speak of, also where only its staleness was stated.

        Found in columns, without making messages. Raises RecordingDamaged.
        """
        found: set[tuple[str, str]] = set()
        names = ["venue", "trading_pair"]
        for table in ("book", "bbo", "events"):
            words = [*names, "symbol", "kind", "stream"] if table == "events" else names
            for path in self.files(table):
                with reading(path):
                    parquet = opened(path, words=words)
                    for batch in parquet.iter_batches(columns=words):
                        rows = pa.Table.from_batches([batch])
                        if table == "events":
                            is_book = pc.and_(pc.equal(rows["kind"], "stale"), pc.equal(rows["stream"], FORM_FULL))
                            rows = rows.filter(pc.and_(is_book, pc.not_equal(rows["symbol"], "")))
                        keys = rows.select(names).cast(pa.schema([(name, pa.string()) for name in names]))
                        distinct = keys.group_by(names).aggregate([])
                        found.update(zip(*(distinct[name].to_pylist() for name in names), strict=True))
        for messages in self.tail.messages(tables=("book", "bbo", "events")) if self.tail is not None else ():
            for message in messages:
                is_stale = isinstance(message, StreamEvent) and message.kind is EventKind.STALE
                if not isinstance(message, StreamEvent) or (
                    is_stale and message.stream == FORM_FULL and message.symbol
                ):
                    found.add((message.venue, message.trading_pair))
        return found

    def raw_frames(
        self, segments: Sequence[Segment] | None = None, batch_rows: int = RAW_BATCH, *, first_seq: int = 0
    ) -> Iterator[list[Frame]]:
        """
        Frames from number `first_seq` on, in order, a list at a time.

        Args:
            segments: Sealed segments that are wanted; None for all, and for the tail after them.
            batch_rows: Frames read at a time.
            first_seq: The first frame.
        """
        yield from sealed_frames(
            self.path, self.manifest.segments if segments is None else segments, batch_rows, first_seq=first_seq
        )
        if segments is None and self.tail is not None:
            yield from self.tail.frames(first_seq)

    def messages(
        self,
        segments: Sequence[Segment] | None = None,
        *,
        tables: Collection[str] = MESSAGE_TABLES,
        trading_pairs: Collection[PairName] | PairName | None = None,
        venues: Collection[str] | str | None = None,
        selection: Selection | None = None,
        batch_rows: int | None = None,
        first_seq: int = 0,
        reader: Executor | None = None,
    ) -> Iterator[list[Message]]:
        """
        Messages, in order, a list at a time.

        Args:
            segments: Sealed segments that are wanted; None for all, and for the tail after them.
            tables: Kinds of messages, by the names of their tables.
            trading_pairs: Pairs to keep, by name or key, or symbols; None for all. Events of whole connections come
                along.
            venues: Venues that are wanted; None for all.
            selection: Both, found out already (`recordings.reading.selecting`).
            batch_rows: Rows of a table read, and made into messages, at a time; None to choose. Any number gives the
                same messages.
            first_seq: Frame whose messages are the first.
            reader: Thread that decodes ahead; None for a thread of its own. Several recordings had better share one: each
                thread holds memory of its own.
        """
        if selection is None:
            selection = select_in([self], trading_pairs=trading_pairs, venues=venues)
        with nullcontext(reader) if reader is not None else ThreadPoolExecutor(1) as decoder:
            portion_rows = PORTION_ROWS_FIRST
            decoded = 0
            for segment in self.manifest.segments if segments is None else segments:
                if segment.capture_seq_last >= first_seq:
                    runs = self._runs(segment, tables, selection, batch_rows, first_seq, decoder, portion_rows)
                    yield from _merged(runs)
                    portion_rows = PORTION_ROWS  # of a small segment, a portion costs as much as its rows
                    decoded += sum(file.rows for table, file in segment.tables.items() if table in tables)
                    if decoded >= _RELEASED_ROWS:
                        # What was decoded is free again, but the thread that did it keeps it for itself until it is told;
                        # after each of many small segments it would only ask for the same memory again.
                        decoder.submit(pa.default_memory_pool().release_unused)
                        decoded = 0
        if segments is None and self.tail is not None:
            yield from self.tail.messages(tables=tables, selection=selection, first_seq=first_seq)

    def _runs(
        self,
        segment: Segment,
        tables: Collection[str],
        selection: Selection | None,
        batch_rows: int | None,
        first_seq: int,
        reader: Executor,
        portion_rows: int,
    ) -> list[_Run]:
        runs: list[_Run] = []
        for table in MESSAGE_TABLES:
            file = segment.tables.get(table)
            if file is not None and table in tables:
                path = self.path / file.path  # which is checked where it is opened
                source = open_checked(self.path, file)
                rows = batch_rows or BATCH_ROWS
                runs.append(_Run(path, source, table, selection, first_seq, rows, reader, portion_rows))
        return runs


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
    """
    The rows of one table, as messages with their keys, a portion at a time.

    One batch of rows is held as columns and one is being read; only a portion of them is made into messages.
    """

    def __init__(
        self,
        path: Path,
        source: pa.NativeFile,
        table: str,
        selection: Selection | None,
        first_seq: int,
        batch_rows: int,
        reader: Executor,
        portion_rows: int,
    ) -> None:
        self._path = path
        self._table = table
        with reading(path):
            metadata = pq.read_metadata(source)
            there = metadata.schema.to_arrow_schema().names
            words = [name for name in _DICTIONARY_COLUMNS[table] if name in there]
            parquet = opened(source, metadata, words)
            # Books without levels have neither prices nor sides, and are books.
            said = said_columns(metadata, LEVEL_COLUMNS if table == "book" else ())
        self._batches = rows_in_order(
            parquet, selection=selection, first_seq=first_seq, batch_rows=batch_rows, columns=said
        )
        self._reader = reader
        # Decoding and sorting do not need the interpreter, so that goes on one batch ahead; not where recordings that
        # overlap share what one may hold.
        self._is_ahead = batch_rows >= BATCH_ROWS
        self._coming: Future[pa.RecordBatch | None] | None = reader.submit(next, self._batches, None)
        self._is_over = False
        self._batch: pa.RecordBatch | None = None
        self._portion_rows = portion_rows
        self._portion_rows_max = min(PORTION_ROWS, batch_rows)
        self._rest: pa.RecordBatch | None = None
        self._messages: list[Message] = []
        self.keys: Any = np.empty(0, np.int64)

    def fill(self) -> bool:
        """Read on if the buffer is empty; False once nothing is left."""
        while not self._messages:
            if self._batch is not None:
                batch, rows = self._batch, min(self._portion_rows, self._portion_rows_max)
                self._portion_rows = min(2 * rows, PORTION_ROWS)
                with reading(self._path):
                    if self._table == "book":
                        rows = end_of_message(batch, rows)
                    self._batch = batch.slice(rows) if len(batch) > rows else None
                    self._take_in(batch.slice(0, rows))
                continue
            if self._is_over:
                return False
            with reading(self._path):
                coming = self._coming or self._reader.submit(next, self._batches, None)
                self._batch = coming.result()
                self._is_over = self._batch is None
                is_next = self._is_ahead and not self._is_over
                self._coming = self._reader.submit(next, self._batches, None) if is_next else None
                if self._is_over and self._rest is not None:
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
            self.keys = row_keys(batch)[batch.column("is_first").to_numpy(zero_copy_only=False)]
        else:
            self._messages = flat_messages(self._table, batch)
            self.keys = row_keys(batch)
        if len(self.keys) > 1 and not (np.diff(self.keys) > 0).all():
            raise RecordingDamaged(f"{self._path} is not sorted by (capture_seq, sub_seq) within a symbol")
