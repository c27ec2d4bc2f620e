"""One step function on one tape, compiled and in plain Python, and all that is said of it compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from recordings.columns.column_batch import Names, of_messages
from recordings.format.schema import RESULT_TABLES
from replay.fast.level_columns import counted
from replay.fast.step import Step
from replay.fast.step_run import StepRun
from replay.results.report_page import report_html
from replay.results.result import Result
from replay.results.result_metrics import as_json
from replay.results.run_info import as_run
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from toolkit.keys import PairKey
from toolkit.messages import Instrument, Message

__all__ = ["check_all_the_same", "in_both_tiers"]

#: All that a result has, but for its decision log.
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
    *sorted(RESULT_TABLES.keys() - {"decisions"}),
)
_FRAMES: Final = ("orders", "fills", "equity", "positions")
#: What a compiled run does not write.
_LOG: Final = {"decisions": 0, "log_digest": ""}


def in_both_tiers(
    step: Step, messages: Sequence[Message], keys: Sequence[PairKey], *, batch: int = 64, **settings: Any
) -> tuple[Result, Result]:
    """
    What came of messages as columns, and of the same in plain Python.

    Args:
        step: The function.
        messages: The tape, in order.
        keys: The pairs.
        batch: Rows of a batch.
        settings: As `settings_of` has them.

    Returns:
        The compiled run, and the one in plain Python.
    """
    first_ns, last_ns = messages[0].ts_recv, messages[-1].ts_recv
    session = RunPlan(step.in_python().loaded(), keys, settings_of(**settings)).open(first_ns, compiled=False)
    for message in messages:
        session.take(message)
    record = session.finish(last_ns)
    assert session.failure is None, session.failure
    plan, names = RunPlan(step.loaded(), keys, settings_of(**settings)), Names(keys)
    run = StepRun(plan, step, names, plan.open(first_ns, waits=True))
    for key in keys:
        run.expect(next(each for each in messages if isinstance(each, Instrument) and each.key == key))
    for start in range(0, len(messages), batch):
        # A frame is never cut.
        columns = of_messages(messages[start : start + batch], names)
        places = np.array([keys.index(PairKey(*pair)) for pair in names.pairs])
        run.take(columns, places, counted(columns, places, run.markets, run.rescale))
    return Result.of(run.finish(last_ns)), Result.of(record)


def check_all_the_same(compiled: Result, python: Result, *, has_page: bool = False) -> None:
    """
    Compare what is said of two runs: all but the decision log, and with that the places of rows within an instant.

    Args:
        compiled: The compiled one.
        python: The run in plain Python, or another compiled one.
        has_page: Whether to compare the report as well.
    """
    said = msgspec.structs.replace(python.info, **_LOG)
    # As a manifest has it: numbers by their digits.
    ours, theirs = as_run(compiled.info), as_run(said)
    for name in theirs:
        assert ours[name] == theirs[name], name
    metrics = [[as_json(metric) for metric in each.metrics] for each in (compiled, python)]
    assert metrics[0] == metrics[1]
    assert compiled.lives == python.lives
    order: list[list[tuple[int, int, str]]] = [[], []]
    for name in _TABLES:
        tables = [compiled.table(name), python.table(name)]
        for rows, table in zip(order, tables, strict=True):
            rows += [(seq, sub, name) for seq, sub in table.select("capture_seq", "sub_seq").iter_rows()]
        _check_frames(name, *(table.drop("sub_seq") for table in tables))
    assert [(seq, name) for seq, _, name in sorted(order[0])] == [(seq, name) for seq, _, name in sorted(order[1])]
    for name in _FRAMES:
        _check_frames(name, getattr(compiled, name), getattr(python, name))
    if has_page:
        pages = [report_html([Result(said, python._tables)]), report_html([compiled])]
        assert pages[0] == pages[1]


def _check_frames(name: str, one: pl.DataFrame, other: pl.DataFrame) -> None:
    differs = [column for column in one.columns if not one[column].equals(other[column])]
    assert not differs, (name, differs, one.select(differs), other.select(differs))
