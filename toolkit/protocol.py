"""
A venue's protocol as a state machine that never touches a socket or a clock.

Frames go in, messages and requests come out. Rules every protocol keeps:

- What it says depends on the frames it was given and on its options, on nothing else: not on time, not on the order
  of a dict or set, not on whether anybody carries out its requests.
- `receive` is the only method that changes what later messages will be. `due` and `requests` only ask for things.
- A frame that cannot be understood becomes one `PARSE_ERROR` event and changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from toolkit.errors import ConfigError, ParseError, TickdeckError
from toolkit.frames import CONTROL, DAMAGED, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame
from toolkit.messages import EventKind, Message
from toolkit.streams import Stream, StreamEvents, stale_since

if TYPE_CHECKING:
    from toolkit.books.tracker import OrderBookTracker
    from toolkit.columnar import ColumnarTaker, Tops

__all__ = [
    "AccountsPart",
    "CloseConnection",
    "ConnectionPlan",
    "Heartbeat",
    "ProtocolOptions",
    "Request",
    "RestCall",
    "SendText",
    "VenueProtocol",
    "excerpt",
    "request_id_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolOptions:
    """
    What the user asked of a venue; stored in the manifest, because a replay needs the same.

    Attributes:
        pairs: Trading pairs, or symbols in the venue's spelling. Empty: take whatever comes (an import).
        channels: Streams to subscribe, in the venue's module's names; empty for that venue's default.
        accounts: Addresses whose user streams are wanted.
        settings: Anything else the venue's module understands, as strings.

    Raises:
        ConfigError: A text in place of a tuple of them, which would be taken letter by letter.
    """

    pairs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("pairs", "channels", "accounts"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f"{name} is the text {value!r}, expected a tuple of them, as in {name}=({value!r},)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """
    How a venue's connection is kept alive and found dead.

    Attributes:
        ping_text: Text we send; None where the WebSocket's own ping is meant.
        interval_s: How often we send it.
        idle_s_max: Without any frame for this long the connection is dead.
    """

    ping_text: bytes | None
    interval_s: float
    idle_s_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPlan:
    """
    A connection the protocol wants.

    Attributes:
        role: Name of its purpose, unique within the venue; the `connected` frame carries it.
        path: Appended to the venue's WebSocket URL; empty for the URL itself.
        heartbeat: How to keep it alive.
    """

    role: str
    heartbeat: Heartbeat
    path: str = ""


class SendText(msgspec.Struct, frozen=True):
    """Send this text on that connection; the driver paces it by the venue's rate limits."""

    conn_id: int
    text: bytes


class RestCall(msgspec.Struct, frozen=True):
    """
    Ask the venue's REST interface.

    Attributes:
        tag: Purpose in the protocol's own words; comes back in the response frame's `context`.
        method: `GET` or `POST`.
        path: Path and query below the venue's REST URL.
        body: JSON body; empty for none.
        weight: Weight of the request in the venue's rate limit.
    """

    tag: str
    method: str
    path: str
    body: bytes = b""
    weight: int = 1


class CloseConnection(msgspec.Struct, frozen=True):
    """Close that connection (the driver makes it again); the book it carries can no longer be trusted."""

    conn_id: int
    reason: str


Request = SendText | RestCall | CloseConnection

#: What msgspec raises for bytes that are no JSON: text that is no UTF-8 and brackets without end are not `DecodeError`.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def excerpt(payload: bytes, limit: int = 200) -> str:
    """The start of a payload, printable in one line, for an error message."""
    text = payload[:limit].decode("utf-8", "replace")
    return repr(text if len(payload) <= limit else text + "...")


def request_id_of(context: Mapping[str, Any]) -> int | None:
    """
    What names a request by REST, from the context of its own frame or of its answer.

    It is the `capture_seq` of the frame in which the request left, so it says before and after what else that was; an
    answer to it may be older than what has happened since. None in recordings that have no such name.
    """
    name = context.get("id")
    return name if isinstance(name, int) and name > 0 else None


