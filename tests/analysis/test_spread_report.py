"""Spreads of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analysis
from recordings.recording import Recording
from tests.analysis.tapes import make_recording
from toolkit.errors import ConfigError, SymbolError

B = 1_700_000_000_000_000_000
S = 10**9
ETH: dict[str, Any] = {"symbol": "ETH", "trading_pair": "ETH-USD"}


def top(second: int, bid: float | None = 100.0, ask: float | None = 101.0, **more: Any) -> dict[str, Any]:
    return {"ts_recv": B + second * S, "capture_seq": second, "bid_price": bid, "ask_price": ask, **more}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Two segments, two pairs; trades go on for ten seconds after the last quote."""
    return make_recording(
        tmp_path / "tape",
        {
            "top": [top(0), top(4, ask=103.0), top(2, **ETH)],
            "instruments": [{"price_tick": 1.0}],
            "book": [
                {"ts_recv": B, "price": 100.5},
                {"ts_recv": B, "is_first": False},
                {"ts_recv": B + 3 * S, "capture_seq": 1},
            ],
            "bbo": [{"ts_recv": B + S}, {"ts_recv": B + 12 * S, "capture_seq": 1, "fused": False}],
        },
        {
            "top": [top(10)],
            "trades": [
                {"ts_recv": B + 11 * S, "capture_seq": 11},
                {"ts_recv": B + 11 * S, "capture_seq": 11, "sub_seq": 1, "is_history": True},
                {"ts_recv": B + 12 * S, "capture_seq": 12, "is_duplicate": True},
                {"ts_recv": B + 20 * S, "capture_seq": 20},
            ],
        },
    )


def report(recording: Recording, **options: Any) -> dict[str, dict[str, Any]]:
    found = analysis.spread_window(recording, **options).report()
    assert found.schema == analysis.REPORT_SCHEMA
    return {row["trading_pair"]: row for row in found.iter_rows(named=True)}


def test_the_last_quote_holds_until_the_end_of_the_recording(recording: Recording) -> None:
    """Across segments, and beyond the newest row of `top`."""
    btc = report(recording)["BTC-USD"]
    assert btc["covered_s"] == 20.0
    assert btc["spread_mean"] == pytest.approx((4 * 1 + 6 * 3 + 10 * 1) / 20)
    assert (btc["one_tick_share"], btc["tick"], btc["tick_source"]) == (0.7, 1.0, "instrument")


def test_updates_are_counted_by_what_they_are(recording: Recording) -> None:
    btc = report(recording)["BTC-USD"]
    counts = ("top_changes", "book_messages", "quotes", "trades_new", "trades_history", "trades_duplicate")
    assert [btc[name] for name in counts] == [3, 2, 2, 2, 1, 1]
    eth = report(recording)["ETH-USD"]
    assert [eth[name] for name in counts] == [1, 0, 0, 0, 0, 0]


def test_the_newest_message_of_the_book_is_reported(recording: Recording) -> None:
    """A quote of another book says nothing about this one."""
    found = analysis.spread_window(recording).report()["ts_book_last"]
    assert found.dt.epoch("ns").to_list() == [B + 3 * S, None]


def test_a_window_cuts_time_and_counts(recording: Recording) -> None:
    """The quote that stands at the start counts from there; the end is not part of it."""
    btc = report(recording, start_ns=B + 2 * S, end_ns=B + 10 * S)["BTC-USD"]
    assert (btc["covered_s"], btc["top_changes"], btc["book_messages"], btc["trades_new"]) == (8.0, 1, 1, 0)
    assert btc["spread_mean"] == pytest.approx((2 * 1 + 6 * 3) / 8)


def test_an_end_beyond_the_recording_is_the_recordings(recording: Recording) -> None:
    assert report(recording, end_ns=B + 1000 * S) == report(recording)


@pytest.mark.parametrize("name", ["ETH-USD", "ETH"])
def test_pairs_are_chosen_by_either_name(recording: Recording, name: str) -> None:
    assert list(report(recording, pairs=[name])) == ["ETH-USD"]


