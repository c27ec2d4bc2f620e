"""A seek comes to the state that playing comes to: books of every form, funding, digest, and everything that follows."""

from __future__ import annotations

import itertools
import logging
import random
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.care.compacting import compact
from recordings.care.pruning import prune
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest, write_manifest
from recordings.recording import Recording
from recordings.states import seek_points
from recordings.states.checkpoints import load_checkpoint
from replay.seeking import Start, StartFinder
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from tests.made_once import made_once
from tests.replay.busy_tapes import MS, Tape, sealed
from tests.tapes import SECOND, TS, book_frame, collector_line, import_files, messages_of, trade
from toolkit.books.tracker import TrackerState
from toolkit.clock import ManualClock
from toolkit.errors import SymbolError
from toolkit.messages import Message


@pytest.fixture(autouse=True)
def close_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state every few frames, however small these are."""
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 11)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 0)
    monkeypatch.setattr("recordings.states.checkpoints.TABLES_PER_BYTE", 0)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Start]:
    """Where the replays of a test began to read."""
    found: list[Start] = []
    original = StartFinder.before

    def before(self: StartFinder, ns: int, **options: Any) -> Start:
        start = original(self, ns, **options)
        found.append(start)
        return start

    monkeypatch.setattr(StartFinder, "before", before)
    return found


def busy(folder: Path, seed: int, start_ns: int = TS, frames: int = 180, **options: Any) -> Recording:
    options.setdefault("symbols", ("BTCUSDT",))

    def make(path: Path) -> None:
        sealed(path, Tape(seed, start_ns, **options).make(frames), 1 + frames // 3)

    made_once(folder, make, "busy", seed, start_ns, frames, repr(options))
    return Recording.open(folder)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TrackerState).decode


def in_order(books: TrackerState) -> Any:
    """Everything of the books, pairs in a fixed order."""
    lists = (books.pairs, books.funding, books.instruments)
    return [sorted(each, key=lambda one: (one.venue, one.trading_pair)) for each in lists]


def state(source: ReplayDataSource) -> Any:
    return in_order(source.tracker.export())


class Played:
    """A replay and what it has told."""

    def __init__(self, recordings: list[Recording], **options: Any) -> None:
        self.source = ReplayDataSource(recordings, **options)
        self.seen: list[Message] = []
        self.source.set_message_callback(self.seen.append)


class Whole(Played):
    """All of a replay: with each message the time of the tape, and the books after it."""

    def __init__(self, recordings: list[Recording], **options: Any) -> None:
        super().__init__(recordings, **options)
        self.times: list[int] = []
        self._books = [_encode(self.source.tracker.export())]
        self._pairs: list[list[str]] = [[]]
        self.source.dispatcher.add_callback(self._note)
        self.source.play()

    def _note(self, _: Message) -> None:
        self.times.append(self.source.clock.now_ns)
        self._books.append(_encode(self.source.tracker.export()))
        self._pairs.append(self.source.tracker.trading_pairs)

    def before(self, ns: int) -> tuple[int, Any, list[str]]:
        """How many messages go before that time, the books then, and the pairs heard of."""
        count = bisect_left(self.times, ns)
        return count, in_order(_decode(self._books[count])), self._pairs[count]


def times_of(recordings: list[Recording], count: int, seed: int) -> list[int]:
    """Times at which something is, one before and one after, and some between."""
    stamps = sorted({message.ts_recv for recording in recordings for message in messages_of(recording)})
    draw = random.Random(seed)
    chosen = [draw.choice(stamps) + draw.choice([-1, 0, 1]) for _ in range(count)]
    return [*chosen, draw.randrange(stamps[0], stamps[-1]), stamps[0], stamps[-1] + 1]


def assert_seeks_are_plays(recordings: list[Recording], times: list[int], **options: Any) -> None:
    """One source seeks to and fro; what it comes to, and goes on with, is what playing from the start comes to."""
    whole, mover = Whole(recordings, **options), Played(recordings, **options)
    for number, ns in enumerate(times):
        count, books, pairs = whole.before(ns)
        mover.source.player.seek(ns)
        assert state(mover.source) == books
        assert mover.source.tracker.trading_pairs == pairs
        if mover.source.chain is not None and ns > mover.source.player.tape.first_ns:
            there = Played(recordings, end_ns=ns, **options)
            there.source.play()
            assert there.source.chain is not None
            assert mover.source.chain.hexdigest() == there.source.chain.hexdigest()
        mover.seen.clear()
        if number % 4:
            for _ in range(25):
                mover.source.player.step_message()
            assert mover.seen == whole.seen[count : count + 25]
            continue
        mover.source.play()
        assert mover.seen == whole.seen[count:]
        if whole.source.chain is not None and mover.source.chain is not None:
            assert mover.source.chain.hexdigest() == whole.source.chain.hexdigest()


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("seed", range(2))
def test_a_seek_into_a_segment_is_a_play_to_there(
    tmp_path: Path, starts: list[Start], seed: int, fidelity: Fidelity
) -> None:
    """Of two venues, several segments, forms and clocks that step back; the digest too, and what the protocols remember."""
    recording = busy(tmp_path / "tape", seed)
    times = times_of([recording], 6, seed)
    assert_seeks_are_plays([recording], times, fidelity=fidelity, with_digest=True, batch_rows=(5, None)[seed % 2])
    firsts = {segment.capture_seq_first for segment in recording.manifest.segments}
    assert sum(start.capture_seq not in firsts for start in starts) > 5
    assert verify(recording.path).problems == []


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_seek_of_some_pairs_or_channels_is_a_play_of_them(tmp_path: Path, fidelity: Fidelity) -> None:
    recording = busy(tmp_path / "tape", 3)
    times = times_of([recording], 6, 3)
    assert_seeks_are_plays([recording], times, fidelity=fidelity, trading_pairs=["BTC-USD", "BTC-USDT"])
    assert_seeks_are_plays([recording], times[:4], fidelity=fidelity, channels=["trades", "bbo"])


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("seed", [1])
def test_a_seek_in_recordings_of_other_pairs_is_a_play_to_there(
    tmp_path: Path, starts: list[Start], seed: int, fidelity: Fidelity
) -> None:
    """At the same time, without a word in common: each begins at a state of its own."""
    recordings = [
        busy(tmp_path / "a", seed, coins=("BTC",), symbols=()),
        busy(tmp_path / "b", seed + 50, TS + 30 * MS, coins=("ETH",), symbols=("BTCUSDT",)),
        busy(tmp_path / "c", seed + 90, TS + 90 * MS, coins=(), symbols=("ETHUSDT",)),
    ]
    assert_seeks_are_plays(recordings, times_of(recordings, 5, seed), fidelity=fidelity)
    assert sum(start.capture_seq > 0 for start in starts) > 8


def test_the_time_that_a_clock_stepped_back_from_is_kept(tmp_path: Path, starts: list[Start]) -> None:
    """It decides the order among several: a recording goes on at the time it had reached, also from a state within."""
    recordings = [
        busy(tmp_path / "a", 1, coins=("BTC",), symbols=(), back=0.25),
        busy(tmp_path / "b", 2, coins=("ETH",), symbols=(), back=0.25),
    ]
    end = max(segment.ts_recv_last for each in recordings for segment in each.manifest.segments)
    times = [min(TS + number * MS // 2, end + 1) for number in range(0, 120, 5)]
    assert_seeks_are_plays(recordings, times)
    assert sum(start.capture_seq > 0 for start in starts) > 10


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("seed", [1])
def test_a_seek_behind_a_hole_is_a_play_to_there(
    tmp_path: Path, starts: list[Start], seed: int, fidelity: Fidelity
) -> None:
    """Days of one market: the book begins again behind each hole, so what lies before it need not be read."""
    monday = busy(tmp_path / "monday", seed, frames=100)
    tuesday = busy(tmp_path / "tuesday", seed + 50, TS + 5 * SECOND, frames=100, coins=("BTC",))
    friday = busy(tmp_path / "friday", seed + 90, TS + 9 * SECOND, coins=("BTC", "ETH"))
    recordings = [tuesday, monday, friday]
    times = times_of(recordings, 5, seed)
    holes = {TS + 5 * SECOND, TS + 9 * SECOND}
    times += [ns + delta for ns in holes for delta in (-SECOND, -1, 0, 1)]
    times += [1 + max(each.ts_recv_last for each in day.manifest.segments) for day in (monday, tuesday)]
    assert_seeks_are_plays(recordings, times, fidelity=fidelity)
    starts.clear()
    Played(recordings, fidelity=fidelity).source.player.seek(TS + 9 * SECOND + 100 * MS)
    (only,) = starts  # of Friday: nothing of the days before is read
    assert only.capture_seq > 0


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("seed", [1])
def test_a_seek_where_recordings_take_turns_is_a_play_to_there(tmp_path: Path, seed: int, fidelity: Fidelity) -> None:
    """Two recorders of one market: their messages change one book in turns, which neither's states know."""
    recordings = [
        busy(tmp_path / "a", seed, coins=("BTC", "ETH")),
        busy(tmp_path / "b", seed + 50, TS + 120 * MS, coins=("BTC",)),
        busy(tmp_path / "c", seed + 90, TS + 3 * SECOND, coins=("BTC", "SOL")),
    ]
    assert_seeks_are_plays(recordings, times_of(recordings, 10, seed), fidelity=fidelity)


