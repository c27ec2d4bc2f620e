"""Takes down what the engine did, by the session of a strategy: its desk, its decision log and its calls hear of it in order."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from replay.backtest.market import Market
from replay.backtest.requests import Response
from replay.backtest.venue_facts import VenueFacts
from replay.fast.engine_layout import ANSWER, LOG, Code
from replay.fast.run_log import AnswerTuple, RowTuple, RunLog
from replay.fast_classes.engine_exchange import EngineExchange
from replay.market.layout import ReportCode, StateCode
from replay.results.run_record import RunRecord
from replay.strategy.decision_log import DecisionLog, LogHead, LogRow
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from toolkit.messages import Message

__all__ = ["ClassLog", "LogInOrder"]

_EXECUTED: Final = int(ReportCode.EXECUTED)
_ANSWER, _TOP, _FRAME, _UNCERTAIN, _EXECUTED_ROW = (
    int(code) for code in (Code.ANSWER, Code.TOP, Code.FRAME, Code.UNCERTAIN, Code.EXECUTED)
)
#: As many rows are taken down one by one in less time than all at once.
_FEW: Final = 24
#: A row as one sequence of words, of which those from `_FIRST` to before `_LAST` are its answer.
_WORDS: Final = struct.Struct(
    "=" + "".join("d" if LOG[name] == np.float64 else "q" * (LOG[name].itemsize // 8) for name in LOG.names or ())
)
_FIRST: Final = (LOG.names or ()).index("answer")
_LAST: Final = _FIRST + len(ANSWER.names or ())
_CODES: Final = {int(code): code for code in ReportCode}
_STATES: Final = {int(state): state for state in StateCode}


class LogInOrder(DecisionLog):
    """
    A decision log before whose every row all is taken down that the engine told until then.

    Args:
        head: Values that it begins with.
        sink: See `DecisionLog`.
        catch_up: Takes down what the engine told.
    """

    __slots__ = ("_catch_up",)

    def __init__(self, head: LogHead, sink: Callable[[int, LogRow, bytes], None], catch_up: Callable[[], None]) -> None:
        super().__init__(head, sink)
        self._catch_up = catch_up

    def add(self, row: LogRow) -> None:
        """Add a row."""
        self._catch_up()
        super().add(row)


class ClassLog(RunLog):
    """
    Takes down a run.

    Args:
        plan: Plan of the run.
        session: Session of the strategy.
        markets: The pairs.
        facts: Facts of their venues.
        exchange: Where its desk sends to.

    Attributes:
        is_over: Whether the strategy hears no more: what it sends then never arrives.
        before: Count of answers that are heard before the keeper of the money, by the time at which it is heard.
        holds: Whether what falls due now is heard at the end of the frame under way, which has caused it.
    """

    def __init__(
        self,
        plan: RunPlan,
        session: TradingSession,
        markets: Sequence[Market],
        facts: Sequence[VenueFacts],
        exchange: EngineExchange,
    ) -> None:
        super().__init__(plan, session, markets, facts)
        self._exchange = exchange
        self.is_over = False
        self.holds = False
        self.before: dict[int, int] = {}
        self._just_came: list[int] = []
        #: Requests that there were when answers began to be heard, as many as were there then.
        self._round = 0
        #: While the session ends, what of the money is still to be heard, and when it would have been.
        self._closing: deque[tuple[int, Response]] = deque()
        #: When the next word of the keeper of the money is heard.
        self._due_ns = session.exchange.next_due_ns()

    def begin(self, now_ns: int) -> None:
        """The strategy is called from now on: it begins with the call of its start."""

    @property
    def _is_doubtful(self) -> bool:
        return self._is_in_doubt or self._session.desk.has_uncertain

    def _due(self, now_ns: int) -> None:
        session = self._session
        exchange = session.exchange
        if self.holds:
            now_ns -= 1
        while (due := exchange.next_due_ns()) <= now_ns:
            for response in exchange.advance(due):
                session._set_now(due)
                session._hear_response(response)
        self._due_ns = due

    def take_all(self, rows: npt.NDArray[np.void], now_ns: int) -> None:
        """Take down rows of a log, and what else was heard up to now."""
        count = len(rows)
        if count > _FEW and not self._closing:
            self.take(rows)
        elif count:
            self._take_few(rows.data, count)
        if self._due_ns <= now_ns and not (self._due_ns == now_ns and self.before.get(now_ns)):
            self._due(now_ns)

    def _take_few(self, rows: memoryview, count: int) -> None:
        """The same of few rows: each by itself, in the time in which arrays of them would be made."""
        recorder = self.recorder
        for at in range(count):
            row = _WORDS.unpack_from(rows, at * _WORDS.size)
            now, code = row[0], row[1]
            if self._due_ns <= now and (self._due_ns < now or not self._is_before(code, now)):
                self._due(now)
            if self._closing and code in (_TOP, _FRAME):
                self.hear_until(None)
            if code == _TOP:
                bid, bid_size, ask, ask_size, stale, _ = row[-6:]
                recorder.note_top(row[2], now, bid or None, bid_size, ask or None, ask_size, bool(stale))
            elif code == _FRAME:
                self._is_in_doubt = bool(row[-2])
                recorder.frame_done(now, is_doubtful=self._is_doubtful)
            elif code == _ANSWER:
                self._hear(now, row[2], row[3], row[4], bool(row[13]), row[_FIRST:_LAST])
            else:
                self._take(RowTuple._make((*row[:_FIRST], row[_FIRST:_LAST], *row[_LAST:])), code, now)

    @property
    def has_just_come(self) -> bool:
        """Whether there are orders for `note_just_came`."""
        return bool(self._just_came)

    def note_just_came(self) -> None:
        """
        Orders that came at the instant at which they were sent rest while their book does not hold: that is so once all
        answers are heard that were there before them.
        """
        for number in self._just_came:
            self._exchange.note_uncertain(number)
        self._just_came.clear()

    def _is_before(self, code: int, now: int) -> bool:
        """Whether a row is before what the keeper of the money has to say at that time."""
        if code == _ANSWER and (left := self.before.get(now)):
            self.before[now] = left - 1
            return True
        return code in (_EXECUTED_ROW, _UNCERTAIN)

    def hear_rest(self, now_ns: int) -> None:
        """The session ends: what the keeper of the money has to say is heard at once, between answers, in its order."""
        session = self._session
        self._due(now_ns)
        session._set_now(now_ns)
        times = [heard_ns for heard_ns, _, _ in sorted(session.exchange._mail._answers, key=itemgetter(0, 1))]
        self._closing = deque(zip(times, session.exchange.close(now_ns), strict=True))
        self._due_ns = session.exchange.next_due_ns()

    def hear_until(self, heard_ns: int | None) -> None:
        """While the session ends: hear what would have been heard by that time; None: all of it."""
        closing, before = self._closing, self.before
        while closing and (heard_ns is None or closing[0][0] <= heard_ns):
            if heard_ns == closing[0][0] and before.get(heard_ns):
                before[heard_ns] -= 1
                return
            self._session._hear_response(closing.popleft()[1])

    def hear_funding(self, place: int, message: Message, now_ns: int) -> int:
        """Rates of funding. Returns when the next word of what they settle is heard."""
        self._due_ns = super().hear_funding(place, message, now_ns)
        return self._due_ns

    def close(self) -> None:
        """The session has ended: nothing is under way."""
        super().close()
        self._exchange.forget()

    def _answer(self, row: Any, now: int) -> None:
        self._hear(now, row.pair, row.number, row.side, bool(row.is_over), row.answer)

    def _hear(self, now: int, place: int, number: int, side: int, is_over: bool, said: Any) -> None:
        """Hear an answer; `said` is a row of `ANSWER`."""
        (
            _,
            venue_ns,
            request,
            _,
            _,
            code,
            state,
            tick,
            lots,
            left,
            filled,
            size,
            role,
            reason,
            _,
            _,
            is_uncertain,
            ahead,
        ) = said
        session, told, rate = self._session, self._told, None
        if code == _EXECUTED and (kept := told.get(number)) is not None and kept.rates:
            rate = kept.rates.pop(0)
        if ahead >= 0:
            self._note_queued(place, ahead)
        response = Response(
            now,
            venue_ns,
            request,
            number,
            place,
            _CODES[code],
            _STATES[state],
            side,
            tick,
            lots,
            left,
            filled,
            size,
            role,
            reason,
            self._words(place, AnswerTuple._make(said)) if reason else "",
            bool(is_uncertain),
            rate,
        )
        if is_over:
            told.pop(number, None)
        session._set_now(now)
        if request > self._round:
            # It answers what was sent since the answers of before began to be heard: all that was sent then is there.
            self._round = self._exchange.request_count
            if self._just_came:
                self.note_just_came()
        if self._closing:
            self.hear_until(self._exchange.heard_ns(response))
        self._exchange.deliver(response)
        if self.is_over:
            session.desk.hear(response)
        else:
            session._hear_response(response)

    def _take(self, row: Any, code: int, now: int) -> None:
        super()._take(row, code, now)
        self._due_ns = self._session.exchange.next_due_ns()
        if code == _UNCERTAIN:
            number = int(row.number)
            order = self._exchange.order(number)
            if order is not None and order.sent_ns == now:
                self._just_came.append(number)
            else:
                self._exchange.note_uncertain(number)

    def finish(self, now_ns: int) -> RunRecord:
        """The record of the run."""
        self._session._set_now(now_ns)
        self.recorder.note_exchange(self._doubt, self._queued, self._session.desk.number_of)
        record = self.recorder.finish(now_ns)
        return record if self._house is None else self._house.note(record)
