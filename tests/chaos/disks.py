"""What happens to disks and folders while they are recorded to."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from recordings.format.manifest import read_manifest
from tests.chaos import truth
from tests.chaos.bench import Bench, Mount, check, cli, until_unlocked
from tests.chaos.faults import LINKS, QUICK, ended, failed, sound

#: What is left of a small disk when the recording is under way.
ROOM = 96 << 10


def fill(place: Path, room: int) -> Path:
    """A file that leaves so much of a file system."""
    ballast = place / "ballast"
    disk = os.statvfs(place)
    with ballast.open("wb") as file:
        file.write(b"\0" * max(disk.f_bavail * disk.f_frsize - room, 0))
    return ballast


def disk_full(work: Path, seed: object) -> str:
    """No room for one more batch: one line, exit 1, everything written is readable; with room again it is healed."""
    with Bench.open(work, seed=seed) as bench, Mount(work / "disk", "8m") as disk:
        recorder = bench.record(disk.place / "tape", *QUICK)
        recorder.until_recording(50_000)
        ballast = fill(disk.place, ROOM)
        failed(recorder, "cannot be written", "No space left on device", "make room")
        written = truth.rows_on_disk(recorder.folder)
        check(cli("recover", recorder.folder).returncode == 1, "recover on a full disk says so")
        check(truth.rows_on_disk(recorder.folder) == written, "and takes nothing away")
        ballast.unlink()
        check(cli("recover", recorder.folder).returncode == 0, "with room again it is healed")
        check(truth.raw_rows(recorder.folder)[: len(written)] == written, "all that was written is there")
        truth.check_gaps(recorder.folder, "lost")
        said = sound(bench, recorder.folder)
        again = bench.record(recorder.folder, *QUICK)
        again.until_recording()
        ended(again)
        sound(bench, recorder.folder)
        return said


def disk_full_at_rotation(work: Path, seed: object) -> str:
    """The same while segments are being closed, opened and sealed."""
    with Bench.open(work, seed=seed) as bench, Mount(work / "disk", "8m") as disk:
        recorder = bench.record(disk.place / "tape", *QUICK, "--rotate", "1s")
        recorder.until(lambda: len(read_or_nothing(recorder.folder)) > 1, "two segments are sealed")
        ballast = fill(disk.place, ROOM)
        failed(recorder, "No space left on device")
        written = truth.rows_on_disk(recorder.folder)
        ballast.unlink()
        check(cli("recover", recorder.folder).returncode == 0, "with room again it is healed")
        check(truth.raw_rows(recorder.folder)[: len(written)] == written, "all that was written is there")
        return sound(bench, recorder.folder)


def read_or_nothing(folder: Path) -> list[object]:
    """The segments of a recording that may not have begun."""
    try:
        return list(read_manifest(folder).segments)
    except Exception:  # noqa: BLE001  # not there yet
        return []


def disk_nearly_full(work: Path, seed: object) -> str:
    """Less free than is to be kept: it stops before the disk is full, sealed and sound."""
    with Bench.open(work, seed=seed) as bench, Mount(work / "disk", "8m") as disk:
        recorder = bench.record(disk.place / "tape", *QUICK, "--keep-free-mib", "3")
        recorder.until_recording(50_000)
        fill(disk.place, 2 << 20)
        failed(recorder, "MiB free", "make room")
        check(read_manifest(recorder.folder).status == "sealed", "it is sealed")
        return sound(bench, recorder.folder)


def file_size_limit(work: Path, seed: object) -> str:
    """RLIMIT_FSIZE, where no file system can be mounted: the disk refuses in the middle of a batch."""
    with Bench.open(work, seed=seed) as bench:
        # The log is a file too, and small; what is in the journal is sealed, since Parquet is smaller.
        recorder = bench.record(None, *QUICK, shell="ulimit -f 400")
        failed(recorder, "cannot be written", "File too large")
        truth.check_gaps(recorder.folder, "lost")
        check(read_manifest(recorder.folder).status == "recovered", "what was written is sealed")
        check(any((recorder.folder / "set-aside").iterdir()), "the half batch is set aside")
        return sound(bench, recorder.folder)


def read_only(work: Path, seed: object) -> str:
    """A folder that nothing can be written to: one line, and nothing changes in it."""
    with Bench.open(work, seed=seed) as bench, Mount(work / "disk", "8m") as disk:
        recorder = bench.record(disk.place / "tape", *QUICK)
        recorder.until_recording(50_000)
        recorder.kill()
        until_unlocked(recorder.folder)
        before = truth.contents(recorder.folder)
        disk.read_only()
        failed(bench.record(recorder.folder, *QUICK), "Read-only file system")
        failed(bench.record(disk.place / "new", *QUICK), "Read-only file system")
        result = cli("recover", recorder.folder)
        check(result.returncode == 1, f"recover exits 1: {result.stderr}")
        check(result.stderr.count("\n") == 1, f"with one line: {result.stderr}")
        check(truth.contents(recorder.folder) == before, "nothing changed")
        check(cli("verify", recorder.folder).returncode == 0, "what is sealed can be verified")
        return f"{len(before)} files untouched"


def folder_removed(work: Path, seed: object) -> str:
    """The folder goes away under the recorder: it says so and stops."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK, "--rotate", "1s")
        recorder.until_recording(50_000)
        # At once: what is removed file by file while the recorder puts files back may come to be whole again.
        gone = recorder.folder.with_name("gone")
        recorder.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return failed(recorder, str(recorder.folder)).partition(": ")[2][-70:]


