"""
Frames by the batch: the fast way from bytes to columns, for venues that have one.

A venue may give a `ColumnarTaker` beside its protocol. It takes in runs of the frames that make up nearly all of a
recording, and gives their messages as columns. What it does not take, the protocol gets, frame by frame. Both share one
state, so messages, books and digest are the same whichever of the two took a frame, and however frames are cut into
batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from toolkit.frames import Frame

__all__ = [
    "Collected",
    "ColumnarTaker",
    "DiffColumns",
    "FrameBatch",
    "QuoteColumns",
    "SnapshotColumns",
    "Taken",
    "Top",
    "TopColumns",
    "Tops",
    "TradeColumns",
    "no_frames",
]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: What a row of `top` says: best bid and its size, best ask and its size, whether the book was stale.
Top = tuple[float | None, float | None, float | None, float | None, bool]
#: What the last one said, by venue and pair with a space between.
Tops = dict[str, Top]


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """
    Consecutive frames as arrays, one element per frame.

    Attributes:
        first_seq: `capture_seq` of the first.
        data: Payloads, one after the other (uint8).
        offsets: Where each begins in `data`, and where the last one ends.
        ts_recv: ns.
        ts_mono: ns.
        conn_id: int32.
        conn_epoch: int32.
        is_taken: Whether a frame is a WebSocket message that the venue in question sent.
    """

    first_seq: int
    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[Any]
    ts_recv: Integers
    ts_mono: Integers
    conn_id: npt.NDArray[np.int32]
    conn_epoch: npt.NDArray[np.int32]
    is_taken: Flags

    def __len__(self) -> int:
        return len(self.ts_recv)


def no_frames() -> FrameBatch:
    """A batch of no frame."""
    nothing = np.zeros(0, np.int64)
    return FrameBatch(
        0,
        np.zeros(0, np.uint8),
        np.zeros(1, np.int32),
        nothing,
        nothing,
        np.zeros(0, np.int32),
        np.zeros(0, np.int32),
        np.zeros(0, np.bool_),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """
    What the columns of every kind share; one element per message, in the order of their frames.

    Attributes:
        symbols: The instruments that they are of, each once.
        trading_pairs: The pairs of these.
        instrument: Number of the instrument among these (int32).
        frame: Index of the frame in the batch.
        ts_event: ns; -1 where the venue gives none.
    """

    symbols: Sequence[str]
    trading_pairs: Sequence[str]
    instrument: npt.NDArray[np.int32]
    frame: Integers
    ts_event: Integers

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def last_rows(self) -> Integers:
        """The last message of each instrument."""
        last = np.zeros(len(self.symbols), np.int64)
        last[self.instrument] = np.arange(len(self))  # of equal places the last one that is set stays
        return last


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffColumns(_Columns):
    """
    `BookDiff` messages, the only ones of their frames.

    Attributes:
        form: Form of those that change the book.
        form_apart: Form of the others.
        fused: Whether each changes the book.
        first_update_id: Per message.
        last_update_id: Per message.
        prev_update_id: Per message, or None where the venue has none.
        level_count: Levels per message, at least 1.
        bid_count: Number of bids among them, which go first.
        price: Per level.
        size: Per level.
    """

    counted_as: ClassVar[str] = "book_diffs"

    form: str
    form_apart: str
    fused: Flags
    first_update_id: Integers
    last_update_id: Integers
    prev_update_id: Integers | None
    level_count: Integers
    bid_count: Integers
    price: Floats
    size: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotColumns(_Columns):
    """
    `BookSnapshot` messages that take part in the fused book, the only ones of their frames.

    Attributes:
        forms: Forms of these.
        depth_caps: `depth_cap` of each form.
        form: Number of each message's form (int32).
        level_count: Levels per message, at least 1.
        bid_count: Number of bids among them, which go first.
        price: Per level.
        size: Per level.
        count: Orders, per level (int32).
    """

    counted_as: ClassVar[str] = "book_snapshots"

    forms: Sequence[str]
    depth_caps: Sequence[int]
    form: npt.NDArray[np.int32]
    level_count: Integers
    bid_count: Integers
    price: Floats
    size: Floats
    count: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteColumns(_Columns):
    """
    `BestQuote` messages, the only ones of their frames.

    Attributes:
        bid_price: NaN for a side without an order, like its size.
        bid_size: See there.
        ask_price: See there.
        ask_size: See there.
        update_id: Per message, or None where the venue has none.
        fused: Whether each changes the book; None: none does.
        bid_count: Orders, -1 for a side without one (int32); None where the venue does not say.
        ask_count: Likewise.
    """

    counted_as: ClassVar[str] = "quotes"

    bid_price: Floats
    bid_size: Floats
    ask_price: Floats
    ask_size: Floats
    update_id: Integers | None = None
    fused: Flags | None = None
    bid_count: npt.NDArray[np.int32] | None = None
    ask_count: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeColumns(_Columns):
    """
    `Trade` messages that are not history and have no cause, with which the messages of their frames begin.

    Attributes:
        is_sell: Whether the taker sold.
        price: Price in quote currency.
        size: Size as the message has it.
        trade_id: A number; the message has its digits.
        id_prefix: Text before some of these.
        is_prefixed: Before which.
        is_duplicate: Whether it was reported before.
        sub_seq: Number of each in its frame (int32); None: each is the only one.
    """

    counted_as: ClassVar[str] = "trades"

    is_sell: Flags
    price: Floats
    size: Floats
    trade_id: Integers
    id_prefix: str
    is_prefixed: Flags
    is_duplicate: Flags
    sub_seq: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopColumns(_Columns):
    """`BookTop` rows, as `sub_seq` 0 of their frames; NaN for a side that is empty."""

    counted_as: ClassVar[str] = "tops"

    bid_price: Floats
    bid_size: Floats
    ask_price: Floats
    ask_size: Floats
    is_stale: Flags
    is_crossed: Flags


MessageColumns = DiffColumns | SnapshotColumns | QuoteColumns | TradeColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """
    What became of a run of frames.

    Attributes:
        end: Index of the first frame that was not taken.
        digest: State of the digest chain after the run.
        message_count: Messages in all.
        duplicate_count: Trades that were reported before.
        imprecise_count: Quoted decimals with more digits than a float64 keeps.
    """

    end: int
    digest: bytes
    message_count: int = 0
    duplicate_count: int = 0
    imprecise_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """
    What the runs of a batch gave.

    Attributes:
        messages: Their messages, per kind in order.
        tops: Changes of the best levels, in order.
    """

    messages: list[MessageColumns] = field(default_factory=list)
    tops: list[TopColumns] = field(default_factory=list)


class ColumnarTaker(ABC):
    """Takes frames by the batch, on the state of one protocol and of the books that it keeps."""

    @abstractmethod
    def rests(self) -> bool:
        """Whether the next frame is not for it, whatever it is; to be asked once of each, and `take` only where not."""

    @abstractmethod
    def take(self, frames: FrameBatch, begin: int, digest: bytes) -> Taken:
        """
        Take frames in from `begin` on, as far as it can; none, if the first is not for it.

        `collect` is to be called after the last frame of a batch, before the first one of another.
        """

    @abstractmethod
    def collect(self, *, wanted: bool = True) -> Collected:
        """What was taken since the last time, as columns; nothing where none are wanted."""

    @abstractmethod
    def compile(self) -> None:
        """Compile, or load, all code that taking frames runs; nothing is taken by it."""

    @abstractmethod
    def before(self, frame: Frame) -> None:
        """The protocol is about to get this frame: bring up to date what it may look at."""

    @abstractmethod
    def settle(self) -> None:
        """Bring protocol and books up to date: somebody is about to read or export them."""
