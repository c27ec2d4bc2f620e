"""The recorder: sessions that follow each other, folders that are taken, and failures that lose nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.format.manifest import Manifest, read_manifest, write_manifest
from recordings.journal.journal_writer import JournalWriter
from recordings.queries.gaps import find_gaps
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from replay.embedded import EmbeddedVenue
from tests.deadlines import within_deadline
from tests.live_tapes import QUICK, recorder_for, started
from tests.tapes import bbo_frame, collector_line, import_files, messages_of, seen_in_replay
from toolkit.clock import SystemClock
from toolkit.errors import BackpressureError, ConfigError, RecordingLocked, TickdeckError
from toolkit.messages import BookSnapshot, EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

PAIRS = ("BTC-USD", "PURR-USDC")


async def session(folder: Path, *, seed: int = 1, books: int = 10) -> Manifest:
    async with EmbeddedVenue(seed=seed, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(folder, venue, PAIRS)
        run, listener = await started(recorder)
        await listener.until(BookSnapshot, books)
        recorder.stop()
        return await run


def test_a_recording_is_continued_as_one(tmp_path: Path) -> None:
    """One numbering, one digest, one gap where nothing was recorded; connections keep their own numbers."""
    within_deadline(session(tmp_path / "tape"))
    before = read_manifest(tmp_path / "tape")
    within_deadline(session(tmp_path / "tape", seed=2))
    after = read_manifest(tmp_path / "tape")
    assert after.segments[: len(before.segments)] == before.segments
    assert len(after.segments) > len(before.segments)
    result = verify(tmp_path / "tape")
    assert result.problems == []
    assert result.live_digest == result.raw_digest == result.normalized_digest
    recording = Recording.open(tmp_path / "tape")
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    assert [frame.capture_seq for frame in frames] == list(range(len(frames)))
    first_of_second = before.segments[-1].capture_seq_last + 1
    assert not {frame.conn_id for frame in frames[:first_of_second] if frame.conn_id >= 0} & {
        frame.conn_id for frame in frames[first_of_second:] if frame.conn_id >= 0
    }
    gaps = [m for m in messages_of(recording) if isinstance(m, StreamEvent) and m.kind is EventKind.GAP]
    assert {gap.cause for gap in gaps} == {"stop"}
    assert {gap.trading_pair for gap in gaps} == set(PAIRS)
    assert seen_in_replay(recording, "raw") == seen_in_replay(recording, "normalized")


def test_a_folder_of_something_else_is_not_taken(tmp_path: Path) -> None:
    spec = find_venue("hyperliquid")

    def record(folder: Path, *pairs: str) -> str:
        request = VenueRequest(spec=spec, options=ProtocolOptions(pairs=pairs or PAIRS), ws_url="ws://127.0.0.1:9")
        recorder = Recorder(options=RecorderOptions(folder=folder, venues=(request,)))
        with pytest.raises(TickdeckError) as caught:
            asyncio.run(recorder.run())
        assert "\n" not in str(caught.value)
        return f"{type(caught.value).__name__}: {caught.value}"

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert record(tmp_path / "full").endswith("full is not empty and not a recording: name another folder")
    (tmp_path / "file").write_text("x")
    assert record(tmp_path / "file").startswith("RecordingError: ")
    import_files(tmp_path / "import", collector_line(10**18 + 7 * 10**17, bbo_frame("BTC", 5)))
    assert record(tmp_path / "import").endswith("import holds an import: record into another folder")
    within_deadline(session(tmp_path / "tape", books=2))
    other = record(tmp_path / "tape", "ETH-USD")
    assert "was recorded with pairs BTC-USD PURR-USDC of hyperliquid, now ETH-USD were named: name the same" in other
    change_source(tmp_path / "tape", channels=("bbo",))
    assert "was recorded with channels bbo of hyperliquid, now none were named" in record(tmp_path / "tape")
    change_source(tmp_path / "tape", channels=(), accounts=("0x12",))
    assert "was recorded with accounts 0x12 of hyperliquid, now none were named" in record(tmp_path / "tape")
    change_source(tmp_path / "tape", accounts=(), protocol_version=1)
    assert record(tmp_path / "tape").endswith("tape` first, or name another folder")
    change_source(tmp_path / "tape", protocol_version=2)
    assert verify(tmp_path / "tape").is_sound


def change_source(folder: Path, **fields: Any) -> None:
    manifest = read_manifest(folder)
    manifest.sources[0] = msgspec.structs.replace(manifest.sources[0], **fields)
    write_manifest(folder, manifest)


def test_only_one_process_writes_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    with FolderLock(tmp_path / "tape"), pytest.raises(RecordingLocked, match=r"is being written by process \d+: "):
        within_deadline(session(tmp_path / "tape"))


def test_a_venue_cannot_be_named_twice(tmp_path: Path) -> None:
    request = VenueRequest(spec=find_venue("hyperliquid"), options=ProtocolOptions(pairs=PAIRS))
    recorder = Recorder(options=RecorderOptions(folder=tmp_path / "tape", venues=(request, request)))
    with pytest.raises(ConfigError, match=r"^a venue is named twice: name all of its pairs together$"):
        asyncio.run(recorder.run())


async def failing_session(folder: Path, error: Exception) -> None:
    async with EmbeddedVenue(seed=1, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(folder, venue, PAIRS)
        run, _ = await started(recorder)
        count = 0

        def fail(message: Message) -> None:
            nonlocal count
            count += isinstance(message, BookSnapshot)
            if count == 8:
                raise error

        recorder.dispatcher.add_callback(fail)
        await run


def test_a_callback_that_fails_ends_the_session_and_all_that_came_is_sealed(tmp_path: Path) -> None:
    """With the failure raised, and told in the recording."""
    with pytest.raises(ZeroDivisionError, match=r"^my strategy$"):
        within_deadline(failing_session(tmp_path / "tape", ZeroDivisionError("my strategy")))
    manifest = read_manifest(tmp_path / "tape")
    assert manifest.status == "sealed"
    assert verify(tmp_path / "tape").problems == []
    end = [m for m in messages_of(Recording.open(tmp_path / "tape")) if isinstance(m, StreamEvent)][-1]
    ends = [
        m.cause
        for m in messages_of(Recording.open(tmp_path / "tape"))
        if isinstance(m, StreamEvent) and m.kind is EventKind.SESSION_END
    ]
    assert (ends, end.cause) == (["ZeroDivisionError"], "ZeroDivisionError")


async def ending_session(folder: Path) -> None:
    async with EmbeddedVenue(seed=1, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(folder, venue, PAIRS)

        def fail(message: Message) -> None:
            if isinstance(message, StreamEvent) and message.kind is EventKind.SESSION_END:
                raise ZeroDivisionError("at the last word")

        recorder.dispatcher.add_callback(fail)
        run, listener = await started(recorder)
        await listener.until(BookSnapshot, 4)
        recorder.stop()
        await run


def test_a_callback_that_fails_at_the_end_does_not_keep_the_recording_open(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match=r"^at the last word$"):
        within_deadline(ending_session(tmp_path / "tape"))
    assert read_manifest(tmp_path / "tape").status == "sealed"
    assert verify(tmp_path / "tape").problems == []


async def crowded_session(folder: Path) -> None:
    async with EmbeddedVenue(seed=1, clock=SystemClock(), options=QUICK) as venue:
        request = VenueRequest(
            spec=find_venue("hyperliquid"),
            options=ProtocolOptions(pairs=PAIRS),
            ws_url=venue.ws_url,
            rest_url=venue.rest_url,
        )
        options = RecorderOptions(folder=folder, venues=(request,), disk_free_min=1 << 60)
        await Recorder(options=options).run()


def test_a_disk_that_is_almost_full_stops_the_session_and_all_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(BackpressureError, match=r" MiB of disk are left, expected to keep \d+ MiB free: stopped and"):
        within_deadline(crowded_session(tmp_path / "tape"))
    result = verify(tmp_path / "tape")
    assert result.problems == []
    assert result.frame_count > 0


def flip(folder: Path, text: bytes, *, last: bool) -> None:
    """Another bit in a payload of the journal that is open, or was closed this moment."""
    (path,) = (folder / "journal").glob("*.arrows")
    content = path.read_bytes()
    place = content.rindex(text) if last else content.index(text)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes((content[place] ^ 4,)))


async def damaged_session(folder: Path, place: str) -> tuple[Manifest, list[str], int]:
    async with EmbeddedVenue(seed=1, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(folder, venue, PAIRS)
        said: list[str] = []
        recorder.log = said.append
        run, listener = await started(recorder)
        await listener.until(BookSnapshot, 10)
        journal = folder / "journal" / "000000.arrows"
        while b'"event"' not in journal.read_bytes():  # noqa: ASYNC110 -- nobody tells when a batch is written
            await asyncio.sleep(0.01)
        if place == "beginning":
            flip(folder, b'"event"', last=False)
        recorder.stop()
        return await run, said, recorder.status.frame_count


@pytest.mark.parametrize("place", ["beginning", "end"])
def test_a_bit_that_flips_in_the_open_journal_is_stated_when_the_recorder_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whatever is whole is sealed; the recorder says so, and so do `gaps` and the recording."""
    finish = JournalWriter.finish
    closings: list[JournalWriter] = []

    def finished(journal: JournalWriter) -> None:
        finish(journal)
        if not closings:  # it may be called twice
            flip(tmp_path / "tape", b'"event"', last=True)
        closings.append(journal)

    if place == "end":
        monkeypatch.setattr(JournalWriter, "finish", finished)
    made = within_deadline(damaged_session(tmp_path / "tape", place))
    assert isinstance(made, tuple)
    manifest, said, frame_count = made
    assert manifest.status == "recovered"
    assert any("frames were damaged on disk before they were sealed" in line for line in said)
    assert verify(tmp_path / "tape").problems == []
    assert manifest.counts["event_lost"] == 1
    assert find_gaps(tmp_path / "tape")["kind"].to_list().count("lost") == 1
    assert list((tmp_path / "tape" / "set-aside").iterdir())
    frames = [frame for batch in Recording.open(tmp_path / "tape").raw_frames() for frame in batch]
    assert (len(frames) == frame_count) is (place == "beginning")
    assert frames[-1].payload.count(b'"session_end"') == 1
