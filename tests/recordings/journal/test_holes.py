"""A journal that is damaged in its middle: what is whole is kept, what is missing is stated, and nothing is deleted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from recordings.care.recovery import recover
from recordings.care.verifying import verify
from recordings.format.frames_to_rows import STREAM_BEGIN
from recordings.format.manifest import Manifest, SourceInfo, read_manifest, write_manifest
from recordings.journal.holes import Moment, lost_frames
from recordings.journal.journal_reader import JournalReader, JournalWriter, journal_path
from recordings.reading.growing import GrowingRecording
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.states.normalizer import Normalizer
from tests.conformance.sessions import one_of_each_folder
from tests.generations import embedded_session
from tests.hand_recorder import HandRecorder
from toolkit.clock import SystemClock
from toolkit.frames import ALL_VENUES, CONTROL, DAMAGED, Frame
from toolkit.messages import EventKind, StreamEvent

VENUES = one_of_each_folder()


def damage(path: Path, batches: Sequence[int]) -> list[bytes]:
    """Flip a bit in the values of some batches; the bytes of each as they are then."""
    reader = JournalReader(path)
    places = [reader.good_bytes for _ in reader.batches()]
    begins = [len(STREAM_BEGIN), *places]
    content = bytearray(path.read_bytes())
    found = []
    for number in batches:
        begin, end = begins[number], places[number]
        content[content.index(b'"', begin, end)] ^= 4  # of a payload: what lies between values is padding
        found.append((begin, end))
    path.write_bytes(content)
    return [bytes(content[begin:end]) for begin, end in found]


def lost(recording: Recording) -> list[StreamEvent]:
    messages = [message for batch in recording.messages(tables=["events"]) for message in batch]
    return [each for each in messages if isinstance(each, StreamEvent) and each.kind is EventKind.LOST]


def frames_of(recording: Recording) -> list[Frame]:
    return [frame for batch in recording.raw_frames() for frame in batch]


def test_a_flipped_bit_costs_one_batch_when_the_journal_is_sealed(tmp_path: Path) -> None:
    """The later frames keep their numbers; what is missing is stated to the frame; the bytes are set aside."""
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(6):
        recorder.write(5)
    recorder.journal.close()
    (bytes_of_batch,) = damage(recorder.journal.path, [2])
    recorder.end()
    recording = Recording.open(tmp_path / "tape")
    found = frames_of(recording)
    assert [frame.capture_seq for frame in found] == list(range(30))
    assert found[:10] + found[15:] == recorder.frames[:10] + recorder.frames[15:]
    assert [(frame.kind, frame.venue) for frame in found[10:15]] == [(CONTROL, ""), *[(DAMAGED, "")] * 4]
    (event,) = lost(recording)
    assert (event.ts_start, event.ts_end) == (recorder.frames[9].ts_recv, recorder.frames[15].ts_recv)
    assert (event.ts_recv, event.capture_seq) == (recorder.frames[9].ts_recv, 10)
    (kept,) = (tmp_path / "tape" / "set-aside").iterdir()
    assert kept.read_bytes() == bytes_of_batch
    assert not journal_path(tmp_path / "tape", 0).exists()
    assert verify(tmp_path / "tape").problems == []


@pytest.mark.parametrize("damaged", [[0], [5], [0, 1, 2], [1, 3, 5], [4, 5]])
def test_wherever_it_is_damaged(tmp_path: Path, damaged: list[int]) -> None:
    """At the beginning, before the next journal, in several places: also what two journals have between them."""
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(6):
        recorder.write(5)
    path = recorder.journal.path
    recorder.rotate()
    damage(path, damaged)
    recorder.seal()
    recorder.write(5)
    recorder.end()
    recording = Recording.open(tmp_path / "tape")
    found = frames_of(recording)
    gone = {seq for number in damaged for seq in range(number * 5, number * 5 + 5)}
    assert [frame.capture_seq for frame in found] == list(range(35))
    assert [frame for frame in found if frame.venue] == [f for f in recorder.frames if f.capture_seq not in gone]
    assert {frame.capture_seq for frame in found if not frame.venue} == gone
    for event in lost(recording):
        before, after = event.capture_seq - 1, next(s for s in range(event.capture_seq, 35) if s not in gone)
        assert event.ts_start == recorder.frames[max(before, 0)].ts_recv
        assert event.ts_end == recorder.frames[after].ts_recv
    assert verify(tmp_path / "tape").problems == []


def test_recover_keeps_what_is_whole_too(tmp_path: Path) -> None:
    """In several journals, the last of which was torn by the crash."""
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(4):
        recorder.write(5)
    first = recorder.journal.path
    recorder.rotate()
    for _ in range(4):
        recorder.write(5)
    second = recorder.journal.path
    recorder.journal.close()
    damage(first, [1])
    damage(second, [0, 3])
    result = recover(tmp_path / "tape", SystemClock())
    assert result.recovered_frames == 25
    assert len(result.set_aside) == 3
    recording = Recording.open(tmp_path / "tape")
    kept = [frame for frame in frames_of(recording) if frame.venue and frame.kind != CONTROL]
    expected = [f for f in recorder.frames if f.capture_seq // 5 not in (1, 4, 7)]
    assert kept == expected
    assert [event.cause for event in lost(recording)] == ["damage", "damage", "crash"]
    assert verify(tmp_path / "tape").problems == []
    assert recover(tmp_path / "tape", SystemClock()).set_aside == []


def test_a_journal_that_is_gone_is_a_hole_like_any_other(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(3):
        recorder.write(5)
        recorder.rotate()
    recorder.write(5)
    recorder.journal.close()
    journal_path(tmp_path / "tape", 1).unlink()
    recover(tmp_path / "tape", SystemClock())
    recording = Recording.open(tmp_path / "tape")
    kept = [frame for frame in frames_of(recording) if frame.venue and frame.kind != CONTROL]
    assert kept == [frame for frame in recorder.frames if not 5 <= frame.capture_seq < 10]
    assert [event.cause for event in lost(recording)] == ["damage", "crash"]
    assert verify(tmp_path / "tape").problems == []


def test_whoever_follows_the_folder_goes_on_behind_the_damage(tmp_path: Path) -> None:
    """And is told the same as the one who comes when it is sealed."""
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(6):
        recorder.write(5)
    damage(recorder.journal.path, [2, 3])
    growing = GrowingRecording(tmp_path / "tape")
    seen = [frame for batch in growing.read() for frame in batch]
    assert [frame.capture_seq for frame in seen] == list(range(30))
    recorder.write(5)
    seen += [frame for batch in growing.read() for frame in batch]
    recorder.end()
    assert seen == frames_of(Recording.open(tmp_path / "tape"))


def test_what_holds_the_place_says_it_to_every_venue() -> None:
    sources = [SourceInfo("hyperliquid", 1, ("BTC-USD",)), SourceInfo("dydx_v4", 1, ("BTC-USD",))]
    normalizer = Normalizer.for_sources(sources)
    frames = lost_frames(Moment(4, 100, 10), Moment(7, 300, 30))
    assert [(frame.capture_seq, frame.ts_recv, frame.venue) for frame in frames] == [(5, 100, ""), (6, 100, "")]
    messages = [message for frame in frames for message in normalizer.messages(frame)]
    assert [(each.venue, each.capture_seq, each.sub_seq) for each in messages] == [
        ("hyperliquid", 5, 0),
        ("dydx_v4", 5, 1),
    ]
    assert lost_frames(Moment(4, 100, 10), Moment(5, 300, 30)) == []


@pytest.mark.slow
@pytest.mark.parametrize("venue", VENUES)
def test_any_batches_of_any_venue_may_be_missing(tmp_path: Path, venue: str) -> None:
    """Connections, subscriptions and answers among them: what is left is sound, and says the same raw and normalized."""
    session = asyncio.run(embedded_session(tmp_path / "session", venue, VENUES[venue][:1], 120))
    frames, rng = frames_of(session), random.Random(7)
    for attempt in range(4):
        folder = tmp_path / f"tape-{attempt}"
        folder.mkdir()
        manifest = Manifest(created_ns=session.manifest.created_ns, sources=session.manifest.sources)
        write_manifest(folder, manifest)
        writer, batches, begin = JournalWriter(folder, 0), 0, 0
        while begin < len(frames):
            end = begin + rng.randint(1, 6)
            for frame in frames[begin:end]:
                writer.append(frame)
            writer.drain()
            begin, batches = end, batches + 1
        writer.close()
        damage(writer.path, sorted(rng.sample(range(batches), batches // 3)))
        Sealer(folder).seal(0, status="sealed")
        found = frames_of(Recording.open(folder))
        kept = [frame for frame in found if frame.venue != ALL_VENUES]
        assert kept == [frame for frame in frames if frame in kept]
        assert len(kept) >= len(frames) // 3
        result = verify(folder)
        assert result.problems == []
        assert result.raw_digest == result.normalized_digest == read_manifest(folder).digest
        assert msgspec.json.encode(result.notes)
