"""
One recording or several as one stream of messages.

The order of several is `(merge time, position in the argument list, capture_seq, sub_seq)`. The merge time of a message
is the latest `ts_recv` of its recording up to it: where a receive clock steps back, the recording keeps its own order, and
goes on at the time it had reached. Messages of one frame stay together. Each recording is opened when the stream comes
to its first receive time and let go of at its end, so memory does not grow with their number or size.

Where no recording of a venue and symbol reaches from one to the next, two events say so: `STALE` for each form of the
book behind the last message before the hole, and `GAP`, with both ends of the hole, before the first message
after it. They belong to no frame: their `capture_seq` is -1.

| at one merge time | goes |
|---|---|
| `GAP` of a hole that ends there | first, by venue and symbol |
| messages | by position of their recording |
| `STALE` of a hole that begins there | last, by venue and symbol |
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from recordings.checkpoints import read_checkpoint
from recordings.manifest import Segment
from recordings.normalize import Normalizer
from recordings.recording import BATCH_ROWS, BATCH_ROWS_TOTAL, RAW_BATCH, Recording
from recordings.schema import MESSAGE_TABLES, TABLE_OF
from toolkit.errors import ConfigError, SymbolError
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.tracker import TrackerState

__all__ = ["CHANNELS", "HOLE", "NOTICES", "Batch", "Fidelity", "FormsOf", "Hole", "Tape"]

Fidelity = Literal["raw", "normalized"]
#: What a channel filter can name: kinds of messages, as the tables of a recording are called. Events always come along.
CHANNELS: Final = MESSAGE_TABLES
#: Cause of the events about holes between recordings.
HOLE: Final = "between_recordings"
#: In place of a recording's position, for the events about holes.
NOTICES: Final = -1

#: Forms of the book heard of so far, by pair and venue.
FormsOf = Callable[[str, str], Sequence[str]]


class Batch(NamedTuple):
    """Messages that follow each other, all of one recording, and its position among the arguments."""

    position: int
    messages: list[Message]


class Hole(NamedTuple):
    """A time that no recording of a symbol covers, though there is one before and one after; ns."""

    start_ns: int
    end_ns: int
    venue: str
    symbol: str
    trading_pair: str


class Tape:
    """
    What is played: recordings in a fixed order, filtered.

    Args:
        recordings: In the order that decides ties.
        fidelity: `raw` or `normalized`.
        trading_pairs: Pairs to keep; None for all. Events of whole connections always come along.
        channels: Kinds of messages to keep, of `CHANNELS`; None for all. Events always come along.
        batch_rows: Rows read at a time; None to choose. Any number gives the same messages.

    Attributes:
        recordings: As given.
        is_filtered: Whether anything may be left out.
        first_ns: Earliest receive time of any frame; 0 if there is none.
        last_ns: Latest one.
        holes: Between recordings of the same symbol.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        fidelity: Fidelity = "normalized",
        trading_pairs: Collection[str] | None = None,
        channels: Collection[str] | None = None,
        batch_rows: int | None = None,
    ) -> None:
        for channel in channels or ():
            if channel not in CHANNELS:
                raise ConfigError(f"unknown channel {channel!r}, expected one of {', '.join(CHANNELS)}")
        self.recordings = list(recordings)
        self._fidelity = fidelity
        self._pairs = trading_pairs
        self._channels = None if channels is None else {*channels, "events"}
        self._batch_rows = batch_rows
        self.is_filtered = trading_pairs is not None or channels is not None
        spans = [span for recording in recordings if (span := _span(recording)) is not None]
        self.first_ns = min((first for first, _ in spans), default=0)
        self.last_ns = max((last for _, last in spans), default=0)
        self.holes = _holes(self.recordings, trading_pairs) if len(recordings) > 1 else []

    def check(self) -> None:
        """Raise SymbolError for a pair to keep that no recording has."""
        known = sorted({pair for recording in self.recordings for pair in recording.trading_pairs})
        for pair in self._pairs or ():
            if pair not in known:
                where = ", ".join(str(recording.path) for recording in self.recordings)
                raise SymbolError(f"{pair!r} is not in {where}, expected one of {', '.join(known)}")

    def batches(self, forms_of: FormsOf, skip: int = 0, normalizer: Normalizer | None = None) -> Iterator[Batch]:
        """
        The messages, in order.

        Args:
            forms_of: Asked when a hole begins, once every message before it has been taken in.
            skip: Segments left out at the beginning; only of one recording.
            normalizer: With the state behind those segments; only of one recording, played raw.
        """
        if len(self.recordings) == 1:
            for messages in self._messages(self.recordings[0], self._batch_rows, skip, normalizer):
                yield Batch(0, messages)
            return
        rows = self._batch_rows or self._rows_each()
        reels: list[_Reel] = [_Reel(NOTICES, NOTICES, self._gaps())]
        for position, recording in enumerate(self.recordings):
            span = _span(recording)
            if span is not None:
                reels.append(_Reel(position, position, _keyed(self._messages(recording, rows, 0, None)), span[0]))
        reels.append(_Reel(len(self.recordings), NOTICES, self._stales(forms_of)))
        yield from _merged(reels)

    def has_checkpoints(self, *, with_digest: bool) -> bool:
        """Whether the state at a segment's beginning can be had without playing what is before it."""
        if len(self.recordings) != 1 or self._channels is not None:
            return False
        return not (with_digest and self.is_filtered)

    def of_pairs(self, state: TrackerState) -> TrackerState:
        """The books of the pairs that are kept."""
        pairs = self._pairs
        if pairs is None:
            return state
        return TrackerState(
            [books for books in state.pairs if books.trading_pair in pairs],
            [info for info in state.funding if info.trading_pair in pairs],
            [instrument for instrument in state.instruments if instrument.trading_pair in pairs],
        )

    def segment_before(self, ns: int) -> int:
        """How many segments of the only recording lie wholly before that time and have a checkpoint behind them."""
        latest, found = -1, 0
        for number, segment in enumerate(self.recordings[0].manifest.segments):
            if number and latest < ns and segment.checkpoint is not None:
                found = number
            latest = max(latest, segment.ts_recv_last)
        return found

    def state_before(self, number: int) -> Normalizer:
        """Protocols, books and digest of the only recording before that segment, from its checkpoint."""
        recording = self.recordings[0]
        normalizer = Normalizer.for_sources(recording.manifest.sources)
        checkpoint = recording.manifest.segments[number].checkpoint
        if checkpoint is not None:
            read_checkpoint(recording.path, checkpoint, normalizer)
        return normalizer

    def _rows_each(self) -> int | None:
        """Rows per table and symbol, so that what recordings hold at one time together is what one may hold."""
        spans = [span for recording in self.recordings if (span := _span(recording)) is not None]
        most = max((sum(first <= start <= last for first, last in spans) for start, _ in spans), default=1)
        symbols = max((len(recording.manifest.symbols) for recording in self.recordings), default=1) or 1
        if self._fidelity == "raw":
            return max(64, RAW_BATCH // most)
        # Some three tables of each symbol are large.
        return min(BATCH_ROWS // most, max(1024, BATCH_ROWS_TOTAL // (3 * symbols * most))) or 1

    def _messages(
        self, recording: Recording, batch_rows: int | None, skip: int, normalizer: Normalizer | None
    ) -> Iterator[list[Message]]:
        segments: list[Segment] = recording.manifest.segments[skip:]
        if self._fidelity == "normalized":
            tables = MESSAGE_TABLES if self._channels is None else self._channels
            yield from recording.messages(segments, tables=tables, trading_pairs=self._pairs, batch_rows=batch_rows)
            return
        if normalizer is None:
            normalizer = Normalizer.for_sources(recording.manifest.sources)
        pairs = None if self._pairs is None else {*self._pairs, ""}
        channels = self._channels
        for frames in recording.raw_frames(segments, batch_rows or RAW_BATCH):
            messages: list[Message] = []
            for frame in frames:
                messages += normalizer.messages(frame)
            if pairs is not None:
                messages = [message for message in messages if message.trading_pair in pairs]
            if channels is not None:
                messages = [message for message in messages if TABLE_OF[type(message)] in channels]
            yield messages

    def _gaps(self) -> Iterator[_Keyed]:
        for hole in sorted(self.holes, key=lambda hole: (hole.end_ns, hole.venue, hole.symbol)):
            yield [hole.end_ns], [_event(hole, EventKind.GAP, hole.end_ns, ts_end=hole.end_ns)]

    def _stales(self, forms_of: FormsOf) -> Iterator[_Keyed]:
        for hole in sorted(self.holes):
            # The merge asks for these once it knows their time; the forms are those heard of when their turn comes.
            yield [hole.start_ns], []
            forms = forms_of(hole.trading_pair, hole.venue)
            if forms:
                yield (
                    [hole.start_ns] * len(forms),
                    [_event(hole, EventKind.STALE, hole.start_ns, stream=form) for form in forms],
                )


_Keyed = tuple[list[int], list[Message]]


def _event(hole: Hole, kind: EventKind, ns: int, *, stream: str = "", ts_end: int | None = None) -> Message:
    return StreamEvent(
        hole.venue,
        hole.symbol,
        hole.trading_pair,
        None,
        ns,
        -1,
        0,
        kind=kind,
        stream=stream,
        cause=HOLE,
        ts_start=hole.start_ns,
        ts_end=ts_end,
    )


def _span(recording: Recording) -> tuple[int, int] | None:
    """Earliest and latest receive time of its frames; None if it holds none."""
    segments = recording.manifest.segments
    if not segments:
        return None
    return min(segment.ts_recv_first for segment in segments), max(segment.ts_recv_last for segment in segments)


def _holes(recordings: Sequence[Recording], trading_pairs: Collection[str] | None) -> list[Hole]:
    spans: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for recording in recordings:
        span = _span(recording)
        if span is None:
            continue
        for name, pair in recording.manifest.symbols.items():
            venue, _, symbol = name.partition("/")
            if trading_pairs is None or pair in trading_pairs:
                spans.setdefault((venue, symbol, pair), []).append(span)
    holes = []
    for (venue, symbol, pair), covered in spans.items():
        covered.sort()
        reached = covered[0][1]
        for first, last in covered[1:]:
            if first > reached:
                holes.append(Hole(reached, first, venue, symbol, pair))
            reached = max(reached, last)
    return sorted(holes)


def _keyed(batches: Iterator[list[Message]]) -> Iterator[_Keyed]:
    """With each message its merge time."""
    reached = -1
    for messages in batches:
        if messages:
            keys = list(accumulate((message.ts_recv for message in messages), max, initial=reached))[1:]
            reached = keys[-1]
            yield keys, messages


class _Reel:
    """
    One input of the merge, read a batch at a time.

    Attributes:
        rank: Decides ties.
        position: What its batches are marked with.
        head_ns: Merge time of its next message; before a batch is read, a time that is not later.
    """

    def __init__(self, rank: int, position: int, batches: Iterator[_Keyed], head_ns: int = -1) -> None:
        self.rank = rank
        self.position = position
        self.head_ns = head_ns
        self._batches = batches
        self._keys: list[int] = []
        self._messages: list[Message] = []
        self._index = 0

    @property
    def is_empty(self) -> bool:
        """Whether the next batch must be read first."""
        return self._index == len(self._messages)

    def fill(self) -> bool:
        """Read the next batch; False at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        self._keys, self._messages = batch
        self._index = 0
        self.head_ns = self._keys[0]
        return True

    def take_before(self, head_ns: int, rank: int) -> list[Message]:
        """The messages of the batch that go before another reel's next one."""
        bisect = bisect_right if self.rank < rank else bisect_left
        begin, end = self._index, bisect(self._keys, head_ns, self._index)
        self._index = end
        self.head_ns = self._keys[min(end, len(self._keys) - 1)]
        return self._messages[begin:end]

    def take_all(self) -> list[Message]:
        begin, self._index = self._index, len(self._messages)
        self.head_ns = self._keys[-1]
        return self._messages[begin:]


def _merged(reels: list[_Reel]) -> Iterator[Batch]:
    while reels:
        reel = min(reels, key=lambda reel: (reel.head_ns, reel.rank))
        if reel.is_empty:
            # Its place is only known once it has been read.
            if not reel.fill():
                reels.remove(reel)
            continue
        others = [(other.head_ns, other.rank) for other in reels if other is not reel]
        messages = reel.take_before(*min(others)) if others else reel.take_all()
        yield Batch(reel.position, messages)
