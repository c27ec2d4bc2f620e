"""
Hyperliquid over a recording: one socket for everything, `POST /info`, and what the tape says at its present.

Every stream but `trades` and an account's lists says its whole state each time, so what a new subscriber is sent first is
the last recorded frame of that very stream, byte for byte. `trades` begins with old trades and lists begin with a frame
marked `isSnapshot`, joined from what the tape has said so far.

Not reproduced: limits per address (on loopback all clients have one), and the close of a socket that was sent nothing for
a minute (a paused tape would lose everybody).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, cast

from replay.serving.face import Ask, Drop, Reply, Window, as_json
from replay.serving.recorded_answers import RecordedAnswers
from replay.serving.served_venue import NOTHING, Client, Delivery, Key, ServedVenue, TapeFacts
from replay.serving.venues.hyperliquid.desk import SubscriptionDesk, invalid
from replay.serving.venues.hyperliquid.recorded.accounts import Accounts
from replay.serving.venues.hyperliquid.recorded.funding import FundingRows
from replay.serving.venues.hyperliquid.recorded.listing import Listing
from replay.serving.venues.hyperliquid.recorded.rest import TapeInfo
from replay.serving.venues.hyperliquid.recorded.state import TapeState
from replay.serving.venues.hyperliquid.recorded.streams import Routes, StreamKey, key_of
from replay.serving.venues.hyperliquid.requests import Subscription
from toolkit.clock import NS_PER_S
from toolkit.frames import CONTROL, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame

__all__ = ["HyperliquidClient", "ServedHyperliquid"]

#: Subscriptions of one connection, and accounts in them.
_SUBSCRIPTIONS_MAX: Final = 1000
_USERS_MAX: Final = 15
#: Messages of a client per minute; the venue takes 2,000 from one address. How it refuses more is not known.
_MESSAGES_MAX: Final = 2000
_TOO_MANY: Final = Drop(1008, "too many messages")
#: Longest text of a client that is quoted back to it.
_QUOTED_MAX: Final = 4096


class HyperliquidClient(Client):
    """A connection with its subscriptions, by their normal form."""

    def __init__(self, number: int, remote: str, path: str, query: str) -> None:
        super().__init__(number, remote, path, query)
        self.subscriptions: dict[str, Subscription] = {}
        self.said = Window(60 * NS_PER_S)


class ServedHyperliquid(ServedVenue, SubscriptionDesk[HyperliquidClient]):
    """The venue."""

    ws_base: ClassVar[str] = "/ws"

    def __init__(self, facts: TapeFacts) -> None:
        super().__init__(facts)
        self.subscriptions_max = _SUBSCRIPTIONS_MAX
        self.users_max = _USERS_MAX
        self._routes = Routes()
        self._state = TapeState()
        self._listing = Listing(facts.symbols)
        self._answers = RecordedAnswers()
        self._fundings = FundingRows()
        accounts = Accounts(self._state)
        self.info = TapeInfo(self._state, self._listing, self._answers, self._fundings, accounts, facts.clock)
        #: Streams that the tape is known to have.
        self._offered: dict[StreamKey, None] = {}

    # The tape's side ---------------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> Sequence[Delivery]:
        if frame.kind == WS_IN:
            key = self._routes.key(frame)
            if key is None:
                return NOTHING
            if key not in self._offered:
                self._offered[key] = None
            self._state.take(key, frame.payload)
            return ((key, frame.payload),)
        if frame.kind == WS_OUT:
            asked = self._routes.asked(frame)
            if asked is not None:
                self._offered[asked] = None
        elif frame.kind in (REST_IN, REST_OUT):
            answer = self._answers.take(frame)
            if answer is not None and answer.status == 200:
                self._listing.take(answer.tag, answer.body, is_opening=False)
                self._fundings.take(answer.tag, answer.body, is_opening=False)
        elif frame.kind == CONTROL and b'"connected"' in frame.payload:
            self._routes.connected(frame.conn_id)
        return NOTHING

    def prime(self, frame: Frame) -> None:
        if frame.kind == WS_IN:
            key = self._routes.key(frame)
            if key is not None:
                self._offered[key] = None
                if key[0] in ("trades", "l2Book"):
                    self._listing.note_payload(key[1], frame.payload)
        elif frame.kind == WS_OUT:
            asked = self._routes.asked(frame)
            if asked is not None:
                self._offered[asked] = None
        elif frame.kind in (REST_IN, REST_OUT):
            answer = self._answers.prime(frame)
            if answer is not None and answer.status == 200:
                self._listing.take(answer.tag, answer.body, is_opening=True)
                self._fundings.take(answer.tag, answer.body, is_opening=True)

    def primed(self) -> None:
        self._routes = Routes()
        self.synthesized += self._listing.synthesized

    def lost(self, keys: Sequence[Key]) -> None:
        self._state.lose(cast("Sequence[StreamKey]", keys))

    def forget(self) -> None:
        self._routes = Routes()
        self._state.clear()
        self._listing.forget()
        self._answers.forget()
        self._fundings.forget()

    def tape_parts(self) -> Sequence[object]:
        return (self._routes, self._state, self._listing, self._answers, self._fundings)

    # The clients' side -------------------------------------------------------------------------------------------------

    def is_ws_path(self, path: str) -> bool:
        return path == "/ws"

    def connect(self, number: int, remote: str, path: str, query: str) -> Client:
        return HyperliquidClient(number, remote, path, query)

    def receive(self, client: Client, text: str, now_ns: int) -> None:
        assert isinstance(client, HyperliquidClient), "`connect` made it"
        if client.said.add(now_ns) > _MESSAGES_MAX:
            client.end(_TOO_MANY)
        elif len(text) > _QUOTED_MAX:
            client.send(as_json({"channel": "error", "data": f"a request of {len(text):,} characters"}))
        else:
            SubscriptionDesk.receive(self, client, text, now_ns)

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        if ask.path == "/exchange" and ask.method == "POST":
            return Reply(200, as_json({"status": "err", "response": "This is a recording: it takes no orders"}))
        if ask.path != "/info":
            return Reply(404, b"", "text/plain")
        if ask.method != "POST":
            return Reply(405, b"", "text/plain")
        reply = self.info.handle(ask.body, ask.content_type)
        return Reply(reply.status, reply.body, reply.content_type)

    # The desk's questions ----------------------------------------------------------------------------------------------

    @property
    def coins(self) -> dict[str, None]:
        """Every coin that is listed or was seen."""
        return self._listing.coins

    @property
    def dexes(self) -> list[str]:
        """The perp dexes, "" first."""
        return self._listing.dexes

    def say(self, seat: HyperliquidClient, text: str, now_ns: int) -> None:
        """Answer a client."""
        seat.send(text)

    def counted_with(self, seat: HyperliquidClient) -> Iterable[HyperliquidClient]:
        """Each connection counts for itself."""
        return (seat,)

    def cannot_bear(self, seat: HyperliquidClient, now_ns: int) -> None:
        """An unknown coin ends the connection without a word, as on the venue."""
        seat.end(Drop())

    def check(self, wanted: Subscription) -> None:
        """A stream that the tape does not have is refused: it would be silent for ever."""
        if key_of(wanted) not in self._offered:
            raise invalid(wanted)

    def subscribed(self, seat: HyperliquidClient, wanted: Subscription) -> None:
        """From now on the tape's frames go there."""
        seat.listen(key_of(wanted))

    def first_frames(self, wanted: Subscription) -> Iterable[str]:
        """What the tape said last."""
        return [payload.decode(errors="replace") for payload in self._state.first_frames(key_of(wanted))]

    def unsubscribed(self, seat: HyperliquidClient, wanted: Subscription) -> None:
        """No longer."""
        seat.unlisten(key_of(wanted))