class AccountsPart:
    """
    The accounts that a protocol follows beside its market; this one follows none.

    `VenueProtocol` routes between the two: by the role of a connection, and REST replies by what they answer.
    """

    #: Whether the frames of its connections are its alone; else the market's part reads them, and hands on what it finds.
    reads_frames: bool = False

    def has_role(self, role: str) -> bool:
        """Whether a connection of that role is one of the accounts."""
        return False

    def bootstrap(self) -> list[Request]:
        """Requests to make before any connection is opened."""
        return []

    @property
    def is_ready(self) -> bool:
        """Whether everything asked for by `bootstrap` has come."""
        return True

    def connections(self) -> list[ConnectionPlan]:
        """Connections of the accounts, in a fixed order."""
        return []

    def subscribe(self, frame: Frame, role: str) -> None:
        """A connection of that role was made."""

    def resubscribe(self, frame: Frame, role: str) -> None:
        """A connection of that role lives and brings nothing."""

    def on_text(self, frame: Frame) -> list[Message]:
        """Messages of a frame of its connections. Raises ParseError."""
        return []

    def on_other_channel(self, frame: Frame, channel: str) -> list[Message]:
        """Messages of a frame that is not the market's, on a connection without a role, as in an import."""
        return []

    def on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message] | None:
        """Messages of a REST response; None for one that the market's part has to read. Raises ParseError."""
        return None

    def on_failure(self, frame: Frame, tag: str, messages: list[Message]) -> bool:
        """All attempts of a request failed. Whether the request was one of the accounts."""
        return False

    def on_sent(self, frame: Frame) -> None:
        """A frame of ours left, on any connection or by REST."""

    def disconnected(self, frame: Frame) -> None:
        """A connection was lost."""

    def session_ended(self, frame: Frame, messages: list[Message]) -> None:
        """No connection is left."""

    def due(self, mono_ns: int) -> list[Request]:
        """Requests that time alone makes necessary."""
        return []

    def export(self) -> dict[str, Any]:
        """Its entries of the venue's part of a checkpoint."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `export` gave."""


