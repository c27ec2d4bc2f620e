"""Commands that rewrite a recording: killed one after another as real processes, and on disks that refuse."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from recordings.format.manifest import read_manifest
from tests.chaos import truth
from tests.chaos.bench import Bench, Mount, check, cli, until_unlocked
from tests.chaos.disks import fill
from tests.chaos.kills import ROTATE
from tests.chaos.storage_session import Session

#: The commands, with what they are given.
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "recover": (),
    "compact": (),
    "renormalize": (),
    "prune": ("--keep-raw-days", "0"),
}
STEPS: Final = (
    "file-synced:5",
    "rewrite-committed",
    "rewrite-file-moved:3",
    "rewrite-manifest-written",
    "file-renamed",
)
#: Commands, killed or not, between two sessions.
COMMANDS_EACH: Final = 3


def killed_in_a_row(work: Path, seed: object, rounds: int = 3) -> str:
    """Record, rewrite, be killed over it, record on, be killed, and so forth: what was on disk stays, in order, once."""
    rng = random.Random(f"{seed}/rewrites")
    kills = 0
    with Bench.open(work, seed=seed) as bench:
        folder = work / "tape"
        kept: list[truth.Row] = []
        for _ in range(rounds):
            recorder = bench.record(folder, *ROTATE)
            recorder.until_log("connected", 2)
            recorder.live_for(1.0)
            if rng.random() < 0.5:
                recorder.kill()
                kills += 1
                until_unlocked(folder)
            else:
                check(recorder.stop() == 0, f"the session exits 0: {recorder.log}")
            rows = truth.rows_on_disk(folder)
            check(rows[: len(kept)] == kept, "what was there before is the beginning of what is there now")
            kept = rows
            for _ in range(COMMANDS_EACH):
                name = rng.choice(["compact", "compact", "renormalize", "recover"])
                result = cli(name, folder, *COMMANDS[name], die_at=rng.choice([*STEPS, ""]))
                kills += result.returncode == -signal.SIGKILL
                is_refused = result.returncode == 1 and "is not sealed: run" in result.stderr
                check(result.returncode in (0, -signal.SIGKILL) or is_refused, f"{name}: {result.stderr}")
                rows = truth.rows_on_disk(folder)
                check(rows[: len(kept)] == kept, f"{name} keeps every frame, in order")
                check(all("control" in row for row in rows[len(kept) :]), "and adds statements at most")
        check(cli("recover", folder).returncode == 0, "recover exits 0")
        rows = truth.raw_rows(folder)
        check(rows[: len(kept)] == kept, "every frame is sealed")
        frames = truth.frames_of(folder)
        truth.check_numbers(frames)
        truth.check_digest(folder)
        truth.check_sound(folder)
        check(not (folder / ".rewrite").exists(), "no rewrite is left over")
        return f"{kills} kills, {len(frames):,} frames kept"


def _tape(folder: Path, *, is_dead: bool) -> None:
    """Three segments of a session that ended well, or died."""
    session = Session(folder)
    session.begin()
    for _ in range(3):
        session.give(40)
        session.rotate()
        if not is_dead:
            session.seal()
    if not is_dead:
        session.stop()
    session.leave()


def _refused(disk: Mount, name: str, why: str, act: Callable[[], object], undo: Callable[[], object]) -> None:
    """The command says in one line that the disk refuses, and changes nothing; once it does not, the command works."""
    folder = disk.place / name
    _tape(folder, is_dead=name == "recover")
    before = truth.rows_on_disk(folder)
    act()
    was = truth.contents(folder)
    result = cli(name, folder, *COMMANDS[name])
    check(result.returncode == 1, f"{name} exits 1: {result.stdout}{result.stderr}")
    check(result.stderr.count("\n") == 1 and why in result.stderr, f"{name} says so in one line: {result.stderr}")
    check(truth.contents(folder) == was, f"{name} leaves nothing half done")
    undo()
    result = cli(name, folder, *COMMANDS[name])
    check(result.returncode == 0, f"{name} works once there is room: {result.stderr}")
    if name != "prune":
        check(truth.raw_rows(folder)[: len(before)] == before, "with every frame")
    check(bool(read_manifest(folder).segments), "and sealed")
    check(cli("verify", folder).returncode == 0, "and sound")


def full_disk(work: Path, seed: object) -> str:
    """Every command that writes, with no byte left."""
    with Mount(work / "disk", "8m") as disk:
        for name in COMMANDS:
            ballast = disk.place / "ballast"
            _refused(disk, name, "No space left on device", lambda: fill(disk.place, 0), ballast.unlink)
    return f"{', '.join(COMMANDS)}: one line each"


def read_only_disk(work: Path, seed: object) -> str:
    """Every command that writes, where nothing can be written."""
    for name in COMMANDS:
        with Mount(work / name, "8m") as disk:
            _refused(disk, name, "Read-only file system", disk.read_only, disk.read_write)
    return f"{', '.join(COMMANDS)}: one line each"


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "rewrites killed in a row": killed_in_a_row,
    "rewrites on a full disk": full_disk,
    "rewrites on a read-only disk": read_only_disk,
}
#: These mount a file system.
NEED_MOUNT: Final = ("rewrites on a full disk", "rewrites on a read-only disk")
