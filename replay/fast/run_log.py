"""Takes down what a compiled run did, as `replay/strategy/desk.py` and the session do: the result is made of it."""

from __future__ import annotations

from bisect import bisect_left
from collections import namedtuple
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from replay.backtest.gap_policy import Doubt
from replay.backtest.gap_watch import GapWatch
from replay.backtest.market import Market
from replay.backtest.requests import Notice, OwnOrder, Response
from replay.backtest.venue_facts import VenueFacts
from replay.fast.engine_layout import ANSWER, LOG, Code
from replay.market.layout import FAR, NONE, STATES, Reason, ReportCode, StateCode, TifCode
from replay.results.run_record import FillRow, OrderRow, RunRecord
from replay.results.run_recorder import RunRecorder
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from toolkit.account_messages import TERMINAL_ORDER_STATES, OrderState
from toolkit.messages import BETWEEN_RECORDINGS, EventKind, FundingInfo, Instrument, Message, StreamEvent

__all__ = ["AnswerTuple", "Orders", "RowTuple", "RunLog", "Takes"]

_SENT, _ANSWER, _TOP, _MARK, _FRAME, _EXECUTED, _RESUMED, _UNCERTAIN, _ASKED = (int(code) for code in Code)


def _named(name: str, layout: Any) -> Any:
    """Rows of a layout as tuples with names: fields of records cost several times as much."""
    return namedtuple(name, layout.names)  # the names are those of the layout


#: Orders by their numbers, and whether each is uncertain already.
Orders = Sequence[tuple[int, bool]]
RowTuple: Final = _named("RowTuple", LOG)
AnswerTuple: Final = _named("AnswerTuple", ANSWER)
_EXECUTION: Final = int(ReportCode.EXECUTED)
_REFUSED: Final = int(ReportCode.REFUSED)
_UNKNOWN: Final = int(StateCode.UNKNOWN)
_FILLED: Final = int(StateCode.FILLED)
#: As many rows are gone through as columns in less time than one by one.
_STRETCH_MIN: Final = 64
#: As many where something is held, since each of them costs more.
_FEW: Final = 24
_UNKNOWN_ORDER: Final = int(Reason.UNKNOWN_ORDER)


@dataclass(slots=True)
class _Told:
    """What was told last of an order."""

    reason: int = 0
    text: str = ""
    state: int = _UNKNOWN
    #: Of its executions at the venue what each costs, where that is not the pair's fee.
    rates: list[int | None] = field(default_factory=list)


