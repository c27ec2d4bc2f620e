"""
The deck: recordings that play behind their venues' interfaces, sans I/O.

The tape is played by a `Player`, so speed, pause, step, seek, loop and several recordings are those of every replay. For
each frame the venue is brought to the present first, also where a seek passes over it; only what is played is sent.

When clients are closed, because what they received before no longer says what they hear next:

| on the tape | who | how |
|---|---|---|
| a connection was lost | those who listen to a stream it fed last | as it was lost: the same code, or none |
| a session begins, and none was running | those who listen to anything seen before | without a close frame |
| no recording has a symbol for a while | those who listen to anything of that venue | without a close frame |
| a seek, or the beginning again | those who listen to anything | without a close frame |

With `hides_disconnects` no client is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from recordings.recording import Recording
from replay.clock import ReplayClock
from replay.player import Player
from replay.serving.face import UNREADABLE, Drop
from replay.serving.frame_tape import FrameTape
from replay.serving.served_venue import NOTHING, Client, Delivery, Key, ServedVenue, TapeFacts
from replay.serving.tape_marks import read_state, write_state
from replay.tape import HOLE
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import TrackerState
from toolkit.clock import NS_PER_S, Clock
from toolkit.errors import ConfigError
from toolkit.frames import ALL_VENUES, CONTROL, Frame
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.timing.times import Instant, Pace, instant_ns

__all__ = ["Deck", "DeckOptions"]

#: How much of the tape is looked at before it is played: frames per recording, and ns.
_OPENING_FRAMES: Final = 20_000
_OPENING_NS: Final = 60 * NS_PER_S
#: What a client gets where there was no answer: the connection is gone.
_GONE: Final = Drop()
#: Close codes that may be sent in a close frame; others stand for its absence.
_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})

MakeVenue = Callable[[TapeFacts], ServedVenue]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckOptions:
    """
    How a tape is played to clients.

    Attributes:
        venues: Serve only these; empty: all that the recordings are of.
        speed: Multiple of the recorded pace, a number or text such as `10x`; None for as fast as clients read.
        start_ns: Begin before the first frame of that time or later: ns, a datetime (without a zone: UTC), or text.
        end_ns: End before the first frame of that time or later.
        loop: Begin again at the end.
        hides_disconnects: Close no client because of what happened on the tape.
    """

    venues: Collection[str] = ()
    speed: Pace = 1
    start_ns: Instant | None = None
    end_ns: Instant | None = None
    loop: bool = False
    hides_disconnects: bool = False


class _Served:
    """One venue: its state machine, who listens to what, and which connection of the tape fed each stream last."""

    __slots__ = ("desk", "fed_by", "had_session", "sessions", "venue")

    def __init__(self, venue: ServedVenue) -> None:
        self.venue = venue
        self.desk: dict[Key, list[Client]] = {}
        self.fed_by: dict[Key, int] = {}
        self.sessions = 0
        self.had_session = False

    def forget(self) -> None:
        self.venue.forget()
        self.fed_by.clear()
        self.sessions = 0
        self.had_session = False

    def parts(self) -> list[object]:
        """What a mark on the tape holds of it, in place."""
        return [*self.venue.tape_parts(), self.fed_by]

    def lost_by(self, frame: Frame) -> tuple[list[Key], Drop]:
        """The streams that a control frame says are lost, and how their listeners' connections end."""
        details = _control(frame)
        lost: list[Key] = []
        match details.get("event"):
            case "disconnected" if details.get("cause") != "stop":
                lost = [key for key, conn_id in self.fed_by.items() if conn_id == frame.conn_id]
            case "session_start":
                self.sessions += 1
                if self.sessions == 1 and self.had_session:
                    lost = list(self.fed_by)
            case "session_end":
                self.sessions = max(0, self.sessions - 1)
                self.had_session = True
            case _:
                pass
        for key in lost:
            del self.fed_by[key]
        return lost, _as_recorded(details)


