"""A wall clock that steps, and a disk that does not follow: in this process, since the machine's are not ours to touch."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from recordings.format.manifest import read_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.queries.gaps import find_gaps
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from tests.chaos import truth
from tests.chaos.bench import PAIRS, Bench, check
from tests.deadlines import HANG_S
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.errors import BackpressureError
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

HOUR_NS = 3600 * NS_PER_S


class SteppingClock(SystemClock):
    """The machine's clocks, with a wall clock that can be set."""

    def __init__(self) -> None:
        self.offset_ns = 0
        self.slept_ns = 0

    def time_ns(self) -> int:
        return super().time_ns() + self.offset_ns

    def suspended_ns(self) -> int:
        return self.slept_ns

    def sleep_machine(self, ns: int) -> None:
        """As if the machine had slept so long."""
        self.offset_ns += ns
        self.slept_ns += ns


def _recorder(bench: Bench, clock: SystemClock, log: list[str], **options: object) -> Recorder:
    request = VenueRequest(
        spec=find_venue("hyperliquid"),
        options=ProtocolOptions(pairs=PAIRS),
        ws_url=f"ws://127.0.0.1:{bench.proxy.port}/ws",
        rest_url=f"http://127.0.0.1:{bench.proxy.port}",
    )
    settings = RecorderOptions(folder=bench.work / "tape", venues=(request,), flush_interval_s=0.1, disk_free_min=0)
    for name, value in options.items():
        object.__setattr__(settings, name, value)
    return Recorder(options=settings, clock=clock, log=log.append)


async def _until(condition: Callable[[], bool], running: asyncio.Task[object]) -> None:
    """Wait for something while the recorder runs."""
    async with asyncio.timeout(HANG_S):
        while not condition() and not running.done():  # noqa: ASYNC110  # it changes without telling anybody
            await asyncio.sleep(0.01)


def clock_steps_back(work: Path, seed: object) -> str:
    """The wall clock goes back an hour, and forward again: both are events, segments still rotate, nothing is lost."""

    async def session(bench: Bench) -> Recorder:
        clock, log = SteppingClock(), list[str]()
        recorder = _recorder(bench, clock, log, rotate_s=2.0)
        running = asyncio.get_running_loop().create_task(recorder.run())
        status = recorder.status
        await _until(lambda: status.segment >= 1, running)
        for offset, steps in ((-HOUR_NS, 1), (0, 2)):
            segment = status.segment
            clock.offset_ns = offset
            await _until(lambda: sum("clock step" in line for line in log) >= steps, running)  # noqa: B023
            await _until(lambda: status.segment >= segment + 2, running)  # noqa: B023
        recorder.stop()
        await running
        return recorder

    with Bench.open(work, seed=seed) as bench:
        recorder = asyncio.run(session(bench))
        folder = recorder.options.folder
        frames = truth.frames_of(folder)
        stamps = [frame.ts_recv for frame in frames]
        check(any(b - a < -HOUR_NS // 2 for a, b in itertools.pairwise(stamps)), "the stamps go back too")
        check(sum(truth.says(frame, "clock_step") for frame in frames) == 2, "both steps are on record")
        truth.check_numbers(frames)
        truth.check_digest(folder)
        truth.check_sound(folder)
        segments = len(read_manifest(folder).segments)
        return f"{len(frames):,} frames in {segments} segments"


def machine_sleeps(work: Path, seed: object) -> str:
    """The machine sleeps for an hour: no book is fresh on waking, every stream has a gap of that hour, it connects again."""

    async def session(bench: Bench) -> Recorder:
        clock, log = SteppingClock(), list[str]()
        recorder = _recorder(bench, clock, log)
        running = asyncio.get_running_loop().create_task(recorder.run())
        await _until(lambda: recorder.status.frame_count > 200, running)
        clock.sleep_machine(HOUR_NS)
        await _until(lambda: sum(" connected role" in line for line in log) >= 4, running)
        frames = recorder.status.frame_count
        await _until(lambda: recorder.status.frame_count > frames + 200, running)
        recorder.stop()
        await running
        return recorder

    with Bench.open(work, seed=seed) as bench:
        recorder = asyncio.run(session(bench))
        folder = recorder.options.folder
        gaps = find_gaps(folder)
        hours = gaps.filter((gaps["cause"] == "suspend") & (gaps["seconds"] > 3500))
        for pair in PAIRS:
            streams = set(hours.filter(hours["trading_pair"] == pair)["stream"])
            check(streams >= {"full", "fast", "bbo"}, f"{pair} misses the hour, not only in {streams}")
        frames = truth.frames_of(folder)
        check(not any(truth.says(frame, "clock_step") for frame in frames), "the clock was right, so it did not step")
        missing = truth.check_sound_tape(folder, truth.SentLog(bench.venue.sent_log))
        return f"{len(frames):,} frames, {missing} under way when a connection ended"


def disk_does_not_follow(work: Path, seed: object) -> str:
    """The disk takes nothing for a while: the recorder says so, stops, seals what it has and states the rest as lost."""
    lets_go, log = threading.Event(), list[str]()
    write = JournalWriter._write

    def slow(self: JournalWriter, content: bytes) -> None:
        if threading.current_thread().name.startswith("journal"):
            lets_go.wait(HANG_S)
        write(self, content)

    async def session(bench: Bench) -> Recorder:
        recorder = _recorder(bench, SystemClock(), log, pending_bytes_max=200_000)
        running = asyncio.get_running_loop().create_task(recorder.run())
        await _until(lambda: recorder.status.frame_count > 200, running)
        JournalWriter._write = slow  # type: ignore[method-assign]
        try:
            # The disk takes something again only once the recorder has given up.
            await _until(lambda: any("disconnected" in line for line in log), running)
            lets_go.set()
            await running
            raise AssertionError("the recorder goes on without its disk")
        except BackpressureError as exc:
            check("wait for the disk" in str(exc), f"it says why: {exc}")
        finally:
            lets_go.set()
            JournalWriter._write = write  # type: ignore[method-assign]
        return recorder

    with Bench.open(work, seed=seed) as bench:
        recorder = asyncio.run(session(bench))
        folder = recorder.options.folder
        check(any("the disk is too slow" in line for line in log), f"it says so before: {log}")
        check(read_manifest(folder).status in ("sealed", "recovered"), "what it had is sealed")
        missing = truth.check_sound_tape(folder, truth.SentLog(bench.venue.sent_log))
        frames = truth.frames_of(folder)
        check(len(frames) >= recorder.status.frame_count, "every frame that it took is there")
        check(find_gaps(folder).height, "that it ended so is a gap")
        return f"{len(frames):,} frames, {missing} under way when a connection ended"


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "clock steps an hour": clock_steps_back,
    "machine sleeps an hour": machine_sleeps,
    "disk does not follow": disk_does_not_follow,
}