class VenueProtocol(StreamEvents, ABC):
    """
    Base of the venues' protocols: connections, streams and gaps, which are the same everywhere.

    A venue implements `_on_text`, `_on_rest`, `_subscribe` and says which connections it wants; these are the market. Where
    it has accounts, they are a part of their own, `accounts`.
    """

    #: Raised whenever the same frame would give other messages than before; kept in the manifest.
    version: ClassVar[int]

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__()
        self.options = options
        #: Why the venue cannot be recorded as asked; the live source raises it.
        self.failure: TickdeckError | None = None
        self._roles: dict[int, str] = {}
        self._queue: list[Request] = []
        #: The accounts; a protocol that can follow some replaces it.
        self.accounts = AccountsPart()
        #: Frames that were understood, by kind of message, for the status line.
        self.parse_error_count = 0

    # -- what a venue implements -------------------------------------------------------------------------------

    @abstractmethod
    def _on_text(self, frame: Frame) -> list[Message]:
        """Messages of one WebSocket frame. Raises ParseError."""

    @abstractmethod
    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        """Messages of one REST response. Raises ParseError."""

    @abstractmethod
    def _subscribe(self, frame: Frame, role: str) -> None:
        """A connection of that role was made: queue what subscribes its streams and add them to `streams`."""

    @abstractmethod
    def bootstrap(self) -> list[Request]:
        """Requests to make before any connection is opened (metadata, mostly)."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether everything asked for by `bootstrap` has come and `connections` may be opened."""

    @abstractmethod
    def connections(self) -> list[ConnectionPlan]:
        """The connections wanted, in a fixed order. Only once `is_ready`."""

    def _on_sent(self, frame: Frame) -> None:
        """A frame of ours left. Only protocols that decide something by it care."""

    def _resubscribe(self, frame: Frame, role: str) -> None:
        """
        That connection lives and brings nothing: queue what subscribes its streams again.

        Where nothing is queued, the connection is made again after as long a silence once more.
        """

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        """More to say about a lost connection than that its streams are stale."""
        return []

    def _on_session_end(self) -> None:
        """Forget what was tied to connections; none of them is left."""

    def _on_sleep(self, frame: Frame) -> None:
        """
        The machine slept, and its monotonic clock stood still: what is polled is older than that clock says.

        Called once for each connection that stood, and at least once.
        """

    def due(self, mono_ns: int) -> list[Request]:
        """Requests that time alone makes necessary (a lost acknowledgement, an hourly poll)."""
        return []

    def snapshot_request(self, symbol: str) -> RestCall | None:
        """The REST request for one instrument's book, or None where the venue has none."""
        return None

    def funding_request(self, symbol: str) -> RestCall | None:
        """The REST request for one instrument's funding, or None where the venue has none."""
        return None

    #: Name of the compiled code that `columnar` needs (`toolkit/kernels/disk_cache.py`); empty where there is none.
    kernel_set: ClassVar[str] = ""

    def columnar(self, books: OrderBookTracker, tops: Tops) -> ColumnarTaker | None:
        """
        What takes this venue's frames by the batch, on the state of this protocol and of the books that it keeps.

        None where there is no such thing. `tops` is what the last row of `top` said, by venue and pair. Compiles, or
        loads, machine code; worth it from some ten thousand frames on.
        """
        return None

    @abstractmethod
    def symbol(self, trading_pair: str) -> str:
        """The venue's spelling of a pair (a symbol is taken as it is). Raises SymbolError."""

    # -- what the driver and the replay call -------------------------------------------------------------------

    def receive(self, frame: Frame) -> list[Message]:
        """
        The messages of one frame, in order, with `sub_seq` set.

        Never raises for what a venue may have sent: a frame that cannot be understood becomes a `PARSE_ERROR`.
        """
        try:
            if frame.kind == WS_IN:
                is_apart = self.accounts.reads_frames and self.accounts.has_role(self.role_of(frame.conn_id))
                return self.accounts.on_text(frame) if is_apart else self._on_text(frame)
            if frame.kind == REST_IN:
                context = _decode_object(frame.context or "{}")
                messages = self.accounts.on_rest(frame, context)
                return messages if messages is not None else self._on_rest(frame, context)
            if frame.kind == CONTROL:
                return self._on_control(frame)
            if frame.kind in (WS_OUT, REST_OUT):
                if not (self.accounts.reads_frames and self.accounts.has_role(self.role_of(frame.conn_id))):
                    self._on_sent(frame)
                self.accounts.on_sent(frame)
                return []
            if frame.kind == DAMAGED:
                raise ParseError("a damaged line of an imported file")
            raise ParseError(f"unknown frame kind {frame.kind!r}")
        except (ParseError, *_UNREADABLE) as exc:
            self.parse_error_count += 1
            return [self.event(frame, EventKind.PARSE_ERROR, detail=f"{exc} in {excerpt(frame.payload)}")]

    def ask(self, requests: Sequence[Request]) -> None:
        """Queue requests, for a part of this protocol."""
        self._queue += requests

    def requests(self) -> list[Request]:
        """What the protocol wants sent since it was last asked. A replay need not ask."""
        if not self._queue:
            return []
        queue, self._queue = self._queue, []
        return queue

    def checkpoint(self) -> bytes:
        """Everything later messages depend on, as JSON; `restore` on a fresh protocol continues from there."""
        state = {
            "version": self.version,
            "streams": self.streams.export(),
            "roles": sorted(self._roles.items()),
            "venue": self._export(),
        }
        return msgspec.json.encode(state)

    def restore(self, checkpoint: bytes) -> None:
        """Continue from a checkpoint made by the same version of the same protocol."""
        state = _decode_object(checkpoint)
        self.streams.restore(state["streams"])
        self._roles = dict(state["roles"])
        self._import(state["venue"])

    @abstractmethod
    def _export(self) -> Any:
        """The venue's own part of a checkpoint, as plain JSON values."""

    @abstractmethod
    def _import(self, state: Any) -> None:
        """Take over what `_export` gave."""

    # -- connections -------------------------------------------------------------------------------------------

    @property
    def roles(self) -> Mapping[int, str]:
        """Roles of the connections that are made."""
        return self._roles

    def role_of(self, conn_id: int) -> str:
        """Role of a connection; empty for one that never said it was made (an import)."""
        return self._roles.get(conn_id, "")

    def _on_control(self, frame: Frame) -> list[Message]:
        details = _decode_object(frame.payload)
        event = details.get("event")
        if event in ("connection_stale", "notice") and details.get("cause") == "suspend":
            self._on_sleep(frame)
        match event:
            case "connected":
                role = str(details.get("role", ""))
                self._roles[frame.conn_id] = role
                subscribe = self.accounts.subscribe if self.accounts.has_role(role) else self._subscribe
                subscribe(frame, role)
                return [self.event(frame, EventKind.CONNECTED, detail=_describe(details))]
            case "disconnected":
                return self._disconnected(frame, details)
            case "stale":
                return self._stale(frame, details)
            case "connection_stale":
                return self._connection_stale(frame, details)
            case "restart":
                self.failure = None
                return []
            case "resubscribe":
                role = self.role_of(frame.conn_id)
                resubscribe = self.accounts.resubscribe if self.accounts.has_role(role) else self._resubscribe
                resubscribe(frame, role)
                return []
            case "lost" if details.get("cause") == "damage":
                return self._lost(frame, details)
            case "session_end":
                return self._session_end(frame, str(details.get("cause") or "session_end"))
            case str() if event in EventKind.__members__.values():
                return [
                    self.event(
                        frame,
                        EventKind(event),
                        cause=str(details.get("cause", "")),
                        ts_start=details.get("ts_start"),
                        ts_end=details.get("ts_end"),
                        detail=_describe(details),
                    )
                ]
            case _:
                raise ParseError(f"unknown control event {event!r}")

    def _disconnected(self, frame: Frame, details: dict[str, Any]) -> list[Message]:
        messages: list[Message] = [self.event(frame, EventKind.DISCONNECTED, detail=_describe(details))]
        streams = self.streams.of_connection(frame.conn_id)
        for stream in streams:
            self.mark_stale(frame, stream, str(details.get("cause") or "disconnect"), messages)
        self.accounts.disconnected(frame)
        for message in self._on_disconnected(frame, streams):
            messages.append(msgspec.structs.replace(message, sub_seq=len(messages)))
        return messages

    def _stale(self, frame: Frame, details: dict[str, Any]) -> list[Message]:
        messages: list[Message] = []
        stream = self.streams.get(str(details.get("symbol", "")), str(details.get("stream", "")))
        if stream is not None:
            self.mark_stale(frame, stream, str(details.get("cause", "silence")), messages, _describe(details))
        if stream is None or messages:
            return messages
        # Subscribed, perhaps even acknowledged, and it never spoke: there is nothing to be stale, but it is news.
        cause = "no_book" if details.get("cause") == "no_book" else "no_data"
        if not stream.last_recv:
            self.mark_missing(frame, stream, cause, messages, _describe(details))
        elif not stream.frame_count and not stream.was_missed:
            # Nor has it since it was made again. Since when it is stale, and why, has been said.
            stream.was_missed = True
            messages.append(self.event(frame, EventKind.STALE, stream=stream, cause=cause, detail=_describe(details)))
        return messages

    def _connection_stale(self, frame: Frame, details: dict[str, Any]) -> list[Message]:
        """Nothing that came on this connection holds any more, though it was not lost."""
        cause = str(details.get("cause") or "silence")
        messages: list[Message] = [self.event(frame, EventKind.NOTICE, cause=cause, detail=_describe(details))]
        for stream in self.streams.of_connection(frame.conn_id):
            self.mark_stale(frame, stream, cause, messages)
        return messages

    def _lost(self, frame: Frame, details: dict[str, Any]) -> list[Message]:
        """Frames of any stream are missing from here on, while connections went on: nothing holds until it is said again."""
        start, end = details.get("ts_start"), details.get("ts_end")
        messages: list[Message] = [self.event(frame, EventKind.LOST, cause="damage", ts_start=start, ts_end=end)]
        for stream in self.streams:
            self.mark_stale(frame, stream, "lost", messages)
        return messages

    def _session_end(self, frame: Frame, cause: str) -> list[Message]:
        """The recording stops here: no connection is left, gaps that are open end, and nothing holds any more."""
        messages: list[Message] = [self.event(frame, EventKind.SESSION_END, cause=cause)]
        for stream in self.streams:
            if stream.is_live:
                self.mark_stale(frame, stream, cause, messages)
            elif (start := stale_since(stream)) and stream.cause not in ("stop", cause):
                messages.append(
                    self.event(
                        frame,
                        EventKind.GAP,
                        stream=stream,
                        sub_seq=len(messages),
                        cause=stream.cause,
                        ts_start=start,
                        ts_end=frame.ts_recv,
                    )
                )
                stream.last_recv = frame.ts_recv
                stream.cause = cause
        self._roles.clear()
        self._on_session_end()
        self.accounts.session_ended(frame, messages)
        return messages


def _describe(details: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in details.items() if key != "event" and value not in ("", None))