class Deck:
    """
    Plays recordings to clients.

    Args:
        recordings: Recordings in the order that decides ties.
        venues: How to serve each venue, by its name.
        pacer: Clock by whose monotonic reading the pace is kept.
        options: How to play.
        after_turn: Awaited whenever something may have been put into outboxes.
        turn: Frames after which that is at the latest.

    Attributes:
        player: The controls.
        tape: Tape to play.
        clients: Everybody connected, with the name of the venue, in the order they came.
        subscription_count: Streams that clients have asked for since the beginning, what they gave up included.
        delivered_count: Payloads put into outboxes.
        stirred: Clients with something in the outbox, or an end that is due; the sender empties it.
        closed_by_tape: Clients that were closed because of what happened on the tape.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        venues: Mapping[str, MakeVenue],
        *,
        pacer: Clock,
        options: DeckOptions | None = None,
        after_turn: Callable[[], Awaitable[None]] | None = None,
        turn: int = 256,
    ) -> None:
        self.options = options or DeckOptions()
        self.tape = FrameTape(recordings, self.options.venues)
        clock = ReplayClock()
        self._served = {
            name: _Served(make(facts)) for name, make, facts in _facts(recordings, venues, clock, self.options.venues)
        }
        self.clients: dict[Client, str] = {}
        self.subscription_count = 0
        self.delivered_count = 0
        self.closed_by_tape = 0
        self._due: Sequence[Delivery] = NOTHING
        self._due_of: _Served | None = None
        self._lost: Sequence[Key] = ()
        self._drop = _GONE
        self.stirred: dict[Client, None] = {}
        self._prime()
        self.tape.keeper = self
        self.player = Player(
            self.tape,
            self,
            None,
            self,
            clock=clock,
            pacer=pacer,
            speed=self.options.speed,
            start_ns=self.options.start_ns,
            end_ns=self.options.end_ns,
            loop=self.options.loop,
            after_turn=after_turn,
            turn=turn,
        )
        if self.options.start_ns is not None:
            # Clients that connect before the tape runs are sent that time.
            self.seek(self.options.start_ns)

    # Venues and clients ------------------------------------------------------------------------------------------------

    @property
    def venues(self) -> dict[str, ServedVenue]:
        """The venues of the tape, by name."""
        return {name: served.venue for name, served in self._served.items()}

    def seek(self, ns: Instant) -> None:
        """Go to a time of the tape: from here to a later one, unless a mark is closer to it; else from the mark before it."""
        ns = instant_ns(ns, "the time to seek to", near_ns=self.tape.last_ns)
        here = self.player.position_ns
        mark = self.tape.marks.before(ns)
        if ns > here and mark is not None and mark.reached_ns > here:
            self.player.seek(ns)
            return
        if ns > here:
            for served in self._served.values():
                self._close_listeners(served, list(served.desk), _GONE)
        self.player.skip(ns)

    def connect(self, name: str, number: int, remote: str, path: str, query: str) -> Client:
        """A client connects to that venue."""
        served = self._served[name]
        client = served.venue.connect(number, remote, path, query)
        client.register(served.desk)
        self.clients[client] = name
        served.venue.opened(client)
        self.subscription_count += len(client.keys)  # streams may be named in the URL
        self.stirred[client] = None
        return client

    def receive(self, client: Client, text: str, now_ns: int) -> None:
        """A client says something; the answers are in its outbox when this returns."""
        name = self.clients.get(client)
        if name is not None and client.drop is None:
            before = len(client.keys)
            self._served[name].venue.receive(client, text, now_ns)
            self.subscription_count += max(0, len(client.keys) - before)
            self.stirred[client] = None

    def disconnect(self, client: Client) -> None:
        """A client is gone."""
        name = self.clients.pop(client, None)
        if name is None:
            return
        for key in list(client.keys):
            client.unlisten(key)
        self.stirred.pop(client, None)
        self._served[name].venue.closed(client)

    # What the player asks ----------------------------------------------------------------------------------------------

    def apply(self, message: Message) -> OrderBook | None:
        """Bring the frame's venue to the present; what is to be sent waits for `emit`."""
        frame: object = message
        self._due_of = None
        if type(frame) is not Frame:
            return None
        served = self._served.get(frame.venue)
        if served is None:
            if frame.venue == ALL_VENUES and frame.kind == CONTROL:
                for each in self._served.values():
                    each.forget()  # frames of any stream are missing from here on
            return None
        self._due = served.venue.take(frame)
        self._due_of = served
        if self._due:
            fed_by, conn_id = served.fed_by, frame.conn_id
            for key, _ in self._due:
                fed_by[key] = conn_id
        elif frame.kind == CONTROL:
            self._lost, self._drop = served.lost_by(frame)
            if self._lost:
                served.venue.lost(self._lost)
        return None

    def emit(self, message: Message) -> None:
        """Send what the last frame brings, and close whom it ends."""
        served = self._due_of
        if served is not None and self._due:
            desk, stirred = served.desk, self.stirred
            for key, payload in self._due:
                listeners = desk.get(key)
                if listeners is not None:
                    for client in listeners:
                        if client.drop is None:
                            client.deliver(key, payload)
                            stirred[client] = None
                            self.delivered_count += 1
            return
        frame: object = message
        if type(frame) is Frame:
            if frame.kind == CONTROL and served is not None:
                self._close_listeners(served, self._lost, self._drop)
            elif frame.kind == CONTROL and frame.venue == ALL_VENUES:
                for each in self._served.values():
                    self._close_listeners(each, list(each.desk), _GONE)
        elif isinstance(frame, StreamEvent) and frame.cause == HOLE and frame.kind is EventKind.GAP:
            hole = self._served.get(frame.venue)
            if hole is not None:
                self._close_listeners(hole, list(hole.desk), _GONE)

    @property
    def backlog(self) -> int:
        """Nothing waits here: outboxes are emptied after each turn."""
        return 0

    def clear(self) -> None:
        """The tape goes elsewhere: forget the present, and close those who know it."""
        for served in self._served.values():
            served.forget()
            self._close_listeners(served, list(served.desk), _GONE)

    def save(self) -> bytes:
        """The state of all venues here, see `tape_marks.py`."""
        sessions = {name: (served.sessions, served.had_session) for name, served in self._served.items()}
        return write_state(self._parts(), sessions)

    def load(self, state: bytes) -> None:
        """Return to it, from the state before the first frame."""
        for name, (sessions, had_session) in read_state(state, self._parts()).items():
            served = self._served[name]
            served.sessions, served.had_session = sessions, had_session

    def _parts(self) -> list[object]:
        return [part for served in self._served.values() for part in served.parts()]

    def restore(self, state: TrackerState) -> None:
        """Never asked for: a tape of frames has no checkpoints."""
        raise NotImplementedError

    def fused_forms(self, trading_pair: str, venue: str) -> list[str]:
        """No forms are distinguished here, so the tape says of no form that it is stale."""
        return []

    # What happens on the tape ------------------------------------------------------------------------------------------

    def _prime(self) -> None:
        first_ns: dict[str, int] = {}
        for frame in self.tape.opening(_OPENING_FRAMES):
            served = self._served.get(frame.venue)
            if served is not None and frame.ts_recv - first_ns.setdefault(frame.venue, frame.ts_recv) <= _OPENING_NS:
                served.venue.prime(frame)
        for served in self._served.values():
            served.venue.primed()

    def _close_listeners(self, served: _Served, keys: Sequence[Key], drop: Drop) -> None:
        for client in dict.fromkeys(client for key in keys for client in served.desk.get(key, ())):
            self._close(client, drop)

    def _close(self, client: Client, drop: Drop) -> None:
        if not self.options.hides_disconnects and client.drop is None:
            client.end(drop)
            self.closed_by_tape += 1
            self.stirred[client] = None


