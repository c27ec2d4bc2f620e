"""SIGKILL: at random instants, at every named step, and while recovering."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recordings.format.manifest import Segment, read_manifest
from tests.chaos import truth
from tests.chaos.bench import Bench, RecorderProcess, check, cli, until, until_unlocked
from toolkit.errors import NotARecording
from toolkit.frames import Frame

#: Short, so that sealing overlaps with whatever is interrupted.
ROTATE: Final = ("--rotate", "500ms", "--flush", "50ms")
#: Two rotations, most of the time three.
SESSION_S: Final = 1.4


@dataclass
class Toll:
    """What a series of kills came to."""

    kills: int = 0
    recoveries: int = 0
    frames: int = 0
    losses_ms: list[float] = field(default_factory=list)

    def add(self, other: Toll) -> None:
        """Count the other too."""
        self.kills += other.kills
        self.recoveries += other.recoveries
        self.frames += other.frames
        self.losses_ms += other.losses_ms

    def __str__(self) -> str:
        worst = f", at most {max(self.losses_ms):.0f} ms lost" if self.losses_ms else ""
        return f"{self.kills} kills, {self.recoveries} recoveries, {self.frames:,} frames kept{worst}"


@dataclass(frozen=True)
class Sight:
    """
    What lies in a folder.

    Attributes:
        rows: Every frame in its files.
        names: Its files.
        is_cut: A session had opened its journal and not said that it ends.
    """

    rows: list[truth.Row]
    names: set[str]
    is_cut: bool

    @classmethod
    def of(cls, folder: Path) -> Sight:
        """Look; while a recorder runs this is a lower bound of what it has written."""
        while True:
            rows = truth.rows_on_disk(folder)
            names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
            journals = [folder / name for name in names if name.startswith("journal/")]
            try:
                has_empty_journal = any(not truth.stream_rows(path.read_bytes()) for path in journals)
            except FileNotFoundError:
                continue  # one was sealed meanwhile
            break
        has_ended = bool(rows) and truth.is_end(rows[-1])
        return cls(rows, names, (bool(rows) and not has_ended) or has_empty_journal)


@dataclass
class Patient:
    """One recording that is killed and healed again and again."""

    bench: Bench
    folder: Path
    rng: random.Random
    toll: Toll = field(default_factory=Toll)
    sent: truth.SentLog = field(init=False)
    #: What is known to be on disk for good.
    kept: list[truth.Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sent = truth.SentLog(self.bench.venue.sent_log)

    def after_kill(self, recorder: RecorderProcess, before: Sight) -> None:
        """Heal by command or by the next session, and see that all is there that was."""
        self.toll.kills += 1
        way = self.rng.choice(["command", "command at once", "next session"])
        # At once, while the sealing process may still be at work: then what counts is what was seen before the kill.
        examined = way != "command at once"
        if examined:
            until_unlocked(self.folder)
            before = Sight.of(self.folder)
        if not (self.folder / "recording.json").exists():
            check(not before.rows, "nothing is lost with a recording that never began")
            return
        told = truth.read_all(self.folder) if examined else None
        if way == "next session":
            self._heal_by_recording()
        else:
            result = cli("recover", self.folder)
            check(result.returncode == 0, f"recover exits 0: {result.stdout}{result.stderr}")
        self.toll.recoveries += 1
        self.check_healed(recorder.alive_ns, before, is_exact=way == "command")
        if told is not None and way == "command":
            # But for the times of what states the loss, which go by the clock as long as it is as recent.
            found = len(before.rows)
            healed = truth.read_all(self.folder)
            check(told.up_to(found) == healed.up_to(found), "it was read as it is healed")
            check(len(told.frames) == len(healed.frames), "and as long")
        if examined:
            self._check_nothing_deleted(before.names)

    def _heal_by_recording(self) -> None:
        """The next session heals the folder first, then records, and ends well."""
        recorder = self.bench.record(self.folder, *ROTATE)
        recorder.until_log("connected", 2)
        status = recorder.stop()
        check(status == 0, f"the next session exits 0: {recorder.log}")

    def check_healed(self, alive_ns: int, before: Sight, *, is_exact: bool) -> None:
        """What was on disk is in `raw` as it was, the loss is stated, and all is sound."""
        rows = truth.raw_rows(self.folder)
        found = len(before.rows)
        check(rows[:found] == before.rows, f"the {found} frames on disk are the first of the {len(rows)} in raw")
        check(rows[: len(self.kept)] == self.kept, "what was healed before is untouched")
        frames = truth.frames_of(self.folder)
        truth.check_numbers(frames)
        truth.check_sent(frames, self.sent.read())
        truth.check_digest(self.folder)
        truth.check_sound(self.folder)
        check(not list((self.folder / "journal").glob("*")), "no journal is left")
        if is_exact:
            check(all(frame.kind == "control" for frame in frames[found:]), "only statements are added")
        self._check_loss(alive_ns, before, truth.lost_events(frames[len(self.kept) :]), frames)
        self.kept = rows
        self.toll.frames = len(frames)

    def _check_loss(
        self, alive_ns: int, before: Sight, lost: list[tuple[Frame, int, int]], frames: list[Frame]
    ) -> None:
        if not before.is_cut and not lost:
            return  # it had not begun, or had said that it ends
        check(len(lost) == 1, f"the loss is stated once, not {len(lost)} times")
        frame, start, end = lost[0]
        if frame.capture_seq:
            last = frames[frame.capture_seq - 1]
            # A session of which nothing is left began after the one before had ended.
            check(start >= last.ts_recv, "the loss does not begin before the last frame that was kept")
            check(start == last.ts_recv or truth.says(last, "session_end"), "it begins with the last frame kept")
        check(end >= alive_ns, f"the loss ends {(alive_ns - end) / 1e6:.1f} ms before the recorder did")
        self.toll.losses_ms.append((alive_ns - start) / 1e6)
        truth.check_gaps(self.folder, "lost")

    def _check_nothing_deleted(self, names: set[str]) -> None:
        """Every file is still there or set aside; a journal is, as raw frames."""
        gone = {name for name in names if not (self.folder / name).exists() and not name.startswith("journal/0")}
        # A state to go on from goes when there is a later one, unless it is worth keeping.
        gone -= {name for name in gone if name.startswith("checkpoints/") and name.endswith(".state")}
        aside = {path.name for path in (self.folder / "set-aside").glob("*")}
        for name in gone:
            check(
                any(each.startswith(name.replace("/", "-").lstrip(".")) for each in aside),
                f"{name} was set aside, not deleted",
            )

    def after_failure(self) -> None:
        """The recorder gave up by itself: everything it received is in the journal, and it said so."""
        before = Sight.of(self.folder)
        check(truth.is_end(before.rows[-1]), "the session says that it ends, and why")
        result = cli("recover", self.folder)
        check(result.returncode == 0, f"recover exits 0: {result.stdout}{result.stderr}")
        self.toll.kills += 1
        self.toll.recoveries += 1
        self.check_healed(0, before, is_exact=True)
        check(len(self.kept) == len(before.rows), "nothing had to be added")

    def after_survival(self) -> None:
        """The recorder outlived its sealing process: nothing is missing."""
        self.toll.kills += 1
        frames = truth.frames_of(self.folder)
        truth.check_numbers(frames)
        check(truth.check_sent(frames, self.sent.read()) == 0, "every frame that was sent is there")
        check(not truth.lost_events(frames), "nothing is stated as lost")
        truth.check_digest(self.folder)
        truth.check_sound(self.folder)
        self.kept = truth.raw_rows(self.folder)
        self.toll.frames = len(frames)

    def segments(self) -> list[Segment]:
        """What is sealed so far."""
        try:
            return read_manifest(self.folder).segments
        except NotARecording:
            return []

    def close(self, scratch: Path) -> None:
        """The end of the series: one more session that ends well, then the commands' own word."""
        recorder = self.bench.record(self.folder, *ROTATE)
        recorder.until_recording()
        check(recorder.stop() == 0, f"the last session exits 0: {recorder.log}")
        check(cli("recover", self.folder).returncode == 0, "recover of a sealed recording exits 0")
        result = cli("verify", self.folder)
        check(result.returncode == 0, f"verify exits 0: {result.stdout}{result.stderr}")
        if self.toll.losses_ms:
            check(cli("gaps", self.folder).returncode == 3, "gaps exits 3")
        truth.check_tables(self.folder, scratch)


