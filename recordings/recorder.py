"""
Records live venues into a folder.

Frames go to the journal first, then to the protocols, the books and the digest. A segment ends at a full hour (or as
told) or at a size; the process beside this one turns it into Parquet.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from recordings.care.recovery import Recovery, needs_recovery, recover
from recordings.following.tee import Tee
from recordings.following.tee_wire import remove_tee_file
from recordings.format.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.format.software import SOFTWARE
from recordings.reading.resume_state import resume_at_end
from recordings.sealing.leftovers import take_back
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import make_folder
from recordings.storage.crash_points import step
from recordings.storage.lock import LOCK_NAME, FolderLock
from recordings.writing.clock_notes import ClockNotes
from recordings.writing.event_log import EventLog
from recordings.writing.folder_guard import FolderGuard
from recordings.writing.privacy import capture_with
from recordings.writing.recorder_checks import TRACES, check_folder, check_same
from recordings.writing.recorder_options import Fsync, RecorderOptions, VenueRequest
from recordings.writing.recorder_status import RecorderStatus, percentiles_ms
from recordings.writing.restarting import LeftOver, describe_recovery, heal
from recordings.writing.sealer_process import SealerProcess
from recordings.writing.sealing_queue import SealingQueue
from recordings.writing.session_journals import SessionJournals, disk_refused
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_S, Clock, SystemClock
from toolkit.digest import DIGEST_VERSION
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import BackpressureError, ConfigError, RecordingError
from toolkit.frames import CONTROL, Frame, control_payload
from toolkit.live import Fleet, LiveDataSource
from toolkit.live.capture import Capture
from toolkit.live.clock_sync import ClockState, read_clock_state
from toolkit.live.fleet import SourceFactory
from toolkit.messages import OUT_OF_ORDER, EventKind, Message, OrderBookMessage, StreamEvent, Trade
from toolkit.protocol import VenueProtocol
from toolkit.rng import fresh_seed
from toolkit.transport.hosts import HostList
from toolkit.transport.limits import VenueBudget

__all__ = ["Fsync", "Recorder", "RecorderOptions", "RecorderStatus", "VenueRequest"]


LogCallback = Callable[[str], None]
#: How often the clock of rotation and the free disk are looked at, seconds.
LOOK_S: Final = 0.5
LAG_PROBE_NS: Final = 10_000_000
#: Every how manieth message is taken for the delay in the status line.
DELAY_SAMPLING: Final = 4


def _silent(_: str) -> None:
    """Log nothing."""


@dataclass(slots=True)
class Recorder:
    """
    One recording session.

    Args:
        options: How to record.
        clock: The machine's, unless a test drives one.
        log: Called with one line for what an operator should know.

    Attributes:
        recovery: What was healed before the session began; None if nothing had to be.
        dispatcher: Where every message of the session goes.
    """

    options: RecorderOptions
    clock: Clock = field(default_factory=SystemClock)
    log: LogCallback = _silent
    dispatcher: MessageDispatcher = field(default_factory=MessageDispatcher)
    recovery: Recovery | None = None
    status: RecorderStatus = field(default_factory=RecorderStatus)
    _journals: SessionJournals | None = None
    _queue: SealingQueue | None = None
    _normalizer: Normalizer | None = None
    _tee: Tee | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    #: What the kernel says of its clock.
    read_clock: Callable[[], ClockState | None] = read_clock_state
    _fleet: Fleet | None = None
    _capture: Capture | None = None
    _events: EventLog = field(init=False)
    #: Lags of the receiving loop, ns, newest last.
    lags_ns: deque[int] = field(default_factory=lambda: deque(maxlen=100_000))
    _delays: deque[int] = field(default_factory=lambda: deque(maxlen=1024))

    def __post_init__(self) -> None:
        self._events = EventLog(self.log, self.clock)
        # Before anybody else's: callbacks find the books up to date, as in a replay.
        self.dispatcher.add_callback(self._take, first=True)
        privacy = self.options.privacy
        if privacy is not None:
            # Neither the protocols nor the manifest may know whom this recording follows.
            venues = [replace(venue, options=privacy.options(venue.options)) for venue in self.options.venues]
            self.options = replace(self.options, venues=venues)

    # -- the session -------------------------------------------------------------------------------------------

    @property
    def tracker(self) -> OrderBookTracker:
        """The order books of the session, up to date before any callback receives a message; empty before it begins."""
        return self._normalizer.tracker if self._normalizer is not None else OrderBookTracker()

    def check(self) -> None:
        """
        Raise what `run` would be refused for before it connects to anybody; nothing is written, and no network is asked.

        Raises ConfigError or RecordingError, as `run` does.
        """
        protocols = self._protocols()
        sources = [venue.source_info(protocols[venue.spec.name].version) for venue in self.options.venues]
        normalizer = Normalizer(protocols)
        capture = capture_with(self.options.privacy, self._write_down, self.clock, 0, 1)
        for venue in self.options.venues:
            self._source_factory(venue, normalizer, capture)
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
        if self._capture is not None and self._journals is not None and not self._stop.is_set():
            # What the disk refuses here it refuses the next frame too, which says so.
            with contextlib.suppress(BackpressureError, OSError):
                self._say(self._capture, event, **details)

    async def run(self) -> Manifest:
        """
        Record until `stop`, then seal.

        Whatever ends it, what was received is sealed first; then the failure is raised.

        Raises:
            ConfigError: The folder is taken, or was recorded with other options.
            ConnectFailed, SymbolError: The venue cannot be reached, or does not list a pair.
            RecordingError: The folder cannot be written, or is being written.
            BackpressureError: The disk did not follow.
        """
        folder = self.options.folder
        self._prepare_folder(folder)
        loop = asyncio.get_running_loop()
        lock = FolderLock(
            folder,
            say=lambda text: _tell(loop, self.log, text),
            give_up=self._stop.is_set,
        )
        # It may have to wait for what a recorder that died has left at work; signals are answered meanwhile.
        await asyncio.to_thread(lock.acquire)
        is_new = False
        try:
            is_new = self._prepare_folder(folder)  # as it is now that nobody else writes
            return await self._record(folder, is_new, lock)
        except BaseException as exc:
            if is_new and not (self._fleet and self._fleet.has_begun):
                _remove_empty(folder)
            if isinstance(exc, OSError):
                raise RecordingError(disk_refused(folder, exc)) from exc
            raise
        finally:
            lock.release()

    async def _record(self, folder: Path, is_new: bool, lock: FolderLock) -> Manifest:
        normalizer = self._normalizer = Normalizer(self._protocols())
        sealer = SealerProcess(folder, lock)
        try:
            manifest, left = await self._begin(folder, is_new, normalizer, sealer)
            capture = self._capture = capture_with(
                self.options.privacy, self._write_down, self.clock, left.next_seq, normalizer.conn_id_max + 1
            )
            seed = self.options.backoff_seed
            fleet = self._fleet = Fleet(
                {venue.spec.name: self._source_factory(venue, normalizer, capture) for venue in self.options.venues},
                clock=self.clock,
                log=self.log,
                begun=self._tell_begun,
                is_patient=self.options.wait_for_venue,
                seed=fresh_seed() if seed is None else seed,
            )
            remove_tee_file(folder)  # of a recorder that was killed
            guard = FolderGuard(folder, lock)
            if self.options.tee is None:
                return await self._session(folder, left, capture, sealer, guard, fleet)
            self._tee = Tee(folder, manifest, self.options.tee, started_ns=self.clock.time_ns(), next_seq=left.next_seq)
            async with self._tee as tee:
                self.log(f"tee on {tee.url}")
                if tee.warning is not None:
                    self.log(tee.warning)
                return await self._session(folder, left, capture, sealer, guard, fleet)
        finally:
            await sealer.stop()

    async def _session(
        self,
        folder: Path,
        left: LeftOver,
        capture: Capture,
        sealer: SealerProcess,
        guard: FolderGuard,
        fleet: Fleet,
    ) -> Manifest:
        journals = self._journals = SessionJournals(
            self.options,
            self.clock,
            self.log,
            self.status,
            on_written=self._tee.written if self._tee is not None else None,
            guard=guard,
        )
        queue = self._queue = SealingQueue(sealer, journals, self.clock, self.log, left.segments)
        sealing = asyncio.get_running_loop().create_task(queue.run(), name="sealing")
        failure: BaseException | None = None
        try:
            journals.begin(left.next_segment)
            if refusal := self._say(capture, "session_start", software=SOFTWARE):
                raise refusal
            step("session-begun")
            await self._run_sources(sealing, fleet, capture)
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  # raised again once all is sealed
            failure = self._cause(exc)
        finally:
            await fleet.stop()
            self._events.close()
        try:
            sealed = await self._finish(folder, capture, sealer, sealing, left.next_segment, failure)
        finally:
            queue.give_up()
            await sealer.stop()
            await asyncio.wait({sealing})
            await journals.end()
        for name in fleet.unreached():
            self.log(f"nothing of {name} was recorded: it was not reached before the end")
        # The others are recorded and sealed; that one venue never was is still a failure of what was asked for.
        for verdict in fleet.never_begun():
            raise verdict
        return sealed

    def _tell_begun(self, name: str) -> None:
        """Say that a venue is recorded, now that nothing refuses it any more."""
        (venue,) = (each for each in self.options.venues if each.spec.name == name)
        accounts = ["and accounts"] if venue.options.accounts else []
        what = " ".join([venue.spec.title, *venue.options.pairs, *accounts])
        self.log(f"recording {what} into {self.options.folder}")

    def _cause(self, failure: BaseException) -> BaseException:
        """The first of several failures, which is what to raise; the others are logged."""
        causes = list(_leaves(failure))
        for other in causes[1:]:
            self.log(f"and: {other}")
        return causes[0]

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

    def _source_factory(self, venue: VenueRequest, normalizer: Normalizer, capture: Capture) -> SourceFactory:
        # One for all attempts: a venue that said to wait has said it to the next one as well.
        budget = VenueBudget(venue.spec.limits, self.clock)

        def make(is_patient: bool) -> LiveDataSource:
            return LiveDataSource(
                normalizer.protocols[venue.spec.name],
                ws_url=venue.ws_url or venue.spec.ws_url,
                rest_url=venue.rest_url or venue.spec.rest_url,
                limits=venue.spec.limits,
                capture=capture,
                dispatcher=self.dispatcher,
                tracker=normalizer.tracker,
                budget=budget,
                backoff_seed=self.options.backoff_seed,
                ssl_ca=venue.ssl_ca,
                wait_for_venue=is_patient,
            )

        make(False)  # a URL, proxy or CA file that cannot be used is said before anything is recorded
        return make

    async def _run_sources(self, sealing: asyncio.Task[None], fleet: Fleet, capture: Capture) -> None:
        assert self._journals is not None

        def say(event: str, details: dict[str, object]) -> None:
            if refusal := self._say(capture, event, **details):
                raise refusal

        async with asyncio.TaskGroup() as group:
            services = [
                group.create_task(service)
                for service in (
                    ClockNotes(self.clock, self.read_clock, say, self.log).run(),
                    fleet.run(),
                    self._journals.flush_regularly(),
                    self._journals.sync_regularly(),
                    self._journals.look_regularly(),
                    self._measure_lag(),
                    self._look_after(sealing),
                )
            ]
            await self._stop.wait()
            for service in services:
                service.cancel()

    async def _finish(
        self,
        folder: Path,
        capture: Capture,
        sealer: SealerProcess,
        sealing: asyncio.Task[None],
        first_segment: int,
        failure: BaseException | None,
    ) -> Manifest:
        """Seal all that was received, then raise the failure if there is one."""
        assert self._journals is not None
        assert self._queue is not None
        live_digest = None
        try:
            with contextlib.suppress(BackpressureError, OSError):
                cause = "stop" if failure is None else type(failure).__name__
                callback_failure = self._say(capture, "session_end", cause=cause)
                failure = failure or callback_failure
                live_digest = self._normalizer.chain.hexdigest() if self._normalizer is not None else None
            refused = await self._close_last()
            if live_digest is None or refused is not None:
                return await self._state_loss(folder, sealer, sealing, failure or refused)
            self._queue.end()
            await sealing
        except (OSError, RecordingError) as exc:
            why = (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)
            self.log(f"not sealed: {why}; see to that, then run `tickdeck recover {folder}`")
            if failure is None:
                raise
            raise failure from exc
        finally:
            await sealer.stop()
        manifest = read_manifest(folder)
        if is_short := not manifest.segments or manifest.segments[-1].capture_seq_last + 1 < capture.next_seq:
            # The end of the last journal was damaged: nothing after it says how much is missing, so it is stated.
            self.recovery = await asyncio.to_thread(recover, folder, self.clock, alive_until=self.clock.time_ns())
            manifest = self.recovery.manifest
        if is_short or any(segment.counts.get("event_lost") for segment in manifest.segments[first_segment:]):
            self.log(f"{folder}: frames were damaged on disk before they were sealed; `tickdeck gaps` says when")
            if not is_short:
                manifest.status = "recovered"
                manifest.live_digest = None
                write_manifest(folder, manifest)
            if failure is not None:
                raise failure
            return manifest
        manifest.status = "sealed"
        # A callback that failed in the middle of a frame kept the rest of it from the live digest.
        manifest.live_digest = live_digest if failure is None or live_digest == manifest.digest else None
        write_manifest(folder, manifest)
        step("session-sealed")
        if failure is not None:
            raise failure
        if live_digest != manifest.digest:
            raise RecordingError(
                f"{folder}: sealing gave the digest {manifest.digest}, the live session {live_digest}: "
                "the raw frames are whole, but this is a defect of tickdeck; please report it"
            )
        return manifest

    async def _close_last(self) -> RecordingError | None:
        """Close the last journal and hand it on; what kept any journal from being written to its end."""
        assert self._journals is not None
        assert self._queue is not None
        closed = self._journals.close()
        if closed is not None:
            self._queue.add(closed)
        return await self._journals.finished()

    async def _state_loss(
        self, folder: Path, sealer: SealerProcess, sealing: asyncio.Task[None], failure: BaseException | None
    ) -> Manifest:
        """
        After a failed write: seal what was written, and state what was not as lost.

        The sink refuses whatever comes then, so it is as if the recorder had died.
        """
        assert self._queue is not None
        self._queue.give_up()
        await sealer.stop()
        await asyncio.wait({sealing})
        self.recovery = await asyncio.to_thread(recover, folder, self.clock, alive_until=self.clock.time_ns())
        self.log(describe_recovery(self.recovery))
        if failure is not None:
            raise failure
        return self.recovery.manifest

    # -- every frame and message -------------------------------------------------------------------------------

    def _write_down(self, frame: Frame) -> None:
        if self._journals is None:
            raise BackpressureError("no journal is open")
        self._journals.append(frame)
        self.status.frame_count += 1
        self.status.payload_bytes += len(frame.payload)

    def _take(self, message: Message) -> None:
        if self._normalizer is not None:
            self._normalizer.take(message)
        self.status.message_count += 1
        is_sampled = message.ts_event is not None and self.status.message_count % DELAY_SAMPLING == 0
        # Market events that are new; settled funding and old trades come late by nature.
        is_news = isinstance(message, OrderBookMessage) and not (isinstance(message, Trade) and message.is_history)
        if is_sampled and message.ts_event and is_news:
            self._delays.append(message.ts_recv - message.ts_event)
        if isinstance(message, StreamEvent):
            self._report(message)

    def _report(self, event: StreamEvent) -> None:
        if event.kind is EventKind.GAP:
            self.status.gap_count += 1
        elif event.cause == OUT_OF_ORDER:
            self.status.gap_count -= 1
        self._events.add(event)

    def _say(self, capture: Capture, event: str, **details: object) -> Exception | None:
        """A frame of the recorder's own, for every venue; what a callback raised, which keeps none of them away."""
        failure: Exception | None = None
        if self._normalizer is None:
            return failure
        for venue, protocol in self._normalizer.protocols.items():
            frame = capture.record(venue, -1, 0, CONTROL, control_payload(event, **details))
            for message in protocol.receive(frame):
                try:
                    self.dispatcher.emit(message)
                except Exception as exc:  # noqa: BLE001  # the caller raises it
                    failure = failure or exc
        return failure

    # -- regularly ---------------------------------------------------------------------------------------------

    async def _measure_lag(self) -> None:
        """How much later than asked the loop comes back: what a frame may wait before it is stamped."""
        while True:
            asked = self.clock.monotonic_ns() + LAG_PROBE_NS
            await self.clock.sleep(LAG_PROBE_NS / NS_PER_S)
            self.lags_ns.append(self.clock.monotonic_ns() - asked)

    async def _look_after(self, sealing: asyncio.Task[None]) -> None:
        assert self._journals is not None
        assert self._queue is not None
        journals, queue, status = self._journals, self._queue, self.status
        while True:
            await self.clock.sleep(LOOK_S)
            journals.note()
            self._events.flush()
            status.sources = self._fleet.status() if self._fleet is not None else ()
            status.reconnect_count = sum(source.reconnect_count for source in status.sources)
            status.parse_error_count = sum(source.parse_error_count for source in status.sources)
            status.delays_ms = percentiles_ms(self._delays)
            if status.disk_free < self.options.disk_free_min:
                raise BackpressureError(
                    f"{self.options.folder}: {status.disk_free >> 20} MiB of disk are left, expected to keep "
                    f"{self.options.disk_free_min >> 20} MiB free: stopped and sealed; make room, then record again"
                )
            if sealing.done() and (failure := sealing.exception()) is not None:
                raise failure  # a defect: what can be expected to fail is tried again
            status.unsealed, status.sealing_failures, status.sealing_problem = len(queue), queue.failures, queue.problem
            if self._tee is not None:
                status.tee_clients, status.tee_cut = self._tee.client_count, self._tee.cut_count
            if journals.is_full():
                queue.add(journals.rotate())


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure


def _tell(loop: asyncio.AbstractEventLoop, log: LogCallback, text: str) -> None:
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
