"""
Has the engine run ahead of a class, which is called afterwards for what has been noted meanwhile.

Nothing that a class does by looking changes what comes, also of orders that rest: it can be called for a thousand wakes in a
row, without going into compiled code and out of it at each. Where it looks deeper than at what is noted, or acts, the engine
goes back to where it was saved, and forward to that very wake. While a request is under way the class is called by the engine:
one that has just acted may do so again, and what arrives is to be seen to at once.
"""

from __future__ import annotations

import heapq
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba.core import types

from replay.fast import kernel_engine
from replay.fast.compiled_step import c_function, signature_of
from replay.fast.engine_layout import Engine, Why
from replay.fast_classes.engine_exchange import CLOCK_AT, words_of
from replay.fast_classes.kernel_wakes import HEAD_WORDS, SHOWN_WORDS, STATE_WORDS, note_wake
from toolkit.timing.timers import Timers

__all__ = ["NEVER", "Notes", "Pace", "RunAhead", "due_times"]

#: The engine's clock has no later time.
NEVER: Final = 1 << 62
#: Wakes of a run ahead, at most; and times of timers that it knows.
_WAKES_MAX: Final = 8192
_TIMES_MAX: Final = 4096
#: Pairs of which each wake has the best prices; of more only that which calls.
_SHOWN_MAX: Final = 8
#: Rows of a run ahead, at least and at most.
_ROWS_MIN: Final = 2048
_ROWS_MAX: Final = 1 << 13
#: Wakes that the engine calls for itself after a run ahead in vain.
_WAITS_MIN: Final = 32
_WAITS_MAX: Final = 1 << 15
#: A run ahead costs as much as so many calls by the engine, and what is saved for it as much as one for so many bytes.
_WAKES_WORTH: Final = 48
_BYTES_PER_WAKE: Final = 1 << 14
_WHY, _WAKES, _ASKS = (CLOCK_AT[name] for name in ("why", "wakes", "asks_funding"))
_COUNTED, _OPEN, _ANSWERS, _ANSWER_AT = (CLOCK_AT[name] for name in ("counted", "open", "answers", "answer_at"))
_FUNDING: Final = int(Why.FUNDING)


class _Noting(types.WrapperAddressProtocol):
    """`note_wake`, compiled where the engine is."""

    def __init__(self, engine: Engine) -> None:
        self._signature = signature_of(engine)

    def __call__(self, *args: Any) -> int:
        """As the engine calls it where it runs as plain Python."""
        noting: Any = note_wake
        said: int = noting(*args)
        return said

    def __wrapper_address__(self) -> int:
        found = _compiled.get(self._signature)
        if found is None:
            found = _compiled[self._signature] = c_function(note_wake, self._signature, _nrt=False)
        address: int = found.address
        return address

    def signature(self) -> Any:
        return self._signature


_compiled: dict[Any, Any] = {}


class Notes:
    """
    What was noted of the wakes of one run ahead.

    Args:
        words: Words of all wakes, a row each.
        pairs: Pairs of the run.

    Attributes:
        count: How many there are.
        pairs: Pairs of the run.
        shows_all: Whether each wake has the best prices of all pairs.
    """

    __slots__ = ("_words", "count", "pairs", "shows_all")

    def __init__(self, words: npt.NDArray[np.int64], pairs: int, *, shows_all: bool) -> None:
        self._words = words
        self.count = len(words)
        self.pairs = pairs
        self.shows_all = shows_all

    def column(self, place: int) -> npt.NDArray[np.int64]:
        """A word of each wake: 0 why, 1 pair, 2 time, 3 row, 4 rows of the log, 5 times that own orders were heard of."""
        return self._words[:, place]

    def shown(self, pair: int | None) -> npt.NDArray[np.int64]:
        """Of each wake bid, its size, ask, its size, and whether the book is stale; None: of the pair that calls."""
        if not self.shows_all or (pair is None and self.pairs == 1):
            return self._words[:, HEAD_WORDS : HEAD_WORDS + SHOWN_WORDS]
        if pair is not None:
            begin = HEAD_WORDS + SHOWN_WORDS * pair
            return self._words[:, begin : begin + SHOWN_WORDS]
        all_of_them = self._words[:, HEAD_WORDS:].reshape(self.count, self.pairs, SHOWN_WORDS)
        calls = np.maximum(self._words[:, 1], 0)
        return all_of_them[np.arange(self.count), calls]