def random_kills(work: Path, seed: object, kills: int) -> Toll:
    """Kill one recording again and again, at instants spread over starting, recording, rotating and sealing."""
    rng = random.Random(f"{seed}/kills")
    with Bench.open(work, seed=seed) as bench:
        patient = Patient(bench, work / "tape", rng)
        for _ in range(kills):
            fsync = rng.choice(["always", "interval", "off"])
            recorder = bench.record(patient.folder, *ROTATE, "--fsync", fsync)
            if rng.random() < 0.8:
                recorder.until_log("connected", 2)
            if recorder.live_for(rng.uniform(0, 2.0)) and rng.random() < 0.2:
                bench.proxy.reset_mid_frame()
                recorder.live_for(rng.uniform(0, 1.0))
            before = Sight.of(patient.folder)
            recorder.kill()
            patient.after_kill(recorder, before)
        patient.close(work / "at-once")
        return patient.toll


#: Steps of the process that receives, each with how often it comes in such a session.
RECORDER_STEPS: Final[dict[str, int]] = {
    "session-begun": 1,
    "journal-batch-made": 6,
    "journal-batch-written": 6,
    "journal-closed": 2,
    "journal-opened": 3,
    "file-written": 2,
    "file-synced": 2,
    "file-renamed": 2,
    "session-sealed": 1,
}
#: And of the process that seals. A segment has about twelve files.
SEALER_STEPS: Final[dict[str, int]] = {
    "file-written": 16,
    "file-synced": 16,
    "file-renamed": 16,
    "tables-written": 2,
    "checkpoint-written": 2,
    "manifest-written": 2,
    "state-removed": 1,
    "journal-removed": 2,
}
_ALL: Final = {"recorder": RECORDER_STEPS, "sealer": SEALER_STEPS}


