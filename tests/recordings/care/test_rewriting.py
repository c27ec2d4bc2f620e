"""Compacting, renormalizing and pruning under interruption: all of the old or all of the new, and what came since."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from recordings.care.compacting import compact
from recordings.care.pruning import prune
from recordings.care.recovery import finish_leftovers, needs_recovery, recover
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format.file_names import files_of
from recordings.format.manifest import Manifest, read_manifest, write_manifest
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from tests.hand_recorder import HandRecorder, frame
from tests.interruptions import FAULTS, Interruption, killed_at
from tests.made_once import made_once
from tests.tapes import TS, messages_of, mixed_tape
from toolkit.cli.main import cli
from toolkit.clock import ManualClock
from toolkit.errors import RecordingDamaged, RecordingError
from toolkit.frames import CONTROL, Frame, control_payload

SEGMENTS = 4
LATER = 10**18


def _prune(folder: Path) -> object:
    return prune(folder, 0.0, ManualClock(TS + LATER))


REWRITES: dict[str, Callable[[Path], object]] = {"compact": compact, "renormalize": renormalize, "prune": _prune}
STEPS = ("rewrite-committed", "rewrite-file-moved", "rewrite-manifest-written")


def end(seq: int) -> Frame:
    payload = control_payload("session_end", cause="stop")
    return msgspec.structs.replace(frame(seq), kind=CONTROL, conn_id=-1, payload=payload)


def session(folder: Path, segments: int = SEGMENTS) -> list[Frame]:
    """A session of some segments, into a folder of its own or after what is there; sealed in good order. All frames then."""
    if folder.exists():
        return written(HandRecorder.going_on(folder), segments)
    made_once(folder, lambda path: written(HandRecorder(path), segments), "session", segments)
    return [*map(frame, range(5 * segments)), end(5 * segments)]


def written(recorder: HandRecorder, segments: int) -> list[Frame]:
    for number in range(segments):
        recorder.write(5)
        if number < segments - 1:
            recorder.rotate()
    recorder.give(end(len(recorder.frames)))
    recorder.end()
    return recorder.frames


def raw(folder: Path) -> list[Frame]:
    return [each for batch in Recording.open(folder).raw_frames() for each in batch]


def files_on_disk(folder: Path) -> set[str]:
    """What the folder holds besides the manifest and the lock."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {"recording.json", "recording.lock"}


def named(manifest: Manifest) -> set[str]:
    return {file.path for file in files_of(manifest)}


def heal(folder: Path) -> Any:
    return recover(folder, ManualClock(TS + LATER))


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("step", STEPS)
def test_recording_on_after_a_killed_rewrite_loses_nothing(name: str, step: str, tmp_path: Path) -> None:
    """Whoever opens it to write carries the rewrite through first; what comes afterwards stays."""
    folder = tmp_path / "tape"
    session(folder)
    if name == "prune" and step == "rewrite-file-moved":
        return  # nothing is moved
    with killed_at(folder, step):
        REWRITES[name](folder)
    assert needs_recovery(folder)
    frames = session(folder)
    heal(folder)
    assert verify(folder).problems == []
    manifest = read_manifest(folder)
    assert sum(segment.frame_count for segment in manifest.segments) == len(frames)
    if name != "prune":
        assert raw(folder) == frames
    assert files_on_disk(folder) == named(manifest)


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_rewrite_followed_by_a_kill_of_the_recorder(name: str, step: str, tmp_path: Path) -> None:
    """Sealed segments, and the journal that was open, are all there."""
    folder = tmp_path / "tape"
    session(folder)
    if name == "prune" and step == "rewrite-file-moved":
        return
    with killed_at(folder, step):
        REWRITES[name](folder)
    recorder = HandRecorder.going_on(folder)
    recorder.write(5)
    recorder.rotate()
    recorder.seal()
    recorder.write(3)
    recorder.journal.sync()
    kept = list(recorder.frames)
    result = heal(folder)
    assert result.set_aside == []
    assert verify(folder).problems == []
    if name != "prune":
        assert raw(folder)[: len(kept)] == kept
        assert len(raw(folder)) == len(kept) + 2, "lost and session_end"


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("is_sealed_first", [True, False])
def test_a_rewrite_after_a_killed_sealing_leaves_nothing_of_it(
    name: str, is_sealed_first: bool, tmp_path: Path
) -> None:
    """Nor the state before the segment, which sealing had not come to remove."""
    folder = tmp_path / "tape"
    if is_sealed_first:
        session(folder)
    recorder = HandRecorder.going_on(folder) if is_sealed_first else HandRecorder(folder)
    recorder.write(2)
    recorder.rotate()
    recorder.write(2)
    with killed_at(folder, "manifest-written", 2):
        heal(folder)
    REWRITES[name](folder)
    assert verify(folder).problems == []
    assert not needs_recovery(folder)
    assert files_on_disk(folder) == named(read_manifest(folder))


