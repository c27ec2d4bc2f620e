"""
What takers of different venues share: when a run is tried, messages that stay in arrays until the end of a batch, and
these as columns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from toolkit.columnar import Collected, ColumnarTaker, Floats, FrameBatch, Integers, Taken, Top, TopColumns

__all__ = ["Rest", "RunTaker", "about", "top_columns", "top_from_values", "values_of_top"]

Name = TypeVar("Name")


class Rest:
    """
    Whether runs are worth their while: a run, and what is copied for it, costs as much as some frames of the protocol.

    After so many it looks how long they were, and rests for some hundred frames if that was too short, each time twice as
    long: in a recording of many venues, say, or of frames of another form. Where very many instruments begin it is soon over.
    """

    RUNS: ClassVar[int] = 64
    RUN_FRAMES_MIN: ClassVar[int] = 4
    FRAMES_MIN: ClassVar[int] = 256
    FRAMES_MAX: ClassVar[int] = 4096

    def __init__(self) -> None:
        self._runs = 0
        self._run_frames = 0
        self._left = 0
        self._frames = self.FRAMES_MIN
        self._stopped: tuple[FrameBatch, int] | None = None

    def has_frame(self) -> bool:
        """Whether it rests, for one frame more."""
        if self._left:
            self._left -= 1
            return True
        return False

    def has_stopped_at(self, frames: FrameBatch, frame: int) -> bool:
        """Whether the last run ended before that frame, so that a run from it on would take none."""
        stopped, self._stopped = self._stopped, None
        return stopped is not None and stopped[0] is frames and stopped[1] == frame

    def look(self, frames: FrameBatch, begin: int, end: int) -> None:
        """A run took the frames from `begin` to `end`."""
        self._stopped = (frames, end) if end > begin else None
        self._runs += 1
        self._run_frames += end - begin
        if self._runs == self.RUNS:
            if self._run_frames < self.RUNS * self.RUN_FRAMES_MIN:
                self._left = self._frames
                self._frames = min(2 * self._frames, self.FRAMES_MAX)
            else:
                self._frames = self.FRAMES_MIN
            self._runs = self._run_frames = 0


class RunTaker(ColumnarTaker, Generic[Name]):
    """
    A taker that gives runs of frames to compiled code, whose messages are in its arrays until they are collected.

    `Name` is what the protocol's state is told apart by: of coins, say, or of streams.
    """

    def __init__(self) -> None:
        #: What the protocol may have changed since the last run; None: anything.
        self._touched: set[Name] | None = None
        #: The batch whose messages are in the arrays, and messages that are in them no more.
        self._frames: FrameBatch | None = None
        self._gathered = Collected()
        self._rest = Rest()

    def rests(self) -> bool:
        if not self._rest.has_frame():
            return False
        if self._touched is not None:
            # All is the protocol's for some hundred frames, which need not be looked at one by one.
            self._leave_all()
        return True

    def take(self, frames: FrameBatch, begin: int, digest: bytes) -> Taken:
        if self._rest.has_stopped_at(frames, begin):
            return Taken(end=begin, digest=digest)
        self._refresh()
        if self._frames is None:
            self._frames = frames
            self._make_room(frames, begin)
        taken = self._run(frames, begin, digest)
        self._rest.look(frames, begin, taken.end)
        return taken

    def collect(self, *, wanted: bool = True) -> Collected:
        self._gather(wanted=wanted)
        collected, self._gathered = self._gathered, Collected()
        return collected

    def _gather(self, *, wanted: bool) -> None:
        """Make columns of what is in the arrays, which are free for another batch then."""
        if self._frames is not None:
            if wanted:
                self._add_columns(self._gathered)
            self._empty()
            self._frames = None

    def _leave_all(self) -> None:
        """The protocol may change anything from now on."""
        self.settle()
        self._touched = None

    @abstractmethod
    def _refresh(self) -> None:
        """Before a run: take up what the protocol may have changed, after which nothing is touched."""

    @abstractmethod
    def _make_room(self, frames: FrameBatch, begin: int) -> None:
        """Before the first run of a batch: room for what its frames from `begin` on can give."""

    @abstractmethod
    def _run(self, frames: FrameBatch, begin: int, digest: bytes) -> Taken:
        """As `take`."""

    @abstractmethod
    def _add_columns(self, collected: Collected) -> None:
        """Add what is in the arrays."""

    @abstractmethod
    def _empty(self) -> None:
        """Nothing is in the arrays any more."""


def values_of_top(top: Top) -> list[float]:
    """Prices and sizes as arrays have them: NaN for a side that is empty."""
    return [np.nan if value is None else value for value in top[:4]]


def top_from_values(values: Floats, *, is_stale: bool) -> Top:
    """The other way."""
    bid, bid_size, ask, ask_size = (None if value != value else value for value in values.tolist())  # NaN
    return bid, bid_size, ask, ask_size, is_stale


def about(
    instruments: Sequence[tuple[str, str]], found: npt.NDArray[np.int32], frame: Integers, ts_event: Integers
) -> dict[str, Any]:
    """
    What columns of every kind have, of one message or more: copies.

    Args:
        instruments: Symbols and pairs, by number.
        found: Number of its instrument, per message.
        frame: Per message, as columns have it.
        ts_event: Likewise.
    """
    used = np.flatnonzero(np.bincount(found))
    codes = np.zeros(int(used[-1]) + 1, np.int32)
    codes[used] = np.arange(len(used), dtype=np.int32)
    named = [instruments[number] for number in used.tolist()]
    return {
        "symbols": [symbol for symbol, _ in named],
        "trading_pairs": [pair for _, pair in named],
        "instrument": codes[found],
        "frame": frame.copy(),
        "ts_event": ts_event.copy(),
    }


def top_columns(shared: dict[str, Any], values: Floats, is_stale: Any, is_crossed: Any) -> TopColumns:
    """Changes of the best levels, of arrays as the kernels have them; `shared` is what `about` gives."""
    bid_price, bid_size, ask_price, ask_size = values.T.copy()
    return TopColumns(
        **shared,
        bid_price=bid_price,
        bid_size=bid_size,
        ask_price=ask_price,
        ask_size=ask_size,
        is_stale=is_stale.astype(np.bool_),
        is_crossed=is_crossed.astype(np.bool_),
    )
