"""
A synthetic venue: a seeded market behind the interface of one venue, and what all of them share.

`SyntheticVenue` is the interface, `BaseVenue` the market, the accounts and the sessions that most are built on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from replay.market.engine.exchange import Exchange
from replay.serving.face import Ask, Drop, Pings, Reply, Window, as_json
from replay.synthetic.market import Market
from replay.synthetic.traders import AccountsOptions, settle_traders

__all__ = [
    "Ask",
    "BaseSession",
    "BaseVenue",
    "Drop",
    "Pings",
    "Reply",
    "SpokenTo",
    "SyntheticSpec",
    "SyntheticVenue",
    "Window",
    "as_json",
    "fixed",
]


def fixed(value: int, decimals: int, places: int) -> str:
    """`value * 10 ** -decimals` with exactly that many digits after the point; further ones are cut off."""
    sign = "-" if value < 0 else ""
    value = abs(value)
    value = value * 10 ** (places - decimals) if places >= decimals else value // 10 ** (decimals - places)
    if not places:
        return f"{sign}{value}"
    whole, fraction = divmod(value, 10**places)
    return f"{sign}{whole}.{str(fraction).zfill(places)}"


class SpokenTo(Protocol):
    """One client connection, as its venue sees it."""

    def receive(self, text: str, now_ns: int) -> None:
        """Take in one text frame; answers given at once are in the outbox when this returns."""

    def take(self) -> list[str]:
        """Empty the outbox."""


class BaseSession:
    """
    One client connection.

    Attributes:
        number: Counts the connections of the venue.
        remote: Address of the client.
        opened_ns: When it came.
        drop: How it ends, once that is decided.
    """

    def __init__(self, number: int, remote: str, opened_ns: int) -> None:
        self.number = number
        self.remote = remote
        self.opened_ns = opened_ns
        self.drop: Drop | None = None
        self._outbox: list[str] = []

    def send(self, text: str) -> None:
        """Put a frame into the outbox, unless the connection is about to end."""
        if self.drop is None:
            self._outbox.append(text)

    def take(self) -> list[str]:
        """Empty the outbox."""
        frames, self._outbox = self._outbox, []
        return frames


class SyntheticVenue(Protocol):
    """
    A synthetic market behind the interface of one venue, sans I/O.

    Attributes:
        ws_paths: Where a WebSocket may be opened.
        ws_base: Path of the WebSocket URL that clients are to use.
        rest_base: The same of the REST URL.
        pings: How it pings; None if it does not.
    """

    ws_paths: ClassVar[tuple[str, ...]]
    ws_base: ClassVar[str]
    rest_base: ClassVar[str]
    pings: ClassVar[Pings | None]
    market: Market
    exchange: Exchange
    muted: set[tuple[str, str | None]]

    def open(self, remote: str, path: str, query: str, now_ns: int) -> SpokenTo | None:
        """A new connection, or None if it is refused."""

    def disconnect(self, session: Any) -> None:
        """The connection is gone, whichever side ended it."""

    def advance(self, now_ns: int) -> int:
        """Do all that is due and put what it causes into the outboxes; returns how many blocks were made."""

    def next_due_ns(self) -> int:
        """When `advance` or `drops` will next have something to do."""

    def drops(self, now_ns: int) -> list[tuple[Any, Drop]]:
        """Connections that must be ended now, and how."""

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """Answer a REST request."""

    def lose(self, stream: str, count: int = 1) -> None:
        """Lose the next frames of a stream on their way."""

    def account_names(self) -> dict[str, str]:
        """The venue's names of the known accounts, by ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSpec:
    """
    A synthetic venue, as the registry finds it.

    Attributes:
        make: Builds it of a market, options of `options_type` or None, and what happens to its accounts or None.
        options_type: Class of its cadences and limits.
        pairs: Trading pairs that show what it has; the demo records them.
        peculiar: Further pairs, or symbols that stand for theirs, that are not like the others.
        is_default: Whether it is the one that is taken where none is named; true of one venue.
    """

    make: Callable[[Market, Any, AccountsOptions | None], SyntheticVenue]
    options_type: type
    pairs: tuple[str, ...]
    peculiar: tuple[str, ...] = ()
    is_default: bool = False


S = TypeVar("S", bound=BaseSession)


class BaseVenue(Generic[S]):
    """
    A market, its known accounts and its sessions.

    Args:
        market: Not yet advanced, if it has accounts.
        accounts: Times of liquidations and transfers of the known accounts; None for a market without them.

    Attributes:
        muted: (kind, instrument or None for all) of which nothing is sent; everything else goes on.
        lost: How many of the next frames of a stream are lost on the way, by stream.
    """

    def __init__(self, market: Market, accounts: AccountsOptions | None) -> None:
        self.market = market
        self.exchange = Exchange(market, market.options.seed)
        if accounts is not None:
            # The same people as behind the other faces, so that the same seed trades the same everywhere.
            settle_traders(market, self.exchange, accounts)
            market.participants.append(self.exchange)
        self.sessions: list[S] = []
        self.muted: set[tuple[str, str | None]] = set()
        self.lost: dict[str, int] = {}
        self._connections = 0
        self._turns: dict[str, int] = {}

    @property
    def now_ns(self) -> int:
        """Time of the last block made, ns."""
        return self.market.block_time_ns(self.market.number)

    def lose(self, stream: str, count: int = 1) -> None:
        """Lose the next frames of a stream on their way: they are still made, and not sent."""
        self.lost[stream] = self.lost.get(stream, 0) + count

    def _is_lost(self, stream: str) -> bool:
        left = self.lost.get(stream, 0)
        if left:
            self.lost[stream] = left - 1
        return left > 0

    def _is_muted(self, kind: str, instrument: str) -> bool:
        return bool(self.muted) and ((kind, None) in self.muted or (kind, instrument) in self.muted)

    def _strikes(self, name: str, every_ns: int, time_ns: int) -> bool:
        """Whether a block is the first of another turn of that length; the very first only begins to count."""
        turn = time_ns // every_ns
        before = self._turns.get(name, turn)
        self._turns[name] = turn
        return turn != before

    def account_names(self) -> dict[str, str]:
        """The venue's names of the known accounts, by ours; none where the venue reports no accounts."""
        return {}

    def drops(self, now_ns: int) -> list[tuple[S, Drop]]:
        """Sessions that must be ended now, and how."""
        return [(session, session.drop) for session in self.sessions if session.drop is not None]
