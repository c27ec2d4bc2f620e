"""
`python -m tests.chaos.storage_machine 10000 7`: so many random sequences of everything that writes into a recording,
interrupted anywhere, with onlookers; decided by a seed. One more number says from which sequence on.

After every step the frames kept are exactly those that were flushed, in order, once, but for what `prune` gave up and
the statements of what a crash may have cost; `verify` says "sound" of nothing less; what others put there is there.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from recordings.care.compacting import compact
from recordings.care.pruning import prune
from recordings.care.recovery import recover
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.reading.growing import GrowingRecording
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from tests.chaos.storage_checks import Expectation
from tests.chaos.storage_model import Broken, later, scratch_of
from tests.chaos.storage_session import Session
from tests.chaos.storage_troubles import CARE, ENDING, RECORDING, SEALING
from tests.interruptions import POWER_CUT, Interruption, Naming
from tests.tapes import TS, bbo_frame, collector_line, import_files
from toolkit.errors import ConfigError, RecordingError, RecordingLocked, TickdeckError
from toolkit.frames import Frame

__all__ = ["StorageMachine", "run"]

#: Where nothing waits for a disk, if there is such a place.
FAST: Final = Path("/dev/shm")
#: Of one sequence.
STEPS_MAX: Final = 14
#: What an error or an interruption may come out as.
ENDS: Final = (TickdeckError, OSError, MemoryError, KeyboardInterrupt)
#: Names that others may give to files of theirs: beside ours, like ours, and just as ours could be.
THEIRS: Final = (
    "raw/2026-notes.txt",
    "raw/000003.parquet.bak",
    "raw/12.parquet",
    "trades/2026/mine.csv",
    "checkpoints/000001.msgpack.gz",
    "journal/notes.arrows",
    "journal/000001.arrows.copy",
    "set-aside/mine",
    "notes.md",
    ".hidden",
)
LINES: Final = b"".join(
    collector_line(TS + number, bbo_frame("BTC", TS // 1_000_000 + number, (10.0 + number, 1.0), None))
    for number in range(12)
)


def _prune(folder: Path) -> object:
    return prune(folder, 0.0, later())


def _recover(folder: Path) -> object:
    return recover(folder, later())


COMMANDS: Final[dict[str, Callable[[Path], object]]] = {
    "recover": _recover,
    "compact": compact,
    "compact some": lambda folder: compact(folder, 6000),
    "renormalize": renormalize,
    "prune": _prune,
}
#: One that nobody disturbed, and its frames, once it is made.
_recorded: list[tuple[Path, list[Frame]]] = []


@functools.cache
def _imported() -> list[Frame]:
    """The frames of an import that nobody disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        import_files(Path(folder) / "tape", LINES)
        return [frame for batch in Recording.open(Path(folder) / "tape").raw_frames() for frame in batch]


