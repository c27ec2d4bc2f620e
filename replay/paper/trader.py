"""
Paper: a strategy on live feeds while they are recorded, with the simulated exchange in between.

It is a callback of the recorder and no more: it is handed messages, and has nothing by which it could send one anywhere.
What fails in it ends the run of the strategy, never the recording.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from recordings.format.software import SOFTWARE
from recordings.recorder import Recorder
from replay.clearing.money_settings import check_money_for_leverage, check_transfer_times
from replay.paper.log_file import PaperEnd, PaperLogFile, PaperStart
from replay.results.run_record import RunRecord
from replay.strategy.decision_log import LogRow
from replay.strategy.failures import StrategyError, said_of
from replay.strategy.plan import RunPlan
from replay.strategy.session import Phase, TradingSession
from toolkit.clock import NS_PER_MS, Clock
from toolkit.errors import TickdeckError
from toolkit.keys import PairKey
from toolkit.messages import Instrument, Message, StreamEvent

__all__ = ["LAG_NS_SAID", "PaperTrader"]

#: A frame that waited longer than this for its turn is reported, at most once in a while.
LAG_NS_SAID: Final = 1000 * NS_PER_MS
_SAID_EVERY_NS: Final = 60_000 * NS_PER_MS


class PaperTrader:
    """
    Runs a strategy on what a recorder records.

    Args:
        plan: Plan of the run.
        recorder: Has not begun yet.
        clock: The machine's, by which the lag is measured; nothing is decided by it.
        say: Called with one line for what an operator should know.

    Raises ConfigError for a transfer at a time that is past, or leverage without capital.

    Attributes:
        session: The session; None before the first frame.
        path: Path of its decision log; None while nothing was received and nothing decided.
        lag_ns: How long the last frame waited for its turn.
        lag_ns_max: The longest.
    """

    def __init__(self, plan: RunPlan, recorder: Recorder, clock: Clock, say: Callable[[str], None]) -> None:
        settings = plan.settings
        check_money_for_leverage(settings.leverage, settings.capital, settings.transfers)
        check_transfer_times(settings.transfers, clock.time_ns())
        self._plan = plan
        self._recorder = recorder
        self._clock = clock
        self._say = say
        self._start: PaperStart | None = None
        self._file: PaperLogFile | None = None
        self._said_ns = 0
        self._record: RunRecord | None = None
        self._unbegun: StrategyError | None = None
        self._has_failed = False
        self.session: TradingSession | None = None
        self.path: Path | None = None
        self.lag_ns = 0
        self.lag_ns_max = 0
        recorder.dispatcher.add_callback(self.take)

    def take(self, message: Message) -> None:
        """A message of the recorder, which is on disk already."""
        if self._unbegun is not None:
            return
        session = self.session
        try:
            if session is None:
                session = self._begin(message)
            # A venue that is never reached leaves its SESSION_START, and no folder that something would have to stay in.
            if self._file is None and type(message) is not StreamEvent:
                self._open_file()
            session.take(message)
            if type(message) is Instrument and session.phase is Phase.WAITING:
                self._check_name(session, message)
        except Exception as exc:  # noqa: BLE001  # the recording goes on whatever happens here
            self._give_up(exc)
        if not self._has_failed and (failure := self.failure) is not None:
            self._has_failed = True
            self._say(f"the strategy has ended, recording goes on: {failure}")
        lag = self._clock.time_ns() - message.ts_recv
        self.lag_ns = lag
        if lag > self.lag_ns_max:
            self.lag_ns_max = lag
        if lag > LAG_NS_SAID:
            self._note_lag(lag)

    @property
    def failure(self) -> StrategyError | None:
        """Why the strategy was ended, or could not be begun; None while neither is so."""
        return self._unbegun if self.session is None else self.session.failure

    def _begin(self, message: Message) -> TradingSession:
        session = self.session = self._plan.open(message.ts_recv, kind="paper")
        plan = self._plan
        self._start = PaperStart(
            head=plan.head,
            settings=dataclasses.replace(plan.settings, parameters=plan.head.parameters),
            start_seq=message.capture_seq,
            start_ns=message.ts_recv,
            strategy_file=plan.loaded.path.name if plan.loaded.path is not None else "",
            software=SOFTWARE,
        )
        session.log.watch(self._write_down)
        # As the recording that is continued left it.
        said = (self._recorder.tracker.instrument(key) for key in plan.pairs.keys)
        session.know(each for each in said if each is not None)
        return session

    def _check_name(self, session: TradingSession, message: Instrument) -> None:
        """A recorder takes a symbol for a pair, a strategy does not: it would wait for ever for a pair that is not there."""
        key = PairKey(message.venue, message.symbol)
        if key in self._plan.pairs.keys and message.trading_pair != message.symbol:
            session.abort(
                StrategyError(
                    f"{message.symbol} is a symbol of {message.venue}; its pair is {message.trading_pair}: name that"
                )
            )

    def _open_file(self) -> PaperLogFile:
        assert self._start is not None, "a log is begun by a session"
        file = self._file = PaperLogFile(self._recorder.options.folder, self._start, self._say)
        self.path = file.path
        return file

    def _write_down(self, row: LogRow) -> None:
        (self._file or self._open_file()).add(row)

    def _give_up(self, exc: Exception) -> None:
        """A defect of ours, or a strategy that cannot be made a second time."""
        if isinstance(exc, StrategyError):
            failure = exc
        else:
            whose = "" if isinstance(exc, TickdeckError) else "a defect of the simulation: "
            failure = StrategyError(f"{whose}{said_of(exc)}")
        if self.session is None:
            self._unbegun = failure
        elif self.session.phase is not Phase.FAILED:
            self.session.abort(failure)

    def _note_lag(self, lag_ns: int) -> None:
        now = self._clock.monotonic_ns()
        if not self._said_ns or now - self._said_ns > _SAID_EVERY_NS:
            self._said_ns = now
            details: dict[str, Any] = {"cause": "strategy_lag", "lag_ns": lag_ns}
            self._recorder.note("notice", details)
            self._say(f"the strategy lags: a frame waited {lag_ns / NS_PER_MS:,.0f} ms for its turn")

    def finish(self) -> RunRecord | None:
        """The recorder has ended: the strategy's last call, and the record; None where no frame ever came."""
        session = self.session
        if session is None or self._record is not None:
            return self._record
        record = self._record = session.finish(session.now_ns)
        if self._file is not None:
            self._file.end(
                PaperEnd(
                    rows=session.log.count,
                    digest=session.log.hexdigest(),
                    end_ns=session.now_ns,
                    failure="" if session.failure is None else str(session.failure),
                    slowest_ns=session.watch.slowest_ns,
                    lag_ns_max=self.lag_ns_max,
                )
            )
        return record

    def parts(self) -> Sequence[tuple[int, str]]:
        """For the status line: positions, own orders and the lag, with their ranks."""
        session = self.session
        if self.failure is not None:
            return [(0, "strategy FAILED")]
        if session is None:
            return [(1, "waiting for the venue")]
        if session.unknown_said:
            return [(1, f"waiting for {session.unknown_said}")]
        held = ", ".join(f"{size:+f} {name}" for name, size in session.desk.shown_positions()) or "flat"
        return [
            (1, held),
            (2, f"own orders {session.desk.open_count}"),
            (3, f"lag {self.lag_ns / NS_PER_MS:,.0f} ms"),
        ]
