"""A recorder whose disk, memory, folder or sealing fails: nothing is lost unsaid, and what can go on goes on."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from recordings.care.recovery import recover
from recordings.care.verifying import verify
from recordings.format.manifest import Manifest, read_manifest
from recordings.journal.journal_reader import journal_segments
from recordings.queries.gaps import find_gaps
from recordings.recorder import Recorder
from recordings.recording import Recording
from replay.embedded import EmbeddedVenue
from tests.deadlines import HANG_S, within_deadline
from tests.live_tapes import QUICK, Listener, recorder_for, started
from toolkit.clock import SystemClock
from toolkit.errors import BackpressureError, RecordingError
from toolkit.messages import BestQuote

PAIRS = ("BTC-USD",)
T = TypeVar("T")


Act = Callable[[Recorder, Listener], Coroutine[Any, Any, None]]


async def session(folder: Path, act: Act, logged: list[str] | None = None, **options: object) -> Manifest:
    """Record the embedded venue, do something in the middle, stop."""
    async with EmbeddedVenue(seed=1, clock=SystemClock(), options=QUICK) as venue:
        recorder = recorder_for(folder, venue, PAIRS, flush_interval_s=0.05, **options)
        if logged is not None:
            recorder.log = logged.append
        run, listener = await started(recorder)
        try:
            await listener.until(BestQuote, 5)
            if not run.done():
                await act(recorder, listener)
        finally:
            recorder.stop()
            manifest = await run
        return manifest


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(0.01)


def frames(folder: Path) -> list[int]:
    return [frame.capture_seq for batch in Recording.open(folder).raw_frames() for frame in batch]


def lost(folder: Path) -> int:
    return find_gaps(folder)["kind"].to_list().count("lost")


# -- memory and disk ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["frames_to_batch", pytest.param("batch_message", marks=pytest.mark.slow)])
def test_memory_that_ends_while_recording_is_stated_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """What was written is sealed, the rest is a gap; and the recording can be gone on with."""

    async def fail(recorder: Recorder, listener: Listener) -> None:
        def no_memory(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr(f"recordings.journal.journal_writer.{place}", no_memory)
        await listener.until(BestQuote, 10**9)

    with pytest.raises(BackpressureError, match="a batch could not be written"):
        within_deadline(session(tmp_path / "tape", fail))
    monkeypatch.undo()
    assert verify(tmp_path / "tape").problems == []
    assert read_manifest(tmp_path / "tape").status == "recovered"
    assert lost(tmp_path / "tape") == 1
    before = frames(tmp_path / "tape")

    async def nothing(recorder: Recorder, listener: Listener) -> None:
        await listener.until(BestQuote, 1)

    within_deadline(session(tmp_path / "tape", nothing))
    after = frames(tmp_path / "tape")
    assert after == list(range(len(after)))
    assert len(after) > len(before)
    assert verify(tmp_path / "tape").problems == []


@pytest.mark.parametrize("what", ["write", "fsync"])
def test_a_disk_that_refuses_the_end_is_stated_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The last batch, with the word that the session ends, did not reach the disk."""

    async def fail(recorder: Recorder, listener: Listener) -> None:
        assert recorder.session is not None
        journals = recorder.session.journals
        assert journals._open is not None
        last = journals._open
        real_write, real_sync = last._write, os.fsync

        def refuse(content: Any) -> None:
            if journals._open is None:  # it is being closed
                raise OSError(errno.ENOSPC, "No space left on device")
            real_write(content)

        def refuse_sync(handle: int) -> None:
            if handle == last._handle and journals._open is None:
                raise OSError(errno.EIO, "Input/output error")
            real_sync(handle)

        if what == "write":
            monkeypatch.setattr(last, "_write", refuse)
        else:
            monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", refuse_sync)

    with pytest.raises(RecordingError, match=r"cannot be written \((No space left|Input/output error)"):
        within_deadline(session(tmp_path / "tape", fail))
    manifest = read_manifest(tmp_path / "tape")
    assert manifest.status == "recovered"
    assert verify(tmp_path / "tape").problems == []
    # What the disk only failed to confirm was read back, and is sealed and synced in another file now.
    assert lost(tmp_path / "tape") == (1 if what == "write" else 0)
    assert journal_segments(tmp_path / "tape") == []


