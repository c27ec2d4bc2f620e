"""The compiled run of a step function does what the session does: same calls, same orders, fills and money."""

from __future__ import annotations

import gzip
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import grid
from benchmarks.grid_maker import GridMaker
from benchmarks.grid_step import grid_step
from recordings.columns.column_batch import Names, of_messages
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.fast import engine_layout, step_run
from replay.fast.actions import BUY, SELL, keep
from replay.fast.compiled_step import layout_of
from replay.fast.engine_layout import ACTS_MAX, book_of, longer
from replay.fast.level_columns import counted
from replay.fast.step import Step, step
from replay.fast.step_run import StepRun
from replay.fast_classes.strategy_backtest import backtest
from replay.many.many_runs import backtest_many
from replay.strategy.backtesting import settings_of
from replay.strategy.failures import StrategyError
from replay.strategy.plan import RunPlan
from tests.golden.expectations import NEWEST, RECORDINGS
from tests.replay.fast.both_tiers import check_all_the_same
from tests.replay.fast.plain_engine import check_same
from tests.replay.fast.steps import busy, fails_by_half, fails_by_index, fails_by_price, quiet
from tests.tapes import quote, snapshot
from toolkit.errors import ConfigError
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import best
from toolkit.keys import PairKey
from toolkit.messages import SIDE_NOT_TOLD, EventKind, Instrument, InstrumentKind, Message, StreamEvent

FOLDERS = {f"{path.parent.name}-{path.name}": path for path in RECORDINGS}
#: Steps finer than those of any golden recording, so that no unit changes while it runs.
FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001", "min_notional": "0.000001"}}


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if path in NEWEST else pytest.mark.slow)
        for name, path in FOLDERS.items()
        if "coinm" not in name
    ],
)
def test_a_run_over_arrays_is_the_one_over_objects(name: str) -> None:
    """A function that does everything, on every venue: late quotes, funding, gaps, refusals, the end of the session."""
    python = backtest(busy.in_python(), FOLDERS[name], **FINE)
    assert python.orders.height > 10
    check_all_the_same(backtest(busy, FOLDERS[name], **FINE), python)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    "assumptions",
    [
        {"latency": "entry=0ms,response=0ms"},
        {"latency": "entry=3ms,cancel.entry=1ms,response=2ms", "capital": {"USDT": 500}},
        {"preset": "hftbacktest"},
        {"rules": {"queue_front": "power3"}, "fees": {"maker": "-0.0001", "taker": "0.0005"}},
    ],
    ids=lambda each: next(iter(each)),
)
def test_assumptions_mean_the_same(assumptions: dict[str, Any]) -> None:
    folder = FOLDERS["format-2-binance-usdm"]
    options = {**FINE, **assumptions, "parameters": {"gap": 0, "size": 1000}}
    check_all_the_same(backtest(busy, folder, **options), backtest(busy.in_python(), folder, **options))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    ("name", "band"),
    [("format-2-binance-usdm", "0.000001"), ("format-2-binance-spot", "0.00005"), ("format-2-hyperliquid", "0.00005")],
)
def test_bands_around_the_mark_or_the_middle_of_the_book_mean_the_same(name: str, band: str) -> None:
    """So narrow that they refuse some orders and take others."""
    assumed = {**FINE["assumed"], "price_band": band, "min_notional": "0.000001"}
    options: dict[str, Any] = {"assumed": assumed, "parameters": {"gap": 3_000_000, "size": 1000}}
    python = backtest(busy.in_python(), FOLDERS[name], **options)
    said = python.orders["status"].to_list()
    refused = [each for each in said if each.startswith(("PERCENT_PRICE", "Order price"))]
    assert 0 < len(refused) < len(said), said
    check_all_the_same(backtest(busy, FOLDERS[name], **options), python)