class StorageMachine(Expectation, RuleBasedStateMachine):
    """One recording and all that may be done to it."""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        self.root = Path(tempfile.mkdtemp(prefix="tickdeck-machine-", dir=FAST if FAST.is_dir() else None))
        Expectation.__init__(self, self.root / "tape")
        self.readers: list[tuple[str, Iterator[list[Any]], int]] = []
        #: The files as `verify` saw them last, and whether it was quick.
        self.seen: Any = None
        #: Another import has gone through while the first one was under way.
        self.came_first = False
        #: Whether a power cut leaves the recording's own folder.
        self.naming = Naming(self.folder)
        self.watching = contextlib.ExitStack()
        self.watching.enter_context(self.naming.watched())

    def teardown(self) -> None:
        try:
            if self.session is not None:
                self.leave()
            self.mend()
            if self.disk() is not None:
                self.care("recover", None)
                self.check_verified()
                self.check_tidy()
        finally:
            self.watching.close()
            self.readers.clear()
            shutil.rmtree(self.root, ignore_errors=True)

    # -- what happens ------------------------------------------------------------------------------------------------

    @initialize(
        what=st.sampled_from(["session", "synced session", "recorded", "recorded", "import"]),
        trouble=SEALING,
        opening=RECORDING,
    )
    def begin_somehow(self, what: str, trouble: Any, opening: Any) -> None:
        """A recording begins, is there already, or is an import that may be interrupted or meet another one."""
        if what == "synced session":
            self.begin(opening, 2, is_carried=False, is_synced=True)
            return
        if what == "session":
            return
        if what == "recorded":
            self._take_recorded()
            return
        self.is_import = True
        is_through = False
        with self._troubled(trouble, second=self._import) as interruption:
            self._import()
            is_through = True
        if is_through and self.came_first:
            raise Broken("two imports into one folder went through")
        if not (self.folder / "recording.json").exists() or interruption.has_come:
            # One that was killed leaves a folder that is no recording.
            if not (self.folder / "recording.json").exists():
                shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(ConfigError):
                self._import()
        self.kept = _imported()
        self.check()

    def _take_recorded(self) -> None:
        """A recording of three segments, which is made once."""
        if not _recorded:
            self.begin(None, 2, is_carried=False, is_synced=False)
            for _ in range(2):
                self.go_on(None, 2, rotate=True, is_synced=False)
                self.seal(None)
            self.stop(None)
            folder = Path(tempfile.mkdtemp(prefix="tickdeck-machine-", dir=self.root.parent))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            shutil.copytree(self.folder, folder / "tape")
            _recorded.append((folder / "tape", self.kept))
            return
        folder, self.kept = _recorded[0]
        shutil.copytree(folder, self.folder)
        self.naming.is_on_disk = True
        self.check()

    def _import(self) -> None:
        import_files(self.folder, LINES, segment_frames=5, threads=False, compiled=False)

    @precondition(lambda self: self.session is None and not self.is_import)
    @rule(
        trouble=st.one_of(RECORDING, SEALING),
        frames=st.integers(0, 4),
        is_carried=st.booleans(),
        is_synced=st.booleans(),
    )
    def begin(self, trouble: Any, frames: int, is_carried: bool, is_synced: bool) -> None:
        """Record, after healing or with what is left to be sealed."""
        session = self.session = Session(self.folder)

        def act() -> None:
            session.begin(is_carried=is_carried)
            session.give(frames)
            session.flush()
            if is_synced:
                session.sync()
                session.give(1)
                session.flush()

        self._during(act, trouble)

    @precondition(lambda self: self.session is None and not self.is_import)
    @rule(frames=st.integers(0, 3), rotate=st.booleans(), trouble=st.one_of(ENDING, SEALING))
    def record_and_stop(self, frames: int, rotate: bool, trouble: Any) -> None:
        """A session that meets nothing before its end."""
        self.begin(None, frames, is_carried=False, is_synced=False)
        self.go_on(None, 1, rotate=rotate, is_synced=False)
        if self.session is not None:
            self.stop(trouble)

    @precondition(lambda self: self.session is None and not self.is_import)
    @rule(
        frames=st.integers(0, 3),
        rotate=st.booleans(),
        trouble=SEALING,
        then=st.sampled_from(["", "compact", "compact some", "renormalize"]),
    )
    def die_and_heal(self, frames: int, rotate: bool, trouble: Any, then: str) -> None:
        """A session is cut, something comes between when that is healed, and somebody rewrites what is left."""
        self.begin(None, frames, is_carried=False, is_synced=False)
        if rotate:
            self.go_on(None, 1, rotate=True, is_synced=False)
        self.die(1)
        self.care("recover", trouble)
        if then:
            self.care(then, None)

    @precondition(lambda self: self.session is None and not self.is_import)
    @rule(
        step=st.sampled_from(["file-written", "file-synced", "file-renamed", "journal-opened"]),
        is_one=st.booleans(),
        then=st.sampled_from(["compact", "compact some", "renormalize", "recover"]),
    )
    def die_opening(self, step: str, is_one: bool, then: str) -> None:
        """A session is killed before it has recorded anything, and somebody rewrites what there was, if only one segment."""
        is_there = (self.folder / "recording.json").exists()
        if is_there and is_one:
            self.care("compact", None)
        self.begin(((step, 1), "kill"), 0, is_carried=False, is_synced=False)
        if self.session is not None:
            self.die(0)
        if is_there:
            self.care(then, None)

    @precondition(lambda self: self.session is not None)
    @rule(trouble=RECORDING, frames=st.integers(1, 4), rotate=st.booleans(), is_synced=st.booleans())
    def go_on(self, trouble: Any, frames: int, rotate: bool, is_synced: bool) -> None:
        """Frames come, a segment ends."""
        session = self.session
        assert session is not None

        def act() -> None:
            session.give(frames)
            if rotate:
                session.rotate()
            else:
                session.flush()
            if is_synced:
                session.sync()
                session.give(1)
                session.flush()

        self._during(act, trouble)

    @precondition(lambda self: self.session is not None)
    @rule(trouble=SEALING)
    def seal(self, trouble: Any) -> None:
        """A segment that has ended is sealed, while frames may come."""
        assert self.session is not None
        self._during(self.session.seal, trouble)

    @precondition(lambda self: self.session is not None)
    @rule(trouble=st.one_of(RECORDING, SEALING, ENDING))
    def stop(self, trouble: Any) -> None:
        """The session ends in good order, if nothing comes between."""
        session = self.session
        assert session is not None
        self._during(session.stop, trouble)
        if self.session is not None:
            self.leave()

    @precondition(lambda self: self.session is not None)
    @rule(frames=st.integers(0, 3))
    def settle(self, frames: int) -> None:
        """What was written is synced by another thread, while frames come."""
        session = self.session
        assert session is not None

        def act() -> None:
            session.give(frames)
            session.settle_meanwhile()

        self._during(act, None)

    @precondition(lambda self: self.session is not None)
    @rule(given=st.integers(0, 2))
    def die(self, given: int) -> None:
        """Between two steps, with frames that have not been flushed."""
        assert self.session is not None
        interruption = Interruption(self.folder, 0, "kill")
        with interruption.in_force():
            self.session.give(given)
            interruption.come_to("now")
        self.leave(is_killed=True)
        self.check()

    @precondition(lambda self: (self.folder / "recording.json").exists())
    @rule(what=CARE)
    def look_after(self, what: tuple[str, Any]) -> None:
        """One of the commands, alone or while a session holds the folder."""
        self.care(*what)

    def care(self, name: str, trouble: Any) -> None:
        """As `look_after`."""
        if self.session is not None:
            before = scratch_of(self.folder)
            with contextlib.suppress(RecordingLocked), FolderLock(self.folder):
                raise Broken(f"{name} could lock a folder that is being recorded to")
            if scratch_of(self.folder) != before:
                raise Broken("a command that is refused changes nothing")
            return
        self.may_be_pruned = self.may_be_pruned or name == "prune"
        disk = self.disk()
        refusal: BaseException | None = None

        def act() -> None:
            nonlocal refusal
            with FolderLock(self.folder):
                try:
                    COMMANDS[name](self.folder)
                except ENDS as exc:
                    refusal = exc

        with self._troubled(trouble, second=act) as interruption:
            act()
        if not interruption.has_come and not self.flipped and disk is not None:
            self.check_outcome(name, refusal, disk)
        self.check()

    @precondition(lambda self: (self.folder / "recording.json").exists())
    @rule(name=st.sampled_from(THEIRS))
    def somebody_puts_a_file(self, name: str) -> None:
        """Whoever looks after the folder keeps notes and copies in it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"{name} {len(self.theirs)}".encode()
        path.write_bytes(content)
        self.theirs[name] = content

    @precondition(lambda self: self.session is None and not self.flipped)
    @rule(pick=st.integers(0, 1000), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip(self, pick: int, place: float, bit: int) -> None:
        """A bit of a sealed file turns over."""
        disk = self.disk()
        if disk is None:
            return
        files = sorted(disk.files - disk.resume)
        if not files:
            return
        path = self.folder / files[pick % len(files)]
        content = path.read_bytes()
        self.flipped[path] = content
        damaged = bytearray(content)
        damaged[int(place * len(damaged))] ^= 1 << bit
        path.write_bytes(damaged)
        self.check()

    @precondition(lambda self: self.session is None and not self.flipped and (self.folder / "recording.json").exists())
    @rule(
        name=st.sampled_from(["compact", "compact", "prune", "renormalize"]),
        pick=st.integers(0, 1000),
        place=st.floats(0, 1, exclude_max=True),
        bit=st.integers(0, 7),
    )
    def care_for_damage(self, name: str, pick: int, place: float, bit: int) -> None:
        """A bit of the rows turns over, and the next thing is that they are rewritten."""
        self.flip(pick, place, bit)
        self.care(name, None)
        self.check_verified()
        self.mend()
        self.check_verified(is_quick=True)

    @precondition(lambda self: self.session is None and not self.flipped and not self.is_import)
    @rule(bit=st.none() | st.integers(0, 7), is_gone_on=st.booleans())
    def lose_state(self, bit: int | None, is_gone_on: bool) -> None:
        """The state to go on from goes, or a bit of it turns over; it is put back, or recording goes on all the same."""
        disk = self.disk()
        if disk is None or not disk.resume:
            return
        path = self.folder / next(iter(disk.resume))
        content = path.read_bytes()
        path.unlink()
        if bit is not None:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1 << bit]))
        self.flipped[path] = content
        if verify(self.folder, is_quick=True).is_sound:
            raise Broken("verify says sound without the state to go on from")
        self.flipped.clear()
        if is_gone_on and not self.may_be_pruned:
            self.begin(None, 1, is_carried=False, is_synced=False)
            self.stop(None)
        else:
            path.write_bytes(content)
        self.check_verified(is_quick=True)

    @precondition(lambda self: self.flipped)
    @rule()
    def mend(self) -> None:
        """A sound copy is put in its place, if it is still there."""
        for path, content in self.flipped.items():
            if path.exists():
                path.write_bytes(content)
        self.flipped.clear()
        if self.folder.exists():
            self.check()

    @precondition(lambda self: (self.folder / "recording.json").exists() and len(self.readers) < 3)
    @rule(kind=st.sampled_from(["frames", "messages", "growing"]))
    def open_reader(self, kind: str) -> None:
        """Somebody begins to read."""
        if kind == "growing":
            growing = GrowingRecording(self.folder)
            self.readers.append((kind, growing.read(), 0))
        else:
            recording = Recording.open(self.folder)
            reader: Iterator[list[Any]] = recording.raw_frames() if kind == "frames" else recording.messages()
            self.readers.append((kind, reader, 0))

    @precondition(lambda self: self.readers)
    @rule(pick=st.integers(0, 2), batches=st.integers(1, 3))
    def read_on(self, pick: int, batches: int) -> None:
        """And reads on: what comes is right, or one line says why it ends."""
        kind, reader, seq = self.readers.pop(pick % len(self.readers))
        for _ in range(batches):
            try:
                batch = next(reader)
            except StopIteration:
                return
            except RecordingError as exc:
                is_explained = (
                    self.flipped
                    or "went while the recording was open" in str(exc)
                    or ("holds no raw frames of segment" in str(exc) and self.may_be_pruned)
                )
                if not is_explained or "\n" in str(exc):
                    raise Broken(f"a reader of {kind} fails: {exc}") from exc
                return
            seq = self.check_read(kind, batch, seq)
        self.readers.append((kind, reader, seq))

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _during(self, act: Callable[[], None], trouble: Any) -> None:
        """Something that a session does; if it is interrupted, the session is over."""
        session = self.session
        assert session is not None
        failure: BaseException | None = None
        with self._troubled(trouble, second=lambda: Session(self.folder).begin()) as interruption:
            try:
                act()
            except ENDS as exc:
                failure = exc
                if not interruption.has_come and not self.flipped and not session.is_doomed:
                    raise
        session.is_doomed = session.is_doomed or interruption.has_come
        if failure is not None or interruption.is_killed:
            is_power_cut = trouble is not None and trouble[1] == POWER_CUT and interruption.has_come
            self.leave(is_killed=interruption.is_killed, is_power_cut=is_power_cut)
        self.check()

    @contextlib.contextmanager
    def _troubled(self, trouble: Any, second: Callable[[], None]) -> Iterator[Interruption]:
        """Let what was drawn happen; meanwhile somebody looks, and a second writer tries to come in."""
        if trouble is None:
            yield Interruption(self.folder)
            return
        (at, count), fault = trouble

        seen: list[Broken] = []

        def look() -> None:
            try:
                look_around()
            except Broken as exc:
                seen.append(exc)  # else whoever is interrupted might keep it to itself
                raise

        def look_around() -> None:
            if not self.is_import or self.kept:
                self.check(is_under_way=True)
            is_importing = self.is_import and not self.kept
            is_recording = self.session is not None and self.session.journal is not None
            is_locked = (self.folder / "recording.lock").exists()
            # What another import syncs at the instant of a power cut is not seen.
            if (is_locked or (self.folder.exists() and fault != POWER_CUT)) and (is_importing or is_recording):
                with contextlib.suppress(RecordingLocked, ConfigError):
                    second()
                    if is_recording:
                        raise Broken("a second writer came in")
                    self.came_first = True  # which it may, as long as the first has not locked the folder

        interruption = Interruption(self.folder, at, fault, count=count, look=look, naming=self.naming)
        before = self.state
        with interruption.in_force():
            try:
                yield interruption
            except ENDS:
                if not interruption.has_come and not self.flipped:
                    raise
        if interruption.is_power_cut:
            self.state = before
            self.naming.is_on_disk = self.folder.is_dir()
        if seen:
            raise seen[0]

    @precondition(lambda self: (self.folder / "recording.json").exists())
    @rule(is_quick=st.sampled_from([True, True, False]))
    def look_through(self, is_quick: bool) -> None:
        """`verify`, at any time at which there is something new to see."""
        files = {path: path.stat() for path in self.folder.rglob("*") if path.is_file()}
        seen = is_quick, {path: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in files.items()}
        if seen != self.seen:
            self.check_verified(is_quick=is_quick)
        self.seen = seen


def hunt(sequences: int, seed: int) -> tuple[int, str]:
    """The number of the first sequence that fails, from 1, and what it says; 0 if none of so many does."""
    with (
        tempfile.TemporaryFile("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        for number in range(sequences):
            try:
                _run_one(f"{seed}/{number}", is_shrunk=False)
            except (NameError, TypeError, AttributeError):
                raise  # of the code that puts a fault back, which would be taken for a find
            except BaseException as exc:  # noqa: BLE001  # whatever a fault leads to
                return number + 1, f"{type(exc).__name__}: {exc}".replace("\n", " ")
    return 0, ""


def run(sequences: int, *, seed: int, first: int = 0, say: Callable[[int], None] | None = None) -> None:
    """
    Run so many sequences, from a number on; raises what the first one that fails says, shrunk.

    Args:
        say: Told of the sequences that are through, after each.
    """
    for number in range(first, first + sequences):
        try:
            _run_one(f"{seed}/{number}", is_shrunk=True)
        except BaseException as exc:
            exc.add_note(f"sequence {number} of seed {seed}")
            raise
        if say is not None:
            say(number)


def _run_one(name: str, *, is_shrunk: bool) -> None:
    """
    One sequence.

    Hypothesis makes five of six examples out of earlier ones, which find little that the earlier ones did not, and
    begins with the simplest of all, which does nothing: of each seed the first one that is drawn is taken, and no other.
    """
    StorageMachine._hypothesis_internal_use_seed = Random(name).getrandbits(64)
    run_state_machine_as_test(
        StorageMachine,
        settings=settings(
            max_examples=2,
            stateful_step_count=STEPS_MAX,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink] if is_shrunk else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def main(sequences: int, seed: int, first: int = 0) -> None:
    """Run them, and say now and then how far it is."""
    began = time.monotonic()

    def say(number: int) -> None:
        done = number + 1 - first
        if not done % 100 or done == sequences:
            print(f"{done:,} sequences hold, {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201

    print(f"seed {seed}", flush=True)  # noqa: T201
    run(sequences, seed=seed, first=first, say=say)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
