"""A venue as a program uses it live: its session and its connector come from the venue's spec."""

from __future__ import annotations

import re

import pytest

from replay.embedded import EmbeddedVenue
from tests.toolkit.live_harness import Tape, in_loop
from toolkit.clock import SystemClock
from toolkit.errors import ConfigError
from toolkit.facets import MarketFacet, UserStreamFacet
from toolkit.live.capture import Capture
from toolkit.live.session import VenueConnector, VenueSession
from toolkit.venue import find_venue, venues
from toolkit.venues.dydx_v4.auth import DydxV4Auth
from toolkit.venues.dydx_v4.connector import DydxV4PerpetualConnector
from toolkit.venues.dydx_v4.data_sources import (
    DydxV4OrderBookDataSource,
    DydxV4Session,
    DydxV4UserStreamDataSource,
)
from toolkit.venues.hyperliquid.auth import HyperliquidAuth
from toolkit.venues.hyperliquid.connector import HyperliquidPerpetualConnector
from toolkit.venues.hyperliquid.data_sources import (
    HyperliquidOrderBookDataSource,
    HyperliquidSession,
    HyperliquidUserStreamDataSource,
)

HYPERLIQUID = "0x" + "Ab" * 20
DYDX = "dydx1n88uc38xhjgxzw9nwre4ep2c8ga4fjxc565lnf"


@pytest.mark.parametrize("venue", venues())
def test_every_venue_has_a_session_and_a_connector(venue: str) -> None:
    """With the protocol, the addresses and the limits of its spec."""
    session = VenueSession(["BTC-USD"], venue=venue)
    assert session.protocol.venue == venue
    assert session.protocol.options.pairs == ("BTC-USD",)
    assert type(session.market) is MarketFacet
    connector = VenueConnector.live(["BTC-USD"], venue=venue)
    assert isinstance(connector.market, MarketFacet)
    assert connector.user_stream is None


@pytest.mark.parametrize(
    ("session", "accounts", "stored", "facets"),
    [
        (
            HyperliquidSession,
            [HyperliquidAuth(HYPERLIQUID), HYPERLIQUID],
            (HYPERLIQUID.lower(), HYPERLIQUID),
            (HyperliquidOrderBookDataSource, HyperliquidUserStreamDataSource),
        ),
        (
            DydxV4Session,
            [DydxV4Auth(DYDX, 5), DYDX],
            (f"{DYDX}/5", DYDX),
            (DydxV4OrderBookDataSource, DydxV4UserStreamDataSource),
        ),
    ],
)
def test_the_named_sessions_are_those_of_their_venue(
    session: type[VenueSession],
    accounts: list[str],
    stored: tuple[str, ...],
    facets: tuple[type[MarketFacet], type[UserStreamFacet]],
) -> None:
    """Accounts are given as text or as the venue's own class; facets have the venue's own names."""
    found = session(["BTC-USD"], accounts, channels=["trades"])
    assert found.protocol.venue == session.venue
    assert found.protocol.options.accounts == stored
    assert found.protocol.options.channels == ("trades",)
    assert (type(found.market), type(found.user_stream)) == facets


@pytest.mark.parametrize(
    ("connector", "account", "session"),
    [
        (HyperliquidPerpetualConnector, HYPERLIQUID, HyperliquidUserStreamDataSource),
        (DydxV4PerpetualConnector, DYDX, DydxV4UserStreamDataSource),
    ],
)
def test_a_named_connector_follows_accounts_that_were_named(
    connector: type[VenueConnector], account: str, session: type[UserStreamFacet]
) -> None:
    assert connector.live(["BTC-USD"]).user_stream is None
    assert type(connector.live(["BTC-USD"], [account]).user_stream) is session


def test_one_pair_and_one_account_need_no_list() -> None:
    """As everywhere where pairs are chosen: a text is a pair, not its letters."""
    for account in (HYPERLIQUID, HyperliquidAuth(HYPERLIQUID)):
        options = VenueSession("BTC-USD", account, venue="hyperliquid").protocol.options
        assert options.pairs == ("BTC-USD",)
        assert [name.lower() for name in options.accounts] == [HYPERLIQUID.lower()]
    assert VenueConnector.live("BTC-USD", venue="binance-coinm").user_stream is None
    assert VenueSession([], [DYDX], venue="dydx_v4").protocol.options.pairs == ()


def test_a_session_of_nothing_is_refused() -> None:
    for venue in venues():
        with pytest.raises(ConfigError, match=f"^nothing of {venue} was asked for: name pairs, or accounts to follow$"):
            VenueSession(venue=venue)


def test_a_session_needs_one_venue() -> None:
    with pytest.raises(ConfigError, match=r"^a session of no venue: name it, as in VenueSession\(pairs, venue='"):
        VenueSession(["BTC-USD"])
    with pytest.raises(ConfigError, match=r"^unknown venue 'hyperlicuid', .*; did you mean hyperliquid\?$"):
        VenueSession(["BTC-USD"], venue="hyperlicuid")
    with pytest.raises(ConfigError, match=r"^HyperliquidSession is a session of hyperliquid, and venue='dydx_v4' was"):
        HyperliquidSession(["BTC-USD"], venue="dydx_v4")
    assert HyperliquidSession(["BTC-USD"], venue="hyperliquid").protocol.venue == "hyperliquid"


@pytest.mark.parametrize("venue", [name for name, spec in venues().items() if not spec.has_accounts])
def test_accounts_are_refused_where_the_market_alone_is_recorded(venue: str) -> None:
    """Rather than followed in silence, with nothing ever heard of them."""
    message = (
        rf"^{venue}: '0x12' was named, and of this venue the market alone is recorded; .*\(dydx_v4, hyperliquid\)$"
    )
    with pytest.raises(ConfigError, match=message):
        VenueSession(["BTC-USDT"], ["0x12"], venue=venue)
    # What an older version has recorded, with an account that it ignored, opens all the same.
    find_venue(venue).check_accounts(())


def test_a_venue_says_that_it_has_accounts_if_its_protocol_follows_some() -> None:
    for name, spec in venues().items():
        session = VenueSession(["BTC-USD"], venue=name)
        assert spec.has_accounts == bool(session.protocol.accounts.export()), name


@in_loop
async def test_a_connector_of_any_venue_sees_its_market() -> None:
    tape = Tape()
    async with EmbeddedVenue(venue="binance-spot", seed=3, clock=SystemClock()) as venue:
        connector = VenueConnector.live(
            ["BTC-USDT"],
            venue="binance-spot",
            ws_url=venue.ws_url,
            rest_url=venue.rest_url,
            capture=Capture(sink=tape),
            backoff_seed=1,
        )
        async with connector:
            await tape.until(lambda: bool(connector.trading_pairs and connector.order_book("BTC-USDT").best_bid))
        assert re.fullmatch(r"<VenueConnector over .*binance-spot.*>", repr(connector))