@pytest.mark.parametrize("name", REWRITES)
def test_a_killed_sealing_behind_joined_segments_leaves_nothing_of_it(name: str, tmp_path: Path) -> None:
    """They go on with a state whose number is not the one before that of the next."""
    folder = tmp_path / "tape"
    session(folder)
    compact(folder)
    recorder = HandRecorder.going_on(folder)
    recorder.write(2)
    with killed_at(folder, "manifest-written"):
        heal(folder)
    REWRITES[name](folder)
    assert verify(folder).problems == []
    assert files_on_disk(folder) == named(read_manifest(folder))


def test_going_on_after_a_killed_sealing_leaves_nothing_of_it(tmp_path: Path) -> None:
    """Where what is left is carried over unsealed."""
    folder = tmp_path / "tape"
    session(folder)
    recorder = HandRecorder.going_on(folder)
    recorder.write(2)
    recorder.rotate()
    recorder.write(2)
    with killed_at(folder, "manifest-written"):
        heal(folder)
    finish_leftovers(folder)
    left = {name for name in files_on_disk(folder) if not name.startswith("journal/")}
    assert left == named(read_manifest(folder))
    heal(folder)
    assert verify(folder).problems == []


@pytest.mark.parametrize("first", REWRITES)
@pytest.mark.parametrize("second", [*REWRITES, "recover"])
@pytest.mark.parametrize("step", [STEPS[0], pytest.param(STEPS[2], marks=pytest.mark.slow)])
def test_one_rewrite_after_another_that_was_killed(first: str, second: str, step: str, tmp_path: Path) -> None:
    """The second finishes the first, at once and without a word, unless there is nothing left for it to do."""
    folder = tmp_path / "tape"
    frames = session(folder)
    with killed_at(folder, step):
        REWRITES[first](folder)
    if (first, second) == ("prune", "renormalize"):
        with pytest.raises(RecordingError, match="holds no raw frames of segment 0 any more"):
            renormalize(folder)
    else:
        {**REWRITES, "recover": heal}[second](folder)
    assert verify(folder).problems == []
    assert not needs_recovery(folder)
    assert files_on_disk(folder) == named(read_manifest(folder))
    if "prune" not in (first, second):
        assert raw(folder) == frames


#: Every how manieth instant is tried: few in `make test`, more in `make test-all`, any of them in `make chaos`.
INSTANTS = [29, pytest.param(3, marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "kill"])
@pytest.mark.parametrize("every", INSTANTS)
def test_an_error_at_any_instant_leaves_the_old_or_the_new(name: str, fault: str, every: int, tmp_path: Path) -> None:
    """Also within the last steps; called again the rewrite comes to its end, and no copy of anything is left."""
    for at in range(hash_of(name, fault) % every, instants_of(name, tmp_path), every):
        folder = tmp_path / f"tape-{at}"
        frames = session(folder, 2)
        interruption = Interruption(folder, at, fault)
        # That the staging cannot be removed at the end is no failure: what is left of it counts for nothing.
        with suppress(RecordingError, MemoryError, KeyboardInterrupt), interruption.in_force():
            REWRITES[name](folder)
        assert interruption.has_come
        assert verify(folder).problems == [], f"after {fault} at {at}, {interruption.names[at]}"
        if name != "prune":
            assert raw(folder) == frames
        REWRITES[name](folder)
        assert files_on_disk(folder) == named(read_manifest(folder))


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("every", INSTANTS)
def test_whoever_reads_at_any_instant_of_a_rewrite_finds_one_whole_recording(
    name: str, every: int, tmp_path: Path
) -> None:
    """By the manifest that is in force then: no frame twice, none missing."""
    for at in range(0, instants_of(name, tmp_path), every):
        folder = tmp_path / f"tape-{at}"
        frames = session(folder, 2)
        messages = messages_of(Recording.open(folder))

        def look(folder: Path = folder, frames: list[Frame] = frames, expected: Any = messages) -> None:
            if name != "prune":
                assert raw(folder) == frames
            assert messages_of(Recording.open(folder)) == expected

        with Interruption(folder, at, look=look).in_force():
            REWRITES[name](folder)
        assert verify(folder).problems == []