def two_recorders(work: Path, seed: object) -> str:
    """The second is refused with the number of the first, which goes on."""
    with Bench.open(work, seed=seed) as bench:
        first = bench.record(None, *QUICK)
        first.until_recording(50_000)
        failed(bench.record(None, *QUICK), f"is being written by process {first.pid}")
        result = cli("recover", first.folder)
        check(result.returncode == 1, f"recover is refused too: {result.stderr}")
        check(str(first.pid) in result.stderr, f"recover says by whom it is written: {result.stderr}")
        first.until_recording(150_000)
        ended(first)
        return sound(bench, first.folder)


def interrupted(work: Path, seed: object) -> str:
    """SIGINT and SIGTERM end it well."""
    with Bench.open(work, seed=seed) as bench:
        said = []
        for number in (signal.SIGINT, signal.SIGTERM):
            recorder = bench.record(None, *QUICK, "--rotate", "1s")
            recorder.until_log(" connected role", LINKS)
            recorder.until_recording(30_000)
            recorder.signal(number)
            check(recorder.wait() == 0, f"it exits 0: {recorder.log}")
            check(not recorder.errors(), f"and says nothing of errors: {recorder.log}")
            check(read_manifest(recorder.folder).status == "sealed", "it is sealed")
            said.append(sound(bench, recorder.folder))
            if number is signal.SIGINT:
                check(cli("gaps", recorder.folder).returncode == 0, "an end that was meant is no gap")
        return said[-1]


def interrupted_twice(work: Path, seed: object) -> str:
    """The second signal ends it at once; the journal is safe."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(100_000)
        # A venue that does not answer the goodbye keeps the first signal waiting.
        bench.proxy.stall()
        recorder.signal(signal.SIGTERM)
        recorder.until_log("stopping")
        written = truth.rows_on_disk(recorder.folder)
        recorder.signal(signal.SIGTERM)
        status = recorder.wait()
        check(status == -signal.SIGTERM, f"the second signal ends it, not {status}: {recorder.log}")
        check("leaving at once" in recorder.log, f"it says so: {recorder.log}")
        check(cli("recover", recorder.folder).returncode == 0, "recover exits 0")
        check(truth.raw_rows(recorder.folder)[: len(written)] == written, "the journal was safe")
        return sound(bench, recorder.folder)


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "disk full": disk_full,
    "disk full at rotation": disk_full_at_rotation,
    "disk nearly full": disk_nearly_full,
    "file size limit": file_size_limit,
    "read-only folder": read_only,
    "folder removed": folder_removed,
    "two recorders": two_recorders,
    "SIGINT and SIGTERM": interrupted,
    "a second signal": interrupted_twice,
}
#: These mount a file system.
NEED_MOUNT = ("disk full", "disk full at rotation", "disk nearly full", "read-only folder")
