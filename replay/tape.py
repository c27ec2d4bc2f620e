"""
One recording or several as one stream of messages.

The order of several is `(merge time, position in the argument list, capture_seq, sub_seq)`. The merge time of a message
is the latest `ts_recv` of its recording up to it: where a receive clock steps back, the recording keeps its own order, and
goes on at the time it had reached. Messages of one frame stay together. Each recording is opened when the stream comes
to its first receive time and closed at its end, so memory does not grow with their number or size.

Where no recording of a venue and symbol reaches from one to the next, two events say so: `STALE` for each form of the
book after the last message before the hole, and `GAP`, with both ends of the hole, before the first message
after it. They belong to no frame: their `capture_seq` is -1. After the hole nothing holds that was known before it: book,
funding and metadata begin again.

What a recording holds that is not sealed yet is played after what is (`recordings/reading/tail.py`), in both fidelities by the
protocols, from the state after the sealed part.

A seek takes each recording's own state at that time. Where two say something of one pair, and no hole parts them, their
messages have changed one book in turns, which no state of either knows: then all are played from where the second began.

| at one merge time | goes |
|---|---|
| `GAP` of a hole that ends there | first, by venue and symbol |
| messages | by position of their recording |
| `STALE` of a hole that begins there | last, by venue and symbol |
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice
from itertools import chain as chained
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from recordings.format.manifest import Segment
from recordings.format.schema import MESSAGE_TABLES, TABLE_OF
from recordings.queries.several_recordings import refuse_twice
from recordings.reading.raw_frames import RAW_BATCH
from recordings.reading.selecting import Selection, keys_of, select_in, wanted_keys
from recordings.recording import BATCH_ROWS, Recording
from recordings.states.normalizer import Normalizer
from replay.holes import HOLE, FormsOf, Hole, gap_event, holes_between, stale_events
from replay.reels import Reel, merged
from replay.seeking import Start, StartFinder, books_of
from replay.state_messages import Beginning, messages_of_state
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker, TrackerState, empty_pair
from toolkit.digest import DigestChain
from toolkit.errors import ConfigError, SymbolError
from toolkit.frames import Frame
from toolkit.keys import PairName
from toolkit.messages import Message

if TYPE_CHECKING:
    from recordings.queries.clock_steps import ClockStep

__all__ = ["CHANNELS", "HOLE", "NOTICES", "Batch", "Books", "Fidelity", "FormsOf", "Hole", "Tape"]

Fidelity = Literal["raw", "normalized"]
#: What a channel filter can name: kinds of messages, as the tables of a recording are called. Events always come along.
CHANNELS: Final = MESSAGE_TABLES
#: No frame has this number.
NEVER_SEQ: Final = 1 << 62
#: In place of a recording's position, for the events about holes.
NOTICES: Final = -1
#: States before a time that are looked at, at most, for one that can be said in messages: a book may be stale for long.
_STATES_TRIED: Final = 12


class Books(Protocol):
    """What is brought up to date by every message, those too that a seek passes over: an `OrderBookTracker`, mostly."""

    def apply(self, message: Message) -> OrderBook | None:
        """Take a message in."""

    def clear(self) -> None:
        """Forget everything: the tape goes elsewhere."""

    def restore(self, state: TrackerState) -> None:
        """Become what a checkpoint described."""

    def fused_forms(self, trading_pair: str, venue: str) -> list[str]:
        """Forms of a pair's book seen so far."""


class Batch(NamedTuple):
    """Messages that follow each other, all of one recording, and its position among the arguments."""

    position: int
    messages: list[Message]


