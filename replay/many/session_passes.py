"""
Many strategies of the Python tier over one tape: what is read and decoded feeds a session of each.

Where they part at an instant each is run up to there, with the assumptions of the one that they were, and their states are
compared: nothing but the run itself has all that the objects of a class keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recordings.columns.column_batch import ColumnBatch, Kind
from replay.backtest.exchange import FRAMES_IN_PYTHON
from replay.clearing.money_settings import check_transfer_times
from replay.column_tape import ColumnTape
from replay.many.fork_points import ForkPoint
from replay.many.session_forks import go_on_as, settle
from replay.many.state_digest import digest_of_session
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import RunProgress, missing_error, told_of, window_of
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from replay.stretches.stretch_player import StretchPlayer
from replay.tape import NOTICES, Batch, Tape
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import TrackerState
from toolkit.gc_tuning import rare_collections
from toolkit.messages import Message

__all__ = ["run_sessions"]


def run_sessions(
    plans: Sequence[RunPlan],
    tape: Tape,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    point: ForkPoint | None = None,
    progress: RunProgress | None = None,
) -> list[RunRecord]:
    """
    Run strategies on a tape, in one pass.

    Args:
        plans: Plans of the runs, each of the same pairs.
        tape: Plays these.
        start_ns: Time from which on they are called.
        end_ns: Nothing is played from the first frame of that time on.
        point: Instant at which they part; None: they have nothing in common.
        progress: Called after each batch with its number of messages and the time of the last one.

    Raises as `replay.strategy.backtesting.run_on_tape`.
    """
    first_ns, last_ns = window_of(tape, start_ns, end_ns)
    frames = sum(segment.frame_count for each in tape.recordings for segment in each.manifest.segments)
    told = told_of(tape)
    sessions = []
    for plan in plans:
        check_transfer_times(plan.settings.transfers, first_ns, last_ns)
        sessions.append(
            (plan if point is None else point.base).open(
                first_ns,
                recordings=told,
                waits=start_ns is not None,
                compiled=True if frames > FRAMES_IN_PYTHON else None,
            )
        )
    try:
        with rare_collections():
            played = _Pass(plans, sessions, tape, point, progress)
            if start_ns is None and len(tape.recordings) == 1 and tape.fidelity == "normalized" and played.has_desks:
                played.play_columns(end_ns)
            else:
                played.play_messages(start_ns, end_ns)
        records = [_finished(session, last_ns) for session in sessions]
    finally:
        for session in sessions:
            session.watch.close()
    for session in sessions:
        session.exchange.note_compiled()
    return records


def _finished(session: TradingSession, last_ns: int) -> RunRecord:
    if session.unknown_said and session.failure is None:
        raise missing_error(session.unknown_said)
    record = session.finish(last_ns)
    if session.failure is not None:
        raise session.failure
    if session.house is not None:
        session.house.check_prices()
    return record


class _Pass:
    """The sessions of one pass; it ends with the first one that fails."""

    def __init__(
        self,
        plans: Sequence[RunPlan],
        sessions: Sequence[TradingSession],
        tape: Tape,
        point: ForkPoint | None,
        progress: RunProgress | None,
    ) -> None:
        self._plans = plans
        self._sessions = sessions
        self._tape = tape
        self._point = point
        self._progress = progress

    @property
    def has_desks(self) -> bool:
        """Whether columns can be played to all."""
        return all(each.exchange.only_desk is not None for each in self._sessions)

    def _check(self) -> None:
        for session in self._sessions:
            if session.failure is not None:
                raise session.failure

    def _part(self, following: Message | None) -> None:
        """The instant has come at which they part."""
        point, self._point = self._point, None
        assert point is not None, "it was not there yet"
        for session in self._sessions:
            settle(session, point.at_ns, following)
        self._check()
        for plan, session in zip(self._plans, self._sessions, strict=True):
            point.note(digest_of_session(session), session)
            go_on_as(session, point.base, plan, point.at_ns)
        self._check()

    # -- columns ---------------------------------------------------------------------------------------------------

    def play_columns(self, end_ns: int | None) -> None:
        """Play one recording, without messages where no run receives them."""
        columns = ColumnTape(self._tape, batch_rows=self._tape.batch_rows, whole=True)
        players = []
        for plan, session in zip(self._plans, self._sessions, strict=True):
            desk = session.exchange.only_desk
            assert desk is not None, "columns are played to one desk"
            players.append(StretchPlayer(session, desk, plan.pairs.keys, columns.names))
        now = 0
        for batch in columns.batches():
            times = np.maximum(np.maximum.accumulate(batch.rows["ts_recv"]), now)
            now = int(times[-1])
            end = batch.messages if end_ns is None else int(np.searchsorted(times, end_ns))
            begin = 0
            if self._point is not None and now >= self._point.at_ns:
                begin = int(np.searchsorted(times, self._point.at_ns))
                self._play_part(players, batch, 0, begin)
                is_event = int(batch.rows["kind"][begin]) == Kind.EVENT
                self._part(batch.message(begin) if is_event else None)
            self._play_part(players, batch, begin, end)
            if self._progress is not None:
                self._progress(batch.messages, now)
            if end < batch.messages:
                return

    def _play_part(self, players: Sequence[StretchPlayer], batch: ColumnBatch, begin: int, end: int) -> None:
        if end > begin:
            part = batch.part(begin, end)
            for player in players:
                player.play(part)
            self._check()

    # -- messages --------------------------------------------------------------------------------------------------

    def play_messages(self, start_ns: int | None, end_ns: int | None) -> None:
        """Play several recordings or venues, or a part that is sought."""
        books = _AllBooks(self._sessions)
        batches: Iterator[Batch]
        if start_ns is None:
            batches = self._tape.batches(books.fused_forms)
        else:
            batches = self._tape.batches_near(start_ns, books, None)
        is_before, now, position = start_ns is not None, 0, None
        for batch in batches:
            if batch.position != position or batch.position == NOTICES:
                # Frames of two recordings may have one number, and notices have none.
                for session in self._sessions:
                    session.end_frame()
                position = batch.position
            for message in batch.messages:
                now = max(now, message.ts_recv)
                if is_before and start_ns is not None and now >= start_ns:
                    is_before = False
                    for session in self._sessions:
                        session.begin_at(start_ns)
                if end_ns is not None and now >= end_ns:
                    return
                if self._point is not None and now >= self._point.at_ns:
                    self._part(message)
                for session in self._sessions:
                    session.take(message)
            self._check()
            if self._progress is not None and batch.messages:
                self._progress(len(batch.messages), now)
        if is_before and start_ns is not None:
            for session in self._sessions:
                session.begin_at(start_ns)


class _AllBooks:
    """The books of all sessions, which a seek brings to a time together."""

    def __init__(self, sessions: Sequence[TradingSession]) -> None:
        self._exchanges = [each.exchange for each in sessions]

    def apply(self, message: Message) -> OrderBook | None:
        found = [each.apply(message) for each in self._exchanges]
        return found[0]

    def clear(self) -> None:
        for each in self._exchanges:
            each.clear()

    def restore(self, state: TrackerState) -> None:
        for each in self._exchanges:
            each.restore(state)

    def fused_forms(self, trading_pair: str, venue: str) -> list[str]:
        return self._exchanges[0].fused_forms(trading_pair, venue)
