"""
A strategy of Python over the compiled engine: the engine takes in the market and matches, and Python is called at the wakes.

Its session is the one of `replay/strategy/session.py` with its desk, timers, decision log and recorder, and what calls the
strategy is the same code. In place of its exchange stands the engine: requests go into its arrays, and before anything is
read or written down, all is heard that it told until then.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch, Flag, Kind, Names
from replay.fast import kernel_engine
from replay.fast.engine_layout import Status, Why, widen_engine
from replay.fast.level_columns import LevelColumns
from replay.fast.step import Step
from replay.fast.step_run import StepRun
from replay.fast_classes.class_log import ClassLog, LogInOrder
from replay.fast_classes.engine_book import EngineBook
from replay.fast_classes.engine_calls import EngineContext, Pointer
from replay.fast_classes.engine_exchange import CLOCK_AT, EngineExchange, words_of
from replay.fast_classes.run_ahead import NEVER, Notes, Pace, RunAhead
from replay.fast_classes.walk import Walk
from replay.market.rules import CancelEarly
from replay.strategy.decision_log import LogRow
from replay.strategy.failures import FAILURES, failure_in
from replay.strategy.plan import RunPlan
from replay.strategy.session import Phase, TradingSession
from replay.strategy.strategy import Strategy
from replay.strategy.views import Quote
from toolkit.messages import FORM_FULL, EventKind, Message, StreamEvent
from toolkit.timing.clock_jumps import jump_of
from toolkit.timing.times import duration_ns

__all__ = ["ClassRun"]

_NO_FRAME: Final = -(1 << 62)
_NO_SNAPSHOT: Final = "no snapshot yet"
#: The stage at which `kernel_engine.close_run` has ended what was sent before.
_CLOSING: Final = 3
#: Requests about one order that may be under way: more than any strategy was seen to have.
_PENDING_MAX: Final = 64
_NOW, _ROW, _WHY, _LOG, _TOLD, _TIMER, _DIRTY, _FRAME, _AT_ONCE, _NUMBERS = (
    CLOCK_AT[name] for name in ("now", "row", "why", "log", "told", "timer", "is_dirty", "frame", "at_once", "numbers")
)
_POSTS, _POST_AT = CLOCK_AT["posts"], CLOCK_AT["post_at"]
_RUNNING, _NOTICE, _ASKS = (CLOCK_AT[name] for name in ("is_running", "notice", "asks_funding"))
_START, _ON_TIMER, _TRADE, _FUNDING, _GAP = (
    int(each) for each in (Why.START, Why.TIMER, Why.TRADE, Why.FUNDING, Why.GAP)
)
_OF_BOOK: Final = int(Why.BOOK | Why.QUOTE | Why.GAP)
_OF_MARKET: Final = _OF_BOOK | _TRADE | _FUNDING
_QUOTE: Final = int(Why.QUOTE)
_OF_ANSWER: Final = int(Why.ORDER | Why.FILL)


def _unused(*args: Any) -> None:
    """In place of a step function."""


class ClassRun(StepRun):
    """
    One run of a class.

    Args:
        plan: Assumptions of the run.
        names: Numbers of pairs and forms in the columns.
        session: Its session, which is fed nothing.
        end_ns: Time before whose first frame it ends.

    Attributes:
        quotes: Rows of what the engine shows of the pairs, in words.
        moment: Counts the wakes: what was read of a book at another one is out of date.
        stale_causes: Why the book of each pair does not hold.
        exchange: Where its desk sends to.
        is_counted: Whether of any level it was said how many orders it holds.
        walk: The walk through the wakes of a run ahead that is under way; None: the engine calls.
        pace: How far the engine runs ahead, and when.
        heard_rows: Rows at the beginning of the engine's log that were taken down.
        told: How often anything was heard of own orders, as far as the session has heard it.
    """

    def __init__(self, plan: RunPlan, names: Names, session: TradingSession, *, end_ns: int | None = None) -> None:
        strategy = session.strategy
        gap = strategy.wakes.min_gap
        step = Step(_unused, _wakes_of(strategy), 0, 0 if gap is None else duration_ns(gap), {}, {})
        step.name = plan.head.strategy
        super().__init__(plan, step, names, session, end_ns=end_ns)
        self.session = session
        rules = next(iter(plan.rules.values()))
        refuses = rules.cancel_early is CancelEarly.REFUSED
        self.exchange = EngineExchange(self.markets, refuses_early=refuses, comes=self.leave_walk)
        self.class_log = self.log = ClassLog(plan, session, self.markets, self._facts, self.exchange)
        desk: Any = session.desk
        desk._exchange = self.exchange
        session.log = LogInOrder(plan.head, session._write_down, self.catch_up)
        session.context = EngineContext(self, session)
        self._books = [EngineBook(self, place, key, self.markets[place]) for place, key in enumerate(self.keys)]
        self._unheard = set(range(len(self.keys)))
        self.stale_causes = [_NO_SNAPSHOT] * len(self.keys)
        self.moment = 0
        clock = self.engine.hands.clock
        clock["every"] = 1  # of the times that a jump passes over; the timer itself is the session's
        clock["asks_funding"] = 1  # `ctx.funding` is the session's
        self._batch: ColumnBatch | None = None
        self._kept: list[int] | None = None
        self._message: Message | None = None
        self.told = self._held_frame = 0
        self.is_counted = False
        self._is_catching_up = False
        self._has_caught_up = False
        self._numbers = 0
        self._leaves = self._is_repeated = False
        #: Whether there is anything to see to before the next call, see `_is_settled`.
        self._is_unusual = False
        self._raised: BaseException | None = None
        self.walk: Walk | None = None
        self.pace = Pace()
        self.heard_rows = self.walked = 0
        self._is_in_rows = False
        self._ahead = RunAhead(len(self.keys))
        self.engine = self._ahead.equip(self.engine)
        self._make_room()
        hands = self.engine.hands
        self.engine = self.engine._replace(
            hands=hands._replace(pending=np.zeros((len(hands.orders), 2 * _PENDING_MAX), np.int64))
        )
        self._bind()
        self.__dict__["_pointer"] = Pointer(self._called, self.engine)

    def _make_room(self) -> None:
        self._bind()
        times = self.exchange.room_times
        if times > 1:
            self.engine = widen_engine(self.engine, times)
            self._bind()

    def _bind(self) -> None:
        """Use the arrays as they are now: they are others after they have grown."""
        self._bound = self.engine
        self._clock = words_of(self.engine.hands.clock)
        self.quotes = words_of(self.engine.quotes)
        self.exchange.bind(self.engine)

    def hear_of_books(self) -> None:
        """Have the session show the books of pairs from the first word of them on, as it shows those of a tracker."""
        if self._unheard:
            self.come_here()
        seen = self.engine.hands.books.seen
        for place in [place for place in self._unheard if seen[place].any()]:
            self._show(place)

    def _show(self, place: int) -> None:
        self._unheard.discard(place)
        self.session._books[place] = self._books[place]

    # -- calls -------------------------------------------------------------------------------------------------

    def _called(self, now: int, why: int, pair: int) -> int:
        """What the engine calls. Returns whether it is to stop."""
        try:
            if self._is_unusual and self._is_settled(why):
                return 0
            self.moment += 1
            session, clock = self.session, self._clock
            if now != session.now_ns:
                session._set_now(now)
            self._has_caught_up = False
            if clock[_TOLD] != self.told:
                self.catch_up()
            if why & _OF_MARKET:
                self.wake_by_market(why, pair, clock[_ROW])
            elif why & _ON_TIMER:
                popped = session._timers.pop_due(now)
                if popped is not None:
                    popped[1].callback(popped[0])
            elif why & _START:
                self.hear_of_books()
                session.begin(now)
            timer_ns = session._timers.next_due_ns
            clock[_TIMER] = timer_ns if timer_ns < NEVER else NEVER
            if session.failure is not None or self.exchange.refused is not None:
                return 1
            if clock[_NUMBERS] != self._numbers:
                self._numbers = clock[_NUMBERS]
                if not self.exchange.has_room:
                    self._leaves = self._is_unusual = True
                    self._is_repeated = bool(why & _START) or self._message is not None
                    clock[_WHY] = 0  # it was called for that
                    return 1
            if self._is_in_rows and self.pace.is_over() and self._may_run_ahead and not why & _START:
                self._leaves = True
                clock[_WHY] = 0
                return 1
            return 0
        except BaseException as exc:  # noqa: BLE001  # nothing is raised through compiled code
            self._raised = exc
            return 1

    def _is_settled(self, why: int) -> bool:
        """See to what is rare before a call; whether it is no call, since the one before was for the same."""
        if self._is_repeated:
            self._is_repeated = False
            return True
        log = self.class_log
        if log.holds:
            self._release(of_message=bool(why & _OF_MARKET))
        if log.has_just_come and not why & _OF_ANSWER:
            log.note_just_came()
        self._is_unusual = log.holds or log.has_just_come
        return False

    def wake_by_market(self, why: int, pair: int, row: int) -> None:
        """Call for what the message of a row has changed."""
        waking = self.session.waking
        if why == _QUOTE:
            # That it is one that calls, and the first of its time, the engine has seen.
            book = self._books[pair]
            top = waking._tops[pair] = book.top()
            if waking._gap_ns:
                waking._slots[pair] = self.session.now_ns // waking._gap_ns
            if waking._wanted[pair]:
                self._call("quote", row, Quote(waking._pairs.names[pair], *top, book.is_stale))
        elif why == _TRADE:
            if waking._wanted[pair]:
                self._call("trade", row, self._message_at(row))
        elif why & _OF_BOOK:
            if pair in self._unheard:
                self._show(pair)
            if why & _GAP:
                waking.turns(pair, self._books[pair])
            waking.book_changed(pair, self._cause(row), self._books[pair])
        else:
            assert self._batch is not None, "a message calls out of its batch"
            waking.wake(self._batch.message(row), None)

    def _call(self, kind: str, row: int, given: Any) -> None:
        """As `TradingSession.call` and `Watch.call`, for what calls most often."""
        session = self.session
        desk, watch, rng, strategy = session.desk, session.watch, session._rng, session.strategy
        acts: list[tuple[Any, ...]] = []
        desk.acts = acts
        draws, failure = rng.draws, None
        watch.begin_many()
        number = watch._count = watch._count + 1
        watch._since = 1  # it is watched from when it is seen first
        try:
            try:
                if kind == "quote":
                    strategy.on_quote(session.context, given)
                else:
                    strategy.on_trade(session.context, given)
            finally:
                watch._since = 0
                if watch._asked == number:
                    watch.settle(number)
        except FAILURES as exc:
            failure = failure_in(watch, session._loaded.files, f"on_{kind}", exc)
        if acts or rng.draws != draws:
            session.log.add(LogRow(session.now_ns, kind, self._cause(row), tuple(acts), rng.draws - draws))
        if failure is not None:
            session._fail(failure, kind)

    def _message_at(self, row: int) -> Message:
        """A message of the batch, by its place; as `ColumnBatch.message`, without numpy in between."""
        batch = self._batch
        assert batch is not None, "a message calls out of its batch"
        if self._kept is None:
            self._kept = batch.rows["row"].tolist()
        kept = self._kept[row]
        for rest in batch.rest:
            if 0 <= kept < rest.count:
                return rest.message(kept)
            kept -= rest.count
        return batch.message(row)  # which says what there is not

    def _cause(self, row: int) -> tuple[int, int]:
        message = self._message
        if message is not None:
            return message.capture_seq, message.sub_seq
        assert self._batch is not None, "a message calls out of its batch"
        found = self._batch.rows[row]
        return int(found["capture_seq"]), int(found["sub_seq"])

    def catch_up(self) -> None:
        """Have the session hear all that the engine told so far."""
        if self.walk is not None:
            self.walk.catch_up()
            return
        if self._has_caught_up or self._is_catching_up:
            return  # within a call the engine tells nothing
        self._is_catching_up = self._has_caught_up = True
        session, clock = self.session, self._clock
        now = session.now_ns
        try:
            self.told = clock[_TOLD]
            clock[_DIRTY] = 1
            begin, end = self.heard_rows, clock[_LOG]
            self.heard_rows = clock[_LOG] = 0
            self.class_log.take_all(self.engine.hands.log[begin:end], now)
            session._set_now(now)
            self._is_unusual = self._is_unusual or self.class_log.has_just_come
        finally:
            self._is_catching_up = False

    def _release(self, *, of_message: bool) -> None:
        """What a message of a frame caused that is heard at once is heard after the last one of the frame."""
        self.class_log.holds = of_message and self._clock[_FRAME] == self._held_frame

    def _drain(self) -> None:
        if self._bound is not self.engine:
            self._bind()
        self.session._set_now(max(self.session.now_ns, self.now_ns))
        if self.class_log.holds:
            self._release(of_message=True)
        is_dirty = self._clock[_DIRTY]
        self._has_caught_up = False
        self.catch_up()
        self._has_caught_up = False
        self._clock[_DIRTY] = is_dirty

    def _handle(self, status: int) -> None:
        super()._handle(status)
        self._make_room()

    def _fail(self) -> None:
        """Python stopped the engine: for want of room, or since the strategy has failed."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        if self._leaves:
            self._leaves = False
            return
        session = self.session
        if session.failure is None and self.exchange.refused is not None:
            raise self.exchange.refused
        if session.failure is None:
            # So many answers at one instant that it has to be that they cause each other.
            session._set_now(self.now_ns)
            session._at_once = int(self._clock[_AT_ONCE])
            session._count_at_once()
        assert session.failure is not None, "the engine has failed for nothing"
        raise session.failure

    # -- ahead -------------------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Logical time."""
        return super().now_ns if self.walk is None else self.walk.now_ns

    @property
    def _may_run_ahead(self) -> bool:
        """Whether no request is under way, and nothing is to be seen to."""
        clock = self._clock
        return (
            clock[_POSTS] == clock[_POST_AT]
            and not self._is_unusual
            and clock[_RUNNING] == clock[_ASKS] == 1
            and clock[_NOTICE] >= NEVER
        )

    def _go(
        self, batch: ColumnBatch, places: npt.NDArray[np.int64], levels: LevelColumns, start: int, stop: int
    ) -> tuple[int, int]:
        pace = self.pace
        while start < stop and pace.is_over() and self._may_run_ahead:
            if 2 * self._clock[_LOG] > len(self.engine.hands.log):
                self._drain()
            end = min(stop, start + pace.rows)
            args = (batch.rows, places, levels.ticks, levels.lots, levels.counts, batch.prices, batch.sizes)
            notes = self._ahead.run(self.engine, self.session._timers, start, end, args)
            has_left = self._walk(notes, batch)
            pace.note(self._ahead.row - start, self.walked, self._ahead.saved_bytes, has_left=has_left)
            start = self._ahead.row
            if not has_left and not self._ahead.has_stopped and (self._ahead.status or start < end):
                return start, self._ahead.status
        if start == stop:
            return start, int(Status.DONE)
        self._is_in_rows = True
        try:
            return super()._go(batch, places, levels, start, stop)
        finally:
            self._is_in_rows = False

    def _walk(self, notes: Notes, batch: ColumnBatch) -> bool:
        """Call the strategy for what was noted; whether it acts, and the engine is at the wake at which it does."""
        ahead = self._ahead
        walk = self.walk = Walk(self, ahead, notes, batch)
        try:
            has_left = walk.go()
        finally:
            self.walk = None
        self.walked = walk.at + 1 if has_left else notes.count
        self.moment += 1
        if has_left:
            ahead.leave()
            timer_ns = self.session._timers.next_due_ns
            self._clock[_TIMER] = min(timer_ns, NEVER)
            self._numbers = self._clock[_NUMBERS]
            self._make_room()
        else:
            ahead.go_on()
        return has_left

    @property
    def has_orders(self) -> bool:
        """Whether there are own orders, of which answers may be under way."""
        return bool(self.exchange.orders())

    def come_here(self) -> None:
        """In a walk, bring the engine to the wake at hand."""
        if self.walk is not None:
            self.walk.come_here()

    def leave_walk(self) -> None:
        """The strategy puts something of its own into the world: the engine calls it from here on."""
        if self.walk is not None:
            self.walk.leave()

    def note_due(self, due_ns: int) -> None:
        """What funding has settled is heard at that time."""
        clock = self._clock
        clock[_NOTICE] = due_ns
        if due_ns <= self.now_ns:
            clock[_DIRTY] = 1
            self._held_frame = clock[_FRAME]

    # -- what is Python's --------------------------------------------------------------------------------------

    def take(self, batch: ColumnBatch, places: npt.NDArray[np.int64], levels: LevelColumns, start: int = 0) -> None:
        """Take in a batch, which was read as a whole; see `StepRun.take`. Raises StrategyError where the strategy fails."""
        self._batch, self._kept = batch, None
        self.is_counted = self.is_counted or bool((batch.rows["flags"] & Flag.COUNTED).any())
        super().take(batch, places, levels, start)

    def begin_frame(self, row: Any) -> None:
        """What is due before the frame of a row is done, and the next row that is taken in is of that frame."""
        clock = self.engine.hands.clock
        if clock["frame"][0] == row["capture_seq"]:
            return
        if clock["frame"][0] != _NO_FRAME:
            self._run(kernel_engine.end_frame)
        now_ns = max(self.now_ns, int(row["ts_recv"]))
        if now_ns >= clock["until"][0]:
            return
        clock["frame"] = _NO_FRAME
        if clock["is_running"][0]:
            self._run(kernel_engine.reach_time_of, now_ns)
        if now_ns != self.now_ns:
            clock["now"], clock["at_once"] = now_ns, 0
        self._begin_if_known()

    def counts(self, row: Any, place: int) -> bool:
        """Whether a message is counted in the steps of its market: of one that changes and reaches nothing they are no matter."""
        flags = int(row["flags"])
        if row["kind"] != Kind.TRADE:
            return bool(flags & Flag.FUSED)
        if flags & (Flag.HISTORY | Flag.DUPLICATE | Flag.UNMATCHED):
            return False
        orders, rules = self.engine.hands.orders, self.engine.hands.rules
        venues = rules["venue"][orders["pair"][orders["at_venue"] == 1]]
        return bool((venues == rules["venue"][place]).any())

    def hear_funding(self, place: int, message: Message) -> int:
        """Rates of funding. Returns when the next word of what they settle is heard."""
        return self._hear_funding(place, message)

    def _hear_funding(self, place: int, message: Message) -> int:
        mail = self.session.exchange._mail
        known = mail._sequence
        due_ns = super()._hear_funding(place, message)
        for heard_ns, sequence, _ in mail._answers:
            if sequence > known:
                # Of what is heard at one time, that which was sent first.
                clock = self.engine.hands.clock[0]
                waiting = self.engine.answers["due"][int(clock["answer_at"]) : int(clock["answers"])]
                self.class_log.before[heard_ns] = int(np.count_nonzero(waiting == heard_ns))
        if due_ns <= self.now_ns:
            self.class_log.holds, self._held_frame = True, self._clock[_FRAME]
            self._is_unusual = True
        return due_ns

    def _hear_event(self, place: int, event: StreamEvent) -> None:
        if self._unheard:
            self.hear_of_books()
            if place in self._unheard and event.kind is EventKind.STALE and event.stream == FORM_FULL:
                self._show(place)
        super()._hear_event(place, event)
        self._clock[_TIMER] = min(self.session._timers.next_due_ns, NEVER)

    def _look_for_jump(self, batch: ColumnBatch, at: int) -> None:
        jump = jump_of(batch.message(at))
        self._clock[CLOCK_AT["heard"]] = int(batch.rows["capture_seq"][at])
        if jump is not None:
            self.session._timers.jump(*jump)

    def _turn_stale(self, place: int, event: StreamEvent) -> None:
        self.stale_causes[place] = event.cause if event.kind is EventKind.STALE else _NO_SNAPSHOT
        self._message = event
        try:
            super()._turn_stale(place, event)
        finally:
            self._message, self._is_repeated = None, False

    def _mark_uncertain(self, slots: npt.NDArray[np.intp]) -> None:
        super()._mark_uncertain(slots)
        for number in self.engine.hands.orders["number"][slots].tolist():
            self.exchange.note_uncertain(number)

    def rescale(self, place: int, ticks: int, lots: int) -> None:
        """Count a pair in finer steps, and own orders with it."""
        super().rescale(place, ticks, lots)
        self._bind()
        scale = self.markets[place].scale
        for order in self.exchange.orders():
            if order.pair == place and scale is not None:
                order.rescale(scale, ticks, lots)

    def _close(self) -> None:
        session, log = self.session, self.class_log
        session.phase, session._paused_ns = Phase.PAUSED, self.now_ns
        log.holds = False  # the frame is over
        self._drain()
        log.hear_rest(self.now_ns)
        self._run(kernel_engine.close_run)
        # Where answers call it, each was heard at its call, and what is left is of what was sent meanwhile.
        if self.step.wakes & _OF_ANSWER:
            log.is_over = True
            self._is_catching_up = True  # the end of the frame comes after it
            log.hear_until(None)
            self._is_catching_up = False
        self._drain()
        log.is_over = False
        log.close()

    def _stop(self, now_ns: int) -> None:
        session, clock = self.session, self.engine.hands.clock
        if self._has_begun:
            session._set_now(now_ns)
            session.call("stop", (), session.strategy.on_stop)
            if session.failure is not None:
                raise session.failure
            # What was sent just now never arrives, and nobody is called for that.
            clock["stage"], clock["logs_tops"] = _CLOSING, 0
            self._run(kernel_engine.close_run)
            self.class_log.is_over = True
            self._drain()
            session._set_now(now_ns)
        session.phase = Phase.ENDED


def _wakes_of(strategy: Strategy) -> Why:
    """What calls the engine's caller for a strategy: what it has declared, and what it hears of."""
    wakes, cls = strategy.wakes, type(strategy)
    has = {name: getattr(cls, name) is not getattr(Strategy, name) for name in vars(Strategy) if name.startswith("on_")}
    why = Why.START
    for flag, is_wanted in (
        (Why.BOOK, wakes.books and has["on_book"]),
        (Why.QUOTE, wakes.quotes and has["on_quote"]),
        (Why.TRADE, wakes.trades and has["on_trade"]),
        (Why.FUNDING, wakes.funding and has["on_funding"]),
        (Why.GAP, has["on_gap"]),
        (Why.ORDER | Why.FILL, has["on_order"] or has["on_fill"]),
    ):
        if is_wanted:
            why |= flag
    return why
