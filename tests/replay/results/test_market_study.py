"""What is measured of the market that a run met, on a tape by hand: prices around fills, volumes, doubt, delays."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from pathlib import Path

import polars as pl
import pytest

from recordings.recording import Recording
from replay.market.layout import BUY, SELL, Role
from replay.results import market_study
from replay.results.market_study import study_of
from replay.results.plot_data import price_rows
from replay.results.result import Result
from replay.results.result_writing import write_result
from replay.results.run_info import RunInfo
from replay.results.run_record import FillRow
from replay.results.run_recorder import RunRecorder
from tests.replay.results.runs import HEAD, linear_market
from tests.tapes import SECOND, TS, book_frame, collector_line, import_files, trade

MS = 1_000_000
BEGIN = TS + 10 * SECOND


def book(second: float, bid: float, ask: float, *, late_ms: int = 5) -> bytes:
    """A book of two levels a side, received so many seconds after the beginning, `late_ms` after the venue's time of it."""
    now = BEGIN + round(second * SECOND)
    bids, asks = [(bid, 5.0), (bid - 1, 5.0)], [(ask, 5.0), (ask + 1, 5.0)]
    return collector_line(now, book_frame("BTC", now // MS - late_ms, bids, asks))


def traded(second: float, number: int, size: float, price: float = 100.0) -> bytes:
    now = BEGIN + round(second * SECOND)
    each = {**trade("BTC", number, now // MS - 20, price), "sz": str(size)}
    return collector_line(now, {"channel": "trades", "data": [each]})


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Middles 100, then from second 2 on 102, from 5 on 99, from 70 on 110; trades of 3 in minute one, 8 in minute two."""
    content = b"".join(
        [
            book(-5, 89, 91), traded(-5, 1, 1.0), book(0, 99, 101), traded(1, 2, 1.0), book(2, 101, 103),
            traded(3, 3, 2.0), book(5, 98, 100, late_ms=-7), book(70, 109, 111), traded(90, 4, 8.0), book(100, 109, 111),
        ]
    )  # fmt: skip
    return import_files(tmp_path_factory.mktemp("study") / "tape", content)


def filled(*rows: tuple[float, int, int, int], from_s: float = 0) -> Result:
    """A run of 100 seconds with fills `(second at the venue, side, price, lots of 0.01)`, heard 1 ms later."""
    made = RunRecorder(HEAD, [linear_market()], start_ns=BEGIN + round(from_s * SECOND), symbols=["BTC"])
    for number, (second, side, tick, lots) in enumerate(rows, 1):
        then = BEGIN + round(second * SECOND)
        made.fill(
            FillRow(
                now_ns=then + MS,
                venue_ns=then,
                pair=0,
                order_id=number,
                side=side,
                tick=tick,
                lots=lots,
                role=Role.MAKER,
            )
        )
        made.frame_done(then + MS)
    return Result.of(made.finish(BEGIN + 100 * SECOND))


def around(tape: Recording, *rows: tuple[float, int, int, int]) -> list[list[float]]:
    """The middles that each fill is measured by: before it, and after each horizon."""
    result = filled(*rows)
    course = market_study._BookCourse(result.info, result.fills, result.info.pairs[0])
    for batch in market_study._batches(tape, result.info, None):
        for _, part in batch:
            course.take(part)
    course.finish()
    found: list[list[float]] = course.mids.tolist()
    return found


def test_a_fill_is_measured_by_the_middle_before_it_and_after_each_horizon(tape: Recording) -> None:
    """Just before it: what changes at that very nanosecond came after it. At the end the last price stands."""
    assert around(tape, (1.5, BUY, 99, 100), (2, BUY, 100, 100), (4.5, SELL, 103, 100), (65, SELL, 100, 100)) == [
        [100.0, 102.0, 99.0, 99.0],
        [100.0, 102.0, 99.0, 99.0],
        [102.0, 99.0, 99.0, 99.0],
        [99.0, 99.0, 110.0, 110.0],
    ]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_batches_of_any_size_give_the_same(tape: Recording, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    whole = around(tape, (2, BUY, 100, 100), (69.5, SELL, 103, 100))
    monkeypatch.setattr(market_study, "_BATCH_ROWS", rows)
    assert around(tape, (2, BUY, 100, 100), (69.5, SELL, 103, 100)) == whole


def test_a_fill_before_the_first_price_is_measured_by_none(tape: Recording) -> None:
    [[before, *after]] = around(tape, (-8, BUY, 90, 100))
    assert isnan(before)
    assert after == [after[0], 100.0, 99.0] or isnan(after[0])


def test_volume_is_that_of_the_runs_time_and_a_large_share_is_found(tape: Recording) -> None:
    """3 were traded in the first minute: 0.2 own is below a tenth of it, 0.4 above. History and what was before do not count."""
    [market] = study_of(*of(filled((1, BUY, 100, 20), (90, BUY, 110, 100))), [tape]).markets
    assert (market.volume, market.trades, market.sideless) == (11.0, 3, 0)
    assert market.own_volume == 1.2
    assert market.own_share == pytest.approx(1.2 / 11)


def test_minutes_of_which_own_fills_are_more_than_a_tenth_are_counted(tape: Recording) -> None:
    # The minutes are those of the clock: whichever the trades fall into, 3 of 1 own is above a tenth.
    [market] = study_of(*of(filled((3, BUY, 100, 300))), [tape]).markets
    assert market.large_fills == 1
    assert market.own_share_max is not None
    assert market.own_share_max >= 1.0
    [market] = study_of(*of(filled((3, BUY, 100, 10))), [tape]).markets
    assert market.large_fills == 0


def test_delays_are_those_of_both_clocks_as_they_were(tape: Recording) -> None:
    [market] = study_of(*of(filled()), [tape]).markets
    trades, top = market.delays
    assert (trades.table, trades.messages, trades.negative) == ("trades", 3, 0)
    assert trades.p50 is not None
    assert 20 * MS <= trades.p50 < 21 * MS
    assert (top.table, top.messages, top.negative) == ("top", 4, 1)


def test_a_run_that_begins_later_knows_the_price_from_before(tape: Recording) -> None:
    result = filled((31, BUY, 98, 100), from_s=30)
    [market] = study_of(*of(result), [tape]).markets
    assert market.known_ns == 70 * SECOND
    [first, *_] = study_of(*of(result), [tape]).parts
    assert first.spread == 1


def of(result: Result) -> tuple[RunInfo, pl.DataFrame]:
    return result.info, result.fills


def test_a_result_keeps_what_was_measured(tape: Recording, tmp_path: Path) -> None:
    """And one that was written without is measured when its recording is named."""
    made = RunRecorder(replace(HEAD, strategy="Kept"), [linear_market()], start_ns=BEGIN, symbols=["BTC"])
    made.frame_done(BEGIN)
    record = made.finish(BEGIN + 100 * SECOND)
    write_result(record, tmp_path / "bare")
    assert Result.open(tmp_path / "bare").study is None
    later = Result.open(tmp_path / "bare", [tape]).study
    record.study = study_of(*of(Result.of(record)), [tape])
    write_result(record, tmp_path / "kept")
    assert Result.open(tmp_path / "kept").study == record.study == later


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_prices_are_kept_for_charts_also_where_nothing_has_happened(
    tape: Recording, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """In steps of 0.2 s: what the price was at the end of each, its lowest and highest; the same in batches of any size."""
    monkeypatch.setattr(market_study, "_BATCH_ROWS", rows)
    result = filled((1.5, BUY, 99, 100))
    [course] = study_of(*of(result), [tape]).courses
    per_s = round(SECOND / course.step_ns)
    assert (course.start_ns, per_s) == (BEGIN, 5)
    assert len(course.last) == 100 * per_s + 1
    shown = [course.last[round(second * per_s)] for second in (0, 1.8, 2, 4.8, 5, 69.8, 70, 100)]
    assert shown == [100.0, 100.0, 102.0, 102.0, 99.0, 99.0, 110.0, 110.0]
    assert (course.low[2 * per_s], course.high[2 * per_s]) == (102.0, 102.0)
    # A chart has them where the result has no price of its own.
    record = RunRecorder(HEAD, [linear_market()], start_ns=BEGIN, symbols=["BTC"]).finish(BEGIN + 100 * SECOND)
    drawn = price_rows(Result.of(record, recordings=[tape]), Result.of(record).info.pairs[0])
    assert {row["mid"] for row in drawn} == {100.0, 102.0, 99.0, 110.0}
    assert price_rows(Result.of(record), Result.of(record).info.pairs[0]) == []


def test_a_price_that_is_not_known_for_a_while_is_none(tmp_path: Path) -> None:
    """A book with one side from second 2 to second 5."""
    one_sided = collector_line(BEGIN + 2 * SECOND, book_frame("BTC", BEGIN // MS + 2_000, [(98.0, 5.0)], []))
    whole = import_files(tmp_path / "tape", book(0, 99, 101) + one_sided + book(5, 98, 100) + book(100, 98, 100))
    [course] = study_of(*of(filled()), [whole]).courses
    per_s = round(SECOND / course.step_ns)
    assert [course.last[round(second * per_s)] for second in (1, 2, 4, 5)] == [100.0, None, None, 99.0]