def instants_of(name: str, tmp_path: Path) -> int:
    folder = tmp_path / "model"
    session(folder, 2)
    counting = Interruption(folder)
    with counting.in_force():
        REWRITES[name](folder)
    return counting.instants


def hash_of(*words: str) -> int:
    return sum(map(ord, "".join(words)))


def test_names_are_never_used_twice(tmp_path: Path) -> None:
    """Whoever still reads by an older manifest finds its files, or finds them gone; never others of that name."""
    folder = tmp_path / "tape"
    session(folder)
    seen: dict[str, str] = {}
    for rewrite in (compact, renormalize, compact, _prune, renormalize):
        session(folder, 2)
        try:
            rewrite(folder)
        except RecordingError:
            assert rewrite is renormalize
        for file in files_of(read_manifest(folder)):
            assert seen.setdefault(file.path, file.blake2b) == file.blake2b, file.path


@pytest.mark.parametrize("name", REWRITES)
def test_only_what_a_manifest_has_named_is_removed(name: str, tmp_path: Path) -> None:
    """Notes, copies, folders, and what has just such a name as our next file would have."""
    folder = tmp_path / "tape"
    session(folder)
    theirs = {
        "raw/2026-notes.txt": b"mine",
        "raw/000009.parquet": b"a copy of something",
        "raw/000002.parquet.bak": b"likewise",
        "trades/1999": b"",
        "top/2026/of a colleague.txt": b"",
        "checkpoints/000007.msgpack.gz": b"packed",
        "journal/notes.arrows": b"",
        "read me.md": b"what this is",
        ".rewritten": b"",
    }
    for path, content in theirs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    REWRITES[name](folder)
    for path, content in theirs.items():
        assert (folder / path).read_bytes() == content
    session(folder, 8)
    heal(folder)
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for path, content in theirs.items():
        assert content in found, f"{path} is there, or set aside"
    assert verify(folder).problems == []


def _flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("table", ["raw", "trades", "events"])
def test_damage_is_not_rewritten_into_something_sound(name: str, table: str, tmp_path: Path) -> None:
    """What is read is what was sealed; renormalizing does not read the tables that it makes again."""
    folder = tmp_path / "tape"
    session(folder)
    file = read_manifest(folder).segments[0].tables.get(table)
    if file is None:
        file = read_manifest(folder).segments[-1].tables[table]
        if name == "prune":
            return  # the last segment stays as it is
    _flip(folder / file.path)
    before = files_on_disk(folder)
    if name == "renormalize" and table != "raw":
        renormalize(folder)
        assert verify(folder).problems == []
        return
    with pytest.raises(RecordingDamaged, match=r"is not the file that was sealed: its BLAKE2b hash .*; nothing was"):
        REWRITES[name](folder)
    assert files_on_disk(folder) == before
    assert not verify(folder).is_sound