class Pace:
    """
    How far an engine runs ahead, and when: what is run ahead in vain costs as much as what is not.

    Args:
        least: Wakes that the engine calls for itself after one that was in vain, to begin with: with each more of them.
        most: And at most.

    Attributes:
        rows: Rows of a run ahead.
    """

    def __init__(self, least: int = _WAITS_MIN, most: int = _WAITS_MAX) -> None:
        self.rows = _ROWS_MIN
        self._least, self._most = least, most
        self._waits = least
        self._left = 0

    def is_over(self) -> bool:
        """Whether it is time to run ahead; asked after each wake that the engine calls for itself."""
        self._left -= 1
        return self._left < 0

    def note(self, rows: int, walked: int, saved_bytes: int, *, has_left: bool) -> None:
        """
        A run ahead is over.

        Args:
            rows: Rows that it came to.
            walked: Wakes for which the strategy was called.
            saved_bytes: Size of what was saved for it.
            has_left: Whether the strategy did something.
        """
        is_worth = walked > _WAKES_WORTH + saved_bytes // _BYTES_PER_WAKE
        if has_left:
            self.rows = max(_ROWS_MIN, self.rows // 4)
        elif is_worth or rows >= self.rows:
            self.rows = min(2 * self.rows, _ROWS_MAX)
        if is_worth:
            self._waits = self._least
        else:
            self._waits = min(2 * self._waits, self._most)
        self._left = 0 if is_worth and not has_left else self._waits


class RunAhead:
    """
    The arrays of one run that are saved, and where its engine is.

    Args:
        pairs: How many pairs it has.

    Attributes:
        at: Wake that the engine is at; that after the last one: where it has stopped.
        count: Wakes that were noted.
        row: The row at which the engine stands.
        status: Why it stopped there.
        has_stopped: Whether it stopped since there is no room for more wakes, or no time of a timer is known.
        saved_bytes: Size of what was saved last.
    """

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs
        self._shows_all = pairs <= _SHOWN_MAX
        self._words = HEAD_WORDS + SHOWN_WORDS * (pairs if self._shows_all else 1)
        self._times_at = _WAKES_MAX * self._words
        self._engine: Engine | None = None
        self.at = self.count = self.row = self.status = 0
        self.has_stopped = False
        self.saved_bytes = 0
        self._args: tuple[Any, ...] = ()
        self._start = 0
        self._times: list[int] = []
        self._used = [0, 0]

    def equip(self, engine: Engine) -> Engine:
        """The engine with room for the wakes."""
        return engine._replace(
            parameters=np.zeros(self._times_at + _TIMES_MAX, np.int64),
            state=np.zeros(STATE_WORDS, np.int64),
            state_before=np.zeros(STATE_WORDS, np.int64),
        )

    # -- there and back ----------------------------------------------------------------------------------------

    def run(self, engine: Engine, timers: Timers, start: int, stop: int, args: tuple[Any, ...]) -> Notes:
        """
        Run ahead.

        Args:
            engine: The run, in which no request is under way.
            timers: Timers of the session.
            start: The first row.
            stop: Behind the last one.
            args: Arguments of `kernel_engine.run_rows`: rows before these two, the rest after them.

        Returns:
            What it would have called for.
        """
        if engine is not self._engine:
            self._bind(engine)
        clock = self._clock
        self._wakes, self._asks = clock[_WAKES], clock[_ASKS]
        # Python hears of funding in its turn; until then the rows of it are wakes.
        if self._asks:
            clock[_WAKES], clock[_ASKS] = self._wakes | _FUNDING, 0
        self._times = times = due_times(timers, min(_TIMES_MAX, 2 * len(self._times) + 16))
        engine.parameters[self._times_at : self._times_at + len(times)] = times
        self._save()
        self._start, self._args, self._stop = start, args, stop
        self.status, self.row = self._go(0, start, _WAKES_MAX)
        self.count = int(engine.state[0])
        self.at = self.count
        if self.has_stopped:
            self.at -= 1
        self._end = self.at, self.row
        words = engine.parameters[: self.count * self._words].reshape(self.count, self._words)
        return Notes(words, self._pairs, shows_all=self._shows_all)

    def due_after(self, fired: int) -> int:
        """When the next timer is due, as the engine has it, after so many."""
        return self._times[fired]

    def go_to(self, at: int) -> None:
        """Have the engine at a wake, as it is while it calls for that."""
        if self.at == at:
            return
        if self.at > at:
            self._restore()
            self.status, self.row = self._go(0, self._start, at + 1)
        else:
            self.status, self.row = self._go(self.at + 1, self.row, at + 1)
        assert self.has_stopped, "a wake that was noted does not come again"
        self.at = at

    def go_on(self) -> None:
        """Have the engine where it has stopped."""
        at, row = self._end
        if self.at != at:
            # That an event comes it need not say again, where nothing that is due before it is left.
            self.status, self.row = self._go(self.at + 1, self.row, _WAKES_MAX)
            assert self._engine is not None
            is_there = self.row == row and int(self._engine.state[0]) == self.count
            assert is_there, "the engine stops elsewhere when it goes the same way again"
        self.at = at
        self.leave()

    def leave(self) -> None:
        """From here on the engine calls the class itself: the wake at hand is over."""
        clock = self._clock
        clock[_WAKES] = self._wakes
        if self._asks:
            clock[_ASKS] = self._asks
        if self.has_stopped:
            clock[_WHY] = 0

    def _go(self, done: int, start: int, until: int) -> tuple[int, int]:
        """Go on from a row, where so many wakes are done, to the end of the last of so many; status and row."""
        engine, clock = self._engine, self._clock
        assert engine is not None
        state = engine.state
        if done:
            clock[_WHY] = 0  # it was called for that
        else:
            state[2:6] = self._words, self._shows_all, self._times_at + 1, self._times_at + len(self._times)
        state[0], state[1], state[6] = done, until, 0
        rows, *rest = self._args
        run_rows: Any = kernel_engine.run_rows
        at, status = run_rows(engine, rows, start, self._stop, *rest, self._noting)
        self.has_stopped = bool(state[6])
        return int(status), int(at)

    # -- what is saved -----------------------------------------------------------------------------------------

    def _bind(self, engine: Engine) -> None:
        """Use the arrays as they are now: they are others after they have grown."""
        if self._engine is None:
            self._noting = _Noting(engine)
        self._engine = engine
        hands, core = engine.hands, engine.core
        books = hands.books
        self._clock = words_of(hands.clock)
        small: list[Any] = [
            hands.clock,
            engine.quotes,
            engine.market,
            engine.feeds,
            core.lines,
            core.pairs,
            core.counters,
            core.orders,
            core.free,
            core.ids,
            engine.limits,
            engine.me,
        ]
        small += books[2:]
        #: By the slots of pages: most of what there is room for was never used.
        self._large: list[tuple[Any, list[Any], list[Any]]] = []
        for store, others in ((books.store, [books.counts]), (core.book, [core.taken, core.counts])):
            small += [each for each in store if each is not store.sizes]
            arrays = [store.sizes, *others]
            self._large.append((store.bits, arrays, [np.empty_like(each) for each in arrays]))
        self._small = [(each, np.empty_like(each)) for each in small]
        self._saved: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
        self._orders: list[tuple[npt.NDArray[Any], Any, npt.NDArray[Any]]] = []

    def _save(self) -> None:
        assert self._engine is not None
        hands, core, answers = self._engine.hands, self._engine.core, self._engine.answers
        # Nothing is written to these before there is something to write.
        unused = [] if core.counters["took"][0] else [core.taken]
        if not self._clock[_COUNTED]:
            unused.append(core.counts)
        saved = list(self._small)
        for bits, arrays, copies in self._large:
            used = np.flatnonzero(bits)
            slots = int(used[-1]) + 1 if len(used) else 0
            saved += [
                (array[:slots], kept[:slots])
                for array, kept in zip(arrays, copies, strict=True)
                if not any(array is each for each in unused)
            ]
        size = 0
        for array, kept in saved:
            kept[...] = array
            size += kept.nbytes
        # Own orders that have not ended, and those that have of which answers are under way.
        clock = self._clock
        under_way = slice(clock[_ANSWER_AT], clock[_ANSWERS])
        slots_of_orders = np.unique(np.concatenate((hands.listed[: clock[_OPEN]], answers["slot"][under_way])))
        self._orders = [
            (array, place, array[place].copy())
            for array, place in (
                (hands.orders, slots_of_orders),
                (hands.pending, slots_of_orders),
                (hands.listed, slice(0, clock[_OPEN])),
                (answers, under_way),
            )
        ]
        size += sum(kept.nbytes for _, _, kept in self._orders)
        self._saved, self.saved_bytes = saved, size

    def _restore(self) -> None:
        assert self._engine is not None
        core = self._engine.core
        was_counted, had_taken = self._clock[_COUNTED], core.counters["took"][0]
        for array, kept in self._saved:
            array[...] = kept
        for array, place, kept in self._orders:
            array[place] = kept
        # What reads these before there is something to read finds nothing.
        if was_counted and not self._clock[_COUNTED]:
            core.counts[...] = -1
        if had_taken and not core.counters["took"][0]:
            core.taken[...] = 0


def due_times(timers: Timers, most: int) -> list[int]:
    """
    Times at which the engine is to ask for timers that are due, the next one first, if none is set or taken back.

    At each the first that is due is called, as `Timers.pop_due` has it; that of one which was taken back is among them.
    """
    times, heap, count = [min(timers.next_due_ns, NEVER)], list(timers._heap), timers._count
    while heap and len(times) < most:
        now_ns = heap[0][0]
        while heap and heap[0][0] <= now_ns:
            when_ns, _, timer = heapq.heappop(heap)
            if timer.is_cancelled:
                continue
            if timer.interval_ns is not None:
                count += 1
                heapq.heappush(heap, (timers._after(when_ns, timer.interval_ns), count, timer))
            break
        times.append(min(heap[0][0], NEVER) if heap else NEVER)
    return times
