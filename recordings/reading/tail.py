"""
The frames of a recording that are not sealed yet, read like those that are.

What is read is fixed at the first look: everything that had been written by then. The recorder may write on, rotate,
seal and remove journals meanwhile; each frame comes once, from wherever it is by then (`recordings/reading/growing.py`). Of a
recorder that has died it is what `recover` would seal, the statement of what may be lost included, so messages, books
and digest are those of the recovered recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from recordings.checking import read_checked
from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.manifest import Manifest, read_manifest
from recordings.format.messages_to_rows import COUNT_NAMES
from recordings.format.rows_to_messages import frames
from recordings.format.schema import TABLE_OF
from recordings.journal.journal_reader import journal_path, journal_segments
from recordings.journal.sign_of_life import SignOfLife, sign_of_life
from recordings.reading.growing import GrowingRecording
from recordings.reading.loss import Left, Loss, last_sealed_frame, loss_of
from recordings.reading.resume_state import resume_at_end
from recordings.reading.selecting import Selection
from recordings.reading.unsealed import Unsealed, Work, is_open, next_seq_of, work_on
from recordings.states.checkpoints import decode_checkpoint
from recordings.states.normalizer import Normalizer
from toolkit.clock import Clock, SystemClock
from toolkit.errors import RecordingDamaged, RecordingError
from toolkit.frames import CONTROL, Frame
from toolkit.gc_tuning import rare_collections
from toolkit.messages import OUT_OF_ORDER, BookTop, EventKind, Message, StreamEvent

__all__ = ["Tail", "TailSummary", "look_for_tail"]

#: Events that are kept of what was played; what can come with every frame is counted only.
_KEPT: Final = frozenset(
    {
        EventKind.GAP,
        EventKind.STALE,
        EventKind.LOST,
        EventKind.DISCONNECTED,
        EventKind.CLOCK_STEP,
        EventKind.CLOCK_STATE,
        EventKind.SESSION_END,
    }
)
#: How often it is looked for frames that were written during the look before.
_PASSES_MAX: Final = 20
#: Messages that `rows` makes columns of at a time.
_ROWS_AT_A_TIME: Final = 4096


class TailSummary(msgspec.Struct):
    """
    What the messages of a tail say, all of them played.

    Attributes:
        message_count: How many there are.
        counts: Counts by kind, and events as `event_<kind>`, as a manifest counts them.
        symbols: Trading pair of every symbol, as `venue/symbol`.
        events: Events that gaps, steps of the clock and remarks are made of, in order.
    """

    message_count: int = 0
    counts: dict[str, int] = {}
    symbols: dict[str, str] = {}
    events: list[StreamEvent] = []


class Tail:
    """
    What follows the sealed part of a recording; made by `look_for_tail`.

    Attributes:
        begin_seq: Its first frame.
        end_seq: The frame after its last one, those that state a loss included.
        first_ns: Earliest receive time of a frame, ns.
        last_ns: Latest one.
        unsealed: How many frames were written, since when, and who is at work.
        loss: Frames that its recorder, which has died, may have lost; None if it lives, or if nothing can be lost.
        missing: Frames that are missing among the journals, and journals that are of no use: one line each.
        unreadable: Parts of journals that cannot be read: one line each.
        controls: Events of the recorder, by their name: how many of each.
    """

    def __init__(self, folder: Path, manifest: Manifest, unsealed: Unsealed, loss: Loss | None) -> None:
        self._folder = folder
        self._manifest = manifest
        self.unsealed = unsealed
        self.loss = loss
        self.begin_seq = next_seq_of(manifest)
        #: The state after the sealed part, as it is in its file, which may go when the next segment is sealed.
        self._state = _state_of(folder, manifest)
        self._written_end = self.begin_seq + unsealed.frame_count
        self.end_seq = self._written_end + (len(loss.frames) if loss is not None else 0)
        times = [ns for ns in (unsealed.since_ns, unsealed.until_ns, loss and loss.until_ns) if ns is not None]
        self.first_ns, self.last_ns = min(times, default=0), max(times, default=0)
        self.missing: list[str] = []
        self.unreadable: list[str] = []
        self.controls: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """
        The frames, in order, as rows of the `raw` table.

        Raises RecordingDamaged if frames that were there at the first look are gone.
        """
        growing = GrowingRecording(self._folder, self.begin_seq, is_left=self.unsealed.work.is_left)
        seq = self.begin_seq
        if seq < self._written_end:
            for batch in growing.batches():
                part = batch.slice(0, self._written_end - seq)
                seq += len(part)
                yield part
                if seq == self._written_end:
                    break
        if seq < self._written_end:
            raise RecordingDamaged(
                f"{self._folder}: frames {seq} to {self._written_end - 1} went while the recording was open: "
                "see `tickdeck verify`"
            )
        if self.loss is not None:
            yield frames_to_batch(self.loss.frames)

    def frames(self, first_seq: int = 0) -> Iterator[list[Frame]]:
        """The frames from number `first_seq` on, a list at a time. Raises as `batches` does."""
        for batch in self.batches():
            begin = batch.column("capture_seq")[0].as_py()
            part = batch.slice(max(0, first_seq - begin))
            if len(part):
                yield frames(part)

    def normalizer(self) -> Normalizer:
        """One in the state after the sealed part. Raises RecordingDamaged if nothing holds that."""
        normalizer = Normalizer.for_sources(self._manifest.sources)
        if self._state is not None:
            with suppress(RecordingDamaged):
                decode_checkpoint(self._state, normalizer)
                if normalizer.chain.hexdigest() == self._manifest.digest:
                    return normalizer
            normalizer = Normalizer.for_sources(self._manifest.sources)  # it is none of this version's
        resume_at_end(self._folder, self._manifest, normalizer)
        return normalizer

    def messages(
        self,
        normalizer: Normalizer | None = None,
        *,
        tables: Collection[str] | None = None,
        selection: Selection | None = None,
        first_seq: int = 0,
    ) -> Iterator[list[Message]]:
        """
        The messages of the frames, in order, a list at a time.

        Args:
            normalizer: Normalizer in the state before the first of the frames; None to make one.
            tables: Kinds of messages, by the names of their tables; None for all.
            selection: Instruments that are wanted; None for all. Events of whole connections come along.
            first_seq: Frame whose messages are the first; those before are played all the same.

        Raises as `batches` and `normalizer` do.
        """
        normalizer = normalizer or self.normalizer()
        wants = None if selection is None else selection.wants
        for batch in self.frames():
            found: list[Message] = []
            for frame in batch:
                messages = normalizer.messages(frame)
                if frame.capture_seq >= first_seq:
                    found += messages
            if wants is not None:
                found = [each for each in found if wants(each.venue, each.symbol, each.trading_pair)]
            if tables is not None:
                found = [message for message in found if TABLE_OF[type(message)] in tables]
            if found:
                yield found

    def rows(self, table: str) -> Iterator[list[Message]]:
        """Messages of one table of the recording, `top` among them, a list at a time. Raises as `batches` does."""
        normalizer = self.normalizer()
        with_tops = table == TABLE_OF[BookTop]
        found: list[Any] = []
        for batch in self.frames():
            for frame in batch:
                for message in normalizer.messages(frame):
                    if with_tops:
                        _, top = normalizer.take(message)
                        if top is not None:
                            found.append(top)
                    elif TABLE_OF[type(message)] == table:
                        found.append(message)
                if len(found) >= _ROWS_AT_A_TIME:
                    yield found
                    found = []
        if found:
            yield found

    @cached_property
    def summary(self) -> TailSummary:
        """What all of its messages say; plays it, once. Raises as `messages` does."""
        summary = TailSummary()
        normalizer = self.normalizer()
        kinds: Counter[str] = Counter()
        with rare_collections():
            for batch in self.messages(normalizer):
                summary.message_count += len(batch)
                for message in batch:
                    kinds[COUNT_NAMES[type(message)]] += 1
                    normalizer.count(message)
                    if message.symbol:
                        summary.symbols[f"{message.venue}/{message.symbol}"] = message.trading_pair
                    if isinstance(message, StreamEvent) and (message.kind in _KEPT or message.cause == OUT_OF_ORDER):
                        summary.events.append(message)
        summary.counts = {**kinds, **normalizer.counts}
        return summary

    def names(self, wanted: Collection[str]) -> dict[str, str]:
        """
        Symbols of the tail, as `venue/symbol`, and their pairs: as many as it takes to know all that are wanted.

        Pairs and symbols are known from the first messages of an instrument, so a tail is played to its end for a name
        only that it does not have.
        """
        if "summary" in self.__dict__:
            return self.summary.symbols
        found: dict[str, str] = {}
        missing = set(wanted)
        for batch in self.messages():
            for message in batch:
                if message.symbol:
                    found[f"{message.venue}/{message.symbol}"] = message.trading_pair
                    missing -= {message.symbol, message.trading_pair}
            if not missing:
                break
        return found


def look_for_tail(folder: Path, manifest: Manifest, clock: Clock | None = None) -> Tail | None:
    """
    Read what is not sealed of a recording once, to know how far it goes: some three seconds a gigabyte.

    Args:
        folder: The recording.
        manifest: Manifest as it was opened; what was sealed since then belongs to the tail.
        clock: Tells when a recorder was dead for certain; None for the machine's.

    Returns:
        None if the manifest names everything that was recorded.

    Raises:
        RecordingError: The folder holds another recording by now, or is damaged.
    """
    if not is_open(folder, manifest):
        return None
    now = read_manifest(folder)
    work = work_on(folder, now)
    if work is None and next_seq_of(now) <= next_seq_of(manifest):
        return None
    is_left = work is not None and work.is_left
    growing = GrowingRecording(folder, next_seq_of(manifest), is_left=is_left)
    if growing.manifest.created_ns != manifest.created_ns:
        raise RecordingError(f"{folder} holds another recording now than when it was opened: open it again")
    since = until = None
    controls: Counter[str] = Counter()
    last: pa.RecordBatch | None = None
    for batch in growing.batches(_PASSES_MAX):
        times = batch.column("ts_recv").cast(pa.int64()).to_numpy()
        since = int(times[0]) if since is None else since
        until = int(times.max()) if until is None else max(until, int(times.max()))
        controls.update(_control_events(batch))
        last = batch.slice(len(batch) - 1)
    journals = [each for each in journal_segments(folder) if each >= len(growing.manifest.segments)]
    paths = [journal_path(folder, number) for number in journals]
    unsealed = Unsealed(
        work or Work(None, is_over=True),
        growing.next_seq - next_seq_of(manifest),
        since,
        until,
        sum(map(_size, paths)),
        len(journals),
    )
    loss = None
    if is_left:
        now = growing.manifest
        frame = frames(last)[0] if last is not None else last_sealed_frame(folder, now)
        left = Left(frame, _sign_of_life(paths), bool(journals) and growing.journal != journals[-1])
        loss = loss_of(folder, now, left, clock or SystemClock())
    tail = Tail(folder, manifest, unsealed, loss)
    tail.controls = controls
    tail.missing, tail.unreadable = growing.missing, growing.unreadable
    return tail


def _state_of(folder: Path, manifest: Manifest) -> bytes | None:
    if manifest.resume is None:
        return None
    with suppress(RecordingError):  # damaged, or superseded and removed since the manifest was read
        return read_checked(folder, manifest.resume)
    return None  # it takes longer then


def _size(path: Path) -> int:
    """Bytes of a file; of one that went meanwhile, none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sign_of_life(journals: list[Path]) -> SignOfLife:
    """What the last of them says; nothing, if it went meanwhile."""
    with suppress(OSError):
        return sign_of_life(journals[-1]) if journals else SignOfLife(None, 0)
    return SignOfLife(None, 0)


def _control_events(batch: pa.RecordBatch) -> list[str]:
    """What the control frames among these say that happened."""
    payloads = batch.column("payload").filter(pc.equal(batch.column("kind"), CONTROL)).to_pylist()
    return [_decode_event(payload).event for payload in payloads if payload is not None]


class _Event(msgspec.Struct):
    event: str = ""


_decode_event: Final = msgspec.json.Decoder(_Event).decode
