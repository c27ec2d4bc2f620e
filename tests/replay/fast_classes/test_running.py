"""Classes on recordings of every venue come to the same over the engine: whole, in parts, and several in a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.fast.actions import BUY, keep
from replay.fast.step import step
from replay.fast_classes.running import run_class
from replay.fast_classes.strategy_backtest import backtest
from replay.fast_classes.suitable import unsuitable
from replay.results.result import Result
from replay.strategy.backtesting import pairs_of_run, run_on_tape, settings_of
from replay.strategy.context import Context
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan
from replay.strategy.strategy import Strategy, Wakes
from replay.tape import Tape
from tests.golden.expectations import NEWEST, RECORDINGS
from tests.replay.fast.plain_engine import check_same
from tests.replay.fast_classes.both_ways import check_equal
from tests.replay.fast_classes.busy_class import Busy, variant
from tests.tapes import TS, book_frame, collector_line, import_files
from toolkit.clock import NS_PER_S

pytestmark = pytest.mark.usefixtures("uncompiled")

#: Steps finer than those of any golden recording.
FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001"}}
SLOW: dict[str, Any] = {"latency": "entry=50ms,response=50ms", **FINE}
QUICK: dict[str, Any] = {"latency": "entry=3ms,cancel.entry=1ms,response=40ms", **FINE}


def compare(
    cls: type[Strategy], paths: list[Path], *, cut: float | None = None, rows: int | None = None, **settings: Any
) -> Result:
    """Run a class on recordings both ways, up to a part of their time, and compare."""
    opened = [Recording.open(path) for path in paths]
    loaded = load_strategy(cls)
    if paths[0].name in ("dydx_v4", "hyperliquid"):
        settings["parameters"] = {"asset": "USD"}
    plan = RunPlan(loaded, pairs_of_run(loaded, opened), settings_of(**settings))
    tapes = [Tape(opened, trading_pairs=plan.pairs.keys, batch_rows=rows) for _ in range(2)]
    first, last = tapes[0].first_ns, tapes[0].last_ns
    end_ns = None if cut is None else int(first + (last - first) * cut)
    told: list[int] = []
    fast = Result.of(run_class(plan, tapes[0], end_ns=end_ns, progress=lambda count, _: told.append(count)))
    plain = Result.of(run_on_tape(plan, tapes[1], end_ns=end_ns)[0])
    check_equal(fast, plain)
    assert sum(told) > 0
    return fast


@pytest.mark.parametrize("path", NEWEST, ids=lambda path: path.name)
def test_a_class_comes_to_the_same_on_a_recording_of_each_venue(path: Path) -> None:
    if "coinm" in path.name:
        pytest.skip("without contract values, which a run has to be given")
    assert compare(Busy, [path], **SLOW).info.decisions > 5


@pytest.mark.slow
@pytest.mark.parametrize("path", NEWEST, ids=lambda path: path.name)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_variants_come_to_the_same_on_parts_of_recordings(path: Path, seed: int) -> None:
    if "coinm" in path.name:
        pytest.skip("without contract values, which a run has to be given")
    compare(variant(seed), [path], cut=0.3 + 0.2 * seed, rows=50 * seed, seed=seed, **QUICK)


@pytest.mark.parametrize("name", ["binance-usdm", "dydx_v4", "hyperliquid"])
def test_recordings_that_follow_each_other_come_to_the_same_as_one_run(name: str) -> None:
    """An hour lies between them: the session of the first has ended, and books begin again."""
    paths = [path for path in RECORDINGS if path.name == name]
    assert compare(variant(4), paths, **SLOW).info.decisions > 5


class Ticker(Strategy):
    """Called by the clock alone."""

    wakes = Wakes(every="200ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        ctx.log("tick", due=due_ns, best=repr(ctx.book(ctx.pairs[0]).best_bid))


def test_timers_go_on_over_recordings_whose_sessions_have_no_end(tmp_path: Path) -> None:
    """Imports have none, so what lies between them is time like any other; a step function is called then as well."""
    paths = []
    for number in range(2):
        begin_ns = TS + number * 20 * NS_PER_S
        lines = [
            collector_line(
                begin_ns + step * 50_000_000,
                book_frame("BTC", begin_ns // 1_000_000 + 50 * step, [(10.0 + step % 3, 1.0)], [(20.0, 2.0)]),
            )
            for step in range(40)
        ]
        paths.append(import_files(tmp_path / f"tape-{number}", b"".join(lines)).path)
    assert compare(Ticker, paths, **SLOW).info.decisions > 100

    @step(every="200ms", state={"calls": 0})
    def tick(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
        s.calls += 1
        keep(act, 0, 1, BUY, q[0].bid - s.calls % 4 * q[0].tick, 5 * q[0].lot)

    runs = [backtest(each, paths, **SLOW) for each in (tick, tick.in_python())]
    assert runs[0].orders.height > 0
    check_same(*runs)


def test_recordings_that_overlap_are_left_to_a_plain_session() -> None:
    plan = RunPlan(load_strategy(Busy), Recording.open(NEWEST[0]).keys, settings_of())
    assert unsuitable(plan, Tape([Recording.open(NEWEST[0])])) == ""
    both = [Recording.open(path) for path in RECORDINGS if path.name == NEWEST[0].name]
    assert unsuitable(plan, Tape(both)) == "recordings that overlap"