def test_the_first_of_two_that_take_turns_is_not_played_from_its_start(tmp_path: Path, starts: list[Start]) -> None:
    recordings = [
        busy(tmp_path / "a", 1, coins=("BTC",)),
        busy(tmp_path / "b", 2, TS + 150 * MS, coins=("BTC",)),
    ]
    Played(recordings).source.player.seek(TS + 200 * MS)
    (first,) = starts
    assert first.capture_seq > 0


def test_several_with_a_digest_are_played_from_the_beginning(tmp_path: Path) -> None:
    recordings = [busy(tmp_path / "a", 1, frames=60), busy(tmp_path / "b", 2, TS + 5 * SECOND, frames=60)]
    assert_seeks_are_plays(recordings, times_of(recordings, 4, 1), with_digest=True)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_from_and_loop_begin_within_a_segment(tmp_path: Path, starts: list[Start], fidelity: Fidelity) -> None:
    recording = busy(tmp_path / "tape", 4)
    ns = times_of([recording], 1, 4)[0]
    whole, part = Played([recording]), Played([recording], fidelity=fidelity, start_ns=ns, loop=True)
    whole.source.play()
    stamps = list(itertools.accumulate((message.ts_recv for message in whole.seen), max))
    expected = [message for message, stamp in zip(whole.seen, stamps, strict=True) if stamp >= ns]

    def stop(_: Message) -> None:
        if len(part.seen) == 2 * len(expected):
            part.source.player.stop()

    part.source.dispatcher.add_callback(stop)
    part.source.play()
    assert part.seen == expected * 2
    assert [start.capture_seq > 0 for start in starts] == [True, True]


