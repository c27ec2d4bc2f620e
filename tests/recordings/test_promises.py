"""
What a kill, a power cut, a full disk and a removed file cost at most, per `--fsync` setting: docs/operations.md.

The clock stands still while files are written, so that costs are of the recorder alone and of no busy machine. A power
cut is what was synced: sizes of files at their syncs, names of folders at theirs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recordings.care.recovery import recover
from recordings.care.verifying import verify
from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.journal.journal_reader import JournalReader, journal_path, journal_segments
from recordings.writing.recorder_options import Fsync, RecorderOptions
from recordings.writing.recorder_status import RecorderStatus
from recordings.writing.session_journals import SessionJournals
from tests.deadlines import HANG_S
from toolkit.clock import NS_PER_MS, NS_PER_S, ManualClock
from toolkit.errors import BackpressureError
from toolkit.frames import WS_IN, Frame

START = 1_790_000_000 * NS_PER_S
STEP_NS = 50 * NS_PER_MS
FLUSH_NS = 250 * NS_PER_MS
SYNC_NS = NS_PER_S


class Disk:
    """What of a folder survives a power cut; a sync takes so long on the clock of the trial."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.sync_ns = 0
        self._sizes: dict[int, int] = {}
        self._names: dict[int, set[str]] = {}
        self._moved = threading.Condition()
        self._is_over = False
        self.is_full = False

    def fsync(self, handle: int) -> None:
        facts = os.fstat(handle)
        names = set(os.listdir(handle)) if stat.S_ISDIR(facts.st_mode) else set()  # of a handle
        until = self._clock.monotonic_ns() + self.sync_ns
        with self._moved:
            self._moved.wait_for(lambda: self._is_over or self._clock.monotonic_ns() >= until, HANG_S)
        if stat.S_ISDIR(facts.st_mode):
            self._names[facts.st_ino] = names
        else:
            self._sizes[facts.st_ino] = facts.st_size

    def write(self, handle: int, content: Any) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real_write(handle, content)

    real_write = staticmethod(os.write)

    def time_passes(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def release(self) -> None:
        with self._moved:
            self._is_over = True
            self._moved.notify_all()

    def power_cut(self, folder: Path, copy: Path) -> Path:
        """The folder as it is afterwards."""
        shutil.copytree(folder, copy)
        place = folder / "journal"
        kept = self._names.get(place.stat().st_ino, set())
        for path in place.iterdir():
            other = copy / "journal" / path.name
            if path.name in kept:
                os.truncate(other, min(self._sizes.get(path.stat().st_ino, 0), path.stat().st_size))
            else:
                other.unlink()
        return copy


class Trial:
    """Journals that are written as a recorder writes them: a frame each step, flushed, synced, rotated."""

    def __init__(self, folder: Path, fsync: Fsync, clock: ManualClock, disk: Disk) -> None:
        folder.mkdir()
        sources = [SourceInfo("hyperliquid", 1, ("BTC-USD",))]
        write_manifest(folder, Manifest(created_ns=START, sources=sources, flush_interval_s=FLUSH_NS / NS_PER_S))
        self.folder = folder
        self.clock = clock
        self.disk = disk
        self.logged: list[str] = []
        options = RecorderOptions(folder=folder, venues=(), fsync=fsync, rotate_s=2.0)
        self.journals = SessionJournals(options, clock, self.logged.append, RecorderStatus())
        self.journals.begin(0)
        loop = asyncio.get_running_loop()
        self._services = [
            loop.create_task(service)
            for service in (
                self.journals.flush_regularly(),
                self.journals.sync_regularly(),
                self.journals.look_regularly(),
            )
        ]
        self.seq = 0

    async def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds * NS_PER_S / STEP_NS)):
            payload = b'{"channel":"pong"}'
            stamps = (self.clock.time_ns(), self.clock.monotonic_ns())
            self.journals.append(Frame(self.seq, *stamps, "hyperliquid", 0, 0, WS_IN, payload))
            self.seq += 1
            self.clock.advance(STEP_NS)
            self.disk.time_passes()
            if self.journals.is_full():
                self.journals.rotate()
            await self._settle()

    async def _settle(self) -> None:
        """Everything that takes no time on the clock is done; what waits for the disk may still."""
        for _ in range(10):
            await asyncio.sleep(0)
        journals = [closed.journal for closed in self.journals._closed]
        if self.journals._open is not None:
            journals.append(self.journals._open)
        for journal in journals[-2:]:
            last = journal._last
            if last is not None:
                await asyncio.wrap_future(last)
        if self.disk.sync_ns:
            return  # what waits for the disk goes on with the clock
        pools = (self.journals._finisher, self.journals._syncer, self.journals._looker)
        for _ in range(2):
            for pool in pools:
                await asyncio.get_running_loop().run_in_executor(pool, int)
            for _ in range(5):
                await asyncio.sleep(0)

    async def end(self) -> None:
        for service in self._services:
            service.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        self.disk.release()
        self.journals.close()
        await self.journals.finished()
        await self.journals.end()

    def cost_ns(self, folder: Path) -> int:
        """How much of the end of the recording a folder lacks, ns; what it has follows without a hole."""
        found = [
            frame
            for number in journal_segments(folder)
            for batch in JournalReader(journal_path(folder, number)).frames()
            for frame in batch
        ]
        seqs = [frame.capture_seq for frame in found]
        assert seqs == list(range(len(seqs)))
        last_ns = found[-1].ts_recv if found else START - STEP_NS
        return self.clock.time_ns() - (last_ns + STEP_NS)


