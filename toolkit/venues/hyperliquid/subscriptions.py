"""
Which subscriptions are asked for, acknowledged, suspected or left out, per connection.

One unknown coin closes the whole socket without a word. So when a socket dies within a second of subscribe frames,
the unanswered ones become suspects; on the next connection the others are subscribed first and the suspects one at a
time, each after the answer to the one before. A suspect whose socket dies again while it alone is unanswered is
quarantined. Two strikes, because a network may also fail by chance in that second.

It may fail by chance twice, so nothing is left out for ever: a coin is tried again, alone, after ten minutes, after
twenty if that closes the socket as well, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.frames import Frame
from toolkit.protocol import SendText

__all__ = ["FAST_ROLE", "SUBSCRIPTIONS_MAX", "Channel", "Subscription", "Subscriptions", "parse_channel", "what_fits"]

#: Subscriptions of one client.
SUBSCRIPTIONS_MAX: Final = 1000
#: Channels in the order in which they are missed least, last first: what `fast` says, `full` and `bbo` say too.
_BY_WORTH: Final = ("full", "trades", "bbo", "funding", "fast")
#: The venue closes 90 to 155 ms after the bad subscribe; a second covers a slow road.
SUSPICION_S: Final = 1.0
#: How long a coin is left out the first time, seconds; doubled each time, up to a day.
QUARANTINE_S: Final = 600
QUARANTINE_S_MAX: Final = 86_400
#: Acknowledgements can be lost; they come within 0.3 s.
ANSWER_S_MAX: Final = 10.0

_encode = msgspec.json.encode


class Channel(msgspec.Struct, frozen=True):
    """
    A kind of subscription.

    Attributes:
        name: Name in our words: `full`, `fast`, `agg:5:2`, `bbo`, `trades`, `funding`. Also the name of the stream.
        role: Connection that carries it.
        wire: The venue's words for it, less the coin.
        is_book: Whether it is a form of the book.
    """

    name: str
    role: str
    wire: dict[str, Any]
    is_book: bool


#: The connection of every stream that can be distinguished from the others, and so of the fast books.
FAST_ROLE: Final = "main"

_CHANNELS: Final = {
    "full": Channel("full", "depth", {"type": "l2Book"}, True),
    "fast": Channel("fast", FAST_ROLE, {"type": "l2Book", "fast": True}, True),
    "bbo": Channel("bbo", FAST_ROLE, {"type": "bbo"}, False),
    "trades": Channel("trades", FAST_ROLE, {"type": "trades"}, False),
    "funding": Channel("funding", FAST_ROLE, {"type": "activeAssetCtx"}, False),
}


def parse_channel(name: str) -> Channel:
    """The channel of that name. Raises ConfigError that lists them."""
    if name in _CHANNELS:
        return _CHANNELS[name]
    head, *parts = name.split(":")
    if head == "agg" and 1 <= len(parts) <= 2 and all(part.isdigit() for part in parts):
        figures = int(parts[0])
        mantissa = int(parts[1]) if len(parts) == 2 else None
        # Anything else closes the socket without a word.
        if figures in (2, 3, 4, 5) and (mantissa is None or (figures == 5 and mantissa in (2, 5))):
            words: dict[str, Any] = {"type": "l2Book", "nSigFigs": figures}
            if mantissa is not None:
                words["mantissa"] = mantissa
            return Channel(name, name, words, True)
    known = ", ".join(_CHANNELS)
    raise ConfigError(f"unknown channel {name!r}, expected one of {known}, agg:2 to agg:5, agg:5:2, agg:5:5")


class Subscription(msgspec.Struct, frozen=True):
    """One channel of one coin."""

    coin: str
    channel: Channel

    @property
    def text(self) -> bytes:
        """The frame that asks for it."""
        return _encode({"method": "subscribe", "subscription": {**self.channel.wire, "coin": self.coin}})


def _canonical(words: Any) -> str:
    """One spelling for a subscription, whether ours or as the venue echoes it with its defaults filled in."""
    if not isinstance(words, Mapping):
        return ""
    parts = [words.get("type"), words.get("coin"), words.get("nSigFigs"), words.get("mantissa")]
    return _encode([*parts, bool(words.get("fast"))]).decode()


def _key_of(coin: str, channel: Channel) -> str:
    return _canonical({**channel.wire, "coin": coin})


class _Wanted(msgspec.Struct):
    coin: str
    text: str


class _Connection(msgspec.Struct):
    """
    What one connection was asked for; keys are canonical spellings.

    Attributes:
        wanted: Everything it shall carry.
        unanswered: Monotonic time, ns, at which each unanswered subscribe was sent.
        waiting: Subscribes held back, in order.
        barred: Subscriptions of coins that are left out.
    """

    wanted: dict[str, _Wanted] = {}
    unanswered: dict[str, int] = {}
    waiting: list[str] = []
    barred: dict[str, _Wanted] = {}


class _Quarantine(msgspec.Struct):
    """How often a coin was left out, and until when on our monotonic clock, ns."""

    count: int
    until_ns: int


class _State(msgspec.Struct):
    connections: dict[int, _Connection] = {}
    suspects: list[str] = []
    quarantined: dict[str, _Quarantine] = {}


class Subscriptions:
    """The subscriptions of every connection of one protocol."""

    def __init__(self) -> None:
        self._state = _State()

    def connected(self, conn_id: int, subscriptions: Sequence[Subscription]) -> list[SendText]:
        """A connection was made: what to send on it now, suspects held back."""
        connection = self._state.connections[conn_id] = _Connection()
        self._want(connection, subscriptions)
        return self._release(conn_id, connection)

    def unsubscribes(self, conn_id: int) -> list[SendText]:
        """What ends every subscription of a connection."""
        connection = self._state.connections.get(conn_id)
        wanted = connection.wanted.values() if connection is not None else ()
        return [SendText(conn_id, each.text.encode().replace(b'"subscribe"', b'"unsubscribe"', 1)) for each in wanted]

    def added(self, conn_id: int, subscriptions: Sequence[Subscription]) -> list[SendText]:
        """A connection that stands shall carry more: what to send on it now."""
        connection = self._state.connections.get(conn_id)
        if connection is None:
            return []
        self._want(connection, subscriptions)
        return self._release(conn_id, connection)

    def _want(self, connection: _Connection, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            key = _key_of(subscription.coin, subscription.channel)
            wanted = _Wanted(subscription.coin, subscription.text.decode())
            if subscription.coin in self._state.quarantined:
                connection.barred[key] = wanted
            else:
                connection.wanted[key] = wanted
                connection.waiting.append(key)

    def retries(self, mono_ns: int) -> list[SendText]:
        """Subscribes of coins that were left out for long enough: one at a time, where nothing else is unanswered."""
        texts = []
        for conn_id, connection in self._state.connections.items():
            for wanted in connection.barred.values():
                quarantine = self._state.quarantined.get(wanted.coin)
                if quarantine is None:
                    texts.append(SendText(conn_id, wanted.text.encode()))
                elif (
                    not texts
                    and not (connection.unanswered or connection.waiting)
                    and not quarantine.until_ns - QUARANTINE_S_MAX * NS_PER_S <= mono_ns < quarantine.until_ns
                ):
                    return [SendText(conn_id, wanted.text.encode())]
        return texts

    def has(self, conn_id: int, coin: str, channel: Channel) -> bool:
        """Whether a connection carries that, or was asked to."""
        connection = self._state.connections.get(conn_id)
        key = _key_of(coin, channel)
        return connection is not None and (key in connection.wanted or key in connection.barred)

    def sent(self, frame: Frame) -> tuple[Mapping[str, Any], bool]:
        """
        A frame of ours left; if it was a subscribe, its answer is awaited from here.

        Returns its words, and whether it is one that was left out before; no words for one that is sent again, since
        the venue may have taken the first.
        """
        connection = self._state.connections.get(frame.conn_id)
        if connection is None:
            return {}, False
        request = _decode_request(frame.payload)
        words = request.get("subscription") if request.get("method") == "subscribe" else None
        key = _canonical(words)
        barred = connection.barred.pop(key, None)
        if barred is not None:
            connection.wanted[key] = barred
            if barred.coin in self._state.quarantined and barred.coin not in self._state.suspects:
                self._state.suspects.append(barred.coin)
        if key not in connection.wanted or not isinstance(words, dict):
            return {}, False
        is_repeat = key in connection.unanswered
        connection.unanswered[key] = frame.ts_mono
        return {} if is_repeat else words, barred is not None

    def answered(self, conn_id: int, words: Any) -> list[SendText]:
        """The venue answered a subscribe, for good or ill: what to send next."""
        return self._answered(conn_id, _canonical(words))

    def received(self, conn_id: int, coin: str, channel: str) -> list[SendText]:
        """Data came for a subscription, which answers it."""
        try:
            words = parse_channel(channel).wire
        except ConfigError:
            return []  # a form that only an import can tell
        return self._answered(conn_id, _canonical({**words, "coin": coin}))

    def disconnected(self, frame: Frame) -> list[tuple[str, int]]:
        """A connection was lost: the coins that are left out from now on because of it, and for how many seconds."""
        connection = self._state.connections.pop(frame.conn_id, None)
        if connection is None:
            return []
        since = frame.ts_mono - round(SUSPICION_S * NS_PER_S)
        blamed = dict.fromkeys(
            connection.wanted[key].coin for key, sent in connection.unanswered.items() if sent >= since
        )
        suspects = self._state.suspects
        if len(blamed) == 1 and (coin := next(iter(blamed))) in suspects:
            suspects.remove(coin)
            before = self._state.quarantined.get(coin)
            count = before.count + 1 if before is not None else 1
            wait_s = min(QUARANTINE_S * 2 ** min(count - 1, 16), QUARANTINE_S_MAX)
            self._state.quarantined[coin] = _Quarantine(count, frame.ts_mono + wait_s * NS_PER_S)
            return [(coin, wait_s)]
        suspects += [coin for coin in blamed if coin not in suspects]
        return []

    def forget_connections(self) -> None:
        """No connection is left; what is suspected stays so, and what was left out is tried by the next session."""
        self._state.connections.clear()
        for quarantine in self._state.quarantined.values():
            quarantine.until_ns = 0

    def unanswered(self, mono_ns: int) -> list[SendText]:
        """Subscribes whose answer is overdue, to be sent again."""
        limit = round(ANSWER_S_MAX * NS_PER_S)
        return [
            SendText(conn_id, connection.wanted[key].text.encode())
            for conn_id, connection in self._state.connections.items()
            for key, sent in connection.unanswered.items()
            if mono_ns - sent > limit
        ]

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return msgspec.to_builtins(self._state, str_keys=True)

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._state = msgspec.convert(state, _State, str_keys=True, strict=False)

    def _answered(self, conn_id: int, key: str) -> list[SendText]:
        connection = self._state.connections.get(conn_id)
        if connection is None or connection.unanswered.pop(key, None) is None:
            return []
        coin = connection.wanted[key].coin
        if coin in self._state.suspects:
            self._state.suspects.remove(coin)
        self._state.quarantined.pop(coin, None)
        return self._release(conn_id, connection) if connection.waiting else []

    def _release(self, conn_id: int, connection: _Connection) -> list[SendText]:
        """What may be sent now: everything above suspicion, then one suspect at a time."""
        suspects = self._state.suspects
        free = [key for key in connection.waiting if connection.wanted[key].coin not in suspects]
        if not free and not connection.unanswered:
            free = connection.waiting[:1]
        connection.waiting = [key for key in connection.waiting if key not in free]
        return [SendText(conn_id, connection.wanted[key].text.encode()) for key in free]


_decode_any = msgspec.json.Decoder().decode


def _decode_request(payload: bytes) -> dict[str, Any]:
    try:
        request = _decode_any(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return request if isinstance(request, dict) else {}


def what_fits(coin_count: int, channels: Sequence[str]) -> str:
    """What to ask for instead of more subscriptions than there may be."""
    room = SUBSCRIPTIONS_MAX // coin_count
    fewer = f"name at most {SUBSCRIPTIONS_MAX // len(channels)} pairs"
    if not room:
        return f"{fewer}; not even one channel fits for as many"
    kept = sorted(channels, key=lambda name: _BY_WORTH.index(name) if name in _BY_WORTH else len(_BY_WORTH))[:room]
    options = " ".join(f"--channel {name}" for name in channels if name in kept)
    return f"with so many coins these channels fit: {options}; or {fewer}"