def _facts(
    recordings: Sequence[Recording], venues: Mapping[str, MakeVenue], clock: Clock, wanted: Collection[str]
) -> list[tuple[str, MakeVenue, TapeFacts]]:
    names = list(dict.fromkeys(source.venue for recording in recordings for source in recording.manifest.sources))
    found = []
    for name in [name for name in names if not wanted or name in wanted]:
        make = venues.get(name)
        if make is None:
            raise ConfigError(f"{name} cannot be served; expected a recording of one of {', '.join(venues)}")
        sources = [source for each in recordings for source in each.manifest.sources if source.venue == name]
        symbols = {
            full.partition("/")[2]: pair
            for each in recordings
            for full, pair in each.symbols.items()
            if full.partition("/")[0] == name
        }
        facts = TapeFacts(
            venue=name,
            clock=clock,
            symbols=dict(sorted(symbols.items())),
            accounts=list(dict.fromkeys(account for source in sources for account in source.accounts)),
            channels=list(dict.fromkeys(channel for source in sources for channel in source.channels)),
        )
        found.append((name, make, facts))
    return found


def _control(frame: Frame) -> dict[str, Any]:
    try:
        details = msgspec.json.decode(frame.payload)
    except UNREADABLE:
        return {}
    return details if isinstance(details, dict) else {}


def _as_recorded(details: Mapping[str, Any]) -> Drop:
    """How a recorded connection ended; one that ended without a close frame, or with a code that none may hold, has none."""
    code = details.get("code")
    if isinstance(code, int) and (code in _SENDABLE or 3000 <= code <= 4999):
        return Drop(code, str(details.get("reason", "")))
    return _GONE