def test_a_slow_disk_holds_up_no_frame_at_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the closed journal and its folder are being synced frames come in, and reach the operating system."""
    real = os.fsync
    slow, go_on = threading.Event(), threading.Event()

    def fsync(handle: int) -> None:
        if slow.is_set():
            go_on.wait(HANG_S)
        real(handle)

    monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", fsync)

    async def rotate(recorder: Recorder, listener: Listener) -> None:
        assert recorder.session is not None
        journals = recorder.session.journals
        before = journals.number
        slow.set()
        await until(lambda: journals.number > before)
        await listener.until(BestQuote, 20)
        second = journals._open
        assert second is not None
        # A kill now would lose what was not flushed, and not what waits for the disk.
        await until(lambda: second.written_count > 0)
        assert not go_on.is_set()
        go_on.set()

    within_deadline(session(tmp_path / "tape", rotate, rotate_s=0.3))
    found = frames(tmp_path / "tape")
    assert found == list(range(len(found)))
    assert verify(tmp_path / "tape").problems == []
    assert lost(tmp_path / "tape") == 0


# -- what goes away under a recorder -----------------------------------------------------------------------------------


def remove_journal(folder: Path) -> None:
    for path in (folder / "journal").iterdir():
        path.unlink()


def remove_manifest(folder: Path) -> None:
    (folder / "recording.json").unlink()


def restore_old_manifest(folder: Path) -> None:
    """As a sync tool would that has the upper hand."""
    (folder / "recording.json").write_text('{"format":"tickdeck-recording","format_version":1,"created_ns":7}')


def remove_lock(folder: Path) -> None:
    (folder / "recording.lock").unlink()


@pytest.mark.parametrize(
    "fault",
    [
        remove_journal,
        *(pytest.param(f, marks=pytest.mark.slow) for f in (remove_manifest, restore_old_manifest, remove_lock)),
    ],
    ids=lambda fault: fault.__name__,
)
def test_what_is_removed_under_a_recorder_is_put_back(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    logged: list[str] = []

    async def remove(recorder: Recorder, listener: Listener) -> None:
        fault(tmp_path / "tape")
        await until(lambda: any(" was re" in line for line in logged))
        await listener.until(BestQuote, 5)

    within_deadline(session(tmp_path / "tape", remove, logged))
    found = frames(tmp_path / "tape")
    assert found == list(range(len(found)))
    result = verify(tmp_path / "tape")
    assert result.problems == []
    assert result.live_digest == result.raw_digest
    assert lost(tmp_path / "tape") == 0
    assert (tmp_path / "tape" / "recording.lock").exists()


# -- sealing that fails ------------------------------------------------------------------------------------------------


@pytest.fixture
def dying_sealer(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Each sealing process is killed before it has sealed anything, as by a system out of memory."""
    monkeypatch.setenv("TICKDECK_DIE_AT", "sealer/tables-written")
    monkeypatch.setattr("recordings.writing.sealing_queue.PAUSE_S", 0.05)
    return monkeypatch


async def go_on_without(recorder: Recorder, listener: Listener) -> None:
    """Record on until sealing has failed several times and several segments wait."""
    await until(lambda: recorder.status.sealing_failures >= 2 and recorder.status.unsealed >= 2)
    await listener.until(BestQuote, 5)


@pytest.mark.slow
def test_recording_does_not_depend_on_sealing(tmp_path: Path, dying_sealer: pytest.MonkeyPatch) -> None:
    """It goes on while the sealing process dies, so does the next one; all is sealed as soon as that works."""
    tape = tmp_path / "tape"
    logged: list[str] = []
    for _ in range(2):
        with pytest.raises(RecordingError, match=r"could not be sealed .* tried 3 times; \d+ journals are kept"):
            within_deadline(session(tape, go_on_without, logged, rotate_s=0.3))
    assert any("recording goes on; what the earlier session left is sealed later" in line for line in logged)
    kept = len(journal_segments(tape))
    assert kept >= 4
    assert read_manifest(tape).segments == []
    dying_sealer.delenv("TICKDECK_DIE_AT")

    async def until_sealed(recorder: Recorder, listener: Listener) -> None:
        await listener.until(BestQuote, 1)

    within_deadline(session(tape, until_sealed))
    found = frames(tape)
    assert found == list(range(len(found)))
    result = verify(tape)
    assert result.problems == []
    assert result.live_digest == result.raw_digest == result.normalized_digest
    assert journal_segments(tape) == []
    assert lost(tape) == 0


