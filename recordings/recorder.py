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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from recordings.checkpoints import read_checkpoint
from recordings.files import temporary_path
from recordings.journal import FLUSH_BYTES, PENDING_BYTES_MAX, JournalWriter
from recordings.lock import LOCK_NAME, FolderLock
from recordings.manifest import MANIFEST_NAME, Manifest, SourceInfo, read_manifest, write_manifest
from recordings.normalize import Normalizer
from recordings.privacy import Pseudonyms, capture_with
from recordings.recorder_status import RecorderStatus, percentiles_ms
from recordings.recovery import Recovery, needs_recovery, recover
from recordings.sealer_process import SealerProcess
from recordings.software import SOFTWARE
from recordings.steps import step
from recordings.tee import Tee, TeeOptions
from recordings.tee_wire import remove_tee_file
from toolkit.capture import Capture
from toolkit.clock import NS_PER_S, Clock, SystemClock
from toolkit.digest import DIGEST_VERSION
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import BackpressureError, ConfigError, RecordingError
from toolkit.frames import CONTROL, Frame, control_payload
from toolkit.live import Fleet, LiveDataSource
from toolkit.live.fleet import SourceFactory
from toolkit.messages import EventKind, Message, OrderBookMessage, StreamEvent, Trade
from toolkit.protocol import ProtocolOptions
from toolkit.rng import fresh_seed
from toolkit.transport.limits import VenueBudget
from toolkit.transport.urls import public_url
from toolkit.venue import VenueSpec

__all__ = ["Fsync", "Recorder", "RecorderOptions", "RecorderStatus", "VenueRequest"]