@pytest.mark.parametrize("name", REWRITES)
def test_a_missing_file_stops_a_rewrite(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    session(folder)
    (folder / "raw" / "000001.parquet").unlink()
    with pytest.raises(RecordingDamaged, match=r"000001.parquet is missing; nothing was changed"):
        REWRITES[name](folder)
    assert read_manifest(folder).segments[0].tables["raw"].path == "raw/000000.parquet"


def test_a_rewrite_of_an_earlier_version_is_finished(tmp_path: Path) -> None:
    """It put new files where old ones were, and noted no manifest but the new one."""
    folder, model = tmp_path / "tape", tmp_path / "model"
    frames = session(folder)
    session(model)
    compact(model)
    (folder / ".rewrite").mkdir()
    new = read_manifest(model)
    for file in files_of(new):
        if file.path not in named(read_manifest(folder)):
            (folder / ".rewrite" / file.path).parent.mkdir(exist_ok=True)
            (model / file.path).rename(folder / ".rewrite" / file.path)
    write_manifest(folder / ".rewrite", new)
    heal(folder)
    assert raw(folder) == frames
    assert verify(folder).problems == []
    assert files_on_disk(folder) == named(new)


def test_a_rewrite_of_an_earlier_version_that_recorded_on_is_left_alone(tmp_path: Path) -> None:
    """There, old and new share names: nothing is put in place of what was recorded since."""
    folder, model = tmp_path / "tape", tmp_path / "model"
    session(model)
    session(folder)
    session(folder, 1)
    (folder / ".rewrite").mkdir()
    write_manifest(folder / ".rewrite", read_manifest(model))
    before = files_on_disk(folder)
    for write in (heal, compact, renormalize, _prune):
        with pytest.raises(
            RecordingDamaged, match=r"\.rewrite holds a rewrite that an earlier tickdeck left unfinished"
        ):
            write(folder)
    assert files_on_disk(folder) == before


@pytest.mark.usefixtures("every_state")
def test_a_segment_without_a_neighbour_keeps_its_files(tmp_path: Path) -> None:
    """Compacting again and again does not copy what is large enough."""
    folder = tmp_path / "tape"
    session(folder)
    compact(folder)
    joined = named(read_manifest(folder))
    session(folder, 1)
    raw_bytes = read_manifest(folder).segments[0].tables["raw"].bytes
    session(folder, 1)
    compact(folder, raw_bytes + 1)
    assert [segment.frame_count for segment in read_manifest(folder).segments] == [21, 12]
    assert joined <= named(read_manifest(folder))
    assert verify(folder).problems == []


def test_sealing_that_failed_leaves_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    """By the same sealer, which has read the journal once already."""
    folder = tmp_path / "tape"
    recorder = HandRecorder(folder)
    recorder.write(5)
    recorder.rotate()
    before = files_on_disk(folder)
    sealer = Sealer(folder)
    counting = 0
    while True:
        interruption = Interruption(folder, counting, "no space")
        try:
            with interruption.in_force():
                sealer.seal(0)
        except OSError:
            assert interruption.has_come
            if not read_manifest(folder).segments:
                assert files_on_disk(folder) == before
            counting += 1
            continue
        break
    assert counting > 20
    # What a recorder that left its journal open may have lost is stated behind them.
    assert raw(folder)[: len(recorder.frames)] == recorder.frames
    assert verify(folder).problems == []


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_clears_up_a_manifest_that_was_never_in_force(name: str, tmp_path: Path) -> None:
    """A recorder was killed while it wrote the first manifest of a session: nothing of it was recorded."""
    folder = tmp_path / "tape"
    session(folder, 1)
    (folder / ".recording.json.tmp").write_bytes(b'{"format": "tickdeck-rec')
    assert needs_recovery(folder)
    REWRITES[name](folder)
    assert not needs_recovery(folder)
    assert verify(folder).problems == []


def test_an_import_can_be_compacted_and_recovered(tmp_path: Path) -> None:
    """It has no journal, no checkpoint to go on from, and no end of a session."""
    folder = tmp_path / "tape"
    mixed_tape(folder)
    frames = raw(folder)
    for care in (heal, compact, heal, renormalize, heal):
        care(folder)
        assert raw(folder) == frames
        assert verify(folder).problems == []
        assert read_manifest(folder).status == "sealed"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("which", ["recording.json", ".before/recording.json"])
def test_a_rewrite_whose_own_manifest_is_damaged_costs_nothing(which: str, step: str, tmp_path: Path) -> None:
    """It is dropped, or is through already; what it had moved into place is set aside."""
    folder = tmp_path / "tape"
    frames = session(folder)
    with killed_at(folder, step):
        compact(folder)
    _flip(folder / ".rewrite" / which)
    heal(folder)
    assert raw(folder) == frames
    assert verify(folder).problems == []
    assert not needs_recovery(folder)
    heal(folder)
    left = {path for path in files_on_disk(folder) if not path.startswith("set-aside/")}
    assert left == named(read_manifest(folder))


def test_recover_says_that_it_finished_a_rewrite(tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    session(folder)
    with killed_at(folder, "rewrite-file-moved", 2):
        compact(folder)
    said = CliRunner().invoke(cli, ["recover", str(folder)])
    assert said.output == f"{folder}: a rewrite that was interrupted is finished\n"
    assert CliRunner().invoke(cli, ["recover", str(folder)]).output == f"{folder}: nothing to recover (sealed)\n"
