"""Healing a folder whose recorder died, piece by piece; `test_chaos.py` does it with real processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from recordings.care.compacting import compact
from recordings.care.recovery import CarriedOver, Recovery, carry_over, finish_leftovers, needs_recovery, recover
from recordings.care.verifying import verify
from recordings.format.manifest import MANIFEST_NAME, Manifest, SourceInfo, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalWriter, journal_path
from recordings.queries.gaps import find_gaps
from recordings.reading.loss import LATE_NS
from recordings.reading.resume_state import resume_at_end
from recordings.recorder import _remove_empty
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.states.normalizer import Normalizer
from recordings.storage.lock import LOCK_NAME, FolderLock
from tests.interruptions import FAULTS, Interruption, killed_at
from tests.manifests import without_checksum
from toolkit.clock import NS_PER_S, Clock, ManualClock
from toolkit.errors import RecordingDamaged, RecordingError, RecordingLocked
from toolkit.frames import CONTROL, WS_IN, Frame, control_payload

START = 1_790_000_000 * NS_PER_S
FLUSH_S = 0.25


class DayLater(ManualClock):
    """Recovery runs the day after, on a machine that has been up since long before."""

    def __init__(self, up_s: int = 1_000_000) -> None:
        super().__init__(START + 86_400 * NS_PER_S)
        self._mono_ns = up_s * NS_PER_S


def frame(seq: int, payload: bytes = b'{"channel":"pong"}', kind: str = WS_IN) -> Frame:
    return Frame(seq, START + seq * 1_000_000, seq * 1_000_000, "hyperliquid", 0, 0, kind, payload)


def end(seq: int) -> Frame:
    return frame(seq, control_payload("session_end", cause="stop"), CONTROL)


def tape(folder: Path) -> Path:
    """A recording that has just begun."""
    folder.mkdir()
    source = SourceInfo("hyperliquid", 1, ("BTC-USD",))
    write_manifest(folder, Manifest(sources=[source], flush_interval_s=FLUSH_S))
    os.utime(folder / MANIFEST_NAME, ns=(START, START))
    return folder


def journal(folder: Path, number: int, frames: Iterable[Frame], *, touched: int = START + NS_PER_S) -> Path:
    """The journal of a segment, last touched then."""
    writer = JournalWriter(folder, number)
    for each in frames:
        writer.append(each)
    writer.close()
    os.utime(writer.path, ns=(touched, touched))
    return writer.path


def heal(folder: Path, clock: Clock | None = None) -> Recovery:
    with FolderLock(folder):
        return recover(folder, clock or DayLater())


def raw(folder: Path) -> list[Frame]:
    return [each for batch in Recording.open(folder).raw_frames() for each in batch]


def said(folder: Path) -> list[str]:
    """The events of the control frames."""
    return [json.loads(each.payload)["event"] for each in raw(folder) if each.kind == CONTROL]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_flushed_is_sealed_and_the_loss_is_stated(tmp_path: Path) -> None:
    """From the last frame to the latest time at which the recorder can have lived."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(5)))
    result = heal(folder)
    assert result.recovered_frames == 5
    assert result.lost_from == frame(4).ts_recv
    assert result.lost_until == START + NS_PER_S + round(FLUSH_S * NS_PER_S) + LATE_NS
    assert [each.capture_seq for each in raw(folder)] == list(range(7))
    assert said(folder) == ["lost", "session_end"]
    assert read_manifest(folder).status == "recovered"
    assert find_gaps(folder)["kind"].to_list() == ["lost"]
    assert verify(folder).problems == []
    assert not journal_path(folder, 0).exists()