class _Tops:
    """
    Best prices of a log's rows, by which what is held is valued at once.

    What a result has of them is what stood before something happened: until then the newest of each pair wait, and those of
    the time before.
    """

    __slots__ = (
        "_breaks",
        "_columns",
        "_frames",
        "_kept",
        "_pairs",
        "_recorder",
        "_rows",
        "_tops",
        "stales",
        "times",
        "valued",
    )

    def __init__(self, rows: npt.NDArray[np.void], recorder: RunRecorder) -> None:
        self._recorder = recorder
        self._rows = rows
        #: Places of rows of other codes; and of ends of frames without doubt, and of such with it.
        self._breaks: list[int] | None = None
        self._frames: tuple[list[int], list[int]] = ([], [])
        #: Places of best prices.
        self._tops: list[int] = []
        self.times: list[int] = rows["now"].tolist()
        self._pairs: list[int] = rows["pair"].tolist()
        self.stales: list[bool] = (rows["stale"] != 0).tolist()
        self._columns: list[list[int]] = [rows[name].tolist() for name in ("bid", "bid_size", "ask", "ask_size")]
        self._kept: dict[int, tuple[int, int]] = {}
        #: The accounts whose equity is another since the end of a frame.
        self.valued: set[str] = set()

    def take(self, pair: int, at: int) -> None:
        """A row has best prices of a pair from now on."""
        newest, before = self._kept.get(pair, (-1, -1))
        if newest >= 0 and self.times[newest] < self.times[at]:
            before = newest
        self._kept[pair] = (at, before)
        bid, ask = self._columns[0][at], self._columns[2][at]
        recorder = self._recorder
        ledger = recorder.ledger
        if not 0 < bid < ask or self.stales[at] or pair in recorder._has_mark:
            return
        market = ledger.markets[pair]
        if market.tick is None or market.lot is None or market.contract is None or market.fees is None:
            return
        ledger.mark_mid(pair, bid, ask)
        if ledger.positions[pair].size:
            self.valued.add(ledger.account_of(pair).name)

    def take_stretch(self, begin: int, due_ns: int, *, in_doubt: bool) -> int:
        """
        Take all rows from one on, where a frame begins, that say nothing but best prices.

        Args:
            begin: The first one.
            due_ns: From when on something else is to be heard.
            in_doubt: Whether there is doubt so far: a frame that says otherwise is not taken.

        Returns:
            The place behind them; `begin` where they are too few to be looked at as columns.
        """
        if self._breaks is None:
            codes, rows = self._rows["code"], np.arange(len(self._rows))
            is_frame, is_doubtful = codes == _FRAME, self._rows["stale"] != 0
            self._tops = rows[codes == _TOP].tolist()
            self._breaks = rows[(codes != _TOP) & ~is_frame].tolist()
            self._frames = rows[is_frame & ~is_doubtful].tolist(), rows[is_frame & is_doubtful].tolist()
        end = bisect_left(self.times, due_ns)
        for places in (self._breaks, self._frames[not in_doubt]):
            if (found := bisect_left(places, begin)) < len(places):
                end = min(end, places[found])
        if end - begin < _FEW:
            return begin
        if any(position.size for position in self._recorder.ledger.positions):
            return self._take_valued(begin, end, in_doubt=in_doubt)
        return self._take_unvalued(begin, end)

    def _take_unvalued(self, begin: int, end: int) -> int:
        """As `take_stretch`, of these rows, while nothing is held."""
        if end - begin < _STRETCH_MIN:
            return begin
        part = self._rows[begin:end]
        tops = np.flatnonzero(part["code"] == _TOP)
        pairs = part["pair"][tops]
        distinct = np.unique(pairs).tolist()
        if _STRETCH_MIN * len(distinct) > len(tops):
            return begin
        bids, asks, stales = part["bid"][tops], part["ask"][tops], part["stale"][tops]
        is_valued = (bids > 0) & (bids < asks) & (stales == 0)
        for pair in distinct:
            is_own = pairs == pair
            own = tops[is_own]
            times = part["now"][own]
            # The newest, the newest of before its time, and the last one by which it is valued.
            kept = [own[-1:], own[times < times[-1]][-1:], tops[is_valued & is_own][-1:]]
            for at in np.unique(np.concatenate(kept)).tolist():
                self.take(pair, begin + at)
        return end

    def _take_valued(self, begin: int, end: int, *, in_doubt: bool) -> int:
        """As `take_stretch`, of these rows, where all are of one pair whose book holds, and that something may be held of."""
        frames = self._frames[in_doubt]
        if (last := bisect_left(frames, end)) == 0 or frames[last - 1] < begin:
            return begin
        end = frames[last - 1] + 1  # what comes after it is of a frame that is not over
        stales, pairs, times = self.stales, self._pairs, self.times
        tops = self._tops[bisect_left(self._tops, begin) : bisect_left(self._tops, end)]
        if not tops or any(stales[at] or pairs[at] != pairs[tops[0]] for at in tops):
            return begin
        bids, bid_lots, asks, ask_lots = self._columns
        rows = [(times[at], bids[at] or None, bid_lots[at], asks[at] or None, ask_lots[at]) for at in tops]
        self._recorder.note_frames(pairs[tops[0]], rows, is_doubtful=self._recorder._is_doubtful)
        return end

    def tell(self) -> None:
        """Tell of those that wait, in order."""
        if not self._kept:
            return
        recorder = self._recorder
        changed = set(recorder._changed)
        owners = {at: pair for pair, kept in self._kept.items() for at in kept if at >= 0}
        for at in sorted(owners):
            bid, bid_size, ask, ask_size = (column[at] for column in self._columns)
            recorder.note_top(owners[at], self.times[at], bid or None, bid_size, ask or None, ask_size, self.stales[at])
        recorder._changed = changed
        self._kept.clear()

    def end_frame(self, now: int) -> bool:
        """
        The frame is over, in which nothing happened but that prices changed. Returns False where more is to be done.

        Between two points of equity that are kept only its course goes on.
        """
        recorder = self._recorder
        step_ns, sampled = recorder._step_ns, recorder._sampled_ns
        if recorder._changed or recorder._moved:
            return False
        if any(now // step_ns != sampled.get(name, -1) // step_ns for name in self.valued):
            return False
        ledger = recorder.ledger
        for name in sorted(self.valued):
            equity = ledger.equity(name) - ledger.accounts[name].transfers
            recorder._courses[name].take(now, equity, is_doubtful=recorder._is_doubtful)
        self.valued.clear()
        return True


class Takes(Protocol):
    """What takes a run down; `RunLog` has what its functions mean."""

    markets_of_all: Sequence[Sequence[Market]]

    def begin(self, now_ns: int) -> None:
        """The function is called from now on."""

    def hear_instrument(self, place: int, message: Instrument, now_ns: int) -> None:
        """What the venue says of a pair."""

    def hear_event(self, event: StreamEvent, now_ns: int) -> None:
        """What happened to a stream."""

    def hear_funding(self, place: int, message: Message, now_ns: int) -> int:
        """Rates of funding."""

    def lose_book(self, place: int, event: StreamEvent, now_ns: int, resting: Orders) -> bool:
        """A pair's book cannot be believed from now on."""

    def hear_gap(self, place: int, event: StreamEvent, now_ns: int, resting: Orders, *, is_form: bool) -> bool:
        """What became of a stream of a pair."""

    def lost(self, place: int) -> Collection[str]:
        """What of a pair in doubt is lost."""

    def take(self, rows: npt.NDArray[np.void]) -> None:
        """Rows of a log."""

    def hear_rest(self, now_ns: int) -> None:
        """The session ends."""

    def close(self) -> None:
        """The session has ended."""

    def finish(self, now_ns: int) -> RunRecord:
        """The record of the run."""


class RunLog:
    """
    Takes down a run.

    Args:
        plan: Plan of the run.
        session: Whose recorder and house it uses.
        markets: The pairs.
        facts: Facts of their venues.

    Attributes:
        markets_of_all: The pairs as each session has them into which it is taken down.
        recorder: Recorder that it tells.
    """

    def __init__(
        self, plan: RunPlan, session: TradingSession, markets: Sequence[Market], facts: Sequence[VenueFacts]
    ) -> None:
        self._session = session
        self.recorder = session._recorder
        self._house = session.house
        self._markets = markets
        self.markets_of_all: Sequence[Sequence[Market]] = (markets,)
        self._facts = facts
        self._name = f"{plan.head.strategy}-{plan.head.seed}"
        self._told: dict[int, _Told] = {}
        self._uncertain: set[int] = set()
        self._is_in_doubt = False
        self._doubt = Doubt()
        self._watch = GapWatch(len(markets), self._doubt)
        #: As `VenueDesk.queued`.
        self._queued: list[tuple[int, float | None]] = []

    def begin(self, now_ns: int) -> None:
        """The function is called from now on."""
        self._session._set_now(now_ns)
        self.recorder.check_capital()

    def hear_instrument(self, place: int, message: Instrument, now_ns: int) -> None:
        """What the venue says of a pair."""
        self._due(now_ns - 1)
        self._session._set_now(now_ns)
        self._session.exchange.tracker.apply(message)
        self._session._hear(message)

    def hear_event(self, event: StreamEvent, now_ns: int) -> None:
        """What happened to a stream, where a result keeps it."""
        self._due(now_ns - 1)
        self._session._set_now(now_ns)
        if event.kind is EventKind.GAP and event.cause == BETWEEN_RECORDINGS:
            self._session.tracker.apply(event)  # what was said of funding before says nothing of the present
        self._session._hear(event)

    def lose_book(self, place: int, event: StreamEvent, now_ns: int, resting: Orders) -> bool:
        """A pair's book cannot be believed from now on. Returns whether that puts the pair, and what rests, in doubt."""
        is_begun = self._watch.begin(place, now_ns, event.cause, since_ns=event.ts_start)
        if is_begun:
            self._note_uncertain(place, resting)
        return is_begun

    def hear_gap(self, place: int, event: StreamEvent, now_ns: int, resting: Orders, *, is_form: bool) -> bool:
        """
        What became of a stream of a pair, after its book has heard of it.

        Args:
            place: Place of the pair.
            event: The event.
            now_ns: When.
            resting: The pair's orders at the venue.
            is_form: Whether the stream is a form that the pair's book is made of.

        Returns:
            Whether what rests is in doubt from now on.
        """
        is_lost = self._watch.hear(place, event, now_ns)
        is_gap = self._watch.is_gap(place, event, now_ns, is_form=is_form)
        if is_lost or is_gap:
            self._note_uncertain(place, resting)
        return is_lost or is_gap

    def lost(self, place: int) -> Collection[str]:
        """What of a pair in doubt is lost, see `GapWatch.lost`."""
        return self._watch.lost(place)

    def _note_uncertain(self, place: int, resting: Orders) -> None:
        for number, is_uncertain in resting:
            self._watch.rests(place, number, is_new=not is_uncertain)

    def hear_funding(self, place: int, message: Message, now_ns: int) -> int:
        """Rates of funding, by which the venue settles positions. Returns when the next word of that is heard."""
        self._due(now_ns)
        if place >= 0 and isinstance(message, FundingInfo):
            self._session.exchange.take(message)
        return self._session.exchange.next_due_ns()

    def _due(self, now_ns: int) -> None:
        """What the venue's house had to say by then is received."""
        exchange = self._session.exchange
        while (due := exchange.next_due_ns()) <= now_ns:
            for response in exchange.advance(due):
                if type(response) is Notice:
                    self._session._set_now(due)
                    self._session.desk.hear_notice(response)

    @property
    def _is_doubtful(self) -> bool:
        return self._is_in_doubt or bool(self._uncertain)

    def take(self, rows: npt.NDArray[np.void]) -> None:
        """
        Take down rows of a log, in order.

        Most are best prices and ends of frames. Those of a pair of which nothing is held matter only as far as they stand
        before the next thing that happens: they wait until then.
        """
        codes = rows["code"]
        others = iter(rows[(codes != _TOP) & (codes != _FRAME)].tolist())
        recorder = self.recorder
        tops = _Tops(rows, recorder)
        next_due_ns = self._session.exchange.next_due_ns
        due, has_changed, reached = next_due_ns(), True, 0
        for at, (code, now, pair) in enumerate(zip(codes.tolist(), tops.times, rows["pair"].tolist(), strict=True)):
            if at < reached:
                continue
            if due <= now:
                tops.tell()
                self._due(now)
                due, has_changed = next_due_ns(), True
            if code == _TOP:
                tops.take(pair, at)
            elif code == _FRAME:
                in_doubt = tops.stales[at]
                if has_changed or in_doubt != self._is_in_doubt or (tops.valued and not tops.end_frame(now)):
                    tops.tell()
                    recorder._changed |= tops.valued
                    tops.valued.clear()
                    self._is_in_doubt = in_doubt
                    recorder.frame_done(now, is_doubtful=self._is_doubtful)
                    has_changed = False
                    reached = tops.take_stretch(at + 1, due, in_doubt=in_doubt)
            else:
                tops.tell()
                self._take(RowTuple._make(next(others)), code, now)
                due, has_changed = next_due_ns(), True
        tops.tell()
        recorder._changed |= tops.valued

    def _take(self, row: Any, code: int, now: int) -> None:
        if code == _ANSWER:
            self._answer(row, now)
        elif code == _SENT:
            self._note_state(row, now, None)
        elif code == _EXECUTED:
            self._execute(row)
        elif code == _MARK:
            self.recorder.note_mark(int(row.pair), float(row.value))
        elif code == _ASKED:
            self.recorder.happen(now)
        elif code == _RESUMED:
            self._watch.end(int(row.pair), now)
        elif code == _UNCERTAIN:
            self._watch.comes(int(row.pair), int(row.number))

    def _execute(self, row: Any) -> None:
        """The venue's own money moves when an order is executed, before its owner hears of it."""
        rate = None
        if self._house is not None:
            answer, number = AnswerTuple._make(row.answer), int(row.number)
            order = OwnOrder(
                number,
                int(row.pair),
                int(row.side),
                int(answer.tick),
                int(answer.size),
                int(answer.left),
                StateCode(int(answer.state)),
                {},
            )
            response = Response(
                0,
                int(answer.venue_ns),
                -1,
                number,
                order.pair,
                ReportCode.EXECUTED,
                order.state,
                order.side,
                int(answer.tick),
                int(answer.lots),
                order.left,
                int(answer.filled),
                order.size,
                int(answer.role),
                0,
            )
            rate = self._house.execute(order, response).rate
        self._told.setdefault(int(row.number), _Told()).rates.append(rate)

    def _answer(self, row: Any, now: int) -> None:
        answer, number = AnswerTuple._make(row.answer), int(row.number)
        told = self._told.setdefault(number, _Told())
        place, state = int(row.pair), int(answer.state)
        if answer.code == _EXECUTION:
            rate = told.rates.pop(0) if told.rates else None
            entry = self.recorder.fill(
                FillRow(
                    now_ns=now,
                    venue_ns=int(answer.venue_ns),
                    pair=place,
                    order_id=number,
                    side=int(row.side),
                    tick=int(answer.tick),
                    lots=int(answer.lots),
                    role=int(answer.role),
                    client_order_id=f"{self._name}-{number}",
                    is_uncertain=bool(answer.is_uncertain),
                    rate=rate,
                )
            )
            if answer.is_uncertain:
                self._uncertain.add(place)
            elif not entry.position:
                self._uncertain.discard(place)
        if answer.reason:
            told.reason = int(answer.reason)
            told.text = self._words(place, answer)
        if state != _UNKNOWN:
            told.state = state
        if answer.ahead >= 0:
            self._note_queued(place, answer.ahead)
        if answer.code == _REFUSED and answer.reason == _UNKNOWN_ORDER and told.state == _FILLED:
            self.recorder.note_late()
        if row.is_done and answer.code == _REFUSED:
            self.recorder.happen(now)
        else:
            self._note_state(row, now, answer)
        if row.is_over:
            del self._told[number]

    def _note_queued(self, place: int, ahead: int) -> None:
        scale = self._markets[place].scale
        if scale is not None:
            self._queued.append((place, scale.size(ahead) if ahead < FAR else None))

    def _words(self, place: int, answer: Any) -> str:
        """What the venue says when it refuses."""
        market = self._markets[place]
        prices = [
            None if key == NONE or market.scale is None else market.scale.price(abs(int(key)))
            for key in (answer.bid, answer.ask)
        ]
        reason, state = Reason(int(answer.reason)), StateCode(int(answer.state))
        return self._facts[place].text(reason, state, bid=prices[0], ask=prices[1], symbol=market.key.trading_pair)

    def _note_state(self, row: Any, now: int, answer: Any) -> None:
        number = int(row.number)
        told = self._told.setdefault(number, _Told())
        state = STATES.get(told.state)
        if state is None or state not in TERMINAL_ORDER_STATES:
            if row.cancelling:
                state = OrderState.PENDING_CANCEL
            elif state is None:
                state = OrderState.PENDING_CREATE
        reason = Reason(told.reason).name.lower() if told.reason else ""
        tif = int(row.tif)
        is_market = bool(row.market)
        self.recorder.order(
            OrderRow(
                now_ns=now,
                venue_ns=None if answer is None else int(answer.venue_ns),
                pair=int(row.pair),
                order_id=number,
                state=state,
                status=told.text or reason or state.value,
                side=int(row.side),
                tick=None if is_market else int(row.order_tick),
                lots=int(row.size),
                left=int(row.left),
                client_order_id=f"{self._name}-{number}",
                order_type="market" if is_market else "limit",
                time_in_force="post_only" if tif == TifCode.POST_ONLY else TifCode(tif).name.lower(),
                is_reduce_only=bool(row.reduce),
            )
        )

    def hear_rest(self, now_ns: int) -> None:
        """The session ends: what the venue's house has to say is heard at once."""
        self._due(now_ns)
        self._session._set_now(now_ns)
        for response in self._session.exchange.close(now_ns):
            if type(response) is Notice:
                self._session.desk.hear_notice(response)

    def close(self) -> None:
        """The session has ended: what is under way is heard of no more."""
        self._told.clear()

    def finish(self, now_ns: int) -> RunRecord:
        """The record of the run."""
        self._session._set_now(now_ns)
        self.recorder.note_exchange(self._doubt, self._queued, lambda number: number)
        record = self.recorder.finish(now_ns)
        return record if self._house is None else self._house.note(record)
