"""What happens to the process that seals, to files under a recorder, and to a disk that is slow."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos import kills, truth
from tests.chaos.bench import DEADLINE_S, ROOT, Bench, RecorderProcess, check, until_unlocked
from tests.chaos.disks import read_or_nothing
from tests.chaos.faults import LINKS, QUICK, ended, failed, sound


def sealer_killed(work: Path, seed: object) -> str:
    """The sealing process is killed, as by a system out of memory: it is started again, and recording goes on."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK, "--rotate", "1s")
        for number in range(1, 4):
            recorder.until(lambda: bool(children(recorder.pid)), "there is a sealing process")
            for pid in children(recorder.pid):
                os.kill(pid, signal.SIGKILL)
            recorder.until_log("could not be sealed", number)
            # Two more, so that the next kill is not the second over the same segment.
            enough = len(read_or_nothing(recorder.folder)) + 2
            recorder.until(lambda: len(read_or_nothing(recorder.folder)) >= enough, "it seals again")  # noqa: B023
        ended(recorder)
        check(truth.lost_events(truth.frames_of(recorder.folder)) == [], "nothing was lost over it")
        return sound(bench, recorder.folder)


def sealer_starved(work: Path, seed: object) -> str:
    """Too little memory for sealing: every try fails, recording goes on, and so does the next recorder; later all is sealed."""
    with Bench.open(work, seed=seed) as bench:
        # The recorder has room enough; each process for sealing that it starts is cut short as soon as it is there.
        folder = work / "tape"
        for number in (1, 2):
            recorder = bench.record(folder, *QUICK, "--rotate", "1s", die_at="sealer/tables-written")
            recorder.until_log("could not be sealed", 2)
            recorder.until(lambda: len(list((folder / "journal").iterdir())) >= 3, "several journals wait")
            size = recorder.recorded_bytes()
            recorder.until(lambda: recorder.recorded_bytes() > size + 100_000, "recording goes on")  # noqa: B023
            if number == 1:
                recorder.kill()
                until_unlocked(folder)
            else:
                recorder.signal(signal.SIGINT)
                failed(recorder, "could not be sealed", "journals are kept")
                check("recording goes on; what the earlier session left is sealed later" in recorder.log, recorder.log)
        written = truth.rows_on_disk(folder)
        again = bench.record(folder, *QUICK)
        again.until_log("connected", LINKS)
        ended(again)
        check(truth.raw_rows(folder)[: len(written)] == written, "all that was written is there")
        truth.check_gaps(folder, "lost")
        return sound(bench, folder)