def test_the_loss_does_not_reach_beyond_the_healing(tmp_path: Path) -> None:
    """The recorder was dead by then."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0)])
    clock = ManualClock(START + NS_PER_S + 1)
    clock._mono_ns = 10 * NS_PER_S
    assert heal(folder, clock).lost_until == START + NS_PER_S + 1


def test_after_a_power_cut_the_times_of_files_are_not_trusted(tmp_path: Path) -> None:
    """The machine was started again after the last frame, so the last touches may be gone."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0)])
    result = heal(folder, DayLater(up_s=86_400 - 3600))
    assert result.lost_until == START + 61 * NS_PER_S


def test_a_session_that_ended_well_lost_nothing(tmp_path: Path) -> None:
    """It only had not been sealed."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    assert heal(folder).lost_from is None
    assert said(folder) == ["session_end"]
    assert find_gaps(folder).height == 0


def test_a_session_that_died_before_its_first_flush_states_its_loss(tmp_path: Path) -> None:
    """Nothing of it is left but its journal; it had begun when the manifest said so."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    heal(folder)
    manifest = read_manifest(folder)
    manifest.status = "running"
    write_manifest(folder, manifest)
    os.utime(folder / MANIFEST_NAME, ns=(START + 60 * NS_PER_S, START + 60 * NS_PER_S))
    journal(folder, 1, [], touched=START + 61 * NS_PER_S)
    result = heal(folder)
    assert result.lost_from == START + 60 * NS_PER_S
    assert said(folder) == ["session_end", "lost", "session_end"]
    assert verify(folder).problems == []


def test_even_the_very_first_session(tmp_path: Path) -> None:
    """The statement is then all that the recording holds."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [])
    assert heal(folder).lost_from == START
    assert [each.capture_seq for each in raw(folder)] == [0, 1]
    assert verify(folder).problems == []


def test_a_torn_end_is_set_aside(tmp_path: Path) -> None:
    """The frames before it are kept, the bytes are too."""
    folder = tape(tmp_path / "tape")
    path = journal(folder, 0, map(frame, range(3)))
    torn = b"\xff\xff\xff\xff\x00\x01\x00\x00half a batch"
    with path.open("ab") as file:
        file.write(torn)
    result = heal(folder)
    (name,) = result.set_aside
    assert result.recovered_frames == 3
    assert (folder / name).read_bytes().endswith(torn)


def test_a_journal_of_another_history_is_set_aside_whole(tmp_path: Path) -> None:
    """Its frames have numbers that others have already."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    other = journal(folder, 1, map(frame, range(2, 9))).read_bytes()
    result = heal(folder)
    assert result.set_aside == ["set-aside/journal-000001.arrows"]
    assert (folder / result.set_aside[0]).read_bytes() == other
    assert [each.capture_seq for each in raw(folder)] == list(range(5))
    assert said(folder) == ["lost", "session_end"]
    assert verify(folder).problems == []


def test_a_journal_behind_a_hole_is_sealed_and_the_hole_stated(tmp_path: Path) -> None:
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    journal(folder, 1, map(frame, range(7, 9)))
    result = heal(folder)
    assert result.set_aside == []
    found = raw(folder)
    assert [each.capture_seq for each in found] == list(range(11))
    assert found[:3] + found[7:9] == [frame(seq) for seq in (0, 1, 2, 7, 8)]
    assert said(folder) == ["lost", "lost", "session_end"]
    assert verify(folder).problems == []


def test_several_journals_are_sealed_in_order_and_the_loss_stated_once(tmp_path: Path) -> None:
    """The last of them may be empty: it was opened when the process died."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    journal(folder, 1, map(frame, range(3, 5)))
    journal(folder, 2, [])
    result = heal(folder)
    assert (result.sealed_segments, result.lost_from) == (3, frame(4).ts_recv)
    assert said(folder) == ["lost", "session_end"]
    assert [segment.frame_count for segment in read_manifest(folder).segments] == [3, 2, 2]


def test_healing_twice_changes_nothing(tmp_path: Path) -> None:
    """Not a byte."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    (folder / "raw").mkdir()
    (folder / "raw" / ".000000.parquet.tmp").write_bytes(b"half")
    (folder / "raw" / "000000.parquet").write_bytes(b"of a segment that the manifest does not name")
    heal(folder)
    assert {path.name for path in (folder / "set-aside").iterdir()} == {
        "raw-.000000.parquet.tmp",
        "raw-000000.parquet",
    }
    healed = contents(folder)
    result = heal(folder)
    assert result.sealed_segments == 0
    assert contents(folder) == healed