class Fsync(StrEnum):
    """When the journal is forced to the disk: after every flush, at intervals, or never."""

    ALWAYS = "always"
    INTERVAL = "interval"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRequest:
    """
    A venue to record.

    Attributes:
        spec: The venue.
        options: Pairs, channels and the like.
        ws_url: Its WebSocket; the venue's own if None.
        rest_url: Its REST interface; the venue's own if None.
        ssl_ca: A PEM file of certificate authorities trusted besides the system's.
    """

    spec: VenueSpec
    options: ProtocolOptions
    ws_url: str | None = None
    rest_url: str | None = None
    ssl_ca: Path | None = None

    def source_info(self, protocol_version: int) -> SourceInfo:
        """What the manifest keeps of it."""
        return SourceInfo(
            self.spec.name,
            protocol_version,
            self.options.pairs,
            self.options.channels,
            self.options.accounts,
            dict(self.options.settings),
            public_url(self.ws_url or self.spec.ws_url),
            public_url(self.rest_url or self.spec.rest_url),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """
    How to record.

    Attributes:
        folder: The recording: new, empty, or one that is to be continued.
        venues: What to record.
        flush_interval_s: How long the journal may hold a frame back.
        flush_bytes: At this many payload bytes it does not.
        fsync: When the journal is forced to the disk.
        fsync_interval_s: How often, for `Fsync.INTERVAL`.
        rotate_s: Segments end at multiples of this since midnight UTC; 3600 is every full hour.
        rotate_bytes: And at this size of the journal.
        pending_bytes_max: Payload bytes held in memory while the disk does not follow; more stops the recording.
        disk_free_min: Bytes that must stay free on the disk; recording stops cleanly before it takes them.
        wait_for_venue: Keep trying to reach a venue for the first time.
        backoff_seed: Decides the jitter of reconnects; unpredictable if None.
        privacy: Replaces addresses, those of the accounts too, before anything is written; None to record them.
        tee: How clients can follow the recording while it is made; None for not at all.
    """

    folder: Path
    venues: Sequence[VenueRequest]
    flush_interval_s: float = 0.25
    flush_bytes: int = FLUSH_BYTES
    fsync: Fsync = Fsync.INTERVAL
    fsync_interval_s: float = 1.0
    rotate_s: float = 3600.0
    rotate_bytes: int = 256 << 20
    pending_bytes_max: int = PENDING_BYTES_MAX
    disk_free_min: int = 512 << 20
    wait_for_venue: bool = False
    backoff_seed: int | None = None
    privacy: Pseudonyms | None = None
    tee: TeeOptions | None = None


LogCallback = Callable[[str], None]
#: Causes that take a whole connection or session at once.
_WHOLE_CAUSES: Final = frozenset({"disconnect", "stop", "crash", "deaf", "suspend"})
#: What a recorder that died before its first manifest leaves behind.
_TRACES: Final = frozenset({LOCK_NAME, temporary_path(Path(MANIFEST_NAME)).name})
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
    _journal: JournalWriter | None = None
    _normalizer: Normalizer | None = None
    _tee: Tee | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _fleet: Fleet | None = None
    _seals: list[asyncio.Task[Any]] = field(default_factory=list)
    _segment: int = 0
    _written_before: int = 0
    _segment_from: int = 0
    _segment_until: int = 0
    _was_slow: bool = False
    #: Lags of the receiving loop, ns, newest last.
    lags_ns: deque[int] = field(default_factory=lambda: deque(maxlen=100_000))
    _delays: deque[int] = field(default_factory=lambda: deque(maxlen=1024))

    def __post_init__(self) -> None:
        # Before anybody else's: callbacks find the books up to date, as in a replay.
        self.dispatcher.add_callback(self._take, first=True)
        privacy = self.options.privacy
        if privacy is not None:
            # Neither the protocols nor the manifest may know whom this recording follows.
            venues = [replace(venue, options=privacy.options(venue.options)) for venue in self.options.venues]
            self.options = replace(self.options, venues=venues)

    # -- the session -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the session: `run` closes the connections, seals and returns."""
        self._stop.set()

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
        is_new = self._prepare_folder(folder)
        with FolderLock(folder) as lock:
            try:
                return await self._record(folder, is_new, lock)
            except BaseException as exc:
                if is_new and not (self._fleet and self._fleet.has_begun):
                    _remove_empty(folder)
                if isinstance(exc, OSError):
                    raise RecordingError(_disk_refused(folder, exc)) from exc
                raise

    async def _record(self, folder: Path, is_new: bool, lock: FolderLock) -> Manifest:
        protocols = {venue.spec.name: venue.spec.make_protocol(venue.options) for venue in self.options.venues}
        if len(protocols) != len(self.options.venues):
            raise ConfigError("a venue is named twice: name all of its pairs together")
        normalizer = self._normalizer = Normalizer(protocols)
        manifest = self._begin(folder, is_new, normalizer)
        first_seq = manifest.segments[-1].capture_seq_last + 1 if manifest.segments else 0
        capture = capture_with(
            self.options.privacy, self._write_down, self.clock, first_seq, normalizer.conn_id_max + 1
        )
        seed = self.options.backoff_seed
        fleet = self._fleet = Fleet(
            {venue.spec.name: self._source_factory(venue, normalizer, capture) for venue in self.options.venues},
            clock=self.clock,
            log=self.log,
            is_patient=self.options.wait_for_venue,
            seed=fresh_seed() if seed is None else seed,
        )
        remove_tee_file(folder)  # of a recorder that was killed
        if self.options.tee is None:
            return await self._session(folder, manifest, capture, lock, fleet)
        self._tee = Tee(folder, manifest, self.options.tee, started_ns=self.clock.time_ns(), next_seq=first_seq)
        async with self._tee as tee:
            self.log(f"tee on {tee.url}")
            return await self._session(folder, manifest, capture, lock, fleet)

    async def _session(
        self, folder: Path, manifest: Manifest, capture: Capture, lock: FolderLock, fleet: Fleet
    ) -> Manifest:
        sealer = SealerProcess(folder, lock, self.log)
        await sealer.start()
        failure: BaseException | None = None
        try:
            self._open_segment(folder, len(manifest.segments))
            if refusal := self._say(capture, "session_start", software=SOFTWARE):
                raise refusal
            step("session-begun")
            await self._run_sources(folder, sealer, fleet)
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  # raised again once all is sealed
            failure = self._cause(exc)
        finally:
            await fleet.stop()
        sealed = await self._finish(folder, capture, sealer, failure)
        # The others are recorded and sealed; that one venue never was is still a failure of what was asked for.
        for verdict in fleet.never_begun():
            raise verdict
        return sealed

    def _cause(self, failure: BaseException) -> BaseException:
        """The first of several failures, which is what to raise; the others are logged."""
        causes = list(_leaves(failure))
        for other in causes[1:]:
            self.log(f"and: {other}")
        return causes[0]

    def _prepare_folder(self, folder: Path) -> bool:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in folder.iterdir()} - _TRACES
        except OSError as exc:
            raise RecordingError(f"{folder} cannot be written: {exc.strerror}") from None
        if names and MANIFEST_NAME not in names:
            raise ConfigError(f"{folder} is not empty and not a recording: name another folder")
        return not names

    def _begin(self, folder: Path, is_new: bool, normalizer: Normalizer) -> Manifest:
        sources = [venue.source_info(normalizer.protocols[venue.spec.name].version) for venue in self.options.venues]
        if is_new:
            manifest = Manifest(
                software=SOFTWARE, created_ns=self.clock.time_ns(), sources=sources, digest_version=DIGEST_VERSION
            )
        else:
            if needs_recovery(folder):
                self.recovery = recover(folder, self.clock)
                self.log(_describe(self.recovery))
            manifest = read_manifest(folder)
            _check_same(folder, manifest, sources)
            if manifest.resume is not None:
                read_checkpoint(folder, manifest.resume, normalizer)
            manifest.sources = sources
            manifest.status = "running"
            manifest.live_digest = None  # of the session before
        manifest.flush_interval_s = self.options.flush_interval_s
        write_manifest(folder, manifest)
        return manifest

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

    async def _run_sources(self, folder: Path, sealer: SealerProcess, fleet: Fleet) -> None:
        async with asyncio.TaskGroup() as group:
            services = [
                group.create_task(fleet.run()),
                group.create_task(self._flush_regularly()),
                group.create_task(self._measure_lag()),
                group.create_task(self._look_after(folder, sealer, group)),
            ]
            if self.options.fsync is Fsync.INTERVAL:
                services.append(group.create_task(self._sync_regularly()))
            await self._stop.wait()
            for service in services:
                service.cancel()

    async def _finish(
        self, folder: Path, capture: Capture, sealer: SealerProcess, failure: BaseException | None
    ) -> Manifest:
        """Seal all that was received, then raise the failure if there is one."""
        live_digest = None
        try:
            with contextlib.suppress(BackpressureError, OSError):
                cause = "stop" if failure is None else type(failure).__name__
                callback_failure = self._say(capture, "session_end", cause=cause)
                failure = failure or callback_failure
                live_digest = self._normalizer.chain.hexdigest() if self._normalizer is not None else None
            if live_digest is None:
                # After a failed write the sink refuses whatever comes, so it is as if the recorder had died: what was
                # written is sealed, and what was not is stated as lost.
                await self._close_unfinished()
                await sealer.stop()
                self.recovery = await asyncio.to_thread(recover, folder, self.clock, alive_until=self.clock.time_ns())
                self.log(_describe(self.recovery))
                if failure is not None:
                    raise failure
                return self.recovery.manifest
            self._close_segment(sealer)
            # All of them, also when one fails: each has a journal to close.
            for seal in await asyncio.gather(*self._seals, return_exceptions=True):
                if isinstance(seal, BaseException):
                    raise seal
        except (OSError, RecordingError) as exc:
            why = (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)
            self.log(f"not sealed: {why}; see to that, then run `tickdeck recover {folder}`")
            if failure is None:
                raise
            raise failure from exc
        finally:
            await sealer.stop()
        manifest = read_manifest(folder)
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

    async def _close_unfinished(self) -> None:
        await asyncio.gather(*self._seals, return_exceptions=True)
        if self._journal is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._journal.close)

    # -- every frame and message -------------------------------------------------------------------------------

    def _write_down(self, frame: Frame) -> None:
        journal = self._journal
        if journal is None:
            raise BackpressureError("no journal is open")
        try:
            journal.append(frame)
        except OSError as exc:
            raise BackpressureError(_disk_refused(journal.path, exc)) from exc
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
        # A lost connection is one line, not one per stream that it carried.
        is_whole_connection = event.kind in (EventKind.STALE, EventKind.GAP) and event.cause in _WHOLE_CAUSES
        if is_whole_connection or event.kind in (EventKind.SESSION_START, EventKind.SESSION_END):
            return
        words = (event.venue, event.trading_pair, event.stream, event.kind.replace("_", " "), event.cause, event.detail)
        self.log(" ".join(word for word in words if word))

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

    # -- journal and segments ----------------------------------------------------------------------------------

    def _open_segment(self, folder: Path, number: int, after: JournalWriter | None = None) -> None:
        self._segment = self.status.segment = number
        self._journal = JournalWriter(
            folder,
            number,
            flush_bytes=self.options.flush_bytes,
            pending_bytes_max=self.options.pending_bytes_max,
            after=after,
            on_written=self._tee.written if self._tee is not None else None,
        )
        step("journal-opened")
        length = round(self.options.rotate_s * NS_PER_S)
        self._segment_from = self.clock.time_ns() // length * length
        self._segment_until = self._segment_from + length

    def _close_segment(self, sealer: SealerProcess) -> None:
        journal, self._journal = self._journal, None
        if journal is None:
            return
        self._written_before += journal.frame_count
        loop = asyncio.get_running_loop()
        # The last batch and the sync may wait for the disk; the loop that receives does not.
        closing = loop.run_in_executor(None, journal.close)
        seal = loop.create_task(self._seal(journal, closing, self._segment, sealer))
        self._seals.append(seal)

    async def _seal(
        self, journal: JournalWriter, closing: asyncio.Future[None], number: int, sealer: SealerProcess
    ) -> None:
        try:
            await closing
        except OSError as exc:
            self.log(_disk_refused(journal.path, exc))
        step("journal-closed")
        await sealer.seal(number)

    async def _flush_regularly(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.clock.sleep(self.options.flush_interval_s)
            journal = self._journal
            if journal is None:
                continue
            loop.run_in_executor(None, journal.touch)
            try:
                journal.flush()
                if self.options.fsync is Fsync.ALWAYS:
                    await asyncio.to_thread(_drain_and_sync, journal)
            except OSError as exc:
                raise BackpressureError(_disk_refused(journal.path, exc)) from exc

    async def _sync_regularly(self) -> None:
        while True:
            await self.clock.sleep(self.options.fsync_interval_s)
            if self._journal is not None:
                # A sync may take long on a busy disk; the loop that receives does not wait for it.
                await asyncio.to_thread(self._journal.sync)

    async def _measure_lag(self) -> None:
        """How much later than asked the loop comes back: what a frame may wait before it is stamped."""
        while True:
            asked = self.clock.monotonic_ns() + LAG_PROBE_NS
            await self.clock.sleep(LAG_PROBE_NS / NS_PER_S)
            self.lags_ns.append(self.clock.monotonic_ns() - asked)

    def _note_journal(self, journal: JournalWriter) -> None:
        self.status.written_count = self._written_before + journal.written_count
        self.status.pending_bytes = journal.pending_bytes
        is_slow = journal.pending_bytes > self.options.pending_bytes_max // 4
        if is_slow and not self._was_slow:
            self.log(
                f"the disk does not follow: {journal.pending_bytes >> 20} MiB wait, the recording stops at "
                f"{self.options.pending_bytes_max >> 20} MiB"
            )
        self._was_slow = is_slow

    async def _look_after(self, folder: Path, sealer: SealerProcess, group: asyncio.TaskGroup) -> None:
        while True:
            await self.clock.sleep(LOOK_S)
            journal = self._journal
            if journal is None:
                continue
            self._note_journal(journal)
            self.status.sources = self._fleet.status() if self._fleet is not None else ()
            self.status.reconnect_count = sum(source.reconnect_count for source in self.status.sources)
            self.status.parse_error_count = sum(source.parse_error_count for source in self.status.sources)
            self.status.delays_ms = percentiles_ms(self._delays)
            self.status.disk_free = shutil.disk_usage(folder).free
            if self.status.disk_free < self.options.disk_free_min:
                raise BackpressureError(
                    f"{folder}: {self.status.disk_free >> 20} MiB of disk are left, expected to keep "
                    f"{self.options.disk_free_min >> 20} MiB free: stopped and sealed; make room, then record again"
                )
            for seal in [seal for seal in self._seals if seal.done()]:
                self._seals.remove(seal)
                seal.result()
            self.status.unsealed = len(self._seals)
            if self._tee is not None:
                self.status.tee_clients, self.status.tee_cut = self._tee.client_count, self._tee.cut_count
            # A clock that steps back ends the segment too, or the next would be due only when it has caught up.
            is_its_time = self._segment_from <= self.clock.time_ns() < self._segment_until
            is_over = not is_its_time or journal.byte_count >= self.options.rotate_bytes
            if is_over and journal.frame_count:
                self._close_segment(sealer)
                self._open_segment(folder, self._segment + 1, journal)


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure


def _drain_and_sync(journal: JournalWriter) -> None:
    journal.drain()
    journal.sync()


def _disk_refused(path: Path, exc: OSError) -> str:
    return f"{path} cannot be written ({exc.strerror or exc}): stopped with what it has; make room, then record again"


def _check_same(folder: Path, manifest: Manifest, sources: Sequence[SourceInfo]) -> None:
    if manifest.origin != "live":
        raise ConfigError(f"{folder} holds an import: record into another folder")
    before = {(s.venue, s.protocol_version, s.pairs, s.channels, s.accounts) for s in manifest.sources}
    now = {(s.venue, s.protocol_version, s.pairs, s.channels, s.accounts) for s in sources}
    if before != now:
        was = "; ".join(f"{s.venue} {' '.join(s.pairs)} (protocol {s.protocol_version})" for s in manifest.sources)
        raise ConfigError(f"{folder} was recorded with {was}: name the same, or another folder")


def _describe(recovery: Recovery) -> str:
    text = f"recovered {recovery.recovered_frames:,} frames of an earlier session"
    if recovery.left_bytes:
        text += f", {recovery.left_bytes:,} torn bytes set aside"
    return text


def _remove_empty(folder: Path) -> None:
    """Take back a folder in which nothing was recorded, so that a mistyped pair leaves none behind."""
    shutil.rmtree(folder, ignore_errors=True)
