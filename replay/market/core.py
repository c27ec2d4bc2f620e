"""
The matching core, from Python: `run` for arrays of market events, `arrive` for requests, `take` for what came of them.

The same functions run compiled or as plain Python; the state is equal bit by bit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from replay.market import kernel_core, kernel_stretch
from replay.market.layout import (
    BUY,
    FAR,
    NONE,
    REQUEST,
    SELL,
    EventCode,
    Want,
    make_state,
    widen_book,
    widen_orders,
    widen_reports,
)
from replay.market.rescaling import Level, levels_of, rescale
from replay.market.rules import Rules
from toolkit.errors import ConfigError
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import side_columns

__all__ = ["MatchingCore", "PairFacts", "Stretch", "make_request"]

_KERNELS: Final[tuple[Callable[..., Any], ...]] = (
    kernel_core.run,
    kernel_core.arrive,
    kernel_stretch.play,
    kernel_stretch.best_levels,
    side_columns,
)
#: Later than every event.
_END: Final = 2**63 - 1
_ORDERS: Final = 64
_REPORTS: Final = 1024
_PAGES: Final = 256
_SLOTS: Final = 1024
#: The fields of `layout.REQUEST` and of `layout.REPORT`, in their order and without padding: reading and writing them so
#: costs a tenth of going through numpy's records.
_REQUEST_ROW: Final = struct.Struct("=13q")
_REPORT_ROW: Final = struct.Struct("=9qh6b")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """
    What the core has to know of a pair beside its prices and sizes.

    Attributes:
        reach: How many ticks a market order goes, the best price included; 0: to the end of the book.
        grain: Least part of an execution of a resting order, in lots: more than 1 where the recorded sizes are finer
            than those of orders. What is less than half of it counts as nothing.
        lots_per_unit: Lots in one unit of the queues that are not whole numbers; 1: the lot is the unit.
        lot: A grain in that unit.
    """

    reach: int = 0
    grain: int = 1
    lots_per_unit: float = 1.0
    lot: float = 1.0


class Stretch(NamedTuple):
    """
    Messages, and where is noted what they do.

    Attributes:
        events: Events of the messages, of `layout.EVENT`.
        marks: The messages, of `kernel_stretch.MARK`.
        now: Best levels of each pair.
        seen: The same as they were last looked at.
        tops: Best levels after each frame, of `kernel_stretch.TOP`; room for at least two of each pair.
        crossed: Messages of each pair that left its book crossed.
        counts: One number, the rows of `tops`.
    """

    events: npt.NDArray[np.void]
    marks: npt.NDArray[np.void]
    now: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    tops: npt.NDArray[np.void]
    crossed: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


class MatchingCore:
    """
    Own orders against recorded markets.

    Args:
        pairs: One entry per pair; events and requests name pairs by their place in it.
        rules: The rules of matching.
        compiled: Whether to run machine code or plain Python.
        orders: Room for orders to begin with; this and the next three only save growing.
        reports: Room for reports that are not yet taken.
        pages: Pages of 64 prices a side.
        slots: Pages of all sides together.

    Raises ConfigError without any pair.

    Attributes:
        state: The arrays; replaced when they grow.
        rules: Rules as given.
        has_arrivals: Whether any request has reached the venue.
    """

    def __init__(
        self,
        pairs: Sequence[PairFacts],
        rules: Rules,
        *,
        compiled: bool = True,
        orders: int = _ORDERS,
        reports: int = _REPORTS,
        pages: int = _PAGES,
        slots: int = _SLOTS,
    ) -> None:
        if not pairs:
            raise ConfigError("no pair to match, expected at least one")
        self.rules = rules
        self.has_arrivals = False
        self.state = make_state(len(pairs), rules, orders=orders, reports=reports, pages=pages, slots=slots)
        for row, facts in zip(self.state.pairs, pairs, strict=True):
            row["reach"], row["grain"] = facts.reach, facts.grain
            row["lots_per_unit"], row["lot"] = facts.lots_per_unit, facts.lot
        #: The request that `ask` writes down; it is taken in before the next one.
        self._request_bytes = bytearray(_REQUEST_ROW.size)
        self._request: np.void = np.frombuffer(self._request_bytes, REQUEST)[0]
        self._look()
        self._run, self._arrive, self._play, self._note_best, self._side_columns = (
            kernel if compiled else _quiet(plain(kernel)) for kernel in _KERNELS
        )

    def check(self, events: npt.NDArray[np.void]) -> None:
        """
        See that events are what `run` may be given: it does not look, since that would cost more than matching.

        Raises ConfigError for times that do not ascend, and for a pair, side, kind or size that cannot be.
        """
        if not len(events):
            return
        if (np.diff(events["time"]) < 0).any():
            raise ConfigError(
                "market events whose times do not ascend; expected the order in which they act at the venue"
            )
        pairs = len(self.state.pairs)
        limits = (
            ("pair", 0, pairs - 1),
            ("side", BUY, SELL),
            ("code", 0, max(EventCode)),
            ("lots", 0, FAR),
            ("tick", 0, FAR),
        )
        for name, least, most in limits:
            lowest, highest = int(events[name].min()), int(events[name].max())
            if lowest < least or highest > most:
                found = lowest if lowest < least else highest
                raise ConfigError(f"a market event with {name} {found}, expected {least} to {most}")

    def run(self, events: npt.NDArray[np.void], start: int = 0, until: int = _END) -> int:
        """
        Take in market events, in order, up to and with those of the time `until`.

        Args:
            events: Events as rows of `layout.EVENT`, as `check` wants them.
            start: The first one.
            until: ns, on the clock of the events.

        Returns:
            The index of the first event that was not taken in.
        """
        stop = len(events)
        while True:
            start = int(self._run(self.state, events, start, stop, until))
            want = int(self._want[0])
            if not want:
                return start
            self._grow(Want(want))

    def arrive(self, request: np.void) -> None:
        """A request, of `layout.REQUEST`, reaches the venue."""
        self.has_arrivals = True
        while want := int(self._arrive(self.state, request)):
            self._grow(Want(want))

    def ask(
        self,
        time: int,
        number: int,
        code: int,
        *,
        id: int = 0,
        tick: int = 0,
        lots: int = 0,
        known_left: int = 0,
        pair: int = 0,
        side: int = 0,
        tif: int = 0,
        market: int = 0,
        reduce: int = 0,
        reason: int = 0,
    ) -> None:
        """The same by the fields of `layout.REQUEST`, without a row that somebody has to make."""
        _REQUEST_ROW.pack_into(
            self._request_bytes,
            0,
            time,
            number,
            id,
            tick,
            lots,
            known_left,
            pair,
            code,
            side,
            tif,
            market,
            reduce,
            reason,
        )
        self.arrive(self._request)

    def play(self, stretch: Stretch, begin: int, end: int, frame: int, until: int) -> int:
        """
        Take in whole messages, in order; see `kernel_stretch.play`.

        Args:
            stretch: The messages, and what is noted of them: `top_count` says how many rows of `tops` there are then.
            begin: The first one.
            end: Before this one it ends.
            frame: The frame under way.
            until: No frame of this time or later is begun.

        Returns:
            The first message that was not taken in.
        """
        counts = stretch.counts
        counts[0] = 0
        until = min(until, _END)
        while True:
            begin = int(self._play(self.state, *stretch, begin, end, frame, until))
            want = int(self._want[0])
            if not want:
                return begin
            # In the middle of a message, whose frame is under way.
            frame = int(stretch.marks["frame"][begin])
            self._grow(Want(want))

    def note_best(self, pair: int, row: npt.NDArray[np.int64]) -> None:
        """Write the best levels of a pair's recorded book into a row, see `kernel_stretch.best_levels`."""
        self._note_best(self.state, pair, row)

    def side_columns(self, line: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Keys and lots of all levels of a side, best first."""
        count = int(self.state.book.levels[line])
        keys, lots = np.empty(count, np.int64), np.empty(count, np.int64)
        self._side_columns(self.state.book, line, keys, lots)
        return keys, lots

    @property
    def has_reports(self) -> bool:
        """Whether anything was reported since `take` was last called."""
        return bool(self._reports[0])

    def take(self) -> npt.NDArray[np.void]:
        """What was reported since the last call, of `layout.REPORT`, in order."""
        count = int(self._reports[0])
        self._reports[0] = 0
        return self.state.reports[:count].copy()

    def take_rows(self) -> list[tuple[int, ...]]:
        """The same, each a tuple of the fields in the order of `layout.REPORT`."""
        count = int(self._reports[0])
        self._reports[0] = 0
        return list(_REPORT_ROW.iter_unpack(self.state.reports[:count].tobytes()))

    def rescale(self, pair: int, ticks: int, lots: int) -> None:
        """Count a pair in finer steps: as many new ticks and lots as an old one is. All reports must have been taken."""
        with np.errstate(all="ignore"):
            self.state = rescale(self.state, pair, ticks, lots)
        self._look()

    def levels(self, pair: int) -> tuple[list[Level], list[Level]]:
        """The recorded bids and asks, each `(key, lots, taken, count)` with the tick as key, minus the tick of asks."""
        return levels_of(self.state, 2 * pair), levels_of(self.state, 2 * pair + 1)

    def best(self, pair: int = 0) -> tuple[int | None, int | None]:
        """The best bid and ask of the recorded book, in ticks; None where the side is empty."""
        bid, ask = self._bests[2 * pair : 2 * pair + 2].tolist()
        return (None if bid == NONE else bid), (None if ask == NONE else -ask)

    def own_best(self, pair: int) -> tuple[int | None, int | None]:
        """The best own buy and sell that rest, in ticks; None for a side without one."""
        bid, ask = self._heads[2 * pair : 2 * pair + 2].tolist()
        keys = self._keys
        return (None if bid < 0 else int(keys[bid])), (None if ask < 0 else -int(keys[ask]))

    def ahead_of(self, id: int) -> int | None:
        """
        Lots ahead of an own order, by the pessimistic queue; all queues begin with the same.

        `FAR` for one that rests outside of the recorded depth, where it is not known; None for one that does not rest.
        """
        entries = self._entries
        place, last = id & (len(entries) - 1), len(entries) - 1
        while entry := int(entries[place]):
            if self._ids[entry - 1] == id:
                return max(0, int(self._fronts[entry - 1])) if self._rests[entry - 1] else None
            place = (place + 1) & last
        return None

    @property
    def has_reducing(self) -> bool:
        """Whether any order rests that may only reduce a position: every event may end it."""
        return bool(self._reducing[0])

    def _grow(self, want: Want) -> None:
        if Want.REPORTS in want:
            self.state = widen_reports(self.state, 2 * len(self.state.reports))
        if Want.LEVELS in want:
            self.state = widen_book(self.state)
        if Want.ORDERS in want:
            self.state = widen_orders(self.state)
        self._look()

    def _look(self) -> None:
        """Keep the columns that are read after every call at hand."""
        state = self.state
        self._want: npt.NDArray[np.int64] = state.counters["want"]
        self._reports: npt.NDArray[np.int64] = state.counters["reports"]
        self._reducing: npt.NDArray[np.int64] = state.counters["reducing"]
        self._bests: npt.NDArray[np.int64] = state.lines["best"]
        self._heads: npt.NDArray[np.int64] = state.lines["head"]
        self._keys: npt.NDArray[np.int64] = state.orders["key"]
        self._ids: npt.NDArray[np.int64] = state.orders["id"]
        self._fronts: npt.NDArray[np.int64] = state.orders["front"]
        self._rests: npt.NDArray[np.int64] = state.orders["rests"]
        self._entries: npt.NDArray[np.int64] = state.ids


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled code does not warn of what is no number, so plain Python shall not."""

    def called(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return called


def make_request(**fields: int) -> np.void:
    """A request with these fields of `layout.REQUEST`, the others 0."""
    row = np.zeros(1, REQUEST)
    for name, value in fields.items():
        row[name] = value
    request: np.void = row[0]
    return request
