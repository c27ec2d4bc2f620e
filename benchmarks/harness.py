"""What every benchmark shares: options, figures, timing, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypeVar

__all__ = ["SHARED_DATA", "Figure", "Options", "Timing", "leave_out", "machine", "measure", "peak_bytes", "pin", "show"]

T = TypeVar("T")

ROOT: Final = Path(__file__).resolve().parent.parent
#: Captures of real exchanges; they stand beside the repository, or where TICKDECK_SHARED_DATA says.
SHARED_DATA: Final = Path(os.environ.get("TICKDECK_SHARED_DATA") or ROOT.parent / "shared" / "data")
_PACKAGES: Final = ("tickdeck", "websockets", "msgspec", "pyarrow", "polars", "numpy", "duckdb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    How large a run is.

    Attributes:
        folder: Where files are made; emptied by what made it.
        frames: Frames that are imported and replayed.
        repeats: Runs of which the median is taken.
        seconds: Length of the sustained run of `journal`.
        seal_frames: Frames of the segment that `sealing` seals.
        seek_frames: Frames of the segment that is sought in.
        memory_bytes: Payload bytes of the largest tape of `memory`.
        venue_frames: Frames of each recording of `many-pairs` and `tiers`.
        venue_segments: Segments of its recording of many short ones: 720 are a month of hours.
        shared: Folder of captures; None to do without.
        peers: Whether `backtest` and `fast` are compared with another system.
    """

    folder: Path
    frames: int = 200_000
    repeats: int = 3
    seconds: float = 60.0
    seal_frames: int = 5_000_000
    seek_frames: int = 1_000_000
    memory_bytes: int = 1 << 30
    venue_frames: int = 240_000
    venue_segments: int = 720
    shared: Path | None = None
    peers: bool = False

    def capture(self, name: str) -> Path | None:
        """A file of the captures, or None where it is not there."""
        path = self.shared / name if self.shared is not None else None
        return path if path is not None and path.is_file() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One result: what, how much of which unit, and what has to be known to read it."""

    bench: str
    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Medians of several runs, seconds: of the wall clock, of the measuring thread, and of all threads."""

    wall: float
    thread: float
    process: float


def measure(
    run: Callable[[], T], repeats: int, *, warm_up: bool = True, before: Callable[[], object] = lambda: None
) -> tuple[Timing, T]:
    """
    Run once to warm up, then `repeats` times; medians of the times, and what the last run returned.

    `before` goes before each run and is not measured.
    """
    before()
    result = run() if warm_up else None
    walls, threads, processes = [], [], []
    for _ in range(max(repeats, 1)):
        before()
        wall, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        result = run()
        walls.append(time.perf_counter() - wall)
        threads.append(time.thread_time() - thread)
        processes.append(time.process_time() - process)
    medians = (statistics.median(times) for times in (walls, threads, processes))
    wall, thread, process = medians
    return Timing(wall=wall, thread=thread, process=process), result  # type: ignore[return-value]  # it ran at least once


def peak_bytes() -> int:
    """The most memory that this process has had."""
    # The figure of `getrusage` is inherited over fork and exec, so that of a small child would be its parent's.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii")) if status.exists() else None
    if found is not None:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine() -> list[tuple[str, str]]:
    """What the figures depend on."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    versions = []
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return [
        ("cpu", f"{_cpu_model()}, {os.cpu_count()} cores"),
        ("system", f"{platform.system()} {platform.machine()}, {_memory()}"),
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("packages", ", ".join(versions)),
        ("load", f"{load} (1, 5 and 15 minutes before)"),
    ]


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _memory() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 2**30:.1f} GiB of memory"


def pin(core: int) -> None:
    """Keep this process on one core, where the system can do that and has so many."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[core % len(allowed)]})


def leave_out(line: str) -> None:
    """Say what is not measured, and why: beside the figures, which a program may read."""
    print(line, file=sys.stderr)


def show(figure: Figure) -> str:
    """A figure as a line."""
    digits = 0 if abs(figure.value) >= 1000 else 2
    note = f"  ({figure.note})" if figure.note else ""
    return f"  {figure.name:<58} {figure.value:>14,.{digits}f} {figure.unit}{note}"
