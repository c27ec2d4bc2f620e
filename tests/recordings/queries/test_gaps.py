"""The stretches that a recording is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recordings.queries.clock_steps import ClockStep, elapsed_ns
from recordings.queries.gaps import find_gaps
from recordings.storage.lock import FolderLock
from tests.analysis.tapes import make_recording
from tests.hand_recorder import STEP, HandRecorder
from tests.manifests import change_fields
from tests.tapes import SECOND, TS
from toolkit.errors import NotARecording, SymbolError
from toolkit.frames import CONTROL, Frame, control_payload

COLUMNS = ["venue", "symbol", "trading_pair", "stream", "kind", "cause", "ts_start", "ts_end", "seconds", "capture_seq"]


def event(
    seq: int, kind: str, cause: str = "", start: int | None = None, end: int | None = None, **more: Any
) -> dict[str, Any]:
    times = {name: None if at is None else TS + at * SECOND for name, at in (("ts_start", start), ("ts_end", end))}
    return {"ts_recv": TS + seq, "capture_seq": seq, "kind": kind, "cause": cause, "stream": "full", **times, **more}


def found(folder: Path, *events: dict[str, Any], pairs: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    make_recording(folder, {"events": list(events)})
    frame = find_gaps(folder, pairs)
    assert frame.columns == COLUMNS
    return frame.select("kind", "stream", "cause", "seconds").rows()


def test_a_stale_stream_that_came_back_is_one_gap(tmp_path: Path) -> None:
    rows = found(tmp_path, event(1, "stale", "silence", 0), event(2, "notice"), event(3, "gap", "silence", 0, 3))
    assert rows == [("gap", "full", "silence", 3.0)]


def test_a_stale_stream_that_did_not_come_back_has_no_end(tmp_path: Path) -> None:
    assert found(tmp_path, event(1, "stale", "disconnect", 0)) == [("stale", "full", "disconnect", None)]


def test_the_end_that_was_meant_is_no_gap(tmp_path: Path) -> None:
    assert found(tmp_path, event(1, "stale", "stop", 0)) == []
    assert found(tmp_path / "other") == []


def test_a_gap_that_was_withdrawn_is_none(tmp_path: Path) -> None:
    """Of several with the same times as many as were withdrawn; those of other streams and times stay."""
    rows = found(
        tmp_path,
        event(1, "gap", "sequence", 0, 3, stream="trades"),
        event(2, "notice", "out_of_order", 0, 3, stream="trades"),
        event(3, "gap", "sequence", 4, 4, stream="trades"),
        event(4, "gap", "sequence", 4, 4, stream="trades"),
        event(5, "notice", "out_of_order", 4, 4, stream="trades"),
        event(6, "gap", "sequence", 0, 3),
        event(7, "notice", "out_of_order", 9, 9),
    )
    assert rows == [("gap", "full", "sequence", 3.0), ("gap", "trades", "sequence", 0.0)]


@pytest.mark.parametrize("asked", [{"venues": "hyperliquid"}, {"trading_pairs": "BTC"}, {"trading_pairs": "BTC-USD"}])
def test_gaps_of_what_is_not_sealed_are_found_by_venue_and_by_pair(tmp_path: Path, asked: dict[str, Any]) -> None:
    """Nothing of the recording is sealed, so that its manifest names no symbol yet."""
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    lost = Frame(3, TS + 3 * STEP, 3 * STEP, "hyperliquid", 0, 0, CONTROL, control_payload("disconnected"))
    recorder.give(lost)
    recorder.write(6)
    with FolderLock(tmp_path / "tape"):
        everything = find_gaps(tmp_path / "tape")
        assert everything["kind"].to_list() == ["gap"]
        assert find_gaps(tmp_path / "tape", **asked).equals(everything)
    recorder.end()
    assert find_gaps(tmp_path / "tape", **asked).equals(everything)


def test_a_gap_between_captures_that_overlap_has_no_length(tmp_path: Path) -> None:
    """What comes after it is earlier than what was before: no time lies between them, and none is below zero."""
    make_recording(tmp_path, {"events": [event(1, "gap", "sequence", 9, 3), event(2, "gap", "sequence", 5, 6)]})
    frame = find_gaps(tmp_path)
    assert frame["seconds"].to_list() == [0.0, 1.0]
    assert (frame["ts_start"] <= frame["ts_end"]).all()
    assert frame["ts_start"].is_sorted()


def test_streams_are_told_apart(tmp_path: Path) -> None:
    """The next word of a stream is its own, not the next event."""
    rows = found(
        tmp_path,
        event(1, "stale", "disconnect", 0, stream="bbo"),
        event(2, "stale", "disconnect", 1),
        event(3, "gap", "disconnect", 0, 4, stream="bbo"),
    )
    assert rows == [("gap", "bbo", "disconnect", 4.0), ("stale", "full", "disconnect", None)]


def test_what_a_crash_lost_is_a_gap_of_everything(tmp_path: Path) -> None:
    lost = event(1, "lost", "crash", 0, 2, stream="", symbol="", trading_pair="")
    assert found(tmp_path, lost, pairs=()) == [("lost", "", "crash", 2.0)]


def test_one_pair_alone_with_the_gaps_of_whole_connections(tmp_path: Path) -> None:
    names = {"symbol": "ETH", "trading_pair": "ETH-USD"}
    whole = {"symbol": "", "trading_pair": "", "stream": ""}
    make_recording(
        tmp_path,
        {
            "events": [
                event(1, "gap", "a", 0, 1),
                event(2, "gap", "b", 1, 2, **names),
                event(3, "lost", "c", 2, 3, **whole),
            ]
        },
    )
    change_fields(tmp_path, symbols={"testex/ETH": "ETH-USD", "testex/BTC": "BTC-USD"})
    assert find_gaps(tmp_path, ("ETH-USD",))["cause"].to_list() == ["b", "c"]
    with pytest.raises(SymbolError, match=r"^'X' is not in .*, expected one of BTC-USD, ETH-USD$"):
        find_gaps(tmp_path, ("X",))


@pytest.mark.parametrize("name", ["run[1]", "run*", "run?", "date=2026-01-01", "[!a]"])
def test_the_name_of_a_folder_is_no_pattern(tmp_path: Path, name: str) -> None:
    """Beside the recording stand those that such a pattern would find."""
    for number, other in enumerate(("run1", "run2", "b", name)):
        make_recording(tmp_path / other, {"events": [event(1, "gap", other, 0, number)]})
    assert find_gaps(tmp_path / name)["cause"].to_list() == [name]


def test_a_stream_that_never_spoke_is_missing_since_that_was_noticed(tmp_path: Path) -> None:
    make_recording(tmp_path, {"events": [event(4, "stale", "no_data")]})
    assert find_gaps(tmp_path).select(pl.col("ts_start").cast(pl.Int64), "ts_end").rows() == [(TS + 4, None)]


def test_symbols_of_one_pair_are_told_apart(tmp_path: Path) -> None:
    """Two instruments may have one pair: a gap of one does not close that of the other."""
    rows = found(
        tmp_path,
        event(1, "stale", "disconnect", 0, symbol="A"),
        event(2, "gap", "disconnect", 0, 4, symbol="B"),
    )
    assert rows == [("stale", "full", "disconnect", None), ("gap", "full", "disconnect", 4.0)]


STEPS = [
    ClockStep(10, 1000 * SECOND, TS, TS + 1001 * SECOND),
    ClockStep(20, -30 * SECOND, TS + 1100 * SECOND, TS + 1071 * SECOND),
]


@pytest.mark.parametrize(
    ("start", "end", "seq", "passed"),
    [
        (-5, -1, 9, 4),  # before the first
        (-5, 1003, 10, 8),  # over it
        (1002, 1005, 12, 3),  # between both
        (1060, 1071, 20, 41),  # over the step back
        (1090, 1075, 21, 15),  # over the step back, which makes the end the smaller number
        (1072, 1102, 25, 30),  # the clock gave the first reading twice
        (1102, 1110, 30, 8),  # after all
        (-5, 1110, 30, 145),  # over all
    ],
)
def test_what_passed_is_what_a_monotonic_clock_would_say(start: int, end: int, seq: int, passed: int) -> None:
    found = elapsed_ns(STEPS, TS + start * SECOND, TS + end * SECOND, seq) // SECOND
    assert found == passed


def test_a_folder_that_is_no_recording_raises(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        find_gaps(tmp_path)
