"""
One session of a recorder: from its first frame to the manifest that ends it.

Everything that a session consists of is made with it, so nothing here is there only at times.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from recordings.care.recovery import Recovery, recover
from recordings.following.tee import Tee
from recordings.format.manifest import Manifest, read_manifest, write_manifest
from recordings.format.software import SOFTWARE
from recordings.states.normalizer import Normalizer
from recordings.storage.crash_points import step
from recordings.writing.clock_notes import ClockNotes
from recordings.writing.event_log import EventLog
from recordings.writing.folder_guard import FolderGuard
from recordings.writing.privacy import capture_with
from recordings.writing.recorder_options import RecorderOptions, VenueRequest
from recordings.writing.recorder_status import RecorderStatus, percentiles_ms
from recordings.writing.restarting import LeftOver, describe_recovery
from recordings.writing.sealer_process import SealerProcess
from recordings.writing.sealing_queue import SealingQueue
from recordings.writing.session_journals import SessionJournals
from toolkit.clock import NS_PER_S, Clock
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import BackpressureError, RecordingError
from toolkit.frames import CONTROL, Frame, control_payload
from toolkit.live import Fleet, LiveDataSource
from toolkit.live.capture import Capture
from toolkit.live.clock_sync import ClockState, read_clock_state
from toolkit.live.fleet import SourceFactory
from toolkit.messages import OUT_OF_ORDER, EventKind, Message, OrderBookMessage, StreamEvent, Trade
from toolkit.rng import fresh_seed
from toolkit.transport.limits import VenueBudget

__all__ = ["LogCallback", "RecordingSession", "source_factory"]

LogCallback = Callable[[str], None]
#: How often the clock of rotation and the free disk are looked at, seconds.
LOOK_S: Final = 0.5
LAG_PROBE_NS: Final = 10_000_000
#: Every how manieth message is taken for the delay in the status line.
DELAY_SAMPLING: Final = 4


class RecordingSession:
    """
    One session.

    Args:
        options: How to record; accounts are pseudonyms by now, where these are wanted.
        clock: Clock of the recorder.
        log: Function that gets each line for the operator.
        dispatcher: Dispatcher that gets every message.
        status: Status to keep up to date.
        normalizer: Protocols, books and digest, in the state that the session goes on from.
        left: End of an earlier session, from which this one goes on.
        sealer: Process that seals.
        guard: Guard of the files that the folder must keep meanwhile.
        tee: Tee for followers; None for none.
        read_clock: Function that asks the kernel about its clock.

    Raises:
        ConfigError: A URL, proxy or CA file of a venue cannot be used.

    Attributes:
        capture: Counter and sink of the frames.
        journals: Journals of the session.
        queue: Closed journals that wait to be sealed.
        fleet: Sources, one per venue.
        recovery: Report of what was recovered at the end, if a disk refused to take all of it.
        lags_ns: Lags of the receiving loop, ns, newest last.
    """

    def __init__(
        self,
        options: RecorderOptions,
        clock: Clock,
        log: LogCallback,
        dispatcher: MessageDispatcher,
        status: RecorderStatus,
        *,
        normalizer: Normalizer,
        left: LeftOver,
        sealer: SealerProcess,
        guard: FolderGuard | None,
        tee: Tee | None = None,
        read_clock: Callable[[], ClockState | None] = read_clock_state,
    ) -> None:
        self._options = options
        self._clock = clock
        self._log = log
        self._dispatcher = dispatcher
        self._status = status
        self.normalizer = normalizer
        self._left = left
        self._sealer = sealer
        self.tee = tee
        self._read_clock = read_clock
        self.recovery: Recovery | None = None
        self.lags_ns: deque[int] = deque(maxlen=100_000)
        self._delays: deque[int] = deque(maxlen=1024)
        self._events = EventLog(log, clock)
        self.capture = capture_with(options.privacy, self.write_down, clock, left.next_seq, normalizer.conn_id_max + 1)
        # Before the journals, whose threads somebody would have to end if a venue cannot be reached as asked.
        self.fleet = Fleet(
            {
                venue.spec.name: source_factory(venue, options, clock, normalizer, self.capture, dispatcher)
                for venue in options.venues
            },
            clock=clock,
            log=log,
            begun=self._log_begun,
            is_patient=options.wait_for_venue,
            seed=fresh_seed() if options.backoff_seed is None else options.backoff_seed,
        )
        self.journals = SessionJournals(
            options, clock, log, status, on_written=tee.written if tee is not None else None, guard=guard
        )
        self.queue = SealingQueue(sealer, self.journals, clock, log, left.segments)
        # Before anybody else's: callbacks find the books up to date, as in a replay.
        dispatcher.add_callback(self._take, first=True)

    # -- from beginning to end ---------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> Manifest:
        """
        Record until `stop` is set, then seal.

        Whatever ends it, what was received is sealed first; then the failure is raised, as by `Recorder.run`.
        """
        sealing = asyncio.get_running_loop().create_task(self.queue.run(), name="sealing")
        failure: BaseException | None = None
        try:
            # 1. A journal, and in it the word that a session begins.
            self.journals.begin(self._left.next_segment)
            if refusal := self._say("session_start", software=SOFTWARE):
                raise refusal
            step("session-begun")
            # 2. The venues, until somebody or something ends it.
            await self._run_sources(sealing, stop)
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  # raised again once all is sealed
            failure = self._cause(exc)
        finally:
            await self.fleet.stop()
            self._events.close()
        # 3. The end: the last journal is closed and everything sealed.
        try:
            sealed = await self.finish(sealing, failure)
        finally:
            self.queue.give_up()
            await self._sealer.stop()
            await asyncio.wait({sealing})
            await self.journals.end()
        for name in self.fleet.unreached():
            self._log(f"nothing of {name} was recorded: it was not reached before the end")
        # The others are recorded and sealed; that one venue never was is still a failure of what was asked for.
        for verdict in self.fleet.never_begun():
            raise verdict
        return sealed

    def note(self, event: str, details: dict[str, object]) -> None:
        """Put an event of our own into the recording."""
        # What the disk refuses here it refuses the next frame too, which says so.
        with contextlib.suppress(BackpressureError, OSError):
            self._say(event, **details)

    def _log_begun(self, name: str) -> None:
        """Say that a venue is recorded, now that nothing refuses it any more."""
        (venue,) = (each for each in self._options.venues if each.spec.name == name)
        accounts = ["and accounts"] if venue.options.accounts else []
        what = " ".join([venue.spec.title, *venue.options.pairs, *accounts])
        self._log(f"recording {what} into {self._options.folder}")

    def _cause(self, failure: BaseException) -> BaseException:
        """The first of several failures, which is what to raise; the others are logged."""
        causes = list(_leaves(failure))
        for other in causes[1:]:
            self._log(f"and: {other}")
        return causes[0]

    async def _run_sources(self, sealing: asyncio.Task[None], stop: asyncio.Event) -> None:
        def say(event: str, details: dict[str, object]) -> None:
            if refusal := self._say(event, **details):
                raise refusal

        async with asyncio.TaskGroup() as group:
            services = [
                group.create_task(service)
                for service in (
                    ClockNotes(self._clock, self._read_clock, say, self._log).run(),
                    self.fleet.run(),
                    self.journals.flush_regularly(),
                    self.journals.sync_regularly(),
                    self.journals.look_regularly(),
                    self._measure_lag(),
                    self._look_after(sealing),
                )
            ]
            await stop.wait()
            for service in services:
                service.cancel()

    async def finish(self, sealing: asyncio.Task[None], failure: BaseException | None) -> Manifest:
        """Seal all that was received, then raise the failure if there is one."""
        folder, first_segment = self._options.folder, self._left.next_segment
        live_digest = None
        # 1. The word that the session ends, and the last journal closed; what the disk refused is stated as lost.
        try:
            with contextlib.suppress(BackpressureError, OSError):
                cause = "stop" if failure is None else type(failure).__name__
                callback_failure = self._say("session_end", cause=cause)
                failure = failure or callback_failure
                live_digest = self.normalizer.chain.hexdigest()
            refused = await self._close_last()
            if live_digest is None or refused is not None:
                return await self._state_loss(sealing, failure or refused)
            # 2. Everything that waits is sealed.
            self.queue.end()
            await sealing
        except (OSError, RecordingError) as exc:
            why = (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)
            self._log(f"not sealed: {why}; see to that, then run `tickdeck recover {folder}`")
            if failure is None:
                raise
            raise failure from exc
        finally:
            await self._sealer.stop()
        # 3. Damage that was found in sealing is stated, and then this is no sound end.
        manifest = read_manifest(folder)
        if is_short := not manifest.segments or manifest.segments[-1].capture_seq_last + 1 < self.capture.next_seq:
            # The end of the last journal was damaged: nothing after it says how much is missing, so it is stated.
            self.recovery = await asyncio.to_thread(recover, folder, self._clock, alive_until=self._clock.time_ns())
            manifest = self.recovery.manifest
        if is_short or any(segment.counts.get("event_lost") for segment in manifest.segments[first_segment:]):
            self._log(f"{folder}: frames were damaged on disk before they were sealed; `tickdeck gaps` says when")
            if not is_short:
                manifest.status = "recovered"
                manifest.live_digest = None
                write_manifest(folder, manifest)
            if failure is not None:
                raise failure
            return manifest
        # 4. The end in good order: the digest of the live session has to be that of what is sealed.
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
        closed = self.journals.close()
        if closed is not None:
            self.queue.add(closed)
        return await self.journals.finished()

    async def _state_loss(self, sealing: asyncio.Task[None], failure: BaseException | None) -> Manifest:
        """
        After a failed write: seal what was written, and state what was not as lost.

        The sink refuses whatever comes then, so it is as if the recorder had died.
        """
        folder = self._options.folder
        self.queue.give_up()
        await self._sealer.stop()
        await asyncio.wait({sealing})
        self.recovery = await asyncio.to_thread(recover, folder, self._clock, alive_until=self._clock.time_ns())
        self._log(describe_recovery(self.recovery))
        if failure is not None:
            raise failure
        return self.recovery.manifest

    # -- every frame and message -------------------------------------------------------------------------------

    def write_down(self, frame: Frame) -> None:
        """The sink of every frame."""
        self.journals.append(frame)
        self._status.frame_count += 1
        self._status.payload_bytes += len(frame.payload)

    def _take(self, message: Message) -> None:
        self.normalizer.take(message)
        self._status.message_count += 1
        is_sampled = message.ts_event is not None and self._status.message_count % DELAY_SAMPLING == 0
        # Market events that are new; settled funding and old trades come late by nature.
        is_news = isinstance(message, OrderBookMessage) and not (isinstance(message, Trade) and message.is_history)
        if is_sampled and message.ts_event and is_news:
            self._delays.append(message.ts_recv - message.ts_event)
        if isinstance(message, StreamEvent):
            self._report(message)

    def _report(self, event: StreamEvent) -> None:
        if event.kind is EventKind.GAP:
            self._status.gap_count += 1
        elif event.cause == OUT_OF_ORDER:
            self._status.gap_count -= 1
        self._events.add(event)

    def _say(self, event: str, **details: object) -> Exception | None:
        """A frame of the recorder's own, for every venue; what a callback raised, which keeps none of them away."""
        failure: Exception | None = None
        for venue, protocol in self.normalizer.protocols.items():
            frame = self.capture.record(venue, -1, 0, CONTROL, control_payload(event, **details))
            for message in protocol.receive(frame):
                try:
                    self._dispatcher.emit(message)
                except Exception as exc:  # noqa: BLE001  # the caller raises it
                    failure = failure or exc
        return failure

    # -- regularly ---------------------------------------------------------------------------------------------

    async def _measure_lag(self) -> None:
        """How much later than asked the loop comes back: what a frame may wait before it is stamped."""
        while True:
            asked = self._clock.monotonic_ns() + LAG_PROBE_NS
            await self._clock.sleep(LAG_PROBE_NS / NS_PER_S)
            self.lags_ns.append(self._clock.monotonic_ns() - asked)

    async def _look_after(self, sealing: asyncio.Task[None]) -> None:
        journals, queue, status = self.journals, self.queue, self._status
        while True:
            await self._clock.sleep(LOOK_S)
            journals.note()
            self._events.flush()
            status.sources = self.fleet.status()
            status.reconnect_count = sum(source.reconnect_count for source in status.sources)
            status.parse_error_count = sum(source.parse_error_count for source in status.sources)
            status.delays_ms = percentiles_ms(self._delays)
            if status.disk_free < self._options.disk_free_min:
                raise BackpressureError(
                    f"{self._options.folder}: {status.disk_free >> 20} MiB of disk are left, expected to keep "
                    f"{self._options.disk_free_min >> 20} MiB free: stopped and sealed; make room, then record again"
                )
            if sealing.done() and (failure := sealing.exception()) is not None:
                raise failure  # a defect: what can be expected to fail is tried again
            status.unsealed, status.sealing_failures, status.sealing_problem = len(queue), queue.failures, queue.problem
            if self.tee is not None:
                status.tee_clients, status.tee_cut = self.tee.client_count, self.tee.cut_count
            if journals.is_full():
                queue.add(journals.rotate())


def source_factory(
    venue: VenueRequest,
    options: RecorderOptions,
    clock: Clock,
    normalizer: Normalizer,
    capture: Capture,
    dispatcher: MessageDispatcher,
) -> SourceFactory:
    """What makes the source of a venue, once for each attempt. Raises ConfigError for a URL, proxy or CA file."""
    # One for all attempts: a venue that said to wait has said it to the next one as well.
    budget = VenueBudget(venue.spec.limits, clock)

    def make(is_patient: bool) -> LiveDataSource:
        return LiveDataSource(
            normalizer.protocols[venue.spec.name],
            ws_url=venue.ws_url or venue.spec.ws_url,
            rest_url=venue.rest_url or venue.spec.rest_url,
            limits=venue.spec.limits,
            capture=capture,
            dispatcher=dispatcher,
            tracker=normalizer.tracker,
            budget=budget,
            backoff_seed=options.backoff_seed,
            ssl_ca=venue.ssl_ca,
            wait_for_venue=is_patient,
        )

    make(False)  # a URL, proxy or CA file that cannot be used is said before anything is recorded
    return make


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure
