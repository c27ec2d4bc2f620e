"""Frames to messages, books and digest: what sealing, importing, verifying and replaying have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import pyarrow as pa

from recordings.format.manifest import SourceInfo
from recordings.format.rows_to_arrays import FrameRows
from recordings.format.rows_to_messages import frames
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.columnar import Collected, ColumnarTaker, Taken, Tops
from toolkit.digest import EMPTY_DIGEST, DigestChain
from toolkit.errors import RecordingDamaged
from toolkit.frames import ALL_VENUES, CONTROL, Frame
from toolkit.kernels.disk_cache import are_compiled, note_compiled
from toolkit.messages import BookTop, Message, StreamEvent, Trade
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue

__all__ = ["Normalizer", "TopOfBook", "protocol_for"]


def protocol_for(source: SourceInfo) -> VenueProtocol:
    """The protocol of a recorded venue, with the options it was recorded with."""
    options = ProtocolOptions(
        pairs=source.pairs, channels=source.channels, accounts=source.accounts, settings=source.settings
    )
    return find_venue(source.venue).make_protocol(options)


class TopOfBook:
    """Turns book changes into `BookTop` rows, one whenever the best levels or the staleness changed."""

    def __init__(self) -> None:
        #: The last row's values, by venue and pair with a space between.
        self.last: Tops = {}

    def after(self, message: Message, book: OrderBook) -> BookTop | None:
        """The row for the book as it is after a message, or None if nothing of it changed."""
        bid, bid_size, _ = book.bids.head()
        ask, ask_size, _ = book.asks.head()
        top = (bid, bid_size, ask, ask_size, book.is_stale)
        key = f"{message.venue} {message.trading_pair}"
        if self.last.get(key) == top:
            return None
        self.last[key] = top
        return BookTop(
            message.venue,
            message.symbol,
            message.trading_pair,
            message.ts_event,
            message.ts_recv,
            message.capture_seq,
            message.sub_seq,
            *top,
            bid is not None and ask is not None and bid >= ask,
        )


class Normalizer:
    """
    Runs the protocols of a recording over its frames.

    Args:
        protocols: Protocols by venue.
        digest: Where the digest chain continues from.

    Attributes:
        tracker: The order books after the last frame.
        chain: The digest chain after the last frame.
        conn_id_max: Highest connection number of any frame; -1 if there was none.
        counts: Trades that repeat or are history, and events by kind, so far.
    """

    def __init__(self, protocols: dict[str, VenueProtocol], digest: bytes = EMPTY_DIGEST) -> None:
        self.protocols = protocols
        self.tracker = OrderBookTracker(checked=True)
        self.chain = DigestChain(digest)
        self.top = TopOfBook()
        self.counts: dict[str, int] = {}
        self.conn_id_max = -1
        self._takers: dict[str, ColumnarTaker] = {}

    @classmethod
    def for_sources(cls, sources: Iterable[SourceInfo]) -> Normalizer:
        """One for the venues that a manifest names."""
        return cls({source.venue: protocol_for(source) for source in sources})

    @property
    def kernel_sets(self) -> set[str]:
        """Names of the compiled code that takes frames of these venues by the batch."""
        return {protocol.kernel_set for protocol in self.protocols.values() if protocol.kernel_set}

    @property
    def is_compiled(self) -> bool:
        """Whether there is such code, and all of it has been compiled before."""
        sets = self.kernel_sets
        return bool(sets) and all(map(are_compiled, sets))

    @property
    def takes_batches(self) -> bool:
        """Whether what takes frames by the batch is in use."""
        return bool(self._takers)

    def compile_if_kept(self) -> bool:
        """Use what takes frames by the batch from now on, where it has been compiled before; whether it is used."""
        return self.is_compiled and self.compile()

    def note_compiled(self) -> None:
        """What takes frames has been compiled, and is on disk."""
        for which in self.kernel_sets:
            note_compiled(which)

    def compile(self) -> bool:
        """Use what takes frames by the batch from now on, where a venue has that; whether one has."""
        for venue, protocol in self.protocols.items():
            if venue not in self._takers:
                taker = protocol.columnar(self.tracker, self.top.last)
                if taker is not None:
                    self._takers[venue] = taker
        return bool(self._takers)

    def take_batch(self, rows: FrameRows, begin: int) -> Taken | None:
        """
        Take in frames from `begin` on by the batch: all but `messages` and `take` would do with them is done then.

        None where the frame at `begin` has to go that way. `collect` is to be called after the last of these rows.
        """
        venue = rows.venue(begin)
        taker = self._takers.get(venue)
        if taker is None or taker.rests():
            return None
        taken = taker.take(rows.of_venue(venue), begin, self.chain.digest())
        if taken.end == begin:
            return None
        self.chain.restart(taken.digest)
        self.chain.message_count += taken.message_count
        if taken.duplicate_count:
            self._add_count("trades_duplicate", taken.duplicate_count)
        return taken

    def collect(self) -> Iterator[tuple[str, Collected]]:
        """What `take_batch` took since the last time, by venue."""
        for venue, taker in self._takers.items():
            yield venue, taker.collect()

    def take_all(self, batch: pa.RecordBatch) -> None:
        """Take in frames that follow each other, rows of the `raw` table, whose messages are not wanted."""
        if not self._takers:
            for frame in frames(batch):
                self._take_alone(frame)
            return
        rows, index = FrameRows(batch), 0
        while index < len(rows):
            taken = self.take_batch(rows, index)
            if taken is None:
                self._take_alone(rows.frame(index))
            index = index + 1 if taken is None else taken.end
        for taker in self._takers.values():
            taker.collect(wanted=False)
        self.conn_id_max = max(self.conn_id_max, rows.conn_id_max)

    def _take_alone(self, frame: Frame) -> None:
        for message in self.messages(frame):
            self.take(message)

    def settle(self) -> None:
        """Bring the books up to date; to be called before they are read or exported between batches."""
        for taker in self._takers.values():
            taker.settle()

    def messages(self, frame: Frame) -> list[Message]:
        """The messages of the next frame. Raises RecordingDamaged for a venue the recording does not name."""
        protocol = self.protocols.get(frame.venue)
        if protocol is None:
            if frame.venue == ALL_VENUES:
                return self._of_all(frame)
            raise RecordingDamaged(
                f"frame {frame.capture_seq} is of venue {frame.venue!r}, expected one of {', '.join(self.protocols)}"
            )
        if frame.conn_id > self.conn_id_max:
            self.conn_id_max = frame.conn_id
        if self._takers and frame.venue in self._takers:
            self._takers[frame.venue].before(frame)
        messages = protocol.receive(frame)
        if messages:
            protocol.requests()  # they are not carried out here; the answers are frames of the recording
        return messages

    def _of_all(self, frame: Frame) -> list[Message]:
        """What a frame says that is for every venue; one that holds the place of another says nothing."""
        if frame.kind != CONTROL:
            return []
        messages: list[Message] = []
        for venue, protocol in self.protocols.items():
            if venue in self._takers:
                self._takers[venue].before(frame)
            for message in protocol.receive(frame):
                messages.append(msgspec.structs.replace(message, sub_seq=len(messages)))
            protocol.requests()
        return messages

    def take(self, message: Message) -> tuple[OrderBook | None, BookTop | None]:
        """Bring books, digest and counts up to date with a message; the book it changed, and its new top."""
        book = self.tracker.apply(message)
        self.chain.update(message, book)
        if book is None:
            self.count(message)
            return None, None
        if type(message) is StreamEvent:
            self.count(message)  # one that made the book stale
        return book, self.top.after(message, book)

    def count(self, message: Message) -> None:
        """Count what tells more than its table; the others are counted by table when a segment is cut."""
        if isinstance(message, Trade):
            if message.is_duplicate:
                self._add_count("trades_duplicate")
            elif message.is_history:
                self._add_count("trades_history")
        elif isinstance(message, StreamEvent):
            self._add_count(f"event_{message.kind}")

    def _add_count(self, name: str, count: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + count
