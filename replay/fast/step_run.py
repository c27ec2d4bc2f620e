"""
The compiled run of a step function, fed with batches of columns; what it did is taken down as a session's is.

What is rare is Python's: instruments, gaps, the end of a session, more room. Nothing here reads a tape, so that one can
feed many runs.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import NO_TIME, ColumnBatch, Kind, Names
from replay.backtest.contracts import is_known, missing_said
from replay.backtest.market import Market
from replay.fast import kernel_engine
from replay.fast.book_layout import FORMS_MAX, Seen, forget, make_books, widen_pool, widen_recent, widen_store_of
from replay.fast.book_units import rescale_engine
from replay.fast.compiled_step import packed, pointer_to
from replay.fast.engine_layout import (
    ACTS_MAX,
    Status,
    kinds_of,
    latencies_of,
    limits_of,
    linked,
    longer,
    make_engine,
    widen_engine,
)
from replay.fast.kernel_books import WANT_LEVELS, WANT_POOL, WANT_RECENT, room_for
from replay.fast.level_columns import LevelColumns
from replay.fast.run_log import RunLog, Takes
from replay.fast.step import Step, check_number
from replay.ledger.margin_rules import BandPrice
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import BUY, EVENT, SELL, Want, widen_book, widen_orders, widen_reports
from replay.market.rules import CancelEarly
from replay.results.run_record import RunRecord
from replay.strategy.failures import StrategyError, described
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import clear_side
from toolkit.messages import (
    BETWEEN_RECORDINGS,
    FORM_FULL,
    FORM_QUOTE,
    FORM_REST,
    EventKind,
    Instrument,
    Message,
    StreamEvent,
)
from toolkit.timing.clock_jumps import jump_of

__all__ = ["StepRun"]

_NEVER: Final = 1 << 62
#: Rows that the log has room for at least, beside those that the row at hand may take.
_LOG_MIN: Final = 4096
_TRADES: Final = "trades"
#: Room for the levels of a pair, and for those of all to begin with: what is not used takes no memory.
_PAGES: Final = 64
_SLOTS: Final = 256
_PAGES_OF_ALL: Final = 4096
#: And for those of a whole book on its way to the core.
_LEVELS: Final = 8192
_clear_side: Final = plain(clear_side)


class StepRun:
    """
    One run.

    Args:
        plan: Assumptions of the run.
        step: The function; its parameters are those of the plan.
        names: Numbers of pairs and forms in the columns.
        session: Whose markets and recorder it uses, and which is fed nothing.
        starts_ns: The function is called from this time on; None: as soon as all is known.
        end_ns: Time before whose first frame it ends.
        like: Another run of the function, whose compiled code this one shares.

    Attributes:
        engine: The arrays.
        keys: The pairs.
        markets: Markets of the pairs: grid, contract and fees.
        log: Log that takes down what it does.
        step: The function.
        reached: The row at which the last batch was left.
        levels: Levels of that batch, as the markets count them by then.
        calls: How often the function was called.
    """

    def __init__(
        self,
        plan: RunPlan,
        step: Step,
        names: Names,
        session: TradingSession,
        *,
        starts_ns: int | None = None,
        end_ns: int | None = None,
        like: StepRun | None = None,
    ) -> None:
        self._plan = plan
        self.step = step
        self._values = values = {name: plan.head.parameters[name] for name in step.parameters}
        for name, value in values.items():
            check_number(f"{step.name}: {name}", value)
        self._names = names
        self.keys = self._keys = plan.pairs.keys
        self.markets: tuple[Market, ...] = session.exchange.markets
        self._facts = [plan.facts[key.venue] for key in self._keys]
        rules = next(iter(plan.rules.values()))
        pairs = len(self._keys)
        core = MatchingCore(
            [PairFacts() for _ in self._keys],
            rules,
            pages=max(_PAGES, _PAGES_OF_ALL // pairs),
            slots=max(_SLOTS, _PAGES_OF_ALL // pairs),
        )
        books = make_books(
            pairs, pages=max(_PAGES, _PAGES_OF_ALL // pairs // 2), slots=max(_SLOTS, _PAGES_OF_ALL // pairs)
        )
        self.log: Takes = RunLog(plan, session, self.markets, self._facts)
        self._heard = [is_known(market) for market in self.markets]
        self._starts_ns = starts_ns
        self._has_begun = False
        self._is_paused = False
        self._paused_ns = 0
        self._open_venues: set[str] = set()
        state = packed(step.state)
        engine = make_engine(pairs, books, core.state, limits_of(self._facts), packed(values), state)
        self.engine = engine._replace(
            scratch=np.zeros((len(engine.scratch), _LEVELS), np.int64), events=np.zeros(4 * _LEVELS, EVENT)
        )
        clock = self.engine.hands.clock
        clock["wakes"], clock["every"], clock["min_gap"] = int(step.wakes), step.every_ns, step.min_gap_ns
        clock["quote_form"], clock["rest_form"] = names.form(FORM_QUOTE), names.form(FORM_REST)
        clock["queues"] = rules.cancel_early is CancelEarly.QUEUED
        clock["logs_tops"] = 1
        clock["asks_funding"] = any(each.funding is not None for each in self._facts)
        clock["timer"] = clock["notice"] = _NEVER
        self.reached = 0
        self.end_at(end_ns)
        self.engine.hands.latency[:] = latencies_of(plan.settings.latency)
        for place in range(len(self._keys)):
            self.engine.core.pairs[place]["stale"] = 1
            self._set_rules(place)
        self._like = like
        self._is_recorded = True
        #: Forms that a pair's book was made of before a hole between recordings, as places of pair and form.
        self._forms: frozenset[tuple[int, int]] = frozenset()

    @cached_property
    def _pointer(self) -> Any:
        return pointer_to(self.step, self.engine) if self._like is None else self._like._pointer

    def load(self) -> None:
        """Have the function as machine code before the first batch, for which it would be loaded or compiled."""
        _ = self._pointer

    @property
    def calls(self) -> int:
        return int(self.engine.hands.clock["calls"][0])

    @property
    def now_ns(self) -> int:
        """Logical time."""
        return int(self.engine.hands.clock["now"][0])

    @property
    def has_ended(self) -> bool:
        """Whether the time at which it ends has come."""
        return self._ended

    def end_at(self, end_ns: int | None) -> None:
        """End before the first frame of that time; None: with the tape."""
        self.engine.hands.clock["until"] = _NEVER if end_ns is None else end_ns
        self._ended = False

    def expect(self, instrument: Instrument) -> None:
        """What the venue will say first of a pair: books before it are counted in its steps."""
        place = self._plan.pairs.places[(instrument.venue, instrument.trading_pair)]
        for markets in self.log.markets_of_all:
            markets[place].take(instrument)
        self._set_rules(place)

    def leave_unrecorded(self) -> None:
        """Take nothing down from now on: for measuring what the engine does."""
        self.engine.hands.clock["logs_tops"] = 0
        self._is_recorded = False

    # -- taking in -------------------------------------------------------------------------------------------------

    def take(self, batch: ColumnBatch, places: npt.NDArray[np.int64], levels: LevelColumns, start: int = 0) -> None:
        """
        Take in a batch.

        Args:
            batch: The batch.
            places: Place in the run of each pair of its names, -1 for none.
            levels: Its levels, as the markets count them.
            start: Its first row that is taken in.

        Raises StrategyError where the function fails.
        """
        stop = batch.messages
        self.levels = levels
        self.engine = linked(self.engine)
        if len(self._names.forms) > FORMS_MAX:
            raise ConfigError(f"{len(self._names.forms)} forms of books in one tape, expected {FORMS_MAX} at most")
        while start < stop:
            start, status = self._go(batch, places, levels, start, stop)
            self.reached, self.levels = start, levels
            if not status:
                self._ended = start < stop
                # In the steps of now: what comes next may be counted in finer ones.
                self._drain()
                return
            if status == Status.PYTHON:
                finer = self._take_message(batch, start, places)
                start += 1
                if finer is not None:
                    # The rest of the batch was counted before.
                    rest = batch.rows[start:]
                    levels = levels.in_finer_steps(rest[rest["pair"] == batch.rows["pair"][start - 1]], *finer)
            elif status == Status.BEGIN:
                self._begin_before(batch, start)
            elif status == Status.EVENT:
                self._look_for_jump(batch, start)
            elif status == Status.FUNDING:
                self._drain()
                place = int(places[batch.rows["pair"][start]])
                due_ns = self._hear_funding(place, batch.message(start))
                self.engine.hands.clock["notice"] = min(due_ns, _NEVER)
                if due_ns <= self.now_ns:
                    self.engine.hands.clock["is_dirty"] = 1
            elif status == Status.BOOKS:
                row = batch.rows[start]
                want = int(room_for(self.engine.hands.books, row, places[row["pair"]]))
                # Where the message itself has room, it is the levels that the core has that need it.
                self._widen_books(want or int(WANT_LEVELS))
            else:
                self._handle(status)

    def _go(
        self, batch: ColumnBatch, places: npt.NDArray[np.int64], levels: LevelColumns, start: int, stop: int
    ) -> tuple[int, int]:
        """Take in rows up to one that Python has to see to; its place, and why."""
        columns = levels.ticks, levels.lots, levels.counts, batch.prices, batch.sizes
        rows_and_step = batch.rows, start, stop, places, *columns, self._pointer
        at, status = kernel_engine.run_rows(self.engine, *rows_and_step)
        return int(at), int(status)

    def _handle(self, status: int) -> None:
        engine = self.engine
        if status == Status.FAILED:
            self._fail()
        if status == Status.ROOM:
            self._drain()
            clock = engine.hands.clock[0]
            under_way = int(clock["posts"] - clock["post_at"]) + 2 * ACTS_MAX
            if clock["free"] < ACTS_MAX or under_way >= len(engine.hands.posts):
                self.engine = engine = widen_engine(engine)
            needs = int(clock["needs"]) + 2 * len(engine.core.reports)
            waiting = int(clock["answers"] - clock["answer_at"]) + 2 * ACTS_MAX + needs
            if len(engine.answers) <= waiting:
                answers = longer(engine.answers, 2 * waiting, int(clock["answers"]))
                self.engine = engine = engine._replace(answers=answers)
            self._widen_levels()
            hands = self.engine.hands
            if len(hands.log) < needs + _LOG_MIN:
                log = np.zeros(2 * (needs + _LOG_MIN), hands.log.dtype)
                self.engine = self.engine._replace(hands=hands._replace(log=log))
        elif status == Status.CORE:
            self.engine = linked(engine._replace(core=_widened(engine.core)))

    def _widen_books(self, want: int) -> None:
        books = self.engine.hands.books
        if want & WANT_LEVELS:
            books = widen_store_of(books)
        if want & WANT_RECENT:
            books = widen_recent(books)
        if want & WANT_POOL:
            books = widen_pool(books)
        self.engine = self.engine._replace(hands=self.engine.hands._replace(books=books))

    def _widen_levels(self) -> None:
        """Room for a whole book at a time, on its way to the core."""
        engine = self.engine
        most = int(engine.hands.books.store.levels.max()) + int(engine.core.book.levels.max())
        scratch, events = engine.scratch, engine.events
        while scratch.shape[1] < 2 * most + 6000:
            scratch = np.zeros((6, 2 * scratch.shape[1]), np.int64)
        while len(events) < 8 * most + 16_000:
            wide = np.zeros(2 * len(events), events.dtype)
            wide[: len(events)] = events
            events = wide
        self.engine = engine._replace(scratch=scratch, events=events)

    def _drain(self) -> None:
        """Take down what the run has told so far."""
        clock = self.engine.hands.clock
        if self._is_recorded:
            self.log.take(self.engine.hands.log[: int(clock["log"][0])])
        clock["log"] = 0

    def _run(self, kernel: Any, *args: Any) -> None:
        """Run a kernel until it is done."""
        while status := int(kernel(self.engine, *args, self._pointer)):
            self._handle(status)

    # -- beginning and end -----------------------------------------------------------------------------------------

    def _begin_if_known(self) -> None:
        if self._has_begun or self._is_paused or not all(self._heard):
            return
        if self._starts_ns is not None and self.now_ns < self._starts_ns:
            return
        self._begin()

    def _begin_before(self, batch: ColumnBatch, at: int) -> None:
        """A frame begins: the function is called from the time that was asked for, if this is the first one after it."""
        starts_ns, now_ns = self._starts_ns, self.now_ns
        if starts_ns is None or now_ns < starts_ns:
            self._begin_if_known()
            return
        self._starts_ns = None
        clock = self.engine.hands.clock
        clock["now"] = starts_ns
        self._begin_if_known()
        if clock["is_running"][0]:
            # What is due between the two.
            if int(batch.rows["kind"][at]) == Kind.EVENT:
                self._look_for_jump(batch, at)
            self._run(kernel_engine.reach_time_of, now_ns)
        clock = self.engine.hands.clock
        if now_ns != clock["now"][0]:
            clock["now"], clock["at_once"] = now_ns, 0

    def _begin(self) -> None:
        self._has_begun = True
        self.log.begin(self.now_ns)
        self._run(kernel_engine.start_run)

    @property
    def unknown_said(self) -> str:
        """What is missing before the function can be called; empty where nothing is."""
        places = [place for place, is_heard in enumerate(self._heard) if not is_heard]
        return missing_said(
            [self._plan.pairs.names[place] for place in places], [self.markets[each] for each in places]
        )

    def finish(self, at_ns: int | None = None) -> RunRecord:
        """
        There are no more rows: what rests is cancelled; the record of the run.

        Args:
            at_ns: Where a tape without the end of a session ends: timers fire up to it.
        """
        clock = self.engine.hands.clock
        if clock["is_running"][0]:
            self._run(kernel_engine.end_frame)
            if at_ns is not None and at_ns > self.now_ns:
                self._run(kernel_engine.reach_time_of, at_ns)
                clock["now"] = at_ns
            self._close()
        self._drain()
        # Frames may have come after the end of the session, of another venue.
        now_ns = self._paused_ns if self._is_paused and self._has_begun else self.now_ns
        self._stop(now_ns)
        return self.log.finish(now_ns)

    def _stop(self, now_ns: int) -> None:
        """The run is over: a step function is not called for that."""

    def _close(self) -> None:
        """The session has ended: what rests is cancelled, what is under way never arrives, and all is reported at once."""
        self._drain()
        self.log.hear_rest(self.now_ns)
        self._run(kernel_engine.close_run)
        self._drain()
        self.log.close()

    def _fail(self) -> None:
        """The function raised: run its call again in plain Python, where the error has a line."""
        engine = self.engine
        clock = engine.hands.clock[0]
        if clock["at_once"] > 100_000:
            raise StrategyError(
                f"100,000 answers and timers at one instant, {format_ns(self.now_ns)}: does it answer each refusal by"
                " another order?"
            )
        failure = StrategyError(f"{self.step.name} failed at {format_ns(self.now_ns)}")
        from replay.fast.failed_call import call_again

        try:
            call_again(self.step, self._values, engine, self._plan.pairs.names)
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever the function raises is its own failure
            failure = described(exc, self._plan.loaded.files, self.step.name)
        raise failure

    # -- what is Python's ------------------------------------------------------------------------------------------

    def _take_message(self, batch: ColumnBatch, at: int, places: npt.NDArray[np.int64]) -> tuple[int, int] | None:
        """Take in a message; how many new ticks and lots an old one of its pair is, where it has made them finer."""
        kind = int(batch.rows["kind"][at])
        if kind not in (Kind.INSTRUMENT, Kind.EVENT):
            return None
        message = batch.message(at)
        pair = int(batch.rows["pair"][at])
        place = int(places[pair]) if pair >= 0 else -1
        if isinstance(message, Instrument):
            return self._hear_instrument(place, message) if place >= 0 else None
        if isinstance(message, StreamEvent):
            self._hear_event(place, message)
        return None

    def _hear_instrument(self, place: int, message: Instrument) -> tuple[int, int] | None:
        self._drain()
        self.engine.hands.clock["is_dirty"] = 1
        market = self.markets[place]
        before, finer = market.scale, None
        is_other, *_ = [markets[place].take(message) for markets in self.log.markets_of_all]
        if is_other and before is not None and market.scale is not None:
            finer = int(before.tick / market.scale.tick), int(before.lot / market.scale.lot)
            self.rescale(place, *finer)
        self._set_rules(place)
        self.log.hear_instrument(place, message, self.now_ns)
        if not self._heard[place] and is_known(market):
            self._heard[place] = True
            self._begin_if_known()
        return finer

    def _hear_event(self, place: int, event: StreamEvent) -> None:
        self._drain()
        clock = self.engine.hands.clock
        clock["is_dirty"] = 1
        if event.kind is EventKind.SESSION_START:
            self._open_venues.add(event.venue)
            if self._is_paused:
                self._is_paused = False
                if self._has_begun:
                    clock["is_running"] = 1
                    clock["jumped_from"], clock["jumped_to"] = self._paused_ns, self.now_ns
        elif event.kind is EventKind.SESSION_END:
            self._open_venues.discard(event.venue)
            if not self._open_venues and not self._is_paused:
                self._is_paused, self._paused_ns = True, self.now_ns
                if clock["is_running"][0]:
                    self._close()
        self.log.hear_event(event, self.now_ns)
        if place < 0:
            return
        if event.kind is EventKind.GAP and event.cause == BETWEEN_RECORDINGS:
            self._forget(place, event)
        elif event.kind is EventKind.STALE and event.symbol:
            self._lose(place, event)
        is_form = self._is_form(place, event.stream)
        slots = self._resting(place)
        if self.log.hear_gap(place, event, self.now_ns, self._told_of(slots), is_form=is_form):
            self._mark_uncertain(slots)
        self._say_doubt(place)
        if event.kind in (EventKind.STALE, EventKind.GAP) and (is_form or not event.stream):
            self.engine.feeds[place]["is_joining"] = 1

    def _hear_funding(self, place: int, message: Message) -> int:
        """Rates of funding, before the row is taken in. Returns when the next word of what they settle is heard."""
        return self.log.hear_funding(place, message, self.now_ns)

    def _look_for_jump(self, batch: ColumnBatch, at: int) -> None:
        """A frame begins with an event: timers that a clock which was set has jumped over are called once for all of it."""
        clock, jump = self.engine.hands.clock, jump_of(batch.message(at))
        clock["heard"] = batch.rows["capture_seq"][at]  # of a notice between recordings the message says none
        if jump is not None:
            clock["jumped_from"], clock["jumped_to"] = jump

    def _is_form(self, place: int, stream: str) -> bool:
        form = self._names.form(stream)
        seen = int(self.engine.hands.books.seen[place, form])
        return bool(seen & (Seen.FUSED | Seen.DIFFS)) or (place, form) in self._forms

    def _lose(self, place: int, event: StreamEvent) -> None:
        books, form = self.engine.hands.books, self._names.form(event.stream)
        seen = int(books.seen[place, form])
        is_full = event.stream == FORM_FULL
        if bool(seen & Seen.FUSED) if seen & Seen.WHOLE else bool(seen & Seen.DIFFS) or is_full:
            row = books.pairs[place : place + 1]
            row["stale_forms"] |= np.uint64(1) << np.uint64(form)
            row["is_stale"] = 1
            self._turn_stale(place, event)

    def _forget(self, place: int, event: StreamEvent) -> None:
        books = self.engine.hands.books
        for side in (2 * place, 2 * place + 1):
            _clear_side(books.store, side)
        books.form_times[place] = NO_TIME
        fused = np.flatnonzero(books.seen[place] & (Seen.FUSED | Seen.DIFFS))
        self._forms |= {(place, int(form)) for form in fused}
        books.seen[place] = 0
        forget(books.pairs[place : place + 1])
        self.engine.feeds[place]["is_same"] = 0
        self._turn_stale(place, event)

    def _turn_stale(self, place: int, event: StreamEvent) -> None:
        feed = self.engine.feeds[place]
        if not feed["is_stale"]:
            feed["is_stale"] = 1
            self.engine.core.pairs[place]["stale"] = 1
            slots = self._resting(place)
            if self.log.lose_book(place, event, self.now_ns, self._told_of(slots)):
                self._mark_uncertain(slots)
            self._say_doubt(place)
        self._run(kernel_engine.wake_pair_of, place)

    def _mark_uncertain(self, slots: npt.NDArray[np.intp]) -> None:
        """Orders rest from now on while their book does not hold."""
        self.engine.hands.orders["is_uncertain"][slots] = 1

    def _say_doubt(self, place: int) -> None:
        """What comes while a pair is in doubt is uncertain, until what is lost of it is heard again."""
        lost = self.log.lost(place)
        self.engine.feeds[place]["in_doubt"] = ("book" in lost) + 2 * (_TRADES in lost)

    def _resting(self, place: int) -> npt.NDArray[np.intp]:
        """Slots of a pair's orders that are at the venue."""
        orders = self.engine.hands.orders
        return np.flatnonzero((orders["pair"] == place) & (orders["at_venue"] == 1))

    def _told_of(self, slots: npt.NDArray[np.intp]) -> list[tuple[int, bool]]:
        """Orders by their numbers, and whether each is uncertain already."""
        orders = self.engine.hands.orders
        return [(int(orders["number"][slot]), bool(orders["is_uncertain"][slot])) for slot in slots]

    # -- units -----------------------------------------------------------------------------------------------------

    def _set_rules(self, place: int) -> None:
        """What the venue asks of orders, from now on."""
        market, facts = self.markets[place], self._facts[place]
        rules, scale = market.rules_at(), market.scale
        row, quote = self.engine.hands.rules[place], self.engine.quotes[place]
        venues = list(dict.fromkeys(key.venue for key in self._keys))
        row["venue"] = venues.index(self._keys[place].venue)
        row["max_orders"] = -1 if facts.max_orders is None else facts.max_orders
        row["max_of_pair"] = -1 if facts.max_orders_per_pair is None else facts.max_orders_per_pair
        row["lacks"] = kinds_of(facts.lacks)
        row["reduce_tifs"] = kinds_of(facts.reduce_only_tifs)
        row["exempts_reducing"] = facts.reduce_only_is_exempt
        if rules is None or scale is None:
            row["ticks"] = row["lots"] = 1
            return
        row["is_active"], row["ticks"], row["lots"] = rules.is_active, rules.ticks, rules.lots
        quote["tick"], quote["lot"] = rules.ticks, rules.lots
        row["figures"] = rules.figures or 0
        row["decimals"] = max(0, -int(scale.tick.normalize().as_tuple().exponent))
        least = rules.min_notional if rules.min_notional is not None else facts.min_notional
        row["is_inverse"] = market.contract_value is not None
        row["unit_size"] = float(scale.lot * (market.contract_value or 1))
        row["price_over"], row["price_under"] = map(float, scale.tick_ratio)
        if facts.bands is not None:
            row["band"] = 1 if facts.bands.price is BandPrice.MARK else 2
            for side in (BUY, SELL):
                bounds = facts.bands.bounds(self._keys[place].trading_pair, side)
                row["band_low"][side], row["band_high"][side] = bounds
        row["least_value"] = 0.0 if least is None else float(least)
        row["least"] = 0 if least is None else math.ceil(Fraction(least) / (Fraction(scale.lot) * Fraction(scale.tick)))
        if least is None:
            row["is_inverse"] = 0

    def rescale(self, place: int, ticks: int, lots: int) -> None:
        """Count a pair in finer steps: as many new ticks and lots as an old one is."""
        self._drain()
        self.engine = linked(rescale_engine(self.engine, place, ticks, lots))
        self._set_rules(place)


def _widened(core: Any) -> Any:
    want = Want(int(core.counters["want"][0]))
    if Want.LEVELS in want:
        core = widen_book(core)
    if Want.ORDERS in want or int(core.counters["free"][0]) == 0:
        core = widen_orders(core)
    if Want.REPORTS in want or not want:
        core = widen_reports(core, 2 * len(core.reports))
    return core
