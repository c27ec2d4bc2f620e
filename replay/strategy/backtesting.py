"""A strategy on recordings."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from replay.results.run_record import RunRecord
from replay.strategy.loading import LoadedStrategy
from replay.strategy.plan import RunPlan
from replay.strategy.session import Phase, TradingSession
from replay.tape import NOTICES, Batch, Tape
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.gc_tuning import rare_collections
from toolkit.keys import PairKey, key_among, named

__all__ = ["pairs_of_run", "run_on_tape"]


def pairs_of_run(loaded: LoadedStrategy, keys: Collection[tuple[str, str]]) -> list[PairKey]:
    """
    The pairs of a run, of those there are: what the strategy's `wakes` declares, or all.

    Raises ConfigError for one that is not there.
    """
    known = sorted({PairKey(*key) for key in keys})
    wanted = loaded.cls.wakes.pairs
    if not wanted:
        return known
    found = []
    for name in wanted:
        key = key_among(known, name) or next((each for each in known if str(each) == name), None)
        if key is None:
            there = ", ".join(named(known)) or "none"
            raise ConfigError(f"{loaded.cls.__name__} declares the pair {name}, which is not there; there are {there}")
        found.append(key)
    return sorted(set(found))


def run_on_tape(
    plan: RunPlan, tape: Tape, *, start_ns: int | None = None, end_ns: int | None = None
) -> tuple[RunRecord, TradingSession]:
    """
    Run a strategy on a tape, from its first frame to its last.

    Args:
        plan: What is run.
        tape: Plays the plan's pairs.
        start_ns: The strategy is called from this time on, with the books as they are then.
        end_ns: Nothing is played from the first frame of that time on.

    Returns:
        The record, and the session as it was in the end.

    Raises:
        ConfigError: Tick or lot of a pair are not in the recording and were not assumed.
        StrategyError: The strategy failed; nothing was written.
    """
    session = plan.open(
        tape.first_ns if start_ns is None else start_ns, recordings=_told(tape), waits=start_ns is not None
    )
    with rare_collections():
        _play(session, tape, start_ns, end_ns)
    if session.unknown_pairs:
        missing = ", ".join(session.unknown_pairs)
        raise ConfigError(
            f"the recording does not say tick and lot of {missing}; give them, for instance --assume tick=0.1 --assume lot=0.001"
        )
    last_ns = tape.last_ns if end_ns is None else min(end_ns - 1, tape.last_ns)
    record = session.finish(last_ns)
    if session.failure is not None:
        raise session.failure
    return record, session


def _play(session: TradingSession, tape: Tape, start_ns: int | None, end_ns: int | None) -> None:
    take, position = session.take, 0
    batches: Iterator[Batch]
    if start_ns is None:
        batches = tape.batches(session.tracker.fused_forms)
    else:
        batches = tape.batches_near(start_ns, session.exchange, None)
    is_before = start_ns is not None
    now = 0
    for batch in batches:
        if batch.position != position or batch.position == NOTICES:
            # Frames of two recordings may have one number, and notices have none.
            session.end_frame()
            position = batch.position
        if is_before or end_ns is not None:
            for message in batch.messages:
                now = max(now, message.ts_recv)
                if is_before and start_ns is not None and now >= start_ns:
                    session.begin_at(start_ns)
                    is_before = False
                if end_ns is not None and now >= end_ns:
                    return
                take(message)
        else:
            for message in batch.messages:
                take(message)
        if session.phase is Phase.FAILED:
            return


def _told(tape: Tape) -> list[dict[str, Any]]:
    """Each recording, as a result shows it."""
    told = []
    for recording in tape.recordings:
        span = recording.span
        told.append(
            {
                "name": recording.path.name,
                "digest": recording.manifest.digest,
                "start": None if span is None else format_ns(span[0]),
                "end": None if span is None else format_ns(span[1]),
            }
        )
    return told
