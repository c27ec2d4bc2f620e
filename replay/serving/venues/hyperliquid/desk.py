"""
What a connection may say to the venue and what it is answered: pings, posts, subscriptions, their acknowledgements, errors, limits.

The texts are the real venue's. What is behind the desk (a market, a tape) says which coins there are and what a new
subscriber is sent first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

from replay.serving.face import as_json
from replay.serving.venues.hyperliquid.requests import Fatal, ParseFailed, Refused, Subscription, parse
from replay.serving.venues.hyperliquid.rest_rules import InfoDesk, Unknowable, Unprocessable, VenueFault

__all__ = ["PONG", "Seat", "SubscriptionDesk", "frame", "invalid"]

PONG: Final = '{"channel":"pong"}'


class Seat(Protocol):
    """A connection, as the desk sees it: the subscriptions it holds, by their normal form."""

    subscriptions: dict[str, Subscription]


S = TypeVar("S", bound=Seat)


def frame(channel: str, data: object) -> str:
    """The envelope of a WebSocket message."""
    return as_json({"channel": channel, "data": data}).decode()


def invalid(wanted: Subscription) -> Refused:
    """How a subscription is refused that is well formed and cannot be had."""
    return Refused(f"Invalid subscription {wanted.key}")


class SubscriptionDesk(ABC, Generic[S]):
    """
    Answers the frames of clients.

    Attributes:
        info: Answers what is posted.
        subscriptions_max: Most subscriptions of the connections that count together.
        users_max: Accounts in subscriptions that name one, likewise.
    """

    info: InfoDesk
    subscriptions_max: int
    users_max: int

    @property
    @abstractmethod
    def coins(self) -> Collection[str]:
        """Every coin; another one closes the connection."""

    @property
    @abstractmethod
    def dexes(self) -> Collection[str]:
        """Every perp dex, "" for the first one."""

    @abstractmethod
    def say(self, seat: S, text: str, now_ns: int) -> None:
        """Send a client something."""

    @abstractmethod
    def counted_with(self, seat: S) -> Iterable[S]:
        """The connections whose subscriptions count together with this one's, itself included."""

    @abstractmethod
    def cannot_bear(self, seat: S, now_ns: int) -> None:
        """The client asked for what ends its connection without a word."""

    @abstractmethod
    def check(self, wanted: Subscription) -> None:
        """Raise Refused for a subscription that cannot be had."""

    @abstractmethod
    def subscribed(self, seat: S, wanted: Subscription) -> None:
        """A subscription was taken, and is about to be acknowledged."""

    @abstractmethod
    def first_frames(self, wanted: Subscription) -> Iterable[str]:
        """What a new subscriber is sent after the acknowledgement."""

    @abstractmethod
    def unsubscribed(self, seat: S, wanted: Subscription) -> None:
        """A subscription was given up."""

    def receive(self, seat: S, text: str, now_ns: int) -> None:
        """Answer one frame of a client."""
        try:
            request = parse(text, self.coins, self.dexes)
            if request.subscription is not None:
                self.check(request.subscription)
        except ParseFailed:
            self.say(seat, frame("error", f"Error parsing JSON into valid websocket request: {text}"), now_ns)
            return
        except Refused as refusal:
            self.say(seat, frame("error", str(refusal)), now_ns)
            return
        except Fatal:
            self.cannot_bear(seat, now_ns)
            return
        if request.method == "ping":
            self.say(seat, PONG, now_ns)
        elif request.method == "post" and request.post is not None:
            response = self._post(request.post)
            self.say(seat, frame("post", {"id": request.post_id, "response": response}), now_ns)
        elif request.subscription is not None and request.method == "subscribe":
            self._subscribe(seat, request.subscription, now_ns)
        elif request.subscription is not None:
            self._unsubscribe(seat, request.subscription, now_ns)

    def _post(self, request: dict[str, Any]) -> dict[str, Any]:
        payload = request["payload"]
        if request["type"] != "info" or not isinstance(payload, dict):
            return {"type": "error", "payload": "This venue takes no actions"}
        try:
            answer = self.info.answer(payload)
        except (Unprocessable, VenueFault):
            return {"type": "error", "payload": "Failed to deserialize the JSON body into the target type"}
        except Unknowable as exc:
            return {"type": "error", "payload": str(exc)}
        return {"type": "info", "payload": {"type": payload["type"], "data": answer}}

    def _subscribe(self, seat: S, wanted: Subscription, now_ns: int) -> None:
        if wanted.key in seat.subscriptions:
            self.say(seat, frame("error", f"Already subscribed: {wanted.key}"), now_ns)
            return
        held = [each for other in self.counted_with(seat) for each in other.subscriptions.values()]
        if len(held) >= self.subscriptions_max:
            # The real text is not known.
            text = f"Cannot track more than {self.subscriptions_max} subscriptions."
            self.say(seat, frame("error", text), now_ns)
            return
        users = {each.user for each in held} - {""}
        if wanted.user and wanted.user not in users and len(users) >= self.users_max:
            self.say(seat, frame("error", f"Cannot track more than {self.users_max} total users."), now_ns)
            return
        seat.subscriptions[wanted.key] = wanted
        self.subscribed(seat, wanted)
        answer = {"method": "subscribe", "subscription": wanted.fields}
        self.say(seat, frame("subscriptionResponse", answer), now_ns)
        for text in self.first_frames(wanted):
            self.say(seat, text, now_ns)

    def _unsubscribe(self, seat: S, wanted: Subscription, now_ns: int) -> None:
        if wanted.key not in seat.subscriptions:
            self.say(seat, frame("error", f"Already unsubscribed: {wanted.key}"), now_ns)
            return
        del seat.subscriptions[wanted.key]
        self.unsubscribed(seat, wanted)
        answer = {"method": "unsubscribe", "subscription": wanted.fields}
        self.say(seat, frame("subscriptionResponse", answer), now_ns)