def test_a_half_written_manifest_is_reason_to_heal(tmp_path: Path) -> None:
    """A recorder that continued a sealed recording died while it wrote that it runs."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    heal(folder)
    assert not needs_recovery(folder)
    (folder / f".{MANIFEST_NAME}.tmp").write_bytes(b"{")
    assert needs_recovery(folder)
    assert heal(folder).set_aside == [f"set-aside/{MANIFEST_NAME}.tmp"]
    assert not needs_recovery(folder)


def test_a_journal_is_written_only_behind_a_whole_one(tmp_path: Path) -> None:
    """Else a crash, or a full disk at a rotation, would leave a hole."""
    first = JournalWriter(tmp_path, 0)
    second = JournalWriter(tmp_path, 1, after=first)
    second.append(frame(1))
    second.flush()
    first.append(frame(0))
    assert second.written_count == 0
    first.close()
    second.close()
    assert second.written_count == 1


def test_a_journal_behind_a_broken_one_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refused the end of the first."""
    first = JournalWriter(tmp_path, 0)
    second = JournalWriter(tmp_path, 1, after=first)
    first.append(frame(0))

    def refuse(content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(first, "_write", refuse)
    with pytest.raises(OSError, match="No space left"):
        first.close()
    with suppress(OSError):  # at once or at the end: another thread tells it
        second.append(frame(1))
    with pytest.raises(OSError, match="No space left"):
        second.close()
    assert second.written_count == 0


def test_a_journal_may_be_synced_while_it_is_closed(tmp_path: Path) -> None:
    """Another thread syncs every second."""
    writer = JournalWriter(tmp_path, 0)
    is_over = threading.Event()

    def sync() -> None:
        while not is_over.is_set():
            writer.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    writer.append(frame(0))
    writer.close()
    is_over.set()
    thread.join()
    writer.sync()


def test_a_lock_of_the_living_is_refused_at_once(tmp_path: Path) -> None:
    """With the number of its process."""
    with FolderLock(tmp_path), pytest.raises(RecordingLocked, match=f"process {os.getpid()}"):
        FolderLock(tmp_path).__enter__()


def test_a_lock_of_the_dead_is_waited_for(tmp_path: Path) -> None:
    """The sealing process of a dead recorder holds it for a moment longer."""
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    path = tmp_path / LOCK_NAME
    path.write_bytes(dead.stdout)
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    threading.Timer(0.2, os.close, (handle,)).start()
    with FolderLock(tmp_path):
        assert path.read_bytes().split()[0] == b"%d" % os.getpid()


def test_a_sealed_recording_is_left_as_it_is(tmp_path: Path) -> None:
    """Also one whose last frame does not say that the session ends, as that of no import does."""
    for origin, status in (("import", "sealed"), ("live", "sealed"), ("live", "recovered")):
        folder = tape(tmp_path / f"{origin}-{status}")
        journal(folder, 0, [frame(0), frame(1)])
        Sealer(folder).seal(0, status=status)
        manifest = read_manifest(folder)
        manifest.origin = origin
        write_manifest(folder, manifest)
        heal(folder)
        before = contents(folder)
        assert heal(folder).lost_from is None
        assert contents(folder) == before
        assert [each.capture_seq for each in raw(folder)] == [0, 1]


def test_a_session_that_died_with_two_empty_journals_states_its_loss(tmp_path: Path) -> None:
    """The first was closed for the next at the first frame, and neither had come to the disk."""
    folder = tape(tmp_path / "tape")
    for number in range(3):
        journal(folder, number, [], touched=START + (number + 1) * NS_PER_S)
    result = heal(folder)
    assert (result.lost_from, result.set_aside) == (START, [])
    assert result.lost_until == START + 3 * NS_PER_S + round(FLUSH_S * NS_PER_S) + LATE_NS
    assert said(folder) == ["lost", "session_end"]
    assert verify(folder).problems == []
    assert not list((folder / "journal").iterdir())


def test_empty_journals_between_others_are_no_hole(tmp_path: Path) -> None:
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [])
    journal(folder, 1, [frame(0)])
    journal(folder, 2, [])
    journal(folder, 3, [frame(1), end(2)])
    result = heal(folder)
    assert (result.lost_from, result.sealed_segments, result.recovered_frames) == (None, 2, 3)
    assert [each.capture_seq for each in raw(folder)] == [0, 1, 2]
    assert len(read_manifest(folder).segments) == 2
    assert not list((folder / "journal").iterdir())
    assert verify(folder).problems == []


