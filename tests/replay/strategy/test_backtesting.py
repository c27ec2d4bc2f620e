"""A strategy on recordings: the same decisions in whatever way they are played, and a prefix of them where they are cut."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.recording import Recording
from replay.backtest import desk
from replay.backtest.exchange import KERNELS
from replay.fast_classes.strategy_backtest import backtest
from replay.market.core import MatchingCore
from replay.paper.comparing import described
from replay.source import ReplayDataSource
from replay.strategy import backtesting
from replay.strategy.backtesting import pairs_of_run, run_on_tape
from replay.strategy.context import Context
from replay.strategy.decision_log import LogRow
from replay.strategy.failures import StrategyError
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy, Wakes
from replay.tape import Fidelity, Tape
from tests.serving import synthetic_session
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError, SymbolError
from toolkit.kernels import disk_cache
from toolkit.keys import PairKey
from toolkit.messages import Trade

CHURNER = Path(__file__).with_name("churner.py")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A few seconds of a synthetic market, recorded by the live protocols."""
    made, _ = synthetic_session(tmp_path_factory.mktemp("strategy") / "tape", seconds=8)
    return made


def plan_for(recording: Recording, **settings: Any) -> RunPlan:
    loaded = load_strategy(CHURNER)
    settings.setdefault("latency", "entry=30ms,response=20ms")
    return RunPlan(loaded, pairs_of_run(loaded, [recording], ["BTC-USD"]), RunSettings(**settings))


def rows_of(
    plan: RunPlan,
    recordings: list[Recording],
    *,
    fidelity: Fidelity = "normalized",
    batch_rows: int | None = None,
    **more: Any,
) -> tuple[list[LogRow], TradingSession]:
    rows: list[LogRow] = []
    tape = Tape(recordings, trading_pairs=plan.pairs.keys, fidelity=fidelity, batch_rows=batch_rows)
    _, session = run_on_tape(plan, tape, watch=lambda session: session.log.watch(rows.append), **more)
    return rows, session


def test_the_strategy_has_something_to_decide(recording: Recording) -> None:
    """Else the rest would prove little: of every kind there are rows, and fills of both roles."""
    rows, session = rows_of(plan_for(recording), [recording])
    assert {row.kind for row in rows} >= {"quote", "timer", "trade", "response", "fill", "order", "stop"}
    answers = {(row.acts[0], row.acts[3]) for row in rows if row.kind == "response"}
    assert {("accepted", "open"), ("executed", "filled"), ("ended", "cancelled"), ("amended", "open")} <= answers
    assert session.log.count == len(rows) > 100


@pytest.mark.parametrize("where", ["before", "after", "cut off"])
def test_a_transfer_that_is_never_made_is_refused(recording: Recording, where: str) -> None:
    assert recording.span is not None
    first, last = recording.span
    when = {"before": first - 1, "after": last + 1, "cut off": last - 1}[where]
    end = last - NS_PER_S if where == "cut off" else None
    with pytest.raises(ConfigError, match="is outside the run: expected a time "):
        backtest(
            CHURNER,
            recording,
            trading_pairs=["BTC-USD"],
            end_ns=end,
            capital={"USD": 100},
            transfers=[(when, {"USD": 5})],
        )


@pytest.mark.parametrize(
    ("fidelity", "batch_rows"), [("raw", None), ("raw", 7), ("normalized", 1), ("normalized", 13), ("normalized", None)]
)
def test_one_log_whatever_the_batches_and_the_fidelity(
    recording: Recording, fidelity: Fidelity, batch_rows: int | None
) -> None:
    plan = plan_for(recording)
    _, first = rows_of(plan, [recording])
    _, session = rows_of(plan, [recording], fidelity=fidelity, batch_rows=batch_rows)
    assert session.log.hexdigest() == first.log.hexdigest()


@pytest.mark.parametrize("speed", [None, "50x"])
def test_one_log_at_every_speed_of_a_replay(recording: Recording, speed: str | None) -> None:
    """Handed messages by a replay in its own time, the session decides the same."""
    plan = plan_for(recording)
    _, first = rows_of(plan, [recording])

    async def play() -> str:
        source = ReplayDataSource(recording, trading_pairs=plan.pairs.keys, speed=speed)
        session = plan.open(recording.span[0] if recording.span else 0)
        source.set_message_callback(session.take)
        async with source:
            await source.wait()
        session.finish(recording.span[1] if recording.span else None)
        return session.log.hexdigest()

    assert asyncio.run(play()) == first.log.hexdigest()


