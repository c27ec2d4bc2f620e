"""
Records live venues into a folder.

Frames go to the journal first, then to the protocols, the books and the digest. A segment ends at a full hour (or as
told) or at a size; the process beside this one turns it into Parquet.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from recordings.care.recovery import Recovery, needs_recovery
from recordings.following.tee import Tee
from recordings.following.tee_wire import remove_tee_file
from recordings.format.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.format.software import SOFTWARE
from recordings.reading.resume_state import resume_at_end
from recordings.sealing.leftovers import take_back
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import make_folder
from recordings.storage.lock import LOCK_NAME, FolderLock
from recordings.writing.folder_guard import FolderGuard
from recordings.writing.privacy import capture_with
from recordings.writing.recorder_checks import TRACES, check_folder, check_same
from recordings.writing.recorder_options import Fsync, RecorderOptions, VenueRequest
from recordings.writing.recorder_status import RecorderStatus
from recordings.writing.recording_session import LogCallback, RecordingSession, source_factory
from recordings.writing.restarting import LeftOver, heal
from recordings.writing.sealer_process import SealerProcess
from recordings.writing.session_journals import disk_refused
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import Clock, SystemClock
from toolkit.digest import DIGEST_VERSION
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import ConfigError, RecordingError
from toolkit.frames import Frame
from toolkit.live.clock_sync import ClockState, read_clock_state
from toolkit.protocol import VenueProtocol
from toolkit.transport.hosts import HostList

__all__ = ["Fsync", "Recorder", "RecorderOptions", "RecorderStatus", "VenueRequest"]


def _silent(_: str) -> None:
    """Log nothing."""


@dataclass(slots=True)
class Recorder:
    """
    One recording session, from the folder to the sealed recording.

    Args:
        options: How to record.
        clock: The machine's, unless a test drives one.
        log: Called with one line for what an operator should know.
        read_clock: Function that asks the kernel about its clock.

    Attributes:
        dispatcher: Where every message of the session goes.
        status: State of the recorder at any time: connections, counts, lags.
        recovery: Report of what was healed before the session began, or at its end; None if nothing had to be.
        session: The session; None before it begins.
    """

    options: RecorderOptions
    clock: Clock = field(default_factory=SystemClock)
    log: LogCallback = _silent
    dispatcher: MessageDispatcher = field(default_factory=MessageDispatcher)
    status: RecorderStatus = field(default_factory=RecorderStatus)
    read_clock: Callable[[], ClockState | None] = read_clock_state
    recovery: Recovery | None = field(init=False, default=None)
    session: RecordingSession | None = field(init=False, default=None)
    _stop: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        privacy = self.options.privacy
        if privacy is not None:
            # Neither the protocols nor the manifest may know whom this recording follows.
            venues = [replace(venue, options=privacy.options(venue.options)) for venue in self.options.venues]
            self.options = replace(self.options, venues=venues)

    # -- the session -------------------------------------------------------------------------------------------

    @property
    def tracker(self) -> OrderBookTracker:
        """The order books of the session, up to date before any callback receives a message; empty before it begins."""
        return self.session.normalizer.tracker if self.session is not None else OrderBookTracker()

    @property
    def lags_ns(self) -> Sequence[int]:
        """Lags of the receiving loop, ns, newest last."""
        return self.session.lags_ns if self.session is not None else ()

    def check(self) -> None:
        """
        Raise what `run` would be refused for before it connects to anybody; nothing is written, and no network is asked.

        Raises ConfigError or RecordingError, as `run` does.
        """
        protocols = self._protocols()
        sources = [venue.source_info(protocols[venue.spec.name].version) for venue in self.options.venues]
        normalizer = Normalizer(protocols)
        capture = capture_with(self.options.privacy, _unrecorded, self.clock, 0, 1)
        for venue in self.options.venues:
            source_factory(venue, self.options, self.clock, normalizer, capture, self.dispatcher)
        if self.options.tee is not None:
            HostList(self.options.tee.host, self.options.tee.allowed_hosts)
        check_folder(self.options.folder, sources)

    def stop(self) -> None:
        """End the session: `run` closes the connections, seals and returns."""
        self._stop.set()

    def note(self, event: str, details: dict[str, object]) -> None:
        """
        Put an event of our own into the recording, after the frame under way.

        A callback may call it; it does nothing where no session is open.
        """
        asyncio.get_running_loop().call_soon(self._note, event, details)

    def _note(self, event: str, details: dict[str, object]) -> None:
        if self.session is not None and not self._stop.is_set():
            self.session.note(event, details)

    async def run(self) -> Manifest:
        """
        Record until `stop`, then seal.

        Whatever ends it, what was received is sealed first; then the failure is raised.

        Raises:
            ConfigError: The folder is taken, or was recorded with other options.
            ConnectFailed, SymbolError: The venue cannot be reached, or does not list a pair.
            RecordingError: The folder cannot be written, or is being written.
            BackpressureError: The disk was too slow.
        """
        folder = self.options.folder
        self._prepare_folder(folder)
        loop = asyncio.get_running_loop()
        lock = FolderLock(
            folder,
            say=lambda text: _log_from_thread(loop, self.log, text),
            give_up=self._stop.is_set,
        )
        # It may have to wait for what a recorder that died has left at work; signals are answered meanwhile.
        await asyncio.to_thread(lock.acquire)
        is_new = False
        try:
            is_new = self._prepare_folder(folder)  # as it is now that no other process writes
            return await self._record(folder, is_new, lock)
        except BaseException as exc:
            if is_new and not (self.session and self.session.fleet.has_begun):
                _remove_empty(folder)
            if isinstance(exc, OSError):
                raise RecordingError(disk_refused(folder, exc)) from exc
            raise
        finally:
            lock.release()

    async def _record(self, folder: Path, is_new: bool, lock: FolderLock) -> Manifest:
        normalizer = Normalizer(self._protocols())
        sealer = SealerProcess(folder, lock)
        try:
            manifest, left = await self._begin(folder, is_new, normalizer, sealer)
            remove_tee_file(folder)  # of a recorder that was killed
            begin = partial(self._session, normalizer, left, sealer, FolderGuard(folder, lock))
            if self.options.tee is None:
                return await begin(None)
            tee = Tee(folder, manifest, self.options.tee, started_ns=self.clock.time_ns(), next_seq=left.next_seq)
            async with tee:
                self.log(f"tee on {tee.url}")
                if tee.warning is not None:
                    self.log(tee.warning)
                return await begin(tee)
        finally:
            await sealer.stop()

    async def _session(
        self, normalizer: Normalizer, left: LeftOver, sealer: SealerProcess, guard: FolderGuard, tee: Tee | None
    ) -> Manifest:
        self.session = RecordingSession(
            self.options,
            self.clock,
            self.log,
            self.dispatcher,
            self.status,
            normalizer=normalizer,
            left=left,
            sealer=sealer,
            guard=guard,
            tee=tee,
            read_clock=self.read_clock,
        )
        try:
            return await self.session.run(self._stop)
        finally:
            self.recovery = self.session.recovery or self.recovery

    def _protocols(self) -> dict[str, VenueProtocol]:
        protocols = {venue.spec.name: venue.spec.make_protocol(venue.options) for venue in self.options.venues}
        if len(protocols) != len(self.options.venues):
            raise ConfigError("a venue is named twice: name all of its pairs together")
        return protocols

    def _prepare_folder(self, folder: Path) -> bool:
        try:
            make_folder(folder, parents=True)
            names = {path.name for path in folder.iterdir()} - TRACES
        except OSError as exc:
            raise RecordingError(f"{folder} cannot be written: {exc.strerror}") from None
        if names and MANIFEST_NAME not in names:
            raise ConfigError(f"{folder} is not empty and not a recording: name another folder")
        return not names

    async def _begin(
        self, folder: Path, is_new: bool, normalizer: Normalizer, sealer: SealerProcess
    ) -> tuple[Manifest, LeftOver]:
        """The manifest of the session that begins, and where it begins."""
        sources = [venue.source_info(normalizer.protocols[venue.spec.name].version) for venue in self.options.venues]
        left = LeftOver()
        if is_new:
            manifest = Manifest(
                software=SOFTWARE, created_ns=self.clock.time_ns(), sources=sources, digest_version=DIGEST_VERSION
            )
        else:
            is_torn = needs_recovery(folder)
            said = await heal(folder, sealer, self.log, self._stop) if is_torn else None
            manifest = read_manifest(folder)
            if said is not None:
                self.recovery = Recovery(manifest, said.sealed_segments, said.recovered_frames, said.left_bytes)
            check_same(folder, manifest, sources)
            resume_at_end(folder, manifest, normalizer)
            left = LeftOver.after(manifest)
            if is_torn and not said:
                left = await asyncio.to_thread(LeftOver.carried, folder, manifest, normalizer, self.clock)
            manifest.sources = sources
            manifest.status = "running"
            manifest.live_digest = None  # of the session before
        manifest.flush_interval_s = self.options.flush_interval_s
        write_manifest(folder, manifest)
        # It loads what it needs meanwhile; where it cannot be started it is tried again when there is something to seal.
        with contextlib.suppress(OSError):
            await sealer.start()
        return manifest, left


def _log_from_thread(loop: asyncio.AbstractEventLoop, log: LogCallback, text: str) -> None:
    """Log from another thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(log, text)


def _remove_empty(folder: Path) -> None:
    """Take back a folder in which nothing was recorded, so that a mistyped pair leaves none behind."""
    take_back(folder)
    remove_tee_file(folder)
    with contextlib.suppress(OSError):  # somebody else has put something there
        if {path.name for path in folder.iterdir()} <= {LOCK_NAME}:
            shutil.rmtree(folder)


def _unrecorded(frame: Frame) -> None:
    """Keep nothing: no frame comes while options are only checked."""