def test_frames_behind_a_hole_within_a_journal_are_kept(tmp_path: Path) -> None:
    """Sound batches between which one is missing: the hole is stated, and recovery never refuses."""
    folder = tape(tmp_path / "tape")
    whole = journal(folder, 0, [frame(0)]).read_bytes()
    writer = JournalWriter(tmp_path / "tape", 1)
    for numbers in ((1, 2), (3,), (5, 6)):
        for seq in numbers:
            writer.append(frame(seq))
        writer.drain()
    writer.close()
    journal(folder, 2, [frame(7)])
    result = heal(folder)
    found = raw(folder)
    assert [each.capture_seq for each in found] == list(range(10)), "and lost, and session_end"
    assert [each for each in found[:8] if each.venue] == [frame(seq) for seq in range(8) if seq != 4]
    assert said(folder) == ["lost", "lost", "session_end"]
    assert result.set_aside == []
    assert whole
    assert verify(folder).problems == []


def test_what_sealing_left_over_is_not_lost_a_second_time(tmp_path: Path) -> None:
    """A journal whose segment is sealed keeps its meaning when segments get other numbers."""
    folder = tape(tmp_path / "tape")
    for number in range(3):
        journal(folder, number, [frame(2 * number), frame(2 * number + 1)])
    with killed_at(folder, "manifest-written", 3):
        heal(folder)
    assert journal_path(folder, 2).exists()
    with FolderLock(folder):
        compact(folder)
    assert heal(folder).lost_from is None
    assert said(folder) == ["lost", "session_end"]
    assert verify(folder).problems == []


def test_a_journal_of_another_history_is_set_aside(tmp_path: Path) -> None:
    """Its number says that it is sealed, its frames are not."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    heal(folder)
    journal(folder, 0, [frame(5)])
    assert heal(folder).set_aside == ["set-aside/journal-000000.arrows"]
    assert verify(folder).problems == []


def test_files_of_others_stay_where_they_are(tmp_path: Path) -> None:
    """Only what has a name that sealing gives is set aside."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0)])
    theirs = ("raw/notes.txt", "raw/1.parquet", "trades/000000.parquet.part", "journal/7.arrows", "journal/x", ".x.tmp")
    for name in theirs:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"mine")
    assert heal(folder).set_aside == []
    assert all((folder / name).read_bytes() == b"mine" for name in theirs)