def test_an_unknown_pair_is_said_with_those_there_are(recording: Recording) -> None:
    with pytest.raises(SymbolError, match=r"^no book of SOL-USD in the recording; pairs with one: BTC-USD, ETH-USD$"):
        analysis.spread_window(recording, pairs=["SOL-USD"])


def test_a_window_outside_of_the_recording_is_refused(recording: Recording) -> None:
    message = r"^the window starts at 2023-11-14T22:13:40.000000000Z, but the recording ends at 2023-11-14T22:13:40\.0"
    with pytest.raises(ConfigError, match=message):
        analysis.spread_window(recording, start_ns=B + 20 * S)
    with pytest.raises(ConfigError, match=r"^the window ends at .*, not after its start at "):
        analysis.spread_window(recording, start_ns=B + 5 * S, end_ns=B + 5 * S)
    with pytest.raises(ConfigError, match=r"^start_ns is 1700000000; .*this looks like s: write 1700000000000000000 "):
        analysis.spread_window(recording, start_ns=B // S)


def test_a_clock_that_the_venue_does_not_have_is_said(recording: Recording) -> None:
    with pytest.raises(ConfigError, match=r"^no quote of .* has a time on the event clock$"):
        analysis.spread_window(recording, clock="event")


def test_rows_without_a_venue_time_are_counted(tmp_path: Path) -> None:
    rows = [top(0, ts_event=B), top(1), top(3, ts_event=B + 7)]
    found = report(make_recording(tmp_path / "tape", {"top": rows}), clock="event")["BTC-USD"]
    assert (found["untimed_count"], found["covered_s"]) == (1, 7e-9)


def test_rows_without_a_venue_time_are_those_of_the_window(tmp_path: Path) -> None:
    """On our clock by their receipt; on the venue's by the newest time before them."""
    rows = [top(0, ts_event=B), top(1), top(3), top(5, ts_event=B + 5 * S), top(6)]
    tape = make_recording(tmp_path / "tape", {"top": rows})
    counts = [
        report(tape, clock=clock, start_ns=B + 2 * S, end_ns=B + 7 * S)["BTC-USD"]["untimed_count"]
        for clock in ("recv", "event")
    ]
    assert counts == [2, 1]


def test_on_the_venue_clock_the_newest_thing_it_spoke_of_is_the_end(tmp_path: Path) -> None:
    tables = {"top": [top(0, ts_event=B), top(1, ts_event=B + S)], "trades": [{"ts_recv": B, "ts_event": B + 4 * S}]}
    assert report(make_recording(tmp_path / "tape", tables), clock="event")["BTC-USD"]["covered_s"] == 4.0


def test_a_recording_without_books_gives_no_rows(tmp_path: Path) -> None:
    window = analysis.spread_window(make_recording(tmp_path / "tape", {"trades": [{}]}))
    assert window.report().schema == analysis.REPORT_SCHEMA
    assert window.report().is_empty()
    assert window.series(S).collect().is_empty()


def test_the_series_covers_the_same_time(recording: Recording) -> None:
    """Twenty seconds of BTC from its first quote, eighteen of ETH."""
    series = analysis.spread_window(recording).series(S).collect()
    covered = {
        symbol: part["covered_s"].sum() for (symbol,), part in series.partition_by("symbol", as_dict=True).items()
    }
    assert covered == {"BTC": 20.0, "ETH": 18.0}


def test_the_archive_hour_has_the_spreads_it_had(shared_data: Path, tmp_path: Path) -> None:
    """An hour of BTC on Hyperliquid: 5,587 snapshots, a tick of 1, never crossed."""
    from recordings.importing.importer import ImportOptions, import_capture

    file = shared_data / "hyperliquid" / "archive_20240101_12_l2Book_BTC.lz4"
    import_capture([file], tmp_path / "tape", ImportOptions(venue="hyperliquid", line_format="archive"))
    btc = report(Recording.open(tmp_path / "tape"))["BTC-USD"]
    assert (btc["book_messages"], btc["crossed_share"], btc["stale_share"], btc["tick"]) == (5587, 0.0, 0.0, 1.0)
    assert (btc["spread_min"], btc["spread_median"], btc["spread_max"]) == (1.0, 2.0, 26.0)
    assert btc["spread_mean"] == pytest.approx(2.490865, abs=1e-6)
