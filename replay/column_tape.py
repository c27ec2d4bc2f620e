"""
A tape as columns: the messages of recordings in the order in which `Tape` plays them, without making one.

What there is of each table is decoded in threads of their own, a stretch ahead of what is merged and taken, so that memory
does not grow with the recordings.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from recordings.columns.column_batch import ColumnBatch, Flag, Kind, Names, of_messages
from recordings.columns.column_runs import ROWS, columns_of
from recordings.columns.free_memory import keep_freed_memory
from recordings.format.schema import MESSAGE_TABLES
from replay.holes import FormsOf, gap_event, stale_events
from replay.reels import Reel, merged
from replay.state_messages import Beginning
from replay.tape import NOTICES, Tape
from toolkit.messages import Message

__all__ = ["ColumnTape"]

#: Threads that decode a table each, ahead of the one that merges and takes them.
_DECODERS: Final = 2


class _Portion:
    """A batch that can be sliced."""

    __slots__ = ("batch",)

    def __init__(self, batch: ColumnBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return self.batch.messages

    def __getitem__(self, place: slice) -> _Portion:
        begin, end, _ = place.indices(len(self))
        return _Portion(self.batch.part(begin, end))


_Keyed = tuple[Any, _Portion]


class ColumnTape:
    """
    The columns of a tape.

    Args:
        tape: Tape to read: recordings, filtered; its fidelity is of no consequence, since columns are normalized.
        batch_rows: Rows of a table that are read at a time; None to choose. Any number gives the same messages.
        ahead: Whether threads decode ahead.
        whole: Whether `ColumnBatch.message` shall make messages of every kind, then all columns are read; or of which tables
            besides those that it makes messages of anyway.

    Attributes:
        names: The pairs and forms that columns name by their place; those of the tape have the first ones, sorted.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        batch_rows: int | None = None,
        ahead: bool = True,
        whole: bool | Collection[str] = False,
    ) -> None:
        self._tape = tape
        self._batch_rows = batch_rows
        self._is_ahead = ahead
        self._whole = whole
        self.names = Names(sorted(tape.keys))
        #: Of each pair the forms of its fused book, in the order in which they first appeared, and whether of diffs.
        self._forms: dict[int, dict[int, bool]] = {}

    def batches(self, beginning: Beginning | None = None) -> Generator[ColumnBatch, None, None]:
        """
        The messages, in order; batches are of no particular size, none is empty.

        Args:
            beginning: Where to begin, as `Tape.beginning_near` says, and what is given before; None: at the beginning.

        Raises RecordingDamaged for files that are not as they were sealed.
        """
        keep_freed_memory()
        if not self._is_ahead:
            yield from self._batches(None, beginning)
            return
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="columns") as decoders:
            try:
                yield from self._batches(decoders, beginning)
            finally:
                decoders.shutdown(wait=False, cancel_futures=True)

    def _batches(self, decoders: Executor | None, beginning: Beginning | None) -> Generator[ColumnBatch, None, None]:
        tape = self._tape
        self._forms = {}
        if len(tape.recordings) == 1:
            if beginning is not None and beginning.messages:
                yield of_messages(beginning.messages, self.names, whole=bool(self._whole))
            yield from self._of(0, self._batch_rows or ROWS, decoders, beginning)
            return
        rows = self._batch_rows or max(64, ROWS // tape.most_at_once)
        reels: list[Reel[_Portion]] = [Reel(NOTICES, NOTICES, self._gaps())]
        for position, recording in enumerate(tape.recordings):
            if (span := recording.span) is not None:
                reels.append(Reel(position, position, _keyed(self._of(position, rows, decoders)), span[0]))
        reels.append(Reel(len(tape.recordings), NOTICES, self._stales(self._forms_of)))
        for _, portion in merged(reels):
            if len(portion):
                self._hear(portion.batch)
                yield portion.batch

    def _of(
        self, position: int, rows: int, decoders: Executor | None, beginning: Beginning | None = None
    ) -> Iterator[ColumnBatch]:
        tape = self._tape
        yield from columns_of(
            tape.recordings[position],
            self.names,
            tables=MESSAGE_TABLES if tape.channels is None else tape.channels,
            selection=tape.selection,
            batch_rows=rows,
            first_segment=0 if beginning is None else beginning.segment,
            first_seq=0 if beginning is None else beginning.capture_seq,
            whole=self._whole,
            decoders=decoders,
        )

    def _gaps(self) -> Iterator[_Keyed]:
        for hole in sorted(self._tape.holes, key=lambda hole: (hole.end_ns, hole.venue, hole.symbol)):
            yield np.array([hole.end_ns]), self._portion([gap_event(hole)])
            self._forms.pop(self.names.pair(hole.venue, hole.trading_pair), None)

    def _stales(self, forms_of: FormsOf) -> Iterator[_Keyed]:
        nothing = self._portion([])
        for hole in sorted(self._tape.holes):
            # The merge asks for these once it knows their time; the forms are those seen when their turn comes.
            yield np.array([hole.start_ns]), nothing
            events = stale_events(hole, forms_of)
            if events:
                yield np.full(len(events), hole.start_ns), self._portion(events)

    def _portion(self, messages: list[Message]) -> _Portion:
        return _Portion(of_messages(messages, self.names, whole=bool(self._whole)))

    def _hear(self, batch: ColumnBatch) -> None:
        """Note which forms the fused books consist of, as `OrderBookTracker.fused_forms` gives them."""
        rows = batch.rows[batch.rows["kind"] <= Kind.QUOTE]
        if not len(rows):
            return
        is_diff, is_fused = rows["kind"] == Kind.DIFF, (rows["flags"] & Flag.FUSED) != 0
        said = np.stack([rows["pair"], rows["form"], is_diff, is_fused], axis=1).astype(np.int64)
        distinct, first = np.unique(said, axis=0, return_index=True)
        for pair, form, is_diff, is_fused in distinct[np.argsort(first)].tolist():
            forms = self._forms.setdefault(pair, {})
            if is_fused:
                forms[form] = forms.get(form, True) and bool(is_diff)

    def _forms_of(self, trading_pair: str, venue: str) -> list[str]:
        forms = self._forms.get(self.names.pair(venue, trading_pair), {})
        ordered = sorted(forms, key=lambda form: forms[form])  # those with whole messages, then those of diffs alone
        return [self.names.forms[form] for form in ordered]


def _keyed(batches: Iterator[ColumnBatch]) -> Iterator[_Keyed]:
    """With each message its merge time: the latest receipt of its recording up to it."""
    reached = -1
    for batch in batches:
        keys = np.maximum(np.maximum.accumulate(batch.rows["ts_recv"]), reached)
        reached = int(keys[-1])
        yield keys, _Portion(batch)