@pytest.mark.parametrize("every", [29, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", FAULTS)
def test_recovery_may_fail_at_any_instant_and_run_again(fault: str, every: int, tmp_path: Path) -> None:
    """Every frame once, the loss stated once, and no file more than if it had come to its end at once."""

    def dead(name: str) -> Path:
        folder = tape(tmp_path / name)
        journal(folder, 0, map(frame, range(3)))
        with journal(folder, 1, map(frame, range(3, 5))).open("ab") as file:
            file.write(b"torn")
        return folder

    counting = Interruption(dead("model"))
    with counting.in_force():
        heal(tmp_path / "model")
    for at in range(0, counting.instants, every):
        folder = dead(f"tape-{at}")
        interruption = Interruption(folder, at, fault)
        with contextlib.suppress(RecordingError, MemoryError, KeyboardInterrupt), interruption.in_force():
            heal(folder)
        heal(folder)
        assert [each.capture_seq for each in raw(folder)] == list(range(7)), interruption.names[at]
        assert said(folder) == ["lost", "session_end"]
        assert find_gaps(folder)["kind"].to_list() == ["lost"]
        assert verify(folder).problems == []
        if fault != "kill":
            assert {path.name for path in (folder / "set-aside").iterdir()} <= {
                path.name for path in (tmp_path / "model" / "set-aside").iterdir()
            } | {"recording.json.tmp"}


def test_a_damaged_end_of_what_is_sealed_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    """Whether its session ended, the manifest's counts say; what is damaged stays so, and what follows is sealed."""
    for last, expected in ((end(2), []), (frame(2), ["lost", "session_end"])):
        folder = tape(tmp_path / f"tape-{len(expected)}")
        journal(folder, 0, [frame(0), frame(1), last])
        Sealer(folder).seal(0)
        path = folder / "raw" / "000000.parquet"
        content = path.read_bytes()
        path.write_bytes(content[:40] + b"\x00\x01\x02" + content[43:])
        heal(folder)
        assert not verify(folder).is_sound
        path.write_bytes(content)
        assert verify(folder).problems == []
        assert said(folder)[-2:] == (expected or ["session_end"])


def test_a_journal_without_a_byte_is_no_damage(tmp_path: Path) -> None:
    """It was opened when the recorder died."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0)])
    journal_path(folder, 1).write_bytes(b"")
    assert verify(folder).problems == []
    heal(folder)
    assert said(folder) == ["lost", "session_end"]
    assert verify(folder).problems == []


def test_a_recording_that_never_began_is_taken_back_but_for_what_is_somebody_elses(tmp_path: Path) -> None:
    """A mistyped pair leaves no folder behind, and takes no file of others along."""
    for theirs in ({}, {"notes.txt": b"mine"}, {"raw/mine.parquet": b"mine", "journal/a": b"mine"}):
        folder = tape(tmp_path / f"tape-{len(theirs)}")
        journal(folder, 0, [frame(0), end(1)])
        heal(folder)
        journal(folder, 1, [frame(2)])
        for name, content in theirs.items():
            (folder / name).write_bytes(content)
        _remove_empty(folder)
        assert folder.exists() == bool(theirs)
        assert {name: (folder / name).read_bytes() for name in theirs} == theirs
        left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert left <= {*theirs, LOCK_NAME}


def carried(folder: Path) -> CarriedOver:
    """Go on behind what is left, without sealing it."""
    with FolderLock(folder):
        finish_leftovers(folder)
        manifest = read_manifest(folder)
        normalizer = Normalizer.for_sources(manifest.sources)
        resume_at_end(folder, manifest, normalizer)
        return carry_over(folder, manifest, normalizer, DayLater())


def test_going_on_behind_a_session_that_wrote_nothing_at_all(tmp_path: Path) -> None:
    """It died before its first journal, or over it: a loss is stated in the second case only."""
    folder = tape(tmp_path / "tape")
    assert carried(folder) == CarriedOver([], 0, 0)
    journal(folder, 0, [])
    assert carried(folder) == CarriedOver([0], 1, 2)
    assert carried(folder) == CarriedOver([0], 1, 2), "and once"
    heal(folder)
    assert said(folder) == ["lost", "session_end"]
    assert verify(folder).problems == []


def test_going_on_behind_a_session_of_which_nothing_is_left(tmp_path: Path) -> None:
    """The one before it had ended well, and is not sealed either."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    journal(folder, 1, [])
    journal(folder, 2, [])
    assert carried(folder) == CarriedOver([0, 1], 2, 4)
    journal(folder, 2, [frame(4)])
    heal(folder)
    assert said(folder) == ["session_end", "lost", "session_end", "lost", "session_end"]
    assert verify(folder).problems == []


def test_a_session_of_which_nothing_is_left_behind_one_that_ended_is_stated(tmp_path: Path) -> None:
    """Healed as a whole: the empty journal is of a later session, since an end is the last that one writes."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, [frame(0), end(1)])
    journal(folder, 1, [])
    heal(folder)
    assert said(folder) == ["session_end", "lost", "session_end"]
    assert verify(folder).problems == []


@pytest.mark.parametrize("fault", FAULTS)
def test_going_on_without_sealing_may_fail_at_any_instant(fault: str, tmp_path: Path) -> None:
    """And be done again: the loss is stated once, and no frame is missing."""

    def dead(name: str) -> Path:
        folder = tape(tmp_path / name)
        journal(folder, 0, [])
        journal(folder, 1, map(frame, range(3)))
        journal(folder, 2, [])
        return folder

    counting = Interruption(dead("model"))
    with counting.in_force():
        carried(tmp_path / "model")
    for at in range(0, counting.instants, 5):
        folder = dead(f"tape-{at}")
        with (
            contextlib.suppress(RecordingError, MemoryError, KeyboardInterrupt),
            Interruption(folder, at, fault).in_force(),
        ):
            carried(folder)
        assert carried(folder) == CarriedOver([0, 1], 2, 5), counting.names[at]
        heal(folder)
        assert said(folder) == ["lost", "session_end"]
        assert verify(folder).problems == []


def test_what_dies_over_sealing_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    """Half-made segments are set aside, and the same ones once; others of the same name beside them."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    for _ in range(4):
        with killed_at(folder, "checkpoint-written"):
            heal(folder)
    (folder / "raw" / "000000.parquet").write_bytes(b"another")
    heal(folder)
    aside = {path.name: path.read_bytes() for path in (folder / "set-aside").iterdir()}
    assert len(aside) == len(set(aside.values()))
    assert aside["raw-000000.parquet.1"] == b"another"
    assert {name.rpartition(".")[2] for name in aside} <= {"parquet", "state", "1"}
    assert verify(folder).problems == []


def test_what_a_hash_still_vouches_for_is_not_set_aside(tmp_path: Path) -> None:
    """A name in the manifest is another than the file's: the file is what is missing there."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    heal(folder)
    manifest = read_manifest(folder)
    before = sorted(folder.rglob("*.parquet"))
    for table, file in manifest.segments[0].tables.items():
        other = msgspec.structs.replace(file, path=file.path.replace("000000", "000100"))
        manifest.segments[0].tables[table] = other
    manifest.status = "running"
    write_manifest(folder, manifest)
    orphan = folder / "raw" / "000007.parquet"
    orphan.write_bytes(b"of nobody")
    with suppress(RecordingDamaged):
        heal(folder)
    assert sorted(path for path in folder.rglob("*.parquet") if "set-aside" not in path.parts) == before
    assert not orphan.exists()


def test_a_manifest_that_has_lost_its_segments_moves_nothing(tmp_path: Path) -> None:
    """One bit in the key, in a version that has no checksum and in one that has."""
    folder = tape(tmp_path / "tape")
    journal(folder, 0, map(frame, range(3)))
    heal(folder)
    before = sorted(folder.rglob("*"))
    path = folder / MANIFEST_NAME
    whole = path.read_bytes()
    for is_checked in (True, False):
        path.write_bytes(whole)
        if not is_checked:
            without_checksum(folder)
        path.write_bytes(path.read_bytes().replace(b'"segments"', b'"segmentr"'))
        with pytest.raises(RecordingDamaged, match="is damaged"):
            heal(folder)
        assert sorted(folder.rglob("*")) == before