# -- what may be wrong with the states ---------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _flip(path: Path, places: slice) -> None:
    content = bytearray(path.read_bytes())
    for place in range(*places.indices(len(content))):
        content[place] ^= 0x55
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "states": lambda path: _flip(path, slice(0, -500, 50)),
    "index": lambda path: _flip(path, slice(-60, -24)),
    "tail": lambda path: _flip(path, slice(-24, -16)),
}


@pytest.mark.parametrize(("damage", "fidelity"), list(zip(DAMAGES, FIDELITIES * 3, strict=True)))
def test_a_damaged_state_makes_a_seek_slower_and_never_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, fidelity: Fidelity
) -> None:
    """One line says so, and `verify` finds it; with the state before the segment gone too, all is played."""
    recording = busy(tmp_path / "tape", 5, frames=120)
    times = times_of([recording], 3, 5)
    for segment in recording.manifest.segments:
        assert segment.seek_points is not None
        DAMAGES[damage](recording.path / segment.seek_points.path)
    problems = verify(recording.path).problems
    assert len(problems) == len(recording.manifest.segments)
    assert all(".points" in problem for problem in problems)
    with caplog.at_level(logging.WARNING):
        assert_seeks_are_plays([recording], times, fidelity=fidelity, with_digest=True)
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert all(
        "expected the states within a segment; a seek plays from an earlier one instead" in line for line in lines
    )
    for segment in recording.manifest.segments[1:]:
        assert segment.checkpoint is not None
        _flip(recording.path / segment.checkpoint.path, slice(40, 90, 3))
    assert_seeks_are_plays([recording], times[:2], fidelity=fidelity, with_digest=True)