_DIGEST = """
import sys
from pathlib import Path
from recordings.recording import Recording
from replay.fast_classes.strategy_backtest import backtest
result = backtest(sys.argv[1], sys.argv[2], trading_pairs="BTC-USD", latency="entry=30ms,response=20ms")
print(result.info.log_digest)
"""


def digest_in_process(recording: Recording, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _DIGEST, str(CHURNER), str(recording.path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_one_log_in_another_process(recording: Recording) -> None:
    _, session = rows_of(plan_for(recording), [recording])
    assert digest_in_process(recording, 1) == session.log.hexdigest()


@pytest.mark.slow
def test_one_log_under_five_hash_seeds(recording: Recording) -> None:
    assert len({digest_in_process(recording, seed) for seed in range(5)}) == 1


def test_a_tape_that_is_cut_gives_a_prefix(recording: Recording) -> None:
    """At 20 random cuts: what was decided up to there cannot depend on what comes later."""
    plan = plan_for(recording)
    whole, _ = rows_of(plan, [recording])
    assert recording.span is not None
    first, last = recording.span
    rng = random.Random(5)
    for _ in range(20):
        cut = rng.randrange(first + NS_PER_S, last)
        rows, _ = rows_of(plan, [recording], end_ns=cut)
        before = [row for row in whole if row.time_ns < cut]
        while before and rows[: len(before)] != before:
            # The end of a tape is an end of the session: what is due by then is done, and then all is cancelled.
            assert before[-1].time_ns >= cut - 1, described(before[-1])
            before.pop()
        assert len(before) > 10
        assert {row.kind for row in rows[len(before) :]} <= {"response", "order", "fill", "stop"}


def test_the_middle_of_a_tape_begins_with_the_books_of_then(recording: Recording) -> None:
    """`start_ns`: nothing is decided before, and the first decision sees a book that holds."""
    assert recording.span is not None
    middle = sum(recording.span) // 2

    class Looker(Strategy):
        wakes = Wakes(every="1s")

        def on_start(self, ctx: Context) -> None:
            book = ctx.book("BTC-USD")
            ctx.log("start", stale=book.is_stale, mid=book.mid_price)

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.log("timer")

    rows: list[LogRow] = []
    plan = RunPlan(load_strategy(Looker), [PairKey("hyperliquid", "BTC-USD")], RunSettings())
    tape = Tape([recording], trading_pairs=plan.pairs.keys)
    run_on_tape(plan, tape, start_ns=middle, watch=lambda session: session.log.watch(rows.append))
    start = rows[0].acts[0]
    assert (rows[0].time_ns, start[2]["stale"]) == (middle, False)
    source = ReplayDataSource(recording, start_ns=middle)
    assert source.player.step_message()
    assert start[2]["mid"] is not None
    assert [row.time_ns for row in rows[1:3]] == [
        (middle // NS_PER_S + 1) * NS_PER_S,
        (middle // NS_PER_S + 2) * NS_PER_S,
    ]


class Holder(Strategy):
    """Buys once, and says what it knows."""

    wakes = Wakes(every="1s")

    def __init__(self) -> None:
        self.calls = 0

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        if not self.calls and not ctx.book("BTC-USD").is_stale:
            self.calls += 1
            ctx.buy("BTC-USD", 0.01)

    def on_start(self, ctx: Context) -> None:
        ctx.log(f"start with {self.calls} calls, holding {ctx.position('BTC-USD').size}")


@pytest.mark.parametrize(("carry", "starts"), [("all", 1), ("positions", 2)])
def test_account_and_state_go_on_over_recordings_in_a_row(tmp_path: Path, carry: str, starts: int) -> None:
    one, _ = synthetic_session(tmp_path / "one", seconds=4)
    two, _ = synthetic_session(tmp_path / "two", seconds=4, seed=8, later_s=60)
    result = backtest(Holder, [one, two], trading_pairs="BTC-USD", carry=carry, latency="entry=1ms,response=1ms")
    said = [msgspec.json.decode(text)[0][1] for text in result.decisions.filter(kind="start")["text"]]
    assert len(said) == starts
    assert result.fills.height == starts
    assert said[0] == "start with 0 calls, holding 0.0"
    if starts == 2:
        assert said[1].startswith("start with 0 calls, holding 0.01")


class Raiser(Strategy):
    wakes = Wakes(trades=True)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        raise ValueError("no more")


def test_a_failure_is_one_error_with_the_strategys_line(recording: Recording) -> None:
    with pytest.raises(StrategyError, match=r"test_backtesting\.py:\d+: on_trade: ValueError: no more in `raise Value"):
        backtest(Raiser, recording, trading_pairs="BTC-USD")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"trading_pairs": "XYZ-USD"}, SymbolError, "'XYZ-USD' is not in"),
        ({"venues": "elsewhere"}, ConfigError, "no pair to trade"),
        ({"start_ns": "2000-01-01", "end_ns": "2000-01-02"}, ConfigError, "the run ends at 2000-01-02"),
        ({"start_ns": "2100-01-01"}, ConfigError, "the run begins at 2100-01-01"),
        ({"preset": "best"}, ConfigError, "no rules 'best'"),
        ({"latency": "5"}, ConfigError, "is not understood"),
        ({"seed": -1}, ConfigError, "seed is -1"),
        (
            {"parameters": {"speed": "1"}},
            ConfigError,
            "Churner has no parameter 'speed'; it has pair: str = '', lots: int = 3",
        ),
        ({"fees": {"maker": Decimal(2)}}, ConfigError, "maker fee is 2"),
        ({"fees": {"makr": 0.1}}, ConfigError, "fees: no such thing as 'makr', expected maker or taker"),
        ({"fees": {"maker": float("nan")}}, ConfigError, "fees: maker is nan, expected a number"),
        ({"assumed": {"tock": 1}}, ConfigError, "assumed: no such thing as 'tock', expected tick or lot"),
        ({"assumed": {"tick": "a tenth"}}, ConfigError, "assumed: tick is 'a tenth', expected a number"),
        ({"assumed": {"tick": True}}, ConfigError, "assumed: tick is True, expected a number"),
        ({"capital": {"USDC": None}}, ConfigError, "capital: USDC is None, expected a number"),
        ({"latency": 5}, ConfigError, "latency is 5, expected text"),
        ({"seed": "1"}, ConfigError, "seed is '1'"),
        ({"clock_offset_ns": "1s"}, ConfigError, "clock_offset_ns is '1s'"),
        ({"callback_s_max": -1}, ConfigError, "callback_s_max is -1"),
        ({"gaps": "jump"}, ConfigError, "gaps is 'jump', expected keep or cancel or fail"),
        ({"carry": 1}, ConfigError, "carry is 1, expected all or positions"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    recording: Recording, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        backtest(CHURNER, recording, **given)


def test_numbers_are_taken_in_every_form_that_python_has(recording: Recording) -> None:
    """A float is the decimal that it prints as, so all forms are one run."""
    runs = [
        backtest(
            CHURNER,
            recording,
            trading_pairs="BTC-USD",
            fees={"maker": maker, "taker": maker},
            capital={"USDC": capital},
            assumed={"min_notional": least},
        )
        for maker, capital, least in ((0.0002, 10_000, 1), ("0.0002", "10000", "1"), (Decimal("0.0002"), 1e4, 1.0))
    ]
    assert len({run.info.log_digest for run in runs}) == 1
    assert len({run.net_profit for run in runs}) == 1
    assert runs[0].fees > 0


class Looked(Exception):
    """Before anything was played."""


@pytest.mark.parametrize("frames", [1, 1 << 40])
def test_a_long_tape_is_matched_by_machine_code_though_none_was_compiled_before(
    recording: Recording, frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short one is done before that could be compiled."""
    monkeypatch.setattr(backtesting, "FRAMES_IN_PYTHON", frames)
    monkeypatch.setattr(disk_cache, "usable_folder", lambda **_: tmp_path)
    plan = plan_for(recording)

    def look(session: TradingSession) -> None:
        assert session.exchange.is_compiled == (frames == 1)
        session.exchange.note_compiled()
        raise Looked

    with pytest.raises(Looked):
        run_on_tape(plan, Tape([recording], trading_pairs=plan.pairs.keys), watch=look)
    assert not any(tmp_path.iterdir()), "nothing was matched, so nothing was compiled"


@pytest.mark.parametrize("is_compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_machine_code_that_a_run_has_used_is_there_for_the_next_one(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compiled: bool
) -> None:
    """Its source is run as plain Python where the test is not to wait for the compiler."""
    monkeypatch.setattr(backtesting, "FRAMES_IN_PYTHON", 1)
    if not is_compiled:
        monkeypatch.setattr(desk, "MatchingCore", lambda *args, compiled: MatchingCore(*args, compiled=False))
    plan = plan_for(recording)
    with monkeypatch.context() as patch:
        patch.setattr(disk_cache, "usable_folder", lambda **_: tmp_path)
        rows_of(plan, [recording])
        assert disk_cache.are_compiled(KERNELS)
