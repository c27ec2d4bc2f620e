"""What is not sealed yet is read like what is: while it is recorded, and as `recover` would seal it after the recorder died."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.care.recovery import recover
from recordings.journal.journal_reader import JournalWriter, journal_path, journal_segments
from recordings.reading.unsealed import unsealed_part
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from replay.serving.frame_tape import FrameTape
from replay.source import Fidelity, ReplayDataSource
from tests.hand_recorder import HandRecorder, frame
from tests.tapes import TS
from toolkit.clock import SystemClock
from toolkit.errors import RecordingDamaged, SymbolError
from toolkit.frames import Frame

in_a_folder = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIDELITIES: tuple[Fidelity, ...] = ("raw", "normalized")
ACTS = st.lists(st.sampled_from(["write", "write", "rotate", "seal"]), min_size=1, max_size=12)


def frames_of(recording: Recording) -> list[Frame]:
    return [each for batch in recording.raw_frames() for each in batch]


def played(recording: Recording | Path, fidelity: Fidelity = "normalized", **more: Any) -> tuple[list[Any], str]:
    source = ReplayDataSource(recording, fidelity=fidelity, with_digest=True, **more)
    seen: list[Any] = []
    source.set_message_callback(seen.append)
    source.play()
    assert source.chain is not None
    return seen, source.chain.hexdigest()


def long_ago(folder: Path) -> None:
    """As if the recorder had died when it wrote its last frame: what `recover` says of the time depends on the clock else."""
    for path in (folder / "recording.json", *(folder / "journal").glob("*")):
        os.utime(path, ns=(TS, TS))


def recovered(folder: Path) -> Path:
    """A copy, healed."""
    copy = folder.with_name(f"{folder.name}-recovered")
    shutil.copytree(folder, copy)
    recover(copy, SystemClock())
    return copy


def act(recorder: HandRecorder, acts: list[str]) -> None:
    for each in acts:
        if each == "write":
            recorder.write(5)
        else:
            getattr(recorder, each)()


@in_a_folder
@given(ACTS)
def test_an_open_recording_replays_as_the_sealed_one_will(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str]
) -> None:
    """Message for message, in both fidelities, and with the digest that sealing gives."""
    folder = tmp_path_factory.mktemp("open") / "tape"
    recorder = HandRecorder(folder)
    with FolderLock(folder):
        act(recorder, acts)
        opened = Recording.open(folder)
        assert frames_of(opened) == recorder.frames
        found = [played(opened), played(folder, "raw")]
        pairs = opened.trading_pairs
    manifest = recorder.end()
    sealed = Recording.open(folder)
    assert sealed.tail is None
    assert sealed.trading_pairs == pairs
    for each in found:
        assert each == played(sealed)
        assert each[1] == (manifest.digest or 32 * "0")


@in_a_folder
@given(ACTS, st.integers(0, 400))
def test_what_a_dead_recorder_left_replays_as_it_will_be_recovered(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str], torn: int
) -> None:
    """What it may have lost is stated, and the end of a journal that is torn is left out."""
    folder = tmp_path_factory.mktemp("dead") / "tape"
    recorder = HandRecorder(folder)
    act(recorder, acts)
    recorder.journal.close()
    last = journal_path(folder, journal_segments(folder)[-1])
    os.truncate(last, max(0, last.stat().st_size - torn))
    long_ago(folder)
    dead = Recording.open(folder)
    assert dead.tail is not None
    assert dead.tail.unsealed.work.is_left
    assert dead.tail.loss is not None
    healed = Recording.open(recovered(folder))
    if dead.tail.unsealed.frame_count:  # else the recorder's monotonic clock is guessed from that of who heals
        assert frames_of(dead) == frames_of(healed)
    assert played(dead) == played(healed) == played(dead, "raw")
    assert played(dead)[1] == healed.manifest.digest
    assert dead.symbols == healed.symbols
    assert dead.span == healed.span


def damaged(folder: Path, number: int, batch: int) -> None:
    """Turn a byte in the middle of a batch of a journal."""
    path = journal_path(folder, number)
    content = bytearray(path.read_bytes())
    content[content.index(b'{"channel":"pong"}', len(content) * batch // 3)] ^= 1
    path.write_bytes(content)


def removed(folder: Path, number: int) -> None:
    journal_path(folder, number).unlink()


def of_another_history(folder: Path, number: int) -> None:
    path = journal_path(folder, number)
    path.unlink()
    other = JournalWriter(folder, number)
    for seq in range(40):
        other.append(frame(seq))
    other.close()


@pytest.mark.parametrize("damage", ["middle", "removed", "other history", "beginning"])
def test_damaged_journals_are_what_recover_makes_of_them(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "tape"
    recorder = HandRecorder(folder)
    for _ in range(4):
        for _ in range(3):
            recorder.write(6)
        recorder.rotate()
    recorder.seal()
    recorder.write(6)
    recorder.journal.close()
    if damage == "middle":
        damaged(folder, 2, 1)
    elif damage == "beginning":
        damaged(folder, 1, 0)
    elif damage == "removed":
        removed(folder, 2)
    else:
        of_another_history(folder, 2)
    long_ago(folder)
    dead = Recording.open(folder)
    assert dead.tail is not None
    missing, unreadable = len(dead.tail.missing), len(dead.tail.unreadable)
    assert (missing, unreadable) == {"other history": (2, 0), "removed": (1, 0)}.get(damage, (0, 1))
    healed = Recording.open(recovered(folder))
    assert frames_of(dead) == frames_of(healed)
    assert played(dead) == played(healed)


def test_a_reader_goes_on_while_what_it_reads_is_sealed(tmp_path: Path) -> None:
    """Neither doubled nor missing, and nothing that was written after it began."""
    recorder = HandRecorder(tmp_path / "tape")
    with FolderLock(tmp_path / "tape"):
        for _ in range(3):
            recorder.write(5)
            recorder.rotate()
        opened = Recording.open(tmp_path / "tape")
        assert opened.tail is not None
        reading = opened.raw_frames()
        found = list(next(reading))
        recorder.write(5)
        recorder.rotate()
        recorder.seal()
        found += next(reading)
        recorder.end()
        found += [each for batch in reading for each in batch]
        assert found == recorder.frames[:15]
        assert played(opened)[0][-1].capture_seq < 15


def test_what_went_while_it_was_read_is_said(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(5)
    with FolderLock(tmp_path / "tape"):
        opened = Recording.open(tmp_path / "tape")
        assert opened.tail is not None
        recorder.journal.path.unlink()
        with pytest.raises(RecordingDamaged, match=r"frames 0 to 4 went while the recording was open: see"):
            list(opened.raw_frames())
    recorder.journal.close()


def test_what_is_sealed_alone_can_be_asked_for(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(6)
    recorder.rotate()
    recorder.seal()
    recorder.write(6)
    sealed = Recording.open(tmp_path / "tape", sealed=True)
    assert (sealed.tail, sealed.unsealed()) == (None, None)
    assert len(frames_of(sealed)) == 6
    assert played(tmp_path / "tape", sealed=True)[1] == recorder.manifest.digest
    assert played(Recording.open(tmp_path / "tape").sealed_part())[1] == recorder.manifest.digest
    recorder.end()


def test_a_pair_of_the_tail_can_be_chosen_and_one_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(9)
    with FolderLock(tmp_path / "tape"):
        everything = played(tmp_path / "tape")[0]
        assert played(tmp_path / "tape", trading_pairs=["BTC-USD"])[0] == everything
        with pytest.raises(SymbolError, match=r"^'X' is not in .*tape, expected one of BTC-USD$"):
            played(tmp_path / "tape", trading_pairs=["X"])
    recorder.end()


def test_a_seek_into_the_tail_has_the_state_of_playing_there(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(3):
        recorder.write(9)
        recorder.rotate()
    recorder.seal()
    with FolderLock(tmp_path / "tape"):
        whole, digest = played(tmp_path / "tape")
        for fidelity in FIDELITIES:
            for start in (0, 4, 9, 13, 26):
                moment = TS + start * 1_000_000
                later = played(tmp_path / "tape", fidelity, start_ns=moment)
                assert later == ([each for each in whole if each.ts_recv >= moment], digest)
    recorder.end()


@in_a_folder
@given(ACTS)
def test_counting_by_heads_agrees_with_reading(tmp_path_factory: pytest.TempPathFactory, acts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("heads") / "tape"
    recorder = HandRecorder(folder)
    early = Recording.open(folder)
    act(recorder, acts)
    for opened in (early, Recording.open(folder)):
        tail, quick = opened.tail, opened.unsealed()
        assert tail is not None
        assert tail.unsealed == quick
        assert quick is not None
        assert quick.frame_count == len(recorder.frames) - (
            sum(segment.frame_count for segment in opened.manifest.segments)
        )
    recorder.end()
    assert Recording.open(folder).unsealed() is None
    now = early.unsealed()
    assert (now.frame_count if now else 0) == len(recorder.frames)
    assert now is None or str(now.work).startswith("it was sealed since")


def test_a_torn_end_is_counted_up_to_it(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    recorder.write(3)
    path = recorder.journal.path
    whole = path.read_bytes()
    for size in range(0, len(whole), 61):
        path.write_bytes(whole[:size])
        found = unsealed_part(tmp_path / "tape")
        assert found is not None
        tail = Recording.open(tmp_path / "tape").tail
        assert tail is not None
        assert found == tail.unsealed
        assert found.frame_count in (0, 3)
    path.write_bytes(whole)
    recorder.journal.close()


def test_nothing_of_a_recording_that_is_sealed_is_looked_for(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    recorder.end()
    with FolderLock(tmp_path / "tape"):  # whoever rewrites it
        assert Recording.open(tmp_path / "tape").tail is None
        assert unsealed_part(tmp_path / "tape") is None


def test_several_recordings_of_which_some_are_open_merge_as_they_will(tmp_path: Path) -> None:
    recorders = [HandRecorder(tmp_path / name) for name in ("one", "two")]
    for number, recorder in enumerate(recorders):
        recorder.write(6 + 3 * number)
        recorder.rotate()
        recorder.seal()
        recorder.write(9)
    folders = [recorder.folder for recorder in recorders]
    starts = (None, TS + 4 * 1_000_000, TS + 11 * 1_000_000)
    with FolderLock(folders[0]), FolderLock(folders[1]):
        found = [
            merged(folders, fidelity, start_ns=start, **more)
            for fidelity in FIDELITIES
            for start in starts
            for more in ({}, {"trading_pairs": ["BTC-USD"]})
        ]
    for recorder in recorders:
        recorder.end()
    expected = [
        merged(folders, fidelity, start_ns=start, **more)
        for fidelity in FIDELITIES
        for start in starts
        for more in ({}, {"trading_pairs": ["BTC-USD"]})
    ]
    assert found == expected


def merged(folders: list[Path], fidelity: Fidelity, **more: Any) -> list[Any]:
    source = ReplayDataSource(folders, fidelity=fidelity, **more)
    seen: list[Any] = []
    source.set_message_callback(seen.append)
    source.play()
    return seen


def test_what_is_served_are_the_frames_of_the_journal_too(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(6)
    recorder.rotate()
    recorder.seal()
    recorder.write(6)
    with FolderLock(tmp_path / "tape"):
        tape = FrameTape([Recording.open(tmp_path / "tape")])
        served: list[Any] = [each for batch in tape.batches(lambda *_: []) for each in batch.messages]
        assert served == recorder.frames
        assert list(tape.opening(8)) == recorder.frames[:8]
    recorder.end()


def test_frames_that_a_living_recorder_has_not_put_there_are_said(tmp_path: Path) -> None:
    """A journal is missing before another, and nobody has sealed it: its recorder will put it back, or it will be lost."""
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(6)
    recorder.rotate()
    recorder.write(6)
    recorder.rotate()
    recorder.write(6)
    away = tmp_path / "away"
    with FolderLock(tmp_path / "tape"):
        journal_path(tmp_path / "tape", 1).rename(away)
        opened = Recording.open(tmp_path / "tape")
        assert opened.tail is not None
        assert [line.partition(": ")[2] for line in opened.tail.missing] == [
            "frames 6 to 11 before it are not there yet"
        ]
        assert frames_of(opened) == recorder.frames[:6]
        away.rename(journal_path(tmp_path / "tape", 1))
        assert frames_of(Recording.open(tmp_path / "tape")) == recorder.frames
    recorder.end()


def test_the_state_before_the_tail_is_held_where_its_file_goes(tmp_path: Path) -> None:
    """Sealing the next segment removes it; what it would be made of again need not be there."""
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(2):
        recorder.write(9)
        recorder.rotate()
    recorder.seal()
    with FolderLock(tmp_path / "tape"):
        opened = Recording.open(tmp_path / "tape")
        expected = played(opened)
        assert opened.manifest.resume is not None
        (tmp_path / "tape" / opened.manifest.resume.path).unlink()
        (tmp_path / "tape" / "raw" / "000000.parquet").unlink()
        assert played(opened) == expected
    recorder.journal.close()


def test_what_is_recovered_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(3):
        recorder.write(6)
        recorder.rotate()
    recorder.journal.close()
    long_ago(tmp_path / "tape")
    dead = Recording.open(tmp_path / "tape")
    expected = frames_of(dead)
    reading = dead.raw_frames()
    found = list(next(reading))
    recover(tmp_path / "tape", SystemClock())
    found += [each for batch in reading for each in batch]
    assert found == expected == frames_of(Recording.open(tmp_path / "tape"))
    assert played(dead) == played(tmp_path / "tape")