def step_names(*, once: bool = False) -> list[str]:
    """`recorder/journal-opened:2` and so on; `once`: each name only the first time in each process."""
    return [
        f"{process}/{name}:{number}"
        for process, steps in _ALL.items()
        for name, count in steps.items()
        for number in range(1, 2 if once else count + 1)
    ]


def kill_at_step(work: Path, seed: object, names: Sequence[str], *, close: bool = True) -> Toll:
    """
    Kill the recorder or its sealing process at each of the steps, each time in a recording of its own.

    With `close` the first of them is then recorded into once more, and looked at by the commands.
    """
    total = Toll()
    with Bench.open(work, seed=seed) as bench:
        for name in names:
            folder = work / name.replace("/", "-").replace(":", "-")
            patient = Patient(bench, folder, random.Random(f"{seed}/{name}"))
            recorder = bench.record(folder, *ROTATE, die_at=name)
            if name.startswith("recorder/"):
                _kill_recorder_at(patient, recorder, name)
            else:
                _kill_sealer_at(patient, recorder)
            if close and name == names[0]:
                patient.close(folder.with_name(f"{folder.name}-at-once"))
            total.add(patient.toll)
    return total


def _kill_recorder_at(patient: Patient, recorder: RecorderProcess, name: str) -> None:
    until(lambda: "connected" in recorder.log or not recorder.is_alive(), "it connects, or dies")
    if recorder.live_for(SESSION_S):
        recorder.signal(signal.SIGINT)  # some steps come only at the end
    status = recorder.wait()
    check(status == -signal.SIGKILL, f"it dies at {name}, not with {status}: {recorder.log}")
    patient.after_kill(recorder, Sight([], set(), is_cut=False))


#: What the recorder says each time a segment could not be sealed.
NOT_SEALED: Final = "could not be sealed"


def _kill_sealer_at(patient: Patient, recorder: RecorderProcess) -> None:
    """
    The sealing process is started again, and dies again if it comes as far: recording goes on whatever it does.

    It does not come as far where the segment was as good as done, or where the step is one of a later segment.
    """
    recorder.until_log(NOT_SEALED)
    sealed = len(patient.segments()) + 1
    recorder.until(lambda: len(patient.segments()) > sealed or recorder.log.count(NOT_SEALED) > 1, "it is tried again")
    size = recorder.recorded_bytes()
    recorder.until(lambda: recorder.recorded_bytes() > size, "recording goes on")
    status = recorder.stop()
    if status == 0:
        patient.after_survival()
        return
    check(status == 1, f"the recorder exits 1 when nothing can be sealed, not {status}: {recorder.log}")
    check(len(recorder.errors()) == 1, f"one line says why: {recorder.log}")
    patient.after_failure()


#: What `tickdeck recover` goes through for one segment, and how often.
RECOVER_STEPS: Final = {
    "file-written": 12,
    "file-synced": 12,
    "file-renamed": 12,
    "tables-written": 1,
    "checkpoint-written": 1,
    "manifest-written": 1,
    "journal-removed": 1,
}


def recover_steps(*, once: bool = False) -> list[str]:
    """`file-written:3` and so on."""
    return [f"{name}:{n}" for name, count in RECOVER_STEPS.items() for n in range(1, 2 if once else count + 1)]


def kill_recovery(work: Path, seed: object, names: Sequence[str]) -> Toll:
    """Kill `recover` at each of the steps, twice in a row, then let it end; after that it changes nothing any more."""
    total = Toll()
    with Bench.open(work, seed=seed) as bench:
        dead = work / "dead"
        recorder = bench.record(dead, "--flush", "100ms")
        recorder.until_recording(100_000)
        recorder.kill()
        until_unlocked(dead)
        with (dead / "journal" / "000000.arrows").open("ab") as journal:
            journal.write(b"\xff\xff\xff\xff torn in the middle of a")
        before = Sight.of(dead)
        for name in names:
            folder = work / name.replace(":", "-")
            shutil.copytree(dead, folder)
            shutil.copystat(dead / "journal" / "000000.arrows", folder / "journal" / "000000.arrows")
            patient = Patient(bench, folder, random.Random(0))
            for _ in range(2):
                result = cli("recover", folder, die_at=name)
                check(result.returncode in (-signal.SIGKILL, 0), f"recover is killed at {name}: {result.stderr}")
                total.kills += result.returncode != 0
            result = cli("recover", folder)
            check(result.returncode == 0, f"recover exits 0 in the end: {result.stdout}{result.stderr}")
            patient.check_healed(recorder.alive_ns, before, is_exact=True)
            patient._check_nothing_deleted(before.names)
            healed = truth.contents(folder)
            check(any("tail" in each for each in healed), "the torn end was set aside")
            if name == names[0]:
                again = cli("recover", folder)
                check(again.returncode == 0, f"recover exits 0 once more: {again.stderr}")
                check(truth.contents(folder) == healed, "recover of a healed recording changes nothing")
            total.recoveries += 1
            total.frames += patient.toll.frames
    return total