@pytest.mark.usefixtures("uncompiled")
def test_a_lot_that_is_too_coarse_is_refined_and_sizes_stay_what_they_are() -> None:
    """The unit of sizes becomes that of the recording; what the venue asks of orders does not."""
    result = backtest(busy, FOLDERS["format-2-binance-usdm"], assumed={"tick": "0.1", "lot": "0.01"})
    assert result.orders.height > 5
    lots = result.orders["size"] / 0.01
    assert ((lots - lots.round()).abs() < 1e-9).all()


def steps_of_one_batch(*messages: Message) -> StepRun:
    """A run on two pairs, fed with messages that come as one batch."""
    keys = [PairKey("hyperliquid", "A-B"), PairKey("hyperliquid", "C-B")]
    names = Names(keys)
    plan = RunPlan(quiet.loaded(), keys, settings_of())
    run = StepRun(plan, quiet, names, plan.open(0, waits=True))
    batch, places = of_messages(messages, names), np.arange(2)
    first = [message for message in messages[:2] if isinstance(message, Instrument)]
    for instrument in first:
        run.expect(instrument)
    run.take(batch, places, counted(batch, places, run.markets, run.rescale))
    return run


@step(every="100ms", quotes=True, state={"calls": 0, "sum": 0})
def adds(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Adds up when it is called, and why."""
    s.calls += 1
    s.sum += now * (1 + why)


def event(kind: EventKind, ts: int, seq: int, **fields: Any) -> StreamEvent:
    head = {"venue": "hyperliquid", "symbol": "", "trading_pair": "", "ts_event": None, "sub_seq": 0}
    said = {"stream": "", "cause": "", "detail": "", **fields}
    return StreamEvent(**{**head, **said, "ts_recv": ts, "capture_seq": seq, "kind": kind})


def quotes_at(*times_ms: int, first: int) -> list[Message]:
    levels = [((10.0 + number % 3, 1.0), (14.0, 1.0)) for number in range(len(times_ms))]
    return [
        quote(*each, ts_recv=ms * 1_000_000, capture_seq=first + number)
        for number, (ms, each) in enumerate(zip(times_ms, levels, strict=True))
    ]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    "middle",
    [
        [event(EventKind.CLOCK_STEP, 2_350_000_000, 9, detail="delta_ns=2000000000")],
        [event(EventKind.NOTICE, 2_350_000_000, 9, cause="suspend", detail="silence_s=2.0")],
        [event(EventKind.SESSION_END, 360_000_000, 9), event(EventKind.SESSION_START, 2_300_000_000, 10)],
        [
            event(EventKind.SESSION_END, 400_000_000, 9),
            event(EventKind.SESSION_START, 2_300_000_000, 10),
            *quotes_at(2300, first=11),
        ],
    ],
    ids=["clock set", "machine slept", "two sessions", "two sessions at a timer"],
)
def test_timers_that_time_jumps_over_are_called_once_for_all_of_them(middle: list[Message]) -> None:
    messages = [
        event(EventKind.SESSION_START, 0, 0),
        instrument("A-B", 0.1, 1.0, 1),
        *quotes_at(50, 150, 350, first=2),
        *middle,
        *quotes_at(2360, 2610, 2750, first=20),
    ]
    keys = [PairKey("hyperliquid", "A-B")]
    names = Names(keys)
    plan = RunPlan(adds.loaded(), keys, settings_of())
    run = StepRun(plan, adds, names, plan.open(0, waits=True))
    batch, places = of_messages(messages, names), np.arange(1)
    run.expect(messages[1])  # type: ignore[arg-type]
    run.take(batch, places, counted(batch, places, run.markets, run.rescale))
    run.finish()
    session = plan.open(0)
    for message in messages:
        session.take(message)
    session.finish()
    python = session.strategy._s  # type: ignore[attr-defined]
    state = run.engine.state.view(layout_of(adds.state))[0]
    assert python.calls > 5
    assert (int(state["calls"]), int(state["sum"])) == (python.calls, python.sum)


def instrument(pair: str, tick: float, lot: float, seq: int) -> Instrument:
    return Instrument(
        venue="hyperliquid",
        symbol=pair[0],
        trading_pair=pair,
        ts_event=None,
        ts_recv=seq,
        capture_seq=seq,
        sub_seq=0,
        kind=InstrumentKind.PERPETUAL,
        base=pair[0],
        quote="B",
        settle="B",
        price_tick=tick,
        size_step=lot,
    )


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(("tick", "lot"), [(0.01, 1.0), (0.1, 0.25), (0.05, 0.5)])
def test_a_venue_that_makes_its_steps_finer_changes_no_price_that_is_read_with_it(tick: float, lot: float) -> None:
    """What comes with it was counted before, in the steps of then: of that pair alone it is other numbers now."""
    run = steps_of_one_batch(
        instrument("A-B", 0.1, 1.0, 0),
        instrument("C-B", 0.1, 1.0, 1),
        snapshot([(10.1, 3.0)], [(10.3, 4.0)], ts_recv=2, capture_seq=2),
        instrument("A-B", tick, lot, 3),
        snapshot([(20.2, 3.0)], [(20.4, 4.0)], trading_pair="C-B", symbol="C", ts_recv=4, capture_seq=4),
        snapshot([(10.2, 5.0)], [(10.4, 6.0)], ts_recv=5, capture_seq=5),
        quote((10.2, 7.0), None, ask_count=SIDE_NOT_TOLD, ts_recv=6, capture_seq=6),
        quote((10.3, 8.0), None, ts_recv=7, capture_seq=7),
    )
    for place, bid in ((0, (10.3, 8.0)), (1, (20.2, 3.0))):
        scale, book = run.markets[place].scale, book_of(run.engine, place)
        assert scale is not None
        key, size = plain(best)(book, 2 * place)
        assert (scale.price(int(key)), scale.size(int(size))) == bid
    assert [float(each.scale.tick) for each in run.markets if each.scale is not None] == [tick, 0.1]


@pytest.mark.usefixtures("uncompiled")
def test_a_window_begins_and_ends_where_it_is_asked_to() -> None:
    folder = FOLDERS["format-2-hyperliquid"]
    whole = backtest(quiet, folder, **FINE)
    info = whole.info
    start, end = info.start_ns, info.end_ns
    middle, last = (start + end) // 2, end - (end - start) // 4
    result = backtest(busy, folder, start_ns=middle, end_ns=last, **FINE)
    times = result.orders["ts_recv"].dt.timestamp("ns")
    assert result.orders.height > 0
    assert middle <= times.min() <= times.max() < last  # type: ignore[operator]


@step(every="250ms", start=True, state={"calls": 0})
def from_the_start(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Its prices depend on how often it was called."""
    s.calls += 1
    if q[0].bid and q[0].ask and not q[0].stale:
        keep(act, 0, 1, BUY, q[0].bid - s.calls % 3 * q[0].tick, 5 * q[0].lot)
        keep(act, 0, 2, SELL, q[0].ask + s.calls % 3 * q[0].tick, 5 * q[0].lot)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", ["format-2-binance-usdm", "format-2-hyperliquid"])
@pytest.mark.parametrize("before_ns", [1, 341_185, 80_000_000])
def test_timers_between_the_beginning_and_the_first_frame_after_it_are_called(name: str, before_ns: int) -> None:
    """A run begins when it is asked to, and not with a frame: as in plain Python, to which no call is lost."""
    first, last = Recording.open(FOLDERS[name]).span or (0, 0)
    middle = (first + last) // 2
    for timer in range(3):
        start = middle // 250_000_000 * 250_000_000 + timer * 250_000_000 - before_ns
        runs = [
            backtest(each, FOLDERS[name], start_ns=start, end_ns=start + 2_000_000_000, **FINE)
            for each in (from_the_start, from_the_start.in_python())
        ]
        assert runs[0].orders.height > 1
        check_same(*runs)


@pytest.mark.usefixtures("uncompiled")
def test_many_sets_of_parameters_are_so_many_runs_of_their_own() -> None:
    folder = FOLDERS["format-2-binance-usdm"]
    sets = [{"gap": 0}, {"gap": 3, "size": 2}]
    results = backtest_many(busy, folder, sets, **FINE)
    assert len({result.orders.write_csv() for result in results}) == 2
    for one, parameters in zip(results, sets, strict=True):
        check_all_the_same(one, backtest(busy, folder, parameters=parameters, **FINE))


@pytest.mark.parametrize(
    ("assumptions", "said"),
    [
        ({"latency": "feed"}, "latency 'feed', which is not constant"),
        (
            {"leverage": 5, "capital": {"USDC": 100}},
            r"leverage or transfers; run it as plain Python, quiet\.in_python\(\)$",
        ),
        ({"gaps": "cancel"}, "gaps='cancel'"),
        ({"carry": "positions"}, "carry='positions' is of no compiled step function"),
    ],
)
def test_what_a_compiled_run_does_not_do_is_refused(assumptions: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        backtest(quiet, FOLDERS["format-2-hyperliquid"], **FINE, **assumptions)


def test_a_pair_whose_tick_is_not_known_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the recording does not say tick and lot of"):
        backtest(quiet, FOLDERS["format-2-hyperliquid"])


def test_what_is_no_step_is_refused() -> None:
    folder = FOLDERS["format-2-hyperliquid"]
    with pytest.raises(ConfigError, match=r"3 is no strategy, expected a class"):
        backtest_many(3, folder, [{}])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no set of parameters"):
        backtest_many(quiet, folder, [])
    with pytest.raises(ConfigError, match="no parameter 'spread'"):
        backtest(quiet, folder, parameters={"spread": 1}, **FINE)


def test_arguments_of_many_runs_that_make_no_sense_are_one_line() -> None:
    folder = FOLDERS["format-2-hyperliquid"]
    with pytest.raises(ConfigError, match="backtest_many has no argument 'lverage', expected one of assumed, "):
        backtest_many(quiet, folder, [{}], lverage=5)
    with pytest.raises(ConfigError, match="the recording is None, expected one"):
        backtest_many(quiet, None, [{}])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the recording is None, expected one"):
        backtest(quiet, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the sets of parameters are 5"):
        backtest_many(quiet, folder, 5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"busy: gap is 10{30}, expected whole numbers of 63 bits"):
        backtest_many(busy, folder, [{"gap": 10**30}], **FINE)
    with pytest.raises(ConfigError, match="busy: gap is 4611686018427387904, expected a number of 62 bits"):
        backtest_many(busy, folder, [{"gap": 2**62}], **FINE)


def test_a_step_function_says_what_it_needs() -> None:
    for wrong in (5, [1], "size", {1: 2}):
        for name in ("parameters", "state"):
            with pytest.raises(ConfigError, match=f"^step: {name} is .*, expected values by name, for instance"):
                step(every="1s", **{name: wrong})  # type: ignore[arg-type]
    for no_function in (quiet, int):
        with pytest.raises(ConfigError, match=r"^@step is given .*, expected a function"):
            step(every="1s")(no_function)
    with pytest.raises(ConfigError, match="@step is written with what calls it, for instance @step"):
        step(lambda now, why, q, me, p, s, act: None)
    with pytest.raises(ConfigError, match="parameter gap is nan, expected a finite number"):
        step(every="1s", parameters={"gap": float("nan")})
    with pytest.raises(ConfigError, match="nothing calls it"):
        step()(lambda now, why, q, me, p, s, act: None)
    with pytest.raises(ConfigError, match="expected the arguments now, why, q, me, p, s, act"):
        step(every="1s")(lambda now: None)
    with pytest.raises(ConfigError, match="expected 1ms or more"):
        step(every="1us")
    with pytest.raises(ConfigError, match="parameter gap is 'x', expected a number"):
        step(every="1s", parameters={"gap": "x"})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="spaces quotes"):
        step(every="1s", min_gap="1s")


@pytest.mark.parametrize(
    ("function", "where"),
    [
        (fails_by_index, "own(act, 3 + q[7].bid)"),
        (fails_by_price, "send(act, 0, BUY, 0, q[0].lot)"),
        (fails_by_half, "send(act, 0, BUY, q[0].bid - 0.5, q[0].lot)"),
    ],
)
@pytest.mark.parametrize("is_compiled", [pytest.param(True, marks=pytest.mark.slow), False])
def test_an_error_names_the_function_s_own_line(function: Step, where: str, is_compiled: bool) -> None:
    folder = FOLDERS["format-2-hyperliquid"]
    run = function if is_compiled else function.in_python()
    with pytest.raises(StrategyError, match=r"steps\.py:\d+: ") as failure:
        backtest(run, folder, **FINE)
    assert where in str(failure.value)


@pytest.mark.slow
def test_compiled_runs_are_those_in_plain_python() -> None:
    for name, folder in FOLDERS.items():
        if "coinm" not in name:
            check_all_the_same(backtest(busy, folder, **FINE), backtest(busy.in_python(), folder, **FINE))


@pytest.mark.slow
@pytest.mark.parametrize("has_quotes", [True, False])
def test_the_grid_has_the_same_fills_as_a_class_and_as_a_step(
    tmp_path: Path, shared_data: Path, has_quotes: bool
) -> None:
    """On a capture of a busy market: every row of orders, fills, positions and equity."""
    capture = shared_data / "binance/usdm_btcusdt_20240808.gz"
    if not has_quotes:
        with gzip.open(capture) as lines, gzip.open(tmp_path / "books.gz", "wb", compresslevel=1) as kept:
            kept.writelines(line for line in lines if b'@bookTicker"' not in line[:100])
        capture = tmp_path / "books.gz"
    import_capture([capture], tmp_path / "tape", ImportOptions(venue="binance-usdm", line_format="collector"))
    options: dict[str, Any] = {
        "latency": "entry=3ms,response=2ms",
        "assumed": {"tick": Decimal(grid.TICK), "lot": Decimal(grid.LOT), "min_notional": Decimal(5)},
    }
    result = backtest(GridMaker, tmp_path / "tape", parameters=grid.GRID, **options)
    compiled = backtest(grid_step, tmp_path / "tape", **options)
    assert result.fills.height > 500
    for name in ("fills", "orders", "equity", "positions"):
        frames = [getattr(each, name) for each in (result, compiled)]
        own = {"client_order_id", "account"} & set(frames[0].columns)
        assert frames[0].drop(own).equals(frames[1].drop(own)), name


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", ["format-2-binance-usdm", "format-2-hyperliquid"])
def test_a_run_that_is_left_for_want_of_room_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Room for hardly more than one call: it is left in the middle of what is due between two frames."""
    python = backtest(busy.in_python(), FOLDERS[name], **FINE)
    monkeypatch.setattr(engine_layout, "_LOG", 2 * ACTS_MAX + 12)
    monkeypatch.setattr(step_run, "_LOG_MIN", 0)
    check_all_the_same(backtest(busy, FOLDERS[name], **FINE), python)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", ["format-2-binance-usdm", "format-2-binance-spot"])
def test_trades_that_two_recordings_have_are_matched_once(tmp_path: Path, name: str) -> None:
    """As of two recorders of one market: the function is called for both, and the size is there once."""
    shutil.copytree(FOLDERS[name], tmp_path / "other")
    options = {**FINE, "parameters": {"gap": 0, "size": 3000}}
    both = [FOLDERS[name], tmp_path / "other"]
    python = backtest(busy.in_python(), both, **options)
    assert python.fills.height > 3
    check_same(backtest(busy, both, **options), python)


def test_longer_rows_begin_with_those_that_are_used() -> None:
    rows = np.array([(1, 1.5), (2, np.nan), (3, 2.5)], [("number", "i8"), ("price", "f8")])
    wide = longer(rows, 8, 2)
    assert wide["number"].tolist() == [1, 2, *[0] * 6]
    assert np.array_equal(wide["price"], [1.5, np.nan, *[0.0] * 6], equal_nan=True)
