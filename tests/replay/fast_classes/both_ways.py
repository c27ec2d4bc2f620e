"""One class on one tape, by a plain session and over the engine, and all that is said of it compared, row by row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from recordings.columns.column_batch import Names, of_messages
from recordings.format.schema import RESULT_TABLES
from replay.fast.backtesting import Feeder
from replay.fast_classes.class_run import ClassRun
from replay.fast_classes.run_ahead import Pace
from replay.fast_classes.running import feed
from replay.results.report_page import report_html
from replay.results.result import Result
from replay.strategy.backtesting import settings_of
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy
from toolkit.errors import TickdeckError
from toolkit.keys import PairKey
from toolkit.messages import Instrument, Message, StreamEvent

__all__ = ["both_ways", "check_equal", "in_frames", "over_the_engine", "plainly"]

_TABLES: Final = (
    "orders",
    "fills",
    "positions",
    "balances",
    "funding_payments",
    "account_events",
    "top",
    "instruments",
    "events",
    *sorted(RESULT_TABLES),
)


def in_frames(messages: Sequence[Message], seed: int) -> list[Message]:
    """The same messages, some of them in the frame of the one before."""
    chance, out, sub = random.Random(seed), list[Message](), 0
    for message in messages:
        before = out[-1] if out else None
        is_market = not isinstance(message, StreamEvent | Instrument)
        if before is not None and is_market and before.venue == message.venue and chance.random() < 0.3:
            sub += 1
            place = {"capture_seq": before.capture_seq, "sub_seq": sub, "ts_recv": before.ts_recv}
            message = msgspec.structs.replace(message, **place)
        else:
            sub = 0
        out.append(message)
    return out


def plainly(plan: RunPlan, messages: Sequence[Message]) -> tuple[Result | None, TickdeckError | None]:
    """What comes of messages in a plain session: a result, or why it failed."""
    session = plan.open(messages[0].ts_recv, compiled=False)
    for message in messages:
        session.take(message)
    record = session.finish(messages[-1].ts_recv)
    return (Result.of(record), None) if session.failure is None else (None, session.failure)


def over_the_engine(
    plan: RunPlan,
    messages: Sequence[Message],
    batch: int = 64,
    opened: list[TradingSession] | None = None,
    waits: int = 0,
) -> tuple[Result | None, TickdeckError | None]:
    """
    The same over the engine, in batches of so many messages; the session is added to `opened`.

    It runs ahead wherever it may; `waits`: after it did so in vain, only after so many wakes.
    """
    keys, names = plan.pairs.keys, Names(plan.pairs.keys)
    session = plan.open(messages[0].ts_recv, waits=True, compiled=False)
    if opened is not None:
        opened.append(session)
    run = ClassRun(plan, names, session)
    run.pace = Pace(waits, waits)
    for key in keys:
        run.expect(next(each for each in messages if isinstance(each, Instrument) and each.key == key))
    feeder = Feeder(keys, [run])
    try:
        for start in range(0, len(messages), batch):
            columns = of_messages(messages[start : start + batch], names, whole=True)
            places = np.array([keys.index(PairKey(*pair)) for pair in names.pairs])
            feed(run, feeder, columns, places)
        return Result.of(run.finish(messages[-1].ts_recv)), None
    except TickdeckError as exc:
        return None, exc
    finally:
        session.watch.close()


def both_ways(
    cls: type[Strategy],
    messages: Sequence[Message],
    keys: Sequence[PairKey],
    *,
    batch: int = 64,
    waits: int = 0,
    **settings: Any,
) -> Result | None:
    """Run a class both ways, and compare; the result, or None where it failed both ways, with the same words."""
    plans = [RunPlan(load_strategy(cls), keys, settings_of(**settings)) for _ in range(2)]
    plain, plain_failure = plainly(plans[0], messages)
    fast, failure = over_the_engine(plans[1], messages, batch, waits=waits)
    assert str(failure) == str(plain_failure)
    if plain is None or fast is None:
        return None
    check_equal(fast, plain)
    return fast


def check_equal(fast: Result, plain: Result, *, has_page: bool = False) -> None:
    """Compare all that is said of two runs: every table with its places and the log's chain, every number, the report."""
    for name in _TABLES:
        one, other = fast.table(name), plain.table(name)
        if not one.equals(other):
            rows = zip(one.rows(), other.rows(), strict=False)
            differs = next(((each, its) for each, its in rows if each != its), (one.shape, other.shape))
            raise AssertionError((name, *differs))
    assert fast.info == plain.info
    if has_page:
        assert report_html([fast]) == report_html([plain])
