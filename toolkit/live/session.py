"""
A venue as a program uses it live: one connection to market and accounts, and a connector over it.

A session has one protocol, one counter of frames and one dispatcher, so a fill and the book change around it come in
the order in which they were received. The two abstract data sources are its facets: each is what code takes that
works with one of them. Whatever is needed of a venue is in its `VenueSpec`; a venue's own classes only name it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

from toolkit.connector import PerpetualDerivativeBase
from toolkit.errors import ConfigError
from toolkit.facets import FacetHub, MarketFacet, UserStreamFacet
from toolkit.frames import Frame
from toolkit.live.capture import Capture
from toolkit.live.source import LiveDataSource
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["NamedAccount", "VenueConnector", "VenueSession"]


class NamedAccount(Protocol):
    """An account, checked by its venue's own class."""

    @property
    def name(self) -> str:
        """The account as the venue writes it."""


def _unrecorded(frame: Frame) -> None:
    """Keep nothing."""


class VenueSession(LiveDataSource):
    """
    A live connection to a venue: market data of some pairs, and everything about some accounts.

    Args:
        trading_pairs: Pairs, or symbols in the venue's spelling; one or several, none for accounts alone.
        accounts: Accounts to follow, one or several, as text in the venue's spelling or as its own class of them.
        venue: Name of the venue; needed unless the class is that of a venue.
        channels: Market streams; empty for the venue's default ones.
        capture: Counter and sink of the frames; nothing is kept if None.
        ws_url: Another WebSocket than the venue's own.
        rest_url: Another REST interface than the venue's own.
        options: Options of `LiveDataSource`.

    Raises:
        ConfigError: No or an unknown venue, neither pairs nor accounts, an invalid account, too many of them, an unknown channel, or a bad URL.

    Example:
        async with VenueSession(["BTC-USDT"], venue="binance-spot") as session: ...
    """

    #: The venue of a class that has one.
    venue: ClassVar[str] = ""
    #: Classes of the two facets.
    market_facet: ClassVar[type[MarketFacet]] = MarketFacet
    user_stream_facet: ClassVar[type[UserStreamFacet]] = UserStreamFacet

    def __init__(
        self,
        trading_pairs: Sequence[str] | str = (),
        accounts: Sequence[str | NamedAccount] | str | NamedAccount = (),
        *,
        venue: str = "",
        channels: Sequence[str] = (),
        capture: Capture | None = None,
        ws_url: str | None = None,
        rest_url: str | None = None,
        **options: Any,
    ) -> None:
        spec = find_venue(_venue_of(type(self), self.venue, venue))
        named = accounts if isinstance(accounts, Sequence) and not isinstance(accounts, str) else (accounts,)
        wanted = ProtocolOptions(
            pairs=(trading_pairs,) if isinstance(trading_pairs, str) else tuple(trading_pairs),
            channels=tuple(channels),
            accounts=tuple(account if isinstance(account, str) else account.name for account in named),
        )
        if not (wanted.pairs or wanted.accounts):
            raise ConfigError(f"nothing of {spec.name} was asked for: name pairs, or accounts to follow")
        spec.check_accounts(wanted.accounts)
        super().__init__(
            spec.make_protocol(wanted),
            ws_url=ws_url or spec.ws_url,
            rest_url=rest_url or spec.rest_url,
            limits=spec.limits,
            capture=capture if capture is not None else Capture(sink=_unrecorded),
            **options,
        )
        self._hub = FacetHub(self)

    @property
    def market(self) -> MarketFacet:
        """The market facet. The session begins when every facet that was taken is started."""
        return self.market_facet(self._hub)

    @property
    def user_stream(self) -> UserStreamFacet:
        """The account facet."""
        return self.user_stream_facet(self._hub)


class VenueConnector(PerpetualDerivativeBase):
    """
    A venue's market and accounts, on whatever sources it is given.

    It cannot trade: nothing here signs an action or knows the endpoint that takes one.

    Example:
        live = VenueConnector.live(["BTC-USD"], ["0x..."], venue="hyperliquid")
        replayed = VenueConnector(replay, replay)  # a ReplayDataSource is both sources
    """

    #: Class of the live session, which may be that of a venue.
    session: ClassVar[type[VenueSession]] = VenueSession

    @classmethod
    def live(
        cls,
        trading_pairs: Sequence[str] | str,
        accounts: Sequence[str | NamedAccount] | str | NamedAccount = (),
        **options: Any,
    ) -> Self:
        """
        A connector on the venue itself; `connect` opens it.

        Args:
            trading_pairs: Pairs, or symbols in the venue's spelling.
            accounts: Accounts to follow, in the venue's spelling.
            options: Options of `VenueSession`; among them `venue` where the class is not that of a venue.

        Raises:
            ConfigError: An invalid account, too many of them, or a bad option.
        """
        session = cls.session(trading_pairs, accounts, **options)
        return cls(session.market, session.user_stream if accounts else None)


def _venue_of(kind: type[VenueSession], own: str, asked: str) -> str:
    """The venue of a class, or the one that was asked for where it has none."""
    if own and asked and own != asked:
        raise ConfigError(f"{kind.__name__} is a session of {own}, and venue={asked!r} was given; leave it out")
    if not (own or asked):
        raise ConfigError("a session of no venue: name it, as in VenueSession(pairs, venue='binance-spot')")
    return own or asked
