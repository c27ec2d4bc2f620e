"""
What is subscribed on which connection, what is asked for again, and which books are read again.

One connection carries at most 32 subscriptions of a channel, so markets are spread over connections. A subscribe is
lost in three ways: no answer (the venue gives up fetching the snapshot after 20 s), an error that says to come back
later, and an error that says we are subscribed already, which leaves us without a snapshot.

A book needs to be read again now and then: the venue fetches the snapshot first and subscribes us after that, so
changes in between are missing, and it deletes stale crossing levels on its side without a message. The only way to a
new snapshot that fits the updates around it is to unsubscribe and subscribe; REST is cached and behind.

Nothing here decides about messages: it only asks, so a replay need not have the same state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.protocol import CloseConnection, Request, SendText
from toolkit.venues.dydx_v4.crossing import CrossingWatch
from toolkit.venues.dydx_v4.numbering import ANSWER_S_MAX
from toolkit.venues.dydx_v4.wire import (
    CHANNEL_BLOCKS,
    CHANNEL_BOOK,
    CHANNEL_CANDLES,
    CHANNEL_MARKETS,
    CHANNEL_TRADES,
)

__all__ = ["PARENT", "VENUE_ROLE", "Channel", "Subscription", "Subscriptions", "parse_channels", "shards"]

#: Subscriptions of one channel that a connection may carry.
PER_CHANNEL_MAX: Final = 32
#: Asks for the children of the accounts too; it is no subscription of the market.
PARENT: Final = "parent"
#: The connection of the channels that speak of the whole venue.
VENUE_ROLE: Final = "venue"
#: The greeting comes at once; a connection without one is not served.
GREETING_S_MAX: Final = 10
#: A request that waits in the queue for the pacing is not asked for twice within this.
PATIENCE_S: Final = 60
REFRESH_S: Final = 600
#: The venue's own cleaning runs every 15 s; what crosses for longer, it will never tell us to delete.
CROSSED_S_MAX: Final = 15

_RESOLUTIONS: Final = ("1MIN", "5MINS", "15MINS", "30MINS", "1HOUR", "4HOURS", "1DAY")

_encode = msgspec.json.encode


class Channel(msgspec.Struct, frozen=True):
    """
    A kind of subscription.

    Attributes:
        name: Name in our words, and what the user asks for.
        wire: The venue's channel.
        is_batched: Whether updates are collected for 250 ms.
        suffix: Text after the ticker in the id.
    """

    name: str
    wire: str
    is_batched: bool = False
    suffix: str = ""

    @property
    def is_of_venue(self) -> bool:
        """Whether it is subscribed once, without a ticker."""
        return self.wire in (CHANNEL_MARKETS, CHANNEL_BLOCKS)


_CHANNELS: Final = {
    "full": Channel("full", CHANNEL_BOOK),
    "batched": Channel("batched", CHANNEL_BOOK, is_batched=True),
    "trades": Channel("trades", CHANNEL_TRADES),
    "funding": Channel("funding", CHANNEL_MARKETS),
    "blocks": Channel("blocks", CHANNEL_BLOCKS),
}


def parse_channels(names: Sequence[str]) -> tuple[Channel, ...]:
    """The channels of those names. Raises ConfigError that lists them."""
    channels = tuple(dict.fromkeys(_parse(name) for name in names))
    if sum(channel.wire == CHANNEL_BOOK for channel in channels) > 1:
        raise ConfigError("channels full and batched are the same subscription: choose one of them")
    return channels


def _parse(name: str) -> Channel:
    if name in _CHANNELS:
        return _CHANNELS[name]
    head, _, resolution = name.partition(":")
    if head == "candles" and resolution in _RESOLUTIONS:
        return Channel(name, CHANNEL_CANDLES, suffix=f"/{resolution}")
    known = ", ".join([*_CHANNELS, *(f"candles:{resolution}" for resolution in _RESOLUTIONS), PARENT])
    raise ConfigError(f"unknown channel {name!r}, expected one of {known}")


class Subscription(msgspec.Struct, frozen=True):
    """
    One subscription, as the venue knows it.

    Attributes:
        channel: The venue's channel.
        id: Its id there; empty for a channel of the whole venue, where it must not be sent: `v4_markets` with an id
            answers with a snapshot and then never with an update.
        is_batched: Whether updates are collected.
    """

    channel: str
    id: str
    is_batched: bool = False

    def text(self, kind: str) -> bytes:
        """The frame that subscribes or unsubscribes it."""
        request: dict[str, str | bool] = {"type": kind, "channel": self.channel}
        if self.id:
            request["id"] = self.id
        if self.is_batched and kind == "subscribe":
            request["batched"] = True
        return _encode(request)


def shards(channels: Sequence[Channel], tickers: Sequence[str]) -> dict[str, list[Subscription]]:
    """What each connection carries, by role: one for the whole venue, then one for every so many markets."""
    roles: dict[str, list[Subscription]] = {}
    # The chain's clock first: it is the sign of life of everything else.
    of_venue = sorted((channel for channel in channels if channel.is_of_venue), key=lambda channel: channel.wire)
    if of_venue:
        roles[VENUE_ROLE] = [Subscription(channel.wire, "", channel.is_batched) for channel in of_venue]
    of_market = [channel for channel in channels if not channel.is_of_venue]
    if of_market:
        size = max(1, PER_CHANNEL_MAX // max(Counter(channel.wire for channel in of_market).values()))
        name = "books" if any(channel.wire == CHANNEL_BOOK for channel in of_market) else "trades"
        for number, start in enumerate(range(0, len(tickers), size)):
            roles[f"{name}-{number}"] = [
                Subscription(channel.wire, ticker + channel.suffix, channel.is_batched)
                for ticker in tickers[start : start + size]
                for channel in of_market
            ]
    return roles


_Key = tuple[str, str]


class _Connection:
    """One connection: what it shall carry, and when to ask for what again (monotonic, ns)."""

    def __init__(self, subscriptions: Sequence[Subscription], mono_ns: int) -> None:
        self.wanted: dict[_Key, Subscription] = {(wanted.channel, wanted.id): wanted for wanted in subscriptions}
        self.greeting_due: int | None = mono_ns + GREETING_S_MAX * NS_PER_S
        self.close_due: int | None = None
        self.closed_mono = 0
        self.retry: dict[_Key, int] = {}
        #: Those for which the venue says we are subscribed, though no snapshot came.
        self.stuck: set[_Key] = set()
        self.confirmed: dict[_Key, int] = {}


class Subscriptions:
    """The subscriptions of every connection of one protocol."""

    def __init__(self) -> None:
        self._connections: dict[int, _Connection] = {}
        self._remade: dict[int, int] = {}

    def opened(self, conn_id: int, subscriptions: Sequence[Subscription], mono_ns: int) -> None:
        """A connection was made that shall carry these."""
        self._connections[conn_id] = _Connection(subscriptions, mono_ns)

    def greeted(self, conn_id: int) -> list[Request]:
        """The venue said hello: what to send now."""
        connection = self._connections.get(conn_id)
        if connection is None or connection.greeting_due is None:
            return []
        connection.greeting_due = None
        return [SendText(conn_id, wanted.text("subscribe")) for wanted in connection.wanted.values()]

    def sent(self, conn_id: int, kind: str, channel: str, id: str, mono_ns: int) -> None:
        """A request of ours left; a subscribe is asked for again if its answer does not come."""
        connection = self._connections.get(conn_id)
        if connection is not None and kind == "subscribe" and (channel, id) in connection.wanted:
            connection.retry[channel, id] = mono_ns + ANSWER_S_MAX * NS_PER_S

    def confirmed(self, conn_id: int, channel: str, id: str, mono_ns: int) -> None:
        """A subscription was answered with its snapshot."""
        connection = self._connections.get(conn_id)
        if connection is not None:
            key = (channel, id)
            connection.retry.pop(key, None)
            connection.stuck.discard(key)
            if key in connection.wanted:
                connection.confirmed[key] = mono_ns

    def postponed(self, conn_id: int, channel: str, id: str, due_ns: int, *, is_stuck: bool = False) -> None:
        """A subscription was refused for now; `is_stuck` if the venue says that we have it."""
        connection = self._connections.get(conn_id)
        key = (channel, id)
        if connection is None or key not in connection.wanted or (is_stuck and key in connection.confirmed):
            return
        connection.retry[key] = due_ns
        if is_stuck:
            connection.stuck.add(key)

    def refused(self, conn_id: int, channel: str, id: str) -> None:
        """A subscription was refused for good."""
        connection = self._connections.get(conn_id)
        if connection is not None:
            connection.wanted.pop((channel, id), None)
            connection.retry.pop((channel, id), None)

    def again(self, conn_id: int) -> list[Request]:
        """What subscribes everything of a connection again; the venue refuses what it takes for subscribed."""
        connection = self._connections.get(conn_id)
        wanted = connection.wanted.values() if connection is not None else ()
        return [SendText(conn_id, each.text(kind)) for each in wanted for kind in ("unsubscribe", "subscribe")]

    def closed(self, conn_id: int) -> None:
        """A connection was lost, and with it all that it carried."""
        self._connections.pop(conn_id, None)

    def remake(self, conn_id: int, mono_ns: int) -> None:
        """Have a connection made again, at most once a minute, should its frames go on to make no sense."""
        connection = self._connections.get(conn_id)
        if connection is None:
            return
        last = self._remade.get(conn_id)
        connection.close_due = mono_ns if last is None else max(mono_ns, last + PATIENCE_S * NS_PER_S)

    def due(self, mono_ns: int, crossing: CrossingWatch) -> list[Request]:
        """What to send now because of the time."""
        requests: list[Request] = []
        for conn_id, connection in self._connections.items():
            if connection.greeting_due is not None:
                if mono_ns >= connection.greeting_due:
                    connection.greeting_due = mono_ns + GREETING_S_MAX * NS_PER_S
                    requests.append(CloseConnection(conn_id, f"no greeting within {GREETING_S_MAX} s"))
            elif connection.close_due is not None:
                if mono_ns >= connection.close_due:
                    self._remade[conn_id] = mono_ns
                    connection.close_due = None
                    requests.append(CloseConnection(conn_id, "frames were lost: everything is subscribed anew"))
            else:
                requests += self._retries(conn_id, connection, mono_ns)
                requests += self._refresh(conn_id, connection, mono_ns, crossing)
        return requests

    def _retries(self, conn_id: int, connection: _Connection, mono_ns: int) -> list[Request]:
        requests: list[Request] = []
        for key, due_ns in connection.retry.items():
            if mono_ns < due_ns:
                continue
            connection.retry[key] = mono_ns + PATIENCE_S * NS_PER_S
            wanted = connection.wanted[key]
            if key in connection.stuck:
                requests.append(SendText(conn_id, wanted.text("unsubscribe")))
            requests.append(SendText(conn_id, wanted.text("subscribe")))
        return requests

    def _refresh(self, conn_id: int, connection: _Connection, mono_ns: int, crossing: CrossingWatch) -> list[Request]:
        """At most one book at a time: two requests a second are allowed."""
        for key, confirmed in connection.confirmed.items():
            channel, ticker = key
            if channel != CHANNEL_BOOK:
                continue
            since = crossing.crossed_since(ticker, mono_ns)
            age_s = (mono_ns - confirmed) / NS_PER_S
            is_crossed = since is not None and mono_ns - since > CROSSED_S_MAX * NS_PER_S and age_s > PATIENCE_S
            if age_s > REFRESH_S or is_crossed:
                del connection.confirmed[key]
                connection.retry[key] = mono_ns + PATIENCE_S * NS_PER_S
                wanted = connection.wanted[key]
                return [
                    SendText(conn_id, wanted.text("unsubscribe")),
                    SendText(conn_id, wanted.text("subscribe")),
                ]
        return []
