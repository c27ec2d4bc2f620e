"""One connection that the protocol wants: made, read, lost, and made again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from toolkit.clock import NS_PER_S
from toolkit.errors import ConnectFailed
from toolkit.frames import WS_OUT
from toolkit.live.deaf_connections import Hearing
from toolkit.live.failure_log import FailureNotes, retry_after_fields
from toolkit.live.intake import Intake
from toolkit.live.status import ConnectionStatus, LinkState
from toolkit.protocol import ConnectionPlan
from toolkit.transport.backoff import Backoff
from toolkit.transport.failures import TOO_MUCH, UNTIMED_BAN_S, RetryAfter
from toolkit.transport.limits import RateLimit, VenueBudget
from toolkit.transport.urls import join_url, public_url
from toolkit.transport.websocket import ABNORMAL, CLOSE_TIMEOUT_S, OPEN_TIMEOUT_S, Closed, WebSocket, open_websocket

__all__ = ["Link", "LinkOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """
    What all connections of a source share.

    Attributes:
        ws_url: The venue's WebSocket, to which a plan's path is appended.
        tls: TLS settings for wss; the system's authorities, if None.
        budget: The venue's limits.
        held: Limiters that wait while the venue refuses connections because there were too many: of all that goes to the
            same address.
        open_timeout_s: Longest time for connecting, TLS and the handshake together.
        close_timeout_s: How long a goodbye may take.
        before_frames: Called whenever frames have arrived, before they are taken in.
        first_attempts: Attempts before the venue counts as unreachable, while it was never reached; 0: no end.
    """

    ws_url: str
    tls: ssl.SSLContext | None
    budget: VenueBudget
    held: tuple[RateLimit, ...] = ()
    open_timeout_s: float = OPEN_TIMEOUT_S
    close_timeout_s: float = CLOSE_TIMEOUT_S
    first_attempts: int = 3
    before_frames: Callable[[], None] = lambda: None


class Link:
    """
    Keeps one connection made until it is asked to stop.

    Attributes:
        plan: Connection as the protocol wants it.
        conn_id: Its number in the recording.
        conn_epoch: How often it was made, from 0; -1 before the first time.
        was_open: Whether it was ever made.
        hearing: Whether it still brings data, for the watchdog.
    """

    def __init__(
        self, plan: ConnectionPlan, conn_id: int, intake: Intake, backoff: Backoff, options: LinkOptions
    ) -> None:
        self.plan = plan
        self.conn_id = conn_id
        self.conn_epoch = -1
        self.was_open = False
        self._options = options
        self._url = join_url(options.ws_url, plan.path)
        self._shown_url = public_url(self._url)
        self.hearing = Hearing()
        self._intake = intake
        self._clock = intake.capture.clock
        self._backoff = backoff
        self._notes = FailureNotes()
        self._waits = FailureNotes()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._phase = LinkState.CONNECTING
        self._attempt = 0
        self._failures = 0
        self._address = 0
        self._last_error = ""
        self._frame_count = 0
        self._byte_count = 0
        self._last_frame_ns = 0
        # Of the present epoch only:
        self._ws: WebSocket | None = None
        self._group: asyncio.TaskGroup | None = None
        self._close_cause = ""
        self._outbox: dict[bytes, None] = {}
        self._outbox_filled = asyncio.Event()
        self._ping_pending = False
        self._chunks_seen = 0
        self._alive_ns = 0
        self._ping_ns = 0

    # -- what the source calls ---------------------------------------------------------------------------------

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run in a task of that group."""
        self._task = group.create_task(self._run(), name=f"link {self.plan.role}")

    def stop(self) -> None:
        """End for good: say goodbye if connected; what arrives until the venue has answered is still taken in."""
        self._is_stopping = True
        if self._ws is not None:
            self._close(self._ws, "")
        elif self._task is not None:
            self._task.cancel()

    def close(self, reason: str) -> None:
        """Close the present connection, if there is one; it will be made again."""
        if self._ws is not None:
            self._close(self._ws, reason)

    def send(self, text: bytes) -> None:
        """
        Send when the venue's limits allow.

        Dropped if there is no connection: the protocol learns of the next one and says what it needs there. The same
        text waits once, since a protocol's patience may be shorter than the limits allow; it takes the last place then,
        because what was asked for between may have undone it.
        """
        if self._ws is not None:
            self._outbox.pop(text, None)
            self._outbox[text] = None
            self._outbox_filled.set()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self._ws is not None

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the venue's limits."""
        return bool(self._outbox)

    def abort(self, error: str) -> None:
        """End the present connection at once, if there is one; it will be made again."""
        if self._ws is not None:
            self._ws.abort(error)

    def look(self, mono_ns: int, *, was_late: bool) -> None:
        """
        See that the connection lives, and keep it alive; called about once a second.

        After a look that `was_late` (a sleeping machine, a busy loop) silence means nothing yet: what has arrived
        still waits in the socket.
        """
        ws = self._ws
        if ws is None:
            return
        heartbeat = self.plan.heartbeat
        if was_late or ws.chunk_count != self._chunks_seen:
            self._chunks_seen = ws.chunk_count
            self._alive_ns = mono_ns
        elif mono_ns - self._alive_ns > heartbeat.idle_s_max * NS_PER_S:
            silence_s = (mono_ns - self._alive_ns) / NS_PER_S
            ws.abort(f"nothing arrived for {silence_s:.1f} s, at most {heartbeat.idle_s_max:g} s are normal")
            return
        if mono_ns - self._ping_ns >= heartbeat.interval_s * NS_PER_S and not self._ping_pending:
            self._ping_ns = mono_ns
            self._ping_pending = True
            self._outbox_filled.set()

    def status(self, mono_ns: int) -> ConnectionStatus:
        """What it is doing."""
        return ConnectionStatus(
            role=self.plan.role,
            conn_id=self.conn_id,
            conn_epoch=self.conn_epoch,
            state=self._phase,
            frame_count=self._frame_count,
            byte_count=self._byte_count,
            reconnect_count=max(self.conn_epoch, 0),
            silence_s=(mono_ns - self._last_frame_ns) / NS_PER_S if self._frame_count else None,
            unsent_count=len(self._outbox) + self._ping_pending,
            last_error=self._last_error,
        )

    # -- its life ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self._is_stopping:
                ws = await self._connect()
                if ws is None:
                    continue
                opened_ns = self._clock.monotonic_ns()
                await self._serve(ws)
                self._backoff.lived((self._clock.monotonic_ns() - opened_ns) / NS_PER_S)
                if not self._is_stopping:
                    await self._wait(self._backoff.next_s())
        finally:
            self._phase = LinkState.CLOSED

    async def _wait(self, seconds: float) -> None:
        self._phase = LinkState.WAITING
        await self._clock.sleep(seconds)

    async def _connect(self) -> WebSocket | None:
        options = self._options
        self._phase = LinkState.WAITING if options.budget.connects.held_s else LinkState.CONNECTING
        await options.budget.connects.take()
        self._phase = LinkState.CONNECTING
        self._attempt += 1
        try:
            return await open_websocket(
                self._url,
                tls=options.tls,
                frame_bytes_max=options.budget.limits.frame_bytes_max,
                open_timeout_s=options.open_timeout_s,
                close_timeout_s=options.close_timeout_s,
                first_address=self._address,
            )
        except ConnectFailed as exc:
            self._address += 1  # which of the host's addresses served last is the one to begin with
            self._note_failure(exc)
            if self._leave_alone(exc):
                return None
            self._failures += 1
            if options.first_attempts and not self.was_open and self._failures >= options.first_attempts:
                raise ConnectFailed(f"{exc} (attempt {self._attempt})") from exc
            await self._wait(self._backoff.next_s())
            return None

    def _leave_alone(self, exc: ConnectFailed) -> bool:
        """
        Hold back every connection if the venue says that there were too many; whether it does.

        Giving up would not help: a program that does is started again by a supervisor, and asks again too early.
        """
        asked_s = exc.retry_after_s
        if asked_s is None and exc.status not in TOO_MUCH:
            return False
        if asked_s is None:
            waits_s = max(self._backoff.refused_s(), UNTIMED_BAN_S if exc.status == 418 else 0.0)
        else:
            # Never less than our own pause: "0" would have us ask without end.
            waits_s = max(self._backoff.refused_s(), min(asked_s, self._options.budget.limits.ban_s_max))
        for limit in (self._options.budget.connects, *self._options.held):
            limit.hold(waits_s)
        note = retry_after_fields(RetryAfter(urlsplit(self._url).hostname or "", exc.status or 0, asked_s, waits_s))
        if self._waits.is_news(f"{exc.status} {asked_s}", self._clock.monotonic_ns()):
            self._control("notice", **note)
        return True

    def _note_failure(self, exc: ConnectFailed) -> None:
        error = self._last_error = str(exc)
        if self._notes.is_news(error, self._clock.monotonic_ns()):
            self._control(
                "connect_failed", url=self._shown_url, role=self.plan.role, error=error, attempt=self._attempt
            )

    async def _serve(self, ws: WebSocket) -> None:
        """One epoch, from the made connection to the lost one."""
        self._begin_epoch(ws)
        closed: Closed | None = None
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._control("connected", url=self._shown_url, role=self.plan.role)
                sender = group.create_task(self._send_loop(ws), name=f"sender {self.plan.role}")
                closed = await ws.read(self._on_message, before=self._options.before_frames)
                self._ws = None
                sender.cancel()
        finally:
            self._ws = None
            self._group = None
            if closed is None:
                # A failure here or elsewhere in the source ends this connection too, and at once: being cancelled
                # while waiting for the venue's goodbye would put a CancelledError in the failure's place.
                ws.abort("")
                closed = Closed(ABNORMAL, "", "we closed it: the source failed")
            self._end_epoch(closed)

    def _begin_epoch(self, ws: WebSocket) -> None:
        self._ws = ws
        self._phase = LinkState.OPEN
        self.was_open = True
        self.conn_epoch += 1
        self._attempt = 0
        self._failures = 0
        self._notes.over()
        self._close_cause = ""
        self._outbox.clear()
        self._outbox_filled.clear()
        self._ping_pending = False
        self._chunks_seen = ws.chunk_count
        self._alive_ns = self._ping_ns = self._clock.monotonic_ns()

    def _end_epoch(self, closed: Closed) -> None:
        self._phase = LinkState.CLOSED
        self._outbox.clear()
        error = closed.error or self._close_cause
        self._last_error = error or f"closed with code {closed.code}{f' ({closed.reason})' if closed.reason else ''}"
        if not self._intake.is_closed:
            details: dict[str, str | float] = {
                "role": self.plan.role,
                "code": closed.code,
                "reason": closed.reason,
                "error": error,
            }
            if self._is_stopping:
                details["cause"] = "stop"  # ours, so the hole it leaves is no fault of the venue
            self._control("disconnected", **details)

    def _on_message(self, payload: bytes) -> None:
        self._frame_count += 1
        self._byte_count += len(payload)
        self._last_frame_ns = self._intake.take_message(self.conn_id, self.conn_epoch, payload)

    async def _send_loop(self, ws: WebSocket) -> None:
        total, own = self._options.budget.messages, self._options.budget.new_connection()
        outbox = self._outbox
        while True:
            while not outbox and not self._ping_pending:
                self._outbox_filled.clear()
                await self._outbox_filled.wait()
            await total.take()
            if own is not None:
                await own.take()
            if not ws.is_open:
                return
            # Only now is it decided what goes. Hundreds of subscriptions that the limits hold back must not starve the
            # heartbeat.
            if self._ping_pending:
                self._ping_pending = False
                ping_text = self.plan.heartbeat.ping_text
                if ping_text is None:
                    await ws.ping()
                    continue
                text = ping_text
            else:
                text = next(iter(outbox))
                del outbox[text]
            # Recorded and written in the same step of the loop, so a frame that says it was sent was sent.
            self._intake.take(self.conn_id, self.conn_epoch, WS_OUT, text)
            await ws.send(text)

    def _close(self, ws: WebSocket, cause: str) -> None:
        if self._group is not None and not self._close_cause:
            self._close_cause = f"we closed it: {cause}" if cause else ""
            self._group.create_task(_close_quietly(ws, cause), name=f"close {self.plan.role}")

    def _control(self, event: str, **details: str | float) -> None:
        self._intake.control(self.conn_id, max(self.conn_epoch, 0), event, **details)


async def _close_quietly(ws: WebSocket, reason: str) -> None:
    """Close; how it ended is what `read` returns."""
    await ws.close(reason)
