"""
A served venue: the state machine between the frames of a tape and the clients that take it for the real thing.

It knows no socket and no clock; time is handed in. Around it, `Deck` plays the tape and keeps who listens to what, and
`TapeServer` puts sockets around that. A venue is a subclass of `ServedVenue` in the package `recorded` of its folder below
`replay/serving/venues/`.

What a venue has to do
----------------------

1. **The tape's side.** `take(frame)` is given every frame of this venue in the order of the tape, of every kind: what was
   received, what the recorder sent (`ws_out` tells which connection had subscribed what), REST questions and replies, and
   control frames. It brings the venue's state to the present of the tape and returns what clients are to be sent
   because of it: `(key, payload)` pairs, where a key is any hashable name of a stream that the venue chooses. The deck sends
   the payload, byte for byte, to every client that listens to that key, in order. A frame that only answered the recorder
   (an acknowledgement, a pong) returns `()`. It must be fast: it runs for every frame, 100,000 times a second at full
   speed, so it should find the key without decoding the payload and leave to `receive` and `answer` what only they need.
2. **The clients' side.** `connect` makes a `Client` (or a subclass with what the venue keeps per connection), `opened` may
   subscribe it to what its URL names, `receive` answers what it says: acknowledgements and errors with `client.send`,
   subscriptions with `client.listen(key)`, and the venue's first message with the state at the tape's present
   (`client.send` again). `client.end(Drop(...))` closes it.
3. **REST.** `answer(ask)`, from recorded replies (`RecordedAnswers` keeps them) or from the state at the present; an
   honest error for what the recording does not hold. It says the present only, never what the tape has yet to tell.
4. **Going elsewhere.** `forget()` returns to the state before the first frame. A seek forgets, gives the parts that
   `tape_parts` names what was in them at a place before the new time, and then feeds `take` up to it; nothing of that is
   sent. What `prime` learnt stays, and so does what clients have asked for.

`prime(frame)` is given the opening of the tape before anything is played: a client asks for metadata before it subscribes,
and the recorder's own question about it lies a moment later on the tape. Take from it what was as true before (the
listing); never prices.

Clients that must not rely on what they have (a recorded connection was lost, a stretch is missing, the tape was
sought elsewhere) are closed by the deck, as the venue would have done: those that listen to a key last fed by that
connection. The venue is notified of these keys by `lost`, so that it does not give an old state for the present one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from replay.serving.face import Ask, Drop, Pings, Reply
from toolkit.clock import Clock
from toolkit.frames import Frame

__all__ = ["NOTHING", "Client", "Delivery", "Key", "ServedVenue", "TapeFacts"]

#: The name of a stream, chosen by the venue.
Key = Hashable
#: A payload for everybody who listens to a key.
Delivery = tuple[Key, bytes]
#: What `take` returns for a frame that concerns no client.
NOTHING: Final[Sequence[Delivery]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeFacts:
    """
    What is known of a tape before it is played.

    Attributes:
        venue: The venue's name.
        clock: The present of the tape, ns since the Unix epoch.
        symbols: Every symbol with a message, to the trading pair.
        accounts: Accounts that were asked for when it was recorded.
        channels: Channels as the user named them; empty for the venue's default.
    """

    venue: str
    clock: Clock
    symbols: Mapping[str, str] = field(default_factory=dict)
    accounts: Sequence[str] = ()
    channels: Sequence[str] = ()


class Client:
    """
    One connection, as its venue sees it; a venue may subclass it.

    Attributes:
        number: Counts the connections of the server.
        remote: Address of the client.
        path: Path that it connected to, below the venue's base.
        query: Query string of that URL.
        keys: The streams it listens to, in the order of subscribing.
        drop: How it ends, once that is decided.
        outbox: Payloads to be sent, oldest first; the sender empties it.
    """

    def __init__(self, number: int, remote: str, path: str = "", query: str = "") -> None:
        self.number = number
        self.remote = remote
        self.path = path
        self.query = query
        self.keys: dict[Key, None] = {}
        self.drop: Drop | None = None
        self.outbox: list[bytes] = []
        self._desk: dict[Key, list[Client]] = {}

    def send(self, payload: bytes | str) -> None:
        """Say something to this client alone."""
        if self.drop is None:
            self.outbox.append(payload.encode() if isinstance(payload, str) else payload)

    def deliver(self, key: Key, payload: bytes) -> None:
        """
        Take what the tape has for a stream it listens to.

        A venue whose messages differ between connections (a counter, a wrapper) overrides this.
        """
        self.outbox.append(payload)

    def end(self, drop: Drop) -> None:
        """End the connection once what was said before has been sent; the first reason counts."""
        if self.drop is None:
            self.drop = drop

    def take(self) -> list[bytes]:
        """Empty the outbox."""
        payloads, self.outbox = self.outbox, []
        return payloads

    def listen(self, key: Key) -> None:
        """From now on, what the tape has for that key goes to this client, once, however often it is asked for."""
        if key not in self.keys:
            self.keys[key] = None
            self._desk.setdefault(key, []).append(self)

    def unlisten(self, key: Key) -> None:
        """No longer; nothing happens if it did not."""
        if key in self.keys:
            del self.keys[key]
            listeners = self._desk[key]
            listeners.remove(self)
            if not listeners:
                del self._desk[key]

    def register(self, desk: dict[Key, list[Client]]) -> None:
        """Where to say what it listens to; called once, by the deck."""
        self._desk = desk


class ServedVenue(ABC):
    """
    A venue behind which a recording stands in for the market.

    Attributes:
        ws_base: Path of what clients take for the WebSocket URL.
        rest_base: The same of the REST URL.
        pings: How it pings; None if it does not.
        facts: Symbols, accounts and channels of the tape, and its clock.
        synthesized: Answers that are given without a recorded reply, one line each, for those who start the server.
    """

    ws_base: ClassVar[str] = ""
    rest_base: ClassVar[str] = ""
    pings: ClassVar[Pings | None] = None

    def __init__(self, facts: TapeFacts) -> None:
        self.facts = facts
        self.synthesized: list[str] = []

    # The tape's side ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def take(self, frame: Frame) -> Sequence[Delivery]:
        """Take in a frame; what is to be sent because of it, to whom. Raises nothing, whatever was recorded."""

    def prime(self, frame: Frame) -> None:
        """Look at a frame of the tape's opening, before anything is played."""

    def primed(self) -> None:
        """The opening has been seen."""

    def lost(self, keys: Sequence[Key]) -> None:
        """What these streams said last may hold no longer: their connection was lost, or recording paused."""

    @abstractmethod
    def forget(self) -> None:
        """Return to the state before the first frame."""

    @abstractmethod
    def tape_parts(self) -> Sequence[object]:
        """
        All that `take` changes and later answers rest on: dicts, or objects that say with `__getstate__` what is in them.

        Nothing of clients is in them, and what cannot be pickled is left out.
        """

    # The clients' side -------------------------------------------------------------------------------------------------

    @abstractmethod
    def is_ws_path(self, path: str) -> bool:
        """Whether a WebSocket may be opened there."""

    def connect(self, number: int, remote: str, path: str, query: str) -> Client:
        """A new connection."""
        return Client(number, remote, path, query)

    def opened(self, client: Client) -> None:
        """The connection may be spoken to: greet it, subscribe it to what its URL names, or end it."""

    @abstractmethod
    def receive(self, client: Client, text: str, now_ns: int) -> None:
        """
        Answer one text frame of a client.

        Args:
            client: Client whose it is.
            text: Text as received; invalid UTF-8 is replaced.
            now_ns: A monotonic reading of the machine's clock, for limits per second.
        """

    def closed(self, client: Client) -> None:
        """The connection is gone, whichever side ended it; it listens to nothing any more."""

    @abstractmethod
    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """Answer a REST request; its path is below the venue's prefix, not below `rest_base`."""