def trial(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fsync: Fsync,
    act: Callable[[Trial, int], Any],
    *,
    times: int,
    sync_ns: int = 0,
) -> None:
    """Run on, and try something at each of so many moments, rotations among them."""

    async def main() -> None:
        clock = ManualClock(START)
        disk = Disk(clock)
        monkeypatch.setattr("recordings.storage.atomic_files.os.fsync", disk.fsync)
        monkeypatch.setattr("recordings.journal.journal_writer.os.write", disk.write)
        run = Trial(tmp_path / "tape", fsync, clock, disk)
        disk.sync_ns = sync_ns
        try:
            for number in range(times):
                await run.run(0.35)
                result = act(run, number)
                if asyncio.iscoroutine(result):
                    await result
        finally:
            await run.end()

    asyncio.run(main())


@pytest.mark.parametrize("fsync", list(Fsync))
def test_a_kill_costs_what_was_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync) -> None:
    """Whatever the setting: the operating system has the rest."""
    costs: list[int] = []
    trial(tmp_path, monkeypatch, fsync, lambda run, _: costs.append(run.cost_ns(run.folder)), times=20)
    assert 0 < max(costs) <= FLUSH_NS


@pytest.mark.parametrize(
    ("fsync", "bound_ns"), [(Fsync.ALWAYS, FLUSH_NS), (Fsync.INTERVAL, SYNC_NS + FLUSH_NS), (Fsync.OFF, None)]
)
def test_a_power_cut_costs_what_was_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync, bound_ns: int | None
) -> None:
    """At rotations too, and what is left never has a hole. Without syncs whole segments may be gone that are not sealed."""
    costs: list[int] = []

    def cut(run: Trial, number: int) -> None:
        costs.append(run.cost_ns(run.disk.power_cut(run.folder, tmp_path / f"cut-{number}")))

    trial(tmp_path, monkeypatch, fsync, cut, times=25)
    assert max(costs) > 0
    if bound_ns is None:
        assert max(costs) > SYNC_NS + FLUSH_NS
    else:
        assert max(costs) <= bound_ns


@pytest.mark.parametrize("fsync", list(Fsync))
def test_slow_syncs_cost_a_kill_nothing_and_a_power_cut_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync
) -> None:
    """Syncs of three seconds, over many rotations: writing never waits for them, and they keep the order of journals."""
    costs: list[int] = []

    def look(run: Trial, number: int) -> None:
        costs.append(run.cost_ns(run.folder))
        run.cost_ns(run.disk.power_cut(run.folder, tmp_path / f"cut-{number}"))

    trial(tmp_path, monkeypatch, fsync, look, times=20, sync_ns=3 * NS_PER_S)
    assert max(costs) <= FLUSH_NS


@pytest.mark.parametrize("fsync", list(Fsync))
def test_a_full_disk_costs_what_was_not_flushed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync
) -> None:
    """The recording ends at the first batch that has no room; what came before is whole."""

    async def fill(run: Trial, number: int) -> None:
        if number < 9:
            return
        filled_ns = run.clock.time_ns()
        run.disk.is_full = True
        with pytest.raises(BackpressureError, match="No space left on device"):
            await run.run(3)
        run.disk.is_full = False
        cost = run.cost_ns(run.folder) - (run.clock.time_ns() - filled_ns)
        assert cost <= FLUSH_NS
        assert run.clock.time_ns() - filled_ns <= 2 * FLUSH_NS

    trial(tmp_path, monkeypatch, fsync, fill, times=10)


@pytest.mark.parametrize("fsync", list(Fsync))
def test_a_removed_journal_costs_nothing_once_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync
) -> None:
    """A look is due every quarter of a second; a kill or a power cut after it costs what it costs anyhow."""
    costs: list[int] = []

    async def remove(run: Trial, number: int) -> None:
        before = journal_segments(run.folder)[-1]
        journal_path(run.folder, before).unlink()
        await run.run(0.5)
        assert journal_path(run.folder, before).exists()
        costs.append(run.cost_ns(run.folder))

    trial(tmp_path, monkeypatch, fsync, remove, times=12)
    assert max(costs) <= FLUSH_NS


def test_what_is_left_of_a_power_cut_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost is stated, from the last frame that is there."""
    cuts: list[Path] = []

    def cut(run: Trial, number: int) -> None:
        if number % 5 == 4:
            cuts.append(run.disk.power_cut(run.folder, tmp_path / f"cut-{number}"))

    trial(tmp_path, monkeypatch, Fsync.INTERVAL, cut, times=15)
    monkeypatch.undo()
    for folder in cuts:
        kept = [f for n in journal_segments(folder) for b in JournalReader(journal_path(folder, n)).frames() for f in b]
        recovery = recover(folder, ManualClock(START + 3600 * NS_PER_S))
        assert recovery.recovered_frames == len(kept)
        assert recovery.lost_from == kept[-1].ts_recv
        assert verify(folder).problems == []
