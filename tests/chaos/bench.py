"""What every scenario stands on: a folder to work in, a venue, a fault proxy before it, and recorder processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from tests.chaos.proxy import FaultProxy
from tests.deadlines import HANG_S

ROOT: Final = Path(__file__).resolve().parents[2]
#: What is not done after that long has hung.
DEADLINE_S: Final = HANG_S
#: A recorder that nobody ends ends itself after this long.
FUSE_S: Final = 3600
PAIRS: Final = ("BTC-USD", "ETH-USD", "SOL-USD")


class ChaosFailure(AssertionError):
    """A promise that was not kept."""


def check(holds: object, what: str) -> None:
    """Raise ChaosFailure unless it holds."""
    if not holds:
        raise ChaosFailure(what)


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Look every few milliseconds until it holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise ChaosFailure(f"it did not come about: {what}")
        time.sleep(0.02)


def cli(*args: str | Path, die_at: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "toolkit.cli", *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "TICKDECK_DIE_AT": die_at},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


class VenueProcess:
    """`tests.chaos.venue` as a process."""

    def __init__(self, work: Path, *args: str, seed: object) -> None:
        self.sent_log = work / f"sent-{len(list(work.glob('sent-*')))}.jsonl"
        self._log = (work / "venue.log").open("ab")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.chaos.venue"),
                *("--seed", str(seed), "--sent-log", str(self.sent_log), *args),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        facts = json.loads(self._answer())
        self.port = int(facts["rest_url"].rpartition(":")[2])

    def do(self, act: str, **details: Any) -> None:
        """Ask for a fault; returns when it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": act, **details}).encode() + b"\n")
        self._process.stdin.flush()
        check(self._answer().strip() == b"done", "the venue process does as it is told")

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], DEADLINE_S)
        check(ready, "the venue process answers")
        return self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._process.stdout.close()
        self._log.close()


