"""Compiled code makes of frames exactly what the protocol makes of them, however they are damaged, cut and mixed."""

from __future__ import annotations

import cProfile
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.recordings.batch_tapes import by_batch
from tests.toolkit.venues.binance_tapes import CAPTURES, REPLACEMENTS, STEPS, Tape, both, capture, renumbered
from toolkit.protocol import ProtocolOptions

FEW = settings(max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("count", [12_000, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("venue", CAPTURES)
def test_captures_come_out_the_same(shared_data: Path, venue: str, count: int | None) -> None:
    """The whole ones across midnight and files too; nearly every frame is taken by compiled code, else this tests nothing."""
    frames = capture(shared_data, venue, count)
    _, taken = both(venue, frames, range(0, len(frames), 7001), in_files=True)
    assert taken > 0.99 * len(frames)


@FEW
@given(
    st.sampled_from(["binance-usdm", "binance-spot"]),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from(["BTCUSDT", "BTCUSDT", "ETHUSDT"])), max_size=60
    ),
    st.lists(st.integers(1, 80), max_size=6),
)
def test_whatever_happens_in_a_session_comes_out_the_same(
    venue: str, is_live: bool, steps: list[tuple[str, str]], cuts: list[int]
) -> None:
    """Gaps, losses, refreshes, other prices, emptied and crossed books, repeated trades, frames for others."""
    options = ProtocolOptions(pairs=("BTCUSDT", "ETHUSDT")) if is_live else None
    tape = Tape(venue)
    for symbol in tape.last:
        tape.diff(symbol)
        tape.snapshot(symbol, 0)
        tape.diff(symbol)
        tape.quote(symbol)
        tape.trades(symbol)
    for name, symbol in steps:
        STEPS[name](tape, symbol)
    both(venue, tape.frames, cuts, options)


def test_a_good_session_is_taken_by_compiled_code() -> None:
    """Only what comes first of each stream is not, nor what is out of the ordinary."""
    tape = Tape("binance-usdm")
    for symbol in tape.last:
        tape.diff(symbol)
        tape.snapshot(symbol, 0)
    for _ in range(50):
        for symbol in tape.last:
            tape.diff(symbol)
            tape.quote(symbol)
            tape.trades(symbol)
            tape.aggregate(symbol)
    _, taken = both("binance-usdm", tape.frames, [50, 51, 200])
    assert taken >= len(tape.frames) - 16


def _of_many(count: int, rounds: int, *, has_snapshots: bool) -> Tape:
    """A session of so many instruments, one of which begins after the other while those before go on."""
    symbols = [f"S{number}USDT" for number in range(count)]
    tape = Tape("binance-usdm", symbols)
    for begun in range(1, count + 1):
        new = symbols[begun - 1]
        tape.diff(new)
        if has_snapshots:
            tape.snapshot(new, 0)
        for symbol in symbols[max(begun - 3, 0) : begun]:
            tape.diff(symbol)
            tape.quote(symbol)
            tape.trades(symbol)
    for _ in range(rounds):
        for symbol in symbols:
            tape.diff(symbol)
            tape.quote(symbol)
    return tape


@pytest.mark.parametrize("has_snapshots", [False, True])
def test_instruments_that_begin_among_others_come_out_the_same(has_snapshots: bool) -> None:
    """Nearly all frames are taken, however many instruments there are."""
    tape = _of_many(30, 12, has_snapshots=has_snapshots)
    _, taken = both("binance-usdm", tape.frames, [17, 60, 61, 300])
    assert taken > 0.6 * len(tape.frames)


@pytest.mark.parametrize("has_snapshots", [False, True])
def test_the_work_of_a_frame_does_not_grow_with_the_number_of_instruments(has_snapshots: bool) -> None:
    """An instrument that begins takes in its own book, and none of the others'."""
    calls = []
    for count in (20, 80):
        frames = _of_many(count, 4, has_snapshots=has_snapshots).frames
        profile = cProfile.Profile()
        with tempfile.TemporaryDirectory() as folder:
            profile.enable()
            by_batch(Path(folder), ["binance-usdm"], frames, [len(frames) // 2])
            profile.disable()
        calls.append(sum(entry.callcount for entry in profile.getstats()) / len(frames))
    assert calls[1] < 1.3 * calls[0], calls


@FEW
@given(
    st.sampled_from(["binance-usdm", "binance-spot"]),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from(["BTCUSDT", "BTCUSDT", "ETHUSDT"])), max_size=60
    ),
    st.lists(st.integers(1, 80), max_size=6),
)
def test_a_session_that_begins_without_a_snapshot_comes_out_the_same(
    venue: str, is_live: bool, steps: list[tuple[str, str]], cuts: list[int]
) -> None:
    """Diffs wait, until one comes that they meet; what waits stands in each checkpoint."""
    tape = Tape(venue)
    for name, symbol in [("diff", "BTCUSDT"), ("diff", "ETHUSDT"), ("diff", "BTCUSDT"), *steps]:
        STEPS[name](tape, symbol)
    both(venue, tape.frames, cuts, ProtocolOptions(pairs=("BTCUSDT", "ETHUSDT")) if is_live else None)


@pytest.mark.parametrize("venue", CAPTURES)
@pytest.mark.parametrize("moved", [None, 2000])
def test_a_capture_whose_snapshot_is_missing_or_late_comes_out_the_same(
    shared_data: Path, venue: str, moved: int | None
) -> None:
    """And compiled code takes nearly all of it: with the wait told after ten seconds, and more diffs than are kept."""
    frames = capture(shared_data, venue, 6000)
    found = [frame for frame in frames if b"lastUpdateId" in frame.payload[:40]]
    assert found, "the capture has a snapshot"
    frames = [frame for frame in frames if b"lastUpdateId" not in frame.payload[:40]]
    if moved is not None:
        late = frames[moved]
        frames.insert(moved, msgspec.structs.replace(found[0], ts_recv=late.ts_recv, ts_mono=late.ts_mono))
    _, taken = both(venue, renumbered(frames), range(0, len(frames), 1701))
    assert taken > 0.98 * len(frames)


def test_diffs_that_wait_are_kept_as_far_as_a_snapshot_may_reach_back() -> None:
    """A snapshot that is a thousand diffs old is met by those that compiled code had taken; one older than that is not."""
    for back, diffs in ((1000, 1500), (1030, 1500)):
        tape = Tape("binance-usdm")
        for count in range(diffs):
            tape.diff("BTCUSDT")
            if count == diffs - back:
                meeting = tape.last["BTCUSDT"]
        newest, tape.last["BTCUSDT"] = tape.last["BTCUSDT"], meeting
        tape.snapshot("BTCUSDT", 0)
        tape.last["BTCUSDT"] = newest
        tape.diff("BTCUSDT")
        (*_, tables), taken = both("binance-usdm", tape.frames, [700])
        assert taken > diffs - 10
        forms = Counter(form for group in tables["book"] for form in group.column("form").to_pylist())
        assert (forms["full"] > 1000) == (back == 1000)


@pytest.mark.parametrize("venue", CAPTURES)
@pytest.mark.parametrize(
    "steps",
    [
        ["lost", "snapshot", "diff", "diff"],
        ["lost", "snapshot", "quote", "trade", "diff", "diff", "snapshot ahead"],
        ["diff", "session end", "snapshot", "diff", "diff", "snapshot"],
    ],
)
def test_the_first_diff_after_a_loss_ends_it(venue: str, steps: list[str]) -> None:
    """Where a snapshot comes before it, compiled code could take it: what follows would count as cut off for ever."""
    tape = Tape(venue)
    for symbol in tape.last:
        tape.diff(symbol)
        tape.snapshot(symbol, 0)
        tape.diff(symbol)
    for name in steps:
        for symbol in tape.last:
            STEPS[name](tape, symbol)
    both(venue, tape.frames, [])


@FEW
@given(st.data())
def test_damaged_frames_come_out_the_same(shared_data: Path, data: st.DataObject) -> None:
    """Real frames with bytes changed, cut off, doubled, left out and in another order."""
    venue = data.draw(st.sampled_from(sorted(CAPTURES)))
    frames = capture(shared_data, venue, 400)
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, len(frames) - 2))
        payload = frames[place].payload
        last = max(len(payload) - 1, 0)  # it may have been cut to nothing
        match data.draw(st.sampled_from(["byte", "cut", "double", "drop", "swap", "text"])):
            case "byte":
                at = data.draw(st.integers(0, last))
                byte = data.draw(st.sampled_from(b'0123456789.,:"[]{}eE-+tfnu \\\xff\n'))
                payload = payload[:at] + bytes([byte]) + payload[at + 1 :]
            case "cut":
                payload = payload[: data.draw(st.integers(0, last))]
            case "text":
                old, new = data.draw(st.sampled_from(REPLACEMENTS))
                payload = payload.replace(old, new, 1)
            case "double":
                frames.insert(place, frames[place])
            case "drop":
                del frames[place]
            case _:
                frames[place : place + 2] = frames[place + 1], frames[place]
        if place < len(frames):
            frames[place] = msgspec.structs.replace(frames[place], payload=payload)
    both(venue, renumbered(frames), data.draw(st.lists(st.integers(1, 400), max_size=3)))
