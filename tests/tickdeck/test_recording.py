"""A recording and what people ask of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import analysis
import tickdeck as td
from recordings.recording import Recording as StoredRecording
from tests.analysis.tapes import make_recording
from tests.venue_tapes import KEYS, tape_of_venues


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tape_of_venues(tmp_path_factory.mktemp("tapes") / "both").path


@pytest.fixture(scope="module")
def recording(folder: Path) -> td.Recording:
    return td.open(folder)


def test_it_is_opened_by_any_path_and_is_what_every_function_takes(folder: Path, recording: td.Recording) -> None:
    for path in (folder, str(folder)):
        opened = td.open(path)
        assert (type(opened), opened.path) == (td.Recording, folder)
    assert isinstance(recording, StoredRecording)
    assert td.scan(recording, "trades").collect().height == td.scan(folder, "trades").collect().height > 0
    assert analysis.open_recording(recording) is recording
    assert td.find_gaps(recording).equals(recording.gaps)


def test_its_sealed_part_can_be_asked_the_same(recording: td.Recording) -> None:
    assert recording.sealed_part().quotes().collect().equals(recording.quotes().collect())
    assert isinstance(td.open(recording.path, sealed=True), td.Recording)


def test_it_says_what_is_in_it(recording: td.Recording) -> None:
    assert recording.keys == sorted(KEYS)
    assert recording.pairs == sorted({pair for _, pair in KEYS})
    assert sorted(recording.venues) == sorted({venue for venue, _ in KEYS})
    assert recording.gaps.schema == td.find_gaps(recording).schema


def test_quotes_and_trades_are_those_of_the_tables(recording: td.Recording) -> None:
    quotes = recording.quotes().collect()
    assert quotes.equals(td.scan(recording, "quotes").drop("recording").collect())
    assert {"mid", "spread", "spread_bps", "is_stale"} <= set(quotes.columns)
    every = td.scan(recording, "trades").drop("recording").collect()
    new = every.filter(~pl.col("is_history"), ~pl.col("is_duplicate"))
    assert recording.trades().collect().equals(new)
    assert recording.trades(with_history=True, with_duplicates=True).collect().equals(every)


@pytest.mark.parametrize("table", ["quotes", "trades", "book"])
def test_rows_are_chosen_by_pair_venue_and_time(recording: td.Recording, table: str) -> None:
    every = recording.scan(table).collect()
    one = recording.scan(table, pairs="BTC-USD", venues="dydx_v4").collect()
    assert one.equals(every.filter(pl.col("venue") == "dydx_v4", pl.col("trading_pair") == "BTC-USD"))
    assert one.height
    assert recording.scan(table, pairs=[("dydx_v4", "BTC-USD")]).collect().equals(one)
    named = recording.scan(table, pairs="BTC-USD").collect()
    assert named["venue"].n_unique() == len({venue for venue, pair in KEYS if pair == "BTC-USD"})
    middle = int(every["ts_recv"].cast(pl.Int64).median())  # type: ignore[arg-type]
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=middle // 1000)
    for start in (middle // 1000 * 1000, moment):
        early, late = recording.scan(table, end_ns=start).collect(), recording.scan(table, start_ns=start).collect()
        assert early.height + late.height == every.height
        assert early["ts_recv"].max() < late["ts_recv"].min()  # type: ignore[operator]


def test_events_of_a_whole_connection_come_with_each_of_its_pairs(tmp_path: Path) -> None:
    """A lost connection is a hole in every pair that it carried."""
    rows = [("BTC", "gap"), ("", "disconnect"), ("ETH", "gap")]
    events = [
        {"symbol": symbol, "trading_pair": f"{symbol}-USD" if symbol else "", "kind": kind, "capture_seq": number}
        for number, (symbol, kind) in enumerate(rows)
    ]
    quotes = [{"symbol": symbol, "trading_pair": f"{symbol}-USD"} for symbol in ("BTC", "ETH")]
    tape = td.open(make_recording(tmp_path / "tape", {"events": events, "top": quotes}).path)
    assert sorted(tape.scan("events", pairs="BTC-USD").collect()["kind"]) == ["disconnect", "gap"]
    assert tape.scan("events", pairs=["BTC-USD", "ETH"]).collect().height == 3


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"pairs": "NOPE-USD"}, td.SymbolError, "NOPE-USD"),
        ({"venues": "nowhere"}, td.ConfigError, "nowhere"),
        ({"start_ns": 1_785_000_000}, td.ConfigError, "this looks like s"),
        ({"end_ns": "soon"}, td.ConfigError, "is no time"),
        (
            {"start_ns": "2030-01-01"},
            td.ConfigError,
            r"^the window starts at 2030-\S+, but the recording goes from 2026-",
        ),
        ({"end_ns": "2001-01-01"}, td.ConfigError, r"^the window ends at 2001-\S+, but the recording goes from 2026-"),
        (
            {"start_ns": "2026-07-26", "end_ns": "2026-07-25"},
            td.ConfigError,
            r"^the window ends at 2026-07-25\S+, not after",
        ),
    ],
)
def test_what_is_not_there_is_an_error(recording: td.Recording, asked: dict[str, Any], kind: type, said: str) -> None:
    for ask in (recording.quotes, recording.trades, lambda **chosen: recording.scan("raw", **chosen)):
        if ask != recording.quotes and ask != recording.trades and "pairs" in asked:
            continue
        with pytest.raises(kind, match=said):
            ask(**asked)


def test_frames_are_of_no_pair(recording: td.Recording) -> None:
    with pytest.raises(
        td.ConfigError, match=r"^rows of raw are of no instrument: scan it whole, or filter it by its own"
    ):
        recording.scan("raw", pairs="BTC-USD")
    assert recording.scan("raw", venues="dydx_v4").collect()["venue"].unique().to_list() == ["dydx_v4"]


def test_sql_answers_with_a_frame_and_takes_those_of_the_user(recording: td.Recording) -> None:
    count = recording.sql("SELECT count(*) AS n FROM trades")["n"].item()
    assert count == td.scan(recording, "trades").collect().height
    mine = pl.DataFrame({"symbol": ["BTC"], "mark": ["m"]})
    for frame in (mine, mine.lazy()):
        found = recording.sql(
            "SELECT mark, count(*) AS n FROM trades JOIN mine USING (symbol) GROUP BY ALL", mine=frame
        )
        assert found["mark"].to_list() == ["m"]
    for name in ("trades", "QUOTES", "gaps"):
        with pytest.raises(td.ConfigError, match=rf"^a frame is called '{name}', as a view of the recording is"):
            recording.sql("SELECT 1", **{name: mine})
    with pytest.raises(td.ConfigError, match=r"^expected one query, found 2 statements"):
        recording.sql("SELECT 1; SELECT 2")


def test_it_is_replayed_with_or_without_a_callback(folder: Path, recording: td.Recording) -> None:
    seen: dict[str, list[td.Message]] = {"method": [], "function": [], "source": []}
    recording.replay(seen["method"].append).play()
    td.replay(str(folder), seen["function"].append, speed="max").play()
    source = td.replay([folder])
    assert isinstance(source, td.ReplayDataSource)
    source.set_message_callback(seen["source"].append)
    source.play()
    assert seen["method"] == seen["function"] == seen["source"] != []
    chosen: list[td.Message] = []
    recording.replay(chosen.append, trading_pairs=["BTC-USD"], venues="dydx_v4", channels="trades").play()
    assert {message.key for message in chosen if isinstance(message, td.Trade)} == {("dydx_v4", "BTC-USD")}


@pytest.mark.parametrize("given", [["a", "b"], None, 5, {"a"}, b"tapes", ("a",)], ids=repr)
def test_a_list_where_one_recording_is_expected_is_one_clear_error(given: Any) -> None:
    """In every function that takes one; those that take several refuse what is neither."""
    said = r"^expected one recording, open or by its folder, received a \w+$"
    for ask in (td.open, td.find_gaps, td.verify, td.FollowDataSource, td.latency, td.spread_window, td.pnl_report):
        with pytest.raises(td.ConfigError, match=said):
            ask(given)
    if not isinstance(given, list | tuple | set):
        for several in (lambda each: td.replay(each).play(), lambda each: td.scan(each, "trades"), td.connect):
            with pytest.raises(td.ConfigError, match=said):
                several(given)


def test_what_a_notebook_prints_is_one_line(folder: Path, recording: td.Recording) -> None:
    text = repr(recording)
    assert text.startswith(f"<Recording {folder}: ")
    assert "BTC-USD on dydx_v4" in text
    assert text.endswith("frames (sealed)>")
    source = recording.replay()
    assert repr(source) == f"<ReplayDataSource {folder} (normalized): not opened yet>"
    market = source.market
    source.set_message_callback(lambda message: None)
    source.play()
    window = td.spread_window(recording)
    for each in (source, market, source.tracker, source.player, source.clock, window, td.FollowDataSource(folder)):
        line = repr(each)
        assert line.startswith(f"<{type(each).__name__} ")
        assert line.endswith(">")
        assert "\n" not in line
        assert " at 0x" not in line
    assert str(folder) in repr(market)
    assert "of 6 books: BTC-USD on binance-coinm, " in repr(source.tracker)


def test_completion_shows_public_names(recording: td.Recording) -> None:
    source = recording.replay()
    names = {"quotes", "trades", "scan", "sql", "replay", "pairs", "venues", "gaps", "keys", "span"}
    assert names <= set(dir(recording))
    for each in (recording, source, source.tracker, source.clock, td.OrderBook(), td.UserStreamTracker()):
        assert [name for name in dir(each) if name.startswith("_")] == []
        assert dir(each)