class RecorderProcess:
    """
    A `tickdeck record` of the bench's venue.

    Attributes:
        folder: The recording.
        alive_ns: Latest time at which it was seen alive.
    """

    def __init__(
        self,
        folder: Path,
        args: Sequence[str],
        *,
        log: Path,
        die_at: str = "",
        shell: str = "",
        path: Path | None = None,
    ) -> None:
        self.folder = folder
        self._log = log
        command = [sys.executable, "-m", "toolkit.cli", "record", *args]
        if shell:
            command = ["sh", "-c", f"{shell}; exec {shlex.join(command)}"]
        environment = {**os.environ, "TICKDECK_DIE_AT": die_at, "PYTHONFAULTHANDLER": "1"}
        if path is not None:
            environment["PYTHONPATH"] = str(path)  # a sitecustomize.py there changes what the process can do
        self._files: list[IO[bytes]] = [log.open("ab"), log.with_suffix(".out").open("ab")]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=self._files[1],
            stderr=self._files[0],
            start_new_session=True,
        )
        self.alive_ns = 0
        self.is_alive()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """What it wrote to stderr so far."""
        return self._log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self.process.poll()

    def is_alive(self) -> bool:
        """Look, and remember when it was still there."""
        now = time.time_ns()  # noqa: TID251  # compared with what the process itself wrote down
        if self.process.poll() is not None:
            return False
        self.alive_ns = now
        return True

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something while it runs."""

        def holds() -> bool:
            if condition():
                return True
            check(self.is_alive(), f"the recorder lives until {what}; it said:\n{self.log}")
            return False

        until(holds, what)

    def until_recording(self, bytes_min: int = 1) -> None:
        """Wait for so much payload on disk."""
        self.until(lambda: _journal_bytes(self.folder) >= bytes_min, "frames are in the journal")

    def recorded_bytes(self) -> int:
        """Bytes of journals and of sealed raw frames: it grows as long as recording goes on."""
        total = 0
        for path in (*self.folder.glob("journal/*.arrows"), *self.folder.glob("raw/*.parquet")):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def until_log(self, text: str, count: int = 1) -> None:
        self.until(lambda: self.log.count(text) >= count, f"it says {text!r}")

    def live_for(self, seconds: float) -> bool:
        """Let it run for so long; False if it ended before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.is_alive():
                return False
            time.sleep(0.005)
        return self.is_alive()

    def kill(self) -> None:
        """SIGKILL, and nothing else: the sealing process is left to itself, as it would be."""
        self.is_alive()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        self._close()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end; its exit status."""
        try:
            until(lambda: not self.is_alive(), "the recorder ends")
        except ChaosFailure:
            self.signal(signal.SIGABRT)  # shows where every thread stands
            self.process.wait()
            raise ChaosFailure(f"the recorder does not end; it said:\n{self.log}") from None
        self._close()
        return self.process.wait()

    def stop(self) -> int:
        """SIGINT, then wait."""
        self.signal(signal.SIGINT)
        return self.wait()

    def sealer_pid(self) -> int:
        """Its sealing process."""
        found = [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        check(len(found) == 1, f"one sealing process, found {found}")
        return found[0]

    def errors(self) -> list[str]:
        """The lines that say why it failed."""
        return [line for line in self.log.splitlines() if line.startswith("Error: ")]

    def _close(self) -> None:
        for file in self._files:
            file.close()


def _journal_bytes(folder: Path) -> int:
    total = 0
    for path in (folder / "journal").glob("*.arrows"):
        with contextlib.suppress(FileNotFoundError):
            total += max(path.stat().st_size - 2048, 0)  # more than a journal without frames has
    return total


def until_unlocked(folder: Path) -> None:
    """Wait until no process holds the recording, the sealing process of a dead recorder included."""

    def is_free() -> bool:
        try:
            handle = os.open(folder / "recording.lock", os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    until(is_free, f"{folder} is unlocked")


@dataclass
class Bench:
    """
    One scenario's place.

    Attributes:
        work: Its folder, below which everything lies.
        venue: The venue.
        proxy: Proxy that the recorder takes for the venue.
    """

    work: Path
    venue: VenueProcess
    proxy: FaultProxy
    scheme: str = ""
    _count: int = 0
    _running: list[RecorderProcess] | None = None

    @classmethod
    @contextmanager
    def open(cls, work: Path, *venue_args: str, seed: object, scheme: str = "") -> Iterator[Bench]:
        """Start the venue and the proxy; whatever still runs at the end is killed."""
        work.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            venue = VenueProcess(work, *venue_args, seed=seed)
            stack.callback(venue.close)
            proxy = stack.enter_context(FaultProxy(venue.port))
            bench = cls(work, venue, proxy, scheme)
            stack.callback(bench._kill_rest)
            yield bench

    def record(
        self,
        folder: Path | None = None,
        *options: str,
        pairs: Sequence[str] = PAIRS,
        die_at: str = "",
        shell: str = "",
        path: Path | None = None,
    ) -> RecorderProcess:
        """Start a recorder."""
        folder = folder if folder is not None else self.work / "tape"
        self._count += 1
        host = "localhost" if self.scheme else "127.0.0.1"
        args = [
            *("hyperliquid", *pairs, "--out", str(folder)),
            *("--ws-url", f"ws{self.scheme}://{host}:{self.proxy.port}/ws"),
            *("--rest-url", f"http{self.scheme}://{host}:{self.proxy.port}"),
            # A fuse, should whoever started it be killed.
            *("--keep-free-mib", "0", "--duration", f"{FUSE_S}s", *options),
        ]
        return self._start(folder, args, die_at=die_at, shell=shell, path=path)

    def record_both(self, other: FaultProxy, venue: str, pairs: Sequence[str], *options: str) -> RecorderProcess:
        """Start a recorder of this venue and of another one."""
        self._count += 1
        folder, config = self.work / "tape", self.work / "record.toml"
        lines = [f'out = "{folder}"', "keep_free_mib = 0"]
        for name, names, port, path in (
            (venue, pairs, other.port, ""),
            ("hyperliquid", PAIRS, self.proxy.port, "/ws"),
        ):
            quoted = ", ".join(f'"{pair}"' for pair in names)
            lines += ["[[venue]]", f'name = "{name}"', f"pairs = [{quoted}]"]
            lines += [f'ws_url = "ws://127.0.0.1:{port}{path}"', f'rest_url = "http://127.0.0.1:{port}"']
        config.write_text("\n".join(lines))
        return self._start(folder, ["--config", str(config), "--duration", f"{FUSE_S}s", *options])

    def _start(
        self, folder: Path, args: Sequence[str], *, die_at: str = "", shell: str = "", path: Path | None = None
    ) -> RecorderProcess:
        log = self.work / f"recorder-{self._count:03d}.log"
        recorder = RecorderProcess(folder, args, log=log, die_at=die_at, shell=shell, path=path)
        self._running = [*(self._running or []), recorder]
        return recorder

    def _kill_rest(self) -> None:
        for recorder in self._running or []:
            if recorder.status is None:
                recorder.kill()
            recorder._close()


class Mount:
    """A small file system in memory, where this user may mount one."""

    def __init__(self, place: Path, size: str) -> None:
        self.place = place
        self._size = size

    def __enter__(self) -> Mount:
        self.place.mkdir(parents=True, exist_ok=True)
        self._run("mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.place))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run("umount", "-l", str(self.place))

    def read_only(self) -> None:
        """Nothing may be written any more."""
        self._run("mount", "-o", "remount,ro", str(self.place))

    def read_write(self) -> None:
        """It may be again."""
        self._run("mount", "-o", "remount,rw", str(self.place))

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)

    @staticmethod
    def is_allowed(place: Path) -> bool:
        """Whether this user may."""
        try:
            with Mount(place / "mount-try", "64k"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False