@pytest.mark.slow
def test_what_waits_is_sealed_once_sealing_works_again(tmp_path: Path, dying_sealer: pytest.MonkeyPatch) -> None:
    """Within the session, without its end."""
    logged: list[str] = []

    async def heal(recorder: Recorder, listener: Listener) -> None:
        await go_on_without(recorder, listener)
        dying_sealer.delenv("TICKDECK_DIE_AT")
        await until(lambda: recorder.status.unsealed == 0)
        assert recorder.status.sealing_problem == ""

    manifest = within_deadline(session(tmp_path / "tape", heal, logged, rotate_s=0.3))
    assert manifest.status == "sealed"
    assert verify(tmp_path / "tape").problems == []
    assert any("could not be sealed (the sealing process ended with status -9)" in line for line in logged)
    assert any(line.startswith("segment 0 is sealed, at the ") for line in logged)


@pytest.mark.slow
def test_a_recorder_killed_over_unsealed_journals_is_gone_on_with(
    tmp_path: Path, dying_sealer: pytest.MonkeyPatch
) -> None:
    """The loss is stated in a journal of its own where even healing dies; `recover` makes the same of it later."""
    tape = tmp_path / "tape"

    async def die(recorder: Recorder, listener: Listener) -> None:
        await go_on_without(recorder, listener)
        snapshot = tmp_path / "killed"
        snapshot.mkdir()
        os.system(f"cp -a {tape}/. {snapshot}/")  # noqa: ASYNC221  # as a kill at this instant would leave it

    with pytest.raises(RecordingError):
        within_deadline(session(tape, die, rotate_s=0.3))
    killed = tmp_path / "killed"
    with pytest.raises(RecordingError, match="journals are kept"):
        within_deadline(session(killed, go_on_without, rotate_s=0.3))
    recovery = recover(killed, SystemClock())
    assert recovery.sealed_segments >= 4
    found = frames(killed)
    assert found == list(range(len(found)))
    assert verify(killed).problems == []
    assert lost(killed) == 1


@pytest.mark.slow
def test_sealing_that_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for tables: an answer, and not a death."""
    monkeypatch.setattr("recordings.writing.sealing_queue.PAUSE_S", 0.05)
    tape = tmp_path / "tape"
    logged: list[str] = []

    async def refuse(recorder: Recorder, listener: Listener) -> None:
        (tape / "raw").write_text("in the way of the folder of that name")
        assert recorder.session is not None
        recorder.session.journals._rotation.begin(0)  # an hour long ago: the segment is over
        await until(lambda: recorder.status.sealing_failures >= 2)
        (tape / "raw").unlink()
        await until(lambda: recorder.status.unsealed == 0)

    within_deadline(session(tape, refuse, logged))
    assert verify(tape).problems == []
    assert any("could not be sealed (" in line and "File exists" in line for line in logged)


@pytest.mark.slow
def test_a_system_that_has_no_process_to_spare_is_recorded_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start: there is nothing to seal with, and the journal is enough."""
    monkeypatch.setattr("recordings.writing.sealing_queue.PAUSE_S", 0.05)
    real = asyncio.create_subprocess_exec
    logged: list[str] = []

    async def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("recordings.writing.sealer_process.asyncio.create_subprocess_exec", none_left)

    async def go_on(recorder: Recorder, listener: Listener) -> None:
        await go_on_without(recorder, listener)
        monkeypatch.setattr("recordings.writing.sealer_process.asyncio.create_subprocess_exec", real)
        await until(lambda: recorder.status.unsealed == 0)

    within_deadline(session(tmp_path / "tape", go_on, logged, rotate_s=0.3))
    assert verify(tmp_path / "tape").problems == []
    assert any("the sealing process cannot be started: Resource temporarily unavailable" in line for line in logged)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["print('hello', flush=True)", "print('x' * 1_000_000, flush=True)"])
def test_a_sealing_process_that_babbles_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nif 'recordings.writing.sealer_process' in sys.orig_argv: {noise}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("recordings.writing.sealing_queue.PAUSE_S", 0.05)

    async def quiet(recorder: Recorder, listener: Listener) -> None:
        await until(lambda: recorder.status.sealing_failures >= 1)
        monkeypatch.delenv("PYTHONPATH")
        await until(lambda: recorder.status.unsealed == 0)

    within_deadline(session(tmp_path / "tape", quiet, rotate_s=0.3))
    assert verify(tmp_path / "tape").problems == []
