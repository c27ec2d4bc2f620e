"""The synthetic market behind the interface of one venue or another, as the embedded venue serves them."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from replay.synthetic.binance import BinanceOptions, SyntheticBinance
from replay.synthetic.dydx import DydxOptions, SyntheticDydx
from replay.synthetic.exchange import Exchange
from replay.synthetic.face import Ask, Drop, Pings, Reply, SpokenTo
from replay.synthetic.hyperliquid import Session, SyntheticHyperliquid, VenueOptions
from replay.synthetic.market import Market
from replay.synthetic.traders import AccountsOptions
from toolkit.errors import ConfigError

__all__ = ["FACES", "Face", "FaceOptions", "HyperliquidFace", "make_face"]

FaceOptions = VenueOptions | DydxOptions | BinanceOptions


class Face(Protocol):
    """
    A venue, sans I/O.

    Attributes:
        ws_paths: Where a WebSocket may be opened.
        ws_base: What clients take for the path of the WebSocket URL.
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
        """The connection is gone, whoever ended it."""

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


class HyperliquidFace(SyntheticHyperliquid):
    """The synthetic Hyperliquid, as one face among others."""

    ws_paths: ClassVar[tuple[str, ...]] = ("/ws",)
    ws_base: ClassVar[str] = "/ws"
    rest_base: ClassVar[str] = ""
    pings: ClassVar[Pings | None] = None

    def open(self, remote: str, path: str, query: str, now_ns: int) -> Session | None:
        return self.connect(remote, now_ns)

    def drops(self, now_ns: int) -> list[tuple[Session, Drop]]:
        return [(session, Drop()) for session in self.due_aborts(now_ns)]

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        if ask.path != "/info":
            return Reply(404, b"", "text/plain")
        if ask.method != "POST":
            return Reply(405, b"", "text/plain")
        reply = self.info.handle(ask.body, ask.content_type)
        return Reply(reply.status, reply.body, reply.content_type)

    def lose(self, stream: str, count: int = 1) -> None:
        raise ConfigError("frames of Hyperliquid have no numbers that would show a lost one; mute a stream instead")

    def account_names(self) -> dict[str, str]:
        names = {each.name: each.address for each in self.exchange.accounts.values()}
        return names | {"agent": next(iter(self.exchange.agents), "")}


#: By the name of the venue.
FACES: dict[str, tuple[type[Any], type[Any]]] = {
    "hyperliquid": (HyperliquidFace, VenueOptions),
    "dydx_v4": (SyntheticDydx, DydxOptions),
    "binance-usdm": (SyntheticBinance, BinanceOptions),
}


def make_face(venue: str, market: Market, options: FaceOptions | None, accounts: AccountsOptions | None) -> Face:
    """The market behind that venue's interface. Raises ConfigError for one that it does not speak."""
    found = FACES.get(venue)
    if found is None:
        raise ConfigError(f"no synthetic venue {venue!r}, expected one of {', '.join(FACES)}")
    kind, expected = found
    if options is not None and not isinstance(options, expected):
        raise ConfigError(f"{venue} takes {expected.__name__}, not {type(options).__name__}")
    face: Face = kind(market, options, accounts)
    return face
