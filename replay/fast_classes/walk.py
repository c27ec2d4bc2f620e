"""
Calls a class for the wakes of a run ahead, one after the other, with all as it was at each.

What it reads beyond the prices that were noted, and what it asks for, brings the engine to the wake at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch, Flag
from replay.fast.engine_layout import Why
from replay.fast_classes.run_ahead import NEVER, Notes, RunAhead
from replay.strategy.decision_log import LogRow
from replay.strategy.failures import FAILURES, failure_in
from replay.strategy.views import Quote
from toolkit.books.orderbook import OrderBookEntry
from toolkit.clock import perf_ns

if TYPE_CHECKING:
    from replay.fast_classes.class_run import ClassRun

__all__ = ["Walk"]

_QUOTE, _TRADE, _TIMER, _FUNDING = (int(each) for each in (Why.QUOTE, Why.TRADE, Why.TIMER, Why.FUNDING))
_OF_ANSWER: Final = int(Why.ORDER | Why.FILL)
_KINDS: Final = {_QUOTE: "quote", _TRADE: "trade"}
#: So often the engine may be asked for what was not noted, and so many wakes are to lie between two times, in the mean.
_VISITS: Final = 8
_WAKES_PER_VISIT: Final = 24
#: Best bids and best asks of each wake, and whether the book is stale.
Shown = tuple[tuple[list[OrderBookEntry | None], list[OrderBookEntry | None]], list[bool]]


class Walk:
    """
    One walk through what was noted.

    Args:
        run: The run.
        ahead: Its engine.
        notes: Wakes that were noted.
        batch: Batch of whose rows the wakes are.

    Attributes:
        at: The wake at hand.
        now_ns: Its time.
        is_left: Whether the class has put something of its own into the world: the engine calls it from here on.
        moment: Number of the first wake, among all of the run.
    """

    __slots__ = (
        "_ahead",
        "_batch",
        "_caught",
        "_fired",
        "_is_hearing",
        "_logs",
        "_newest",
        "_notes",
        "_nows",
        "_run",
        "_shown",
        "_told_before",
        "_visits",
        "at",
        "is_left",
        "moment",
        "now_ns",
    )

    def __init__(self, run: ClassRun, ahead: RunAhead, notes: Notes, batch: ColumnBatch) -> None:
        self._run = run
        self._ahead = ahead
        self._notes = notes
        self._batch = batch
        self._nows: list[int] = notes.column(2).tolist()
        self._logs: list[int] | None = None
        self._shown: list[Shown | None] = [None] * notes.pairs
        #: Of each pair the newest quote that the class was given, until the session's own view of that has it.
        self._newest: list[Quote | None] = [None] * notes.pairs
        self._caught = -1
        self._is_hearing = False
        self._fired = self._visits = 0
        self._told_before = run.told
        self.at = 0
        self.now_ns = 0
        self.is_left = False
        self.moment = run.moment + 1

    # -- what is read at a wake --------------------------------------------------------------------------------

    def shown(self, place: int) -> Shown | None:
        """Of a pair its best prices at all wakes; None where they were not noted for the wake at hand."""
        shown = self._shown[place]
        if shown is None:
            notes = self._notes
            if not notes.shows_all:
                return None
            words = notes.shown(place)
            scale = self._run.markets[place].scale
            if scale is None:
                return None
            (tick, per_tick), (lot, per_lot) = scale.tick_ratio, scale.lot_ratio
            bids, asks = (_levels(words[:, at], words[:, at + 1], tick, per_tick, lot, per_lot) for at in (0, 2))
            shown = self._shown[place] = ((bids, asks), (words[:, 4] != 0).tolist())
        return shown

    def come_here(self) -> None:
        """Bring the engine to the wake at hand."""
        if self._ahead.at != self.at:
            self._ahead.go_to(self.at)
            self._visits += 1

    def leave(self) -> None:
        """The class acts: bring the engine here, from where on it calls the class itself."""
        self.come_here()
        self.is_left = True

    def catch_up(self) -> None:
        """Have the session hear all that the engine told up to the wake at hand."""
        if self._caught != self.at and not self._is_hearing:
            self._caught = self.at
            self._hear_until(self._told(self.at))

    def _told(self, at: int) -> int:
        if self._logs is None:
            self._logs = self._notes.column(4).tolist()
        return self._logs[at]

    def _hear_until(self, end: int) -> None:
        run = self._run
        begin = run.heard_rows
        run.heard_rows = end
        # What is heard is written into the decision log, before whose every row all is heard.
        self._is_hearing = True
        run.class_log.take_all(run.engine.hands.log[begin:end], self.now_ns)
        run.session._set_now(self.now_ns)
        self._is_hearing = False

    # -- the walk ----------------------------------------------------------------------------------------------

    def go(self) -> bool:
        """
        Call the class for all that was noted, or until it acts.

        Returns whether it has acted: then the engine is at that wake, and calls it from there on.

        Raises StrategyError where it fails, ConfigError for what the engine does not do.
        """
        run = self._run
        session, exchange = run.session, run.exchange
        desk, watch, rng, context, strategy = (
            session.desk,
            session.watch,
            session._rng,
            session.context,
            session.strategy,
        )
        nows, newest, moment, first_ns = self._nows, self._newest, self.moment, perf_ns()
        gap_ns, slots = session.waking._gap_ns, session.waking._slots
        watch.begin_many()
        acts: list[tuple[Any, ...]] = []
        desk.acts = acts
        draws = rng.draws
        for at, why, place, given in self._calls():
            self.at = at
            run.moment = moment + at
            session.now_ns = desk.now_ns = self.now_ns = nows[at]
            if given is None:
                self._call(why, place)
                acts = desk.acts = []
                draws = rng.draws
            else:
                # As `TradingSession.call` and `Watch.call` have it.
                number = watch._count = watch._count + 1
                watch._since = first_ns
                try:
                    try:
                        if why == _QUOTE:
                            newest[place] = given
                            if gap_ns:
                                slots[place] = self.now_ns // gap_ns
                            strategy.on_quote(context, given)
                        else:
                            strategy.on_trade(context, given)
                    finally:
                        watch._since = 0
                        if watch._asked == number:
                            watch.settle(number)
                except FAILURES as exc:
                    self._fail(exc, why, rng.draws - draws)
                if acts or rng.draws != draws:
                    self._log(why, rng.draws - draws)
                    acts = desk.acts = []
                    draws = rng.draws
            if self.is_left:
                break
            if exchange.refused is not None:
                raise exchange.refused
            if self._visits > _VISITS and self._visits * _WAKES_PER_VISIT > at:
                # It looks so often at what was not noted that it is better called by the engine itself.
                self.leave()
                break
        self._tell_newest()
        if exchange.refused is not None:
            raise exchange.refused
        return self.is_left

    def _calls(self) -> Iterator[tuple[int, int, int, Any]]:
        """Of each wake its number, why, the pair, and what the callback is given; None where that is not known yet."""
        notes, run = self._notes, self._run
        waking = run.session.waking
        whys, pairs = notes.column(0), notes.column(1)
        given: list[Any] = [None] * notes.count
        wanted = np.array(waking._wanted)[np.maximum(pairs, 0)]
        # Where something was heard of own orders, that is told before the callback.
        tolds = notes.column(5)
        is_told = tolds != np.concatenate(([self._told_before], tolds[:-1]))
        is_quote, is_trade = (whys == _QUOTE) & ~is_told, (whys == _TRADE) & ~is_told
        quotes, trades = np.flatnonzero(is_quote & wanted), np.flatnonzero(is_trade & wanted)
        for at, quote in zip(quotes.tolist(), self._quotes(quotes), strict=True):
            given[at] = quote
        found = self._batch.messages_at(notes.column(3)[trades])
        for at, trade in zip(trades.tolist(), found, strict=True):
            given[at] = trade
        calls = zip(range(notes.count), whys.tolist(), pairs.tolist(), given, strict=True)
        if len(quotes) + len(trades) == np.count_nonzero(is_quote) + np.count_nonzero(is_trade):
            return calls
        is_call = (wanted | ~(is_quote | is_trade)).tolist()
        return (call for call, is_wanted in zip(calls, is_call, strict=True) if is_wanted)

    def _quotes(self, ats: npt.NDArray[np.intp]) -> Iterator[Any]:
        """What `on_quote` is given at some wakes."""
        run, notes = self._run, self._notes
        words, pairs = notes.shown(None)[ats], notes.column(1)[ats]
        ratios = [market.scale and (*market.scale.tick_ratio, *market.scale.lot_ratio) for market in run.markets]
        tick, per_tick, lot, per_lot = np.array([each or (0, 1, 0, 1) for each in ratios])[pairs].T
        sides: list[list[Any]] = []
        for at in (0, 2):
            ticks, lots = words[:, at], words[:, at + 1]
            prices, sizes = (ticks * tick / per_tick).tolist(), (lots * lot / per_lot).tolist()
            for none in np.flatnonzero(ticks == 0).tolist():
                prices[none], sizes[none] = None, 0.0
            sides += [prices, sizes]
        names = map(run.session._pairs.names.__getitem__, pairs.tolist())
        return map(tuple.__new__, repeat(Quote), zip(names, *sides, (words[:, 4] != 0).tolist(), strict=True))

    def _call(self, why: int, place: int) -> None:
        """Call for what is rare, in the way of a call out of the engine."""
        run, session = self._run, self._run.session
        self._tell_newest()
        row, told = self._notes.column(3)[self.at].item(), self._notes.column(5)[self.at].item()
        if told != self._told_before:
            self._told_before = told
            run.told = told
            self.catch_up()
        if why & _FUNDING:
            self._hear_funding(row, place)
        if why & _OF_ANSWER:
            pass  # it was called for by what was heard
        elif why & _TIMER:
            self._fired += 1
            popped = session._timers.pop_due(self.now_ns)
            if popped is not None:
                popped[1].callback(popped[0])
            if min(session._timers.next_due_ns, NEVER) != self._ahead.due_after(self._fired):
                self.leave()
        else:
            run.wake_by_market(why, place, row)
        if session.failure is not None:
            raise session.failure

    def _hear_funding(self, row: int, place: int) -> None:
        """What Python hears of funding, which the engine has taken in when it was noted."""
        run, batch = self._run, self._batch
        if run.has_orders:
            self.come_here()  # where answers are under way, it is counted how many are heard before
        if self._caught != self.at:
            # The mark price that it brings is written down after it, as `kernel_market.take_funding` has it.
            found = batch.rows[row]
            has_mark = not int(found["flags"]) & Flag.SETTLED and bool(batch.prices[found["first"]] > 0.0)
            self._hear_until(self._told(self.at) - has_mark)
        due_ns = run.hear_funding(place, batch.message(row))
        if due_ns < NEVER:
            self.leave()
            run.note_due(due_ns)

    def _tell_newest(self) -> None:
        """Have the session know for what it has called."""
        waking = self._run.session.waking
        for place, quote in enumerate(self._newest):
            if quote is not None:
                waking._tops[place] = quote[1:5]
                self._newest[place] = None

    def _log(self, why: int, draws: int) -> None:
        """What a callback has asked for is a row of the decision log."""
        session = self._run.session
        row = self._batch.rows[self._notes.column(3)[self.at]]
        cause = int(row["capture_seq"]), int(row["sub_seq"])
        session.log.add(LogRow(self.now_ns, _KINDS[why], cause, tuple(session.desk.acts), draws))

    def _fail(self, exc: BaseException, why: int, draws: int) -> None:
        """A callback has raised: the run is over."""
        session, kind = self._run.session, _KINDS[why]
        failure = failure_in(session.watch, session._loaded.files, f"on_{kind}", exc)
        if session.desk.acts or draws:
            self._log(why, draws)
        session._fail(failure, kind)
        raise failure


def _levels(
    ticks: npt.NDArray[np.int64], lots: npt.NDArray[np.int64], tick: int, per_tick: int, lot: int, per_lot: int
) -> list[OrderBookEntry | None]:
    """Levels of one place in a book as they are read; None where there is none."""
    # Whole numbers below 2^53, and a quotient that is rounded once: as `PairScale.price` has it.
    prices, sizes = (ticks * tick / per_tick).tolist(), (lots * lot / per_lot).tolist()
    found: list[Any] = list(map(tuple.__new__, repeat(OrderBookEntry), zip(prices, sizes, repeat(None))))
    for at in np.flatnonzero(ticks == 0).tolist():
        found[at] = None
    return found