def test_the_states_of_another_segment_are_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whole files that say what does not belong here."""
    recording = busy(tmp_path / "tape", 6)
    first, second = (recording.path / f"checkpoints/00000{number}.points" for number in (0, 1))
    second.write_bytes(first.read_bytes())
    with caplog.at_level(logging.WARNING):
        assert_seeks_are_plays([recording], times_of([recording], 6, 6), with_digest=True)
    assert "it is of another segment than 1" in caplog.text


def test_the_states_of_another_version_are_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, starts: list[Start]
) -> None:
    """No fault either, so nothing is said."""
    recording = busy(tmp_path / "tape", 6)
    monkeypatch.setattr(seek_points, "_VERSION", seek_points._VERSION + 1)
    with caplog.at_level(logging.WARNING):
        assert_seeks_are_plays([recording], times_of([recording], 4, 6), with_digest=True)
    segments = recording.manifest.segments
    between = {segment.capture_seq_first for segment in segments} | {segments[-1].capture_seq_last + 1}
    assert {start.capture_seq for start in starts} <= between
    assert caplog.text == ""


def test_a_state_of_other_books_is_found_by_verify(tmp_path: Path) -> None:
    """Hashes and index agree, but playing comes to something else: made by a faulty program."""
    recording = busy(tmp_path / "tape", 7)
    segment = recording.manifest.segments[1]
    file = seek_points.open_points(recording.path, segment)
    assert file is not None
    points = seek_points.PointCollector()
    for number, point in enumerate(file.points):
        packed = file.packed(file.points[0]) if number == 1 else file.packed(point)
        points.add(packed, point.capture_seq, point.ts_recv_max)
    made = points.write(recording.path, 1, segment.digest_start, segment.capture_seq_first)
    recording.manifest.segments[1] = msgspec.structs.replace(segment, seek_points=made)
    write_manifest(recording.path, recording.manifest)
    (problem,) = verify(recording.path).problems
    assert problem.startswith(
        f"checkpoints/000001.points holds a state before frame {file.points[1].capture_seq} with digest "
    )


def test_older_protocols_are_played_from_the_start(tmp_path: Path, starts: list[Start]) -> None:
    """Their states would not be those of today's protocol over the same frames; rows are what they were."""
    recording = busy(tmp_path / "tape", 8)
    recording.manifest.sources = [
        msgspec.structs.replace(source, protocol_version=source.protocol_version - 1)
        for source in recording.manifest.sources
    ]
    times = times_of([recording], 5, 8)
    assert_seeks_are_plays([recording], times, fidelity="raw")
    assert {start.capture_seq for start in starts} == {0}
    assert_seeks_are_plays([recording], times, fidelity="normalized")
    assert max(start.capture_seq for start in starts) > 0


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_recording_from_before_there_were_states_opens_and_seeks(tmp_path: Path, fidelity: Fidelity) -> None:
    recordings = [busy(tmp_path / "a", 1, frames=90), busy(tmp_path / "b", 2, TS + 5 * SECOND, frames=90)]
    for recording in recordings:
        manifest = read_manifest(recording.path)
        manifest.segments = [msgspec.structs.replace(segment, seek_points=None) for segment in manifest.segments]
        write_manifest(recording.path, manifest)
    old_ones = [Recording.open(recording.path) for recording in recordings]
    assert_seeks_are_plays(old_ones, times_of(old_ones, 5, 1), fidelity=fidelity)
    assert_seeks_are_plays(old_ones[:1], times_of(old_ones[:1], 5, 2), fidelity=fidelity, with_digest=True)


# -- what else is done to a recording ----------------------------------------------------------------------------------


def points_of(recording: Recording) -> list[int]:
    """The frames before which there is a state within a segment."""
    files = [seek_points.open_points(recording.path, segment) for segment in recording.manifest.segments]
    return [point.capture_seq for file in files if file is not None for point in file.points]