def sealer_limited(work: Path, seed: object) -> str:
    """An address space that no process for sealing fits into: the same, by a limit of the system."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK, "--rotate", "1s")
        recorder.until(lambda: bool(children(recorder.pid)), "there is a sealing process")
        limit = 300 << 20
        resource.prlimit(children(recorder.pid)[0], resource.RLIMIT_AS, (limit, limit))
        # That process fails or dies; the ones after it have the recorder's own limit, and seal what it left.
        recorder.until(lambda: len(read_or_nothing(recorder.folder)) >= 3, "segments are sealed all the same")
        ended(recorder)
        check(truth.lost_events(truth.frames_of(recorder.folder)) == [], "nothing was lost over it")
        return sound(bench, recorder.folder)


def orphaned_sealer(work: Path, seed: object) -> str:
    """The recorder is killed while its process for sealing is held up: `recover` and `record` wait for that, and say so."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK, "--rotate", "1s")
        folder = recorder.folder
        for command in ("recover", "record"):
            recorder.until_log("connected", LINKS)
            recorder.until(lambda: bool(children(recorder.pid)), "there is a sealing process")  # noqa: B023
            (orphan,) = children(recorder.pid)
            os.kill(orphan, signal.SIGSTOP)
            recorder.kill()
            try:
                if command == "recover":
                    healing = subprocess.Popen(
                        [sys.executable, "-m", "toolkit.cli", "recover", str(folder)],
                        cwd=ROOT,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                    assert healing.stderr is not None
                    line = healing.stderr.readline()
                    check(
                        f"process {recorder.pid} has died; waiting until" in line, f"recover says why it waits: {line}"
                    )
                    check(healing.poll() is None, "and waits")
                else:
                    recorder = bench.record(folder, *QUICK, "--rotate", "1s")
                    recorder.until_log("has died; waiting until")
            finally:
                os.kill(orphan, signal.SIGCONT)
            if command == "recover":
                check(healing.wait(DEADLINE_S) == 0, "recover exits 0")
                assert healing.stderr is not None
                healing.stderr.close()
                recorder = bench.record(folder, *QUICK, "--rotate", "1s")
            else:
                recorder.until_log("connected", LINKS)
        ended(recorder)
        return sound(bench, folder)


def journal_removed(work: Path, seed: object) -> str:
    """A cleaner takes journals, manifest and lock from under the recorder, again and again: within a second they are back."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK, "--rotate", "2s")
        folder = recorder.folder
        for _ in range(5):
            recorder.until_recording(20_000)
            removed = sorted((folder / "journal").glob("*.arrows"))[-1]
            with contextlib.suppress(FileNotFoundError):  # sealed this moment
                removed.unlink()
            recorder.until(partial(_is_back_or_sealed, folder, removed), "it is written again, or was sealed")
        for name in ("recording.json", "recording.lock"):
            (folder / name).unlink()
            recorder.until((folder / name).exists, f"{name} is put back")
        recorder.until_recording(20_000)
        ended(recorder)
        check(truth.lost_events(truth.frames_of(folder)) == [], "nothing was lost over it")
        return sound(bench, folder)


def _is_back_or_sealed(folder: Path, journal: Path) -> bool:
    return journal.exists() or len(read_or_nothing(folder)) > int(journal.stem)


def journal_cut(work: Path, seed: object) -> str:
    """Something empties the open journal: it stops, says so, and what is missing is stated."""
    with Bench.open(work, seed=seed) as bench:
        recorder = bench.record(None, *QUICK)
        recorder.until_recording(50_000)
        os.truncate(recorder.folder / "journal" / "000000.arrows", 5000)
        failed(recorder, "was cut from", "while it was recorded")
        truth.check_gaps(recorder.folder, "lost")
        truth.check_sound(recorder.folder)
        again = bench.record(recorder.folder, *QUICK)
        again.until_log("connected", LINKS)
        ended(again)
        return "the loss is stated"


def slow_syncs(work: Path, seed: object) -> str:
    """Every sync takes a second: frames are neither late nor lost by a kill for that, over many rotations."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "sitecustomize.py").write_text(
        "import os, time\nreal = os.fsync\ndef slow(handle):\n    time.sleep(1.0)\n    return real(handle)\nos.fsync = slow\n"
    )
    losses = []
    with Bench.open(work, seed=seed) as bench:
        patient = kills.Patient(bench, work / "tape", random.Random(f"{seed}/syncs"))
        for _ in range(3):
            recorder = bench.record(
                patient.folder, "--rotate", "500ms", "--flush", "50ms", "--fsync", "always", path=work
            )
            recorder.until_log("connected", LINKS)
            recorder.live_for(patient.rng.uniform(1.0, 4.0))
            before = kills.Sight.of(patient.folder)
            recorder.kill()
            until_unlocked(patient.folder)
            losses.append(_unwritten_ms(patient, recorder))
            patient.after_kill(recorder, before)
        check(max(losses) < 1000, f"a kill loses what was not flushed, not what waits for a sync: {losses}")
        patient.close(work / "at-once")
        return f"{patient.toll}, last frame at most {max(losses):.0f} ms before the kill"


def _unwritten_ms(patient: kills.Patient, recorder: RecorderProcess) -> float:
    """How long before its end the last frame was received that the recorder has written down."""
    rows = truth.rows_on_disk(patient.folder)
    return float(recorder.alive_ns - max(row[1] for row in rows[-200:])) / 1e6


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "sealing process killed": sealer_killed,
    "sealing process starved": sealer_starved,
    "sealing process limited": sealer_limited,
    "orphaned sealing process": orphaned_sealer,
    "journal removed": journal_removed,
    "journal cut": journal_cut,
    "slow syncs": slow_syncs,
}
