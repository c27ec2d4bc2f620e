"""
A paper session against the replay of its recording: equal, or the first difference and what caused it.

Two runs are equal where their settings are and their decision logs are, row by row. Where settings differ the rows are
compared all the same: the first that differs is the first effect of what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import msgspec

from recordings.recording import Recording
from replay.paper.log_file import PaperLog, plain_row
from replay.strategy.decision_log import LogHead, LogRow
from replay.strategy.log_rows import ANSWER_FIELDS
from replay.strategy.plan import RunPlan
from replay.strategy.session import Phase, TradingSession
from replay.tape import Fidelity, Tape
from toolkit.clock import format_ns
from toolkit.gc_tuning import rare_collections
from toolkit.keys import PairKey
from toolkit.messages import Instrument

__all__ = ["Comparison", "Difference", "compare", "differing_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """
    The first row that differs.

    Attributes:
        number: Number of the row, from 0.
        paper: Row of the paper session; None: it has no more.
        replay: Row of the replay; None likewise.
        before: The row before, which is equal: its cause.
        what: Difference in a word.
    """

    number: int
    paper: LogRow | None
    replay: LogRow | None
    before: LogRow | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """
    What came of it.

    Attributes:
        settings: Settings that differ: name, of the paper session, of the replay.
        difference: The first row that differs; None where none does.
        rows: Rows that were compared.
        paper_digest: The chain of the paper session; empty of one that died.
        replay_digest: The chain of the replay.
        notes: Remarks on the comparison, one line each.
    """

    settings: list[tuple[str, str, str]]
    difference: Difference | None
    rows: int
    paper_digest: str
    replay_digest: str
    notes: list[str]

    @property
    def is_equal(self) -> bool:
        """Whether the two are the same."""
        return not self.settings and self.difference is None


def compare(
    paper: PaperLog,
    plan: RunPlan,
    recording: Recording,
    *,
    fidelity: Fidelity = "normalized",
    batch_rows: int | None = None,
) -> Comparison:
    """
    Play the recording of a paper session again, from its SESSION_START to its SESSION_END.

    Args:
        paper: Its decision log.
        plan: The strategy and the settings to play it with.
        recording: The recording that it was made on.
        fidelity: `raw` or `normalized`.
        batch_rows: Rows read at a time; any number gives the same.

    Raises RecordingError for a recording that cannot be used.
    """
    session = plan.open(paper.start.start_ns, kind="backtest")
    rows: list[LogRow] = []
    session.log.watch(lambda row: rows.append(_as_written(row)))
    tape = Tape([recording], fidelity=fidelity, batch_rows=batch_rows)
    with rare_collections():
        was_played = _play(session, tape, paper.start.start_seq, plan.pairs.keys)
    if session.phase is not Phase.FAILED:
        session.finish(session.now_ns)
    session.watch.close()
    difference, count = _first_difference(paper, rows)
    notes = (
        []
        if was_played
        else [f"frame {paper.start.start_seq}, which the paper session begins with, is not in the recording"]
    )
    if paper.end is None:
        notes.append("the paper session did not end by itself: compared as far as both go")
    digest = "" if paper.end is None else paper.end.digest
    settings = differing_settings(paper.start.head, plan.head)
    if difference is None and paper.end is not None and not settings and digest != session.log.hexdigest():
        notes.append(f"the rows are equal and the digests are not: was {paper.path} changed?")
        settings = [("digest", digest, session.log.hexdigest())]
    return Comparison(
        settings=settings,
        difference=difference,
        rows=count,
        paper_digest=digest,
        replay_digest=session.log.hexdigest(),
        notes=notes,
    )


def _play(session: TradingSession, tape: Tape, start_seq: int, keys: Sequence[PairKey]) -> bool:
    """Play one session of a recording; False where its first frame is not there."""
    began = False
    said: dict[PairKey, Instrument] = {}
    for batch in tape.batches(session.tracker.fused_forms):
        for message in batch.messages:
            if message.capture_seq < start_seq:
                if isinstance(message, Instrument):
                    said[message.key] = message
                continue
            if not began:
                if message.capture_seq != start_seq:
                    return False
                session.know(said[key] for key in keys if key in said)
                began = True
            session.take(message)
            if session.phase in (Phase.PAUSED, Phase.FAILED):
                return True
    return began


def _first_difference(paper: PaperLog, replayed: list[LogRow]) -> tuple[Difference | None, int]:
    before: LogRow | None = None
    count = 0
    rows: Iterator[tuple[LogRow | None, LogRow | None]] = zip_longest(paper.rows(), replayed)
    for count, (live, replay) in enumerate(rows):
        if live == replay:
            before = live
            continue
        # Of a session that died, or a recording that lost its last frames, what both have is compared.
        if _has_died(paper) and (live is None or replay is None):
            return None, count
        return Difference(number=count, paper=live, replay=replay, before=before, what=_way(live, replay)), count + 1
    return None, count + 1 if before is not None else 0


def _has_died(paper: PaperLog) -> bool:
    """Whether the log has no last line; it is read to its end for that."""
    for _ in paper.rows():
        pass
    return paper.end is None


def _way(live: LogRow | None, replay: LogRow | None) -> str:
    """How two rows differ, in the words of the rules."""
    if live is None or replay is None:
        who = "the replay" if live is None else "the paper session"
        return f"{who} has more rows"
    if (live.kind, live.cause) != (replay.kind, replay.cause):
        return "another thing came first (the order of what is due: rules 3 to 8)"
    if live.kind == "response":
        fields = [
            f"{name} {_short(one)} against {_short(other)}"
            for name, one, other in zip(ANSWER_FIELDS, live.acts, replay.acts, strict=False)
            if one != other
        ]
        if live.time_ns != replay.time_ns:
            fields.append(f"received {live.time_ns} against {replay.time_ns}")
        return f"the venue answered otherwise: {', '.join(fields) or 'in another form'}"
    if live.time_ns != replay.time_ns:
        return "the same at another time (whose clock: rules 1 to 3)"
    if live.draws != replay.draws:
        return "another number of random numbers was drawn (rule 15)"
    return "the strategy decided otherwise on the same call: by what it saw, or by a parameter"


def _short(value: Any) -> str:
    return str(value)


def _as_written(row: LogRow) -> LogRow:
    """A row as it is after it was in a file: the same numbers and texts."""
    return plain_row(msgspec.json.decode(msgspec.json.encode(row)))


def differing_settings(paper: LogHead, replay: LogHead) -> list[tuple[str, str, str]]:
    """The settings that differ: name, and both values as text."""
    one, other = _flat(msgspec.to_builtins(paper)), _flat(msgspec.to_builtins(replay))
    return [
        (name, one.get(name, "not set"), other.get(name, "not set"))
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, each in value.items():
            found |= _flat(each, f"{name}.{key}" if name else str(key))
        return found
    return {name: str(value)}


def described(row: LogRow | None) -> str:
    """A row for people."""
    if row is None:
        return "nothing more"
    cause = f" ({', '.join(map(str, row.cause))})" if row.cause else ""
    return f"{format_ns(row.time_ns)} {row.kind}{cause}: {msgspec.json.encode(row.acts).decode()}"