def test_compacting_keeps_the_states_and_those_between_segments(tmp_path: Path) -> None:
    recording = busy(tmp_path / "tape", 9, back=0.3)
    before = points_of(recording)
    firsts = [segment.capture_seq_first for segment in recording.manifest.segments[1:]]
    compact(recording.path)
    joined = Recording.open(recording.path)
    assert len(joined.manifest.segments) == 1
    assert set(before) <= set(points_of(joined)) <= {*before, *firsts}
    assert verify(joined.path).problems == []
    for fidelity in FIDELITIES:
        assert_seeks_are_plays([joined], times_of([joined], 14, 9), fidelity=fidelity, with_digest=True)


def test_many_small_segments_that_are_joined_have_states_between_them(tmp_path: Path) -> None:
    """None was long enough for one of its own."""
    frames = Tape(9).make(90)
    recording = sealed(tmp_path / "tape", frames, 8)
    assert points_of(recording) == []
    compact(recording.path)
    joined = Recording.open(recording.path)
    assert points_of(joined) == list(range(8, len(frames), 8))
    assert verify(joined.path).problems == []
    assert_seeks_are_plays([joined], times_of([joined], 6, 9), with_digest=True)


def test_renormalizing_makes_the_states_anew(tmp_path: Path) -> None:
    recording = busy(tmp_path / "tape", 10)
    before = points_of(recording)
    for segment in recording.manifest.segments:
        assert segment.seek_points is not None
        (recording.path / segment.seek_points.path).unlink()
    renormalize(recording.path)
    again = Recording.open(recording.path)
    assert points_of(again) == before
    assert verify(again.path).problems == []


def test_after_pruning_a_seek_behind_it_still_plays_raw(tmp_path: Path) -> None:
    recording = busy(tmp_path / "tape", 11)
    prune(recording.path, 0.0, ManualClock(TS + 10**6 * SECOND))
    pruned = Recording.open(recording.path)
    ns = pruned.manifest.segments[-1].ts_recv_last
    played, sought = Played([pruned], end_ns=ns), Played([pruned], fidelity="raw")
    played.source.play()
    sought.source.player.seek(ns)
    assert state(sought.source) == state(played.source)
    sought.source.play()
    assert sought.seen


def test_the_state_behind_the_last_segment_is_used(tmp_path: Path, starts: list[Start]) -> None:
    """It is there to record on from."""
    recording = busy(tmp_path / "tape", 12)
    assert recording.manifest.resume is not None
    load_checkpoint(recording.path, recording.manifest.resume)
    end_ns = max(segment.ts_recv_last for segment in recording.manifest.segments)
    assert_seeks_are_plays([recording], [end_ns + 1], with_digest=True)
    assert starts[0].capture_seq == recording.manifest.segments[-1].capture_seq_last + 1


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_pair_that_never_had_a_book_has_none_after_a_seek_over_a_hole(tmp_path: Path, fidelity: Fidelity) -> None:
    """One with trades alone, and one whose trades alone were stale; beside one with a book, which stays, empty."""

    def day(name: str, start_ns: int, *, with_eth: bool) -> Recording:
        ms = start_ns // MS
        coins = ("ETH", "SOL") if with_eth else ()
        content = [collector_line(start_ns + n * MS, book_frame("BTC", ms + n, [(10.0, 1.0)])) for n in range(20)]
        content += [
            collector_line(start_ns + n * MS, {"channel": "trades", "data": [trade(coin, n + ms, ms)]})
            for n in range(20, 40)
            for coin in coins
        ]
        return import_files(tmp_path / name, b"".join(content), segment_frames=11)

    recordings = [
        day("monday", TS, with_eth=True),
        day("tuesday", TS + 5 * SECOND, with_eth=False),
        day("friday", TS + 9 * SECOND, with_eth=True),
    ]
    whole, mover = Whole(recordings, fidelity=fidelity), Played(recordings, fidelity=fidelity)
    assert_seeks_are_plays(recordings, times_of(recordings, 10, 1), fidelity=fidelity)
    mover.source.player.seek(mover.source.player.tape.last_ns + 1)
    assert mover.source.tracker.trading_pairs == whole.source.tracker.trading_pairs == ["BTC-USD"]
    for source in (mover.source, whole.source):
        with pytest.raises(SymbolError, match=r"^no book of 'ETH-USD'; pairs received: BTC-USD$"):
            source.tracker.book("ETH-USD")
