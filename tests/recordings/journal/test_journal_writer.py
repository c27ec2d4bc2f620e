"""Writing a journal where memory, disk and other programs do what they should not."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from recordings.format.manifest import Segment, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalReader, JournalWriter, journal_path
from tests.deadlines import HANG_S
from tests.hand_recorder import HandRecorder
from tests.tapes import TS
from toolkit.errors import RecordingError
from toolkit.frames import WS_IN, Frame


def frame(seq: int) -> Frame:
    return Frame(seq, TS + seq, seq, "v", 0, 0, WS_IN, b'{"n":%d}' % seq)


def numbers(path: Path) -> list[int]:
    reader = JournalReader(path)
    found = [each.capture_seq for batch in reader.frames() for each in batch]
    assert reader.problem == ""
    return found


def write(writer: JournalWriter, *seqs: int) -> None:
    for seq in seqs:
        writer.append(frame(seq))
    writer.drain()


def failing(error: BaseException, real: Callable[..., Any], at: int = 1) -> Callable[..., Any]:
    """A function that fails the `at`th time it is called, and does its work otherwise."""
    left = at

    def call(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise error
        return real(*args, **options)

    return call


@pytest.mark.parametrize("place", ["frames_to_batch", "batch_checksum", "batch_message"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd"), OSError(errno.EIO, "Input/output error")])
def test_a_batch_that_cannot_be_made_ends_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    """Nothing is written behind the hole, whoever appends is told, and what was written is read."""
    import recordings.journal.journal_writer as module

    writer = JournalWriter(tmp_path, 0)
    write(writer, 0, 1)
    monkeypatch.setattr(module, place, failing(error, getattr(module, place)))
    writer.append(frame(2))
    with pytest.raises((RecordingError, OSError)) as caught:
        writer.drain()
    assert type(error).__name__ in str(caught.value) or caught.value is error
    for act in (lambda: writer.append(frame(3)), writer.flush, writer.settle, writer.close):
        with pytest.raises(type(caught.value)):
            act()
    reader = JournalReader(writer.path)
    assert [each.capture_seq for batch in reader.frames() for each in batch] == [0, 1]
    assert writer.written_count == 2


def test_memory_that_ends_while_a_batch_is_written_leaves_the_batches_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, 0)
    write(writer, 0)
    with monkeypatch.context() as patch:
        patch.setattr("recordings.journal.journal_writer.os.write", failing(MemoryError(), os.write))
        writer.append(frame(1))
        with pytest.raises(RecordingError, match=r"a batch could not be written \(MemoryError\)"):
            writer.drain()
    with pytest.raises(RecordingError, match="MemoryError"):
        writer.close()
    assert numbers(writer.path) == [0]


def test_who_is_told_of_batches_cannot_end_the_recording(tmp_path: Path) -> None:
    """Whoever follows has the folder; recording goes on."""
    said: list[str] = []

    def told(first: int, last: int, content: bytes) -> None:
        raise ValueError("no followers")

    writer = JournalWriter(tmp_path, 0, on_written=told, on_notice=said.append)
    write(writer, 0)
    write(writer, 1)
    writer.close()
    assert numbers(writer.path) == [0, 1]
    assert said == ["followers are not notified of new frames any more (ValueError: no followers)"]


def test_batches_keep_their_order_whichever_thread_hands_them_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread is held between taking the frames and queueing them, and another one flushes meanwhile."""
    writer = JournalWriter(tmp_path, 0)
    held, go_on = threading.Event(), threading.Event()
    submit = writer._thread.submit

    def slow_submit(*args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            held.set()
            go_on.wait(HANG_S)
        return submit(*args)

    monkeypatch.setattr(writer._thread, "submit", slow_submit)
    writer.append(frame(0))
    other = threading.Thread(target=writer.drain)
    other.start()
    assert held.wait(HANG_S)
    flushing = threading.Timer(0.05, go_on.set)
    flushing.start()
    writer.append(frame(1))
    writer.flush()
    other.join()
    flushing.join()
    writer.close()
    found = numbers(writer.path)
    assert found == sorted(found)
    assert found[0] == 0


def test_settling_hands_nothing_over(tmp_path: Path) -> None:
    """Another thread calls it; what is appended meanwhile is the appender's alone."""
    writer = JournalWriter(tmp_path, 0)
    write(writer, 0)
    writer.append(frame(1))
    assert writer.settle()
    assert writer.written_count == 1
    writer.close()
    assert numbers(writer.path) == [0, 1]


# -- the file goes away ------------------------------------------------------------------------------------------------


def removed(path: Path) -> str:
    path.unlink()
    return "was removed while"


def renamed(path: Path) -> str:
    path.rename(path.with_name("moved"))
    return "was removed while"


def folder_removed(path: Path) -> str:
    shutil.rmtree(path.parent)
    return "was removed while"


def replaced(path: Path) -> str:
    path.unlink()
    path.write_bytes(b"another")
    return "was replaced by another file (now set-aside/journal-000000.arrows) while"


def replaced_by_a_copy(path: Path) -> str:
    other = path.with_name("copy")
    shutil.copy(path, other)
    other.replace(path)
    return "was replaced by another file (now set-aside/journal-000000.arrows) while"


def replaced_by_a_link(path: Path) -> str:
    path.unlink()
    path.symlink_to("/nonexistent/place")
    return "was replaced by another file (now set-aside/journal-000000.arrows) while"


@pytest.mark.parametrize(
    "fault",
    [removed, renamed, folder_removed, replaced, replaced_by_a_copy, replaced_by_a_link],
    ids=lambda f: f.__name__,
)
def test_an_open_journal_that_goes_away_is_written_again(tmp_path: Path, fault: Callable[[Path], str]) -> None:
    """From the open file; what comes after goes into the new one."""
    said: list[str] = []
    writer = JournalWriter(tmp_path, 0, on_notice=said.append)
    write(writer, 0, 1, 2)
    expected = fault(writer.path)
    writer.look()
    assert [expected in line for line in said] == [True]
    assert "nothing is lost" in said[0]
    write(writer, 3)
    writer.look()
    writer.close()
    assert numbers(journal_path(tmp_path, 0)) == [0, 1, 2, 3]
    assert writer.byte_count == journal_path(tmp_path, 0).stat().st_size
    assert len(said) == writer.restored_count == 1


def test_a_journal_that_goes_away_before_it_is_closed_is_there_afterwards(tmp_path: Path) -> None:
    """Nobody had looked yet."""
    writer = JournalWriter(tmp_path, 0)
    write(writer, 0)
    writer.path.unlink()
    writer.append(frame(1))
    writer.close()
    assert numbers(writer.path) == [0, 1]


def test_a_finished_journal_that_waits_to_be_sealed_is_looked_after(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, 0)
    write(writer, 0)
    writer.finish()
    writer.path.unlink()
    writer.look()
    assert numbers(writer.path) == [0]
    writer.release()
    writer.path.unlink()
    writer.look()
    assert not writer.path.exists()


def test_a_journal_that_cannot_be_written_again_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for the copy: recording goes on in the open file, and it is said once."""
    said: list[str] = []
    writer = JournalWriter(tmp_path, 0, on_notice=said.append)
    write(writer, 0)
    writer.path.unlink()
    real = os.open
    is_full = True

    def no_room(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if is_full and str(path).endswith(".tmp"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *args, **options)

    monkeypatch.setattr("recordings.journal.journal_writer.os.open", no_room)
    writer.look()
    writer.look()
    write(writer, 1)
    assert len(said) == 1
    assert "cannot be written again (No space left on device)" in said[0]
    is_full = False
    writer.look()
    writer.close()
    assert numbers(writer.path) == [0, 1]
    assert len(said) == 2


def test_a_journal_that_cannot_be_written_again_until_the_end_is_said_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, 0)
    write(writer, 0)
    writer.path.unlink()
    monkeypatch.setattr(
        "recordings.journal.journal_writer.sync_handle", failing(OSError(errno.ENOSPC, "No space"), lambda _: True)
    )
    with pytest.raises(OSError, match="No space"):
        writer.close()


@pytest.mark.parametrize("size", [0, 1, 1500])
def test_a_journal_that_is_cut_ends_the_recording(tmp_path: Path, size: int) -> None:
    """What was in it is gone: that must not go unsaid until somebody reads it."""
    writer = JournalWriter(tmp_path, 0)
    write(writer, *range(100))
    os.truncate(writer.path, size)
    writer.look()
    with pytest.raises(RecordingError, match=rf"was cut from [\d,]+ to {size:,} bytes while it was recorded"):
        writer.append(frame(100))
    with pytest.raises(RecordingError):
        writer.close()


@pytest.mark.parametrize("act", ["write", "close"])
def test_a_journal_that_is_cut_between_two_looks_is_no_journal_with_a_hole(tmp_path: Path, act: str) -> None:
    """The next write would make it as long as it was, with zeros in the middle."""
    writer = JournalWriter(tmp_path, 0)
    write(writer, *range(100))
    os.truncate(writer.path, 1500)
    writer.append(frame(100))
    with pytest.raises(RecordingError, match=r"was cut from [\d,]+ to 1,500 bytes while it was recorded"):
        writer.drain() if act == "write" else writer.close()
    with suppress(RecordingError):
        writer.close()
    assert writer.path.stat().st_size == 1500


def test_a_recording_that_is_removed_ends(tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    folder.mkdir()
    writer = JournalWriter(folder, 0)
    write(writer, 0)
    shutil.rmtree(folder)
    writer.look()
    with pytest.raises(RecordingError, match="tape was removed while it was recorded into"):
        writer.append(frame(1))
    with pytest.raises(RecordingError):
        writer.close()


# -- one journal after the other ---------------------------------------------------------------------------------------


def test_the_next_journal_is_opened_by_its_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that takes seconds to answer holds up nobody: frames are taken, and written when it is there."""
    first = JournalWriter(tmp_path, 0)
    write(first, 0)
    go_on = threading.Event()
    opener: list[str] = []

    def slow(folder: Path) -> None:
        opener.append(threading.current_thread().name)
        go_on.wait(HANG_S)

    monkeypatch.setattr("recordings.journal.journal_writer.make_folder", slow)
    second = JournalWriter(tmp_path, 1, after=first)
    second.append(frame(1))
    second.flush()
    assert second.written_count == 0
    go_on.set()
    first.close()
    second.close()
    assert [name.startswith("journal") for name in opener] == [True]
    assert numbers(second.path) == [1]


def test_what_comes_after_a_rotation_is_written_while_the_journal_before_is_still_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill meanwhile loses what was not flushed, and not what came since the rotation."""
    first = JournalWriter(tmp_path, 0)
    write(first, 0)
    syncing, go_on = threading.Event(), threading.Event()
    real = os.fsync

    def slow(handle: int) -> None:
        if handle == first._handle:
            syncing.set()
            go_on.wait(HANG_S)
        real(handle)

    monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", slow)
    second = JournalWriter(tmp_path, 1, after=first)
    closing = threading.Thread(target=first.close)
    closing.start()
    assert syncing.wait(HANG_S)
    write(second, 1)
    assert numbers(second.path) == [1]
    go_on.set()
    closing.join()
    second.close()


def test_nothing_is_written_before_what_came_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill meanwhile leaves no hole."""
    first = JournalWriter(tmp_path, 0)
    writing, go_on = threading.Event(), threading.Event()
    real = first._write

    def slow(content: Any) -> None:
        writing.set()
        go_on.wait(HANG_S)
        real(content)

    monkeypatch.setattr(first, "_write", slow)
    first.append(frame(0))
    first.flush()
    assert writing.wait(HANG_S)
    second = JournalWriter(tmp_path, 1, after=first)
    second.append(frame(1))
    second.flush()
    assert not second._written.wait(0.1)
    assert second.written_count == 0
    go_on.set()
    first.close()
    second.close()
    assert (numbers(first.path), numbers(second.path)) == ([0], [1])


def test_nothing_is_synced_before_what_came_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a journal that is there must follow the one before it."""
    first = JournalWriter(tmp_path, 0)
    second = JournalWriter(tmp_path, 1, after=first)
    order: list[str] = []
    syncing, go_on, was_synced = threading.Event(), threading.Event(), threading.Event()
    real = os.fsync

    def noted(handle: int) -> None:
        if handle == first._handle:
            syncing.set()
            go_on.wait(HANG_S)
            order.append("first")
        elif handle == second._handle:
            order.append("second")
            was_synced.set()
        real(handle)

    write(first, 0)
    monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", noted)
    threads = [threading.Thread(target=first.close), threading.Thread(target=second.settle)]
    threads[0].start()
    assert syncing.wait(HANG_S)
    second.append(frame(1))
    second.flush()
    threads[1].start()
    assert not was_synced.wait(0.1)
    go_on.set()
    for thread in threads:
        thread.join()
    assert order == ["first", "second"]
    second.close()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_is_recorded_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Network shares, and some containers; a disk that fails says EIO, and that is raised."""

    def cannot(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", cannot)
    writer = JournalWriter(tmp_path, 0)
    writer.append(frame(0))
    writer.flush()
    assert not writer.settle()
    writer.close()
    assert numbers(writer.path) == [0]


def test_a_disk_that_fails_to_sync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, 0)
    write(writer, 0)

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        writer.settle()
    with pytest.raises(OSError, match="Input/output error"):
        writer.close()


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_finished_journal_that_is_gone_is_written_again_unless_its_segment_is_sealed(
    tmp_path: Path, is_sealed: bool
) -> None:
    """The process that seals removes it, and the recorder hears of that later: it was nobody else."""
    notices: list[str] = []
    recorder = HandRecorder(tmp_path / "tape")
    recorder.journal.drain()
    recorder.journal.finish()
    writer = JournalWriter(tmp_path / "tape", 1, on_notice=notices.append)
    write(writer, 0, 1, 2)
    writer.finish()
    manifest = read_manifest(tmp_path / "tape")
    manifest.segments += [Segment(number, 0, 0, 2, TS, TS + 2, "", "", {}, {}, 0) for number in range(1 + is_sealed)]
    write_manifest(tmp_path / "tape", manifest)
    writer.path.unlink()
    writer.look()
    assert writer.path.exists() is not is_sealed
    assert (notices == []) is is_sealed
    writer.release()