class Tape:
    """
    What is played: recordings in a fixed order, filtered.

    Args:
        recordings: Recordings in the order that decides ties.
        fidelity: `raw` or `normalized`.
        trading_pairs: Pairs to keep, by name or key, or symbols; None for all. Events of whole connections come along.
        venues: Venues to keep; None for all.
        channels: Kinds of messages to keep, of `CHANNELS`; None for all. Events always come along.
        batch_rows: Rows read at a time; None to choose. Any number gives the same messages.

    Raises ConfigError for a recording that stands there twice, a channel that does not exist or a venue that no recording
    is of, SymbolError for a pair that none has.

    Attributes:
        recordings: Recordings as given.
        fidelity: Fidelity as given.
        batch_rows: Rows as given.
        is_filtered: Whether anything may be left out.
        keys: Venue and pair of each instrument that is kept.
        first_ns: Earliest receive time of any frame; 0 if there is none.
        last_ns: Latest one.
        holes: Between recordings of the same symbol.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        fidelity: Fidelity = "normalized",
        trading_pairs: Collection[PairName] | PairName | None = None,
        venues: Collection[str] | str | None = None,
        channels: Collection[str] | None = None,
        batch_rows: int | None = None,
    ) -> None:
        for channel in channels or ():
            if channel not in CHANNELS:
                raise ConfigError(f"unknown channel {channel!r}, expected one of {', '.join(CHANNELS)}")
        self.recordings = list(recordings)
        refuse_twice(self.recordings)
        self.fidelity = fidelity
        if trading_pairs is not None and not trading_pairs:
            raise SymbolError("no pair was named, expected at least one; leave trading_pairs out for all")
        self._selection = selection = select_in(self.recordings, trading_pairs=trading_pairs, venues=venues)
        self.keys = self._keys_to_come(selection)
        self._channels = None if channels is None else {*channels, "events"}
        self.batch_rows = batch_rows
        self.is_filtered = selection is not None or channels is not None
        spans = [span for recording in recordings if (span := recording.span) is not None]
        self.first_ns = min((first for first, _ in spans), default=0)
        self.last_ns = max((last for _, last in spans), default=0)
        self.holes = holes_between(self.recordings, selection) if len(recordings) > 1 else []
        self._reader = ThreadPoolExecutor(1)  # starts no thread before there is something to read
        self._books: dict[int, set[_Key]] = {}
        self._steps: list[ClockStep] | None = None
        self._finders = [StartFinder(recording, is_raw=fidelity == "raw") for recording in self.recordings]

    @property
    def clock_steps(self) -> Sequence[ClockStep]:
        """Steps of the recorders' clocks, each recording's in order."""
        if self._steps is None:
            stepped = [each for each in self.recordings if _has_stepped(each)]
            self._steps = []
            if stepped:  # few have any, and what finds them takes a while to load
                from recordings.queries.clock_steps import clock_steps

                self._steps = [step for recording in stepped for step in clock_steps(recording)]
        return self._steps

    @property
    def selection(self) -> Selection | None:
        """What of the recordings is kept; None for all."""
        return self._selection

    @property
    def channels(self) -> Collection[str] | None:
        """Tables that are kept; None for all."""
        return self._channels

    def check_frames(self) -> None:
        """Raise ConfigError for a tape without a frame, which no time is on."""
        if not any(recording.span for recording in self.recordings):
            where = ", ".join(str(recording.path) for recording in self.recordings)
            raise ConfigError(f"{where} holds no frame yet, so there is no time to begin or end at")

    def check_market(self) -> None:
        """Raise ConfigError for a tape that nothing can trade on: one without a frame, or of the result of a run."""
        for recording in self.recordings:
            if recording.manifest.is_result:
                raise ConfigError(
                    f"{recording.path} is the result of a run, which holds no market: name the recording it ran on"
                )
        self.check_frames()

    def batches(self, forms_of: FormsOf) -> Iterator[Batch]:
        """
        The messages, in order.

        Args:
            forms_of: Asked when a hole begins, once every message before it has been taken in.
        """
        if len(self.recordings) == 1:
            for messages in self._messages(0, self.batch_rows, Start()):
                yield Batch(0, messages)
            return
        rows = self.batch_rows or self._rows_each()
        reels = []
        for position, recording in enumerate(self.recordings):
            span = recording.span
            if span is not None:
                messages_of_it = _keyed(self._messages(position, rows, Start()))
                reels.append(_Reel(position, position, messages_of_it, span[0]))
        yield from self._all(reels, forms_of, -1)

    def batches_near(self, ns: int, tracker: Books, digest: DigestChain | None) -> Iterator[Batch]:
        """
        Bring fresh books, and the digest, to a moment not later than `ns`; the messages from there on, in order.

        Args:
            ns: The time that is sought.
            tracker: Books to bring there; the tracker must take in what follows, since it is asked for its forms when a
                hole begins.
            digest: Digest to bring there; None for none. That of several recordings is known from their beginning only.
        """
        if self._channels is not None or (digest is not None and (self.is_filtered or len(self.recordings) > 1)):
            return self.batches(tracker.fused_forms)
        if len(self.recordings) == 1:
            start = self._finders[0].before(ns, with_digest=digest is not None)
            if start.state is not None:
                tracker.restore(books_of(start.state.tracker, self._kept))
                if digest is not None:
                    digest.restart(start.state.digest)
            return (Batch(0, messages) for messages in self._messages(0, self.batch_rows, start))
        ns = self._known_until(ns)
        composed = self._several_at(ns)
        if composed is None:
            return self.batches(tracker.fused_forms)
        state, reels = composed
        tracker.restore(state)
        for hole in sorted(self.holes):
            if hole.start_ns < ns <= hole.end_ns:
                for event in stale_events(hole, tracker.fused_forms):
                    tracker.apply(event)
        return self._all(reels, tracker.fused_forms, ns)

    def beginning_near(self, ns: int) -> Beginning | None:
        """
        Where to begin reading rows so that the state at a time is known soon.

        None where that is the beginning of the tape: for several recordings, some channels, and what no state can be
        said of in messages.
        """
        if self._channels is not None or len(self.recordings) != 1:
            return None
        for start in islice(self._finders[0].starts(ns, with_digest=False), _STATES_TRIED):
            if start.state is not None:
                messages = messages_of_state(books_of(start.state.tracker, self._kept), start.capture_seq - 1)
                if messages is not None:
                    return Beginning(start.segment, start.capture_seq, messages)
        return None

    def _several_at(self, ns: int) -> tuple[TrackerState, list[_Reel]] | None:
        """
        Books of several recordings at a time before which no two took turns at one book, and what each goes on with.

        None if it takes playing from the beginning.
        """
        rows = self.batch_rows or self._rows_each()
        state = TrackerState([], [], [])
        reels: list[_Reel] = []
        gone: set[_Key] = set()
        for position, recording in enumerate(self.recordings):
            span = recording.span
            if span is None:
                continue
            if span[0] >= ns:
                reels.append(_Reel(position, position, _keyed(self._messages(position, rows, Start())), span[0]))
                continue
            keys = self._keys(position)
            holding = {key for key in keys if not self._is_past(key, span[1], ns)}
            gone |= (keys - holding) & self._pairs_with_book(position) if keys - holding else set()
            if keys and not holding:
                continue
            start = self._finders[position].before(ns, with_digest=False)
            tracker = OrderBookTracker(checked=True)
            if start.state is not None:
                tracker.restore(books_of(start.state.tracker, self._kept))
            # Everything before was received before that time, so from then on the merge times are what they would be.
            batches = _keyed(self._messages(position, rows, start))
            for stamps, messages in batches:
                cut = bisect_left(stamps, ns)
                for message in messages[:cut]:
                    tracker.apply(message)
                if cut < len(messages):
                    rest = (stamps[cut:], messages[cut:])
                    reels.append(_Reel(position, position, chained([rest], batches), stamps[cut]))
                    break
            own = tracker.export()
            if not _keys_of(own) <= keys:
                return None  # it calls a symbol by several pairs, so who else speaks of them is not known
            state.pairs += [each for each in own.pairs if (each.venue, each.trading_pair) in holding]
            state.funding += [each for each in own.funding if (each.venue, each.trading_pair) in holding]
            state.instruments += [each for each in own.instruments if (each.venue, each.trading_pair) in holding]
        # Playing leaves an empty book of what a hole has ended, and none where there never was one.
        gone -= {(each.venue, each.trading_pair) for each in state.pairs}
        state.pairs += [empty_pair(*key) for key in sorted(gone)]
        return state, reels

    def _pairs_with_book(self, position: int) -> set[_Key]:
        """Venue and pair of the books that a recording speaks of; looked up once."""
        if position not in self._books:
            self._books[position] = self.recordings[position].pairs_with_book()
        return self._books[position]

    def _known_until(self, ns: int) -> int:
        """The latest time, `ns` at most, before which no two recordings took turns at one book."""
        spans = [recording.span for recording in self.recordings]
        while True:
            begun: dict[_Key, list[int]] = {}
            for position, span in enumerate(spans):
                if span is not None and span[0] < ns:
                    for key in self._keys(position):
                        if not self._is_past(key, span[1], ns):
                            begun.setdefault(key, []).append(span[0])
            second = min((sorted(firsts)[1] for firsts in begun.values() if len(firsts) > 1), default=None)
            if second is None:
                return ns
            ns = second

    def _is_past(self, key: _Key, last_ns: int, ns: int) -> bool:
        """Whether a hole that ended before `ns` follows what a recording, which ends at `last_ns`, said of a pair."""
        return any(
            (hole.venue, hole.trading_pair) == key and last_ns <= hole.start_ns and hole.end_ns < ns
            for hole in self.holes
        )

    def _keys(self, position: int) -> set[_Key]:
        """Venue and pair of what a recording speaks of, and is kept."""
        symbols = self.recordings[position].symbols
        keys = {(name.partition("/")[0], pair) for name, pair in symbols.items()}
        return {key for key in keys if self._kept is None or key in self._kept}

    def _keys_to_come(self, selection: Selection | None) -> frozenset[_Key]:
        """Instruments that are kept; of what is not sealed yet those that were asked for, since others are not known."""
        keys: set[_Key] = set()
        keys |= keys_of(each.manifest for each in self.recordings) if selection is None else selection.keys
        for recording in self.recordings:
            if recording.tail is not None:
                keys |= wanted_keys(recording.manifest, None if selection is None else selection.wish)
        return frozenset(keys)

    @property
    def _kept(self) -> frozenset[_Key] | None:
        return None if self._selection is None else self._selection.keys

    def _all(self, reels: Sequence[_Reel], forms_of: FormsOf, from_ns: int) -> Iterator[Batch]:
        """Recordings with the events about the holes between them, of that time or later."""
        notices = _Reel(NOTICES, NOTICES, self._gaps(from_ns))
        stales = _Reel(len(self.recordings), NOTICES, self._stales(forms_of, from_ns))
        return (Batch(*taken) for taken in merged([notices, *reels, stales]))

    @property
    def most_at_once(self) -> int:
        """How many recordings there are of one time, at most."""
        spans = [span for recording in self.recordings if (span := recording.span) is not None]
        return max((sum(first <= start <= last for first, last in spans) for start, _ in spans), default=1)

    def _rows_each(self) -> int | None:
        """Rows of a table read at a time, so that what recordings hold at one time together is what one may hold."""
        return max(64, (RAW_BATCH if self.fidelity == "raw" else BATCH_ROWS) // self.most_at_once)

    def _messages(self, position: int, batch_rows: int | None, start: Start) -> Iterator[list[Message]]:
        recording = self.recordings[position]
        segments: list[Segment] = recording.manifest.segments[start.segment :]
        seq = start.capture_seq
        if self.fidelity == "normalized":
            tables = MESSAGE_TABLES if self._channels is None else self._channels
            yield from recording.messages(
                segments,
                tables=tables,
                selection=self._selection,
                batch_rows=batch_rows,
                first_seq=seq,
                reader=self._reader,
            )
            if recording.tail is not None:
                yield from recording.tail.messages(tables=tables, selection=self._selection)
            return
        normalizer = start.normalizer or Normalizer.for_sources(recording.manifest.sources)
        selection, channels = self._selection, self._channels
        tail_seq = NEVER_SEQ if recording.tail is None else recording.tail.begin_seq
        for frames in _frames(recording, segments, batch_rows or RAW_BATCH, seq):
            messages: list[Message] = []
            for frame in frames:
                messages += normalizer.messages(frame)
            if selection is not None and frames[0].capture_seq >= tail_seq:
                messages = [each for each in messages if selection.wants(each.venue, each.symbol, each.trading_pair)]
            elif selection is not None:
                messages = [each for each in messages if selection.takes(each.venue, each.symbol)]
            if channels is not None:
                messages = [message for message in messages if TABLE_OF[type(message)] in channels]
            yield messages

    def _gaps(self, from_ns: int) -> Iterator[_Keyed]:
        for hole in sorted(self.holes, key=lambda hole: (hole.end_ns, hole.venue, hole.symbol)):
            if hole.end_ns >= from_ns:
                yield [hole.end_ns], [gap_event(hole)]

    def _stales(self, forms_of: FormsOf, from_ns: int) -> Iterator[_Keyed]:
        for hole in sorted(self.holes):
            if hole.start_ns < from_ns:
                continue
            # The merge asks for these once it knows their time; the forms are those seen when their turn comes.
            yield [hole.start_ns], []
            events = stale_events(hole, forms_of)
            if events:
                yield [hole.start_ns] * len(events), events


def _frames(
    recording: Recording, segments: Sequence[Segment], batch_rows: int, first_seq: int
) -> Iterator[list[Frame]]:
    """The frames of these last segments, and what is not sealed yet."""
    yield from recording.raw_frames(segments, batch_rows, first_seq=first_seq)
    if recording.tail is not None:
        yield from recording.tail.frames()


def _has_stepped(recording: Recording) -> bool:
    """Whether the clock of its recorder stepped."""
    if recording.manifest.counts.get("event_clock_step"):
        return True
    return recording.tail is not None and "clock_step" in recording.tail.controls


_Keyed = tuple[list[int], list[Message]]
_Reel = Reel[list[Message]]
_Key = tuple[str, str]  # venue and trading pair


def _keys_of(state: TrackerState) -> set[_Key]:
    keys = {(each.venue, each.trading_pair) for each in state.pairs}
    keys |= {(each.venue, each.trading_pair) for each in state.funding}
    return keys | {(each.venue, each.trading_pair) for each in state.instruments}


def _keyed(batches: Iterator[list[Message]]) -> Iterator[_Keyed]:
    """With each message its merge time."""
    reached = -1
    for messages in batches:
        if messages:
            keys = list(accumulate((message.ts_recv for message in messages), max, initial=reached))[1:]
            reached = keys[-1]
            yield keys, messages
