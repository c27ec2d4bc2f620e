"""A damaged state stops nobody: it is made again, from an earlier one or from raw frames, and `verify` says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from recordings.care.recovery import recover
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.reading.resume_state import resume_at_end
from recordings.sealing.journal_sealing import Sealer
from recordings.states.checkpoints import Checkpoint, checkpoint_of, load_checkpoint
from recordings.states.normalizer import Normalizer
from tests.hand_recorder import HandRecorder, frame
from toolkit.clock import SystemClock
from toolkit.errors import RecordingDamaged


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "tape"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recordings.states.checkpoints.TABLES_PER_BYTE", 0)
        recorder = HandRecorder(folder)
        for _ in range(3):
            recorder.write(9)
            recorder.rotate()
            recorder.seal()
        recorder.write(4)
        recorder.end()
    return folder


@pytest.fixture
def tape(made: Path, tmp_path: Path, every_state: None) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tape"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


def states(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.state"))


def flip_last(folder: Path) -> None:
    flip(states(folder)[-1])


def cut_last(folder: Path) -> None:
    path = states(folder)[-1]
    path.write_bytes(path.read_bytes()[:10])


def lose_last(folder: Path) -> None:
    states(folder)[-1].unlink()


def flip_two(folder: Path) -> None:
    for path in states(folder)[-2:]:
        flip(path)


def flip_all(folder: Path) -> None:
    for path in states(folder):
        flip(path)


def lose_all(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints")


def unnamed(folder: Path) -> None:
    manifest = read_manifest(folder)
    manifest.resume = None
    write_manifest(folder, manifest)


DAMAGES = (flip_last, cut_last, lose_last, flip_two, flip_all, lose_all, unnamed)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_state_is_made_again(tape: Path, made: Path, damage: Callable[[Path], None]) -> None:
    damage(tape)
    manifest = read_manifest(tape)
    found, whole = Normalizer.for_sources(manifest.sources), read_manifest(made).resume
    resume_at_end(tape, manifest, found)
    assert whole is not None
    assert msgspec.msgpack.encode(checkpoint_of(found)) == msgspec.msgpack.encode(load_checkpoint(made, whole))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_verify_says_so_and_recover_goes_on(tape: Path, damage: Callable[[Path], None]) -> None:
    damage(tape)
    assert any("checkpoint" in problem or "resume" in problem for problem in verify(tape).problems)
    manifest = read_manifest(tape)
    journal = JournalWriter(tape, len(manifest.segments))
    for seq in range(31, 40):
        journal.append(frame(seq))
    journal.close()
    assert recover(tape, SystemClock()).recovered_frames == 9
    after = read_manifest(tape)
    assert after.segments[4].digest_start == manifest.digest
    assert after.segments[4].checkpoint is not None
    if manifest.resume is not None:
        assert after.segments[4].checkpoint == manifest.resume, "made again, it is the same"
    # The states before it are left as they are: nobody needs them.
    names = ("000001", "000002", "000003") if damage in (flip_two, flip_all, lose_all) else ()
    assert [problem for problem in verify(tape).problems if not any(name in problem for name in names)] == []


@pytest.mark.parametrize("damage", [lose_last, unnamed], ids=lambda damage: damage.__name__)
def test_a_state_that_was_made_again_is_named_where_the_next_journal_is_empty(
    tape: Path, damage: Callable[[Path], None]
) -> None:
    """No segment is made of that one; the segment after it begins with the state all the same."""
    damage(tape)
    JournalWriter(tape, 4).close()
    journal = JournalWriter(tape, 5)
    journal.append(frame(31))
    journal.close()
    assert recover(tape, SystemClock()).sealed_segments == 1
    assert read_manifest(tape).segments[4].checkpoint is not None
    assert verify(tape).problems == []


def test_sealing_goes_on_behind_a_damaged_state(tape: Path) -> None:
    flip_last(tape)
    journal = JournalWriter(tape, 4)
    journal.append(frame(31))
    journal.close()
    Sealer(tape).seal(4)
    assert len(read_manifest(tape).segments) == 5


def test_a_state_of_other_messages_is_not_taken(tape: Path, made: Path) -> None:
    """Sound by its hash, but not what the manifest's digest is of."""
    manifest = read_manifest(tape)
    first = manifest.segments[1].checkpoint
    assert first is not None
    manifest.resume = first
    found = Normalizer.for_sources(manifest.sources)
    resume_at_end(tape, manifest, found)
    assert found.chain.hexdigest() == manifest.digest
    whole = read_manifest(made).resume
    assert whole is not None
    expected: Checkpoint = load_checkpoint(made, whole)
    assert checkpoint_of(found).tracker == expected.tracker


def test_where_raw_frames_are_damaged_too_it_is_refused_in_one_line(tape: Path) -> None:
    flip_all(tape)
    flip(tape / "raw" / "000003.parquet")
    manifest = read_manifest(tape)
    with pytest.raises(RecordingDamaged, match=r"holds no state to go on from, and not the raw frames") as caught:
        resume_at_end(tape, manifest, Normalizer.for_sources(manifest.sources))
    assert "\n" not in str(caught.value)


def test_a_damaged_file_of_before_the_last_good_state_does_not_matter(tape: Path) -> None:
    flip_last(tape)
    flip(tape / "raw" / "000000.parquet")
    manifest = read_manifest(tape)
    found = Normalizer.for_sources(manifest.sources)
    resume_at_end(tape, manifest, found)
    assert found.chain.hexdigest() == manifest.digest
