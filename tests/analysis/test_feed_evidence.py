"""Clocks that step and feeds that fall silent: what passed, and what could be believed, by a monotonic clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.feed_evidence import SILENCE_SCHEMA
from recordings.queries.clock_steps import ClockStep, clock_steps
from tests.analysis.quotes import frame_of, quote_lists
from tests.analysis.reference import Quote, stretches, summary
from tests.analysis.tapes import make_recording

S = 1_000_000_000
B = 1_700_000_000 * S
HOUR = 3600 * S


def top(seq: int, at: int, bid: float = 9.0, **more: Any) -> dict[str, Any]:
    return {"capture_seq": seq, "ts_recv": B + at, "ts_event": B + at, "bid_price": bid, "ask_price": bid + 2} | more


def stale(seq: int, at: int, since: int | None, **more: Any) -> dict[str, Any]:
    start = None if since is None else B + since
    return {"capture_seq": seq, "ts_recv": B + at, "kind": "stale", "stream": "full", "ts_start": start} | more


def step(seq: int, at: int, delta: int) -> dict[str, Any]:
    return {"capture_seq": seq, "ts_recv": B + at, "kind": "clock_step", "detail": f"delta_ns={delta}"}


def raw(seq: int, at: int) -> dict[str, Any]:
    return {"capture_seq": seq, "ts_recv": B + at, "ts_mono": 0}


# -- steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_raw", [True, False])
@pytest.mark.parametrize("delta", [HOUR, -HOUR, 155_000_000 * S, S // 2, -S // 2])
def test_a_step_is_placed_between_the_frames_that_it_lies_between(tmp_path: Path, delta: int, has_raw: bool) -> None:
    """It is reported up to a second later, by every source of the recorder."""
    times = [n * S // 5 for n in range(10)] + [n * S // 5 + delta for n in range(10, 16)]
    tables = {
        "events": [step(14, times[14], delta), step(15, times[15], delta + 1000)],
        "raw" if has_raw else "trades": [{**raw(n, at)} for n, at in enumerate(times)],
    }
    (found,) = clock_steps(make_recording(tmp_path / "tape", tables))
    assert found == ClockStep(10, delta, B + times[9], B + times[10])


def test_steps_follow_each_other(tmp_path: Path) -> None:
    times = [0, S, 2 * S, 2 * S + HOUR, 3 * S + HOUR, 4 * S + HOUR, 4 * S, 5 * S, 6 * S]
    events = [step(4, times[4], HOUR), step(8, times[8], -HOUR)]
    tape = make_recording(tmp_path / "tape", {"events": events, "raw": [raw(n, at) for n, at in enumerate(times)]})
    assert [(each.capture_seq, each.delta_ns) for each in clock_steps(tape)] == [(3, HOUR), (6, -HOUR)]


def test_an_import_has_none(tmp_path: Path) -> None:
    assert clock_steps(make_recording(tmp_path / "tape", {"raw": [raw(0, 0), raw(1, HOUR)]})) == []


@pytest.mark.parametrize("delta", [HOUR, -HOUR, 155_000_000 * S])
def test_what_a_clock_stepped_over_is_no_time(tmp_path: Path, delta: int) -> None:
    """21 s, whatever the clock did in the middle: in the report, in the series, in coverage."""
    times = [n * S for n in range(11)] + [n * S + delta for n in range(11, 22)]
    tape = make_recording(
        tmp_path / "tape",
        {
            "top": [top(n, at, 9.0 + n % 3) for n, at in enumerate(times)],
            "raw": [raw(n, at) for n, at in enumerate(times)],
            "events": [step(12, times[12], delta)],
        },
    )
    (row,) = analysis.spread_window(tape).report().iter_rows(named=True)
    assert (row["covered_s"], row["valid_s"]) == (21.0, 21.0)
    buckets = analysis.spread_window(tape).series(60 * S).collect()
    assert buckets.height < 5
    assert buckets["covered_s"].sum() == 21.0


def test_a_gap_over_a_step_is_as_long_as_it_was(tmp_path: Path) -> None:
    """A machine that slept for an hour missed five seconds of its own time, and an hour of the market."""
    at = [0, S, 2 * S, HOUR + 3 * S, HOUR + 4 * S]
    gap = {
        "kind": "gap",
        "stream": "full",
        "ts_start": B + S,
        "ts_end": B + at[4],
        "capture_seq": 4,
        "ts_recv": B + at[4],
    }
    tape = make_recording(
        tmp_path / "tape",
        {"raw": [raw(n, ns) for n, ns in enumerate(at)], "events": [step(3, at[3], HOUR), gap], "trades": [raw(0, 0)]},
    )
    from recordings.queries.gaps import find_gaps

    assert find_gaps(tape)["seconds"].to_list() == [3.0]
    assert analysis.coverage(tape).select("gap_count", "gap_s").row(0) == (1, 3.0)
    with analysis.connect(tape) as connection:
        assert connection.execute("SELECT seconds, gap_ns FROM gaps").fetchall() == [(3.0, 3 * S)]


# -- silence -----------------------------------------------------------------------------------------------------------


def report(folder: Path, **tables: Any) -> dict[str, Any]:
    return dict(analysis.spread_window(make_recording(folder, tables)).report().row(0, named=True))


def test_a_quote_is_valid_until_its_feed_was_last_heard(tmp_path: Path) -> None:
    """A recorder was killed after 4 s; what states it was written when it was recovered, or copied, much later."""
    row = report(
        tmp_path / "tape",
        top=[top(0, 0), top(5, 34 * S, is_stale=True)],
        events=[stale(5, 34 * S, 4 * S), stale(5, 34 * S, 3 * S, stream="bbo", sub_seq=1)],
    )
    assert (row["covered_s"], row["valid_s"]) == (34.0, 4.0)


def test_it_stays_valid_while_any_stream_of_it_is_heard(tmp_path: Path) -> None:
    """The quote that changed after the depth was last heard is not taken back."""
    row = report(
        tmp_path / "tape",
        top=[top(0, 0), top(3, 8 * S), top(5, 20 * S, is_stale=True)],
        events=[stale(5, 20 * S, 4 * S)],
    )
    assert (row["covered_s"], row["valid_s"]) == (20.0, 8.0)


def test_silence_of_others_changes_nothing(tmp_path: Path) -> None:
    row = report(
        tmp_path / "tape",
        top=[top(0, 0), top(5, 20 * S, is_stale=True)],
        events=[stale(5, 20 * S, 4 * S, symbol="ETH"), stale(5, 20 * S, None), stale(4, 19 * S, 1 * S)],
    )
    assert (row["covered_s"], row["valid_s"]) == (20.0, 20.0)


def test_silence_over_a_step_of_the_clock(tmp_path: Path) -> None:
    """Last heard at 4 s; the clock stepped an hour ahead at 5 s; noticed at 6 s of real time."""
    row = report(
        tmp_path / "tape",
        top=[top(0, 0), top(9, 6 * S + HOUR, is_stale=True), top(10, 8 * S + HOUR)],
        raw=[raw(0, 0), raw(3, 4 * S), raw(6, 5 * S + HOUR), raw(9, 6 * S + HOUR), raw(10, 8 * S + HOUR)],
        events=[step(6, 5 * S + HOUR, HOUR), stale(9, 6 * S + HOUR, 4 * S)],
    )
    assert (row["covered_s"], row["valid_s"]) == (8.0, 4.0)


# -- any steps, any silences, against a monotonic clock ------------------------------------------------------------------


@st.composite
def stepped(draw: st.DrawFn) -> tuple[list[Quote], list[Quote], analysis.FeedEvidence]:
    """Quotes by a monotonic clock with stale ones put back to when they were heard, as recorded, and the evidence."""
    quotes = [quote for quote in draw(quote_lists()) if quote.time is not None]
    mono = sorted(quote.time or 0 for quote in quotes)
    steps, recorded, true, silences, offset = [], [], [], [], 0
    seen: dict[str, int] = {}
    for number, (quote, at) in enumerate(zip(quotes, mono, strict=True)):
        if number and draw(st.integers(0, 5)) == 0:
            delta = draw(st.sampled_from([10_000, 123_456, -20_000, -777]))
            steps.append(ClockStep(number, delta, mono[number - 1] + offset, at + offset + delta))
            offset += delta
        recorded.append(Quote(at + offset, quote.bid, quote.ask, quote.is_stale, quote.symbol))
        heard = at
        if quote.is_stale and draw(st.booleans()):
            silent = draw(st.integers(0, 3000))
            # From no time before the quote before it; the first of an instrument stays where it is.
            heard = max(seen.get(quote.symbol, at), at - silent)
            silences.append({"venue": "testex", "symbol": quote.symbol, "capture_seq": number, "silent_ns": silent})
        seen[quote.symbol] = heard
        true.append(Quote(heard, quote.bid, quote.ask, quote.is_stale, quote.symbol))
    return (
        recorded,
        true,
        analysis.FeedEvidence(steps, pl.DataFrame(silences, schema=SILENCE_SCHEMA), (recorded[-1].time or 0) + 10**9),
    )


@given(stepped(), st.sampled_from([1, 3, 1000]))
def test_lengths_are_those_of_a_monotonic_clock(
    drawn: tuple[list[Quote], list[Quote], analysis.FeedEvidence], batch_rows: int
) -> None:
    recorded, true, evidence = drawn
    stepped_by = sum(each.delta_ns for each in evidence.steps)
    end = evidence.last_ns
    end_mono = end - stepped_by
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.quote_durations.BATCH_ROWS", batch_rows)
        found = analysis.spreads(frame_of(recorded), end_ns=end, evidence=evidence)
    for row in found.iter_rows(named=True):
        mine = [quote for quote in true if quote.symbol == row["symbol"]]
        expected = summary(list(stretches(mine, "recv", None, end_mono, counts_end=False)))
        for name in ("covered_s", "valid_s"):
            assert row[name] == float(expected[name]), name
        assert row["stale_share"] == pytest.approx(float(expected["stale_share"] or 0))
        assert row["top_changes"] == expected["top_changes"]
