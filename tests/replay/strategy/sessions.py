"""A strategy on a market by hand: frames in, and what it was called with, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.results.run_record import RunRecord
from replay.strategy.context import Context
from replay.strategy.decision_log import LogRow
from replay.strategy.loading import LoadedStrategy
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import BookView
from tests.replay.backtest.market_messages import KEY, Messages
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Message

NO_LATENCY = "entry=0ns,response=0ns"


@dataclass
class Played:
    """A session that was played, all rows of its log, and what was written down of it once it is over."""

    session: TradingSession
    rows: list[LogRow] = field(default_factory=list)
    record: RunRecord | None = None
    #: What the strategy was told, where it takes note.
    heard: list[tuple[str, Any]] = field(default_factory=list)

    def told(self, *kinds: str) -> list[tuple[Any, ...]]:
        """`(time, kind, cause, acts)` of the rows of some kinds, or of all."""
        return [(row.time_ns, row.kind, row.cause, row.acts) for row in self.rows if not kinds or row.kind in kinds]


def loaded(cls: type[Strategy]) -> LoadedStrategy:
    """A class as a strategy, unchecked."""
    return LoadedStrategy(cls, None, "", frozenset({__file__}), Path())


def opened(cls: type[Strategy], *, keys: Sequence[PairKey] = (KEY,), start_ns: int = 0, **settings: Any) -> Played:
    """A session that waits for its first frame, without latency unless it is said otherwise."""
    settings.setdefault("latency", NO_LATENCY)
    plan = RunPlan(loaded(cls), keys, RunSettings(**settings))
    session = plan.open(start_ns)
    played = Played(session)
    session.log.watch(played.rows.append)
    return played


def play(cls: type[Strategy], messages: Iterable[Message], **settings: Any) -> Played:
    """Play messages to a strategy; each has its frame."""
    played = opened(cls, **settings)
    for message in messages:
        played.session.take(message)
    played.record = played.session.finish()
    return played


def market(say: Messages, at_ns: int = 0) -> list[Message]:
    """Tick and lot of 1 and a book: best bid 10 at 99, best ask 4 at 101."""
    return [say.event(at_ns, EventKind.SESSION_START, stream=""), say.instrument(at_ns), say.snapshot(at_ns)]


class Watcher(Strategy):
    """Notes the time of each call in the log, so that a test can read it."""

    def on_start(self, ctx: Context) -> None:
        ctx.log("start")

    def on_stop(self, ctx: Context) -> None:
        ctx.log("stop")


class Opener(Strategy):
    """Begins at the first book: before, no order could be matched."""

    wakes = Wakes(books=True)
    _went = False

    def on_book(self, ctx: Context, book: BookView) -> None:
        if not self._went and not book.is_stale:
            self._went = True
            self.go(ctx)

    def go(self, ctx: Context) -> None:
        raise NotImplementedError
