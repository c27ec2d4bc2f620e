"""
A trading session: frames in, decisions out. Live on paper, and on a recording, it is the same object fed by the same frames.

No clock of the machine takes part. Before the first message of a frame, everything happens that is due by then, in order of
time: what arrives at the venue, then answers, then timers of the strategy, each in the order they were sent or set. Then come
the messages, one after the other. What they cause for own orders is computed at each, and reported after the last one and
before the next frame. So what is due between two frames is done when the next one comes, with its own time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import index, itemgetter
from typing import TYPE_CHECKING, Any, Final

from replay.backtest.contracts import is_known, ledger_market, missing_said
from replay.backtest.requests import Notice, Response
from replay.ledger.ledger import LedgerMarket
from replay.results.recent_tops import PairTop, TopRow
from replay.results.run_record import RunRecord
from replay.results.run_recorder import RunRecorder
from replay.strategy.context import Context
from replay.strategy.decision_log import DecisionLog, LogHead, LogRow
from replay.strategy.desk import Desk
from replay.strategy.failures import StrategyError, failure_of, said_of
from replay.strategy.limits import RiskLimits
from replay.strategy.loading import LoadedStrategy
from replay.strategy.log_rows import answer_row, decision_row, notice_row
from replay.strategy.named_timers import NamedTimers, plain
from replay.strategy.own_data import DataView, LoadedData, OwnData
from replay.strategy.pairs import RunPairs
from replay.strategy.strategy import EVERY, Strategy
from replay.strategy.waking import Phase, Waking
from replay.strategy.watch import CALLBACK_S_MAX, Watch
from toolkit.books.orderbook import OrderBook
from toolkit.clock import format_ns
from toolkit.errors import ConfigError, TickdeckError
from toolkit.keys import PairName
from toolkit.messages import EventKind, FundingInfo, FundingKind, Instrument, Message, StreamEvent
from toolkit.rng import counted
from toolkit.timing.clock_jumps import jump_of

if TYPE_CHECKING:
    from replay.backtest.exchange import Exchange
    from replay.clearing.house import House

__all__ = ["Phase", "TradingSession"]

#: Answers and timers at one instant; more are two that cause each other for ever.
_AT_ONCE_MAX: Final = 100_000
#: What a result keeps of streams.
_GAPS: Final = frozenset({EventKind.STALE, EventKind.GAP, EventKind.LOST})
#: Messages that a session hears itself.
_HEARD: Final[frozenset[type[Message]]] = frozenset({StreamEvent, Instrument, FundingInfo})


class TradingSession:
    """
    One run of a strategy.

    Args:
        loaded: The strategy's class, and where it is from.
        strategy: The strategy, with its parameters.
        pairs: The pairs of the run.
        exchange: The venue that it trades on, which keeps the books.
        recorder: Writes down the run.
        head: Values that the decision log begins with.
        limits: Limits of risk.
        data: The strategy's own data, by the object that names it.
        callback_s_max: How long a callback may compute, seconds; see `Watch`.
        waits: Whether it begins by `begin` alone, and not as soon as all is known.
        house: Keeps the account's money at the venue; an attribute as well.

    Attributes:
        strategy: Strategy as given.
        exchange: The venue.
        tracker: Its books.
        now_ns: The time: of the last frame, answer or timer.
        phase: Where it is.
        log: The decision log.
        failure: Why the strategy was ended; None while it was not.
        message_count: Messages taken in.
        desk: Its orders and positions.
        own_data: The strategy's own data, by the object that names it.
        waking: Events that it is called for.
        changed_places: The pairs whose book the frame under way has changed, each with its best levels if they are known.
        is_quiet: Whether nothing that anything is made of has come or been done since the end of a frame.
    """

    def __init__(
        self,
        loaded: LoadedStrategy,
        strategy: Strategy,
        pairs: RunPairs,
        exchange: Exchange,
        recorder: RunRecorder,
        head: LogHead,
        *,
        limits: RiskLimits,
        data: Mapping[int, LoadedData],
        callback_s_max: float = CALLBACK_S_MAX,
        waits: bool = False,
        house: House | None = None,
    ) -> None:
        self.strategy = strategy
        self.now_ns = 0
        self.phase = Phase.WAITING
        self.failure: StrategyError | None = None
        self.message_count = 0
        self.log = DecisionLog(head, self._write_down)
        self._loaded = loaded
        self._pairs = pairs
        self.tracker = exchange.tracker
        self.exchange = exchange
        self.house = house
        self._recorder = recorder
        self.own_data = dict(data)
        self._rng = counted(f"{head.seed}:{head.strategy}")
        self.desk = Desk(exchange, recorder, pairs, limits, f"{head.strategy}-{head.seed}")
        self.context = Context(self, self.desk, pairs.names, self._rng)
        self.watch = Watch(callback_s_max)
        self._wake_by(strategy)
        self._timers = NamedTimers(self._on_timer)
        self._frame: int | None = None
        self._at_once = 0
        self._open_venues: set[str] = set()
        self._waits = waits
        self._began_ns: int | None = None
        self._paused_ns = 0
        self._unknown = set(range(len(pairs.keys)))
        self.is_quiet = False
        self.changed_places: dict[int, PairTop | None] = {}
        self._books: list[OrderBook | None] = [None for _ in pairs.keys]
        self._define_known()
        for place, market in enumerate(exchange.markets):
            market.heard_finer = partial(self._count_finer, place)
        self._checks_loss = limits.loss_max is not None
        self._responses = 0

    def _wake_by(self, strategy: Strategy) -> None:
        self.waking = Waking(self, strategy, self._pairs)
        #: Kinds of messages to heed, also where they change no book.
        self._heeded = _HEARD | self.waking.kinds
        self._hears_orders = type(strategy).on_order not in _DEFAULTS

    def know(self, instruments: Iterable[Instrument]) -> None:
        """
        Hear what was said of pairs before the first frame: a recording that is continued need not say it again.

        Args:
            instruments: Newest instrument of each pair, in the order of the run's pairs.
        """
        for instrument in instruments:
            self.exchange.take(instrument)
            self._hear(instrument)

    # -- frames ------------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """Take in a message. One of another frame than the last one ends that one first."""
        self.message_count += 1
        if self.phase is Phase.FAILED:
            return
        try:
            if message.capture_seq != self._frame:
                self._begin_frame(message.capture_seq, message.ts_recv, message)
            book = self.exchange.take(message)
            kind = type(message)
            if book is not None or kind in self._heeded:
                self._heed(message, kind, book)
        except TickdeckError as exc:
            self.fail_at_market(exc)

    def _heed(self, message: Message, kind: type[Message], book: OrderBook | None) -> None:
        """A message that changes a book, or that the record or the strategy hears of."""
        self.is_quiet = False
        if kind in _HEARD:
            self._hear(message)
        if self.phase is Phase.RUNNING:
            self.waking.wake(message, book)

    # -- stretches of market data that is taken in without messages: see replay.stretches ------------------------

    @property
    def is_running(self) -> bool:
        """Whether the strategy is called."""
        return self.phase is Phase.RUNNING

    def begin_plain(self, frame: int, ts_recv: int) -> bool:
        """A message of that frame is next that is plain market data; whether the strategy is running by then."""
        if frame != self._frame:
            self._begin_frame(frame, ts_recv)
        return self.phase is Phase.RUNNING

    def due_ns(self) -> int:
        """No frame of this time or later may be begun elsewhere; none at all where the one under way needs a look."""
        is_free = not (self._checks_loss or self.desk.failed)
        return min(self._timers.next_due_ns, self.exchange.next_due_ns()) if is_free else 0

    def note_frame(self, now_ns: int, tops: Iterable[PairTop]) -> None:
        """A frame is over that was taken in elsewhere: pairs whose book it changed, with best bid and ask."""
        for pair, bid, bid_lots, ask, ask_lots in tops:
            self._recorder.note_top(pair, now_ns, bid, bid_lots, ask, ask_lots)
        self._recorder.frame_done(now_ns, is_doubtful=self._is_doubtful)
        self.changed_places.clear()
        self.is_quiet = True

    def note_frames(self, place: int, tops: Sequence[TopRow]) -> None:
        """So many frames are over that were taken in elsewhere, each with a change of this pair's book and of no other."""
        self._recorder.note_frames(place, tops, is_doubtful=self._is_doubtful)
        self.changed_places.clear()
        self.is_quiet = True

    def passed(self, frame: int, now_ns: int, count: int, tops: Mapping[int, PairTop]) -> None:
        """So many messages were taken in; the frame of the last one is under way, and these are the books it has changed."""
        self.message_count += count
        self._frame = frame
        self._set_now(now_ns)
        if tops:
            self.changed_places.update(tops)
            self.is_quiet = False

    def end_frame(self) -> None:
        """The last message of the frame was taken in: what is due now is done before the next one."""
        if self._frame is None:
            return
        try:
            self._end_frame()
        except TickdeckError as exc:
            self.fail_at_market(exc)

    def fail_at_market(self, exc: TickdeckError) -> None:
        """A policy that says so, or a market that cannot be matched: live and replayed it ends at the same message."""
        self._fail(StrategyError(f"the run ended at {format_ns(self.now_ns)}: {said_of(exc)}"), "market")

    def _end_frame(self) -> None:
        self._frame = None
        if self.phase is Phase.RUNNING:
            if self.desk.failed or self._is_due(self.now_ns):
                self._reach(self.now_ns)
            if not self.is_quiet:
                self._frame_done()

    def _begin_frame(self, frame: int, ts_recv: int, message: Message | None = None) -> None:
        """Begin a frame; `message` is its first one, and None where that is plain market data."""
        now = max(self.now_ns, ts_recv)
        if self._frame is not None:
            is_plain = self.is_quiet and self.phase is Phase.RUNNING and type(message) is not StreamEvent
            if is_plain and not self._is_due(now):
                # As between most frames: there is nothing to do after the one before, nor before this one.
                self._frame = frame
                self._set_now(now)
                return
            self._end_frame()
            now = max(self.now_ns, now)
        self._frame = frame
        if self.phase is Phase.RUNNING:
            if message is not None and (jump := jump_of(message)) is not None:
                self._timers.jump(*jump)
            if self._is_due(now):
                self._reach(now)
        self._set_now(now)
        if self._began_ns is None:
            self._begin_if_known()

    def _is_due(self, until_ns: int) -> bool:
        """Whether an arrival, an answer or a timer is due by then: at most frames nothing is."""
        return self._timers.next_due_ns <= until_ns or self.exchange.next_due_ns() <= until_ns

    def _set_now(self, now_ns: int) -> None:
        if now_ns != self.now_ns:
            self._at_once = 0
        self.now_ns = self.desk.now_ns = now_ns

    def _hear(self, message: Message) -> None:
        if isinstance(message, StreamEvent):
            if message.kind is EventKind.SESSION_START:
                self._open_venues.add(message.venue)
                if self.phase is Phase.PAUSED:
                    self._timers.jump(self._paused_ns, self.now_ns)
                    self.phase = Phase.WAITING if self._began_ns is None else Phase.RUNNING
            elif message.kind is EventKind.SESSION_END:
                self._open_venues.discard(message.venue)
                if not self._open_venues and self.phase in (Phase.RUNNING, Phase.WAITING):
                    self._pause()
            elif message.kind in _GAPS and self._pairs.are_met_by(message):
                self._recorder.hear(message, self.now_ns)
            return
        place = self._pairs.places.get((message.venue, message.trading_pair))
        if place is None:
            return
        if isinstance(message, Instrument):
            self._recorder.hear(message, self.now_ns)
            self._define(place, message)
        elif isinstance(message, FundingInfo) and message.kind is FundingKind.CURRENT and message.mark_price:
            self._recorder.note_mark(place, message.mark_price)

    # -- beginning and end -------------------------------------------------------------------------------------

    def _define(self, place: int, instrument: Instrument) -> None:
        """Tick, lot and contract of a pair from now on; the strategy is called once those of all pairs are known."""
        self._recorder.define(place, self._ledger_market(place, instrument), instrument.symbol)
        if place in self._unknown and is_known(self.exchange.markets[place]):
            self._unknown.discard(place)
            self._begin_if_known()

    def _count_finer(self, place: int) -> None:
        """The market is counted in finer steps from now on, so the money is, from the next execution on."""
        if self._recorder.ledger.markets[place].contract is not None:
            self._recorder.define(place, self._ledger_market(place, None))

    def _ledger_market(self, place: int, instrument: Instrument | None) -> LedgerMarket:
        return ledger_market(self._recorder.ledger.markets[place], self.exchange.markets[place], instrument)

    def _define_known(self) -> None:
        for place in range(len(self.exchange.markets)):
            if is_known(self.exchange.markets[place]):
                instrument = self.tracker.instrument(self._pairs.keys[place])
                symbol = None if instrument is None else instrument.symbol
                if instrument is not None and place in self._unknown:
                    self._recorder.hear(instrument, max(self.now_ns, instrument.ts_recv))
                self._recorder.define(place, self._ledger_market(place, instrument), symbol)
                self._unknown.discard(place)

    def begin_at(self, now_ns: int) -> None:
        """Call the strategy from that time on, with what was received before it, as soon as all is known."""
        self.end_frame()
        self._waits = False
        self._set_now(max(now_ns, self.now_ns))
        self._define_known()
        if self.phase is Phase.WAITING and not self._unknown:
            self.begin(self.now_ns)

    def start_anew(self, strategy: Strategy) -> None:
        """
        Go on with another strategy of the same class, which knows nothing of before: the account stays, orders do not.

        The one before is stopped; this one is started with the next frame.
        """
        self.end_frame()
        if self._began_ns is None or self.phase is Phase.FAILED:
            return
        if self.phase is Phase.RUNNING:
            self._pause()
        self._stop()
        if self.failure is not None:
            return
        self.strategy = strategy
        self._timers.clear()
        self._wake_by(strategy)
        self._began_ns = None
        self.phase = Phase.WAITING

    def _begin_if_known(self) -> None:
        if self.phase is Phase.WAITING and not self._unknown and not self._waits and self._frame is not None:
            self.begin(self.now_ns)

    @property
    def unknown_said(self) -> str:
        """What is still missing before the strategy can be called; empty where nothing is."""
        names, markets, places = self._pairs.names, self.exchange.markets, sorted(self._unknown)
        return missing_said([names[each] for each in places], [markets[each] for each in places])

    def begin(self, now_ns: int) -> None:
        """Call the strategy from now on, at the present time; nothing of the tape before it reaches it."""
        self._set_now(now_ns)
        self._began_ns = now_ns
        self.is_quiet = False
        self.phase = Phase.RUNNING
        every = self.strategy.wakes.every
        if every is not None:
            self._timers.set_every(EVERY, self.now_ns, every)
        self._recorder.check_capital()
        self.waking.begin()
        self.call("start", (), self.strategy.on_start)

    def _pause(self) -> None:
        """SESSION_END: what rests is cancelled, without latency, and nothing is due any more before another session."""
        was = self.phase
        self.phase = Phase.PAUSED
        self._paused_ns = self.now_ns
        if was is Phase.RUNNING:
            self._close()

    def _close(self) -> None:
        for response in self.exchange.close(self.now_ns):
            self._hear_response(response)
        self._tell_failed()
        for response in self.exchange.drop_sent(self.now_ns):
            self.desk.hear(response)
        self._frame_done()

    def finish(self, at_ns: int | None = None) -> RunRecord:
        """
        There are no more frames: the strategy's last call, and the record of the run.

        Args:
            at_ns: Where a tape without SESSION_END ends: timers fire up to it, what rests is cancelled there.
        """
        self.end_frame()
        if self.phase is Phase.RUNNING:
            if at_ns is not None and at_ns > self.now_ns:
                self._reach(at_ns)
                self._set_now(max(at_ns, self.now_ns))
            if self.phase is Phase.RUNNING:
                self._close()
            if self.phase is Phase.RUNNING:  # and not failed by an answer of its close
                self._paused_ns = self.now_ns
                self.phase = Phase.PAUSED
        if self.phase is Phase.PAUSED and self._began_ns is not None:
            self._set_now(self._paused_ns)  # frames may have come after it, of another venue
            self._stop()
        if self.phase is not Phase.FAILED:
            self.phase = Phase.ENDED
        self.watch.close()
        self._recorder.note_exchange(self.exchange.doubt, self.exchange.queued, self.desk.number_of)
        record = self._recorder.finish(self.now_ns)
        return record if self.house is None else self.house.note(record)

    def _stop(self) -> None:
        self.call("stop", (), self.strategy.on_stop)
        for response in self.exchange.drop_sent(self.now_ns):
            self.desk.hear(response)

    # -- what is due -------------------------------------------------------------------------------------------

    def _reach(self, until_ns: int) -> None:
        """Do all that is due up to a time: arrivals, then answers, then timers, each at its own time."""
        exchange, timers = self.exchange, self._timers
        self.is_quiet = False
        while self.phase is Phase.RUNNING:
            if self.desk.failed:
                self._tell_failed()
                continue
            due, timer_ns = exchange.next_due_ns(), timers.next_due_ns
            if due <= until_ns and due <= timer_ns:
                self._set_now(max(self.now_ns, due))
                for response in exchange.advance(due):
                    self._count_at_once()
                    self._hear_response(response)
            elif timer_ns <= until_ns:
                popped = timers.pop_due(timer_ns)  # of one that was taken back nothing comes, and not the next one
                if popped is not None:
                    self._step(popped[0])
                    popped[1].callback(popped[0])
            else:
                return
            if self._checks_loss:
                self._check_loss()

    def _step(self, due_ns: int) -> None:
        self._set_now(max(self.now_ns, due_ns))
        self._count_at_once()

    def _count_at_once(self) -> None:
        self._at_once += 1
        if self._at_once > _AT_ONCE_MAX and self.phase is Phase.RUNNING:
            self._fail(
                StrategyError(
                    f"{_AT_ONCE_MAX:,} answers and timers at one instant, {format_ns(self.now_ns)}: does it answer"
                    " each refusal by another order, or set timers that are due at once?"
                ),
                "endless",
            )

    def _hear_response(self, response: Response) -> None:
        self._responses += 1
        number = self._responses
        if type(response) is Notice:
            order, fill = self.desk.hear_notice(response)
            self.log.add(notice_row(self.now_ns, number, response))
        else:
            order, fill = self.desk.hear(response)
            self.log.add(answer_row(self.now_ns, number, 0 if order is None else order.number, response))
        if order is None or self.phase is Phase.FAILED:
            return
        if self._hears_orders:
            self.call("order", (number,), self.strategy.on_order, order)
        if fill is not None:
            self.call("fill", (number,), self.strategy.on_fill, fill)

    def _tell_failed(self) -> None:
        """Tell the strategy of orders that a limit of risk kept from being sent."""
        while self.desk.failed and self.phase is not Phase.FAILED:
            order = self.desk.fail_next()
            self._responses += 1
            self.log.add(LogRow(self.now_ns, "response", (self._responses,), ("failed", order.number, order.reason)))
            self._count_at_once()
            self.call("order", (self._responses,), self.strategy.on_order, order)

    def _check_loss(self) -> None:
        if self.desk.check_loss():
            self.desk.acts = []
            self.desk.cancel_all(None)
            self.log.add(LogRow(self.now_ns, "limit", ("loss",), tuple(self.desk.acts)))

    def changed(self, place: int) -> None:
        """The book of a pair has changed in this frame."""
        self.changed_places[place] = None

    def _frame_done(self) -> None:
        """Write down what the frame did to the money."""
        if self.changed_places:
            for place, top in sorted(self.changed_places.items(), key=itemgetter(0)):
                if top is None:
                    self._note_top(place)
                else:
                    self._recorder.note_top(place, self.now_ns, *top[1:])
            self.changed_places.clear()
        if self._checks_loss and self.phase is Phase.RUNNING:
            self._check_loss()
        self._recorder.frame_done(self.now_ns, is_doubtful=self._is_doubtful)
        self.is_quiet = True

    @property
    def _is_doubtful(self) -> bool:
        return self.exchange.is_in_doubt or self.desk.has_uncertain

    def _note_top(self, place: int) -> None:
        scale = self.exchange.markets[place].scale
        if scale is not None:
            book = self._book(place)
            levels = (scale.level_of(book.best_bid), scale.level_of(book.best_ask))
            self._recorder.note_top(place, self.now_ns, *levels[0], *levels[1], book.is_stale)

    # -- calls -------------------------------------------------------------------------------------------------

    def call(self, kind: str, cause: tuple[Any, ...], function: Any, *args: Any) -> None:
        """Call the strategy; what it asked for is a row of the decision log."""
        if self.phase is Phase.FAILED or function.__func__ in _DEFAULTS:
            return
        desk, rng = self.desk, self._rng
        acts: list[tuple[Any, ...]] = []
        desk.acts = acts
        draws = rng.draws
        failure = failure_of(self.watch, self._loaded.files, f"on_{kind}", function, self.context, *args)
        if acts or rng.draws != draws:
            self.log.add(LogRow(self.now_ns, kind, cause, tuple(acts), rng.draws - draws))
        if failure is not None:
            self._fail(failure, kind)

    def _fail(self, failure: StrategyError, kind: str) -> None:
        """The strategy has ended its run; the recorder goes on."""
        self.failure = failure
        self.phase = Phase.FAILED
        self.log.add(LogRow(self.now_ns, "failure", (kind,), (failure.line, failure.what)))
        self._recorder.frame_done(self.now_ns, is_doubtful=self._is_doubtful)

    def abort(self, failure: StrategyError) -> None:
        """End the run for a failure that is not the strategy's."""
        self._fail(failure, "defect")

    # -- what the context asks ---------------------------------------------------------------------------------

    def book(self, pair: PairName) -> OrderBook:
        """The fused book of a pair."""
        return self._book(self._pairs.place(pair))

    def _book(self, place: int) -> OrderBook:
        book = self._books[place]
        if book is None:
            key = self._pairs.keys[place]
            if key not in self.tracker.keys:
                return OrderBook(key.trading_pair, key.venue)  # stale, and without a level
            book = self._books[place] = self.tracker.book(key)
        return book

    def funding(self, pair: PairName) -> FundingInfo | None:
        """What was said last of funding, mark and index price."""
        return self.tracker.funding_info(self._pairs.keys[self._pairs.place(pair)])

    def data(self, own: OwnData) -> DataView:
        """The rows of own data that are there by now."""
        loaded = self.own_data.get(id(own))
        if loaded is None:
            raise ConfigError("ctx.data takes a parameter that is OwnData, such as self.signals")
        return loaded.until(self.now_ns)

    def set_timer(self, name: str, at_ns: int | None, after: str | None, every: str | None) -> None:
        """Set a timer by one of the three."""
        self._timers.set(name, self.now_ns, at_ns, after, every)
        self.desk.act("timer", str(name), None if at_ns is None else index(at_ns), plain(after), plain(every))

    def cancel_timer(self, name: str) -> bool:
        """Forget a timer."""
        if not self._timers.cancel(name):
            return False
        self.desk.act("cancel_timer", str(name))
        return True

    def _on_timer(self, name: str, due_ns: int) -> None:
        self.call("timer", (name, due_ns), self.strategy.on_timer, name, due_ns)

    def _write_down(self, number: int, row: LogRow, state: bytes) -> None:
        self._recorder.decision(decision_row(row, state))


#: Callbacks that a strategy has left out.
_DEFAULTS: Final = frozenset(value for name, value in vars(Strategy).items() if name.startswith("on_"))
